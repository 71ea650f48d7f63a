"""From a row to its picture: the one place that knows how a list may name an image, or hold it."""

from __future__ import annotations

import json
import os
import re
from ast import literal_eval
from base64 import b64decode
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, cast

from unsaf_async.errors import UserError
from unsaf_async.inputs.lists.columns import image_column, image_columns, url_column
from unsaf_async.inputs.lists.entries import MOST_ECHOED, Embedded, echoed, refuse_url
from unsaf_async.inputs.lists.signatures import HEAD_BYTES, LIST_SUFFIXES, PICTURE_SUFFIXES, is_picture
from unsaf_async.inputs.lists.spellings import is_windows_path, spellings, with_slashes
from unsaf_async.inputs.parts import PartError, file_state, from_base64
from unsaf_async.records import ImagePart
from unsaf_async.text import one_line, printable, shorten

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from unsaf_async.inputs.lists.entries import Entry

FURTHER = "further_rows"
"""Under this name an image's metadata holds the rows about it that came after the first."""

_MOST_NAMED = 10
_UNSEEN = "\u200b\u202a\ufeff"
"""What Windows and editors put before a path that is copied."""
_LONGEST_PATH = 4096
_LONGEST_NAME = 255
_MESSAGES = ("messages", "conversations", "prompt")


@dataclass(frozen=True, slots=True)
class Picture:
    """The picture of a row.

    Attributes:
        name: What names the picture, such as its path with slashes.
        row_id: The row's id; "" if it has none.
        candidates: The file; where it is missing, all places where it was looked for. At least one.
        part: Where in the file; None: the file is the picture.
        key: Equal for rows about one picture: its real path, and what tells it apart there. Of a missing one ("", its name).
        metadata: The row's other fields.
        missing: Why there is no such file, in words that follow its name; "" if there is.
    """

    name: str
    row_id: str
    candidates: tuple[Path, ...]
    part: ImagePart | None
    key: tuple[str, str]
    metadata: Mapping[str, object]
    missing: str = ""

    @property
    def path(self) -> Path:
        """The file, or the likeliest of its places."""
        return self.candidates[0]


class Missing:
    """The pictures of a list that are not there, to be told all at once."""

    def __init__(self, path: Path, folder: Path | None = None) -> None:
        """None so far.

        Args:
            path: The list.
            folder: The one folder that its pictures lie in; None: they lie beside the list.
        """
        self._path = path
        self._folder = folder
        self._first: tuple[str, str, str] | None = None
        self._others: list[str] = []
        self._names: set[str] = set()

    def add(self, entry: Entry, picture: Picture) -> None:
        """Notes one; a second row about it changes nothing.

        Args:
            entry: The row.
            picture: Its picture, which is missing.
        """
        if picture.key[1] in self._names:
            return
        self._names.add(picture.key[1])
        named = shorten(printable(one_line(picture.key[1])), MOST_ECHOED)
        if self._first is None:
            self._first = entry.where, named, picture.missing
        elif len(self._others) < _MOST_NAMED - 1:
            self._others.append(f"{named} ({_place(entry)})")

    def check(self) -> None:
        """Raises UserError if any picture is missing."""
        if told := self.told():
            raise UserError(told)

    def told(self) -> str:
        """What is missing, for an error.

        Returns:
            The first ten by name, then a count, and where pictures are looked for; "" if none is missing.
        """
        if self._first is None:
            return ""
        where, named, why = self._first
        count = len(self._names)
        rest = count - 1 - len(self._others)
        more = f" and {rest} more" if rest else ""
        others = f"; {count} are missing, the others: {', '.join(self._others)}{more}" if self._others else ""
        folder = f"the list's folder, {self._path.parent}" if self._folder is None else str(self._folder)
        return f"{where}: image {named} {why}{others}; paths are taken from {folder}"


def _place(entry: Entry) -> str:
    """Where a row stands in its file, as in "line 3", "entry 3" or "row 3"."""
    end = entry.where.rpartition(":")[2].strip()
    return f"line {end}" if end.isdigit() else end


class Pictures:
    """Finds the pictures of a list's rows."""

    def __init__(self, path: Path, folders: Sequence[Path]) -> None:
        """A finder.

        Args:
            path: The list.
            folders: Where pictures may lie that are named by a relative path, the likeliest first; at least one.
        """
        self._path = path
        self._folders = folders
        self._by_index: dict[str, Picture] = {}
        self._known: dict[str, tuple[Path | None, str, str]] = {}
        self._places = [os.fspath(folder) for folder in folders]
        self._exists: dict[str, bool] = {}
        self._real_folders: dict[str, str] = {}
        self._states: dict[Path, str] = {}
        self._names: dict[Path, dict[str, str]] = {}

    def of(self, entry: Entry) -> Picture:
        """The picture of a row.

        Args:
            entry: The row.

        Returns:
            The picture; it may be missing.

        Raises:
            UserError: The row names no picture, several, an address, or something else.
        """
        if _is_of_run(entry):
            return self._of_run(entry)
        column, value = _value(entry)
        metadata = _metadata(entry, column)
        id_name = next((name for name in entry.fields if isinstance(name, str) and name.lower() == "id"), "id")
        row_id = entry.key(id_name)
        index = _index(entry)
        if index and isinstance(value, str | int) and (seen := self._by_index.get(_plain_number(str(value)))):
            return replace(seen, row_id=row_id, metadata=metadata)  # VLMEvalKit: the picture of the row with that index
        if isinstance(value, str) and (embedded := _embedded(entry, column, value)) is not None:
            value = replace(embedded, name=_name_beside(entry.fields.get(column)))
        if isinstance(value, Embedded):
            name = PurePosixPath(value.name.replace("\\", "/"))
            title = name.name if name.is_absolute() or is_windows_path(value.name) else str(name) if value.name else ""
            usual = title or index or f"{self._path.stem}#{entry.number}"
            same = (os.path.realpath(self._path), value.sha256 or f"{value.part.start}:{value.part.column}")
            picture = Picture(usual, row_id, (self._path,), value.part, same, metadata)
            if index:
                self._by_index[index] = picture
            return picture
        picture = self._file(entry, column, value, row_id, metadata)
        if picture.missing and index and str(value).strip().isdigit():
            return replace(picture, missing="is no file, and no 'index' of a row above it with a picture")
        return picture

    def _of_run(self, entry: Entry) -> Picture:
        """The picture of a row of a run's images.jsonl, with the metadata and the place in its file that the run knows."""
        metadata = _metadata(replace(entry, fields=cast("Mapping[str, object]", entry.fields["metadata"])), "")
        given = entry.fields.get("part")
        try:
            part = None if given is None else ImagePart.model_validate(given)
        except ValueError:
            raise entry.wrong("part", "the list that the run was given") from None
        return self._file(entry, "path", entry.fields["path"], entry.key("id"), metadata, part)

    def _file(
        self,
        entry: Entry,
        column: str,
        value: object,
        row_id: str,
        metadata: Mapping[str, object],
        part: ImagePart | None = None,
    ) -> Picture:
        """The picture that a path names. part: where in that file it is; None: the file is the picture."""
        if not isinstance(value, str) or not value.strip() or "\0" in value or len(value) > _LONGEST_PATH:
            raise UserError(f"{entry.where}: {column!r} is {echoed(value)}; give a text: the path of a file")
        named = value.strip().lstrip(_UNSEEN)
        refuse_url(named, entry.where)
        if named not in self._known:
            self._known[named] = self._found(named)
        path, spelled, real = self._known[named]
        if path is not None and part is not None and self._state(path) == part.file_state:
            return Picture(spelled, row_id, (path,), part, (real, f"{part.start}:{part.column}"), metadata)
        if path is not None and part is None and _may_be_picture(path):
            return Picture(spelled, row_id, (path,), None, (real, ""), metadata)
        absent = tuple(folder / spelled for folder in self._folders)
        return Picture(spelled, row_id, absent, None, ("", named), metadata, self._why(named, path, part))

    def _found(self, named: str) -> tuple[Path | None, str, str]:
        """The file that is named so, its name with slashes, and its real path; no file and no real path if there is none."""
        spelled = spellings(named)
        for folder in self._places:
            for each in spelled:
                path = os.path.join(folder, each)  # noqa: PTH118
                if self._is_in_folder(path) and os.path.isfile(path):  # noqa: PTH113  # pathlib's raises for a name that is too long
                    return Path(path), each, self._real(Path(path))
        return None, with_slashes(named), ""

    def _is_in_folder(self, path: str) -> bool:
        """Whether the folder exists that a file would be in: each is looked up once."""
        folder = os.path.dirname(path)  # noqa: PTH120
        if folder not in self._exists:
            self._exists[folder] = os.path.isdir(folder or ".")  # noqa: PTH112
        return self._exists[folder]

    def _real(self, path: Path) -> str:
        """The path without links. Those in folders' names are looked up once."""
        folder, name = os.path.split(path)
        if folder not in self._real_folders:
            self._real_folders[folder] = os.path.realpath(folder)
        real = os.path.join(self._real_folders[folder], name)  # noqa: PTH118
        return os.path.realpath(real) if name in ("", ".", "..") or os.path.islink(real) else real  # noqa: PTH114

    def _names_in(self, folder: Path) -> dict[str, str]:
        """The names in a folder by their small letters, listed once."""
        if folder not in self._names:
            self._names[folder] = (
                {each.name.casefold(): each.name for each in folder.iterdir()} if folder.is_dir() else {}
            )
        return self._names[folder]

    def _state(self, path: Path) -> str:
        """The state of a file that holds pictures, read once."""
        if path not in self._states:
            self._states[path] = file_state(path)
        return self._states[path]

    def _why(self, named: str, found: Path | None, part: ImagePart | None) -> str:
        if found is not None and part is not None:
            return "lies in a list that has changed since that run: give that list instead of this one"
        if found is not None and found.suffix.lower() in LIST_SUFFIXES:
            return "is no picture but a list, and which picture in it is meant is not said: give that list instead of this one"
        if found is not None:
            return "is no picture"
        if is_windows_path(named) and os.name != "nt":
            parts = re.split(r"[\\/]+", named)[1:]
            tails = ("/".join(parts[at:]) for at in range(len(parts)))
            near = next((tail for tail in tails if tail and os.path.isfile(self._folders[0] / tail)), None)  # noqa: PTH113
            hint = f"write {near}, which is there" if near else "write paths as they are from the list's folder"
            return f"is the path of a file on a Windows machine: {hint}"
        try:
            likeliest = self._folders[0] / with_slashes(named)
            near = self._names_in(likeliest.parent).get(likeliest.name.casefold())
            return "is no file" if likeliest.exists() else f"does not exist; {near} does" if near else "does not exist"
        except (OSError, ValueError):
            return "does not exist"


def _index(entry: Entry) -> str:
    """The number of a row among VLMEvalKit's, as other rows write it; "" if it has none."""
    name = next((each for each in entry.fields if isinstance(each, str) and each.lower() == "index"), "")
    value = entry.fields.get(name)
    return _plain_number(str(value)) if isinstance(value, str | int | float) else ""


def _plain_number(text: str) -> str:
    return text.strip().removesuffix(".0")


_RUN_FIELDS = frozenset(("id", "path", "metadata"))


def _is_of_run(entry: Entry) -> bool:
    """Whether a row is of a run's images.jsonl."""
    fields = entry.fields.keys()
    return (
        entry.typed
        and fields >= _RUN_FIELDS
        and fields <= {*_RUN_FIELDS, "given", "file_sha256", "part"}
        and isinstance(entry.fields["metadata"], dict)
    )


def _may_be_picture(path: Path) -> bool:
    """Whether a file that a list names is called as pictures are, or begins as one. One that cannot be opened may be."""
    if path.suffix.lower() in PICTURE_SUFFIXES:
        return True
    try:
        with path.open("rb") as file:
            return is_picture(file.read(HEAD_BYTES))
    except OSError:
        return True


def folders_of(path: Path) -> list[Path]:
    """Where pictures may lie that a list names by a relative path.

    Args:
        path: The list.

    Returns:
        Its folder, then folders beside it and above it, as LLaVA and COCO have them.
    """
    here = path.parent
    split = path.stem.rpartition("_")[2]
    above = here.parent
    return [here, here / "images", here / split, above, above / "images", above / split]


def _value(entry: Entry) -> tuple[str, object]:
    """The field that names or holds the row's picture, and what it holds."""
    columns = image_columns(entry.fields)
    filled = next((name for name in columns if not _is_empty(entry.fields[name])), None)
    if filled is not None:
        return filled, _one(entry, filled, entry.fields[filled])
    in_messages = list(dict.fromkeys(_in_messages(entry.fields)))
    if len(in_messages) == 1:
        return "messages", in_messages[0]
    if in_messages:
        raise _several(entry, len(in_messages))
    if columns:
        return columns[0], entry.fields[columns[0]]
    raise no_image_column(entry.where, entry.fields)


def is_text_alone(entry: Entry) -> bool:
    """Whether a row is a conversation without a picture, as LLaVA's data has some among those with one.

    Args:
        entry: The row.

    Returns:
        Whether it has turns, none of which mentions a picture, and no field that names or holds one.
    """
    fields = entry.fields
    if not entry.typed or any(not _is_empty(fields[name]) for name in image_columns(fields)):
        return False
    texts = (each.lower() for each in fields.values() if isinstance(each, str))
    if (
        any(isinstance(each, Embedded) for each in fields.values())
        or url_column(fields)
        or any(each.endswith(PICTURE_SUFFIXES) for each in texts)
    ):
        return False  # perhaps in a field of another name
    turns = [each for name in _MESSAGES if isinstance(each := fields.get(name), list) and each]
    return bool(turns) and not any(_in_messages(fields)) and "<image>" not in json.dumps(turns, default=str)


def no_image_column(where: str, names: Mapping[str, object] | Sequence[str]) -> UserError:
    """An error about rows without a field that names an image.

    Args:
        where: "file:line".
        names: The fields that there are.

    Returns:
        The error, to be raised.
    """
    urls = url_column(names)
    if urls is not None and image_column(names) is None:
        return UserError(
            f"{where}: the column {shorten(urls, MOST_ECHOED)!r} holds addresses, and nothing is downloaded: fetch the "
            "images first and give their paths in a column 'image'"
        )
    present = shorten(", ".join(one_line(str(name)) for name in names), MOST_ECHOED) or "nothing"
    return UserError(f"{where}: no column 'image' among: {present}; name the column with the paths 'image'")


def _is_empty(value: object) -> bool:
    return value is None or value in ([], {}) or (isinstance(value, str) and value.strip().lower() in ("", "nan"))


_LISTED = re.compile(r"""\s*\[\s*(['"])[^'"]+\1(\s*,\s*(['"])[^'"]+\3)*\s*\]\s*""")


def _one(entry: Entry, column: str, value: object) -> object:
    """The one picture of a cell: a path, base64, or an `Embedded`."""
    if isinstance(value, str) and not entry.typed and _LISTED.fullmatch(value):
        value = [each for _, each in re.findall(r"""(['"])([^'"]+)\1""", value)]  # as pandas writes a list
    elif (
        isinstance(value, str)
        and not entry.typed
        and len(value) > 2
        and (value[0], value[-1]) in (("{", "}"), ("<", ">"))
    ):
        value = _printed(entry, column, value)
    if isinstance(value, list):
        different = [each for at, each in enumerate(value) if each not in value[:at]]
        if len(different) != 1:
            raise _several(entry, len(different))
        value = different[0]
    if isinstance(value, dict):
        for name in ("bytes", "path", "file_name", "filename", "url", "src", "data"):
            if isinstance(inner := value.get(name), str | Embedded) and inner:
                return inner
        raise UserError(f"{entry.where}: {column!r} is {echoed(value)}; give the path of a file")
    return value


def _printed(entry: Entry, column: str, value: str) -> object:
    """What a cell says that holds an object as Python or JSON prints it."""
    where = f"{entry.where}: {column!r} is {echoed(value)}"
    if value.startswith("<PIL."):
        raise UserError(f"{where}: how Python prints a picture, and not the picture; save it and give its path")
    for read in (json.loads, literal_eval):
        with suppress(ValueError, SyntaxError, MemoryError, RecursionError):
            said = read(value)
            if isinstance(said, dict) and isinstance(said.get("bytes"), bytes):
                raise UserError(f"{where}: bytes as Python prints them; write a Parquet file, or the path of a file")
            return cast("object", said) if isinstance(said, dict) else value
    return value


def _name_beside(cell: object) -> str:
    """What a cell `{"bytes", "path"}` says that its base64 is called; "" for another cell."""
    if isinstance(cell, list) and cell:
        cell = cell[0]
    name = cell.get("path") if isinstance(cell, dict) and cell.get("bytes") else None
    return name if isinstance(name, str) else ""


def _several(entry: Entry, count: int) -> UserError:
    return UserError(f"{entry.where}: {count} images in one row; give each row one image")


def _in_messages(fields: Mapping[str, object]) -> Iterator[str]:
    """The pictures in the turns of a conversation, as vendors' APIs have them."""
    for name in _MESSAGES:
        turns = fields.get(name)
        for turn in turns if isinstance(turns, list) else ():
            content = turn.get("content") if isinstance(turn, dict) else None
            for part in content if isinstance(content, list) else ():
                if not isinstance(part, dict) or part.get("type") not in ("image", "image_url", "input_image"):
                    continue
                held = part.get("image_url") or part.get("image") or part.get("source") or part.get("path")
                if isinstance(held, dict):
                    held = held.get("url") or held.get("data") or held.get("path")
                if isinstance(held, str):
                    yield held


def _metadata(entry: Entry, column: str) -> dict[str, object]:
    """The fields of a row besides its id and its picture, without further pictures."""
    others = {name: each for name, each in entry.fields.items() if name != column and name.lower() != "id"}
    try:
        lean = {name: _lean(each) for name, each in others.items()}
        json.dumps(lean)
    except RecursionError:
        raise UserError(f"{entry.where}: its values are nested too deeply; take that field out") from None
    return {name: each for name, each in lean.items() if each is not None or others[name] is None}


def _lean(value: object) -> object:
    """A field's value without the pictures in it; None for nothing but a picture."""
    if isinstance(value, Embedded):
        return None
    if isinstance(value, str):
        is_picture_text = len(value) > 1000 and (value.startswith("data:") or _is_base64_picture(value[:88]))
        return f"{value[:40]}..." if is_picture_text else value
    if isinstance(value, dict):
        return {name: _lean(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_lean(each) for each in value]
    return value


# --- base64 -----------------------------------------------------------------------------------------------------------

_DATA_URL = re.compile(r"data:(?:[\w.+-]+/[\w.+-]+)?(?:;[\w=.+-]+)*;base64,", re.IGNORECASE)


def _embedded(entry: Entry, column: str, value: str) -> Embedded | None:
    """The picture that a text holds as base64; None if the text is something else, such as a path."""
    text = value.strip()
    if text[:5].lower() == "data:":
        head = _DATA_URL.match(text)
        if head is None:
            raise UserError(f"{entry.where}: {column!r} is a data URL that holds no picture in base64: {echoed(text)}")
        text = text[head.end() :]
    elif len(text) < 64 or not _is_base64_picture(text[:88]):
        if len(text) > _LONGEST_NAME and re.fullmatch(r"[A-Za-z0-9+/\r\n]+={0,2}", text):
            raise UserError(
                f"{entry.where}: {column!r} is {echoed(value)}, base64 of no picture; give the path of a file"
            )
        return None
    try:
        data = from_base64(text.encode())
    except PartError as error:
        raise UserError(f"{entry.where}: {column!r} holds base64 that is damaged ({error})") from error
    if not is_picture(data[:64]):
        raise UserError(f"{entry.where}: {column!r} is a URL or base64 that holds no picture: {echoed(value)}")
    part = entry.place_of(column, text) if entry.place_of is not None else None
    if part is None:
        raise UserError(
            f"{entry.where}: the base64 in {column!r} is escaped, or in UTF-16; write the file anew, as plain UTF-8"
        )
    return Embedded(part, "", data[:64], sha256(data).hexdigest())


def _is_base64_picture(start: str) -> bool:
    plain = re.sub(r"\s+", "", start)
    whole = plain[: len(plain) // 4 * 4]
    if not re.fullmatch(r"[A-Za-z0-9+/_=-]+", whole):
        return False
    try:
        return is_picture(b64decode(whole.translate(str.maketrans("-_", "+/"))))
    except ValueError:
        return False
