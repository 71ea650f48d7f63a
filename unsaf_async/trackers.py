"""A run's result in a tracker of experiments: Weights & Biases, MLflow or Trackio.

What is told is the same for each, and an allow-list: figures with the ends of their intervals, costs and counts, the settings
that say what was measured, the run's folder and its report's path. Addresses, headers and texts of questions or replies are not
among them. Where it goes, and with which key, is the tracker's own affair: its environment variables and files say so.
"""

from __future__ import annotations

import os
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal, get_args

from unsaf_async.errors import UserError
from unsaf_async.text import install_extra

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from unsaf_async.runs.findings import Findings
    from unsaf_async.runs.folder import Manifest
    from unsaf_async.runs.saved import SavedRun

Tracker = Literal["wandb", "mlflow", "trackio"]
"""The trackers, by the names of their packages."""

PROJECT = "unsaf-async"
"""The project, or experiment, unless the tracker's own variable names another."""


@dataclass(frozen=True)
class Told:
    """What a tracker is told of a run. figures: by path, an interval's ends as `PATH_low` and `PATH_high`."""

    run_id: str
    name: str
    settings: Mapping[str, str | int | float | bool]
    figures: Mapping[str, float]


def told_of(run: SavedRun) -> Told:
    """What a tracker is told of a run.

    Args:
        run: Finished or not.

    Returns:
        Its figures and settings; what is undefined is not among them.
    """
    manifest, score = run.manifest, run.findings
    report = str(run.files.report.absolute()) if run.files.report.exists() else ""
    settings = {**_settings(manifest), "folder": str(run.folder.absolute()), "report": report}
    kept = {name: value for name, value in settings.items() if value not in (None, "")}
    return Told(manifest.run_id, f"{manifest.subject.name}-{manifest.run_id[:8]}", kept, _figures(score))


def _settings(manifest: Manifest) -> dict[str, Any]:
    """What was measured, and how."""
    return {
        "run_id": manifest.run_id,
        "created": manifest.created,
        "version": manifest.versions.get("unsaf-async"),
        "provider": manifest.subject.name,
        "model": manifest.subject.model,
        "simulated": manifest.subject.backend == "scripted",
        "judge": manifest.judge_name,
        "auditors": ", ".join(manifest.auditors),
        "prompts": os.path.basename(manifest.pack),  # noqa: PTH119 - a name, or a folder of which the last part tells enough
        "prompts_version": manifest.pack_version,
        "prompts_sha256": manifest.pack_sha256,
        "questions_from": manifest.source.name if manifest.source else None,
        "questions": manifest.questions,
        "question_form": manifest.form,
        "seed": manifest.seed,
        "images": manifest.images,
        "images_sha256": manifest.images_sha256,
        "max_cost_usd": manifest.max_cost_usd,
        "until_ci": manifest.until_ci,
        "grounded": manifest.grounded,
        "confidence": manifest.confidence,
        "samples": manifest.samples,
        "controls": ", ".join(manifest.controls),
        "batch": manifest.batch,
    }


def _figures(score: Findings) -> dict[str, float]:
    from unsaf_async.score.figures import figures_of

    told: dict[str, float] = {}
    for figure in figures_of(score):
        if figure.value is not None:
            told[figure.path] = figure.value
        if figure.ends is not None:
            told[f"{figure.path}_low"], told[f"{figure.path}_high"] = figure.ends
    return told


def check_installed(trackers: Sequence[Tracker]) -> None:
    """Checks that the trackers' packages are there. Nothing is imported: that takes seconds.

    Args:
        trackers: Their names.

    Raises:
        UserError: One is unknown, or not installed.
    """
    for name in trackers:
        if name not in get_args(Tracker):
            raise UserError(f"{name} is none of {', '.join(get_args(Tracker))}", field="report_to")
        try:
            there = find_spec(name) is not None
        except ValueError:  # a module without a spec: put there by a program, or barred
            there = sys.modules.get(name) is not None
        if not there:
            raise UserError(f"needs {name}, which is not installed; {install_extra(name)}", field="report_to")


def report(run: SavedRun, tracker: Tracker) -> None:
    """Tells a tracker of a run. A run that it knows already is brought up to date, not doubled.

    What a tracker prints goes to stderr, so that stdout stays the program's.

    Args:
        run: Finished or not.
        tracker: Its name; see `check_installed`.

    Raises:
        Exception: Whatever the tracker raises.
    """
    with redirect_stdout(sys.stderr):
        _ADAPTERS[tracker](told_of(run))


def _to_wandb(told: Told) -> None:
    import wandb

    # Neither what is printed, nor the repository, the program or the machine: only what is told here.
    quiet = wandb.Settings(
        silent=True,
        console="off",
        save_code=False,
        disable_code=True,
        disable_git=True,
        disable_job_creation=True,
        x_disable_meta=True,
        x_disable_stats=True,
        x_disable_machine_info=True,
    )
    project = os.environ.get("WANDB_PROJECT") or PROJECT
    run = wandb.init(
        project=project,
        id=told.run_id,
        name=told.name,
        config=dict(told.settings),
        resume="allow",
        allow_val_change=True,
        settings=quiet,
    )
    run.log(dict(told.figures))
    run.finish()


def _to_mlflow(told: Told) -> None:
    import mlflow

    if not (os.environ.get("MLFLOW_EXPERIMENT_NAME") or os.environ.get("MLFLOW_EXPERIMENT_ID")):
        mlflow.set_experiment(PROJECT)
    known = mlflow.search_runs(filter_string=f"tags.`unsaf.run_id` = '{told.run_id}'", output_format="list")
    which = {"run_id": known[0].info.run_id} if known else {"run_name": told.name}
    with mlflow.start_run(**which, log_system_metrics=False):
        # Tags, for they may change when a run goes on; a parameter may not.
        mlflow.set_tags({f"unsaf.{name}": value for name, value in told.settings.items()})
        mlflow.log_metrics(dict(told.figures))


def _to_trackio(told: Told) -> None:
    import trackio

    trackio.init(
        project=os.environ.get("TRACKIO_PROJECT") or PROJECT,
        name=told.name,
        config=dict(told.settings),
        resume="allow",
        embed=False,
        auto_log_gpu=False,
        auto_log_cpu=False,
    )
    trackio.log(dict(told.figures))
    trackio.finish()


_ADAPTERS: dict[Tracker, Callable[[Told], None]] = {"wandb": _to_wandb, "mlflow": _to_mlflow, "trackio": _to_trackio}
