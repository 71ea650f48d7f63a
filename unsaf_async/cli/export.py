"""`export`: finished runs of a teacher as fine-tuning data for a student; runs as tables, and as logs for other viewers."""

from __future__ import annotations

import sys
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import typer

from unsaf_async.cli import options as o
from unsaf_async.cli.from_fields import from_fields
from unsaf_async.cli.push import DATA, ROWS, bring_data, made_ready
from unsaf_async.distill.data.options import Form, Options
from unsaf_async.errors import UserError, setting
from unsaf_async.help import OUTPUT
from unsaf_async.runs.settings import TableFormat

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unsaf_async.distill.data.exported import Export


INSPECT = "inspect"
"""inspect_ai's logs."""

REPLACED = ", in place of the file that was there"

FORMATS = (*get_args(Form), *get_args(TableFormat), INSPECT)


@from_fields(leave_out={"form"})
def export(
    run_dirs: Annotated[
        list[Path],
        typer.Argument(parser=o.folder, metavar="RUN_DIR ...", help="The folders of the teacher's runs, one or more."),
    ],
    options: Options,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            parser=o.folder,
            metavar="DIR|FILE",
            help="Where to write: a new or empty folder; of a table, the file "
            "(default: in the run, named for what it holds, such as questions.csv); of logs, a folder (default: the run's).",
        ),
    ] = None,
    form: Annotated[
        str,
        typer.Option(
            "--format",
            parser=o.one_of(FORMATS),
            metavar="|".join(FORMATS),
            help="trl: parquet with images. sharegpt: for LLaMA-Factory and ms-swift. openai: chat JSONL with data URLs. "
            "parquet, csv: no training data, but all questions as a table, for pandas, polars and spreadsheets. "
            "inspect: a log that inspect_ai's viewer opens.",
            rich_help_panel=OUTPUT,
        ),
    ] = "trl",
    scores: Annotated[
        bool,
        typer.Option(
            "--scores",
            help="With --format parquet or csv: a table of the scores' figures in place of the questions.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    push_to_hub: Annotated[
        str | None,
        typer.Option(
            "--push-to-hub",
            metavar="OWNER/NAME",
            help="Push the training data to this data set on the Hugging Face Hub, too; it is made if need be.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    public: Annotated[
        bool,
        typer.Option(
            "--public",
            help="With --push-to-hub: let anybody read it. Default: its owner alone.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
) -> int:
    """Turn finished runs into fine-tuning data, tables or logs."""
    if public and push_to_hub is None:
        raise UserError(f"goes with {setting('push_to_hub')}", field="public")
    if push_to_hub is not None and form not in get_args(Form):
        raise UserError(f"takes training data, not --format {form}; push the run itself: `push`", field="push_to_hub")
    if form not in get_args(Form) and (given := next(_given(options, Options(form=options.form)), None)):
        raise UserError(f"{given} is about training data, and --format {form} holds all questions; leave it out")
    if form in get_args(TableFormat):
        return _write_table(run_dirs, out, cast("TableFormat", form), scores=scores)
    if scores:
        raise UserError(f"is given with --format {form}; a table needs --format csv or parquet", field="scores")
    if form == INSPECT:
        from unsaf_async.runs.inspect_log import write_logs

        for log in write_logs(run_dirs, out):
            sys.stdout.write(f"{log.file}: {log.samples:,} samples{REPLACED if log.replaced else ''}\n")
        return 0
    if out is None:
        raise UserError(
            "is missing; give a new or empty folder for training rows, or --format csv or parquet for a table of the questions",
            field="out",
        )
    from unsaf_async import distill
    from unsaf_async.hub import Repo

    repo = None if push_to_hub is None else Repo(push_to_hub, "dataset", public=public)
    if repo:
        made_ready(repo, ROWS, DATA)
    print_export(distill.export(run_dirs, out, replace(options, form=cast("Form", form))), out)
    if repo:
        bring_data(out, repo)
    return 0


def _given(options: Any, defaults: Any) -> Iterator[str]:
    """The settings of a dataclass, and of those in it, that are not the default: marked names, for an error."""
    for each in fields(options):
        value, default = getattr(options, each.name), getattr(defaults, each.name)
        if is_dataclass(value):
            yield from _given(value, default)
        elif value != default:
            yield setting(each.name, value) if isinstance(value, bool) else setting(each.name)


def _write_table(run_dirs: list[Path], out: Path | None, form: TableFormat, *, scores: bool) -> int:
    """Writes the questions of runs, or their scores, as one table, and says where it lies."""
    from unsaf_async.runs.question_table import write_table
    from unsaf_async.runs.score_table import write_scores

    if out is None and len(run_dirs) > 1:
        raise UserError("is missing; give the file that the table of several runs goes to", field="out")
    file = out or run_dirs[0] / f"{'scores' if scores else 'questions'}.{form}"
    before = file.exists()
    rows = (write_scores if scores else write_table)(run_dirs, file, form)
    sys.stdout.write(f"{file}: {rows:,} {'figures' if scores else 'questions'}{REPLACED if before else ''}\n")
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
    if screening := made.screening:
        table = Table("by label", "answerable", "unanswerable", box=None, pad_edge=False)
        for why, *numbers in screening.rows():
            table.add_row(safe(why), *map(str, numbers))
        stdout.print()
        stdout.print(table)
        stdout.print(safe(screening.in_words()))
    stdout.print()
    for line in made.cost.in_words(made.total):
        stdout.print(safe(line))
    summary = f"{made.total} rows about {made.images} images ({made.clusters} different pictures)"
    stdout.print(f"{safe(str(out))}: {summary}{f', and {pairs.total} preference pairs' if pairs else ''}")
