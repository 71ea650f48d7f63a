"""Conventional signs of confidence: how well each tells the questions without an answer, and how far it is to be believed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unsaf_async.report import plots
from unsaf_async.report.confidence_curves import calibration_curves, labelled_curves, signal_values
from unsaf_async.report.markup import el
from unsaf_async.report.pieces import figure, figure_cell, named, table
from unsaf_async.score.declining import PROPENSITY_WORDS
from unsaf_async.score.signals import SIGNAL_WORDS
from unsaf_async.text import format_figure, format_interval

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from xml.etree.ElementTree import Element

    from unsaf_async.report.confidence_curves import CalibrationCurve
    from unsaf_async.report.data import ReportRun
    from unsaf_async.score.labelled import LabelledScore
    from unsaf_async.score.signals import Signal, SignalName

_RISK = "Keeping the surest first: the share of errors among those that are kept. Lower is better."


def signs(run: ReportRun, place: int) -> Element | None:
    """The signs of confidence: their table, their AUROCs as a plot, and their ROC curves.

    Args:
        run: The run.
        place: Of the run on the page, from 0; it makes ids unique.

    Returns:
        The section; None if no response has any sign.
    """
    known = run.findings.signals if run.findings else {}
    defined = {name: each for name, each in known.items() if each.auroc is not None}
    values = signal_values(run.examinations) if defined or not known else []
    roc = figure(
        plots.roc_curves(f"roc-{place}", values),
        "Each threshold on a sign is a point of its curve; the diagonal is chance, and the area is the AUROC.",
    )
    truth = _curves(calibration_curves(run.examinations), place, "Answers") if run.labelled is None else []
    if not defined and roc is None and not truth:
        return None
    first = "declined" in defined and next(iter(defined)) == "declined"
    rows = [(SIGNAL_WORDS[name][0], each.auroc or 0.0, each.auroc_ci) for name, each in defined.items()]
    dots = figure(
        plots.intervals(
            f"auroc-{place}",
            rows,
            ("AUROC of each sign", "AUROC, with 95 % intervals"),
            line=0.5,
            first=first,
        )
        if len(rows) > 1
        else None,
        "The dashed line is chance. Below it, a sign points the wrong way. It declined: UnSAF's own.",
    )
    return el(
        "section",
        el("h2", "Signs of confidence"),
        el(
            "p",
            "What one would go by without UnSAF: how likely the model found its words, how sure it says it is, whether it says "
            "the same again. For each, the AUROC: how often, of an unanswerable and an answerable question, it is less sure of "
            "the unanswerable one; .5 is chance, 1 is always.",
            class_="lead",
        ),
        _signals(known) if known else None,
        el("div", [each for each in (dots, roc) if each is not None], class_="two spaced"),
        el(
            "div",
            el("h3", "Is it right when it is sure?"),
            _known(),
            el("div", truth, class_="two gap"),
            class_="spaced",
        )
        if truth
        else None,
    )


def _known() -> Element:
    return el(
        "p",
        "For the answers of which something is known: a judge that saw the image said whether it bears them out, or an accepted "
        "answer was given with the question.",
        class_="muted",
    )


def _signals(known: Mapping[SignalName, Signal]) -> Element:
    """A row a signal; those without an AUROC share a row if they share the reason."""
    rows: list[list[Element | str]] = []
    for name, each in known.items():
        if each.auroc is None:
            continue
        without = f"{each.lacking:,} have none" if each.lacking else ""
        rows.append(
            [
                named(*SIGNAL_WORDS[name]),
                format_figure(each.auroc),
                format_interval(each.auroc_ci),
                named(f"{each.n:,}", without),
                figure_cell(
                    each.mean_answerable, each.mean_answerable_ci, each.undefined.get("mean_answerable_ci", "")
                ),
                figure_cell(
                    each.mean_unanswerable, each.mean_unanswerable_ci, each.undefined.get("mean_unanswerable_ci", "")
                ),
            ]
        )
    rows += _missing(((name, each.why_undefined) for name, each in known.items() if each.auroc is None), 4)
    heads = ("sign", "AUROC", "95 % interval", "responses", "mean, answerable", "mean, unanswerable")
    return table("How well each sign tells unanswerable from answerable questions", heads, rows, range(1, 6))


def _missing(reasons: Iterable[tuple[str, str]], columns: int) -> list[list[Element | str]]:
    """Rows for what there is none of, a reason each."""
    by_reason: dict[str, list[str]] = {}
    for name, why in reasons:
        by_reason.setdefault(why, []).append(SIGNAL_WORDS[name][0])
    return [
        [", ".join(names), el("td", "n/a", class_="num"), el("td", why, colspan=columns, class_="muted why")]
        for why, names in by_reason.items()
    ]


def calibration(run: ReportRun, place: int) -> Element | None:
    """How far each confidence of a labelled run can be believed.

    Args:
        run: The run.
        place: Of the run on the page, from 0; it makes ids unique.

    Returns:
        The section; None for other runs.
    """
    labelled = run.labelled
    if labelled is None or not labelled.calibration:
        return None
    drawn = _curves(labelled_curves(labelled), place, "Responses")
    return el(
        "section",
        el("h2", "Is it right when it is sure?"),
        el(
            "p",
            "A response is right if it gives an accepted answer, or declines a question that has none. A confidence that can be "
            "taken at its word is right in 8 of 10 cases when it says .8.",
            class_="lead",
        ),
        _calibrations(labelled),
        _declining(labelled),
        el("div", drawn, class_="two spaced") if drawn else None,
    )


def _declining(labelled: LabelledScore) -> Element | None:
    """How well it tells questions without an answer, whatever its threshold for declining; None where nothing tells that."""
    rows: list[list[Element | str]] = [
        [
            PROPENSITY_WORDS[name],
            format_figure(each.auroc),
            format_interval(each.auroc_ci, each.why_no_interval),
            f"{each.n:,}",
        ]
        for name, each in labelled.declining.items()
        if each.auroc is not None
    ]
    if not rows:
        return None
    return el(
        "div",
        table("Telling what has no answer", ("by", "AUROC", "95 % interval", "responses"), rows, range(1, 4)),
        el(
            "p",
            "The share of pairs of a question with and one without an answer in which the model was more inclined to decline the "
            "one without. No threshold for declining decides it: to decline more gains nothing. 0.5 is chance.",
            class_="muted small gap",
        ),
    )


def _calibrations(labelled: LabelledScore) -> Element:
    rows: list[list[Element | str]] = [
        [
            named(*SIGNAL_WORDS[name]),
            named(f"{each.n:,}", f"{each.right:,} right"),
            *(
                figure_cell(getattr(each, figure), each.intervals.get(figure), each.undefined.get(figure, ""))
                for figure in ("ece", "brier", "nll", "auroc", "aurc", "e_aurc")
            ),
        ]
        for name, each in labelled.calibration.items()
        if each.n
    ]
    rows += _missing(((name, each.why_undefined) for name, each in labelled.calibration.items() if not each.n), 6)
    heads = ("confidence", "responses", "ECE", "Brier", "NLL", "AUROC", "AURC", "E-AURC")
    return el(
        "div",
        table("Confidence against truth", heads, rows, range(1, 8)),
        el(
            "p",
            "ECE: mean gap between confidence and share right. Brier, NLL: its squared error and its surprise. AUROC: how well "
            "it tells right from wrong. AURC: mean share of errors over all coverages; E-AURC: less the best that could be. "
            "Lower is better for all but AUROC. Below each its 95 % interval; that of the ECE leaves out what chance adds to it.",
            class_="muted small gap",
        ),
    )


def _curves(curves: Sequence[CalibrationCurve], place: int, what: str) -> list[Element]:
    drawn = (
        figure(
            plots.reliability(f"reliability-{place}", curves),
            f"{what} in bins of equal number; on the diagonal, confidence is what it says.",
        ),
        figure(plots.risk_coverage(f"risk-{place}", curves), _RISK),
    )
    return [each for each in drawn if each is not None]
