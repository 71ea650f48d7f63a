"""JSON files: one object a line, an array of objects or paths, or an object that holds such an array, as COCO's does."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import TYPE_CHECKING, cast

import orjson

from unsaf_async.errors import UserError
from unsaf_async.inputs.lists.columns import image_column
from unsaf_async.inputs.lists.entries import Entry, echoed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unsaf_async.inputs.lists.textfile import Line, TextFile

_ARRAYS = ("images", "data", "rows", "samples", "annotations", "items", "questions")
"""Under which names an object holds its rows; COCO's images come before its annotations."""

_ABOUT = {"annotations", "categories", "dataset", "description", "info", "licenses", "name", "split", "type", "version"}
"""What an object says of the list that it holds; with anything else in it, it may be a row."""


def rows(file: TextFile) -> Iterator[Entry]:
    """The rows of a JSON file, whether it has a line a row or is one value.

    Args:
        file: The file.

    Yields:
        The rows, in order.

    Raises:
        UserError: It is no JSON, or no rows are in it.
    """
    first = next((line for line in file.lines() if line.text.strip()), None)
    if first is not None and (_begins_array(first) or _is_one_value(file, first)):
        yield from _of_value(file)
    else:
        yield from lines(file)


def _begins_array(first: Line) -> bool:
    """Whether the file is an array of rows; a line that is an array of something else is a wrong row."""
    if not first.text.lstrip().startswith("["):
        return False
    try:
        value = orjson.loads(first.text)
    except orjson.JSONDecodeError:
        return True
    return all(isinstance(each, dict | str) for each in value)


def _is_one_value(file: TextFile, first: Line) -> bool:
    """Whether the file is one object: over several lines, or in one that holds rows."""
    if not first.text.lstrip().startswith("{"):
        return False
    try:
        value = orjson.loads(first.text)
    except orjson.JSONDecodeError:
        return file.path.suffix.lower() == ".json" or first.text.strip() == "{"
    alone = sum(1 for line, _ in zip((line for line in file.lines() if line.text.strip()), range(2), strict=False)) == 1
    return alone and _array_in(file, value) is not None


def lines(file: TextFile) -> Iterator[Entry]:
    """The rows of a file with one JSON object a line.

    Args:
        file: The file.

    Yields:
        The rows in the file's order; blank lines are passed over.

    Raises:
        UserError: A line is no JSON, or no object.
    """
    count = 0
    for line in file.lines():
        if not line.text.strip():
            continue
        where = f"{file.path}:{line.number}"
        if "\0" in line.text:
            raise UserError(f"{where}: no valid JSON (it holds NUL bytes); the file is damaged: write it again")
        try:
            row = loads(line.text, where)
        except orjson.JSONDecodeError as error:
            raise UserError(f"{where}: no valid JSON ({error.msg}); give one JSON object a line") from error
        if not isinstance(row, dict):
            raise UserError(f'{where}: {echoed(row)} is no JSON object; write {{"image": "..."}}')
        count += 1
        yield Entry(where, count, row, place_of=file.finder(line.start, line.data))


def _of_value(file: TextFile) -> Iterator[Entry]:
    data = file.data()
    try:
        value = loads(file.text(), str(file.path))
    except orjson.JSONDecodeError as error:
        raise UserError(f"{file.path}:{error.lineno}: no valid JSON ({error.msg}); check the file") from error
    listed = value if isinstance(value, list) else _array_in(file, value)
    if listed is None and isinstance(value, dict):
        listed = [value]
    place_of = file.finder(file.begins, data)
    for number, row in enumerate(listed or [], 1):
        where = f"{file.path}: entry {number}"
        fields = {"image": row} if isinstance(row, str) else row
        if isinstance(fields, dict) and isinstance(fields.get("row"), dict):  # as Hugging Face's viewer gives rows
            fields = fields["row"]
        if not isinstance(fields, dict):
            raise UserError(f'{where}: {echoed(row)} is no JSON object; write {{"image": "..."}}')
        yield Entry(where, number, fields, place_of=place_of)


def _array_in(file: TextFile, value: object) -> list[object] | None:
    """The rows that an object holds, or an object in it; None if it is a row itself."""
    if not isinstance(value, dict):
        return None
    if listed := _listed(value):
        return listed
    paths = value.get("images")
    if file.path.suffix.lower() == ".json" and isinstance(paths, list) and value.keys() <= {"images", *_ABOUT}:
        return paths if paths and all(isinstance(each, str) for each in paths) else None
    for name, inner in value.items():
        if isinstance(inner, dict) and (name in _ARRAYS or len(value) == 1) and (listed := _listed(inner)):
            image = image_column(inner)
            if image is None or inner[image] is listed:
                return listed
    return _by_columns(value) or _by_ids(value)


def _listed(value: dict[str, object]) -> list[object] | None:
    """The first array of objects under a name of rows."""
    arrays = (each for name in _ARRAYS if isinstance(each := value.get(name), list))
    return next((each for each in arrays if each and all(isinstance(row, dict) for row in each)), None)


def _by_columns(value: dict[str, object]) -> list[object] | None:
    """The rows of columns by their names, each an object by the rows' numbers, as pandas writes them."""
    columns = {name: each for name, each in value.items() if isinstance(each, dict)}
    if image_column(value) is None or len(columns) < len(value):
        return None
    numbers = list(next(iter(columns.values())))
    if not all(each.isdecimal() for each in numbers) or any(list(each) != numbers for each in columns.values()):
        return None
    return [{name: each[number] for name, each in columns.items()} for number in numbers] or None


def _by_ids(value: dict[str, object]) -> list[object] | None:
    """The rows of objects by their ids."""
    if image_column(value) is not None:
        return None
    rows: list[object] = []
    for key, each in value.items():
        if not isinstance(each, dict) or image_column(each) is None:
            return None
        rows.append({"id": key, **each})
    return rows or None


def loads(text: str, where: str) -> object:
    """The value of a JSON text as a list's reader takes it.

    Args:
        text: The text.
        where: "file:line", for errors.

    Returns:
        The value. NaN and infinities, which Python and pandas write, are null; a whole number that 64 bits do not hold is
        its digits, a text.

    Raises:
        json.JSONDecodeError: It is no JSON.
        UserError: An object in it has a name twice.
    """
    value = _loads(text)

    def once(pairs: list[tuple[str, object]]) -> None:
        if len(names := dict(pairs)) < len(pairs):
            twice = next(name for name in names if sum(other == name for other, _ in pairs) > 1)
            raise UserError(f"{where}: the field {echoed(twice)} occurs twice in one object; rename one")

    with suppress(RecursionError):
        json.loads(text, object_pairs_hook=once, parse_int=len)
        if re.search(r"[\s:,\[]-?\d{19}", text):
            return cast("object", json.loads(text, parse_int=_whole, parse_constant=lambda _: None))
    return value


def _whole(digits: str) -> int | str:
    return int(digits) if len(digits) < 21 and -(2**63) <= int(digits) < 2**64 else digits


def _loads(text: str) -> object:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        if text.lstrip()[:1] not in ("{", "[") or not re.search(r"\b(NaN|Infinity)\b", text):
            raise
        with suppress(ValueError, TypeError, RecursionError):
            value = json.loads(text, parse_constant=lambda _: None)
            orjson.dumps(value)  # half a surrogate pair, or a number of many digits, is none of the constants' fault
            return cast("object", value)
        raise
