"""Intervals of the figures beside UnF1: each against a computation of its own, or its reason."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import stats

from unsaf_async.records import CallRecord, Examination, ImageRecord, Kind, Label, Question
from unsaf_async.score.count_intervals import ImageRows
from unsaf_async.score.intervals import GUARD, exact_interval
from unsaf_async.score.run_score import Score, score
from unsaf_async.score.unf1 import Counts, cell

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Ends = tuple[float, float]
CELLS = ("ta", "fu", "tu", "fa")
CALL = CallRecord(role="answer", outcome="ok")
FIGURES = (
    "precision", "recall", "over_refusal_rate", "over_answer_rate", "f1_answerable", "macro_f1", "balanced_accuracy",
    "matthews_correlation", "abstention_rate", "audacity_of_answers", "unf1_of_precisions",
)  # fmt: skip


def question(intended: Label, abstained: object, kind: Kind | None = None) -> Question:
    return Question(text="?", intended=intended, kind=kind, answer=CALL, act="abstained" if abstained else "answered")


def examined(images: int = 25, each: int = 3, seed: int = 0) -> list[Examination]:
    """Images with `each` answerable questions, as many hidden ones, and, every fourth of them, one of the kind mental."""
    rng = np.random.default_rng(seed)
    kept = []
    for number in range(images):
        refused, right = rng.random(each) < 0.2 * rng.random(), rng.random(each) < 1.6 * rng.random()
        asked = [question("answerable", each_one) for each_one in refused]
        asked += [question("unanswerable", each_one, "hidden") for each_one in right]
        asked += [question("unanswerable", rng.random() < 0.6, "mental")] if number % 4 == 0 else []
        kept.append(Examination(image=ImageRecord(id=f"{number:03}", path="x"), questions=tuple(asked)))
    return kept


def scored(kept: Sequence[Examination]) -> Score:
    return score(kept, questions_per_label=None, accounts=None, provider="p", judge="j", resamples=20)


def around(value: float, variance: float, images: float, low: float = 0.0) -> tuple[float, float]:
    """Student's t with a guarded error on the logit scale between `low` and 1. images: as how many they count."""
    share, width = (value - low) / (1 - low), 1 - low
    error = math.sqrt(variance / width**2 + GUARD * (max(share, 1 - share) / images) ** 2)
    step = stats.t.ppf(0.975, images - 1) * error / (share * (1 - share))
    ends = low + width / (1 + np.exp(-(math.log(share / (1 - share)) + np.array([-step, step]))))
    return float(ends[0]), float(ends[1])


def linearised(above: np.ndarray, below: np.ndarray) -> float:
    """The variance of a ratio of sums, each image's residual corrected for its leverage."""
    shares = below / below.sum()
    return float((((above / below - above.sum() / below.sum()) * shares) ** 2 / (1 - shares)).sum())


def kish(sizes: np.ndarray) -> float:
    """As how many images of equal size they count."""
    return float(sizes.sum() ** 2 / (sizes**2).sum())


def on_the_ellipse(
    name: str, recall: tuple[float, float], refusal: tuple[float, float], found: Score, rho: float
) -> Ends:
    """The least and the greatest value of a figure where recall and the over-refusal rate lie together, angle by angle."""
    values = []
    assert found.recall is not None
    assert found.over_refusal_rate is not None
    for angle in 2 * math.pi * np.arange(64) / 64:
        x, y = math.cos(angle), rho * math.cos(angle) + math.sqrt(1 - rho**2) * math.sin(angle)
        r = found.recall + x * (recall[1] - found.recall if x > 0 else found.recall - recall[0])
        f = found.over_refusal_rate + y * (
            refusal[1] - found.over_refusal_rate if y > 0 else found.over_refusal_rate - refusal[0]
        )
        of, n = 10**9, found.counts.ta + found.counts.fu
        sizes = {"ta": n * (1 - f), "fu": n * f}
        n = found.counts.tu + found.counts.fa
        sizes |= {"tu": n * r, "fa": n * (1 - r)}
        values.append(getattr(Counts(**{cell: round(of * size) for cell, size in sizes.items()}), name))
    return min(values), max(values)


def jackknife(figure: Callable[[Sequence[Examination]], float | None], kept: Sequence[Examination]) -> float:
    """The variance by leaving out each image, about the whole's figure."""
    whole, n = figure(kept), len(kept)
    parts = [figure([*kept[:place], *kept[place + 1 :]]) for place in range(n)]
    assert whole is not None
    return (n - 1) / n * sum((part - whole) ** 2 for part in parts if part is not None)


def test_every_ratio_has_the_interval_of_its_images_residuals() -> None:
    kept = examined()
    cells = [[cell(each) for each in image.questions] for image in kept]
    ta, fu, tu, fa = (np.array([row.count(name) for row in cells]) for name in ("ta", "fu", "tu", "fa"))  # type: ignore[arg-type]
    terms = {
        "precision": (tu, tu + fu),
        "recall": (tu, tu + fa),
        "over_refusal_rate": (fu, ta + fu),
        "over_answer_rate": (fa, tu + fa),
        "f1_answerable": (2 * ta, 2 * ta + fu + fa),
        "abstention_rate": (tu + fu, ta + fu + tu + fa),
        "audacity_of_answers": (ta, ta + fa),
    }
    found = scored(kept)
    for name, (above, below) in terms.items():
        above, below = above[below > 0], below[below > 0]
        value, k = above.sum() / below.sum(), len(below)
        assert k > 2
        assert getattr(found, name) == pytest.approx(value)
        assert found.intervals[name] == pytest.approx(around(value, linearised(above, below), kish(below))), name


@pytest.mark.parametrize(
    ("name", "low"),
    [("macro_f1", 0.0), ("balanced_accuracy", 0.0), ("unf1_of_precisions", 0.0), ("matthews_correlation", -1.0)],
)
def test_what_is_no_ratio_has_the_interval_of_leaving_out_each_image(name: str, low: float) -> None:
    kept = examined()
    found = scored(kept)
    rows = np.array([[[cell(each) for each in image.questions].count(name) for name in CELLS] for image in kept])
    variance = jackknife(lambda images: getattr(scored(images), name), kept)
    left_out = around(getattr(found, name), variance, kish(rows.sum(axis=1)), low)
    (ta, fu, tu, fa), rates = rows.T, [found.intervals[rate] for rate in ("recall", "over_refusal_rate")]
    residuals = [a - a.sum() / b.sum() * b for a, b in ((tu, tu + fa), (fu, ta + fu))]
    by_rates = on_the_ellipse(name, rates[0], rates[1], found, np.corrcoef(*residuals)[0, 1])
    expected = min(left_out[0], by_rates[0]), max(left_out[1], by_rates[1])
    assert found.intervals[name] == pytest.approx(expected)


def test_each_kind_has_the_interval_of_its_recall_and_of_its_unf1_that_rest_on_the_images_with_the_kind() -> None:
    kept = examined(40)
    found = scored(kept)
    for kind, images in (("hidden", 40), ("mental", 10)):
        mental = [each for each in kept if any(one.kind == kind for one in each.questions)]
        assert len(mental) == images
        own = [[cell(one) for one in each.questions if one.kind == kind] for each in mental]
        above, below = np.array([row.count("tu") for row in own]), np.array([len(row) for row in own])
        recall = above.sum() / below.sum()
        ends = around(recall, linearised(above, below), kish(below))
        assert found.intervals[f"by_kind.{kind}.recall"] == pytest.approx(ends)
        unf1 = found.by_kind[kind].unf1  # type: ignore[index]
        assert unf1 is not None
        spread = jackknife(lambda some, kind=kind: scored(some).by_kind[kind].unf1, kept)  # type: ignore[misc, index]
        left_out = around(unf1, spread, kish(below))
        refused = found.counts.fu / (found.counts.tu + found.counts.fa)
        by_recall = [2 * end / (1 + end + refused) for end in ends]
        expected = min(left_out[0], by_recall[0]), max(left_out[1], by_recall[1])
        assert found.intervals[f"by_kind.{kind}.unf1"] == pytest.approx(expected)


def test_a_kind_that_was_always_declined_takes_the_doubt_about_that_into_its_unf1() -> None:
    rows = ImageRows()
    for refused in (0, 1) * 3:
        rows.add(Counts(ta=3 - refused, fu=refused, tu=1), {"mental": Counts(tu=1)})
        rows.add(Counts(ta=3 - refused, fu=refused, tu=1), {}, images=100)
    found = dict(rows.intervals())
    recall, unf1 = found["by_kind.mental.recall"], found["by_kind.mental.unf1"]
    assert recall == exact_interval(1.0, 6)
    assert recall.ends is not None
    assert unf1.ends is not None
    least = 2 * recall.ends[0] / (1 + recall.ends[0] + 1 / 2)
    assert unf1.ends[0] == pytest.approx(least)
    assert unf1.ends[0] < 2 / (2 + 1 / 2) < unf1.ends[1]


def test_equal_pictures_count_once() -> None:
    kept = examined(12)
    pixels = [
        each.model_copy(update={"image": each.image.model_copy(update={"pixels_sha256": "same"})}) for each in kept[:6]
    ]
    merged = Examination(
        image=ImageRecord(id="merged", path="x"), questions=tuple(one for each in kept[:6] for one in each.questions)
    )
    found, expected = scored([*pixels, *kept[6:]]).intervals, scored([merged, *kept[6:]]).intervals
    assert found.keys() == expected.keys()
    assert np.array(list(found.values())) == pytest.approx(np.array(list(expected.values())))


def test_neither_the_images_order_nor_their_names_matter() -> None:
    kept = examined()
    assert scored(kept[::-1]).intervals == scored(kept).intervals
    assert list(scored(kept[::-1]).intervals) == list(scored(kept).intervals)


def test_every_figure_that_is_defined_has_an_interval_or_its_reason() -> None:
    whole = scored(examined())
    assert list(whole.intervals) == [
        "precision", "recall", "over_refusal_rate", "over_answer_rate", "f1_answerable", "abstention_rate",
        "audacity_of_answers", "macro_f1", "balanced_accuracy", "unf1_of_precisions", "matthews_correlation",
        "by_kind.hidden.recall", "by_kind.hidden.unf1", "by_kind.mental.recall", "by_kind.mental.unf1",
    ]  # fmt: skip
    one = scored(examined(1))
    assert one.intervals == {}
    few = "an interval needs at least 2 images that bear on the figure; there is 1"
    for path in ("recall", "by_kind.mental.recall", "by_kind.mental.unf1", "abstention_rate"):
        assert one.undefined[f"intervals.{path}"] == few
    two = scored(examined(2))
    assert "recall" in two.intervals
    assert two.undefined["intervals.by_kind.mental.recall"] == few
    nothing = scored([])
    assert nothing.intervals == {}
    assert not any(name.startswith("intervals.") for name in nothing.undefined), (
        "a figure that is None has its own reason"
    )


def test_a_score_of_before_there_were_intervals_loads_and_a_new_one_reads_back_as_it_was() -> None:
    now = scored(examined())
    assert Score.model_validate_json(now.model_dump_json()) == now
    assert Score.model_validate(now.model_dump(exclude={"intervals"})).intervals == {}


@pytest.mark.parametrize("images", [10, 40])
def test_the_intervals_hold_the_truth_in_about_95_of_100_samples(images: int) -> None:
    rng = np.random.default_rng(images)
    held = dict.fromkeys(FIGURES, 0)
    truth = Counts(ta=850, fu=150, tu=700, fa=300)
    for _ in range(150):
        rows = ImageRows()
        for recall, refusal in zip(rng.beta(1.6, 0.69, images), rng.beta(0.35, 1.98, images), strict=True):
            tu, fu = rng.binomial(3, recall), rng.binomial(3, refusal)
            rows.add(Counts(ta=3 - fu, fu=fu, tu=tu, fa=3 - tu), {})
        for name, interval in rows.intervals():
            low, high = interval.ends or (-1, 1)
            held[name] += low <= getattr(truth, name) <= high
    assert min(held.values()) >= 134, held


@pytest.mark.parametrize("rate", [0.02, 0.98])
def test_the_intervals_hold_for_a_model_that_answers_or_declines_nearly_everything(rate: float) -> None:
    """The short form of `benchmarks/intervals_of_figures.py --only "recall 0.02"`: macro F1 was .66 with 20 images."""
    rng = np.random.default_rng(3)
    names = ("macro_f1", "balanced_accuracy", "unf1_of_precisions", "matthews_correlation")
    held = {name: [] for name in names}
    truth = Counts(ta=round(100 * (1 - rate)), fu=round(100 * rate), tu=round(100 * rate), fa=round(100 * (1 - rate)))
    for _ in range(30):
        rows = ImageRows()
        for tu, fu in rng.binomial(3, rate, (20, 2)).tolist():
            rows.add(Counts(ta=3 - fu, fu=fu, tu=tu, fa=3 - tu), {})
        for name, interval in rows.intervals():
            if name in names:
                low, high = interval.ends or (1, 0)
                held[name].append(low <= getattr(truth, name) <= high)
    assert all(np.mean(each) >= 0.93 for each in held.values()), held
