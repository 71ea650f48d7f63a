"""Which field of a row names its image, as people and tools call it."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

NAMES = ("image", "images", "file_name", "filename", "image_path", "path")
"""What a column of images is called, the likeliest first; case, spaces, hyphens and underscores do not count."""

_MORE_NAMES = ("image_file", "image_file_name", "image_name", "img", "img_path", "file_path", "file")


@lru_cache(maxsize=1024)
def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name).lower()


_RANKS = {_plain(name): rank for rank, name in enumerate((*NAMES, *_MORE_NAMES))}


def image_columns(names: Iterable[object]) -> list[str]:
    """The fields that may name an image.

    Args:
        names: The names of all fields.

    Returns:
        Those that are called so, the likeliest first.
    """
    known = [name for name in names if isinstance(name, str) and is_image_column(name)]
    return sorted(known, key=lambda name: _RANKS[_plain(name)])


def image_column(names: Iterable[object]) -> str | None:
    """The field that names an image.

    Args:
        names: The names of all fields.

    Returns:
        The likeliest; None if none is called so.
    """
    return next(iter(image_columns(names)), None)


def is_image_column(name: str) -> bool:
    """Whether a field may name an image.

    Args:
        name: The field's.

    Returns:
        Whether it is called so.
    """
    return _plain(name) in _RANKS


def url_column(names: Iterable[object]) -> str | None:
    """The field that holds addresses.

    Args:
        names: The names of all fields.

    Returns:
        The first that is called so; None without any.
    """
    return next(
        (name for name in names if isinstance(name, str) and _plain(name).endswith(("url", "urls", "uri"))), None
    )
