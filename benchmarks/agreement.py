"""How often the intervals of kappa, of alpha and of a difference at a fixed mix of kinds hold the truth, by simulation.

    python benchmarks/agreement.py [--replications 400] [--only kappa|alpha|mix]

Kappa and alpha: judges of 6 responses an image say the opposite of what is so with a rate. Rate and share of abstentions differ
from image to image, so that two responses of an image have a correlation. Mix: two models with 4 + 4 questions an image, of
three kinds, whose shares and recalls are known. Beside each interval stands the percentile interval that it took the place of.
"""

from __future__ import annotations

import argparse
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from unsaf_async.distill.evaluate.figures import both_at_mix, mix_difference, mix_intervals
from unsaf_async.score.agreement import coincidence_tables, kappa_with_interval, krippendorff_alpha
from unsaf_async.score.bootstrap import interval

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    Ends = tuple[float, float] | None

IMAGES = (10, 20, 50, 200)
RESAMPLES = 300

MIXES = (
    (((0.6, 0.4, 0.7), 0.1, (0.5, 0.3, 0.2)), ((0.8, 0.6, 0.8), 0.1, (0.7, 0.2, 0.1))),
    (((0.6, 0.4, 0.7), 0.1, (0.5, 0.3, 0.2)), ((0.6, 0.4, 0.7), 0.1, (0.5, 0.3, 0.2))),
    (((0.95, 0.9, 0.95), 0.03, (0.5, 0.3, 0.2)), ((0.98, 0.97, 0.98), 0.02, (0.3, 0.3, 0.4))),
    (((0.3, 0.1, 0.2), 0.05, (0.8, 0.15, 0.05)), ((0.9, 0.8, 0.9), 0.2, (0.6, 0.3, 0.1))),
)
"""Before and after: the recall of each kind, the over-refusal rate, the shares of the kinds."""


def beta(
    rng: np.random.Generator, mean: NDArray[Any] | float, correlation: float, size: tuple[int, ...]
) -> NDArray[Any]:
    """Rates that differ from image to image."""
    if correlation == 0:
        return np.broadcast_to(mean, size)
    spread = 1 / correlation - 1
    return rng.beta(spread * np.asarray(mean), spread * (1 - np.asarray(mean)), size)


def votes(
    rng: np.random.Generator, images: int, judges: int, share: float, error: float, correlation: float
) -> NDArray[np.int64]:
    """[judges, images, 6]: 1 for an abstention."""
    truth = rng.random((images, 6)) < beta(rng, share, correlation, (images,))[:, None]
    flips = rng.random((judges, images, 6)) < beta(rng, error, correlation, (images,))[:, None]
    return (truth ^ flips).astype(np.int64)


def kappa_tables(found: NDArray[np.int64]) -> NDArray[np.int64]:
    one, other = found
    pairs = [((one == i) & (other == j)).sum(axis=1) for i in (0, 1) for j in (0, 1)]
    return np.stack(pairs, axis=1).reshape(-1, 2, 2)


def kappas(sums: NDArray[Any]) -> NDArray[np.float64]:
    n, agreed = sums.sum(axis=(-2, -1)), np.trace(sums, axis1=-2, axis2=-1)
    chance = (sums.sum(axis=-1) * sums.sum(axis=-2)).sum(axis=-1)
    with np.errstate(invalid="ignore"):
        return np.asarray((agreed * n - chance) / (n * n - chance))


def alphas(sums: NDArray[Any]) -> NDArray[np.float64]:
    n, agreed = sums.sum(axis=(-2, -1)), np.trace(sums, axis1=-2, axis2=-1)
    with np.errstate(invalid="ignore"):
        return np.asarray(1 - (n - 1) * (n - agreed) / (n * n - (sums.sum(axis=-1) ** 2).sum(axis=-1)))


def percentile(
    rng: np.random.Generator, values: NDArray[Any], figure: Callable[[NDArray[Any]], NDArray[np.float64]]
) -> Ends:
    times = rng.multinomial(len(values), np.full(len(values), 1 / len(values)), size=RESAMPLES)
    found = figure((times @ values.reshape(len(values), -1)).reshape(-1, *values.shape[1:]))
    return None if np.isnan(found).mean() > 0.05 else interval(found)


def agreements(
    name: str, images: int, replications: int, rng: np.random.Generator
) -> Iterator[tuple[list[Ends], list[Ends], float]]:
    """(percentiles, intervals now, the truth) of each setting."""
    judges = 2 if name == "kappa" else 3
    for share, error, correlation in product((0.5, 0.2, 0.05), (0.02, 0.1, 0.3), (0.0, 0.3)):

        def tables(many: int, setting: tuple[float, float, float] = (share, error, correlation)) -> tuple[Any, Any]:
            said = votes(rng, many, judges, *setting)
            flat, place = said.reshape(judges, -1).astype(float), np.arange(6 * many) // 6
            return said, kappa_tables(said) if judges == 2 else coincidence_tables(flat, place, many)

        figure = kappas if judges == 2 else alphas
        truth = float(figure(tables(100_000)[1].sum(axis=0)))
        before, now = [], []
        for _ in range(replications):
            said, found = tables(images)
            before.append(percentile(rng, found, figure))
            if judges == 2:
                now.append(kappa_with_interval(found).kappa_ci)
            else:
                now.append(
                    krippendorff_alpha(said.reshape(judges, -1).astype(float), np.arange(6 * images) // 6).alpha_ci
                )
        yield before, now, truth


def mixes(images: int, replications: int, rng: np.random.Generator) -> Iterator[tuple[list[Ends], list[Ends], float]]:
    """As `agreements`."""
    for (one, other), correlation in product(MIXES, (0.0, 0.3)):
        shares = np.array(one[2])

        def drawn(model: tuple[Any, float, Any], spread: float = correlation) -> NDArray[np.int64]:
            recalls, refusal, mix = model
            asked = rng.multinomial(4, mix, size=images)
            declined = rng.binomial(asked, beta(rng, np.array(recalls), spread, (images, 3)))
            refused = rng.binomial(4, beta(rng, refusal, spread, (images,)))
            return np.column_stack([refused, np.full(images, 4), declined, asked])

        ours, theirs = (2 * r / (1 + r + each[1]) for each in (one, other) for r in [float(shares @ np.array(each[0]))])
        before, now = [], []
        for _ in range(replications):
            rows = np.hstack([drawn(one), drawn(other)])
            if np.isnan(both_at_mix(rows.sum(axis=0))[1]):
                continue  # a kind is missing: there is no figure
            before.append(percentile(rng, rows, lambda sums: np.subtract(*both_at_mix(sums)[::-1])))
            now.append(mix_difference(rows, *mix_intervals(rows)).ends)
        yield before, now, theirs - ours


def outcome(ends: list[Ends], truth: float) -> tuple[float, float, float]:
    """(coverage of those that are there, their mean width, the share that is not there)."""
    there = [each for each in ends if each is not None]
    held = [low - 1e-9 <= truth <= high + 1e-9 for low, high in there]
    width = [high - low for low, high in there]
    return float(np.mean(held)), float(np.mean(width)), 1 - len(there) / len(ends)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--replications", type=int, default=400)
    parser.add_argument("--only", choices=("kappa", "alpha", "mix"))
    options = parser.parse_args()
    print("| figure | images | percentile: coverage; width; none | now: coverage; width; none |")
    print("| --- | --- | --- | --- |")
    for name, images in product((options.only,) if options.only else ("kappa", "alpha", "mix"), IMAGES):
        rng = np.random.default_rng(images)
        settings = (
            mixes(images, options.replications, rng)
            if name == "mix"
            else agreements(name, images, options.replications, rng)
        )
        cells = [(outcome(before, truth), outcome(now, truth)) for before, now, truth in settings]
        shown = []
        for side in (0, 1):
            coverage, width, none = np.array([cell[side] for cell in cells]).T
            shown.append(
                f"{coverage.min():.2f} to {coverage.max():.2f}, {coverage.mean():.3f}; {width.mean():.2f}; {none.max():.2f}"
            )
        print(f"| {name} | {images} | {shown[0]} | {shown[1]} |", flush=True)


if __name__ == "__main__":
    main()
