"""Audits, judges, signals and labelled sets, as tables for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from unsaf_async.cli.console import print_fitting, safe
from unsaf_async.text import format_bracketed, format_figure, format_interval

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

    from unsaf_async.runs.findings import Findings
    from unsaf_async.runs.folder import Manifest
    from unsaf_async.score.labelled import LabelledScore, PopeScore


def print_beside(findings: Findings, out: Console) -> None:
    """Audits, judges, grounded mode and signals, as far as there are any."""
    if findings.audits:
        _audits(findings, out)
    if findings.panel:
        panel = findings.panel
        out.print(
            f"\nJudges: {panel.unanimous} of {panel.questions} judged responses unanimous, {panel.split} split, "
            f"{panel.tied} tied; Krippendorff's alpha {format_figure(panel.alpha.alpha)}{format_bracketed(panel.alpha.alpha_ci)}"
            + _why(panel.alpha.why_undefined, "alpha")
        )
        for pair in panel.pairs:
            kappa = f"kappa {format_figure(pair.agreement.kappa)}{format_bracketed(pair.agreement.kappa_ci)}"
            out.print(
                f"  {safe(pair.first)} and {safe(pair.second)}: agree {format_figure(pair.agreement.share)}"
                f"{format_bracketed(pair.agreement.share_ci)}, Cohen's {kappa}{_why(pair.agreement.why_undefined, 'kappa')}"
            )
    if findings.corrected:
        corrected = findings.corrected
        out.print(
            f"\nUnF1 corrected for the judge's errors: {format_figure(corrected.unf1)}{format_bracketed(corrected.unf1_ci)}"
            + "".join(f" ({safe(why)})" for why in dict.fromkeys(corrected.why_undefined.values()))
        )
    if findings.grounded:
        grounded = findings.grounded
        out.print(
            f"\nGrounded: {grounded.supported} of {grounded.judged} answers to answerable questions are borne out, "
            f"{format_figure(grounded.accuracy)}{format_bracketed(grounded.accuracy_ci)}; {grounded.failed} unjudged. "
            f"UnF1 if the others are errors: {format_figure(grounded.unf1)}{format_bracketed(grounded.unf1_ci)}"
        )
    if findings.signals and findings.labelled is None:
        _signals(findings, out)


def print_labelled(findings: Findings, manifest: Manifest, out: Console) -> None:
    """A labelled run: the set, accuracy or POPE's figures, and calibration. Prints nothing for another run."""
    labelled, source = findings.labelled, manifest.source
    if labelled is None or source is None:
        return
    out.print(
        f"{safe(source.name)} ({source.format}): {labelled.questions} questions, {labelled.answerable} answerable and "
        f"{labelled.unanswerable} not"
    )
    for reason, number in source.skipped.items():
        out.print(f"[yellow]Note:[/yellow] {number} rows are left out: {safe(reason)}")
    out.print()
    if labelled.pope and labelled.pope_official:
        _pope(labelled.pope, labelled.pope_official, out)
    else:
        _accuracy(labelled, out)
    table = Table("confidence", "responses", "ECE", "Brier", "NLL", "AUROC", "AURC", "E-AURC", box=None, pad_edge=False)
    for name, result in labelled.calibration.items():
        figures = (result.ece, result.brier, result.nll, result.auroc, result.aurc, result.e_aurc)
        if result.n:
            table.add_row(_words(name), str(result.n), *map(format_figure, figures))
    out.print()
    if table.row_count:
        out.print(table)
        _calibration_intervals(labelled, out)
    _print_reasons({name: result.why_undefined for name, result in labelled.calibration.items() if not result.n}, out)
    if labelled.unanswerable:
        _declining(labelled, out)


def _calibration_intervals(labelled: LabelledScore, out: Console) -> None:
    table = Table("95 % intervals", "ECE", "AUROC", "AURC", box=None, pad_edge=False)
    for name, result in labelled.calibration.items():
        if result.intervals:
            table.add_row(
                _words(name), *(format_interval(result.intervals.get(each)) for each in ("ece", "auroc", "aurc"))
            )
    if table.row_count:
        out.print()
        out.print(table)


def _declining(labelled: LabelledScore, out: Console) -> None:
    from unsaf_async.score.declining import PROPENSITY_WORDS

    table = Table("telling what has no answer", "AUROC", "95 % interval", "responses", box=None, pad_edge=False)
    for name, result in labelled.declining.items():
        if result.auroc is not None:
            table.add_row(
                PROPENSITY_WORDS[name], format_figure(result.auroc), format_interval(result.auroc_ci), str(result.n)
            )
    out.print()
    if table.row_count:
        out.print(table)
    else:
        for why in dict.fromkeys(result.why_undefined for result in labelled.declining.values()):
            out.print(f"n/a: telling what has no answer, whatever the threshold: {safe(why)}")


def _accuracy(labelled: LabelledScore, out: Console) -> None:
    table = Table.grid(padding=(0, 2))
    ends = (format_bracketed(labelled.accuracy_ci), format_bracketed(labelled.accuracy_contained_ci))
    table.add_row("VQA accuracy", f"{format_figure(labelled.accuracy)}{ends[0]}", "the response is the answer")
    table.add_row("", _with_interval(labelled, "accuracy_official"), "by VQA's own script, to the letter")
    table.add_row("", f"{format_figure(labelled.accuracy_contained)}{ends[1]}", "the response contains the answer")
    answered = _with_interval(labelled, "accuracy_answered")
    table.add_row("", answered, f"of what it answered, {format_figure(labelled.coverage)}")
    table.add_row("dual accuracy", _with_interval(labelled, "dual_accuracy"), "answered or declined rightly")
    out.print(table)
    if labelled.without_answers:
        out.print(f"{labelled.without_answers} answerable questions have no accepted answer, and enter no accuracy")


def _with_interval(record: LabelledScore, name: str) -> str:
    return f"{format_figure(getattr(record, name))}{format_bracketed(record.intervals.get(name))}"


def _pope(mine: PopeScore, official: PopeScore, out: Console) -> None:
    head = ("", "accuracy", "precision", "recall", "F1", "share of yes", "neither", "abstained")
    rows = []
    for name, result in (("by what was said", mine), ("by POPE's own rule", official)):
        figures = map(format_figure, (result.accuracy, result.precision, result.recall, result.f1, result.yes_ratio))
        rows.append((name, *figures, str(result.counts.neither), str(result.counts.abstained)))
    print_fitting(out, head, rows)
    words = {
        "accuracy": "accuracy",
        "precision": "precision",
        "recall": "recall",
        "f1": "F1",
        "yes_ratio": "share of yes",
    }
    for title, result in (("by what was said", mine), ("by POPE's own rule", official)):
        none = {name: why for name, why in result.undefined.items() if not name.startswith("intervals.")}
        none.pop("accuracy_answered", None)  # not among these
        for why in dict.fromkeys(none.values()):
            names = ", ".join(words[name] for name, reason in none.items() if reason == why)
            out.print(f"n/a {title}: {names}: {safe(why)}")
    ends = [
        f"{title} {format_interval(mine.intervals[name])}" for name, title in words.items() if name in mine.intervals
    ]
    if ends:
        out.print(f"95 % intervals, by what was said: {', '.join(ends)}")


def _audits(findings: Findings, out: Console) -> None:
    head = ("auditor", "audited", "labels confirmed", "answerable", "unanswerable", "Cohen's kappa", "UnF1 on these")
    rows = []
    for name, result in findings.audits.items():
        agreement = result.agreement
        by_label = (result.by_label.get(label) for label in ("answerable", "unanswerable"))
        rows.append(
            (
                safe(name),
                f"{result.audited}" + (f", {result.failed} failed" if result.failed else ""),
                f"{format_figure(agreement.share)}{format_bracketed(agreement.share_ci)}",
                *(
                    "n/a" if share is None else f"{format_figure(share.share)}{format_bracketed(share.share_ci)}"
                    for share in by_label
                ),
                f"{format_figure(agreement.kappa)}{format_bracketed(agreement.kappa_ci)}",
                f"{format_figure(result.unf1_agreed)}{format_bracketed(result.unf1_agreed_ci)}",
            )
        )
    out.print()
    print_fitting(out, head, rows)
    for name, result in findings.audits.items():
        reasons = result.agreement.why_undefined | result.why_undefined
        for why in dict.fromkeys(reason for figure, reason in reasons.items() if not figure.endswith("_ci")):
            out.print(f"n/a for {safe(name)}: {safe(why)}")


def _why(reasons: Mapping[str, str], figure: str) -> str:
    """Why a figure is undefined, in brackets; "" where it is not."""
    return f" ({safe(reasons[figure])})" if figure in reasons else ""


def _signals(findings: Findings, out: Console) -> None:
    table = Table("sign of confidence", "AUROC", "95 % interval", "responses", box=None, pad_edge=False)
    for name, result in findings.signals.items():
        if result.auroc is not None:
            table.add_row(_words(name), format_figure(result.auroc), format_interval(result.auroc_ci), str(result.n))
    if table.row_count:
        out.print()
        out.print(table)
    _print_reasons(
        {name: result.why_undefined for name, result in findings.signals.items() if result.auroc is None}, out
    )
    _print_reasons(
        {name: each.why_no_interval for name, each in findings.signals.items() if each.why_no_interval},
        out,
        "95 % interval of ",
    )


def _print_reasons(reasons: dict[str, str], out: Console, what: str = "") -> None:
    by_reason: dict[str, list[str]] = {}
    for name, why in reasons.items():
        by_reason.setdefault(why, []).append(_words(name))
    for why, names in by_reason.items():
        out.print(f"n/a: {what}{', '.join(names)}: {safe(why)}")


def _words(name: str) -> str:
    from unsaf_async.score.signals import SIGNAL_WORDS

    return SIGNAL_WORDS[name][0]
