"""`labelled`: a model on a labelled set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

from unsaf_async.cli import options as o
from unsaf_async.cli import run
from unsaf_async.cli import serve as s
from unsaf_async.cli.from_fields import from_fields
from unsaf_async.help import MEASURED, Help
from unsaf_async.runs.settings import Settings


@from_fields(
    leave_out=(
        "images",
        "audit",
        "audit_api_base",
        "questions_from",
        "judge_calibration",
        "questions",
        "controls",
        "controls_per_image",
        "question_form",
        "until_ci",
        "anytime",
    ),
    required=("data",),
    defaults={"provider": run.DEFAULT_PROVIDER},
)
def labelled(
    settings: Settings,
    spawning: s.Spawning,
    display: o.Display,
    labelled_images: Annotated[
        Path | None,
        Help(
            "Where its images lie. Default: where the file is.", metavar="DIR", panel=MEASURED, spelling=("--images",)
        ),
    ] = None,
    dry_run: o.DryRun = False,
) -> int:
    """Measure a model on a labelled set. Accuracy, abstention, calibration; POPE and other native files as they come."""
    if labelled_images is not None:
        settings = replace(settings, images=(str(labelled_images),))
    return run.carry_out(settings, spawning, display, dry_run=dry_run)
