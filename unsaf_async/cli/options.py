"""The options that `run` and `estimate` share, and how they become settings."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from unsaf_async.conduct import Settings

Say = Callable[[str], None]
"""Puts one line before the user, beside or above the progress display."""

Provider = Annotated[str, typer.Option(help="Model to measure: a profile's name or alias, or any litellm id.")]
Images = Annotated[
    list[str] | None,
    typer.Option(
        "--images", help="Folder, file, glob or JSONL/CSV manifest; may be repeated. Default: the shipped photos."
    ),
]
Judge = Annotated[
    str, typer.Option(help='Who judges what the rules leave open: "self", "rules" (nobody), or a provider.')
]
Questions = Annotated[int, typer.Option(help="Questions per image and instruction (K answerable and K unanswerable).")]
Limit = Annotated[int | None, typer.Option(help="Examine at most so many images, a random sample by --seed.")]
Seed = Annotated[
    int, typer.Option(help="Of the image order, the models' sampling where they take one, and the intervals.")
]
MaxCost = Annotated[float | None, typer.Option(help="Never spend more than this, in USD.")]
PriceOption = Annotated[
    str | None,
    typer.Option("--price", help='USD per million tokens, "IN,OUT", where none is known or another holds.'),
]
Rpm = Annotated[float | None, typer.Option(help="Requests per minute.")]
Tpm = Annotated[float | None, typer.Option(help="Tokens per minute.")]
Concurrency = Annotated[int | None, typer.Option(help="Most calls in flight.")]
ApiBase = Annotated[str | None, typer.Option(help="Base URL of the endpoint.")]
Model = Annotated[str | None, typer.Option(help="Model id at the endpoint, where the profile names none or another.")]
Prompts = Annotated[str, typer.Option(help="Prompt pack: a shipped one's name or a folder.")]
Out = Annotated[Path | None, typer.Option(help="The run's folder. Default: runs/<time>-<model>.")]
CacheDir = Annotated[
    Path | None, typer.Option("--cache", help="Folder of stored replies. Default: $UNSAF_CACHE or ./cache.")
]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Share no replies with other runs.")]
UntilCi = Annotated[
    float | None, typer.Option(help="Stop when the 95 % interval's half-width is at most this (e.g. 0.02).")
]


def cache_folder(cache: Path | None) -> Path:
    """Where stored replies lie: `cache`, else $UNSAF_CACHE, else ./cache."""
    return cache or Path(os.environ.get("UNSAF_CACHE") or "cache")


def settings_of(*, cache: Path | None, no_cache: bool, images: list[str] | None, **options: object) -> Settings:
    """The settings that the options come to. Raises UserError where two contradict each other."""
    from unsaf_async.conduct import Settings
    from unsaf_async.errors import UserError

    if cache and no_cache:
        raise UserError("--cache and --no-cache contradict each other; give one of them")
    return Settings(cache=None if no_cache else cache_folder(cache), images=tuple(images or ()), **options)  # type: ignore[arg-type]
