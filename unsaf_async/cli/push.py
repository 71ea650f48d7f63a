"""`push`: a run's results, or teacher data, to the Hugging Face Hub."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unsaf_async.cli import options as o
from unsaf_async.cli.streams import tell
from unsaf_async.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unsaf_async.hub import Repo

ROWS = "items.jsonl"
"""By it a folder, and a repository, is told to hold teacher data."""


def push(
    folder: Annotated[
        Path,
        typer.Argument(
            parser=o.folder, metavar="DIR", help="The folder that `run` named, or one that `export` has written."
        ),
    ],
    name: Annotated[
        str, typer.Argument(metavar="OWNER/NAME", help="The repository, a data set; it is made if need be.")
    ],
    public: Annotated[bool, typer.Option("--public", help="Let anybody read it. Default: its owner alone.")] = False,
    with_images: Annotated[
        bool, typer.Option("--with-images", help="Of a run: its report has the pictures in it.")
    ] = False,
) -> int:
    """Push results or teacher data to the Hugging Face Hub. Privately, unless told otherwise."""
    from unsaf_async.hub import Repo
    from unsaf_async.runs.folder import RunFiles

    repo = Repo(name, "dataset", public=public, field=None)
    if RunFiles(folder).manifest.exists():
        from unsaf_async.report.published import FILES, SCORES, publish

        made_ready(repo, SCORES, FILES)
        out = publish(folder, with_images=with_images)
        bring(out, repo, FILES, message=f"Results of the run {folder.resolve().name}")
    elif (folder / ROWS).is_file() and (folder / "README.md").is_file():
        made_ready(repo, ROWS, DATA)
        bring_data(folder, repo)
    elif (folder / "training.json").is_file() and (folder / "adapter").is_dir():
        raise _a_student(folder, name, public=public)
    else:
        raise UserError(f"{folder}: is neither a run's folder nor one that `export` has written; give one of these")
    return 0


def _a_student(folder: Path, name: str, *, public: bool) -> UserError:
    from unsaf_async.distill.train.pushing import FILES
    from unsaf_async.hub import Repo, upload_command

    by_hand = upload_command(folder, Repo(name, "model"), FILES)
    return UserError(
        f"{folder}: is a student, a model and no data set; `distill --push-to-hub {name}` pushes what it trains, and "
        f"this one goes there with: {by_hand}{'' if public else ' --private'}"
    )


DATA = ("*",)
"""An export's folder holds nothing but the export."""


def made_ready(repo: Repo, sign: str, files: Sequence[str]) -> None:
    """Opens the repository, and checks that nobody's files would be replaced.

    Args:
        repo: Where something is to be pushed.
        sign: A file by which an earlier push is told.
        files: Patterns of what is to be pushed.

    Raises:
        UserError: See `hub.open_repo` and `hub.check_ours`.
    """
    from unsaf_async.hub import check_ours, open_repo

    open_repo(repo)
    check_ours(repo, sign, files)


def bring_data(folder: Path, repo: Repo) -> None:
    """Pushes teacher data, and says whose affair their pictures are.

    Args:
        folder: An export's.
        repo: Opened by `made_ready`.

    Raises:
        UserError: See `hub.push`.
    """
    readers = "anybody" if repo.public else "its owner alone"
    tell(f"the rows go with their images, for {readers} to read; whether they may is for the images' licenses to say")
    bring(folder, repo, DATA, message="Teacher data")


def bring(folder: Path, repo: Repo, files: Sequence[str], *, message: str) -> None:
    """Pushes, and says where to.

    Args:
        folder: Where the files lie.
        repo: Opened by `made_ready`.
        files: Patterns of what is pushed.
        message: Of the commit.

    Raises:
        UserError: See `hub.push`.
    """
    from unsaf_async.hub import push as push_files

    pushed = push_files(folder, repo, files, message=message, bar=sys.stderr.isatty())
    sys.stdout.write(f"{pushed.line()}\n")
