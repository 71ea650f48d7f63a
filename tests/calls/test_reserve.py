"""Room that is kept on a run's disk, so that what is under way can be written when the disk is full."""

from __future__ import annotations

import os

import pytest
from doubles import disk_of

from unsaf_async.calls.ledger import Ledger, read_account
from unsaf_async.calls.reserve import LEAST_BYTES, Reserve
from unsaf_async.calls.store import ReplyStore
from unsaf_async.errors import Fatal, UserError
from unsaf_async.files import LineFile
from unsaf_async.records import Usage


@pytest.fixture
def reasons():
    return []


@pytest.fixture
def reserve(tmp_path, reasons):
    reserve = Reserve(tmp_path / "reserve", 4, reasons.append)
    yield reserve
    reserve.close()


def test_it_takes_real_room_grows_with_the_calls_and_is_gone_when_it_is_closed(tmp_path):
    for calls, size in ((4, LEAST_BYTES), (1000, 16_000_000), (4, 16_000_000)):  # the last: as a killed process left it
        reserve = Reserve(tmp_path / "reserve", calls, print)
        assert (tmp_path / "reserve").stat().st_blocks * 512 >= size
    reserve.close()
    reserve.close()
    assert list(tmp_path.iterdir()) == []


def test_a_disk_without_that_room_is_said_before_anything_is_sent(tmp_path):
    with disk_of(1000), pytest.raises(UserError, match=r"cannot be written .*a run keeps 1.0 MB .* make room"):
        Reserve(tmp_path / "reserve", 4, print)
    assert list(tmp_path.iterdir()) == []


def test_the_first_line_that_does_not_fit_takes_the_room_and_stops_the_session(tmp_path, reserve, reasons):
    lines = LineFile(tmp_path / "lines")
    assert reserve.append(lines, b"fits")
    assert (reasons, reserve.needed) == ([], False)
    with disk_of(5):
        assert not reserve.append(lines, b"does not")
    assert [(reason.kind, str(reason)) for reason in reasons] == [
        ("disk", f"{tmp_path / 'lines'}: cannot be written (File too large); make room or give access")
    ]
    assert reserve.needed
    assert not (tmp_path / "reserve").exists()
    assert reserve.append(lines, b"fits again")
    lines.close()
    assert (tmp_path / "lines").read_bytes() == b"fits\nfits again\n"


def test_a_ledger_that_cannot_be_written_lets_no_call_leave_and_loses_none_that_comes_back(tmp_path, reserve, reasons):
    ledger = Ledger(tmp_path / "ledger.jsonl", reserve)
    first, second = (ledger.sent("ask", 5, again=False) for _ in range(2))
    with disk_of((tmp_path / "ledger.jsonl").stat().st_size):
        with pytest.raises(Fatal, match=r"ledger\.jsonl: cannot be written"):
            ledger.sent("ask", 5, again=False)
        assert len(reasons) == 1
        ledger.settled(first, 2, Usage())
        ledger.close()
    assert ledger.account.open == {second: 5}
    assert ledger.account.spent_nano_usd == 2
    assert read_account(tmp_path / "ledger.jsonl").spent_nano_usd == 10, (
        "both count at their worst when it is read back"
    )


async def test_replies_that_cannot_be_stored_stay_received_for_the_next_session(tmp_path, reserve, reasons):
    store = ReplyStore(tmp_path / "cache", tmp_path / "received.jsonl", reserve)
    with disk_of(60_000):
        await store.put("large", b"x" * 50_000)  # fits in its line, and not into the database
        assert [reason.kind for reason in reasons] == ["disk"]
        await store.put("small", b"1")
    store.close()
    again = ReplyStore(tmp_path / "cache", tmp_path / "received.jsonl")
    assert [await again.get(key) for key in ("large", "small")] == [b"x" * 50_000, b"1"]
    again.close()
    assert not (tmp_path / "received.jsonl").exists()


async def test_replies_that_cannot_be_received_are_stored(tmp_path, reserve, reasons):
    store = ReplyStore(tmp_path / "cache", tmp_path / "received.jsonl", reserve)
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, store._received._fd)
    os.close(full)
    await store.put("key", b"1")
    assert [str(reason) for reason in reasons] == [
        f"{tmp_path / 'received.jsonl'}: cannot be written (No space left on device); make room or give access"
    ]
    assert await store.get("key") == b"1"
    store.close()
