"""What the engine announces while it works. Displays, logs and tracers listen; the engine knows none of them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unsaf_async.errors import CallError
    from unsaf_async.records import Examination, Reply, Role


@dataclass(frozen=True, slots=True)
class CallSent:
    """An attempt leaves.

    Attributes:
        held_usd: What it can cost at worst.
        batched: Whether it goes with others in a batch, and counts against no limit per minute.
    """

    role: Role
    provider: str
    held_usd: float
    batched: bool = False


@dataclass(frozen=True, slots=True)
class CallSettled:
    """An attempt is over.

    Attributes:
        reply: None if it failed.
        cost_usd: What it is booked with.
        seconds: How long it took, where it failed; 0.0 where that is not known. Of a reply: `Reply.latency_s`.
        error: The name of the error with which it failed; "" where that is not known.
    """

    role: Role
    provider: str
    reply: Reply | None
    cost_usd: float
    seconds: float = 0.0
    error: str = ""


@dataclass(frozen=True, slots=True)
class CallRetried:
    """An attempt failed and will be made again.

    Attributes:
        wait_s: Seconds until then, any pause of the whole model not included.
    """

    role: Role
    error: CallError
    wait_s: float


@dataclass(frozen=True, slots=True)
class CacheHit:
    """A call was answered without one leaving.

    Attributes:
        collected: Whether by a batch that an earlier session of this run had left with the vendor, and paid for.
    """

    role: Role
    collected: bool = False


@dataclass(frozen=True, slots=True)
class Paused:
    """The provider asked for patience.

    Attributes:
        seconds: For so long no call to it leaves.
        reason: The error with which it did, in one line.
        asked: Whether it named the time; otherwise the pause is our own.
    """

    provider: str
    seconds: float
    reason: str
    asked: bool = True


@dataclass(frozen=True, slots=True)
class ParameterRefused:
    """A model turned out not to take a parameter: its requests go without from now on.

    Attributes:
        reason: The endpoint's words, in one line.
        renamed: The name under which the parameter is sent instead; "" if it is dropped.
    """

    provider: str
    parameter: str
    reason: str
    renamed: str = ""


@dataclass(frozen=True, slots=True)
class KeyHidden:
    """A reply held a key that its server was sent. It is kept, and counts, with a mark in the key's place."""

    provider: str


@dataclass(frozen=True, slots=True)
class BoundBroken:
    """A call cost more than its computed worst case: the profile's token formula is too low for this model."""

    role: Role
    provider: str
    bound_usd: float
    cost_usd: float


@dataclass(frozen=True, slots=True)
class ImageKept:
    """An examination is in the journal."""

    examination: Examination


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that the user should know, mostly before the first call leaves.

    Attributes:
        text: One line.
    """

    text: str


@dataclass(frozen=True, slots=True)
class EndpointNotice(Notice):
    """One of a model's endpoints is left out, or answers again."""


@dataclass(frozen=True, slots=True)
class BatchesMoved:
    """How far a model's batches are.

    Attributes:
        batches: How many are with the vendor.
        rows: Their calls.
        done: How many of these the vendor says are answered.
        gathered: How many further calls wait for a batch to leave with.
        until_s: When the last of them is waited for no longer, in seconds since the epoch; None: until its vendor ends it.
    """

    provider: str
    batches: int
    rows: int
    done: int
    gathered: int = 0
    until_s: float | None = None


Event = (
    Notice
    | BatchesMoved
    | CallSent
    | CallSettled
    | CallRetried
    | CacheHit
    | Paused
    | ParameterRefused
    | KeyHidden
    | BoundBroken
    | ImageKept
)
Announce = Callable[[Event], None]
"""Receives every event, in order, on the event loop's thread. It must not block and must not raise."""

Say = Callable[[str], None]
"""Puts one line before the user, beside or above the progress display."""


def logged(event: Event) -> None:
    """Hears everything and logs the notices, such as who is called where, as warnings of the logger `unsaf_async`.

    Args:
        event: An event.
    """
    if isinstance(event, Notice):
        logging.getLogger("unsaf_async").warning("%s", event.text)


def silent(event: Event) -> None:
    """Listens to nothing.

    Args:
        event: Any event.
    """
