"""Equal pictures are one unit of every interval, and nearly equal ones are told."""

from __future__ import annotations

import re

import numpy as np
import pytest

from unsaf_async.compare.cross_matrix import matrix
from unsaf_async.compare.pairing import paired_difference
from unsaf_async.distill.evaluate.figures import fixed_mix_figure, ratio_figures
from unsaf_async.distill.evaluate.measures import OVER_REFUSAL_BANK
from unsaf_async.records import (
    Audit,
    CallRecord,
    Confidence,
    Examination,
    GivenQuestion,
    ImageRecord,
    Question,
    Support,
    Vote,
)
from unsaf_async.score.agreement import panel_agreement
from unsaf_async.score.calibration import Confusion, Verdicts, corrected_unf1
from unsaf_async.score.fidelity import label_fidelity
from unsaf_async.score.grounded import grounded
from unsaf_async.score.labelled import labelled_score
from unsaf_async.score.run_score import Score, score
from unsaf_async.score.signals import signals
from unsaf_async.score.units import Lookalikes, Units

CALL = CallRecord(role="answer", outcome="ok")


def question(rng: np.random.Generator) -> Question:
    """A question of which everything is known that any figure asks for."""
    unanswerable, abstained, right, agrees = (bool(each) for each in rng.random(4) < 0.5)
    intended = "unanswerable" if unanswerable else "answerable"
    act = "abstained" if abstained else "answered"
    return Question(
        text="What?",
        intended=intended,
        kind="hidden" if unanswerable else None,
        response="It cannot be told." if abstained else "a cat" if right else "a dog",
        answer=CALL,
        act=act,
        decided_by="panel",
        given=GivenQuestion(text="What?", intended=intended, answers=() if unanswerable else ("a cat",)),
        votes=(Vote(judge="one", act=act, call=CALL), Vote(judge="two", act="answered" if agrees else act, call=CALL)),
        support=Support(judge="one", supported=right, call=CALL) if not (unanswerable or abstained) else None,
        audits=(Audit(auditor="eye", answerable=agrees, call=CALL),),
        stated=Confidence(value=float(rng.random()), call=CALL),
    )


def examinations(seed: int = 0) -> list[Examination]:
    """Twelve files, of which the last four are copies of the first ones."""
    rng = np.random.default_rng(seed)
    return [
        Examination(
            image=ImageRecord(id=f"{place:02}", path="x", pixels_sha256=f"{place % 8:064x}"),
            questions=tuple(question(rng) for _ in range(4)),
        )
        for place in range(12)
    ]


def as_one(images: list[Examination]) -> list[Examination]:
    """The same with the copies' questions put to the picture that they are copies of."""
    whole: dict[str | None, Examination] = {}
    for each in images:
        first = whole.setdefault(each.image.pixels_sha256, each.model_copy(update={"questions": ()}))
        whole[each.image.pixels_sha256] = first.model_copy(update={"questions": (*first.questions, *each.questions)})
    return list(whole.values())


def scored(images: list[Examination]) -> Score:
    return score(images, questions_per_label=None, accounts=None, provider="p", judge="j", resamples=500)


SAID = Confusion(answered=Verdicts(answered=50, abstained=2), abstained=Verdicts(abstained=38, answered=4))

FIGURES = {
    "audit": label_fidelity,
    "panel": panel_agreement,
    "corrected": lambda images: corrected_unf1(images, {"panel": SAID}, resamples=300),
    "grounded": grounded,
    "signals": lambda images: signals(images, {}),
    "labelled": lambda images: labelled_score(images, yes_no_set=False, why_none={}),
}


def rounded(figures: object) -> str:
    """All of the figures, without the last digits, which depend on the order of sums."""
    return re.sub(r"\d\.\d{10,}", lambda found: f"{float(found[0]):.9f}", repr(figures))


@pytest.mark.parametrize("name", FIGURES)
def test_copies_of_a_picture_give_the_intervals_of_one_picture_with_all_their_questions(name: str) -> None:
    images = examinations()
    assert rounded(FIGURES[name](images)) == rounded(FIGURES[name](as_one(images)))
    apart = [
        each.model_copy(update={"image": each.image.model_copy(update={"pixels_sha256": None})}) for each in images
    ]
    assert rounded(FIGURES[name](images)) != rounded(FIGURES[name](apart))


def test_the_score_counts_a_picture_once_and_says_so() -> None:
    images = examinations()
    found, whole = scored(images), scored(as_one(images))
    assert (found.unf1, found.unf1_ci) == (whole.unf1, whole.unf1_ci)
    assert found.images.done == 12
    line = "4 images have the pixels of another, of 12: every interval counts equal pictures once, 8 units"
    assert line in found.warnings
    assert not any("pixels of another" in warning for warning in whole.warnings)


def test_differences_and_matrices_count_a_picture_once() -> None:
    one, other = examinations(1), examinations(2)
    pair, whole = (
        paired_difference(one, other, resamples=300),
        paired_difference(as_one(one), as_one(other), resamples=300),
    )
    assert (pair.difference, pair.ci, pair.p) == (whole.difference, whole.ci, whole.p)
    assert (pair.images_shared, whole.images_shared) == (12, 8)
    cells = {("a", "a"): one, ("a", "b"): other, ("b", "a"): examinations(3), ("b", "b"): examinations(4)}
    crossed, merged = (
        matrix(each, resamples=300) for each in (cells, {key: as_one(images) for key, images in cells.items()})
    )
    assert [cell.ci for cell in crossed.cells] == [cell.ci for cell in merged.cells]
    assert crossed.fit == merged.fit
    for figures in (
        lambda before, after: ratio_figures([OVER_REFUSAL_BANK], before, after, resamples=300)[0],
        lambda before, after: fixed_mix_figure(before, after, resamples=300),
    ):
        assert figures(one, other).ci == figures(as_one(one), as_one(other)).ci


def test_two_files_of_one_picture_have_no_interval() -> None:
    images = [each for each in examinations() if each.image.pixels_sha256 == f"{0:064x}"]
    assert len(images) == 2
    assert scored(images).unf1_ci is None
    assert paired_difference(images, images).undefined["ci"] == "pairing needs at least 2 shared images; there is 1"


def test_without_pixels_the_bytes_say_what_is_equal_and_without_either_nothing_is() -> None:
    def image(name: str, pixels: str | None = None, data: str | None = None) -> ImageRecord:
        return ImageRecord(id=name, path="x", pixels_sha256=pixels, bytes_sha256=data)

    units = Units.of(
        [image("a", "p", "1"), image("b", "p", "2"), image("c", data="3"), image("d", data="3"), image("e")]
    )
    assert units.numbers.tolist() == [0, 0, 1, 1, 2]
    assert units.sums(np.arange(5)).tolist() == [1, 5, 4]


def test_nearly_equal_pictures_are_found_among_thousands_and_clear_skies_are_not() -> None:
    rng, alike = np.random.default_rng(0), Lookalikes()
    hashes = [int.from_bytes(rng.bytes(32)) for _ in range(3000)]
    hashes[77] = hashes[2500] ^ sum(1 << bit for bit in (0, 40, 80, 120, 160, 200, 240))
    hashes[78] = hashes[2501] ^ sum(1 << bit for bit in range(8))
    hashes[-40:] = [0] * 20 + [1 << bit for bit in range(20)]
    for place, bits in enumerate(hashes):
        alike.add(ImageRecord(id=str(place), path="x", pixels_sha256=str(place), difference_hash=f"{bits:064x}"))
    assert alike.pairs() == [("77", "2500")]


def test_nearly_equal_pictures_are_told_with_an_example_and_stay_apart() -> None:
    images = examinations()[:8]
    for place, bits in ((1, 0b1101 << 200), (5, 0b1001 << 200 | 1)):
        bits |= int.from_bytes(np.random.default_rng(9).bytes(20))
        image = images[place].image.model_copy(update={"difference_hash": f"{bits:064x}"})
        images[place] = images[place].model_copy(update={"image": image})
    found = scored(images)
    (line,) = [warning for warning in found.warnings if "nearly the same picture" in warning]
    assert line.startswith("1 pair of images is nearly the same picture (such as 01 and 05): ")
    assert found.unf1_ci == scored(examinations()[:8]).unf1_ci
