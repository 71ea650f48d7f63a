"""Claims: what one process asks for, another one with the same store waits for."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import subprocess
import sys

import pytest
from clock import clocked, now_s
from doubles import Function, Script, reply, request, settle

from unsaf_async.calls import cached
from unsaf_async.calls.cached import CLAIM_PATIENCE_S, Cached
from unsaf_async.calls.claims import Claims
from unsaf_async.calls.store import ReplyStore
from unsaf_async.calls.stored_reply import key_of, key_parts, packed
from unsaf_async.errors import Transient

KEY, OTHER = "0" * 64, "f" * 64


@pytest.fixture
def stores(tmp_path):
    """Two stores on one folder, as two processes have them."""
    both = [ReplyStore(tmp_path / "cache") for _ in range(2)]
    yield both
    for store in both:
        store.close()


@pytest.fixture
def at_once(monkeypatch):
    monkeypatch.setattr(cached, "CLAIM_WAIT_S", 0.01)


def test_a_key_is_claimed_by_one_at_a_time_and_others_are_free(tmp_path):
    one, two = Claims(tmp_path), Claims(tmp_path)
    assert one.take(KEY)
    assert not two.take(KEY)
    assert two.take(OTHER)
    one.release(KEY)
    assert two.take(KEY)
    two.close()
    assert one.take(KEY)
    assert one.take(OTHER)
    one.close()
    one.close()
    one.release(KEY)


@pytest.mark.skipif(not hasattr(fcntl, "F_OFD_GETLK"), reason="the system does not tell who has locked what")
def test_others_know_that_claims_may_be_in_batches_and_nobody_takes_his_own_for_anothers(tmp_path):
    one, two = Claims(tmp_path), Claims(tmp_path)
    with one.in_batch(), one.in_batch():
        assert (one.others_in_batch(), two.others_in_batch()) == (False, True)
        assert two.take(KEY)
        with two.in_batch():
            assert one.others_in_batch()
    assert not two.others_in_batch()
    with one.in_batch():
        one.close()
        assert not two.others_in_batch()
    assert not one.others_in_batch()
    two.close()


@pytest.mark.skipif(not hasattr(fcntl, "F_OFD_GETLK"), reason="the system does not tell who has locked what")
async def test_a_call_that_another_process_has_in_a_batch_is_waited_for_beyond_the_patience(
    stores, at_once, monkeypatch
):
    monkeypatch.setattr(cached, "CLAIM_PATIENCE_S", 0.05)
    one, two = stores
    key, other = (key_of(key_parts(request(draw=draw))) for draw in (0, 1))
    assert one.claim(key)
    waits = Cached(Script(reply("Paid twice.")), two, {}, "two", elsewhere=two.others_in_batch)
    with one.in_batch():
        task = asyncio.create_task(waits.complete(request()))
        await asyncio.sleep(0.4)
        assert not task.done()
        await one.put(key, packed(key_parts(request()), reply("A cat.")))
    assert (await task).text == "A cat."
    one.release(key)
    assert one.claim(other)
    assert (await waits.complete(request(draw=1))).text == "Paid twice.", "nobody is in batches: patience has its end"
    one.release(other)


def test_the_claims_of_a_process_that_was_killed_are_free(tmp_path):
    program = (
        "import sys, time; from pathlib import Path; from unsaf_async.calls.claims import Claims\n"
        f"claims = Claims(Path(sys.argv[1])); print(claims.take({KEY!r}), flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == b"True\n"
        mine = Claims(tmp_path)
        assert not mine.take(KEY)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert mine.take(KEY)
    mine.close()


def test_where_nothing_can_be_locked_every_claim_is_granted(tmp_path):
    claims = Claims(tmp_path)
    os.close(claims._fd)  # a descriptor that cannot be locked stands for a file system without locks
    assert claims.take(KEY)
    claims.release(KEY)
    claims._fd = -1


def test_a_claims_file_that_is_a_link_is_not_followed(tmp_path):
    (tmp_path / "claims.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="it is a link"):
        Claims(tmp_path)
    assert not (tmp_path / "elsewhere").exists()


class Slow(Function):
    """A provider that waits for `end`, and then replies or raises it."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.end: asyncio.Future = asyncio.get_running_loop().create_future()
        super().__init__(self._wait)

    async def _wait(self, _):
        self.asked.set()
        return await self.end


async def test_a_call_of_another_process_is_waited_for_and_not_made(stores, at_once):
    slow, never = Slow(), Script(reply("made twice"))
    first = asyncio.create_task(Cached(slow, stores[0], {}, "one").complete(request()))
    await slow.asked.wait()
    second = asyncio.create_task(Cached(never, stores[1], {}, "two").complete(request()))
    await asyncio.sleep(0.1)
    assert not second.done()
    slow.end.set_result(reply("A cat."))
    assert (await first).text == (await second).text == "A cat."
    assert (await second).cached
    assert never.requests == []


@pytest.mark.parametrize("end", [Transient("500"), reply("half", "truncated"), asyncio.CancelledError()])
async def test_where_no_reply_comes_for_all_who_waits_makes_the_call(stores, at_once, end):
    slow, own = Slow(), Script(reply("mine"))
    first = asyncio.create_task(Cached(slow, stores[0], {}, "one").complete(request()))
    await slow.asked.wait()
    second = asyncio.create_task(Cached(own, stores[1], {}, "two").complete(request()))
    await asyncio.sleep(0.05)
    if isinstance(end, BaseException):
        slow.end.set_exception(end)
    else:
        slow.end.set_result(end)
    assert (await second).text == "mine"
    await asyncio.gather(first, return_exceptions=True)
    assert len(own.requests) == 1


async def test_a_stored_reply_is_found_although_somebody_has_claimed_it(stores):
    key = key_of(key_parts(request()))
    await Cached(Script(reply("A cat.")), stores[0], {}, "one").complete(request())
    assert stores[0].claim(key)
    assert (await Cached(Script(reply("made twice")), stores[1], {}, "two").complete(request())).text == "A cat."


async def test_who_makes_no_calls_any_more_waits_for_nobody(stores):
    assert stores[0].claim(key_of(key_parts(request())))
    down = Cached(Script(Transient("down")), stores[1], {}, "two", is_down=lambda: True)
    with pytest.raises(Transient):
        await down.complete(request())


class Unstored:
    """A store in which nothing is found, and all is claimed."""

    async def look(self, *_):
        return False, None

    async def first(self, *_):
        return None

    async def put(self, *_):
        return None


@clocked
async def test_a_process_that_is_halted_is_not_waited_for_for_ever():
    began_s, own = now_s(), Script(reply("mine"))
    assert (await Cached(own, Unstored(), {}, "two").complete(request())).text == "mine"
    assert now_s() - began_s == pytest.approx(CLAIM_PATIENCE_S, abs=1)
    await settle()
