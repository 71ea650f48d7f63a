"""A recipe as a file: read in YAML, JSON or TOML for `distill`, and written beside every student. Nothing heavy is imported."""

from __future__ import annotations

import json
import tomllib
from dataclasses import fields
from difflib import get_close_matches
from functools import partial
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

from unsaf_async.distill.train.recipe import Recipe
from unsaf_async.errors import UserError
from unsaf_async.text import first_line

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

NAME = "recipe.yaml"
"""What is written beside a student."""

_EXAMPLES = {
    **dict.fromkeys((".yaml", ".yml"), "one a line, such as lora_r: 16"),
    ".json": 'one object, such as {"lora_r": 16}',
    ".toml": "one a line, such as lora_r = 16",
}
"""Of a file with a setting, by its ending."""

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
        what = "is empty" if found is None else "holds no settings by name"
        raise UserError(f"{file}: {what}; write {_EXAMPLES[file.suffix]}")
    known = {each.name: each for each in fields(Recipe)}
    hints = get_type_hints(Recipe, include_extras=True)
    values: dict[str, Any] = {}
    for name, value in found.items():
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
            raise UserError(f"{file}: {name}: is no setting of a training; {hint}")
        kind, about = get_args(hints[name])
        if get_origin(kind) is tuple and not isinstance(value, list):
            example = str(about.metavar).partition("|")[0]
            raise UserError(f'{file}: {name}: is {value!r}; it should be a list, such as ["{example}"]')
        values[name] = _typed(kind, value, f"{file}: {name}")
    return values


def _parsed(file: Path) -> Any:
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: cannot be read ({first_line(error, 100)}); give a recipe's file") from None
    match file.suffix:
        case ".json":
            broken: tuple[type[Exception], ...] = (ValueError, RecursionError)
            read: Any = partial(json.loads, object_pairs_hook=_once)
        case ".toml":
            broken, read = (tomllib.TOMLDecodeError, RecursionError), tomllib.loads
        case ".yaml" | ".yml":
            import yaml

            broken, read = (yaml.YAMLError, RecursionError), _yaml
        case _:
            raise UserError(f"{file}: ends in none of .yaml, .yml, .json and .toml; rename it")
    try:
        return read(text)
    except _Twice as error:
        raise UserError(f"{file}: {error}: is there twice; leave one") from None
    except broken as error:
        place = " ".join(str(error).split())[:150]
        raise UserError(f"{file}: is no {file.suffix[1:].upper()} ({place}); correct it") from None


class _Twice(Exception):
    """A setting is given twice; JSON's and YAML's readers would take the last one without a word."""


def _once(pairs: Iterable[tuple[Any, Any]]) -> dict[Any, Any]:
    """`pairs` as a dict. Raises _Twice for the first name that is there again."""
    found: dict[Any, Any] = {}
    for name, value in pairs:
        if name in found:
            raise _Twice(name)
        found[name] = value
    return found


def _yaml(text: str) -> Any:
    """What `yaml.safe_load` reads. Raises _Twice."""
    import yaml

    root = yaml.compose(text, yaml.SafeLoader)
    if isinstance(root, yaml.MappingNode):
        _once((key.value, None) for key, _ in root.value if isinstance(key, yaml.ScalarNode))
    return yaml.safe_load(text)


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
