"""A run that may still be going on, followed by its files: each look reads only what has come since the last one."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

import orjson
from pydantic import ValidationError

from unsaf_async.calls.batches.register import unmarked
from unsaf_async.calls.budget import NANO
from unsaf_async.calls.ledger import Account
from unsaf_async.errors import UserError
from unsaf_async.records import Examination
from unsaf_async.report.explorer import TYPES
from unsaf_async.runs.folder import RunFiles, read_manifest
from unsaf_async.runs.so_far import SoFar
from unsaf_async.score.unf1 import cell

if TYPE_CHECKING:
    from pathlib import Path

SILENT_S = 120.0
"""A run that has not ended is taken for dead after so long without a new line in its ledger."""

LATEST = 12
"""How many of the newest questions a look has."""


class _Growing:
    """The whole lines that were added to a file since the last look."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.size = 0
        self.began_anew = False

    def new_lines(self) -> list[bytes]:
        """The new lines, [] if there are none or there is no file. `began_anew`: the file is shorter than it was."""
        try:
            size = self.file.stat().st_size
            self.began_anew = size < self.size
            if self.began_anew:
                self.size = 0
            if size == self.size:
                return []
            with self.file.open("rb") as stream:
                stream.seek(self.size)
                data = stream.read()
        except OSError:
            return []
        whole = data.rfind(b"\n") + 1
        self.size += whole
        return data[:whole].split(b"\n")[:-1]


class Tail:
    """A run in `folder` that may still be going on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        files = RunFiles(folder)
        self._journal, self._ledger, self._register = map(_Growing, (files.journal, files.ledger, files.batches))
        self._batches: dict[str, set[int]] = {}
        """The numbers of the attempts in each batch that is with a vendor, by the batch's name."""
        self._kept: dict[str, Examination] = {}
        self._so_far = self._nothing()
        self._account = Account()
        self._ended = False
        self._looks = 0
        self._version = f"{time.time_ns():x}"

    def look(self, now: float | None = None) -> dict[str, Any]:
        """The figures so far. Blocks for as long as reading the new lines takes.

        Args:
            now: Seconds since the epoch. None: the clock's.

        Returns:
            The state and the figures, ready for JSON. `version` differs if and only if something has changed since the last
            look. A line that is none of the files' is skipped.
        """
        ledger = self._read_ledger()  # first: once it says that the run has ended, the journal is whole
        if any([self._read_journal(), self._read_batches(), ledger]):  # each is read
            self._looks += 1
        counts = dict.fromkeys(TYPES, 0)
        for examination in self._kept.values():
            for question in examination.questions:
                counts[cell(question) or "unscored"] += 1
        failed = sum(examination.failure is not None for examination in self._kept.values())
        account = self._account
        batched = set().union(*self._batches.values())
        given_up = [account.lost[number] for number in batched if number in account.lost]
        still_open = [account.open[number] for number in batched if number in account.open]
        state = self._state(time.time() if now is None else now)
        return {
            "version": f"{self._version}-{self._looks}-{state}",
            "state": state,
            "done": len(self._kept) - failed,
            "failed": failed,
            "unf1": self._so_far.value,
            "interval": self._so_far.interval,
            "between": self._so_far.between,
            "counts": counts,
            "cost_usd": (account.spent_nano_usd - sum(given_up)) / NANO,
            "calls": sum(account.made.values()),
            "in_flight": len(account.open) - len(still_open) if state == "running" else 0,
            "batches": len(self._batches),
            "batched": len(batched),
            "held_usd": (sum(given_up) + sum(still_open)) / NANO,
            "wall_s": self._account.wall_s,
            "latest": self._latest(),
        }

    def _nothing(self) -> SoFar:
        """The figure of no image."""
        try:
            return SoFar(read_manifest(self.folder).source)
        except UserError:
            return SoFar(None)

    def _state(self, now: float) -> Literal["running", "ended", "silent"]:
        if self._ended:
            return "ended"
        sign = self._ledger.file if self._ledger.size else RunFiles(self.folder).manifest
        try:
            silent = now - sign.stat().st_mtime > SILENT_S
        except OSError:
            return "silent"
        return "silent" if silent and not self._batches else "running"  # a batch may take a day

    def _read_journal(self) -> bool:
        lines = self._journal.new_lines()
        again = self._journal.began_anew
        if again:
            self._kept.clear()
        for line in lines:
            try:
                examination = Examination.model_validate_json(line)
            except ValidationError:
                continue
            again = again or examination.image.id in self._kept
            self._kept.pop(examination.image.id, None)  # so that the newest are the last
            self._kept[examination.image.id] = examination
            if not again:
                self._so_far.add(examination)
        if again:
            self._so_far = self._nothing()
            for examination in self._kept.values():
                self._so_far.add(examination)
        return bool(lines) or again

    def _read_ledger(self) -> bool:
        lines = self._ledger.new_lines()
        if self._ledger.began_anew:
            self._account = Account()
        for line in lines:
            try:
                entry = orjson.loads(line)
                self._account.read(entry)
                self._ended = entry["what"] == "end"
            except (ValueError, KeyError, TypeError, AttributeError):
                continue
        return bool(lines)

    def _read_batches(self) -> bool:
        lines = self._register.new_lines()
        changed = bool(lines) or self._register.began_anew
        if self._register.began_anew:
            self._batches.clear()
        for line in lines:
            with suppress(ValueError, KeyError, TypeError, AttributeError):
                entry = orjson.loads(unmarked(line))
                if entry["what"] == "handed in":
                    self._batches[entry["name"]] = {row["number"] for row in entry["rows"]}
                elif entry["what"] == "over":
                    self._batches.pop(entry["name"], None)
        return changed

    def _latest(self) -> list[dict[str, Any]]:
        questions: list[dict[str, Any]] = []
        for examination in reversed(self._kept.values()):
            for number, question in enumerate(examination.questions, 1):
                questions.append(
                    {
                        "image": examination.image.id,
                        "number": number,
                        "text": question.text,
                        "response": question.response,
                        "type": cell(question) or "unscored",
                    }
                )
            if len(questions) >= LATEST:
                break
        return questions[:LATEST]
