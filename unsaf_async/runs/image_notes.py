"""What is odd about a run's pictures, counted and named: each oddity in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unsaf_async.text import format_count

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unsaf_async.records import ImageNote, ImageRecord

MOST_NAMED = 5
"""How many images a line names."""

_IN_WORDS: dict[ImageNote, str] = {
    "cut-off": "whose file lacks its last bytes",
    "colour-profile": "whose colour profile cannot be used, taken as sRGB",
    "one-colour": "all of one colour",
    "shrunk": "made more than 8 times smaller",
    "narrow": "with a side under 28 px as sent",
    "long": "more than 200 times as long as wide as sent",
}


class ImageNotes:
    """The notes on a run's images, added up image by image."""

    def __init__(self) -> None:
        self._counts = dict.fromkeys(_IN_WORDS, 0)
        self._named: dict[ImageNote, list[str]] = {note: [] for note in _IN_WORDS}

    def add(self, image: ImageRecord) -> None:
        """Count one image.

        Args:
            image: Its record; each image once.
        """
        for note in image.notes:
            self._counts[note] += 1
            if len(self._named[note]) < MOST_NAMED:
                self._named[note].append(image.id)

    def in_words(self) -> Iterator[str]:
        """A line for each oddity that there is.

        Returns:
            Such as "2 images all of one colour: a.png, b.png"; nothing for a run of sound pictures.
        """
        for note, count in self._counts.items():
            if count:
                more = f" and {count - MOST_NAMED} more" if count > MOST_NAMED else ""
                yield f"{format_count(count, 'image')} {_IN_WORDS[note]}: {', '.join(self._named[note])}{more}"
