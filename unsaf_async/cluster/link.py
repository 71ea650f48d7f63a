"""A worker's line to the driver: what it tells, and what it asks and waits for. It knows no transport.

What a worker says leaves in the order in which it was said, many at a time: all that has gathered since the last batch. Most of
it needs no answer, for what is said later is done later.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from unsaf_async.errors import (
    BudgetExhausted,
    Fatal,
    ProviderDown,
    RunStopped,
    Unfunded,
    UnsafError,
    UserError,
    setting,
)

if TYPE_CHECKING:
    from unsaf_async.records import Role

GATHER_S = 0.02
"""The least time between two batches: what costs is their number, not their size. A worker that says little waits for nothing."""

_MARK = "\x1f"
"""Around a setting's name in an error's text on its way: the marks of `errors.setting` differ in every process."""
_MARKED = re.compile(f"{_MARK}([a-z_.]+)(?:=([^{_MARK}]*))?{_MARK}")

_PLAIN: dict[str, type[UnsafError]] = {
    each.__name__: each for each in (RunStopped, BudgetExhausted, ProviderDown, Unfunded, UserError)
}
"""The errors that are made of their text alone."""


class Said(NamedTuple):
    """One thing that a worker says.

    Attributes:
        number: Under which its answer comes back; 0: none does.
        what: One of `counterpart.Counterpart`'s methods.
        values: Its arguments.
    """

    number: int
    what: str
    values: tuple[Any, ...]


class Failure(NamedTuple):
    """An error on its way between processes.

    Attributes:
        name: Its class's.
        text: What it says, with settings between marks.
        kind: Of a `Fatal`.
        status: Of a `Fatal`.
    """

    name: str
    text: str
    kind: str = ""
    status: int | None = None

    @classmethod
    def of(cls, error: UnsafError) -> Failure:
        """An error as it travels.

        Args:
            error: A `Fatal`, or one that is made of its text alone; of others the nearest class counts.

        Returns:
            What `error` makes of it again.
        """
        text = error.spelled(lambda name: f"{_MARK}{name}{_MARK}")
        if isinstance(error, Fatal):
            return cls("Fatal", text, error.kind, error.status)
        name = next((each.__name__ for each in type(error).__mro__ if each.__name__ in _PLAIN), "RunStopped")
        return cls(name, text)

    @property
    def error(self) -> UnsafError:
        """The error, in this process."""
        text = _MARKED.sub(
            lambda mark: setting(mark[1]) if mark[2] is None else setting(f"{mark[1]}={mark[2]}"), self.text
        )
        if self.name == "Fatal":
            return Fatal(text, kind=self.kind, status=self.status)
        return _PLAIN.get(self.name, RunStopped)(text)


class ModelState(NamedTuple):
    """What a worker has learned about a model.

    Attributes:
        adapted: See `Adapted.refused`.
        left_out: See `Replicas.left_out`.
        served: See `Refusals.seen`.
        refused: See `Refusals.seen`.
        down: Why no call to it can work any more; None: it can.
    """

    adapted: dict[str, str]
    left_out: dict[str, str]
    served: tuple[Role, ...]
    refused: dict[Role, str]
    down: Failure | None


class Pause(NamedTuple):
    """An endpoint has asked another worker to wait.

    Attributes:
        name: Of the endpoint's pace.
        seconds: How long.
    """

    name: str
    seconds: float


class Answer(NamedTuple):
    """What comes back for one thing said."""

    number: int
    value: Any


class Link:
    """One worker's line. Everything happens on one event loop."""

    def __init__(self) -> None:
        self._said: list[Said] = []
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._last = 0
        self._something = asyncio.Event()
        self._closed = False
        self._last_said_s = 0.0

    def tell(self, what: str, *values: Any) -> None:
        """Say something that needs no answer.

        Args:
            what: As `Said` has it.
            values: As `Said` has them.
        """
        self._said.append(Said(0, what, values))
        self._something.set()

    async def ask(self, what: str, *values: Any) -> Any:
        """Say something and wait for the answer.

        Args:
            what: As `Said` has it.
            values: As `Said` has them.

        Returns:
            The answer.

        Raises:
            UnsafError: The driver answered with an error.
        """
        self._last += 1
        number = self._last
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        self._said.append(Said(number, what, values))
        self._something.set()
        try:
            value = await future
        finally:
            self._waiting.pop(number, None)
        if isinstance(value, Failure):
            raise value.error
        return value

    async def said(self) -> list[Said]:
        """What was said since the last time; waits until there is something. For the transport.

        Returns:
            In order; [] once the line is closed and all is said.
        """
        while not self._said and not self._closed:
            self._something.clear()
            await self._something.wait()
        loop = asyncio.get_running_loop()
        if not self._closed and (early_s := self._last_said_s + GATHER_S - loop.time()) > 0:
            await asyncio.sleep(early_s)
        self._last_said_s = loop.time()
        said, self._said = self._said, []
        return said

    def answer(self, answer: Answer) -> None:
        """Hand an answer to whoever waits for it. For the transport.

        Args:
            answer: The driver's.
        """
        future = self._waiting.get(answer.number)
        if future is not None and not future.done():
            future.set_result(answer.value)

    def close(self) -> None:
        """Nothing more will be said."""
        self._closed = True
        self._something.set()
