"""How far UnF1, and the order of models by it, depend on how it was measured: prompts, questions, images, their number.

Runs of one model that differ in their settings are its variants. Each is held against the model's first run: paired by image
where the two share images, else by their two intervals (Zou & Donner, Statistics in Medicine 27 (2008),
doi:10.1002/sim.3095). The order of models in a variant is held against that in the first one by Kendall's tau-b. Its interval is
that of resampled images, whose draws are the same for all runs that hold an image: it speaks of other images of the same sort,
not of other models. Samples of fewer images are drawn from the first runs without replacement, and
another share of unanswerable questions is a weight for either label's: both cost nothing.
"""

from __future__ import annotations

from collections import defaultdict
from hashlib import sha256
from math import hypot
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from unsaf_async.compare.pairing import lean, paired_difference
from unsaf_async.errors import UserError
from unsaf_async.prompts import short_name
from unsaf_async.records import Record
from unsaf_async.runs.folder import called_by_model
from unsaf_async.score.bootstrap import UNDEFINED_LIMIT, blocks, blocks_of_draws, interval
from unsaf_async.score.intervals import ratio_interval
from unsaf_async.score.tallies import Tally, counts_of
from unsaf_async.score.unf1 import BOUNDS_ALONE
from unsaf_async.score.units import picture_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from unsaf_async.records import Examination
    from unsaf_async.runs.saved import SavedRun

DRAWS = 2_000
"""Of images, for the intervals of the orders."""

SUBSAMPLES = 500
"""Of each size."""

SHARES = (0.75, 0.5, 0.25)
"""Of a run's images, the sizes of the samples."""

EVEN = 0.5
UNANSWERABLE = (0.2, 0.35, EVEN, 0.65, 0.8)
"""Shares of unanswerable questions."""

FEWEST_IMAGES = 5
"""In a sample: with fewer, the interval of UnF1 leaves half of the range open."""

BASE = "as the first"
"""The variant that the others are held against."""


# --- what is written down ---------------------------------------------------------------------------------------------


class VariantRow(Record):
    """One run, and how far it lies from its model's first one."""

    model: str
    variant: str
    """In what it differs from the first run, in words."""
    folder: str
    unf1: float | None
    unf1_ci: tuple[float, float] | None
    images: int
    """With questions."""
    difference: float | None = None
    """UnF1 minus that of the model's first run; on the shared images where there are two or more."""
    difference_ci: tuple[float, float] | None = None
    """95 % interval with images as the unit."""
    images_shared: int | None = None
    """With questions in both; None of the first run itself, and where the two have no difference."""
    undefined: dict[str, str] = Field(default_factory=dict)
    """Reason for each figure that is None."""


class OrderRow(Record):
    """How far models stay in their order."""

    what: str
    """A variant, or a number of images."""
    models: int
    """That have both, and an UnF1 there: one whose bounds are the headline has none."""
    kendall: float | None
    """Kendall's tau-b of the models' UnF1 there with that in the first variant; of samples the mean over them."""
    kendall_ci: tuple[float, float] | None
    """Of a variant the 95 % percentile interval over resampled images; of samples what 95 % of them lie between."""
    undefined: dict[str, str] = Field(default_factory=dict)
    """Reason for each figure that is None."""


class SizeRow(Record):
    """What samples of a run's images say."""

    model: str
    images: int
    samples: int
    """Of that size, drawn without replacement; of them, those with a UnF1."""
    unf1_between: tuple[float, float] | None
    """What 95 % of their UnF1 lie between."""
    width: float | None
    """The mean width of their own 95 % intervals."""
    undefined: dict[str, str] = Field(default_factory=dict)
    """Reason for each figure that is None."""


class ShareRow(Record):
    """A model's first run as if another share of its questions were unanswerable: each label's questions have a weight.

    That the model would write questions of the same sorts is taken for granted.
    """

    model: str
    share: float
    """Of the scored questions, those meant to be unanswerable."""
    unf1: float | None
    unf1_ci: tuple[float, float] | None
    """95 % interval with images as the unit, for these weights."""
    undefined: dict[str, str] = Field(default_factory=dict)
    """Reason for each figure that is None."""


class Robustness(Record):
    """How far UnF1 and the models' order depend on how they were measured."""

    variants: list[VariantRow]
    """In the order given, each model's first run first."""
    shares: list[ShareRow]
    sizes: list[SizeRow]
    orders: list[OrderRow]
    """Of the variants, of shares of unanswerable questions, and of samples of the first runs' images; [] with fewer than three
    models."""
    seed: int
    draws: int


# --- the table --------------------------------------------------------------------------------------------------------


def robustness(loaded: Sequence[SavedRun], *, seed: int = 0) -> Robustness:
    """The table of some finished runs.

    Args:
        loaded: The runs. A model's first one is what its others are held against.
        seed: Of all draws.

    Returns:
        The table; a figure that is None has its reason.

    Raises:
        UserError: Two runs of a model were made alike.
    """
    by_model: dict[str, list[SavedRun]] = defaultdict(list)
    for run in loaded:
        by_model[called_by_model(run.manifest.subject)].append(run)
    settings = {id(run): settings_of(run) for run in loaded}
    names = {id(run): _variant(settings[id(runs[0])], settings[id(run)]) for runs in by_model.values() for run in runs}
    for model, runs in by_model.items():
        seen: dict[str, Path] = {}
        for run in runs:
            if (before := seen.get(names[id(run)])) is not None:
                raise UserError(f"{run.folder}: was made like {before}, of {model}; give each variant once")
            seen[names[id(run)]] = run.folder
    read = {id(run): lean(run.kept.in_order(run.kept)) for run in loaded}
    pairs = {name: _pairs(examinations) for name, examinations in read.items()}
    firsts = {model: pairs[id(runs[0])] for model, runs in by_model.items()}
    scored = {model: firsts[model] for model, runs in by_model.items() if not _is_open(runs[0])}
    rows = [
        _row(model, names[id(run)], (run, read[id(run)]), (runs[0], read[id(runs[0])]), seed=seed)
        for model, runs in by_model.items()
        for run in runs
    ]
    by_variant: dict[str, dict[str, _Pairs]] = {name: {} for name in names.values()}
    for model, runs in by_model.items():
        for run in (run for run in runs if not _is_open(run)):
            by_variant[names[id(run)]][model] = pairs[id(run)]
    orders = [_order(variant, scored, of_models, seed) for variant, of_models in by_variant.items() if variant != BASE]
    return Robustness(
        variants=rows,
        shares=[
            row
            for model, of_images in firsts.items()
            for row in (_shares(model, of_images) if model in scored else _no_shares(model, BOUNDS_ALONE))
        ],
        sizes=[
            row
            for model, of_images in firsts.items()
            for row in (_sizes(model, of_images, seed) if model in scored else _no_sizes(model, len(of_images)))
        ],
        orders=[*orders, *_orders_of_shares(scored, seed), *_orders_of_samples(scored, seed)]
        if len(scored) > 2
        else [],
        seed=seed,
        draws=DRAWS,
    )


def _is_open(run: SavedRun) -> bool:
    """Whether so much is unscored that the bounds of UnF1 are the headline: then no other UnF1 is said of the run."""
    return run.findings.unf1_between is not None


def settings_of(run: SavedRun) -> dict[str, str]:
    """What of a run's settings steers its score, in words.

    Args:
        run: The run.

    Returns:
        By the setting's name.
    """
    manifest = run.manifest
    source = manifest.source.name if manifest.source else ""
    rubric = manifest.judged_anew.rubric_name if manifest.judged_anew else ""
    together = f", {manifest.judge_together} together" if manifest.judge_together > 1 else ""
    folders = sorted({"/".join(Path(image.path).parts[-3:-1]) for image in run.images})
    digest = sha256("\n".join(sorted(image.address for image in run.images)).encode("utf-8", "replace")).hexdigest()
    return {
        "prompts": f"{short_name(manifest.pack)} {manifest.pack_version}",
        "form": manifest.form,
        "questions": str(manifest.questions) if not source else f"of {source}",
        "judge": f"{manifest.judge_name}{f' by {short_name(rubric)}' if rubric else ''}{together}",
        "images": f"{', '.join(folders[:2])}{', ...' * (len(folders) > 2)} ({manifest.images} images, list {digest[:6]})",
        "image side": str(manifest.subject.image.max_side_px),
        "seed": str(manifest.seed),
    }


def _variant(first: Mapping[str, str], now: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in now.items() if first[name] != value) or BASE


_Pairs = dict[int, tuple[int, int, int, int]]
"""By picture: TA, FU, TU, FA."""


def _pairs(examinations: Iterable[Examination]) -> _Pairs:
    pairs: _Pairs = {}
    for examination in examinations:
        counts = counts_of(Tally.of(examination).asked)
        key = picture_key(examination.image)
        ta, fu, tu, fa = pairs.get(key, (0, 0, 0, 0))
        pairs[key] = (ta + counts.ta, fu + counts.fu, tu + counts.tu, fa + counts.fa)
    return pairs


def _counts(runs: Iterable[_Pairs], keys: Sequence[int]) -> NDArray[np.float64]:
    """[pictures, 4 x runs]: the counts of each run; 0 of pictures that it does not hold."""
    tables = [np.array([pairs.get(key, (0,) * 4) for key in keys], dtype=float).reshape(-1, 4) for pairs in runs]
    return np.hstack(tables)


def _unf1(sums: NDArray[np.float64], share: float | None = None) -> NDArray[np.float64]:
    """UnF1 of the counts that the last axis holds; NaN where it is undefined.

    share: of unanswerable questions among the scored; None: as is.
    """
    ta, fu, tu, fa = np.moveaxis(sums, -1, 0)
    answerable, unanswerable = ta + fu, tu + fa
    of_one = of_other = np.ones_like(ta)
    if share is not None:
        of_one, of_other = (1 - share) / np.maximum(answerable, 1), share / np.maximum(unanswerable, 1)
    below = of_other * (2 * tu + fa) + of_one * fu
    defined = (unanswerable > 0) & (answerable > 0 if share is not None else True)
    return np.where(defined, 2 * of_other * tu / np.where(below > 0, below, 1), np.nan)


_Read = tuple["SavedRun", "list[Examination]"]
"""A run and its lean examinations."""


def _row(model: str, variant: str, now: _Read, base: _Read, *, seed: int) -> VariantRow:
    (run, examinations), (first, of_first) = now, base
    score = run.findings
    row = VariantRow(
        model=model,
        variant=variant,
        folder=str(run.folder),
        unf1=None if score.unf1_between else score.unf1,
        unf1_ci=None if score.unf1_between else score.unf1_ci,
        images=len(examinations),
        undefined=dict(_missing(run)),
    )
    if run is first:
        return _without(row, "it is the run that the others are held against")
    open_ends = [each for each in (run, first) if each.findings.unf1_between or each.findings.unf1 is None]
    if open_ends:
        why = (
            f"{open_ends[0].folder} has no UnF1 but bounds"
            if open_ends[0].findings.unf1_between
            else "UnF1 is undefined"
        )
        return _without(row, why)
    pair = paired_difference(examinations, of_first, seed=seed, resamples=1)
    if pair.images_shared > 1:
        figures = {"difference": pair.difference, "difference_ci": pair.ci, "images_shared": pair.images_shared}
        missing = {"difference_ci": pair.undefined.get("ci", "")} if pair.ci is None else {}
        return row.model_copy(update={**figures, "undefined": row.undefined | missing})
    ends, theirs = score.unf1_ci, first.findings.unf1_ci
    if score.unf1 is None or first.findings.unf1 is None or ends is None or theirs is None:
        return _without(row, "the runs share no images, and one of them has no interval")
    difference = score.unf1 - first.findings.unf1
    below = hypot(score.unf1 - ends[0], theirs[1] - first.findings.unf1)
    above = hypot(ends[1] - score.unf1, first.findings.unf1 - theirs[0])
    found = (max(-1.0, difference - below), min(1.0, difference + above))
    return row.model_copy(
        update={"difference": difference, "difference_ci": found, "images_shared": pair.images_shared}
    )


def _missing(run: SavedRun) -> Iterator[tuple[str, str]]:
    score = run.findings
    for name in ("unf1", "unf1_ci"):
        if score.unf1_between:
            yield name, BOUNDS_ALONE
        elif getattr(score, name) is None:
            yield name, score.undefined.get(name, "unknown")


def _without(row: VariantRow, why: str) -> VariantRow:
    return row.model_copy(
        update={"undefined": row.undefined | dict.fromkeys(("difference", "difference_ci", "images_shared"), why)}
    )


# --- fewer images -----------------------------------------------------------------------------------------------------


def _ratios(
    pairs: _Pairs, keys: Iterable[int], answerable: float = 1.0, unanswerable: float = 1.0
) -> NDArray[np.float64]:
    """[images, 2]: what UnF1 divides by what, with a weight for the questions of either label."""
    rows = [pairs[key] for key in keys]
    return np.array(
        [(2 * unanswerable * tu, unanswerable * (2 * tu + fa) + answerable * fu) for _, fu, tu, fa in rows], dtype=float
    ).reshape(-1, 2)


def _shares(model: str, pairs: _Pairs) -> Iterator[ShareRow]:
    ta, fu, tu, fa = np.array(list(pairs.values())).reshape(-1, 4).sum(axis=0).tolist()
    if not (ta + fu and tu + fa):
        yield from _no_shares(model, "the scored questions are not of both labels")
        return
    for share in UNANSWERABLE:
        table = _ratios(pairs, pairs, (1 - share) / (ta + fu), share / (tu + fa))
        found, (above, below) = ratio_interval(table), table.sum(axis=0)
        missing = {} if found.ends else {"unf1_ci": found.why_undefined}
        yield ShareRow(model=model, share=share, unf1=float(above / below), unf1_ci=found.ends, undefined=missing)


def _no_shares(model: str, why: str) -> Iterator[ShareRow]:
    undefined = dict.fromkeys(("unf1", "unf1_ci"), why)
    for share in UNANSWERABLE:
        yield ShareRow(model=model, share=share, unf1=None, unf1_ci=None, undefined=undefined)


def _sample_sizes(images: int) -> list[int]:
    sizes = (round(share * images) for share in SHARES)
    return [size for size in dict.fromkeys(sizes) if FEWEST_IMAGES <= size < images]


def _samples(images: int, size: int, seed: int) -> Iterator[NDArray[np.bool_]]:
    """Blocks of samples, [samples, images]: whether a sample holds an image."""
    rng = np.random.default_rng((seed, size))
    for rows in blocks(images, SUBSAMPLES):
        yield rng.random((rows, images)).argsort(axis=1).argsort(axis=1) < size


def _sizes(model: str, pairs: _Pairs, seed: int) -> Iterator[SizeRow]:
    keys = sorted(pairs)
    counts, table = _counts([pairs], keys), _ratios(pairs, keys)
    for size in _sample_sizes(len(keys)):
        values, widths = [], []
        for held in _samples(len(keys), size, seed):
            values.append(_unf1(held @ counts))
            intervals = (ratio_interval(table[row]) for row in held)
            widths += [found.ends[1] - found.ends[0] for found in intervals if found.ends is not None]
        kept = _defined(np.concatenate(values))
        yield SizeRow(
            model=model,
            images=size,
            samples=len(kept),
            unf1_between=(float(np.quantile(kept, 0.025)), float(np.quantile(kept, 0.975))) if len(kept) else None,
            width=float(np.mean(widths)) if widths else None,
            undefined={}
            if len(kept) and widths
            else dict.fromkeys(("unf1_between", "width"), "no sample has an UnF1 with an interval"),
        )


def _no_sizes(model: str, images: int) -> Iterator[SizeRow]:
    undefined = dict.fromkeys(("unf1_between", "width"), BOUNDS_ALONE)
    for size in _sample_sizes(images):
        yield SizeRow(model=model, images=size, samples=0, unf1_between=None, width=None, undefined=undefined)


# --- the order of models ----------------------------------------------------------------------------------------------


def taus(first: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Kendall's tau-b of each row of two tables, for all rows at once.

    Args:
        first: Shape [rows, models].
        other: As `first`.

    Returns:
        Shape [rows]; NaN where a value is, or where one of the two is the same for all models.
    """
    one, two = np.triu_indices(first.shape[1], 1)
    a, b = (np.sign(each[:, one] - each[:, two]) for each in (first, other))
    untied = np.sqrt((a != 0).sum(axis=1) * (b != 0).sum(axis=1))
    found = np.where(untied > 0, (a * b).sum(axis=1) / np.maximum(untied, 1), np.nan)
    return np.where(np.isnan(first).any(axis=1) | np.isnan(other).any(axis=1), np.nan, found)


def _resampled(runs: Sequence[_Pairs], seed: int) -> NDArray[np.float64]:
    """[1 + draws, runs, 4]: the counts over all pictures that a run holds, then over each draw of as many."""
    keys = sorted({key for pairs in runs for key in pairs})
    counts = _counts(runs, keys)
    drawn = [block @ counts for block in blocks_of_draws(len(keys), DRAWS, seed)]
    return np.concatenate([counts.sum(axis=0, keepdims=True), *drawn]).reshape(-1, len(runs), 4)


def _order(variant: str, firsts: Mapping[str, _Pairs], others: Mapping[str, _Pairs], seed: int) -> OrderRow:
    models = [model for model in firsts if model in others]
    if len(models) < 3:
        return _no_order(
            variant, len(models), f"an order needs three models; {len(models)} have an UnF1 here and in the first"
        )
    values = _unf1(_resampled([of[model] for of in (firsts, others) for model in models], seed))
    return _order_row(variant, values[:, : len(models)], values[:, len(models) :])


def _orders_of_shares(firsts: Mapping[str, _Pairs], seed: int) -> Iterator[OrderRow]:
    """Of other shares of unanswerable questions, against that of the runs."""
    sums = _resampled(list(firsts.values()), seed)
    for share in UNANSWERABLE:
        if share != EVEN:
            yield _order_row(f"{share:.0%} unanswerable", _unf1(sums), _unf1(sums, share))


def _order_row(what: str, first: NDArray[np.float64], other: NDArray[np.float64]) -> OrderRow:
    """first, other: [1 + draws, models]."""
    found, models = taus(first, other), first.shape[1]
    if np.isnan(found[0]):
        return _no_order(what, models, "UnF1 is undefined for a model, or the same for all")
    defined = _defined(found[1:])
    rare = len(defined) < (1 - UNDEFINED_LIMIT) * DRAWS
    ends = None if rare else interval(defined)
    why = {"kendall_ci": "too many draws of images have no order"} if ends is None else {}
    return OrderRow(what=what, models=models, kendall=float(found[0]), kendall_ci=ends, undefined=why)


def _orders_of_samples(firsts: Mapping[str, _Pairs], seed: int) -> Iterator[OrderRow]:
    """Of samples of the images that all first runs hold, against all of these images."""
    keys = sorted(set.intersection(*(set(pairs) for pairs in firsts.values())))
    counts = _counts(firsts.values(), keys)
    full = _unf1(counts.sum(axis=0).reshape(1, -1, 4))
    for size in _sample_sizes(len(keys)):
        sums = np.concatenate([held @ counts for held in _samples(len(keys), size, seed)])
        values = _unf1(sums.reshape(len(sums), -1, 4))
        found = taus(np.repeat(full, len(values), axis=0), values)
        kept = _defined(found)
        what = f"{size} of {len(keys)} images"
        if len(kept) < (1 - UNDEFINED_LIMIT) * len(found):
            yield _no_order(what, len(firsts), "too many samples have no order")
            continue
        ends = (float(np.quantile(kept, 0.025)), float(np.quantile(kept, 0.975)))
        yield OrderRow(what=what, models=len(firsts), kendall=float(kept.mean()), kendall_ci=ends)


def _defined(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values[~np.isnan(values)]


def _no_order(what: str, models: int, why: str) -> OrderRow:
    undefined = dict.fromkeys(("kendall", "kendall_ci"), why)
    return OrderRow(what=what, models=models, kendall=None, kendall_ci=None, undefined=undefined)
