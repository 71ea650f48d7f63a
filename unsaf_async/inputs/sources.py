"""Which images a run is about: folders, files, globs and lists, made into one list of `ImageSource`s.

Everything that can be wrong with the list is a `UserError` here, before any money is spent. No picture is decoded: what
is wrong inside a file shows in `pixels`, and costs the run one image. Lists are read in `lists`, labelled sets in `datasets`.
"""

from __future__ import annotations

import glob
import os
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from unsaf_async.bundled import bundled
from unsaf_async.errors import UserError, naming, setting
from unsaf_async.inputs.lists import SHARD_SUFFIXES, kind_of, read_list
from unsaf_async.inputs.lists.entries import MOST_ECHOED, refuse_url
from unsaf_async.inputs.lists.pictures import FURTHER, Missing, Pictures, folders_of, is_text_alone
from unsaf_async.inputs.lists.signatures import HEAD_BYTES, LIST_SUFFIXES, PACKED_SUFFIXES, PICTURE_SUFFIXES
from unsaf_async.inputs.lists.spellings import local_path
from unsaf_async.inputs.lists.tables import arrow_files
from unsaf_async.inputs.objects import find_objects, is_object
from unsaf_async.inputs.parts import FilePart, located
from unsaf_async.text import one_line, printable, shorten

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from unsaf_async.inputs.lists.pictures import Picture
    from unsaf_async.records import GivenQuestion, ImagePart

SUFFIXES = PICTURE_SUFFIXES
"""What is taken from a folder or by a glob; a file that is named itself may be called anything."""

_METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
"""What Hugging Face calls the list in a folder of images."""

_MOST_NAMED = 3


@dataclass(frozen=True, slots=True)
class ImageSource:
    """One image to examine.

    Attributes:
        id: Unique in the run; a manifest's `id`, or the path relative to the folder that it came from, with slashes.
        path: The file; of an object in a store, its address as a path.
        metadata: A manifest's further columns; empty otherwise. Of several rows about the image, those of the first one, and the
            others under `lists.pictures.FURTHER`.
        given: The questions to ask about it; () if the model writes them itself.
        file_sha256: Of the file that these questions are about; None: whatever it is.
        part: Where in the file the image is; None: the file is the image.
    """

    id: str
    path: Path
    metadata: Mapping[str, object] = field(default_factory=dict)
    given: tuple[GivenQuestion, ...] = ()
    file_sha256: str | None = None
    part: ImagePart | None = None

    @property
    def place(self) -> Path | FilePart:
        """What is read: the file, or the part of it."""
        return located(self.path, self.part)

    @property
    def address(self) -> str:
        """Where the image is, to be shown and recorded: the file's path, or the object's address."""
        return self.part.url if self.part is not None and self.is_object else str(self.path)

    @property
    def is_object(self) -> bool:
        """Whether it lies in an object store."""
        return self.part is not None and self.part.kind == "object"


def find_images(arguments: Sequence[str | Path], notes: list[str] | None = None) -> list[ImageSource]:
    """The images that a user named.

    A folder gives its images and those of its subfolders, sorted (hidden ones are skipped, links followed), with what a
    metadata file in it says of them; without images, the tables and archives in it, or the data set that `datasets` has saved
    there. A glob gives its matches, sorted; a file itself; a list its rows, in their order. "s3://BUCKET/FOLDER" gives the
    images below it, as a folder does, without lists.

    Args:
        arguments: Paths of folders, files and lists, globs, and addresses in an object store.
        notes: Gets a sentence for each list of which rows are passed over; None: nobody reads it.

    Returns:
        Each file once, in the order of the arguments; [] without arguments. Where ids from folders and files are the
        same, the later one gets its folder's name or a number; a manifest's own ids never change.

    Raises:
        UserError: Something is missing, empty or malformed.
    """
    candidates: list[_Candidate] = []
    notes = [] if notes is None else notes
    parts: dict[tuple[str, int, str], tuple[str, str]] = {}
    for argument in arguments:
        candidates += (_keyed(each, parts) for each in _candidates(os.fspath(argument), notes))
    distinct: dict[tuple[str, str], _Candidate] = {}
    further: dict[tuple[str, str], list[Mapping[str, object]]] = {}
    for each in candidates:
        if distinct.setdefault(each.key, each) is not each and each.row is not None:
            further.setdefault(each.key, []).append(each.row)
    return _with_ids(candidates, distinct, further)


def merged_rows(images: Sequence[ImageSource]) -> str:
    """What a user is told where rows of a list are about pictures that an earlier row names.

    Args:
        images: What `find_images` found, in its order.

    Returns:
        One sentence, with the first such row as an example; "" if each row has a picture of its own.
    """
    several = [
        (each, further) for each in images if isinstance(further := each.metadata.get(FURTHER), list) and further
    ]
    if not several:
        return ""
    rows, pictures = sum(len(further) for _, further in several), len(several)
    image, (first, *_) = several[0]
    row = str(first["id"]) if isinstance(first, dict) and first.get("id") else "one without an id"
    example = ", ".join(shorten(printable(one_line(each)), MOST_ECHOED) for each in (image.id, row))
    are = "1 row is" if rows == 1 else f"{rows} rows are"
    which = "a picture" if pictures == 1 else f"{pictures} pictures"
    return (
        f"{are} about {which} that an earlier row names ({example} are one picture); each picture is examined once, "
        "the rows' ids are kept"
    )


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
    """An image before its id is settled.

    key: equal for two of one image. fixed_in: where the row stands that fixes the id; else "". row: all that the row says.
    """

    id: str
    path: Path
    key: tuple[str, str]
    metadata: Mapping[str, object] = field(default_factory=dict)
    fixed_in: str = ""
    part: ImagePart | None = None
    row: Mapping[str, object] | None = None


def _keyed(candidate: _Candidate, parts: dict[tuple[str, int, str], tuple[str, str]]) -> _Candidate:
    """The candidate with the key of an earlier one at the same place: a list tells a part by its bytes, a run by its place."""
    if candidate.part is None:
        return candidate
    place = (candidate.key[0], candidate.part.start, candidate.part.column)
    return replace(candidate, key=parts.setdefault(place, candidate.key))


def _file(name: str, path: Path) -> _Candidate:
    return _Candidate(name, path, (os.path.realpath(path), ""))


def _candidates(argument: str, notes: list[str]) -> Iterator[_Candidate]:
    if is_object(argument):
        for name, part in find_objects(argument, SUFFIXES):
            yield _Candidate(name, Path(part.url), (part.url, ""), part=part)
        return
    refuse_url(argument, setting("images"))
    argument = local_path(argument)
    path = Path(argument)
    try:
        if not argument or "\0" in argument:
            raise UserError(f": {argument!r} is no path; give a folder, a file, a glob or a list", field="images")
        if path.is_dir():
            yield from _in_folder(path, notes)
        elif path.is_file():
            yield from _in_file(path, notes)
        elif path.exists():
            raise UserError(f": {argument} is neither a file nor a folder; give one of these", field="images")
        elif glob.has_magic(argument):
            yield from _by_glob(argument, notes)
        else:
            raise UserError(
                f": {argument} does not exist; check the path (it is taken from {Path.cwd()})", field="images"
            )
    except OSError as error:
        raise UserError(
            f": {argument} cannot be read: {error.strerror}; check its name and permissions", field="images"
        ) from error


def _in_file(path: Path, notes: list[str]) -> Iterator[_Candidate]:
    with naming("images"):
        kind = kind_of(path)
    if kind == "picture":
        yield _file(path.name, path)
    else:
        yield from _in_list(path, folders_of(path), notes)


def _in_folder(folder: Path, notes: list[str]) -> Iterator[_Candidate]:
    if saved := arrow_files(folder):
        yield from _in_lists(saved, notes)
        return
    names, metadata, shards = _walked(folder)
    if not names and not shards:
        lists = sorted(each.name for each in folder.iterdir() if each.suffix.lower() in LIST_SUFFIXES)
        packed = sorted(each.name for each in folder.iterdir() if each.suffix.lower() in PACKED_SUFFIXES)
        of_lists = f"; it holds {', '.join(lists[:_MOST_NAMED])}: give one of the lists" if lists else ""
        of_lists += f"; it holds {', '.join(packed[:_MOST_NAMED])}: unpack first" if packed else ""
        raise UserError(
            f": {folder} holds no image; looked for {' '.join(SUFFIXES)}, in subfolders too{of_lists}", field="images"
        )
    if not names:
        yield from _in_lists([folder / name for name in shards], notes)
        return
    rows = _described(folder, [folder / name for name in metadata])
    for name in names:
        plain = _file(_readable(Path(name)), folder / name)
        for row in rows.get(plain.key, [plain]):
            # The file keeps the name that the folder has for it, whatever its row says.
            yield replace(row, path=plain.path, id=row.id if row.fixed_in else plain.id)


def _walked(folder: Path) -> tuple[list[str], list[str], list[str]]:
    """The images, the metadata files, and the tables and archives in a folder and its subfolders: sorted relative paths."""

    def fail(error: OSError) -> None:
        raise error

    found: list[str] = []
    walked: set[str] = set()
    for where, folders, files in os.walk(folder, onerror=fail, followlinks=True):
        real = os.path.realpath(where)
        if real in walked:  # a link to a folder above, or to one already seen
            folders.clear()
            continue
        walked.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        inside = os.path.relpath(where, folder)
        found += [os.path.normpath(os.path.join(inside, name)) for name in files if not name.startswith(".")]  # noqa: PTH118
    found.sort()
    metadata = [name for name in found if Path(name).name.lower() in _METADATA]
    shards = [name for name in found if name.lower().endswith(SHARD_SUFFIXES) and name not in metadata]
    return [name for name in found if _is_image_name(name)], metadata, shards


def _described(folder: Path, files: Iterable[Path]) -> dict[tuple[str, str], list[_Candidate]]:
    """What the metadata files in a folder say of its images, by their keys. They name files in this folder alone."""
    home = Path(os.path.abspath(folder))  # noqa: PTH100  # links in it count as in it, as in Hugging Face's cache
    rows: dict[tuple[str, str], list[_Candidate]] = {}
    for file in files:
        try:
            first = next(iter(read_list(file)), None)
        except UserError:
            if _names_files(file):
                raise
            continue  # it is of something else than images
        if first is None or not any(str(name).lower() == "file_name" for name in first.fields):
            continue
        for each in _in_list(file, [file.parent], []):
            if not Path(os.path.abspath(each.path)).is_relative_to(home):  # noqa: PTH100
                raise UserError(
                    f"{file}: names {each.id}, which lies outside the folder; give the file itself as a list"
                )
            rows.setdefault(each.key, []).append(each)
    return rows


def _names_files(file: Path) -> bool:
    """Whether a file that cannot be read begins as a list of a folder's images does."""
    with file.open("rb") as opened:
        return (
            re.search(rb"(?<!\w)file_name(?!\w)", opened.read(HEAD_BYTES).partition(b"\n")[0], re.IGNORECASE)
            is not None
        )


def _is_image_name(name: str) -> bool:
    return not name.startswith(".") and name.lower().endswith(SUFFIXES)


def _by_glob(pattern: str, notes: list[str]) -> Iterator[_Candidate]:
    fixed = Path(pattern)
    while glob.has_magic(str(fixed)):
        fixed = fixed.parent
    matches = sorted(Path(match) for match in glob.iglob(pattern, recursive=True))  # noqa: PTH207  # pathlib's refuses absolute patterns
    images = [match for match in matches if _is_image_name(match.name) and match.is_file()]
    lists = [match for match in matches if match.name.lower().endswith(LIST_SUFFIXES) and match.is_file()]
    if lists and not images:
        yield from _in_lists(lists, notes)
        return
    if not images:
        count = f"{len(matches)} files or folders" if len(matches) > 1 else "one file or folder"
        what = f"{count}, but no image ({' '.join(SUFFIXES)})" if matches else "nothing"
        raise UserError(
            f": {pattern} matches {what}; check the pattern (it is taken from {Path.cwd()})", field="images"
        )
    for match in images:
        yield _file(_readable(Path(os.path.relpath(match, fixed))), match)


def _readable(path: Path) -> str:
    """The path with slashes; bytes of its name that are no UTF-8 are replaced, since an id is written to JSON."""
    return os.fsencode(path.as_posix()).decode("utf-8", "replace")


# --- lists ----------------------------------------------------------------------------------------------------------


def _in_lists(paths: Iterable[Path], notes: list[str]) -> Iterator[_Candidate]:
    for path in paths:
        yield from _in_list(path, folders_of(path), notes)


def _in_list(path: Path, folders: Sequence[Path], notes: list[str]) -> Iterator[_Candidate]:
    pictures, missing = Pictures(path, folders), Missing(path)
    has_images, alone = False, list[str]()
    for entry in read_list(path):
        if is_text_alone(entry):
            alone.append(entry.where)
            continue
        picture = pictures.of(entry)
        if picture.missing:
            missing.add(entry, picture)
        else:
            yield _of_row(entry.where, picture)
        has_images = True
    missing.check()
    if alone:
        rows = "1 row that is a conversation" if len(alone) == 1 else f"{len(alone)} rows that are conversations"
        notes.append(f"{alone[0]}: {rows} without a picture, this one the first, passed over")
    if not has_images:
        raise UserError(f"{path}: the manifest names no image; give one row an image, with the path in 'image'")


def _of_row(where: str, picture: Picture) -> _Candidate:
    id_, fixed_in = (picture.row_id, where) if picture.row_id else (picture.name, "")
    row = {"id": id_, **picture.metadata} if fixed_in or picture.part is not None else picture.metadata
    return _Candidate(id_, picture.path, picture.key, picture.metadata, fixed_in, picture.part, row)


# --- ids ------------------------------------------------------------------------------------------------------------


def _with_ids(
    candidates: Iterable[_Candidate],
    distinct: Mapping[tuple[str, str], _Candidate],
    further: Mapping[tuple[str, str], Sequence[Mapping[str, object]]],
) -> list[ImageSource]:
    rows: dict[str, _Candidate] = {}
    for each in candidates:
        if not each.fixed_in:
            continue
        before = rows.setdefault(each.id, each)
        if before.key != each.key:
            shown = shorten(repr(each.id), MOST_ECHOED)
            raise UserError(f"{each.fixed_in}: id {shown} was given before, in {before.fixed_in}; make ids unique")
    taken = set(rows)
    sources = []
    for key, each in distinct.items():
        name = each.id
        if not each.fixed_in:
            name = next(free for free in _names(each) if free not in taken)
            taken.add(name)
        metadata = {**each.metadata, FURTHER: further[key]} if key in further else each.metadata
        sources.append(ImageSource(name, each.path, metadata, part=each.part))
    return sources


def _names(candidate: _Candidate) -> Iterator[str]:
    """Ids to try, in this order: as it is, behind its folder's name, with a number."""
    yield candidate.id
    above = candidate.path.resolve().parents
    depth = candidate.id.count("/")
    if candidate.part is None and depth < len(above) and above[depth].name:
        yield f"{_readable(Path(above[depth].name))}/{candidate.id}"
    number = 2
    while True:
        yield f"{candidate.id}#{number}"
        number += 1
