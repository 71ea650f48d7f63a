"""`label`: trusted labels of a run's questions."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unsaf_async.cli import options as o
from unsaf_async.cli.interrupts import cancel_on
from unsaf_async.cli.streams import tell

if TYPE_CHECKING:
    from unsaf_async.checks.trusted import Labelling
    from unsaf_async.report.label_page import LabelPage


def label(
    run_dir: o.RunDir,
    sheet: Annotated[
        Path | None,
        typer.Option(parser=o.file, metavar="FILE", help="Write a sheet (CSV) of the next questions, to be filled in."),
    ] = None,
    labels: Annotated[
        int,
        typer.Option(
            parser=o.whole, metavar="N", help="How many labels to aim at; of a sheet, how many questions at most."
        ),
    ] = 200,
    read: Annotated[
        Path | None, typer.Option(parser=o.file, metavar="FILE", help="Take the labels of a sheet that was filled in.")
    ] = None,
    auditor: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Take the verdicts of an auditor of the run, its errors included."),
    ] = None,
    labeller: Annotated[str, typer.Option(metavar="NAME", help="Who labels; it is kept with each label.")] = "",
    port: Annotated[int, typer.Option(parser=o.whole, metavar="N", help="Port on 127.0.0.1; 0 picks a free one.")] = 0,
    open_: Annotated[bool, typer.Option("--open", help="Open the browser, too.")] = False,
) -> int:
    """Label some of a run's questions by hand. UnF1 is then corrected for false labels. The page is for this machine alone."""
    import asyncio

    from unsaf_async.checks.trusted import Labelling
    from unsaf_async.errors import UserError
    from unsaf_async.runs.folder import reopen
    from unsaf_async.text import format_count

    if [sheet, read, auditor].count(None) < 2:
        raise UserError("give one of --sheet FILE, --read FILE and --auditor NAME, or none for the page")
    if labels < 1:
        raise UserError(f"is {labels}; give 1 or more", "labels")
    o.check_port(port)
    with reopen(run_dir) as folder, Labelling(folder, labeller) as labelling:
        if sheet is not None:
            _write_sheet(labelling, sheet, labels)
        elif read is not None:
            if not _read_sheet(labelling, read):
                return 2
            _say_score(labelling)
        elif auditor is not None:
            new, without = labelling.take_auditor(auditor)
            tell(f"{auditor} is taken at its word: what it gets wrong is in the corrected figure")
            undecided = f"; on {format_count(without, 'question')} it gave no verdict" if without else ""
            sys.stdout.write(f"{format_count(new, 'new label')} by {auditor}{undecided}\n")
            _say_score(labelling)
        else:
            asyncio.run(_serve(labelling, labels, port, open_))
            _say_score(labelling)
    return 0


async def _serve(labelling: Labelling, aim: int, port: int, open_: bool) -> None:
    import asyncio

    from unsaf_async.report.label_page import serve

    def ready(page: LabelPage) -> None:
        sys.stdout.write(f"Label at {page.url} (Ctrl-C ends it)\n")
        sys.stdout.flush()
        if open_:
            import webbrowser

            webbrowser.open(page.url)

    cancel_on()
    try:
        await serve(labelling, aim, port, ready)
    except asyncio.CancelledError:
        sys.stdout.write("ended\n")


def _write_sheet(labelling: Labelling, sheet: Path, labels: int) -> None:
    from unsaf_async.errors import UserError

    text = labelling.sheet(labels)
    try:
        with sheet.open("x", encoding="utf-8", newline="") as stream:
            stream.write(text)
    except FileExistsError:
        raise UserError(f"--sheet {sheet}: exists, and may hold labels; name another file") from None
    rows = text.count("\r\n") - 1
    sys.stdout.write(
        f"{sheet}: {rows:,} questions; put a (answerable), u (unanswerable) or ? into each label, then --read it\n"
    )


def _read_sheet(labelling: Labelling, file: Path) -> bool:
    """Whether the labels of the sheet were taken."""
    from unsaf_async.checks.trusted import MOST_BAD_ROWS
    from unsaf_async.text import format_count

    new, changed, empty, wrong = labelling.read_sheet(file)
    for line in wrong[:MOST_BAD_ROWS]:
        tell(line)
    if wrong:
        more = f" ({len(wrong) - MOST_BAD_ROWS} more are not shown)" if len(wrong) > MOST_BAD_ROWS else ""
        tell(f"{file}: {format_count(len(wrong), 'bad row')}{more}; nothing was taken: mend that and read it again")
        return False
    other = f"; {format_count(changed, 'label')} changed" if changed else ""
    left = f"; {format_count(empty, 'row has', 'rows have')} none" if empty else ""
    sys.stdout.write(f"{format_count(new, 'new label')}{other}{left}\n")
    return True


def _say_score(labelling: Labelling) -> None:
    """Keeps the score with the labels, and prints what they make of it."""
    from unsaf_async.cli.console import console
    from unsaf_async.cli.findings_tables import print_label_corrected
    from unsaf_async.report.page import keep_report

    found = labelling.keep_score()
    if found.label_corrected is not None:
        print_label_corrected(found.label_corrected, found.f1_name, console())
    files = labelling.run.files
    if files.report.exists() and (problem := keep_report(files.folder)):
        tell(problem)
