"""Scores, plans and provider lists as tables for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Column, Table

from unsaf_async.cli.console import console, model_name, safe
from unsaf_async.cli.findings_tables import print_beside, print_labelled, print_missing
from unsaf_async.prompts import short_name
from unsaf_async.providers.addresses import LOCAL, mark, not_the_vendors, place
from unsaf_async.score.shown import without_other_readings
from unsaf_async.text import (
    FORM_WORDS,
    INTERVAL_METHODS,
    SIMULATED,
    format_count,
    format_figure,
    format_headline,
    format_interval,
    format_usd,
    prompt_cache_in_words,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from unsaf_async.checks.doctor import Diagnosis
    from unsaf_async.providers.resolve import Listing
    from unsaf_async.runs.estimate import Estimate
    from unsaf_async.runs.findings import Findings
    from unsaf_async.runs.folder import Manifest
    from unsaf_async.runs.prepare import Prepared
    from unsaf_async.runs.saved import Held
    from unsaf_async.score.run_score import Tokens

IN_JOURNAL = "; journal.jsonl has them all"
MOST_FAILURES = 10
"""How many failed images are listed."""


def print_score(
    score: Findings, manifest: Manifest, failures: Sequence[tuple[str, str]] = (), held: Held | None = None
) -> None:
    """The score, to stdout: headline, the four types, rates, kinds, what is measured beside it, and everything not scored.

    failures: (id, reason) of images that failed. held: what of the cost is held for calls in batches; None for nothing.
    """
    out = console()
    marked = f" ({LOCAL})" if mark(manifest.subject) == LOCAL else ""
    name = model_name(score.provider, manifest.subject.model)
    prompts = f", prompts: {safe(short_name(manifest.pack))}" if manifest.pack not in ("unsaf", "tiny") else ""
    out.print(f"[bold]{name}[/bold]{marked}, judge: {safe(score.judge)}{prompts}")
    if manifest.subject.backend == "scripted":
        out.print(f"[yellow]{SIMULATED}[/yellow]")
    elif note := not_the_vendors(manifest.subject):
        out.print(f"[yellow]Note:[/yellow] {safe(note)}")
    if manifest.judged_anew:
        rubric = manifest.judged_anew.rubric_name
        out.print(
            f"The answers are those of the run in the folder above judged/{f', judged by {safe(rubric)}' if rubric else ''}"
        )
    if manifest.form != "open":
        out.print(f"Questions are put {FORM_WORDS[manifest.form]}")
    print_labelled(score, manifest, out)
    if manifest.source and manifest.source.kind == "run":
        out.print(f"The questions are those of {safe(manifest.source.name)}, {safe(manifest.source.path)}")
    notes = (*manifest.notices, *score.warnings)
    if score.labelled and score.labelled.pope:
        _print_notes(notes, out)
        _print_accounts(score, failures, held, out)
        return
    between = score.unf1_between
    headline = f"[bold]{score.f1_name} {format_headline(score.unf1, between)}[/bold]"
    if score.unf1_ci and not between:
        headline += f"   95 % interval {format_interval(score.unf1_ci)}"
        if score.unf1_ci_method and score.unf1_ci_method != "logit_t":
            headline += f" ({INTERVAL_METHODS[score.unf1_ci_method]})"
    out.print(headline)
    print_missing({"unf1": score.f1_name}, score, out)
    if score.unf1_bounds and any(score.unscored.values()) and not between:
        out.print(f"bounds with the unscored {format_interval(score.unf1_bounds)}")
    for reason in score.unreliable:
        out.print(f"[red]Unreliable:[/red] {safe(reason)}")
    _print_notes(notes, out)

    counts = score.counts
    types = Table("intended", "answered", "abstained", box=None, pad_edge=False, title_justify="left")
    types.add_row("answerable", f"true answerable {counts.ta}", f"false unanswerable {counts.fu}")
    types.add_row("unanswerable", f"false answerable {counts.fa}", f"true unanswerable {counts.tu}")
    out.print()
    out.print(types)

    out.print()
    shown = without_other_readings(score)
    out.print(_rates(shown))
    print_missing(_RATES, shown, out)
    if score.by_kind:
        out.print()
        out.print(_kinds(score))
        print_missing({f"by_kind.{kind}.recall": kind for kind in score.by_kind}, score, out)

    print_beside(score, out)
    _print_accounts(score, failures, held, out)


def _print_notes(notes: Sequence[str], out: Console) -> None:
    for note in notes:
        out.print(f"[yellow]Note:[/yellow] {safe(note)}")


_RATES = {
    "precision": "precision (timidity)",
    "recall": "recall (audacity)",
    "over_refusal_rate": "over-refusal rate",
    "over_answer_rate": "over-answer rate",
    "macro_f1": "macro F1",
    "matthews_correlation": "Matthews correlation",
    "audacity_of_answers": "audacity of answers",
    "unf1_of_precisions": "F1 of precisions",
}


def _rates(score: Findings) -> Table:
    table = Table("", "", "95 % interval", box=None, pad_edge=False)
    for name, words in _RATES.items():
        table.add_row(words, _value(score, name), format_interval(score.intervals.get(name)))
    return table


def _kinds(score: Findings) -> Table:
    heads = ("kind", "asked", "declined", "answered", "unscored", "refused", "recall", "95 % interval")
    table = Table(*heads, box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for kind, row in score.by_kind.items():
        of_kind = (row.n, row.tu, row.fa, row.unscored, row.refused)
        ends = format_interval(score.intervals.get(f"by_kind.{kind}.recall"))
        table.add_row(safe(kind), *map(str, of_kind), format_figure(row.recall), ends)
    return table


def _print_accounts(score: Findings, failures: Sequence[tuple[str, str]], held: Held | None, out: Console) -> None:
    """Images, questions, calls and money."""
    unscored = ", ".join(f"{number} {outcome}" for outcome, number in score.unscored.items() if number) or "none"
    questions = score.questions
    out.print()
    total = "" if score.images.total is None else f" of {score.images.total}"
    out.print(f"Images: {score.images.done}{total} done, {score.images.failed} failed")
    print_failures(failures, out)
    other = f" and {questions.other_label} under the other label's heading" if questions.other_label else ""
    out.print(
        f"Questions: {questions.asked} asked; {questions.duplicate} duplicate and {questions.malformed} malformed{other} "
        f"dropped, {questions.missing} missing"
    )
    if score.judged_together:
        out.print(f"Judged together: {score.judged_together.in_words}")
    out.print(f"Unscored responses: {unscored}")
    if score.calls and score.tokens and score.cost_usd is not None and score.wall_s is not None:
        roles = ", ".join(f"{number} {role}" for role, number in score.calls.by_role.items())
        unsent = f"; {format_count(score.calls.unsent, 'attempt')} found no connection" if score.calls.unsent else ""
        calls = f"Calls: {score.calls.made} made ({roles}), {score.calls.cached} from the cache, {score.calls.retried} retried"
        out.print(f"{calls}{unsent}")
        out.print(_cost(score, score.tokens, held))


def _cost(score: Findings, tokens: Tokens, held: Held | None) -> str:
    """What a run has cost, for what, and what is held beside it."""
    held_calls, held_usd = (held.calls, held.usd) if held else (0, 0.0)
    parts, paid_usd = [f"{score.wall_s:.1f} s"], (score.cost_usd or 0.0) - held_usd
    if lost := (score.unknown_attempts or 0) - held_calls:
        usd = format_usd((score.cost_unknown_usd or 0.0) - held_usd, 4)
        parts.append(f"{usd} of it for {format_count(lost, 'attempt')} of unknown fate, booked at their worst")
    if said := prompt_cache_in_words(score.prompt_cache_saved_usd, paid_usd):
        parts.append(said)
    if held and held.calls:
        calls = (
            f"{format_count(held.calls, 'call')} in {format_count(held.batches, 'batch', 'batches')} with the vendor"
        )
        most = f"{format_usd(held.usd, 4)}, their worst case, until their replies are here"
        parts.append(f"and held for {calls}: {most}")
    used = f"{tokens.input:,} input and {tokens.output:,} output tokens"
    return f"Cost: {format_usd(paid_usd, 4)} for {used}; {'; '.join(parts)}"


def print_failures(failures: Sequence[tuple[str, str]], out: Console | None = None, more: str = IN_JOURNAL) -> None:
    """Failed images with their reasons: the first `MOST_FAILURES`, then a count.

    failures: (id, reason) of each. out: None for stdout. more: where the others are.
    """
    out = out or console()
    for name, reason in failures[:MOST_FAILURES]:
        out.print(f"  {safe(name)}: {safe(reason)}")
    if len(failures) > MOST_FAILURES:
        out.print(f"  and {len(failures) - MOST_FAILURES} more{more}")


def print_plan(prepared: Prepared, figures: Estimate) -> None:
    """What a run would do and cost, to stdout."""
    out = console()
    subject = prepared.subject
    table = Table.grid(padding=(0, 2))
    out.print(planned(prepared))
    table.add_row("model", safe(place(subject)))
    together = prepared.settings.judge_together
    several = f", up to {together} responses of an image in one call" if together > 1 else ""
    table.add_row("judge", safe(prepared.judge_name) + several)
    if prepared.auditors:
        table.add_row("auditor", safe(", ".join(prepared.auditors)))
    table.add_row(
        "images", f"{figures.images}" + (f", {figures.unreadable} of them cannot be used" if figures.unreadable else "")
    )
    if figures.until_ci_images is not None:
        table.add_row("until-ci", safe(_needed(figures, prepared.settings.until_ci)))
    table.add_row("calls", f"about {figures.calls}")
    for number, line in enumerate(prices_of(prepared)):
        table.add_row("" if number else "price", safe(line))
    batch = prepared.settings.batch
    if batch:
        profiles = (subject, *prepared.others.values())
        sold = [f"{safe(each.name)} x {each.batch_price:g}" for each in profiles if each.in_batches]
        table.add_row(
            "batches", f"{', '.join(sold)}; the first image's calls go alone; a provider's cache is not counted on"
        )
    free = is_free(prepared)
    table.add_row("expected", FREE if free else format_usd(figures.expected_usd, 4))
    saved = f"{format_usd(figures.prompt_cache_saves_usd, 4)} less, expected"
    if said := "; ".join(filter(None, (saved if figures.prompt_cache_saves_usd > 0 else "", figures.prompt_cache))):
        table.add_row("caching", safe(said))
    worst = "every reply at its limit, every list asked twice" + ", no batch worked off" * batch
    if not free:
        table.add_row("at worst", f"{format_usd(figures.worst_usd, 4)} ({worst})")
    if figures.per_image_worst_usd:
        table.add_row(
            "per image", f"{format_usd(figures.per_image_worst_usd, 4)} at worst: --max-cost below this begins no image"
        )
    out.print(table)
    print_failures(figures.failures, out, more="")


FREE = "free: no model of this run has a price"


def is_free(prepared: Prepared) -> bool:
    """Whether no model that a run calls has a price above 0.

    Args:
        prepared: The run.

    Returns:
        False also where a price is not known.
    """
    prices = [profile.price for profile in (prepared.subject, *prepared.others.values())]
    return all(each is not None and not (each.input_usd_per_mtok or each.output_usd_per_mtok) for each in prices)


def planned(prepared: Prepared) -> str:
    """What an estimate is of, in one line: the model, the images, the questions.

    Args:
        prepared: The run.

    Returns:
        The line, fit to be printed.
    """
    subject, source, each = prepared.subject, prepared.source, prepared.settings.questions
    name = model_name(subject.name, subject.model or "whatever it serves")
    questions = f"the questions of {safe(source.name)}" if source else f"{each} + {each} questions each"
    return f"[bold]{name}[/bold]: {format_count(len(prepared.images), 'image')}, {questions}"


def _needed(figures: Estimate, half_width: float | None) -> str:
    """How many images the rule that stops the run is expected to take."""
    enough = figures.images - figures.unreadable
    needed = f"about {format_count(figures.until_ci_images or 0, 'image')} for UnF1 \u00b1 {half_width:g}"
    if (figures.until_ci_images or 0) > enough:
        needed += f", more than there are: all {enough} will be examined"
    return f"{needed}; assumed: {figures.assumed}"


def prices_of(prepared: Prepared) -> Iterator[str]:
    """What each model of a run takes, in words.

    Args:
        prepared: The run.

    Yields:
        A line a model that has a price: the measured one, the judges, the auditors.
    """
    for name, profile in {"self": prepared.subject, **prepared.others}.items():
        roles = ["judge"] * (name in prepared.judges) + ["auditor"] * (name in prepared.auditors)
        if profile.price and (roles or name == "self"):
            who = f"{profile.name} ({' and '.join(roles)})" if roles and name != "self" else profile.name
            tokens = f"${profile.price.input_usd_per_mtok:g} in, ${profile.price.output_usd_per_mtok:g} out per million tokens"
            yield f"{who}: {tokens} ({profile.price.source})"


def print_providers(listings: Sequence[Listing]) -> None:
    """The list of profiles, to stdout."""
    # Names are what one types: they are not cut, and break between two aliases alone.
    aliases = [", ".join(listing.aliases) for listing in listings]
    longest = max(len(part) for text in aliases for part in [*text.split(" "), ""])
    table = Table(
        Column("name", no_wrap=True), Column("aliases", min_width=longest), "$/M in", "$/M out", "req/min", "key",
        Column("ends", no_wrap=True), box=None, pad_edge=False, padding=(0, 1, 0, 0),
    )  # fmt: skip
    keys: dict[str, str] = {}
    for listing, names in zip(listings, aliases, strict=True):
        profile = listing.profile
        price = profile.price
        rpm = profile.limits.requests_per_minute
        key = "none"
        if profile.api_key_env:
            key = "set" if listing.key_set else "not set" if profile.api_key_required else "optional"
            keys[profile.api_key_env] = key
        table.add_row(
            safe(profile.name),
            safe(names),
            f"{price.input_usd_per_mtok:g}" if price else "n/a",
            f"{price.output_usd_per_mtok:g}" if price else "n/a",
            f"{rpm:g}" if rpm else "learned" if profile.rate_headers != "none" else "any",
            key,
            str(profile.ends or ""),
        )
    out = console()
    out.print(table)
    out.print("\nKeys: " + ", ".join(f"{safe(name)} {state}" for name, state in keys.items()))
    out.print(
        "Prices: USD per million tokens. Learned: from the endpoint's rate headers, as they come. Any: no limit is known. "
        "Ends: the vendor's last day."
    )


def _value(score: Findings, name: str) -> str:
    return format_figure(getattr(score, name))


def print_diagnosis(diagnosis: Diagnosis) -> None:
    """What `doctor` found, to stdout."""
    heads = ("looked at", "found", "profile", "detail", "what a run does")
    table = Table(*(Column(head, overflow="fold") for head in heads), box=None, pad_edge=False)
    for probe in diagnosis.probes:
        says = "" if probe.profile is None else "yes" if probe.profile else "no"
        table.add_row(probe.what, safe(probe.found), says, safe(probe.detail), safe(probe.then))
    out = console()
    out.print(table)
    out.print(f"Cost: {format_usd(diagnosis.cost_usd, 4)}")
