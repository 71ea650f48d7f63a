"""Whether the model that answered is the one that was asked, by the name that the reply carries.

Vendors route a name to another model, at another price, without an error: only `model` (Gemini: `modelVersion`) in the reply
says so.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from unsaf_async.errors import Fatal

if TYPE_CHECKING:
    from unsaf_async.calls.provider import Provider
    from unsaf_async.calls.replicas import Replicas
    from unsaf_async.records import Reply, Request

_DATE = re.compile(
    r"[-@:_](20\d{2}-?[01]\d-?[0-3]\d|[01]\d-20\d{2}|2[0-9][01]\d(?:[0-3]\d)?|[01]\d[0-3]\d|0\d{2})(?![\d.])"
)
"""What a snapshot's name has in addition to the model's: -2024-11-20, -20250929, @20251001, -09-2025, -2407, -0709, -001."""
_VARIANT = re.compile(r":[a-z][\w-]*\Z")
"""What routers take behind a model's name, and mostly leave out of the reply: who is to serve it (:together), at what price
(:free)."""


def is_same_model(asked: str, answered: str) -> bool:
    """Whether two names stand for the same model, or one for the other's dated snapshot.

    Args:
        asked: The id that was sent.
        answered: The id in the reply; "" where the server gave none, which tells nothing against it.

    Returns:
        True if they do. Names of a vendor in front, "models/", case and the order of a name's words do not count: gateways
        write claude-sonnet-4.5 as claude-4.5-sonnet. The order of numbers counts. Snapshots of two days are two models.
    """
    if not answered or not asked:
        return True
    newest = asked.lower().endswith("-latest")
    asked, answered = _bare(asked), _bare(answered)
    if newest and not any(map(str.isdigit, asked)):  # gemini-flash-latest: whichever number is the newest
        return _parts(asked)[0] == _parts(answered)[0]
    if bool(_VARIANT.search(asked)) != bool(_VARIANT.search(answered)):
        asked, answered = _VARIANT.sub("", asked), _VARIANT.sub("", answered)
    one, other = _day(asked), _day(answered)
    # Days that are written in two ways (2407, 2024-07-18) are not compared.
    return _parts(asked) == _parts(answered) and (one == other or len(one) != len(other))


def _bare(name: str) -> str:
    return re.sub(r"[-@:_]latest\Z", "", name.lower().rpartition("/")[2])


def _day(name: str) -> str:
    """The day or number of a snapshot, its digits alone; "" where the name has none."""
    return "".join(re.sub(r"\D", "", day) for day in _DATE.findall(name))


def _parts(name: str) -> tuple[list[str], list[str]]:
    parts = re.findall(r"[a-z]+|\d+", _DATE.sub("", name))
    return sorted(part for part in parts if part.isalpha()), [part for part in parts if part.isdigit()]


class StrictModel:
    """A provider that takes no reply of another model than the one that it asks."""

    def __init__(self, inner: Provider, asked: str, replicas: Replicas) -> None:
        """A layer for one image's calls.

        Args:
            inner: Who is asked.
            asked: The id that is sent.
            replicas: The model's endpoints; they let no call leave once another model has answered.
        """
        self._inner = inner
        self._asked = asked
        self._replicas = replicas

    async def complete(self, request: Request) -> Reply:
        """The inner provider's reply.

        Args:
            request: The call.

        Returns:
            The reply, of the model that was asked.

        Raises:
            Fatal: Another model answered. Its reply is paid for and stored; a cache below asks anew in the next session.
            CallError: As the inner provider does.
        """
        reply = await self._inner.complete(request)
        if is_same_model(self._asked, reply.model):
            return reply
        several = f" at one of {', '.join(self._replicas.endpoints)}" if len(self._replicas.endpoints) > 1 else ""
        error = Fatal(f"{self._asked} was asked, and {reply.model} answered{several}", kind="another model")
        self._replicas.shut(error)
        raise error
