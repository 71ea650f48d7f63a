"""A backend over HTTP: one wire, one address, one transport.

What the wires share stands here: the key's headers, JSON, error statuses, errors that come with status 200, streams.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, BinaryIO

import httpx
import orjson

from unsaf_async.calls.backends.error_status import blocked_reply, error_of
from unsaf_async.calls.backends.event_stream import is_event_stream, whole_body, whole_of
from unsaf_async.calls.backends.outcome import bounded
from unsaf_async.calls.backends.transport import MAX_BODY_BYTES, Answer, BadStatus, Transport
from unsaf_async.calls.backends.wire import json_of, table_of
from unsaf_async.calls.timeout import within
from unsaf_async.errors import CallError, Transient
from unsaf_async.providers.redactor import Redactor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from unsaf_async.calls.backends.wire import Wire
    from unsaf_async.records import Reply, Request


UNREADABLE = (ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RecursionError)
"""What reading JSON of any shape may raise."""


MAX_ERROR_BYTES = 2**16
"""More than any error says. What stands behind is not looked at."""

UNCUT = 40
"""Characters. A shorter name or reason is whole."""


class HttpBackend:
    """Calls an endpoint that speaks a wire."""

    def __init__(
        self,
        wire: Wire,
        endpoint: str = "",
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        redact: Redactor | None = None,
    ) -> None:
        """A backend that connects with its first call.

        Args:
            wire: The protocol.
            endpoint: The base URL; "" is the vendor's own.
            key: The account's; None for none.
            headers: Further ones, as a gateway wants them; they hold no key.
            redact: Hides secrets in what comes back, before any of it is cut; None for one that knows the key.
        """
        self.wire = wire
        """The protocol."""
        self._redact = redact or Redactor([key])
        self._transport = Transport(endpoint or wire.endpoint)
        self._gives_reasons = False
        plain = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
        # In whatever case a name is given, the last one counts.
        self._headers = dict(
            httpx.Headers({**plain, "accept-encoding": "gzip, deflate", **(headers or {}), **wire.headers(key)})
        )

    async def complete(self, request: Request) -> Reply:
        """The endpoint's reply.

        Args:
            request: The call.

        Returns:
            The reply.

        Raises:
            CallError: None came.
        """
        outgoing = self.wire.outgoing(request)
        answer = await self._transport.exchange(
            "POST", outgoing.path, self._headers, orjson.dumps(outgoing.body), _most_bytes(request)
        )
        return self.reply_of(answer, request.sampling.max_output_tokens)

    def reply_of(self, answer: Answer, max_output_tokens: int) -> Reply:
        """The reply that an answer holds.

        Args:
            answer: The endpoint's, to one call.
            max_output_tokens: The hard limit that was asked for.

        Returns:
            The reply.

        Raises:
            CallError: It holds none.
        """
        if answer.status != 200:
            text = self._redact(answer.body[:MAX_ERROR_BYTES].decode("utf-8", "replace"))
            if (blocked := blocked_reply(answer.status, text)) is not None:
                return blocked
            raise error_of(answer.status, text, self._redact.within(answer.headers))
        try:
            body = _parsed(answer)
            if (error := _error_in(body)) is not None:
                billed = bool(body.get("usage") or body.get("choices"))
                return _error_reply(self._redact.within(error), self._redact.within(answer.headers), billed=billed)
            reply = self._checked(replace(self._read(body), headers=answer.headers))
            return bounded(reply, max_output_tokens)
        except CallError:
            raise
        except UNREADABLE as error:
            raise Transient(f"200 with an unreadable body ({error})", status=200, fate_unknown=True) from None

    async def json(
        self,
        method: str,
        path: str,
        body: bytes | BinaryIO | None = None,
        content_type: str = "application/json",
        timeout_s: float = 60.0,
    ) -> dict[str, Any]:
        """The endpoint's answer to what is no call to a model.

        Args:
            method: "GET", "POST" or "DELETE".
            path: Below the endpoint, with its slash.
            body: What is sent, or a file that holds it; None for nothing.
            content_type: Of the body.
            timeout_s: How long it may take.

        Returns:
            The object, without keys; {} for an answer without a body.

        Raises:
            CallError: It is an error, or no JSON object.
        """
        headers = self._headers | {"content-type": content_type, "accept": "application/json"}
        exchange = self._transport.exchange(method, path, headers, body)
        try:
            answer = await within(timeout_s, exchange)
        except TimeoutError:
            raise Transient(f"no answer within {timeout_s:g} s", fate_unknown=True) from None
        if not 200 <= answer.status < 300:
            raise self.error_of(answer)
        try:
            parsed = json_of(answer.body) if answer.body.strip() else {}
            if not isinstance(parsed, dict):
                raise ValueError("it is no JSON object")
        except UNREADABLE as error:
            raise Transient(f"an unreadable body ({error})", status=answer.status, fate_unknown=True) from None
        whole: dict[str, Any] = self._redact.within(parsed)
        return whole

    async def lines(self, path: str, most_bytes: int = MAX_BODY_BYTES) -> AsyncIterator[bytes]:
        """The lines of a file of any size.

        Args:
            path: Below the endpoint, with its slash.
            most_bytes: The most that one line may have.

        Yields:
            Each line that holds something, without its end. Keys are not hidden in it.

        Raises:
            CallError: It cannot be had, or not to its end.
        """
        headers = self._headers | {"accept": "*/*", "accept-encoding": "identity"}
        try:
            async for line in self._transport.lines(path, headers, most_bytes):
                yield line
        except BadStatus as bad:
            raise self.error_of(bad.answer) from None

    def error_of(self, answer: Answer) -> CallError:
        """What an answer with an error status means.

        Args:
            answer: The endpoint's.

        Returns:
            The error, without keys.
        """
        text = self._redact(answer.body[:MAX_ERROR_BYTES].decode("utf-8", "replace"))
        return error_of(answer.status, text, self._redact.within(answer.headers))

    def _read(self, body: Mapping[str, Any]) -> Reply:
        """The reply in `body`. Where a part of it may have been cut, keys are hidden before: half a key is not known as one."""
        reply = self.wire.reply(body)
        if reply.detail or len(reply.model) > UNCUT or len(reply.finish_reason or "") > UNCUT:
            return self.wire.reply(self._redact.within(body))
        return reply

    def _checked(self, reply: Reply) -> Reply:
        """`reply`, which is not whole if it has no finish reason at an endpoint that has given one before."""
        if reply.finish_reason:
            self._gives_reasons = True
        elif self._gives_reasons and reply.outcome == "ok":
            return replace(
                reply, outcome="interrupted", detail="the reply has no finish reason, as others of this server have"
            )
        return reply

    async def models(self) -> list[str]:
        """The ids that the endpoint lists, in its order; [] if it has no such list.

        Raises CallError if it does not answer.
        """
        answer = await self._transport.exchange("GET", self.wire.models_path, self._headers)
        if answer.status == 404:
            return []
        if answer.status != 200:
            raise self.error_of(answer)
        try:
            return self.wire.models(self._redact.within(_parsed(answer)))
        except UNREADABLE:
            return []

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.aclose()


def _most_bytes(request: Request) -> int:
    """The most that a whole answer may have: 2 KiB a token, as a stream with log-probabilities takes, and room beside."""
    return min(MAX_BODY_BYTES, 2**22 + 2**11 * request.sampling.max_output_tokens)


def _parsed(answer: Answer) -> dict[str, Any]:
    if is_event_stream(answer.headers, answer.body):
        return whole_body(answer.body)
    body = json_of(answer.body)
    if isinstance(body, list) and body and all(isinstance(chunk, dict) for chunk in body):
        # Vertex wraps its errors so; and without `alt=sse` Google sends a stream as one array.
        body = body[0] if len(body) == 1 else whole_of(body)
    if not isinstance(body, dict):
        raise ValueError("it is no JSON object")
    return body


def _error_in(body: Mapping[str, Any]) -> Any:
    """The error that a body with status 200 holds; None if it holds a reply."""
    if body.get("error"):
        return body["error"]
    return body if "error" in (body.get("type"), body.get("object")) else None


def _error_reply(error: object, headers: Mapping[str, str], *, billed: bool) -> Reply:
    """The `blocked` reply that an error with status 200 stands for. Raises CallError for every other one.

    billed: whether part of a reply came with it, so that the call may be billed.
    """
    text = json.dumps({"error": error})
    status = table_of(error).get("code")
    if isinstance(status, str) and status.isdigit():
        status = int(status)
    if not isinstance(status, int) or not 400 <= status < 600:
        status = 500
    if (blocked := blocked_reply(200, text)) is not None:
        return blocked
    meaning = error_of(status, text, headers)
    meaning.fate_unknown = meaning.fate_unknown or billed
    raise meaning
