"""The drawn world: its pictures show its scenes, and generator and oracle, which know the truth by different ways, agree."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, get_args

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from unsaf_async.examine.parse import question_items
from unsaf_async.examine.parse.gate import is_question
from unsaf_async.examine.rules import rule
from unsaf_async.prompts import load_pack
from unsaf_async.records import KINDS
from unsaf_async.world import describe, grid
from unsaf_async.world import lessons as taught
from unsaf_async.world import scene as world
from unsaf_async.world.grid import SceneSplit
from unsaf_async.world.language import DIRECTIONS, FORMS, NEVER, NUMBERS, Form, Noun
from unsaf_async.world.lessons import Lesson, lessons
from unsaf_async.world.oracle import Finding, oracle
from unsaf_async.world.questions import SEE_YES_SHARE, UNANSWERABLE, Posed, answerable, probe, unanswerable
from unsaf_async.world.scene import (
    CELLS,
    COLORS,
    SHAPES,
    SIZES,
    Scene,
    Thing,
    draw,
    neighbor,
    render,
    scenes,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

DOCS = Path(__file__).parents[2] / "docs"
ALL_FORMS = {form.name: form for form in (*FORMS, *(form for forms in NEVER.values() for form in forms))}


@dataclass(frozen=True)
class Asked:
    """A generated question and the scene that it is about."""

    scene: Scene
    posed: Posed

    @property
    def expected(self) -> Finding:
        """What the oracle is to find."""
        answer, reason = (None, self.posed.reply) if self.posed.kind else (self.posed.reply, None)
        return Finding(self.posed.form, answer, self.posed.kind, reason)


def questions_of(drawn: Iterable[Scene], each: int, rng: Random) -> list[Asked]:
    """`each` answerable questions about every scene, and `each` unanswerable ones."""
    posed = (
        (scene, question)
        for scene in drawn
        for _ in range(each)
        for question in (answerable(scene, rng), unanswerable(scene, rng))
    )
    return [Asked(scene, question) for scene, question in posed if question]


@pytest.fixture(scope="module")
def asked() -> list[Asked]:
    rng = Random(20)
    return questions_of([draw(rng) for _ in range(1200)], 5, rng)


@pytest.fixture(scope="module")
def drawn() -> list[tuple[Scene, NDArray[np.uint8]]]:
    return list(scenes("test", 150, seed=3))


# --- arbitrary scenes and questions -----------------------------------------------------------------------------------

THINGS = st.builds(Thing, st.sampled_from(SIZES), st.sampled_from(tuple(COLORS)), st.sampled_from(SHAPES))
FEW = st.builds(Thing, st.sampled_from(SIZES), st.sampled_from(("red", "blue")), st.sampled_from(("star", "ring")))
"""Things that are often alike, so that nouns fit several."""
ANY_SCENE = st.lists(
    st.one_of(FEW, THINGS, st.just("covered"), st.none()), min_size=len(CELLS), max_size=len(CELLS)
).map(lambda cells: Scene(tuple(cells)))
ANY_NOUN = st.builds(
    Noun,
    size=st.sampled_from((None, *SIZES)),
    color=st.sampled_from((None, "red", "blue", "green")),
    shape=st.sampled_from((None, "star", "ring", "cross")),
)


def filled(form: Form, first: Noun, second: Noun, cell: str, direction: str) -> str:
    """The question of `form` about these."""
    return form.fill(
        noun=str(first),
        noun2=str(second),
        nouns=first.plural,
        nouns2=second.plural,
        a_noun=first.with_article,
        cell=cell,
        direction=direction,
    )


ANY_FORM = st.sampled_from(list(ALL_FORMS.values()))
GAPS = (ANY_NOUN, ANY_NOUN, st.sampled_from(CELLS), st.sampled_from(DIRECTIONS))
ANY_QUESTION = st.builds(filled, ANY_FORM, *GAPS)


# --- what is true -----------------------------------------------------------------------------------------------------

EXAMPLE = Scene.read(
    "small red star | covered | large red star"
    " | nothing | small blue ring | nothing"
    " | large green cross | small blue ring | covered"
)
"""Written so:

    small red star     covered          large red star
    nothing            small blue ring  nothing
    large green cross  small blue ring  covered
"""

TRUTH = {
    "What color is the cross?": "Green.",
    "What color is the star?": "Red.",  # two, and the same answer
    "What color is the object?": ("ambiguous", "I cannot tell which object is meant."),
    "What color is the heart?": ("absent-object", "I cannot tell: there is no heart."),
    "What color is the small green cross?": ("absent-object", "I cannot tell: there is no small green cross."),
    "What shape is the red object?": "A star.",
    "What shape is the small object?": ("ambiguous", "I cannot tell which object is meant."),
    "How big is the ring?": "Small.",
    "How big is the star?": ("ambiguous", "I cannot tell which star is meant."),
    "Where is the cross?": "In the southwest cell.",
    "Where is the blue ring?": ("ambiguous", "I cannot tell which ring is meant."),
    "What is in the northeast cell?": "A large red star.",
    "What is in the west cell?": "Nothing.",
    "What is in the north cell?": ("hidden", "I cannot tell: that is hidden."),
    "What color is the object in the middle cell?": "Blue.",
    "What color is the object in the west cell?": ("absent-object", "I cannot tell: there is no object."),
    "What color is the object in the southeast cell?": ("hidden", "I cannot tell: that is hidden."),
    "What shape is the object in the middle cell?": "A ring.",
    "What is directly right of the cross?": "A small blue ring.",
    "What is directly above the cross?": "Nothing.",
    "What is directly below the cross?": "Nothing.",  # beyond the edge
    "What is directly below the star?": "Nothing.",  # below either of the two
    "What is directly right of the small red star?": ("hidden", "I cannot tell: that is hidden."),
    "What is directly above the ring?": ("ambiguous", "I cannot tell which ring is meant."),  # a cover, or a ring
    "What color is the object directly right of the cross?": "Blue.",
    "What color is the object directly above the cross?": ("absent-object", "I cannot tell: there is no object."),
    "How many stars can you see?": "Two.",
    "How many crosses can you see?": "One.",
    "How many objects can you see?": "Five.",
    "How many hearts can you see?": "Zero.",
    "Can you see an object?": "Yes.",
    "Can you see a large red star?": "Yes.",
    "Can you see a large blue ring?": "No.",
    "Is the cross below the star?": "Yes.",  # below either
    "Is the cross left of the large star?": "Yes.",  # in another row
    "Is the cross left of the small red star?": "No.",  # in the same column
    "Is the ring right of the cross?": "Yes.",
    "Is the ring above the cross?": ("ambiguous", "I cannot tell which ring is meant."),
    "Is the cross above the heart?": ("absent-object", "I cannot tell: there is no heart."),
    "Can you see more stars than crosses?": "Yes.",
    "Can you see more stars than rings?": "No.",
    "Do the cross and the ring have the same color?": "No.",
    "Do the small star and the large star have the same color?": "Yes.",
    "What is under the cover in the north cell?": ("hidden", "I cannot tell: that is hidden."),
    "What is under the cover in the west cell?": ("absent-object", "I cannot tell: there is no cover."),
    "What is behind the cross?": ("hidden", "I cannot tell: that is hidden."),
    "What color was the cross yesterday?": ("temporal", "I cannot tell: the image shows one moment."),
    "What does the heart want?": ("mental", "I cannot tell: the image shows no thoughts."),
    "Who drew the cross?": ("identity", "I cannot tell: the image does not show that."),
    "How heavy is the cross?": ("non-visual", "I cannot tell: the image does not show that."),
}


@pytest.mark.parametrize("question", TRUTH)
def test_the_oracle_knows_the_truth_of_a_written_scene(question: str) -> None:
    truth, found = TRUTH[question], oracle(EXAMPLE, question)
    assert found is not None
    assert (found.answer if found.answerable else (found.kind, found.reason)) == truth


def test_the_written_examples_are_of_every_form_and_kind() -> None:
    found = [finding for question in TRUTH if (finding := oracle(EXAMPLE, question))]
    assert {finding.form for finding in found} >= {form.name for form in FORMS}
    assert {finding.kind for finding in found} == {None, *UNANSWERABLE}


def test_the_oracle_agrees_with_the_generator(asked: list[Asked]) -> None:
    assert len(asked) >= 10_000
    assert len({each.scene for each in asked}) >= 1000
    for each in asked:
        assert oracle(each.scene, each.posed.text) == each.expected, (each.posed.text, str(each.scene))


def test_every_form_and_every_kind_is_asked(asked: list[Asked]) -> None:
    assert {each.posed.form for each in asked} == set(ALL_FORMS)
    assert {each.posed.kind for each in asked} == {None, *KINDS} - {"other"}
    assert {each.posed.kind for each in asked if each.posed.form == "under-cover"} == {"hidden", "absent-object"}


@pytest.mark.parametrize("kind", UNANSWERABLE)
def test_a_kind_can_be_asked_for(kind: str) -> None:
    rng = Random(4)
    posed = [unanswerable(draw(rng), rng, kind) for _ in range(50)]  # type: ignore[arg-type]
    assert {each.kind for each in posed if each} == {kind}
    assert kind == "ambiguous" or None not in posed


def test_a_scene_without_an_ambiguous_noun_has_no_ambiguous_question() -> None:
    distinct = Scene.read(" | ".join(["small red star", "large blue ring", *["nothing"] * 7]))
    rng = Random(1)
    posed = {unanswerable(distinct, rng, "ambiguous") for _ in range(100)}
    asks_of_any_object = {None, *(each for each in posed if each and "the object" in each.text)}
    assert posed == asks_of_any_object


def test_probes_are_true_and_ask_what_is_wanted() -> None:
    rng = Random(2)
    for _ in range(300):
        scene = draw(rng)
        for present in (True, False):
            posed = probe(scene, rng, present=present)
            assert (posed.form, posed.reply) == ("see", "Yes." if present else "No.")
            assert oracle(scene, posed.text) == Asked(scene, posed).expected


@given(ANY_SCENE, ANY_FORM, *GAPS)
def test_every_question_of_the_world_is_understood_about_every_scene(
    scene: Scene, form: Form, first: Noun, second: Noun, cell: str, direction: str
) -> None:
    found = oracle(scene, filled(form, first, second, cell, direction))
    assert found is not None
    assert found.form == form.name
    assert (found.answer is None) == (found.kind is not None) == (found.reason is not None)
    assert found.answerable == (found.kind is None)
    if form.kind:
        assert found.kind == form.kind


@given(ANY_SCENE, ANY_QUESTION)
def test_in_the_mirror_left_is_right_and_all_else_stays(scene: Scene, question: str) -> None:
    mirrored = Scene(tuple(scene.cells[row * 3 + column] for row in range(3) for column in (2, 1, 0)))
    assert oracle(mirrored, in_the_mirror(question)) == (
        Finding(found.form, found.answer and in_the_mirror(found.answer), found.kind, found.reason)
        if (found := oracle(scene, question))
        else None
    )


def in_the_mirror(text: str) -> str:
    for one, other in (("left of", "right of"), ("east", "west")):
        text = text.replace(one, "\0").replace(other, one).replace("\0", other)
    return text


@given(ANY_SCENE, ANY_NOUN)
def test_what_can_be_seen_can_be_counted(scene: Scene, noun: Noun) -> None:
    seen, counted = (
        oracle(scene, f"Can you see {noun.with_article}?"),
        oracle(scene, f"How many {noun.plural} can you see?"),
    )
    assert seen is not None
    assert counted is not None
    number = sum(noun.fits(thing) for thing in scene.things.values())
    assert counted.answer == f"{NUMBERS[number].capitalize()}."
    assert seen.answer == ("Yes." if number else "No.")


# --- what is no question of this world --------------------------------------------------------------------------------


def test_white_space_around_a_question_and_its_case_do_not_matter(asked: list[Asked]) -> None:
    for each in asked[::10]:
        text = each.posed.text
        for variant in (f"  {text}\n", f"\t{text}\r\n", text.lower(), text.upper(), text.swapcase()):
            assert oracle(each.scene, variant) == each.expected, variant


def test_near_misses_are_not_understood(asked: list[Asked]) -> None:
    for each in asked[::10]:
        text = each.posed.text
        last = text.rstrip("?").split()[-1]
        variants = [
            text.rstrip("?"),
            text.replace(" ", "  ", 1),
            f"1. {text}",
            f"{text} {text}",
            f"{text}\n{text}",
            f"{text} Why?",
            f"Please: {text}",
            text.replace(f"{last}?", f"{last} zebra?"),
            text.replace(" the ", " the teal ")
            .replace(" a ", " a teal ")
            .replace("many ", "many teal ")
            .replace("more ", "more teal "),
        ]
        for variant in variants:
            if variant != text:
                assert oracle(each.scene, variant) is None, variant


@pytest.mark.parametrize(
    "question",
    [
        "",
        "?",
        "What is this?",
        "What color is the zebra?",
        "What color is the teal star?",
        "What color is the red small star?",
        "What color is the star red?",
        "What color is a star?",
        "What colour is the star?",
        "What color are the stars?",
        "What is in the center cell?",
        "What is directly beside the star?",
        "What color is the star? What color is the ring?",
        "Can you see the star?",
        "How many star can you see?",
        "What is in the eaſt cell?",
        "Is the cross rıght of the star?",
        "What color is the ſtar?",
        "What is in the {cell} cell?",
    ],
)
def test_other_questions_are_not_understood(question: str) -> None:
    assert oracle(EXAMPLE, question) is None


SNIPPETS = [
    *(
        "What",
        "color",
        "is",
        "the",
        "in",
        "cell?",
        "east",
        "star",
        "stars",
        "object",
        "red",
        "small",
        "left of",
        "?",
        " ",
        "\n",
    ),
    *("ſ", "ı", "İ", "K", "\0", "\ud800", "{noun}", "(", "\\", "an", "Can you see", "How many", "zero"),
]


@given(ANY_SCENE, st.one_of(st.text(), st.lists(st.sampled_from(SNIPPETS)).map(" ".join)))
@example(EXAMPLE, "What is in the eaſt cell?")
def test_the_oracle_takes_any_text(scene: Scene, text: str) -> None:
    assert isinstance(oracle(scene, text), Finding | None)


@given(ANY_SCENE, ANY_QUESTION, st.integers(0, 99), st.one_of(st.characters(), st.sampled_from("ſıİK ")), st.booleans())
def test_the_oracle_takes_any_question_with_a_slip(
    scene: Scene, question: str, at: int, slip: str, instead: bool
) -> None:
    at %= len(question)
    found = oracle(scene, question[:at] + slip + question[at + instead :])
    assert found is None or found.form in ALL_FORMS


# --- how it reads to the rest of the package --------------------------------------------------------------------------


def test_the_rules_see_every_reply_as_what_it_is(asked: list[Asked]) -> None:
    said = {(each.posed.text, each.posed.reply): each.posed.kind for each in asked}
    for (question, reply), kind in said.items():
        assert rule(question, reply, "stop") == ("abstained" if kind else "answered"), (question, reply)


def test_every_question_passes_the_gate(asked: list[Asked]) -> None:
    assert [text for text in {each.posed.text for each in asked} if not is_question(text)] == []


def test_a_written_list_is_read_back_with_its_kinds(asked: list[Asked]) -> None:
    declined = [each.posed for each in asked if each.posed.kind]
    for start in range(0, 3000, 6):
        some = declined[start : start + 6]
        listed = "\n".join(f"{number}. {posed.kind}: {posed.text}" for number, posed in enumerate(some, 1))
        assert [(item.text, item.kind) for item in question_items(listed)] == [(each.text, each.kind) for each in some]


# --- lessons ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lessons_by_scene() -> dict[Scene, list[Lesson]]:
    rng, pack = Random(6), load_pack("tiny")
    return {scene: lessons(scene, rng, pack) for scene in [draw(rng) for _ in range(2000)]}


def test_lessons_come_in_the_shares_that_are_told(lessons_by_scene: dict[Scene, list[Lesson]]) -> None:
    number = len(lessons_by_scene)
    listed = [lesson.prompt for each in lessons_by_scene.values() for lesson in each if lesson.skill == "write"]
    skills = Counter(lesson.skill for each in lessons_by_scene.values() for lesson in each)
    again = [prompt for prompt in listed if "Do not repeat" in prompt]
    assert all(sum(lesson.skill == "answer" for lesson in each) == taught.ANSWERS for each in lessons_by_scene.values())
    assert all(sum(lesson.skill == "describe" for lesson in each) == 1 for each in lessons_by_scene.values())
    assert all(sum(lesson.skill == "decline" for lesson in each) <= 1 for each in lessons_by_scene.values())
    # Four standard deviations of a share among so many are 0.027, 0.039 for either list, 0.045.
    assert skills["decline"] / number == pytest.approx(taught.DECLINE_SHARE, abs=0.027)
    for label in ("image answers", "image cannot answer"):
        assert sum(label in prompt for prompt in listed) / number == pytest.approx(taught.WRITE_SHARE, abs=0.039)
    assert len(again) / len(listed) == pytest.approx(taught.AGAIN_SHARE, abs=0.045)


def test_lessons_are_true_and_in_the_words_of_the_pack(lessons_by_scene: dict[Scene, list[Lesson]]) -> None:
    pack, described = load_pack("tiny"), set[str]()
    for scene, each in islice(lessons_by_scene.items(), 500):
        for lesson in each:
            if lesson.skill == "write":
                items = question_items(lesson.reply)
                assert items
                assert len({item.text for item in items}) == len(items) == lesson.reply.count("\n") + 1
                findings = [oracle(scene, item.text) for item in items]
                assert [finding and finding.kind for finding in findings] == [item.kind for item in items]
                assert None not in findings
                assert all(f"- {item.text}" not in lesson.prompt.splitlines() for item in items), "asked for others"
            elif lesson.skill == "describe":
                told = dict(part.split(" ", 1) for part in lesson.reply.removesuffix(".").split(", "))
                described.add(lesson.prompt)
                if lesson.prompt == describe.DESCRIBE:
                    hidden = {name: "covered" if what == "hidden" else what for name, what in told.items()}
                    assert Scene.read(" | ".join(hidden[name] for name in CELLS)) == scene
                    continue
                by_shape = lesson.prompt == describe.DESCRIBE_BY_SHAPE
                assert list(told) == list(SHAPES if by_shape else COLORS)
                found = {
                    (*reversed(thing.split(" ")), name)
                    for name, what in told.items()
                    for thing in ([] if what == "nothing" else what.split(" and "))
                }
                expected = {
                    (CELLS[at], thing.color, thing.shape) if by_shape else (CELLS[at], thing.shape, thing.color)
                    for at, thing in scene.things.items()
                }
                assert found == expected
            else:
                answer = oracle(scene, lesson.prompt)
                assert answer is not None
                assert lesson.prompt == pack.answer(lesson.prompt)
                assert lesson.reply == (answer.reason if lesson.skill == "decline" else answer.answer)
    assert described == {describe.DESCRIBE, describe.DESCRIBE_BY_SHAPE, describe.DESCRIBE_BY_COLOR}


def test_seeing_is_asked_more_often_of_what_is_there(lessons_by_scene: dict[Scene, list[Lesson]]) -> None:
    seen = [
        lesson.reply
        for each in lessons_by_scene.values()
        for lesson in each
        if lesson.prompt.startswith("Can you see a") and lesson.reply
    ]
    assert len(seen) > 1500
    assert seen.count("Yes.") / len(seen) == pytest.approx(SEE_YES_SHARE, abs=0.05)


# --- scenes -----------------------------------------------------------------------------------------------------------


def test_no_scene_is_in_two_splits_whatever_the_seeds() -> None:
    found: dict[SceneSplit, set[Scene]] = {"train": set(), "validation": set(), "test": set()}
    for seed, split in enumerate(found):
        found[split] = {scene for scene, _ in scenes(split, 2000, seed)}
        assert {scene.split for scene in found[split]} == {split}
        assert len(found[split]) > 1950
    assert not found["train"] & found["validation"]
    assert not found["train"] & found["test"]
    assert not found["validation"] & found["test"]


def test_of_100_scenes_80_train_10_validate_and_10_test() -> None:
    rng = Random(8)
    splits = Counter(draw(rng).split for _ in range(5000))
    for split, share in (("train", 0.8), ("validation", 0.1), ("test", 0.1)):
        assert splits[split] / 5000 == pytest.approx(share, abs=0.02)  # 4 standard deviations: 0.017 and 0.023
    assert set(splits) == set(get_args(SceneSplit))


def test_the_same_seed_draws_the_same_scenes_and_pictures_and_another_seed_others() -> None:
    def drawn(seed: int, count: int = 5) -> list[tuple[Scene, bytes]]:
        return [(scene, picture.tobytes()) for scene, picture in scenes("validation", count, seed)]

    assert drawn(1) == drawn(1) == drawn(1, 9)[:5]
    assert not {scene for scene, _ in drawn(1)} & {scene for scene, _ in drawn(2)}


def test_every_scene_has_things_and_most_have_covers_and_gaps() -> None:
    rng = Random(9)
    drawn = [draw(rng) for _ in range(1000)]
    assert min(len(scene.things) for scene in drawn) == grid.LEAST_THINGS
    assert sum(bool(scene.covered) for scene in drawn) > 600
    assert sum(None in scene.cells for scene in drawn) > 900


@given(ANY_SCENE)
def test_a_scene_is_read_back_from_its_text(scene: Scene) -> None:
    again = Scene.read(str(scene))
    assert again == scene
    assert again.split == scene.split


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("small red star | ", ""), "found 8"),
        (("covered", "nothing | nothing"), "found 11"),  # two covers
        (("small red star", "small teal star"), "'small teal star'"),
        (("small red star", "red small star"), "'red small star'"),
        (("small red star", "red star"), "'red star'"),
        (("small red star", "Small red star"), "'Small red star'"),
        (("small red star", "small  red star"), "'small  red star'"),
        (("small red star", " small red star"), "' small red star'"),
        (("nothing", "None"), "'None'"),
        (("covered", "cover"), "'cover'"),
        ((" | ", "|"), "found 1"),
        (("small red star", ""), "''"),
    ],
)
def test_malformed_text_is_no_scene(change: tuple[str, str], words: str) -> None:
    with pytest.raises(ValueError, match=r"cell") as raised:
        Scene.read(str(EXAMPLE).replace(*change))
    assert words in str(raised.value)


@given(st.one_of(st.text(), st.lists(st.sampled_from(("nothing", "covered", "small red star", "red"))).map(" | ".join)))
def test_text_that_is_read_as_a_scene_is_its_text(text: str) -> None:
    try:
        scene = Scene.read(text)
    except ValueError:
        return
    assert str(scene) == text


def test_a_neighbor_is_the_cell_next_to_it_on_the_grid() -> None:
    middle = CELLS.index("middle")
    around = {"left of": "west", "right of": "east", "above": "north", "below": "south"}
    assert {direction: CELLS[neighbor(middle, direction) or 0] for direction in DIRECTIONS} == around
    assert [neighbor(CELLS.index("northeast"), direction) for direction in ("right of", "above")] == [None, None]
    assert neighbor(CELLS.index("northeast"), "left of") == CELLS.index("north")
    assert neighbor(CELLS.index("west"), "left of") is None


# --- pictures ---------------------------------------------------------------------------------------------------------

GROUND = 225
"""The ground's channels are brighter than this, noise included; no color's are."""


def cell_of(picture: NDArray[np.uint8], index: int) -> NDArray[np.float64]:
    row, column = divmod(index, grid.SIDE)
    side = grid.CELL_PX
    return picture[row * side : (row + 1) * side, column * side : (column + 1) * side].astype(float)


def test_a_picture_is_48_pixels_wide_and_high(drawn: list[tuple[Scene, NDArray[np.uint8]]]) -> None:
    assert {(picture.shape, picture.dtype.name) for _, picture in drawn} == {((48, 48, 3), "uint8")}


def test_a_cell_with_nothing_is_plain_ground(drawn: list[tuple[Scene, NDArray[np.uint8]]]) -> None:
    for scene, picture in drawn:
        for index in (index for index, cell in enumerate(scene.cells) if cell is None):
            assert cell_of(picture, index).min() > GROUND - 5, str(scene)


def test_a_covered_cell_is_grey_with_four_dark_stripes(drawn: list[tuple[Scene, NDArray[np.uint8]]]) -> None:
    covers = [cell_of(picture, index)[1:15, 1:15] for scene, picture in drawn for index in scene.covered]
    assert len(covers) > 50
    for cover in covers:
        assert np.ptp(cover.mean(axis=(0, 1))) < 5, "grey"
        dark = cover.mean(axis=(1, 2)) < 112
        assert np.flatnonzero(dark).tolist() == [0, 4, 8, 12]


def test_a_thing_has_its_color_and_its_size(drawn: list[tuple[Scene, NDArray[np.uint8]]]) -> None:
    palette = np.array(list(COLORS.values()))
    things = [(thing, cell_of(picture, index)) for scene, picture in drawn for index, thing in scene.things.items()]
    assert {(thing.size, thing.color) for thing, _ in things} == {(size, color) for size in SIZES for color in COLORS}
    for thing, cell in things:
        inked = cell.min(axis=2) < GROUND
        rows, columns = np.flatnonzero(inked.any(axis=1)), np.flatnonzero(inked.any(axis=0))
        assert (max(np.ptp(rows), np.ptp(columns)) >= 9) == (thing.size == "large"), str(thing)
        # Edges are mixed with the ground; the darkest third is not.
        core = cell[inked][np.argsort(cell[inked].sum(axis=1))[: max(3, inked.sum() // 3)]].mean(axis=0)
        nearest = list(COLORS)[int(np.abs(palette - core).sum(axis=1).argmin())]
        assert nearest == thing.color, str(thing)
        assert np.abs(core - COLORS[thing.color]).max() < 35, str(thing)


def widths(shape: str) -> NDArray[np.int64]:
    """How many pixels of each row a large black thing of `shape` covers, from its first row to its last."""
    scene = Scene((Thing("large", "black", shape), *[None] * 8))
    inked = cell_of(render(scene, Random(0)), 0).max(axis=2) < 140
    return inked.sum(axis=1)[inked.any(axis=1)]


def test_shapes_look_like_what_they_are_called() -> None:
    top, middle, bottom = (lambda w: w[1]), (lambda w: w[len(w) // 2]), (lambda w: w[-2])
    assert np.ptp(widths("square")[1:-1]) == 0
    assert np.ptp(widths("circle")) > 4
    assert middle(widths("circle")) > max(top(widths("circle")), bottom(widths("circle")))
    assert middle(widths("ring")) < middle(widths("circle")) - 4, "hollow"
    assert top(widths("triangle")) < middle(widths("triangle")) < bottom(widths("triangle"))
    assert top(widths("heart")) > bottom(widths("heart"))
    assert top(widths("diamond")) < middle(widths("diamond")) > bottom(widths("diamond"))
    assert widths("diamond").sum() < 0.8 * widths("circle").sum()
    assert len(set(widths("cross").tolist())) <= 3
    assert middle(widths("cross")) > 2 * top(widths("cross")) == 2 * bottom(widths("cross"))
    assert top(widths("star")) < 4, "a point on top"
    assert bottom(widths("star")) < widths("star").max() < len(widths("star")) + 3


def test_shapes_can_be_told_apart_in_every_picture(drawn: list[tuple[Scene, NDArray[np.uint8]]]) -> None:
    shown = [
        (shape, np.roll(world._mask(shape, size), (down, right), (0, 1)).ravel())
        for shape in SHAPES
        for size in SIZES
        for down in range(-2, 3)
        for right in range(-2, 3)
    ]
    templates = np.array([mask for _, mask in shown])
    for scene, picture in drawn[:60]:
        for index, thing in scene.things.items():
            cell = cell_of(picture, index)
            ground = np.median(cell.reshape(-1, 3).max(axis=0))
            darkness = (ground - cell).sum(axis=2).ravel()
            scale = np.array([(mask @ darkness) / (mask @ mask) for mask in templates])
            misfit = ((scale[:, None] * templates - darkness) ** 2).sum(axis=1)
            assert shown[int(misfit.argmin())][0] == thing.shape, (str(scene), CELLS[index])


# --- the page ---------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not DOCS.is_dir(), reason="only a checkout has docs/")
def test_the_figures_on_the_page_are_the_codes() -> None:
    page = " ".join((DOCS / "world.md").read_text("utf-8").split())
    claims = [
        f"one of {len(SIZES)} sizes, {len(COLORS)} colors and {len(SHAPES)} shapes",
        f"{grid.IMAGE_PX} x {grid.IMAGE_PX} pixels, {grid.CELL_PX} for a cell",
        "of 100 scenes 80, 10 and 10",
        "of about ten questions one",
        "Seven of ten",
    ]
    for claim in claims:
        assert claim in page, claim
    assert pytest.approx(0.1, abs=0.01) == taught.DECLINE_SHARE / (taught.ANSWERS + taught.DECLINE_SHARE)
    assert pytest.approx(0.7) == SEE_YES_SHARE
    assert (DOCS / "world.png").stat().st_size < 40_000
