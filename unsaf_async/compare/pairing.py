"""Images that two runs share, and the paired difference of their UnF1 on them.

Interval: the intervals of both UnF1 on the shared images, combined with their correlation over these images
(`intervals.difference_interval`); where the two runs are equal on every image, an exact bound. Beside it stands the
percentile interval: images are drawn with replacement, each with both runs' pairs (2 TU, 2 TU + FU + FA), and UnF1(a) -
UnF1(b) is computed anew; its 2.5 % and 97.5 % quantiles. That one is too narrow with few images (docs/intervals.md). Source:
Efron & Tibshirani, An Introduction to the Bootstrap (1993), 13.3.

p: the share of arrangements whose |t| is at least the observed one, where an arrangement swaps the two runs' pairs on some
of the images, and

    t = (UnF1(a) - UnF1(b)) / s,    s^2 = sum of e_i^2,    e_i = (A_i - UnF1(a) B_i) / B  -  (A'_i - UnF1(b) B'_i) / B'

with (A_i, B_i), (A'_i, B'_i) the pairs of image i in a and in b, and B, B' the sums: e_i is what image i contributes to the
difference (its linearised influence), s its standard error but for a constant. If the two runs are exchangeable image by
image, p below x has the probability x at most, for any number of images: all arrangements are taken where there are no more
than `resamples`, else so many random ones and the observed one (Phipson & Smyth 2010, doi:10.2202/1544-6115.1585). Because
the difference is divided by its standard error, the same is approximately true with many images if only the two UnF1 are
equal, while precision, recall or the number of questions differ (Konietschke & Pauly 2014, doi:10.1007/s11222-012-9370-4).
A swap that leaves an UnF1 undefined counts as one at least as large as the observed.

The bootstrap's own tail probability is not used: with 10 images it calls two equal models different twice as often as it
says. Interval and p are computed in different ways, so one may speak of a difference where the other does not. Exchangeable
is more than equally good: of a run that is a little better on most images and far worse on a few, of which the sample holds
hardly one, p speaks too early, and the interval does not. With very few images it is the other way round. p is left out
where the two disagree, and no difference is shown.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Literal

import numpy as np

from unsaf_async.compare import sample_size
from unsaf_async.records import Examination, Record
from unsaf_async.score.bootstrap import draws, interval
from unsaf_async.score.intervals import CONFIDENCE, Interval, difference_interval, effective_images
from unsaf_async.score.ratios import quotients, ratio
from unsaf_async.score.unf1 import cell, latest
from unsaf_async.score.units import Units
from unsaf_async.text import format_p

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from unsaf_async.records import Question
    from unsaf_async.score.unf1 import Cell


RESAMPLES = 10_000
"""Draws for an interval, and swaps for a p-value: these figures are the comparison's headline."""

PAIRED = ("ci", "ci_percentile", "p", "p_method", "least_p", "sd", "detectable")
"""Figures that need two shared images."""

_BLOCK_BYTES = 64_000_000
"""Memory for one block of draws or swaps."""


class PairedDifference(Record):
    """UnF1 of run a minus UnF1 of run b, on the images that both have. A figure that is None has its reason in `undefined`."""

    unf1_a: float | None
    unf1_b: float | None
    """On the shared images, so not always the runs' headlines."""
    difference: float | None
    """In [-1, 1]."""
    ci: tuple[float, float] | None
    """95 % interval of `difference` over images: the two UnF1's intervals, combined. Where the two runs are equal on every
    image: as large a difference, either way, as the images that were not seen leave open."""
    ci_percentile: tuple[float, float] | None = None
    """95 % percentile interval by resampling images, both runs' pairs jointly, for comparison."""
    p: float | None
    """Two-sided, of "both runs are equally aware": see `compare/pairing.py`. At most .05 where `ci` leaves 0 out, above it where
    `ci` holds 0, and None with its reason where the two disagree."""
    p_method: Literal["all swaps", "random swaps"] | None
    """Whether `p` looked at every arrangement, or at `resamples` random ones."""
    images_shared: int
    images_only_a: int
    images_only_b: int
    """Images with questions that only one of the two runs has. They enter no figure."""
    seed: int
    resamples: int
    resamples_undefined: int
    """Draws in which one UnF1 was undefined. `ci_percentile` excludes them."""
    undefined: dict[str, str]
    images_differing: int | None = None
    """Of the shared images, those on which the two runs do not have the same pair. A swap of the others changes nothing."""
    least_p: float | None = None
    """The least p that so many images could have had (`sample_size.least_p`). Above .05 no difference is significant."""
    sd: float | None = None
    """Standard deviation of one image's contribution to the difference, whose standard error is sd / sqrt(images)."""
    detectable: float | None = None
    """The least true difference that so many images show with a power of .8: p at most .05 in four studies of five."""


def examined(examinations: Iterable[Examination]) -> list[Examination]:
    """The examinations with at least one question: what a score's interval rests on.

    Args:
        examinations: Of one run; of several about one image id, the last counts.

    Returns:
        One an image, without failed ones.
    """
    return [each for each in latest(examinations) if each.failure is None and each.questions]


def lean(examinations: Iterable[Examination]) -> list[Examination]:
    """Examinations as far as a pairing hangs on them: without texts, one question standing for all of its cell.

    Those of several large runs are then in memory at once: an image takes some 2 kB in place of 50.

    Args:
        examinations: Of one run.

    Returns:
        As `examined`.
    """
    alike: dict[Cell | None, Question] = {}
    found = []
    for each in examinations:
        questions = tuple(alike.setdefault(cell(question), question) for question in each.questions)
        image = each.image.model_copy(update={"metadata": {}})
        found.append(Examination(image=image, questions=questions, failure=each.failure))
    return examined(found)


def match(a: Sequence[Examination], b: Sequence[Examination]) -> list[tuple[Examination, Examination]]:
    """The examinations of a and b that are about the same image, each used once, in a's order.

    Same image: the same pixels as sent (`pixels_sha256`); failing that the same file (`bytes_sha256`: runs may send it at
    different sizes); failing that the same id, if one of the two has no hash to compare. Of several with the same hash in one
    run, those with the same id belong together, then the others in the order of their ids.

    Args:
        a: One run's, one an image.
        b: The other run's, one an image.

    Returns:
        Pairs of (a's, b's); [] if no image is shared.
    """
    partner: dict[str, Examination] = {}
    unmatched_a, unmatched_b = {each.image.id: each for each in a}, {each.image.id: each for each in b}

    def pair(one: Examination, other: Examination) -> None:
        partner[one.image.id] = other
        del unmatched_a[one.image.id], unmatched_b[other.image.id]

    keys: tuple[Callable[[Examination], str | None], ...] = (
        lambda each: each.image.pixels_sha256,
        lambda each: each.image.bytes_sha256,
    )
    for key in keys:
        ours, theirs = _grouped(unmatched_a.values(), key), _grouped(unmatched_b.values(), key)
        for shared in ours.keys() & theirs.keys():
            for name in sorted(ours[shared].keys() & theirs[shared].keys()):
                pair(ours[shared].pop(name), theirs[shared].pop(name))
            for one, other in zip(sorted(ours[shared]), sorted(theirs[shared]), strict=False):
                pair(ours[shared][one], theirs[shared][other])
    for name in unmatched_a.keys() & unmatched_b.keys():
        if not _differ(unmatched_a[name], unmatched_b[name]):
            pair(unmatched_a[name], unmatched_b[name])
    return [(each, partner[each.image.id]) for each in a if each.image.id in partner]


def _grouped(
    examinations: Iterable[Examination], key: Callable[[Examination], str | None]
) -> dict[str, dict[str, Examination]]:
    groups: dict[str, dict[str, Examination]] = defaultdict(dict)
    for each in examinations:
        if (value := key(each)) is not None:
            groups[value][each.image.id] = each
    return groups


def _differ(one: Examination, other: Examination) -> bool:
    """Whether two images of the same id are known to be two: both have a hash of the same sort, and none agreed."""
    return any(getattr(one.image, name) and getattr(other.image, name) for name in ("pixels_sha256", "bytes_sha256"))


def pair_of(examination: Examination) -> tuple[int, int]:
    """An image's part of UnF1's numerator and denominator.

    Args:
        examination: Of the image.

    Returns:
        (2 TU, 2 TU + FU + FA), counts of the image's questions by type.
    """
    counts = Counter(map(cell, examination.questions))
    return 2 * counts["tu"], 2 * counts["tu"] + counts["fu"] + counts["fa"]


def paired_difference(
    a: Sequence[Examination], b: Sequence[Examination], *, resamples: int = RESAMPLES, seed: int = 0
) -> PairedDifference:
    """UnF1 of a minus UnF1 of b on the images that both have, its interval and its p-value, as the module's docstring says.

    Args:
        a: One run's examinations.
        b: The other run's.
        resamples: Draws for the percentile interval, >= 1, and the most arrangements for p.
        seed: Of the draws and of random arrangements, >= 0.

    Returns:
        The difference. Images without a question, failed ones among them, count as not shared. With fewer than two shared
        images, or where an UnF1 is undefined, figures are None with their reason.

    Raises:
        ValueError: resamples < 1.
    """
    if resamples < 1:
        raise ValueError(f"resamples is {resamples}; give at least 1")
    ours, theirs = examined(a), examined(b)
    # In an order that is the same whichever run is named first, so that equal draws take equal images.
    matched = sorted(match(ours, theirs), key=lambda pair: sorted(each.image.id for each in pair))
    rows = np.array([(*pair_of(one), *pair_of(other)) for one, other in matched], dtype=np.int64).reshape(-1, 4)
    rows = Units.of(one.image for one, _ in matched).sums(rows)
    shared, units = len(matched), len(rows)
    above_a, below_a, above_b, below_b = map(int, rows.sum(axis=0))
    unf1_a, unf1_b = ratio(above_a, below_a), ratio(above_b, below_b)
    difference, undefined = _difference(unf1_a, unf1_b, units)
    paired, percentile, p, method, undefined_draws = Interval(), None, None, None, 0
    reach: dict[str, float | None] = {}
    if difference is not None and units >= 2:
        reach = _reach(rows, resamples, undefined)
        alike = (rows[:, :2] == rows[:, 2:]).all()
        paired = alike_interval(matched) if alike else difference_interval(rows)
        percentile, undefined_draws = _bootstrap(rows, resamples, seed)
        undefined |= _no_interval(paired, percentile)
        p, method = _swap_test(rows, resamples, seed)
        if why := _at_odds(p, paired.ends):
            p = None
            undefined["p"] = why
    return PairedDifference(
        unf1_a=unf1_a,
        unf1_b=unf1_b,
        difference=difference,
        ci=paired.ends,
        ci_percentile=percentile,
        p=p,
        p_method=method,
        images_shared=shared,
        images_only_a=len(ours) - shared,
        images_only_b=len(theirs) - shared,
        seed=seed,
        resamples=resamples,
        resamples_undefined=undefined_draws,
        undefined=undefined,
        images_differing=int((rows[:, :2] != rows[:, 2:]).any(axis=1).sum()),
        **reach,
    )


def _canonical(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Each image's row with the lesser of the two runs' pairs first. rows: [images, 4]."""
    ours, theirs = rows[:, :2], rows[:, 2:]
    swapped = (ours[:, 0] > theirs[:, 0]) | ((ours[:, 0] == theirs[:, 0]) & (ours[:, 1] > theirs[:, 1]))
    return np.where(swapped[:, None], rows[:, [2, 3, 0, 1]], rows)


def alike_interval(matched: Sequence[tuple[Examination, Examination]], fewest: int | None = None) -> Interval:
    """How large a difference of two UnF1 may be of which no image shows any: an exact bound.

    Up to a share p of all images may be of a kind that is not among these n, (1 - p)^n = .025 (Clopper & Pearson 1934), n being
    as many as are effective: an image that was not seen may hold more questions than others. The difference is largest where
    one run does all right on these and the other all wrong.

    Args:
        matched: Both runs' examinations of each image that they share; at least one.
        fewest: How many images bear on the part of the figures that fewest bear on, >= 1; None: all.

    Returns:
        The interval, the same distance either way.
    """
    units = Units.of(one.image for one, _ in matched)
    sizes = units.sums(np.array([[len(each.questions) for each in pair] for pair in matched]))
    effective = min(units.count if fewest is None else fewest, *(effective_images(column) for column in sizes.T))
    unseen = 1 - ((1 - CONFIDENCE) / 2) ** (1 / effective)
    reach = []
    for run in zip(*matched, strict=True):
        counts = Counter(cell(question) for each in run for question in each.questions)
        above, unanswerable = (1 - unseen) * 2 * counts["tu"], counts["tu"] + counts["fa"]
        below = (1 - unseen) * (counts["tu"] + counts["fu"] + unanswerable)
        best = (above + unseen * 2 * unanswerable) / (below + unseen * 2 * unanswerable)
        reach.append(best - above / (below + unseen * (unanswerable + counts["ta"] + counts["fu"])))
    # Runs with equal pairs may differ in the answerable questions that were answered.
    return Interval((-max(reach), max(reach)), "exact", units.count)


def _at_odds(p: float, ends: tuple[float, float] | None) -> str:
    """Why p is left out beside an interval of which it says otherwise; "" if the two agree."""
    if ends is None or (p <= sample_size.ALPHA) == (not ends[0] <= 0 <= ends[1]):
        return ""
    if p <= sample_size.ALPHA:
        return (
            f"the test of swapped runs has p = {format_p(p)}, but the interval holds 0, so no difference is shown: that test "
            "asks whether the runs could be swapped on any image, which is more than an equal UnF1"
        )
    return (
        f"the interval leaves 0 out, but the test of swapped runs has p = {format_p(p)}, so no difference is shown: few "
        "images may differ alike by accident"
    )


def _no_interval(found: Interval, percentile: tuple[float, float] | None) -> dict[str, str]:
    """The reasons of the two intervals that are None, by name."""
    alike = "every resample has the same difference, so the images say nothing about its uncertainty"
    reasons = {"ci": found.why_undefined} if found.ends is None else {}
    return reasons | ({"ci_percentile": alike} if percentile is None else {})


def _reach(rows: NDArray[np.int64], resamples: int, undefined: dict[str, str]) -> dict[str, float | None]:
    """What so many images can show, by the record's fields; reasons go into `undefined`. rows: as for `_swap_test`."""
    differing = int((rows[:, :2] != rows[:, 2:]).any(axis=1).sum())
    sd = float(np.std(contributions(rows[:, :2]) - contributions(rows[:, 2:]), ddof=1))
    sd = sd if sd > 1e-12 else 0.0  # equal but for rounding
    found = sample_size.detectable(sd, len(rows))
    if found is None:
        few = f"with fewer than {sample_size.FEWEST_IMAGES} images no difference is significant"
        undefined["detectable"] = "every image contributes the same to the difference" if sd == 0 else few
    return {"least_p": sample_size.least_p(differing, resamples), "sd": sd, "detectable": found}


def contributions(pairs: NDArray[np.int64]) -> NDArray[np.float64]:
    """What each image contributes to an UnF1, linearised: its mean is 0, and the standard error is the mean's.

    Args:
        pairs: Shape [images, 2], as `pair_of` gives them; not all denominators are 0.

    Returns:
        (A_i - UnF1 B_i) / (the mean of B), shape [images].
    """
    above, below = pairs.sum(axis=0)
    return np.asarray((pairs[:, 0] - above / below * pairs[:, 1]) * (len(pairs) / below))


def _difference(unf1_a: float | None, unf1_b: float | None, shared: int) -> tuple[float | None, dict[str, str]]:
    """(the difference, the reasons of figures that are None, by name). shared: how many pictures both runs have."""
    if unf1_a is None or unf1_b is None:
        why = "no shared image holds a response that counts" if shared else "the runs share no image"
        undefined = [name for name, value in (("unf1_a", unf1_a), ("unf1_b", unf1_b)) if value is None]
        return None, dict.fromkeys((*undefined, "difference", *PAIRED), why)
    if shared < 2:
        return unf1_a - unf1_b, dict.fromkeys(PAIRED, "pairing needs at least 2 shared images; there is 1")
    return unf1_a - unf1_b, {}


def _bootstrap(rows: NDArray[np.int64], resamples: int, seed: int) -> tuple[tuple[float, float] | None, int]:
    """(the percentile interval, in how many draws it was undefined). rows: [images, 4]. None: all draws are equal."""
    sums = resampled_sums(rows, resamples, seed)
    values = quotients(sums[:, 0], sums[:, 1]) - quotients(sums[:, 2], sums[:, 3])
    return interval(values), int(np.isnan(values).sum())


def resampled_sums(rows: NDArray[np.int64], resamples: int, seed: int) -> NDArray[np.int64]:
    """The sums of the images' rows over each draw of as many images, with replacement.

    Args:
        rows: Whole numbers, [images, columns].
        resamples: The number of draws, >= 1.
        seed: Of the draws, >= 0.

    Returns:
        [resamples, columns]; without images, all are 0.
    """
    sums = np.empty((resamples, rows.shape[1]), dtype=np.int64)
    block = max(1, _BLOCK_BYTES // (8 * max(1, len(rows))))
    for number, start in enumerate(range(0, resamples, block)):
        stop = min(start + block, resamples)
        # A prime step: the blocks of a run share no stream with those of a run with the next seed.
        sums[start:stop] = draws(len(rows), stop - start, seed + 15_485_863 * number) @ rows
    return sums


def _swap_test(
    rows: NDArray[np.int64], resamples: int, seed: int
) -> tuple[float, Literal["all swaps", "random swaps"]]:
    """The p-value of `paired_difference` and how it was computed. rows: [images >= 2, 4], both UnF1 defined."""
    observed = _studentised(_moments(rows).sum(axis=0)[None])[0]
    # Arrangements start from one that is the same whichever run is named first: then their random ones are, too. Images with
    # equal rows are interchangeable: it matters only how many of them are swapped.
    distinct, images = np.unique(_canonical(rows), axis=0, return_counts=True)
    swapped_rows = distinct[:, [2, 3, 0, 1]]
    plain, swapped = _moments(distinct), _moments(swapped_rows)
    base, change = images @ plain, swapped - plain
    differing = np.flatnonzero((distinct != swapped_rows).any(axis=1))
    # |t| of two arrangements that are equal in exact arithmetic must not differ by rounding.
    bar = abs(observed) * (1 - 1e-9)
    arrangements = 2 ** int(images[differing].sum())

    def as_large(swaps: NDArray[np.int64]) -> NDArray[np.bool_]:
        # Not (t < bar), so that an undefined one counts.
        return np.asarray(~(np.abs(_studentised(base + swaps @ change[differing])) < bar))

    if arrangements <= resamples:
        # Each differing image on its own: bit i of the arrangement's number.
        single = np.repeat(np.arange(len(differing)), images[differing])
        bits = (np.arange(arrangements)[:, None] >> np.arange(len(single))) & 1
        swaps = bits @ (single[:, None] == np.arange(len(differing))).astype(np.int64)
        return float(as_large(swaps).mean()), "all swaps"
    rng = np.random.default_rng(seed)
    count = 1  # the observed arrangement
    block = max(1, _BLOCK_BYTES // (8 * len(differing)))
    for start in range(0, resamples, block):
        size = (min(block, resamples - start), len(differing))
        count += int(as_large(rng.binomial(images[differing], 0.5, size=size)).sum())
    return count / (1 + resamples), "random swaps"


def _moments(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """[n, 20]: each row's four numbers, and the 16 products of two of them; what t needs of an image is linear in these."""
    products = rows[:, :, None] * rows[:, None, :]
    return np.concatenate([rows, products.reshape(len(rows), 16)], axis=1)


def _studentised(totals: NDArray[np.int64]) -> NDArray[np.float64]:
    """t of each arrangement from its sums of `_moments` ([n, 20]); infinite without any spread, NaN where UnF1 is undefined."""
    sums, products = totals[:, :4].astype(float), totals[:, 4:].reshape(-1, 4, 4).astype(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        ours, theirs = sums[:, 0] / sums[:, 1], sums[:, 2] / sums[:, 3]
        weights = np.stack([1 / sums[:, 1], -ours / sums[:, 1], -1 / sums[:, 3], theirs / sums[:, 3]], axis=1)
        variance = np.einsum("ni,nij,nj->n", weights, products, weights)
        size = np.einsum("ni,nij,nj->n", np.abs(weights), products, np.abs(weights))
        variance = np.where(variance <= 1e-12 * size, 0.0, variance)  # a sum of cancelling terms: 0 but for rounding
        difference = np.where(np.abs(ours - theirs) < 1e-12, 0.0, ours - theirs)
        return np.asarray(np.where(difference == 0, 0.0, difference / np.sqrt(variance)))
