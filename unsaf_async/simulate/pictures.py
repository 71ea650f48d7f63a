"""Images as they arrive: Base64 text to identity and size. Each different image is decoded once."""

from __future__ import annotations

import binascii
from base64 import b64decode
from dataclasses import dataclass
from hashlib import sha256


class PictureError(Exception):
    """The text is no Base64, or the bytes are neither JPEG nor PNG. `str()` says which."""


@dataclass(frozen=True, slots=True)
class Picture:
    """An image that arrived. id: SHA-256 of its bytes. width, height: pixels, as the file's header says."""

    id: str
    media_type: str
    width: int
    height: int


class Pictures:
    """Remembers every image by the digest of its Base64 text; that costs some hundred bytes an image."""

    def __init__(self) -> None:
        self._known: dict[bytes, Picture] = {}

    def read(self, text: str) -> Picture:
        """The image that a Base64 text encodes.

        Args:
            text: As it arrived.

        Returns:
            Its identity and size.

        Raises:
            PictureError: It is no Base64, or neither JPEG nor PNG.
        """
        key = sha256(text.encode()).digest()
        picture = self._known.get(key)
        if picture is None:
            picture = self._known[key] = _decode(text)
        return picture


def _decode(text: str) -> Picture:
    try:
        data = b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise PictureError("the image data is not valid base64") from None
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        media_type, size = "image/png", _png_size(data)
    elif data.startswith(b"\xff\xd8\xff"):
        media_type, size = "image/jpeg", _jpeg_size(data)
    else:
        raise PictureError("the image data is neither JPEG nor PNG")
    if size is None or not all(size):
        raise PictureError("the image's header cannot be read")
    return Picture(sha256(data).hexdigest(), media_type, *size)


def _png_size(data: bytes) -> tuple[int, int] | None:
    if len(data) < 24 or data[12:16] != b"IHDR":
        return None
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Width and height from the first start-of-frame segment (ITU-T T.81, B.2.2)."""
    place = 2
    while place + 9 <= len(data):
        if data[place] != 0xFF:
            return None
        marker = data[place + 1]
        if marker == 0xFF:  # fill byte
            place += 1
        elif marker == 0x01 or 0xD0 <= marker <= 0xD7:  # markers without a length
            place += 2
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return int.from_bytes(data[place + 7 : place + 9], "big"), int.from_bytes(
                data[place + 5 : place + 7], "big"
            )
        else:
            place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return None
