"""`show`: a finished or unfinished run, read back."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from unsaf_async.cli import options as o
from unsaf_async.cli.hints import again
from unsaf_async.cli.run import failures_of
from unsaf_async.cli.streams import tell
from unsaf_async.text import printable_json, shown

if TYPE_CHECKING:
    from pathlib import Path

    from unsaf_async.runs.saved import SavedRun


def show(
    run_dir: o.RunDir,
    json: Annotated[bool, typer.Option("--json", help="Print the score as JSON, and nothing else, on stdout.")] = False,
    as_suite: Annotated[
        bool,
        typer.Option(
            "--as-suite", help="Print the file of a suite that makes the run again, and nothing else, on stdout."
        ),
    ] = False,
) -> int:
    """Show a run's score. It is computed anew if the run's files have changed since it was written."""
    from unsaf_async.runs.saved import SavedRun

    saved = SavedRun(run_dir)
    if as_suite:
        from unsaf_async.runs import suite

        sys.stdout.write(suite.as_suite(saved))
        return 0
    found = saved.findings  # before a word is said: a file may be damaged
    if saved.score is None and saved.files.basis.exists():
        tell(f"{saved.files.score} is not that of the run as it is now; computed anew")
    if json:
        sys.stdout.write(printable_json(found.model_dump_json(indent=2)) + "\n")
        return 0
    if saved.origin:
        tell(f"{run_dir}: {saved.origin}")
    from unsaf_async.cli.render import print_score

    failures = failures_of(saved.files.journal) if found.images.failed else ()
    print_score(found, saved.manifest, failures, saved.held)
    if pending := saved.manifest.images - found.images.done - found.images.failed:
        left = f"{pending} of {saved.manifest.images} images are not done"
        if found.stopped and found.stopped.early:
            left += f" (stopped early: {shown(found.stopped.why)})"
        more = " --max-cost USD" if found.stopped and found.stopped.kind == "cap" else ""
        why = _why_none_can_be(saved)
        then = f"none of them can be: {why}" if why else f"{again(run_dir, more)} goes on"
        sys.stdout.write(f"\n{left}: {then}\n")
    _say_judged_anew(saved)
    if saved.files.batches.exists():
        _say_batches(saved.files.batches)
    return 0


def _why_none_can_be(saved: SavedRun) -> str:
    """Why a run that goes on would fail as it did; "" where it need not."""
    from unsaf_async.errors import UserError
    from unsaf_async.runs.readable import why_unreadable

    manifest = saved.manifest
    try:
        return why_unreadable(manifest.subject, saved.pack, None if manifest.source else manifest.questions)
    except UserError:  # prompts or a model that are gone: `resume` says which
        return ""


def _say_judged_anew(saved: SavedRun) -> None:
    """Prints what other judges made of the run's answers."""
    from unsaf_async.text import format_bracketed, format_headline

    for other in saved.judged:
        score = other.score
        figures = "not finished"
        if score is not None:
            ends = format_bracketed(None if score.unf1_between else score.unf1_ci)
            figures = f"{score.f1_name} {format_headline(score.unf1, score.unf1_between)}{ends}"
        sys.stdout.write(
            f"Judged anew by {shown(other.manifest.judge_words)} in {shown(str(other.folder))}: {figures}\n"
        )


def _say_batches(register: Path) -> None:
    """Prints which batches are with a vendor."""
    from datetime import datetime

    from unsaf_async.calls.batches.register import open_batches
    from unsaf_async.text import format_count

    for batch in open_batches(register).values():
        since = datetime.fromtimestamp(batch.since_s).strftime("%Y-%m-%d %H:%M")  # noqa: DTZ006 - the user's own time
        name = f" as {shown(batch.batch)}" if batch.batch else ""
        sys.stdout.write(f"With the vendor since {since}{name}: a batch of {format_count(len(batch.rows), 'call')}\n")
