"""The Python API: the same as the command line, from within a program."""

from __future__ import annotations

from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, get_type_hints

from unsaf_async.errors import UserError, setting
from unsaf_async.events import Announce, logged
from unsaf_async.runs.estimate import check_covers_an_image, estimate
from unsaf_async.runs.folder import exists
from unsaf_async.runs.prepare import prepare
from unsaf_async.runs.runner import Runner, begin
from unsaf_async.runs.saved import SavedRun
from unsaf_async.runs.setting_types import check_types
from unsaf_async.runs.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from unsaf_async.records import Examination
    from unsaf_async.runs.findings import Findings
    from unsaf_async.runs.folder import Manifest

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
            begin without a cap although it costs money.

    Returns:
        The score and the extra measures, as in the run's score.json.

    Raises:
        UserError: A setting is wrong, or the run costs money and has no cap.
    """
    signature(EvaluateArguments).bind(*provider, **settings)  # a TypeError that names no class of ours
    arguments = EvaluateArguments(*provider, **settings)
    check_types(arguments)
    prepared = await prepare(arguments)
    if arguments.max_cost is None and not arguments.yes and (figures := estimate(prepared)).worst_usd:
        raise UserError(
            f"this costs money (${figures.expected_usd:.2f} expected, ${figures.worst_usd:.2f} at most); give "
            f"{setting('max_cost')}, or {setting('yes', True)} to begin without a cap"
        )
    if arguments.out is None or not exists(Path(arguments.out)):  # a run that goes on has spent some of its cap
        check_covers_an_image(prepared)
    with begin(prepared) as folder:
        return await Runner(folder, arguments.on_event).run()


def load(run_dir: str | Path) -> tuple[Manifest, list[Examination], Findings]:
    """A run read back: its manifest, its examinations, and its score, computed anew if its files have changed since.

    Args:
        run_dir: The run's folder. The run may be finished or not.

    Returns:
        (manifest, examinations, findings); the examinations, one an image that is done, in the order in which they were
        written.

    Raises:
        UserError: The folder holds no run, or a damaged one.
    """
    run = SavedRun(Path(run_dir))
    return run.manifest, list(run.examinations), run.findings
