"""An aiohttp application on a socket, which loses no connection when it closes."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@asynccontextmanager
async def listening(app: web.Application, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[int]:
    """The port at which the application is served while the context is open.

    asyncio leaves a connection that it has just accepted unclosed for ever when its server closes in the same turn of the loop
    (https://github.com/python/cpython/issues/109564). Here nothing more is accepted, and those are made whole, before it closes.

    Args:
        app: Served without an access log; a handler is cancelled when its client leaves.
        host: To listen on.
        port: To listen on; 0 picks a free one.

    Yields:
        The port.

    Raises:
        OSError: The address cannot be listened on.
    """
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1.0)
    await runner.setup()
    assert runner.server is not None  # from setup() on
    loop = asyncio.get_running_loop()
    try:
        server = await loop.create_server(runner.server, host, port, backlog=2048)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            for listener in server.sockets:
                loop.remove_reader(listener)
            await asyncio.sleep(0)
            server.close()
    finally:
        await runner.cleanup()
