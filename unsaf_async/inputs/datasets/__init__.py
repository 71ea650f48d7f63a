"""Labelled data sets that a user brings: images, questions, and whether the image answers them. Decodes no picture.

`read_labelled` reads all of them into one shape. Each format's files and fields are known to a module of its own; `shared` knows
what they have in common. Everything that is wrong with a set is a `UserError` here, before any money is spent.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol, cast, get_args

from unsaf_async.errors import UserError, setting
from unsaf_async.inputs.datasets import jsonl, pope, tubench, upd, vizwiz
from unsaf_async.inputs.datasets.shared import (
    Format,
    IncompleteSet,
    LabelledImage,
    LabelledSet,
    collect,
)
from unsaf_async.inputs.lists import files_of, kind_of, read_list
from unsaf_async.inputs.lists.columns import image_column
from unsaf_async.inputs.lists.textfile import open_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from unsaf_async.inputs.datasets.shared import Row, Skipped
    from unsaf_async.inputs.lists.entries import Entry

__all__ = ["FORMATS", "Format", "LabelledImage", "LabelledSet", "read_labelled"]

FORMATS: tuple[Format, ...] = get_args(Format)

_KNOWN = (
    "a list (JSON lines, CSV, Parquet) with image and question or with POPE's question_id, image, text and label, "
    "VizWiz-VQA's val.json, a .tsv file of MM-UPD, a folder of TUBench"
)


class _Reader(Protocol):
    def __call__(self, path: Path, images: Path | None) -> Iterator[Row | Skipped]: ...


_READERS: Mapping[Format, _Reader] = MappingProxyType(
    {"pope": pope.rows, "vizwiz": vizwiz.rows, "mm-upd": upd.rows, "tubench": tubench.rows}
)

_FILES: Mapping[Format, str] = MappingProxyType({"jsonl": "*.jsonl", "pope": "*pope*.json*", "mm-upd": "*.tsv"})
"""What is looked for in a folder, where a format is one file."""


def read_labelled(
    path: Path,
    format: str | None = None,  # noqa: A002
    images: Path | None = None,
    *,
    partial: bool = False,
) -> LabelledSet:
    """A labelled set, read. The same files give the same set.

    Only MM-UPD writes anything: the images that its file holds.

    Args:
        path: The set's file or folder.
        format: One of FORMATS; None to recognise it.
        images: The folder of the images; None for the places where the format has them.
        partial: Whether rows of any format may lack their image, however many: for who wants the questions alone.

    Returns:
        Its images in the order of their first question, each with its questions in the file's order. Of the
        published formats, rows without an image are skipped and counted in `skipped`, as is whatever else is not used.

    Raises:
        UserError: Something is missing, malformed or not recognised, or no question remains. Unless `partial`: a row of our own
            format lacks its image, or most rows of a published one do.
    """
    path = Path(path)
    try:
        _check(path, format, images)
        known = cast("Format | None", format) or _recognized(path)
        file = _file_in(path, known) if path.is_dir() and known in _FILES else path
        rows = jsonl.rows(file, images, partial=partial) if known == "jsonl" else _READERS[known](file, images)
        labelled, skipped = collect(path, rows, partial=partial)
    except OSError as error:
        raise UserError(
            f"{error.filename or path}: cannot be read ({error.strerror}); check that it is there and may be read"
        ) from error
    return LabelledSet(Path(os.path.abspath(path)).name, known, known == "pope", labelled, skipped)  # noqa: PTH100  # links stay


def _check(path: Path, name: str | None, images: Path | None) -> None:
    if name is not None and name not in FORMATS:
        raise UserError(f"is {name!r}; give one of {', '.join(FORMATS)}", field="data_format")
    if "\0" in str(path) or not path.exists():
        raise UserError(f": {str(path)!r} does not exist; check the path (it is taken from {Path.cwd()})", field="data")
    if images is not None and not images.is_dir():
        raise UserError(
            f": {str(images)!r} is no folder; give the folder that holds the images of {path.name}", field="images"
        )


# --- which format it is -------------------------------------------------------------------------------------------


def _recognized(path: Path) -> Format:
    if path.is_dir():
        return _recognized_folder(path)
    try:
        kind = kind_of(path)
        if kind == "picture":
            raise UserError("it is a picture")
    except UserError as error:
        raise _unrecognized(path, str(error).removeprefix(f"{path}: ")) from None
    if path.suffix.lower() == ".tsv":
        return "jsonl" if _is_own(path) else "mm-upd"
    return _recognized_list(path, _is_array(path) if kind == "json" else False)


def _is_own(path: Path) -> bool:
    """Whether a .tsv file has the columns of our own format, and not those of MM-UPD."""
    try:
        entry = next(read_list(path), None)
    except UserError:
        return False
    return entry is not None and {"question", "answerable"} <= entry.fields.keys() and "type" not in entry.fields


def _is_array(path: Path) -> bool:
    first = next((line.text.lstrip() for line in open_text(path).lines() if line.text.strip()), "")
    return first.startswith("[")


def _recognized_list(path: Path, array: bool) -> Format:
    """By its first row. POPE's own files hold JSON lines and are called .json; VizWiz's hold an array."""
    try:
        entry = next(read_list(path), None)
    except UserError:
        if array:
            return "vizwiz"
        raise
    if entry is None:
        if array:
            return "vizwiz"
        raise UserError(f"{path}: the file is empty; give one JSON object a line")
    if entry.fields.keys() >= pope.FIELDS:
        return "pope"
    own = image_column(entry.fields) is not None and "question" in entry.fields
    if array and not (own and isinstance(entry.fields.get("answerable"), bool)):
        return "vizwiz"
    if own:
        return "jsonl"
    raise _unrecognized(path, f"its first row has the fields {_named(entry)}")


def _named(entry: Entry) -> str:
    return ", ".join(entry.fields)[:100] or "of an empty object"


def _recognized_folder(path: Path) -> Format:
    if tubench.subsets(path):
        return "tubench"
    if vizwiz.annotated(path):
        return "vizwiz"
    files = [file for pattern in ("*.jsonl", "*.csv", "*.tsv", "*pope*.json") for file in path.glob(pattern)]
    if not files and (shards := files_of(path)):
        return _recognized(shards[0])
    if len(files) == 1:
        return _recognized(files[0])
    formats = [known for known in map(_format_of, files) if known]
    if formats.count("jsonl") == 1 and set(formats) <= {"jsonl", "pope"}:  # as `world make` writes them
        return "jsonl"
    if files:
        raise _several(path, files)
    raise _unrecognized(path, "the folder holds none of these")


def _format_of(file: Path) -> Format | None:
    """The file's format; None if it is no labelled set."""
    try:
        return _recognized(file)
    except UserError:
        return None


def _file_in(folder: Path, known: Format) -> Path:
    files = list(folder.glob(_FILES[known]))
    if known == "jsonl" and not files:
        files = list(folder.glob("*.csv"))
        if not files and files_of(folder):
            return folder
    if not files:
        raise UserError(
            f": {folder} holds no file {_FILES[known]}, which {known} needs; give the file itself", field="data"
        )
    if len(files) > 1:
        files = [file for file in files if _format_of(file) == known] or files
    if len(files) > 1:
        raise _several(folder, files)
    return files[0]


def _several(folder: Path, files: list[Path]) -> UserError:
    names = sorted(file.name for file in files)
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return UserError(f": {folder} holds {', '.join(names[:3])}{more}; give one of the files", field="data")


def _unrecognized(path: Path, reason: str) -> UserError:
    return IncompleteSet(
        f": {path} is not recognised: {reason}; looked for {_KNOWN}",
        f"name it with {setting('data_format')} ({', '.join(FORMATS)})",
        field="data",
    )
