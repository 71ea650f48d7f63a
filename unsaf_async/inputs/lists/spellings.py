"""One name of a file in the spellings of several systems."""

from __future__ import annotations

import re
import unicodedata
from pathlib import PurePath


def spellings(named: str) -> tuple[str, ...]:
    """How a file may be called that a list names: as it stands there, with composed and decomposed letters, with slashes.

    Args:
        named: A path, perhaps from another system.

    Returns:
        Different paths, the likeliest first: as it stands there, then `with_slashes`, then in other letters.
    """
    slashed = with_slashes(named)
    if named.isascii() and "\\" not in named:
        return (slashed,)
    forms = (unicodedata.normalize(form, slashed) for form in ("NFC", "NFD"))
    return tuple(dict.fromkeys((PurePath(named).as_posix(), slashed, *forms)))


def with_slashes(named: str) -> str:
    """A path as it stands in a list, without Windows' separators.

    Args:
        named: A path, perhaps from another system.

    Returns:
        The path with slashes.
    """
    return PurePath(named.replace("\\", "/")).as_posix()


def is_windows_path(named: str) -> bool:
    """Whether a path says where a file lies on a Windows machine.

    Args:
        named: A path.

    Returns:
        Whether it begins with a drive or a server.
    """
    return re.match(r"[A-Za-z]:[\\/]|\\\\", named) is not None
