"""Which images are the same picture: the unit of every interval is the picture, not the file.

Two files with the same pixels hold no more evidence than one: a model most likely writes and answers the same twice. Their
questions therefore go together wherever images are drawn or their spread is taken. Pictures that are nearly the same are told,
and stay units of their own.
"""

from __future__ import annotations

from array import array
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from unsaf_async.records import ImageRecord

NEAR_BITS = 7
"""Bits of 256 in which the difference hashes of nearly equal pictures differ at most; of others, about half do."""

_HASH_BYTES = 32
"""Of a difference hash, seen as eight bands of 32 bits. `NEAR_BITS` bits spoil one band each at most, so that one
band at least of near pictures is equal: only those are compared."""

_NEIGHBOURS = 16
"""How many hashes with an equal band each is compared with, so that the cost is bounded."""


def picture_name(image: ImageRecord) -> str:
    """What images of the same picture share, in full.

    Args:
        image: The image.

    Returns:
        The digest of its pixels; of its file's bytes where it could not be decoded; its id where nothing else is known.
    """
    return image.pixels_sha256 or image.bytes_sha256 or f"id {image.id}"


def picture_key(image: ImageRecord) -> int:
    """A number of 64 bits that images of the same picture share.

    Args:
        image: The image.

    Returns:
        Of its pixels; of its file's bytes where it could not be decoded; of its id where nothing else is known.
    """
    return int.from_bytes(blake2b(picture_name(image).encode("utf-8", "replace"), digest_size=8).digest())


class Units:
    """The images of a tally, in the order in which they are added, each with the number of its picture."""

    def __init__(self) -> None:
        self._keys = array("Q")

    @classmethod
    def of(cls, images: Iterable[ImageRecord]) -> Units:
        """The units of some images.

        Args:
            images: In any order.

        Returns:
            The units.
        """
        units = cls()
        for image in images:
            units.add(image)
        return units

    def add(self, image: ImageRecord) -> None:
        """Count one image.

        Args:
            image: The next one.
        """
        self._keys.append(picture_key(image))

    def __len__(self) -> int:
        """How many images there are."""
        return len(self._keys)

    @property
    def count(self) -> int:
        """How many different pictures there are."""
        return len(np.unique(np.array(self._keys, dtype=np.uint64)))

    @property
    def numbers(self) -> NDArray[np.int64]:
        """Shape [images]: the number of each image's picture, from 0, in the order in which pictures first occur."""
        _, first, which = np.unique(np.array(self._keys, dtype=np.uint64), return_index=True, return_inverse=True)
        return np.asarray(np.argsort(np.argsort(first))[which.reshape(-1)], dtype=np.int64)

    def sums(self, rows: NDArray[Any]) -> NDArray[Any]:
        """What the pictures add up to.

        Args:
            rows: Shape [images, ...]; its values add up over images.

        Returns:
            Shape [pictures, ...]; `rows` itself where no two images are one picture.
        """
        if self.count == len(self):
            return rows
        numbers = self.numbers
        sums = np.zeros((self.count, *rows.shape[1:]), dtype=rows.dtype)
        np.add.at(sums, numbers, rows)
        return sums


class Lookalikes:
    """Images whose pictures are nearly, and not quite, the same."""

    def __init__(self) -> None:
        self._ids: list[str] = []
        self._keys = array("Q")
        self._hashes = bytearray()

    def add(self, image: ImageRecord) -> None:
        """Count one image; one without a difference hash is like no other.

        Args:
            image: The image.
        """
        if image.difference_hash:
            self._ids.append(image.id)
            self._keys.append(picture_key(image))
            self._hashes += bytes.fromhex(image.difference_hash)

    def pairs(self) -> list[tuple[str, str]]:
        """The ids of images that are nearly the same picture.

        Hashes with an equal band are compared with their neighbours in the order of hashes, so that 10,000 images take a
        tenth of a second. Bands without any detail, as of a clear sky, say nothing and bring nobody together.

        Returns:
            Pairs in the order of the images, the earlier id first; [] without any.
        """
        hashes = np.frombuffer(bytes(self._hashes), dtype=np.uint8).reshape(-1, _HASH_BYTES)
        keys = np.array(self._keys, dtype=np.uint64)
        found: set[tuple[int, int]] = set()
        for band in hashes.copy().view(">u4").T:
            plain = (band == 0) | (band == np.iinfo(band.dtype).max)
            rows = np.flatnonzero(~plain)
            rows = rows[np.lexsort((*hashes[rows].T[::-1], band[rows]))]
            for step in range(1, min(_NEIGHBOURS, len(rows) - 1) + 1):
                one, other = rows[:-step], rows[step:]
                alike = (band[one] == band[other]) & (keys[one] != keys[other])
                one, other = one[alike], other[alike]
                bits = np.unpackbits(hashes[one] ^ hashes[other], axis=1).sum(axis=1)
                near = bits <= NEAR_BITS
                found.update(zip(*(np.sort([one[near], other[near]], axis=0).tolist()), strict=True))
        return [(self._ids[one], self._ids[other]) for one, other in sorted(found)]
