"""PNG files as chunks: the file without its texts, and what it says of its samples beside an ICC profile.

Nothing is decoded here. Source: W3C, Portable Network Graphics (third edition), https://www.w3.org/TR/png-3/.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_TEXTS = frozenset((b"tEXt", b"zTXt", b"iTXt"))
_EXIF_AS_TEXT = b"Raw profile type exif\0"
_SRGB_PRIMARIES = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
"""White, red, green and blue as x and y, in hundred thousandths."""

_NEAR_PRIMARY = 1000
_SRGB_CODINGS = frozenset(bytes((1, transfer, 0, 1)) for transfer in (1, 6, 13, 14, 15))
"""cICP of pictures that screens show as sRGB: BT.709's primaries with its curve or sRGB's, full range (ITU-T H.273)."""

_GAMMAS = (0.1, 3.0)
_SRGB_GAMMA, _NEAR_GAMMA = 1 / 2.2, 0.05


def without_texts(data: bytes) -> bytes:
    """A PNG without its texts, which may be larger than its picture: a workflow, a prompt, XMP.

    Args:
        data: The file's bytes.

    Returns:
        The bytes without tEXt, zTXt and iTXt chunks, but for EXIF that was written as a text; `data` itself if it is no PNG.
    """
    parts, begin = [], 0
    for name, start, end in _chunks(data):
        if name in _TEXTS and not data.startswith(_EXIF_AS_TEXT, start + 8):
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


def stated_gamma(data: bytes) -> tuple[float | None, bool]:
    """What a PNG without an ICC profile says of its colours.

    Args:
        data: The file's bytes.

    Returns:
        (its gAMA, such as 1.0 for linear samples, None where samples are sRGB's or nothing is said; whether that is all there
        is to convert). False: it states other colours than sRGB's by cICP or cHRM, or no sensible gamma.
    """
    said = {name: data[start + 8 : end - 4] for name, start, end in _chunks(data, until=b"IDAT")}
    if b"cICP" in said:
        return None, said[b"cICP"] in _SRGB_CODINGS
    if b"sRGB" in said:
        return None, True
    gamma, known = None, True
    if len(said.get(b"gAMA", b"")) == 4:
        gamma = int.from_bytes(said[b"gAMA"]) / 100_000
        if not _GAMMAS[0] <= gamma <= _GAMMAS[1]:
            gamma, known = None, False
        elif abs(gamma / _SRGB_GAMMA - 1) <= _NEAR_GAMMA:
            gamma = None
    primaries = said.get(b"cHRM", b"")
    is_coloured = len(data) > 25 and data[25] & 2
    if is_coloured and len(primaries) == 32:
        pairs = zip(struct.unpack(">8I", primaries), _SRGB_PRIMARIES, strict=True)
        known = known and all(abs(one - other) <= _NEAR_PRIMARY for one, other in pairs)
    return gamma, known


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
