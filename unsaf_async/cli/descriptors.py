"""How many files and connections the system lets this process open: as many as it may, and what to do where that is too few."""

from __future__ import annotations

import os
from contextlib import suppress
from errno import EMFILE, ENFILE

ENOUGH = 10_240
"""What macOS allows at most."""

ALLOW = "allow more (`ulimit -n 4096`), or give a smaller --concurrency"
"""What a user can do where that is too few."""


def open_more() -> None:
    """Raise the limit that holds to the one that the system allows, `ENOUGH` at most: macOS begins with 256."""
    with suppress(ImportError, OSError, ValueError):  # Windows has no such limits
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = ENOUGH if hard == resource.RLIM_INFINITY else min(hard, ENOUGH)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def used_up(text: str) -> bool:
    """Whether an error means that no more can be opened.

    Args:
        text: The error, as it was told.

    Returns:
        Whether it holds the system's words for that.
    """
    return any(os.strerror(number).lower() in text.lower() for number in (EMFILE, ENFILE))
