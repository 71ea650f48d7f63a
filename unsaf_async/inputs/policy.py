"""What an image may be: the limits of an untrusted file, and those of what is sent. Knows nothing of providers."""

from __future__ import annotations

import math
from dataclasses import dataclass

from unsaf_async.errors import UnsafError

MAX_FILE_BYTES = 64 * 2**20

MAX_PIXELS = 64_000_000
"""What may be decoded: 64 megapixels take about 256 MB."""

MAX_JPEG_PIXELS = 400_000_000
"""What a JPEG's header may claim: it is decoded at a half, a quarter or an eighth of its sides."""

MAX_COEFFICIENT_BYTES = 512 * 2**20
"""What a JPEG above `MAX_PIXELS` may take while it is decoded: one of several scans is held in memory whole."""


@dataclass(frozen=True, slots=True)
class ImagePolicy:
    """What an image may be when it is sent.

    Attributes:
        max_side_px: The longer side's limit, in pixels.
        max_pixels: The limit of width times height; None for no limit.
        max_bytes: The limit of the base64 text, which is what providers measure.
        jpeg_quality: From 1 to 95; lowered in steps, not below 30, where `max_bytes` needs it.
        min_side_px: The shorter side that the model takes at least, in pixels as sent; None: any.
        max_aspect: How many times as long as its shorter side the longer one may be, as sent; None: any.
    """

    max_side_px: int = 1568
    max_pixels: int | None = None
    max_bytes: int = 5_000_000
    jpeg_quality: int = 92
    min_side_px: int | None = None
    max_aspect: float | None = None


class ImageError(UnsafError):
    """Why a file is no usable image, in one line without its path: what is wrong and, where it helps, what to do."""


def fitted(width: int, height: int, policy: ImagePolicy) -> tuple[int, int]:
    """The size of an image after shrinking it to a policy, with its proportions; never larger than before.

    Args:
        width: Pixels, >= 1.
        height: Pixels, >= 1.
        policy: Its limits of sides and pixels.

    Returns:
        (width, height) in pixels, each >= 1.
    """
    scale = min(1.0, policy.max_side_px / max(width, height))
    if policy.max_pixels is not None:
        scale = min(scale, math.sqrt(policy.max_pixels / (width * height)))
    new_width, new_height = (max(1, int(side * scale + 1e-6)) for side in (width, height))
    if policy.max_pixels is not None and new_width * new_height > policy.max_pixels:  # a side was raised to 1
        return min(new_width, policy.max_pixels), min(new_height, policy.max_pixels)
    return new_width, new_height
