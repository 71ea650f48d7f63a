"""`compare`: runs side by side."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import typer

from unsaf_async.cli import options as o
from unsaf_async.text import shown

if TYPE_CHECKING:
    from rich.console import Console

    from unsaf_async.compare.comparison import Comparison


FORMATS = ("table", "csv", "json", "latex")


def compare(
    run_dirs: Annotated[
        list[Path],
        typer.Argument(parser=o.folder, metavar="RUN_DIR ...", help="The folders that `run` named, two or more."),
    ],
    scale: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=PARAMS",
            help="Parameters of a run's model (7e9, 7B, 1.3M), to correlate with UnF1. Once for each model.",
        ),
    ] = None,
    format_: Annotated[
        str,
        typer.Option("--format", parser=o.one_of(FORMATS), metavar="table|csv|json|latex", help="What to print."),
    ] = "table",
    pairs: Annotated[
        bool, typer.Option("--pairs", help="With --format csv: a line a pair instead of a line a run.")
    ] = False,
    plot: Annotated[
        Path | None,
        typer.Option(
            "--plot",
            parser=o.file,
            metavar="FILE",
            help="Draw audacity against timidity, a mark a run, into this .svg or .png. Needs the extra plots.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(parser=o.whole, metavar="N", help="Of the pairs' intervals and p-values.")] = 0,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", parser=o.file, metavar="FILE", help="Write to this file, not to stdout."),
    ] = None,
) -> int:
    """Compare runs side by side. Paired differences with their uncertainty, costs, and how the runs' settings differ."""
    from unsaf_async.cli.compare_tables import print_comparison
    from unsaf_async.compare import comparison as comparing
    from unsaf_async.compare import tables
    from unsaf_async.errors import UserError

    if pairs and format_ != "csv":
        raise UserError(f"--pairs goes with --format csv; --format {format_} has the pairs in any case")
    if seed < 0:
        raise UserError(f"--seed is {seed}; give 0 or more")
    if plot and plot.suffix.lower() not in (".svg", ".png"):
        raise UserError(f"--plot {plot}: is neither a .svg nor a .png; name a file that ends in one of them")
    if plot:
        from unsaf_async.report.drawing import check_matplotlib

        check_matplotlib()
    scales = o.sizes(scale or [])
    comparison = comparing.compare(comparing.load_runs(run_dirs), scale=scales, seed=seed)
    if plot:
        draw_plane(comparison, plot)
    if format_ == "table":
        if out is None:
            print_comparison(comparison)
        else:
            with out.open("w", encoding="utf-8") as stream:
                print_comparison(comparison, _to_file(stream))
        return 0
    text = {
        "csv": lambda: tables.to_csv(comparison, "pairs" if pairs else "runs"),
        "json": lambda: tables.to_json(comparison),
        "latex": lambda: tables.to_latex(comparison),
    }[format_]()
    if out is None:
        sys.stdout.write(text)
    else:
        out.write_text(text, encoding="utf-8")
    return 0


def draw_plane(comparison: Comparison, file: Path) -> None:
    """Audacity against timidity of the runs as a picture; runs without a mark are named under it and on stderr.

    Args:
        comparison: The runs.
        file: Ends in .svg or .png.

    Raises:
        OSError: The file cannot be written.
    """
    from unsaf_async.report.plane import write_plane

    marks, bounds_alone, undefined = [], [], []
    for row in comparison.runs:
        if row.unf1_between:
            bounds_alone.append(row.name)
        elif row.timidity is None or row.audacity is None:
            undefined.append(row.name)
        else:
            marks.append((row.name, row.timidity, row.audacity, row.timidity_ci, row.audacity_ci))
    reasons = (
        (f"so much is unscored that {comparison.f1_name} has bounds alone", bounds_alone),
        ("timidity or audacity is undefined", undefined),
    )
    notes = [f"Without a mark, for {why}: {', '.join(names)}." for why, names in reasons if names]
    write_plane(marks, file, notes)
    for note in notes:
        sys.stderr.write(f"Note: {shown(note)}\n")


def _to_file(stream: IO[str]) -> Console:
    from unsaf_async.cli.console import Plain

    return Plain(stream)
