"""What a training was begun with, beside its checkpoints, so that no other one goes on from them. Nothing heavy is imported."""

from __future__ import annotations

import json
import os
from dataclasses import fields
from functools import cache
from hashlib import file_digest, sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unsaf_async.distill.train.corpus import row_files
from unsaf_async.distill.train.recipe import Recipe
from unsaf_async.errors import UserError, setting
from unsaf_async.text import first_line

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKPOINTS = "checkpoints"
"""The folder of the first stage's checkpoints, in a student's; they stay until all is done."""
NAME = "begun.json"
"""What is written there before the first step."""

FREE = frozenset(
    {
        # where it goes, and what is done once the adapter is there
        *("out", "resume", "merge", "report_to", "push_to_hub", "push_merged", "public"),
        # how it is computed; other threads round otherwise, as another machine does
        *("workers", "threads", "checkpointing"),
        # when it is stored; not `eval_every`: `patience` stops by it, and each evaluation draws a random number
        "save_every",
        # a check alone
        "allow_near_copies",
    }
)
"""Settings that a training may go on with otherwise: they do not change what is learned."""


def begun_with(recipe: Recipe) -> dict[str, Any]:
    """What decides a training's result.

    Args:
        recipe: What is trained, on what, and how.

    Returns:
        For JSON: the settings that must stay, the number of processes, and the hash of the rows. Of folders the last
            part of the name.
    """
    of = recipe.to_dict() | {"student": _named(recipe.student)}
    kept = {name: value for name, value in of.items() if name not in FREE}
    made: dict[str, Any] = {"settings": kept, "processes": _processes(), "data_sha256": _rows_sha256(recipe)}
    return dict(json.loads(json.dumps(made)))


def write_begun(recipe: Recipe, checkpoints: Path) -> None:
    """Writes down what a training begins with.

    Args:
        recipe: What is trained; its student's revision is a commit, or None of a folder.
        checkpoints: The folder of the first stage's checkpoints.
    """
    checkpoints.mkdir(parents=True, exist_ok=True)
    (checkpoints / NAME).write_text(json.dumps(begun_with(recipe), indent=1) + "\n", "utf-8")


def read_begun(out: Path) -> dict[str, Any] | None:
    """What a folder's training was begun with.

    Args:
        out: The student's folder.

    Returns:
        What `begun_with` gave then; None: an earlier version, which did not write it down, began it.

    Raises:
        UserError: The file is no longer what was written.
    """
    file = out / CHECKPOINTS / NAME
    try:
        begun = json.loads(file.read_text("utf-8"))
        _ = begun["settings"].items(), begun["processes"], begun["data_sha256"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{file}: cannot be read ({first_line(error, 100)}); give a new folder") from None
    return dict(begun)


def check_begun(recipe: Recipe) -> None:
    """Checks that a training goes on as it was begun, before its student's revision is known.

    Args:
        recipe: What is to go on, in `out`.

    Raises:
        UserError: Settings or rows that change the result are others; it names all of them, as they were and as they are.
    """
    begun = read_begun(recipe.out)
    if begun is not None:
        _refuse(recipe, list(_differences(recipe, begun)))


def check_revision(recipe: Recipe) -> None:
    """Checks that a training goes on with the commit of the student that it was begun with.

    Args:
        recipe: What is to go on; its student's revision is a commit, or None of a folder.

    Raises:
        UserError: It is another one.
    """
    begun = read_begun(recipe.out)
    if begun is not None and (was := begun["settings"].get("revision")) != recipe.revision:
        _refuse(recipe, [_told("revision", was, recipe.revision)])


def _refuse(recipe: Recipe, differences: list[str]) -> None:
    if differences:
        raise UserError(
            f": {recipe.out} was begun with {', '.join(differences)}; give what it was begun with, or another "
            f"{setting('out')} without {setting('resume')}",
            field="resume",
        )


def _differences(recipe: Recipe, begun: dict[str, Any]) -> Iterator[str]:
    """What is other than it was, each with both values. A setting that the file lacks is a newer one, with its default."""
    now, was = begun_with(recipe), begun["settings"]
    if now["data_sha256"] != begun["data_sha256"]:
        yield f"{setting('data')} {was.get('data')} (now {now['settings']['data']}, with other rows)"
    defaults = {each.name: each.default for each in fields(Recipe)}
    for name, value in now["settings"].items():
        before = was.get(name, list(kept) if isinstance(kept := defaults[name], tuple) else kept)
        if name not in ("data", "revision") and before != value:
            yield _told(name, before, value)
    if now["processes"] != begun["processes"]:
        yield f"processes {begun['processes']} (now {now['processes']})"


def _told(name: str, was: Any, now: Any) -> str:
    return f"{setting(name)} {_plain(was)} (now {_plain(now)})"


def _plain(value: Any) -> str:
    if value is None or value == []:
        return "not given"
    if isinstance(value, bool):
        return "on" if value else "off"
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _named(student: str) -> str:
    """A hub id or a shipped model's name as it is; of a folder, which may have moved, the last part."""
    return Path(student).resolve().name if Path(student).exists() else student


def _processes() -> int:
    """As torchrun and `accelerate launch` tell it: a step has as many batches."""
    return int(os.environ.get("WORLD_SIZE") or 1)


def _rows_sha256(recipe: Recipe) -> str:
    """Of the names and contents of all files of rows that are trained or evaluated on."""
    digest = sha256()
    for file in row_files(recipe.data, preferences=recipe.dpo):
        about = file.stat()
        digest.update(f"{file.parent.name}/{file.name} {_sha256(file, about.st_size, about.st_mtime_ns)}\n".encode())
    return digest.hexdigest()


@cache
def _sha256(file: Path, _size: int, _mtime_ns: int) -> str:
    """A file's hash; of one that nobody changes it is computed once, for the checks ask twice."""
    with file.open("rb") as opened:
        return file_digest(opened, "sha256").hexdigest()
