"""How endpoints of one model are left out and tried again, in virtual time: who is asked when, and what is said."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest
from clock import clocked, now_s
from doubles import Script, reply

from unsaf_async.calls.rate_limit import BREAKER_S, Pace
from unsaf_async.calls.replicas import FEW_CALLS, LONGEST_REST_S, Replica, Replicas
from unsaf_async.errors import CallError, Fatal, RateLimited, Transient
from unsaf_async.events import EndpointNotice
from unsaf_async.providers.profile import Limits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from unsaf_async.events import Event

A, B = "http://a/v1", "http://b/v1"
ATTEMPTS = 6
"""Of one call; the pauses between them double from half a second."""


def refused() -> Transient:
    return Transient("no connection (connection refused)", unsent=True)


def hung() -> Transient:
    return Transient("no answer within 120 s", fate_unknown=True)


def key_refused() -> Fatal:
    return Fatal("the key was refused (401)", kind="key", status=401)


@dataclass
class Servers:
    """Endpoints that answer after `takes_s`, or fail as `fails` says by endpoint and time."""

    fails: Callable[[str, float], CallError | None]
    takes_s: Callable[[str, float], float] = lambda endpoint, at_s: 0.2
    asked: list[tuple[float, str]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    lost: list[CallError] = field(default_factory=list)
    began_s: float = 0.0
    under_way: dict[str, int] = field(default_factory=lambda: {A: 0, B: 0})

    def hear(self, event: Event) -> None:
        if isinstance(event, EndpointNotice):
            self.said.append(event.text)

    @property
    def now_s(self) -> float:
        return now_s() - self.began_s

    def times(self, endpoint: str) -> list[float]:
        """When an endpoint was asked."""
        return [at_s for at_s, asked in self.asked if asked == endpoint]

    async def call(self, replicas: Replicas) -> None:
        """One call with its attempts. Raises Fatal."""
        for attempt in range(ATTEMPTS):
            replica = await replicas.enter("answer", 1)
            at_s = self.now_s
            self.asked.append((at_s, replica.endpoint))
            self.under_way[replica.endpoint] += 1
            error = self.fails(replica.endpoint, at_s)
            await asyncio.sleep(self.takes_s(replica.endpoint, at_s) if error is None or error.fate_unknown else 0.001)
            self.under_way[replica.endpoint] -= 1
            if error is None:
                replicas.succeeded(replica, replace(reply(), latency_s=self.now_s - at_s))
            then = replicas.failed(replica, error) if error else None
            replicas.leave(replica)
            if then is None:
                return
            if isinstance(then, Fatal):
                raise then
            await asyncio.sleep(0.5 * 2**attempt)
        self.lost.append(error or Transient("none"))

    async def work(self, replicas: Replicas, until_s: float, workers: int) -> Fatal | None:
        """Calls one after the other, from several workers; why it ended, if it was not the time."""

        async def worker() -> None:
            while self.now_s < until_s:
                await self.call(replicas)

        self.began_s = now_s()
        ended = await asyncio.gather(*(worker() for _ in range(workers)), return_exceptions=True)
        for each in ended:
            if isinstance(each, BaseException) and not isinstance(each, Fatal):
                raise each
        return next((each for each in ended if isinstance(each, Fatal)), None)


@asynccontextmanager
async def opened(servers: Servers, endpoints: Sequence[str] = (A, B), concurrency: int = 8) -> AsyncIterator[Replicas]:
    async with AsyncExitStack() as exits:
        paces = [
            await exits.enter_async_context(Pace(each, Limits(concurrency=concurrency), servers.hear, alone=False))
            for each in endpoints
        ]
        yield Replicas(
            "m", [Replica(name, Script(), pace) for name, pace in zip(endpoints, paces, strict=True)], servers.hear
        )


def down_between(*windows: tuple[str, float, float]) -> Callable[[str, float], CallError | None]:
    """Who refuses connections when."""
    return lambda endpoint, at_s: (
        refused() if any(each == endpoint and begin <= at_s < end for each, begin, end in windows) else None
    )


@clocked
async def test_a_slow_server_is_asked_less() -> None:
    servers = Servers(lambda endpoint, at_s: None, takes_s=lambda endpoint, at_s: 0.2 if endpoint == A else 0.01)
    async with opened(servers, concurrency=4) as replicas:
        await servers.work(replicas, 2, workers=48)
    assert len(servers.times(A)) < 0.35 * len(servers.times(B))


@clocked
async def test_a_rolling_restart_of_two_servers_loses_no_call() -> None:
    servers = Servers(down_between((A, 10, 25), (B, 50, 65)))
    async with opened(servers) as replicas:
        assert await servers.work(replicas, 90, workers=4) is None
        assert replicas.left_out == dict.fromkeys((A, B), "no connection (connection refused); it answered again")
    assert servers.lost == []
    assert [line.split()[1] for line in servers.said] == [A, A, B, B]
    assert servers.said[:2] == [
        f"m: {A} is left out for now (no connection (connection refused)); 1 of 2 endpoints goes on",
        f"m: {A} answers again",
    ]
    assert min(sum(at_s > 80 for at_s in servers.times(each)) for each in (A, B)) > 50, "both serve in the end"


@clocked
@pytest.mark.parametrize("workers", [1, 8, 30])
async def test_both_servers_down_for_three_seconds_lose_no_call(workers: int) -> None:
    servers = Servers(down_between((A, 5, 8), (B, 5, 8)))
    async with opened(servers) as replicas:
        assert await servers.work(replicas, 20, workers) is None
    assert servers.lost == []
    assert sum(5 <= at_s < 8 for at_s, _ in servers.asked) <= 16 + 6, (
        "those that were free to leave, and few after them"
    )


@clocked
async def test_one_refused_connection_leaves_an_endpoint_out_for_a_second() -> None:
    servers = Servers(down_between((A, 5, 5.3)))
    async with opened(servers) as replicas:
        await servers.work(replicas, 10, workers=4)
    gaps = [later - sooner for sooner, later in zip(servers.times(A), servers.times(A)[1:], strict=False)]
    assert max(gaps) < 2


@clocked
async def test_what_stays_dead_costs_a_handful_of_refused_connections() -> None:
    servers = Servers(down_between((A, 0, 1e9)), lambda endpoint, at_s: 2.0)
    async with opened(servers, concurrency=32) as replicas:
        assert await servers.work(replicas, 120, workers=40) is None
    assert servers.lost == []
    assert len(servers.times(A)) <= FEW_CALLS + 7
    (line,) = servers.said
    assert (
        line == f"m: {A} is left out for now (no connection (connection refused)); whether {B} answers is not known yet"
    )


@clocked
async def test_dead_servers_are_told_at_once_each_with_its_address_and_its_reason() -> None:
    servers = Servers(lambda endpoint, at_s: refused() if endpoint == A else key_refused())
    async with opened(servers) as replicas:
        ended = await servers.work(replicas, 60, workers=8)
    assert servers.asked[-1][0] < 0.1
    assert str(ended) == (
        f"none of its 2 endpoints answers: {A} (no connection (connection refused)); {B} (the key was refused (401))"
    )
    assert ended is not None
    assert ended.kind == "key"
    assert not any("go on" in line or "goes on" in line for line in servers.said)


@clocked
async def test_a_model_is_down_once_no_endpoint_has_answered_for_half_a_minute() -> None:
    servers = Servers(down_between((A, 5, 1e9), (B, 6, 1e9)))
    async with opened(servers) as replicas:
        ended = await servers.work(replicas, 600, workers=8)
    assert ended is not None
    assert (ended.kind, A in str(ended), B in str(ended)) == ("down", True, True)
    assert BREAKER_S <= servers.now_s - 6 < 2 * BREAKER_S
    assert servers.said[-1].endswith("no other is left, and all are tried for 30 s")
    assert len([at_s for at_s, _ in servers.asked if at_s > 7]) < 16


@clocked
async def test_a_server_that_was_gone_for_long_is_tried_at_once_when_the_other_dies() -> None:
    servers = Servers(down_between((A, 10, 900), (B, 1000, 1e9)), lambda endpoint, at_s: 1.0)
    async with opened(servers, concurrency=2) as replicas:
        assert await servers.work(replicas, 1015, workers=2) is None
    assert servers.lost == []
    assert LONGEST_REST_S > 3 * BREAKER_S
    assert sum(at_s > 1000 for at_s in servers.times(A)) >= 10


@clocked
async def test_a_server_that_hangs_gets_few_calls_until_it_answers() -> None:
    servers = Servers(
        lambda endpoint, at_s: hung() if endpoint == A and 50 <= at_s < 500 else None,
        takes_s=lambda endpoint, at_s: 120.0 if endpoint == A and 50 <= at_s < 500 else 2.0,
    )
    async with opened(servers, concurrency=16) as replicas:
        assert await servers.work(replicas, 900, workers=32) is None
    assert servers.lost == []
    first = sum(50 <= at_s < 51 for at_s in servers.times(A))
    assert first <= 16
    assert sum(51 <= at_s < 500 for at_s in servers.times(A)) <= FEW_CALLS + 2, (
        "then one at a time, after pauses that grow"
    )
    assert sum(at_s > 850 for at_s in servers.times(A)) > 100, "and it serves again"


@clocked
async def test_a_server_that_hangs_from_the_start_is_given_few_calls() -> None:
    most = 0

    def takes_s(endpoint: str, at_s: float) -> float:
        nonlocal most
        most = max(most, servers.under_way[A])
        return 120.0 if endpoint == A else 5.0

    servers = Servers(lambda endpoint, at_s: hung() if endpoint == A else None, takes_s)
    async with opened(servers, concurrency=32) as replicas:
        await servers.work(replicas, 1000, workers=64)
    assert servers.lost == []
    assert most == FEW_CALLS
    assert len(servers.times(A)) <= 3 * FEW_CALLS


@clocked
async def test_endpoints_that_turn_every_call_away_end_the_run_as_one_alone_does() -> None:
    servers = Servers(lambda endpoint, at_s: RateLimited("slow down") if at_s > 5 else None)
    async with opened(servers) as replicas:
        ended = await servers.work(replicas, 5000, workers=400)
    assert ended is not None
    assert ended.kind == "down"
