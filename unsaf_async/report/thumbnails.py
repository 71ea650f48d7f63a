"""Thumbnails of the measured images, small enough that thousands fit into one page.

A picture is shown only if the file is still, byte for byte, the one that was measured.
"""

from __future__ import annotations

import os
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from unsaf_async.inputs.policy import ImagePolicy
    from unsaf_async.records import ImageRecord

LARGE_PX, SMALL_PX, TINY_PX = 240, 96, 48
"""Longer side of a thumbnail, in a report of few, of many and of very many images."""

FEW, MANY = 100, 3_000
"""Up to so many images the thumbnails are large, and small; the page is one file, and should stay one that a browser opens."""

_QUALITY = 50
"""Of WebP: a photo takes about 0.5 kB at 48 pixels, 1.2 kB at 96 and 5 kB at 240."""


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A small picture as a data URL, or "" and in one line why there is none."""

    url: str
    why: str = ""


def thumbnails(images: Sequence[ImageRecord]) -> list[Thumbnail]:
    """A thumbnail of each image. Blocks, with a thread a core.

    Args:
        images: The records of the images.

    Returns:
        A thumbnail an image, in their order; [] of none. An image that cannot be shown is no error.
    """
    side_px = LARGE_PX if len(images) <= FEW else SMALL_PX if len(images) <= MANY else TINY_PX
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 2), thread_name_prefix="thumbnail") as threads:
        return list(threads.map(lambda image: thumbnail(image, side_px), images))


def thumbnail(image: ImageRecord, side_px: int) -> Thumbnail:
    """An image made small.

    Args:
        image: The record of the image.
        side_px: Most pixels of its longer side.

    Returns:
        The picture, or why there is none.
    """
    if why := _why_not(image):
        return Thumbnail("", why)
    return _quickly(image, side_px) or _carefully(image, side_px)


def whole_picture(image: ImageRecord, policy: ImagePolicy, objects: Container[str] = ()) -> Thumbnail:
    """An image as the model saw it. Blocks.

    Args:
        image: The record of the image.
        policy: How images are encoded for the model.
        objects: The addresses in an object store that may be fetched.

    Returns:
        The picture, or why there is none.
    """
    from unsaf_async.inputs.parts import located
    from unsaf_async.inputs.pixels import encode
    from unsaf_async.inputs.policy import ImageError

    if why := _why_not(image, objects):
        return Thumbnail("", why)
    try:
        encoded, digest = encode(located(Path(image.path), image.part), policy)
    except ImageError as error:
        return Thumbnail("", str(error))
    if digest != image.bytes_sha256:
        return Thumbnail("", "the file has changed since the run")
    return Thumbnail(encoded.data_url)


def _why_not(image: ImageRecord, objects: Container[str] = ()) -> str:
    """Why an image is not shown, before its file is looked at; "" if it may be."""
    if image.bytes_sha256 is None:
        return "the image could not be read during the run"
    part = image.part
    if (
        part is not None and part.kind == "object" and part.url not in objects
    ):  # a folder could make us fetch what it likes
        return "the image lies in an object store, which a report does not ask"
    return ""


def _quickly(image: ImageRecord, side_px: int) -> Thumbnail | None:
    """The thumbnail of a plain photo, decoded no finer than needed and encoded once; None where that will not do."""
    from PIL import Image, ImageOps

    from unsaf_async.inputs.colours import is_srgb
    from unsaf_async.inputs.policy import MAX_FILE_BYTES, MAX_PIXELS

    path = Path(image.path)
    try:
        if image.part is not None or not path.is_file() or path.stat().st_size > MAX_FILE_BYTES:
            return None
        data = path.read_bytes()
        if sha256(data).hexdigest() != image.bytes_sha256:
            return None
        with Image.open(BytesIO(data), formats=("JPEG", "PNG", "WEBP")) as pixels:
            plain = pixels.mode == "RGBA" or (pixels.mode in ("RGB", "L") and not pixels.has_transparency_data)
            profile = pixels.info.get("icc_profile")
            plain = plain and (not profile or is_srgb(profile))
            if not plain or max(pixels.size) <= side_px or pixels.width * pixels.height > MAX_PIXELS:
                return None
            pixels.thumbnail((side_px, side_px), Image.Resampling.BILINEAR, reducing_gap=2.0)
            upright = ImageOps.exif_transpose(pixels)
            if upright.mode == "RGBA":
                upright = Image.alpha_composite(Image.new("RGBA", upright.size, "white"), upright).convert("RGB")
        buffer = BytesIO()
        # A new image, because the old one still carries the file's metadata.
        Image.frombytes(upright.mode, upright.size, upright.tobytes()).save(buffer, "WEBP", quality=_QUALITY, method=2)
    except Exception:  # whatever a decoder stumbles over: the careful way has a word for it
        return None
    return Thumbnail(_data_url(buffer.getvalue(), "image/webp"))


def _carefully(image: ImageRecord, side_px: int) -> Thumbnail:
    """The thumbnail of any image that can be measured, made as the image was for the model; or why there is none."""
    from PIL import Image

    from unsaf_async.inputs.parts import located
    from unsaf_async.inputs.pixels import encode
    from unsaf_async.inputs.policy import ImageError, ImagePolicy
    from unsaf_async.text import error_line

    try:
        small, digest = encode(located(Path(image.path), image.part), ImagePolicy(max_side_px=side_px))
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
        return Thumbnail("", f"no thumbnail could be made: {error_line(error, 200)}")
    return Thumbnail(_data_url(data, media_type))


def _data_url(data: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{b64encode(data).decode('ascii')}"
