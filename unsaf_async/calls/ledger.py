"""The run's account of attempts, on disk: one line before an attempt leaves, one when it is over.

An attempt without a second line was under way when the process died: it may have been billed, so it counts at its worst
case. The ledger knows no limits; that is the budget's business.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, field, fields
from operator import add
from typing import TYPE_CHECKING, Any, get_args

import orjson

from unsaf_async.calls.budget import NANO
from unsaf_async.errors import UserError
from unsaf_async.files import LineFile, whole_lines
from unsaf_async.records import Role, Usage
from unsaf_async.text import one_line

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

    from unsaf_async.calls.budget import Reservation
    from unsaf_async.calls.reserve import Reserve

ROLES: tuple[Role, ...] = get_args(Role)

ENDS = ("settled", "refunded", "unknown")
"""What becomes of an attempt."""

_TOKENS = len(fields(Usage))
"""Counts of tokens that a settled attempt has."""

LAST_S = 1e11
"""Seconds since the epoch: no line is of later."""


@dataclass
class Account:
    """What a run's attempts come to, over all its sessions. Made by reading the ledger's lines in order.

    spent_nano_usd: settled costs, plus the worst case of every attempt whose fate is unknown (`unknown_nano_usd` of it, in
    `unknown` attempts). made: attempts that left, by role. retried: those that were a repetition. unsent: attempts for which no
    connection came about; they count nowhere else. saved_nano_usd: what the providers' caches of prompts saved. open: the worst
    case of attempts under way, by number. served: roles in which a reply came.
    """

    spent_nano_usd: int = 0
    unknown_nano_usd: int = 0
    unknown: int = 0
    made: dict[Role, int] = field(default_factory=lambda: {"ask": 0, "answer": 0, "judge": 0})
    retried: int = 0
    unsent: int = 0
    saved_nano_usd: int = 0
    open: dict[int, int] = field(default_factory=dict)
    served: set[Role] = field(default_factory=set)
    last_number: int = 0
    lost: dict[int, int] = field(default_factory=dict)
    """The worst case of attempts whose fate is unknown, by number: in a batch they may be found again."""
    _roles: dict[int, Role] = field(default_factory=dict)
    """Of attempts under way, by number."""
    _tokens: list[int] = field(default_factory=lambda: [0] * _TOKENS)
    """Of settled attempts, in the order of `Usage`."""
    _repetitions: set[int] = field(default_factory=set)
    """Which of them are one."""
    _finished_s: float = 0.0
    _began: float | None = None
    _last: float = 0.0

    @property
    def cost_usd(self) -> float:
        """USD spent, unknown fates included at their worst."""
        return self.spent_nano_usd / NANO

    @property
    def wall_s(self) -> float:
        """Seconds from each session's first attempt to the end of its last."""
        return self._finished_s + (self._last - self._began if self._began is not None else 0.0)

    @property
    def usage(self) -> Usage:
        """Tokens of the settled attempts."""
        return Usage(*self._tokens)

    def read(self, line: dict[str, Any]) -> None:
        """Take one line of the ledger into account.

        Args:
            line: As it was written.

        Raises:
            ValueError: It is no line of a ledger, begins an attempt that has begun, or ends one that is not open.
            KeyError: It lacks a part.
            TypeError: It is no JSON object.
        """
        what, at = line["what"], line["t"]
        if type(at) not in (int, float) or not 0 <= at <= LAST_S:
            raise ValueError(f"its time is {at!r:.60}")
        number = _whole(line, "n") if what in ENDS or what == "sent" else 0
        if what in ENDS and number not in self.open:
            raise ValueError(f"it ends attempt {number}, which is not under way")
        match what:
            case "session":  # whatever is still open belongs to a session that died
                self._finished_s = self.wall_s
                self._began, self._last = None, 0.0
                for lost, worst in self.open.items():
                    self._lose(lost, worst)
                self.open.clear()
                self._roles.clear()
                self._repetitions.clear()
            case "sent":
                role, worst, again = line["role"], _whole(line, "worst"), line["again"]
                if role not in ROLES or not isinstance(again, bool):
                    raise ValueError(f"its role is {role!r:.60}, and again is {again!r:.60}")
                if number <= self.last_number:
                    raise ValueError(f"it begins attempt {number} after attempt {self.last_number}")
                if self._began is None:
                    self._began = self._last = at  # which may be earlier than before: clocks are set back
                self.open[number] = worst
                self.last_number = number
                self._roles[number] = role
                self.made[role] = self.made.get(role, 0) + 1
                self.retried += again
                if again:
                    self._repetitions.add(number)
            case "settled":
                cost, tokens, saved = _whole(line, "cost"), _checked_tokens(line["tokens"]), line.get("saved", 0)
                if type(saved) is not int or not -(2**63) < saved < 2**63:
                    raise ValueError(f"saved is {saved!r:.60}")
                del self.open[number]
                self.served.add(self._roles[number])
                self.spent_nano_usd += cost
                self.saved_nano_usd += saved
                self._tokens = list(map(add, self._tokens, tokens))
            case "refunded":
                if not isinstance(unsent := line.get("unsent", False), bool):
                    raise ValueError(f"unsent is {unsent!r:.60}")
                del self.open[number]
                if unsent:
                    self._never_left(number)
            case "unknown":
                self._lose(number, self.open.pop(number))
            case "found":
                number, cost, tokens = _whole(line, "n"), _whole(line, "cost"), _checked_tokens(line["tokens"])
                if number not in self.lost:
                    raise ValueError(f"it finds attempt {number}, which was not lost")
                self._find(number, cost, tokens)
            case "missing":  # lines that were lost, as far as the run's other files tell what they cost
                self.spent_nano_usd += _whole(line, "cost")
            case "end":
                pass
            case _:
                raise ValueError(f"it is of no known kind, {what!r:.60}")
        if what in ENDS:
            del self._roles[number]
            self._repetitions.discard(number)
        if what not in ("session", "end", "missing"):  # opening models, scoring and the report are no part of it
            self._last = max(self._last, at)

    def _never_left(self, number: int) -> None:
        self.made[self._roles[number]] -= 1
        self.retried -= number in self._repetitions
        self.unsent += 1

    def _find(self, number: int, cost: int, tokens: list[int]) -> None:
        worst = self.lost.pop(number)
        self.spent_nano_usd += cost - worst
        self.unknown_nano_usd -= worst
        self.unknown -= 1
        self._tokens = list(map(add, self._tokens, tokens))

    def _lose(self, number: int, worst: int) -> None:
        self.lost[number] = worst
        self.spent_nano_usd += worst
        self.unknown_nano_usd += worst
        self.unknown += 1


def _tokens_of(usage: Usage) -> list[int]:
    return [
        usage.input_tokens,
        usage.cached_input_tokens,
        usage.cache_write_tokens,
        usage.output_tokens,
        usage.reasoning_tokens,
    ]


def _whole(line: dict[str, Any], name: str) -> int:
    """The amount, or the number, that a line has under a name. Raises ValueError where it is none."""
    value = line[name]
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError(f"{name} is {value!r:.60}")
    return value


def _checked_tokens(tokens: object) -> list[int]:
    if not isinstance(tokens, list) or len(tokens) != _TOKENS:
        raise ValueError(f"tokens is {tokens!r:.60}")
    for count in tokens:
        if type(count) is not int or not 0 <= count < 2**63:
            raise ValueError(f"a count of tokens is {count!r:.60}")
    return tokens


def read_account(file: Path) -> Account:
    """The account that a ledger comes to. What is still open counts as spent at its worst.

    Args:
        file: The ledger. A half-written last line is passed over.

    Returns:
        The account; an empty one if there is no file.

    Raises:
        UserError: A line is no ledger's.
    """
    account = _replayed(file)
    for number, worst in account.open.items():
        account._lose(number, worst)  # noqa: SLF001 - the same module's
    account.open.clear()
    return account


def _replayed(file: Path) -> Account:
    account = Account()
    for number, line in enumerate(whole_lines(file), 1):
        try:
            account.read(orjson.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            why = f"it has no {error.args[0]}" if isinstance(error, KeyError) else str(error)
            raise UserError(
                f"{file}:{number}: is no line of a ledger ({one_line(why, 200)}); restore it, or start a new run"
            ) from None
    return account


class Ledger:
    """Appends to `file` and keeps `account` up to date. Opening begins a session; a half-written last line is cut off."""

    def __init__(self, file: Path, reserve: Reserve | None = None) -> None:
        """An open ledger.

        Args:
            file: Made if it does not exist.
            reserve: Room for the lines of attempts under way when the disk is full; None for none. With it, only `sent` fails
                then. An attempt whose end cannot be written all the same counts at its worst when the ledger is read back.

        Raises:
            UserError: The file cannot be written, or a line is no ledger's.
        """
        self.account = _replayed(file)
        self._reserve = reserve
        self._lines = LineFile(file)
        self._write({"what": "session"})

    async def enter(self, role: Role, reservation: Reservation, *, again: bool) -> int:
        """As `sent`, for whoever may have to wait for it: the ledger may lie with another process.

        Args:
            role: What the call is for.
            reservation: The money for the attempt.
            again: Whether it repeats an earlier one.

        Returns:
            Its number, for the line that ends it.

        Raises:
            Fatal: As `sent` does.
            UserError: As `sent` does.
        """
        return self.sent(role, reservation.amount_nano_usd, again=again)

    def sent(self, role: Role, worst_nano_usd: int, *, again: bool) -> int:
        """Enter an attempt that is about to leave.

        Args:
            role: What the call is for.
            worst_nano_usd: What the attempt costs at worst.
            again: Whether it repeats an earlier one.

        Returns:
            Its number, for the line that ends it.

        Raises:
            Fatal: The file cannot be written, and there is a reserve.
            UserError: The file cannot be written, and there is none.
        """
        number = self.account.last_number + 1
        try:
            self._write({"what": "sent", "n": number, "role": role, "worst": worst_nano_usd, "again": again})
        except UserError as error:
            if self._reserve:
                raise self._reserve.stop(error) from None
            raise
        return number

    def settled(self, number: int, cost_nano_usd: int, usage: Usage, saved_nano_usd: int = 0) -> None:
        """The attempt brought a whole reply.

        Args:
            number: The attempt's.
            cost_nano_usd: What it cost.
            usage: The tokens it was billed for.
            saved_nano_usd: What it would have cost more without the provider's cache of prompts.
        """
        saved = {"saved": saved_nano_usd} if saved_nano_usd else {}
        self._end({"what": "settled", "n": number, "cost": cost_nano_usd, "tokens": _tokens_of(usage)} | saved)

    def found(self, number: int, cost_nano_usd: int, usage: Usage) -> int:
        """What became of an attempt that an earlier session gave up is known after all.

        Args:
            number: The attempt's.
            cost_nano_usd: What it cost; 0 where it was not served.
            usage: The tokens it was billed for.

        Returns:
            What was booked for it until now, in nano-dollars; 0 where it was no longer lost, and nothing is changed.
        """
        worst = self.account.lost.get(number)
        if worst is None:
            return 0
        line = {"what": "found", "n": number, "cost": cost_nano_usd, "tokens": _tokens_of(usage)}
        self._end(line)
        return worst

    def refunded(self, number: int, *, unsent: bool = False) -> None:
        """The attempt cost nothing: it was turned away, or never left.

        Args:
            number: The attempt's.
            unsent: Whether it never left this machine.
        """
        self._end({"what": "refunded", "n": number} | ({"unsent": True} if unsent else {}))

    def unknown(self, number: int) -> None:
        """The attempt may have been billed: it stays spent at its worst case.

        Args:
            number: The attempt's.
        """
        self._end({"what": "unknown", "n": number})

    def missing(self, cost_nano_usd: int) -> None:
        """Lines were lost, and so much of what they cost is known from elsewhere.

        Args:
            cost_nano_usd: What is missing.
        """
        self._write({"what": "missing", "cost": cost_nano_usd})

    def close(self) -> None:
        """End the session. Closing twice is harmless."""
        if not self._lines.closed:
            with suppress(UserError):  # the line is for people; what was spent stands in the others
                self._write({"what": "end"})
            self._lines.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, line: dict[str, Any]) -> None:
        line["t"] = time.time()
        self._lines.append(orjson.dumps(line))
        self.account.read(line)

    def _end(self, line: dict[str, Any]) -> None:
        """Write the end of an attempt, in the reserve if it must be."""
        if self._reserve is None:
            self._write(line)
            return
        line["t"] = time.time()
        self._reserve.append(self._lines, orjson.dumps(line))
        self.account.read(line)
