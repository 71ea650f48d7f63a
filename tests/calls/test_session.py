"""A session opens models with all that they share, and closes it in the order in which replies need it."""

from __future__ import annotations

import asyncio

import pytest
from doubles import Listener, Script, profile, reply

from unsaf_async.calls.ledger import Ledger, read_account
from unsaf_async.calls.session import Session
from unsaf_async.calls.store import ReplyStore
from unsaf_async.errors import Fatal, UserError
from unsaf_async.events import CacheHit, CallSent

COST = 10 * 1_000 + 5 * 10_000
"""What `reply()` costs, in nano-dollars."""


class Connected(Script):
    """A backend that notes when it is closed, and whether the session's files were open then."""

    closed = 0

    async def aclose(self) -> None:
        """Give the connection back."""
        self.closed += 1


def session_of(folder, *backends, names=("self",), **options):
    """A session in `folder` whose models speak to `backends`, in order."""
    waiting = list(backends)

    async def open_backend(_):
        backend = waiting.pop(0)
        if isinstance(backend, Exception):
            raise backend
        return backend

    given = {"cache": folder / "cache", "ledger_file": folder / "ledger.jsonl", "run_id": "run"}
    profiles = {name: profile() for name in names}
    return Session(profiles, open_backend=open_backend, **given | options)


async def test_the_clients_of_a_session_share_its_money_its_ledger_and_its_replies(tmp_path):
    events, backend, other = Listener(), Connected(reply()), Connected(reply())
    async with session_of(tmp_path, backend, other, names=("self", "judge"), announce=events) as session:
        assert list(session.models) == ["self", "judge"]
        with session.budget.for_image(10**9) as image_budget:
            clients = [session.client(name, image_budget) for name in ("self", "judge")]
            first, second = [await client.ask("answer", "What is this?") for client in clients]
        assert (first.cached, second.cached) == (False, True)
        assert session.budget.spent_nano_usd == session.ledger.account.spent_nano_usd == COST
        assert session.budget.reserved_nano_usd == 0
    assert [type(event) for event in events.events if isinstance(event, CallSent | CacheHit)] == [CallSent, CacheHit]
    assert (backend.closed, other.closed) == (1, 1)


async def test_equal_calls_of_two_models_at_once_are_one_call(tmp_path):
    backend, other = Connected(reply(), takes_s=0.01), Connected(reply(), takes_s=0.01)
    async with session_of(tmp_path, backend, other, names=("self", "judge")) as session:
        with session.budget.for_image(10**9) as one, session.budget.for_image(10**9) as two:
            clients = session.client("self", one), session.client("judge", two)
            await asyncio.gather(*(client.ask("answer", "What is this?") for client in clients))
    assert len(backend.requests) + len(other.requests) == 1


async def test_what_earlier_sessions_spent_counts_against_the_cap(tmp_path):
    for session_number in (1, 2):
        async with session_of(tmp_path, Connected(reply()), max_cost_usd=0.005) as session:
            assert session.budget.cap_nano_usd == 5_000_000
            assert session.budget.spent_nano_usd == (session_number - 1) * COST
            with session.budget.for_image(0) as image_budget:
                await session.client("self", image_budget).ask("answer", f"Question {session_number}?")
    assert read_account(tmp_path / "ledger.jsonl").spent_nano_usd == 2 * COST


async def test_the_keys_of_all_models_are_kept_out_of_errors(tmp_path, monkeypatch):
    monkeypatch.setenv("SOME_KEY", "sk-secret")
    backend = Connected(Fatal("401: sk-secret is no key", kind="key"))
    session = session_of(tmp_path, backend, Connected(reply()), names=("self", "judge"))
    session._profiles["judge"] = profile(api_key_env="SOME_KEY")
    async with session:
        with session.budget.for_image(10**9) as image_budget, pytest.raises(Fatal, match=r"401: \[key\] is no key"):
            await session.client("self", image_budget).ask("answer", "What is this?")


async def test_a_model_that_cannot_be_opened_closes_what_is_open(tmp_path):
    first = Connected(reply())
    session = session_of(tmp_path, first, UserError("no such model"), names=("self", "judge"))
    with pytest.raises(UserError, match="no such model"):
        async with session:
            raise AssertionError("it is not open")
    assert first.closed == 1
    assert session.ledger._lines.closed
    assert not session.store._thread


async def test_the_models_close_before_the_ledger_and_the_ledger_before_the_store(tmp_path, monkeypatch):
    closed = []

    class Noted(Connected):
        async def aclose(self):
            closed.append("model")

    for part in (Ledger, ReplyStore):

        def close(self, close=part.close):
            closed.append(type(self).__name__)
            close(self)

        monkeypatch.setattr(part, "close", close)
    async with session_of(tmp_path, Noted(reply())):
        pass
    assert closed == ["model", "Ledger", "ReplyStore"]


async def test_an_error_of_the_body_passes_as_it_is(tmp_path):
    backend = Connected(reply())
    with pytest.raises(ZeroDivisionError):
        async with session_of(tmp_path, backend):
            raise ZeroDivisionError
    assert backend.closed == 1


async def test_received_replies_of_a_session_that_ended_well_leave_no_file(tmp_path):
    received = tmp_path / "received.jsonl"
    async with session_of(tmp_path, Connected(reply()), received_file=received) as session:
        with session.budget.for_image(10**9) as image_budget:
            await session.client("self", image_budget).ask("answer", "What is this?")
        assert received.exists()
    assert not received.exists()


async def ask_strictly(folder, backend):
    """One strict session's reply to the same question."""
    async with session_of(folder, backend, strict_model=True) as session:
        with session.budget.for_image(10**9) as image_budget:
            return await session.client("self", image_budget).ask("answer", "What is this?")


async def test_a_strict_session_asks_anew_what_another_model_had_answered(tmp_path):
    asked = profile().wire_model
    with pytest.raises(Fatal, match="another-9 answered"):
        await ask_strictly(tmp_path, Connected(reply(model="another-9")))
    back = Connected(reply("A cat.", model=asked))
    assert (await ask_strictly(tmp_path, back)).text == "A cat."
    assert len(back.requests) == 1
    assert (await ask_strictly(tmp_path, Connected())).cached
