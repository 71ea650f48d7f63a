"""`cache info`, `cache clear`, `cache explain`."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from unsaf_async.cli import options as o
from unsaf_async.cli.from_fields import from_fields
from unsaf_async.cli.sections import Sections
from unsaf_async.runs.settings import DEFAULT_CACHE, Cache, Settings
from unsaf_async.text import shown

app = typer.Typer(help="Look into the stored replies, or drop them.", no_args_is_help=True, rich_markup_mode=None)


@app.command("info")
@from_fields(leave_out=("no_cache",))
def info(cache: Cache = DEFAULT_CACHE) -> int:
    """Count the stored replies. For which models they are, and what they cost when they were made."""
    from collections import Counter

    from unsaf_async.calls.disk import entries

    folder = _existing(cache)
    number, cost_usd, size = 0, 0.0, 0
    models: Counter[str] = Counter()
    for _, stored in entries(folder):
        number += 1
        cost_usd += stored["reply"]["cost_usd"]
        models[stored["reply"]["model"] or "unnamed"] += 1
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    sys.stdout.write(f"{folder}: {number} replies, {size / 1e6:.1f} MB, worth ${cost_usd:.4f}\n")
    for model, count in models.most_common():
        sys.stdout.write(f"  {count:7d}  {shown(model)}\n")
    return 0


@app.command("clear")
@from_fields(leave_out=("no_cache",))
def clear(
    cache: Cache = DEFAULT_CACHE,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> int:
    """Drop all stored replies. The next run pays for them again."""
    from unsaf_async.calls.disk import open_cache
    from unsaf_async.errors import UserError
    from unsaf_async.inputs.known import forget

    folder = _existing(cache)
    store = open_cache(folder)
    try:
        number = len(store)
        if not yes:
            if not sys.stdin.isatty():
                raise UserError(f"cache clear: would drop {number} paid replies and nobody can be asked; give -y")
            o.ask(f"Drop {number} stored replies in {folder}?")
        store.clear()
        forget(folder)
    finally:
        store.close()
    sys.stdout.write(f"{folder}: {number} replies dropped\n")
    return 0


@app.command("explain", cls=Sections)
@from_fields(
    only=("provider", "images", "questions", "limit", "seed", "api_base", "model", "prompts", "cache"),
    defaults={"provider": "tiny", "limit": 1},
)
def explain(settings: Settings) -> int:
    """Say whether a run's calls would hit. For each image's first two: if not, what differs from the nearest stored ones."""
    import asyncio

    from unsaf_async.checks.explain_cache import explain as explained

    settings = replace(settings, judge="rules", cache=_existing(settings.cache))
    for line in asyncio.run(explained(settings)):
        sys.stdout.write(shown(line) + "\n")
    return 0


def _existing(folder: Path | str | None) -> Path:
    from unsaf_async.errors import UserError

    if folder is None or not (Path(folder) / "cache.db").is_file():
        raise UserError(f"{folder}: holds no stored replies; give the folder with --cache")
    return Path(folder)
