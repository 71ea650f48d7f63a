"""The parts of a report as elements: what there is to say of a run, and of several side by side."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from unsaf_async.report import plots
from unsaf_async.report.data import further_tables, latencies, names_of, signals, timeline
from unsaf_async.report.markup import el

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from xml.etree.ElementTree import Element

    from unsaf_async.cross import CrossMatrix
    from unsaf_async.report.data import ReportRun, Table, Timeline
    from unsaf_async.report.markup import Child
    from unsaf_async.runs import Manifest
    from unsaf_async.score import Score

SIMULATED = (
    "A simulated model was measured: its figures show that the pipeline works, and say nothing about any real model."
)

_RATES = (
    ("precision", "Precision", "of the declined, meant to be unanswerable"),
    ("recall", "Recall", "of the unanswerable, declined"),
    ("over_refusal_rate", "Over-refusal rate", "of the answerable, declined"),
    ("over_answer_rate", "Over-answer rate", "of the unanswerable, answered"),
    ("f1_answerable", "F1 of answering", "the other class"),
    ("macro_f1", "Macro F1", "mean of both classes"),
    ("balanced_accuracy", "Balanced accuracy", "mean of both recalls"),
    ("matthews_correlation", "Matthews correlation", "from −1 to 1"),
    ("abstention_rate", "Abstention rate", "of all scored responses"),
)

_FIGURE = re.compile(r"|n/a|-?[\d,.]+|-?[\d.]+ to -?[\d.]+")
"""What a cell holds that is a figure."""

_MOST_FAILED = 50
"""How many failed images are listed."""


def number(value: float | None, digits: int = 3) -> str:
    """A figure for people; "n/a" for None."""
    return "n/a" if value is None else f"{value:.{digits}f}"


def span(interval: tuple[float, float] | None) -> str:
    """An interval for people; "" for None."""
    return f"{interval[0]:.3f} to {interval[1]:.3f}" if interval else ""


def money(usd: float | None) -> str:
    """US dollars; more digits where there is little."""
    if usd is None:
        return "n/a"
    return f"${usd:,.2f}" if usd >= 1 or usd == 0 else f"${usd:.4f}"


def seconds(value: float) -> str:
    """A time for people."""
    if value < 120:
        return f"{value:.1f} s"
    return f"{value / 60:.1f} min" if value < 7200 else f"{value / 3600:.1f} h"


def table(
    caption: str,
    heads: Sequence[str],
    rows: Iterable[Sequence[Child]],
    numbers: Iterable[int] = (),
) -> Element:
    """A table whose first column names the rows. numbers: the columns that hold figures."""
    right = set(numbers)
    head = el(
        "tr",
        [el("th", text, scope="col", class_="num" if place in right else None) for place, text in enumerate(heads)],
    )
    body = [
        el(
            "tr",
            [
                el("th", cell, scope="row") if place == 0 else el("td", cell, class_="num" if place in right else None)
                for place, cell in enumerate(row)
            ],
        )
        for row in rows
    ]
    return el(
        "div", el("table", el("caption", caption), el("thead", head), el("tbody", body)), class_="scroll", tabindex="0",
        role="region", aria_label=caption,
    )  # fmt: skip


def figure(plot: Element | None, caption: str) -> Element | None:
    """A plot with its caption; None without one."""
    return None if plot is None else el("figure", plot, el("figcaption", caption))


# --- one run ---------------------------------------------------------------------------------------------------------


def one_run(run: ReportRun, place: int, *, short: bool = False) -> list[Element]:
    """All sections about the run. place: of the run, from 0; it makes names unique. short: several runs share the page."""
    told = timeline(run.path / "ledger.jsonl")
    parts = [
        headline(run, place),
        kinds(run, place),
        confidence(run, place),
        cost(run, told, place),
        measured(run),
    ]
    anchors = ("score", "kinds", "confidence", "cost", "measured")
    found = []
    for name, part in zip(anchors, parts, strict=True):
        if part is not None:
            part.set("id", f"{name}-{place}" if short else name)
            found.append(part)
    return found


def headline(run: ReportRun, place: int) -> Element:
    """UnF1 with its interval and bounds, the table of four, rates, and what speaks against the figures."""
    score = run.score
    rates = [
        el(
            "div",
            el("dt", label),
            el("dd", number(getattr(score, name)), el("small", score.undefined.get(name) or hint)),
        )
        for name, label, hint in _RATES
    ]
    return el(
        "section",
        el("div", _headline_text(score), _matrix(score, place), class_="two headline"),
        _notes(run),
        el("h2", "Rates", class_="hidden"),
        el("dl", rates, class_="rates spaced"),
        el("div", _asked(score), _unscored(score, place), class_="two spaced"),
        _failed(run),
        aria_label="Score",
    )


def _headline_text(score: Score) -> Element:
    how = {"bca": "BCa", "percentile": "percentile", None: ""}[score.unf1_ci_method]
    if score.unf1_ci:
        interval = f"95 % interval {span(score.unf1_ci)}"
        detail = f"{how}, by resampling {score.images.done} images"
    else:
        interval, detail = "no interval", score.undefined.get("unf1_ci", "")
    bounds = None
    if score.unf1_bounds and any(score.unscored.values()):
        total = sum(score.unscored.values())
        bounds = el("p", f"{span(score.unf1_bounds)} over all that the {total} unscored responses might have been")
    return el(
        "div",
        el("p", "UnF1", class_="name"),
        el("p", number(score.unf1), class_="value"),
        el("p", el("b", interval), el("span", f" ({detail})" if detail else "", class_="muted")),
        gauge(score),
        bounds,
        el("p", score.undefined["unf1"], class_="muted") if "unf1" in score.undefined else None,
        el("p", _in_words(score), class_="muted"),
    )


def _in_words(score: Score) -> str:
    if score.recall is None or score.over_refusal_rate is None:
        return "1 means that the model declined exactly the questions it had written as unanswerable."
    return (
        f"It declined {score.recall:.0%} of the questions that no one can answer from the image, "
        f"and {score.over_refusal_rate:.0%} of those that the image answers. 1 would be all of the first and none of the second."
    )


def gauge(score: Score, *, bare: bool = False) -> Element | None:
    """The score on a line from 0 to 1: bounds thin, interval thick, a dot; None while undefined. bare: without numbers."""
    if score.unf1 is None:
        return None
    width, y = 400, 10

    def x(value: float) -> float:
        return round(8 + value * (width - 16), 1)

    parts = [el("line", x1=x(0), x2=x(1), y1=y, y2=y, class_="s-line", stroke_width=2)]
    if score.unf1_bounds and any(score.unscored.values()):
        low, high = score.unf1_bounds
        parts.append(el("line", x1=x(low), x2=x(high), y1=y, y2=y, class_="s-muted", stroke_width=2))
    if score.unf1_ci:
        low, high = score.unf1_ci
        parts.append(el("line", x1=x(low), x2=x(high), y1=y, y2=y, class_="s-good", stroke_width=7))
    parts.append(el("circle", cx=x(score.unf1), cy=y, r=6, class_="f-paper s-good", stroke_width=3))
    if not bare:
        for value, text in ((0.0, "0"), (0.5, "0.5"), (1.0, "1")):
            anchor = {0.0: "start", 0.5: "middle", 1.0: "end"}[value]
            at = {0.0: 2.0, 0.5: x(0.5), 1.0: width - 2.0}[value]
            parts.append(el("text", text, x=at, y=34, text_anchor=anchor, class_="f-muted", font_size=12))
    said = f"UnF1 {number(score.unf1)}" + (f", 95 % interval {span(score.unf1_ci)}" if score.unf1_ci else "")
    element = el("svg", parts, aria_label=said, role="img", class_="gauge")
    element.set("viewBox", f"0 0 {width} {20 if bare else 40}")
    return element


def _matrix(score: Score, place: int) -> Element:
    counts = score.counts

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
        el("caption", "What questions were meant to be, and what the model did"),
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
    if run.manifest.subject.backend == "scripted":
        lines.append(el("li", el("b", "Simulated"), SIMULATED))
    lines += [el("li", el("b", "Note"), warning) for warning in run.score.warnings]
    return el("ul", lines, class_="notes") if lines else None


def _asked(score: Score) -> Element:
    questions, images = score.questions, score.images
    total = "" if images.total is None else f" of {images.total:,}"
    each = score.questions_per_label
    wanted = "the questions that were given" if each is None else f"{2 * each} an image, half of them unanswerable"
    return el(
        "div",
        el("h3", "Images and questions"),
        _facts(
            ("Images", f"{images.done:,}{total} examined, {images.failed:,} failed"),
            ("Wanted", wanted),
            ("Asked", f"{questions.asked:,}"),
            ("Dropped", f"{questions.duplicate:,} duplicate, {questions.malformed:,} malformed"),
            ("Missing", f"{questions.missing:,}"),
        ),
    )


def _unscored(score: Score, place: int) -> Element:
    reasons = {reason: n for reason, n in score.unscored.items() if n}
    if not reasons:
        return el("div", el("h3", "Unscored responses"), el("p", "None: every response is in one of the four types."))
    show = el("button", "Show them", type="button", class_="act", data_filter="type=unscored", data_run=place)
    share = sum(reasons.values()) / score.questions.asked
    return el(
        "div",
        el("h3", f"Unscored responses: {sum(reasons.values()):,} ({share:.1%})"),
        _facts(*((reason, f"{n:,}") for reason, n in reasons.items())),
        el("p", show, class_="gap"),
    )


def _failed(run: ReportRun) -> Element | None:
    failed = [each for each in run.examinations if each.failure]
    if not failed:
        return None
    lines = [
        el("li", el("span", each.image.id, class_="said mono", dir="auto"), f": {each.failure}")
        for each in failed[:_MOST_FAILED]
    ]
    if len(failed) > _MOST_FAILED:
        lines.append(el("li", f"and {len(failed) - _MOST_FAILED:,} more; journal.jsonl has them all"))
    return el("details", el("summary", f"{len(failed):,} images failed"), el("ul", lines), class_="more")


def _facts(*pairs: tuple[str, Child]) -> Element:
    return el("dl", [part for name, value in pairs for part in (el("dt", name), el("dd", value))], class_="facts")


def kinds(run: ReportRun, place: int) -> Element | None:
    """Recall by kind as a plot and a table; None if no unanswerable question was asked."""
    score = run.score
    if not score.by_kind:
        return None
    rows = [
        (
            kind,
            f"{each.n:,}",
            f"{each.tu:,}",
            f"{each.fa:,}",
            f"{each.unscored:,}",
            number(each.recall),
            number(each.unf1),
        )
        for kind, each in score.by_kind.items()
    ]
    heads = ("kind", "asked", "declined", "answered", "unscored", "recall", "UnF1")
    caption = (
        "95 % intervals by Wilson's formula, each question on its own; the dashed line is the recall over all kinds."
    )
    return el(
        "section",
        el("h2", "Why a question has no answer"),
        el(
            "div",
            figure(plots.recall_by_kind(score, f"kinds-{place}"), caption),
            table("Unanswerable questions, by the reason the model gave for writing them", heads, rows, range(1, 7)),
            class_="two",
        ),
    )


def confidence(run: ReportRun, place: int) -> Element | None:
    """Conventional metrics: what the score has beyond its own figures, and curves of the confidence signals; None without any."""
    tables = further_tables(run.score)
    found = signals(run.examinations)
    drawn = [
        figure(
            plots.roc_curves(found, f"roc-{place}"),
            "Confidence in what was said, abstentions too, as a sign that the question was answerable; an area of .5 is chance.",
        ),
        figure(
            plots.reliability(found, f"reliability-{place}"),
            "Answers in bins of equal number; on the diagonal, confidence is calibrated.",
        ),
        figure(plots.risk_coverage(found, f"risk-{place}"), "Keeping the surest answers first. Lower is better."),
    ]
    drawn = [each for each in drawn if each is not None]
    if not tables and not drawn:
        return None
    return el(
        "section",
        el("h2", "Beside UnF1"),
        el("div", drawn, class_="two") if drawn else None,
        _further(tables),
    )


def _further(tables: Sequence[Table]) -> list[Element]:
    """The tables of figures told generically; those of parts are folded away below the whole."""
    found: list[Element] = []
    for each in tables:
        title = each.title[:1].upper() + each.title[1:]
        made = table(title, each.heads, each.rows, _numeric(each))
        if len(each.heads) < 3:
            made.set("class", "scroll narrow")
        if not each.depth:
            found.append(made)
        elif found and found[-1].tag == "details":
            found[-1].append(made)
        else:
            found.append(el("details", el("summary", "In detail"), made, class_="more"))
    return found


def _numeric(each: Table) -> list[int]:
    """The columns that hold figures alone."""
    columns = list(zip(*each.rows, strict=True))
    return [place for place in range(1, len(columns)) if all(_FIGURE.fullmatch(text) for text in columns[place])]


def cost(run: ReportRun, told: Timeline, place: int) -> Element:
    """What the run took: calls, tokens, money, time; over time, and by role."""
    score = run.score
    waits = told.wait_s or latencies(run.examinations)
    source = "as this run waited for them" if told.wait_s else "as stored with the replies, which came from the cache"
    pairs: list[tuple[str, Child]] = [("Cost", money(score.cost_usd))]
    if score.calls and score.tokens:
        roles = ", ".join(f"{n:,} {role}" for role, n in score.calls.by_role.items() if n)
        again = ", ".join(f"{n:,} {role}" for role, n in told.retried.items() if n)
        pairs += [
            ("Calls made", f"{score.calls.made:,}" + (f" ({roles})" if roles else "")),
            ("From the cache", f"{score.calls.cached:,}"),
            ("Retried", f"{score.calls.retried:,}" + (f" ({again})" if again else "")),
            ("Input tokens", f"{score.tokens.input:,} ({score.tokens.cached_input:,} cached by the provider)"),
            ("Output tokens", f"{score.tokens.output:,} ({score.tokens.reasoning:,} for thinking)"),
        ]
    if told.lost:
        pairs.append(("Fate unknown", f"{told.lost:,} attempts, booked at their worst"))
    if score.wall_s is not None:
        sessions = f", in {told.sessions} sessions" if told.sessions > 1 else ""
        pairs.append(("Time", f"{seconds(score.wall_s)}{sessions}"))
    if score.cost_usd and score.images.done:
        pairs.append(("An image", money(score.cost_usd / score.images.done)))
    if run.manifest.max_cost_usd is not None:
        pairs.append(("Cap", money(run.manifest.max_cost_usd)))
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
            el("div", _facts(*pairs), el("div", latency, class_="spaced") if latency is not None else None),
            el(
                "div",
                figure(
                    plots.over_time(told, f"time-{place}"),
                    "From the run's ledger; pauses between sessions are left out.",
                ),
                figure(
                    plots.latency_by_role(waits, f"latency-{place}"), "Latency of the replies, by what they were for."
                ),
                class_="stack",
            ),
            class_="two",
        ),
    )


def measured(run: ReportRun) -> Element:
    """What was measured: enough to repeat it."""
    manifest, score = run.manifest, run.score
    subject = manifest.subject
    where = (
        "simulated in this process" if subject.backend == "scripted" else subject.endpoint or "the vendor's endpoint"
    )
    price = subject.price
    beside = [
        "grounding of answers" if manifest.grounded else "",
        "confidence" if manifest.confidence else "",
        f"{manifest.samples} samples of each answer" if manifest.samples else "",
    ]
    limits = subject.limits
    pairs: list[tuple[str, Child]] = [
        ("Model", f"{subject.name}" + (f", {subject.model} on the wire" if subject.model else "")),
        ("Where", "in this process" if subject.backend == "tiny" else where),
        ("Judge", ", ".join(_whom(manifest, name) for name in manifest.judges) or "rules only"),
        *([("Auditors", ", ".join(_whom(manifest, name) for name in manifest.auditors))] if manifest.auditors else []),
        *([("Asked beside", ", ".join(filter(None, beside)))] if any(beside) else []),
        ("Prompts", f"{manifest.pack}, version {manifest.pack_version}"),
        ("Their hash", el("code", manifest.pack_sha256)),
        ("Questions", _source(manifest)),
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
        pairs.append(("Stops at", f"UnF1 ± {manifest.until_ci:g}"))
    pairs += [
        ("Begun", manifest.created.replace("T", " ").replace("+00:00", " UTC")),
        ("Run", el("code", manifest.run_id)),
        ("Versions", ", ".join(f"{name} {version}" for name, version in manifest.versions.items())),
    ]
    half = (len(pairs) + 1) // 2
    return el(
        "section",
        el("h2", "What was measured"),
        el("div", _facts(*pairs[:half]), _facts(*pairs[half:]), class_="two"),
    )


def _whom(manifest: Manifest, name: str) -> str:
    model = manifest.profile(name).model
    return "the measured model itself" if name == "self" else f"{name} ({model})" if model and model != name else name


def _source(manifest: Manifest) -> str:
    source = manifest.source
    if source is None:
        return f"{manifest.questions} answerable and {manifest.questions} unanswerable an image, by the model"
    skipped = ", ".join(f"{n:,} {reason}" for reason, n in source.skipped.items())
    kind = {"labelled": "labelled set", "run": "another run"}[source.kind]
    return f"given, from {source.name} ({source.format or kind})" + (f"; left out: {skipped}" if skipped else "")


# --- several runs ----------------------------------------------------------------------------------------------------


def _notes_text(number: int) -> str:
    return "" if not number else "1 note" if number == 1 else f"{number} notes"


def ranked(runs: Sequence[ReportRun]) -> list[int]:
    """The places of the runs, best UnF1 first; those without one last, unreliable ones in their place."""
    values = [run.score.unf1 for run in runs]
    return sorted(range(len(runs)), key=lambda place: -1.0 if (value := values[place]) is None else value, reverse=True)


def several(
    runs: Sequence[ReportRun], labels: Sequence[str], scale: Mapping[str, float] | None, cross: CrossMatrix | None
) -> list[Element]:
    """The runs side by side: a table, intervals, UnF1 by size where sizes are given, and the cross matrix if there is one."""
    from unsaf_async.compare import differences_in_setting

    order = ranked(runs)
    rows = []
    for rank, place in enumerate(order, 1):
        score = runs[place].score
        flag = "unreliable" if score.unreliable else _notes_text(len(score.warnings))
        rows.append(
            (
                el("span", f"{rank}. ", el("a", labels[place], href=f"#run-of-{place}", class_="said")),
                number(score.unf1),
                span(score.unf1_ci),
                number(score.recall),
                number(score.over_refusal_rate),
                f"{score.images.done:,}",
                f"{sum(score.unscored.values()):,}",
                runs[place].manifest.judge_name,
                money(score.cost_usd),
                flag,
            )
        )
    heads = ("run", "UnF1", "95 % interval", "recall", "over-refusal", "images", "unscored", "judge", "cost", "")
    drawn = [
        (labels[place], value, runs[place].score.unf1_ci)
        for place in order
        if (value := runs[place].score.unf1) is not None
    ]
    sized = [
        (label, scale[key], value, interval)
        for (label, value, interval), place in zip(
            drawn, [p for p in order if runs[p].score.unf1 is not None], strict=True
        )
        if scale and (key := next((name for name in names_of(label, runs[place]) if name in scale), None)) is not None
    ]
    parts = [
        figure(
            plots.intervals(drawn, "intervals"),
            "Intervals resample each run's own images; overlap is no test of a difference.",
        ),
        figure(plots.scale(sized, "scale"), "Sizes as given."),
        figure(plots.heat_map(cross, "cross"), "Rows wrote the questions, columns answered them.") if cross else None,
    ]
    caveat = differences_in_setting({label: run.manifest for label, run in zip(labels, runs, strict=True)})
    return [
        el(
            "section",
            el("h2", "Leaderboard"),
            table("Best UnF1 first", heads, rows, (1, 2, 3, 4, 5, 6, 8)),
            el("ul", [el("li", el("b", "Note"), text) for text in caveat], class_="notes") if caveat else None,
            el("div", [part for part in parts if part is not None], class_="two spaced"),
            id="leaderboard",
        )
    ]
