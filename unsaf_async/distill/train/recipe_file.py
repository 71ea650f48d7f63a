"""A recipe as a file: read in YAML, JSON or TOML for `distill`, and written beside every student. Nothing heavy is imported."""

from __future__ import annotations

import json
import tomllib
from dataclasses import fields
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from unsaf_async.distill.train.recipe import Recipe
from unsaf_async.errors import UserError
from unsaf_async.text import first_line

if TYPE_CHECKING:
    from pathlib import Path

NAME = "recipe.yaml"
"""What is written beside a student."""

_OF_ONE_TRAINING = ("out", "resume", "push_to_hub", "push_merged", "public")
"""Settings that another training with the same recipe has otherwise."""


def write_recipe(recipe: Recipe, file: Path) -> None:
    """Writes a recipe that trains the same student again. Of folders it has the last part: they are given anew.

    Args:
        recipe: What was trained.
        file: The file, which ends in .yaml.
    """
    import yaml

    kept = {
        name: value for name, value in recipe.to_dict().items() if name not in _OF_ONE_TRAINING and value is not None
    }
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in kept.items()}
    file.write_text(
        "# for `unsaf-async distill --recipe FILE --data DIR --student MODEL --out DIR`\n"
        + yaml.safe_dump(plain, sort_keys=False, allow_unicode=True),
        "utf-8",
    )


def read_recipe(file: Path) -> dict[str, Any]:
    """The settings in a recipe's file.

    Args:
        file: YAML, JSON or TOML, by its ending: one mapping with the names of `Recipe`'s fields. A training.json is one, too:
            its `recipe` counts.

    Returns:
        Values by field, of the fields' types.

    Raises:
        UserError: It cannot be read, or a setting is unknown or of the wrong type: in one line with the file and the key.
    """
    found = _parsed(file)
    if isinstance(found, dict) and isinstance(found.get("recipe"), dict):
        found = {name: value for name, value in found["recipe"].items() if name not in _OF_ONE_TRAINING}
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        raise UserError(f"{file}: is no list of settings; write one a line, such as lora_r: 16")
    known = {each.name: each for each in fields(Recipe)}
    hints = get_type_hints(Recipe, include_extras=True)
    values: dict[str, Any] = {}
    for name, value in found.items():
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
            raise UserError(f"{file}: {name}: is no setting of a training; {hint}")
        values[name] = _typed(get_args(hints[name])[0], value, f"{file}: {name}")
    return values


def _parsed(file: Path) -> Any:
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: cannot be read ({first_line(error, 100)}); give a recipe's file") from None
    match file.suffix:
        case ".json":
            broken: type[Exception] = ValueError
            read: Any = json.loads
        case ".toml":
            broken, read = tomllib.TOMLDecodeError, tomllib.loads
        case ".yaml" | ".yml":
            import yaml

            broken, read = yaml.YAMLError, yaml.safe_load
        case _:
            raise UserError(f"{file}: ends in none of .yaml, .yml, .json and .toml; rename it")
    try:
        return read(text)
    except (broken, RecursionError) as error:
        place = " ".join(str(error).split())[:150]
        raise UserError(f"{file}: is no {file.suffix[1:].upper()} ({place}); correct it") from None


def _typed(kind: Any, value: Any, where: str) -> Any:
    """`value` as `kind`. JSON's rules: a list is a tuple, text is a path, and no text is a number, but for YAML's 1e-4."""
    from pydantic import TypeAdapter, ValidationError

    if float in (kind, *get_args(kind)) and isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            pass
    try:
        return TypeAdapter(kind).validate_json(json.dumps(value), strict=True)
    except (ValidationError, TypeError) as error:
        why = error.errors()[0]["msg"] if isinstance(error, ValidationError) else "Input should be plain"
        raise UserError(
            f"{where}: is {value!r}; {why[:1].lower()}{why[1:]}".replace("input should", "it should")
        ) from None
