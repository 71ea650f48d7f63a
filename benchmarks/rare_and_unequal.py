"""How often 95 % intervals hold the truth where errors are rare, images nearly all alike, or their numbers of questions unequal.

    python benchmarks/rare_and_unequal.py [--replications 400]

Questions of an image have a correlation of .3 (of .4 in rank); "40 in a tenth": one image in ten has 40, the others one.
docs/intervals.md has the table.
"""

from __future__ import annotations

import argparse
import math
from functools import partial
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import norm

from unsaf_async.score.agreement import kappa_with_interval
from unsaf_async.score.intervals import difference_interval
from unsaf_async.score.rank_intervals import auroc_interval, ece_interval, nll_interval

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from unsaf_async.score.intervals import Interval

    Ends = tuple[float, float] | None
    Items = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]

IMAGES = (5, 10, 20, 50, 200)
SURE = ((0.7, 0.999), (0.3, 0.97))
"""Shares and values of the confidence of a sure model."""

rng = np.random.default_rng(4)


def sizes(how: str, images: int) -> NDArray[np.int64]:
    if how == "40 in a tenth":
        return np.where(rng.random(images) < 0.1, 40, 1)
    return np.round(np.exp(rng.uniform(0, math.log(40), images))).astype(int)


def items(accuracy: float, image: NDArray[np.int64], images: int) -> NDArray[np.float64]:
    """Whether right; two of an image have a correlation of .3."""
    rate = rng.beta(accuracy / 0.3 * 0.7, (1 - accuracy) / 0.3 * 0.7, images)[image]
    return np.asarray(rng.random(len(image)) < rate, dtype=float)


def sure(images: int, accuracy: float) -> Items:
    image = np.repeat(np.arange(images), 3)
    confidence = np.where(rng.random(len(image)) < SURE[0][0], SURE[0][1], SURE[1][1])
    return confidence, items(accuracy, image, images), image


def unequal(images: int, how: str) -> Items:
    image = np.repeat(np.arange(images), sizes(how, images))
    return np.full(len(image), 0.9), items(0.6, image, images), image


def ranked(images: int, how: str) -> Items:
    image = np.repeat(np.arange(images), sizes(how, images))
    positive = (rng.random(len(image)) < 0.5).astype(int)
    own = math.sqrt(0.4) * rng.standard_normal((2, images))[positive, image]
    return own + math.sqrt(0.6) * rng.standard_normal(len(image)) + positive, positive.astype(float), image


def kappa(images: int, share: float) -> Ends:
    tables = np.tile(np.array([[4, 1], [1, 4]]), (images, 1, 1))
    tables[rng.random(images) < share] = [[0, 5], [5, 0]]
    return kappa_with_interval(tables).kappa_ci


def differing(images: int, how: str, share: float) -> Ends:
    """Of the difference of two UnF1: on a share of the images one model declines all unanswerable questions, the other none."""
    size, unlike = sizes(how, images), rng.random(images) < share
    declined, refused = rng.binomial(size, 0.9), np.where(unlike, 0, rng.binomial(size, 0.05))
    pairs = [(2 * tu, tu + size + refused) for tu in (np.where(unlike, size, declined), np.where(unlike, 0, declined))]
    return difference_interval(np.stack([each for pair in pairs for each in pair], axis=1)).ends


def difference(share: float) -> float:
    """The truth of `differing`."""
    refused = 0.05 * (1 - share)
    better, worse = 0.9 * (1 - share) + share, 0.9 * (1 - share)
    return 2 * better / (better + 1 + refused) - 2 * worse / (worse + 1 + refused)


def log_loss(accuracy: float, parts: tuple[tuple[float, float], ...]) -> float:
    return -sum(share * (accuracy * math.log(p) + (1 - accuracy) * math.log(1 - p)) for share, p in parts)


def of_items(interval: Callable[..., Interval], draw: Callable[[int], Items]) -> Callable[[int], Ends]:
    """The interval of a sample of so many images."""
    return lambda images: interval(*draw(images)).ends


def cells() -> Iterator[tuple[str, float, Callable[[int], Ends]]]:
    """(what, the truth, the interval of a sample of so many images)."""
    for accuracy in (0.98, 0.9):
        draw = partial(sure, accuracy=accuracy)
        yield f"NLL, accuracy {accuracy}", log_loss(accuracy, SURE), of_items(nll_interval, draw)
        yield f"ECE, accuracy {accuracy}", sum(w * abs(p - accuracy) for w, p in SURE), of_items(ece_interval, draw)
    for how in ("40 in a tenth", "1 to 40, most few"):
        yield f"NLL, {how}", log_loss(0.6, ((1.0, 0.9),)), of_items(nll_interval, partial(unequal, how=how))
        yield f"ECE, {how}", 0.3, of_items(ece_interval, partial(unequal, how=how))
        yield f"AUROC, {how}", norm.cdf(1 / math.sqrt(2)), of_items(auroc_interval, partial(ranked, how=how))
    for how, share in product(("40 in a tenth", "1 to 40, most few"), (0.02, 0.1)):
        yield f"difference, {how}, {share} unlike", difference(share), partial(differing, how=how, share=share)
    for share in (0.05, 0.15):
        yield f"kappa, {share} unlike", 0.6 * (1 - share) - share, partial(kappa, share=share)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--replications", type=int, default=400)
    options = parser.parse_args()
    print("| figure | truth | " + " | ".join(f"{images} images" for images in IMAGES) + " |")
    for what, truth, interval in cells():
        shown = []
        for images in IMAGES:
            found = [ends for _ in range(options.replications) if (ends := interval(images))] or [(math.nan, math.nan)]
            held = np.mean([low - 1e-9 <= truth <= high + 1e-9 for low, high in found])
            shown.append(f"{held:.3f}; {np.mean([high - low for low, high in found]):.2f}")
        print(f"| {what} | {truth:.3f} | " + " | ".join(shown) + " |", flush=True)


if __name__ == "__main__":
    main()
