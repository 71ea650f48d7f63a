"""PNG files as chunks: the file without its texts, and what it says of its samples beside an ICC profile.

Nothing is decoded here. Source: W3C, Portable Network Graphics (third edition), https://www.w3.org/TR/png-3/.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from unsaf_async.inputs.primaries import SRGB, coded_profile, rgb_profile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unsaf_async.inputs.primaries import Chromaticities

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_TEXTS = frozenset((b"tEXt", b"zTXt", b"iTXt"))
_EXIF_AS_TEXT = b"Raw profile type exif\0"
_NEAR_PRIMARY = 0.01
_GAMMAS = (0.1, 3.0)
_SRGB_GAMMA, _NEAR_GAMMA = 1 / 2.2, 0.05


@dataclass(frozen=True, slots=True)
class StatedColours:
    """What a picture says of its colours beside an ICC profile.

    Attributes:
        profile: An ICC profile of what it says; b"" for sRGB's colours, but for `gamma`.
        gamma: The power of light that a sample is, such as 1.0 for linear samples; None for sRGB's curve, and where `profile`
            has it.
        is_known: Whether that is all. False: it states colours that cannot be converted.
    """

    profile: bytes = b""
    gamma: float | None = None
    is_known: bool = True


def without_texts(data: bytes, *, keep_profile: bool = True) -> bytes:
    """A PNG without its texts, which may be larger than its picture: a workflow, a prompt, XMP.

    Args:
        data: The file's bytes.
        keep_profile: Whether an ICC profile stays.

    Returns:
        The bytes without tEXt, zTXt and iTXt chunks, but for EXIF that was written as a text; `data` itself if it is no PNG.
    """
    parts, begin = [], 0
    for name, start, end in _chunks(data):
        is_text = name in _TEXTS or (name == b"iCCP" and not keep_profile)
        if is_text and not data.startswith(_EXIF_AS_TEXT, start + 8):
            parts.append(data[begin:start])
            begin = end
    return b"".join((*parts, data[begin:])) if parts else data


def transparent_sample(value: int | tuple[int, ...], data: bytes) -> int | tuple[int, ...]:
    """The sample or colour that a PNG declares transparent, as it is once samples have 8 bits.

    Args:
        value: As it stands in the file, in the file's own depth.
        data: The PNG's bytes.

    Returns:
        Numbers from 0 to 255; `value` itself for grey of 1 or 16 bits, which are not decoded to 8.
    """
    depth = data[24]
    if isinstance(value, tuple):
        return tuple(sample >> 8 for sample in value) if depth == 16 else value
    return value * 255 // (2**depth - 1) if depth in (2, 4) else value


def stated_colours(data: bytes) -> StatedColours:
    """What a PNG without an ICC profile says of its colours.

    Args:
        data: The file's bytes.

    Returns:
        Its colours by cICP, sRGB, or cHRM and gAMA, the first of these that it has.
    """
    said = {name: data[start + 8 : end - 4] for name, start, end in _chunks(data, until=b"IDAT")}
    if b"iCCP" in said:  # one that cannot be unpacked
        return StatedColours(is_known=False)
    if len(coded := said.get(b"cICP", b"")) == 4:
        profile = coded_profile(coded[0], coded[1]) if coded[2:] == b"\0\1" else None
        return StatedColours(profile or b"", None, profile is not None)
    if b"sRGB" in said:
        return StatedColours()
    gamma, is_known = None, True
    if len(said.get(b"gAMA", b"")) == 4:
        gamma = int.from_bytes(said[b"gAMA"]) / 100_000
        if not _GAMMAS[0] <= gamma <= _GAMMAS[1]:
            gamma, is_known = None, False
        elif abs(gamma / _SRGB_GAMMA - 1) <= _NEAR_GAMMA:
            gamma = None
    primaries = said.get(b"cHRM", b"")
    is_coloured = len(data) > 25 and data[25] & 2
    if is_coloured and len(primaries) == 32:
        stated = [each / 100_000 for each in struct.unpack(">8I", primaries)]
        if any(abs(one - other) > _NEAR_PRIMARY for one, other in zip(stated, SRGB, strict=True)):
            try:
                return StatedColours(
                    rgb_profile(cast("Chromaticities", tuple(stated)), 1 / gamma if gamma else None), None, is_known
                )
            except ValueError:
                is_known = False
    return StatedColours(b"", gamma, is_known)


def _chunks(data: bytes, until: bytes = b"IEND") -> Iterator[tuple[bytes, int, int]]:
    """(name, start, end) of each whole chunk before the first one named `until`."""
    if not data.startswith(SIGNATURE):
        return
    start = len(SIGNATURE)
    while start + 12 <= len(data):
        end = start + 12 + int.from_bytes(data[start : start + 4])
        name = data[start + 4 : start + 8]
        if end > len(data) or name == until:
            return
        yield name, start, end
        start = end
