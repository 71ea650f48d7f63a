"""`--env-file`: variables for keys from a file that the user names. Nothing is read that is not named."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from unsaf_async.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

_LINE = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)", re.DOTALL)


def read_env_file(file: Path) -> list[str]:
    """Sets the variables that a file gives. A variable that is set already stays as it is.

    A line is `NAME=VALUE`, with or without `export` before it and quotes around the value. Lines that begin with # are none.
    Nothing is expanded.

    Args:
        file: The user's.

    Returns:
        The names of the variables that were set. Their values are shown nowhere.

    Raises:
        UserError: The file cannot be read, or a line is none of these; the line itself is not repeated.
    """
    try:
        text = file.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = "is no UTF-8 text" if isinstance(error, UnicodeDecodeError) else error.strerror
        raise UserError(f": {file} cannot be read ({why}); give a file of lines NAME=VALUE", field="env_file") from None
    named = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        parts = _LINE.fullmatch(line.strip())
        if parts is None or "\0" in parts[2]:
            raise UserError(f": {file}:{number} is no line NAME=VALUE; mend it", field="env_file")
        name, value = parts[1], _unquoted(parts[2])
        if name not in os.environ:
            os.environ[name] = value
            named.append(name)
    return named


def _unquoted(value: str) -> str:
    """A value without its quotes; without quotes, up to a comment."""
    if value[:1] in ("'", '"') and (end := value.find(value[0], 1)) > 0:
        return value[1:end]
    return re.split(r"\s#", value, maxsplit=1)[0].strip()
