"""Audits, judges, signals and labelled sets, as tables for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

from rich.table import Table

from unsaf_async.cli.console import print_fitting, safe
from unsaf_async.score.label_errors import about_labels
from unsaf_async.score.unf1 import BOUNDS_ALONE
from unsaf_async.text import format_bracketed, format_difference, format_figure, format_headline, format_interval

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

    from unsaf_async.runs.findings import Findings
    from unsaf_async.runs.folder import Manifest
    from unsaf_async.score.fidelity import Fidelity
    from unsaf_async.score.forms import Forms
    from unsaf_async.score.grounded import Grounded
    from unsaf_async.score.label_errors import LabelCorrected
    from unsaf_async.score.labelled import Calibration, LabelledScore, PopeScore
    from unsaf_async.score.signals import ProbabilityName


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
                f"{format_bracketed(pair.agreement.share_ci)}{_why(pair.agreement.why_undefined, 'share')}, "
                f"Cohen's {kappa}{_why(pair.agreement.why_undefined, 'kappa')}"
            )
    if findings.forms:
        _forms(findings, findings.forms, out)
    if findings.corrected:
        corrected = findings.corrected
        out.print(
            f"\n{findings.f1_name} corrected for the judge's errors: "
            f"{format_figure(corrected.unf1)}{format_bracketed(corrected.unf1_ci)}"
            + _why(corrected.why_undefined, "unf1")
        )
    if findings.label_corrected:
        out.print()
        print_label_corrected(findings.label_corrected, findings.f1_name, out)
    if findings.grounded:
        grounded = findings.grounded
        out.print(
            f"\nGrounded: {grounded.supported} of {grounded.judged} answers to answerable questions are borne out, "
            f"{format_figure(grounded.accuracy)}{format_bracketed(grounded.accuracy_ci)}{_why_grounded(grounded, 'accuracy')}; "
            f"{grounded.failed} unjudged. "
            f"{findings.f1_name} if the others are errors: "
            + (
                f"{format_figure(None)} ({BOUNDS_ALONE})"
                if findings.unf1_between
                else f"{format_figure(grounded.unf1)}{format_bracketed(grounded.unf1_ci)}{_why_grounded(grounded, 'unf1')}"
            )
        )
    if findings.controls:
        _controls(findings, out)
    if findings.signals and findings.labelled is None:
        _signals(findings, out)


def print_label_corrected(corrected: LabelCorrected, f1_name: str, out: Console) -> None:
    """UnF1 corrected for false labels, with how many labels it rests on and what is not in it.

    f1_name: what the F1 of abstaining is called.
    """
    out.print(
        f"{f1_name} corrected for false labels: {format_figure(corrected.unf1)}{format_bracketed(corrected.unf1_ci)}"
        f"{_why(corrected.why_undefined, 'unf1')}; with the intended ones {format_figure(corrected.unf1_intended)}"
    )
    for line in about_labels(corrected):
        out.print(f"  {safe(line)}")


def _forms(findings: Findings, forms: Forms, out: Console) -> None:
    """The score in either form, and how far they agree."""
    rows = [
        (
            name,
            format_headline(each.unf1, each.unf1_between),
            format_interval(None if each.unf1_between else each.unf1_ci),
            *(
                f"{format_figure(getattr(each, rate))}{format_bracketed(each.intervals.get(rate))}"
                for rate in _OF_FORMS
            ),
            str(sum(each.unscored.values())),
        )
        for name, each in (("in free words", findings), ("by option", forms.choice))
    ]
    out.print()
    print_fitting(out, ("form", findings.f1_name, "95 % interval", *_OF_FORMS.values(), "unscored"), rows)
    agreement = forms.agreement
    out.print(
        f"Free words minus options: {format_difference(forms.difference)}{format_bracketed(forms.difference_ci)}"
        f"{_why(forms.why_undefined, 'difference')}"
    )
    out.print(
        f"Of {agreement.n} questions scored in both, "
        f"{format_figure(agreement.share)}{format_bracketed(agreement.share_ci)} were answered in both or declined in both; "
        f"Cohen's kappa {format_figure(agreement.kappa)}{format_bracketed(agreement.kappa_ci)}"
        f"{_why(agreement.why_undefined, 'kappa')}"
    )
    for reason in forms.choice.unreliable:
        out.print(f"[red]Unreliable by option:[/red] {safe(reason)}")


_OF_FORMS = {"over_refusal_rate": "over-refusal", "over_answer_rate": "over-answer"}


class _WithIntervals(Protocol):
    """Figures with intervals, and the reasons of those that lack one."""

    @property
    def intervals(self) -> dict[str, tuple[float, float]]: ...
    @property
    def undefined(self) -> dict[str, str]: ...


def print_missing(words: Mapping[str, str], record: _WithIntervals, out: Console, of: str = "") -> None:
    """Why figures, or their intervals alone, are n/a; a line a reason.

    words: for the figures, by their paths in the record. of: whose figures they are, with a space before it.
    """
    missing: dict[tuple[str, str], list[str]] = {}
    for path, name in words.items():
        if path in record.intervals or getattr(record, f"{path}_ci", None):
            continue
        own = record.undefined.get(path)
        of_interval = record.undefined.get(f"intervals.{path}") or record.undefined.get(f"{path}_ci")
        why = own or of_interval or "its score has no intervals"
        missing.setdefault(("" if own else "95 % interval of ", why), []).append(name)
    valued = [path for path in words if record.undefined.get(path) != BOUNDS_ALONE]
    for (what, why), names in missing.items():
        named = (
            "every 95 % interval above"
            if what and not of and len(names) == len(valued) > 1
            else f"{what}{', '.join(names)}"
        )
        out.print(f"n/a{of}: {named}: {safe(why)}")


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
    out.print()
    _calibration({name: result for name, result in labelled.calibration.items() if result.n}, out)
    _print_reasons({name: result.why_undefined for name, result in labelled.calibration.items() if not result.n}, out)
    if labelled.unanswerable:
        _declining(labelled, out)


_CALIBRATION = {"ece": "ECE", "brier": "Brier", "nll": "NLL", "auroc": "AUROC", "aurc": "AURC", "e_aurc": "E-AURC"}


def _calibration(results: Mapping[ProbabilityName, Calibration], out: Console) -> None:
    """The figures of each signal, with 95 % intervals in brackets."""
    if not results:
        return
    heads = ("confidence (95 % interval)", "responses", *_CALIBRATION.values())
    rows = [
        (_words(name), str(result.n), *(_with_interval(result, each) for each in _CALIBRATION))
        for name, result in results.items()
    ]
    print_fitting(out, heads, rows)
    for name, result in results.items():
        print_missing(_CALIBRATION, result, out, f" for {_words(name)}")


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
        for name, result in labelled.declining.items():
            if result.auroc is not None and result.auroc_ci is None:
                out.print(f"n/a: 95 % interval of {PROPENSITY_WORDS[name]}: {safe(result.why_no_interval)}")
    else:
        for why in dict.fromkeys(result.why_undefined for result in labelled.declining.values()):
            out.print(f"n/a: telling what has no answer, whatever the threshold: {safe(why)}")


def _accuracy(labelled: LabelledScore, out: Console) -> None:
    table = Table.grid(padding=(0, 2))
    of = {
        "accuracy": ("VQA accuracy", "the response is the answer"),
        "accuracy_official": ("", "by VQA's own script, to the letter"),
        "accuracy_contained": ("", "the response contains the answer"),
        "accuracy_answered": ("", "the same, of what it answered"),
        "coverage": ("coverage", "of the answerable, answered"),
        "dual_accuracy": ("dual accuracy", "answered or declined rightly"),
    }
    for name, (title, hint) in of.items():
        table.add_row(title, _with_interval(labelled, name), hint)
    out.print(table)
    print_missing({name: title or f"accuracy, {hint}" for name, (title, hint) in of.items()}, labelled, out)
    if labelled.without_answers:
        out.print(f"{labelled.without_answers} answerable questions have no accepted answer, and enter no accuracy")


def _with_interval(record: _WithIntervals, name: str) -> str:
    ends = record.intervals.get(name) or getattr(record, f"{name}_ci", None)
    return f"{format_figure(getattr(record, name))}{format_bracketed(ends)}"


_POPE = {
    "accuracy": "accuracy",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "yes_ratio": "share of yes",
}


def _pope(mine: PopeScore, official: PopeScore, out: Console) -> None:
    both = {"by what was said": mine, "by POPE's own rule": official}
    head = ("95 % intervals in brackets", *_POPE.values(), "neither", "abstained")
    rows = [
        (
            title,
            *(_with_interval(result, name) for name in _POPE),
            str(result.counts.neither),
            str(result.counts.abstained),
        )
        for title, result in both.items()
    ]
    print_fitting(out, head, rows)
    for title, result in both.items():
        print_missing(_POPE, result, out, f" {title}")


def _audits(findings: Findings, out: Console) -> None:
    head = (
        "auditor",
        "audited",
        "labels confirmed",
        "answerable",
        "unanswerable",
        "Cohen's kappa",
        f"{findings.f1_name} on these",
    )
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
                format_figure(None)
                if findings.unf1_between
                else f"{format_figure(result.unf1_agreed)}{format_bracketed(result.unf1_agreed_ci)}",
            )
        )
    out.print()
    print_fitting(out, head, rows)
    for name, result in findings.audits.items():
        _print_why(_audit_reasons(result, findings.f1_name), out, f" for {safe(name)}")


def _controls(findings: Findings, out: Console) -> None:
    from unsaf_async.score.controls import CONTROL_WORDS, FIGURE_WORDS, missing, without

    rows = []
    for kind, result in findings.controls.items():
        cells = (
            f"{format_figure(getattr(result, name))}{format_bracketed(getattr(result, f'{name}_ci'))}"
            for name in FIGURE_WORDS
        )
        rows.append((CONTROL_WORDS[kind], *cells, str(result.n), str(result.asked - result.n)))
    out.print()
    print_fitting(out, ("asked again with", *FIGURE_WORDS.values(), "questions", "unscored"), rows)
    for kind, result in findings.controls.items():
        for line in without(result):
            out.print(f"with {CONTROL_WORDS[kind]}: {safe(line)}")
        _print_why(missing(result), out, f" with {CONTROL_WORDS[kind]}")


def _audit_reasons(result: Fidelity, f1_name: str) -> dict[str, str]:
    """Why figures of an audit, or their intervals alone, are n/a, by their names in the table."""
    known = result.agreement.why_undefined | result.why_undefined
    reasons: dict[str, str] = {}
    for figure, title in {
        "share": "labels confirmed",
        "kappa": "Cohen's kappa",
        "unf1_agreed": f"{f1_name} on these",
    }.items():
        if figure in known:
            reasons[title] = known[figure]
        elif f"{figure}_ci" in known:
            reasons[f"95 % interval of {title}"] = known[f"{figure}_ci"]
    for label in ("answerable", "unanswerable"):
        share = result.by_label.get(label)
        if share is None:
            reasons[label] = "none audited"
        elif share.why_no_interval:
            reasons[f"95 % interval of {label}"] = share.why_no_interval
    return reasons


def _print_why(reasons: Mapping[str, str], out: Console, of: str = "") -> None:
    """A line a reason, with what it is the reason of; whose figures it is about goes behind "n/a"."""
    by_reason: dict[str, list[str]] = {}
    for name, why in reasons.items():
        by_reason.setdefault(why, []).append(name)
    for why, names in by_reason.items():
        out.print(f"n/a{of}: {', '.join(names)}: {safe(why)}")


def _why(reasons: Mapping[str, str], figure: str) -> str:
    """Why a figure is undefined, or has no interval, in brackets; "" where it has both."""
    if figure in reasons:
        return f" ({safe(reasons[figure])})"
    return f" (no interval: {safe(reasons[f'{figure}_ci'])})" if f"{figure}_ci" in reasons else ""


def _why_grounded(grounded: Grounded, figure: Literal["accuracy", "unf1"]) -> str:
    """As `_why`."""
    if getattr(grounded, figure) is None:
        return f" ({safe(grounded.why_undefined)})"
    return f" (no interval: {safe(grounded.why_no_interval[figure])})" if figure in grounded.why_no_interval else ""


def _signals(findings: Findings, out: Console) -> None:
    table = Table("sign of confidence", "AUROC", "95 % interval", "responses", box=None, pad_edge=False)
    for name, result in findings.signals.items():
        if result.auroc is not None:
            table.add_row(_words(name), format_figure(result.auroc), format_interval(result.auroc_ci), str(result.n))
    if table.row_count:
        out.print()
        out.print(table)
        _say_unscored(findings, out)
    _print_reasons(
        {name: result.why_undefined for name, result in findings.signals.items() if result.auroc is None}, out
    )
    _print_reasons(
        {name: each.why_no_interval for name, each in findings.signals.items() if each.why_no_interval},
        out,
        "95 % interval of ",
    )


def _say_unscored(findings: Findings, out: Console) -> None:
    """Why a sign has fewer responses than another: whether an unscored one declined nobody can say, how sure it is one can."""
    declined = findings.signals.get("declined")
    if declined and declined.auroc is not None and any(each.n > declined.n for each in findings.signals.values()):
        out.print(f"{_words('declined')}: without {declined.lacking} unscored; the other signs need no verdict")


def _print_reasons(reasons: dict[str, str], out: Console, what: str = "") -> None:
    by_reason: dict[str, list[str]] = {}
    for name, why in reasons.items():
        by_reason.setdefault(why, []).append(_words(name))
    _print_why({f"{what}{', '.join(names)}": why for why, names in by_reason.items()}, out)


def _words(name: str) -> str:
    from unsaf_async.score.signals import SIGNAL_WORDS

    return SIGNAL_WORDS[name][0]
