"""Several runs side by side: a leaderboard for each sort of run, and the score of each model on each model's questions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from unsaf_async.providers.addresses import mark
from unsaf_async.report import plots
from unsaf_async.report.data import names_of
from unsaf_async.report.glossary import term
from unsaf_async.report.item_response import item_response
from unsaf_async.report.markup import el, said
from unsaf_async.report.pieces import figure, figure_cell, named, table
from unsaf_async.report.plane import Plane
from unsaf_async.report.plane import plane as plane_of
from unsaf_async.score.controls import CONTROL_WORDS, FIGURE_WORDS, why_missing
from unsaf_async.text import (
    format_count,
    format_difference,
    format_figure,
    format_headline,
    format_interval,
    format_p,
    format_usd,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from xml.etree.ElementTree import Element

    from unsaf_async.compare.cross_matrix import CrossMatrix
    from unsaf_async.report.data import ReportRun, Sort
    from unsaf_async.report.markup import Child
    from unsaf_async.report.pieces import Interval


MOST_PAIRED = 6
"""Runs of which every two are paired: of more the table would be long."""


def _flag(run: ReportRun) -> str:
    score, notes = run.score, len(run.score.warnings)
    of_score = "unreliable" if score.unreliable else format_count(notes, "note") if notes else ""
    return ", ".join(filter(None, (mark(run.manifest.subject), of_score)))


@dataclass(frozen=True)
class _Board:
    """How runs of one sort are ranked.

    caption, heads: of the table, whose last two columns are the cost and a flag. measure: what is plotted. value,
    interval: of it. between: its bounds, where they are the headline. cells: of the columns between.
    """

    caption: str
    measure: str
    heads: tuple[str, ...]
    value: Callable[[ReportRun], float | None]
    between: Callable[[ReportRun], Interval]
    interval: Callable[[ReportRun], Interval]
    cells: Callable[[ReportRun], tuple[str, ...]]

    def ranked_by(self, run: ReportRun) -> float | None:
        """The lower bound, where the bounds are the headline."""
        between = self.between(run)
        return between[0] if between else self.value(run)


def ranked(runs: Sequence[ReportRun], value: Callable[[ReportRun], float | None]) -> list[ReportRun]:
    """The runs, best first.

    Args:
        runs: In any order.
        value: What they are ranked by. None: the run has no value, and comes last.

    Returns:
        The runs; an unreliable one keeps its place.
    """
    return sorted(runs, key=lambda run: -1.0 if (result := value(run)) is None else result, reverse=True)


def several(
    runs: Sequence[ReportRun], labels: Sequence[str], scale: Mapping[str, float] | None, cross: CrossMatrix | None
) -> list[Element]:
    """The runs side by side: for each sort of run a table, intervals, and the figure by size where sizes are given.

    Args:
        runs: Of the report.
        labels: One a run.
        scale: Parameters of a run's model, by the name of a run, model or folder. None: no plot by size.
        cross: The score of each model on each model's questions. None: no such plot.

    Returns:
        One section.
    """
    from unsaf_async.compare.settings_diff import differences_in_setting

    caveat = differences_in_setting({label: run.manifest for label, run in zip(labels, runs, strict=True)})
    boards: list[Element] = []
    for sort, board in _BOARDS.items():
        places = {id(run): place for place, run in enumerate(runs) if run.sort == sort}
        if places:
            boards += _board(board, [run for run in runs if run.sort == sort], places, labels, scale)
    marks: list[Plane] = [
        (label, score.timidity, score.audacity, score.intervals.get("precision"), score.intervals.get("recall"))
        for label, run in zip(labels, runs, strict=True)
        if run.sort == "unsaf" and not (score := run.score).unf1_between
        if score.timidity is not None and score.audacity is not None
    ]
    how = "The paper's two scores; UnF1 is their harmonic mean. Up and to the right is better."
    unmarked = [
        label for label, run in zip(labels, runs, strict=True) if run.sort == "unsaf" and run.score.unf1_between
    ]
    if unmarked:
        how += f" Without a mark, for so much is unscored that UnF1 has bounds alone: {', '.join(unmarked)}."
    plane = figure(plane_of("plane", marks), how)
    matrix = (
        figure(plots.heat_map("cross", cross), "Rows wrote the questions, columns answered them.") if cross else None
    )
    return [
        el(
            "section",
            el("h2", "Leaderboard"),
            boards,
            _side_by_side(list(zip(labels, runs, strict=True))),
            _controls([(label, run) for label, run in zip(labels, runs, strict=True)]),
            _pairs([(label, run) for label, run in zip(labels, runs, strict=True) if run.sort == "unsaf"]),
            el("ul", [el("li", el("b", "Note"), text) for text in caveat], class_="notes") if caveat else None,
            el("div", [each for each in (plane, matrix) if each is not None], class_="two spaced")
            if plane is not None or matrix is not None
            else None,
            item_response(cross.item_response) if cross and cross.item_response else None,
            id="leaderboard",
        )
    ]


def _controls(runs: Sequence[tuple[str, ReportRun]]) -> Element | None:
    """Youden's J of the runs that asked questions again without what answers them; None if none did."""
    rows: list[tuple[Child, ...]] = [
        (
            said(label), CONTROL_WORDS[kind],
            *(
                figure_cell(getattr(each, name), getattr(each, f"{name}_ci"), why_missing(each, name))
                for name in FIGURE_WORDS
            ),
            f"{each.n:,}",
        )
        for label, run in runs
        if run.findings
        for kind, each in run.findings.controls.items()
    ]  # fmt: skip
    if not rows:
        return None
    heads = ("run", "asked again with", "declined there", "declined on the image", "Youden's J", "questions")
    return el("div", table("Declined without the picture, and with it", heads, rows, range(2, 6)), class_="board")


_SIDES = {
    "UnF1": "unf1", "Precision (timidity)": "precision", "Recall (audacity)": "recall", "Over-refusal rate": "over_refusal_rate",
    "Over-answer rate": "over_answer_rate", "Macro F1": "macro_f1",
}  # fmt: skip


def _side_by_side(runs: Sequence[tuple[str, ReportRun]]) -> Element | None:
    """Two runs of the models' own questions, a figure a row; None for others."""
    if len(runs) != 2 or any(run.sort != "unsaf" for _, run in runs):
        return None
    scores = [run.score for _, run in runs]

    def rate(name: str) -> list[Child]:
        return [
            named(format_headline(None, score.unf1_between), "bounds")
            if name == "unf1" and score.unf1_between
            else figure_cell(
                getattr(score, name),
                score.unf1_ci if name == "unf1" else score.intervals.get(name),
                score.undefined.get(name, ""),
            )
            for score in scores
        ]

    rows: list[tuple[Child, ...]] = [(term(label), *rate(name)) for label, name in _SIDES.items()]
    rows += [
        ("Images", *(f"{score.images.done:,}" for score in scores)),
        ("Images failed", *(f"{score.images.failed:,}" for score in scores)),
        ("Questions", *(f"{score.questions.asked:,}" for score in scores)),
        (term("unscored"), *(f"{sum(score.unscored.values()):,}" for score in scores)),
        ("Judge", *(said(run.manifest.judge_name) for _, run in runs)),
        ("Cost", *(format_usd(score.cost_usd, 4) for score in scores)),
    ]
    heads: tuple[Child, ...] = ("figure", *(said(label) for label, _ in runs))
    return el("div", table("Side by side", heads, rows, (1, 2), linked=False), class_="board half")


def _pairs(runs: Sequence[tuple[str, ReportRun]]) -> Element | None:
    """Every two of the runs on the images that both have: how they differ, and what difference so many images could show.

    None for one run, and for more than `MOST_PAIRED`.
    """
    from unsaf_async.compare.comparison import paired_runs, too_few
    from unsaf_async.compare.tables import missing_of_pair

    if not 1 < len(runs) <= MOST_PAIRED:
        return None
    pairs = paired_runs([(label, run.examinations, run.score) for label, run in runs])
    heads = ("run", "compared with", "difference", "95 % interval", "p (Holm)", "detectable", "images shared")
    rows: list[tuple[Child, ...]] = [
        (
            said(pair.a), said(pair.b), format_difference(pair.difference), format_interval(pair.ci),
            format_p(pair.p_holm), format_figure(pair.detectable), f"{pair.images_shared:,}",
        )
        for pair in pairs
    ]  # fmt: skip
    missing = [f"{pair.a}, {pair.b}: {names} n/a: {why}" for pair in pairs for names, why in missing_of_pair(pair)]
    notes = [*too_few(pairs), *missing]
    return el(
        "div",
        table("Differences of UnF1 on the same images", heads, rows, range(2, 7)),
        el(
            "p",
            "Detectable: the least true difference that so many images show in four comparisons of five. A difference is shown "
            "where p is at most .05 and the interval leaves 0 out.",
            class_="muted small",
        ),
        el("ul", [el("li", el("b", "Note"), said(text)) for text in notes], class_="notes") if notes else None,
        class_="board",
    )


def _board(
    board: _Board,
    runs: Sequence[ReportRun],
    places: Mapping[int, int],
    labels: Sequence[str],
    scale: Mapping[str, float] | None,
) -> list[Element]:
    rows: list[tuple[Child, ...]] = []
    drawn: list[tuple[str, float | None, Interval]] = []
    sized: list[tuple[str, float, float, Interval]] = []
    for rank, run in enumerate(ranked(runs, board.ranked_by), 1):
        place = places[id(run)]
        label, value, interval = labels[place], board.value(run), board.interval(run)
        name = el("span", f"{rank}. ", said(label, "a", href=f"#run-of-{place}"))
        between = board.between(run)
        rows.append(
            (name, format_headline(value, between), *board.cells(run), format_usd(run.score.cost_usd), _flag(run))
        )
        if value is not None:
            drawn.append((label, None if between else value, between or interval))
            key = next((name for name in names_of(label, run) if scale and name in scale), None)
            if scale and key and not between:
                sized.append((label, scale[key], value, interval))
    heads = ("run", *board.heads, "cost", "note")
    numbers = [place for place in range(1, len(heads) - 1) if heads[place] != "judge"]
    sort = runs[0].sort
    words = (f"{board.measure} of the runs", f"{board.measure}, with 95 % intervals")
    how = "Intervals are over each run's own images; overlap is no test of a difference."
    if sort == "unsaf" and not 1 < len(runs) <= MOST_PAIRED:
        how += " unsaf-async compare pairs the runs image by image, and says how large a difference so many images can show."
    if any(map(board.between, runs)):
        how += " Dashed: bounds, where so much is unscored that nothing closer is known; such a run is ranked by the lower one."
    figures = [
        figure(plots.intervals(f"intervals-{sort}", drawn, words), how),
        figure(plots.scale(f"scale-{sort}", sized, board.measure), "Sizes as given."),
    ]
    return [
        el(
            "div",
            table(board.caption, heads, rows, numbers),
            el("div", [each for each in figures if each is not None], class_="two spaced"),
            class_="board",
        )
    ]


def _unsaf_cells(run: ReportRun) -> tuple[str, ...]:
    score = run.score
    return (
        "" if score.unf1_between else format_interval(score.unf1_ci, ""),
        format_figure(score.recall),
        format_figure(score.over_refusal_rate),
        f"{score.images.done:,}",
        f"{sum(score.unscored.values()):,}",
        run.manifest.judge_name,
    )


def _labelled_cells(run: ReportRun) -> tuple[str, ...]:
    labelled, score = run.labelled, run.score
    if labelled is None:
        return ("",) * 8
    return (
        format_interval(labelled.accuracy_ci, ""),
        format_figure(labelled.accuracy_contained),
        format_headline(score.unf1, score.unf1_between),
        "" if score.unf1_between else format_interval(score.unf1_ci, ""),
        format_figure(labelled.dual_accuracy),
        format_figure(labelled.coverage),
        f"{labelled.questions:,}",
        run.manifest.judge_name,
    )


def _pope_cells(run: ReportRun) -> tuple[str, ...]:
    pope = run.labelled.pope if run.labelled else None
    if pope is None:
        return ("",) * 6
    figures = map(format_figure, (pope.f1, pope.precision, pope.recall, pope.yes_ratio))
    return (*figures, f"{pope.counts.neither + pope.counts.abstained:,}", f"{pope.counts.asked:,}")


def _never(_: ReportRun) -> Interval:
    """What no run of a sort has."""
    return None


_BOARDS: dict[Sort, _Board] = {
    "unsaf": _Board(
        "Best UnF1 first",
        "UnF1",
        ("UnF1", "95 % interval", "recall", "over-refusal", "images", "unscored", "judge"),
        lambda run: run.score.unf1,
        lambda run: run.score.unf1_between,
        lambda run: run.score.unf1_ci,
        _unsaf_cells,
    ),
    "labelled": _Board(
        "Labelled sets, most accurate first",
        "Accuracy",
        (
            "accuracy",
            "95 % interval",
            "contained",
            "abstention F1",
            "95 % interval",
            "dual accuracy",
            "coverage",
            "questions",
            "judge",
        ),
        lambda run: run.labelled.accuracy if run.labelled else None,
        _never,
        lambda run: run.labelled.accuracy_ci if run.labelled else None,
        _labelled_cells,
    ),
    "pope": _Board(
        "POPE, most accurate first",
        "Accuracy",
        ("accuracy", "F1", "precision", "recall", "share of yes", "no yes or no", "questions"),
        lambda run: run.labelled.pope.accuracy if run.labelled and run.labelled.pope else None,
        _never,
        lambda run: run.labelled.pope.intervals.get("accuracy") if run.labelled and run.labelled.pope else None,
        _pope_cells,
    ),
}
