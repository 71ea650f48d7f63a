"""`show`: a finished or unfinished run, read back."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from unsaf_async.cli import options as o


def show(
    run_dir: o.RunDir,
    json: Annotated[bool, typer.Option("--json", help="Print the score as JSON, and nothing else, on stdout.")] = False,
) -> int:
    """Show a run's score, computed anew from its journal."""
    from unsaf_async.api import load

    manifest, examinations, score = load(run_dir)
    if json:
        sys.stdout.write(score.model_dump_json(indent=2) + "\n")
        return 0
    from unsaf_async.cli.render import print_score

    print_score(score, manifest, [(each.image.id, each.failure) for each in examinations if each.failure])
    left = manifest.images - score.images.done - score.images.failed
    if left:
        sys.stdout.write(f"\n{left} of {manifest.images} images are not done: `unsaf-async resume {run_dir}` goes on\n")
    return 0
