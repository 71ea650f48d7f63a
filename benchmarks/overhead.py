"""Client CPU per call: ours on each wire and through litellm, litellm alone, plain httpx and aiohttp, in one run.

    python benchmarks/overhead.py [--quick] [--rounds 5] [--calls 256] [--in-flight 64]

The server is a process of its own that answers every POST with the same 1 KB reply, in the form of the vendor that is
asked, so that the client is the bottleneck. What is measured is the CPU time of this process, all threads, per call.
Contestants take turns within each round; a ratio is the median of the ratios within a round, so that what else the machine
does falls out. Every call of ours carries a new prompt and goes through the whole stack: cache (miss, then stored), retry,
budget, ledger, pace.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import io
import itertools
import os
import resource
import subprocess
import sys
import tempfile
import time
from base64 import b64encode
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import aiohttp
import httpx
import numpy as np
import orjson
from PIL import Image

from unsaf_async.calls.session import Session
from unsaf_async.inputs.loader import ImageLoader
from unsaf_async.inputs.policy import ImagePolicy
from unsaf_async.providers.prices import Price
from unsaf_async.providers.resolve import resolve
from unsaf_async.records import EncodedImage
from unsaf_async.runs.begin import begin
from unsaf_async.runs.prepare import prepare
from unsaf_async.runs.runner import Runner
from unsaf_async.runs.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from types import TracebackType
    from typing import Self

    from unsaf_async.providers.profile import Profile

KEY = "sk-proj-5Tq9wZr2Lx7Kc0Vb3Nf8Hd1Gm6"
"""As long and as odd as a vendor's, and in no reply: what looks for it finds nothing, as in a run."""
NAMES = {"gemini": "gemini-2.5-flash"}
"""litellm warns at every call of a name that it takes for a later Gemini."""

CALLS_AN_IMAGE = 14
"""2 lists and 12 answers share an image: one is encoded anew for every so many calls, ours and theirs."""
SETTLE_S = 0.02
"""Waited for after the last call, so that what a client does behind its caller's back is on its own account."""

TEXT = "The sign cannot be read in this image. " * 17
COMPLETION = orjson.dumps(
    {
        "id": "chatcmpl-0",
        "object": "chat.completion",
        "created": 1735689600,
        "model": "benchmark",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": TEXT},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 300, "completion_tokens": 150, "total_tokens": 450},
    }
)
MESSAGE = orjson.dumps(
    {
        "id": "msg_0",
        "type": "message",
        "role": "assistant",
        "model": "benchmark",
        "content": [{"type": "text", "text": TEXT}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 300, "output_tokens": 150},
    }
)
CONTENT = orjson.dumps(
    {
        "candidates": [{"content": {"role": "model", "parts": [{"text": TEXT}]}, "finishReason": "STOP", "index": 0}],
        "usageMetadata": {"promptTokenCount": 300, "candidatesTokenCount": 150, "totalTokenCount": 450},
        "modelVersion": "benchmark",
    }
)


# --- the server -----------------------------------------------------------------------------------------------------


class Canned(asyncio.Protocol):
    """As much of an HTTP/1.1 server as the clients here need: keep-alive, Content-Length bodies, an answer for each path."""

    def __init__(self, tail_bytes: int = 0) -> None:
        """tail_bytes: how much of a body's end `answer` gets to see."""
        self._tail_bytes = tail_bytes
        self._head = self._path = self._tail = b""
        self._body_left = -1  # -1: within the head

    def answer(self, path: bytes, tail: bytes) -> bytes:  # noqa: ARG002
        """The body of the answer."""
        return MESSAGE if b"/messages" in path else CONTENT if b":generate" in path else COMPLETION

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        while data:
            if self._body_left < 0:
                head, end, data = (self._head + data).partition(b"\r\n\r\n")
                if not end:
                    self._head = head
                    return
                self._head = b""
                self._path = head[: head.index(b"\r\n")]
                lengths = [line[15:] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
                self._body_left = int(lengths[0]) if lengths else 0
            taken = min(self._body_left, len(data))
            self._body_left -= taken
            if self._tail_bytes:
                self._tail = (self._tail + data[:taken])[-self._tail_bytes :]
            data = data[taken:]
            if not self._body_left:
                self._body_left = -1
                body = self.answer(self._path, self._tail)
                head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
                self._transport.write(head + body)
                self._tail = b""


async def listen(protocol: Callable[[], Canned]) -> None:
    """Listen on a free port, say which on stdout, and stay."""
    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0, backlog=1024)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


class Server:
    """A server in a process of its own: a script's, started with `--serve`. base: its URL."""

    def __init__(self, script: str = __file__) -> None:
        self._script = script

    def __enter__(self) -> Self:
        self._process = subprocess.Popen([sys.executable, self._script, "--serve"], stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self.base = f"http://127.0.0.1:{int(self._process.stdout.readline())}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


# --- the contestants ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Contestant:
    """call: makes call number n. share: the part of a round's calls that it makes, less where a call is dear."""

    name: str
    call: Callable[[int], Awaitable[object]]
    share: float = 1.0


class Pictures:
    """An image of about 100 KB for every `CALLS_AN_IMAGE` calls, as engine's record and as data URL."""

    def __init__(self) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (310, 310, 3), dtype=np.uint8)
        file = io.BytesIO()
        Image.fromarray(noise).save(file, "JPEG", quality=85)
        self.data = file.getvalue()
        self._number = -1
        self._image = self._encoded(-1)
        self._url = ""

    def _encoded(self, number: int) -> EncodedImage:
        return EncodedImage(self.data, "image/jpeg", 310, 310, f"{number:064x}")

    def image(self, n: int) -> EncodedImage:
        if n // CALLS_AN_IMAGE != self._number:
            self._number = n // CALLS_AN_IMAGE
            self._image = self._encoded(self._number)
            self._url = ""
        return self._image

    def url(self, n: int) -> str:
        self.image(n)
        self._url = self._url or f"data:image/jpeg;base64,{b64encode(self.data).decode('ascii')}"
        return self._url


def prompt(n: int) -> str:
    """About what an answering call says, different for every n."""
    return (
        "Look at the image and answer the question about it in one or two sentences. If the image does not show what "
        f"is needed to answer, say so.\n\nQuestion: What does the sign above door {n} say, and who put it there?"
    )


def messages(n: int, pictures: Pictures | None) -> list[dict[str, Any]]:
    """The same call in OpenAI's form, for the others."""
    if pictures is None:
        return [{"role": "user", "content": prompt(n)}]
    image = {"type": "image_url", "image_url": {"url": pictures.url(n)}}
    return [{"role": "user", "content": [image, {"type": "text", "text": prompt(n)}]}]


def body(n: int, pictures: Pictures | None) -> dict[str, Any]:
    return {"model": "benchmark", "messages": messages(n, pictures), "max_tokens": 300, "temperature": 0.0}


class Ours:
    """The engine's stack around one model, with a store, a ledger and a budget of its own."""

    def __init__(self, session: Session) -> None:
        self.model = session.models["self"]
        self._budget = session.budget
        self._provider = self.model.provider(self._budget.for_image(0))
        self._calls = 0

    @classmethod
    async def open(cls, profile: Profile, folder: Path, name: str, stack: AsyncExitStack) -> Ours:
        session = Session(
            {"self": profile},
            cache=folder / name,
            ledger_file=folder / f"{name}.jsonl",
            run_id="benchmark",
            max_cost_usd=1e6,
            questions=6,
        )
        return cls(await stack.enter_async_context(session))

    async def __call__(self, n: int, pictures: Pictures | None = None) -> None:
        if self._calls % CALLS_AN_IMAGE == 0:  # a run, too, has one budget and one set of layers for each image
            self._provider = self.model.provider(self._budget.for_image(10**9))
        self._calls += 1
        image = pictures.image(n) if pictures else None
        await self._provider.complete(self.model.builder.request("answer", prompt(n), image=image))


async def contestants(host: str, folder: Path, in_flight: int, stack: AsyncExitStack) -> list[Contestant]:
    """All of them, connected to the server at `host`, ours first."""
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY"):
        os.environ.setdefault(name, KEY)
    price = Price(input_usd_per_mtok=1.0, output_usd_per_mtok=2.0)
    base = f"{host}/v1"
    places = {"openai": base, "anthropic": host, "gemini": f"{host}/v1beta"}
    profiles = {
        name: resolve(
            name, model=f"{name}/benchmark", api_base=place, price=price, concurrency=in_flight, rpm=1e9, tpm=1e12
        )
        for name, place in places.items()
    }
    compatible = resolve("vllm", model="benchmark", api_base=base, concurrency=in_flight)
    ours = await Ours.open(compatible, folder, "openai-compatible", stack)
    anthropic = await Ours.open(profiles["anthropic"], folder, "anthropic", stack)
    gemini = await Ours.open(profiles["gemini"], folder, "gemini", stack)
    by_litellm = profiles["openai"].model_copy(update={"backend": "litellm"})
    via = await Ours.open(by_litellm, folder, "litellm", stack)
    import litellm  # after our own import of it, which has switched off what it does over the network

    async def through_litellm(n: int, route: str, pictures: Pictures | None = None) -> None:
        await litellm.acompletion(
            model=f"{route}/{NAMES.get(route, 'benchmark')}",
            api_base=places.get(route, base),
            api_key=KEY,
            messages=messages(n, pictures),
            max_tokens=300,
            temperature=0.0,
            max_retries=0,
            num_retries=0,
        )

    pool = await stack.enter_async_context(
        httpx.AsyncClient(limits=httpx.Limits(max_connections=in_flight, max_keepalive_connections=in_flight))
    )

    async def through_httpx(n: int) -> None:
        response = await pool.post(f"{base}/chat/completions", json=body(n, None))
        response.json()

    session = await stack.enter_async_context(
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=in_flight), cookie_jar=aiohttp.DummyCookieJar())
    )

    async def through_aiohttp(n: int, pictures: Pictures | None = None) -> None:
        async with session.post(f"{base}/chat/completions", json=body(n, pictures)) as response:
            await response.json()

    pictures = Pictures()
    return [
        Contestant("ours, OpenAI-compatible", ours),
        Contestant("ours, OpenAI-compatible, image", lambda n: ours(n, pictures)),
        Contestant("ours, Anthropic's wire", anthropic),
        Contestant("ours, Gemini's wire", gemini),
        Contestant("ours, through litellm", via, 0.25),
        Contestant("ours, through litellm, image", lambda n: via(n, pictures), 0.25),
        Contestant("litellm openai/", lambda n: through_litellm(n, "openai"), 0.25),
        Contestant("litellm openai/, image", lambda n: through_litellm(n, "openai", pictures), 0.25),
        Contestant("litellm anthropic/", lambda n: through_litellm(n, "anthropic"), 0.25),
        Contestant("litellm gemini/", lambda n: through_litellm(n, "gemini"), 0.25),
        Contestant("litellm hosted_vllm/", lambda n: through_litellm(n, "hosted_vllm"), 0.25),
        Contestant("httpx, one pool", through_httpx, 0.25),
        Contestant("aiohttp", through_aiohttp),
        Contestant("aiohttp, image", lambda n: through_aiohttp(n, pictures)),
    ]


# --- the measuring --------------------------------------------------------------------------------------------------


async def cpu_s(call: Callable[[int], Awaitable[object]], numbers: Iterator[int], in_flight: int) -> float:
    """CPU seconds of this process for `call` of every number, so many at once."""
    gc.collect()

    async def work() -> None:
        for number in numbers:
            await call(number)

    began = time.process_time()
    async with asyncio.TaskGroup() as group:
        for _ in range(in_flight):
            group.create_task(work())
    await asyncio.sleep(SETTLE_S)
    return time.process_time() - began


async def cold(options: argparse.Namespace, base: str, folder: Path) -> None:
    """Every call new: CPU per call of each contestant, and ratios within rounds."""
    async with AsyncExitStack() as stack:
        entered = await contestants(base, folder, options.in_flight, stack)
        fresh = itertools.count()
        times_ms: dict[str, list[float]] = {contestant.name: [] for contestant in entered}
        for round_number in range(options.rounds + 1):
            for contestant in entered if round_number % 2 else reversed(entered):
                number = max(options.in_flight, int(options.calls * contestant.share))
                spent_s = await cpu_s(contestant.call, itertools.islice(fresh, number), options.in_flight)
                if round_number:  # the first one connects and warms up
                    times_ms[contestant.name].append(1000 * spent_s / number)
    print(f"cold, {options.in_flight} in flight, {options.rounds} rounds: CPU-ms per call")
    print(f"  {'':32} {'median':>8} {'x litellm openai/':>18} {'x aiohttp':>10}")
    for name, times in times_ms.items():
        kind = ", image" if name.endswith(", image") else ""
        print(
            f"  {name:32} {median(times):8.3f} {ratio(times, times_ms['litellm openai/' + kind]):18.3f}"
            f" {ratio(times, times_ms['aiohttp' + kind]):10.2f}"
        )


def ratio(times: list[float], others: list[float]) -> float:
    """The median of the ratios within a round."""
    return median(one / other for one, other in zip(times, others, strict=True))


async def warm(options: argparse.Namespace, base: str, folder: Path) -> None:
    """Every call cached: CPU per call of the layers alone."""
    print("cached, the layers alone: CPU-microseconds per call")
    pictures = Pictures()
    for name, picture in (("text", None), ("image", pictures)):
        async with AsyncExitStack() as stack:
            profile = resolve("vllm", model="benchmark", api_base=base, concurrency=options.in_flight)
            ours = await Ours.open(profile, folder, f"warm-{name}", stack)
            number = 4 * options.calls
            times_us = []
            for round_number in range(options.rounds + 1):
                spent_s = await cpu_s(lambda n: ours(n, picture), iter(range(number)), options.in_flight)  # noqa: B023
                if round_number:  # the first one fills the cache
                    times_us.append(1e6 * spent_s / number)
            print(f"  {name:32} {median(times_us):8.1f}")


def thumbnails(folder: Path, count: int) -> list[Path]:
    """Images of 64 x 64 pixels, so small that decoding them hides nothing else."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    files = [folder / f"{number:04}.png" for number in range(count)]
    for file in files:
        Image.fromarray(generator.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(file)
    return files


async def decoding_s(files: list[Path]) -> float:
    """CPU seconds for loading `files` as a run does."""
    loader = ImageLoader(ImagePolicy(max_side_px=1024, max_bytes=10_000_000))
    try:
        began = time.process_time()
        async with asyncio.TaskGroup() as group:
            for file in files:
                group.create_task(loader.load(file))
        return time.process_time() - began
    finally:
        loader.close()


async def rerun(options: argparse.Namespace, folder: Path) -> None:
    """A whole run repeated with a full cache: CPU per call, from two sizes, so that what a run costs once falls out."""
    sizes = (10, 40 if options.quick else 110)
    photos = thumbnails(folder / "photos", sizes[-1])
    spent_s: dict[int, list[float]] = {size: [] for size in sizes}
    calls: dict[int, int] = {}
    runs = itertools.count()
    for round_number in range(min(3, options.rounds) + 1):
        for size in reversed(sizes):  # the larger one first: it fills the cache for both
            prepared = await prepare(
                Settings(
                    "scripted", images=photos, limit=size, cache=folder / "shared", out=folder / f"run-{next(runs)}"
                )
            )
            with begin(prepared) as run_folder:
                gc.collect()
                began = time.process_time()
                score = await Runner(run_folder).run()
                if round_number:
                    spent_s[size].append(time.process_time() - began)
                    assert score.calls is not None
                    assert not score.calls.made, "the cache is full: no call may leave"
                    calls[size] = score.calls.cached
    small, large = sizes
    further = calls[large] - calls[small]
    marginal_us = [1e6 * (more - less) / further for less, more in zip(spent_s[small], spent_s[large], strict=True)]
    images_us = 1e6 * await decoding_s(photos[small:large]) / further
    print("cached, a whole run of the scripted model: CPU-microseconds per call")
    print(
        f"  {'all of the run':32} {1e6 * median(spent_s[large]) / calls[large]:8.1f}"
        f"  ({large} images, {calls[large]} calls)"
    )
    print(f"  {'each further call':32} {median(marginal_us):8.1f}")
    print(f"  {'  of it, decoding the images':32} {images_us:8.1f}  (64 x 64 pixels)")


def help_screen(runs: int) -> None:
    """CPU seconds of `unsaf-async --help`, a process each."""
    command = [str(Path(sys.executable).with_name("unsaf-async")), "--help"]
    times_s = []
    for _ in range(runs):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times_s.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    print(f"unsaf-async --help: CPU-s, least {min(times_s):.3f}, median {median(times_s):.3f}, of {runs} runs")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument(
        "--calls", type=int, default=512, help="of each contestant in a round; the dear ones make fewer"
    )
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--quick", action="store_true", help="2 rounds of 128 calls: does it run?")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(listen(Canned))
        return
    if options.quick:
        options.rounds, options.calls = 2, 128
    with tempfile.TemporaryDirectory() as name, Server() as server:
        folder = Path(name)
        asyncio.run(cold(options, server.base, folder))
        asyncio.run(warm(options, server.base, folder))
        asyncio.run(rerun(options, folder))
    help_screen(3 if options.quick else 9)


if __name__ == "__main__":
    main()
