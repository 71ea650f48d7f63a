"""Shares of items, such as questions, of which images hold several, with intervals that take the image as the unit."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

import numpy as np

from unsaf_async.score.intervals import Interval, ratio_interval

if TYPE_CHECKING:
    from numpy.typing import NDArray


class ShareTally:
    """Items by group and part of it, counted image by image."""

    def __init__(self) -> None:
        self._places: dict[tuple[str, str], int] = {}
        self._rows = array("i")
        """[rows, 3]: the number of the image, that of group and part, how many items."""

    def add(self, image: int, group: str, part: str, items: int = 1) -> None:
        """Count items of one image.

        Args:
            image: Its number, from 0.
            group: What the share is of.
            part: Which part of the group these items are.
            items: How many they are, >= 0.
        """
        if items:
            self._rows.extend((image, self._places.setdefault((group, part), len(self._places)), items))

    def interval(self, group: str, part: str, pictures: NDArray[np.int64]) -> Interval:
        """The interval of a part's share of its group.

        Args:
            group: The group.
            part: The part.
            pictures: Shape [images]: the number of each image's picture (`Units.numbers`).

        Returns:
            The interval; its reason where the items come from fewer than 2 pictures.
        """
        image, place, items = np.array(self._rows, dtype=np.int64).reshape(-1, 3).T
        own = np.isin(place, [number for (of, _), number in self._places.items() if of == group])
        within = own & (place == self._places.get((group, part), -1))
        size = int(pictures.max(initial=-1)) + 1
        columns = [np.bincount(pictures[image[rows]], items[rows], minlength=size) for rows in (within, own)]
        return ratio_interval(np.stack(columns, axis=1))
