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
    from unsaf_async.runs.saved import SavedRun

    saved = SavedRun(run_dir)
    if json:
        sys.stdout.write(saved.findings.model_dump_json(indent=2) + "\n")
        return 0
    from unsaf_async.cli.render import print_score

    failures = [(each.image.id, each.failure) for each in saved.examinations if each.failure]
    print_score(saved.findings, saved.manifest, failures)
    if saved.pending:
        left = f"{saved.pending} of {saved.manifest.images} images are not done"
        sys.stdout.write(f"\n{left}: `unsaf-async resume {run_dir}` goes on\n")
    return 0
