"""Does UnF1 differ between groups of pictures that look alike? If so, an order that is stratified by them saves images.

    unsaf-async world make --out scenes --scenes 1200 --seed 7 --questions 1
    unsaf-async run --provider tiny-s --images scenes --out runs/tiny-s
    python benchmarks/clusters.py runs/tiny-s [runs/tiny-m ...]

An order in which each prefix holds the groups in proportion takes the spread between groups out of the interval's: 1 - S of the
images do, with S the share of the variance of an image's contribution to UnF1 that lies between groups (Cochran, Sampling
Techniques, 1977, 5.6). Groups: k-means of 8 x 8 thumbnails in colour and the contrast, on 10 principal components or on all.
S is adjusted for the number of groups, so that it is 0 on average where pictures say nothing; beside it stands the standard
deviation that it has then, by shuffling. The last line is the share that a linear model of the thumbnails explains, on images
that it was not fitted to: no grouping by these features is needed for that.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from unsaf_async.compare.pairing import contributions, examined, pair_of
from unsaf_async.runs.saved import SavedRun

if TYPE_CHECKING:
    from numpy.typing import NDArray

GROUPS = (5, 10, 20, 50)
SHUFFLES = 200
FOLDS = 10
PENALTIES = (10.0, 100.0, 1000.0, 10_000.0)


def features(path: Path) -> NDArray[np.float64]:
    """What a picture looks like: a thumbnail of 8 x 8 pixels in colour, and its contrast."""
    with Image.open(path) as picture:
        colours = np.asarray(picture.convert("RGB").resize((8, 8)), dtype=float)
        grey = np.asarray(picture.convert("L").resize((32, 32)), dtype=float)
    return np.append(colours.ravel(), grey.std()) / 255


def k_means(points: NDArray[np.float64], groups: int, rng: np.random.Generator, rounds: int = 50) -> NDArray[np.int64]:
    """The group of each point."""
    centres = points[rng.choice(len(points), groups, replace=False)]
    for _ in range(rounds):
        far = (points**2).sum(1)[:, None] - 2 * points @ centres.T + (centres**2).sum(1)
        group: NDArray[np.int64] = far.argmin(1)
        centres = np.array([points[group == g].mean(0) if (group == g).any() else centres[g] for g in range(groups)])
    return group


def share_between(values: NDArray[np.float64], group: NDArray[np.int64]) -> float:
    """The share of the values' variance that lies between groups, adjusted for their number (epsilon squared)."""
    present = np.unique(group)
    within = sum(((values[group == g] - values[group == g].mean()) ** 2).sum() for g in present)
    return float(1 - within / (len(values) - len(present)) / values.var(ddof=1))


def share_explained(values: NDArray[np.float64], points: NDArray[np.float64]) -> float:
    """The share of the values' variance that ridge regression explains in cross-validation, at the best penalty."""
    fold = np.arange(len(values)) % FOLDS
    shares = []
    for penalty in PENALTIES:
        found = np.empty_like(values)
        for held in range(FOLDS):
            rest = fold != held
            x, mean = points[rest], values[rest].mean()
            weights = np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ (values[rest] - mean))
            found[~rest] = points[~rest] @ weights + mean
        shares.append(1 - ((values - found) ** 2).mean() / values.var())
    return float(max(shares))


def main() -> None:
    """Prints a table a run."""
    for run in sys.argv[1:]:
        images, rng = examined(SavedRun(Path(run)).examinations), np.random.default_rng(0)
        values = contributions(np.array([pair_of(each) for each in images]))
        raw = np.array([features(Path(each.image.path)) for each in images])
        points = (raw - raw.mean(0)) / (raw.std(0) + 1e-9)
        turned, size, _ = np.linalg.svd(points, full_matrices=False)
        print(f"\n{run}: {len(images)} images, sd of an image {values.std(ddof=1):.3f}\n")
        print("| dimensions | groups | share between | by chance, sd |")
        print("| --- | --- | --- | --- |")
        for dimensions in (10, points.shape[1]):
            for groups in GROUPS:
                group = k_means((turned * size)[:, :dimensions], groups, rng)
                chance = [share_between(rng.permutation(values), group) for _ in range(SHUFFLES)]
                share = share_between(values, group)
                print(f"| {dimensions} | {groups} | {share:+.4f} | {np.std(chance):.4f} |")
        print(f"| all | ridge | {share_explained(values, points):+.4f} | |", flush=True)


if __name__ == "__main__":
    main()
