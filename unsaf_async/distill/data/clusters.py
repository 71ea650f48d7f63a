"""Which images are the same picture, which split each goes to, and which are too near to an evaluation's images.

Splits go by cluster, never by row: a student must not be tested on a picture, or a near copy of one, that it was
trained on.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from unsaf_async.errors import UserError, renaming
from unsaf_async.inputs.pixels import encode
from unsaf_async.inputs.policy import ImageError, ImagePolicy
from unsaf_async.inputs.sources import find_images
from unsaf_async.text import install_extra

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)

NEAR = 6
"""Of 64 bits: perceptual hashes that differ in so many or fewer are of one picture. Copies that are encoded anew or resized
are within it; two different photos are by chance once in 2e11 pairs (64 fair bits). Of 1,500 drawn scenes, which look much alike,
17 pairs are."""

_BLOCK = 256
"""Rows of the distance matrix at a time: 10,000 images take 20 MB and about a second."""


def perceptual_hash(data: bytes) -> int:
    """64 bits of an image: imagehash.phash, the signs of the lowest frequencies about their median.

    Source: Zauner, "Implementation and benchmarking of perceptual image hash functions" (2010).

    Args:
        data: The encoded image.

    Returns:
        An integer in [0, 2**64).

    Raises:
        UserError: imagehash is not installed.
    """
    try:
        import imagehash
    except ModuleNotFoundError:
        raise UserError(
            f"imagehash is not installed, and near copies of images are found by it; {install_extra('distill')}"
        ) from None
    from PIL import Image

    with Image.open(BytesIO(data)) as image:
        bits = imagehash.phash(image.convert("RGB"), hash_size=8).hash
    return int.from_bytes(np.packbits(bits.ravel()).tobytes(), "big")


def clusters(hashes: Mapping[str, int], distance: int = NEAR) -> dict[str, str]:
    """The cluster of each picture: connected components of pictures that differ in few bits.

    Takes time by the square of the number: 1 s for 10,000, 7 s for 30,000.

    Args:
        hashes: Perceptual hashes by pixels' sha256, so that equal pixels are one picture.
        distance: Bits in which two hashes of one cluster may differ, in [0, 64].

    Returns:
        The cluster of each picture, named by the least sha256 in it, so whatever the order; {} of nothing.
    """
    pictures = sorted(hashes)
    if not pictures:
        return {}
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    distinct, of = np.unique(_words(hashes[each] for each in pictures), return_inverse=True)
    n = len(distinct)
    labels = np.arange(n)
    for first in range(0, n, _BLOCK):
        near = _differing(distinct[first : first + _BLOCK, None], distinct[None, first:]) <= distance
        one, other = (labels[places + first] for places in np.nonzero(near))
        # What is joined already needs no edge: there is never more than one block's worth of edges.
        graph = coo_array((np.ones(len(one), dtype=bool), (one, other)), shape=(n, n))
        labels = connected_components(graph, directed=False)[1][labels]
    names: dict[int, str] = {}
    for picture, place in zip(pictures, of, strict=True):
        names.setdefault(int(labels[place]), picture)
    return {picture: names[int(labels[place])] for picture, place in zip(pictures, of, strict=True)}


def _words(hashes: Iterator[int]) -> NDArray[np.uint64]:
    return np.fromiter(hashes, dtype=np.uint64)


def _differing(one: NDArray[np.uint64], other: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The number of bits in which they differ, elementwise (numpy counts bits itself only from 2.0 on)."""
    word = np.uint64
    x = one ^ other
    x = x - ((x >> word(1)) & word(0x5555555555555555))
    x = (x & word(0x3333333333333333)) + ((x >> word(2)) & word(0x3333333333333333))
    x = (x + (x >> word(4))) & word(0x0F0F0F0F0F0F0F0F)
    return (x * word(0x0101010101010101)) >> word(56)


# --- splits -----------------------------------------------------------------------------------------------------------


def read_splits(text: str) -> tuple[int, int, int]:
    """The percentages that a text such as `90/5/5` spells.

    Args:
        text: Three whole percentages with slashes between.

    Returns:
        (train, validation, test); they make 100.

    Raises:
        UserError: The text is anything else.
    """
    parts = text.split("/")
    if len(parts) != 3 or not all(part.strip().isdecimal() for part in parts) or sum(map(int, parts)) != 100:
        raise UserError(
            f"{text}: are not three whole percentages that make 100; give train/validation/test, such as 90/5/5",
            field="splits",
        )
    train, validation, test = map(int, parts)
    return train, validation, test


def split_of(cluster: str, seed: int, percent: tuple[int, int, int] = (90, 5, 5)) -> Split:
    """The split of a cluster: by a hash of its name and the seed, whatever other clusters there are.

    Args:
        cluster: The cluster's name.
        seed: Another seed is another split.
        percent: Of the clusters: train, validation, test.

    Returns:
        The split.
    """
    point = int.from_bytes(sha256(f"{seed}:{cluster}".encode()).digest()[:8], "big") % 100
    train, validation, _ = percent
    return "train" if point < train else "validation" if point < train + validation else "test"


# --- decontamination --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ExcludedImage:
    """An evaluation's image."""

    name: str
    """Its path within the folder that was given."""
    bytes_sha256: str
    """Of its file."""
    phash: int
    """See `perceptual_hash`."""


def read_excluded(folders: Sequence[Path]) -> tuple[list[ExcludedImage], int]:
    """The images of evaluations.

    Args:
        folders: Where they lie.

    Returns:
        (the images, how many more could not be read).

    Raises:
        UserError: A folder holds no image.
    """
    read: list[ExcludedImage] = []
    unread = 0
    for folder in folders:
        with renaming({"images": "exclude_images"}):
            sources = find_images([folder])
        for source in sources:
            try:
                image, digest = encode(source.place, ImagePolicy())
            except ImageError:
                unread += 1
                continue
            read.append(ExcludedImage(source.id, digest, perceptual_hash(image.data)))
    return read, unread


def hits(
    hashes: Mapping[str, int],
    files: Mapping[str, str],
    excluded: Sequence[ExcludedImage],
    distance: int = NEAR,
) -> dict[str, str]:
    """The pictures that are an excluded image or near to one.

    Args:
        hashes: Perceptual hashes by pixels' sha256.
        files: The sha256 of a picture's file, by the same.
        excluded: The evaluations' images.
        distance: Bits in which hashes of near images may differ, in [0, 64].

    Returns:
        The name of the excluded image, by the picture's pixels' sha256; {} without hits.
    """
    if not excluded or not hashes:
        return {}
    words = _words(each.phash for each in excluded)
    by_file = {each.bytes_sha256: each.name for each in reversed(excluded)}
    names: dict[str, str] = {}
    for picture in sorted(hashes):
        distances = _differing(_words(iter([hashes[picture]])), words)
        nearest = int(distances.argmin())
        if (name := by_file.get(files.get(picture, ""))) is not None:
            names[picture] = name
        elif distances[nearest] <= distance:
            names[picture] = excluded[nearest].name
    return names
