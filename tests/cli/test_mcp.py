"""The server for agents, through its SDK's own client over stdio, in a process of its own."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from commandline import command
from mcp import Client, StdioServerParameters
from truths import scripted_model

from unsaf_async.runs.saved import SavedRun

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


async def told(client: Client, tool: str, **arguments: Any) -> tuple[bool, Any]:
    """(whether a tool failed; what it returned, or the words with which it failed)."""
    result = await client.call_tool(tool, arguments)
    return bool(result.is_error), result.content[0].text if result.is_error else result.structured_content


def test_an_agent_estimates_runs_and_explains_and_sees_no_text_of_a_model() -> None:
    async def work(client: Client) -> None:
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

    serving(work, "--provider", "free", "--provider", "dear")
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
        assert failed or found["left_usd"] < left[-1]

    serving(work, "--provider", "dear", "--max-cost", "0.6")
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
