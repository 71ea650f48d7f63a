"""Colour profiles, made here: small ICC files of version 2 with the fewest tags that LittleCMS asks for."""

from __future__ import annotations

import struct
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

ADOBE_RGB = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
DISPLAY_P3 = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))
SRGB = ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410))
"""The colours of full red, green and blue as XYZ under D50."""


def srgb_curve(value: float) -> float:
    """Light of a sample, both from 0 to 1 (IEC 61966-2-1)."""
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


def _fixed(*numbers: float) -> bytes:
    return struct.pack(f">{len(numbers)}i", *(round(number * 65536) for number in numbers))


def _profile(kind: bytes, space: bytes, connection: bytes, tags: Mapping[bytes, bytes]) -> bytes:
    description = b"desc" + bytes(4) + struct.pack(">I", 5) + b"made\0" + bytes(78)
    tags = {**tags, b"desc": description, b"cprt": b"text" + bytes(4) + b"none\0", b"wtpt": _xyz(0.9642, 1, 0.8249)}
    place, table, body = 128 + 4 + 12 * len(tags), b"", b""
    for name, content in tags.items():
        content += bytes(-len(content) % 4)
        table += name + struct.pack(">II", place + len(body), len(content))
        body += content
    size = place + len(body)
    head = struct.pack(">I4sI4s4s4s", size, bytes(4), 0x02400000, kind, space, connection)
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + _fixed(0.9642, 1, 0.8249)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def _xyz(*colour: float) -> bytes:
    return b"XYZ " + bytes(4) + _fixed(*colour)


def _curve(light: Callable[[float], float]) -> bytes:
    samples = [round(65535 * light(step / 1023)) for step in range(1024)]
    return b"curv" + bytes(4) + struct.pack(">I1024H", 1024, *samples)


def rgb_profile(primaries: Sequence[Sequence[float]], light: Callable[[float], float]) -> bytes:
    """A profile of a screen or a camera. light: of a sample, both from 0 to 1."""
    colours = {name + b"XYZ": _xyz(*primary) for name, primary in zip((b"r", b"g", b"b"), primaries, strict=True)}
    return _profile(b"mntr", b"RGB ", b"XYZ ", {**colours, **{n + b"TRC": _curve(light) for n in (b"r", b"g", b"b")}})


def grey_profile(light: Callable[[float], float]) -> bytes:
    """A profile of grey pictures."""
    return _profile(b"mntr", b"GRAY", b"XYZ ", {b"kTRC": _curve(light)})


def cmyk_profile(lab_of_full_cyan: tuple[int, int, int]) -> bytes:
    """A profile of a printer whose full cyan has this colour, and whose other inks are all as black. Lab: 0 to 255 each."""
    nodes = b""
    for node in range(16):
        cyan, *others = (node >> 3 & 1, node >> 2 & 1, node >> 1 & 1, node & 1)
        nodes += bytes((0, 128, 128) if any(others) else lab_of_full_cyan if cyan else (255, 128, 128))
    table = b"mft1" + bytes(4) + bytes((4, 3, 2, 0)) + _fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
    table += bytes(range(256)) * 4 + nodes + bytes(range(256)) * 3
    return _profile(b"prtr", b"CMYK", b"Lab ", {b"A2B0": table})


@cache
def adobe_rgb() -> bytes:
    """Adobe RGB (1998)."""
    return rgb_profile(ADOBE_RGB, lambda value: value ** (563 / 256))


@cache
def display_p3() -> bytes:
    """Display P3, as phones have it."""
    return rgb_profile(DISPLAY_P3, srgb_curve)
