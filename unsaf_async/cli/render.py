"""Scores, plans and provider lists as tables for people."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unsaf_async.doctor import Diagnosis
    from unsaf_async.estimate import Estimate
    from unsaf_async.profiles import Listing
    from unsaf_async.runs import Manifest
    from unsaf_async.score import Score
    from unsaf_async.settings import Prepared

SIMULATED = (
    "A simulated model was measured: its figures show that the pipeline works, and say nothing about any real model."
)

MOST_FAILURES = 20
"""How many failed images are listed."""


def print_score(score: Score, manifest: Manifest, failures: Sequence[tuple[str, str]] = ()) -> None:
    """The score, to stdout: headline, the four types, rates, kinds, and everything that was not scored.

    failures: (id, reason) of images that failed.
    """
    console = _console()
    model = manifest.subject.model or manifest.subject.name
    console.print(f"[bold]{_safe(score.provider)}[/bold] ({_safe(model)}), judge: {_safe(score.judge)}")
    if manifest.subject.backend == "scripted":
        console.print(f"[yellow]{SIMULATED}[/yellow]")
    headline = f"[bold]UnF1 {_value(score, 'unf1')}[/bold]"
    if score.unf1_ci:
        headline += f"   95 % interval {score.unf1_ci[0]:.3f} to {score.unf1_ci[1]:.3f}"
    if score.unf1_bounds and any(score.unscored.values()):
        headline += f"   bounds with the unscored {score.unf1_bounds[0]:.3f} to {score.unf1_bounds[1]:.3f}"
    console.print(headline)
    for reason in score.unreliable:
        console.print(f"[red]Unreliable:[/red] {_safe(reason)}")
    for warning in score.warnings:
        console.print(f"[yellow]Note:[/yellow] {_safe(warning)}")

    counts = score.counts
    types = Table("intended", "answered", "abstained", box=None, pad_edge=False, title_justify="left")
    types.add_row("answerable", f"true answerable {counts.ta}", f"false unanswerable {counts.fu}")
    types.add_row("unanswerable", f"false answerable {counts.fa}", f"true unanswerable {counts.tu}")
    console.print()
    console.print(types)

    rates = Table.grid(padding=(0, 2))
    rates.add_row("precision", _value(score, "precision"), "recall", _value(score, "recall"))
    rates.add_row(
        "over-refusal rate", _value(score, "over_refusal_rate"), "over-answer rate", _value(score, "over_answer_rate")
    )
    rates.add_row("macro F1", _value(score, "macro_f1"), "Matthews correlation", _value(score, "matthews_correlation"))
    console.print()
    console.print(rates)

    if score.by_kind:
        kinds = Table("kind", "asked", "declined", "answered", "unscored", "recall", box=None, pad_edge=False)
        for kind, row in score.by_kind.items():
            recall = "n/a" if row.recall is None else f"{row.recall:.3f}"
            kinds.add_row(kind, str(row.n), str(row.tu), str(row.fa), str(row.unscored), recall)
        console.print()
        console.print(kinds)

    unscored = ", ".join(f"{number} {outcome}" for outcome, number in score.unscored.items() if number) or "none"
    questions = score.questions
    console.print()
    total = "" if score.images.total is None else f" of {score.images.total}"
    console.print(f"Images: {score.images.done}{total} done, {score.images.failed} failed")
    for name, reason in failures[:MOST_FAILURES]:
        console.print(f"  {_safe(name)}: {_safe(reason)}")
    if len(failures) > MOST_FAILURES:
        console.print(f"  and {len(failures) - MOST_FAILURES} more; journal.jsonl has them all")
    console.print(
        f"Questions: {questions.asked} asked; {questions.duplicate} duplicate and {questions.malformed} malformed dropped, "
        f"{questions.missing} missing"
    )
    console.print(f"Unscored responses: {unscored}")
    if score.calls and score.tokens and score.cost_usd is not None and score.wall_s is not None:
        roles = ", ".join(f"{number} {role}" for role, number in score.calls.by_role.items())
        console.print(
            f"Calls: {score.calls.made} made ({roles}), {score.calls.cached} from the cache, {score.calls.retried} retried"
        )
        console.print(
            f"Cost: ${score.cost_usd:.4f} for {score.tokens.input:,} input and {score.tokens.output:,} output tokens; "
            f"{score.wall_s:.1f} s"
        )
    for name, reason in score.undefined.items():
        if name in ("unf1", "precision", "recall", "unf1_ci"):
            console.print(f"{name} is n/a: {_safe(reason)}")


def print_plan(prepared: Prepared, figures: Estimate) -> None:
    """What a run would do and cost, to stdout."""
    console = _console()
    subject = prepared.subject
    price = subject.price
    table = Table.grid(padding=(0, 2))
    where = "simulated in this process" if subject.backend == "scripted" else f"at {subject.endpoint or 'the vendor'}"
    table.add_row(
        "model",
        f"{_safe(subject.name)} ({_safe(subject.model or 'whatever it serves')}), {_safe(where)}",
    )
    table.add_row(
        "judge",
        _safe(prepared.judge_name),
    )
    table.add_row(
        "images", f"{figures.images}" + (f", {figures.unreadable} of them unreadable" if figures.unreadable else "")
    )
    table.add_row("calls", f"about {figures.calls}")
    if price:
        table.add_row(
            "price",
            f"${price.input_usd_per_mtok:g} in, ${price.output_usd_per_mtok:g} out per million tokens ({_safe(price.source)})",
        )
    table.add_row("expected", f"${figures.expected_usd:.4f}")
    table.add_row("at worst", f"${figures.worst_usd:.4f} (every reply at its limit, every list asked twice)")
    if figures.per_image_worst_usd:
        table.add_row(
            "per image", f"${figures.per_image_worst_usd:.4f} at worst: --max-cost below this begins no image"
        )
    console.print(table)


def print_providers(listings: Sequence[Listing]) -> None:
    """The list of profiles, to stdout."""
    table = Table("name", "aliases", "$/M in", "$/M out", "req/min", "key", box=None, pad_edge=False)
    keys: dict[str, str] = {}
    for listing in listings:
        profile = listing.profile
        price = profile.price
        rpm = profile.limits.requests_per_minute
        key = "none"
        if profile.api_key_env:
            key = "set" if listing.key_set else "not set" if profile.api_key_required else "optional"
            keys[profile.api_key_env] = key
        table.add_row(
            _safe(profile.name),
            _safe(", ".join(listing.aliases)),
            f"{price.input_usd_per_mtok:g}" if price else "n/a",
            f"{price.output_usd_per_mtok:g}" if price else "n/a",
            f"{rpm:g}" if rpm else "learned" if profile.rate_headers != "none" else "no limit",
            key,
        )
    console = _console()
    console.print(table)
    console.print("\nKeys: " + ", ".join(f"{_safe(name)} {state}" for name, state in keys.items()))
    console.print("Prices: USD per million tokens. Learned: from the endpoint's rate headers, as they come.")


def _console() -> Console:
    """Stdout. In a pipe or a file, lines are as long as what they say, so that grep finds it."""
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 240
    return Console(highlight=False, emoji=False, width=width)


def _value(score: Score, name: str) -> str:
    value = getattr(score, name)
    return "n/a" if value is None else f"{value:.3f}"


def _safe(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def print_diagnosis(diagnosis: Diagnosis) -> None:
    """What `doctor` found, to stdout."""
    table = Table("looked at", "found", "profile", "detail", "what a run does", box=None, pad_edge=False)
    for probe in diagnosis.probes:
        says = "" if probe.profile is None else "yes" if probe.profile else "no"
        table.add_row(probe.what, probe.found, says, _safe(probe.detail), _safe(probe.then))
    console = _console()
    console.print(table)
    console.print(f"Cost: ${diagnosis.cost_usd:.4f}")
