"""Runs side by side: paired differences of UnF1, what measuring costs, and how the runs' settings differ.

Two figures of two runs may differ by chance, or because the runs were not made in the same way. The first is answered by pairing
them image by image; the second by saying every difference in words.
"""

from __future__ import annotations

import re
from itertools import combinations
from math import fsum
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from unsaf_async.compare.pairing import PAIRED, RESAMPLES, PairedDifference, examined, paired_difference
from unsaf_async.compare.sample_size import ALPHA, FEWEST_IMAGES
from unsaf_async.compare.settings_diff import differences_in_setting
from unsaf_async.compare.verdicts import SameAnswers, same_answers
from unsaf_async.errors import UserError
from unsaf_async.providers.addresses import mark
from unsaf_async.records import CONTROL_KINDS, ControlKind, Record
from unsaf_async.runs.folder import called_by_folder, called_by_model
from unsaf_async.runs.saved import SavedRun, check_given_once
from unsaf_async.score.controls import ControlScore
from unsaf_async.score.intervals import CONFIDENCE
from unsaf_async.score.metrics import holm
from unsaf_async.score.rank_correlation import RankCorrelation, rank_correlation
from unsaf_async.score.shown import without_other_readings
from unsaf_async.score.unf1 import KindName
from unsaf_async.text import format_difference, format_headline

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from unsaf_async.records import Examination
    from unsaf_async.score.labelled import LabelledScore
    from unsaf_async.score.run_score import Score


FEW_CACHED = 0.05
"""Share of a run's replies from the cache above which its cost and time are not comparable."""

RATES = (
    "precision", "recall", "over_refusal_rate", "over_answer_rate", "audacity_of_answers", "unf1_of_precisions", "macro_f1",
    "matthews_correlation",
)  # fmt: skip
"""Figures of a run beside UnF1 that have an interval, by their names in `RunRow` and in `Score`."""


# --- what is written down ---------------------------------------------------------------------------------------------


class Pair(PairedDifference):
    """A paired difference with its runs' names, and its p-value adjusted for the other pairs."""

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
    unf1_between: tuple[float, float] | None = None
    """The bounds of UnF1, where so much is unscored that they are the headline; None where `unf1` is."""
    precision: float | None
    recall: float | None
    over_refusal_rate: float | None
    over_answer_rate: float | None
    timidity: float | None = None
    """As in `Score`, as are the next three."""
    timidity_ci: tuple[float, float] | None = None
    audacity: float | None = None
    audacity_ci: tuple[float, float] | None = None
    audacity_of_answers: float | None = None
    unf1_of_precisions: float | None = None
    macro_f1: float | None = None
    matthews_correlation: float | None = None
    recall_by_kind: dict[KindName, float | None]
    """Of the kinds that were asked; None where none of a kind was scored."""
    accuracy: float | None = None
    """Of a labelled run: POPE's, or VQA accuracy of what the response says."""
    accuracy_ci: tuple[float, float] | None = None
    """95 % interval, with images as the unit."""
    controls: dict[ControlKind, ControlScore] = Field(default_factory=dict)
    """What came of asking questions again without what answers them; {} without controls."""
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
    origin: str = ""
    """What is said of a run that is not known as the user's own; "" of the user's own."""
    mark: str = ""
    """"simulated" or "local address", where it was no vendor's model that answered, or need not have been."""
    unreliable: list[str]
    warnings: list[str]
    undefined: dict[str, str]
    intervals: dict[str, tuple[float, float]] = Field(default_factory=dict)
    """95 % intervals over images, by the figure's path in this record ("recall", "recall_by_kind.hidden"). Why one is missing
    stands in `undefined`, by "intervals." and the path."""
    labelled: bool = False
    """Whether the questions are a labelled set's, so that `unf1` is the F1 of abstaining by its labels, and not UnF1."""

    @property
    def rates(self) -> dict[str, float | None]:
        """The figures of `RATES` and the recall of each kind, by the path that `intervals` has."""
        by_kind = {f"recall_by_kind.{kind}": value for kind, value in self.recall_by_kind.items()}
        return {name: getattr(self, name) for name in RATES} | by_kind


class Correlation(Record):
    """How far the runs' UnF1 and another figure put the runs in the same order."""

    metric: str
    """"scale", the name of a signal of `Score.signals` (its AUROC), or a kind of `RunRow.controls` ("controls.blank": its J)."""
    runs: list[str]
    """Those with both figures. A run whose bounds are its headline has no UnF1."""
    spearman: RankCorrelation
    kendall: RankCorrelation


class Comparison(Record):
    """Two or more runs side by side."""

    runs: list[RunRow]
    pairs: list[Pair]
    """Every two of them, in the runs' order."""
    correlations: list[Correlation]
    """With three runs or more; else []."""
    differences: list[str]
    """How the settings and images of the runs differ, a sentence each: what else a difference of scores may come from."""
    too_few: list[str] = Field(default_factory=list)
    """Which differences could not have been significant, whatever they are, a sentence each."""
    same_answers: list[SameAnswers] = Field(default_factory=list)
    """Of every two runs that hold the same answers: which verdicts moved, and how far the judges agree."""

    @property
    def f1_name(self) -> str:
        """What the runs' F1 of abstaining is called: UnF1, on a labelled set Abstention F1, or either."""
        names = {False: "UnF1", True: "Abstention F1"}
        return " or ".join(name for of_set, name in names.items() if any(row.labelled == of_set for row in self.runs))


# --- runs side by side ------------------------------------------------------------------------------------------------


def load_runs(folders: Sequence[str | Path]) -> list[SavedRun]:
    """The runs at `folders`, with their scores.

    Args:
        folders: Two or more folders of runs.

    Returns:
        The runs, in the folders' order.

    Raises:
        UserError: They are fewer than two, the same run twice, or one is no run or has no examined image.
    """
    if len(folders) < 2:
        raise UserError(f"{len(folders)} run to compare; give the folders of two or more")
    loaded = [SavedRun(Path(folder)) for folder in folders]
    check_given_once(loaded)
    for run in loaded:
        if not run.findings.images.done:
            raise UserError(f"{run.folder}: holds no examined image; resume it, or leave it out")
    return loaded


def compare(
    loaded: Sequence[SavedRun], *, scale: Mapping[str, float] | None = None, resamples: int = RESAMPLES, seed: int = 0
) -> Comparison:
    """The comparison of two or more runs (of fewer: one without pairs).

    Args:
        loaded: The runs.
        scale: Parameters of a model, by the run's name, its provider, its model id, its folder or its folder's name. A name that
            fits several runs applies to all of them. None: no sizes.
        resamples: Draws for the intervals of the pairs and for their p-values, >= 1.
        seed: Of these draws, >= 0.

    Returns:
        The comparison; a figure that is None has its reason in it.

    Raises:
        UserError: No run has a name that is in `scale`, or one run has two different sizes.
        ValueError: resamples < 1.
    """
    names = run_names(loaded)
    scales = _scales(loaded, names, scale or {})
    rows = [_row(run, name, scales[name]) for run, name in zip(loaded, names, strict=True)]
    pairs = paired_runs(
        [(name, run.examinations, run.findings) for name, run in zip(names, loaded, strict=True)],
        resamples=resamples,
        seed=seed,
    )
    return Comparison(
        runs=rows,
        pairs=pairs,
        too_few=list(too_few(pairs)),
        same_answers=list(_same_answers(loaded, names)),
        correlations=list(_correlations(loaded, rows)),
        differences=[
            *differences_in_setting(
                {name: run.manifest for name, run in zip(names, loaded, strict=True)},
                {name: run.examinations for name, run in zip(names, loaded, strict=True)},
            ),
            *_differences_in_images(pairs),
            *_taken_from_the_cache(loaded, names),
        ],
    )


def _same_answers(loaded: Sequence[SavedRun], names: Sequence[str]) -> Iterator[SameAnswers]:
    runs = [(name, examined(run.examinations)) for name, run in zip(names, loaded, strict=True)]
    for (a, of_a), (b, of_b) in combinations(runs, 2):
        if (found := same_answers(a, of_a, b, of_b)) is not None:
            yield found


def paired_runs(
    runs: Sequence[tuple[str, Iterable[Examination], Score]], *, resamples: int = RESAMPLES, seed: int = 0
) -> list[Pair]:
    """Every two of some runs, paired by image. Two runs' examinations at most are held at a time.

    Args:
        runs: The name of each, its examinations and its score.
        resamples: As in `compare`.
        seed: As in `compare`.

    Returns:
        The pairs, in the runs' order; a figure that is None has its reason in it.

    Raises:
        ValueError: resamples < 1.
    """
    pairs: dict[tuple[str, str], PairedDifference] = {}
    for place, (a, of_a, score_a) in enumerate(runs[:-1], 1):
        ours = list(of_a)
        for b, of_b, score_b in runs[place:]:
            pairs[a, b] = _without_open_ends(
                paired_difference(ours, list(of_b), resamples=resamples, seed=seed),
                {"unf1_a": (a, score_a), "unf1_b": (b, score_b)},
            )
    # A pair whose p is left out was tested all the same.
    tested = {key: 1.0 if pair.p is None else pair.p for key, pair in pairs.items() if pair.p_method is not None}
    adjusted = dict(zip(tested, holm(list(tested.values())), strict=True))
    return [_named(pair, *key, None if pair.p is None else adjusted[key]) for key, pair in pairs.items()]


def _named(pair: PairedDifference, a: str, b: str, p_holm: float | None) -> Pair:
    why = {"p_holm": pair.undefined.get("p", "")} if p_holm is None else {}
    return Pair(**pair.model_dump(exclude={"undefined"}), a=a, b=b, p_holm=p_holm, undefined=pair.undefined | why)


def _without_open_ends(pair: PairedDifference, runs: Mapping[str, tuple[str, Score]]) -> PairedDifference:
    """The pair without its difference, where one of the two has no UnF1, or its bounds for a headline.

    runs: each run's name and score, by the name of its UnF1 in the pair.
    """
    none = {field: _why_no_unf1(name, score) for field, (name, score) in runs.items()}
    none = {field: why for field, why in none.items() if why}
    if not none:
        return pair
    why = "; ".join(none.values())
    missing = (*none, "difference", *PAIRED)
    return pair.model_copy(update={**dict.fromkeys(missing), "undefined": pair.undefined | dict.fromkeys(missing, why)})


def _why_no_unf1(name: str, score: Score) -> str:
    """Why a run's UnF1 is compared with no other; "" where it is."""
    if score.unf1_between:
        return f"so much of {name} is unscored that its {score.f1_name} is {format_headline(None, score.unf1_between)}"
    return f"{name} has no {score.f1_name}: {score.undefined.get('unf1', 'unknown')}" if score.unf1 is None else ""


def run_names(loaded: Sequence[SavedRun]) -> list[str]:
    """A name for each run: provider and model, with the folder's name or the folder where that is needed to distinguish runs.

    A judging of a run's answers is named by that run and the judge.

    Args:
        loaded: The runs.

    Returns:
        The names in the runs' order, none twice.
    """
    models = [called_by_model(run.manifest.subject) for run in loaded]
    named = [
        model if models.count(model) == 1 else f"{model} ({called_by_folder(run.folder, run.manifest)})"
        for model, run in zip(models, loaded, strict=True)
    ]
    return [
        name if named.count(name) == 1 else f"{model} ({run.folder})"
        for name, model, run in zip(named, models, loaded, strict=True)
    ]


def _scales(loaded: Sequence[SavedRun], names: Sequence[str], given: Mapping[str, float]) -> dict[str, float | None]:
    """The runs' sizes by their names; None where none was given. given: by any name of a run."""
    sizes: dict[str, float | None] = dict.fromkeys(names)
    for key, size in given.items():
        matches = [
            name
            for name, run in zip(names, loaded, strict=True)
            for subject in [run.manifest.subject]
            if key in (name, called_by_model(subject), subject.name, subject.model, run.folder.name)
            or key == str(run.folder)
        ]
        if not matches:
            raise UserError(f"{key}: no run has this name; give one of {', '.join(names)}", field="scale")
        for name in matches:
            if sizes[name] not in (None, size):
                raise UserError(f"{key}: {name} has been given another size before; give one", field="scale")
            sizes[name] = size
    return sizes


def size_of(text: str) -> float:
    """The number of parameters that a text names.

    Args:
        text: A number, with k, M, B or G, or T for 1e3, 1e6, 1e9, 1e12: "7e9", "7B", "1.3M".

    Returns:
        Above 0: 7e9, 7e9, 1.3e6.

    Raises:
        ValueError: The text is no size above 0.
    """
    match = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)(e[+-]?\d{1,3})?\s*([kmbgt]?)", text.strip(), re.IGNORECASE)
    if not match:
        raise ValueError(f"{text!r} is no number of parameters; give one such as 7e9, 7B or 1.3M")
    factor = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9, "t": 1e12}[match[3].lower()]
    size = float(match[1] + (match[2] or "")) * factor
    if not 0 < size < float("inf"):
        raise ValueError(f"{text!r} is no number of parameters above 0")
    return size


def _row(run: SavedRun, name: str, scale: float | None) -> RunRow:
    score = without_other_readings(run.findings)
    undefined = {key: why for key, why in score.undefined.items() if key in RunRow.model_fields}
    undefined |= {
        f"recall_by_kind.{kind}": score.undefined[f"by_kind.{kind}.recall"]
        for kind, row in score.by_kind.items()
        if row.recall is None
    }
    intervals, why = _intervals(score)
    undefined |= why
    undefined |= {
        f"{alias}_ci": undefined.get(f"intervals.{name}") or undefined.get(name, "its score has no intervals")
        for alias, name in (("timidity", "precision"), ("audacity", "recall"))
        if name not in score.intervals
    }
    accuracy, accuracy_ci, no_accuracy = _accuracy(score.labelled)
    undefined |= no_accuracy
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
        unf1_between=score.unf1_between,
        precision=score.precision,
        recall=score.recall,
        over_refusal_rate=score.over_refusal_rate,
        over_answer_rate=score.over_answer_rate,
        timidity=score.timidity,
        timidity_ci=score.intervals.get("precision"),
        audacity=score.audacity,
        audacity_ci=score.intervals.get("recall"),
        audacity_of_answers=score.audacity_of_answers,
        unf1_of_precisions=score.unf1_of_precisions,
        macro_f1=score.macro_f1,
        matthews_correlation=score.matthews_correlation,
        recall_by_kind={kind: row.recall for kind, row in score.by_kind.items()},
        accuracy=accuracy,
        accuracy_ci=accuracy_ci,
        controls=score.controls,
        images=score.images.done,
        questions=score.questions.asked,
        unscored=sum(score.unscored.values()),
        cost_usd=score.cost_usd,
        cost_per_image_usd=per_image,
        cost_of_one_point_usd=per_point,
        wall_s=score.wall_s,
        scale=scale,
        origin=run.origin,
        mark=mark(run.manifest.subject),
        unreliable=score.unreliable,
        warnings=score.warnings,
        undefined=undefined,
        intervals=intervals,
        labelled=score.labelled is not None,
    )


def _accuracy(labelled: LabelledScore | None) -> tuple[float | None, tuple[float, float] | None, dict[str, str]]:
    """(a labelled run's accuracy, its interval, the reasons of what is None, by name)."""
    if labelled is None:
        return None, None, dict.fromkeys(("accuracy", "accuracy_ci"), "the questions are of no labelled set")
    pope = labelled.pope
    value, ends = (pope.accuracy, pope.intervals.get("accuracy")) if pope else (labelled.accuracy, labelled.accuracy_ci)
    reasons = pope.undefined if pope else labelled.undefined
    no_value = {"accuracy": reasons.get("accuracy", "nothing was asked")} if value is None else {}
    of_interval = reasons.get("intervals.accuracy") or reasons.get("accuracy_ci") or reasons.get("accuracy")
    return value, ends, no_value | ({} if ends else {"accuracy_ci": of_interval or "its score has no intervals"})


def _intervals(score: Score) -> tuple[dict[str, tuple[float, float]], dict[str, str]]:
    """(the intervals by their paths in `RunRow`, the reasons of missing ones by "intervals." and that path)."""
    paths = {name: name for name in RATES} | {
        f"by_kind.{kind}.recall": f"recall_by_kind.{kind}" for kind in score.by_kind
    }
    ends = {path: score.intervals[theirs] for theirs, path in paths.items() if theirs in score.intervals}
    reasons = {path: score.undefined.get(f"intervals.{theirs}") for theirs, path in paths.items()}
    return ends, {f"intervals.{path}": why for path, why in reasons.items() if why}


def _correlations(loaded: Sequence[SavedRun], rows: Sequence[RunRow]) -> Iterator[Correlation]:
    """UnF1 against the models' size and against each signal's AUROC, over three runs or more."""
    if len(rows) < 3:
        return
    signals = [dict(run.findings.signals) for run in loaded]
    metrics: dict[str, list[float | None]] = {}
    if any(row.scale is not None for row in rows):
        metrics["scale"] = [row.scale for row in rows]
    for name in dict.fromkeys(name for of_run in signals for name in of_run):
        metrics[name] = [getattr(of_run.get(name), "auroc", None) for of_run in signals]
    for kind in CONTROL_KINDS:
        if any(kind in row.controls for row in rows):
            metrics[f"controls.{kind}"] = [getattr(row.controls.get(kind), "youden", None) for row in rows]
    for metric, values in metrics.items():
        both = [
            (row.name, row.unf1, value)
            for row, value in zip(rows, values, strict=True)
            if row.unf1 is not None and not row.unf1_between and value is not None
        ]
        unf1, other = [x for _, x, _ in both], [y for *_, y in both]
        yield Correlation(
            metric=metric,
            runs=[name for name, *_ in both],
            spearman=rank_correlation(unf1, other, "spearman"),
            kendall=rank_correlation(unf1, other, "kendall"),
        )


# --- how the runs differ ----------------------------------------------------------------------------------------------


def _differences_in_images(pairs: Sequence[Pair]) -> Iterator[str]:
    for pair in pairs:
        a, b = pair.a, pair.b
        images_a, images_b = pair.images_shared + pair.images_only_a, pair.images_shared + pair.images_only_b
        if pair.images_shared < 2:
            yield f"{a} and {b} share {_images(pair.images_shared)} of {images_a} and {images_b}, and cannot be paired"
        elif pair.images_only_a or pair.images_only_b:
            yield (
                f"{a} and {b} share {_images(pair.images_shared)} of {images_a} and {images_b}: their difference is that on the "
                "shared ones, and their headlines rest on others, too"
            )


def too_few(pairs: Sequence[Pair]) -> Iterator[str]:
    """What could not have been significant: p-values that cannot fall to .05, or not after the adjustment for their number.

    Args:
        pairs: Of all runs that are compared.

    Yields:
        A sentence each.
    """
    possible = [pair for pair in pairs if pair.least_p is not None]
    for pair in possible:
        if not pair.images_differing and pair.ci is not None:
            yield (
                f"{pair.a} and {pair.b} are equal on all {_images(pair.images_shared)} that they share: no difference is seen, "
                f"and it is at most {format_difference(pair.ci[1])} or {format_difference(pair.ci[0])} "
                f"({CONFIDENCE:.0%} confidence)"
            )
        elif pair.least_p is not None and pair.least_p > ALPHA:
            on = f"{_images(pair.images_shared)}, of which {pair.images_differing} differ"
            yield (
                f"{pair.a} and {pair.b} share {on}: p cannot fall below {pair.least_p:.3g}, so no difference can be "
                f"significant; {FEWEST_IMAGES} that differ are the least"
            )
    least = min((pair.least_p for pair in possible if pair.least_p is not None), default=0.0)
    if least <= ALPHA < least * len(possible):
        yield (
            f"no p adjusted for {len(possible)} pairs (Holm) can fall below {least * len(possible):.3g}, so no difference can "
            "be significant after it"
        )


def _taken_from_the_cache(loaded: Sequence[SavedRun], names: Sequence[str]) -> Iterator[str]:
    for run, name in zip(loaded, names, strict=True):
        if run.manifest.judged_anew:
            yield (
                f"{name} judges answers that another run obtained: what it paid and how long it took are for the verdicts "
                "alone; its cost per image counts all replies at their first price"
            )
            continue
        calls = run.findings.calls
        # A few are equal calls of one run, which is no other run's money.
        if calls and calls.cached > FEW_CACHED * (calls.cached + calls.made):
            yield (
                f"{name} took {calls.cached} of {calls.cached + calls.made} replies from the cache: what it paid and how long "
                "it took is not what measuring it anew would; its cost per image counts them at their first price"
            )


def _images(number: int) -> str:
    return f"{number or 'no'} image{'' if number == 1 else 's'}"
