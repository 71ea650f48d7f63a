"""Thumbnails of the measured images, small enough that thousands fit into one page.

A picture is shown only if the file is still, byte for byte, the one that was measured.
"""

from __future__ import annotations

import os
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unsaf_async.records import ImageRecord

LARGE_PX, SMALL_PX = 240, 96
"""Longer side of a thumbnail, in a report of few and of many images."""

FEW = 100
"""Up to so many images the thumbnails are large."""

_QUALITY = 50
"""Of WebP: a photo takes about 1.2 kB at 96 pixels and 5 kB at 240."""


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A small picture as a data URL, or "" and in one line why there is none."""

    url: str
    why: str = ""


def thumbnails(images: Sequence[ImageRecord]) -> list[Thumbnail]:
    """One thumbnail an image, in order; [] of none. Blocks, with a thread a core. A file that cannot be shown is no error."""
    side_px = LARGE_PX if len(images) <= FEW else SMALL_PX
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 2), thread_name_prefix="thumbnail") as threads:
        return list(threads.map(lambda image: thumbnail(image, side_px), images))


def thumbnail(image: ImageRecord, side_px: int) -> Thumbnail:
    """`image` with its longer side at `side_px` pixels at most."""
    from PIL import Image

    from unsaf_async.images import ImageError, ImagePolicy, encode

    if image.bytes_sha256 is None:
        return Thumbnail("", "the image could not be read during the run")
    try:
        small, digest = encode(Path(image.path), ImagePolicy(max_side_px=side_px))
        if digest != image.bytes_sha256:
            return Thumbnail("", "the file has changed since the run")
        data, media_type = small.data, small.media_type
        buffer = BytesIO()
        with Image.open(BytesIO(data)) as pixels:
            pixels.save(buffer, "WEBP", quality=_QUALITY, method=2)
        if buffer.tell() < len(data):
            data, media_type = buffer.getvalue(), "image/webp"
    except ImageError as error:
        return Thumbnail("", str(error))
    except (OSError, ValueError) as error:  # this Pillow writes no WebP, or the name is none that a file can have
        return Thumbnail("", f"no thumbnail could be made ({type(error).__name__})")
    return Thumbnail(f"data:{media_type};base64,{b64encode(data).decode('ascii')}")
