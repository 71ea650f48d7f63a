"""How wide a text is, before a browser shows it: plots leave room for their labels by it."""

from __future__ import annotations

import functools
from unicodedata import east_asian_width

from PIL import ImageFont

_WIDER = 1.16
"""So much wider are the usual sans-serif fonts at most than Aileron, which Pillow brings."""


@functools.cache
def _font(size_px: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size_px)


def text_width(text: str, size_px: float) -> float:
    """How wide a text is at most.

    Args:
        text: One line.
        size_px: Of its font.

    Returns:
        Pixels in a sans-serif font; Chinese characters and the like are squares.
    """
    narrow = "".join(each for each in text if east_asian_width(each) not in "WF")
    return _WIDER * float(_font(size_px).getlength(narrow)) + size_px * (len(text) - len(narrow))
