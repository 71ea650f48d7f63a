"""Plots of a score, of several, and of a run, as figures of matplotlib: for notebooks and papers.

    from unsaf_async import load, plots

    run = load("runs/mine")
    plots.matrix(run.findings)                                     # a notebook shows the figure that ends a cell
    plots.intervals({"mine": run.findings}).savefig("unf1.pdf")

They are the plots of the report, in colors that the color-blind tell apart, on white; they need the extra `plots`. Each names its
figures' source in docs/score.md. A plot with nothing to show raises `UserError` and says why: no figure is empty.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from unsaf_async.api import LoadedRun, load
from unsaf_async.errors import UserError
from unsaf_async.report import plots as drawn
from unsaf_async.report.confidence_curves import calibration_curves, labelled_curves, signal_values
from unsaf_async.report.drawing import Drawn, Palette, Plot, new_figure
from unsaf_async.report.plane import Plane
from unsaf_async.report.plane import plane as plane_of
from unsaf_async.report.timeline import timeline
from unsaf_async.runs.folder import RunFiles
from unsaf_async.score.signals import SIGNAL_WORDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.figure import Figure

    from unsaf_async.report.confidence_curves import CalibrationCurve
    from unsaf_async.runs.findings import Findings
    from unsaf_async.score.run_score import Score

_RATES = {
    "precision": "timidity (precision)",
    "recall": "audacity (recall)",
    "over_refusal_rate": "over-refusal rate",
    "over_answer_rate": "over-answer rate",
}


def matrix(score: Score) -> Figure:
    """The table of four: what questions were meant to be, and what the model did.

    Args:
        score: Of a run.

    Returns:
        The figure. Each field has its count and its share of the row; right responses are blue, wrong ones orange.

    Raises:
        UserError: No response is in one of the four types.
    """
    _check(score)
    return _shown(_matrix.figure(score), "no response was scored")


def rates(score: Score) -> Figure:
    """UnF1, timidity, audacity, over-refusal and over-answering, with their 95 % intervals.

    Args:
        score: Of a run.

    Returns:
        The figure. A rate that is undefined is left out; `score.undefined` says why.

    Raises:
        UserError: Every rate is undefined.
    """
    _check(score)
    rows = [(words, getattr(score, name), score.intervals.get(name)) for name, words in _RATES.items()]
    known = [row for row in [_unf1(score.f1_name, score), *rows] if row[1] is not None or row[2]]
    plot = drawn.intervals.figure(known, ("UnF1 and its rates", "with 95 % intervals"), first=True)
    return _shown(plot, "every rate is undefined")


def kinds(score: Score) -> Figure:
    """The share of unanswerable questions that the model declined, by kind, with 95 % intervals.

    Args:
        score: Of a run.

    Returns:
        The figure. The dashed line is the share over all kinds.

    Raises:
        UserError: No unanswerable question was scored.
    """
    _check(score)
    return _shown(drawn.recall_by_kind.figure(score), "no unanswerable question was scored")


def intervals(scores: Mapping[str, Score]) -> Figure:
    """UnF1 of several runs with its 95 % intervals.

    Args:
        scores: By the name that a run is shown by, in the order of the plot. Of one with so much unscored that it has bounds
            alone, the bounds are shown, dashed.

    Returns:
        The figure.

    Raises:
        UserError: There is no run with a UnF1.
    """
    _check(*scores.values())
    rows = [row for row in (_unf1(name, score) for name, score in scores.items()) if row[1] is not None or row[2]]
    return _shown(drawn.intervals.figure(rows), "no run has a UnF1")


def plane(scores: Mapping[str, Score]) -> Figure:
    """Audacity against timidity, a mark a run, with curves of equal UnF1.

    Args:
        scores: By the name that a run is shown by. Runs that lack one of the two are left out.

    Returns:
        The figure.

    Raises:
        UserError: Fewer than two runs have both.
    """
    _check(*scores.values())
    marks: list[Plane] = [
        (name, score.timidity, score.audacity, score.intervals.get("precision"), score.intervals.get("recall"))
        for name, score in scores.items()
        if score.timidity is not None and score.audacity is not None and not score.unf1_between
    ]
    return _shown(plane_of.figure(marks), "fewer than two runs have both timidity and audacity")


def confidence(score: Findings) -> Figure:
    """The AUROC of each sign of confidence, with its 95 % interval.

    Args:
        score: Of a run.

    Returns:
        The figure. The dashed line is chance. "It declined" is UnSAF's own sign.

    Raises:
        UserError: No sign has an AUROC.
    """
    _check(score)
    rows = [(SIGNAL_WORDS[name][0], each.auroc, each.auroc_ci) for name, each in score.signals.items()]
    known = [row for row in rows if row[1] is not None]
    words = ("AUROC of each sign of confidence", "AUROC, with 95 % intervals; dashed: chance")
    return _shown(drawn.intervals.figure(known, words, line=0.5), "no sign of confidence has an AUROC")


def roc(run: LoadedRun) -> Figure:
    """ROC curves of the signs of confidence: questions meant to be answerable against those meant to be unanswerable.

    Args:
        run: As `load` returns it.

    Returns:
        The figure.

    Raises:
        UserError: No sign takes three values over both sorts of questions.
    """
    _check_run(run)
    plot = drawn.roc_curves.figure(signal_values(run.examinations))
    return _shown(plot, "no sign of confidence takes three values over both sorts of questions")


def reliability(run: LoadedRun) -> Figure:
    """The share of right responses by confidence, in bins of equal count.

    Args:
        run: As `load` returns it, of a labelled set or with `grounded=True`.

    Returns:
        The figure. On the diagonal a confidence is what it says.

    Raises:
        UserError: Of too few answers both a confidence and the truth are known.
    """
    return _shown(drawn.reliability.figure(_curves(run)), _NO_TRUTH)


def risk_coverage(run: LoadedRun) -> Figure:
    """The share of errors among the surest responses, by how many are kept.

    Args:
        run: As `load` returns it, of a labelled set or with `grounded=True`.

    Returns:
        The figure. Lower is better.

    Raises:
        UserError: Of too few answers both a confidence and the truth are known.
    """
    return _shown(drawn.risk_coverage.figure(_curves(run)), _NO_TRUTH)


def over_time(run_dir: str | Path) -> Figure:
    """Replies a second, calls in flight, and the cost so far.

    Args:
        run_dir: The run's folder.

    Returns:
        The figure. A dashed line is a limit of the run.

    Raises:
        UserError: The folder holds no run, or fewer than two calls of it ended.
    """
    limits = load(run_dir).manifest.subject.total_limits
    plot = drawn.over_time.figure(timeline(RunFiles(Path(run_dir)).ledger), limits)
    return _shown(plot, f"{run_dir}: fewer than two calls ended")


_NO_TRUTH = (
    "of too few answers both a confidence and the truth are known; measure a labelled set, or the run with "
    "grounded=True and confidence=True"
)


def _check(*scores: object) -> None:
    """Raises UserError where a whole run stands for its score."""
    if any(isinstance(each, LoadedRun) for each in scores):
        raise UserError("this plot is of a score, and a run is given; give the run's .findings")


def _check_run(run: object) -> None:
    """Raises UserError where a score stands for its run."""
    if not isinstance(run, LoadedRun):
        raise UserError(f"this plot is of a run, and a {type(run).__name__} is given; give what load(folder) returns")


def _shown(figure: Any, without: str) -> Figure:
    """The figure. Raises UserError if there is none."""
    if figure is None:
        raise UserError(f"there is nothing to plot: {without}")
    return figure  # type: ignore[no-any-return]


def _unf1(name: str, score: Score) -> tuple[str, float | None, tuple[float, float] | None]:
    """A row of a plot: without a figure, its bounds."""
    return (name, None, score.unf1_between) if score.unf1_between else (name, score.unf1, score.unf1_ci)


def _curves(run: LoadedRun) -> list[CalibrationCurve]:
    _check_run(run)
    labelled = run.findings.labelled
    return calibration_curves(run.examinations) if labelled is None else labelled_curves(labelled)


@Plot
def _matrix(colors: Palette, score: Score) -> Drawn | None:
    from matplotlib.patches import Rectangle

    counts = score.counts
    rows = (
        ("answerable", ("true answerable", counts.ta, True), ("false unanswerable", counts.fu, False)),
        ("unanswerable", ("false answerable", counts.fa, False), ("true unanswerable", counts.tu, True)),
    )
    if not any(count for _, *cells in rows for _, count, _ in cells):
        return None
    figure, axes = new_figure(colors, 3.4)
    for row, (_, *cells) in enumerate(rows):
        whole = sum(count for _, count, _ in cells)
        for column, (label, count, right) in enumerate(cells):
            share = count / whole if whole else 0.0
            face = colors["c1" if right else "c2"]
            axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor=face, alpha=0.12 + 0.5 * share))
            axes.text(column, row - 0.12, f"{count:,}", ha="center", va="center", fontsize=20)
            words = f"{label}\n{share:.0%} of {whole:,}" if whole else f"{label}\nnone scored"
            axes.text(column, row + 0.22, words, ha="center", va="center", fontsize=11, color=colors["ink"])
    axes.set_xticks((0, 1), ("answered", "abstained"))
    axes.set_yticks((0, 1), [name for name, *_ in rows])
    axes.xaxis.tick_top()
    axes.tick_params(length=0, labelsize=13)
    axes.set_xlim(-0.5, 1.5)
    axes.set_ylim(1.5, -0.5)
    axes.spines[:].set_visible(False)
    told = "; ".join(f"{label} {count:,}" for _, *cells in rows for label, count, _ in cells)
    return Drawn(figure, "What questions were meant to be, and what the model did", f"{told}.")
