"""From a file to the bytes that are sent: upright, opaque sRGB, within a size, encoded once, without metadata.

A file is untrusted: what it claims is checked before anything is decoded, only decoders of photo formats are tried
(Pillow's EPS reader, for one, starts a program), and whatever goes wrong becomes an `ImageError` of one line. Knows
nothing of providers: their limits come as an `ImagePolicy`.

Pillow reports oddities in metadata through `warnings`. This module filters none of them, since the filters are global
and not safe to change from a thread. For the same reason it leaves Pillow's other global settings alone: the one for files
that are cut off, and the one for large files. Only libtiff is kept from writing to stderr: what it says there names no file.
"""

from __future__ import annotations

import asyncio
import ctypes
import hashlib
import math
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, partial
from io import BytesIO
from typing import TYPE_CHECKING, BinaryIO

from PIL import ExifTags, Image, ImageCms, ImageMath, ImageStat, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TiffImageFile

from unsaf_async.errors import CallError, UnsafError
from unsaf_async.inputs.colours import ProfileError, from_gamma, is_srgb, to_srgb
from unsaf_async.inputs.jpeg import coefficient_bytes, has_every_scan, without_metadata
from unsaf_async.inputs.known import Known, key_of
from unsaf_async.inputs.parts import FilePart, PartError
from unsaf_async.inputs.png import SIGNATURE, StatedColours, stated_colours, transparent_sample, without_texts
from unsaf_async.inputs.primaries import ADOBE_GAMMA, ADOBE_RGB, coded_profile, rgb_profile
from unsaf_async.inputs.webp import claimed_bytes, missing_share
from unsaf_async.records import EncodedImage
from unsaf_async.text import install_extra, one_line, shorten_at_word

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from PIL.ImageFile import ImageFile

    from unsaf_async.inputs.known import KnownPictures
    from unsaf_async.records import ImageNote

MAX_FILE_BYTES = 64 * 2**20
MAX_PIXELS = 64_000_000
"""What may be decoded: 64 megapixels take about 256 MB."""

MAX_JPEG_PIXELS = 400_000_000
"""What a JPEG's header may claim: it is decoded at a half, a quarter or an eighth of its sides."""

MAX_COEFFICIENT_BYTES = 512 * 2**20
"""What a JPEG above `MAX_PIXELS` may take while it is decoded: one of several scans is held in memory whole."""

MOST_MISSING = 0.05
"""The share of a picture that may be missing at its end, where the file is cut off."""

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


class ImageLoader:
    """`encode` off the event loop, in a few threads. What is known of a picture is not found out again."""

    def __init__(self, policy: ImagePolicy, workers: int = 2, known: KnownPictures | None = None) -> None:
        """A loader whose threads start with their first images.

        Args:
            policy: What the images may be when they are sent.
            workers: Threads, >= 1: so many images are decoded at a time, no more.
            known: What is known of pictures; None: each is decoded.
        """
        self._policy = policy
        self._known = known
        self._threads = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="image")

    async def load(self, path: Path | FilePart) -> tuple[EncodedImage, str]:
        """An image as it is sent. Cancelling frees the caller at once; the thread ends with its image.

        Of one that is known the bytes are made only if `EncodedImage.sendable` is called.

        Args:
            path: The image's file, or the part of one.

        Returns:
            (the image, sha256 of the file's bytes), as `encode` does.

        Raises:
            ImageError: The file is no whole, readable image.
        """
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._load, path)

    def _load(self, path: Path | FilePart) -> tuple[EncodedImage, str]:
        data = _read(path)
        digest = hashlib.sha256(data).hexdigest()
        key = key_of(digest, self._policy) if self._known and not _HEIF.match(data) else None
        if self._known is None or key is None:  # of HEIC, its library's version counts, too
            return _encoded(data, self._policy).image, digest
        if (known := self._known.get(key)) is None:
            known = _encoded(data, self._policy)
            self._known.put(key, known)
            return known.image, digest
        return replace(known.image, make=_Making(self._threads, partial(self._made, path, digest, known))), digest

    def _made(self, path: Path | FilePart, digest: str, known: Known) -> EncodedImage:
        """A known image with its bytes: its file is read again, so that nothing of it is held meanwhile."""
        data = _read(path)
        if hashlib.sha256(data).hexdigest() != digest:
            raise ImageError("the file has changed since it was read")
        if known.unchanged and (sent := _unchanged(data, self._policy)):
            return replace(known.image, data=sent[0])
        made = _encoded(data, self._policy).image
        if (made.pixels_sha256, made.media_type) != (known.image.pixels_sha256, known.image.media_type):
            raise ImageError("its pixels are not those that were kept of it; `unsaf-async cache clear` forgets these")
        return made

    async def blank(self, image: EncodedImage) -> EncodedImage:
        """A picture of one colour in an image's place, as `blank` makes it.

        Args:
            image: As `load` gave it.

        Returns:
            The picture.

        Raises:
            CallError: The image's file cannot be read any more.
        """
        sent = await image.sendable()
        return await asyncio.get_running_loop().run_in_executor(self._threads, blank, sent, self._policy)

    def close(self) -> None:
        """Drop what has not begun; what has runs out on its own. Calling it twice is harmless."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class _Making:
    """Makes an image's bytes in a thread, once for all calls about it."""

    def __init__(self, threads: ThreadPoolExecutor, made: Callable[[], EncodedImage]) -> None:
        self._threads = threads
        self._made = made
        self._making: asyncio.Future[EncodedImage] | None = None

    async def __call__(self) -> EncodedImage:
        """The image. Raises CallError if its file cannot be read as before: that call cannot leave."""
        if self._making is None:
            self._making = asyncio.get_running_loop().run_in_executor(self._threads, self._made)
            self._making.add_done_callback(lambda made: made.cancelled() or made.exception())  # nobody may be waiting
        try:
            return await asyncio.shield(self._making)
        except ImageError as error:
            raise CallError(str(error)) from None


def encode(path: Path | FilePart, policy: ImagePolicy) -> tuple[EncodedImage, str]:
    """The image in a file as it is sent, and the sha256 of the file's bytes. Blocks.

    EXIF orientation is applied, colours are converted to sRGB by the file's profile, transparency put on white, 16-bit and
    float samples scaled to 8 bits, the first frame of an animation taken. An image is only ever made smaller. A JPEG of which
    nothing has to change is sent as it is, without its metadata. Of a file that is cut off, at most a twentieth of the
    picture may be missing. With one version of Pillow the same file and policy give the same bytes.

    Args:
        path: The image's file, or the part of one.
        policy: What the image may be when it is sent.

    Returns:
        (the image, sha256 of the file's bytes in hexadecimal).

    Raises:
        ImageError: The file is no readable image, the model does not take its shape, or no JPEG of it is small enough for
            the policy.
    """
    data = _read(path)
    return _encoded(data, policy).image, hashlib.sha256(data).hexdigest()


def _encoded(data: bytes, policy: ImagePolicy) -> Known:
    try:
        picture = _picture(without_texts(data), policy)
    except ImageError:
        raise
    except Exception as error:
        # Decoders raise whatever they stumble over: OSError, ValueError, SyntaxError, struct.error, ZeroDivisionError.
        raise ImageError(_reason(data, error)) from error
    sent = _unchanged(data, policy) if picture.unchanged else None
    return Known(_as_sent(picture.pixels, policy, picture.notes, sent), unchanged=sent is not None)


def blank(image: EncodedImage, policy: ImagePolicy) -> EncodedImage:
    """A picture of one colour in an image's place, as it is sent. Blocks.

    It has the image's size, so that a model takes it in as many tokens, and the mean of its colours, so that nothing but the
    image's brightness is left of it; black or white would be a contrast that few images have. The same image and policy give the
    same bytes.

    Args:
        image: With its bytes.
        policy: What the image may be when it is sent.

    Returns:
        The picture.
    """
    with Image.open(BytesIO(image.data), formats=("JPEG", "PNG")) as opened:
        mean = ImageStat.Stat(opened.convert("RGB")).mean
    colour = (round(mean[0]), round(mean[1]), round(mean[2]))
    return _as_sent(Image.new("RGB", (image.width, image.height), colour), policy, ("one-colour",))


def _as_sent(
    pixels: Image.Image, policy: ImagePolicy, notes: tuple[ImageNote, ...], sent: tuple[bytes, str] | None = None
) -> EncodedImage:
    """sent: the bytes and their media type, if they are there already."""
    raw = pixels.tobytes()
    digest = hashlib.sha256(f"{pixels.width}x{pixels.height}".encode())
    digest.update(raw)
    # A new image, because Pillow's writers pass on comments and profiles that the old one still carries.
    encoded, media_type = sent or _written(Image.frombytes("RGB", pixels.size, raw), policy)
    return EncodedImage(
        data=encoded,
        media_type=media_type,
        width=pixels.width,
        height=pixels.height,
        pixels_sha256=digest.hexdigest(),
        difference_hash=difference_hash(pixels),
        notes=notes,
    )


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
            opened = _opened(file, policy)
            turned = _orientation(opened.image) in (5, 6, 7, 8)
        except ImageError:
            raise
        except Exception as error:  # as in `encode`
            try:
                file.seek(0)
                head = file.read(_HEAD_BYTES)
            except OSError as unread:  # of an object: the store does not answer
                why = one_line(str(unread), 200) or type(unread).__name__
                raise ImageError(f"the file cannot be read: {why}") from error
            raise ImageError(_reason(head, error)) from error
    width, height = opened.size
    # A TIFF's size is that of the picture when it is upright.
    return (height, width) if turned and opened.image.format != "TIFF" else (width, height)


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


def _read(path: Path | FilePart) -> bytes:
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
class _Opened:
    """An image behind a header that is within all limits. Nothing is decoded.

    width, height: pixels, as the header says. size: (width, height) as sent, before the image is turned upright.
    """

    image: ImageFile
    width: int
    height: int
    size: tuple[int, int]


def _opened(file: BinaryIO, policy: ImagePolicy) -> _Opened:
    is_jpeg = file.read(3) == _JPEG
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
    return _Opened(image, width, height, size)


def _check_not_raw(image: TiffImageFile) -> None:
    """Raises ImageError for a camera's raw photo: a TIFF that begins with a thumbnail (TIFF/EP; DNG 1.4)."""
    tags = image.tag_v2
    is_reduced = isinstance(kind := tags.get(_NEW_SUBFILE_TYPE, 0), int) and kind & 1
    if _DNG_VERSION in tags or (is_reduced and _SUB_IFDS in tags):
        raise ImageError(
            "the file is a camera's raw photo, of which only a thumbnail can be read here; export it as JPEG"
        )


_NEW_SUBFILE_TYPE, _PHOTOMETRIC, _SUB_IFDS, _DNG_VERSION = 254, 262, 330, 50706


def _not_jpeg(file: BinaryIO) -> ImageFile:
    lacking = _lacking(file)
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
        if not _HEIF.match(file.read(12)):
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


def _lacking(file: BinaryIO) -> int:
    """How many bytes a WebP lacks at its end, which Pillow opens whole files of alone. The file is at its beginning again."""
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


@dataclass(frozen=True, slots=True)
class _Picture:
    """What to send. pixels: mode RGB, within the policy's size. unchanged: a JPEG's file holds just these pixels."""

    pixels: Image.Image
    notes: tuple[ImageNote, ...]
    unchanged: bool


def _picture(data: bytes, policy: ImagePolicy) -> _Picture:
    opened, is_cut = _loaded(data, policy)
    image, size = opened.image, opened.size
    notes: list[ImageNote] = [*_notes_of_size(opened), *(("cut-off",) if is_cut else ())]
    # Only now: reading a PNG's EXIF loads it, and a failure there would go unseen; loading a TIFF turns it upright.
    turn = _turn(image)
    stated = StatedColours() if image.info.get("icc_profile") else _stated_colours(image, data)
    profile = image.info.get("icc_profile") or stated.profile
    unchanged = (
        isinstance(image, JpegImageFile)
        and image.mode in ("L", "RGB")
        and size == (opened.width, opened.height)
        and max(size) > TINY_PX
        and turn is None
        and not is_cut
        and (not profile or (image.mode == "RGB" and is_srgb(profile)))
    )
    if data.startswith(SIGNATURE) and isinstance(image.info.get("transparency"), int | tuple) and image.mode != "P":
        image.info["transparency"] = transparent_sample(image.info["transparency"], data)
    whole = _eight_bit(image, keep_cmyk=bool(profile))
    small = whole if whole.size == size else whole.resize(size, Image.Resampling.LANCZOS)
    if profile and not unchanged and image.mode != "LAB":
        try:
            small = to_srgb(small, profile)
        except ProfileError:
            notes.append("colour-profile")
    if stated.gamma is not None:
        small = from_gamma(small, stated.gamma)
    notes += () if stated.is_known else ("colour-profile",)
    pixels = _opaque(small if turn is None else small.transpose(turn))
    if _is_one_colour(pixels.resize(_FEW_PX, Image.Resampling.NEAREST)) and _is_one_colour(pixels):
        notes.append("one-colour")
    return _Picture(pixels, tuple(notes), unchanged)


def _stated_colours(image: Image.Image, data: bytes) -> StatedColours:
    """What a picture without an ICC profile says of its colours: a PNG's chunks, an AVIF's codes, a camera's EXIF."""
    if data.startswith(SIGNATURE):
        return stated_colours(data)
    if len(image.getbands()) < 3 or image.mode == "CMYK":
        return StatedColours()
    if coded := _NCLX.search(data, 0, _NCLX_WITHIN) if image.format in ("AVIF", "HEIF") else None:
        profile = coded_profile(int.from_bytes(coded[1]), int.from_bytes(coded[2]))
        return StatedColours(profile or b"", None, profile is not None)
    return StatedColours(rgb_profile(ADOBE_RGB, ADOBE_GAMMA) if _is_adobe_rgb(image) else b"")


_NCLX, _NCLX_WITHIN = re.compile(rb"colrnclx(..)(..)", re.DOTALL), 1 << 16
"""ISO 23008-12: a picture's codes for its colours (ITU-T H.273)."""


def _is_adobe_rgb(image: Image.Image) -> bool:
    """Whether a camera's EXIF says so (DCF 2.0: the interoperability index R03; some write a ColorSpace of 2)."""
    try:
        exif = _exif(image)
        said = exif.get_ifd(ExifTags.IFD.Exif)
        return said.get(ExifTags.Base.ColorSpace) == 2 or str(exif.get_ifd(ExifTags.IFD.Interop).get(1, "")).startswith(
            "R03"
        )
    except Exception:  # a broken tag is no reason to refuse the picture
        return False


_ONE_COLOUR = 2
"""How far apart the samples of a picture of one colour may lie, of 255."""
_FEW_PX = (32, 32)
"""So many pixels of a picture show nearly always that it has several colours, in a hundredth of the time."""


def _is_one_colour(pixels: Image.Image) -> bool:
    return all(high - low <= _ONE_COLOUR for low, high in pixels.getextrema())  # type: ignore[misc]


_MOST_SHRUNK, _NARROW_PX, _LONG = 8, 28, 200


def _notes_of_size(opened: _Opened) -> Iterator[ImageNote]:
    longer, shorter = max(opened.size), min(opened.size)
    if max(opened.width, opened.height) > _MOST_SHRUNK * longer:
        yield "shrunk"
    if shorter < _NARROW_PX:
        yield "narrow"
    if longer > _LONG * shorter:
        yield "long"


def _loaded(data: bytes, policy: ImagePolicy) -> tuple[_Opened, bool]:
    """The image, decoded, and whether its file lacks its last bytes."""
    opened = _opened(BytesIO(data), policy)
    if lacking := _lacking(BytesIO(data)):
        return replace(opened, image=_webp_cut_off(data, lacking, policy)), True
    try:
        opened.image.load()
    except OSError as error:
        if "truncated" not in str(error):
            raise
        opened.image.close()  # it may be large
        return replace(opened, image=_cut_off(data, policy)), True
    return opened, False


def _cut_off(data: bytes, policy: ImagePolicy) -> ImageFile:
    """The image in a file without its last bytes, loaded. Raises ImageError if too much of it is missing."""
    if data.startswith(_JPEG):
        if not has_every_scan(data):
            raise ImageError("the image is cut off: only a coarse version of it is there; fetch the file again")
        image = _opened(BytesIO(data + b"\xff\xd9"), policy).image
        image.load()
        missing = _missing_of_jpeg(image, data, policy)
    else:
        image, missing = _missing_of_rows(data, policy)
    if missing > MOST_MISSING:
        raise ImageError(f"the image is cut off: about {missing:.0%} of it is missing; fetch the file again")
    return image


def _webp_cut_off(data: bytes, lacking: int, policy: ImagePolicy) -> ImageFile:
    """The image in a WebP without its last bytes, loaded: what is missing of it is made up from bytes of one value."""
    missing = missing_share(data)
    if missing > MOST_MISSING / 2:  # its last bytes hold more of the picture than the others
        raise ImageError(f"the image is cut off: about {missing:.0%} of it is missing; fetch the file again")
    for fill in _FILLS:
        with suppress(OSError):
            image = _opened(BytesIO(data + fill * lacking), policy).image
            image.load()
            return image
    raise ImageError("the image is cut off, and its decoder cannot do without the rest; fetch the file again")


_FILLS = (b"\0", b"\1", b"\x10", b"\x5a")
"""Some are no codes of a picture."""


def _missing_of_jpeg(image: Image.Image, data: bytes, policy: ImagePolicy) -> float:
    """The share of a JPEG that its decoder made up, which it does in the middle grey of every component."""
    raw = image.tobytes()
    made_up = len(raw) - len(raw.rstrip(b"\x7f" if image.mode == "CMYK" else b"\x80"))
    line = len(raw) // image.height
    lines, rest = divmod(made_up, line)
    block = 16 / _opened(BytesIO(data), policy).height  # what is decoded together: 16 lines of the file at most
    return min(1.0, lines / image.height + rest / line * block)


def _missing_of_rows(data: bytes, policy: ImagePolicy) -> tuple[ImageFile, float]:
    """The image as far as it goes, and the share of its lines that the file holds not, or not whole.

    It is decoded onto black and onto white: what differs was never written.
    """
    image, other = (_onto(_opened(BytesIO(data), policy).image, fill) for fill in (0, 255))
    if image.format == "GIF" and "transparency" in image.info:  # it is decoded onto that colour, whatever was there
        raise ImageError("the image is cut off, and nobody can tell how much of it is missing; fetch the file again")
    lines = ((0, top, image.width, top + 1) for top in range(image.height))
    return image, sum(image.crop(line).tobytes() != other.crop(line).tobytes() for line in lines) / image.height


def _onto(image: ImageFile, fill: int) -> ImageFile:
    """The image as far as it can be decoded, loaded, where all samples were `fill` before."""
    channels = len(image.getbands())
    image.im = Image.new(image.mode, image.size, fill if channels == 1 else (fill,) * channels).im
    with suppress(OSError):
        image.load()
    image.tile = []  # so that nothing more is decoded
    return image


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
_HEAD_BYTES = 4096
_JPEG = b"\xff\xd8\xff"


def _turn(image: Image.Image) -> Image.Transpose | None:
    """What brings the image upright, by its EXIF orientation; None if that is absent or broken."""
    try:
        orientation = _orientation(image)
        return _TURNS.get(orientation) if isinstance(orientation, int) else None
    except Exception:  # a broken tag is no reason to refuse the picture
        return None


_XMP = ("xmp", "XML:com.adobe.xmp")


def _orientation(image: Image.Image) -> object:
    """The EXIF tag; None if there is none. Nothing is decoded."""
    return _exif(image).get(_ORIENTATION)


def _exif(image: Image.Image) -> Image.Exif:
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


def _eight_bit(image: Image.Image, *, keep_cmyk: bool) -> Image.Image:
    """The image in a mode with 8-bit channels that can be resized: L, LA, RGB or RGBA; or CMYK, which a profile is for."""
    if keep_cmyk and image.mode == "CMYK":
        return image
    if image.mode.startswith("I;16"):
        return _scaled_grey(image)
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


def _scaled_grey(image: Image.Image) -> Image.Image:
    """Grey of 16 bits in mode L; in mode LA if the file declares a shade transparent."""
    grey = image.convert("I")
    is_negative = (
        isinstance(image, TiffImageFile) and image.tag_v2.get(_PHOTOMETRIC) == 0
    )  # Pillow inverts 8 bits alone
    scaled = _scaled(grey, *((65535, 0) if is_negative else (0, 65535)))
    shade = image.info.get("transparency")
    if not isinstance(shade, int):
        return scaled
    opaque = ImageMath.lambda_eval(lambda args: args["convert"]((args["grey"] != shade) * 255, "L"), grey=grey)
    return Image.merge("LA", (scaled, opaque))


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
    return image if image.mode == "RGB" else image.convert("RGB")  # which would copy it


# --- from pixels to bytes -------------------------------------------------------------------------------------------


def _unchanged(data: bytes, policy: ImagePolicy) -> tuple[bytes, str] | None:
    """A JPEG's own bytes without its metadata; None where the image is to be written anew."""
    plain = without_metadata(data)
    if plain is None or _base64_bytes(len(plain)) > policy.max_bytes:
        return None
    return plain, "image/jpeg"


def _written(image: Image.Image, policy: ImagePolicy) -> tuple[bytes, str]:
    """The encoded image and its media type."""
    if max(image.size) <= TINY_PX:
        buffer = BytesIO()
        image.save(buffer, "PNG")
        if _base64_bytes(buffer.tell()) <= policy.max_bytes:
            return buffer.getvalue(), "image/png"
    for quality in (policy.jpeg_quality, *(step for step in _QUALITY_STEPS if step < policy.jpeg_quality)):
        buffer = BytesIO()
        image.save(buffer, "JPEG", quality=quality, subsampling=0)  # 4:4:4, so that coloured text stays legible
        if _base64_bytes(buffer.tell()) <= policy.max_bytes:
            return buffer.getvalue(), "image/jpeg"
    raise ImageError(
        f"the image takes {_base64_bytes(buffer.tell())} bytes in base64 even as a poor JPEG, "
        f"the limit is {policy.max_bytes}; shrink it first"
    )


def _base64_bytes(size: int) -> int:
    return 4 * math.ceil(size / 3)


# --- what is wrong with a file --------------------------------------------------------------------------------------

_HEIF = re.compile(rb"....ftyp(hei[cxms]|hev[cx]|mif1|msf1)", re.DOTALL)
_NOT_PHOTOS: tuple[tuple[re.Pattern[bytes], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE | re.DOTALL), kind)
    for pattern, kind in (
        (rb"....ftypavi[fs]", "an AVIF image that is cut off or damaged; fetch it again"),
        (rb"....ftypcrx |FUJIFILMCCD|IIU\0|IIR[OS]|FOVb", "a camera's raw photo; export it as JPEG"),
        (rb"....ftyp", "a video; export a frame as JPEG or PNG"),
        (rb"\x1aE\xdf\xa3|RIFF....AVI |\x00\x00\x01[\xb3\xba]", "a video; export a frame as JPEG or PNG"),
        (rb"\xff\x0a|\x00\x00\x00\x0cJXL ", "a JPEG XL image, which cannot be read here; convert it to JPEG or PNG"),
        (rb"%PDF", "a PDF; export its pages as JPEG or PNG"),
        (rb"%!PS|\xc5\xd0\xd3\xc6", "a PostScript file; export it as PNG"),
        (
            rb"II\*\0|MM\0\*",
            "a TIFF whose samples or compression cannot be read here; export it as PNG or as a TIFF of 8 bits",
        ),
        (rb".{128}DICM", "a DICOM scan; export it as PNG"),
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
        head = data[:_HEAD_BYTES]
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
    message = one_line(str(error))
    if "truncated" in message.casefold():
        return f"the image is cut off: {shorten_at_word(message, 200)}"
    for damage, words in _DAMAGES:
        if damage.search(message):
            return f"the image is damaged: {words}"
    if isinstance(error, OSError) and message:
        return f"the image is damaged: {shorten_at_word(message, 200)}"
    # What Python says of a decoder's own mistakes is of no use to whoever has the file. Pillow's word for a bad header is a
    # SyntaxError.
    return f"the image is damaged: {'its header makes no sense' if isinstance(error, SyntaxError) else _GAVE_UP}"


_GAVE_UP = "its parts do not fit together"

_DAMAGES = (
    (re.compile("not identified by this driver|invalid literal|Token too long|marker"), "its header makes no sense"),
    (re.compile("data stream|decoder error|decoder object|read next frame"), "its pixels cannot be decoded"),
    (re.compile("bad (?:header )?checksum|broken PNG file"), "a part of it does not agree with its checksum"),
)
"""What decoders say, and what it means."""


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8", "ignore" if len(head) == _HEAD_BYTES else "strict")
    except UnicodeDecodeError:
        return False
    return all(character.isprintable() or character in "\t\r\n\f\ufeff" for character in text)
