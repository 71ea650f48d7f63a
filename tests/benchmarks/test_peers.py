"""`make bench`: the table that comes of runs, and the server that all peers are measured against."""

from __future__ import annotations

import asyncio
import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from unsaf_async.simulate.listening import listening

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PEERS = Path(__file__).parents[2] / "benchmarks" / "peers"
sys.path.append(str(PEERS))
environments, measure, results, rows, local_server = (
    importlib.import_module(name) for name in ("environments", "measure", "results", "rows", "local_server")
)

OURS = environments.Peer("unsaf-async", "with_unsaf.py", [], "")
OTHER = environments.Peer("other", "with_other.py", ["other==1"], "", {"c.known": "has no limiter"})
QUESTION = {"model": "bench", "messages": [{"role": "user", "content": "Question: what does the sign say?"}]}


def row(*names: str) -> Any:
    columns = [rows.Column(name, "CPU-s", 2, (name,), lambda runs, _, name=name: runs[name].cpu_s) for name in names]
    return rows.Row("c", "A row", "", [rows.Case(name, {}) for name in names], columns)


def one_round(ours_s: float, other_s: float, **more: Any) -> dict[str, Any]:
    return {"unsaf-async": {"text": measure.Run(ours_s)}, "other": {"text": measure.Run(other_s, **more)}}


def test_a_cell_is_the_median_and_its_ratio_the_median_of_the_ratios_within_a_round() -> None:
    # The machine was twice as busy in the second round, and for both.
    found = results.Results(row("text"), [one_round(1, 3), one_round(2, 6), one_round(1, 4)])
    head, line = results.table([found], [OURS, OTHER])
    assert head == ["", "figure", "unit", "unsaf-async", "other"]
    assert line == ["c", "text", "CPU-s", "1.00", "4.00 (3.00x)"]
    assert results.behind([found], [OURS, OTHER]) == []


def test_what_a_peer_is_better_in_is_told() -> None:
    found = results.Results(row("text"), [one_round(2, 1)])
    assert results.behind([found], [OURS, OTHER]) == [("c.text", "2.00", ["other 1.00 (0.50x)"])]


def test_what_there_is_no_figure_of_has_its_reason_and_failed_calls_are_counted() -> None:
    ended = one_round(1, 1, error="ended after 9 s")
    found = results.Results(row("known", "text"), [ended, one_round(1, 5, done=8, failed=2)])
    known, text = results.table([found], [OURS, OTHER])[1:]
    assert known[4] == "n/a"
    assert text[4] == "5.00 (5.00x)"
    assert results.missing([found], [OURS, OTHER]) == [
        "unsaf-async was not measured in c (known).",
        "other has no figure in c (known): has no limiter.",
        "other in c, text: ended after 9 s.",
    ]
    again = results.Results(row("text"), [one_round(1, 5, done=8, failed=2)])
    assert results.missing([again], [OURS, OTHER]) == ["other in c, text: 2 of 10 calls failed."]


def test_runs_that_are_kept_are_read_back() -> None:
    found = results.Results(row("text"), [one_round(1, 3), one_round(2, 6)])
    assert results.recall(results.kept([found]), [found.row]) == [found]


def test_every_peer_has_an_adapter_and_says_of_what_it_takes_no_part_in() -> None:
    peers, reasons = environments.read_peers()
    sizes = rows.Sizes()
    cases = {f"{row.key}.{case.name}" for row in rows.rows_of(sizes) for case in row.cases}
    columns = {f"{row.key}.{column.label}" for row in rows.rows_of(sizes) for column in row.columns}
    assert peers[0].name == environments.OURS
    for peer in peers:
        assert (PEERS / peer.script).exists()
        assert set(peer.cannot) <= cases | {row.key for row in rows.rows_of(sizes)}, peer.name
    assert set(reasons) <= columns


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async with listening(local_server.LocalServer().app()) as port:
        yield f"http://127.0.0.1:{port}"


async def statuses(url: str, count: int, mode: dict[str, Any]) -> tuple[list[int], dict[str, str], dict[str, Any]]:
    """Of so many requests at once: their statuses (0: the connection broke), a refusal's headers, the ledger."""
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{url}/configure", json=mode) as configured:
            assert configured.status == 200
        headers: dict[str, str] = {}

        async def ask() -> int:
            try:
                async with session.post(f"{url}/v1/chat/completions", json=QUESTION) as response:
                    await response.read()
                    if response.status == 429:
                        headers.update((name.lower(), value) for name, value in response.headers.items())
                    return response.status
            except aiohttp.ClientError:
                return 0

        found = await asyncio.gather(*(ask() for _ in range(count)))
        async with session.get(f"{url}/ledger") as response:
            return sorted(found), headers, await response.json()


async def test_the_server_lets_in_what_its_bucket_holds_and_says_when_to_come_back(url: str) -> None:
    found, headers, ledger = await statuses(url, 5, {"rate_per_s": 0.5, "burst": 2})
    assert found == [200, 200, 429, 429, 429]
    assert headers["retry-after"] in ("1", "2")
    assert 1000 < int(headers["retry-after-ms"]) <= 2000
    assert headers["x-ratelimit-limit-requests"] == "30"
    assert (ledger["requests"], ledger["succeeded"], ledger["limited"]) == (5, 2, 3)


async def test_the_server_breaks_connections_and_bills_them(url: str) -> None:
    found, _, ledger = await statuses(url, 3, {"lost_share": 1.0})
    assert found == [0, 0, 0]
    assert (ledger["lost"], ledger["succeeded"]) == (3, 0)
    assert ledger["input_tokens"] > 0


def test_a_bucket_fills_up_at_its_rate_and_no_further_than_its_burst() -> None:
    now_s = 0.0
    bucket = local_server.TokenBucket(10.0, 1, lambda: now_s)
    assert bucket.take() == 0.0
    assert bucket.take() == pytest.approx(0.1)
    now_s = 0.1
    assert bucket.take() == 0.0
    now_s = 60.0
    assert bucket.take() == 0.0
    assert bucket.take() > 0
