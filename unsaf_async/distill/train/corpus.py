"""An export as the trainer takes it: rows in memory, every different image once in a file, decoded for its batch."""

from __future__ import annotations

from collections import OrderedDict
from contextlib import nullcontext
from dataclasses import dataclass, field
from hashlib import sha256
from io import BytesIO
from mmap import ACCESS_READ, mmap
from typing import TYPE_CHECKING, Any

from PIL import Image, UnidentifiedImageError

from unsaf_async.errors import UserError, setting
from unsaf_async.runs.folder import RunFiles

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import BinaryIO

Turns = list[dict[str, str]]

SFT_TEXTS = ("prompt", "completion")
DPO_TEXTS = ("prompt", "chosen", "rejected")

PICTURES = "pictures.bin"
"""The file of images, in a student's folder while it is trained."""

_KEPT_BYTES = 256 * 1024 * 1024
"""Of decoded pixels, so that the images of a small set are decoded once and not once a row and epoch."""
_AT_A_TIME = 64
"""Rows that are in memory, with their images, while a file is read."""

_AGAIN = f"export again with {setting('form', 'trl')}"


@dataclass(frozen=True, slots=True)
class CorpusRow:
    """A row of the export, as it is read back."""

    id: str
    image_id: str
    kind: str
    images: tuple[int, ...]
    """Numbers of `Pictures`."""
    texts: Mapping[str, Turns]
    """Turns by column."""
    where: str
    """File and row, from 1, for messages."""


@dataclass
class Pictures:
    """The different images of an export, encoded as they came, in one file; in memory only where each lies."""

    file: Path
    places: list[tuple[int, int]] = field(default_factory=list)
    """(offset, length) by number."""
    _numbers: dict[bytes, int] = field(default_factory=dict)
    _mapped: mmap | None = None

    def add(self, data: bytes, to: BinaryIO | None) -> int:
        """Adds an image, if it is new.

        Args:
            data: The encoded image.
            to: The opened file; None: another process writes it.

        Returns:
            The image's number, from 0.
        """
        digest = sha256(data).digest()
        if digest not in self._numbers:
            self._numbers[digest] = len(self.places)
            offset = sum(self.places[-1]) if self.places else 0
            self.places.append((offset, len(data)))
            if to is not None:
                to.write(data)
        return self._numbers[digest]

    def data(self, number: int) -> bytes:
        """The encoded image.

        Args:
            number: Its number.

        Returns:
            The bytes as they came.
        """
        if self._mapped is None:
            with self.file.open("rb") as stream:
                self._mapped = mmap(stream.fileno(), 0, access=ACCESS_READ)
        offset, length = self.places[number]
        return self._mapped[offset : offset + length]

    def size(self, number: int) -> tuple[int, int]:
        """Width and height, from the image's header.

        Args:
            number: Its number.

        Returns:
            Pixels, (width, height).

        Raises:
            UserError: It is no image.
        """
        try:
            with Image.open(BytesIO(self.data(number))) as image:
                return image.size
        except (UnidentifiedImageError, OSError, ValueError) as error:
            raise UserError(f": an image cannot be opened ({error}); export again", field="data") from None

    def close(self) -> None:
        """Let go of the file, and delete it."""
        if self._mapped is not None:
            self._mapped.close()
            self._mapped = None
        self.file.unlink(missing_ok=True)

    def __getstate__(self) -> dict[str, Any]:
        """For other processes, and for the hash by which `datasets` knows a transformation."""
        return {"file": self.file, "places": self.places, "_numbers": {}, "_mapped": None}


class Decoding:
    """Rows of numbers and texts as rows of images and texts, for `Dataset.with_transform`; keeps 256 MB decoded."""

    def __init__(self, pictures: Pictures) -> None:
        self.pictures = pictures
        self._kept: OrderedDict[int, Image.Image] = OrderedDict()
        self._bytes = 0

    def __call__(self, rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
        """The batch `rows` with its images decoded, as RGB."""
        if "images" not in rows:
            return rows
        return {**rows, "images": [[self._decoded(number) for number in each] for each in rows["images"]]}

    def _decoded(self, number: int) -> Image.Image:
        if number in self._kept:
            self._kept.move_to_end(number)
            return self._kept[number]
        with Image.open(BytesIO(self.pictures.data(number))) as opened:
            image = opened.convert("RGB")
        self._kept[number] = image
        self._bytes += _bytes(image)
        while self._bytes > _KEPT_BYTES and len(self._kept) > 1:
            self._bytes -= _bytes(self._kept.popitem(last=False)[1])
        return image

    def __getstate__(self) -> dict[str, Any]:
        """Without what is kept: another process decodes for itself."""
        return {"pictures": self.pictures, "_kept": OrderedDict(), "_bytes": 0}


def _bytes(image: Image.Image) -> int:
    return 3 * image.width * image.height


@dataclass(frozen=True)
class Corpus:
    """An export as it is trained on."""

    train: list[CorpusRow]
    """Rows to imitate."""
    validation: list[CorpusRow]
    """Rows to imitate."""
    preferred: dict[str, list[CorpusRow]]
    """Pairs by split, where there are any and they are asked for."""
    pictures: Pictures

    @property
    def splits(self) -> dict[str, list[CorpusRow]]:
        """All rows that are trained or evaluated on, pairs included, by split."""
        return {
            "train": self.train + self.preferred.get("train", []),
            "validation": self.validation + self.preferred.get("validation", []),
        }


def read(folder: Path, pictures: Path, *, preferences: bool = False, writes: bool = True) -> Corpus:
    """The export in a folder.

    Args:
        folder: What `unsaf-async export --format trl` wrote.
        pictures: The file for its images.
        preferences: Whether preference pairs are read, too.
        writes: Whether this process writes the file of images; False: another one does.

    Returns:
        Rows, pairs and images; training rows are never missing.

    Raises:
        UserError: The folder is no export in the form `trl`, has no training rows, or rows that are not as they should
            be.
    """
    check_folder(folder, preferences=preferences)
    files = {split: _files(folder / "data", split) for split in ("train", "validation")}
    pairs = {split: _files(folder / "preferences", split) for split in ("train", "validation")} if preferences else {}
    store = Pictures(pictures)
    try:
        with pictures.open("wb") if writes else nullcontext() as stream:
            rows = {split: _all_rows(of_split, SFT_TEXTS, store, stream) for split, of_split in files.items()}
            preferred = {split: _all_rows(of_split, DPO_TEXTS, store, stream) for split, of_split in pairs.items()}
        if not rows["train"]:
            raise UserError(f"{folder}: the training split is empty; export more", field="data")
    except UserError:
        if writes:
            store.close()
        raise
    return Corpus(rows["train"], rows["validation"], preferred, store)


def check_folder(folder: Path, *, preferences: bool = False) -> None:
    """Checks, by the names of its files alone, that a folder is an export that can be trained on.

    Args:
        folder: What `unsaf-async export --format trl` wrote.
        preferences: Whether preference pairs are wanted, too.

    Raises:
        UserError: It is none, or has no training rows or pairs.
    """
    if not _files(folder / "data", "train"):
        raise UserError(f"{folder}: {_what_instead(folder)}", field="data")
    if preferences and not _files(folder / "preferences", "train"):
        raise UserError(
            f": there is no preferences/train-*.parquet in {folder}; make the pairs first, or leave {setting('dpo')} out",
            field="dpo",
        )


def row_files(folder: Path, *, preferences: bool = False) -> list[Path]:
    """The files of an export that are trained or evaluated on.

    Args:
        folder: What `unsaf-async export --format trl` wrote.
        preferences: Whether those of preference pairs are, too.

    Returns:
        Those of rows, then those of pairs; of each the training split first.
    """
    kinds = ("data", "preferences") if preferences else ("data",)
    return [file for kind in kinds for split in ("train", "validation") for file in _files(folder / kind, split)]


def _all_rows(
    files: Sequence[Path], columns: Sequence[str], pictures: Pictures, to: BinaryIO | None
) -> list[CorpusRow]:
    return [row for file in files for row in _rows(file, columns, pictures, to)]


def _files(folder: Path, split: str) -> list[Path]:
    return sorted(folder.glob(f"{split}-*.parquet"))


def _what_instead(folder: Path) -> str:
    if not folder.is_dir():
        return "there is no such folder; give what `unsaf-async export --format trl` wrote"
    if (folder / "dataset_info.json").is_file():
        return f"is in the form sharegpt, and training takes trl; {_AGAIN}"
    if (folder / "train.jsonl").is_file():
        return f"is in the form openai, and training takes trl; {_AGAIN}"
    if RunFiles(folder).journal.is_file():
        return f"is a run's folder; export it first, with {setting('form', 'trl')}"
    if (folder / "items.jsonl").is_file():
        return f"has no training rows; {_AGAIN} and a larger share of train in {setting('splits')}"
    return "has no data/train-*.parquet; give what `unsaf-async export --format trl` wrote"


def _rows(file: Path, columns: Sequence[str], pictures: Pictures, to: BinaryIO | None) -> Iterator[CorpusRow]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    where = str(file)
    try:
        parquet = pq.ParquetFile(file)
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{where}: is no Parquet file ({error}); export again", field="data") from None
    with parquet:
        wanted = ["id", "image_id", "kind", "images", *columns]
        missing = [name for name in wanted if name not in parquet.schema_arrow.names]
        if missing:
            raise UserError(f"{where}: has no column {missing[0]}; {_AGAIN}", field="data")
        number = 0
        for group in parquet.iter_batches(_AT_A_TIME, columns=wanted):
            for record in group.to_pylist():
                number += 1
                yield _row(record, columns, f"{where} row {number}", pictures, to)


def _row(
    record: dict[str, Any], columns: Sequence[str], where: str, pictures: Pictures, to: BinaryIO | None
) -> CorpusRow:
    for name in columns:
        turns = record[name]
        if not isinstance(turns, list) or not all(
            isinstance(turn, dict) and isinstance(turn.get("role"), str) and isinstance(turn.get("content"), str)
            for turn in turns
        ):
            raise UserError(f"{where}: {name} is no list of turns with a role and a text; {_AGAIN}", field="data")
    images = record["images"] or []
    if any(not isinstance(image, dict) or not image.get("bytes") for image in images):
        raise UserError(f"{where}: an image has no bytes; {_AGAIN}", field="data")
    return CorpusRow(
        id=str(record["id"]),
        image_id=str(record["image_id"]),
        kind=str(record["kind"]),
        images=tuple(pictures.add(image["bytes"], to) for image in images),
        texts={name: [{"role": turn["role"], "content": turn["content"]} for turn in record[name]] for name in columns},
        where=where,
    )
