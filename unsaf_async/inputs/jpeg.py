"""JPEG files as segments: what decoding one takes, whether all of it is there, and the file without its metadata.

Nothing is decoded here. Source: ITU-T T.81, annexes B (segments) and G (progressive scans).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator

_APP0, _APP14, _COM, _SOS, _EOI = 0xE0, 0xEE, 0xFE, 0xDA, 0xD9
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PLAIN_FRAMES = frozenset((0xC0, 0xC1, 0xC2))  # Huffman-coded: baseline, extended, progressive
_TABLES = frozenset((0xC4, 0xDB, 0xDD))  # Huffman, quantisation, restart interval
_ENTROPY_END = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_COEFFICIENTS = 64


def coefficient_bytes(file: BinaryIO) -> int:
    """The memory that a decoder needs for a JPEG's coefficients, which files of several scans are held in until the last.

    Args:
        file: The JPEG, read from its beginning up to its first scan.

    Returns:
        Bytes, >= 0; 0 for a file of one scan, which is decoded row by row, and for one without a frame.
    """
    frame: tuple[int, bytes] | None = None
    for marker, body in _segments(file):
        if marker in _FRAMES:
            frame = marker, body
        elif marker == _SOS and frame is not None and len(frame[1]) >= 6 and body:
            kind, header = frame
            height, width, components = int.from_bytes(header[1:3]), int.from_bytes(header[3:5]), header[5]
            if kind not in (0xC2, 0xC6, 0xCA, 0xCE) and body[0] >= components:
                return 0
            factors = [(each >> 4, each & 15) for each in header[7 : 6 + 3 * components : 3]]
            widest = max((across for across, _ in factors), default=1) or 1
            tallest = max((down for _, down in factors), default=1) or 1
            shares = sum(across * down for across, down in factors) / (widest * tallest)
            return int(2 * width * height * shares)
    return 0


def has_every_scan(data: bytes) -> bool:
    """Whether a JPEG that is cut off has begun each of its scans, so that at most its finest detail is missing.

    Args:
        data: The file's bytes, without its end.

    Returns:
        False where no scan brings some coefficient to its last bit. True for files that are not progressive.
    """
    progressive, components = False, b""
    low: dict[int, list[int]] = {}
    for marker, body in _all_segments(data):
        if marker in _FRAMES and len(body) >= 6:
            progressive, components = marker == 0xC2, body[6 : 6 + 3 * body[5] : 3]
            low = {component: [99] * _COEFFICIENTS for component in components}
        elif marker == _SOS and body and len(body) >= 4 + 2 * body[0]:
            first, last, bits = body[1 + 2 * body[0] : 4 + 2 * body[0]]
            for component in body[1 : 1 + 2 * body[0] : 2]:
                known = low.setdefault(component, [99] * _COEFFICIENTS)
                for place in range(first, min(last, _COEFFICIENTS - 1) + 1):
                    known[place] = min(known[place], bits & 15)
    return not progressive or all(bits == 0 for known in low.values() for bits in known)


def without_metadata(data: bytes) -> bytes | None:
    """A JPEG without what is not needed to decode it: its picture is the same to the last bit.

    EXIF, GPS, XMP, colour profiles, comments and thumbnails go, and so does whatever follows the end of the picture. Of
    JFIF's segment and Adobe's, which say what the components mean, the fixed part stays.

    Args:
        data: The file's bytes.

    Returns:
        The bytes; None for a file with segments that are not known to be safe, or that does not end.
    """
    parts = [b"\xff\xd8"]
    for marker, body in _all_segments(data):
        if marker == _EOI:
            return b"".join((*parts, b"\xff\xd9"))
        if marker == 0:
            parts.append(body)  # of a scan
            continue
        if marker == _APP0 and body.startswith(b"JFIF\0") and len(body) >= 14:
            body = body[:12] + b"\0\0"  # without its thumbnail
        elif marker == _APP14 and body.startswith(b"Adobe") and len(body) >= 12:
            body = body[:12]
        elif 0xE0 <= marker <= 0xEF or marker == _COM:
            continue
        elif marker not in _PLAIN_FRAMES | _TABLES | {_SOS}:
            return None
        parts.append(bytes((0xFF, marker)) + (len(body) + 2).to_bytes(2) + body)
    return None


def _segments(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """(marker, body) of each segment up to the first scan's header, inclusive."""
    file.seek(2)
    while (head := file.read(2)) and len(head) == 2 and head[0] == 0xFF:
        if head[1] == 0xFF:  # fill
            file.seek(-1, 1)
            continue
        length = int.from_bytes(file.read(2))
        if length < 2:
            return
        yield head[1], file.read(length - 2)
        if head[1] == _SOS:
            return


def _all_segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(marker, body) of each segment, and (0, bytes) of each scan, up to the end of the picture or of the data."""
    place = 2
    while place + 2 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker == 0xFF:  # fill
            place += 1
            continue
        if marker == _EOI:
            yield marker, b""
            return
        length = int.from_bytes(data[place + 2 : place + 4])
        end = place + 2 + length
        if length < 2 or end > len(data):
            return
        yield marker, data[place + 4 : end]
        place = end
        if marker == _SOS:
            found = _ENTROPY_END.search(data, place)
            place = found.start() if found else len(data)
            yield 0, data[end:place]
