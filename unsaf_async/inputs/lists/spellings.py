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
        Different paths with slashes, the likeliest first; the last one is the path as it stands there, without Windows'
        separators.
    """
    if named.isascii() and "\\" not in named:
        return (PurePath(named).as_posix(),)
    slashed = PurePath(named.replace("\\", "/")).as_posix()
    given = [PurePath(named).as_posix()] if "\\" in named else []
    forms = [unicodedata.normalize(form, slashed) for form in ("NFC", "NFD")]
    return tuple(dict.fromkeys((*given, *(each for each in forms if each != slashed), slashed)))


def is_windows_path(named: str) -> bool:
    """Whether a path says where a file lies on a Windows machine.

    Args:
        named: A path.

    Returns:
        Whether it begins with a drive or a server.
    """
    return re.match(r"[A-Za-z]:[\\/]|\\\\", named) is not None
