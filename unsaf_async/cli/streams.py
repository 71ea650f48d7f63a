"""Stdout and stderr that outlive their readers: a closed pipe, a closed terminal or a full disk ends no run."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from errno import EDQUOT, EIO, ENOSPC, EPIPE
from functools import cache
from shutil import get_terminal_size
from textwrap import fill
from typing import IO, TYPE_CHECKING, Any

from unsaf_async.text import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from unsaf_async.providers.redactor import Redactor

NOBODY_READS = (EPIPE, EIO)
"""A closed pipe (`unsaf-async show RUN | head`), a closed terminal: whoever closed it wanted no more."""

NO_ROOM = (ENOSPC, EDQUOT)
"""A full disk, a used-up quota."""


class Lasting:
    """A text stream that takes whatever is written, and says in `broken` why it could no longer pass it on."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self.broken: OSError | None = None
        """None while all that was written has been passed on."""

    def write(self, text: str) -> int:
        """Passes a text on, or drops it once the stream is broken.

        Args:
            text: The text.

        Returns:
            Its length.
        """
        if self.broken is None:
            try:
                return self._stream.write(text)
            except OSError as error:
                self._break(error)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Passes texts on.

        Args:
            lines: The texts.
        """
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Passes on what is held back."""
        if self.broken is None:
            try:
                self._stream.flush()
            except OSError as error:
                self._break(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _break(self, error: OSError) -> None:
        """From here on all goes nowhere, also what the interpreter writes when it ends."""
        self.broken = error
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
            self._stream.flush()
        except (OSError, ValueError):  # no file: nothing is written when the interpreter ends
            pass


def tell(text: str) -> None:
    """Writes a line to stderr, with the program's name before it; on a terminal it is wrapped at words.

    Args:
        text: What is told. It may hold what servers, models and files say: a terminal shows all of it but the secrets in
            environment variables, and obeys nothing.
    """
    from unsaf_async.providers.keys import secrets_of_environment

    redact = _redactor(frozenset(secrets_of_environment(os.environ)))
    line = shown(redact(text))
    line = line if line.startswith("unsaf-async") else f"unsaf-async: {line}"
    sys.stderr.write(f"{_wrapped(line)}\n")
    sys.stderr.flush()


def _wrapped(line: str) -> str:
    """A line as a terminal shows it; whole where stderr is none, so that grep finds all of it."""
    if not sys.stderr.isatty():
        return line
    columns = get_terminal_size().columns
    return fill(line, columns, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


@cache
def _redactor(secrets: frozenset[str]) -> Redactor:
    from unsaf_async.providers.redactor import Redactor

    return Redactor(secrets)


@contextmanager
def lasting_streams() -> Iterator[Lasting]:
    """Stdout and stderr last while the context does; one that was closed from the beginning goes nowhere.

    Yields:
        Stdout.
    """
    before = sys.stdout, sys.stderr
    with open(os.devnull, "w", encoding="utf-8") as nowhere:  # noqa: PTH123 - no file
        out, err = (Lasting(stream if stream is not None else nowhere) for stream in before)
        sys.stdout, sys.stderr = out, err  # all that a text stream has, they have
        try:
            yield out
        finally:
            out.flush()
            err.flush()
            sys.stdout, sys.stderr = before
