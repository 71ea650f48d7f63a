"""What is wrong with a file that cannot be decoded, in one line."""

from __future__ import annotations

import re

from PIL import Image, UnidentifiedImageError

from unsaf_async.inputs.policy import MAX_PIXELS
from unsaf_async.text import one_line, shorten_at_word

HEAD_BYTES = 4096
"""So many bytes of a file say what it is."""
HEIF = re.compile(rb"....ftyp(hei[cxms]|hev[cx]|mif1|msf1)", re.DOTALL)

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
_GAVE_UP = "its parts do not fit together"

_DAMAGES = (
    (re.compile("not identified by this driver|invalid literal|Token too long|marker"), "its header makes no sense"),
    (re.compile("data stream|decoder error|decoder object|read next frame"), "its pixels cannot be decoded"),
    (re.compile("bad (?:header )?checksum|broken PNG file"), "a part of it does not agree with its checksum"),
)
"""What decoders say, and what it means."""


def reason(data: bytes, error: Exception) -> str:
    """Why a file could not be decoded.

    Args:
        data: Its bytes, or the first `HEAD_BYTES` of them.
        error: What its decoder raised.

    Returns:
        One line, without the file's name.
    """
    if isinstance(error, UnidentifiedImageError):
        head = data[:HEAD_BYTES]
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


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8", "ignore" if len(head) == HEAD_BYTES else "strict")
    except UnicodeDecodeError:
        return False
    return all(character.isprintable() or character in "\t\r\n\f\ufeff" for character in text)
