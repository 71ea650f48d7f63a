"""The Python API: the same as the command line, from within a program."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from dataclasses import dataclass, field
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeVar, get_type_hints

from unsaf_async.errors import UserError, setting
from unsaf_async.events import Announce, logged, silent
from unsaf_async.progress.show import showing
from unsaf_async.runs.begin import begin
from unsaf_async.runs.estimate import check_covers_an_image, check_covers_more, estimate, estimate_more
from unsaf_async.runs.listing import exists
from unsaf_async.runs.prepare import prepare
from unsaf_async.runs.question_table import frame_of, rows_of
from unsaf_async.runs.rejudge import plan_judging
from unsaf_async.runs.runner import Runner
from unsaf_async.runs.saved import SavedRun
from unsaf_async.runs.setting_types import check_types
from unsaf_async.runs.settings import Rejudging, Settings
from unsaf_async.text import SIMULATED

if TYPE_CHECKING:
    from collections.abc import Callable

    from unsaf_async.records import Examination
    from unsaf_async.runs.estimate import Estimate
    from unsaf_async.runs.findings import Findings
    from unsaf_async.runs.folder import Manifest, RunFolder

P = ParamSpec("P")
Result = TypeVar("Result")


def _with_parameters_of(source: Callable[P, object]) -> Callable[[Callable[..., Result]], Callable[P, Result]]:
    """A decorator that gives a function the parameters of `source`, for type checkers and for `inspect.signature`.

    So the parameters of `evaluate` are the fields of a dataclass, and are written down nowhere else. A TypedDict for
    `**settings` would have to repeat every field with its type, for no type is made from a dataclass.
    """

    def decorate(function: Callable[..., Result]) -> Callable[P, Result]:
        hints, own = get_type_hints(source), signature(function)
        parameters = [each.replace(annotation=hints[each.name]) for each in signature(source).parameters.values()]
        function.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
        return function

    return decorate


@dataclass(frozen=True, kw_only=True)
class EvaluateArguments(Settings):
    """The arguments of `evaluate`."""

    on_event: Announce = logged
    yes: bool = False
    progress: bool = False


@_with_parameters_of(EvaluateArguments)
async def evaluate(*provider: Any, **settings: Any) -> Findings:
    """The score of a model on images: the same as `unsaf-async run`, for use from Python.

    A run that can cost money needs `max_cost`, or `yes=True` to begin without a cap, as on the command line where nobody can be
    asked. A run that stops early still returns the score of what is done.
    Its folder, which can be resumed, is `out` or lies in runs/.

    Args:
        *provider: The model to measure: a profile's name or alias, or any litellm id. May be given by keyword.
        **settings: The fields of `Settings`, which are the options of `unsaf-async run` with their defaults, and
            `on_event`, a function that receives the run's events as they happen, on the event loop's thread. It must not
            block and must not raise; without one, notices (who is called where) are logged as warnings. `yes`: whether it may
            begin without a cap although it costs money. `progress`: whether the run is shown while it goes on, below a
            notebook's cell, live on a terminal, and elsewhere as a line on stderr now and then; it tells the notices, too.

    Returns:
        The score and the extra measures, as in the run's score.json.

    Raises:
        UserError: A setting is wrong, or the run costs money and has no cap.
    """
    signature(EvaluateArguments).bind(*provider, **settings)  # a TypeError that names no class of ours
    arguments = EvaluateArguments(*provider, **settings)
    check_types(arguments)
    prepared = await prepare(arguments)
    if arguments.max_cost is None and not arguments.yes:
        _check_free(estimate(prepared))
    if arguments.out is None or not exists(Path(arguments.out)):  # a run that goes on has spent some of its cap
        check_covers_an_image(prepared)
    with begin(prepared) as folder:
        return await _run(folder, arguments)


@_with_parameters_of(EvaluateArguments)
def evaluate_sync(*provider: Any, **settings: Any) -> Findings:
    """As `evaluate`, for programs without an event loop. It returns when the run has ended.

    Args:
        *provider: As for `evaluate`.
        **settings: As for `evaluate`.

    Returns:
        The score and the extra measures.

    Raises:
        UserError: As for `evaluate`; or an event loop runs in this thread already, as in a notebook, where
            `await evaluate(...)` works. A second loop in a thread would go on paying after Ctrl-C.
    """
    _check_no_loop("evaluate")
    return asyncio.run(evaluate(*provider, **settings))


@dataclass(frozen=True)
class RejudgeArguments(Rejudging):
    """The arguments of `rejudge`."""

    run_dir: str | Path
    on_event: Announce = field(default=logged, kw_only=True)
    yes: bool = field(default=False, kw_only=True)
    progress: bool = field(default=False, kw_only=True)


@_with_parameters_of(RejudgeArguments)
async def rejudge(*run_dir: Any, **settings: Any) -> Findings:
    """The score of a run's answers by another judge or rubric: the same as `unsaf-async judge RUN_DIR`, for use from Python.

    Nothing is asked or answered again, and the run stays as it is. The new score's folder, RUN_DIR/judged/NAME, is read by
    `load`; with the same arguments, a judging that is there is gone on with.

    Args:
        *run_dir: The folder of the run, which may be finished or not. May be given by keyword.
        **settings: The fields of `Rejudging`, which are the options of `unsaf-async judge RUN_DIR` with their defaults;
            `on_event`, `yes` and `progress` as for `evaluate`.

    Returns:
        The new score.

    Raises:
        UserError: A setting is wrong, the run holds nothing to judge, or judging costs money and has no cap.
    """
    signature(RejudgeArguments).bind(*run_dir, **settings)  # a TypeError that names no class of ours
    arguments = RejudgeArguments(*run_dir, **settings)
    check_types(arguments)
    plan = await plan_judging(SavedRun(Path(arguments.run_dir)), arguments, trust=arguments.trust_folder)
    if arguments.max_cost is not None:
        check_covers_more(plan, plan.manifest)
    elif not arguments.yes:
        _check_free(estimate_more(plan, plan.manifest))
    with plan.open(trust=arguments.trust_folder) as folder:
        return await _run(folder, arguments)


@_with_parameters_of(RejudgeArguments)
def rejudge_sync(*run_dir: Any, **settings: Any) -> Findings:
    """As `rejudge`, for programs without an event loop. It returns when all is judged.

    Args:
        *run_dir: As for `rejudge`.
        **settings: As for `rejudge`.

    Returns:
        The new score.

    Raises:
        UserError: As for `rejudge`, and where an event loop runs in this thread, as for `evaluate_sync`.
    """
    _check_no_loop("rejudge")
    return asyncio.run(rejudge(*run_dir, **settings))


async def _run(folder: RunFolder, arguments: EvaluateArguments | RejudgeArguments) -> Findings:
    """The run in `folder` until it ends, shown and heard as was asked."""
    hear = silent if arguments.progress and arguments.on_event is logged else arguments.on_event
    runner = Runner(folder, hear)
    with showing(runner) if arguments.progress else nullcontext():
        return await runner.run()


def _check_free(figures: Estimate) -> None:
    """Checks that something that has no cap costs nothing. Raises UserError."""
    if figures.worst_usd:
        raise UserError(
            f"this costs money (${figures.expected_usd:.2f} expected, ${figures.worst_usd:.2f} at most); give "
            f"{setting('max_cost')}, or {setting('yes', True)} to begin without a cap"
        )


def _check_no_loop(name: str) -> None:
    """Checks that `NAME_sync` may begin a loop. Raises UserError."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise UserError(
        f"{name}_sync: an event loop runs here already, as in a notebook; write `await {name}(...)` in its place"
    )


class LoadedRun(NamedTuple):
    """A run read back: (manifest, examinations, findings)."""

    manifest: Manifest
    examinations: list[Examination]
    """One an image that is done, in the order of the run's images."""
    findings: Findings

    @property
    def questions(self) -> Any:
        """Every question as a row of a DataFrame, of pandas or polars, whichever is installed; made anew each time.

        Its columns are those of `export --format parquet` (docs/guide.md). Raises UserError if neither is installed.
        """
        return frame_of(rows_of(self.manifest, self.examinations))

    def _repr_html_(self) -> str:
        """What a notebook shows of it: the score, not each record."""
        simulated = f"<p><b>Simulated:</b> {SIMULATED}</p>" if self.manifest.subject.backend == "scripted" else ""
        return simulated + self.findings._repr_html_()


def load(run_dir: str | Path) -> LoadedRun:
    """A run read back: its manifest, its examinations, and its score, computed anew if its files have changed since.

    Args:
        run_dir: The run's folder. The run may be finished or not.

    Returns:
        (manifest, examinations, findings), a named tuple with `questions`, all questions as a DataFrame.

    Raises:
        UserError: The folder holds no run, or a damaged one.
    """
    run = SavedRun(Path(run_dir))
    return LoadedRun(run.manifest, list(run.in_order()), run.findings)
