"""`report`: runs as one HTML file. `view`: a folder of runs as pages on this machine."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unsaf_async.cli import options as o
from unsaf_async.cli.interrupts import cancel_on
from unsaf_async.cli.streams import tell

if TYPE_CHECKING:
    from unsaf_async.compare.cross_matrix import CrossMatrix
    from unsaf_async.report.viewer import Viewer


def report(
    run_dirs: Annotated[
        list[Path],
        typer.Argument(
            parser=o.folder, metavar="RUN_DIR ...", help="The folders that `run` named: one, or several to compare."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            parser=o.file,
            metavar="FILE",
            help="The file to write. Default: report.html, in the run's folder if there is one run.",
        ),
    ] = None,
    scale: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=PARAMS",
            help="Parameters of a run's model (7e9, 7B, 1.3M), to plot UnF1 by size. Once for each model.",
        ),
    ] = None,
    cross: Annotated[
        Path | None,
        typer.Option(
            parser=o.file, metavar="FILE", help="A matrix of models that answer each other's questions, as JSON."
        ),
    ] = None,
    all_: Annotated[
        bool, typer.Option("--all", help="Keep every question in it, not those of the first 1,000 images.")
    ] = False,
) -> int:
    """Write runs as one HTML file that needs nothing else. Figures, plots and the questions."""
    from unsaf_async.errors import UserError
    from unsaf_async.report.page import MOST_IMAGES, write_report
    from unsaf_async.runs.folder import RunFiles

    target = out or (RunFiles(run_dirs[0]).report if len(run_dirs) == 1 else Path("report.html"))
    if target.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"--out {target}: is no name of an HTML file; give one that ends in .html")
    if not target.parent.is_dir():
        raise UserError(f"--out {target}: there is no folder {target.parent}; make it, or give another path")
    written = write_report(
        run_dirs,
        target,
        scale=o.sizes(scale or []),
        cross=_matrix(cross) if cross else None,
        most_images=None if all_ else MOST_IMAGES,
    )
    sys.stdout.write(f"{written}\n")
    return 0


def view(
    runs_dir: Annotated[
        Path, typer.Argument(parser=o.folder, metavar="RUNS_DIR", help="A folder of runs, or a run's own folder.")
    ] = Path("runs"),
    port: Annotated[int, typer.Option(parser=o.whole, metavar="N", help="Port on 127.0.0.1; 0 picks a free one.")] = 0,
    open_: Annotated[bool, typer.Option("--open", help="Open the browser, too.")] = False,
) -> int:
    """Show runs in the browser, those under way included. Only this machine can reach the pages; Ctrl-C ends it."""
    import asyncio

    from unsaf_async.runs.listing import about_groups, groups_in

    o.check_port(port)
    if more := about_groups(groups_in(runs_dir)):
        tell(f"{more}: `unsaf-async view` shows one folder at a time")
    asyncio.run(_serve(runs_dir, port, open_))
    return 0


async def _serve(runs_dir: Path, port: int, open_: bool) -> None:
    import asyncio

    from unsaf_async.report.viewer import serve

    def ready(viewer: Viewer) -> None:
        sys.stdout.write(f"{runs_dir} is shown at {viewer.url} (Ctrl-C ends it)\n")
        sys.stdout.flush()
        if open_:
            import webbrowser

            webbrowser.open(viewer.url)

    cancel_on()
    try:
        await serve(runs_dir, port, ready)
    except asyncio.CancelledError:
        sys.stdout.write("ended\n")


def _matrix(path: Path) -> CrossMatrix:
    from pydantic import ValidationError

    from unsaf_async.compare.cross_matrix import CrossMatrix
    from unsaf_async.errors import UserError

    try:
        return CrossMatrix.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UserError(f"--cross {path}: cannot be read ({error.strerror}); give a file of a matrix") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "file"
        raise UserError(f"--cross {path}: is no matrix ({where}: {first['msg']}); give a file of one") from None
