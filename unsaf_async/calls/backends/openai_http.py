"""The OpenAI-compatible route: vLLM and everything that speaks like it, over plain HTTP.

Our own thin client, since this is the route on which thousands of calls a minute happen: httpx's request and response
types over aiohttp's connections (httpx's own pool costs O(connections) a request), below httpx's client, whose redirects,
cookies and hooks are not wanted here.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, cast
from urllib.request import getproxies

import aiohttp
import httpx
import orjson
from httpx_aiohttp import AiohttpTransport

from unsaf_async.calls.backends.openai_shape import blocked_reply, error_of, reply_of
from unsaf_async.errors import CallError, Transient
from unsaf_async.text import error_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from unsaf_async.records import Message, Reply, Request

CONNECT_S = 15.0
"""How long a connection may take to come about. How long an answer may take is the dispatching layer's business."""


class OpenAIBackend:
    """Calls an OpenAI-compatible server."""

    def __init__(self, endpoint: str, key: str | None = None) -> None:
        """A backend that connects with its first call.

        Args:
            endpoint: The base URL, such as http://localhost:8000/v1.
            key: Sent as bearer token; None for none.
        """
        self._url = httpx.URL(endpoint.rstrip("/") + "/chat/completions")
        self._models_url = httpx.URL(endpoint.rstrip("/") + "/models")
        headers = {"content-type": "application/json", "accept": "application/json"}
        if key:
            headers["authorization"] = f"Bearer {key}"
        self._headers = httpx.Headers(headers)
        self._transport = AiohttpTransport(client=_session)
        self._extensions = {"timeout": httpx.Timeout(None, connect=CONNECT_S).as_dict()}

    async def complete(self, request: Request) -> Reply:
        """The server's reply.

        Args:
            request: The call.

        Returns:
            The reply.

        Raises:
            CallError: None came.
        """
        status, headers, body = await self._send(
            httpx.Request("POST", self._url, headers=self._headers, content=_body(request))
        )
        if status != 200:
            text = body.decode("utf-8", "replace")
            if (blocked := blocked_reply(status, text)) is not None:
                return blocked
            raise error_of(status, text, headers)
        try:
            parsed = orjson.loads(body)
            if "error" in parsed and not parsed.get("choices"):  # some servers report errors with status 200
                code = parsed["error"].get("code") if isinstance(parsed["error"], dict) else None
                raise error_of(code if isinstance(code, int) else 500, body.decode("utf-8", "replace"), headers)
            return reply_of(parsed, headers)
        except CallError:
            raise
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise Transient(f"200 with an unreadable body ({error})", status=200, fate_unknown=True) from None

    async def models(self) -> list[str]:
        """The ids that /models lists, in its order; [] if the server has no such list.

        Raises CallError if it does not answer.
        """
        status, headers, body = await self._send(httpx.Request("GET", self._models_url, headers=self._headers))
        if status == 404:
            return []
        if status != 200:
            raise error_of(status, body.decode("utf-8", "replace"), headers)
        try:
            return [str(model["id"]) for model in orjson.loads(body)["data"]]
        except (ValueError, TypeError, KeyError):
            return []

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.aclose()

    async def _send(self, request: httpx.Request) -> tuple[int, dict[str, str], bytes]:
        """The answer's status, its headers (names in lower case) and its whole body. Raises Transient."""
        request.extensions = self._extensions
        try:
            response = await self._transport.handle_async_request(request)
            # Read straight from the stream: the way through httpx's decoders costs more than the request's own object,
            # and only a compressed body needs it.
            stream = cast("httpx.AsyncByteStream", response.stream)
            try:
                body = b"".join([part async for part in stream])
            finally:
                await stream.aclose()
            headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers.raw}
            if "content-encoding" in headers:
                body = httpx.Response(response.status_code, headers=response.headers, content=body).content
            return response.status_code, headers, body
        except (httpx.TransportError, httpx.DecodingError, aiohttp.ClientError, OSError) as error:
            # The transport maps a server's disconnect to httpx.ConnectTimeout; only aiohttp's own error, its cause, says
            # whether a connection stood. If one did, the request may have been served.
            cause = error.__cause__ or error
            if isinstance(cause, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
                raise Transient(f"{self._url.netloc.decode('ascii')}: no connection ({_why(cause)})") from None
            raise Transient(f"the connection broke ({_why(cause)})", fate_unknown=True) from None


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        # No limit here: how many calls are in flight is the pace's decision.
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        # Costs a look at the environment per request, so only where a proxy is set.
        trust_env=bool(getproxies()),
    )


def _why(error: BaseException) -> str:
    if isinstance(error, aiohttp.ClientConnectorError):
        number = error.os_error.errno
        # asyncio's own text repeats the address: "Connect call failed ('127.0.0.1', 8000)".
        return os.strerror(number).lower() if number and number > 0 else str(error.os_error.strerror or error)[:200]
    return error_line(error, 200)


def _body(request: Request) -> bytes:
    sampling = request.sampling
    body: dict[str, Any] = {
        "model": request.target.model,
        "messages": [message_of(message) for message in request.messages],
        "max_tokens": sampling.max_output_tokens,
    }
    for name in ("temperature", "top_p", "seed"):
        if (value := getattr(sampling, name)) is not None:
            body[name] = value
    if sampling.logprobs:
        body["logprobs"] = True
    if request.schema:
        body["response_format"] = response_format(request.schema.name, request.schema.schema)
    body.update(request.target.extra)
    return orjson.dumps(body)


def message_of(message: Message) -> dict[str, Any]:
    """A turn in OpenAI's form; the image, if any, before the text, as data URL.

    Args:
        message: The turn.

    Returns:
        JSON data.
    """
    if message.image is None:
        return {"role": message.role, "content": message.text}
    return {
        "role": message.role,
        "content": [
            {"type": "image_url", "image_url": {"url": message.image.data_url}},
            {"type": "text", "text": message.text},
        ],
    }


def response_format(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON schema in OpenAI's form.

    Args:
        name: What providers ask to call it.
        schema: The schema.

    Returns:
        JSON data.
    """
    return {"type": "json_schema", "json_schema": {"name": name, "schema": schema, "strict": True}}
