"""Which answers mean the same, how much samples agree, and which questions ask the same."""

from __future__ import annotations

import itertools
import math
from random import Random
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rapidfuzz import fuzz
from scipy import stats

from unsaf_async.score.meaning import agreement, meaning_classes, near_duplicates, self_consistency, semantic_entropy
from unsaf_async.simulate import phrasebook
from unsaf_async.world.questions import answerable, unanswerable
from unsaf_async.world.scene import draw

if TYPE_CHECKING:
    from collections.abc import Sequence

FAST = settings(max_examples=80, deadline=None)

ANSWERS = (
    "It is red.", "The car is red.", "red", "Blue.", "The car is not red", "dark red", "red and blue", "Yes.", "No.",
    "Yes, it is red", "There are three.", "3", "Four", "a shirt", "a blue shirt", "a red shirt", "gray", "It's grey", "",
)  # fmt: skip

BANK = tuple(entry.text for label in ("answerable", "unanswerable") for entry in phrasebook.bank(label).entries)


def classes(*texts: str, question: str = "") -> list[int]:
    return meaning_classes(texts, [False] * len(texts), question=question)


# --- answers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("It is red.", "The car is red"),
        ("Red!", "red"),
        ("three", "3"),
        ("There are eleven.", "11"),
        ("grey", "It is gray."),
        ("The color is red", "The colour is red"),
        ("Yes", "Yes, it is."),
        ("Yes, there is a dog.", "Yes, a small one on the sofa."),
        ("No.", "No, there isn't."),
        ("It isn't red.", "It is not red."),
        ("red and blue", "Blue and red."),
        ("The man is on the left", "On the left"),
        ("In the picture there are two dogs", "2 dogs"),
        ("'Tom'", 'It says "Tom".'),
        ("None", "0"),
    ],
)
def test_these_mean_the_same(one: str, other: str) -> None:
    assert classes(one, other) == [0, 0]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("red", "blue"),
        ("three", "four"),
        ("yes", "no"),
        ("Yes, there are 2.", "Yes, there are 3."),
        ("It is red.", "It is not red."),
        ("red", "red and blue"),
        ("The car is red", "The car is blue"),
        ("visible", "invisible"),
        ("recognizable", "unrecognizable"),
        ("left", "right"),
        ("cat", "car"),
        ("walking", "talking"),
        ("on the table", "under the table"),
        (
            "The large old car on the left side of the street is red.",
            "The large old car on the left side of the street is blue.",
        ),
        ("red", ""),
    ],
)
def test_these_do_not(one: str, other: str) -> None:
    assert classes(one, other) == [0, 1]


def test_the_question_tells_what_is_only_repeated() -> None:
    asked = "What color is the car?"
    assert classes("The car is red.", "It's red.", "The car is blue.", question=asked) == [0, 0, 1]
    assert classes("Yes.", "There is a dog.", "No.", "There is no dog.", question="Is there a dog?") == [0, 0, 1, 1]
    # A choice is answered in the question's words.
    choice = "Is the door open or closed?"
    assert classes("The door is open.", "It is closed.", "Open.", question=choice) == [0, 1, 0]


def test_all_abstentions_are_one_class_whatever_they_say() -> None:
    texts = ["I cannot tell.", "red", "The image does not show that.", "I cannot tell."]
    assert meaning_classes(texts, [True, False, True, False]) == [0, 1, 0, 2]


def test_a_text_between_two_does_not_join_them() -> None:
    assert classes("shirt", "blue shirt") == [0, 0]
    assert classes("shirt", "blue shirt", "red shirt", "A shirt.") == [0, 1, 2, 0]
    assert classes("red", "red and blue", "blue") == [0, 1, 2]


def test_no_texts_have_no_classes_and_unequal_lists_are_refused() -> None:
    assert meaning_classes([], []) == []
    with pytest.raises(ValueError, match="2 texts, but 1 marks"):
        meaning_classes(["a", "b"], [False])


@FAST
@given(st.lists(st.tuples(st.sampled_from(ANSWERS), st.booleans()), max_size=10), st.randoms())
def test_classes_do_not_depend_on_the_order_of_the_texts(said: list[tuple[str, bool]], rng: Random) -> None:
    order = rng.sample(range(len(said)), len(said))
    found = meaning_classes([text for text, _ in said], [declined for _, declined in said])
    again = meaning_classes([said[i][0] for i in order], [said[i][1] for i in order])
    for a, b in itertools.combinations(range(len(said)), 2):
        assert (found[order[a]] == found[order[b]]) == (again[a] == again[b])


@FAST
@given(st.lists(st.text(max_size=20) | st.sampled_from(ANSWERS), max_size=8), st.text(max_size=20))
def test_any_text_has_a_class_and_equal_texts_have_one(texts: list[str], question: str) -> None:
    found = classes(*texts, *texts, question=question)
    assert found[: len(texts)] == found[len(texts) :]
    # Numbered by first appearance.
    assert list(dict.fromkeys(found)) == list(range(len(set(found))))


def test_the_simulated_models_answers_fall_into_classes_by_what_they_say() -> None:
    """Pairs of answers to one question: with another value they are never one class, in other words they mostly are."""
    apart, together = [], []
    for entry in BANK[::7]:
        answers = phrasebook.lookup()[phrasebook.normalised(entry)].answers
        for one, other in itertools.combinations_with_replacement(answers, 2):
            if phrasebook.slots(one) != phrasebook.slots(other) or len(phrasebook.slots(one)) != 1:
                continue
            slot = phrasebook.slots(one)[0]
            for value, another in itertools.product(phrasebook.words(slot), repeat=2):
                first, second = one.replace(f"{{{slot}}}", value), other.replace(f"{{{slot}}}", another)
                same = classes(first, second, question=entry) == [0, 0]
                if value != another:
                    apart.append(not same)
                elif one != other:
                    together.append(same)
    assert len(apart) > 1000
    assert len(together) > 100
    assert np.mean(apart) == 1
    assert np.mean(together) > 0.6


# --- how much samples agree ---------------------------------------------------------------------------------------


@FAST
@given(st.lists(st.integers(0, 4), min_size=1, max_size=20), st.randoms())
def test_entropy_is_that_of_scipy_and_lies_in_its_bounds(found: list[int], rng: Random) -> None:
    value = semantic_entropy(found)
    assert value == pytest.approx(stats.entropy([found.count(each) for each in set(found)]))
    assert value is not None
    assert 0 <= value <= math.log(len(found)) + 1e-12
    renamed = [f"class {each}" for each in rng.sample(found, len(found))]
    assert semantic_entropy(renamed) == value
    assert (value == 0) == (self_consistency(found) == 1)


def test_entropy_and_shares_by_hand() -> None:
    assert semantic_entropy([0, 0, 0, 0]) == 0
    assert semantic_entropy([0, 1]) == pytest.approx(math.log(2))
    assert semantic_entropy([0, 0, 1, 2]) == pytest.approx(1.5 * math.log(2))
    assert self_consistency([0, 0, 1, 2]) == 0.5
    assert agreement(1, [0, 0, 1, 2]) == 0.25
    assert agreement(7, [0, 0, 1, 2]) == 0


def test_without_samples_there_is_no_figure() -> None:
    assert (semantic_entropy([]), self_consistency([]), agreement(0, [])) == (None, None, None)


# --- questions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What color is the car?", "What color is the car?"),
        ("What color is the car?", "what colour is the car"),
        ("What color is the car?", "What is the color of the car?"),
        ("What color is the car?", "Which color is the car?"),
        ("What color is the car?", "What is the car's color?"),
        ("What color is the car?", "What color is the car in the picture?"),
        ("Is there a dog?", "Can you see a dog in the image?"),
        ("How many people are there?", "How many people are visible in the photo?"),
        ("What is the man wearing?", "What's the man wearing?"),
        ("Are there two dogs?", "Are there 2 dogs?"),
        ("Is the cat left of the dog?", "Is the cat to the left of the dog?"),
        ("?", "?"),
    ],
)
def test_these_questions_ask_the_same(one: str, other: str) -> None:
    assert near_duplicates([one, other]) == [(0, 1)]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What color is the car?", "What color is the bus?"),
        ("What color is the car?", "What color is the big car?"),
        ("What color is the car?", "What brand is the car?"),
        ("Is the cat left of the dog?", "Is the dog left of the cat?"),
        ("How many dogs are there?", "How many cats are there?"),
        ("How many cars are parked?", "How many cards are parked?"),
        ("What is the man holding?", "What is the woman holding?"),
        ("What is he holding?", "What is she holding?"),
        ("Where is the dog?", "Where was the dog?"),
        ("What does the man do?", "What will the man do?"),
        ("What is in the picture on the wall?", "What is on the wall?"),
        ("Is the door open?", "Is the door closed?"),
        ("Is the door open?", "Is the door not open?"),
        ("Are there two dogs?", "Are there three dogs?"),
        ("What is behind the car?", "What is in front of the car?"),
        ("What is it?", "Where is it?"),
        ("Is it visible?", "Can you see?"),
    ],
)
def test_these_questions_do_not(one: str, other: str) -> None:
    assert near_duplicates([one, other]) == []


def test_pairs_come_in_order_and_none_twice() -> None:
    asked = [
        "Is there a dog?",
        "What color is the car?",
        "Can you see a dog?",
        "What colour is the car?",
        "Is a dog visible?",
    ]
    assert near_duplicates(asked) == [(0, 2), (0, 4), (1, 3), (2, 4)]
    assert near_duplicates([]) == near_duplicates(["Is there a dog?"]) == []


def test_the_threshold_says_how_much_two_spellings_may_differ() -> None:
    asked = ["What color is the car?", "What colour is the car?"]
    assert fuzz.ratio("color", "colour") == pytest.approx(90.9, abs=0.1)
    assert near_duplicates(asked, threshold=90) == [(0, 1)]
    assert near_duplicates(asked, threshold=95) == []


def test_no_two_questions_of_the_simulated_model_are_near_duplicates() -> None:
    """All of them ask different things, in few templates: scorers of whole questions take many for the same."""
    assert len(BANK) == len(set(BANK)) > 500
    assert near_duplicates(BANK) == []
    assert sum(fuzz.ratio(a, b) >= 90 for a, b in itertools.combinations(BANK[:200], 2)) > 20


def test_no_two_questions_about_a_drawn_scene_are_near_duplicates() -> None:
    rng = Random(1)
    for _ in range(60):
        scene = draw(rng)
        posed = [answerable(scene, rng) for _ in range(8)] + [unanswerable(scene, rng) for _ in range(8)]
        asked = list(dict.fromkeys(each.text for each in posed if each))
        assert near_duplicates(asked) == []


def spelled(questions: Sequence[str]) -> list[str]:
    """Each question as somebody else might write it: another spelling, another name of the image, a contraction."""
    return [
        question.replace("colour", "color").replace("grey", "gray").replace("in the image", "in this photo")
        .replace("What is", "What's").replace("Which", "What").replace("?", " ?").upper()
        for question in questions
    ]  # fmt: skip


def test_every_question_is_found_again_in_another_spelling() -> None:
    asked = BANK[::3]
    found = near_duplicates([*asked, *spelled(asked)])
    assert found == [(i, i + len(asked)) for i in range(len(asked))]


@FAST
@given(st.lists(st.sampled_from(BANK) | st.text(max_size=25), max_size=8), st.randoms())
def test_near_duplicates_do_not_depend_on_order_and_hold_equal_questions(questions: list[str], rng: Random) -> None:
    order = rng.sample(range(len(questions)), len(questions))
    found = set(near_duplicates(questions))
    again = {tuple(sorted((order[i], order[j]))) for i, j in near_duplicates([questions[i] for i in order])}
    assert found == again
    assert {
        (i, j) for i, j in itertools.combinations(range(len(questions)), 2) if questions[i] == questions[j]
    } <= found
