"""`judge`: how often a judge is wrong, and what another one makes of the same answers."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from unsaf_async.cli import options as o
from unsaf_async.cli import run
from unsaf_async.cli.from_fields import from_fields
from unsaf_async.cli.sections import Sections
from unsaf_async.cli.streams import tell
from unsaf_async.help import JUDGING, Help
from unsaf_async.runs.settings import DEFAULT_CACHE, Cache, JudgeApiBase, JudgeTogether, MaxCost, Rejudging
from unsaf_async.text import printable_json

if TYPE_CHECKING:
    from unsaf_async.checks.calibrate_judge import Calibrated
    from unsaf_async.score.calibration import Confusion, LabelCheck
    from unsaf_async.score.judged_together import TogetherCheck


Measured = Annotated[
    str | Sequence[str] | None,
    Help(
        'Who is measured: "rules" (nobody is called), or a provider; given several times, a panel by majority. Default: rules.',
        metavar="NAME|rules",
        panel=JUDGING,
    ),
]


class JudgeGroup(TyperGroup):
    """The commands; where a run's folder stands in a command's place, `again` is meant."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """As in click.

        Args:
            ctx: As there.
            args: As there.

        Returns:
            As there.
        """
        meant = {"--judge", "--rubric"} & set(args)
        if args and args[0] not in self.commands and (meant or Path(args[0]).is_dir()):
            args = ["again", *args]
        return super().resolve_command(ctx, args)


app = typer.Typer(cls=JudgeGroup, no_args_is_help=True)


@app.callback()
def top() -> None:
    """Judges, and how far they can be trusted. `judge RUN_DIR --judge NAME` means `judge again RUN_DIR --judge NAME`."""


@app.command("calibrate", cls=Sections)
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
    judge: Measured = None,
    judge_api_base: JudgeApiBase = None,
    judge_together: JudgeTogether = 1,
    margin: Annotated[
        float,
        typer.Option(
            parser=o.number,
            metavar="SHARE",
            help="With --judge-together: the loss of agreement that is to be excluded, such as 0.02 for 2 points.",
        ),
    ] = 0.02,
    prompts: Annotated[str, typer.Option(metavar="PACK", help="The prompt pack whose judge.md is used.")] = "unsaf",
    max_cost: MaxCost = None,
    out: Annotated[
        Path | None,
        typer.Option(parser=o.file, metavar="FILE", help="Where the result goes. Default: judge-NAME.json."),
    ] = None,
    cache: Cache = DEFAULT_CACHE,
    json: o.Json = False,
    yes: o.Yes = False,
) -> int:
    """Measure a judge, or the rules alone, against human labels. The result corrects UnF1: `run --judge-calibration FILE`."""
    import asyncio

    from unsaf_async.checks import calibrate_judge as bench
    from unsaf_async.errors import UserError
    from unsaf_async.score.calibration import write_calibration

    if max_cost is not None and not 0 < max_cost < float("inf"):
        raise UserError(f"--max-cost is {max_cost:g}; give an amount in USD above 0")
    if not 0 < margin < 1:
        raise UserError(f"--margin is {margin:g}; give a share between 0 and 1, such as 0.02")
    prepared = asyncio.run(bench.prepare(data, tuple(judge or ("rules",)), prompts, judge_api_base, judge_together))
    run.say_called(None, tuple(prepared.judges), (), prepared.judges)
    _say_labels(prepared.labels)
    worst_usd = prepared.worst_usd
    if max_cost is None and not yes:
        what = f"{prepared.name}, {len(prepared.rows)} responses"
        run.agree_on_cost(what, worst_usd, worst_usd)
    file = out or Path(f"judge-{re.sub(r'[^A-Za-z0-9._-]+', '-', prepared.name)}.json")
    ledger = file.with_suffix(".ledger.jsonl")
    calibrated = asyncio.run(bench.calibrate(prepared, ledger, cache or DEFAULT_CACHE, max_cost, margin=margin))
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


@app.command("sheet", cls=Sections)
def sheet(
    run_dir: o.RunDir,
    out: Annotated[
        Path, typer.Option("--out", "-o", parser=o.file, metavar="FILE", help="Where the sheet goes, as JSONL.")
    ],
    responses: Annotated[
        int, typer.Option(parser=o.whole, metavar="N", help="How many at most, drawn at random.")
    ] = 200,
    seed: Annotated[int, typer.Option(parser=o.whole, metavar="N", help="Of the draw.")] = 0,
    whole_images: Annotated[
        bool, typer.Option("--whole-images", help="Draw images, each with all of its responses: for --judge-together.")
    ] = False,
) -> int:
    """Draw responses of a run for people to label. Each row waits for its label: answered or abstained."""
    from unsaf_async.checks.label_sheet import label_sheet
    from unsaf_async.errors import UserError
    from unsaf_async.runs.saved import SavedRun

    saved = SavedRun(run_dir)
    if saved.manifest.form == "choice":
        raise UserError(
            f"{run_dir}: its answers are options, which are read by rules; there is no judge to be measured"
        )
    rows = label_sheet(saved, responses, seed, whole_images=whole_images)
    try:
        with out.open("x", encoding="utf-8") as stream:
            stream.writelines(f"{row}\n" for row in rows)
    except FileExistsError:
        raise UserError(f"--out {out}: exists, and may hold labels; name another file") from None
    sys.stdout.write(f"{out}: {len(rows)} responses; put answered or abstained into each label\n")
    return 0


@app.command("again", cls=Sections)
@from_fields()
def again(run_dir: o.RunDir, wanted: Rejudging, display: o.Display) -> int:
    """Judge a run's answers anew, by another judge or rubric. Nothing is asked or answered again."""
    import asyncio

    from unsaf_async.runs.estimate import check_covers_more, estimate_more
    from unsaf_async.runs.rejudge import plan_judging
    from unsaf_async.runs.saved import SavedRun

    saved = SavedRun(run_dir)
    plan = o.trusting(lambda trust: asyncio.run(plan_judging(saved, wanted, trust=trust)), trust=wanted.trust_folder)
    if left := plan.manifest.judged_anew and plan.manifest.judged_anew.left_out:
        tell(f"{left} of {saved.manifest.images} images have no whole answers, and are left out")
    if wanted.max_cost is not None:
        check_covers_more(plan, plan.manifest)
    elif not display.yes:
        figures = estimate_more(plan, plan.manifest)
        run.agree_on_cost(f"{plan.path}, {len(plan.images)} images", figures.expected_usd, figures.worst_usd)
    with o.trusting(lambda trust: plan.open(trust=trust), trust=wanted.trust_folder) as folder:
        code = run.run_folder(folder, display)
    if code == 0 and not display.json:
        sys.stdout.write(f"`unsaf-async compare {run_dir} {plan.path}` says which verdicts moved\n")
    return code


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


def _print_together(check: TogetherCheck) -> None:
    """What judging several responses in one call changes."""
    from unsaf_async.cli.console import console
    from unsaf_async.text import format_count, format_part

    out = console()
    if check.alone is None or check.together is None or check.difference is None or check.difference_ci is None:
        out.print("\nNo response was judged with others of its image: there is nothing to compare.")
        return
    low, high = check.difference_ci
    out.print(
        f"\n{format_count(check.responses, 'response')} of {format_count(check.images, 'image')}, judged alone and in "
        f"{format_count(check.calls, 'call')} about several ({check.asked_alone} without a verdict there, asked again alone):"
    )
    out.print(
        f"the judge agrees with people on {format_part(check.alone, 1)} alone and {format_part(check.together, 1)} together, a "
        f"difference of {100 * check.difference:+.1f} points, 95 % interval {100 * low:+.1f} to {100 * high:+.1f}."
    )
    out.print(f"Both verdicts are the same act on {format_part(check.alike or 0.0, 1)}.")
    if check.early is not None and check.late is not None:
        ends = check.late_less_early_ci
        interval = (
            f"95 % interval {100 * ends[0]:+.1f} to {100 * ends[1]:+.1f}"
            if ends
            else f"no interval: {check.why_undefined.get('late_less_early', 'undefined')}"
        )
        out.print(
            f"In the first half of a call's list it agrees on {format_part(check.early, 1)}, in the second on "
            f"{format_part(check.late, 1)}, a difference of {100 * (check.late - check.early):+.1f} points, {interval}."
        )
    loss = f"a loss of {100 * check.margin:g} points or more"
    out.print(
        f"The interval excludes {loss}."
        if check.excludes_loss
        else f"The interval does not exclude {loss}: judge alone, or label more responses."
    )


def _print(calibrated: Calibrated) -> None:
    from unsaf_async.cli.console import console, print_fitting, safe
    from unsaf_async.score.confusion_intervals import confusion_intervals
    from unsaf_async.text import format_count, format_figure, format_part

    def row(name: str, confusion: Confusion) -> tuple[str, ...]:
        figures = (confusion.accuracy, confusion.f1, confusion.kappa, confusion.sensitivity, confusion.specificity)
        decided = confusion.decided
        return (
            safe(name),
            str(confusion.rows),
            "n/a" if decided is None else format_part(decided, 1),
            *map(format_figure, figures),
        )

    confusions = calibrated.file.confusions
    named = {"all": confusions.overall}
    named |= {f"decided by {decider}": each for decider, each in confusions.by_decider.items()}
    named |= {
        f"{column} {name}": each for column, groups in confusions.by_group.items() for name, each in groups.items()
    }
    out = console()
    out.print(f"[bold]{safe(calibrated.file.judge)}[/bold] on {safe(calibrated.file.data)}")
    heads = ("", "responses", "decided", "accuracy", "F1", "kappa", "sensitivity", "specificity")
    print_fitting(out, heads, [row(name, confusion) for name, confusion in named.items()])
    ends = confusion_intervals(confusions.overall).values()
    spans = ("n/a" if pair is None else f"{pair[0]:.3f} to {pair[1]:.3f}" for pair in ends)
    out.print(
        "95 % intervals over all, each response taken as independent: "
        + ", ".join(f"{name} {span}" for name, span in zip(heads[3:], spans, strict=True))
    )
    acts = ("people say", "judged answered", "judged abstained", "refused", "no image", "invalid", "no verdict")
    said = {"answered": confusions.overall.answered, "abstained": confusions.overall.abstained}
    out.print()
    print_fitting(
        out,
        acts,
        [
            (label, *map(str, (n.answered, n.abstained, n.refused, n.no_image, n.invalid, n.none)))
            for label, n in said.items()
        ],
    )
    if calibrated.file.together is not None:
        _print_together(calibrated.file.together)
    out.print("\nAccuracy, F1 and kappa are of the decided responses; sensitivity and specificity are for abstentions.")
    out.print(f"Cost: ${calibrated.cost_usd:.4f} for {format_count(calibrated.calls, 'call')}")
