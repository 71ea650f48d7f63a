"""How often the 95 % intervals of UnF1 hold, by simulation: of a score, of a difference, and where a run stops itself.

    python benchmarks/intervals.py score [--replications 400] [--images 5 10 20 50 200]
    python benchmarks/intervals.py difference [--replications 400] [--images 5 10 20 50 200]
    python benchmarks/intervals.py stop [--replications 400]
    python benchmarks/intervals.py exceptions [--replications 400] [--images 5 10 20 50 200]
    python benchmarks/intervals.py unequal [--replications 400] [--images 5 10 20 50 200]

A simulated model is right on each answerable and on each unanswerable question of an image with rates that differ from
image to image: the two follow beta distributions with one quantile in common, so an image that is hard for one is hard for
the other. The correlation of two questions of an image is the beta distributions'. The truth is known: UnF1 of the rates'
means. An interval that is undefined counts as a miss. `exceptions` and `unequal` are of a share of right answers: of images
that are nearly all alike, and of images with unequal numbers of questions.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from itertools import product
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import special

from unsaf_async.runs.stopping import StopWhenNarrow
from unsaf_async.score.intervals import ALIKE, GUARD, NEAR

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Ends = tuple[NDArray[np.float64], NDArray[np.float64]]

RATES = (0.05, 0.2, 0.5, 0.8, 0.95, 0.98)
"""Of right acts, on either side."""

CORRELATIONS = (0.0, 0.3)
RESAMPLES = 1_000
Z = NormalDist().inv_cdf(0.975)
_QUANTILES = np.linspace(0, 1, 4001)
_EQUAL = 1e-12
_MOST_LEVERAGE = 0.99


@dataclass(frozen=True)
class Rates:
    """The rates of right acts of a model over images, as quantile functions, tabulated.

    answerable, unanswerable: the rate at each of `_QUANTILES`.
    """

    answerable: NDArray[np.float64]
    unanswerable: NDArray[np.float64]

    @classmethod
    def of(cls, answerable: float, unanswerable: float, correlation: float) -> Rates:
        """The rates with these means and this correlation of two questions of an image."""

        def table(mean: float) -> NDArray[np.float64]:
            if correlation == 0:
                return np.full(len(_QUANTILES), mean)
            size = 1 / correlation - 1
            return np.asarray(special.betaincinv(size * mean, size * (1 - mean), _QUANTILES))

        return cls(table(answerable), table(unanswerable))

    @classmethod
    def rare(cls, answerable: float, unanswerable: float, share: float) -> Rates:
        """The rates where all acts are wrong on a share of the images, and right with these rates on the others."""

        def table(rate: float) -> NDArray[np.float64]:
            return np.where(share > _QUANTILES, 0.0, rate)

        return cls(table(answerable), table(unanswerable))

    @property
    def truth(self) -> float:
        """UnF1 of the process: the ratio of the expectations."""
        answerable, unanswerable = (np.trapezoid(table, _QUANTILES) for table in (self.answerable, self.unanswerable))
        return float(2 * unanswerable / (2 + unanswerable - answerable))

    def pairs(self, rng: np.random.Generator, u: NDArray[np.float64], k: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """(2 TU, 2 TU + FU + FA) of images with k questions of each label. u: the images' quantiles."""
        tu = rng.binomial(k, np.interp(u, _QUANTILES, self.unanswerable))
        fu = k - rng.binomial(k, np.interp(u, _QUANTILES, self.answerable))
        return 2 * tu, tu + k + fu


# --- a score: shape [replications, images] ------------------------------------------------------------------------


def logit_t(value: NDArray[Any], variance: NDArray[Any], images: Any, guard: float = GUARD, df: Any = None) -> Ends:
    """Logit-t with a guarded variance. images: as how many they count. df: of Student's t; None: one fewer."""
    guarded = variance + guard * (np.maximum(value, 1 - value) / images) ** 2
    unseen = 1 - 0.025 ** (1 / images)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = special.stdtrit(images - 1 if df is None else df, 0.975) / (value * (1 - value))
        centre = special.logit(value)
        plain, width = (scale * np.sqrt(each) for each in (variance, guarded))
        low = np.maximum(special.expit(centre - width), special.expit(centre - plain) - unseen * value)
        high = np.minimum(special.expit(centre + width), special.expit(centre + plain) + unseen * (1 - value))
    nothing, everything = value <= _EQUAL, value >= 1 - _EQUAL
    low = np.where(nothing, 0, np.where(everything, 1 - unseen, low))
    return low, np.where(nothing, unseen, np.where(everything, 1, high))


def program(a: NDArray[Any], b: NDArray[Any]) -> Ends:
    """`intervals.ratio_interval`, for many replications at once; b > 0."""
    images, total = b.shape[1], b.sum(1)
    shares, values, value = b / total[:, None], a / b, a.sum(1) / total
    effective = 1 / (shares**2).sum(1)
    df = np.maximum(effective - 1, min(images - 1, 2))

    def of_mean(each: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], Ends]:
        mean = (shares * each).sum(1)
        moved = shares * (each - mean[:, None])
        variance = (moved**2 / (1 - np.minimum(shares, _MOST_LEVERAGE))).sum(1)
        return mean, moved, logit_t(mean, variance, effective, df=df)

    _, _, (low, high) = of_mean(values)
    order = np.argsort(values, axis=1, kind="stable")
    before = np.cumsum(np.take_along_axis(shares, order, 1), axis=1)
    rows = np.arange(len(a))
    common = np.take_along_axis(values, order, 1)[rows, (before >= 0.5 * (1 - _EQUAL)).argmax(1)]
    near = np.abs(values - common[:, None]) <= NEAR + _EQUAL
    split = ((shares * near).sum(1) > ALIKE + _EQUAL) & (common > _EQUAL) & (common < 1 - _EQUAL)
    split &= (value > _EQUAL) & (value < 1 - _EQUAL)
    ranges = (np.where(split, 1 - common, 1), np.where(split, common, 1))
    apart = np.where(near, 0, values - common[:, None])
    above, below = (
        of_mean(np.maximum(sign * apart, 0) / size[:, None]) for sign, size in zip((1, -1), ranges, strict=True)
    )
    up = [ranges[0] * np.abs(end - above[0]) for end in above[2]]
    down = [ranges[1] * np.abs(end - below[0]) for end in below[2]]
    within = np.where(near, values, common[:, None])
    moved = shares * (within - (shares * within).sum(1)[:, None])
    spread = special.stdtrit(df, 0.975) * np.sqrt((moved**2 / (1 - np.minimum(shares, _MOST_LEVERAGE))).sum(1))
    correlation = _correlation(above[1], below[1])
    split_low = value - np.hypot(_distance(up[0], down[1], correlation), spread)
    split_high = value + np.hypot(_distance(up[1], down[0], correlation), spread)
    return np.where(split, np.maximum(0, split_low), low), np.where(split, np.minimum(1, split_high), high)


def linearised(a: NDArray[Any], b: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """(the ratios of sums, their influence values [replications, images], their variances)."""
    images = a.shape[1]
    value = a.sum(1) / b.sum(1)
    influence = (a - value[:, None] * b) / b.sum(1)[:, None]
    return value, influence, (influence**2).sum(1) * images / (images - 1)


def score_intervals(a: NDArray[Any], b: NDArray[Any], rng: np.random.Generator) -> dict[str, Ends]:
    """Every interval of sum(a) / sum(b) that is compared."""
    images = a.shape[1]
    value, _, variance = linearised(a, b)
    without = (a.sum(1)[:, None] - a) / (b.sum(1)[:, None] - b)
    jackknife = (images - 1) / images * ((without - value[:, None]) ** 2).sum(1)
    drawn = rng.multinomial(images, np.full(images, 1 / images), size=RESAMPLES).astype(float)
    values = np.sort((drawn @ a.T) / (drawn @ b.T), axis=0)
    return {
        "percentile": _percentile(values),
        "BCa": _bca(values, value, without),
        "logit-t, no guard": logit_t(value, variance, images, guard=0),
        "jackknife logit-t, no guard": logit_t(value, jackknife, images, guard=0),
        "Korn-Graubard": _korn_graubard(value, variance, images),
        "a pseudo-image": _pseudo_image(a, b, 0.25),
        "logit-t, guarded": logit_t(value, variance, images),
        "the program's": program(a, b),
    }


def _percentile(values: NDArray[Any]) -> Ends:
    low, high = np.quantile(values, (0.025, 0.975), axis=0)
    alike = values[0] == values[-1]
    return np.where(alike, np.nan, low), np.where(alike, np.nan, high)


def _bca(values: NDArray[Any], value: NDArray[Any], without: NDArray[Any]) -> Ends:
    """Efron & Tibshirani, An Introduction to the Bootstrap (1993), section 14.3; the percentile interval where undefined."""
    low, high = _percentile(values)
    below = ((values < value).mean(0) + (values <= value).mean(0)) / 2
    deviation = without.mean(1, keepdims=True) - without
    with np.errstate(divide="ignore", invalid="ignore"):
        bias = special.ndtri(below)
        acceleration = (deviation**3).sum(1) / (6 * (deviation**2).sum(1) ** 1.5)
        levels = [special.ndtr(bias + (bias + z) / (1 - acceleration * (bias + z))) for z in (-Z, Z)]
    for i in np.flatnonzero(~np.isnan(low) & np.isfinite(bias) & np.isfinite(levels[0] + levels[1])):
        low[i], high[i] = np.quantile(values[:, i], (levels[0][i], levels[1][i]))
    return low, high


def _korn_graubard(value: NDArray[Any], variance: NDArray[Any], images: int) -> Ends:
    """Clopper & Pearson with the effective number of responses: Korn & Graubard, Survey Methodology 24 (1998)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        effective = value * (1 - value) / variance * (Z / special.stdtrit(images - 1, 0.975)) ** 2
        effective = np.where(variance < 1e-14, images, effective)
        hits = value * effective
        low = np.where(hits > 0, special.betaincinv(hits, effective - hits + 1, 0.025), 0)
        high = np.where(hits < effective, special.betaincinv(hits + 1, effective - hits, 0.975), 1)
    return low, high


def _pseudo_image(a: NDArray[Any], b: NDArray[Any], weight: float) -> Ends:
    """Logit-t with `weight` images more on which all is right, and as many on which all is wrong."""
    images, size = a.shape[1], b.mean(1)
    below = b.sum(1) + 2 * weight * size
    value = (a.sum(1) + weight * size) / below
    squares = ((a - value[:, None] * b) ** 2).sum(1) + weight * size**2 * ((1 - value) ** 2 + value**2)
    return logit_t(value, squares * images / (images - 1) / below**2, images, guard=0)


# --- a paired difference ------------------------------------------------------------------------------------------


def difference_intervals(pairs: list[NDArray[Any]], rng: np.random.Generator) -> dict[str, Ends]:
    """Every interval of UnF1(a) - UnF1(b) on the same images that is compared. pairs: a's (A, B), then b's."""
    a, b, c, d = pairs
    images = a.shape[1]
    (ours, one, _), (theirs, other, _) = linearised(a, b), linearised(c, d)
    variance = ((one - other) ** 2).sum(1) * images / (images - 1)
    guard = GUARD * (np.maximum(ours, 1 - ours) ** 2 + np.maximum(theirs, 1 - theirs) ** 2) / images**2
    drawn = rng.multinomial(images, np.full(images, 1 / images), size=RESAMPLES).astype(float)
    values = np.sort((drawn @ a.T) / (drawn @ b.T) - (drawn @ c.T) / (drawn @ d.T), axis=0)
    value = ours - theirs
    t = special.stdtrit(images - 1, 0.975)
    plain, guarded = t * np.sqrt(variance), t * np.sqrt(variance + guard)
    nothing = np.where(variance < 1e-14, np.nan, 0)
    return {
        "percentile": _percentile(values),
        "t, no guard": (value - plain + nothing, value + plain + nothing),
        "t, guarded": (np.maximum(-1, value - guarded), np.minimum(1, value + guarded)),
        "combined": combined((ours, program(a, b)), (theirs, program(c, d)), _correlation(one, other)),
    }


def combined(one: tuple[NDArray[Any], Ends], other: tuple[NDArray[Any], Ends], correlation: NDArray[Any]) -> Ends:
    """The difference's interval out of the two figures': `intervals.difference_interval`, for many replications."""
    (ours, (low, high)), (theirs, (their_low, their_high)) = one, other
    value = ours - theirs
    return (
        value - _distance(ours - low, their_high - theirs, correlation),
        value + _distance(high - ours, theirs - their_low, correlation),
    )


def _distance(x: NDArray[Any], y: NDArray[Any], correlation: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(np.sqrt(np.maximum(0, x**2 + y**2 - 2 * correlation * x * y)))


def _correlation(one: NDArray[Any], other: NDArray[Any]) -> NDArray[Any]:
    size = np.sqrt((one**2).sum(1) * (other**2).sum(1))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(size > 1e-14, (one * other).sum(1) / size, 0)


# --- a run that stops itself --------------------------------------------------------------------------------------


def stopped(
    a: NDArray[Any], b: NDArray[Any], k: int | NDArray[Any], half_width: float, rule: Any
) -> tuple[NDArray[Any], ...]:
    """(images, UnF1, the rule's half-width, variance of UnF1) where each row of images first satisfies the rule.

    A row that never does has 0 images.
    """
    n = np.arange(1, a.shape[1] + 1)
    value, width, variance = widths(a, b, k, half_width, rule)
    reached = (width <= half_width) & (n >= 20)
    first = reached.argmax(1)
    rows = np.arange(len(a))
    images = np.where(reached.any(1), n[first], 0)
    return images, value[rows, first], width[rows, first], variance[rows, first] / n[first]


def widths(
    a: NDArray[Any], b: NDArray[Any], k: int | NDArray[Any], half_width: float, rule: Any
) -> tuple[NDArray[Any], ...]:
    """(UnF1, the rule's half-width, variance of an image's influence) after each number of images.

    The formulas of `StopWhenNarrow`, for all rows and numbers of images at once. k: questions of each label, or of each image.
    """
    n = np.arange(1, a.shape[1] + 1)
    above, below = a.cumsum(1), b.cumsum(1)
    value = above / below
    squares = (a * a).cumsum(1) - 2 * value * (a * b).cumsum(1) + value**2 * (b * b).cumsum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = np.maximum(0, n**2 * squares / (below.astype(float) ** 2 * (n - 1)))
    held = 2.0 * np.broadcast_to(k, a.shape)
    large = (held**2).cumsum(1) / held.cumsum(1)
    extreme = large * n * np.maximum(value, 1 - value) / below
    made = StopWhenNarrow(half_width, rule=rule)
    unit = np.array([made.unit_half_width(int(each)) for each in n])
    return value, np.sqrt(variance + made.guard * extreme**2 / n) * unit, variance


def always_covered(
    a: NDArray[Any], b: NDArray[Any], truth: float, rule: Any, half_width: float, k: int | NDArray[Any] = 3
) -> float:
    """The share of rows in which the interval holds the truth at all numbers of images together, from 20 on."""
    value, width, _ = widths(a, b, k, half_width, rule)
    return float((np.abs(value - truth) <= width)[:, 19:].all(axis=1).mean())


# --- images that are nearly all alike, and images with unequal numbers of questions -------------------------------


def exceptional(
    rng: np.random.Generator, shape: tuple[int, int], share: float, usual: tuple[int, int], others: tuple[int, ...]
) -> tuple[NDArray[Any], NDArray[Any], float]:
    """(a, b, truth) of images with `usual[0]` of `usual[1]` right, but for a share of them that has one of `others`."""
    a = np.where(rng.random(shape) < share, rng.choice(others, shape), usual[0])
    return a, np.full(shape, usual[1]), float((1 - share) * usual[0] + share * np.mean(others)) / usual[1]


SIZES = {
    "1 or 20": lambda rng, shape: np.where(rng.random(shape) < 0.5, 1, 20),
    "1, and 20 in a tenth": lambda rng, shape: np.where(rng.random(shape) < 0.1, 20, 1),
    "1 to 20": lambda rng, shape: rng.integers(1, 21, shape),
    "1 to 20, most few": lambda rng, shape: np.exp(rng.uniform(0, 3, shape)).round().astype(int),
}
"""Numbers of questions of an image."""


def simulated_exceptions(replications: int, images: list[int]) -> None:
    print("| exceptions among n images, expected | interval | " + " | ".join(f"{n} images" for n in images) + " |")
    print("| --- | --- |" + " --- |" * len(images))
    usual = ((1, 2), (1, 3), (2, 3), (5, 6))
    for expected in (0.5, 1, 2, 4):
        found: dict[str, dict[int, list[tuple[float, float, float]]]] = {}
        for n in images:
            if expected > n / 2:
                continue
            rng = np.random.default_rng(n)
            for (right, of), others in product(usual, ("0", "all", "0 or all", "one fewer")):
                given = {"0": (0,), "all": (of,), "0 or all": (0, of), "one fewer": (right - 1,)}[others]
                a, b, truth = exceptional(rng, (replications, n), expected / n, (right, of), given)
                _compare(found, n, a, b, truth)
        _print_rows(f"{expected:g}", found, images)


def simulated_unequal(replications: int, images: list[int]) -> None:
    print("| questions of an image | correlation | interval | " + " | ".join(f"{n} images" for n in images) + " |")
    print("| --- | --- | --- |" + " --- |" * len(images))
    for (name, sizes), correlation in product(SIZES.items(), CORRELATIONS):
        found: dict[str, dict[int, list[tuple[float, float, float]]]] = {}
        for n in images:
            rng = np.random.default_rng(n)
            for rate in (0.05, 0.2, 0.5, 0.8, 0.95):
                b = sizes(rng, (replications, n))
                rates = Rates.of(rate, rate, correlation)
                a = rng.binomial(b, np.interp(rng.random(b.shape), _QUANTILES, rates.answerable))
                _compare(found, n, a, b, float(np.trapezoid(rates.answerable, _QUANTILES)))
        _print_rows(f"{name} | {correlation:g}", found, images)


def _compare(
    found: dict[str, dict[int, list[tuple[float, float, float]]]],
    n: int,
    a: NDArray[Any],
    b: NDArray[Any],
    truth: float,
) -> None:
    value, _, variance = linearised(a, b)
    for name, ends in (("logit-t, guarded", logit_t(value, variance, n)), ("the program's", program(a, b))):
        found.setdefault(name, {}).setdefault(n, []).append(outcome(ends, truth))


def _print_rows(title: str, found: dict[str, dict[int, list[tuple[float, float, float]]]], images: list[int]) -> None:
    """One row an interval: the least and the mean coverage, and the mean width."""
    for name, by_images in found.items():
        cells = []
        for n in images:
            coverage, width, _ = np.array(by_images.get(n, [(np.nan,) * 3])).T
            cells.append(
                f"{coverage.min():.3f}, {coverage.mean():.3f}; {width.mean():.3f}" if n in by_images else "n/a"
            )
        print(f"| {title} | {name} | " + " | ".join(cells) + " |", flush=True)


# --- tables -------------------------------------------------------------------------------------------------------


def cells(images: list[int]) -> Iterator[tuple[float, int, int]]:
    """(correlation, K, images)."""
    yield from product(CORRELATIONS, (3, 6), images)


def outcome(ends: Ends, truth: float) -> tuple[float, float, float]:
    """(coverage, mean width of those that are defined, share undefined)."""
    low, high = ends
    undefined = np.isnan(low) | np.isnan(high)
    with np.errstate(invalid="ignore"):
        covered = (low <= truth + 1e-12) & (truth - 1e-12 <= high)
    width = float((high - low)[~undefined].mean()) if (~undefined).any() else float("nan")
    return float(covered.mean()), width, float(undefined.mean())


def print_table(found: dict[tuple[float, int, int], dict[str, list[tuple[float, float, float]]]]) -> None:
    """One row an estimator, correlation and number of images: K = 3 and 6 and all rates together."""
    print("| correlation | images | interval | coverage: least | tenth | mean | most | width | undefined, most |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    groups: dict[tuple[float, int, str], list[tuple[float, float, float]]] = {}
    for (correlation, _, images), methods in found.items():
        for method, outcomes in methods.items():
            groups.setdefault((correlation, images, method), []).extend(outcomes)
    for (correlation, images, method), outcomes in sorted(groups.items(), key=lambda item: item[0][:2]):
        coverage, width, undefined = np.array(outcomes).T
        figures = [coverage.min(), np.quantile(coverage, 0.1), coverage.mean(), coverage.max()]
        shown = " | ".join(f"{figure:.3f}" for figure in (*figures, np.nanmean(width), undefined.max()))
        print(f"| {correlation:g} | {images} | {method} | {shown} |")


def simulated_scores(replications: int, images: list[int]) -> None:
    rng = np.random.default_rng(0)
    found: dict[tuple[float, int, int], dict[str, list[tuple[float, float, float]]]] = {}
    for correlation, k, n in cells(images):
        for answerable, unanswerable in product(RATES, RATES):
            rates = Rates.of(answerable, unanswerable, correlation)
            a, b = rates.pairs(rng, rng.random((replications, n)), k)
            for method, ends in score_intervals(a, b, rng).items():
                cell = found.setdefault((correlation, k, n), {}).setdefault(method, [])
                cell.append(outcome(ends, rates.truth))
    print_table(found)


MODELS = ((0.9, 0.9), (0.95, 0.5), (0.8, 0.2), (0.98, 0.98), (0.05, 0.95), (0.98, 0.05))
"""(answerable, unanswerable) rates of right acts of two models that are compared."""


def simulated_differences(replications: int, images: list[int]) -> None:
    rng = np.random.default_rng(0)
    found: dict[tuple[float, int, int], dict[str, list[tuple[float, float, float]]]] = {}
    for correlation, k, n in cells(images):
        for ours, theirs in product(MODELS, MODELS):
            one, other = Rates.of(*ours, correlation), Rates.of(*theirs, correlation)
            u = rng.random((replications, n))
            pairs = [*one.pairs(rng, u, k), *other.pairs(rng, u, k)]
            for method, ends in difference_intervals(pairs, rng).items():
                cell = found.setdefault((correlation, k, n), {}).setdefault(method, [])
                cell.append(outcome(ends, one.truth - other.truth))
    print_table(found)


def simulated_rare_images(replications: int) -> None:
    """A share of the images goes wholly wrong, and carries nearly all of the errors."""
    rng = np.random.default_rng(0)
    print("\n| rule | W | images that go wrong | right acts on others | images, median | at the stop | at all looks |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    shares, others = (0.02, 0.05, 0.1, 0.2), ((1.0, 1.0), (0.98, 0.97))
    for rule, half_width, share, right in product(("fixed-width", "anytime"), (0.03, 0.05, 0.08), shares, others):
        rates = Rates.rare(*right, share)
        most = min(3000, int(1.2 / half_width**2 * (3 if rule == "anytime" else 1)))
        a, b = rates.pairs(rng, rng.random((replications, most)), 3)
        images, value, width, _ = stopped(a, b, 3, half_width, rule)
        at_stop = (np.abs(value - rates.truth) <= width) & (images > 0)
        always = always_covered(a, b, rates.truth, rule, half_width) if rule == "anytime" else None
        print(
            f"| {rule} | {half_width:g} | {share:g} | {right[0]:g}, {right[1]:g} | {np.median(images):.0f} "
            f"| {at_stop.mean():.3f} | {'' if always is None else f'{always:.3f}'} |",
            flush=True,
        )


def simulated_unequal_stops(replications: int) -> None:
    """Images hold unequal numbers of questions; one in twenty goes wholly wrong, and all others are right in .99 of acts."""
    rng = np.random.default_rng(0)
    print(
        "\n| questions of each label | W | fixed-width: images, median | at its stop | anytime: images | at all looks |"
    )
    print("| --- | --- | --- | --- | --- | --- |")
    for (name, sizes), half_width in product(SIZES.items(), (0.03, 0.05, 0.08)):
        cells = []
        for rule, most in (("fixed-width", int(2 / half_width**2)), ("anytime", int(4 / half_width**2))):
            k = sizes(rng, (replications, most))
            right = np.where(rng.random(k.shape) < 0.05, 0.0, 0.99)
            declined, refused = rng.binomial(k, right), rng.binomial(k, 1 - right)
            a, b = 2 * declined, k + declined + refused
            images, value, width, _ = stopped(a, b, k, half_width, rule)
            truth = 0.95 * 0.99  # as many answerable ones are declined as unanswerable ones answered
            if rule == "anytime":
                shown = always_covered(a, b, truth, rule, half_width, k)
            else:
                shown = float((np.abs(value - truth) <= width)[images > 0].mean())
            cells.append(f"{np.median(images):.0f} | {shown:.3f}")
        print(f"| {name} | {half_width:g} | " + " | ".join(cells) + " |", flush=True)


def simulated_stops(replications: int) -> None:
    rng = np.random.default_rng(0)
    print("| rule | W | correlation | right acts | images, median | its own interval | logit-t there |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    models = ((0.9, 0.8), (0.98, 0.97), (0.95, 0.3), (0.98, 0.06))
    for rule, half_width, correlation, (answerable, unanswerable) in product(
        ("fixed-width", "anytime"), (0.03, 0.05, 0.08), CORRELATIONS, models
    ):
        rates = Rates.of(answerable, unanswerable, correlation)
        most = int(1.2 / half_width**2) * (3 if rule == "anytime" else 1)
        a, b = rates.pairs(rng, rng.random((replications, most)), 3)
        images, value, width, variance = stopped(a, b, 3, half_width, rule)
        own = np.abs(value - rates.truth) <= width
        ordinary = np.zeros(replications, bool)
        for i in np.flatnonzero(images):
            low, high = logit_t(value[i : i + 1], variance[i : i + 1], int(images[i]))
            ordinary[i] = low[0] <= rates.truth <= high[0]
        own &= images > 0
        print(
            f"| {rule} | {half_width:g} | {correlation:g} | {answerable:g}, {unanswerable:g} | {np.median(images):.0f} "
            f"| {own.mean():.3f} | {ordinary.mean():.3f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("figure", choices=("score", "difference", "stop", "exceptions", "unequal"))
    parser.add_argument("--replications", type=int, default=400)
    parser.add_argument("--images", type=int, nargs="+", default=[5, 10, 20, 50, 200])
    options = parser.parse_args()
    if options.figure == "stop":
        simulated_stops(options.replications)
        simulated_rare_images(options.replications)
        simulated_unequal_stops(options.replications)
    else:
        simulated = {
            "score": simulated_scores,
            "difference": simulated_differences,
            "exceptions": simulated_exceptions,
            "unequal": simulated_unequal,
        }[options.figure]
        simulated(options.replications, options.images)


if __name__ == "__main__":
    main()
