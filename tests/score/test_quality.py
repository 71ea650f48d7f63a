"""Question quality: what is counted, and which warnings come of a degenerate asker and of no other."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import unsaf_async
from unsaf_async.normalize import normal_form
from unsaf_async.records import Audit, CallRecord, Examination, GivenQuestion, ImageRecord, Kind, Label, Question
from unsaf_async.runs.journal import read_journal
from unsaf_async.score.intervals import ratio_interval
from unsaf_async.score.quality import Quality, count_words, question_quality, warnings
from unsaf_async.simulate import phrasebook

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CALL = CallRecord(role="answer", outcome="ok")
FAST = settings(max_examples=60, deadline=None)
K = 6


def question(text: str, intended: Label = "answerable", kind: Kind | None = None, **audits: bool | None) -> Question:
    return Question(
        text=text,
        intended=intended,
        kind=kind,
        answer=CALL,
        audits=tuple(Audit(auditor=name, answerable=answerable, call=CALL) for name, answerable in audits.items()),
    )


def examination(name: str, *questions: Question) -> Examination:
    return Examination(image=ImageRecord(id=name, path=name), questions=questions)


def asker(images: int, writes: Callable[[int, Label], Sequence[str]]) -> Quality:
    """The quality of a run in which `writes` gives the questions of an image, by its number and the label."""
    labels: tuple[Label, ...] = ("answerable", "unanswerable")
    return question_quality(
        examination(f"{i:04}", *(question(text, label) for label in labels for text in writes(i, label)))
        for i in range(images)
    )


def from_the_bank(start: int, label: Label, n: int = K) -> list[str]:
    """n different questions of the simulated model's bank, other ones for each start."""
    bank = phrasebook.bank(label).entries
    return [bank[(97 * start + step) % len(bank)].text for step in range(n)]


# --- counting -----------------------------------------------------------------------------------------------------


def test_shares_of_questions_have_intervals_with_images_as_the_unit() -> None:
    def asked(number: int) -> Examination:
        kinds: tuple[Kind, ...] = ("identity", "temporal") if number % 3 else ("identity", "identity")
        repeated = "What color is the large car here?" if number % 4 else "Who sits at the table over there?"
        return examination(
            f"{number}",
            question("What color is the large car here?", a=bool(number % 2)),
            question(repeated, a=True),
            *(question(f"Why {kind} {number} {place}?", "unanswerable", kind) for place, kind in enumerate(kinds)),
        )

    images = [asked(number) for number in range(12)]
    quality = question_quality(images)
    assert quality.intervals.keys() == {
        "near_duplicate_share",
        "kinds.identity",
        "kinds.temporal",
        "false_labels.a.share",
    }
    assert set(quality.why_no_interval) == {
        "distinct_share",
        "distinct_per_image",
        "recurring_share",
        "common.share",
        "by_label.answerable.words_mean",
        "by_label.unanswerable.words_mean",
        "by_label.answerable.template.share",
        "by_label.unanswerable.template.share",
    }, "these are never given one"
    assert all(quality.why_no_interval.values())
    assert question_quality([]).why_no_interval == {}
    assert quality.intervals["kinds.temporal"] == ratio_interval([(bool(n % 3), 2) for n in range(12)]).ends
    assert quality.intervals["false_labels.a.share"] == ratio_interval([(not n % 2, 2) for n in range(12)]).ends
    assert quality.near_duplicate_share is not None
    low, high = quality.intervals["near_duplicate_share"]
    assert low < quality.near_duplicate_share < high
    alone = question_quality(images[:1])
    assert alone.intervals == {}
    assert "at least 2 images" in alone.why_no_interval["near_duplicate_share"]
    copies = [
        each.model_copy(update={"image": each.image.model_copy(update={"pixels_sha256": "a" * 64})}) for each in images
    ]
    assert "near_duplicate_share" in question_quality(copies).why_no_interval, "equal pictures are one"


def test_questions_are_counted_by_text_label_kind_and_audit() -> None:
    images = [
        examination(
            "1",
            question("What color is the cup?", a=True),
            question("Is there a dog?", a=False),
            question("Who owns the cup?", "unanswerable", "identity", a=False),
        ),
        examination(
            "2",
            question("what color is the cup", a=None),
            question("Why?", "unanswerable", a=True),
        ),
        examination("3"),
    ]
    quality = question_quality(images)
    assert (quality.images, quality.questions, quality.given, quality.short) == (2, 5, 0, 1)
    assert quality.distinct_share == pytest.approx(4 / 5)
    assert quality.distinct_per_image == pytest.approx(5 / 2)
    assert quality.recurring_share == pytest.approx(2 / 5)
    assert quality.near_duplicate_share == 0.0
    assert quality.common is not None
    assert (quality.common.text, quality.common.images, quality.common.share) == ("what color is the cup", 2, 1.0)
    assert quality.kinds == {"identity": 0.5, "unspecified": 0.5}
    assert {label: (each.questions, each.words_mean) for label, each in quality.by_label.items()} == {
        "answerable": (3, pytest.approx(14 / 3)),
        "unanswerable": (2, 2.5),
    }
    false = quality.false_labels["a"]
    assert (false.audited, false.unlike, false.share) == (4, 2, 0.5)


def test_questions_that_hardly_differ_are_counted_within_an_image_and_not_between() -> None:
    same = ("What color is the car?", "What is the color of the car?")
    quality = question_quality([examination("1", *map(question, same), question("Who owns the car?"))])
    assert quality.near_duplicate_share == pytest.approx(1 / 3)
    apart = question_quality([examination(text, question(text)) for text in same])
    assert apart.near_duplicate_share == 0.0


def test_questions_that_the_model_did_not_write_say_nothing_of_it() -> None:
    foreign = question("Is there a dog?").model_copy(
        update={"given": GivenQuestion(text="Is there a dog?", intended="answerable")}
    )
    own = [examination(str(i), question(f"What is number {i}?")) for i in range(3)]
    mixed = [image.model_copy(update={"questions": (*image.questions, foreign)}) for image in own]
    assert question_quality(mixed) == question_quality(own).model_copy(update={"given": 3})


def test_without_questions_nothing_is_said_and_nothing_is_zero_that_has_no_value() -> None:
    for images in ([], [examination("1")]):
        quality = question_quality(images)
        assert (quality.images, quality.questions) == (0, 0)
        assert (quality.distinct_share, quality.distinct_per_image, quality.recurring_share) == (None, None, None)
        assert (quality.near_duplicate_share, quality.common) == (None, None)
        assert (quality.kinds, quality.by_label, quality.false_labels) == ({}, {}, {})
        none = ("distinct_share", "distinct_per_image", "recurring_share", "near_duplicate_share", "common")
        assert quality.undefined == dict.fromkeys(none, "the model wrote no question")
        assert list(warnings(quality)) == []


def test_a_share_that_has_nothing_to_compare_says_why() -> None:
    quality = question_quality([examination("1", question("杯子是什么颜色的"))])
    assert (quality.recurring_share, quality.near_duplicate_share) == (None, None)
    assert quality.undefined == {
        "recurring_share": "only one image has questions",
        "near_duplicate_share": "every question is in a script that sets no spaces",
    }


@FAST
@given(st.lists(st.sets(st.sampled_from("abcde"), max_size=5), max_size=6))
def test_the_recurring_share_is_the_mean_over_all_pairs_of_images(images: list[set[str]]) -> None:
    quality = question_quality(
        examination(str(i), *(question(f"What about {letter}?") for letter in sorted(own)))
        for i, own in enumerate(images)
    )
    asked = [own for own in images if own]
    shared = sum(2 * len(one & other) for one, other in combinations(asked, 2))
    pairs = (len(asked) - 1) * sum(map(len, asked))
    assert quality.recurring_share == (pytest.approx(shared / pairs) if pairs > 0 else None)


def test_the_recurring_share_does_not_fall_as_a_run_grows_unlike_the_distinct_share() -> None:
    def sets_in_rotation(i: int, label: Label) -> list[str]:
        return from_the_bank(i % 4, label)

    small, large = asker(20, sets_in_rotation), asker(400, sets_in_rotation)
    assert small.distinct_share == pytest.approx(20 * large.distinct_share)
    assert small.recurring_share == pytest.approx(0.25, abs=0.05)
    assert large.recurring_share == pytest.approx(0.25, abs=0.05)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("What color is the cup?", 5),
        ("", 0),
        ("  Why ?  ", 2),
        ("这只猫是什么颜色？", 8),
        ("猫はどこにいますか？", 9),
        ("¿Qué hora es?", 3),
    ],
)
def test_words_are_counted_with_and_without_spaces(text: str, words: int) -> None:
    assert count_words(text) == words


def test_quality_does_not_depend_on_the_order_of_images_and_takes_the_last_line_of_each() -> None:
    images = [examination(f"{i:02}", *map(question, from_the_bank(i, "answerable"))) for i in range(8)]
    stale = examination("03", question("What?", a=True))
    assert question_quality([stale, *reversed(images)]) == question_quality(images)


# --- warnings -----------------------------------------------------------------------------------------------------


def kinds_of_warning(quality: Quality) -> set[str]:
    """Which of the warnings there are, by a word of each."""
    marks = {
        "common": "one question is asked about",
        "recurring": "is asked about another",
        "near": "hardly differ",
        "short": "fewer than 3 words",
        "template": "one sentence with other words filled in",
    }
    told = list(warnings(quality))
    found = {name for name, mark in marks.items() for sentence in told if mark in sentence}
    assert len(found) <= len(told)
    return found


def test_an_asker_of_varied_questions_gets_no_warning() -> None:
    assert list(warnings(asker(60, from_the_bank))) == []


def test_an_asker_of_one_question_for_all_images_is_warned_of() -> None:
    quality = asker(30, lambda i, label: ["What was here a day earlier?", *from_the_bank(i, label)])
    (sentence,) = warnings(quality)
    assert "asked about 30 of 30 images (100%)" in sentence
    assert '"what was here a day earlier"' in sentence


def test_an_asker_of_three_questions_in_rotation_is_warned_of() -> None:
    quality = asker(30, lambda i, label: [from_the_bank(i % 3, label)[0]])
    assert "recurring" in kinds_of_warning(quality)


@pytest.mark.parametrize("sets", [1, 2, 4, 6])
def test_an_asker_with_a_few_sets_of_questions_in_rotation_is_warned_of(sets: int) -> None:
    assert "recurring" in kinds_of_warning(asker(120, lambda i, label: from_the_bank(i % sets, label)))


def test_an_asker_that_words_one_question_in_many_ways_is_warned_of() -> None:
    def reworded(i: int, label: Label) -> list[str]:
        thing = ("car", "house", "river", "garden", "letter", "bridge")[i % 6] + f" {i}"
        return [
            f"What color is the {thing}?",
            f"What is the color of the {thing}?",
            f"The {thing} is what color?",
            f"Which color is the {thing}?",
        ]

    assert "near" in kinds_of_warning(asker(30, reworded))


def test_an_asker_of_very_short_questions_is_warned_of() -> None:
    quality = asker(30, lambda i, label: [*from_the_bank(i, label, 4), f"Color{i}?", f"And {i}?"])
    assert kinds_of_warning(quality) == {"short"}


def test_short_questions_in_a_script_without_spaces_are_not_taken_for_short() -> None:
    quality = asker(30, lambda i, label: [f"图中第{chr(0x4E00 + i)}只{label[0]}是什么颜色？"])
    assert quality.short == 0
    assert list(warnings(quality)) == []


def test_an_asker_that_fills_one_template_is_warned_of_by_label() -> None:
    def filled(i: int, label: Label) -> list[str]:
        if label == "answerable":
            return from_the_bank(i, label)
        return [f"Who made the {chr(97 + i % 26)}{i}{letter}?" for letter in "abcd"] + from_the_bank(i, label, 2)

    (sentence,) = warnings(asker(30, filled))
    assert sentence.startswith("120 of 180 unanswerable questions (67%)")
    assert '"who made the _"' in sentence


def test_a_few_images_or_questions_are_too_few_to_speak_of() -> None:
    assert list(warnings(asker(4, lambda i, label: ["What is on the table?"]))) == []
    assert list(warnings(asker(2, lambda i, label: [f"Why {i}?"]))) == []


@pytest.mark.no_cover
@pytest.mark.parametrize("provider", ["scripted", "tiny"])
async def test_the_shipped_models_get_no_warning(provider: str) -> None:
    await unsaf_async.evaluate(provider, out="run", cache=None)
    quality = question_quality(read_journal(Path("run/journal.jsonl")).values())
    assert quality.questions > 100
    assert quality.distinct_per_image == pytest.approx(quality.questions / quality.images)
    assert list(warnings(quality)) == []


@FAST
@given(st.lists(st.lists(st.text(max_size=30).filter(lambda text: bool(normal_form(text))), max_size=5), max_size=5))
def test_any_text_can_be_counted(images: list[list[str]]) -> None:
    quality = question_quality(
        examination(str(i), *(question(text) for text in texts)) for i, texts in enumerate(images)
    )
    assert quality.questions == sum(map(len, images))
    for share in (quality.distinct_share, quality.recurring_share, quality.near_duplicate_share):
        assert share is None or 0 <= share <= 1
    assert all("\n" not in sentence for sentence in warnings(quality))
