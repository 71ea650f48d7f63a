"""The pictures of earlier exports, which keep their split: what was held out of one round of training is held out of the next.

A split goes by a hash of a picture's file, so that it is the same whatever size a model was sent it in. Another seed,
other shares, or a new picture that is near to old ones would change it: `pictures.jsonl` of every export holds on to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, ValidationError

from unsaf_async.distill.data.clusters import Split, clusters
from unsaf_async.errors import UserError
from unsaf_async.records import Record, why_invalid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from unsaf_async.distill.data.build_rows import Item
    from unsaf_async.distill.data.pictures import Picture

FILE = "pictures.jsonl"
"""In every export."""

_Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class EarlierPicture(Record):
    """A picture of an export and where it went: a line of `FILE`."""

    image_id: _Sha256
    """Of its pixels."""
    files: tuple[_Sha256, ...]
    """Of the files that it was read from."""
    phash: Annotated[str, Field(pattern="^[0-9a-f]{16}$")]
    """See `clusters.perceptual_hash`."""
    split: Literal["train", "validation", "test"]


def read_earlier(exports: Sequence[Path]) -> dict[str, EarlierPicture]:
    """The pictures of earlier exports.

    Args:
        exports: Their folders.

    Returns:
        The pictures, by their pixels' sha256.

    Raises:
        UserError: A folder is no export, its list is damaged, or two of them have one picture in two splits.
    """
    found: dict[str, EarlierPicture] = {}
    held: dict[str, tuple[Split, Path]] = {}
    for folder in exports:
        for picture in _read(folder):
            for name in (picture.image_id, *picture.files):
                split, where = held.setdefault(name, (picture.split, folder))
                if split != picture.split:
                    raise UserError(
                        f"{folder}: has a picture for {picture.split} that is for {split} in {where}; give the exports of one "
                        "student's rounds",
                        field="splits_of",
                    )
            files = {*picture.files, *(found[picture.image_id].files if picture.image_id in found else ())}
            found[picture.image_id] = picture.model_copy(update={"files": tuple(sorted(files))})
    return found


def _read(folder: Path) -> Iterator[EarlierPicture]:
    file = folder / FILE
    try:
        text = file.read_text("utf-8")
    except FileNotFoundError:
        raise UserError(
            f"{folder}: has no {FILE}, which every export of training data has; give the folder of one",
            field="splits_of",
        ) from None
    except (OSError, UnicodeDecodeError):
        raise UserError(f"{file}: cannot be read; give the folder of an export", field="splits_of") from None
    for number, line in enumerate(text.splitlines(), 1):
        try:
            yield EarlierPicture.model_validate_json(line)
        except ValidationError as error:
            raise UserError(
                f"{file}:{number}: is no picture ({why_invalid(error)}); restore the file", field="splits_of"
            ) from None


def lines(
    clustered: Clustered, pictures: Mapping[str, Picture], items: Iterable[Item], split_of: Callable[[str], Split]
) -> Iterator[dict[str, Any]]:
    """What a later export has to know of this one's pictures and of those of earlier ones: the lines of `FILE`.

    Args:
        clustered: The pictures' clusters.
        pictures: By pixels' sha256.
        items: Questions about them.
        split_of: The split of a picture, by the same.

    Yields:
        A line a picture, as plain data; pictures that are in no row, too, but torn ones.
    """
    files = _files(pictures, items)
    known = [
        EarlierPicture(
            image_id=pixels, files=tuple(sorted(files[pixels])), phash=f"{picture.phash:016x}", split=split_of(pixels)
        )
        for pixels, picture in pictures.items()
        if pixels not in clustered.torn
    ]
    for picture in sorted([*known, *clustered.listed], key=lambda each: each.image_id):
        yield picture.model_dump(mode="json")


def _files(pictures: Mapping[str, Picture], items: Iterable[Item]) -> dict[str, set[str]]:
    """The sha256 of the files that pictures were read from, by the pictures' pixels'."""
    files: dict[str, set[str]] = {pixels: set() for pixels in pictures}
    for item in items:
        if item.pixels in files and item.image.bytes_sha256:
            files[item.pixels].add(item.image.bytes_sha256)
    return files


@dataclass(frozen=True, slots=True)
class Clustered:
    """Which pictures are near copies of each other, and which have a split already."""

    cluster_of: dict[str, str]
    """The cluster of each picture, by its pixels' sha256; named by the least sha256 of a file in it."""
    splits: dict[str, Split]
    """Of the pictures that are in earlier exports or near to one that is."""
    torn: frozenset[str]
    """New pictures that are near to earlier ones of two splits: no split is right for them."""
    listed: tuple[EarlierPicture, ...] = ()
    """Pictures of earlier exports that are none of these."""


def clustered(
    pictures: Mapping[str, Picture], items: Iterable[Item], earlier: Mapping[str, EarlierPicture]
) -> Clustered:
    """The clusters of pictures, and the splits that earlier exports have given them.

    Args:
        pictures: By pixels' sha256.
        items: Questions about them, which know their files.
        earlier: Pictures of earlier exports, by the same.

    Returns:
        The clusters. A picture that an earlier export has, by its pixels or its file, keeps its split; what is near to such
        pictures of one split alone is in it, too.
    """
    files = {pixels: set(picture.files) for pixels, picture in earlier.items()}
    for pixels, of_picture in _files(pictures, items).items():
        files[pixels] = of_picture | files.get(pixels, set())
    hashes = {pixels: int(picture.phash, 16) for pixels, picture in earlier.items()}
    near = _joined(clusters(hashes | {pixels: picture.phash for pixels, picture in pictures.items()}), files)
    by_file = {file: picture.split for picture in earlier.values() for file in picture.files}
    inside: dict[str, set[Split]] = {}
    for pixels, picture in earlier.items():
        inside.setdefault(near[pixels], set()).add(picture.split)
    splits: dict[str, Split] = {}
    torn = set()
    for pixels in pictures:
        known = [by_file[file] for file in files[pixels] if file in by_file]
        around = inside.get(near[pixels], set())
        if pixels in earlier:
            splits[pixels] = earlier[pixels].split
        elif known:
            splits[pixels] = known[0]
        elif len(around) == 1:
            splits[pixels] = next(iter(around))
        elif around:
            torn.add(pixels)
    return Clustered(
        {pixels: near[pixels] for pixels in pictures},
        splits,
        frozenset(torn),
        tuple(picture for pixels, picture in earlier.items() if pixels not in pictures),
    )


def _joined(near: Mapping[str, str], files: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """The clusters with those joined that share a file, sent to models at two sizes; each named by the least file in it."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while (above := parent.setdefault(name, name)) != name:
            name = above
        return name

    for pixels, cluster in near.items():
        for file in files[pixels]:
            parent[root(f"file {file}")] = root(cluster)
    names: dict[str, str] = {}
    for pixels, cluster in near.items():
        name = min(files[pixels], default=pixels)
        names[root(cluster)] = min(name, names.get(root(cluster), name))
    return {pixels: names[root(cluster)] for pixels, cluster in near.items()}
