"""A simulator that closes: connections that had just been accepted are closed with it."""

from __future__ import annotations

import asyncio
import gc
import socket
import time
import warnings

import pytest

from unsaf_async.simulate.server import Simulator


@pytest.mark.parametrize("turns", range(4))
async def test_connections_that_were_just_accepted_are_closed_with_the_server(turns):
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        async with Simulator() as simulator:
            clients = []
            for _ in range(5):
                client = socket.socket()
                client.setblocking(False)
                client.connect_ex(("127.0.0.1", int(simulator.url.rpartition(":")[2])))
                clients.append(client)
            time.sleep(0.01)  # noqa: ASYNC251 - the loop must not turn
            for _ in range(turns):  # until the connections are accepted, and nothing more
                await asyncio.sleep(0)
        for client in clients:
            client.close()
        gc.collect()
    assert [str(each.message) for each in warned if each.category is ResourceWarning] == []
