"""vLLM's output on its way to the log file: secrets blotted out, the current activity and the cause of death read off."""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING

from unsaf_async.text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

LONGEST = 300
"""Characters of what is quoted from the log."""


class Log:
    """A server's output, line by line: into a file without secrets, and read for what the server is doing.

    A frame of a progress bar, which ends in a carriage return, counts as activity, but is not kept in the file.

    Args:
        file: What the lines are added to.
        redact: Takes a text, and gives it back without secrets.
    """

    def __init__(self, file: BinaryIO, redact: Callable[[str], str]) -> None:
        self._file = file
        self._redact = redact
        self._rest = b""
        self._lines: deque[str] = deque(maxlen=1000)
        self._activity_line = ""
        self.problem = ""
        """Why the file could not be written to the end; "" if it could."""

    def write(self, text: str) -> None:
        """Add a line of our own.

        Args:
            text: The line, without its end.
        """
        self._keep(f"{self._redact(text)}\n".encode())

    def feed(self, data: bytes) -> None:
        """Take in what the server wrote.

        Args:
            data: Bytes of its output, cut anywhere.
        """
        *lines, self._rest = (self._rest + data).replace(b"\r\n", b"\n").split(b"\n")
        for line in lines:
            self._take(line.rpartition(b"\r")[2])
        # A frame is whole once its carriage return came. It may be the first half of "\r\n", so it is not dropped yet.
        if frames := [frame for frame in self._rest.split(b"\r")[:-1] if frame.strip()]:
            self._note(self._clean(frames[-1]))
        if len(self._rest) > 1_000_000:
            self._take(self._rest)
            self._rest = b""

    def end(self) -> None:
        """Take what is left in the buffer for a line."""
        if self._rest.strip():
            self._take(self._rest.strip(b"\r").rpartition(b"\r")[2])
        self._rest = b""

    def _take(self, line: bytes) -> None:
        text = self._redact(line.decode("utf-8", "replace"))
        self._keep(f"{text}\n".encode())
        cleaned = _cleaned(text)
        self._lines.append(cleaned)
        self._note(cleaned)

    def _keep(self, data: bytes) -> None:
        try:
            self._file.write(data)
        except OSError as error:  # a full disk does not end the server
            self.problem = error.strerror or str(error)

    def _clean(self, line: bytes) -> str:
        return _cleaned(self._redact(line.decode("utf-8", "replace")))

    def _note(self, cleaned: str) -> None:
        # Not the banner, not the inside of a traceback.
        if re.match(r"\w.*\w", cleaned) and not re.search("[▀-▟]", cleaned):
            self._activity_line = cleaned

    @property
    def activity(self) -> str:
        """The last line that says what the server is doing, in at most 300 characters; "" before there is one."""
        return one_line(self._activity_line, LONGEST, "…")

    @property
    def error(self) -> str:
        """Why it ended, as far as its last lines say, in at most 300 characters; "" if it wrote nothing.

        Of several exceptions it is the last one that is not merely about another: an engine's are followed by its parents'.
        """
        lines = list(self._lines)
        cause = ""
        for place, line in enumerate(lines):
            if not _EXCEPTION.match(line) or "root cause" in line:
                continue
            cause = line
            following = lines[place + 1] if place + 1 < len(lines) else ""
            if following and _VALIDATION.search(line):
                cause = re.sub(r"^Value error, | \[type=.*$", "", following.strip())
        return one_line(cause, LONGEST, "…") or self.activity


_EXCEPTION = re.compile(r"(?:[A-Za-z_][\w.]*\.)?\w*(?:Error|Exception)\b: \S|[\w -]+: error: \S")
"""A traceback's last line, or an option parser's."""

_VALIDATION = re.compile(r"\d validation errors? for ")
"""The first line of pydantic's message; the next one says what is wrong."""


def _cleaned(line: str) -> str:
    """`line` without colors, the process's name, the level and the place in vLLM's code."""
    line = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", line).rstrip()
    line = re.sub(r"^(?:\([^()]*pid=\d+\) )?(?:[DIWEF]\d{4} [\d:.]+ +\d+ [^]]*\] )?", "", line)
    return re.sub(r"^(?:DEBUG|INFO|WARNING|ERROR) [\d-]+ [\d:]+ \[[^\]]*\] ?", "", line)
