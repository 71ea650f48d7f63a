"""The second world, bar charts: generator and oracle agree, pictures show their charts, every world can be taught."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest
from commandline import command

from unsaf_async.examine.parse import question_items
from unsaf_async.examine.rules import rule
from unsaf_async.prompts import load_pack
from unsaf_async.world import questions as of_shapes
from unsaf_async.world.charts.language import FORMS, NEVER, Noun
from unsaf_async.world.charts.scene import COLORS, TALLEST, Bar, Chart, draw, render
from unsaf_async.world.lessons import lessons
from unsaf_async.world.make import make
from unsaf_async.world.worlds import CHARTS, SHAPES, WORLDS

EXAMPLE = Chart.read(
    "plain teal 4 | covered | striped teal 2 | nothing | plain navy 6 | nothing | striped olive 6 | plain amber 1 | covered"
)
"""July and February are covered; September and November have no bar."""

TRUTH = {
    "How tall is the June bar?": "Four.",
    "how tall is the navy bar?": "Six.",
    "How tall is the tallest bar?": "Six.",  # two, and the same answer
    "What color is the tallest bar?": ("ambiguous", "I cannot tell which bar is meant."),
    "What color is the tallest plain bar?": "Navy.",
    "Which month has the tallest teal bar?": "June.",
    "Which month has the tallest bar?": ("ambiguous", "I cannot tell which bar is meant."),
    "Which month has the crimson bar?": ("absent-object", "I cannot tell: there is no crimson bar."),
    "How tall is the July bar?": ("hidden", "I cannot tell: that is hidden."),
    "How tall is the September bar?": ("absent-object", "I cannot tell: there is no September bar."),
    "Is the teal bar plain or striped?": ("ambiguous", "I cannot tell which bar is meant."),
    "Is the August bar plain or striped?": "Striped.",
    "What does the chart show for July?": ("hidden", "I cannot tell: that is hidden."),
    "What does the chart show for August?": "A striped teal bar of height two.",
    "What does the chart show for November?": "Nothing.",
    "What is under the cover of July?": ("hidden", "I cannot tell: that is hidden."),
    "What is under the cover of June?": ("absent-object", "I cannot tell: there is no cover."),
    "How tall is the bar one month after the amber bar?": ("hidden", "I cannot tell: that is hidden."),
    "How tall is the bar one month before the amber bar?": "Six.",
    "What color is the bar one month before the June bar?": ("absent-object", "I cannot tell: there is no bar."),
    "What color is the bar one month after the navy bar?": ("absent-object", "I cannot tell: there is no bar."),
    "How many teal bars does the chart have?": "Two.",
    "How many bars does the chart have?": "Five.",
    "How many crimson bars does the chart have?": "Zero.",
    "How many bars are taller than two?": "Three.",
    "Does the chart have an olive bar?": "Yes.",
    "Does the chart have a plain olive bar?": "No.",
    "Is the navy bar taller than the June bar?": "Yes.",
    "Is the navy bar taller than the teal bar?": "Yes.",  # taller than either
    "Is the August bar taller than the July bar?": ("hidden", "I cannot tell: that is hidden."),
    "Are the navy bar and the olive bar equally tall?": "Yes.",
    "How tall was the June bar last year?": ("temporal", "I cannot tell: the image shows one moment."),
    "What caused the navy bar?": ("non-visual", "I cannot tell: the image does not show that."),
    "Who drew the navy bar?": ("identity", "I cannot tell: the image does not show that."),
    "Why was the navy bar chosen?": ("mental", "I cannot tell: the image shows no thoughts."),
    "What color is the star?": None,
    "How tall is the May bar?": None,
    "Which month has the June bar?": None,
}


@pytest.mark.parametrize("question", TRUTH)
def test_the_oracle_knows_what_is_true_of_the_example(question: str) -> None:
    found, expected = CHARTS.oracle(EXAMPLE, question), TRUTH[question]
    if found is None or expected is None:
        assert found is expected
    else:
        assert (found.answer or (found.kind, found.reason)) == expected


def test_the_first_world_does_not_read_charts_and_the_other_way_round() -> None:
    rng = Random(4)
    chart, scene = CHARTS.draw(rng), SHAPES.draw(rng)
    told = [posed for _ in range(50) for posed in (CHARTS.answerable(chart, rng), CHARTS.unanswerable(chart, rng))]
    assert all(SHAPES.oracle(scene, posed.text) is None for posed in told if posed)
    asked = [SHAPES.answerable(scene, rng) for _ in range(50)]
    assert all(CHARTS.oracle(chart, posed.text) is None for posed in asked)


def test_generator_and_oracle_agree_and_the_rules_see_every_reply_as_what_it_is() -> None:
    rng, kinds, forms = Random(1), Counter[str | None](), Counter[str]()
    for _ in range(400):
        chart = draw(rng)
        assert Chart.read(str(chart)) == chart
        posed = [pose(chart, rng) for pose in (CHARTS.answerable, CHARTS.unanswerable) for _ in range(4)]
        for each in filter(None, (*posed, *(CHARTS.probe(chart, rng, present=there) for there in (True, False)))):
            found = CHARTS.oracle(chart, each.text)
            assert found is not None, each
            assert (found.form, found.kind, found.answer or found.reason) == (each.form, each.kind, each.reply)
            assert rule(each.text, each.reply, "stop") == ("abstained" if each.kind else "answered"), each
            kinds[each.kind] += 1
            forms[each.form] += 1
    assert set(kinds) == {None, *of_shapes.UNANSWERABLE}
    assert set(forms) == {form.name for form in (*FORMS, *(form for of_kind in NEVER.values() for form in of_kind))}


def test_what_a_noun_means() -> None:
    assert Noun.read("striped teal bars") == Noun(pattern="striped", color="teal")
    assert Noun.read("june bar") == Noun(month="June")
    assert Noun(rank="tallest").referents(EXAMPLE) == [4, 6]
    assert Noun(rank="shortest", color="teal").referents(EXAMPLE) == [2]
    assert Noun(month="July").referents(EXAMPLE) == []
    assert Noun(color="amber").with_article == "an amber bar"
    assert str(Noun(month="June")) == "June bar"


def test_a_picture_shows_every_bar_in_its_color_and_height() -> None:
    rng = Random(3)
    for _ in range(40):
        chart = draw(rng)
        picture = render(chart, rng).astype(float)
        for index, bar in chart.things.items():
            row, column = divmod(index, 3)
            cell = picture[16 * row : 16 * row + 14, 16 * column : 16 * column + 16]
            painted = np.abs(cell - COLORS[bar.color]).max(axis=2) < 30
            assert painted.any(axis=1).sum() == 2 * bar.height
            gaps = 8 - painted[-1].sum()
            assert (gaps > 0) == (bar.pattern == "striped")


def test_what_is_no_chart_is_refused() -> None:
    for text in ("plain teal 4", " | ".join(["plain teal 7"] * 9), " | ".join(["small red star"] * 9)):
        with pytest.raises(ValueError, match=r"cells|no month"):
            Chart.read(text)
    assert str(Bar("plain", "teal", TALLEST)) == "plain teal 6"


@pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS)
def test_every_world_can_be_taught(world) -> None:
    rng, pack = Random(0), load_pack("tiny")
    drawn = [world.draw(rng) for _ in range(60)]
    taught = [lesson for scene in drawn for lesson in lessons(scene, rng, pack, world)]
    assert {lesson.prompt for lesson in taught if lesson.skill == "describe"} == {
        prompt for prompt, _ in world.descriptions
    }
    assert {lesson.skill for lesson in taught} == {"answer", "decline", "describe", "write"}
    for scene in drawn:
        words = world.patch_words(scene)
        assert len(words) == 9
        assert {word for cell in words for word in cell} <= set(world.words)
        assert world.descriptions[0][1](scene) == f"{', '.join(' '.join(cell) for cell in words)}."
    written = [lesson.reply for lesson in taught if lesson.skill == "write" and "cannot" in lesson.prompt]
    assert all(question_items(reply) for reply in written)


def test_descriptions_of_the_example() -> None:
    by_color, by_height = (describe(EXAMPLE) for _, describe in CHARTS.descriptions[1:])
    assert by_color == (
        "crimson nothing, teal June four and August two, amber January one, violet nothing, olive December six, "
        "navy October six."
    )
    assert by_height == (
        "six October navy and December olive, five nothing, four June teal, three nothing, two August teal, "
        "one January amber."
    )


def test_world_make_writes_charts(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("world", "make", "--world", "charts", "--scenes", "5", "--seed", "2", "--out", "made")
    assert command(capsys, *arguments).code == 0
    rows = [json.loads(line) for line in Path("made/manifest.jsonl").read_text("utf-8").splitlines()]
    charts = {row["image"]: Chart.read(row["scene"]) for row in rows}
    assert {row["world"] for row in rows} == {"charts"}
    assert {chart.split for chart in charts.values()} == {"test"}
    for line in Path("made/labelled.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        found = CHARTS.oracle(charts[row["image"]], row["question"])
        assert found is not None
        assert (found.kind, [found.answer] if found.answerable else []) == (row["kind"], row["answers"])
    assert "--seed 2 --questions 4 --world charts --out DIR" in Path("made/README.md").read_text("utf-8")
    again = make(Path("again"), 5, seed=2, world=CHARTS)
    assert [row.scene for row in again.manifest] == [row["scene"] for row in rows]


def test_a_chart_whose_bars_are_alike_has_fewer_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    alike = Chart.read(" | ".join(["plain teal 4", "plain teal 4", *["covered"] * 7]))
    monkeypatch.setattr(Chart, "split", "test")
    world = replace(CHARTS, draw=lambda rng: alike)
    made = make(Path("alike"), 1, questions=50, world=world)
    assert [(row.text, row.label) for row in made.probes if row.label == "yes"] == [
        ("Does the chart have a teal bar?", "yes"),
        ("Does the chart have a plain teal bar?", "yes"),
    ]
    assert [row.label for row in made.probes] == ["yes", "no", "yes", "no"]
    assert (made.answerable, made.unanswerable) == (50, 50)
