"""Which runs lie in a folder, and what to give where a folder is none."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

MANIFEST = "manifest.json"
"""The file that makes a folder a run's."""

MOST_NAMED = 5
"""How many runs are named to who gives a folder of runs for a run."""


def exists(path: Path) -> bool:
    """Whether a run lies at `path`.

    Args:
        path: A folder's; it need not exist.

    Returns:
        Whether a manifest is there.
    """
    try:
        return (path / MANIFEST).is_file()
    except OSError:  # a name that no file can have: `create` says so
        return False


def newest_first(runs: Iterable[Path]) -> list[Path]:
    """Runs by when they were begun, whatever was asked of them later.

    Args:
        runs: Their folders.

    Returns:
        The folders, the newest first; those whose manifest does not say come last.
    """
    return sorted(runs, key=lambda each: (_begun(each), each.name), reverse=True)


def runs_in(folder: Path) -> list[Path]:
    """The runs that lie in a folder.

    Args:
        folder: Need not exist.

    Returns:
        Their folders; [] if it cannot be read.
    """
    return [each for each in _inside(folder) if exists(each)]


def groups_in(folder: Path) -> dict[Path, list[Path]]:
    """The runs that lie deeper in a folder of runs: those of a suite, in its folder, or of a cross-examination, in cells/ there.

    Args:
        folder: Need not exist.

    Returns:
        The runs by the folder that holds them, by name; without what lies in runs themselves. {} if there are none.
    """
    if exists(folder):
        return {}
    below = sorted(filter(_is_no_run, _inside(folder)))
    places = [place for each in below for place in (each, *sorted(filter(_is_no_run, _inside(each))))]
    return {place: runs for place in places if (runs := runs_in(place))}


def _is_no_run(path: Path) -> bool:
    return path.is_dir() and not exists(path)


def about_groups(groups: Iterable[Path]) -> str:
    """Where more runs lie, in words.

    Args:
        groups: The folders that hold them.

    Returns:
        "more lie in runs/s, runs/crossed/cells"; "" for none.
    """
    named = list(map(str, groups))
    more = f" and {len(named) - MOST_NAMED} more folders" if len(named) > MOST_NAMED else ""
    return f"more lie in {', '.join(named[:MOST_NAMED])}{more}" if named else ""


def which_run(path: Path) -> str:
    """What to give where `path` is no run.

    Args:
        path: What was given.

    Returns:
        The newest of the runs inside it, and which folders there hold others; where it has none itself, the newest of those.
    """
    inside, groups = runs_in(path), groups_in(path)
    newest = newest_first(inside or (run for runs in groups.values() for run in runs))
    if not newest:
        return "give the folder that `run` named"
    more = f" and {len(newest) - MOST_NAMED} more" if len(newest) > MOST_NAMED else ""
    others = f"; {about_groups(groups)}" if inside and groups else ""
    return f"give one of the runs in it, newest first: {', '.join(map(str, newest[:MOST_NAMED]))}{more}{others}"


def _begun(run: Path) -> str:
    """When a run was begun, as its manifest has it; "" where it does not say."""
    try:
        return str(json.loads((run / MANIFEST).read_bytes())["created"])
    except (OSError, ValueError, TypeError, KeyError):
        return ""


def _inside(folder: Path) -> list[Path]:
    """What lies in a folder; [] if it cannot be read."""
    try:
        return list(folder.iterdir())
    except OSError:
        return []
