"""From a file to the bytes that are sent: upright, opaque RGB, within a size, encoded once, without metadata.

A file is untrusted: what it claims is checked before anything is decoded, only decoders of photo formats are tried
(Pillow's EPS reader, for one, starts a program), and whatever goes wrong becomes an `ImageError` of one line. Knows
nothing of providers: their limits come as an `ImagePolicy`.

Pillow reports oddities in metadata through `warnings`. This module filters none of them, since the filters are global
and not safe to change from a thread.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

from PIL import Image, ImageCms, UnidentifiedImageError

from unsaf_async.errors import UnsafError
from unsaf_async.records import EncodedImage
from unsaf_async.text import one_line

if TYPE_CHECKING:
    from pathlib import Path

MAX_FILE_BYTES = 64 * 2**20
MAX_PIXELS = 64_000_000
"""What a file's header may claim: 64 megapixels take about 256 MB decoded."""

TINY_PX = 128
"""An image with no side above this is sent as PNG: JPEG's blocks would be a good part of it, and it is small anyway."""

_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM", "ICO")
_HASH_SIDE = 16

_QUALITY_STEPS = (85, 75, 60, 45, 30)


@dataclass(frozen=True, slots=True)
class ImagePolicy:
    """What an image may be when it is sent.

    Attributes:
        max_side_px: The longer side's limit, in pixels.
        max_pixels: The limit of width times height; None for no limit.
        max_bytes: The limit of the base64 text, which is what providers measure.
        jpeg_quality: From 1 to 95; lowered in steps, not below 30, where `max_bytes` needs it.
    """

    max_side_px: int = 1568
    max_pixels: int | None = None
    max_bytes: int = 5_000_000
    jpeg_quality: int = 92


class ImageError(UnsafError):
    """Why a file is no usable image, in one line without its path: what is wrong and, where it helps, what to do."""


class ImageLoader:
    """`encode` off the event loop, in a few threads."""

    def __init__(self, policy: ImagePolicy, workers: int = 2) -> None:
        """A loader whose threads start with their first images.

        Args:
            policy: What the images may be when they are sent.
            workers: Threads, >= 1: so many images are decoded at a time, no more.
        """
        self._policy = policy
        self._threads = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="image")

    async def load(self, path: Path) -> tuple[EncodedImage, str]:
        """An image as it is sent. Cancelling frees the caller at once; the thread ends with its image.

        Args:
            path: The image's file.

        Returns:
            (the image, sha256 of the file's bytes), as `encode` does.

        Raises:
            ImageError: The file is no whole, readable image.
        """
        return await asyncio.get_running_loop().run_in_executor(self._threads, encode, path, self._policy)

    def close(self) -> None:
        """Drop what has not begun; what has runs out on its own. Calling it twice is harmless."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def encode(path: Path, policy: ImagePolicy) -> tuple[EncodedImage, str]:
    """The image in a file as it is sent, and the sha256 of the file's bytes. Blocks.

    EXIF orientation is applied, transparency put on white, 16-bit and float samples scaled to 8 bits, the first frame
    of an animation taken. An image is only ever made smaller. With one version of Pillow the same file and policy give
    the same bytes.

    Args:
        path: The image's file.
        policy: What the image may be when it is sent.

    Returns:
        (the image, sha256 of the file's bytes in hexadecimal).

    Raises:
        ImageError: The file is no whole, readable image, or no JPEG of it is small enough for the policy.
    """
    data = _read(path)
    try:
        pixels = _pixels(data, policy)
    except ImageError:
        raise
    except Exception as error:
        # Decoders raise whatever they stumble over: OSError, ValueError, SyntaxError, struct.error, ZeroDivisionError.
        raise ImageError(_reason(data, error)) from error
    raw = pixels.tobytes()
    # A new image, because Pillow's writers pass on comments and profiles that the old one still carries.
    sent, media_type = _written(Image.frombytes("RGB", pixels.size, raw), policy)
    image = EncodedImage(
        data=sent,
        media_type=media_type,
        width=pixels.width,
        height=pixels.height,
        pixels_sha256=hashlib.sha256(f"{pixels.width}x{pixels.height}".encode() + raw).hexdigest(),
        difference_hash=difference_hash(pixels),
    )
    return image, hashlib.sha256(data).hexdigest()


def difference_hash(pixels: Image.Image) -> str:
    """How brightness rises and falls over a picture: the same for its copies in other sizes and qualities, but for a few bits.

    The picture is shrunk to 17 by 16 cells; a bit says whether a cell is darker than the next one in its row.

    Source: N. Krawetz, "Kind of like that" (2013), https://www.hackerfactor.com/blog/index.php?/archives/529-Kind-of-Like-That.html

    Args:
        pixels: The picture.

    Returns:
        256 bits as 64 hexadecimal digits, row by row; 0 where nothing changes.
    """
    width = _HASH_SIDE + 1
    # Sixteen by sixteen pixels of each cell say enough of its brightness, in a twentieth of the time.
    sample = pixels.resize((16 * width, 16 * _HASH_SIDE), Image.Resampling.NEAREST).convert("L")
    grey = sample.resize((width, _HASH_SIDE), Image.Resampling.BOX).tobytes()
    bits = 0
    for row in range(_HASH_SIDE):
        for place in range(row * width, row * width + _HASH_SIDE):
            bits = bits << 1 | (grey[place] < grey[place + 1])
    return f"{bits:0{_HASH_SIDE**2 // 4}x}"


def sent_size(path: Path, policy: ImagePolicy) -> tuple[int, int]:
    """The size at which an image would be sent, from its file's header alone. Blocks.

    The pixels behind a good header may still be broken.

    Args:
        path: The image's file.
        policy: What the image may be when it is sent.

    Returns:
        (width, height) in pixels, upright, each >= 1.

    Raises:
        ImageError: Not even the header can be read.
    """
    try:
        if not path.is_file():
            raise ImageError("the file is missing or no regular file")
        with Image.open(path) as image:
            width, height = image.size
            if image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8):
                width, height = height, width
    except ImageError:
        raise
    except Exception as error:  # as in `encode`
        raise ImageError(f"the header cannot be read ({type(error).__name__})") from error
    return fitted(width, height, policy)


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


# --- from the file to pixels ----------------------------------------------------------------------------------------


def _read(path: Path) -> bytes:
    try:
        if not path.is_file():  # opening a FIFO would wait for its writer
            kind = "a folder" if path.is_dir() else "no regular file" if path.exists() else "missing"
            raise ImageError(f"the file is {kind}")
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ImageError(f"the file cannot be read: {error.strerror or type(error).__name__}") from error
    except ValueError as error:
        raise ImageError("the file's name is not valid") from error
    if not data:
        raise ImageError("the file is empty")
    if len(data) > MAX_FILE_BYTES:
        raise ImageError(f"the file is larger than {MAX_FILE_BYTES >> 20} MiB; shrink it first")
    return data


def _pixels(data: bytes, policy: ImagePolicy) -> Image.Image:
    """The pixels to send: mode RGB, within the policy's size."""
    with Image.open(BytesIO(data), formats=_FORMATS) as image:
        width, height = image.size
        if width < 1 or height < 1:
            raise ImageError(f"the image has no pixels ({width} x {height})")
        if width * height > MAX_PIXELS:
            limit = MAX_PIXELS // 1_000_000
            raise ImageError(
                f"the image claims {width} x {height} pixels, the limit is {limit} megapixels; shrink it first"
            )
        size = fitted(width, height, policy)
        image.draft(image.mode, size)  # JPEG only: decode at 1/2, 1/4 or 1/8, still at least as large as `size`
        image.load()
        # Only now: reading a PNG's EXIF loads it, and a failure there would go unseen; loading a TIFF turns it upright.
        turn = _turn(image)
        whole = _eight_bit(image)
    small = whole if whole.size == size else whole.resize(size, Image.Resampling.LANCZOS)
    upright = small if turn is None else small.transpose(turn)
    return _opaque(upright)


_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION = 0x0112  # EXIF 2.3, table 4


def _turn(image: Image.Image) -> Image.Transpose | None:
    """What brings the image upright, by its EXIF orientation; None if that is absent or broken."""
    try:
        orientation = image.getexif().get(_ORIENTATION)
        return _TURNS.get(orientation) if isinstance(orientation, int) else None
    except Exception:  # a broken tag is no reason to refuse the picture
        return None


def _eight_bit(image: Image.Image) -> Image.Image:
    """The image in a mode with 8-bit channels that can be resized: L, LA, RGB or RGBA."""
    if image.mode.startswith("I;16"):
        return _scaled(image.convert("I"), 0, 65535)
    if image.mode in ("I", "F"):
        return _scaled(image, *_sample_range(image))
    if image.mode == "LAB":
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        converted = ImageCms.applyTransform(image, ImageCms.buildTransform(lab, srgb, "LAB", "RGB"))
        if converted is None:
            raise ValueError("the LAB colours cannot be converted")
        return converted
    if image.mode == "La":
        image = image.convert("LA")
    if image.has_transparency_data:
        return image if image.mode in ("LA", "RGBA") else image.convert("RGBA")
    return image if image.mode in ("L", "RGB") else image.convert("RGB")


def _sample_range(image: Image.Image) -> tuple[float, float]:
    """What means black and white in samples of 32 bits, which no header says."""
    low, high = (float(bound) for bound in image.getextrema())  # type: ignore[arg-type]
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ImageError("the image holds samples that are no numbers")
    if image.mode == "I" and image.format in ("PNG", "PPM"):
        return 0, 65535
    for white in (1, 255, 65535) if image.mode == "F" else (255, 65535):
        if low >= 0 and high <= white:
            return 0, white
    return low, max(high, low + 1)


def _scaled(image: Image.Image, black: float, white: float) -> Image.Image:
    factor = 255 / (white - black)
    offset = -black * factor + 0.5  # the conversion to L cuts off
    return image.point(lambda sample: sample * factor + offset).convert("L")


def _opaque(image: Image.Image) -> Image.Image:
    if image.mode in ("LA", "RGBA"):
        colours = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", colours.size, "white"), colours).convert("RGB")
    return image.convert("RGB")


# --- from pixels to bytes -------------------------------------------------------------------------------------------


def _written(image: Image.Image, policy: ImagePolicy) -> tuple[bytes, str]:
    """The encoded image and its media type."""
    if max(image.size) <= TINY_PX:
        buffer = BytesIO()
        image.save(buffer, "PNG")
        if _base64_bytes(buffer) <= policy.max_bytes:
            return buffer.getvalue(), "image/png"
    for quality in (policy.jpeg_quality, *(step for step in _QUALITY_STEPS if step < policy.jpeg_quality)):
        buffer = BytesIO()
        image.save(buffer, "JPEG", quality=quality, subsampling=0)  # 4:4:4, so that coloured text stays legible
        if _base64_bytes(buffer) <= policy.max_bytes:
            return buffer.getvalue(), "image/jpeg"
    raise ImageError(
        f"the image takes {_base64_bytes(buffer)} bytes in base64 even as a poor JPEG, "
        f"the limit is {policy.max_bytes}; shrink it first"
    )


def _base64_bytes(buffer: BytesIO) -> int:
    return 4 * math.ceil(buffer.tell() / 3)


# --- what is wrong with a file --------------------------------------------------------------------------------------

_NOT_PHOTOS: tuple[tuple[re.Pattern[bytes], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE | re.DOTALL), kind)
    for pattern, kind in (
        (
            rb"....ftyp(hei[cxms]|hev[cx]|mif1|msf1)",
            "a HEIC/HEIF photo, which cannot be read here; convert it to JPEG or PNG",
        ),
        (rb"....ftyp", "a video; export a frame as JPEG or PNG"),
        (rb"\x1aE\xdf\xa3|RIFF....AVI |\x00\x00\x01[\xb3\xba]", "a video; export a frame as JPEG or PNG"),
        (rb"\xff\x0a|\x00\x00\x00\x0cJXL ", "a JPEG XL image, which cannot be read here; convert it to JPEG or PNG"),
        (rb"%PDF", "a PDF; export its pages as JPEG or PNG"),
        (rb"%!PS|\xc5\xd0\xd3\xc6", "a PostScript file; export it as PNG"),
        (rb"8BPS", "a Photoshop file; export it as JPEG or PNG"),
        (rb"PK\x03\x04|\x1f\x8b|7z\xbc\xaf|Rar!", "an archive; unpack it first"),
        (rb"version https://git-lfs", "a Git LFS pointer, not the image itself; run 'git lfs pull'"),
        (
            rb"(\xef\xbb\xbf)?\s*(<\?xml.{0,1000})?(<!--.{0,500}-->\s*)?(<!doctype svg.{0,500})?<svg",
            "an SVG drawing; export it as PNG",
        ),
        (
            rb"(\xef\xbb\xbf)?\s*(<!doctype html|<html|<head|<body)",
            "an HTML page, perhaps a failed download; fetch the image itself",
        ),
    )
)
_UNDECODABLE = "no image in a format that can be read here (JPEG, PNG, WebP, GIF, AVIF, TIFF, BMP, JPEG 2000, PPM, ICO)"


def _reason(data: bytes, error: Exception) -> str:
    """One line on why `data` could not be decoded."""
    if isinstance(error, UnidentifiedImageError):
        head = data[:4096]
        for pattern, kind in _NOT_PHOTOS:
            if pattern.match(head):
                return f"the file is {kind}"
        if _is_text(head):
            return "the file is text, not an image"
        return f"the file is {_UNDECODABLE}, or its header is damaged"
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return f"the image claims far more than the limit of {MAX_PIXELS // 1_000_000} megapixels; shrink it first"
    if isinstance(error, MemoryError):
        return "the image does not fit into memory"
    message = one_line(str(error), 200)
    if "truncated" in message.casefold():
        return f"the image is cut off: {message}"
    return f"the image is damaged: {message or 'its decoder gave up'} ({type(error).__name__})"


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8", "ignore" if len(head) == 4096 else "strict")
    except UnicodeDecodeError:
        return False
    return all(character.isprintable() or character in "\t\r\n\f\ufeff" for character in text)
