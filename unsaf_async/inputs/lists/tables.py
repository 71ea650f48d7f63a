"""Parquet files and data sets that `datasets` has saved to disk, through pyarrow. Images are left where they are."""

from __future__ import annotations

import json
import math
from hashlib import sha256
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from unsaf_async.errors import UserError
from unsaf_async.inputs.lists.columns import image_column, is_image_column
from unsaf_async.inputs.lists.entries import Embedded, Entry, echoed
from unsaf_async.inputs.lists.signatures import is_picture
from unsaf_async.inputs.parts import arrow_batches, file_state, is_parquet, open_parquet
from unsaf_async.records import ImagePart
from unsaf_async.text import install_extra, one_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MOST_UNPACKED = 200
"""How many times its size a Parquet file may take unpacked: pictures hardly shrink, and texts by ten to twenty."""
_ALWAYS_BYTES = 64 * 2**20
_ROWS_AT_A_TIME = 16
_HEAD_BYTES = 64


def rows(path: Path) -> Iterator[Entry]:
    """The rows of a Parquet or Arrow file.

    Args:
        path: The file.

    Yields:
        The rows, in order. Bytes in a cell are an `Embedded`.

    Raises:
        UserError: pyarrow is not installed, or the file is damaged or unpacks to too much.
    """
    try:
        yield from _rows(path)
    except ModuleNotFoundError:
        raise UserError(f"{path}: pyarrow, which reads it, is not installed; {install_extra('parquet')}") from None
    except (UserError, OSError):
        raise
    except Exception as error:  # pyarrow raises whatever it stumbles over
        raise UserError(
            f"{path}: cannot be read as a table ({one_line(str(error), 160)}); check that it is whole"
        ) from error


def arrow_files(folder: Path) -> list[Path]:
    """The files of a data set that `datasets` has saved to disk.

    Args:
        folder: Where it was saved.

    Returns:
        Its Arrow files in order, of all its splits; [] if the folder is none.
    """
    splits = _json(folder / "dataset_dict.json").get("splits")
    if isinstance(splits, list):
        return [file for split in splits if _is_name(split) for file in arrow_files(folder / split)]
    files = _json(folder / "state.json").get("_data_files")
    listed = files if isinstance(files, list) else []
    names = [each.get("filename") for each in listed if isinstance(each, dict)]
    return [folder / name for name in names if isinstance(name, str) and _is_name(name)]


def _is_name(name: object) -> bool:
    return isinstance(name, str) and name not in ("", ".", "..") and PurePath(name).name == name and "\\" not in name


def _json(file: Path) -> dict[str, Any]:
    try:
        if not file.is_file() or file.stat().st_size > 1 << 20:
            return {}
        value = json.loads(file.read_bytes())
    except (ValueError, OSError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _rows(path: Path) -> Iterator[Entry]:
    state = file_state(path)
    number = 0
    named = ""
    for batch in _batches(path):
        named = named or _checked(path, batch)
        for first in range(0, batch.num_rows, _ROWS_AT_A_TIME):
            for row in batch.slice(first, _ROWS_AT_A_TIME).to_pylist():
                number += 1
                yield _entry(path, number, row, state, named)


def _checked(path: Path, batch: Any) -> str:
    """The column of images: the one that is called so, else the only one that holds images, by `datasets` or by its type."""
    schema = batch.schema
    if twice := next((name for name in schema.names if schema.names.count(name) > 1), None):
        raise UserError(f"{path}: the column {echoed(twice)} occurs twice; rename one")
    try:
        features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
        images = [name for name, kind in features.items() if isinstance(kind, dict) and kind.get("_type") == "Image"]
    except (ValueError, LookupError, TypeError, AttributeError):
        images = []
    images = [name for name in images if name in schema.names] or _holding(batch)
    known = image_column(schema.names)
    if len(images) == 1 and known is None:
        return images[0]
    if len(images) == 1 and "image" in images[0].lower() and _is_text(schema.field(known).type):
        return images[0]  # the other says where it once lay
    return known or "image"


def _holding(batch: Any) -> list[str]:
    """The columns that hold images by their types: {"bytes", "path"}, else bytes that begin as a picture does."""
    import pyarrow as pa

    def is_bytes(kind: Any) -> bool:
        return any(test(kind) for test in (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view))

    def is_image(kind: Any) -> bool:
        is_struct = bool(pa.types.is_struct(kind))
        return is_struct and kind.get_field_index("bytes") >= 0 and is_bytes(kind.field("bytes").type)

    def begins_as_picture(name: str) -> bool:
        first = next((each for each in batch.column(name).drop_null()), None)
        return first is not None and is_picture(first.as_py()[:_HEAD_BYTES])

    cells = [field.name for field in batch.schema if is_image(field.type)]
    return cells or [field.name for field in batch.schema if is_bytes(field.type) and begins_as_picture(field.name)]


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _batches(path: Path) -> Iterator[Any]:
    if not is_parquet(path):
        for batch in arrow_batches(path):
            batch.validate(full=True)
            yield batch
        return
    with open_parquet(path) as file:
        groups = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
        unpacked = sum(
            group.column(number).total_uncompressed_size for group in groups for number in range(group.num_columns)
        )
        if unpacked > MOST_UNPACKED * path.stat().st_size + _ALWAYS_BYTES:
            raise UserError(f"{path}: unpacks to {unpacked >> 20} MiB, far more than its size; it is not read")
        yield from file.iter_batches(batch_size=_ROWS_AT_A_TIME, use_threads=False)


def _entry(path: Path, number: int, row: dict[str, Any], state: str, named: str) -> Entry:
    def part(column: str) -> ImagePart:
        return ImagePart(kind="cell", start=number - 1, column=column, file_state=state)

    known = named if is_image_column(named) else "image"
    # A text in a column of this name is where the image once lay.
    others = {f"{name}_path" if name == known else name: _value(row[name], part(name)) for name in row if name != named}
    fields = {known: _value(row.get(named), part(named)), **others} if named in row else others
    return Entry(
        f"{path}: row {number}", number, fields, place_of=lambda column, _: part(named if column == known else column)
    )


def _value(value: object, part: ImagePart) -> object:
    """What JSON can hold of a cell's value; an image in it is an `Embedded`."""
    if isinstance(value, bytes):
        return Embedded(part, "", value[:_HEAD_BYTES], sha256(value).hexdigest())
    if isinstance(value, dict):
        if isinstance(value.get("bytes"), bytes):
            name = value.get("path")
            data = value["bytes"]
            return Embedded(part, name if isinstance(name, str) else "", data[:_HEAD_BYTES], sha256(data).hexdigest())
        return {str(name): _value(inner, part) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_value(inner, part) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
