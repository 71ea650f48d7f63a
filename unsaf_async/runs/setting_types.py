"""Which values a setting takes: the types of the fields of `Settings` and `Rejudging`, in words where a value is none of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from unsaf_async.errors import UserError
from unsaf_async.help import Help
from unsaf_async.runs.settings import Rejudging, Settings


def check_types(settings: Settings | Rejudging) -> None:
    """Checks that each setting holds a value of its type. The command line brings no other; a Python caller or a file may.

    Args:
        settings: As they were given.

    Raises:
        UserError: A value is of the wrong type.
    """
    from pydantic import TypeAdapter, ValidationError

    known = Settings if isinstance(settings, Settings) else Rejudging  # of a caller's own fields nothing is known
    hints = get_type_hints(known, include_extras=True)
    for field in fields(known):
        kind, *notes = get_args(hints[field.name])
        value = getattr(settings, field.name)
        try:
            TypeAdapter(kind).validate_python(value, strict=True)  # strict: True is no number, and "5" is none
        except ValidationError:
            expects = next((note.expects for note in notes if isinstance(note, Help)), None)
            raise UserError(f"is {value!r}; give {_in_words(kind, expects)}", field.name) from None


_WORDS: dict[object, str] = {
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "text",
    Path: "a path",
}


def _in_words(kind: Any, expects: str | None) -> str:
    """What a field of type `kind` may hold. expects: the field's own words for it, without the None."""
    choices = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    is_path = Path in choices
    lists = [choice for choice in choices if get_origin(choice) is Sequence]
    single = [choice for choice in choices if choice in _WORDS and not (is_path and choice is str)]
    words = [expects] if expects else ["a name" if lists and choice is str else _WORDS[choice] for choice in single]
    words += [f"a list of {'paths' if is_path else 'names'}" for _ in lists]
    return ", or ".join(words + ["None"] * (NoneType in choices))
