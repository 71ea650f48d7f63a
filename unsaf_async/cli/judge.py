"""`judge calibrate`: how often a judge is wrong."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unsaf_async.cli import options as o
from unsaf_async.cli import run
from unsaf_async.cli.from_fields import from_fields
from unsaf_async.cli.streams import tell
from unsaf_async.runs.settings import DEFAULT_CACHE, Cache, Judge, JudgeApiBase, MaxCost
from unsaf_async.text import printable_json

if TYPE_CHECKING:
    from unsaf_async.checks.calibrate_judge import Calibrated
    from unsaf_async.score.calibration import Confusion, LabelCheck

app = typer.Typer(help="Judges, and how far they can be trusted.", no_args_is_help=True)


@app.callback()
def top() -> None:
    """Judges, and how far they can be trusted."""


@app.command("calibrate")
@from_fields(leave_out=("no_cache",))
def calibrate(
    data: Annotated[
        Path,
        typer.Argument(
            parser=o.folder,
            metavar="LABELLED",
            help="JSONL: question, text (the response), label (answered or abstained).",
        ),
    ],
    judge: Judge = None,
    judge_api_base: JudgeApiBase = None,
    prompts: Annotated[str, typer.Option(metavar="PACK", help="The prompt pack whose judge.md is used.")] = "unsaf",
    max_cost: MaxCost = None,
    out: Annotated[
        Path | None,
        typer.Option(parser=o.folder, metavar="FILE", help="Where the result goes. Default: judge-NAME.json."),
    ] = None,
    cache: Cache = DEFAULT_CACHE,
    json: o.Json = False,
    yes: o.Yes = False,
) -> int:
    """Measure a judge, or the rules alone, against human labels. The result corrects UnF1: `run --judge-calibration FILE`."""
    import asyncio

    from unsaf_async.calls.budget import NANO
    from unsaf_async.checks import calibrate_judge as bench
    from unsaf_async.errors import UserError
    from unsaf_async.score.calibration import write_calibration

    if max_cost is not None and not 0 < max_cost < float("inf"):
        raise UserError(f"--max-cost is {max_cost:g}; give an amount in USD above 0")
    prepared = asyncio.run(bench.prepare(data, tuple(judge or ("rules",)), prompts, judge_api_base))
    run.say_called(None, tuple(prepared.judges), (), prepared.judges)
    _say_labels(prepared.labels)
    worst_usd = sum(map(prepared.worst_nano_usd, prepared.rows)) / NANO
    if max_cost is None and not yes:
        what = f"{prepared.name}, {len(prepared.rows)} responses"
        run.agree_on_cost(what, worst_usd, worst_usd)
    file = out or Path(f"judge-{re.sub(r'[^A-Za-z0-9._-]+', '-', prepared.name)}.json")
    ledger = file.with_suffix(".ledger.jsonl")
    calibrated = asyncio.run(bench.calibrate(prepared, ledger, cache or DEFAULT_CACHE, max_cost))
    write_calibration(file, calibrated.file)
    if json:
        sys.stdout.write(printable_json(calibrated.file.model_dump_json(indent=2)) + "\n")
    else:
        _print(calibrated)
        sys.stdout.write(f"\nWritten to {file}\n")
    if calibrated.why_stopped:
        tell(
            f"stopped early after {calibrated.judged} of {len(prepared.rows)} responses: "
            f"{calibrated.why_stopped}; the same command goes on; what is finished is kept"
        )
        return 3
    return 0


def _say_labels(check: LabelCheck) -> None:
    """Labels that contradict their texts, on stderr."""
    from unsaf_async.checks.labels import said_of

    for source, each in check.shifted.items():
        tell(
            f"source {source!r}: {said_of(each)}, so labels and texts look shifted against each other; "
            f"its {each.rows} rows are left out"
        )
    if check.contradicted:
        numbers = ", ".join(map(str, check.contradicted[:8])) + (", ..." if len(check.contradicted) > 8 else "")
        one = len(check.contradicted) == 1
        tell(
            f"{len(check.contradicted)} label{' contradicts its' if one else 's contradict their'} text "
            f"(row{'' if one else 's'} {numbers}); {check.entered} of {check.rows} rows enter"
        )


def _print(calibrated: Calibrated) -> None:
    from rich.table import Table

    from unsaf_async.cli.console import console, safe
    from unsaf_async.text import format_figure

    table = Table(
        "", "responses", "decided", "accuracy", "F1", "kappa", "sensitivity", "specificity", box=None, pad_edge=False
    )

    def row(name: str, confusion: Confusion) -> None:
        figures = (confusion.accuracy, confusion.f1, confusion.kappa, confusion.sensitivity, confusion.specificity)
        table.add_row(
            safe(name),
            str(confusion.rows),
            f"{confusion.decided:.1%}" if confusion.decided is not None else "n/a",
            *map(format_figure, figures),
        )

    confusions = calibrated.file.confusions
    row("all", confusions.overall)
    for decider, confusion in confusions.by_decider.items():
        row(f"decided by {decider}", confusion)
    for column, groups in confusions.by_group.items():
        for name, confusion in groups.items():
            row(f"{column} {name}", confusion)
    out = console()
    out.print(f"[bold]{safe(calibrated.file.judge)}[/bold] on {safe(calibrated.file.data)}")
    out.print(table)
    table = Table(
        "people say",
        "judged answered",
        "judged abstained",
        "refused",
        "no image",
        "invalid",
        "no verdict",
        box=None,
        pad_edge=False,
    )
    for label, counts in (("answered", confusions.overall.answered), ("abstained", confusions.overall.abstained)):
        table.add_row(
            label,
            *map(
                str, (counts.answered, counts.abstained, counts.refused, counts.no_image, counts.invalid, counts.none)
            ),
        )
    out.print()
    out.print(table)
    out.print("\nAccuracy, F1 and kappa are of the decided responses; sensitivity and specificity are for abstentions.")
    out.print(f"Cost: ${calibrated.cost_usd:.4f} for {calibrated.calls} calls")
