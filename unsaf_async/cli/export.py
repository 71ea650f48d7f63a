"""`export`: finished runs of a teacher as fine-tuning data for a student."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unsaf_async.cli import options as o
from unsaf_async.cli.from_fields import from_fields
from unsaf_async.distill.data.options import Options

if TYPE_CHECKING:
    from unsaf_async.distill.data.exported import Export


@from_fields()
def export(
    run_dirs: Annotated[
        list[Path],
        typer.Argument(parser=o.folder, metavar="RUN_DIR ...", help="The folders of the teacher's runs, one or more."),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", parser=o.folder, metavar="DIR", help="Where to write: a new or empty folder.")
    ],
    options: Options,
) -> int:
    """Turn a teacher's finished runs into fine-tuning data. It teaches to write questions, to answer and to decline."""
    from unsaf_async import distill

    print_export(distill.export(run_dirs, out, options), out)
    return 0


def print_export(made: Export, out: Path) -> None:
    """What was exported and what was left out, to stdout."""
    from rich.table import Table

    from unsaf_async.cli.console import console, safe
    from unsaf_async.distill.data.clusters import SPLITS
    from unsaf_async.distill.data.kinds import ROW_KINDS
    from unsaf_async.distill.data.pairs import PAIR_KINDS
    from unsaf_async.distill.data.terms import TERMS

    stdout = console()
    if made.accepted:
        stdout.print(f"[yellow]Terms:[/yellow] {safe(TERMS)}. The card says that you accepted them.")
    for note in made.notes:
        stdout.print(f"[yellow]Note:[/yellow] {safe(note)}")
    rows = Table("rows", *SPLITS, "tokens for training", box=None, pad_edge=False)
    for kind in ROW_KINDS:
        rows.add_row(kind, *(str(made.rows.get((kind, split), 0)) for split in SPLITS), str(made.tokens.get(kind, 0)))
    sums = (sum(made.rows.get((kind, split), 0) for kind in ROW_KINDS) for split in SPLITS)
    rows.add_row("all", *map(str, sums), str(sum(made.tokens.values())))
    stdout.print()
    stdout.print(rows)
    if pairs := made.preferences:
        table = Table("preference pairs", *SPLITS, box=None, pad_edge=False)
        for pair_kind in PAIR_KINDS:
            table.add_row(pair_kind, *(str(pairs.pairs.get((pair_kind, split), 0)) for split in SPLITS))
        stdout.print()
        stdout.print(table)
    for what, counts in (
        ("questions left out", made.questions),
        ("rows left out", made.left_out),
        ("responses without a pair", pairs.left_out if pairs else {}),
    ):
        if any(counts.values()):
            table = Table(what, "why", box=None, pad_edge=False)
            for why, number in sorted(counts.items(), key=lambda each: (-each[1], each[0])):
                table.add_row(str(number), safe(why))
            stdout.print()
            stdout.print(table)
    stdout.print()
    summary = f"{made.total} rows about {made.images} images ({made.clusters} different pictures)"
    stdout.print(f"{safe(str(out))}: {summary}{f', and {pairs.total} preference pairs' if pairs else ''}")
