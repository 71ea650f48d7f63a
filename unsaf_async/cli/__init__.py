"""The command line. One file a command group; what is heavy is imported inside the commands, so that --help stays quick."""

from __future__ import annotations

import os
import sys
import warnings

import typer

from unsaf_async.cli import cache, doctor, providers, run, show, simulate
from unsaf_async.errors import RunStopped, UserError

app = typer.Typer(
    name="unsaf-async",
    help="Does this multimodal model know what it does not know, and what does it cost to find out?",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command("run")(run.run)
app.command("resume")(run.resume)
app.command("estimate")(run.estimate)
app.command("show")(show.show)
app.command("providers")(providers.providers)
app.command("doctor")(doctor.doctor)
app.command("simulate")(simulate.simulate)
app.add_typer(cache.app, name="cache")

USAGE_ERROR: type[Exception] = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")
"""typer's base of wrong options and arguments (its home changed between typer's versions)."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0 complete, 2 the user's mistake, 3 stopped early, 130 interrupted."""
    sys.exit(_run(arguments))


def _run(arguments: list[str] | None) -> int:
    # Pillow warns about odd metadata and large headers in files that it reads well; those it cannot are reported.
    warnings.filterwarnings("ignore", module="PIL")
    try:
        code = app(arguments, standalone_mode=False)
    except KeyboardInterrupt:
        _say("interrupted; finished work is kept")
        return 130
    except BrokenPipeError:  # `unsaf-async show ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        return _explained(error)
    return code if isinstance(code, int) else 0


def _explained(error: BaseException) -> int:
    """The exit code for `error`, after one line about it. A bug is raised on."""
    while isinstance(error, BaseExceptionGroup):
        expected = error.subgroup(lambda inner: isinstance(inner, UserError | RunStopped | USAGE_ERROR))
        if expected is None or len(expected.exceptions) != len(error.exceptions):
            raise error
        error = expected.exceptions[0]
    if isinstance(error, UserError):
        _say(str(error))
        return 2
    if isinstance(error, RunStopped):
        _say(str(error))
        return 3
    if isinstance(error, USAGE_ERROR):
        context = getattr(error, "ctx", None)
        if context and type(error).__name__ == "NoArgsIsHelpError":
            sys.stdout.write(context.get_help() + "\n")
            return 0
        where = f"{context.command_path}: " if context else ""
        _say(f"{where}{error.format_message()} (see --help)")  # type: ignore[attr-defined]
        return 2
    if type(error).__name__ == "Abort":
        _say("not started")
        return 130
    raise error


def _say(text: str) -> None:
    line = " ".join(text.split())
    sys.stderr.write(f"unsaf-async: {line}\n" if not line.startswith("unsaf-async") else f"{line}\n")
