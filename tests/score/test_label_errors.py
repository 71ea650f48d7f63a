"""UnF1 corrected by trusted labels: their order, figures by hand, what does not enter, how often the interval holds."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from random import Random

import pytest

from unsaf_async.records import CallRecord, Decider, Examination, ImageRecord, Question
from unsaf_async.score.calibration import Confusion, Verdicts
from unsaf_async.score.label_errors import LabelCorrected, LabelTally, TrustedLabel, about_labels
from unsaf_async.score.label_sample import CELLS, label_order, question_key

ANSWER = CallRecord(role="answer", outcome="ok")
OF_CELL = {
    "ta": ("answerable", "answered"),
    "fu": ("answerable", "abstained"),
    "fa": ("unanswerable", "answered"),
    "tu": ("unanswerable", "abstained"),
}
QUESTIONS = {"ta": 100, "fu": 20, "fa": 30, "tu": 50}
UNANSWERABLE = {"ta": 10, "fu": 15, "fa": 12, "tu": 45}


def question(cell: str, text: str, **fields: object) -> Question:
    """A scored question of that cell."""
    intended, act = OF_CELL[cell]
    return Question.model_validate({"text": text, "intended": intended, "act": act, "answer": ANSWER} | fields)


def planted(questions: dict[str, int] = QUESTIONS, **fields: object) -> list[Examination]:
    """So many questions of each cell, each about an image of its own; the first of a cell come first."""
    return [
        Examination(
            image=ImageRecord(id=f"{cell}-{n}", path="x"), questions=(question(cell, f"{cell} {n}?", **fields),)
        )
        for cell, number in questions.items()
        for n in range(number)
    ]


def truth(examinations: list[Examination], unanswerable: dict[str, int] = UNANSWERABLE) -> dict[str, TrustedLabel]:
    """Every question's label: the first so many of each cell have no answer."""
    labels = {}
    for examination in examinations:
        cell, number = examination.image.id.split("-")
        true = "unanswerable" if int(number) < unanswerable[cell] else "answerable"
        labels[question_key(examination.image, examination.questions[0].text)] = TrustedLabel(true)
    return labels


def corrected(
    examinations: list[Examination],
    labels: dict[str, TrustedLabel],
    seed: int = 0,
    known: dict[Decider, Confusion] | None = None,
) -> LabelCorrected:
    tally = LabelTally(labels, seed, known)
    for examination in examinations:
        tally.add(examination)
    return tally.corrected()


def first(
    number: int, examinations: list[Examination], labels: dict[str, TrustedLabel], seed: int = 0
) -> dict[str, TrustedLabel]:
    """The labels of the first questions in the random order."""
    return {each.key: labels[each.key] for each in label_order(examinations, seed)[:number]}


def test_with_every_question_labelled_it_is_the_f1_of_the_true_labels() -> None:
    examinations = planted()
    found = corrected(examinations, truth(examinations))
    # TU = 15 + 45, FU = 5 + 5, FA = 10 + 12; as intended TU = 50, FU = 20, FA = 30
    assert found.unf1 == pytest.approx(120 / (120 + 10 + 22))
    assert found.unf1_intended == pytest.approx(100 / 150)
    assert [(each.questions, each.unanswerable, each.inclusion) for each in found.cells] == [
        (100, 10, 1.0), (20, 15, 1.0), (30, 12, 1.0), (50, 45, 1.0)
    ]  # fmt: skip
    assert found.unf1_ci is not None
    assert found.unf1_ci[0] < found.unf1 < found.unf1_ci[1]
    assert found.why_undefined == {}


def test_of_a_sample_each_label_counts_for_as_many_questions_as_its_cell_has_for_each_label() -> None:
    examinations = planted()
    labels = truth(examinations)
    found = corrected(examinations, first(80, examinations, labels))
    assert found.labels == 80
    shares = {
        cell: Fraction(each.unanswerable, each.unanswerable + each.answerable)
        for cell, each in zip(CELLS, found.cells, strict=True)
    }
    without = {cell: QUESTIONS[cell] * share for cell, share in shares.items()}
    tu, fa = without["fu"] + without["tu"], without["ta"] + without["fa"]
    assert found.unf1 == pytest.approx(float(2 * tu / (tu + 70 + fa)))
    assert found.unf1 != pytest.approx(found.unf1_intended)


def test_a_question_that_nobody_can_decide_is_left_out_and_its_bounds_are_told() -> None:
    examinations = planted()
    labels = truth(examinations)
    for cell in ("ta", "tu"):  # one answerable question each
        (one,) = (each for each in examinations if each.image.id == f"{cell}-49")
        labels[question_key(one.image, one.questions[0].text)] = TrustedLabel("cannot-say")
    found = corrected(examinations, labels)
    # Without them: of tu, FU loses one. Bounds: of ta it may be FA; of tu FU or TU.
    assert found.cannot_say == 2
    assert found.unf1 == pytest.approx(120 / (120 + 9 + 22))
    assert found.unf1_if_undecided == pytest.approx((120 / (120 + 10 + 23), 122 / (122 + 9 + 22)))
    assert "2 of them decide nothing" in "\n".join(about_labels(found))


def test_labels_behind_one_that_was_passed_over_do_not_enter() -> None:
    examinations = planted()
    labels = first(80, examinations, truth(examinations))
    whole = corrected(examinations, labels)
    skipped = next(each for each in label_order(examinations, 0) if each.cell == "ta")
    in_cell = whole.cells[0].answerable + whole.cells[0].unanswerable
    del labels[skipped.key]
    found = corrected(examinations, labels)
    assert found.out_of_turn == in_cell - 1
    assert found.labels == 80 - in_cell
    assert found.unf1 is None
    assert found.why_undefined["unf1"].startswith("a correction needs at least 50 labels")
    assert f"{in_cell - 1} more do not enter" in "\n".join(about_labels(found))


def test_too_few_labels_correct_nothing_and_the_reason_is_told() -> None:
    examinations = planted()
    labels = truth(examinations)
    found = corrected(examinations, first(49, examinations, labels))
    assert (found.unf1, found.unf1_ci) == (None, None)
    assert found.why_undefined["unf1_ci"].endswith("there are 49")
    assert corrected(examinations, first(50, examinations, labels)).unf1 is not None
    few = planted({"ta": 3, "fu": 2, "fa": 2, "tu": 3})
    all_labelled = corrected(few, truth(few, {"ta": 0, "fu": 0, "fa": 2, "tu": 3}))
    assert all_labelled.unf1 == pytest.approx(6 / (6 + 2 + 2))
    none = corrected(examinations, truth(examinations, dict.fromkeys(CELLS, 0)))
    assert none.why_undefined["unf1"] == "no labelled question is unanswerable"


def test_labels_of_one_image_alone_have_no_interval() -> None:
    asked = [question(cell, f"{cell} {n}?") for cell in CELLS for n in range(20)]
    examinations = [
        Examination(image=ImageRecord(id="one", path="x"), questions=tuple(asked)),
        Examination(image=ImageRecord(id="two", path="x"), questions=(question("ta", "Again?"),)),
    ]
    order = [each for each in label_order(examinations, 0) if each.image == "one"]
    labels = {each.key: TrustedLabel("unanswerable" if each.place % 2 else "answerable") for each in order}
    found = corrected(examinations, labels, next(seed for seed in range(99) if last(examinations, seed) == "two"))
    assert found.unf1 is not None
    assert found.why_undefined == {"unf1_ci": "all labels are about one image"}


def last(examinations: list[Examination], seed: int) -> str:
    """The image of the answered answerable question that comes last."""
    return [each.image for each in label_order(examinations, seed) if each.cell == "ta"][-1]


def test_a_label_stays_with_its_picture_and_its_wording() -> None:
    examinations = planted()
    labels = truth(examinations)
    pixels = {"pixels_sha256": "0" * 64}
    other = [each.model_copy(update={"image": each.image.model_copy(update=pixels)}) for each in examinations]
    moved = corrected(other, labels)
    assert (moved.labels, moved.not_in_run) == (0, 200)
    reworded = [each.model_copy(update={"questions": (question("ta", "Another?"),)}) for each in examinations]
    assert corrected(reworded, labels).labels == 0
    one, twin = (ImageRecord(id=each, path=each, **pixels) for each in ("one", "twin"))
    assert question_key(one, "a?") == question_key(twin, "a?") != question_key(one, "b?")


def test_the_judges_errors_are_reckoned_out_on_the_true_sides() -> None:
    examinations = planted(decided_by="judge")
    labels = truth(examinations)
    rates = Confusion(answered=Verdicts(answered=90, abstained=10), abstained=Verdicts(answered=5, abstained=95))
    plain, found = corrected(examinations, labels), corrected(examinations, labels, known={"judge": rates})
    # Declined of the 82 unanswerable (60 - 8.2) / .85; of the 118 answerable (10 - 11.8) / .85, cut to 0
    true = (60 - 82 * 0.1) / 0.85
    assert found.unf1 == pytest.approx(2 * true / (true + 82))
    assert found.judge_corrected
    assert not plain.judge_corrected
    assert found.unf1_ci[1] - found.unf1_ci[0] > plain.unf1_ci[1] - plain.unf1_ci[0]
    assert "judge's errors are not reckoned out" in "\n".join(about_labels(plain))
    assert "judge's errors" not in "\n".join(about_labels(found))
    hopeless = Confusion(answered=Verdicts(answered=1, abstained=9), abstained=Verdicts(answered=5, abstained=5))
    kept = corrected(examinations, labels, known={"judge": hopeless})
    assert kept.unf1 == plain.unf1
    assert "add up to 1 or less" in kept.why_judge_not_corrected


def test_where_the_questions_of_an_image_are_false_together_the_interval_is_wider() -> None:
    def world(together: bool) -> tuple[list[Examination], dict[str, TrustedLabel]]:
        draw = Random(4)
        examinations, labels = [], {}
        for number in range(40):
            image = ImageRecord(id=f"{number:02}", path="x")
            asked = [question(cell, f"{number} {cell} {n}?") for cell in ("ta", "tu") for n in range(5)]
            false = [draw.random() < 0.25] * 10 if together else [draw.random() < 0.25 for _ in range(10)]
            for each, is_false in zip(asked, false, strict=True):
                answerable = (each.intended == "answerable") != is_false
                true = TrustedLabel("answerable" if answerable else "unanswerable")
                labels[question_key(image, each.text)] = true
            examinations.append(Examination(image=image, questions=tuple(asked)))
        return examinations, labels

    apart, together = (corrected(asked, first(200, asked, labels)) for asked, labels in map(world, (False, True)))
    assert apart.design_effect < 1.8
    assert together.design_effect > 2.5
    assert together.unf1_ci[1] - together.unf1_ci[0] > 1.4 * (apart.unf1_ci[1] - apart.unf1_ci[0])


def test_the_interval_covers_the_truth_where_that_of_the_intended_labels_never_does() -> None:
    """A plain interval covers too rarely where labels of a cell are hardly ever wrong: here 1 in 20 of those answered."""
    questions = {"ta": 250, "fu": 75, "fa": 75, "tu": 200}
    unanswerable = {"ta": 12, "fu": 73, "fa": 15, "tu": 196}
    examinations = planted(questions)
    labels = truth(examinations, unanswerable)
    tu, fu, fa = 73 + 196, 2 + 4, 12 + 15
    true = 2 * tu / (2 * tu + fu + fa)
    found = [corrected(examinations, first(100, examinations, labels, seed), seed) for seed in range(60)]
    covered = sum(each.unf1_ci[0] <= true <= each.unf1_ci[1] for each in found)
    assert covered >= 55
    assert abs(sum(each.unf1 for each in found) / 60 - true) < 0.006
    assert sum(each.unf1_ci[1] - each.unf1_ci[0] for each in found) / 60 < 0.11
    assert true - found[0].unf1_intended > 0.2


# --- the order in which questions are labelled


def test_after_any_number_of_labels_each_cell_has_its_share_and_small_ones_a_twentieth() -> None:
    examinations = planted({"ta": 500, "fu": 4, "fa": 96, "tu": 400})
    order = label_order(examinations, 0)
    assert len({each.key for each in order}) == 1000
    for number in (40, 100, 200):
        counts = Counter(each.cell for each in order[:number])
        assert abs(counts["ta"] - number * 0.48) < 4
        assert abs(counts["fa"] - number * 0.093) < 2
        assert counts["fu"] == min(4, round(number * 0.048))


def test_the_order_of_a_cell_is_random_and_stays_whatever_comes_later() -> None:
    few, more = planted({"ta": 50, "tu": 50}), planted({"ta": 90, "tu": 50, "fa": 10})
    before, after = ([each.image for each in label_order(of, 0) if each.cell == "ta"] for of in (few, more))
    assert [each for each in after if int(each[3:]) < 50] == before
    assert before != sorted(before, key=lambda each: int(each[3:]))
    assert before != [each.image for each in label_order(few, 1) if each.cell == "ta"]
    assert label_order(few[::-1], 0) == label_order(few, 0)


def test_unscored_questions_are_not_labelled() -> None:
    image = ImageRecord(id="x", path="x")
    open_ = question("ta", "What?", act=None, unscored="undecided")
    assert label_order([Examination(image=image, questions=(open_,)), Examination(image=image)], 0) == []
