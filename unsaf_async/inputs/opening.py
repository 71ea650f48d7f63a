"""From a file to an image behind a header that is within all limits. Nothing is decoded.

A file is untrusted: what it claims is checked before anything is decoded, only decoders of photo formats are tried
(Pillow's EPS reader, for one, starts a program), and whatever goes wrong becomes an `ImageError` of one line.

Pillow reports oddities in metadata through `warnings`. Nothing here filters them, since the filters are global
and not safe to change from a thread. For the same reason Pillow's other global settings are left alone: the one for files
that are cut off, and the one for large files. Only libtiff is kept from writing to stderr: what it says there names no file.
"""

from __future__ import annotations

import ctypes
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from typing import TYPE_CHECKING, BinaryIO

from PIL import Image, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TiffImageFile

from unsaf_async.inputs.faults import HEAD_BYTES, HEIF, reason
from unsaf_async.inputs.jpeg import coefficient_bytes
from unsaf_async.inputs.parts import FilePart, PartError
from unsaf_async.inputs.png import without_texts
from unsaf_async.inputs.policy import (
    MAX_COEFFICIENT_BYTES,
    MAX_FILE_BYTES,
    MAX_JPEG_PIXELS,
    MAX_PIXELS,
    ImageError,
    ImagePolicy,
    fitted,
)
from unsaf_async.inputs.webp import claimed_bytes
from unsaf_async.text import install_extra, one_line

if TYPE_CHECKING:
    from pathlib import Path

    from PIL.ImageFile import ImageFile

_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM", "ICO")
JPEG = b"\xff\xd8\xff"
_ORIENTATION = 0x0112  # EXIF 2.3, table 4
_XMP = ("xmp", "XML:com.adobe.xmp")
_NEW_SUBFILE_TYPE, _SUB_IFDS, _DNG_VERSION = 254, 330, 50706


def sent_size(path: Path | FilePart, policy: ImagePolicy) -> tuple[int, int]:
    """The size at which an image would be sent, from its file's header alone. Blocks.

    What `encode` refuses for its header is refused here, too. The pixels behind a good header may still be broken.

    Args:
        path: The image's file, or the part of one.
        policy: What the image may be when it is sent.

    Returns:
        (width, height) in pixels, upright, each >= 1.

    Raises:
        ImageError: Not even the header can be read, or it claims what is refused.
    """
    with _file(path) as file:
        try:
            opened = open_image(file, policy)
            turned = orientation_of(opened.image) in (5, 6, 7, 8)
        except ImageError:
            raise
        except Exception as error:  # as in `encode`
            try:
                file.seek(0)
                head = file.read(HEAD_BYTES)
            except OSError as unread:  # of an object: the store does not answer
                why = one_line(str(unread), 200) or type(unread).__name__
                raise ImageError(f"the file cannot be read: {why}") from error
            raise ImageError(reason(head, error)) from error
    width, height = opened.size
    # A TIFF's size is that of the picture when it is upright.
    return (height, width) if turned and opened.image.format != "TIFF" else (width, height)


def _file(path: Path | FilePart) -> BinaryIO:
    """The file, opened, if it is one that is not too large; of a part of one, its bytes."""
    try:
        if isinstance(path, FilePart):
            return path.open(MAX_FILE_BYTES)
        if not path.is_file():  # opening a FIFO would wait for its writer
            kind = "a folder" if path.is_dir() else "no regular file" if path.exists() else "missing"
            raise ImageError(f"the file is {kind}")
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise ImageError(f"the file is larger than {MAX_FILE_BYTES >> 20} MiB; shrink it first")
        if size == 0:
            raise ImageError("the file is empty")
        return path.open("rb")
    except PartError as error:
        raise ImageError(str(error)) from error
    except OSError as error:
        raise ImageError(f"the file cannot be read: {error.strerror or type(error).__name__}") from error
    except ValueError as error:
        raise ImageError("the file's name is not valid") from error


def read_bytes(path: Path | FilePart) -> bytes:
    """All of a file, if it is one that is not too large. Blocks.

    Args:
        path: The file, or the part of one.

    Returns:
        Its bytes, at least one.

    Raises:
        ImageError: It is no such file, or it cannot be read.
    """
    try:
        if isinstance(path, FilePart):
            data = path.read(MAX_FILE_BYTES)
        else:
            with _file(path) as file:
                data = file.read(MAX_FILE_BYTES + 1)
    except PartError as error:
        raise ImageError(str(error)) from error
    except OSError as error:
        raise ImageError(f"the file cannot be read: {error.strerror or type(error).__name__}") from error
    if not data:
        raise ImageError("the file is empty")
    if len(data) > MAX_FILE_BYTES:  # it grows
        raise ImageError(f"the file is larger than {MAX_FILE_BYTES >> 20} MiB; shrink it first")
    return data


@dataclass(frozen=True, slots=True)
class Opened:
    """An image behind a header that is within all limits. Nothing is decoded.

    width, height: pixels, as the header says. size: (width, height) as sent, before the image is turned upright.
    """

    image: ImageFile
    width: int
    height: int
    size: tuple[int, int]


def open_image(file: BinaryIO, policy: ImagePolicy) -> Opened:
    """The image in a file, by its header.

    Args:
        file: At its beginning.
        policy: What the image may be when it is sent.

    Returns:
        The image, not decoded.

    Raises:
        ImageError: What the header claims is refused.
        Exception: Whatever else a decoder stumbles over; `faults.reason` says it in words.
    """
    is_jpeg = file.read(3) == JPEG
    file.seek(0)
    if is_jpeg:
        # Not by `Image.open`: its limit is for what is decoded whole.
        image: ImageFile = JpegImageFile(file)
    else:
        image = _not_jpeg(file)
    if isinstance(image, TiffImageFile):
        _silence_libtiff()
        _check_not_raw(image)
    for (
        name
    ) in _XMP:  # before anything asks for the orientation: Pillow would take it from there, browsers and vendors do not
        image.info.pop(name, None)
    width, height = image.size
    if width < 1 or height < 1:
        raise ImageError(f"the image has no pixels ({width} x {height})")
    size = fitted(width, height, policy)
    if is_jpeg:
        image.draft(image.mode, size)  # decode at 1/2, 1/4 or 1/8, still at least as large as `size`
    _check_pixels(width, height, image.width * image.height, MAX_JPEG_PIXELS if is_jpeg else MAX_PIXELS)
    if is_jpeg and width * height > MAX_PIXELS and coefficient_bytes(file) > MAX_COEFFICIENT_BYTES:
        raise ImageError(
            f"the image is a progressive JPEG of {width} x {height} pixels, which takes more than "
            f"{MAX_COEFFICIENT_BYTES >> 20} MiB to decode; shrink it first"
        )
    _check_shape(*size, policy)
    return Opened(image, width, height, size)


def _check_not_raw(image: TiffImageFile) -> None:
    """Raises ImageError for a camera's raw photo: a TIFF that begins with a thumbnail (TIFF/EP; DNG 1.4)."""
    tags = image.tag_v2
    is_reduced = isinstance(kind := tags.get(_NEW_SUBFILE_TYPE, 0), int) and kind & 1
    if _DNG_VERSION in tags or (is_reduced and _SUB_IFDS in tags):
        raise ImageError(
            "the file is a camera's raw photo, of which only a thumbnail can be read here; export it as JPEG"
        )


def _not_jpeg(file: BinaryIO) -> ImageFile:
    lacking = lacking_bytes(file)
    try:
        return Image.open(BytesIO(file.read() + bytes(lacking)) if lacking else file, formats=_FORMATS)
    except ValueError:  # more text than Pillow takes, or a larger profile
        file.seek(0)
        data = file.read()
        with suppress(ValueError):
            return Image.open(BytesIO(without_texts(data)), formats=_FORMATS)
        return Image.open(BytesIO(without_texts(data, keep_profile=False)), formats=_FORMATS)
    except UnidentifiedImageError:
        file.seek(0)
        if not HEIF.match(file.read(12)):
            raise
        try:
            from pillow_heif import HeifImageFile  # by its class: registering it would change Pillow for all
        except ImportError:
            raise ImageError(
                f"the file is a HEIC/HEIF photo; convert it to JPEG or PNG, or, {install_extra('heic')}"
            ) from None
        file.seek(0)
        try:
            image: ImageFile = HeifImageFile(file)
        except SyntaxError as error:
            raise ImageError(f"the HEIC/HEIF photo is damaged: {one_line(str(error), 200)}") from None
        return image
    except OSError as error:
        if lacking:
            raise ImageError("the image is cut off; fetch the file again") from error
        raise


def lacking_bytes(file: BinaryIO) -> int:
    """How many bytes a WebP lacks at its end, which Pillow opens whole files of alone.

    Args:
        file: At its beginning, where it is again afterwards.

    Returns:
        Bytes; 0 for a whole file, and for one of another format.
    """
    claimed = claimed_bytes(file.read(12))
    there = file.seek(0, 2)
    file.seek(0)
    return claimed - there if there < claimed <= MAX_FILE_BYTES else 0


def _check_pixels(width: int, height: int, decoded: int, claimed: int) -> None:
    """Raises ImageError above the limits. decoded: pixels that decoding gives. claimed: pixels that the header may claim."""
    limit = claimed if width * height > claimed else MAX_PIXELS
    if width * height > claimed or decoded > MAX_PIXELS:
        raise ImageError(
            f"the image claims {width} x {height} pixels, the limit is {limit // 1_000_000} megapixels; shrink it first"
        )


def _check_shape(width: int, height: int, policy: ImagePolicy) -> None:
    """Raises ImageError if the model does not take an image of this size, as sent."""
    if policy.min_side_px is not None and min(width, height) < policy.min_side_px:
        raise ImageError(
            f"the image is {width} x {height} px as sent, and the model takes no side under {policy.min_side_px} px"
        )
    if policy.max_aspect is not None and max(width, height) > policy.max_aspect * min(width, height):
        raise ImageError(
            f"the image is {width} x {height} px as sent, and the model takes none that is more than "
            f"{policy.max_aspect:g} times as long as wide"
        )


def orientation_of(image: Image.Image) -> object:
    """The EXIF tag for an image's orientation. Nothing is decoded.

    Args:
        image: As it was opened.

    Returns:
        What the tag holds, from 1 to 8 where it is whole; None if there is none.
    """
    return exif_of(image).get(_ORIENTATION)


def exif_of(image: Image.Image) -> Image.Exif:
    """An image's EXIF tags. Nothing is decoded.

    Args:
        image: As it was opened.

    Returns:
        The tags, none of them from XMP.
    """
    if "exif" in image.info:  # anew: what the image holds by now may have come from XMP
        exif = Image.Exif()
        exif.load(image.info["exif"])
        return exif
    return Image.Image.getexif(image)  # a PNG's own method would decode the picture


@cache
def _silence_libtiff() -> None:
    """Takes off the handler of errors that writes to stderr; what went wrong is raised as well."""
    with suppress(AttributeError, OSError):  # Pillow may have been built without libtiff, or with it inside
        ctypes.CDLL(Image.core.__file__).TIFFSetErrorHandler(None)  # type: ignore[attr-defined]
