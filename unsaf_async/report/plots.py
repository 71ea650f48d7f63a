"""The plots: what each shows, and how. `drawing.py` has what they share."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from unsaf_async.report.confidence_curves import roc
from unsaf_async.report.drawing import (
    Drawn,
    Palette,
    Plot,
    legend_above,
    line_style,
    new_figure,
    series,
    shade,
    share_axis,
    short,
)
from unsaf_async.text import format_figure, format_headline

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from unsaf_async.compare.cross_matrix import CrossMatrix
    from unsaf_async.providers.profile import Limits
    from unsaf_async.records import Role
    from unsaf_async.report.confidence_curves import CalibrationCurve, SignalValues
    from unsaf_async.report.timeline import Timeline
    from unsaf_async.score.run_score import Score

_POINTS = 160
"""Most points of a line over time."""


# --- the plots -------------------------------------------------------------------------------------------------------


@Plot
def recall_by_kind(colors: Palette, score: Score) -> Drawn | None:
    """Recall on each kind of unanswerable question, with its 95 % interval; by Wilson's formula for scores without intervals.

    Args:
        colors: By role.
        score: Of the run.

    Returns:
        The plot; None if no kind was scored.
    """
    rows = [(kind, each.tu, each.tu + each.fa) for kind, each in score.by_kind.items() if each.recall is not None]
    caption = "Share of unanswerable questions declined, by kind"
    words = ("Recall by kind", caption, "declined, of the scored questions")
    ends = {str(kind): score.intervals.get(f"by_kind.{kind}.recall") for kind, _, _ in rows}
    return shares.draw(colors, rows, words, score.recall, ends if score.intervals else None)


@Plot
def shares(
    colors: Palette,
    rows: Sequence[tuple[str, int, int]],
    words: tuple[str, str, str],
    overall: float | None = None,
    known: Mapping[str, tuple[float, float] | None] | None = None,
) -> Drawn | None:
    """Shares with 95 % intervals.

    Args:
        colors: By role.
        rows: (label, part, whole) each; whole >= 1.
        words: The title, what is shown in a sentence without its end, and the axis.
        overall: A share that a dashed line shows. None: no line.
        known: The intervals by label; None: they are those of Wilson's formula.

    Returns:
        The plot; None without a row.
    """
    if not rows:
        return None
    figure, axes = new_figure(colors, 0.42 * len(rows) + 0.75)
    for place, (label, part, n) in enumerate(rows):
        if ends := wilson(part, n) if known is None else known.get(label):
            axes.plot(ends, [place, place], color=colors["good"], linewidth=2.5, solid_capstyle="round")
        axes.plot([part / n], [place], "o", color=colors["good"], markersize=8)
    if overall is not None:
        axes.axvline(overall, color=colors["muted"], linewidth=1, linestyle="--")
    names = short([label for label, _, _ in rows])
    axes.set_yticks(range(len(rows)), [f"{name}  {part}/{n}" for name, (_, part, n) in zip(names, rows, strict=True)])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    title, sentence, axis = words
    share_axis(axes, "x", axis if overall is None else f"{axis}; dashed: all together")
    values = ", ".join(f"{label} {part / n:.2f}" for label, part, n in rows)
    return Drawn(figure, title, f"{sentence}: {values}.")


def wilson(successes: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a share by Wilson's formula.

    Source: E. B. Wilson (1927), "Probable inference", JASA 22.

    Args:
        successes: In [0, n].
        n: Trials, >= 1.

    Returns:
        (lower, upper), each in [0, 1].
    """
    z = 1.959964
    share, extra = successes / n, z * z / n
    middle = (share + extra / 2) / (1 + extra)
    half = z * math.sqrt(share * (1 - share) / n + extra / (4 * n)) / (1 + extra)
    return max(0.0, middle - half), min(1.0, middle + half)


@Plot
def over_time(colors: Palette, timeline: Timeline, limits: Limits) -> Drawn | None:
    """Replies a second, calls in flight and the cost so far.

    Args:
        colors: By role.
        timeline: Of the run.
        limits: The run's; a dashed line shows one where the run came near enough for it to be on the plot.

    Returns:
        The plot; None if fewer than two calls ended.
    """
    if len(timeline.settled_s) < 2:
        return None
    paid = sum(timeline.cost_usd) > 0
    figure, axes = new_figure(colors, 3.9 if paid else 2.9, rows=3 if paid else 2)
    end = max(timeline.settled_s[-1], *timeline.in_flight[0][-1:], 1e-6)
    counts, edges = np.histogram(timeline.settled_s, bins=min(40, max(4, len(timeline.settled_s) // 4)), range=(0, end))
    axes[0].stairs(counts / np.diff(edges), edges, color=colors["c1"], fill=True)
    axes[0].set_title("replies a second", loc="left", fontsize=13, color=colors["muted"])
    times, numbers = _envelope(*timeline.in_flight)
    axes[1].step(times, numbers, where="post", color=colors["c1"], linewidth=1.5)
    axes[1].set_title("calls in flight", loc="left", fontsize=13, color=colors["muted"])
    axes[1].set_ylim(bottom=0)
    if paid:
        cost = np.cumsum(timeline.cost_usd)
        keep = np.unique(np.linspace(0, len(cost) - 1, _POINTS).astype(int))
        axes[2].plot(np.array(timeline.settled_s)[keep], cost[keep], color=colors["c1"], linewidth=2)
        axes[2].set_title("USD so far", loc="left", fontsize=13, color=colors["muted"])
        axes[2].set_ylim(bottom=0)
    per_second = limits.requests_per_minute / 60 if limits.requests_per_minute else None
    for axis, limit in ((axes[0], per_second), (axes[1], limits.concurrency)):
        if limit is not None and limit <= 2 * axis.get_ylim()[1]:
            axis.axhline(limit, color=colors["muted"], linewidth=1, linestyle="--")
    for axis in axes:
        axis.set_xlim(0, end)
        axis.locator_params(axis="y", nbins=3)
    axes[-1].set_xlabel("seconds with a session open")
    peak = max(timeline.in_flight[1])
    total = f", {sum(timeline.cost_usd):.4f} US dollars" if paid else ""
    description = f"{len(timeline.settled_s)} replies in {end:.1f} seconds, at most {peak} calls in flight{total}."
    return Drawn(figure, "The run over time", description)


def _envelope(times: list[float], numbers: list[int]) -> tuple[list[float], list[int]]:
    """The line thinned to some `_POINTS` points; of each stretch the highest stays."""
    if len(times) <= _POINTS:
        return times, numbers
    blocks = np.array_split(np.arange(len(times)), _POINTS)
    return [times[block[0]] for block in blocks], [max(numbers[place] for place in block) for block in blocks]


@Plot
def latency_by_role(colors: Palette, seconds: Mapping[Role, Sequence[float]]) -> Drawn | None:
    """Medians, middle halves and 5 to 95 % ranges of the calls' latencies.

    Args:
        colors: By role.
        seconds: Latencies in seconds by role.

    Returns:
        The plot; None without a call.
    """
    if not seconds:
        return None
    figure, axes = new_figure(colors, 0.45 * len(seconds) + 0.8)
    medians = []
    for place, (role, values) in enumerate(seconds.items()):
        p5, p25, p50, p75, p95 = np.quantile(values, (0.05, 0.25, 0.5, 0.75, 0.95))
        axes.plot([p5, p95], [place, place], color=colors["c1"], linewidth=1.5)
        axes.plot([p25, p75], [place, place], color=colors["c1"], linewidth=7, solid_capstyle="butt")
        axes.plot([p50], [place], "o", color=colors["paper"], markeredgecolor=colors["c1"], markersize=8)
        medians.append(f"{role} {p50:.3g} s")
    axes.set_yticks(range(len(seconds)), list(seconds))
    axes.set_ylim(len(seconds) - 0.5, -0.5)
    axes.set_xlim(left=0)
    axes.set_xlabel("seconds: median, middle half, 5 to 95 %")
    axes.grid(axis="x")
    return Drawn(figure, "Latency by role", f"Median latency: {', '.join(medians)}.")


@Plot
def roc_curves(colors: Palette, signals: Sequence[SignalValues]) -> Drawn | None:
    """ROC curves of the signs of confidence, answerable against unanswerable questions.

    Args:
        colors: By role.
        signals: The signs.

    Returns:
        The plot; None if no sign has both classes and takes three values: two segments show no more than their AUROC.
    """
    curves = [(signal, roc(signal.confidence, signal.answerable)) for signal in signals]
    drawn = [(signal, curve) for signal, curve in curves if curve is not None and len(curve[0]) > 3]
    if not drawn:
        return None
    figure, axes = new_figure(colors, 4.9 + 0.29 * len(drawn))
    axes.plot([0, 1], [0, 1], color=colors["line"], linewidth=1)
    for place, (signal, (false, true, area)) in enumerate(drawn):
        keep = np.unique(np.linspace(0, len(false) - 1, _POINTS).astype(int))
        label = f"{signal.name}, {area:.3f}"
        axes.plot(
            false[keep], true[keep], color=series(colors, place), linewidth=2, linestyle=line_style(place), label=label
        )
    axes.set_aspect("equal")
    share_axis(axes, "y", "share of answerable above a threshold")
    share_axis(axes, "x", "share of unanswerable ones above it")
    legend_above(figure)
    areas = ", ".join(f"{signal.name} {curve[2]:.3f}" for signal, curve in drawn)
    return Drawn(figure, "ROC by signal", f"Area under the curve, answerable against unanswerable: {areas}.")


@Plot
def reliability(colors: Palette, curves: Sequence[CalibrationCurve]) -> Drawn | None:
    """Share of right responses by confidence, in bins of equal count.

    Args:
        colors: By role.
        curves: The confidences.

    Returns:
        The plot; None if no curve has two bins.
    """
    curves = [each for each in curves if len(each.bins) > 1]
    if not curves:
        return None
    figure, axes = new_figure(colors, 4.9 + 0.29 * len(curves))
    axes.plot([0, 1], [0, 1], color=colors["line"], linewidth=1)
    for place, each in enumerate(curves):
        axes.plot(
            [bin_.confidence_mean for bin_ in each.bins],
            [bin_.accuracy for bin_ in each.bins],
            "o",
            linestyle=line_style(place),
            color=series(colors, place),
            linewidth=1.5,
            markersize=6,
            label=each.name,
        )
    axes.set_aspect("equal")
    share_axis(axes, "y", "share right")
    share_axis(axes, "x", "confidence")
    legend_above(figure)
    values = ", ".join(f"{each.name}: mean {_mean_confidence(each):.2f}, right {each.right:.2f}" for each in curves)
    return Drawn(figure, "Reliability", f"Confidence against the share that is right. {values}.")


def _mean_confidence(each: CalibrationCurve) -> float:
    return sum(bin_.n * bin_.confidence_mean for bin_ in each.bins) / each.n


@Plot
def risk_coverage(colors: Palette, curves: Sequence[CalibrationCurve]) -> Drawn | None:
    """Errors among the surest responses, by the share that is kept.

    Args:
        colors: By role.
        curves: The confidences.

    Returns:
        The plot; None if no curve has two points.
    """
    drawn = [each for each in curves if len(each.risk) > 1]
    if not drawn:
        return None
    figure, axes = new_figure(colors, 3.1 + 0.29 * len(drawn))
    for place, each in enumerate(drawn):
        keep = np.unique(np.linspace(0, len(each.risk) - 1, _POINTS).astype(int))
        coverage, risk = np.array(each.risk)[keep].T
        axes.plot(
            coverage, risk, color=series(colors, place), linewidth=2, linestyle=line_style(place), label=each.name
        )
    axes.set_ylim(bottom=0)
    share_axis(axes, "x", "coverage: the surest first")
    axes.set_ylabel("share wrong")
    legend_above(figure)
    return Drawn(figure, "Risk and coverage", f"Wrong among all: {1 - drawn[0].right:.2f}.")


UNF1_OF_RUNS = ("UnF1 of the runs", "UnF1, with 95 % intervals")


@Plot
def intervals(
    colors: Palette,
    rows: Sequence[tuple[str, float | None, tuple[float, float] | None]],
    words: tuple[str, str] = UNF1_OF_RUNS,
    *,
    line: float | None = None,
    first: bool = False,
) -> Drawn | None:
    """Figures in [0, 1] with their intervals, in the order given.

    Args:
        colors: By role.
        rows: (label, figure, interval or None) each. Without a figure the interval is its bounds, and is drawn thin.
        words: The title and the axis.
        line: A figure that a dashed line shows. None: no line.
        first: Whether the first row stands out from the others.

    Returns:
        The plot; None without a row.
    """
    if not rows:
        return None
    figure, axes = new_figure(colors, 0.45 * len(rows) + 0.8)
    if line is not None:
        axes.axvline(line, color=colors["muted"], linewidth=1, linestyle="--")
    for place, (_, value, interval) in enumerate(rows):
        color = colors["c6" if first and place else "good" if first else "c1"]
        if interval:
            style = {"linewidth": 1.5, "linestyle": "--"} if value is None else {"linewidth": 2.5}
            axes.plot(interval, [place, place], color=color, solid_capstyle="round", **style)
        if value is not None:
            axes.plot([value], [place], "o", color=color, markersize=8)
    axes.set_yticks(range(len(rows)), short([label for label, _, _ in rows]))
    if first:
        axes.get_yticklabels()[0].set_fontweight("bold")
    axes.set_ylim(len(rows) - 0.5, -0.5)
    title, axis = words
    share_axis(axes, "x", axis)
    values = ", ".join(
        f"{label} {format_headline(value, interval if value is None else None)}" for label, value, interval in rows
    )
    return Drawn(figure, title, f"{values}.")


@Plot
def scale(
    colors: Palette, rows: Sequence[tuple[str, float, float, tuple[float, float] | None]], measure: str = "UnF1"
) -> Drawn | None:
    """A measure by model size.

    Args:
        colors: By role.
        rows: (label, parameters, figure in [0, 1], interval or None) each.
        measure: What the figure is called.

    Returns:
        The plot; None with fewer than two rows.
    """
    if len(rows) < 2:
        return None
    figure, axes = new_figure(colors, 3.6)
    axes.set_xscale("log")
    ordered = sorted(rows, key=lambda row: row[1])
    axes.plot([row[1] for row in ordered], [row[2] for row in ordered], color=colors["line"], linewidth=1)
    names = short([label for label, _, _, _ in ordered])
    for name, (_, parameters, value, interval) in zip(names, ordered, strict=True):
        if interval:
            axes.plot([parameters] * 2, interval, color=colors["c1"], linewidth=2.5)
        axes.plot([parameters], [value], "o", color=colors["c1"], markersize=8)
        axes.annotate(name, (parameters, value), xytext=(7, 5), textcoords="offset points", fontsize=12)
    ticks = sorted({row[1] for row in rows})
    if len(ticks) > 6:
        ticks = [10.0**power for power in range(math.floor(math.log10(ticks[0])), math.ceil(math.log10(ticks[-1])) + 1)]
    axes.set_xticks(ticks, [size_text(tick) for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.margins(x=0.25)
    axes.set_ylim(-0.02, 1.05)
    axes.set_xlabel("parameters (logarithmic)")
    axes.set_ylabel(measure)
    axes.grid(axis="y")
    values = ", ".join(f"{label}, {parameters:g} parameters: {value:.3f}" for label, parameters, value, _ in ordered)
    return Drawn(figure, f"{measure} by size", f"{values}.")


def size_text(parameters: float) -> str:
    """A number of parameters as people write it.

    Args:
        parameters: The number, >= 0.

    Returns:
        "7B", "1.3M".
    """
    for factor, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if parameters >= factor:
            return f"{parameters / factor:.3g}{unit}"
    return f"{parameters:.3g}"


@Plot
def heat_map(colors: Palette, cross: CrossMatrix) -> Drawn:
    """UnF1 of each model on each model's questions. Its colors do not follow the theme: they stand for the figures.

    Args:
        colors: By role.
        cross: The matrix.

    Returns:
        The plot.
    """
    figure, axes = new_figure(colors, 0.5 * len(cross.askers) + 1.6)
    values = {(cell.asker, cell.answerer): None if cell.unf1_between else cell.unf1 for cell in cross.cells}
    bounds = {(cell.asker, cell.answerer): cell.unf1_between for cell in cross.cells}
    cells = []
    for row, asker in enumerate(cross.askers):
        for column, answerer in enumerate(cross.answerers):
            value = values.get((asker, answerer))
            color = colors["line"] if value is None else shade(value)
            left, top, right, bottom = column - 0.5, row - 0.5, column + 0.5, row + 0.5
            corners = ((left, right, right, left), (top, top, bottom, bottom))
            axes.fill(*corners, facecolor=color, edgecolor=colors["paper"])
            ink = colors["ink"] if value is None else "#ffffff" if value < 0.55 else "#111111"
            between = bounds.get((asker, answerer))
            text = f"{between[0]:.2f} to {between[1]:.2f}" if between else format_figure(value, 2)
            axes.text(column, row, text, ha="center", va="center", color=ink)
            cells.append(f"{asker} asks, {answerer} answers: {text}")
    axes.set_xticks(range(len(cross.answerers)), short(cross.answerers), rotation=30, ha="right")
    axes.set_yticks(range(len(cross.askers)), short(cross.askers))
    axes.set_xlim(-0.5, len(cross.answerers) - 0.5)
    axes.set_ylim(len(cross.askers) - 0.5, -0.5)
    axes.set_xlabel("answers")
    axes.set_ylabel("asks")
    axes.set_frame_on(False)
    return Drawn(figure, "UnF1: who answers whose questions", f"{'; '.join(cells)}.")
