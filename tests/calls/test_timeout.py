"""A call may take so long and no longer; a process that stood still meanwhile reads what has come before it gives up."""

from __future__ import annotations

import asyncio
import time

import pytest
from clock import clocked, now_s

from unsaf_async.calls.timeout import within


@clocked
async def test_a_call_that_is_in_time_brings_its_result_and_leaves_no_timer_behind() -> None:
    assert await within(5, asyncio.sleep(4, "done")) == "done"
    await asyncio.sleep(100)


@clocked
async def test_a_call_that_is_not_is_ended_when_its_time_is_over() -> None:
    began_s = now_s()
    with pytest.raises(TimeoutError):
        await within(5, asyncio.sleep(9))
    assert now_s() - began_s == pytest.approx(5, abs=0.01)


@clocked
async def test_a_call_that_fails_fails_as_it_does_and_one_that_is_cancelled_is_cancelled() -> None:
    async def fails() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await within(5, fails())
    task = asyncio.create_task(within(5, asyncio.sleep(9)))
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_process_that_stood_still_reads_what_came_meanwhile() -> None:
    """The loop is kept from turning, as by SIGSTOP: when it turns again, the timer is due, and so is the answer."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"an answer\n")
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())

    async def ask() -> bytes:
        writer.write(b"a question\n")
        return await reader.readline()

    loop = asyncio.get_running_loop()
    loop.call_later(0.05, time.sleep, 0.8)
    async with server:
        assert await within(0.1, ask()) == b"an answer\n"
        writer.close()
        await writer.wait_closed()


async def test_what_does_not_come_even_then_is_given_up() -> None:
    loop = asyncio.get_running_loop()
    loop.call_later(0.05, time.sleep, 0.6)
    began_s = loop.time()
    with pytest.raises(TimeoutError):
        await within(0.1, asyncio.sleep(60), grace_s=0.5)
    assert 1.0 < loop.time() - began_s < 5
