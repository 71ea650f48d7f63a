"""Colour profiles of pictures that state their colours without one: by primaries and a curve, or by a code for these.

Sources: IEC 61966-2-1 (sRGB's curve), Adobe RGB (1998) Color Image Encoding (2005), ITU-T H.273 (codes), ICC.1:2001-04.
"""

from __future__ import annotations

import struct
from functools import lru_cache

from unsaf_async.inputs.colours import srgb_light

Chromaticities = tuple[float, float, float, float, float, float, float, float]
"""White, red, green and blue as x and y (CIE 1931)."""

_D65 = (0.3127, 0.3290)
SRGB: Chromaticities = (*_D65, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
ADOBE_RGB: Chromaticities = (*_D65, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
ADOBE_GAMMA = 563 / 256
_CODED: dict[int, Chromaticities] = {
    1: SRGB,
    9: (*_D65, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),  # BT.2020
    12: (*_D65, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),  # Display P3
}
_CURVES: dict[int, float | None] = {1: None, 6: None, 13: None, 14: None, 15: None, 4: 2.2, 5: 2.8, 8: 1.0}
"""What a sample's light is by its code: a power of it, or None for what screens show as sRGB's curve."""

_D50 = (0.9642, 1.0, 0.8249)
_CURVE_STEPS = 1024


def coded_profile(primaries: int, transfer: int) -> bytes | None:
    """The profile of colours that are stated by H.273's codes.

    Args:
        primaries: The code of the primaries, as in a PNG's cICP or an AVIF's nclx.
        transfer: The code of the curve.

    Returns:
        An ICC profile; b"" for sRGB's colours, and where both codes say that nothing is known (2). None: other colours than
        can be converted, such as those of a picture with a high dynamic range.
    """
    known = _CODED.get(1 if primaries == 2 else primaries)
    transfer = 13 if transfer == 2 else transfer
    if known is None or transfer not in _CURVES:
        return None
    return b"" if known == SRGB and _CURVES[transfer] is None else rgb_profile(known, _CURVES[transfer])


@lru_cache(maxsize=16)
def rgb_profile(primaries: Chromaticities, gamma: float | None) -> bytes:
    """An ICC profile of pictures in red, green and blue.

    Args:
        primaries: White and the primaries.
        gamma: The power of a sample that its light is, > 0; None for sRGB's curve.

    Returns:
        The profile's bytes, of version 2.

    Raises:
        ValueError: The primaries are no three different colours.
    """
    import numpy as np

    xyz = np.array(
        [
            [x / y, 1.0, (1 - x - y) / y] if y else [0.0, 0.0, 0.0]
            for x, y in zip(primaries[::2], primaries[1::2], strict=True)
        ]
    )
    white, colours = xyz[0], xyz[1:].T
    bradford = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
    try:
        colours = colours * np.linalg.solve(colours, white)
        adapted = (
            np.linalg.solve(bradford, np.diag(bradford @ np.array(_D50) / (bradford @ white)) @ bradford) @ colours
        )
    except np.linalg.LinAlgError as error:
        raise ValueError("the primaries are no three colours") from error
    light = [step / (_CURVE_STEPS - 1) for step in range(_CURVE_STEPS)]
    light = [srgb_light(each) if gamma is None else each**gamma for each in light]
    curve = (
        b"curv" + bytes(4) + struct.pack(f">I{_CURVE_STEPS}H", _CURVE_STEPS, *(round(65535 * each) for each in light))
    )
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", 7) + b"stated\0" + bytes(78),
        b"cprt": b"text" + bytes(4) + b"none\0",
        b"wtpt": _xyz(*_D50),
    }
    for name, colour in zip((b"r", b"g", b"b"), adapted.T, strict=True):
        tags |= {name + b"XYZ": _xyz(*(float(each) for each in colour)), name + b"TRC": curve}
    return _profile(tags)


def _xyz(*colour: float) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(each * 65536) for each in colour))


def _profile(tags: dict[bytes, bytes]) -> bytes:
    place, table, body = 128 + 4 + 12 * len(tags), b"", b""
    for name, content in tags.items():
        table += name + struct.pack(">II", place + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    head = struct.pack(
        ">I4sI4s4s4s6H", place + len(body), bytes(4), 0x02400000, b"mntr", b"RGB ", b"XYZ ", 2026, 1, 1, 0, 0, 0
    )
    head += b"acsp" + bytes(28) + _xyz(*_D50)[8:]
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body
