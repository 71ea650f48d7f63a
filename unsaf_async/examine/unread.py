"""Judges whose replies cannot be read: told early, with an example, since every response that they judge stays unscored."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from unsaf_async.events import Notice, silent
from unsaf_async.text import format_count, one_line, printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from unsaf_async.events import Announce

IN_A_ROW = 5
"""So many replies in a row without a verdict are told."""
FEW, SHARE = 20, 0.5
"""So is this share of at least so many replies."""
EXAMPLE_CHARS = 120
NO_VERDICT = "no verdict in the reply"


_Kind = tuple[str, bool]
"""A judge's name, and whether its calls are about several responses."""


class UnreadVerdicts:
    """The judges' replies in which no verdict is, counted as they come; each judge is told of once."""

    def __init__(self, announce: Announce = silent, redact: Callable[[str], str] = str) -> None:
        """No replies.

        Args:
            announce: Receives a notice for each judge whose replies cannot be read.
            redact: Hides keys in a text, before any of it is shown.
        """
        self._announce = announce
        self._redact = redact
        self._replies: Counter[_Kind] = Counter()
        self._unread: Counter[_Kind] = Counter()
        self._in_a_row: Counter[_Kind] = Counter()
        self._told: set[_Kind] = set()

    def read(self, judge: str, *, several: bool = False) -> None:
        """Count a reply with a verdict.

        Args:
            judge: The model's name.
            several: Whether the call was about several responses.
        """
        self._replies[judge, several] += 1
        self._in_a_row[judge, several] = 0

    def unread(self, judge: str, reply: str, outcome: str, *, several: bool = False) -> str:
        """Count a reply without a verdict.

        Args:
            judge: The model's name.
            reply: The whole reply.
            outcome: How the call ended.
            several: Whether the call was about several responses, each of which is asked about again alone.

        Returns:
            What the call's record says of it: one line, with the beginning of the reply.
        """
        kind = (judge, several)
        self._replies[kind] += 1
        self._unread[kind] += 1
        self._in_a_row[kind] += 1
        detail = f"{NO_VERDICT}: {self._example(reply)}" if reply.strip() else f"{NO_VERDICT}: it is empty ({outcome})"
        unread, replies = self._unread[kind], self._replies[kind]
        many = self._in_a_row[kind] >= IN_A_ROW or (replies >= FEW and unread >= SHARE * replies)
        if many and kind not in self._told:
            self._told.add(kind)
            of = f"{unread} of {format_count(replies, 'reply', 'replies')}"
            example = f", such as {self._example(reply)}" if reply.strip() else f": the last one is empty ({outcome})"
            about = " to calls about several responses" if several else ""
            then = "each is asked about again alone" if several else "what it judges stays unscored"
            self._announce(Notice(f"{judge} as judge: no verdict can be read in {of}{about}{example}; {then}"))
        return detail

    def _example(self, reply: str) -> str:
        """The beginning of a reply in quotes: on one line, without keys, and without what a terminal obeys."""
        return f'"{one_line(printable(self._redact(reply)), EXAMPLE_CHARS, "...")}"'
