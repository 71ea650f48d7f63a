"""A run over time, as its ledger has it: when calls were sent, how many were in flight, what they cost."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from unsaf_async.files import whole_lines

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from unsaf_async.records import Examination, Role

NANO = 1e9
"""Nano-dollars in a dollar; the ledger counts in the former."""


@dataclass
class Timeline:
    """A run's attempts over the seconds that a session was open.

    sent_s, settled_s: times of attempts, sorted. cost_usd: what each settled one cost, in that order. in_flight: (times,
    numbers) after each change. wait_s: seconds from sending to the reply, by role. retried: repetitions by role.
    lost: attempts without a known end.
    """

    sent_s: list[float] = field(default_factory=list)
    settled_s: list[float] = field(default_factory=list)
    cost_usd: list[float] = field(default_factory=list)
    in_flight: tuple[list[float], list[int]] = field(default_factory=lambda: ([], []))
    wait_s: dict[Role, list[float]] = field(default_factory=lambda: defaultdict(list))
    retried: dict[Role, int] = field(default_factory=lambda: defaultdict(int))
    lost: int = 0
    sessions: int = 0
    ended: bool = False


class _Reader:
    """Adds the ledger's entries to a timeline, one after the other; pauses between sessions take no time."""

    def __init__(self) -> None:
        self.timeline = Timeline()
        self._open: dict[int, tuple[Role, float]] = {}  # by number: the role, and when it was sent
        self._lost: set[int] = set()  # attempts without a known end: one in a batch may be found again
        self._began = 0.0  # the session, by the ledger's clock
        self._before_s = 0.0  # all sessions before this one
        self._last_s = 0.0

    def read(self, entry: dict[str, Any]) -> None:
        """Add an entry. Raises KeyError, TypeError or ValueError if it is none of a ledger's."""
        what, moment = entry["what"], float(entry["t"])
        result = self.timeline
        if what == "session":
            result.sessions += 1
            self.lose_open()
            self._before_s, self._began = self._last_s, moment
        now = self._last_s = max(self._last_s, self._before_s + moment - self._began)
        number = entry.get("n", 0)
        if what == "sent":
            role = entry.get("role", "answer")
            self._open[number] = (role, now)
            result.sent_s.append(now)
            result.retried[role] += bool(entry.get("again"))
        elif what in ("settled", "refunded", "unknown") and number in self._open:
            role, sent_s = self._open.pop(number)
            if what == "settled":
                result.wait_s[role].append(now - sent_s)
                result.settled_s.append(now)
                result.cost_usd.append(entry.get("cost", 0) / NANO)
            if what == "unknown":
                self._lost.add(number)
        elif what == "found":
            self._lost.discard(number)
        result.lost = len(self._lost)
        result.ended = what == "end"
        if what in ("sent", "settled", "refunded", "unknown", "session"):
            result.in_flight[0].append(now)
            result.in_flight[1].append(len(self._open))

    def lose_open(self) -> None:
        """Count the attempts that are open as lost."""
        self._lost.update(self._open)
        self.timeline.lost = len(self._lost)
        self._open.clear()


def timeline(file: Path) -> Timeline:
    """The ledger of a run by time.

    Args:
        file: The run's ledger.jsonl. Lines that are no ledger's are skipped.

    Returns:
        The timeline; an empty one if there is no file.
    """
    reader = _Reader()
    for line in whole_lines(file):
        try:
            reader.read(orjson.loads(line))
        except (ValueError, KeyError, TypeError):
            continue
    reader.lose_open()
    return reader.timeline


def latencies(examinations: Iterable[Examination]) -> dict[Role, list[float]]:
    """Seconds that the kept replies took, by role.

    Args:
        examinations: The run's records.

    Returns:
        Seconds by role, without calls that failed. A reply from the cache counts with what it took when it was made.
    """
    by_role: dict[Role, list[float]] = {}
    for examination in examinations:
        for call in examination.calls:
            if call.outcome != "failed" and call.latency_s > 0:
                by_role.setdefault(call.role, []).append(call.latency_s)
    return by_role
