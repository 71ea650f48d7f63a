"""Which images a run is about: folders, files, globs and manifests, made into one list of `ImageSource`s.

Everything that can be wrong with the list is a `UserError` here, before any money is spent. No picture is decoded: what
is wrong inside a file shows in `pixels`, and costs the run one image. Labelled sets are read in `datasets`.
"""

from __future__ import annotations

import csv
import glob
import io
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from unsaf_async.bundled import bundled
from unsaf_async.errors import UserError, setting

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from unsaf_async.records import GivenQuestion

# HEIC cannot be decoded, and is looked for all the same: a failed image with its reason beats one silently skipped.
SUFFIXES = (
    ".jpg", ".jpeg", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".jp2", ".j2k",
    ".heic", ".heif",
)  # fmt: skip
"""What is taken from a folder or by a glob; a file that is named itself may be called anything."""

MANIFEST_SUFFIXES = (".jsonl", ".csv")


@dataclass(frozen=True, slots=True)
class ImageSource:
    """One image to examine.

    Attributes:
        id: Unique in the run; a manifest's `id`, or the path relative to the folder that it came from, with slashes.
        path: The file.
        metadata: A manifest's further columns; empty otherwise.
        given: The questions to ask about it; () if the model writes them itself.
        file_sha256: Of the file that these questions are about; None: whatever it is.
    """

    id: str
    path: Path
    metadata: Mapping[str, object] = field(default_factory=dict)
    given: tuple[GivenQuestion, ...] = ()
    file_sha256: str | None = None


def find_images(arguments: Sequence[str | Path]) -> list[ImageSource]:
    """The images that a user named.

    A folder gives its images and those of its subfolders, sorted (hidden ones are skipped, links followed); a glob its
    matches, sorted; a file itself; a manifest (.jsonl, .csv) its rows, in their order.

    Args:
        arguments: Paths of folders, files and manifests, and globs.

    Returns:
        Each file once, in the order of the arguments; [] without arguments. Where ids from folders and files are the
        same, the later one gets its folder's name or a number; a manifest's own ids never change.

    Raises:
        UserError: Something is missing, empty or malformed.
    """
    candidates: list[_Candidate] = []
    for argument in arguments:
        candidates.extend(_candidates(os.fspath(argument)))
    distinct: dict[str, _Candidate] = {}
    for each in candidates:
        distinct.setdefault(os.path.realpath(each.path), each)
    return _with_ids(list(distinct.values()))


def bundled_images(which: str = "photos") -> list[ImageSource]:
    """The images that ship with this package.

    Args:
        which: "photos", or "world" for scenes of the drawn world.

    Returns:
        The images, sorted.

    Raises:
        FileNotFoundError: The installation has none.
    """
    return find_images([bundled("images") / which])


@dataclass(frozen=True, slots=True)
class _Candidate:
    """An image before its id is settled. fixed_in: "file:line" of the manifest row that fixes the id; else ""."""

    id: str
    path: Path
    metadata: Mapping[str, object] = field(default_factory=dict)
    fixed_in: str = ""


def _candidates(argument: str) -> Iterator[_Candidate]:
    _refuse_url(argument, setting("images"))
    path = Path(argument)
    try:
        if not argument or "\0" in argument:
            raise UserError(f": {argument!r} is no path; give a folder, a file, a glob or a manifest", field="images")
        if path.is_dir():
            yield from _in_folder(path)
        elif path.is_file():
            yield from _in_manifest(path) if path.suffix.lower() in MANIFEST_SUFFIXES else [_Candidate(path.name, path)]
        elif path.exists():
            raise UserError(f": {argument} is neither a file nor a folder; give one of these", field="images")
        elif glob.has_magic(argument):
            yield from _by_glob(argument)
        else:
            raise UserError(
                f": {argument} does not exist; check the path (it is taken from {Path.cwd()})", field="images"
            )
    except OSError as error:
        raise UserError(
            f": {argument} cannot be read: {error.strerror}; check its name and permissions", field="images"
        ) from error


def _refuse_url(text: str, where: str) -> None:
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://|data:", text):
        raise UserError(f"{where}: {text[:100]!r} is a URL; download the image first and give its path")


def _in_folder(folder: Path) -> Iterator[_Candidate]:
    def fail(error: OSError) -> None:
        raise error

    names: list[str] = []
    walked: set[str] = set()
    for where, folders, files in os.walk(folder, onerror=fail, followlinks=True):
        real = os.path.realpath(where)
        if real in walked:  # a link to a folder above, or to one already seen
            folders.clear()
            continue
        walked.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        inside = os.path.relpath(where, folder)
        names += [os.path.normpath(os.path.join(inside, name)) for name in files if _is_image_name(name)]  # noqa: PTH118
    if not names:
        raise UserError(
            f": {folder} holds no image; looked for {' '.join(SUFFIXES)}, in subfolders too", field="images"
        )
    for name in sorted(names):
        yield _Candidate(_readable(Path(name)), folder / name)


def _is_image_name(name: str) -> bool:
    return not name.startswith(".") and name.lower().endswith(SUFFIXES)


def _by_glob(pattern: str) -> Iterator[_Candidate]:
    fixed = Path(pattern)
    while glob.has_magic(str(fixed)):
        fixed = fixed.parent
    matches = sorted(Path(match) for match in glob.iglob(pattern, recursive=True))  # noqa: PTH207  # pathlib's refuses absolute patterns
    images = [match for match in matches if _is_image_name(match.name) and match.is_file()]
    if not images:
        what = f"{len(matches)} files or folders, but no image ({' '.join(SUFFIXES)})" if matches else "nothing"
        raise UserError(
            f": {pattern} matches {what}; check the pattern (it is taken from {Path.cwd()})", field="images"
        )
    for match in images:
        yield _Candidate(_readable(Path(os.path.relpath(match, fixed))), match)


def _readable(path: Path) -> str:
    """The path with slashes; bytes of its name that are no UTF-8 are replaced, since an id is written to JSON."""
    return os.fsencode(path.as_posix()).decode("utf-8", "replace")


# --- manifests ------------------------------------------------------------------------------------------------------


def _in_manifest(path: Path) -> Iterator[_Candidate]:
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}:{line}: this is not UTF-8; save the manifest as UTF-8") from error
    rows = _csv_rows(path, text) if path.suffix.lower() == ".csv" else _json_rows(path, text)
    line = 0
    for line, row in rows:
        yield _row_candidate(path, line, row)
    if line == 0:
        raise UserError(f"{path}: the manifest names no image; give one row an image, with the path in 'image'")


def _json_rows(path: Path, text: str) -> Iterator[tuple[int, dict[str, object]]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise UserError(f"{path}:{number}: no valid JSON ({error}); give one JSON object a line") from error
        if not isinstance(row, dict):
            raise UserError(f'{path}:{number}: {line.strip()[:60]!r} is no JSON object; write {{"image": "..."}}')
        yield number, row


def _csv_rows(path: Path, text: str) -> Iterator[tuple[int, dict[str, object]]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    columns: list[str] | None = None
    while True:
        number = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise UserError(f"{path}:{number}: no valid CSV ({error}); check quotes and commas from here on") from error
        if cells is None:
            return
        if not any(cell.strip() for cell in cells):
            continue
        if columns is None:
            columns = [cell.strip() for cell in cells]
            if len(set(columns)) < len(columns):
                raise UserError(f"{path}:{number}: a column's name occurs twice in {', '.join(columns)}; rename one")
            if "image" not in columns:
                raise _no_image_column(path, number, columns)
            continue
        if len(cells) != len(columns):
            raise UserError(
                f"{path}:{number}: {len(cells)} cells for {len(columns)} columns; quote cells that hold commas"
            )
        yield number, dict(zip(columns, cells, strict=True))


def _no_image_column(path: Path, line: int, columns: Sequence[str]) -> UserError:
    present = ", ".join(columns)[:100] or "nothing"
    return UserError(f"{path}:{line}: no column 'image' among: {present}; name the column with the paths 'image'")


def _row_candidate(manifest: Path, line: int, row: dict[str, object]) -> _Candidate:
    where = f"{manifest}:{line}"
    if "image" not in row:
        raise _no_image_column(manifest, line, list(row))
    named = row["image"]
    if not isinstance(named, str) or not named.strip() or "\0" in named:
        raise UserError(f"{where}: 'image' is {named!r}; give the path of a file")
    named = named.strip()
    _refuse_url(named, where)
    image = manifest.parent / named
    if not image.is_file():
        problem = "is no file" if image.exists() else "does not exist"
        raise UserError(
            f"{where}: image {named} {problem}; paths are taken from the manifest's folder, {manifest.parent}"
        )
    key = row.get("id")
    if key is not None and (isinstance(key, bool) or not isinstance(key, str | int)):
        raise UserError(f"{where}: 'id' is {key!r}; give a text or a whole number")
    fixed = str(key).strip() if key is not None else ""
    metadata = {name: value for name, value in row.items() if name not in ("image", "id")}
    return _Candidate(fixed or Path(named).as_posix(), image, metadata, where if fixed else "")


# --- ids ------------------------------------------------------------------------------------------------------------


def _with_ids(candidates: Sequence[_Candidate]) -> list[ImageSource]:
    rows: dict[str, str] = {}
    for each in candidates:
        if each.fixed_in and each.id in rows:
            raise UserError(f"{each.fixed_in}: id {each.id!r} was given before, in {rows[each.id]}; make ids unique")
        if each.fixed_in:
            rows[each.id] = each.fixed_in
    taken = set(rows)
    sources = []
    for each in candidates:
        name = each.id
        if not each.fixed_in:
            name = next(free for free in _names(each) if free not in taken)
            taken.add(name)
        sources.append(ImageSource(name, each.path, each.metadata))
    return sources


def _names(candidate: _Candidate) -> Iterator[str]:
    """Ids to try, in this order: as it is, behind its folder's name, with a number."""
    yield candidate.id
    above = candidate.path.resolve().parents
    depth = candidate.id.count("/")
    if depth < len(above) and above[depth].name:
        yield f"{_readable(Path(above[depth].name))}/{candidate.id}"
    number = 2
    while True:
        yield f"{candidate.id}#{number}"
        number += 1
