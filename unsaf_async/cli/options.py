"""The options that several commands share, and how they become settings."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from unsaf_async.runs.settings import Settings

Say = Callable[[str], None]
"""Puts one line before the user, beside or above the progress display."""


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


Provider = Annotated[
    str, typer.Option(metavar="NAME", help="Model to measure: a profile's name or alias, or any litellm id.")
]
Images = Annotated[
    list[str] | None,
    typer.Option(
        "--images",
        metavar="PATH ...",
        help="Folders, files, globs or JSONL/CSV manifests. Default: the shipped photos; drawn scenes for tiny.",
    ),
]
Judge = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME|self|rules",
        help='Who judges what the rules leave open: "self", "rules" (nobody), or a provider; given several times, a panel by '
        "majority. Default: self; rules for tiny.",
    ),
]
Audit = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="A provider that says of each question, blind to its label, if the image answers it. May be given several times.",
    ),
]
Grounded = Annotated[
    bool,
    typer.Option("--grounded", help="Have the (first) judge look at the image and say if answers are borne out by it."),
]
Confidence = Annotated[
    bool,
    typer.Option("--confidence", help="Ask the model how sure it is of each answer: in percent, and as P(True)."),
]
Samples = Annotated[
    int,
    typer.Option(
        parser=whole, metavar="K", help="Draw each answer K more times, for self-consistency and semantic entropy."
    ),
]
JudgeCalibration = Annotated[
    Path | None,
    typer.Option(
        parser=folder,
        metavar="FILE",
        help="What `judge calibrate` wrote of this judge: adds UnF1 corrected for its errors.",
    ),
]
QuestionsFrom = Annotated[
    Path | None,
    typer.Option(
        parser=folder, metavar="RUN_DIR", help="Ask the questions of that run, about its images, instead of own ones."
    ),
]
Questions = Annotated[
    int,
    typer.Option(
        parser=whole, metavar="K", help="Questions per image and instruction (K answerable and K unanswerable)."
    ),
]
Limit = Annotated[
    int | None,
    typer.Option(parser=whole, metavar="N", help="Examine at most so many images, a random sample by --seed."),
]
Seed = Annotated[
    int,
    typer.Option(
        parser=whole,
        metavar="N",
        help="Of the image order, the models' sampling where they take one, and the intervals.",
    ),
]
MaxCost = Annotated[
    float | None, typer.Option(parser=number, metavar="USD", help="Never spend more than this, in USD.")
]
PriceOption = Annotated[
    str | None,
    typer.Option("--price", metavar="IN,OUT", help="USD per million tokens, where no price is known or another holds."),
]
Rpm = Annotated[float | None, typer.Option(parser=number, metavar="N", help="Requests per minute.")]
Tpm = Annotated[float | None, typer.Option(parser=number, metavar="N", help="Tokens per minute.")]
Concurrency = Annotated[int | None, typer.Option(parser=whole, metavar="N", help="Most calls in flight.")]
ApiBase = Annotated[str | None, typer.Option(metavar="URL", help="Base URL of the endpoint.")]
Model = Annotated[
    str | None, typer.Option(metavar="ID", help="Model id at the endpoint, where the profile names none or another.")
]
Prompts = Annotated[
    str | None,
    typer.Option(metavar="PACK", help="Prompt pack: a shipped one's name or a folder. Default: unsaf; tiny for tiny."),
]
Out = Annotated[
    Path | None,
    typer.Option(parser=folder, metavar="DIR", help="The run's folder. Default: runs/<time>-<model>."),
]
CacheDir = Annotated[
    Path | None,
    typer.Option(
        "--cache", parser=folder, metavar="DIR", help="Folder of stored replies. Default: $UNSAF_CACHE or ./cache."
    ),
]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Share no replies with other runs.")]
UntilCi = Annotated[
    float | None,
    typer.Option(
        parser=number, metavar="W", help="Stop when the 95 % interval's half-width is at most this (e.g. 0.02)."
    ),
]
Spawn = Annotated[
    str | None,
    typer.Option(
        metavar="MODEL",
        help="Start vLLM with this model (a folder, a hub id, a tiny model's name) for the run, and stop it afterwards.",
    ),
]
SpawnLora = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=PATH",
        help="A LoRA adapter for --spawn; the first is measured, unless --model names another. May be given several times.",
    ),
]
SpawnFlags = Annotated[
    str | None,
    typer.Option(metavar="FLAGS", help="Further flags of `vllm serve` for --spawn, as one text in quotes."),
]
RunDir = Annotated[Path, typer.Argument(parser=folder, metavar="RUN_DIR", help="The folder that `run` named.")]


def ask(question: str) -> None:
    """Returns if the terminal says yes; ends the command with 130 otherwise."""
    if not typer.confirm(question, err=True):
        sys.stderr.write("unsaf-async: not started\n")
        raise typer.Exit(130)


def cache_folder(cache: Path | None) -> Path:
    """Where stored replies lie: `cache`, else $UNSAF_CACHE, else ./cache."""
    return cache or Path(os.environ.get("UNSAF_CACHE") or "cache")


def check_cache(cache: Path | None, no_cache: bool) -> None:
    """Raises UserError if a folder of replies is named and refused at once."""
    from unsaf_async.errors import UserError

    if cache and no_cache:
        raise UserError("--cache and --no-cache contradict each other; give one of them")


def settings_of(*, cache: Path | None, no_cache: bool, images: list[str] | None, **options: object) -> Settings:
    """The settings that the options come to. Raises UserError where two contradict each other."""
    from unsaf_async.runs.settings import Settings

    check_cache(cache, no_cache)
    options |= {name: tuple(given) for name, given in options.items() if isinstance(given, list)}
    given = {name: value for name, value in options.items() if value is not None}
    return Settings(cache=None if no_cache else cache_folder(cache), images=tuple(images or ()), **given)  # type: ignore[arg-type]
