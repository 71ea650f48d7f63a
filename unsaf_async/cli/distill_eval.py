"""`distill-eval`: a model before and after training, by gates."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from unsaf_async.cli import options as o
from unsaf_async.cli import run
from unsaf_async.cli.from_fields import from_fields
from unsaf_async.cli.streams import tell
from unsaf_async.distill.evaluate.settings import EvaluationSettings, GateLimits, Sides
from unsaf_async.errors import as_option
from unsaf_async.text import printable_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console
    from rich.table import Table

    from unsaf_async.distill.evaluate.comparison import DistillEval
    from unsaf_async.distill.evaluate.figures import Figure
    from unsaf_async.distill.evaluate.plan import EvalPlan, EvalRun
    from unsaf_async.runs.campaign import CampaignEnd

HIDDEN = frozenset({"pope_official_accuracy", "pope_official_f1", "pope_official_yes_ratio"})
"""Figures that stand in the record alone."""


@from_fields(required=("images",))
def distill_eval(
    sides: Sides,
    settings: EvaluationSettings,
    gates: GateLimits,
    json: o.Json = False,
    quiet: o.Quiet = False,
    yes: o.Yes = False,
) -> int:
    """Compare a model before and after training. Paired differences, and gates that decide the exit code."""
    import asyncio

    from unsaf_async.distill.evaluate.gates import Thresholds
    from unsaf_async.distill.evaluate.plan import EvalModel, EvalPlan, plan_runs

    plan = EvalPlan(
        EvalModel(sides.before, sides.before_model, sides.api_base),
        EvalModel(sides.after, sides.after_model, sides.api_base),
        thresholds=Thresholds(
            own_gain_points=gates.min_own_gain,
            bank_gain_points=gates.min_bank_gain,
            accuracy_drop_points=gates.max_accuracy_drop,
            over_refusal_rise_points=gates.max_over_refusal_rise,
            pope_drop_points=gates.max_pope_drop,
        ),
        **vars(settings),
    )
    planned = o.trusting(
        lambda trust: asyncio.run(plan_runs(replace(plan, trust_folder=trust))), trust=plan.trust_folder
    )
    if settings.max_cost is None and not yes:
        _agree(planned)
    end = run.work_off_campaign(planned, settings.max_cost, quiet=quiet)
    return _finish(plan, planned, end, json=json)


def _agree(planned: Sequence[EvalRun]) -> None:
    """Agrees on the cost of what is left to do."""
    from unsaf_async.runs.estimate import estimate

    figures = [estimate(stage.remaining) for stage in planned]
    line = f"{len(planned)} runs, about {sum(each.calls for each in figures)} calls"
    run.agree_on_cost(line, sum(each.expected_usd for each in figures), sum(each.worst_usd for each in figures))


def _finish(plan: EvalPlan, planned: Sequence[EvalRun], end: CampaignEnd, *, json: bool) -> int:
    from unsaf_async.distill.evaluate.before_after import FILE, write_comparison

    result = write_comparison(plan, planned, end.stopped)
    if json:
        sys.stdout.write(printable_json(result.model_dump_json(indent=2)) + "\n")
    else:
        print_eval(result)
        sys.stdout.write(f"\nCost: ${result.cost_usd:.4f} for all runs\nWritten to {plan.out / FILE}\n")
    if result.stopped:
        first = f"raise {as_option('max_cost')}, and " if end.capped else ""
        tell(f"stopped early: {result.stopped}; {first}the same command goes on; what is finished is kept")
    elif result.unfinished:
        tell(f"{'; '.join(result.unfinished)}; {end.tried_again}")
    return result.exit_code


# --- for people -------------------------------------------------------------------------------------------------------


def print_eval(result: DistillEval, out: Console | None = None) -> None:
    """Notes, the tables of figures and of their intervals, and a line for each gate; to stdout or `out`."""
    from rich.table import Table

    from unsaf_async.cli.console import console, model_name, safe
    from unsaf_async.distill.evaluate.figures import TITLES
    from unsaf_async.distill.evaluate.gates import GATES
    from unsaf_async.text import format_difference, format_figure, format_interval

    out = out or console()
    for side, model in (("before", result.before), ("after", result.after)):
        out.print(f"{side}: [bold]{model_name(model.provider, model.model)}[/bold]")
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
    own = [figure for figure in result.figures if (figure.before_ci or figure.after_ci) and figure.name not in HIDDEN]
    if own:
        out.print()
        out.print(_own_intervals(own))
    missing: dict[str, list[str]] = {}
    for figure in result.figures:
        for why in dict.fromkeys(figure.undefined.values()):
            if figure.name not in HIDDEN:
                missing.setdefault(why, []).append(TITLES[figure.name])
    for why, titles in missing.items():
        out.print(f"n/a: {', '.join(titles)}: {safe(why)}")
    gates = Table.grid(padding=(0, 2))
    for gate in result.gates:
        gates.add_row(_colored(gate.verdict), GATES[gate.name], safe(gate.why))
    out.print()
    out.print(gates)


def _own_intervals(figures: Sequence[Figure]) -> Table:
    """Each model's own interval; the first table has that of the difference."""
    from rich.table import Table

    from unsaf_async.distill.evaluate.figures import TITLES
    from unsaf_async.text import format_interval

    table = Table("95 % interval of", "before", "after", box=None, pad_edge=False)
    for figure in figures:
        table.add_row(TITLES[figure.name], format_interval(figure.before_ci), format_interval(figure.after_ci))
    return table


def _colored(verdict: str) -> str:
    color = {"pass": "green", "fail": "red", "cannot tell": "yellow", "n/a": "red"}.get(verdict)
    return f"[{color}]{verdict}[/{color}]" if color else verdict
