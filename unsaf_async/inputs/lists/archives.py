"""Tar archives of images, as webdataset has them: files of one name make a row. Nothing is unpacked."""

from __future__ import annotations

import json
import posixpath
import tarfile
from typing import TYPE_CHECKING

from unsaf_async.errors import UserError
from unsaf_async.inputs.lists.entries import Embedded, Entry, echoed
from unsaf_async.inputs.lists.jsonfiles import loads
from unsaf_async.inputs.parts import file_state
from unsaf_async.records import ImagePart
from unsaf_async.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


_MAX_FIELDS_BYTES = 1 << 20
"""Of a JSON or text file in an archive; larger ones are passed over."""
_TEXTS = ("txt", "cls", "text", "caption")


def rows(path: Path, suffixes: tuple[str, ...]) -> Iterator[Entry]:
    """The images of a tar archive, each with what its JSON and text files say.

    Args:
        path: The archive, not compressed.
        suffixes: Of images' names, in small letters.

    Yields:
        A row an image, in the archive's order.

    Raises:
        UserError: The archive is damaged or cut off, a JSON file in it is no JSON, or a link leads to no image before it.
    """
    state = file_state(path)
    number = 0
    key: str | None = None
    images: list[tuple[str, ImagePart]] = []
    fields: dict[str, object] = {}
    parts: dict[str, ImagePart] = {}

    def sample() -> Iterator[Entry]:
        nonlocal number
        for name, part in images:
            number += 1
            said = {each: value for each, value in fields.items() if each != "id" or len(images) == 1}
            row = said | {"image": Embedded(part, name)}
            yield Entry(f"{path}: {name}", number, row)

    try:
        with tarfile.open(path, "r:", encoding="utf-8", errors="replace") as archive:
            while (member := archive.next()) is not None:
                archive.members = []  # type: ignore[attr-defined]  # a list of all of them would grow without end
                is_image = member.name.lower().endswith(suffixes)
                if _is_of_mac(member.name) or not (member.isreg() or (is_image and (member.islnk() or member.issym()))):
                    continue
                stem, suffix = _split(member.name)
                if stem != key:
                    yield from sample()
                    key, images, fields = stem, [], {}
                if is_image:
                    part = _part(path, member, state, parts)
                    parts[posixpath.normpath(member.name)] = part
                    images.append((member.name, part))
                elif member.size <= _MAX_FIELDS_BYTES:
                    fields |= _said(path, archive, member, suffix)
            yield from sample()
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise UserError(
            f"{path}: cannot be read as a tar archive ({one_line(str(error), 160)}); check that it is whole"
        ) from error


def _is_of_mac(name: str) -> bool:
    """Whether a file is what macOS adds to an archive for each of its files."""
    return name.startswith("__MACOSX/") or posixpath.basename(name).startswith("._")


def _part(path: Path, member: tarfile.TarInfo, state: str, parts: Mapping[str, ImagePart]) -> ImagePart:
    """Where an image is in its archive; of a link, the image before it that it leads to."""
    if member.isreg() and not member.issparse():
        return ImagePart(kind="bytes", start=member.offset_data, length=member.size, file_state=state)
    home = posixpath.dirname(member.name) if member.issym() else ""
    part = parts.get(posixpath.normpath(posixpath.join(home, member.linkname))) if not member.issparse() else None
    if part is None:
        what = "has holes" if member.issparse() else f"is a link to {echoed(member.linkname)}, no image before it"
        raise UserError(
            f"{path}: {echoed(member.name)} {what}; write the archive anew (`tar --dereference --hard-dereference`)"
        )
    return part


def _split(name: str) -> tuple[str, str]:
    """A sample's key and what is behind its first dot: webdataset's rule."""
    folder, slash, base = name.rpartition("/")
    stem, _, suffix = base.partition(".")
    return f"{folder}{slash}{stem}", suffix.lower()


def _said(path: Path, archive: tarfile.TarFile, member: tarfile.TarInfo, suffix: str) -> dict[str, object]:
    if suffix not in ("json", *_TEXTS):
        return {}
    file = archive.extractfile(member)
    data = file.read() if file is not None else b""
    if suffix in _TEXTS:
        return {suffix: data.decode("utf-8", "replace").strip()}
    where = f"{path}: {echoed(member.name)}"
    try:
        value = loads(data.decode(), where)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{where}: no valid JSON ({one_line(str(error), 160)}); write the archive anew") from error
    return {name: each for name, each in value.items() if name != "image"} if isinstance(value, dict) else {}
