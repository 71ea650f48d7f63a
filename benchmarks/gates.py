"""How often the gates against harm pass where the harm is as large as the margin, and where there is none, by simulation.

    python benchmarks/gates.py [--replications 1000]

A model is right on each question of an image with a known rate. Harm: on a share of the images some right answers become wrong
ones, so that the share of right answers falls by the margin. Noise: an answer changes to right or to wrong with one
probability, whatever the image (a third as many replications). A pass at harm is false; 2.5 % are to be expected at most. The
rule before was the same without the exact bounds: an interval by a standard error from five images with a difference on.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from unsaf_async.distill.evaluate.figures import Figure, exact_difference, unavailable
from unsaf_async.distill.evaluate.gates import PARTS, Thresholds, judge
from unsaf_async.score.intervals import difference_interval

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Cell:
    """One process. margin: in points. harmed: share of images that lose `lost` right answers. noise: see the module."""

    margin: float
    images: int
    questions: int = 1
    harmed: float = 0.0
    lost: int = 1
    noise: float = 0.0
    right: float = 0.7


def drawn(cell: Cell, rng: np.random.Generator) -> NDArray[np.float64]:
    """(right after, questions, right before, questions) of each image."""
    size = (cell.images, cell.questions)
    before = rng.random(size) < cell.right
    flips = rng.random(size)
    to_wrong, to_right = cell.noise / cell.right, cell.noise / (1 - cell.right)
    after = np.where(before, flips >= to_wrong, flips < to_right)
    harmed = rng.random(cell.images) < cell.harmed
    for image in np.flatnonzero(harmed):
        right = np.flatnonzero(after[image])
        after[image, rng.permutation(right)[: cell.lost]] = False
    asked = np.full(cell.images, cell.questions)
    return np.stack([after.sum(axis=1), asked, before.sum(axis=1), asked], axis=1).astype(float)


def figure(rows: NDArray[np.float64], *, exact: bool) -> Figure:
    """The accuracy of both models, with or without exact bounds."""
    after, below, before, _ = rows.sum(axis=0)
    fields = {
        "before": before / below,
        "after": after / below,
        "difference": (after - before) / below,
        "ci": difference_interval(rows).ends,
        "images": len(rows),
        "images_differing": int((rows[:, 0] != rows[:, 2]).sum()),
        "undefined": {},
    }
    return unavailable("accuracy", "").model_copy(update=fields | (exact_difference(rows) if exact else {}))


def passes(cell: Cell, replications: int, rng: np.random.Generator) -> tuple[float, float]:
    """The shares of passes, by the rule before and by the rule now."""
    limits = Thresholds(accuracy_drop_points=cell.margin)
    counts = [0, 0]
    bounds: dict[bytes, Figure] = {}
    for _ in range(replications):
        rows = drawn(cell, rng)
        plain = figure(rows, exact=False)
        # With as many questions on every image the bounds go by how many images differ by how much.
        key = np.sort(rows[:, 0] - rows[:, 2]).tobytes()
        if key not in bounds:
            bounds[key] = figure(rows, exact=True)
        for place, found in enumerate((plain, plain.model_copy(update={"exact_ci": bounds[key].exact_ci}))):
            (gate,) = (each for each in judge([found], PARTS, limits) if each.figure == "accuracy")
            counts[place] += gate.verdict == "pass"
    return counts[0] / replications, counts[1] / replications


HARMED = (
    *(Cell(1, images, harmed=0.01 / 0.7) for images in (300, 600, 1000, 2000)),
    *(Cell(1, images, harmed=0.01 / 0.7, noise=0.005) for images in (600, 1000, 2000)),
    *(Cell(2, images, 6, harmed=0.025, lost=5, right=0.95, noise=0.005) for images in (200, 300, 500)),
    *(Cell(2, images, 6, harmed=0.03, lost=4, right=0.95, noise=0.005) for images in (200, 300, 500, 1000)),
    *(Cell(2, images, 6, harmed=0.12, lost=1, right=0.95, noise=0.005) for images in (300, 1000)),
    *(Cell(5, images, 3, harmed=0.05, lost=3, right=0.98, noise=0.005) for images in (100, 200, 400)),
)
"""Harm of about the margin: a little less where an image has not as many right answers to lose, which is the harder case."""

UNHARMED = (
    *(Cell(1, images) for images in (300, 400)),
    *(Cell(1, images, noise=0.002) for images in (600, 1000)),
    *(Cell(1, images, noise=0.01) for images in (1000, 2000)),
    *(Cell(1, images, noise=0.02) for images in (2000, 3000, 4000)),
    *(Cell(2, images, 6, noise=0.005, right=0.85) for images in (200, 300)),
    *(Cell(2, images, 6, noise=0.02, right=0.85) for images in (200, 300, 500)),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--replications", type=int, default=1000)
    replications = parser.parse_args().replications
    rng = np.random.default_rng(0)
    for title, cells in (("harm", HARMED), ("no harm", UNHARMED)):
        print(
            f"\n| {title}: margin, points | images | questions each | images harmed | answers lost | noise | before | now |"
        )
        print("| --- | --- | --- | --- | --- | --- | --- | --- |")
        for cell in cells:
            before, now = passes(cell, replications if cell.harmed else max(1, replications // 3), rng)
            print(
                f"| {cell.margin:g} | {cell.images} | {cell.questions} | {cell.harmed:.3f} | {cell.lost} | {cell.noise:g} "
                f"| {before:.3f} | {now:.3f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
