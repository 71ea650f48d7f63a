"""The one server that all peers are measured against: OpenAI's chat completions, with a ledger of what it saw.

    python benchmarks/peers/local_server.py      # prints its URL, and serves until it is ended

POST /configure sets its mode and empties its ledger; GET /ledger tells what came since. It looks for marks in a request's
bytes and parses none of it, so that it costs less than any client. It answers as the method's model would: lists of
questions, answers, verdicts.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import random
import re
import sys
import time
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Callable

SIGMA = math.log(10) / 2.3263478740408408
"""Of a lognormal whose 99th percentile is ten times its median."""
PICTURE_TOKENS = 765
CLEAR_ANSWER = "The image does not show that, so it cannot be answered from the image."
OPEN_ANSWER = "Probably a bakery, though part of the lettering is hidden behind the tree."
"""Hedged in a way that the rules leave to an LLM judge."""
WANTED = re.compile(rb"write (\d+) different questions")
SAMPLES = re.compile(rb'"n": ?(\d+)')


@dataclass(frozen=True)
class Mode:
    """How the server behaves.

    latency_s: of a reply; its median where `lognormal`. seed: of all that is drawn. rate_per_s: of the token bucket, which
    holds `burst`; None: no limit. lost_share: of the requests that get through, those whose connection breaks instead of a
    reply; they are billed, as a vendor would. open_answers: every answer is left to an LLM judge.
    """

    latency_s: float = 0.0
    lognormal: bool = False
    seed: int = 0
    rate_per_s: float | None = None
    burst: int = 1
    lost_share: float = 0.0
    open_answers: bool = False


class TokenBucket:
    """A limiter that lets in `rate_per_s` and, after a pause, up to `burst` at once. clock: seconds, never backwards."""

    def __init__(self, rate_per_s: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate_per_s = rate_per_s
        self._burst = burst
        self._clock = clock
        self._tokens = float(burst)
        self._at_s = clock()

    def take(self) -> float:
        """0.0 where a request is let in; else the seconds until there is a token for one."""
        now_s = self._clock()
        self._tokens = min(float(self._burst), self._tokens + (now_s - self._at_s) * self._rate_per_s)
        self._at_s = now_s
        if self._tokens >= 1 - 1e-9:
            self._tokens -= 1
            return 0.0
        return (1 - self._tokens) / self._rate_per_s

    @property
    def left(self) -> int:
        return int(self._tokens)


@dataclass
class Ledger:
    """What the server saw. slept_s: the latencies of all that it let in, added up. first_s, last_s: when the first request
    came and the last reply left, by the server's clock; None before.
    """

    requests: int = 0
    succeeded: int = 0
    limited: int = 0
    lost: int = 0
    pictures: int = 0
    in_flight: int = 0
    peak_in_flight: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    slept_s: float = 0.0
    first_s: float | None = None
    last_s: float | None = None
    roles: dict[str, int] = field(default_factory=dict)


class LocalServer:
    """One mode at a time, and the ledger of what came since it was set."""

    def __init__(self) -> None:
        self._written = 0
        self._set(Mode())

    def _set(self, mode: Mode) -> None:
        self._mode = mode
        self._random = random.Random(mode.seed)
        self._bucket = None if mode.rate_per_s is None else TokenBucket(mode.rate_per_s, mode.burst)
        self.ledger = Ledger()

    def app(self) -> web.Application:
        app = web.Application(client_max_size=64 * 1024**2)
        app.router.add_post("/v1/chat/completions", self._complete)
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/configure", self._configure)
        app.router.add_get("/ledger", self._tell)
        return app

    async def _configure(self, request: web.Request) -> web.Response:
        said = await request.json()
        known = {each.name for each in fields(Mode)}
        if not isinstance(said, dict) or not known.issuperset(said):
            return web.Response(status=400, text=f"a mode has {sorted(known)}")
        self._set(Mode(**said))
        return web.Response()

    async def _tell(self, _: web.Request) -> web.Response:
        return web.json_response(asdict(self.ledger))

    async def _models(self, _: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": "bench", "object": "model", "owned_by": "bench"}]})

    async def _complete(self, request: web.Request) -> web.Response:
        ledger, mode = self.ledger, self._mode
        if ledger.first_s is None:
            ledger.first_s = time.monotonic()
        ledger.requests += 1
        ledger.in_flight += 1
        ledger.peak_in_flight = max(ledger.peak_in_flight, ledger.in_flight)
        try:
            body = await request.read()
            wait_s = self._bucket.take() if self._bucket is not None else 0.0
            if wait_s:
                ledger.limited += 1
                return self._refusal(wait_s)
            latency_s = self._latency_s()
            lost = mode.lost_share > 0 and self._random.random() < mode.lost_share
            ledger.slept_s += latency_s
            if latency_s:
                await asyncio.sleep(latency_s)
            response = self._reply(body)
            if lost:
                ledger.lost += 1
                if request.transport is not None:
                    request.transport.abort()
            else:
                ledger.succeeded += 1
            return response
        finally:
            ledger.in_flight -= 1
            ledger.last_s = time.monotonic()

    def _latency_s(self) -> float:
        """Of the next request that is let in: the n-th one waits as long for every peer."""
        mode = self._mode
        return mode.latency_s * math.exp(SIGMA * self._random.gauss(0, 1)) if mode.lognormal else mode.latency_s

    def _rate_headers(self) -> dict[str, str]:
        if self._bucket is None or self._mode.rate_per_s is None:
            return {}
        return {
            "x-ratelimit-limit-requests": f"{self._mode.rate_per_s * 60:.0f}",
            "x-ratelimit-remaining-requests": str(self._bucket.left),
            "x-ratelimit-reset-requests": f"{math.ceil(1000 / self._mode.rate_per_s)}ms",
        }

    def _refusal(self, wait_s: float) -> web.Response:
        error = {"message": "Rate limit reached for requests", "type": "requests", "code": "rate_limit_exceeded"}
        headers = {"retry-after": str(math.ceil(wait_s)), "retry-after-ms": str(math.ceil(1000 * wait_s))}
        return web.json_response({"error": error}, status=429, headers=self._rate_headers() | headers)

    def _reply(self, body: bytes) -> web.Response:
        role, text = self._answer(body)
        samples = int(found[1]) if (found := SAMPLES.search(body)) else 1
        picture_at = body.find(b"data:image")
        text_bytes = len(body)
        if picture_at >= 0:
            text_bytes -= body.find(b'"', picture_at) - picture_at
        ledger = self.ledger
        ledger.roles[role] = ledger.roles.get(role, 0) + 1
        ledger.pictures += picture_at >= 0
        usage = {
            "prompt_tokens": text_bytes // 4 + PICTURE_TOKENS * (picture_at >= 0),
            "completion_tokens": samples * (len(text) // 4),
        }
        ledger.input_tokens += usage["prompt_tokens"]
        ledger.output_tokens += usage["completion_tokens"]
        completion: dict[str, Any] = {
            "id": f"chatcmpl-{ledger.requests}",
            "object": "chat.completion",
            "created": 1735689600,
            "model": "bench",
            "choices": [
                {"index": index, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
                for index in range(samples)
            ],
            "usage": usage | {"total_tokens": sum(usage.values())},
        }
        return web.json_response(completion, headers=self._rate_headers())

    def _answer(self, body: bytes) -> tuple[str, str]:
        """The role that a request plays in the method, and what the model says."""
        if wanted := WANTED.search(body):
            kind = {"kind": "hidden"} if b"UNANSWERABLE" in body else {}
            label = "unanswerable" if kind else "answerable"
            self._written += 1
            questions = [
                {"question": f"What does {label} sign number {n} in picture {self._written} say?"} | kind
                for n in range(int(wanted[1]))
            ]
            return "ask", json.dumps({"questions": questions})
        if b"response DOES" in body:
            verdict = "abstained" if CLEAR_ANSWER.encode() in body else "answered"
            return "judge", json.dumps({"verdict": verdict})
        return "answer", OPEN_ANSWER if self._mode.open_answers else CLEAR_ANSWER


async def serve() -> None:
    """Listens on a free port, says which on stdout, and stays."""
    logging.disable()  # of what breaks because connections are broken on purpose
    runner = web.AppRunner(LocalServer().app(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
    sys.stdout.write(f"http://127.0.0.1:{runner.addresses[0][1]}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve())
