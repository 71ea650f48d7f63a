"""From a file's bytes to its picture as it is sent: upright, opaque sRGB, within a size."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import ExifTags, Image
from PIL.JpegImagePlugin import JpegImageFile

from unsaf_async.inputs.colours import ProfileError, from_gamma, is_srgb, to_srgb
from unsaf_async.inputs.cut_off import loaded
from unsaf_async.inputs.opening import Opened, exif_of, orientation_of
from unsaf_async.inputs.png import SIGNATURE, StatedColours, stated_colours, transparent_sample
from unsaf_async.inputs.primaries import ADOBE_GAMMA, ADOBE_RGB, coded_profile, rgb_profile
from unsaf_async.inputs.tones import eight_bit, opaque

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unsaf_async.inputs.policy import ImagePolicy
    from unsaf_async.records import ImageNote

TINY_PX = 128
"""An image with no side above this is sent as PNG: JPEG's blocks would be a good part of it, and it is small anyway."""

_ONE_COLOUR = 2
"""How far apart the samples of a picture of one colour may lie, of 255."""
_FEW_PX = (32, 32)
"""So many pixels of a picture show nearly always that it has several colours, in a hundredth of the time."""

_MOST_SHRUNK, _NARROW_PX, _LONG = 8, 28, 200

_NCLX, _NCLX_WITHIN = re.compile(rb"colrnclx(..)(..)", re.DOTALL), 1 << 16
"""ISO 23008-12: a picture's codes for its colours (ITU-T H.273)."""

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True, slots=True)
class Picture:
    """What to send. pixels: mode RGB, within the policy's size. unchanged: a JPEG's file holds just these pixels."""

    pixels: Image.Image
    notes: tuple[ImageNote, ...]
    unchanged: bool


def decoded(data: bytes, policy: ImagePolicy) -> Picture:
    """The picture in a file, as it is sent.

    Args:
        data: The file's bytes, without texts.
        policy: What the image may be when it is sent.

    Returns:
        The picture, with notes on what may mislead a model or a reader.

    Raises:
        ImageError: As `cut_off.loaded` does.
        Exception: Whatever else a decoder stumbles over; `faults.reason` says it in words.
    """
    opened, is_cut = loaded(data, policy)
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
    whole = eight_bit(image, keep_cmyk=bool(profile))
    small = whole if whole.size == size else whole.resize(size, Image.Resampling.LANCZOS)
    if profile and not unchanged and image.mode != "LAB":
        try:
            small = to_srgb(small, profile)
        except ProfileError:
            notes.append("colour-profile")
    if stated.gamma is not None:
        small = from_gamma(small, stated.gamma)
    notes += () if stated.is_known else ("colour-profile",)
    pixels = opaque(small if turn is None else small.transpose(turn))
    if _is_one_colour(pixels.resize(_FEW_PX, Image.Resampling.NEAREST)) and _is_one_colour(pixels):
        notes.append("one-colour")
    return Picture(pixels, tuple(notes), unchanged)


def _notes_of_size(opened: Opened) -> Iterator[ImageNote]:
    longer, shorter = max(opened.size), min(opened.size)
    if max(opened.width, opened.height) > _MOST_SHRUNK * longer:
        yield "shrunk"
    if shorter < _NARROW_PX:
        yield "narrow"
    if longer > _LONG * shorter:
        yield "long"


def _turn(image: Image.Image) -> Image.Transpose | None:
    """What brings the image upright, by its EXIF orientation; None if that is absent or broken."""
    try:
        orientation = orientation_of(image)
        return _TURNS.get(orientation) if isinstance(orientation, int) else None
    except Exception:  # a broken tag is no reason to refuse the picture
        return None


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


def _is_adobe_rgb(image: Image.Image) -> bool:
    """Whether a camera's EXIF says so (DCF 2.0: the interoperability index R03; some write a ColorSpace of 2)."""
    try:
        exif = exif_of(image)
        said = exif.get_ifd(ExifTags.IFD.Exif)
        return said.get(ExifTags.Base.ColorSpace) == 2 or str(exif.get_ifd(ExifTags.IFD.Interop).get(1, "")).startswith(
            "R03"
        )
    except Exception:  # a broken tag is no reason to refuse the picture
        return False


def _is_one_colour(pixels: Image.Image) -> bool:
    return all(high - low <= _ONE_COLOUR for low, high in pixels.getextrema())  # type: ignore[misc]
