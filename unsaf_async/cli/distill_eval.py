"""`distill-eval`: a model before and after training, by gates."""

from __future__ import annotations

import asyncio
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unsaf_async.cli import options as o
from unsaf_async.cli import run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from unsaf_async.distill.evaluate.comparison import DistillEval
    from unsaf_async.distill.evaluate.gates import Thresholds
    from unsaf_async.distill.evaluate.plan import EvalPlan, EvalRun

HIDDEN = frozenset({"pope_official_accuracy", "pope_official_f1", "pope_official_yes_ratio"})
"""Figures that stand in the record alone."""


def distill_eval(
    before: Annotated[
        str, typer.Option(metavar="NAME", help="The model before training: a provider, as `run` takes it.")
    ],
    after: Annotated[str, typer.Option(metavar="NAME", help="The model after training.")],
    images: Annotated[
        list[str],
        typer.Option("--images", metavar="PATH ...", help="Held-out images, which the after-model was not trained on."),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", parser=o.folder, metavar="DIR", help="Where the runs and distill-eval.json go."),
    ],
    before_model: Annotated[
        str | None, typer.Option(metavar="ID", help="Model id at the endpoint, or the folder of a tiny model.")
    ] = None,
    after_model: Annotated[str | None, typer.Option(metavar="ID", help="The same of the after-model.")] = None,
    api_base: o.ApiBase = None,
    bank: Annotated[
        Path | None,
        typer.Option(
            parser=o.folder,
            metavar="RUN_DIR",
            help="Both answer the questions of that run, as far as they are about --images. Default: the before-model's own.",
        ),
    ] = None,
    labelled: Annotated[
        Path | None,
        typer.Option(parser=o.folder, metavar="FILE", help="A labelled set: accuracy, and over-refusal by its truth."),
    ] = None,
    labelled_format: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Of the labelled set, as `labelled` takes it. Default: recognised."),
    ] = None,
    labelled_images: Annotated[
        Path | None,
        typer.Option(parser=o.folder, metavar="DIR", help="Where its images lie. Default: where the file is."),
    ] = None,
    pope: Annotated[
        Path | None,
        typer.Option(parser=o.folder, metavar="DIR_OR_FILE", help="POPE: a file, or a folder whose files are pooled."),
    ] = None,
    pope_images: Annotated[
        Path | None,
        typer.Option(parser=o.folder, metavar="DIR", help="Where its images lie. Default: where the files are."),
    ] = None,
    judge: o.Judge = None,
    prompts: o.Prompts = None,
    questions: o.Questions = 6,
    limit: Annotated[
        int | None,
        typer.Option(parser=o.whole, metavar="N", help="Most images of each part, a random sample by --seed."),
    ] = None,
    seed: o.Seed = 0,
    min_own_gain: Annotated[
        float,
        typer.Option(parser=o.number, metavar="POINTS", help="Gate: UnF1 with own questions, interval above this."),
    ] = 0.0,
    min_bank_gain: Annotated[
        float, typer.Option(parser=o.number, metavar="POINTS", help="Gate: UnF1 on the bank, interval above this.")
    ] = 0.0,
    max_accuracy_drop: Annotated[
        float, typer.Option(parser=o.number, metavar="POINTS", help="Gate: labelled accuracy falls by this at most.")
    ] = 1.0,
    max_over_refusal_rise: Annotated[
        float, typer.Option(parser=o.number, metavar="POINTS", help="Gate: over-refusal rises by this at most.")
    ] = 2.0,
    max_pope_drop: Annotated[
        float,
        typer.Option(
            parser=o.number,
            metavar="POINTS",
            help="Gate: the interval of POPE's accuracy is not wholly below minus this.",
        ),
    ] = 0.0,
    max_cost: Annotated[
        float | None,
        typer.Option(parser=o.number, metavar="USD", help="Never spend more than this on all runs together, in USD."),
    ] = None,
    cache: o.CacheDir = None,
    no_cache: o.NoCache = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print the record as JSON, and nothing else, on stdout.")
    ] = False,
    quiet: run.Quiet = False,
    yes: run.Yes = False,
) -> int:
    """Compare a model before and after training: paired differences, and gates that decide the exit code."""
    from unsaf_async.distill.evaluate.plan import EvalModel, EvalPlan, plan_runs

    o.check_cache(cache, no_cache)
    plan = EvalPlan(
        before=EvalModel(before, before_model, api_base),
        after=EvalModel(after, after_model, api_base),
        out=out,
        images=tuple(images),
        bank_run=bank,
        labelled=labelled,
        labelled_format=labelled_format,
        labelled_images=labelled_images,
        pope=pope,
        pope_images=pope_images,
        judge=tuple(judge) if judge else None,
        prompts=prompts,
        questions=questions,
        limit=limit,
        seed=seed,
        max_cost=max_cost,
        cache=None if no_cache else o.cache_folder(cache),
        thresholds=_thresholds(min_own_gain, min_bank_gain, max_accuracy_drop, max_over_refusal_rise, max_pope_drop),
    )
    planned = asyncio.run(plan_runs(plan))
    if max_cost is None and not yes:
        _agree(planned)
    stopped = _work_off(planned, plan, quiet=quiet)
    return _finish(plan, planned, stopped, json=json)


def _thresholds(own: float, bank: float, accuracy: float, refusal: float, pope: float) -> Thresholds:
    from unsaf_async.distill.evaluate.gates import Thresholds
    from unsaf_async.errors import UserError

    for option, value, least in (
        ("--min-own-gain", own, -100),
        ("--min-bank-gain", bank, -100),
        ("--max-accuracy-drop", accuracy, 0),
        ("--max-over-refusal-rise", refusal, 0),
        ("--max-pope-drop", pope, 0),
    ):
        if not least <= value <= 100:
            raise UserError(f"{option} is {value:g}; give points from {least} to 100")
    return Thresholds(
        own_gain_points=own,
        bank_gain_points=bank,
        accuracy_drop_points=accuracy,
        over_refusal_rise_points=refusal,
        pope_drop_points=pope,
    )


def _agree(planned: Sequence[EvalRun]) -> None:
    """Agrees on the cost of what is left to do."""
    from unsaf_async.runs.estimate import estimate

    figures = [estimate(stage.remaining) for stage in planned]
    line = f"{len(planned)} runs, about {sum(each.calls for each in figures)} calls"
    run.agree_on_cost(line, sum(each.expected_usd for each in figures), sum(each.worst_usd for each in figures))


def _work_off(planned: Sequence[EvalRun], plan: EvalPlan, *, quiet: bool) -> str | None:
    """Works all runs off; why not all of them, or None."""
    from unsaf_async.distill.evaluate.before_after import why_stopped
    from unsaf_async.distill.evaluate.plan import pending_runs
    from unsaf_async.errors import RunStopped

    with closing(pending_runs(planned, plan.max_cost)) as work:
        try:
            for stage, folder in work:
                if not quiet:
                    number = 1 + [each.name for each in planned].index(stage.name)
                    sys.stderr.write(f"unsaf-async: {number} of {len(planned)}: {stage.name}\n")
                runner, _ = run.work_off(folder, quiet=quiet)
                if why := why_stopped(runner):
                    return f"{stage.name}: {why}"
        except RunStopped as error:
            return str(error)
    return None


def _finish(plan: EvalPlan, planned: Sequence[EvalRun], stopped: str | None, *, json: bool) -> int:
    from unsaf_async.distill.evaluate.before_after import FILE, write_comparison

    result = write_comparison(plan, planned, stopped)
    if json:
        sys.stdout.write(result.model_dump_json(indent=2) + "\n")
    else:
        print_eval(result)
        sys.stdout.write(f"\nCost: ${result.cost_usd:.4f} for all runs\nWritten to {plan.out / FILE}\n")
    if result.stopped:
        sys.stderr.write(
            f"unsaf-async: stopped early: {result.stopped}; the same command goes on; what is finished is kept\n"
        )
    elif result.unfinished:
        sys.stderr.write(f"unsaf-async: {'; '.join(result.unfinished)}; the same command tries them again\n")
    return result.exit_code


# --- for people -------------------------------------------------------------------------------------------------------


def print_eval(result: DistillEval, out: Console | None = None) -> None:
    """Notes, the table of figures, and a line for each gate; to stdout or `out`."""
    from rich.table import Table

    from unsaf_async.cli.console import console, safe
    from unsaf_async.distill.evaluate.figures import TITLES
    from unsaf_async.distill.evaluate.gates import GATES
    from unsaf_async.text import format_difference, format_figure, format_interval

    out = out or console()
    for side, found in (("before", result.before), ("after", result.after)):
        named = f"{found.provider} ({found.model})" if found.model != found.provider else found.provider
        out.print(f"{side}: [bold]{safe(named)}[/bold]")
    if result.bank:
        out.print(f"frozen bank: {safe(result.bank)}")
    for note in result.notes:
        out.print(f"[yellow]Note:[/yellow] {safe(note)}")
    verdicts = {gate.figure: gate.verdict for gate in result.gates if gate.figure}
    table = Table(
        "", "before", "after", "difference", "95 % interval", "images", "questions", "gate", box=None, pad_edge=False
    )
    for figure in result.figures:
        if figure.name in HIDDEN:
            continue
        table.add_row(
            TITLES[figure.name],
            format_figure(figure.before),
            format_figure(figure.after),
            format_difference(figure.difference),
            format_interval(figure.ci),
            str(figure.images),
            f"{figure.questions_before} / {figure.questions_after}",
            _colored(verdicts.get(figure.name, "")),
        )
    out.print()
    out.print(table)
    missing: dict[str, list[str]] = {}
    for figure in result.figures:
        for why in dict.fromkeys(figure.undefined.values()):
            if figure.name not in HIDDEN:
                missing.setdefault(why, []).append(TITLES[figure.name])
    for why, titles in missing.items():
        out.print(f"n/a: {', '.join(titles)} ({safe(why)})")
    gates = Table.grid(padding=(0, 2))
    for gate in result.gates:
        gates.add_row(_colored(gate.verdict), GATES[gate.name], safe(gate.why))
    out.print()
    out.print(gates)


def _colored(verdict: str) -> str:
    color = {"pass": "green", "fail": "red", "n/a": "red"}.get(verdict)
    return f"[{color}]{verdict}[/{color}]" if color else verdict
