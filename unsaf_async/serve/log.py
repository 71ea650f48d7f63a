"""The server's log, and what it says when the server dies."""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING

from unsaf_async.text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO


class Log:
    """A server's output, line by line: into `file` without `redact`'s secrets, and read for what it tells.

    A progress bar's frames, which end in a carriage return, are told but not kept.
    """

    def __init__(self, file: BinaryIO, redact: Callable[[str], str]) -> None:
        self._file = file
        self._redact = redact
        self._rest = b""
        self._lines: deque[str] = deque(maxlen=1000)
        self._told = ""
        self.problem = ""
        """Why the file could not be written to the end; "" if it could."""

    def write(self, text: str) -> None:
        """A line of ours."""
        self._keep(f"{self._redact(text)}\n".encode())

    def feed(self, data: bytes) -> None:
        """Takes in what the server wrote."""
        *lines, self._rest = (self._rest + data).replace(b"\r\n", b"\n").split(b"\n")
        for line in lines:
            self._take(line.rpartition(b"\r")[2])
        # A frame is whole once its carriage return came. It may be the first half of "\r\n", so it is not dropped yet.
        if frames := [frame for frame in self._rest.split(b"\r")[:-1] if frame.strip()]:
            self._tell(self._clean(frames[-1]))
        if len(self._rest) > 1_000_000:
            self._take(self._rest)
            self._rest = b""

    def end(self) -> None:
        """Takes what is left for a line."""
        if self._rest.strip():
            self._take(self._rest.strip(b"\r").rpartition(b"\r")[2])
        self._rest = b""

    def _take(self, line: bytes) -> None:
        text = self._redact(line.decode("utf-8", "replace"))
        self._keep(f"{text}\n".encode())
        cleaned = _cleaned(text)
        self._lines.append(cleaned)
        self._tell(cleaned)

    def _keep(self, data: bytes) -> None:
        try:
            self._file.write(data)
        except OSError as error:  # a full disk does not end the server
            self.problem = error.strerror or str(error)

    def _clean(self, line: bytes) -> str:
        return _cleaned(self._redact(line.decode("utf-8", "replace")))

    def _tell(self, cleaned: str) -> None:
        # Not the banner, not the inside of a traceback.
        if re.match(r"\w.*\w", cleaned) and not re.search("[▀-▟]", cleaned):
            self._told = cleaned

    @property
    def telling(self) -> str:
        """The last line that tells what the server is doing, in at most 300 characters; "" before there is one."""
        return one_line(self._told, 300, "…")

    @property
    def error(self) -> str:
        """Why it ended, as far as its last lines tell, in at most 300 characters; "" if it said nothing.

        Of several exceptions the last that is not merely about another one: an engine's are followed by its parents'.
        """
        lines = list(self._lines)
        found = ""
        for place, line in enumerate(lines):
            if not _EXCEPTION.match(line) or "root cause" in line:
                continue
            found = line
            if re.search(r"\d validation errors? for ", line) and place + 1 < len(
                lines
            ):  # pydantic: what follows tells
                found = re.sub(r"^Value error, | \[type=.*$", "", lines[place + 1].strip())
        return one_line(found, 300, "…") or self.telling


_EXCEPTION = re.compile(r"(?:[A-Za-z_][\w.]*\.)?\w*(?:Error|Exception)\b: \S|[\w -]+: error: \S")
"""A traceback's last line, or an option parser's."""


def _cleaned(line: str) -> str:
    """`line` without colors, the process's name, the level and the place in vLLM's code."""
    line = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", line).rstrip()
    line = re.sub(r"^(?:\([^()]*pid=\d+\) )?(?:[DIWEF]\d{4} [\d:.]+ +\d+ [^]]*\] )?", "", line)
    return re.sub(r"^(?:DEBUG|INFO|WARNING|ERROR) [\d-]+ [\d:]+ \[[^\]]*\] ?", "", line)
