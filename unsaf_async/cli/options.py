"""The options that several commands share, and how their values are read."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from unsaf_async.cli.spelling import spelled
from unsaf_async.cli.streams import tell
from unsaf_async.errors import UntrustedFolder, UserError
from unsaf_async.help import MONEY, OUTPUT, Help
from unsaf_async.trackers import Tracker

Result = TypeVar("Result")


# Parsers of our own, because the words of typer's change with its version, and leave out what was found.
def whole(text: str) -> int:
    """`text` as a whole number."""
    try:
        return int(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no whole number") from None


def number(text: str) -> float:
    """`text` as a number."""
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no number") from None


def folder(text: str) -> Path:
    """`text` as a folder's path. An empty one is a variable that was not set, and not the working directory."""
    if not str(text).strip():
        raise typer.BadParameter("it is empty; give a folder, or leave the option out")
    return Path(text)


def file(text: str) -> Path:
    """`text` as the path of a file."""
    if not str(text).strip():
        raise typer.BadParameter("it is empty; give a file, or leave the option out")
    return Path(text)


def one_of(names: Sequence[str]) -> Callable[[str], str]:
    """A parser of text that is one of `names`."""

    def parse(text: str) -> str:
        if text not in names:
            raise typer.BadParameter(f"{text!r} is none of {', '.join(names)}")
        return text

    return parse


RunDir = Annotated[Path, typer.Argument(parser=folder, metavar="RUN_DIR", help="The folder that `run` named.")]


@dataclass(frozen=True)
class Display:
    """What a command that works a run off shows."""

    json: Annotated[bool, Help("Print the final score as JSON, and nothing else, on stdout.", panel=OUTPUT)] = False
    quiet: Annotated[bool, Help("No progress; notices stay.", panel=OUTPUT, spelling=("--quiet", "-q"))] = False
    yes: Annotated[bool, Help("Do not ask about the cost.", panel=MONEY, spelling=("--yes", "-y"))] = False
    report: Annotated[
        bool,
        Help(
            "Write the run's report.html at the end (seconds for many images).",
            panel=OUTPUT,
            spelling=("--report/--no-report",),
        ),
    ] = True
    report_to: Annotated[
        Sequence[Tracker],
        Help(
            "Tell a tracker of experiments the score, costs and settings at the end. May be given several times.",
            panel=OUTPUT,
        ),
    ] = ()
    otel: Annotated[
        bool,
        Help(
            "Send traces and metrics of the calls to where OpenTelemetry's variables say, without texts.", panel=OUTPUT
        ),
    ] = False

    def __post_init__(self) -> None:
        """Raises UserError where what is asked for is not installed: before anything is paid."""
        if self.report_to:
            from unsaf_async.trackers import check_installed as check_trackers

            check_trackers(self.report_to)
        if self.otel:
            from unsaf_async.telemetry import check_installed as check_otel

            check_otel()


Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else, on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress; notices stay.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask about the cost.")]
DryRun = Annotated[bool, Help("Show what would be done and cost; call nobody.", panel=MONEY)]


def sizes(given: Sequence[str]) -> dict[str, float]:
    """The values of `--scale`, a size of a model each.

    Args:
        given: As they were entered: NAME=PARAMS.

    Returns:
        Numbers of parameters by name.

    Raises:
        UserError: One is no such pair, or a name has two.
    """
    from unsaf_async.compare.comparison import size_of

    found: dict[str, float] = {}
    for each in given:
        name, equals, size = each.rpartition("=")
        if not (equals and name):
            raise UserError(f"{each}: is no NAME=PARAMS; give one such as tiny=0.2M", "scale")
        if name in found:
            raise UserError(f"{each}: {name} has a size already; give one", "scale")
        try:
            found[name] = size_of(size)
        except ValueError as error:
            raise UserError(f"{each}: {error}", "scale") from None
    return found


def ask(question: str) -> None:
    """Returns if the terminal says yes; ends the command with 130 otherwise."""
    if not typer.confirm(question, err=True):
        sys.stderr.write("unsaf-async: not started\n")
        raise typer.Exit(130)


def trusting(work: Callable[[bool], Result], *, trust: bool) -> Result:
    """What some work with a run's folder returns. Where it needs the user's trust, a terminal is asked for it.

    Args:
        work: Does it, with the folder trusted or not; does nothing that counts if it raises `UntrustedFolder`.
        trust: Whether the user has said so already.

    Returns:
        What `work` does.

    Raises:
        UntrustedFolder: The folder is not trusted, and nobody can be asked.
    """
    try:
        return work(trust)
    except UntrustedFolder as error:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise
        tell(error.spelled(spelled))
    ask("Trust this folder?")
    return work(True)


def check_port(port: int) -> None:
    """Raises UserError unless a server can listen on `port`; 0 is any free one."""
    if not 0 <= port <= 65535:
        raise UserError(f"is {port}; give a port from 1 to 65535, or 0 for any free one", "port")
