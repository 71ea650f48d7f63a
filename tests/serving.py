"""Servers for tests: one that answers by a function, one that answers every request alike, a proxy that refuses."""

from __future__ import annotations

import asyncio
import zlib
from contextlib import asynccontextmanager
from functools import cache
from typing import TYPE_CHECKING

from aiohttp import web

from unsaf_async.simulate.listening import listening

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping


@cache
def bomb(encoding: str, size_mb: int = 200) -> bytes:
    """So many MB of spaces, in less than a hundredth of that. encoding: "gzip" or "deflate"."""
    packer = zlib.compressobj(1, wbits=31 if encoding == "gzip" else 15)
    part = b" " * 2**20
    return b"".join([*(packer.compress(part) for _ in range(size_mb)), packer.flush()])


@asynccontextmanager
async def serve_bytes(body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> AsyncIterator[str]:
    """The base URL of a server that answers every request with these bytes."""

    async def handle(_: web.Request) -> web.Response:
        return web.Response(body=body, status=status, headers=headers)

    async with serve_requests(handle) as url:
        yield url


@asynccontextmanager
async def serve_requests(handle: Callable[[web.Request], Awaitable[web.Response]]) -> AsyncIterator[str]:
    """The base URL of a server that answers every request, whatever its path, with `handle`."""
    app = web.Application(client_max_size=2**26)
    app.router.add_route("*", "/{path:.*}", handle)
    async with listening(app) as port:
        yield f"http://127.0.0.1:{port}"


@asynccontextmanager
async def refusing_proxy() -> AsyncIterator[tuple[str, list[bytes]]]:
    """A proxy that answers 502 to whoever wants a connection: its address, and the first lines of what it was asked."""
    asked: list[bytes] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[0])
        writer.write(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", asked
