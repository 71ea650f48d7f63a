"""The mark by which a run knows again the replies that it received itself."""

from __future__ import annotations

from dataclasses import dataclass
from hmac import compare_digest
from hmac import digest as hmac_digest


@dataclass(frozen=True)
class Seal:
    """How a run knows again the replies that it received itself, when they come out of a file that anybody may have written."""

    run_id: str
    key: bytes | None
    """Secret; None: there is none, and no line is known again."""

    def sealed(self, line: bytes) -> bytes:
        """A line with the mark of who has the key.

        Args:
            line: A key and a value, with a space between them.

        Returns:
            The same with " " and the HMAC-SHA256 behind it; as it was without a key.
        """
        return line if self.key is None else line + b" " + self._mark(self.key, line)

    def opened(self, line: bytes) -> tuple[str, bytes]:
        """What a line has to store, and where.

        Args:
            line: Of the file.

        Returns:
            (key, value). A line without its mark is for this run alone, whatever key it has: it may be of anybody's choosing.
        """
        content, space, mark = line[:-65], line[-65:-64], line[-64:]
        own = self.key is not None and space == b" " and compare_digest(mark, self._mark(self.key, content))
        key, _, value = (content if own else line).partition(b" ")
        return key.decode() if own else f"{key.decode().partition(':')[0]}:{self.run_id}", value

    @staticmethod
    def _mark(key: bytes, line: bytes) -> bytes:
        return hmac_digest(key, b"received\0" + line, "sha256").hex().encode()
