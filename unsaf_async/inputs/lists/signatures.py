"""What a file is, by its first bytes."""

from __future__ import annotations

import re

# HEIC needs an extra, and is looked for all the same: a failed image with its reason beats one silently skipped.
PICTURE_SUFFIXES = (
    ".jpg", ".jpeg", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".jp2", ".j2k",
    ".heic", ".heif",
)  # fmt: skip
"""What is taken from a folder or by a glob; a file that is named itself may be called anything."""

JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")
DELIMITED_SUFFIXES = (".csv", ".tsv", ".tab")
TABLE_SUFFIXES = (".parquet", ".pq", ".arrow")
LIST_SUFFIXES = (*JSON_SUFFIXES, *DELIMITED_SUFFIXES, *TABLE_SUFFIXES, ".tar")
"""Files that are lists by their names."""
PACKED_SUFFIXES = (".zip", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar")
"""Files that are to be unpacked first, by their names."""

HEAD_BYTES = 4096
"""So many of a file's first bytes tell what it is."""

_PICTURE = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n|GIF8|RIFF....WEBP|BM.{12}|II\*\0|MM\0\*|....ftyp(av|hei|hev|mif1|msf1)"
    rb"|\0\0\0\x0cjP  |\xff\x4f\xff\x51|P[1-7]\s|\0\0\x01\0",
    re.DOTALL,
)

_OTHERS = tuple(
    (re.compile(pattern, re.IGNORECASE | re.DOTALL), what)
    for pattern, what in (
        (rb"PK\x03\x04.{0,4000}xl/", "an Excel workbook; save it as CSV"),
        (rb"PK\x03\x04.{26,200}word/", "a Word document"),
        (rb"\xd0\xcf\x11\xe0", "an Excel or Word file of old; save it as CSV"),
        (rb"PK\x03\x04.{26}mimetypeapplication/vnd.oasis.opendocument.s", "a workbook of LibreOffice; save it as CSV"),
        (rb"PK\x03\x04", "a packed archive; unpack it first (unzip -d FOLDER FILE)"),
        (rb"7z\xbc\xaf|Rar!", "a packed archive; unpack it first"),
        (
            rb"\x1f\x8b|BZh|\xfd7zXZ|\x28\xb5\x2f\xfd",
            "a compressed file; unpack it first (a tar with tar -xf FILE -C FOLDER, a list with gunzip -k FILE)",
        ),
        (rb"\x93NUMPY|\x80[\x02-\x05]", "an array or object of Python's; write a CSV file"),
        (rb"SQLite format", "a database; write a CSV file"),
        (rb"\x89HDF", "an HDF5 file; write a CSV file, or the pictures"),
        (rb"%PDF", "a PDF; export its pages as JPEG or PNG"),
        (rb"....ftyp|\x1aE\xdf\xa3|RIFF....AVI |\0\0\x01[\xb3\xba]", "a video; export its frames as JPEG or PNG"),
        (rb"(\xef\xbb\xbf)?\s*(<!doctype html|<html|<head|<body)", "a web page, perhaps a failed download"),
        (rb"version https://git-lfs", "a Git LFS pointer; run 'git lfs pull'"),
    )
)


def is_picture(head: bytes) -> bool:
    """Whether a file is a picture, as far as its beginning tells.

    Args:
        head: Its first bytes, `HEAD_BYTES` or all of them.

    Returns:
        Whether it begins as JPEG, PNG, GIF, WebP, BMP, TIFF, AVIF, HEIC, JPEG 2000, PNM or ICO.
    """
    return _PICTURE.match(head) is not None


def known_as(head: bytes) -> str:
    """What a file is that is no picture and no list.

    Args:
        head: Its first bytes, `HEAD_BYTES` or all of them.

    Returns:
        Words such as "a PDF; export its pages as JPEG or PNG"; "" if its beginning does not tell.
    """
    return next((what for pattern, what in _OTHERS if pattern.match(head)), "")
