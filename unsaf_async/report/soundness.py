"""What speaks for a score and against it: are labels right, do judges agree, are answers true, is the asking worth it?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from unsaf_async.errors import as_option
from unsaf_async.report import plots
from unsaf_async.report.judged import judged_anew
from unsaf_async.report.markup import el
from unsaf_async.report.pieces import block, facts, figure, figure_cell, figure_in_line, named, quoted, table, why_none
from unsaf_async.report.true_labels import true_labels
from unsaf_async.score.controls import CONTROL_WORDS, FIGURE_WORDS, why_missing, without
from unsaf_async.score.fidelity import ALL
from unsaf_async.score.unf1 import BOUNDS_ALONE
from unsaf_async.text import (
    format_bracketed,
    format_count,
    format_figure,
    format_headline,
    format_percent,
    format_percents,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from xml.etree.ElementTree import Element

    from unsaf_async.records import ControlKind, Label
    from unsaf_async.report.data import ReportRun
    from unsaf_async.report.markup import Child
    from unsaf_async.report.pieces import Interval
    from unsaf_async.runs.findings import Findings
    from unsaf_async.runs.folder import Manifest
    from unsaf_async.score.agreement import PanelScore
    from unsaf_async.score.calibration import Corrected, DeciderRates
    from unsaf_async.score.controls import ControlScore
    from unsaf_async.score.fidelity import Fidelity
    from unsaf_async.score.forms import Forms
    from unsaf_async.score.grounded import Grounded
    from unsaf_async.score.label_errors import LabelCorrected
    from unsaf_async.score.quality import Quality
    from unsaf_async.score.unf1 import KindName

_BY_DECIDER = {"rule": "the rules", "judge": "the judge", "panel": "the panel", "unknown": "unknown"}


def soundness(run: ReportRun, place: int) -> Element | None:
    """What is known of how far the score can be trusted.

    Args:
        run: The run.
        place: Of the run on the page, from 0; it makes ids unique.

    Returns:
        The section; None if nothing is known.
    """
    findings = run.findings
    if findings is None:
        return None
    blocks = [
        _doubtful(findings.audits, place) if findings.audits else None,
        true_labels(findings.label_corrected) if findings.label_corrected else None,
        _corrected(findings.corrected, run) if findings.corrected and run.sort != "pope" else None,
        _panel(findings.panel) if findings.panel else None,
        _forms(findings, findings.forms) if findings.forms else None,
        _grounded(findings.grounded, run) if findings.grounded else None,
        _questions(findings.quality) if findings.quality else None,
    ]
    kept = [block for block in blocks if block is not None]
    if not kept and not findings.audits and not findings.controls and not run.judged:
        return None
    return el(
        "section",
        el("h2", "Is the score sound?"),
        el("p", _presumed(run), class_="lead"),
        _readings(findings, run, place),
        _controls(findings.controls) if findings.controls else None,
        _labels(findings.audits, run) if findings.audits else None,
        judged_anew(run.judged, run.f1_name) if run.judged else None,
        el("div", kept, class_="two spaced blocks") if kept else None,
        _not_looked_at(run.manifest, findings) if run.sort == "unsaf" else None,
    )


def _presumed(run: ReportRun) -> str:
    if run.sort == "unsaf":
        return (
            "UnF1 takes two things for granted: that a question is what its author was told to write, and that whoever judged "
            "the responses read them rightly. This is what speaks for that, and what against it."
        )
    return "Labels are the set's own. What is left to ask is whether whoever judged the responses read them rightly."


def _not_looked_at(manifest: Manifest, findings: Findings) -> Element | None:
    """What another run could look at, with the option for it."""
    ways = [
        (
            f"whether the labels are right ({as_option('audit')} NAME, or by hand: label RUN)",
            not findings.audits and findings.label_corrected is None,
        ),
        (f"whether it looks ({as_option('controls')} blank,other)", not findings.controls),
        (f"whether judges agree ({as_option('judge')}, twice)", findings.panel is None and len(manifest.judges) < 2),
        (f"the judge's errors ({as_option('judge_calibration')} FILE)", findings.corrected is None),
        (f"whether the answers are true ({as_option('grounded')})", findings.grounded is None),
    ]
    missing = [words for words, open_ in ways if open_]
    return el("p", f"Not looked at in this run: {', '.join(missing)}.", class_="muted small gap") if missing else None


# --- the score, read in several ways ---------------------------------------------------------------------------------


def _readings(findings: Findings, run: ReportRun, place: int) -> Element | None:
    """The score next to readings of it that each presume one thing less; None if there is no other reading."""
    scored = findings.counts.ta + findings.counts.fu + findings.counts.tu + findings.counts.fa
    rows: list[tuple[str, str, float | None, Interval, str]] = []
    for name, each in findings.audits.items():
        whom = "all auditors" if name == ALL else name
        kept = f"{format_count(each.left_out, 'question')} of {scored:,} left out"
        why = why_none(each.why_undefined, "unf1_agreed")
        rows.append((f"only labels confirmed by {whom}", kept, each.unf1_agreed, each.unf1_agreed_ci, why))
    if findings.label_corrected:
        true = findings.label_corrected
        why = why_none(true.why_undefined, "unf1")
        rows.append(("corrected for false labels", _trusted(true), true.unf1, true.unf1_ci, why))
    if findings.corrected:
        one = findings.corrected
        why = why_none(one.why_undefined, "unf1")
        rows.append(("corrected for the judge's errors", _of_whom(one), one.unf1, one.unf1_ci, why))
    if findings.grounded:
        ground = findings.grounded
        untrue = format_count(ground.judged - ground.supported, "answer")
        rows.append(
            (
                "untrue answers count as errors",
                f"{untrue} not borne out",
                ground.unf1,
                ground.unf1_ci,
                ground.why_undefined,
            )
        )
    if not rows or run.sort == "pope":
        return None
    as_judged = f"{format_count(scored, 'question')}, the headline"
    between = findings.unf1_between
    value, ends = (None, None) if between else (findings.unf1, findings.unf1_ci)
    why = format_headline(None, between) if between else findings.undefined.get("unf1", "")
    if between:  # what is left out, corrected or borne out is of the scored ones alone, too
        rows = [(name, hint, None, None, BOUNDS_ALONE) for name, hint, *_ in rows]
    rows.insert(0, ("as judged", as_judged, value, ends, why))
    drawn = [(_plotted(name), value, ends) for name, _, value, ends, _ in rows if value is not None]
    words = (f"{run.f1_name}, read in several ways", f"{run.f1_name}, with 95 % intervals")
    plot = plots.intervals(f"readings-{place}", drawn, words, line=value, first=value is not None)
    caption = "If the others lie near the first, it does not hinge on what it takes for granted."
    listing = table(
        f"{run.f1_name}, with one thing less taken for granted in each row",
        ("reading", run.f1_name),
        [(named(name, hint), figure_cell(value, ends, why)) for name, hint, value, ends, why in rows],
        (1,),
    )
    return el("div", figure(plot, caption), listing, class_="two")


def _plotted(name: str) -> str:
    """The name of a reading, as short as a plot needs it."""
    return {
        "corrected for the judge's errors": "judge corrected",
        "corrected for false labels": "labels corrected",
        "untrue answers count as errors": "untrue as errors",
    }.get(name, name.replace("only labels confirmed by ", "confirmed by "))


def _trusted(corrected: LabelCorrected) -> str:
    return f"by {format_count(corrected.labels, 'trusted label')}"


def _of_whom(corrected: Corrected) -> str:
    known = sum(each.responses for each in corrected.deciders.values()) - corrected.as_they_are
    return f"{known:,} of {format_count(known + corrected.as_they_are, 'verdict')} corrected"


# --- labels ----------------------------------------------------------------------------------------------------------


def _labels(audits: Mapping[str, Fidelity], run: ReportRun) -> Element:
    """How far auditors confirm the labels."""
    rows: list[tuple[Child, ...]] = [
        (
            named("all of them" if name == ALL else quoted(name), _audited(each)),
            figure_cell(each.agreement.share, each.agreement.share_ci, why_none(each.agreement.why_undefined, "share")),
            _of_label(each, "answerable"),
            _of_label(each, "unanswerable"),
            figure_cell(each.agreement.kappa, each.agreement.kappa_ci, why_none(each.agreement.why_undefined, "kappa")),
            figure_cell(each.unf1_agreed, each.unf1_agreed_ci, why_none(each.why_undefined, "unf1_agreed")),
            f"{each.left_out:,}",
        )
        for name, each in audits.items()
    ]
    heads = (
        "auditor",
        "confirmed",
        "answerable",
        "unanswerable",
        "Cohen's kappa",
        f"{run.f1_name} on these",
        "left out",
    )
    asked = (
        "An auditor sees the image and the question, and is not told which sort it was meant to be. Confirmed: it says what was "
        "intended. Kappa is 0 where agreement is no better than chance, and 1 where it is full."
    )
    return el(
        "div",
        el("h3", "Are the labels right?"),
        el("p", asked, class_="muted"),
        el(
            "div",
            table("Share of the intended labels that each auditor confirms", heads, rows, range(1, 7)),
            class_="gap",
        ),
        class_="spaced",
    )


def _controls(found: Mapping[ControlKind, ControlScore]) -> Element:
    """How much oftener it declines where the evidence is gone."""
    rows: list[tuple[Child, ...]] = [
        (
            named(CONTROL_WORDS[kind], _pairs(each)),
            *(
                figure_cell(getattr(each, name), getattr(each, f"{name}_ci"), why_missing(each, name))
                for name in FIGURE_WORDS
            ),
        )
        for kind, each in found.items()
    ]
    sentence = (
        "Some of the questions that were meant to be answerable were asked once more, about a picture that does not hold what "
        "they ask for. Declining is right there, whatever the question's label is worth, but for what such a picture does "
        "answer, as whether there is a dog: the first column need not reach 1. Youden's J is the difference, 0 for a model "
        "that always declines, that never does, or that does not look."
    )
    heads = ("asked again with", "declined there", "declined on the image", "Youden's J")
    return el(
        "div",
        el("h3", "Does it look?"),
        el("p", sentence, class_="muted"),
        el("div", table("Declined with the image, and without it", heads, rows, range(1, 4)), class_="gap"),
        class_="spaced",
    )


def _pairs(each: ControlScore) -> str:
    unscored = f", {each.asked - each.n:,} unscored" if each.asked > each.n else ""
    return "; ".join((f"{format_count(each.n, 'question')}{unscored}", *without(each)))


def _audited(each: Fidelity) -> str:
    parts = [format_count(each.audited, "question")]
    if each.failed:
        parts.append(f"{each.failed:,} without an answer")
    if each.not_asked:
        parts.append(f"{each.not_asked:,} not asked")
    return ", ".join(parts)


def _of_label(each: Fidelity, label: Label) -> Element:
    share = each.by_label.get(label)
    if share is None:
        return figure_cell(None, why="none audited")
    return el(
        "span",
        figure_cell(share.share, share.share_ci, share.why_no_interval),
        el("small", f"{share.agreed:,} of {share.n:,}"),
    )


def _doubtful(audits: Mapping[str, Fidelity], place: int) -> Element | None:
    """Unanswerable labels by kind, a plot for one auditor and a table for several; the contradicted ones are a click away."""
    kinds = list(dict.fromkeys(kind for each in audits.values() for kind in each.by_kind))
    parts: list[Element | None] = []
    if len(audits) == 1:
        (only,) = audits.values()
        rows = [(str(kind), share.agreed, share.n) for kind, share in only.by_kind.items()]
        words = ("Labels confirmed, by kind", "Share of unanswerable labels confirmed", "confirmed, of the audited")
        whole = only.by_label.get("unanswerable")
        ends = {str(kind): share.share_ci for kind, share in only.by_kind.items()}
        plot = plots.shares(f"labels-{place}", rows, words, whole.share if whole else None, ends)
        caption = "95 % intervals with images as the unit; the dashed line is the share over all kinds."
        parts.append(figure(plot, caption))
    elif kinds:
        heads = ("kind", *("all of them" if name == ALL else name for name in audits))
        cells = [(kind, *(_of_kind(each, kind) for each in audits.values())) for kind in kinds]
        parts.append(table("Unanswerable labels confirmed", heads, cells, range(1, len(heads))))
    if any(each.agreement.share not in (None, 1) for each in audits.values()):
        show = el(
            "button", "Show the contradicted questions", type="button", class_="act", data_filter="audit=contradicted",
            data_run=place,
        )  # fmt: skip
        parts.append(el("p", show, class_="gap"))
    if not kinds and not parts:
        return None
    sentence = "By kind: how many of the questions that were meant to have no answer have none, as the auditor sees it."
    return block("Which labels are in doubt?", sentence, *parts)


def _of_kind(each: Fidelity, kind: KindName) -> str:
    share = each.by_kind.get(kind)
    return f"{share.agreed:,} of {share.n:,}{format_bracketed(share.share_ci)}" if share else "–"


# --- judges ----------------------------------------------------------------------------------------------------------


def _panel(panel: PanelScore) -> Element:
    """How far the judges of a panel agree."""
    alpha = panel.alpha
    rows = [
        (
            el(
                "span",
                quoted(pair.first),
                " and ",
                quoted(pair.second),
                el("small", format_count(pair.agreement.n, "response")),
            ),
            figure_cell(pair.agreement.share, pair.agreement.share_ci, why_none(pair.agreement.why_undefined, "share")),
            figure_cell(pair.agreement.kappa, pair.agreement.kappa_ci, why_none(pair.agreement.why_undefined, "kappa")),
        )
        for pair in panel.pairs
    ]
    votes = [
        (
            each.judge,
            ", ".join(f"{n:,} {act}" for act, n in each.acts.items() if n)
            + (f", {each.failed:,} without a verdict" if each.failed else "")
            or "no vote",
        )
        for each in panel.judges
    ]
    lone = panel.questions - panel.unanimous - panel.split
    return block(
        "Do the judges agree?",
        f"The rules left {format_count(panel.questions, 'response')} open. {len(panel.judges)} judges voted on each, and "
        "the majority decided.",
        facts(
            ("Unanimous", f"{panel.unanimous:,} of {panel.questions:,}"),
            ("Split", f"{panel.split:,}" + (f", {panel.tied:,} of them tied and left unscored" if panel.tied else "")),
            *([("Fewer than two votes", f"{lone:,}")] if lone else []),
            (
                "Krippendorff's alpha",
                figure_in_line(alpha.alpha, alpha.alpha_ci, why_none(alpha.why_undefined, "alpha")),
            ),
            *((f"Votes of {name}", words) for name, words in votes),
        ),
        table("Every two judges", ("judges", "agree", "Cohen's kappa"), rows, (1, 2)) if rows else None,
    )


def _forms(findings: Findings, forms: Forms) -> Element:
    """UnF1 in free words next to UnF1 by option, and how far the two forms agree."""
    agreement = forms.agreement
    rows = [
        (
            name,
            format_headline(each.unf1, each.unf1_between)
            if each.unf1_between
            else figure_cell(each.unf1, each.unf1_ci, each.undefined.get("unf1_ci", "")),
            str(sum(each.unscored.values())),
        )
        for name, each in (("in free words", findings), ("by option", forms.choice))
    ]
    return block(
        "Does the form matter?",
        "Every question was put twice: for an answer in free words, and with options. Options show that declining is possible, "
        "and no judge reads them.",
        facts(
            (
                "Free words minus options",
                figure_in_line(forms.difference, forms.difference_ci, why_none(forms.why_undefined, "difference")),
            ),
            (
                f"Alike, of {agreement.n:,} scored in both",
                figure_in_line(agreement.share, agreement.share_ci, why_none(agreement.why_undefined, "share")),
            ),
            (
                "Cohen's kappa",
                figure_in_line(agreement.kappa, agreement.kappa_ci, why_none(agreement.why_undefined, "kappa")),
            ),
        ),
        table("Either form", ("form", findings.f1_name, "unscored"), rows, (1, 2)),
    )


def _corrected(corrected: Corrected, run: ReportRun) -> Element:
    """UnF1 next to UnF1 without the judge's errors, and what the correction rests on."""
    known = run.manifest.calibration
    rests = f" It erred on {known.data} as the table says" if known and known.data else " It erred as the table says"
    why = corrected.why_undefined
    rows = [
        (
            named(_BY_DECIDER.get(name, name), format_count(each.responses, "verdict")),
            _rate(each.sensitivity, each.labelled_abstained, "abstentions"),
            _rate(each.specificity, each.labelled_answered, "answers"),
        )
        for name, each in corrected.deciders.items()
    ]
    sides = [
        (
            label,
            f"{format_percent(side.observed)}{format_percents(side.observed_ci)}, corrected "
            f"{format_percent(side.corrected)}{format_percents(side.corrected_ci)}"
            + (" (cut)" if side.clipped else ""),
        )
        for label, side in (
            ("Declined, of the unanswerable", corrected.unanswerable),
            ("Declined, of the answerable", corrected.answerable),
        )
    ]
    return block(
        "And if the judge errs?",
        f"{run.f1_name} is as good as the verdicts.{rests}. Corrected, it takes for granted that the judge errs here as often as "
        "there, whatever the question; its interval covers what that table leaves open.",
        facts(
            (
                "As judged",
                figure_in_line(corrected.unf1_observed, corrected.unf1_observed_ci, why_none(why, "unf1_observed")),
            ),
            ("Corrected", figure_in_line(corrected.unf1, corrected.unf1_ci, why_none(why, "unf1"))),
            *sides,
            *_as_they_are(corrected),
        ),
        table(
            "How often verdicts were right where people said what is right",
            ("decided by", "sensitivity", "specificity"),
            rows,
            (1, 2),
        )
        if any(map(_known, corrected.deciders.values()))
        else None,
    )


def _known(rates: DeciderRates) -> bool:
    return rates.sensitivity is not None or rates.specificity is not None


def _rate(value: float | None, n: int, of: str) -> Element:
    if value is None:
        return figure_cell(None, why="unknown: taken as right")
    return el("span", format_figure(value), el("small", f"of {n:,} {of}"))


def _as_they_are(corrected: Corrected) -> Iterator[tuple[str, Child]]:
    if corrected.as_they_are:
        yield (
            "Taken as right",
            f"{format_count(corrected.as_they_are, 'verdict')} of deciders whose errors nobody has measured",
        )


# --- answers and questions -------------------------------------------------------------------------------------------


def _grounded(ground: Grounded, run: ReportRun) -> Element:
    """Whether the image bears the answers out."""
    judge = run.manifest.judges[0] if run.manifest.judges else ""
    whom = "a judge that sees the image" if judge in ("", "self") else f"{judge}, which sees the image,"
    pairs: list[tuple[str, Child]] = [
        ("Borne out", figure_in_line(ground.accuracy, ground.accuracy_ci, ground.why_undefined)),
        ("Answers", f"{ground.supported:,} of {ground.judged:,} that were judged"),
    ]
    if ground.failed or ground.not_asked:
        pairs.append(("Not judged", f"{ground.failed:,} without a verdict, {ground.not_asked:,} not looked at"))
    if run.sort != "pope":
        alone = run.score.unf1_between is not None
        own = (ground.unf1, ground.unf1_ci, ground.why_undefined)
        variant = figure_in_line(*((None, None, BOUNDS_ALONE) if alone else own))
        pairs.append((f"{run.f1_name} if the others are errors", variant))
    return block(
        "Are the answers true?",
        f"{run.f1_name} asks whether a model answers or declines, and never whether it is right. Here {whom} says so of each "
        "answer to a question that was meant to be answerable.",
        facts(*pairs),
    )


def _questions(quality: Quality) -> Element:
    """What sort of questions the model wrote, in words."""
    return block(
        "What did it ask?",
        "Who asks every image the same, or asks what is trivial, can score high without having looked.",
        facts(*_about_questions(quality)),
    )


def _ends(quality: Quality, path: str) -> str:
    """The interval of a share, to follow it on the same line, or why there is none."""
    why = quality.why_no_interval.get(path)
    return f" (no interval: {why})" if why else format_percents(quality.intervals.get(path))


def _about_questions(quality: Quality) -> Iterator[tuple[str, Child]]:
    yield (
        "Different",
        (
            f"{format_percent(quality.distinct_share)} of {format_count(quality.questions, 'question')}"
            f"{_ends(quality, 'distinct_share')}, "
            f"{format_figure(quality.distinct_per_image, 1)} about an image"
        ),
    )
    if quality.near_duplicate_share is not None:
        yield (
            "Nearly repeated",
            (
                f"{format_percent(quality.near_duplicate_share)}{_ends(quality, 'near_duplicate_share')} hardly differ from "
                "another one about the same image"
            ),
        )
    if quality.recurring_share is not None:
        share = format_percent(quality.recurring_share)
        words = f"with a chance of {share}, another image is asked the very same{_ends(quality, 'recurring_share')}"
        yield "Asked elsewhere, too", words
    if quality.common:
        common = quality.common
        yield (
            "Most common",
            el(
                "span",
                "“",
                quoted(common.text),
                f"”, about {format_count(common.images, 'image')}, {format_percent(common.share)}"
                f"{_ends(quality, 'common.share')}",
            ),
        )
    lengths = " and ".join(f"{each.words_mean:.1f} if {label}" for label, each in quality.by_label.items())
    if lengths:
        yield "Mean length in words", lengths
    for label, each in quality.by_label.items():
        if each.template and each.template.questions > 1:
            yield (
                f"Commonest form, {label}",
                el(
                    "span",
                    "“",
                    quoted(each.template.text),
                    f"” fits {format_percent(each.template.share)} of them"
                    f"{_ends(quality, f'by_label.{label}.template.share')}",
                ),
            )
    yield (
        "Very short",
        f"{format_count(quality.short, 'question')} of one or two words"
        if quality.short
        else "none of one or two words",
    )
    for name, fidelity in quality.false_labels.items():
        yield (
            f"False labels, says {name}",
            (
                f"{format_percent(fidelity.share)}{_ends(quality, f'false_labels.{name}.share')} of {fidelity.audited:,}"
                if fidelity.share is not None
                else "n/a: it said nothing of any"
            ),
        )
    if quality.given:
        yield "Given", f"{format_count(quality.given, 'question')} that the model did not write, in no figure here"


# --- shapes ----------------------------------------------------------------------------------------------------------
