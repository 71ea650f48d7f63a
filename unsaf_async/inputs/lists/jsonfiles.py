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
from unsaf_async.inputs.lists.pictures import folders_of
from unsaf_async.inputs.lists.signatures import PICTURE_SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

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
    name_of = _naming(file, value, listed[0]) if listed else None
    place_of = file.finder(file.begins, data)
    for number, row in enumerate(listed or [], 1):
        where = f"{file.path}: entry {number}"
        fields = {"image": row} if isinstance(row, str) else row
        if isinstance(fields, dict) and image_column(fields) is None:
            fields = _inner(fields)
            if name_of is not None and "image_id" in fields:
                fields = {"image": name_of(fields["image_id"]), **fields}
        if not isinstance(fields, dict):
            raise UserError(f'{where}: {echoed(row)} is no JSON object; write {{"image": "..."}}')
        yield Entry(where, number, fields, place_of=place_of)


def _naming(file: TextFile, value: object, first: object) -> Callable[[object], str] | None:
    """How images are called that rows name by a number, as COCO's, or without an end, by the first row's; None: not so."""
    if (
        not isinstance(first, dict)
        or image_column(first) is not None
        or not isinstance(first.get("image_id"), int | str)
    ):
        return None
    split = value.get("data_subtype") if isinstance(value, dict) else None
    splits = [split] if isinstance(split, str) and split.isalnum() else ["val2014", "train2014"]
    plain = [f"{{0}}{end}" for end in ("", ".jpg", ".png", ".jpeg")]
    coco = ["{0:0>12}.jpg", *(f"{folder}COCO_{each}_{{0:0>12}}.jpg" for each in splits for folder in ("", f"{each}/"))]
    folders = folders_of(file.path)
    for pattern in plain + coco:
        if any(_is_file(folder / pattern.format(str(first["image_id"]))) for folder in folders):
            return lambda each: pattern.format(str(each))
    return None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _inner(row: dict[str, object]) -> dict[str, object]:
    """What a row holds under a name of its own, as Hugging Face's viewer and Label Studio have it; else the row."""
    for name in ("row", "data"):
        inner = row.get(name)
        if isinstance(inner, dict) and image_column(inner) is not None:
            return {**({"id": row["id"]} if "id" in row else {}), **inner}
    return row


def _array_in(file: TextFile, value: object) -> list[object] | None:
    """The rows that an object holds, or an object in it; None if it is a row itself."""
    if not isinstance(value, dict):
        return None
    if listed := _listed(value):
        return listed
    paths = value.get("images")
    if file.path.suffix.lower() == ".json" and isinstance(paths, list) and value.keys() <= {"images", *_ABOUT}:
        return paths if all(isinstance(each, str) for each in paths) else None
    for name, inner in value.items():
        if isinstance(inner, dict) and (name in _ARRAYS or len(value) == 1) and (listed := _listed(inner)):
            image = image_column(inner)
            if image is None or inner[image] is listed:
                return listed
    if listed := _by_columns(value) or _by_ids(value):
        return listed
    if file.path.suffix.lower() != ".json" or (image_column(value) is not None and not _are_columns(value)):
        return [] if _is_empty(value) else None
    return (
        _by_lists(value) or _by_split(value) or _by_path(value) or _deeper(value) or ([] if _is_empty(value) else None)
    )


def _is_empty(value: dict[str, object]) -> bool:
    return value.keys() <= {*_ARRAYS, *_ABOUT} and any(value.get(name) == [] for name in _ARRAYS)


def _are_columns(value: dict[str, object]) -> bool:
    """Whether all values are lists of one length, two at least."""
    lengths = {len(each) if isinstance(each, list) else 0 for each in value.values()}
    return len(lengths) == 1 and len(value) > 1 and lengths.pop() > 1


def _by_lists(value: dict[str, object]) -> list[object] | None:
    """The rows of lists by the columns' names, or of cells below a list of these names, as pandas writes them."""
    names, cells = value.get("columns"), value.get("data")
    if isinstance(names, list) and isinstance(cells, list) and image_column(names) is not None:
        return [dict(zip(names, row, strict=False)) if isinstance(row, list) else row for row in cells] or None
    if image_column(value) is None or not _are_columns(value):
        return None
    return [
        dict(zip(value, row, strict=True)) for row in zip(*cast("Iterable[list[object]]", value.values()), strict=True)
    ]


def _by_split(value: dict[str, object]) -> list[object] | None:
    """The rows of lists by the names of splits."""
    listed = {name: each for name, each in value.items() if name not in _ABOUT}
    if not listed or not all(isinstance(each, list) and _are_rows(each) for each in listed.values()):
        return None
    return [{"split": name, **row} for name, rows in listed.items() for row in cast("list[dict[str, object]]", rows)]


def _are_rows(rows: list[object]) -> bool:
    return (
        bool(rows)
        and all(isinstance(row, dict) for row in rows)
        and image_column(cast("dict[str, object]", rows[0])) is not None
    )


def _by_path(value: dict[str, object]) -> list[object] | None:
    """The rows of what is said of each path."""
    if not value or not all(name.lower().endswith(PICTURE_SUFFIXES) for name in value):
        return None
    return [{"image": name, **(each if isinstance(each, dict) else {"label": each})} for name, each in value.items()]


def _deeper(value: dict[str, object], depth: int = 2) -> list[object] | None:
    """The only list of rows with images in an object, or in the objects in it."""
    found: list[list[object]] = []
    for each in value.values():
        if isinstance(each, list) and _are_rows(each):
            found.append(each)
        elif isinstance(each, dict) and depth and (inner := _deeper(each, depth - 1)):
            found.append(inner)
    return found[0] if len(found) == 1 else None


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
    # A name stands before a colon each time: as many of these as names are no name twice, and tell it faster.
    if sum(1 for _ in _NAMED.finditer(text)) == _names_in(value) and not _LONG_NUMBER.search(text):
        return value

    def once(pairs: list[tuple[str, object]]) -> None:
        if len(names := dict(pairs)) < len(pairs):
            twice = next(name for name in names if sum(other == name for other, _ in pairs) > 1)
            raise UserError(f"{where}: the field {echoed(twice)} occurs twice in one object; rename one")

    with suppress(RecursionError):
        json.loads(text, object_pairs_hook=once, parse_int=len)
        if _LONG_NUMBER.search(text):
            return cast("object", json.loads(text, parse_int=_whole, parse_constant=lambda _: None))
    return value


_NAMED = re.compile(r'"\s*:')
_LONG_NUMBER = re.compile(r"[\s:,\[]-?\d{19}")


def _names_in(value: object) -> int:
    """How many names the objects in a value have, those within others included."""
    count, inner = 0, [value]
    while inner:
        each = inner.pop()
        if isinstance(each, dict):
            count += len(each)
        if isinstance(each, dict | list):
            values = each.values() if isinstance(each, dict) else each
            inner.extend(value for value in values if isinstance(value, dict | list))
    return count


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
