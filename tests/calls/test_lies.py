"""A server whose replies carry impossible figures: the cap holds, no run ends in a traceback, and resuming goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest
from aiohttp import ClientSession, web
from driving import ROUTES, draw_images
from serving import serve_requests

from unsaf_async.calls.ledger import read_account
from unsaf_async.runs.begin import begin
from unsaf_async.runs.journal import read_journal
from unsaf_async.runs.prepare import prepare
from unsaf_async.runs.runner import Runner
from unsaf_async.runs.settings import Settings
from unsaf_async.simulate.server import Simulator
from unsaf_async.simulate.settings import Simulation

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:litellm"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:aiohttp"),
    pytest.mark.filterwarnings("ignore::UserWarning:pydantic"),
]

LOGPROBS = ([None], ["-0.5"], [float("nan")], [float("-inf")], [3.0], [-0.5, None], {"token": 1}, "text")
USAGES = (
    {"prompt_tokens": -1_500_000, "completion_tokens": 5, "total_tokens": -1_499_995},
    {"prompt_tokens": 100, "completion_tokens": -1_500_000, "total_tokens": 0},
    {"prompt_tokens": 2**63, "completion_tokens": 5, "total_tokens": 2**64},
    {"prompt_tokens": 0.5, "completion_tokens": 1.5, "total_tokens": 2},
    {"prompt_tokens": 100},
    {"completion_tokens": 5},
    {"prompt_tokens": 100, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": -900_000}},
    {"prompt_tokens": 100, "completion_tokens": 5, "completion_tokens_details": {"reasoning_tokens": 10**12}},
)  # fmt: skip


class Lying:
    """A server before another, which replaces the figures of its replies."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self.replies = 0

    async def handle(self, asked: web.Request) -> web.Response:
        """Pass a request on; the reply's figures are the next ones of the lists."""
        content = await asked.read()
        async with ClientSession() as session, session.post(self._upstream + asked.path[3:], data=content) as answer:
            body: dict[str, Any] = await answer.json()
        body["usage"] = USAGES[self.replies % len(USAGES)]
        tokens = LOGPROBS[self.replies % len(LOGPROBS)]
        listed = [{"token": "a", "logprob": each} for each in tokens] if isinstance(tokens, list) else tokens
        body["choices"][0]["logprobs"] = {"content": listed}
        self.replies += 1
        import json  # orjson writes no NaN

        return web.Response(body=json.dumps(body).encode(), content_type="application/json")


async def lied_to(folder: Path, base: str, backend: str, max_cost: float) -> Runner:
    """A session of a run at such a server."""
    settings = Settings(
        "vllm", model="simulated", images=draw_images(folder / "images", 6), questions=3, judge="self", api_base=base,
        out=folder / "run", cache=folder / "cache", price="2.5,10", max_cost=max_cost, confidence=True,
    )  # fmt: skip
    prepared = await prepare(settings)
    changed = {"model": "openai/simulated"} if backend == "litellm" else {}
    takes = prepared.subject.takes.model_copy(update={"logprobs": True})
    subject = prepared.subject.model_copy(update={"backend": backend, "retry_wait_s": 0.01, "takes": takes, **changed})
    object.__setattr__(prepared, "subject", subject)
    with begin(prepared) as run_folder:
        runner = Runner(run_folder)
        await runner.run()
    return runner


@pytest.mark.parametrize("backend", ["openai", "litellm"])
async def test_impossible_figures_defeat_no_cap_and_end_no_run_for_good(
    backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "a-key")
    async with Simulator(Simulation()) as simulator:
        between = Lying(getattr(simulator, ROUTES["vllm"][1]))
        async with serve_requests(between.handle) as url:
            for cap in (1.0, 100.0):
                ended = await lied_to(tmp_path, f"{url}/v1", backend, cap)
                account = read_account(ended.folder.files.ledger)
                assert 0 < account.cost_usd <= cap
    assert between.replies > 50
    assert ended.why_stopped is None
    calls = [call for each in read_journal(ended.folder.files.journal).values() for call in each.calls]
    assert all(call.cost_usd > 0 or call.outcome == "failed" for call in calls)  # litellm reads some of them not at all
    for line in ended.folder.files.ledger.read_bytes().splitlines():
        settled = orjson.loads(line)
        assert settled["what"] != "settled" or (
            settled["cost"] > 0 and min(settled["tokens"][0], settled["tokens"][3]) > 0
        )
