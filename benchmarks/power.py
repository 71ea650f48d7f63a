"""The number of images that `unsaf-async power` names, against the power that so many images have.

    python benchmarks/power.py [--replications 1000] [--jobs 2]

Two models answer K questions of each label about every image. Each image has rates of its own, from beta distributions with
the stated correlation of two responses about one image; the two models' rates are tied by a Gaussian copula, so that what an
image contributes to their UnF1 has the stated correlation. Precision is equal to recall, and the models' UnF1 lie half of the
difference above and below the stated one. A replication draws as many images as were predicted and asks `compare`'s own test
(999 arrangements) whether p is at most .05. In the rows "from runs" the number comes from two simulated runs of 100 images,
drawn once, and not from the rates.

Prints a table in Markdown. Half-width: of a 95 % interval with as many images as were predicted for .03, the median
of the replications.
"""

from __future__ import annotations

import argparse
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from math import sqrt
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import beta, norm

from unsaf_async.compare.pairing import contributions, paired_difference
from unsaf_async.compare.power_settings import Rates
from unsaf_async.compare.sample_size import images_for_half_width, images_for_power
from unsaf_async.records import CallRecord, Examination, ImageRecord, Question
from unsaf_async.score.intervals import ratio_interval

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

ARRANGEMENTS = 999
"""Of the test: .05 of a thousand with the observed one."""

PILOT = 100
"""Images of the runs in the rows "from runs"."""

CALL = CallRecord(role="answer", outcome="ok")
QUESTIONS = {
    (label, act): Question(text="?", intended=label, answer=CALL, act=act)
    for label in ("answerable", "unanswerable")
    for act in ("answered", "abstained")
}


@dataclass(frozen=True)
class Case:
    """Two models, and what is planned for them."""

    unf1: float
    questions: int
    image_correlation: float
    correlation: float
    """Between the models, of an image's contributions."""
    difference: float
    power: float
    from_runs: bool = False

    @property
    def scores(self) -> tuple[float, float]:
        """UnF1 of the two models."""
        return self.unf1 + self.difference / 2, self.unf1 - self.difference / 2

    @property
    def sd(self) -> float:
        """Of one image's contribution to a model's UnF1, as `power` assumes it."""
        return Rates(unf1=self.unf1, questions=self.questions, image_correlation=self.image_correlation).spread.sd

    def predicted(self, rng: np.random.Generator) -> int:
        """Images that the plan names."""
        sd = sqrt(2 * (1 - self.correlation)) * self.sd
        if self.from_runs:
            ours, theirs = drawn(self, PILOT, rng)
            sd = float(np.std(contributions(_pairs(self, ours)) - contributions(_pairs(self, theirs)), ddof=1))
        return images_for_power(self.difference, sd, self.power)


CASES = (
    Case(0.7, 6, 0.0, 0.0, 0.05, 0.8),
    Case(0.7, 6, 0.1, 0.0, 0.05, 0.8),
    Case(0.7, 6, 0.1, 0.3, 0.05, 0.8),
    Case(0.7, 6, 0.1, 0.3, 0.05, 0.9),
    Case(0.7, 6, 0.1, 0.3, 0.03, 0.8),
    Case(0.7, 6, 0.3, 0.3, 0.05, 0.8),
    Case(0.7, 3, 0.1, 0.2, 0.05, 0.8),
    Case(0.5, 6, 0.1, 0.3, 0.05, 0.8),
    Case(0.9, 6, 0.1, 0.3, 0.05, 0.8),
    Case(0.9, 3, 0.3, 0.3, 0.05, 0.9),
    Case(0.8, 6, 0.3, 0.5, 0.2, 0.8),
    Case(0.7, 6, 0.1, 0.3, 0.05, 0.8, from_runs=True),
    Case(0.9, 6, 0.3, 0.3, 0.05, 0.9, from_runs=True),
)


def drawn(case: Case, images: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """[images, 2] for each model: how many unanswerable and how many answerable questions it declined."""
    k, i = case.questions, case.image_correlation
    if i == 0:
        tied, own = np.zeros((images, 2)), np.zeros((2, images, 2))
        share = 0.0
    else:
        share = case.correlation * (1 + (k - 1) * i) / (k * i)
        tied, own = rng.normal(size=(images, 2)), rng.normal(size=(2, images, 2))
    found = []
    for score, noise in zip(case.scores, own, strict=True):
        rates = np.tile([score, 1 - score], (images, 1))
        if i:
            level, spread = norm.cdf(sqrt(share) * tied + sqrt(1 - share) * noise), 1 / i - 1
            rates = beta.ppf(level, rates * spread, (1 - rates) * spread)
        found.append(rng.binomial(k, rates))
    return found[0], found[1]


def _pairs(case: Case, declined: NDArray[np.int64]) -> NDArray[np.int64]:
    """(2 TU, 2 TU + FU + FA) of each image."""
    tu, fu = declined[:, 0], declined[:, 1]
    return np.stack([2 * tu, 2 * tu + fu + case.questions - tu], axis=1)


def examinations(case: Case, declined: NDArray[np.int64]) -> list[Examination]:
    """The images as a run holds them."""
    k = case.questions
    return [
        Examination.model_construct(
            image=ImageRecord.model_construct(id=f"{number:06}", path="", pixels_sha256=None, bytes_sha256=None),
            questions=tuple(_asked("unanswerable", int(tu), k) + _asked("answerable", int(fu), k)),
            failure=None,
        )
        for number, (tu, fu) in enumerate(declined)
    ]


def _asked(label: str, abstained: int, k: int) -> list[Question]:
    return [QUESTIONS[label, "abstained"]] * abstained + [QUESTIONS[label, "answered"]] * (k - abstained)


def found_share(case: Case, images: int, replications: int, rng: np.random.Generator) -> float:
    """In what share of the replications the test finds the difference."""
    found = 0
    for _ in range(replications):
        ours, theirs = (examinations(case, declined) for declined in drawn(case, images, rng))
        p = paired_difference(ours, theirs, resamples=ARRANGEMENTS, seed=int(rng.integers(1 << 31))).p
        found += p is not None and p <= 0.05
    return found / replications


def median_half_width(case: Case, images: int, replications: int, rng: np.random.Generator) -> float:
    """Of the interval of a model with the stated UnF1."""
    case = replace(case, difference=0.0)
    ends = [ratio_interval(_pairs(case, drawn(case, images, rng)[0])).ends for _ in range(replications)]
    return float(np.median([(high - low) / 2 for low, high in filter(None, ends)]))


def row(case: Case, replications: int, seed: int) -> str:
    """One line of the table."""
    rng = np.random.default_rng(seed)
    images, single = case.predicted(rng), images_for_half_width(0.03, case.sd)
    share = found_share(case, images, replications, rng)
    error = 1.96 * sqrt(share * (1 - share) / replications)
    width = median_half_width(case, single, replications, rng)
    basis = "runs" if case.from_runs else "rates"
    return (
        f"| {case.unf1:g} | {case.questions} | {case.image_correlation:g} | {case.correlation:g} | {case.difference:g} | "
        f"{case.power:g} | {basis} | {images:,} | {share:.3f} +- {error:.3f} | {single:,} | {width:.4f} |"
    )


def table(replications: int, jobs: int) -> Iterator[str]:
    """The table, line by line."""
    heads = (
        "UnF1", "K", "within an image", "between models", "difference", "power wanted", "planned from", "images",
        "power simulated", "images for +-0.03", "half-width simulated",
    )  # fmt: skip
    yield f"| {' | '.join(heads)} |"
    yield "|" + " --- |" * len(heads)
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(row, CASES, [replications] * len(CASES), range(len(CASES)))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--replications", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    for line in table(given.replications, given.jobs):
        print(line, flush=True)


if __name__ == "__main__":
    main()
