"""The sections of a report about one run: its score, its kinds, its costs, and what was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from unsaf_async.providers.addresses import mark, not_the_vendors, place
from unsaf_async.report import plots, truth
from unsaf_async.report.confidence_section import calibration, signs
from unsaf_async.report.glossary import term
from unsaf_async.report.markup import add, el, said
from unsaf_async.report.pieces import facts, figure, figure_cell, gauge, quoted, rates, table
from unsaf_async.report.soundness import soundness
from unsaf_async.report.timeline import latencies, timeline
from unsaf_async.runs.folder import RunFiles
from unsaf_async.score.controls import CONTROL_WORDS
from unsaf_async.score.shown import without_other_readings
from unsaf_async.text import (
    FORM_WORDS,
    INTERVAL_METHODS,
    SIMULATED,
    format_bracketed,
    format_count,
    format_figure,
    format_headline,
    format_interval,
    format_percent,
    format_seconds,
    format_usd,
    prompt_cache_in_words,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from xml.etree.ElementTree import Element

    from unsaf_async.report.data import ReportRun
    from unsaf_async.report.markup import Child
    from unsaf_async.report.timeline import Timeline
    from unsaf_async.runs.folder import JudgedAnew, Manifest
    from unsaf_async.score.run_score import Score
    from unsaf_async.score.unf1 import KindName

_RATES = (
    ("precision", "Precision (timidity)", "of the declined, meant to be unanswerable"),
    ("recall", "Recall (audacity)", "of the unanswerable, declined"),
    ("over_refusal_rate", "Over-refusal rate", "of the answerable, declined"),
    ("over_answer_rate", "Over-answer rate", "of the unanswerable, answered"),
    ("f1_answerable", "F1 of answering", "the other class"),
    ("macro_f1", "Macro F1", "mean of both classes"),
    ("balanced_accuracy", "Balanced accuracy", "mean of both recalls"),
    ("matthews_correlation", "Matthews correlation", "from −1 to 1"),
    ("abstention_rate", "Abstention rate", "of all scored responses"),
    ("audacity_of_answers", "Audacity of answers", "of the answered, meant to be answerable"),
    ("unf1_of_precisions", "F1 of precisions", "harmonic mean of timidity and audacity of answers"),
)

_MOST_FAILED = 50
"""How many failed images are listed."""


# --- one run ---------------------------------------------------------------------------------------------------------


def one_run(run: ReportRun, place: int, *, short: bool = False) -> list[Element]:
    """All sections about a run.

    Args:
        run: The run.
        place: Of the run on the page, from 0; it makes ids unique.
        short: Whether several runs share the page, so that the sections' ids need the place.

    Returns:
        The sections that the run has something for, in the order of the page.
    """
    times = timeline(RunFiles(run.path).ledger)
    parts = {
        "score": headline(run, place),
        "sorts": truth.categories(run, place),
        "kinds": kinds(run, place) if run.sort != "pope" else None,
        "sound": soundness(run, place),
        "calibration": calibration(run, place),
        "confidence": signs(run, place),
        "cost": cost(run, times, place),
        "measured": measured(run),
    }
    result = []
    for name, part in parts.items():
        if part is not None:
            part.set("id", f"{name}-{place}" if short else name)
            for each in part.iter() if short else ():  # landmarks have names of their own
                if "aria-label" in each.attrib and (each is part or each.get("role") == "region"):
                    each.set("aria-label", f"{each.get('aria-label')} of run {place + 1}")
            result.append(part)
    return result


def headline(run: ReportRun, place: int) -> Element:
    """The run in a figure or two with intervals, what they are made of, and what speaks against them.

    Args:
        run: The run.
        place: Of the run on the page, from 0; it makes ids unique.

    Returns:
        The section.
    """
    score, labelled = without_other_readings(run.score), run.labelled
    four = el(
        "div",
        el("h2", "Rates", class_="hidden"),
        rates(
            (
                (label, getattr(score, name), score.intervals.get(name), _why_or(_hint(hint, run), score, name))
                for name, label, hint in _RATES
            ),
            {"Matthews correlation": -1.0},
        ),
        class_="spaced",
    )
    asked = el("div", _asked(run), _unscored(run, place), class_="two spaced")
    if labelled is None:
        top = [el("div", _headline_text(run), _matrix(run, place), class_="two headline"), _notes(run), four]
    elif labelled.pope is not None:
        figures = truth.pope(labelled, labelled.pope, labelled.pope_official)
        top = [figures[0], truth.show_wrong(place), _notes(run), *figures[1:]]
    else:
        more = el("div", truth.labelled_rates(labelled), truth.show_wrong(place))
        both = el("div", _matrix(run, place), more, class_="two spaced")
        top = [truth.accuracies(labelled, _headline_text(run)), _notes(run), both, four]
    return el("section", [each for each in top if each is not None], asked, _failed(run), aria_label="Score")


def _why_or(hint: str, score: Score, name: str) -> str:
    """Why a figure is undefined; or else what it means, and why it has no interval if it has none."""
    without = score.undefined.get(f"intervals.{name}")
    return score.undefined.get(name) or (f"{hint}; no interval: {without}" if without else hint)


def _hint(hint: str, run: ReportRun) -> str:
    return hint if run.sort == "unsaf" else hint.replace("meant to be ", "")


def _headline_text(run: ReportRun) -> Element:
    score, word = run.score, mark(run.manifest.subject)
    between = score.unf1_between
    if between:
        interval, detail = "bounds", "anywhere between, by what the unscored responses were"
    elif score.unf1_ci:
        interval = f"95 % interval {format_interval(score.unf1_ci)}"
        detail = f"{INTERVAL_METHODS.get(score.unf1_ci_method or '', '')}, over {score.images.done} images"
    else:
        interval, detail = "no interval", score.undefined.get("unf1_ci", "")
    bounds, open_ = None, sum(score.unscored.values())
    if score.unf1_bounds and open_:
        unscored = format_count(open_, "unscored response")
        bounds = el("p", f"{format_interval(score.unf1_bounds)} over all that the {unscored} might have been")
    return el(
        "div",
        el("p", term(run.f1_name), el("span", f" ({word})", class_="muted") if word else None, class_="name"),
        el("p", format_headline(score.unf1, between), class_="value"),
        el("p", el("b", interval), el("span", f" ({detail})" if detail else "", class_="muted")),
        gauge(run.f1_name, None, None, between)
        if between
        else gauge(run.f1_name, score.unf1, score.unf1_ci, score.unf1_bounds if open_ else None),
        bounds,
        el("p", score.undefined["unf1"], class_="muted") if "unf1" in score.undefined else None,
        el("p", _in_words(score, run), class_="muted"),
        *(el("p", text) for text in _without_the_picture(run)),
    )


def _without_the_picture(run: ReportRun) -> Iterator[str]:
    """What the controls say, a sentence a kind."""
    for kind, each in run.findings.controls.items() if run.findings else ():
        if each.youden is not None:
            yield (
                f"Asked again with {CONTROL_WORDS[kind]}, it declined {format_percent(each.abstention_rate)} of "
                f"{format_count(each.n, 'answerable question')} and {format_percent(each.over_refusal_rate)} of the same on "
                f"the image: Youden's J {format_figure(each.youden)}{format_bracketed(each.youden_ci)}."
            )


def _in_words(score: Score, run: ReportRun) -> str:
    if score.recall is None or score.over_refusal_rate is None:
        which = "it had written as unanswerable" if run.manifest.source is None else "that have no answer in the image"
        return f"1 means that the model declined exactly the questions {which}."
    source = run.manifest.source
    # Only a labelled set says what is so; otherwise a label is what the author was asked to write.
    labelled = source is not None and source.kind == "labelled"
    unanswerable, answerable = (
        ("that have no answer in the image", "that have one")
        if labelled
        else ("written as unanswerable", "as answerable")
    )
    return (
        f"It declined {score.recall:.0%} of the questions {unanswerable}, and {score.over_refusal_rate:.0%} of those "
        f"{answerable}. 1 would be all of the first and none of the second."
    )


def _matrix(run: ReportRun, place: int) -> Element:
    counts = run.score.counts

    def cell(name: str, label: str, count: int, whole: int) -> Element:
        share = f"{count / whole:.0%} of {whole}" if whole else "none scored"
        return el(
            "td",
            el(
                "button",
                el("b", f"{count:,}"),
                el("span", label),
                el("span", share, class_="muted"),
                class_=f"cell {name}",
                type="button",
                data_filter=f"type={name}",
                data_run=place,
                title="Show these questions",
            ),
        )

    answerable, unanswerable = counts.ta + counts.fu, counts.tu + counts.fa
    return el(
        "table",
        el("caption", f"What questions {'were meant to be' if run.sort == 'unsaf' else 'are'}, and what the model did"),
        el("thead", el("tr", el("td"), el("th", "answered", scope="col"), el("th", "abstained", scope="col"))),
        el(
            "tbody",
            el(
                "tr",
                el("th", "answerable", scope="row"),
                cell("ta", "true answerable", counts.ta, answerable),
                cell("fu", "false unanswerable", counts.fu, answerable),
            ),
            el(
                "tr",
                el("th", "unanswerable", scope="row"),
                cell("fa", "false answerable", counts.fa, unanswerable),
                cell("tu", "true unanswerable", counts.tu, unanswerable),
            ),
        ),
        class_="matrix",
    )


def _notes(run: ReportRun) -> Element | None:
    lines = [el("li", el("b", "Unreliable"), reason, class_="alarm") for reason in run.score.unreliable]
    subject = run.manifest.subject
    if subject.backend == "scripted":
        lines.append(el("li", el("b", "Simulated"), SIMULATED))
    elif note := not_the_vendors(subject):
        lines.append(el("li", el("b", "Local address"), note))
    lines += [
        el("li", el("b", "Note"), said(note) if isinstance(note, str) else note)
        for note in (*run.told, *_about_source(run), *run.manifest.notices, *run.score.warnings)
    ]
    return el("ul", lines, class_="notes") if lines else None


def _about_source(run: ReportRun) -> list[str | Element]:
    """Where given questions are from, and which rows of the set were skipped."""
    source = run.manifest.source
    if source is None:
        return []
    if source.kind == "run":
        sentence = el("span", "The questions are those that ", quoted(source.name), " wrote, in the run ")
        add(sentence, el("code", source.run_id or source.path))
        add(sentence, ": it says how this model fares with them, and nothing of how it asks.")
        return [sentence]
    return [
        el("span", f"{format_count(n, 'row')} of ", quoted(source.name), f" left out: {reason}")
        for reason, n in source.skipped.items()
        if n
    ]


def _asked(run: ReportRun) -> Element:
    score = run.score
    questions, images = score.questions, score.images
    total = "" if images.total is None else f" of {images.total:,}"
    each = score.questions_per_label
    written: list[tuple[str, Child]] = []
    if run.manifest.source is None:
        other = f", {questions.other_label:,} under the other label's heading" if questions.other_label else ""
        dropped = f"{questions.duplicate:,} duplicate, {questions.malformed:,} malformed{other}"
        written = [("Dropped", dropped), ("Missing", f"{questions.missing:,}")]
    wanted = _given(run) if each is None else f"{2 * each} an image, half of them unanswerable"
    return el(
        "div",
        el("h3", "Images and questions"),
        facts(
            ("Images", f"{images.done:,}{total} examined, {images.failed:,} failed"),
            ("Wanted", wanted),
            ("Asked", f"{questions.asked:,}"),
            *written,
        ),
    )


def _given(run: ReportRun) -> str:
    labelled = run.labelled
    if labelled is None:
        return "the questions that were given"
    if run.sort == "pope":
        return f"{format_count(labelled.questions, 'yes/no question')} of the set"
    words = f"{format_count(labelled.questions, 'question')} of the set, {labelled.answerable:,} of them answerable"
    if labelled.without_answers:
        words += f"; {labelled.without_answers:,} of these have no accepted answer, and enter no accuracy"
    return words


def _unscored(run: ReportRun, place: int) -> Element:
    score = run.score
    reasons = {reason: n for reason, n in score.unscored.items() if n}
    if not reasons:
        return el(
            "div",
            el("h3", "Unscored responses"),
            el(
                "p",
                "None: all could be judged."
                if run.sort == "pope"
                else "None: every response is in one of the four types.",
            ),
        )
    show = el("button", "Show them", type="button", class_="act", data_filter="type=unscored", data_run=place)
    share = sum(reasons.values()) / score.questions.asked
    return el(
        "div",
        el("h3", f"Unscored responses: {sum(reasons.values()):,} ({share:.1%})"),
        facts(*((reason, f"{n:,}") for reason, n in reasons.items())),
        el("p", show, class_="gap"),
    )


def _failed(run: ReportRun) -> Element | None:
    failed = [each for each in run.examinations if each.failure]
    if not failed:
        return None
    lines = [
        el("li", said(each.image.id, class_="said mono"), ": ", said(each.failure or ""))
        for each in failed[:_MOST_FAILED]
    ]
    if len(failed) > _MOST_FAILED:
        lines.append(el("li", f"and {len(failed) - _MOST_FAILED:,} more; journal.jsonl has them all"))
    return el("details", el("summary", f"{len(failed):,} images failed"), el("ul", lines), class_="more")


def kinds(run: ReportRun, place: int) -> Element | None:
    """Recall by kind as a plot and a table.

    Args:
        run: The run.
        place: Of the run on the page, from 0; it makes ids unique.

    Returns:
        The section; None if no unanswerable question was asked.
    """
    score = without_other_readings(run.score)
    if not score.by_kind:
        return None
    rows = [
        (
            kind,
            f"{each.n:,}",
            f"{each.tu:,}",
            f"{each.fa:,}",
            f"{each.unscored:,}",
            f"{each.refused:,}",
            _of_kind(score, kind, "recall", each.recall),
            _of_kind(score, kind, "unf1", each.unf1),
        )
        for kind, each in score.by_kind.items()
    ]
    heads = (
        "kind",
        "asked",
        "declined",
        "answered",
        "unscored",
        "refused",
        "recall",
        "UnF1" if run.sort == "unsaf" else "F1",
    )
    origin = "the model gave for writing them" if run.manifest.source is None else "given with them"
    of = "with images as the unit" if score.intervals else "by Wilson's formula, each question on its own"
    caption = f"95 % intervals {of}; the dashed line is the recall over all kinds."
    return el(
        "section",
        el("h2", "Why a question has no answer"),
        el(
            "div",
            figure(plots.recall_by_kind(f"kinds-{place}", score), caption),
            table(f"Unanswerable questions, by the reason {origin}", heads, rows, range(1, 8)),
            class_="two",
        ),
    )


def _of_kind(score: Score, kind: KindName, name: str, value: float | None) -> Element:
    path = f"by_kind.{kind}.{name}"
    why = score.undefined.get(path) or score.undefined.get(f"intervals.{path}", "")
    return figure_cell(value, score.intervals.get(path), why)


def cost(run: ReportRun, times: Timeline, place: int) -> Element:
    """What the run took: calls, tokens, money, time; over time, and by role.

    Args:
        run: The run.
        times: Its attempts, as the ledger has them.
        place: Of the run on the page, from 0; it makes ids unique.

    Returns:
        The section.
    """
    waits = times.wait_s or latencies(run.examinations)
    source = "as this run waited for them" if times.wait_s else "as stored with the replies, which came from the cache"
    rows = []
    for role, values in waits.items():
        p50, p90, p99 = np.quantile(values, (0.5, 0.9, 0.99))
        rows.append((role, f"{len(values):,}", f"{p50:.2f} s", f"{p90:.2f} s", f"{p99:.2f} s"))
    latency = (
        table(f"Seconds a reply took, {source}", ("role", "n", "median", "90 %", "99 %"), rows, (1, 2, 3, 4))
        if rows
        else None
    )
    return el(
        "section",
        el("h2", "What it took"),
        el(
            "div",
            el(
                "div",
                facts(*_amounts(run, times)),
                el("div", latency, class_="spaced") if latency is not None else None,
            ),
            el(
                "div",
                figure(
                    plots.over_time(f"time-{place}", times, run.manifest.subject.total_limits),
                    "From the run's ledger; pauses between sessions are left out. Dashed: the run's limit, where it is near.",
                ),
                figure(
                    plots.latency_by_role(f"latency-{place}", waits), "Latency of the replies, by what they were for."
                ),
                class_="stack",
            ),
            class_="two",
        ),
    )


def _amounts(run: ReportRun, times: Timeline) -> list[tuple[str, Child]]:
    """Calls, tokens, money and time in numbers."""
    together = run.findings.judged_together if run.findings else None
    score, held = run.score, run.held
    paid_usd = None if score.cost_usd is None else score.cost_usd - held.usd
    pairs: list[tuple[str, Child]] = [("Cost", format_usd(paid_usd))]
    if held.calls:
        calls = (
            f"{format_count(held.calls, 'call')} in {format_count(held.batches, 'batch', 'batches')} with the vendor"
        )
        most = f"{format_usd(held.usd)}, their worst case, until their replies are here"
        pairs.append(("Held", f"for {calls}: {most}"))
    if said := prompt_cache_in_words(score.prompt_cache_saved_usd, paid_usd):
        pairs.append(("Prompt cache", said))
    if score.calls and score.tokens:
        roles = ", ".join(f"{n:,} {role}" for role, n in score.calls.by_role.items() if n)
        again = ", ".join(f"{n:,} {role}" for role, n in times.retried.items() if n)
        pairs += [
            ("Calls made", f"{score.calls.made:,}" + (f" ({roles})" if roles else "")),
            *([("Judged together", together.in_words)] if together else []),
            ("From the cache", f"{score.calls.cached:,}"),
            ("Retried", f"{score.calls.retried:,}" + (f" ({again})" if again else "")),
            *([("Without a connection", f"{score.calls.unsent:,} attempts")] if score.calls.unsent else []),
            ("Input tokens", f"{score.tokens.input:,} ({score.tokens.cached_input:,} cached by the provider)"),
            ("Output tokens", f"{score.tokens.output:,} ({score.tokens.reasoning:,} for thinking)"),
        ]
    usd = format_usd(None if score.cost_unknown_usd is None else score.cost_unknown_usd - held.usd)
    if lost := times.lost - held.calls:
        pairs.append(("Fate unknown", f"{format_count(lost, 'attempt')}, booked at their worst: {usd} of the cost"))
    if score.wall_s is not None:
        sessions = f", in {times.sessions} sessions" if times.sessions > 1 else ""
        pairs.append(("Time", f"{format_seconds(score.wall_s)}{sessions}"))
    if paid_usd and score.images.done and not held.calls:
        pairs.append(("An image", format_usd(paid_usd / score.images.done)))
    if run.manifest.max_cost_usd is not None:
        pairs.append(("Cap", format_usd(run.manifest.max_cost_usd)))
    return pairs


def measured(run: ReportRun) -> Element:
    """What was measured: enough to repeat it.

    Args:
        run: The run.

    Returns:
        The section.
    """
    manifest, score = run.manifest, run.score
    subject = manifest.subject
    price = subject.price
    answered = [
        f"{model} ({replies:,} replies{'' if name == 'self' else f', {name}'})"
        for name, models in manifest.answered_by.items()
        for model, replies in models.items()
    ]
    without = [
        parameter if name == "self" else f"{parameter} ({name})"
        for name, refused in manifest.adapted.items()
        for parameter in refused
        if parameter != "max_tokens"
    ]
    extras = [
        "grounding of answers" if manifest.grounded else "",
        "confidence" if manifest.confidence else "",
        f"{manifest.samples} samples of each answer" if manifest.samples else "",
        f"{manifest.controls_per_image} of each image's questions again, {' and '.join(manifest.controls)}"
        if manifest.controls
        else "",
    ]
    limits = subject.total_limits
    pairs: list[tuple[str, Child]] = [
        ("Model", f"{subject.name}" + (f", {subject.model} on the wire" if subject.model else "")),
        ("Where", place(subject)),
        *([("Answered by", ", ".join(answered))] if answered else []),
        *([("Sent without", ", ".join(without))] if without else []),
        ("Judge", ", ".join(_whom(manifest, name) for name in manifest.judges) or "rules only"),
        *(
            [("In one call", f"up to {manifest.judge_together} responses of an image")]
            if manifest.judge_together > 1
            else []
        ),
        *([("Auditors", ", ".join(_whom(manifest, name) for name in manifest.auditors))] if manifest.auditors else []),
        *([("Asked beside", ", ".join(filter(None, extras)))] if any(extras) else []),
        ("Prompts", f"{manifest.pack}, version {manifest.pack_version}"),
        ("Their hash", el("code", manifest.pack_sha256)),
        ("Questions", _source(manifest)),
        *([("Put", FORM_WORDS[manifest.form])] if manifest.form != "open" else []),
        *([("Answers", _judged_anew(manifest.judged_anew))] if manifest.judged_anew else []),
        ("Seed", f"{manifest.seed}; {score.resamples:,} resamples from {score.seed}"),
        ("Images", f"{manifest.images:,}, at most {subject.image.max_side_px} pixels a side"),
        ("Image list", el("code", manifest.images_sha256)),
    ]
    if price:
        rates = (
            f"${price.input_usd_per_mtok:g} in, ${price.output_usd_per_mtok:g} out per million tokens ({price.source})"
        )
        pairs.append(("Price", rates))
    pairs.append(("Most in flight", f"{limits.concurrency} calls"))
    if manifest.until_ci is not None:
        pairs.append(
            ("Stops at", f"UnF1 ± {manifest.until_ci:g} by the {'anytime' if manifest.anytime else 'stop'} rule")
        )
    pairs += [
        ("Begun", manifest.created.replace("T", " ").replace("+00:00", " UTC")),
        ("Run", el("code", manifest.run_id)),
        ("Versions", ", ".join(f"{name} {version}" for name, version in manifest.versions.items())),
    ]
    half = (len(pairs) + 1) // 2
    return el(
        "section",
        el("h2", "What was measured"),
        el("div", facts(*pairs[:half]), facts(*pairs[half:]), class_="two"),
    )


def _whom(manifest: Manifest, name: str) -> str:
    if name == "self":
        return "the measured model itself"
    profile = manifest.profile(name)
    named = f"{name} ({profile.model})" if profile.model and profile.model != name else name
    return f"{named} {place(profile)}"


def _judged_anew(anew: JudgedAnew) -> str:
    """Whose answers are judged, and by which words."""
    rubric = f", judged by {anew.rubric_name}" if anew.rubric else ", judged anew"
    left_out = f"; {anew.left_out:,} images without whole answers are left out" if anew.left_out else ""
    return f"of run {anew.run_id}{rubric}{left_out}"


def _source(manifest: Manifest) -> str:
    source = manifest.source
    if source is None:
        return f"{manifest.questions} answerable and {manifest.questions} unanswerable an image, by the model"
    skipped = ", ".join(f"{n:,} {reason}" for reason, n in source.skipped.items())
    kind = {"labelled": "labelled set", "run": "another run"}[source.kind]
    return f"given, from {source.name} ({source.format or kind})" + (f"; left out: {skipped}" if skipped else "")
