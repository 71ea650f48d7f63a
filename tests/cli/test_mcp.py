"""The server for agents, through its SDK's own client: over stdio to a process of its own, or in this process."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from commandline import command
from commandline import serving as simulating
from mcp import Client, StdioServerParameters
from truths import measured, scripted_model, served_model

from unsaf_async.mcp_server import Allowed, Measurements, server
from unsaf_async.runs.folder import reopen
from unsaf_async.runs.saved import SavedRun
from unsaf_async.score.unf1 import BOUNDS_ALONE
from unsaf_async.simulate.settings import Simulation

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


def serving(work: Callable[[Client], Awaitable[None]], *arguments: str) -> None:
    """Has `work` done with a client of a server that was started with `arguments`, here."""

    async def main() -> None:
        start = ["-m", "unsaf_async", "mcp", *arguments]
        where = StdioServerParameters(command=sys.executable, args=start, cwd=str(Path.cwd()))
        async with Client(where) as client:
            await work(client)

    asyncio.run(main())


def serving_here(work: Callable[[Client], Awaitable[None]], *providers: str, max_cost: float | None = None) -> None:
    """As `serving`, by a server in this process."""

    async def main() -> None:
        async with Measurements(Allowed(providers, (), max_cost, Path("runs"), Path("cache"))) as measurements:
            await measurements.check()
            async with Client(server(measurements), mode="legacy") as client:
                await work(client)

    asyncio.run(main())


async def told(client: Client, tool: str, **arguments: Any) -> tuple[bool, Any]:
    """(whether a tool failed; what it returned, or the words with which it failed)."""
    result = await client.call_tool(tool, arguments)
    return bool(result.is_error), result.content[0].text if result.is_error else result.structured_content


def test_an_agent_estimates_runs_and_explains_and_sees_no_text_of_a_model() -> None:
    async def work(client: Client) -> None:
        assert (client.server_info.name, client.server_info.version) == ("unsaf-async", version("unsaf-async"))
        tools = {each.name: each for each in (await client.list_tools()).tools}
        assert tools.keys() == {"estimate", "run", "explain"}
        taken = {name for each in tools.values() for name in each.input_schema["properties"]}
        assert taken == {"provider", "images", "questions", "judge", "run"}, "no path, no address, no key, no cap"
        failed, quote = await told(client, "estimate", provider="tiny", images=2, questions=2)
        assert (failed, quote["images"], quote["worst_usd"], quote["left_usd"]) == (False, 2, 0, None)
        failed, found = await told(client, "run", provider="tiny", images=2, questions=2)
        assert not failed, found
        run = SavedRun(Path("runs") / found["run"])
        assert found["figures"]["unf1"]["value"] == run.findings.unf1
        assert found["counts"] == run.findings.counts.model_dump()
        assert await told(client, "explain", run=found["run"]) == (False, found)
        texts = [text for each in run.examinations for q in each.questions for text in (q.text, q.response) if text]
        assert texts
        assert not any(text in str(found) for text in texts)

    serving(work)


def test_an_agent_cannot_leave_what_the_starter_allows() -> None:
    scripted_model("free")
    scripted_model("dear", input_usd_per_mtok=100)

    async def work(client: Client) -> None:
        for tool, arguments, words in (
            ("run", {"provider": "tiny"}, "not allowed here; allowed: free, dear"),
            ("run", {"provider": "free", "judge": "gpt-5.4-mini"}, "'gpt-5.4-mini' is not allowed"),
            ("run", {"provider": "dear", "images": 1}, "costs money"),
            ("run", {"provider": "free", "images": 100_000}, "1 to 1000 images"),
            ("explain", {"run": "../elsewhere"}, "is no run here"),
            ("explain", {"run": ".."}, "is no run here"),
        ):
            failed, said = await told(client, tool, **arguments)
            assert failed, tool
            assert words in said

    serving_here(work, "free", "dear")
    assert not any(Path("runs").glob("*"))


def test_a_tool_takes_the_arguments_that_it_names_and_no_others() -> None:
    scripted_model("free")

    async def work(client: Client) -> None:
        assert all(each.input_schema["additionalProperties"] is False for each in (await client.list_tools()).tools)
        for tool, arguments, words in (
            (
                "run",
                {"provider": "free", "limit": 5},
                "'limit' is no argument of run; give provider, images, questions",
            ),
            ("estimate", {"provider": "free", "limit": 3}, "'limit' is no argument of estimate"),
            ("run", {"provider": "free", "api_key": "x", "cap": 1}, "'api_key' is no argument of run; 'cap' is no"),
            ("explain", {}, "'run' is missing; give run"),
            ("run", {"provider": "free", "images": "many"}, "run: images: Input should be a valid integer"),
        ):
            failed, said = await told(client, tool, **arguments)
            assert failed, tool
            assert words in said
            assert "\n" not in said
            assert "http" not in said

    serving_here(work, "free")
    assert not any(Path("runs").glob("*"))


def test_the_cap_holds_over_all_runs_of_a_server() -> None:
    scripted_model("dear", input_usd_per_mtok=10)
    left: list[float] = []

    async def work(client: Client) -> None:
        for _ in range(2):
            failed, found = await told(client, "run", provider="dear", images=2, questions=1)
            assert not failed, found
            left.append(found["left_usd"])
        failed, found = await told(client, "run", provider="dear", images=10, questions=6)
        assert failed or (found["left_usd"] < left[-1] and found["stopped_early"].startswith("cap: the cap leaves"))

    serving_here(work, "dear", max_cost=0.6)
    spent = [SavedRun(folder).spent_usd for folder in sorted(Path("runs").iterdir())]
    assert left == pytest.approx([0.6 - spent[0], 0.6 - spent[0] - spent[1]])
    assert 0 < sum(spent) <= 0.6


def test_without_the_sdk_it_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "mcp", None)
    ended = command(capsys, "mcp")
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert "mcp: its SDK is not installed" in ended.err
    wrong = command(capsys, "mcp", "--max-cost", "-1")
    assert wrong.code == 2


def test_what_is_wrong_with_its_arguments_is_one_line_at_its_start(capsys: pytest.CaptureFixture[str]) -> None:
    scripted_model("free")
    Path("taken").write_text("")
    for arguments, words in (
        (["--provider", "free", "--provider", "nobody"], "--provider 'nobody': is unknown"),
        (["--provider", "free", "--images", "nowhere/"], "--images: nowhere does not exist"),
        (["--provider", "gpt-5.4-mini"], "OPENAI_API_KEY is not set"),
        (["--provider", "free", "--runs", "taken"], "--runs taken: is no folder"),
    ):
        ended = command(capsys, "mcp", *arguments)
        assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1), ended
        assert words in ended.err


def test_runs_wait_for_their_turn_and_tell_how_far_they_are() -> None:
    scripted_model("free", seed=1)
    scripted_model("other", seed=2)
    heard: dict[str, list[tuple[float, float | None]]] = {"free": [], "other": []}

    async def work(client: Client) -> None:
        async def one(provider: str) -> Any:
            async def hear(done: float, total: float | None, _: str | None) -> None:
                heard[provider].append((done, total))

            given = {"provider": provider, "images": 3, "questions": 1}
            return await client.call_tool("run", given, progress_callback=hear)

        both = await asyncio.gather(one("free"), one("other"))
        assert [each.structured_content["provider"] for each in both] == ["free", "other"]

    serving_here(work, "free", "other")
    first, second = sorted(Path("runs").iterdir(), key=lambda run: run.name.endswith("other"))
    assert [SavedRun(run).findings.images.done for run in (first, second)] == [3, 3]
    assert SavedRun(second).manifest.created >= SavedRun(first).manifest.created
    for told in heard.values():
        assert told[-1] == (3, 3)
        assert [done for done, _ in told] == sorted({done for done, _ in told}), "MCP: each is more than the one before"


def kept_whole(folder: Path) -> SavedRun:
    """The run at `folder`, of which something was done, nothing was lost, and nobody has it open."""
    run = SavedRun(folder)
    reopen(folder).close()
    assert run.findings.calls
    assert run.findings.calls.made > 0
    assert run.account.unknown == 0, "calls under way were waited for"
    return run


def test_a_run_that_is_given_up_keeps_what_is_done_and_the_next_one_begins() -> None:
    async def work(client: Client) -> None:
        under_way = asyncio.Event()

        async def hear(*_: Any) -> None:
            under_way.set()

        given = {"provider": "slow", "images": 10, "questions": 1}
        waits = asyncio.create_task(client.call_tool("run", given, progress_callback=hear))
        await under_way.wait()
        behind = asyncio.create_task(client.call_tool("run", given))
        await asyncio.sleep(0.05)
        for each in (behind, waits):
            each.cancel()
            with suppress(asyncio.CancelledError):
                await each
        failed, found = await told(client, "run", provider="free", images=2, questions=1)
        assert not failed, found

    scripted_model("free")
    with simulating(Simulation(latency=0.1, any_model=True)) as simulated:
        served_model("slow", simulated.openai_base, (1, 1), concurrency=2)
        serving_here(work, "slow", "free", max_cost=1)
        stopped, _ = sorted(Path("runs").iterdir(), key=lambda run: run.name.endswith("free"))
        assert len(list(Path("runs").iterdir())) == 2, "the one behind never began"
        assert 0 < len(kept_whole(stopped).examinations) < 10


@pytest.mark.parametrize("number", [None, signal.SIGTERM], ids=["stdin closes", "SIGTERM"])
def test_of_a_client_that_vanishes_nothing_that_is_paid_is_lost(number: signal.Signals | None) -> None:
    """number: the signal that ends the server; None: its client is gone."""

    def said(method: str, **more: Any) -> bytes:
        return json.dumps({"jsonrpc": "2.0", "method": method, **more}).encode() + b"\n"

    who = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "a", "version": "1"}}
    arguments = {"provider": "slow", "images": 10, "questions": 1}
    call = {"name": "run", "arguments": arguments, "_meta": {"progressToken": "t"}}
    with simulating(Simulation(latency=0.2, price=(1, 1), any_model=True)) as simulated:
        served_model("slow", simulated.openai_base, (1, 1), concurrency=2)
        start = [sys.executable, "-m", "unsaf_async", "mcp", "--provider", "slow", "--max-cost", "1"]
        with subprocess.Popen(start, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as gone:
            assert gone.stdin
            assert gone.stdout
            gone.stdin.write(said("initialize", id=1, params=who) + said("notifications/initialized"))
            gone.stdin.write(said("tools/call", id=2, params=call))
            gone.stdin.flush()
            next(line for line in gone.stdout if json.loads(line).get("method") == "notifications/progress")
            if number is None:
                gone.stdout.close()
                gone.stdin.close()
            else:
                gone.send_signal(number)
            assert gone.wait(30) == (-number if number else 0)
        (folder,) = Path("runs").iterdir()
        run = kept_whole(folder)
        assert 0 < len(run.examinations) < 10
        assert sum(run.account.made.values()) == simulated.ledger.requests == simulated.ledger.served
        assert run.spent_usd == pytest.approx(float(simulated.ledger.billed_usd))


def test_where_bounds_are_the_headline_an_agent_is_given_no_unf1() -> None:
    scripted_model("free")
    whole = measured("free", [], Path("runs/one")).found
    assert whole.unf1
    journal = Path("runs/one/journal.jsonl")
    lines = [json.loads(line) for line in journal.read_text("utf-8").splitlines()]
    for line in lines:
        for question in line["questions"][::3]:
            question |= {"act": None, "unscored": "undecided", "decided_by": None}
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")

    async def work(client: Client) -> None:
        failed, found = await told(client, "explain", run="one")
        assert not failed
        unf1 = found["figures"]["unf1"]
        assert (unf1["value"], unf1["ci_95"], unf1["why_undefined"]) == (None, None, BOUNDS_ALONE)
        assert found["unf1_bounds_if_unscored_counted"] == list(SavedRun(Path("runs/one")).findings.unf1_bounds or ())
        assert found["figures"]["recall"]["value"] is not None

    serving_here(work, "free")
