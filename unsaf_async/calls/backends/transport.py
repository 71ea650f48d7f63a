"""One HTTP exchange with one address: the request as given, the answer bounded. It knows no vendor.

aiohttp's connections: httpx's own pool costs O(connections) a request, and its types over them half as much again as the
exchange. A redirect is not followed, so that a key goes to no other address; no cookie is kept; of the environment, only the
system's proxies are read.
"""

from __future__ import annotations

import os
import ssl
import zlib
from base64 import b64encode
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, BinaryIO

import aiohttp
import httpx

from unsaf_async.errors import Rejected, Transient
from unsaf_async.providers.addresses import proxy_of
from unsaf_async.text import error_line

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from contextlib import AbstractAsyncContextManager

CONNECT_S = 15.0
"""How long a connection may take to come about. How long an answer may take is the dispatching layer's business."""

_TIMEOUT = aiohttp.ClientTimeout(sock_connect=CONNECT_S)

_CHUNK_BYTES = 2**14

MAX_BODY_BYTES = 32 * 2**20
"""More than any whole reply: no answer is read beyond it, compressed or not."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. headers: names in lower case. body: whole, decompressed."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class BadStatus(Exception):
    """A file cannot be had."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


class Transport:
    """Connections to one address."""

    def __init__(self, endpoint: str) -> None:
        """A transport that connects with its first request.

        Args:
            endpoint: The base URL, such as http://localhost:8000/v1.
        """
        self._endpoint = endpoint.rstrip("/")
        proxy = _proxy(proxy_of(self._endpoint))
        self._proxy = str(proxy.url) if proxy else None
        self._proxy_headers = dict(proxy.headers) if proxy else None
        self._session: aiohttp.ClientSession | None = None

    async def exchange(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        content: bytes | BinaryIO | None = None,
        most_bytes: int = MAX_BODY_BYTES,
    ) -> Answer:
        """The answer to a request.

        Args:
            method: "GET", "POST" or "DELETE".
            path: Below the endpoint, with its slash.
            headers: Sent as they are.
            content: The request's body, or a file that holds it from its present place on; None for none.
            most_bytes: The most that the answer's body may have, compressed and decompressed.

        Returns:
            The answer, whatever its status.

        Raises:
            Transient: No connection, or one that broke: the latter leaves it unknown whether the request was served.
            Rejected: The answer is larger than that.
        """
        try:
            async with self._request(method, path, headers, content) as response:
                body = await _read(response.content, most_bytes)
        except (aiohttp.ClientError, OSError) as error:
            raise self._broken(error) from None
        answer_headers = _headers_of(response)
        encoding = answer_headers.get("content-encoding", "identity").strip().lower()
        return Answer(response.status, answer_headers, decompressed(body, encoding, most_bytes))

    async def lines(
        self, path: str, headers: Mapping[str, str], most_bytes: int = MAX_BODY_BYTES
    ) -> AsyncIterator[bytes]:
        """The lines of a file of any size, as they come.

        Args:
            path: Below the endpoint, with its slash.
            headers: Sent as they are; they ask for no compression.
            most_bytes: The most that one line may have.

        Yields:
            Each line that holds something, without its end.

        Raises:
            Transient: No connection, or one that broke; or the server compressed the file all the same.
            Rejected: A line is larger than that.
            BadStatus: The answer's status is not 200.
        """
        begun = b""
        try:
            async with self._request("GET", path, headers) as response:
                answer_headers = _headers_of(response)
                if response.status != 200:
                    raise BadStatus(Answer(response.status, answer_headers, await _read(response.content, 2**20)))
                if answer_headers.get("content-encoding", "identity").strip().lower() != "identity":
                    raise Transient("the file came compressed, which was not asked for")
                async for part in response.content.iter_chunked(_CHUNK_BYTES):
                    *whole, begun = (begun + part).split(b"\n")
                    if len(begun) > most_bytes:
                        raise too_large(most_bytes)
                    for line in whole:
                        if line.strip():
                            yield line
        except (aiohttp.ClientError, OSError) as error:
            raise self._broken(error) from None
        if begun.strip():
            yield begun

    def _request(
        self, method: str, path: str, headers: Mapping[str, str], content: bytes | BinaryIO | None = None
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        if self._session is None:
            self._session = _session()
        return self._session.request(
            method,
            _url(self._endpoint + path),
            headers=headers,
            data=content,
            allow_redirects=False,
            auto_decompress=False,
            timeout=_TIMEOUT,
            proxy=self._proxy,
            proxy_headers=self._proxy_headers,
        )

    async def aclose(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    def _broken(self, error: Exception) -> Transient:
        # If a connection stood, the request may have been served.
        if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
            place = httpx.URL(self._endpoint).netloc.decode("ascii")
            return Transient(f"{place}: no connection ({_reason(error)})", unsent=True)
        if isinstance(error, aiohttp.ClientHttpProxyError):  # to CONNECT: nothing of the request left
            place = httpx.URL(self._endpoint).netloc.decode("ascii")
            return Transient(f"{place}: the proxy opened no connection (it answered {error.status})", unsent=True)
        return Transient(f"the connection broke ({_reason(error)})", fate_unknown=True)


@lru_cache(maxsize=256)  # a run's calls go to a handful of addresses
def _url(text: str) -> str:
    """An address with everything escaped that needs it."""
    return str(httpx.URL(text))


def _headers_of(response: aiohttp.ClientResponse) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.raw_headers}


async def _read(stream: aiohttp.StreamReader, most_bytes: int) -> bytes:
    parts, size = [], 0
    async for part in stream.iter_chunked(_CHUNK_BYTES):
        size += len(part)
        if size > most_bytes:
            raise too_large(most_bytes)
        parts.append(part)
    return b"".join(parts)


def too_large(most_bytes: int = MAX_BODY_BYTES) -> Rejected:
    """The error of an answer beyond its bound. It was served, so it may have been billed.

    Args:
        most_bytes: The bound.

    Returns:
        The error, to be raised.
    """
    return Rejected(f"the answer is larger than {most_bytes // 2**20} MB", fate_unknown=True)


def decompressed(body: bytes, encoding: str, most_bytes: int = MAX_BODY_BYTES) -> bytes:
    """A body decompressed, to its bound at most.

    Args:
        body: As it came.
        encoding: What content-encoding says, in lower case; "identity" and "" for none.
        most_bytes: The most that the plain body may have.

    Returns:
        The plain body.

    Raises:
        Rejected: It is larger than that.
        Transient: It is not as compressed as it says; it was served all the same.
    """
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise Transient(f"an unreadable body (content-encoding {encoding[:20]!r})", fate_unknown=True)
    if encoding != "deflate":
        return _gunzipped(body, most_bytes)
    # "deflate" is zlib's format by the standard, and without its header by custom.
    for bits in (zlib.MAX_WBITS, -zlib.MAX_WBITS):
        decoder = zlib.decompressobj(bits)
        try:
            plain = decoder.decompress(body, most_bytes + 1)
        except zlib.error:
            continue
        if len(plain) > most_bytes:
            raise too_large(most_bytes)
        if decoder.eof:
            return plain
    raise Transient(f"an unreadable body (it is no whole {encoding})", fate_unknown=True)


MOST_MEMBERS = 64
"""Of one gzip body: servers send one. Each costs a copy of what follows it."""


def _gunzipped(body: bytes, most_bytes: int) -> bytes:
    """All members of a gzip file, one after the other."""
    plain = b""
    for _ in range(MOST_MEMBERS):
        decoder = zlib.decompressobj(16 + zlib.MAX_WBITS)
        try:
            plain += decoder.decompress(body, most_bytes + 1 - len(plain))
        except zlib.error:
            break
        if len(plain) > most_bytes:
            raise too_large(most_bytes)
        if not decoder.eof:
            break
        body = decoder.unused_data
        if not body.strip(b"\0"):
            return plain
    raise Transient("an unreadable body (it is no whole gzip)", fate_unknown=True)


def _proxy(url: str | None) -> httpx.Proxy | None:
    if url is None:
        return None
    proxy = httpx.Proxy(url)  # which takes the credentials out of the address
    if proxy.auth is None:
        return proxy
    # aiohttp sends this header to the proxy alone, as proxy-authorization; credentials given otherwise are deprecated there.
    return httpx.Proxy(
        proxy.url, headers={"authorization": f"Basic {b64encode(':'.join(proxy.auth).encode()).decode()}"}
    )


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        # No limit here: how many calls are in flight is the pace's decision.
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
    )


def _reason(error: BaseException) -> str:
    if isinstance(error, aiohttp.ClientConnectorError):
        if isinstance(error.os_error, ssl.SSLError):  # whose numbers are no errno
            return error_line(error.os_error, 200)
        number = error.os_error.errno
        # asyncio's own text repeats the address: "Connect call failed ('127.0.0.1', 8000)".
        return os.strerror(number).lower() if number and number > 0 else str(error.os_error.strerror or error)[:200]
    return error_line(error, 200)
