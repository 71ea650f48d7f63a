"""`estimate`: what a run would cost, before it begins; with `--pilot` by what its first images cost."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from unsaf_async.cli import options as o
from unsaf_async.cli import run
from unsaf_async.cli import serve as s
from unsaf_async.cli.from_fields import from_fields
from unsaf_async.cli.streams import tell
from unsaf_async.errors import UserError, naming, setting
from unsaf_async.help import MONEY, Help
from unsaf_async.runs.settings import Settings, check_max_side
from unsaf_async.text import printable_json

if TYPE_CHECKING:
    from unsaf_async.compare.budget import BudgetPlan
    from unsaf_async.compare.image_size import SizeComparison
    from unsaf_async.runs.pilot import PilotQuote
    from unsaf_async.runs.prepare import Prepared
    from unsaf_async.runs.saved import SavedRun


@dataclass(frozen=True)
class Planning:
    """What is known before the quote, and what it is about."""

    pilot: Annotated[
        int | None,
        Help(
            "Pay for the run's first N images (20 will do), under --max-cost, and quote the rest with a 95 % interval. The run "
            "finds their replies in the cache.",
            metavar="N",
            panel=MONEY,
        ),
    ] = None
    budget: Annotated[
        float | None,
        Help(
            "Say what so much money buys: how many images, with the rules or a judge, and how narrow an interval of UnF1.",
            metavar="USD",
            panel=MONEY,
        ),
    ] = None
    from_run: Annotated[
        Path | None,
        Help(
            "With --budget: plan from what a finished run of this model cost and showed. A --pilot is planned from, too.",
            metavar="RUN_DIR",
            panel=MONEY,
        ),
    ] = None

    compare_max_side: Annotated[
        int | None,
        Help(
            "With --pilot: examine its images again with at most so many pixels on the longer side, under the same cap, and say "
            "what that changes.",
            metavar="PX",
            panel=MONEY,
        ),
    ] = None
    margin: Annotated[
        float,
        Help("With --compare-max-side: by how much UnF1 may change, either way.", metavar="MARGIN", panel=MONEY),
    ] = 0.02

    def __post_init__(self) -> None:
        check_max_side(self.compare_max_side, "compare_max_side")
        if self.compare_max_side is not None and (self.pilot is None or self.budget is not None):
            raise UserError(
                f"compares two pilots; give {setting('pilot')}, and no {setting('budget')}", "compare_max_side"
            )
        if not 0 < self.margin < 1:
            raise UserError(f"is {self.margin:g}; give a number above 0 and below 1, such as 0.02", "margin")
        if self.from_run is not None and self.budget is None:
            raise UserError(f"is for a plan; give {setting('budget')}, too", "from_run")
        if self.from_run is not None and self.pilot is not None:
            raise UserError(f"{setting('from_run')} and {setting('pilot')} contradict each other; give one of them")


@from_fields(leave_out=("data", "data_format", "trust_folder"), defaults={"provider": run.DEFAULT_PROVIDER})
def estimate(settings: Settings, planning: Planning, quiet: o.Quiet = False, json: o.Json = False) -> int:
    """Say what a run with these options would cost. Calls nobody, but for a pilot."""
    if planning.budget is not None:
        return _plan_budget(settings, planning, quiet=quiet, json=json)
    if planning.pilot is not None and planning.compare_max_side is not None:
        return _compare_sizes(
            settings, planning.pilot, planning.compare_max_side, planning.margin, quiet=quiet, json=json
        )
    if planning.pilot is not None:
        return _quote_by_pilot(settings, planning.pilot, quiet=quiet, json=json)
    return run.carry_out(settings, s.Spawning(), o.Display(json=json), dry_run=True)


def _plan_budget(settings: Settings, planning: Planning, *, quiet: bool, json: bool) -> int:
    """Says what the sum buys, by a pilot, a finished run or the price map; the exit code."""
    import asyncio

    from unsaf_async.compare.budget import plan_budget
    from unsaf_async.runs.prepare import prepare
    from unsaf_async.runs.saved import SavedRun

    assert planning.budget is not None
    measured = SavedRun(planning.from_run) if planning.from_run is not None else None
    if measured is not None:
        with naming("from_run"):
            _ = measured.manifest
    if planning.pilot is not None and settings.max_cost is None and planning.budget > 0:
        settings = replace(settings, max_cost=planning.budget)
    prepared = asyncio.run(prepare(settings, offline=planning.pilot is None))
    code = 0
    if planning.pilot is not None:
        measured, code = examine_pilot(prepared, planning.pilot, quiet=quiet)
        if measured is None:
            return code
    plan = plan_budget(prepared, planning.budget, measured)
    if json:
        sys.stdout.write(printable_json(plan.model_dump_json(indent=2)) + "\n")
    else:
        print_plan(plan, prepared)
    return code


def _quote_by_pilot(settings: Settings, images: int, *, quiet: bool, json: bool) -> int:
    """Examines the pilot's images and quotes the rest; the exit code."""
    import asyncio

    from unsaf_async.runs.pilot import quote_rest
    from unsaf_async.runs.prepare import prepare

    prepared = asyncio.run(prepare(settings))
    pilot, code = examine_pilot(prepared, images, quiet=quiet)
    if pilot is None:
        return code
    quote = quote_rest(prepared, pilot)
    if json:
        from dataclasses import asdict

        import orjson

        sys.stdout.write(orjson.dumps(asdict(quote), option=orjson.OPT_INDENT_2).decode() + "\n")
    else:
        print_quote(quote, pilot, prepared)
    return code


def _compare_sizes(settings: Settings, images: int, side_px: int, margin: float, *, quiet: bool, json: bool) -> int:
    """Examines the pilot's images at two sizes and says what the smaller one changes; the exit code."""
    import asyncio

    from unsaf_async.compare.image_size import compare_sizes
    from unsaf_async.runs.begin import default_folder
    from unsaf_async.runs.prepare import prepare

    prepared = asyncio.run(prepare(settings))
    usual_px = prepared.subject.image.max_side_px
    if side_px >= usual_px:
        raise UserError(
            f"is {side_px}; images are sent with at most {usual_px} pixels a side: give fewer", "compare_max_side"
        )
    usual, code = examine_pilot(prepared, images, quiet=quiet, said=f"is examined at {usual_px} px")
    if usual is None or code:
        return _not_compared(usual_px, code)
    own = default_folder(prepared.subject.name) if settings.out is None else Path(settings.out)
    left = None if settings.max_cost is None else settings.max_cost - usual.spent_usd
    changed = replace(settings, max_side=side_px, max_cost=left, out=own.with_name(f"{own.name}-{side_px}px"))
    smaller = replace(prepared, subject=prepared.subject.with_max_side(side_px), settings=changed)
    pilot, code = None, 3
    try:
        if left is None or left > 0:
            pilot, code = examine_pilot(smaller, images, quiet=quiet, said=f"is examined at {side_px} px")
    except UserError as error:
        if error.field != "max_cost":  # what is left of the cap lets no image begin
            raise
    if pilot is None or code:
        return _not_compared(side_px, code)
    comparison = compare_sizes((prepared, usual), (smaller, pilot), margin)
    if json:
        sys.stdout.write(printable_json(comparison.model_dump_json(indent=2)) + "\n")
    else:
        print_sizes(comparison)
    return 0


def _not_compared(side_px: int, code: int) -> int:
    """Says why no sizes are compared; the exit code as given."""
    tell(
        f"the sizes are not compared: the pilot at {side_px} px is not whole; the same command, with a higher cap, goes on"
    )
    return code


def examine_pilot(
    prepared: Prepared,
    images: int,
    *,
    quiet: bool,
    said: str = "is examined; what it scores is not shown: nothing is to be chosen by that",
) -> tuple[SavedRun | None, int]:
    """The pilot of a run, examined.

    Args:
        prepared: The run's settings, checked.
        images: How many images the pilot has.
        quiet: Nothing is said while it goes on.
        said: What is said of it before.

    Returns:
        (the pilot's run, the exit code). None: it examined nothing, which was told.

    Raises:
        UserError: The pilot costs money and has no cap, or its folder holds another run.
    """
    from unsaf_async.runs.begin import begin
    from unsaf_async.runs.estimate import check_covers_an_image
    from unsaf_async.runs.estimate import estimate as estimated
    from unsaf_async.runs.listing import exists
    from unsaf_async.runs.pilot import pilot_of
    from unsaf_async.runs.saved import SavedRun

    pilot = pilot_of(prepared, images)
    path = Path(str(pilot.settings.out))
    if pilot.settings.max_cost is None and (figures := estimated(pilot)).worst_usd:
        raise UserError(
            f"is missing; a pilot of {len(pilot.images)} images costs about ${figures.expected_usd:.2f}, and "
            f"${figures.worst_usd:.2f} at most: give a cap for it",
            field="max_cost",
        )
    if not exists(path):
        check_covers_an_image(pilot)
    if not quiet:
        tell(f"a pilot of {len(pilot.images)} images {said}")
    with begin(pilot) as folder:
        try:
            runner, score = run.work_off(folder, quiet=True)
        except KeyboardInterrupt:
            tell("interrupted; what is finished is kept, and the same command goes on")
            return None, 130
    if runner.mistake or not score.images.done:
        tell(f"the pilot has examined no image: {runner.why_stopped or runner.unfinished}")
        return None, 2 if runner.mistake else 3
    if runner.why_stopped:
        tell(f"the pilot stopped early: {runner.why_stopped}; {score.images.done} images are done")
    return SavedRun(folder.path), 3 if runner.why_stopped else 0


def print_quote(quote: PilotQuote, pilot: SavedRun, prepared: Prepared) -> None:
    """The quote, to stdout."""
    from rich.table import Table

    from unsaf_async.cli.console import console, safe
    from unsaf_async.cli.render import FREE, is_free, planned
    from unsaf_async.text import format_count, format_seconds, format_usd

    out, table, free = console(), Table.grid(padding=(0, 2)), is_free(prepared)
    out.print(planned(prepared))
    failed = f", {quote.failed} of them failed" if quote.failed else ""
    cost = "" if free else f": {format_usd(quote.cost_usd, 4)}"
    table.add_row("pilot", f"{format_count(quote.images, 'image')}{failed}{cost}")
    if quote.spent_usd < 0.999 * quote.cost_usd:
        table.add_row("", f"{format_usd(quote.spent_usd, 4)} of it paid now: the cache had the rest")
    table.add_row(
        "rest", f"{format_count(quote.rest_images, 'image')}{': ' * bool(quote.assumed)}{safe(quote.assumed)}"
    )
    ends = quote.rest_usd_ci and f"{format_usd(quote.rest_usd_ci[0], 4)} to {format_usd(quote.rest_usd_ci[1], 4)}"
    why = {name: f"n/a: {safe(reason)}" for name, reason in quote.undefined.items()}
    dollars = f"{format_usd(quote.rest_usd, 4)}   95 % interval {ends or why.get('rest_usd_ci', 'n/a')}"
    table.add_row("dollars", FREE if free else dollars)
    took = quote.rest_s_ci and " to ".join(map(format_seconds, quote.rest_s_ci))
    if quote.rest_s is None:
        table.add_row("time", why.get("rest_s_ci", "n/a"))
    else:
        table.add_row("time", f"{format_seconds(quote.rest_s)}   95 % interval {took or why.get('rest_s_ci', 'n/a')}")
        if quote.held_up_by:
            table.add_row("", f"what holds it up: {safe(quote.held_up_by)}")
    out.print(table)
    if quote.batched:
        calls = format_count(quote.batched, "call")
        out.print(f"{calls} of the pilot had come in batches, at the price of batches: the rest costs more than this")
    out.print(
        "The intervals cover which images the pilot happened to hold. Not in them: attempts that fail and are billed, another "
        "price, an endpoint that is slower than it was just now."
    )
    out.print(f"The pilot's run: {safe(str(pilot.folder))}; `run` with the same options finds its replies in the cache")


def print_plan(plan: BudgetPlan, prepared: Prepared) -> None:
    """What the sum buys, to stdout."""
    from unsaf_async.cli.console import console, print_fitting, safe
    from unsaf_async.cli.render import FREE, is_free, planned
    from unsaf_async.text import format_percent, format_usd

    out = console()
    out.print(planned(prepared))
    rows = [
        (
            safe(each.judge) + ", --batch" * each.batch,
            format_usd(each.image_usd, 4),
            f"{each.affordable:,}",
            f"{each.images:,} of {plan.images:,}",
            format_usd(each.cost_usd),
            "n/a" if each.half_width is None else f"\u00b1 {each.half_width:.3f}",
            format_percent(each.open_share),
        )
        for each in plan.choices
    ]
    print_fitting(out, ("judge", "an image", "money for", "images", "expected", "UnF1", "left open"), rows)
    out.print()
    out.print(f"For {format_usd(plan.budget_usd)}, by {safe(plan.basis)}")
    if is_free(prepared):
        out.print(FREE.capitalize())
    for each in plan.choices:
        if not each.affordable:
            least = format_usd(each.image_worst_usd, 4)
            who = safe(each.judge) + ", --batch" * each.batch
            out.print(f"{who}: one image can cost {least} at worst, so none would begin under that cap")
    if any(each.open_share for each in plan.choices):
        out.print(
            "Left open: responses that nobody scores; UnF1 then has bounds, and the interval is of what the rules settle"
        )
    for line in plan.assumptions:
        out.print(f"Assumed: {safe(line)}")


def print_sizes(found: SizeComparison) -> None:
    """What smaller images change, to stdout."""
    from unsaf_async.cli.console import console, print_fitting, safe
    from unsaf_async.text import format_count, format_difference, format_interval, format_usd

    out = console()
    rows = []
    for each in (found.usual, found.smaller):
        ends = each.run_usd_ci and f"{format_usd(each.run_usd_ci[0], 4)} to {format_usd(each.run_usd_ci[1], 4)}"
        rows.append(
            (f"{each.max_side_px} px", format_usd(each.image_usd, 4), format_usd(each.run_usd, 4), ends or "n/a")
        )
    print_fitting(out, ("longer side", "an image", "the whole run", "95 % interval"), rows)
    out.print()
    images = format_count(found.images, "image")
    out.print(
        f"Smaller images change UnF1 by {format_difference(found.difference)}, 95 % interval {format_interval(found.ci)}, "
        f"paired on {images}"
    )
    out.print(f"{found.verdict}: {safe(found.why)}")
    if found.verdict == "cannot tell" and found.images_needed is not None:
        needed = format_count(found.images_needed, "image")
        out.print(f"If nothing changes, a pilot of about {needed} shows it in four of five cases")
    out.print(
        "Both pilots' replies are in the cache: `run` with the same options finds them, with or without "
        f"--max-side {found.smaller.max_side_px}"
    )
