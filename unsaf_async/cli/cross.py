"""`cross`: every model answers every model's questions."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unsaf_async.cli import options as o
from unsaf_async.cli import run
from unsaf_async.cli.from_fields import from_fields
from unsaf_async.cli.streams import tell
from unsaf_async.errors import as_option
from unsaf_async.runs.settings import DEFAULT_CACHE, Cache, RunsJudgeApiBase, TrustFolder
from unsaf_async.text import printable_json, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unsaf_async.compare.cross_runs import Crossing
    from unsaf_async.runs.saved import SavedRun


@from_fields()
def cross(
    run_dirs: Annotated[
        list[Path],
        typer.Argument(parser=o.folder, metavar="RUN_DIR ...", help="The folders that `run` named, two or more."),
    ],
    out: Annotated[
        Path,
        typer.Option(parser=o.folder, metavar="DIR", help="Where the cells' runs, cross.json and difficulties.csv go."),
    ],
    max_cost: Annotated[
        float | None,
        typer.Option(parser=o.number, metavar="USD", help="Never spend more than this on all cells together, in USD."),
    ] = None,
    judge_api_base: RunsJudgeApiBase = None,
    cache: Cache = DEFAULT_CACHE,
    trust_folder: TrustFolder = False,
    dry_run: o.DryRun = False,
    json: o.Json = False,
    quiet: o.Quiet = False,
    yes: o.Yes = False,
) -> int:
    """Let every model answer every model's questions. Tells skill in asking from skill in answering."""
    from unsaf_async.compare.comparison import load_runs, run_names
    from unsaf_async.compare.cross_runs import crossings
    from unsaf_async.errors import UserError
    from unsaf_async.runs.campaign import CampaignEnd

    if max_cost is not None and not 0 < max_cost < float("inf"):
        raise UserError(f"--max-cost is {max_cost:g}; give an amount in USD above 0")
    loaded = load_runs(run_dirs)
    origins = [f"{name}: {each.origin}" for name, each in zip(run_names(loaded), loaded, strict=True) if each.origin]
    for line in origins if dry_run else ():
        tell(line)
    cells = o.trusting(
        lambda trust: crossings(loaded, out, cache, judge_api_base=judge_api_base, trust_folder=trust),
        trust=trust_folder,
    )
    if dry_run or (max_cost is None and not yes):
        _agree(cells, dry_run=dry_run)
        if dry_run:
            return 0
    try:
        end = run.work_off_campaign(cells, max_cost, quiet=quiet)
    except KeyboardInterrupt:
        end = CampaignEnd("interrupted")
    _print(loaded, cells, out, origins, json=json)
    if end.reason:
        first = f"raise {as_option('max_cost')}, and " if end.capped else ""
        tell(f"{end.reason}; {first}the same command goes on; what is finished is kept")
        return 130 if end.reason == "interrupted" else 3
    if end.unfinished:
        tell(f"{end.failed}; {end.tried_again}")
        return 3
    return 0


def _agree(cells: Sequence[Crossing], *, dry_run: bool) -> None:
    """Tells what is left to do and agrees on its cost."""
    from unsaf_async.cli.render import prices_of
    from unsaf_async.runs.estimate import estimate

    figures = [estimate(cell.remaining) for cell in cells]
    expected_usd, worst_usd = sum(each.expected_usd for each in figures), sum(each.worst_usd for each in figures)
    line = f"{len(cells)} cells, about {sum(each.calls for each in figures)} calls"
    if dry_run:
        sys.stdout.write(f"{line}: ${expected_usd:.2f} expected, ${worst_usd:.2f} at most\n")
        for price in dict.fromkeys(price for cell in cells for price in prices_of(cell.prepared)):
            sys.stdout.write(f"{shown(price)}\n")
        return
    run.agree_on_cost(line, expected_usd, worst_usd)


def _print(
    loaded: Sequence[SavedRun], cells: Sequence[Crossing], out: Path, origins: Sequence[str], *, json: bool
) -> None:
    from unsaf_async.compare.comparison import run_names
    from unsaf_async.compare.cross_matrix import matrix, on_shared_images
    from unsaf_async.compare.cross_rasch import difficulties, difficulties_csv
    from unsaf_async.compare.cross_responses import responses
    from unsaf_async.compare.cross_runs import keep

    names = run_names(loaded)
    examinations = {(name, name): each.examinations for name, each in zip(names, loaded, strict=True)} | {
        (cell.asker, cell.answerer): cell.saved.examinations for cell in cells
    }
    found = matrix(examinations, notes=origins)
    text = printable_json(found.model_dump_json(indent=2)) + "\n"
    of_questions = difficulties(responses(*on_shared_images(examinations)), found.item_response)
    file, questions_file = keep(out, text, difficulties_csv(of_questions))
    if json:
        sys.stdout.write(text)
        return
    from unsaf_async.cli.compare_tables import print_matrix

    print_matrix(found)
    cost_usd = sum(cell.spent_usd for cell in cells)
    sys.stdout.write(
        f"\nCost: ${cost_usd:.4f} for the cells off the diagonal\nWritten to {file}; "
        f"each question's difficulty to {questions_file}\n"
    )
