"""`show`: a finished or unfinished run, read back."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def show(
    run_dir: Annotated[Path, typer.Argument(help="The folder that `run` named.")],
    json: Annotated[bool, typer.Option("--json", help="Print the score as JSON, and nothing else, on stdout.")] = False,
) -> int:
    """Show a run's score, computed anew from its journal."""
    from unsaf_async.conduct import rescore
    from unsaf_async.runs import read_manifest

    manifest = read_manifest(run_dir)
    score = rescore(run_dir)
    if json:
        sys.stdout.write(score.model_dump_json(indent=2) + "\n")
        return 0
    from unsaf_async.cli.render import print_score

    print_score(score, manifest)
    left = manifest.images - score.images.done - score.images.failed
    if left:
        sys.stdout.write(f"\n{left} of {manifest.images} images are not done: `unsaf-async resume {run_dir}` goes on\n")
    return 0
