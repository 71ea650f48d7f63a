"""WebP files as chunks: how much of one is missing at its end.

Nothing is decoded here. Source: RFC 9649, WebP Image Format, section 2 (RIFF containers).
"""

from __future__ import annotations

_PICTURES = (b"VP8 ", b"VP8L", b"ANMF")


def claimed_bytes(head: bytes) -> int:
    """The size that a WebP should have.

    Args:
        head: Its first bytes, 12 at least.

    Returns:
        Bytes; 0 if it is no WebP.
    """
    return 8 + int.from_bytes(head[4:8], "little") if head[:4] == b"RIFF" and head[8:12] == b"WEBP" else 0


def missing_share(data: bytes) -> float:
    """The share of the first frame's bytes that a file lacks.

    Args:
        data: The file's bytes, without its end.

    Returns:
        From 0 to 1; 1 if the first frame does not begin.
    """
    start = 12
    while start + 8 <= len(data):
        size = int.from_bytes(data[start + 4 : start + 8], "little")
        if data[start : start + 4] in _PICTURES:
            return max(0, start + 8 + size - len(data)) / max(1, size)
        start += 8 + size + size % 2
    return 1.0
