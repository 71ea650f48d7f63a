"""Stdout, and text that is safe to print on it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    pass


def console() -> Console:
    """Stdout. In a pipe or a file, lines are as long as what they say, so that grep finds it."""
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 240
    return Console(highlight=False, emoji=False, width=width)


def safe(text: str) -> str:
    """`text` with nothing in it that rich takes for markup."""
    from rich.markup import escape

    return escape(text)
