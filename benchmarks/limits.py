"""How much of a provider's rate limit is used, and how many 429s that costs: ours and two peers, against the simulator.

    python benchmarks/limits.py [--quick] [--seconds 30]

The simulator lets in 2,400 requests a minute (40 a second) through a token bucket that holds 40 or 4 requests, takes
0.2 s a call, and turns the rest away with 429 and retry-after. Every client has 64 workers that always want another call.
Ours has the limit either from its profile (`known`) or from the first reply's rate headers (`learned`). The peers: an
aiohttp client behind aiolimiter's `AsyncLimiter(2400, 60)` that retries with exponential jitter, and litellm's Router with
`rpm`. For each client the two buckets are tried at the same time, each in a simulator process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import subprocess
import sys
import tempfile
import warnings
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
from aiolimiter import AsyncLimiter

from unsaf_async.calls.backends.litellm import LitellmBackend
from unsaf_async.calls.session import Session
from unsaf_async.errors import CallError
from unsaf_async.providers.resolve import resolve

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType
    from typing import Self

PER_MINUTE = 2400.0
PER_SECOND = PER_MINUTE / 60
BURSTS = (40, 4)
WORKERS = 64
SETTLED_S = 5.0
"""Steady is what comes after this: the bucket's first fill is used up, and the limit is learned."""


class Simulated:
    """A simulator in a process of its own. url: where it listens."""

    def __init__(self, burst: int) -> None:
        self._command = [
            str(Path(sys.executable).with_name("unsaf-async")), "simulate", "--port", "0", "--latency", "0.2",
            "--rpm", f"{PER_MINUTE:g}", "--burst", str(burst),
        ]  # fmt: skip

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().split()[2]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.communicate()


@dataclass
class Tally:
    """What a client got. done_s: when each reply came, in seconds since the start. failed: calls given up."""

    done_s: list[float] = field(default_factory=list)
    failed: int = 0
    turned_away: int = 0


async def hammer(call: Callable[[str], Awaitable[object]], seconds: float) -> Tally:
    """So many workers that make one call after another, for so long."""
    tally = Tally()
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    numbers = iter(range(10**9))

    async def work() -> None:
        for number in numbers:
            try:
                await call(f"Is there a red door in picture {number}, and who painted it?")
            except Gone:
                tally.failed += 1
            else:
                tally.done_s.append(loop.time() - began_s)

    workers = [asyncio.create_task(work()) for _ in range(WORKERS)]
    await asyncio.wait(workers, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
    for worker in workers:
        worker.cancel()
    for outcome in await asyncio.gather(*workers, return_exceptions=True):
        if isinstance(outcome, Exception):
            raise outcome
    return tally


class Gone(Exception):
    """A call was given up."""


# --- the clients ----------------------------------------------------------------------------------------------------


async def ours(url: str, seconds: float, *, known: bool) -> Tally:
    """The engine's whole stack on the OpenAI-compatible route."""
    profile = resolve("vllm", model="simulated", api_base=f"{url}/v1", rpm=PER_MINUTE if known else None)
    profile = profile.model_copy(update={"rate_headers": "openai"})  # as a gateway in front of it would have
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        session = await stack.enter_async_context(
            Session(
                {"self": profile},
                cache=folder / "cache",
                ledger_file=folder / "ledger.jsonl",
                run_id="benchmark",
                questions=6,
            )
        )
        model = session.models["self"]
        provider = model.provider(session.budget.for_image(0))

        async def call(prompt: str) -> None:
            try:
                await provider.complete(model.builder.request("answer", prompt))
            except CallError as error:
                raise Gone from error

        return await hammer(call, seconds)


async def limited_aiohttp(url: str, seconds: float) -> Tally:
    """What one writes in an afternoon: a limiter of the limit's own shape, and retries with exponential jitter."""
    limiter = AsyncLimiter(PER_MINUTE, 60)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def call(prompt: str) -> None:
            body = {"model": "simulated", "messages": [{"role": "user", "content": prompt}], "max_tokens": 300}
            for attempt in range(20):
                async with limiter, session.post(f"{url}/v1/chat/completions", json=body) as response:
                    await response.read()
                    if response.status == 200:
                        return
                await asyncio.sleep(random.uniform(0, min(60.0, 2.0**attempt)))
            raise Gone

        return await hammer(call, seconds)


async def router(url: str, seconds: float) -> Tally:
    """litellm's Router, told the limit."""
    await LitellmBackend.open()  # imports litellm with what it does over the network switched off
    import litellm

    where = {"model": "openai/simulated", "api_base": f"{url}/v1", "api_key": "none", "rpm": int(PER_MINUTE)}
    routed = litellm.Router(
        model_list=[{"model_name": "simulated", "litellm_params": where}],
        routing_strategy="usage-based-routing-v2",
        num_retries=20,
        disable_cooldowns=True,  # its only deployment would be taken out of service by the first 429
    )

    async def call(prompt: str) -> None:
        try:
            await routed.acompletion("simulated", [{"role": "user", "content": prompt}], max_tokens=300)
        except Exception as error:
            raise Gone from error

    return await hammer(call, seconds)


CLIENTS: dict[str, Callable[[str, float], Awaitable[Tally]]] = {
    "ours, known": lambda url, seconds: ours(url, seconds, known=True),
    "ours, learned": lambda url, seconds: ours(url, seconds, known=False),
    "aiolimiter (2400, 60)": limited_aiohttp,
    "litellm Router rpm": router,
}


# --- the measuring --------------------------------------------------------------------------------------------------


async def measure(client: Callable[[str, float], Awaitable[Tally]], burst: int, seconds: float) -> Tally:
    with Simulated(burst) as simulated:
        tally = await client(simulated.url, seconds)
        async with aiohttp.ClientSession() as session, session.get(f"{simulated.url}/ledger?requests=0") as response:
            totals: dict[str, Any] = (await response.json())["totals"]
        tally.turned_away = totals["by_status"].get("429", 0)
    return tally


async def compare(seconds: float, names: list[str]) -> None:
    print(f"limit {PER_SECOND:g}/s, {seconds:g} s, {WORKERS} workers: goodput / limit, and 429s per success")
    print(f"  {'':24} {'bucket':>6} {'steady':>8} {'whole':>8} {'429s':>8} {'given up':>9}")
    for name in names:
        tallies = await asyncio.gather(*(measure(CLIENTS[name], burst, seconds) for burst in BURSTS))
        for burst, tally in zip(BURSTS, tallies, strict=True):
            late = sum(done_s > SETTLED_S for done_s in tally.done_s)
            steady = late / (PER_SECOND * (seconds - SETTLED_S))
            whole = len(tally.done_s) / (PER_SECOND * seconds + burst)
            away = tally.turned_away / max(1, len(tally.done_s))
            print(f"  {name:24} {burst:6} {steady:8.3f} {whole:8.3f} {away:8.3f} {tally.failed:9}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--quick", action="store_true", help="10 s a client, without the Router: does it run?")
    parser.add_argument("--only", choices=[*CLIENTS], action="append", help="of the clients; may be repeated")
    options = parser.parse_args()
    # What the Router has begun and not awaited when its time is up.
    warnings.filterwarnings("ignore", message="coroutine .* was never awaited")
    names = options.only or [*CLIENTS]
    if options.quick:
        options.seconds = 10.0
        names = [name for name in names if name != "litellm Router rpm"]
    asyncio.run(compare(options.seconds, names))


if __name__ == "__main__":
    main()
