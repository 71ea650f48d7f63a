"""A server between the engine and the simulator, which turns some requests away: a stricter endpoint than the simulator."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import ClientSession, web
from driving import draw_images
from serving import serve_requests

from unsaf_async.events import silent
from unsaf_async.runs.begin import begin
from unsaf_async.runs.prepare import prepare
from unsaf_async.runs.runner import Runner
from unsaf_async.runs.settings import Settings
from unsaf_async.simulate.server import Simulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from unsaf_async.events import Announce
    from unsaf_async.simulate.settings import Simulation

Body = dict[str, Any]


class Between:
    """Passes requests on, or answers them itself."""

    def __init__(self, upstream: str, answer: Callable[[Body], tuple[int, Any] | None]) -> None:
        self._upstream = upstream
        self._answer = answer
        self.base = ""
        self.passed: list[Body] = []
        self.refused: list[Body] = []

    async def handle(self, asked: web.Request) -> web.Response:
        """The answer of its own, if there is one, or the upstream's."""
        content = await asked.read()
        body = orjson.loads(content)
        if (own := self._answer(body)) is not None:
            self.refused.append(body)
            return web.Response(status=own[0], body=orjson.dumps(own[1]), content_type="application/json")
        self.passed.append(body)
        if limit := body.get("max_completion_tokens"):  # which the simulator may not know
            content = orjson.dumps(body | {"max_tokens": limit})
        async with ClientSession() as session, session.post(self._upstream + asked.path[3:], data=content) as answer:
            return web.Response(status=answer.status, body=await answer.read(), content_type="application/json")


@asynccontextmanager
async def between(simulation: Simulation, answer: Callable[[Body], tuple[int, Any] | None]) -> AsyncIterator[Between]:
    """A running simulator behind a server that answers some requests itself, as `answer` says by the body."""
    async with Simulator(simulation) as simulator:
        server = Between(simulator.openai_base, answer)
        async with serve_requests(server.handle) as url:
            server.base = f"{url}/v1"
            yield server


def refusal(message: str, param: str | None = None) -> Body:
    """A refusal in OpenAI's form."""
    return {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": None}}


async def run_at(
    base: str,
    folder: Path,
    *,
    images: int = 3,
    announce: Announce = silent,
    profile: dict[str, Any] | None = None,
    **options: Any,
) -> Runner:
    """A run at a server, ended; the same folder goes on."""
    given: dict[str, Any] = {
        "questions": 2,
        "judge": "self",
        "out": folder / "run",
        "cache": folder / "cache",
        **options,
    }
    settings = Settings(
        "vllm", model="simulated", images=draw_images(folder / "images", images), api_base=base, **given
    )
    prepared = await prepare(settings)
    changed = prepared.subject.model_copy(update={"retry_wait_s": 0.01, **(profile or {})})
    object.__setattr__(prepared, "subject", changed)
    with begin(prepared) as run_folder:
        runner = Runner(run_folder, announce)
        await runner.run()
    return runner
