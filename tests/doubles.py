"""Doubles: requests, replies and providers that do what a test says. A provider is any object with `complete`."""

from __future__ import annotations

import asyncio
import resource
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from unsaf_async.providers.prices import Price
from unsaf_async.providers.profile import Limits, Profile
from unsaf_async.records import EncodedImage, Message, Reply, Request, Sampling, Target, Usage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from unsaf_async.events import Event
    from unsaf_async.records import Outcome, Role
    from unsaf_async.runs.saved import SavedRun

IMAGE = EncodedImage(b"\xff\xd8image", "image/jpeg", 64, 48, "c0ffee")


def request(text: str = "What is this?", role: Role = "answer", **fields: Any) -> Request:
    """A small request; `fields` replaces any of its fields."""
    given: dict[str, Any] = {
        "role": role,
        "target": Target("double", "a-model"),
        "messages": (Message("user", text),),
        "sampling": Sampling(max_output_tokens=100, temperature=0.0),
    }
    return Request(**given | fields)


def reply(text: str = "A cat.", outcome: Outcome = "ok", **fields: Any) -> Reply:
    """A reply that counts 10 tokens in and 5 out; `fields` replaces any of its fields."""
    given: dict[str, Any] = {
        "finish_reason": "stop",
        "usage": Usage(input_tokens=10, output_tokens=5),
        "model": "a-model",
    }
    return Reply(outcome, text, **given | fields)


def profile(limits: Limits | None = None, **fields: Any) -> Profile:
    """A profile with a price; `fields` replaces any of its fields."""
    given: dict[str, Any] = {
        "name": "double",
        "backend": "openai",
        "model": "a-model",
        "price": Price(input_usd_per_mtok=1.0, output_usd_per_mtok=10.0),
        "limits": limits or Limits(),
    }
    return Profile(**given | fields)


Run = TypeVar("Run", bound="SavedRun")


def in_memory(run: Run, **parts: Any) -> Run:
    """`run` with these parts (manifest, examinations, ...), as if they had been read from its folder."""
    vars(run).update(parts)
    return run


class Function:
    """A provider that is a function of the request; it notes each request, and how many were under way at once."""

    def __init__(self, answer: Callable[[Request], Awaitable[Reply] | Reply]) -> None:
        self._answer = answer
        self.requests: list[Request] = []
        self.under_way = 0
        self.most_under_way = 0

    async def complete(self, request: Request) -> Reply:
        """What the function returns or raises."""
        self.requests.append(request)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            answer = self._answer(request)
            return answer if isinstance(answer, Reply) else await answer
        finally:
            self.under_way -= 1


class Script(Function):
    """A provider that goes through `steps`, a reply or an exception each; the last one repeats."""

    def __init__(self, *steps: Reply | BaseException, takes_s: float = 0.0) -> None:
        super().__init__(self._step)
        self._steps = list(steps)
        self._takes_s = takes_s

    async def _step(self, request: Request) -> Reply:
        step = self._steps.pop(0) if len(self._steps) > 1 else self._steps[0]
        await asyncio.sleep(self._takes_s)
        if isinstance(step, BaseException):
            raise step
        return step


class Listener:
    """Keeps all events."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        """Hear one."""
        self.events.append(event)

    def of(self, kind: type) -> list[Any]:
        """The events of one class."""
        return [event for event in self.events if isinstance(event, kind)]


async def settle(turns: int = 5) -> None:
    """Let every task go on as far as it can without time passing."""
    for _ in range(turns):
        await asyncio.sleep(0)


@contextmanager
def disk_of(size: int) -> Iterator[None]:
    """No file can grow beyond `size` bytes: the system writes what fits, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
