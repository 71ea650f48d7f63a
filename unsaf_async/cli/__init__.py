"""The command line. One file a command group; what is heavy is imported inside the commands, so that --help stays quick."""

from __future__ import annotations

import sys
import warnings
from typing import Annotated

import typer

from unsaf_async.cli import (
    cache,
    compare,
    cross,
    distill,
    distill_eval,
    doctor,
    estimate,
    export,
    judge,
    label,
    labelled,
    mcp,
    power,
    providers,
    push,
    report,
    robustness,
    run,
    serve,
    show,
    simulate,
    suite,
    world,
)
from unsaf_async.cli.descriptors import ALLOW, open_more, used_up
from unsaf_async.cli.hints import usage_mistake
from unsaf_async.cli.sections import Sections
from unsaf_async.cli.spelling import spelled
from unsaf_async.cli.streams import NO_ROOM, NOBODY_READS, lasting_streams, tell
from unsaf_async.errors import RunStopped, UserError
from unsaf_async.text import error_line

app = typer.Typer(
    name="unsaf-async",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        sys.stdout.write(f"unsaf-async {version('unsaf-async')}\n")
        raise typer.Exit


@app.callback()
def top(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Does this multimodal model know what it does not know, and what does it cost to find out?"""


app.command("run", cls=Sections)(run.run)
app.command("resume", cls=Sections)(run.resume)
app.command("estimate", cls=Sections)(estimate.estimate)
app.command("labelled", cls=Sections)(labelled.labelled)
app.command("audit", cls=Sections)(run.audit)
app.command("label", cls=Sections)(label.label)
app.command("cross", cls=Sections)(cross.cross)
app.command("suite", cls=Sections)(suite.suite)
app.command("compare", cls=Sections)(compare.compare)
app.command("power", cls=Sections)(power.power)
app.command("robustness", cls=Sections)(robustness.robustness)
app.command("export", cls=Sections)(export.export)
app.command("distill", cls=Sections)(distill.distill)
app.command("distill-eval", cls=Sections)(distill_eval.distill_eval)
app.command("push", cls=Sections)(push.push)
app.command("report", cls=Sections)(report.report)
app.command("view", cls=Sections)(report.view)
app.command("show", cls=Sections)(show.show)
app.command("providers", cls=Sections)(providers.providers)
app.command("doctor", cls=Sections)(doctor.doctor)
app.command("serve", cls=Sections)(serve.serve)
app.command("simulate", cls=Sections)(simulate.simulate)
app.command("mcp", cls=Sections)(mcp.mcp)
app.add_typer(judge.app, name="judge")
app.add_typer(cache.app, name="cache")
app.add_typer(world.app, name="world")

_NO_MEMORY = ("cannot allocate memory", "failed to map segment", "can't start new thread", "unable to allocate")
"""How other errors than MemoryError say that there is none: the system's, of loading a library, of starting a thread."""

UNWRITTEN = 1
"""The exit code where there is no room for a command's output, as that of cat and sort."""

KEPT_IN_FILES = (
    "run",
    "resume",
    "audit",
    "label",
    "labelled",
    "cross",
    "suite",
    "distill",
    "distill-eval",
    "export",
    "report",
)
"""Commands whose results lie in files: what they print may be lost."""

USAGE_ERROR: type[Exception] = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")
"""typer's base of wrong options and arguments (its home changed between typer's versions)."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit.

    0 complete, 1 no room for what it prints, 2 the user's mistake, 3 stopped early, 130 interrupted.
    """
    sys.exit(_run(arguments))


def _run(arguments: list[str] | None) -> int:
    open_more()
    given = _spread(sys.argv[1:] if arguments is None else arguments)
    with lasting_streams() as out:
        code = _command(given)
        out.flush()
        if out.broken is None or out.broken.errno in NOBODY_READS:
            return code
        kept = given[:1] and given[0] in KEPT_IN_FILES
        then = "what the command wrote into files is whole" if kept else "write it elsewhere, or make room there"
        tell(f"stdout cannot be written ({out.broken.strerror}); {then}")
        return code or UNWRITTEN


def _command(given: list[str]) -> int:
    """Runs a command; its exit code, whatever becomes of what it prints."""
    # Pillow warns about odd metadata and large headers in files that it reads well; those it cannot are reported.
    warnings.filterwarnings("ignore", module="PIL")
    try:
        code = app(given, standalone_mode=False, prog_name="unsaf-async")
    except KeyboardInterrupt:
        tell("interrupted; finished work is kept")
        return 130
    except Exception as error:
        return _explained(error)
    return code if isinstance(code, int) else 0


def _spread(arguments: list[str]) -> list[str]:
    """`arguments` with the option before each path of --images and --runs: the shell may expand `--images photos/*.jpg`."""
    lists = ("--runs",) if arguments[:1] == ["power"] else ("--images",)
    spread: list[str] = []
    listing = ""
    for argument in arguments:
        listing = argument if argument in lists else "" if argument.startswith("-") else listing
        if listing and argument != listing and spread[-1] != listing:
            spread.append(listing)
        spread.append(argument)
    return spread


def _explained(error: BaseException) -> int:
    """The exit code for `error`, after one line about it. A bug is raised on."""
    while isinstance(error, BaseExceptionGroup):
        expected = error.subgroup(
            lambda inner: isinstance(inner, UserError | RunStopped | USAGE_ERROR | OSError | MemoryError)
        )
        if expected is None or len(expected.exceptions) != len(error.exceptions):
            raise error
        error = expected.exceptions[0]
    if used_up(str(error)):
        tell(f"too many files and connections are open; {ALLOW}, and go on; what is finished is kept")
        return 3
    if isinstance(error, UserError):
        tell(error.spelled(spelled))
        return 2
    if isinstance(error, RunStopped):
        tell(error.spelled(spelled))
        return 3
    if isinstance(error, USAGE_ERROR):
        context = getattr(error, "ctx", None)
        if context and type(error).__name__ == "NoArgsIsHelpError":
            sys.stdout.write(context.get_help() + "\n")
            return 0
        where = f"{context.command_path}: " if context else ""
        tell(f"{where}{usage_mistake(error, context)} (see --help)")
        return 2
    if isinstance(error, MemoryError) or any(words in error_line(error).lower() for words in _NO_MEMORY):
        tell("the memory is used up; what is finished is kept: free some, or give a smaller --concurrency, and go on")
        return 3
    if isinstance(error, OSError) and not isinstance(error, ConnectionError):  # a file of the run's, or its disk
        where = f"{error.filename}: " if error.filename else ""
        tell(f"{where}{error.strerror or error}; check the path, its permissions and the space left")
        return UNWRITTEN if error.errno in NO_ROOM else 2
    if type(error).__name__ == "Abort":  # Ctrl-C or the end of input, at a question
        sys.stderr.write("\n")
        tell("not started")
        return 130
    raise error
