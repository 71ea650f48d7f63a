"""Runs beside each other: paired differences of UnF1, what measuring costs, and how the runs' settings differ.

Two figures of two runs may differ by chance, or because the runs were not made in the same way. The first is answered by pairing
them image by image; the second by saying every difference in words.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import combinations
from math import fsum
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from unsaf_async.errors import UserError
from unsaf_async.findings.bootstrap import draws, interval
from unsaf_async.findings.metrics import RankCorrelation, holm, rank_correlation
from unsaf_async.records import Examination, Record
from unsaf_async.score import KindName, Score, cell, latest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from unsaf_async.runs import Manifest

RESAMPLES = 10_000
"""Draws for an interval, and swaps for a p-value: these figures are the comparison's headline."""

FEW_CACHED = 0.05
"""Share of a run's replies from the cache above which its cost and time are not comparable."""

_BLOCK_BYTES = 64_000_000
"""Memory for one block of draws or swaps."""


# --- what is written down ---------------------------------------------------------------------------------------------


class PairedDifference(Record):
    """UnF1 of run a minus UnF1 of run b, on the images that both hold. A figure that is None has its reason in `undefined`."""

    unf1_a: float | None
    unf1_b: float | None
    """On the shared images, so not always the runs' headlines."""
    difference: float | None
    """In [-1, 1]."""
    ci: tuple[float, float] | None
    """95 % percentile interval of `difference` by resampling images, both runs' pairs jointly."""
    p: float | None
    """Two-sided, of "both runs are equally aware": see `paired_difference`."""
    p_method: Literal["all swaps", "random swaps"] | None
    """Whether `p` looked at every arrangement, or at `resamples` random ones."""
    images_shared: int
    images_only_a: int
    images_only_b: int
    """Images with questions that only one of the two holds; they enter nothing here."""
    seed: int
    resamples: int
    resamples_undefined: int
    """Draws in which one UnF1 was undefined; they are left out of the interval."""
    undefined: dict[str, str]


class Pair(PairedDifference):
    """A paired difference with its runs' names, and its p-value beside the other pairs'."""

    a: str
    b: str
    p_holm: float | None
    """`p` adjusted for the number of pairs (`metrics.holm`)."""


class RunRow(Record):
    """One run's line of the comparison. A figure that is None has its reason in `undefined`."""

    name: str
    """Unique among the runs."""
    folder: str
    provider: str
    model: str
    judge: str
    unf1: float | None
    unf1_ci: tuple[float, float] | None
    precision: float | None
    recall: float | None
    over_refusal_rate: float | None
    over_answer_rate: float | None
    recall_by_kind: dict[KindName, float | None]
    """Of the kinds that were asked; None where none of a kind was scored."""
    images: int
    """Examined; failed ones do not count."""
    questions: int
    """Asked."""
    unscored: int
    """Of them, those in none of the four types."""
    cost_usd: float | None
    """What the run paid. Replies from the cache cost it nothing."""
    cost_per_image_usd: float | None
    """What the replies about an image cost when they were made, those from the cache included, retries not."""
    cost_of_one_point_usd: float | None
    """What a 95 % interval one percentage point wide would cost: `cost_per_image_usd` x images x (width in points)^2.

    That assumes that the width falls with the square root of the number of images, as it does with many more of the same sort.
    """
    wall_s: float | None
    scale: float | None
    """Parameters of the model, where they were given."""
    unreliable: list[str]
    warnings: list[str]
    undefined: dict[str, str]


class Correlation(Record):
    """How far the runs' UnF1 and another figure put the runs in the same order."""

    metric: str
    """"scale", or the name of a signal of `Score.signals` (its AUROC)."""
    runs: list[str]
    """Those with both figures."""
    spearman: RankCorrelation
    kendall: RankCorrelation


class Comparison(Record):
    """Two or more runs beside each other."""

    runs: list[RunRow]
    pairs: list[Pair]
    """Every two of them, in the runs' order."""
    correlations: list[Correlation]
    """With three runs or more; else []."""
    differences: list[str]
    """How the settings and images of the runs differ, a sentence each: what else a difference of scores may come from."""


@dataclass(frozen=True)
class LoadedRun:
    """A run as it was read back."""

    folder: Path
    manifest: Manifest
    examinations: Sequence[Examination]
    score: Score


# --- images that two runs share ---------------------------------------------------------------------------------------


def examined(examinations: Iterable[Examination]) -> list[Examination]:
    """Those with at least one question, the last of each image id: what a score's interval rests on."""
    return [each for each in latest(examinations) if each.failure is None and each.questions]


def match(a: Sequence[Examination], b: Sequence[Examination]) -> list[tuple[Examination, Examination]]:
    """The examinations of a and b that are about the same image, each used once, in a's order.

    Same image: the same pixels as sent (`pixels_sha256`); failing that the same file (`bytes_sha256`: runs may send it at
    different sizes); failing that the same id, if one of the two has no hash to compare. Of several with the same hash in one
    run, those with the same id belong together, then the others in the order of their ids.
    """
    partner: dict[str, Examination] = {}
    left_a, left_b = {each.image.id: each for each in a}, {each.image.id: each for each in b}

    def pair(one: Examination, other: Examination) -> None:
        partner[one.image.id] = other
        del left_a[one.image.id], left_b[other.image.id]

    keys: tuple[Callable[[Examination], str | None], ...] = (
        lambda each: each.image.pixels_sha256,
        lambda each: each.image.bytes_sha256,
    )
    for key in keys:
        ours, theirs = _grouped(left_a.values(), key), _grouped(left_b.values(), key)
        for shared in ours.keys() & theirs.keys():
            for name in sorted(ours[shared].keys() & theirs[shared].keys()):
                pair(ours[shared].pop(name), theirs[shared].pop(name))
            for one, other in zip(sorted(ours[shared]), sorted(theirs[shared]), strict=False):
                pair(ours[shared][one], theirs[shared][other])
    for name in left_a.keys() & left_b.keys():
        if not _differ(left_a[name], left_b[name]):
            pair(left_a[name], left_b[name])
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
    """(2 TU, 2 TU + FU + FA): the image's part of UnF1's numerator and denominator."""
    found = Counter(map(cell, examination.questions))
    return 2 * found["tu"], 2 * found["tu"] + found["fu"] + found["fa"]


# --- the paired difference --------------------------------------------------------------------------------------------


def paired_difference(
    a: Sequence[Examination], b: Sequence[Examination], *, resamples: int = RESAMPLES, seed: int = 0
) -> PairedDifference:
    """UnF1 of a minus UnF1 of b on the images that both hold, its interval and its p-value.

    Images without a question, failed ones among them, count as not held. With fewer than two shared images, or where an UnF1 is
    undefined, figures are None with their reason.

    Interval: images are drawn with replacement, each with both runs' pairs (2 TU, 2 TU + FU + FA), and UnF1(a) - UnF1(b) is
    computed anew; its 2.5 % and 97.5 % quantiles. Source: Efron & Tibshirani, An Introduction to the Bootstrap (1993), 13.3.

    p: the share of arrangements whose |t| is at least the observed one, where an arrangement swaps the two runs' pairs on some
    of the images, and

        t = (UnF1(a) - UnF1(b)) / s,    s^2 = sum of e_i^2,    e_i = (A_i - UnF1(a) B_i) / B  -  (A'_i - UnF1(b) B'_i) / B'

    with (A_i, B_i), (A'_i, B'_i) the pairs of image i in a and in b, and B, B' the sums: e_i is what image i contributes to the
    difference (its linearised influence), s its standard error but for a constant. If the two runs are exchangeable image by
    image, p below x has the probability x at most, for any number of images: all arrangements are taken where there are no more
    than `resamples`, else so many random ones and the observed one (Phipson & Smyth 2010, doi:10.2202/1544-6115.1585). Because
    the difference is divided by its standard error, the same holds approximately with many images if only the two UnF1 are
    equal, while precision, recall or the number of questions differ (Konietschke & Pauly 2014, doi:10.1007/s11222-012-9370-4).
    A swap that leaves an UnF1 undefined counts as one at least as large as the observed.

    The bootstrap's own tail probability is not used: with 10 images it calls two equal models different twice as often as it
    says. So an interval of few images may leave out 0 where p is above 0.05; p is then the one to believe.
    Raises ValueError for resamples < 1.
    """
    if resamples < 1:
        raise ValueError(f"resamples is {resamples}; give at least 1")
    ours, theirs = examined(a), examined(b)
    matched = match(ours, theirs)
    rows = np.array([(*pair_of(one), *pair_of(other)) for one, other in matched], dtype=np.int64).reshape(-1, 4)
    shared = len(matched)
    unf1_a, unf1_b = _ratio(rows[:, :2].sum(axis=0)), _ratio(rows[:, 2:].sum(axis=0))
    undefined: dict[str, str] = {}
    for name, value in (("unf1_a", unf1_a), ("unf1_b", unf1_b)):
        if value is None:
            why = "no shared image holds a response that counts" if shared else "the runs share no image"
            undefined[name] = undefined["difference"] = why
    difference = None if unf1_a is None or unf1_b is None else unf1_a - unf1_b
    ci, p, method, left_out = None, None, None, 0
    if difference is None:
        undefined |= dict.fromkeys(("ci", "p"), undefined["difference"])
    elif shared < 2:
        undefined |= dict.fromkeys(("ci", "p"), "pairing needs at least 2 shared images; there is 1")
    else:
        sums = resampled_sums(rows, resamples, seed)
        values = ratios(sums[:, 0], sums[:, 1]) - ratios(sums[:, 2], sums[:, 3])
        left_out = int(np.isnan(values).sum())
        ci = interval(values)
        if ci is None:
            undefined["ci"] = "every resample has the same difference, so the images say nothing about its uncertainty"
        p, method = _swap_test(rows, resamples, seed)
    return PairedDifference(
        unf1_a=unf1_a,
        unf1_b=unf1_b,
        difference=difference,
        ci=ci,
        p=p,
        p_method=method,
        images_shared=shared,
        images_only_a=len(ours) - shared,
        images_only_b=len(theirs) - shared,
        seed=seed,
        resamples=resamples,
        resamples_undefined=left_out,
        undefined=undefined,
    )


def resampled_sums(rows: NDArray[np.int64], resamples: int, seed: int) -> NDArray[np.int64]:
    """[resamples, columns]: the sums of `rows` ([images, columns]) over each draw of as many images, with replacement."""
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
    """The p-value of `paired_difference` and how it was found. rows: [images >= 2, 4], both UnF1 defined."""
    # Images with equal rows are interchangeable: it matters only how many of them are swapped.
    distinct, images = np.unique(rows, axis=0, return_counts=True)
    swapped_rows = distinct[:, [2, 3, 0, 1]]
    plain, swapped = _moments(distinct), _moments(swapped_rows)
    base, change = images @ plain, swapped - plain
    differing = np.flatnonzero((distinct != swapped_rows).any(axis=1))
    observed = _studentised(base[None])[0]
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


def _ratio(sums: NDArray[np.int64]) -> float | None:
    return float(sums[0] / sums[1]) if sums[1] else None


def ratios(above: NDArray[np.int64], below: NDArray[np.int64]) -> NDArray[np.float64]:
    """above / below, each of any one shape; NaN where below is 0."""
    return np.asarray(np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0))


# --- runs beside each other -------------------------------------------------------------------------------------------


def load_runs(folders: Sequence[str | Path]) -> list[LoadedRun]:
    """The runs at `folders`, in their order, with their scores computed anew.

    Raises UserError for fewer than two, for the same run twice, for a folder that is no run, and for a run without any image.
    """
    from unsaf_async.api import load

    if len(folders) < 2:
        raise UserError(f"{len(folders)} run to compare; give the folders of two or more")
    loaded: list[LoadedRun] = []
    for folder in map(Path, folders):
        manifest, examinations, score = load(folder)
        for earlier in loaded:
            if earlier.manifest.run_id == manifest.run_id:
                raise UserError(f"{folder}: is the same run as {earlier.folder}; give each run once")
        if not score.images.done:
            raise UserError(f"{folder}: holds no examined image; resume it, or leave it out")
        loaded.append(LoadedRun(folder, manifest, examinations, score))
    return loaded


def compare(
    loaded: Sequence[LoadedRun], *, scale: Mapping[str, float] | None = None, resamples: int = RESAMPLES, seed: int = 0
) -> Comparison:
    """The comparison of two or more runs (of fewer: one without pairs).

    scale: parameters of a model, by the run's name, its provider, its model id or its folder's name; a name that several runs
    answer to holds for all of them. resamples, seed: of the intervals of the pairs and of their p-values.
    Raises UserError for a name in `scale` that no run answers to, and for two different sizes of one run.
    """
    names = run_names(loaded)
    scales = _scales(loaded, names, scale or {})
    pairs = {
        (i, j): paired_difference(loaded[i].examinations, loaded[j].examinations, resamples=resamples, seed=seed)
        for i, j in combinations(range(len(loaded)), 2)
    }
    tested = [pair.p for pair in pairs.values() if pair.p is not None]
    adjusted = iter(holm(tested))
    rows = [_row(run, name, scales[name]) for run, name in zip(loaded, names, strict=True)]
    return Comparison(
        runs=rows,
        pairs=[
            Pair(
                **pair.model_dump(),
                a=names[i],
                b=names[j],
                p_holm=None if pair.p is None else next(adjusted),
            )
            for (i, j), pair in pairs.items()
        ],
        correlations=list(_correlations(loaded, rows)),
        differences=[
            *differences_in_setting(
                {name: run.manifest for name, run in zip(names, loaded, strict=True)},
                {name: run.examinations for name, run in zip(names, loaded, strict=True)},
            ),
            *_differences_in_images({(names[i], names[j]): pair for (i, j), pair in pairs.items()}),
            *_taken_from_the_cache(loaded, names),
        ],
    )


def run_names(loaded: Sequence[LoadedRun]) -> list[str]:
    """A name for each run, none twice: provider and model, then the folder's name, then the folder, where that is needed."""
    models = [_model_name(run) for run in loaded]
    named = [
        model if models.count(model) == 1 else f"{model} ({run.folder.name})"
        for model, run in zip(models, loaded, strict=True)
    ]
    return [
        name if named.count(name) == 1 else f"{model} ({run.folder})"
        for name, model, run in zip(named, models, loaded, strict=True)
    ]


def _model_name(run: LoadedRun) -> str:
    name, model = run.manifest.subject.name, run.manifest.subject.model
    return name if not model or model == name or model.endswith(f"/{name}") else f"{name}/{model}"


def _scales(loaded: Sequence[LoadedRun], names: Sequence[str], given: Mapping[str, float]) -> dict[str, float | None]:
    found: dict[str, float | None] = dict.fromkeys(names)
    for wanted, size in given.items():
        answering = [
            name
            for name, run in zip(names, loaded, strict=True)
            if wanted
            in (name, _model_name(run), run.manifest.subject.name, run.manifest.subject.model, run.folder.name)
            or wanted == str(run.folder)
        ]
        if not answering:
            raise UserError(f"--scale {wanted}: no run has this name; give one of {', '.join(names)}")
        for name in answering:
            if found[name] not in (None, size):
                raise UserError(f"--scale {wanted}: {name} has been given another size before; give one")
            found[name] = size
    return found


def size_of(text: str) -> float:
    """Parameters of a model: "7e9", "7B", "1.3M" -> 7e9, 7e9, 1.3e6. Raises ValueError for what is no size above 0."""
    found = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)(e[+-]?\d{1,3})?\s*([kmbgt]?)", text.strip(), re.IGNORECASE)
    if not found:
        raise ValueError(f"{text!r} is no number of parameters; give one such as 7e9, 7B or 1.3M")
    factor = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9, "t": 1e12}[found[3].lower()]
    size = float(found[1] + (found[2] or "")) * factor
    if not 0 < size < float("inf"):
        raise ValueError(f"{text!r} is no number of parameters above 0")
    return size


def _row(run: LoadedRun, name: str, scale: float | None) -> RunRow:
    score = run.score
    undefined = {key: why for key, why in score.undefined.items() if key in RunRow.model_fields}
    undefined |= {
        f"recall_by_kind.{kind}": score.undefined[f"by_kind.{kind}.recall"]
        for kind, row in score.by_kind.items()
        if row.recall is None
    }
    per_image = per_point = None
    if score.images.done:
        # Exactly rounded: the examinations come in the order in which they happened to finish.
        per_image = fsum(call.cost_usd for each in run.examinations for call in each.calls) / score.images.done
    else:
        undefined["cost_per_image_usd"] = "no image was examined"
    if per_image is not None and score.unf1_ci is not None:
        per_point = per_image * score.images.done * (100 * (score.unf1_ci[1] - score.unf1_ci[0])) ** 2
    else:
        undefined["cost_of_one_point_usd"] = "there is no interval"
    if scale is None:
        undefined["scale"] = "it was not given"
    return RunRow(
        name=name,
        folder=str(run.folder),
        provider=run.manifest.subject.name,
        model=run.manifest.subject.model,
        judge=score.judge,
        unf1=score.unf1,
        unf1_ci=score.unf1_ci,
        precision=score.precision,
        recall=score.recall,
        over_refusal_rate=score.over_refusal_rate,
        over_answer_rate=score.over_answer_rate,
        recall_by_kind={kind: row.recall for kind, row in score.by_kind.items()},
        images=score.images.done,
        questions=score.questions.asked,
        unscored=sum(score.unscored.values()),
        cost_usd=score.cost_usd,
        cost_per_image_usd=per_image,
        cost_of_one_point_usd=per_point,
        wall_s=score.wall_s,
        scale=scale,
        unreliable=score.unreliable,
        warnings=score.warnings,
        undefined=undefined,
    )


def _correlations(loaded: Sequence[LoadedRun], rows: Sequence[RunRow]) -> Iterator[Correlation]:
    """UnF1 against the models' size and against each signal's AUROC, over three runs or more."""
    if len(rows) < 3:
        return
    signals = [dict(getattr(run.score, "signals", None) or {}) for run in loaded]
    metrics: dict[str, list[float | None]] = {}
    if any(row.scale is not None for row in rows):
        metrics["scale"] = [row.scale for row in rows]
    for name in dict.fromkeys(name for found in signals for name in found):
        metrics[name] = [getattr(found.get(name), "auroc", None) for found in signals]
    for metric, values in metrics.items():
        both = [
            (row.name, row.unf1, value)
            for row, value in zip(rows, values, strict=True)
            if row.unf1 is not None and value is not None
        ]
        unf1, other = [x for _, x, _ in both], [y for *_, y in both]
        yield Correlation(
            metric=metric,
            runs=[name for name, *_ in both],
            spearman=rank_correlation(unf1, other, "spearman"),
            kendall=rank_correlation(unf1, other, "kendall"),
        )


# --- how the runs differ ----------------------------------------------------------------------------------------------


def differences_in_setting(
    manifests: Mapping[str, Manifest], examinations: Mapping[str, Sequence[Examination]] | None = None
) -> list[str]:
    """A sentence for each way in which the runs were not made alike; [] if nothing differs.

    manifests: by the runs' names. examinations: by the same names, so that what the runs were asked can be compared, too.
    """
    found: list[str | None] = [
        _apart(
            "Prompts differ",
            {
                name: f"{_last(each.pack)} {each.pack_version} ({each.pack_sha256[:8]})"
                for name, each in manifests.items()
            },
            "the models were asked in other words",
        ),
        _apart(
            "Questions are not from the same source",
            {name: _whose(each) for name, each in manifests.items()},
            "easy questions raise UnF1 as much as awareness does",
        ),
        _apart(
            "Questions per image and instruction differ",
            {name: str(each.questions) for name, each in manifests.items() if each.source is None},
            "whoever writes more has to reach for less obvious ones",
        ),
        _apart(
            "Judges differ",
            {name: _judges(each) for name, each in manifests.items()},
            "part of a difference may be theirs"
            + (
                ", and a model may be lenient with itself"
                if any("self" in each.judges for each in manifests.values())
                else ""
            )
            + "; --judge gives all the same one",
        ),
        _apart(
            "What is asked beside the answers differs",
            {name: _beside(each) for name, each in manifests.items()},
            "their costs and times are for unequal work",
        ),
        _apart(
            "Temperatures differ",
            {
                name: "0 for answers and verdicts"
                if each.subject.takes.temperature
                else "the provider's own throughout"
                for name, each in manifests.items()
            },
            "an answer drawn at random abstains at another rate than the likeliest one",
        ),
        _apart_in_fields(
            "Further fields of the requests differ",
            {name: _extra(each) for name, each in manifests.items()},
            "they may change how a model answers",
        ),
        _apart(
            "Seeds differ",
            {name: str(each.seed) for name, each in manifests.items()},
            "images come in another order, and models that take a seed draw otherwise",
        ),
        _apart_in_fields(
            "Output limits differ (tokens)",
            {name: each.subject.output_tokens.model_dump() for name, each in manifests.items()},
            "replies are cut off at another length",
        ),
        _apart_in_fields(
            "Image sizes differ",
            {name: each.subject.image.model_dump() for name, each in manifests.items()},
            "the models may have seen the same image at other sizes",
        ),
        _apart(
            "Stopping rules differ",
            {
                name: "all images" if each.until_ci is None else f"until ± {each.until_ci:g}"
                for name, each in manifests.items()
            },
            "a run that stops early holds fewer images",
        ),
        _apart(
            "Versions of unsaf-async differ",
            {name: each.versions.get("unsaf-async", "unknown") for name, each in manifests.items()},
            "rules and parsing may have changed in between",
        ),
    ]
    if examinations is not None:
        found.append(_apart_in_given(examinations))
    simulated = [name for name, each in manifests.items() if each.subject.backend == "scripted"]
    if simulated:
        found.append(
            f"{_listed(simulated)} {'is a simulated model' if len(simulated) == 1 else 'are simulated models'}: "
            "such figures say nothing about any real model"
        )
    return [sentence for sentence in found if sentence]


def _apart(what: str, values: Mapping[str, str], so: str) -> str | None:
    """ "what: this in a, b; that in c: so"; None if all values are equal."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name, value in values.items():
        groups[value].append(name)
    if len(groups) < 2:
        return None
    return f"{what}: {'; '.join(f'{value} in {_listed(names)}' for value, names in groups.items())}. So {so}"


def _apart_in_fields(what: str, values: Mapping[str, Mapping[str, object]], so: str) -> str | None:
    """As `_apart`, naming only the fields that are not equal in all."""
    fields = dict.fromkeys(field for value in values.values() for field in value)
    differing = [field for field in fields if len({repr(value.get(field)) for value in values.values()}) > 1]
    said = {
        name: ", ".join(f"{field} {'none' if value.get(field) is None else value[field]}" for field in differing)
        for name, value in values.items()
    }
    return _apart(what, said, so)


def _extra(manifest: Manifest) -> dict[str, object]:
    """The further fields of the model's requests. What tells its weights apart is no such field: the model is another one."""
    return {name: value for name, value in manifest.subject.extra.items() if name != "files_sha256"}


def _judges(manifest: Manifest) -> str:
    profiles = {"self": manifest.subject, **manifest.others}
    models = [profiles[name].model or profiles[name].name if name in profiles else name for name in manifest.judges]
    return " + ".join(models) or "the rules alone"


def _beside(manifest: Manifest) -> str:
    """What was asked beside the answers, in words."""
    asked = [f"audits by {_listed(manifest.auditors)}"] if manifest.auditors else []
    asked += ["grounds"] if manifest.grounded else []
    asked += ["confidence"] if manifest.confidence else []
    asked += [f"{manifest.samples} further draws"] if manifest.samples else []
    return ", ".join(asked) or "nothing"


def _last(pack: str) -> str:
    """A pack's name; of a folder, its last part."""
    return Path(pack).name or pack


def _whose(manifest: Manifest) -> str:
    """Whose questions they are, in words."""
    if manifest.source is None:
        return "the model's own"
    return f"{'the labelled set' if manifest.source.kind == 'labelled' else 'the run of'} {manifest.source.name}"


def _apart_in_given(examinations: Mapping[str, Sequence[Examination]]) -> str | None:
    """A sentence if the runs with given questions were given other questions about the same images."""
    asked = {
        name: {
            (each.image.id, question.given.text)
            for each in found
            for question in each.questions
            if question.given is not None
        }
        for name, found in examinations.items()
    }
    asked = {name: questions for name, questions in asked.items() if questions}
    if len(asked) < 2 or len({frozenset(questions) for questions in asked.values()}) == 1:
        return None
    common = set.intersection(*asked.values())
    counts = ", ".join(f"{len(questions)} in {name}" for name, questions in asked.items())
    return f"Given questions differ: {counts}, of which {len(common)} are the same. So the runs did not sit the same examination"


def _differences_in_images(pairs: Mapping[tuple[str, str], PairedDifference]) -> Iterator[str]:
    for (a, b), pair in pairs.items():
        held_a, held_b = pair.images_shared + pair.images_only_a, pair.images_shared + pair.images_only_b
        if pair.images_shared < 2:
            yield f"{a} and {b} share {_images(pair.images_shared)} of {held_a} and {held_b}, and cannot be paired"
        elif pair.images_only_a or pair.images_only_b:
            yield (
                f"{a} and {b} share {_images(pair.images_shared)} of {held_a} and {held_b}: their difference is that on the "
                "shared ones, and their headlines rest on others, too"
            )


def _taken_from_the_cache(loaded: Sequence[LoadedRun], names: Sequence[str]) -> Iterator[str]:
    for run, name in zip(loaded, names, strict=True):
        calls = run.score.calls
        # A few are equal calls of one run, which is no other run's money.
        if calls and calls.cached > FEW_CACHED * (calls.cached + calls.made):
            yield (
                f"{name} took {calls.cached} of {calls.cached + calls.made} replies from the cache: what it paid and how long "
                "it took is not what measuring it anew would; its cost per image counts them at their first price"
            )


def _images(number: int) -> str:
    return f"{number or 'no'} image{'' if number == 1 else 's'}"


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


# --- as text for other programs ---------------------------------------------------------------------------------------


def to_json(comparison: Comparison) -> str:
    """Everything, as JSON; what is undefined is null, with its reason in the `undefined` beside it."""
    return comparison.model_dump_json(indent=2) + "\n"


def to_csv(comparison: Comparison, part: Literal["runs", "pairs"] = "runs") -> str:
    """One line a run, or one line a pair; an undefined figure is an empty field. Text is guarded as `csv_of` says."""
    if part == "pairs":
        header = [
            "a", "b", "unf1_a", "unf1_b", "difference", "ci_low", "ci_high", "p", "p_holm", "p_method",
            "images_shared", "images_only_a", "images_only_b",
        ]  # fmt: skip
        return csv_of(
            header,
            (
                [
                    pair.a, pair.b, pair.unf1_a, pair.unf1_b, pair.difference, *(pair.ci or (None, None)), pair.p,
                    pair.p_holm, pair.p_method, pair.images_shared, pair.images_only_a, pair.images_only_b,
                ]
                for pair in comparison.pairs
            ),
        )  # fmt: skip
    kinds = kinds_of(comparison)
    plain = ("precision", "recall", "over_refusal_rate", "over_answer_rate")
    rest = (
        "images", "questions", "unscored", "cost_usd", "cost_per_image_usd", "cost_of_one_point_usd", "wall_s", "scale",
    )  # fmt: skip
    return csv_of(
        [
            "name", "folder", "provider", "model", "judge", "unf1", "unf1_ci_low", "unf1_ci_high", *plain,
            *(f"recall_{kind}" for kind in kinds), *rest, "unreliable", "warnings",
        ],
        (
            [
                row.name, row.folder, row.provider, row.model, row.judge, row.unf1, *(row.unf1_ci or (None, None)),
                *(getattr(row, name) for name in plain),
                *(row.recall_by_kind.get(kind) for kind in kinds),
                *(getattr(row, name) for name in rest),
                "; ".join(row.unreliable), "; ".join(row.warnings),
            ]
            for row in comparison.runs
        ),
    )  # fmt: skip


def csv_of(header: Sequence[str], rows: Iterable[Sequence[str | float | None]]) -> str:
    """CSV (RFC 4180, but with plain newlines); None is an empty field.

    Names come from other people's folders and servers, and spreadsheets run what looks like a formula. So text that begins
    with one of = + - @, a tab or a line break gets an apostrophe before it, as OWASP advises
    (https://owasp.org/www-community/attacks/CSV_Injection). Numbers are left as they are.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    for row in rows:
        writer.writerow(["" if value is None else _guarded(value) for value in row])
    return out.getvalue()


def _guarded(value: str | float) -> str | float:
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) else value


def to_latex(comparison: Comparison) -> str:
    """Two tables, of the runs and of the pairs, for a document that loads booktabs."""
    runs = _tabular(
        "lrrrrrrr",
        ["Run", "UnF1", "95 % interval", "Precision", "Recall", "Over-refusal", "Images", "USD per image"],
        [
            [
                row.name,
                shown(row.unf1),
                shown_interval(row.unf1_ci),
                shown(row.precision),
                shown(row.recall),
                shown(row.over_refusal_rate),
                str(row.images),
                shown(row.cost_per_image_usd, 4),
            ]
            for row in comparison.runs
        ],
    )
    pairs = _tabular(
        "llrrrrr",
        ["Run", "compared with", "Difference", "95 % interval", "p", "p (Holm)", "Images"],
        [
            [
                pair.a,
                pair.b,
                shown(pair.difference),
                shown_interval(pair.ci),
                shown_p(pair.p),
                shown_p(pair.p_holm),
                str(pair.images_shared),
            ]
            for pair in comparison.pairs
        ],
    )
    return "% needs \\usepackage{booktabs}\n" + runs + ("\n" + pairs if comparison.pairs else "")


def _tabular(columns: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [" & ".join(map(escaped, row)) + r" \\" for row in rows]
    head = " & ".join(map(escaped, header)) + r" \\"
    body = ["\\toprule", head, "\\midrule", *lines, "\\bottomrule"]
    return "\n".join([f"\\begin{{tabular}}{{{columns}}}", *body, "\\end{tabular}", ""])


_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    **{mark: f"\\{mark}" for mark in "&%$#_{}"},
}


def escaped(text: str) -> str:
    """`text` so that LaTeX prints it as it stands; every run of white space and control characters becomes one blank."""
    # A leading [ or * after the \\ of the line before would be read as that command's option.
    spoken = "".join(_LATEX.get(mark, mark) for mark in re.sub(r"[\s\x00-\x1f\x7f]+", " ", text).strip())
    return "{}" + spoken if spoken.startswith(("[", "*")) else spoken


def kinds_of(comparison: Comparison) -> list[KindName]:
    """The kinds of unanswerable question that any run asked, in the order of the runs that brought them."""
    return list(dict.fromkeys(kind for row in comparison.runs for kind in row.recall_by_kind))


def shown(value: float | None, digits: int = 3) -> str:
    """A figure for people; "n/a" if it is undefined."""
    return "n/a" if value is None else f"{value:.{digits}f}"


def shown_interval(ends: tuple[float, float] | None) -> str:
    """ "0.812 to 0.934", or "n/a"."""
    return "n/a" if ends is None else f"{ends[0]:.3f} to {ends[1]:.3f}"


def shown_p(value: float | None) -> str:
    """A p-value for people: three digits, and never 0."""
    return "n/a" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"
