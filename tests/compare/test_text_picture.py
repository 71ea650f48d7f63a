"""A picture in characters: each sign stands where its figure is, and nothing in a name breaks out of the block."""

from __future__ import annotations

from unsaf_async.compare.text_picture import CELLS, LONGEST_NAME, Mark, drawn


def test_each_sign_stands_where_its_figure_is() -> None:
    axis, line, empty, signs = drawn([Mark("ada", "0.700", 0.7, (0.5, 0.8), bar=0.6)])
    scale = line.removeprefix("ada  0.700  ")
    assert len(scale) == CELLS + 1
    assert [axis[len(line) - len(scale) :].index(text) for text in ("0", ".25", ".5", ".75", "1")] == [
        0,
        10,
        20,
        30,
        40,
    ]
    signs_at = {sign: [place / CELLS for place, each in enumerate(scale) if each == sign] for sign in "●┃━"}
    assert signs_at["●"] == [0.7]
    assert signs_at["┃"] == [0.6]
    assert (min(signs_at["━"]), max(signs_at["━"])) == (0.5, 0.8)
    assert empty == ""
    assert signs == "● UnF1   ━ 95 % interval   ┃ what is asked: 0.6"


def test_bounds_have_no_figure_and_what_is_undefined_has_no_sign() -> None:
    _, bounds, none, _, signs = drawn(
        [Mark("a", "bounds", 0.4, (0.0, 1.0), between=True), Mark("b", "n/a", None, None)], "UnF1 or accuracy"
    )
    assert bounds == "a  bounds  " + "░" * (CELLS + 1)
    assert none == "b     n/a  " + "·" * (CELLS + 1)
    assert signs == "░ bounds, with the unscored either way"
    assert drawn([]) == []


def test_a_name_stays_within_its_line_and_the_block() -> None:
    text = drawn([Mark("```\n# <b>" + "x" * 50, "1.000", 1.0, (-0.2, 1.3))])
    assert len(text) == 4
    assert "`" not in "".join(text)
    assert text[1].index("●") == LONGEST_NAME + len("  1.000  ") + CELLS
