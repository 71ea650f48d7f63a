"""What the routes of every vendor's batches share: the key's check, files, bounded bodies, and errors in the vendor's words."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import orjson
from aiohttp import web

from unsaf_async.simulate.wire import Answer, Body, Call, RequestError, Trouble, Wire

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from unsaf_async.simulate.admission import Admission
    from unsaf_async.simulate.batches.jobs import Batches
    from unsaf_async.simulate.ledger import ServerLedger
    from unsaf_async.simulate.pictures import Pictures
    from unsaf_async.simulate.settings import Simulation

MEGABYTE = 1024 * 1024

ID = "{id:[^/:]+}"
"""The part of a path that is an id."""

Route = tuple[str, str, "Callable[[web.Request], Awaitable[web.StreamResponse]]"]
"""Method, path and handler."""


class Provider(Protocol):
    """What the server does for the routes of batches."""

    simulation: Simulation
    ledger: ServerLedger
    pictures: Pictures
    admission: Admission
    batches: Batches

    def stamp(self) -> str:
        """Hexadecimal digits for the ids of an answer."""
        ...

    def kept_out(self, request: web.Request, wire: Wire) -> Trouble | None:
        """Why a request is let in at no account.

        Args:
            request: The request.
            wire: The format that it came in.

        Returns:
            The trouble; None if it is let in.
        """
        ...

    def headers(self, wire: Wire, stamp: str) -> dict[str, str]:
        """The provider's headers.

        Args:
            wire: The format that answers.
            stamp: Hexadecimal digits for the ids in it.

        Returns:
            Values by name.
        """
        ...

    def cut(self, request: web.Request) -> web.Response:
        """Close the connection.

        Args:
            request: What came on it.

        Returns:
            A response that goes nowhere.
        """
        ...


@dataclass(slots=True)
class StoredFile:
    """A file of the account. Times are Unix times in seconds. expires_at: None: it is kept."""

    id: str
    name: str
    purpose: str
    data: bytes
    created_at: float
    expires_at: float | None = None
    batch_id: str | None = None


@dataclass
class Desk:
    """One vendor's counter: its format, its files, and the account behind it."""

    provider: Provider
    wire: Wire
    files: dict[str, StoredFile] = field(default_factory=dict)

    def refused(self, request: web.Request) -> web.Response | None:
        """The answer to a request whose key is not let in.

        Args:
            request: The request.

        Returns:
            The answer; None if the key is let in.
        """
        kept_out = self.provider.kept_out(request, self.wire)
        return None if kept_out is None else self.trouble(kept_out)

    def trouble(self, trouble: Trouble) -> web.Response:
        """An error in the vendor's words.

        Args:
            trouble: Why there is no 200.

        Returns:
            The answer.
        """
        return self.answer(self.wire.error(trouble, self.provider.stamp()))

    def answer(self, answer: Answer) -> web.Response:
        """An answer as it leaves.

        Args:
            answer: Status and body.

        Returns:
            The answer with the vendor's headers.
        """
        headers = {**self.provider.headers(self.wire, self.provider.stamp()), **answer.headers}
        body = orjson.dumps(answer.body)
        return web.Response(status=answer.status, body=body, headers=headers, content_type="application/json")

    def ok(self, body: Body) -> web.Response:
        """A 200.

        Args:
            body: Its JSON object.

        Returns:
            The answer.
        """
        return self.answer(Answer(200, body))

    def store(self, id_: str, name: str, purpose: str, data: bytes, batch_id: str | None = None) -> StoredFile:
        """Keep a file.

        Args:
            id_: Its id.
            name: As the client named it.
            purpose: What for.
            data: Its content.
            batch_id: The batch whose results it holds. None: it holds none.

        Returns:
            The file.
        """
        file = self.files[id_] = StoredFile(id_, name, purpose, data, time.time(), batch_id=batch_id)
        return file

    def read(self, body: object, headers: Mapping[str, str], model: str = "") -> Call | Trouble:
        """The call that a row makes.

        Args:
            body: The row's request, as it would be sent online.
            headers: Of the batch's creation.
            model: The model's name, where the format has it outside of the body.

        Returns:
            The call, or what is wrong with it.
        """
        if not isinstance(body, dict):
            return Trouble("bad", "We could not parse the JSON body of your request: it is no object.")
        try:
            return self.wire.read(body, model, headers, self.provider.pictures)
        except RequestError as error:
            return Trouble("bad", str(error), error.parameter)


def new_id() -> str:
    """32 hexadecimal digits that nothing else has."""
    return secrets.token_hex(16)


async def body_of(request: web.Request, largest: int) -> bytes | None:
    """The body of a request.

    Args:
        request: The request.
        largest: Bytes that it may have.

    Returns:
        The bytes; None if there are more.
    """
    data = bytearray()
    async for chunk in request.content.iter_chunked(MEGABYTE):
        data += chunk
        if len(data) > largest:
            return None
    return bytes(data)


def parsed(data: bytes) -> dict[str, Any] | None:
    """A JSON object.

    Args:
        data: Its text in UTF-8.

    Returns:
        The object; None if it is none.
    """
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None
