"""The same refusal again and again: where a model answers no call of a role, and refuses them all alike, the run stops."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from unsaf_async.errors import Fatal, Rejected

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from unsaf_async.calls.provider import Provider
    from unsaf_async.calls.replicas import Replicas
    from unsaf_async.records import Reply, Request, Role

SAME_REFUSALS = 8
"""So many refusals of one role alike, and no reply in it, show that none will come."""

TO_DO: dict[Role, str] = {"ask": "write questions", "answer": "answer", "judge": "judge", "audit": "audit"}
"""What a call is for, in words; others are extra measures."""


class Refusals:
    """The refusals of one model, by role and by what they say."""

    def __init__(self, replicas: Replicas, served: Collection[Role] = ()) -> None:
        """No refusals.

        Args:
            replicas: The model's endpoints; they let no call leave once the refusals are too many.
            served: Roles in which earlier sessions of the run had replies.
        """
        self._replicas = replicas
        self.answered = False
        """Whether a reply came, in whichever role."""
        self._served = set(served)
        self._counts: Counter[tuple[Role, str]] = Counter()
        self._last: dict[Role, str] = {}

    @property
    def hopeless(self) -> str | None:
        """What was refused without exception, and in which words; None if there is nothing."""
        for role, words in self._last.items():
            if role not in self._served:
                return f"every request to {_to_do(role)} was refused: {words}"
        return None

    @property
    def seen(self) -> tuple[tuple[Role, ...], dict[Role, str]]:
        """(roles in which a reply came, the last words with which each role was refused)."""
        return tuple(self._served), dict(self._last)

    def add(self, served: Collection[Role], refused: Mapping[Role, str]) -> None:
        """Take in what another process has seen of the model.

        Args:
            served: As in its `seen`.
            refused: As in its `seen`.
        """
        self.answered = self.answered or bool(served)
        self._served.update(served)
        self._last.update(refused)

    def serve(self, role: Role) -> None:
        """A reply came.

        Args:
            role: What the call was for.
        """
        self.answered = True
        self._served.add(role)

    def refuse(self, role: Role, error: Rejected) -> Fatal | None:
        """A call was refused for good.

        Args:
            role: What it was for.
            error: The refusal.

        Returns:
            The error that ends the calls to the model, once that is so; None before.
        """
        if role in self._served or error.fate_unknown:
            return None
        self._last[role] = str(error)
        kind = role, re.sub(r"\d+", "#", str(error))  # ids and counts differ in each
        self._counts[kind] += 1
        if self._counts[kind] < SAME_REFUSALS:
            return None
        text = f"{self._counts[kind]} requests to {_to_do(role)} were refused alike, and none was answered: {error}"
        fatal = Fatal(text, kind="refused", status=error.status)
        self._replicas.shut(fatal)
        return fatal


def _to_do(role: Role) -> str:
    return TO_DO.get(role, "measure more")


class StopAtRefusals:
    """A provider that gives up a model that refuses every call of a role alike."""

    def __init__(self, inner: Provider, refusals: Refusals) -> None:
        """A layer for one image's calls.

        Args:
            inner: Who is asked.
            refusals: The model's; shared by all layers around it.
        """
        self._inner = inner
        self._refusals = refusals

    async def complete(self, request: Request) -> Reply:
        """The inner provider's reply.

        Args:
            request: The call.

        Returns:
            The reply.

        Raises:
            Fatal: This refusal is one too many.
            CallError: As the inner provider does.
        """
        try:
            reply = await self._inner.complete(request)
        except Rejected as error:
            if (fatal := self._refusals.refuse(request.role, error)) is not None:
                raise fatal from None
            raise
        self._refusals.serve(request.role)
        return reply
