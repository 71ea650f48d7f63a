"""One name of a file in the spellings of several systems."""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import PurePath
from urllib.parse import unquote


def spellings(named: str) -> tuple[str, ...]:
    """How a file may be called that a list names: as it stands there, with composed and decomposed letters, with slashes.

    Args:
        named: A path, perhaps from another system.

    Returns:
        Different paths, the likeliest first: as it stands there, then `with_slashes`, then in other letters, from the home
        folder, and without a URL's escapes.
    """
    slashed = with_slashes(named)
    others = [os.path.expanduser(slashed)] if slashed.startswith("~/") else []  # noqa: PTH111  # pathlib's raises without a home
    if "%" in named:
        others.append(unquote(slashed))
    if named.isascii() and "\\" not in named:
        return (slashed, *others)
    forms = (unicodedata.normalize(form, slashed) for form in ("NFC", "NFD"))
    return tuple(dict.fromkeys((PurePath(local_path(named)).as_posix(), slashed, *forms, *others)))


def with_slashes(named: str) -> str:
    """A path as it stands in a list, without Windows' separators.

    Args:
        named: A path, perhaps from another system.

    Returns:
        The path with slashes; of a URL of a file on this machine, its path.
    """
    if _PLAIN.fullmatch(named):
        return named  # a Path would be the same, and takes a third of the time that a list of many rows does
    return PurePath(local_path(named).replace("\\", "/")).as_posix()


_PLAIN = re.compile(r"(?![A-Za-z]+:)(?:[^/\\.][^/\\]*/)*[^/\\.][^/\\]*")


def local_path(named: str) -> str:
    """The path in a URL of a file on this machine.

    Args:
        named: Such as "file:///home/me/a%20b.png", or a path.

    Returns:
        The path; `named` itself if it is no such URL.
    """
    found = re.match(r"file:(?://(?:localhost)?(?=/)|(?=/[^/]))", named, re.IGNORECASE)
    return unquote(named[found.end() :]) if found else named


def is_windows_path(named: str) -> bool:
    """Whether a path says where a file lies on a Windows machine.

    Args:
        named: A path.

    Returns:
        Whether it begins with a drive or a server.
    """
    return re.match(r"[A-Za-z]:[\\/]|\\\\", named) is not None
