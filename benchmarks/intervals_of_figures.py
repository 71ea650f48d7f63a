"""How often the 95 % intervals of the figures beside UnF1 hold the truth, over samples of images whose truth is known.

    .venv/bin/python benchmarks/intervals_of_figures.py [--samples 400] [--quick]

Rates: each image has abstention rates of its own, of a beta distribution with the stated mean and correlation within an image.
Confidence: each response has a latent certainty, half of which may be its image's; it is right with a chance that follows
from it, and the stated confidence is that chance, moved away from .5. Judge: the rates again, judged with errors that are known
from labelled responses, which are drawn anew for each sample. The truth is the figure over 200,000 images.
docs/intervals.md has the tables.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from unsaf_async.score.calibration import Confusion, DecidedTally, Verdicts, corrected_of
from unsaf_async.score.count_intervals import ImageRows
from unsaf_async.score.intervals import Interval, ratio_interval
from unsaf_async.score.metrics import auroc, ece, nll, risk_coverage
from unsaf_async.score.rank_intervals import aurc_intervals, auroc_interval, ece_interval
from unsaf_async.score.unf1 import Counts, KindName

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    from unsaf_async.records import Decider

IMAGES = (5, 10, 20, 50, 200)
"""Sample sizes."""

K = 3
"""Questions of each label about an image."""

TRUTH_IMAGES = 200_000


@dataclass
class Held:
    """What became of the intervals of one figure. held: of those that there are, whether each holds the truth."""

    held: list[bool] = field(default_factory=list)
    width: list[float] = field(default_factory=list)
    none: int = 0

    def add(self, interval: Interval, truth: float) -> None:
        if interval.ends is None:
            self.none += 1
            return
        low, high = interval.ends
        self.held.append(low - 1e-9 <= truth <= high + 1e-9)
        self.width.append(high - low)

    def __str__(self) -> str:
        if not self.held:
            return "n/a"
        none = f" ({self.none} none)" if self.none else ""
        return f"{np.mean(self.held):.3f} / {np.mean(self.width):.2f}{none}"


@dataclass(frozen=True)
class Rates:
    """How a model abstains: of the unanswerable questions, of the answerable ones, and how alike an image's questions are."""

    recall: float
    refusal: float
    correlation: float

    def __str__(self) -> str:
        return f"recall {self.recall:g}, over-refusal {self.refusal:g}, correlation {self.correlation:g}"

    def truths(self) -> dict[str, float]:
        tu, fu = 1000 * self.recall, 1000 * self.refusal
        counts = Counts(ta=round(1000 - fu), fu=round(fu), tu=round(tu), fa=round(1000 - tu))
        names = (
            "precision", "recall", "over_refusal_rate", "over_answer_rate", "f1_answerable", "abstention_rate", "macro_f1",
            "balanced_accuracy", "matthews_correlation", "audacity_of_answers", "unf1_of_precisions",
        )  # fmt: skip
        unf1 = 2 * self.recall / (1 + self.recall + self.refusal)
        return {name: getattr(counts, name) for name in names} | {"kind recall": self.recall, "kind UnF1": unf1}

    def intervals(self, images: int, rng: np.random.Generator) -> Iterator[tuple[str, Interval]]:
        """Of one sample. One question in ten is of the kind `hidden`, the others are `temporal`."""
        rows = ImageRows()
        tu, fu = (rng.binomial(K, self.drawn(mean, images, rng)) for mean in (self.recall, self.refusal))
        for right, refused in zip(tu.tolist(), fu.tolist(), strict=True):
            right_of = rng.permutation(K) < right
            hidden = rng.random(K) < KIND_SHARE
            kinds: dict[KindName, Counts] = {
                "hidden": Counts(tu=int((right_of & hidden).sum()), fa=int((~right_of & hidden).sum())),
                "temporal": Counts(tu=int((right_of & ~hidden).sum()), fa=int((~right_of & ~hidden).sum())),
            }
            rows.add(Counts(ta=K - refused, fu=refused, tu=right, fa=K - right), kinds)
        for name, interval in rows.intervals():
            if "by_kind.temporal" not in name:
                yield (
                    name.replace("by_kind.hidden.recall", "kind recall").replace("by_kind.hidden.unf1", "kind UnF1"),
                    interval,
                )

    def drawn(self, mean: float, images: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Each image's own rate."""
        if not self.correlation:
            return np.full(images, mean)
        strength = 1 / self.correlation - 1
        return rng.beta(strength * mean, strength * (1 - mean), images)


KIND_SHARE = 0.1


@dataclass(frozen=True)
class Confidence:
    """How sure a model is. over: log-odds stated by log-odds true, 1 is calibrated. base: mean log-odds of being right."""

    correlation: float
    over: float
    base: float
    steps: int = 0
    """Values that it states; 0: any."""

    def __str__(self) -> str:
        steps = f", {self.steps} steps" if self.steps else ""
        return f"correlation {self.correlation:g}, over-confidence x{self.over:g}, base {self.base:g}{steps}"

    def drawn(
        self, images: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.int64]]:
        """Confidence, whether right, and image of each response."""
        image = np.repeat(np.arange(images), 2 * K)
        own, shared = rng.standard_normal(len(image)), rng.standard_normal(images)[image]
        odds = self.base + 1.5 * (np.sqrt(self.correlation) * shared + np.sqrt(1 - self.correlation) * own)
        right = rng.random(len(image)) < 1 / (1 + np.exp(-odds))
        confidence = 1 / (1 + np.exp(-self.over * odds))
        return np.round(self.steps * confidence) / self.steps if self.steps else confidence, right, image

    def truths(self) -> dict[str, float]:
        confidence, right, _ = self.drawn(TRUTH_IMAGES, np.random.default_rng(0))
        curve = risk_coverage(confidence, right)
        assert curve is not None
        return {
            "accuracy": float(right.mean()),
            "ECE": ece(confidence, right) or 0.0,
            "Brier": float(np.mean((confidence - right) ** 2)),
            "NLL": nll(confidence, right) or 0.0,
            "AUROC": auroc(confidence, right) or 0.0,
            "AURC": curve.aurc,
            "E-AURC": curve.e_aurc,
        }

    def intervals(self, images: int, rng: np.random.Generator) -> Iterator[tuple[str, Interval]]:
        confidence, right, image = self.drawn(images, rng)

        def mean_of(values: NDArray[np.float64]) -> Interval:
            return ratio_interval(np.stack([np.bincount(image, values), np.bincount(image)], axis=1))

        yield "accuracy", mean_of(right.astype(float))
        yield "ECE", ece_interval(confidence, right, image)
        yield "Brier", mean_of((confidence - right) ** 2)
        yield "AUROC", auroc_interval(confidence, right, image)
        areas = aurc_intervals(confidence, right, image)
        yield from zip(("AURC", "E-AURC"), areas, strict=True)


@dataclass(frozen=True)
class Constant:
    """A model that is always as sure, and right on half of an image's questions: but for a share of images.

    On these it is surer where it is asked what has no answer, and never right.
    """

    share: float

    def __str__(self) -> str:
        return f"constant confidence, but for a share of {self.share:g} of the images"

    def truths(self) -> dict[str, float]:
        both_usual = (1 - self.share) ** 2
        return {"AUROC": 0.5 * both_usual + 1 - both_usual, "AURC": 0.5 + 0.5 * self.share}

    def intervals(self, images: int, rng: np.random.Generator) -> Iterator[tuple[str, Interval]]:
        image, positive = np.repeat(np.arange(images), 2 * K), np.tile([True] * K + [False] * K, images)
        other = (rng.random(images) < self.share)[image]
        yield "AUROC", auroc_interval(np.where(other, positive, 0.5), positive, image)
        yield "AURC", aurc_intervals(np.full(len(image), 0.5), positive & ~other, image)[0]


def table(
    title: str,
    truths: Mapping[str, float],
    intervals: Callable[[int, np.random.Generator], Iterator[tuple[str, Interval]]],
    samples: int,
) -> None:
    """Print one setting's table: the share of intervals that hold the truth, and their mean width."""
    found: dict[str, dict[int, Held]] = defaultdict(lambda: {images: Held() for images in IMAGES})
    for images in IMAGES:
        rng = np.random.default_rng(images)
        for _ in range(samples):
            for name, interval in intervals(images, rng):
                found[name][images].add(interval, truths[name])
    print(f"\n{title}\n\n| figure | truth | " + " | ".join(f"{images} images" for images in IMAGES) + " |")
    print("| --- | --- |" + " --- |" * len(IMAGES))
    for name, by_images in found.items():
        cells = " | ".join(str(by_images[images]) for images in IMAGES)
        print(f"| {name} | {truths[name]:.3f} | {cells} |", flush=True)


@dataclass(frozen=True)
class Judge:
    """A judge that errs on the responses of `rates`, and is known from as many labelled answers and abstentions."""

    rates: Rates
    sensitivity: float
    specificity: float
    labelled: int

    def __str__(self) -> str:
        return (
            f"{self.rates}; judge: sensitivity {self.sensitivity:g}, specificity {self.specificity:g}, "
            f"{self.labelled} labelled abstentions and as many answers"
        )

    def truths(self) -> dict[str, float]:
        recall, refusal = self.rates.recall, self.rates.refusal
        judged = [rate * self.sensitivity + (1 - rate) * (1 - self.specificity) for rate in (recall, refusal)]
        return {
            "UnF1 as judged": 2 * judged[0] / (1 + sum(judged)),
            "UnF1 corrected": 2 * recall / (1 + recall + refusal),
            "recall corrected": recall,
            "over-refusal corrected": refusal,
        }

    def intervals(self, images: int, rng: np.random.Generator) -> Iterator[tuple[str, Interval]]:
        tables = np.zeros((images, 1, 2, 2), dtype=np.int64)
        for side, mean in enumerate((self.rates.recall, self.rates.refusal)):
            abstained = rng.binomial(K, self.rates.drawn(mean, images, rng))
            judged = rng.binomial(abstained, self.sensitivity) + rng.binomial(K - abstained, 1 - self.specificity)
            tables[:, 0, side] = np.stack([K - judged, judged], axis=1)
        hits, rejections = (int(rng.binomial(self.labelled, rate)) for rate in (self.sensitivity, self.specificity))
        known = Confusion(
            abstained=Verdicts(abstained=hits, answered=self.labelled - hits),
            answered=Verdicts(answered=rejections, abstained=self.labelled - rejections),
        )
        found = corrected_of(Tables(tables), {"panel": known}, seed=int(rng.integers(1 << 30)))
        yield "UnF1 as judged", Interval(found.unf1_observed_ci)
        yield "UnF1 corrected", Interval(found.unf1_ci)
        yield "recall corrected", Interval(found.unanswerable.corrected_ci)
        yield "over-refusal corrected", Interval(found.answerable.corrected_ci)


class Tables(DecidedTally):
    """Verdicts of a panel that are counted already; given: [images, 1, sides, (answered, abstained)]."""

    def __init__(self, given: NDArray[np.int64]) -> None:
        super().__init__()
        self._given = given

    def tables(self) -> tuple[list[Decider | Literal["unknown"]], NDArray[np.int64]]:
        return ["panel"], self._given


SETTINGS: tuple[Rates | Confidence | Constant | Judge, ...] = (
    Rates(0.7, 0.2, 0.0),
    Rates(0.7, 0.2, 0.3),
    Rates(0.95, 0.05, 0.3),
    Rates(0.3, 0.02, 0.3),
    Rates(0.02, 0.02, 0.0),
    Rates(0.05, 0.05, 0.3),
    Rates(0.98, 0.98, 0.3),
    Rates(0.02, 0.3, 0.3),
    Confidence(0.0, 1.0, 1.0),
    Confidence(0.3, 1.0, 1.0),
    Confidence(0.3, 1.5, 1.0),
    Confidence(0.3, 3.0, 0.0),
    Confidence(0.3, 2.0, 2.5, steps=10),
    Constant(0.05),
    Judge(Rates(0.7, 0.2, 0.3), 0.9, 0.95, 50),
    Judge(Rates(0.7, 0.2, 0.3), 0.97, 0.98, 200),
    Judge(Rates(0.95, 0.05, 0.3), 0.9, 0.95, 50),
    Judge(Rates(0.3, 0.02, 0.3), 0.97, 0.98, 200),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--samples", type=int, default=400)
    parser.add_argument("--only", default="", help="settings whose title has this in it")
    parser.add_argument("--quick", action="store_true", help="40 samples")
    options = parser.parse_args()
    for setting in (each for each in SETTINGS if options.only in str(each)):
        table(str(setting), setting.truths(), setting.intervals, 40 if options.quick else options.samples)


if __name__ == "__main__":
    main()
