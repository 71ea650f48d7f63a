"""CPU per call of `unsaf-async run` as a whole, cold and cached, beside aiohttp and litellm sending the same bodies.

    python benchmarks/whole_run.py [--quick] [--rounds 3] [--images 20,120] [--only NAME ...]

A server in a process of its own answers at once: question lists to those that ask for one, else answers. Each contestant is a
process of its own that makes 14 calls a picture (2 lists, 12 answers), once with few pictures and once with many. Between the
two lies what a further call costs, start-up and all other fixed work left out; what is left of the smaller run is the start.
Contestants take turns; the figures are medians over the rounds. All of a process's threads count. Calls a second are by the
clock, and say little where the server, or anything else, shares the cores.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from base64 import b64encode
from dataclasses import dataclass
from functools import partial
from itertools import count
from math import inf
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
from overhead import CALLS_AN_IMAGE, KEY, Canned, Server, listen
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

IN_FLIGHT = 64
SIZE_PX = (800, 600)
PICTURE_BYTES = 100_000
TAIL_BYTES = 8_192
"""The prompt stands behind the picture: this much of a body's end tells what it asks for."""

THINGS = ("sign", "bicycle", "door", "table", "window", "dog", "lamp", "chair", "car", "tree", "cup", "wall")
COLOURS = ("red", "dark green", "white", "pale yellow", "blue and grey", "brown", "black")
PLACES = ("on the left", "in the foreground", "next to the entrance", "behind the fence", "at the upper edge")
ANSWERABLE = (
    "The {thing} {place} is {colour}.",
    "It is {colour}; it stands {place}, and two smaller ones are next to it.",
    "There are three of them: one {place}, and two that are {colour}.",
    "{colour}",
)
UNANSWERABLE = (
    "The image does not show who owns the {thing}, so this cannot be answered from it.",
    "I can't tell from the image what the {thing} {place} cost.",
    "It is not possible to determine that: the {thing} is only partly visible.",
    "The {thing} is {colour}, but there is no way to know from this picture what happened before.",
)


# --- the server -----------------------------------------------------------------------------------------------------


class Answering(Canned):
    """Answers in OpenAI's form: question lists, and answers of a sentence or two, each a little different."""

    numbers = count()

    def answer(self, path: bytes, tail: bytes) -> bytes:  # noqa: ARG002
        number = next(self.numbers)
        words = {
            "thing": THINGS[number % len(THINGS)],
            "colour": COLOURS[number % len(COLOURS)],
            "place": PLACES[number % len(PLACES)],
        }
        if b"json_schema" in tail:
            text = orjson.dumps({"questions": questions(number, answerable=b"UNANSWERABLE" not in tail)}).decode()
        else:
            templates = UNANSWERABLE if b"owner of" in tail else ANSWERABLE
            text = templates[number % len(templates)].format(**words)
        return orjson.dumps(
            {
                "id": f"chatcmpl-{number}",
                "object": "chat.completion",
                "created": 1735689600,
                "model": "benchmark",
                "choices": [
                    {
                        "index": 0,
                        "message": {"role": "assistant", "content": text},
                        "logprobs": None,
                        "finish_reason": "stop",
                    }
                ],
                "usage": {"prompt_tokens": 900, "completion_tokens": 40, "total_tokens": 940},
            }
        )


def questions(number: int, *, answerable: bool) -> list[dict[str, str]]:
    asked = []
    for place in range(6):
        thing, colour = THINGS[(number + place) % len(THINGS)], COLOURS[number % len(COLOURS)]
        if answerable:
            asked.append({"question": f"Which colour has the {thing} next to the {colour} one, number {place}?"})
        else:
            asked.append({"question": f"Who is the owner of the {colour} {thing}, number {place}?", "kind": "identity"})
    return asked


# --- the contestants ------------------------------------------------------------------------------------------------


def pictures(folder: Path, number: int) -> None:
    """Pictures of about 100 kB and 800 x 600 pixels, as a photo of that quality has."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    for name in range(number):
        coarse = generator.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        smooth = np.asarray(Image.fromarray(coarse).resize(SIZE_PX, Image.Resampling.BICUBIC), dtype=np.int16)
        noise = generator.normal(0, 9, (SIZE_PX[1], SIZE_PX[0], 1)).astype(np.int16)
        Image.fromarray(np.clip(smooth + noise, 0, 255).astype(np.uint8)).save(folder / f"{name:04}.jpg", quality=80)


def bodies(file: Path) -> list[dict[str, Any]]:
    """What a picture's calls send, without what the program does to come by it."""
    url = f"data:image/jpeg;base64,{b64encode(file.read_bytes()).decode('ascii')}"
    words = "Look at the image and answer the question about it in one or two sentences. " * 4
    return [
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "image_url", "image_url": {"url": url}},
                        {"type": "text", "text": f"{words}Question {number}: which colour has the door of {file}?"},
                    ],
                }
            ],
            "max_tokens": 300,
            "temperature": 0.0,
        }
        for number in range(CALLS_AN_IMAGE)
    ]


async def by_aiohttp(base: str, files: list[Path]) -> None:
    import aiohttp

    connector = aiohttp.TCPConnector(limit=IN_FLIGHT)
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:

        async def call(body: dict[str, Any]) -> None:
            async with session.post(f"{base}/v1/chat/completions", json={"model": "benchmark"} | body) as response:
                await response.json()

        await of_all(files, call)


async def by_litellm(base: str, files: list[Path]) -> None:
    import litellm

    async def call(body: dict[str, Any]) -> None:
        await litellm.acompletion(
            model="openai/benchmark", api_base=f"{base}/v1", api_key=KEY, max_retries=0, num_retries=0, **body
        )

    await of_all(files, call)


async def of_all(files: list[Path], call: Callable[[dict[str, Any]], Any]) -> None:
    """Calls for every picture, so many at once."""
    waiting = iter(files)

    async def work() -> None:
        for file in waiting:
            await asyncio.gather(*map(call, bodies(file)))

    async with asyncio.TaskGroup() as group:
        for _ in range(max(1, IN_FLIGHT // CALLS_AN_IMAGE)):
            group.create_task(work())


CLIENTS = {"aiohttp": by_aiohttp, "litellm": by_litellm}


class Bench:
    """One measurement: its folder, its server, and how each contestant is started."""

    def __init__(self, folder: Path, base: str, sizes: tuple[int, int]) -> None:
        self.folder = folder
        self.base = base
        self.sizes = sizes
        self._runs = count()

    def command(self, *flags: str) -> list[str]:
        """`unsaf-async run` over the pictures, into a new folder."""
        program = [str(Path(sys.executable).with_name("unsaf-async")), "run", "--provider", "vllm"]
        program += ["--model", "benchmark", "--api-base", f"{self.base}/v1", "--images", str(self.folder / "pictures")]
        program += ["--judge", "rules", "--concurrency", str(IN_FLIGHT), "--yes", "--quiet"]
        return [*program, "--out", str(self.folder / f"run-{next(self._runs)}"), *flags]

    def ours(self, number: int, *flags: str) -> list[str]:
        return self.command("--limit", str(number), "--cache", str(self.folder / f"new-{next(self._runs)}"), *flags)

    def ours_cached(self, number: int, *flags: str) -> list[str]:
        cache = self.folder / "kept"
        if not cache.exists():
            spent(self.command("--limit", str(self.sizes[1]), "--cache", str(cache), "--no-report"))
        return self.command("--limit", str(number), "--cache", str(cache), *flags)

    def client(self, number: int, name: str) -> list[str]:
        return [sys.executable, __file__, "--client", name, self.base, str(self.folder / "pictures"), str(number)]


def spent(command: Sequence[str]) -> tuple[float, float]:
    """(CPU seconds of a process that does `command`, all threads; seconds by the clock)."""
    with tempfile.TemporaryFile() as said:
        variables = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}  # nothing is fetched over the network
        variables.pop("PYTHONDONTWRITEBYTECODE", None)  # with it, each start compiles the whole package
        began_s = time.monotonic()
        process = subprocess.Popen(command, stdout=said, stderr=said, env=variables)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise SystemExit(f"{command} ended with {process.returncode}: {said.read().decode()}")
    return usage.ru_utime + usage.ru_stime, time.monotonic() - began_s


@dataclass(frozen=True)
class Round:
    """What a contestant took. call_ms: CPU of a further call. start_s: CPU of the rest. calls_per_s: by the clock; inf where
    other work hid them."""

    call_ms: float
    start_s: float
    calls_per_s: float


def measure(options: argparse.Namespace, bench: Bench) -> dict[str, list[Round]]:
    """The rounds of each contestant."""
    small, large = bench.sizes
    few = (max(2, small // 2), max(6, large // 4))  # for who takes long
    contestants: dict[str, tuple[Callable[[int], list[str]], tuple[int, int]]] = {
        "ours": (bench.ours, bench.sizes),
        "ours, no report": (lambda number: bench.ours(number, "--no-report"), bench.sizes),
        "ours, cached": (bench.ours_cached, bench.sizes),
        "ours, cached, no report": (lambda number: bench.ours_cached(number, "--no-report"), bench.sizes),
        "aiohttp": (partial(bench.client, name="aiohttp"), bench.sizes),
        "litellm": (partial(bench.client, name="litellm"), few),
    }
    if options.only:
        contestants = {name: each for name, each in contestants.items() if name in options.only}
    rounds: dict[str, list[Round]] = {name: [] for name in contestants}
    for _ in range(options.rounds):
        for name, (command, sizes) in contestants.items():
            (less_s, less_clock_s), (more_s, more_clock_s) = (spent(command(number)) for number in sizes)
            calls = (sizes[1] - sizes[0]) * CALLS_AN_IMAGE
            call_s = (more_s - less_s) / calls
            start_s = less_s - sizes[0] * CALLS_AN_IMAGE * call_s
            rounds[name].append(
                Round(1000 * call_s, start_s, calls / took_s if (took_s := more_clock_s - less_clock_s) > 0 else inf)
            )
    return rounds


def show(measured: dict[str, list[Round]]) -> None:
    print(
        f"{'':26} {'CPU-ms a call':>13} {'range':>15} {'x aiohttp':>10} {'x litellm':>10} {'start, CPU-s':>13} {'calls/s':>8}"
    )
    for name, rounds in measured.items():
        each = [one.call_ms for one in rounds]
        ratios = [
            f"{median(one.call_ms / other.call_ms for one, other in zip(rounds, measured[peer], strict=True)):10.2f}"
            if peer in measured
            else " " * 10
            for peer in ("aiohttp", "litellm")
        ]
        between = f"{min(each):.2f} to {max(each):.2f}"
        start_s, calls_per_s = median(one.start_s for one in rounds), median(one.calls_per_s for one in rounds)
        print(f"{name:26} {median(each):13.3f} {between:>15} {' '.join(ratios)} {start_s:13.2f} {calls_per_s:8.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", default="20,120", help="pictures of the smaller and of the larger run")
    parser.add_argument("--only", action="append", help="a contestant; may be given several times")
    parser.add_argument("--quick", action="store_true", help="1 round of 4 and 20 pictures: does it run?")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--client", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(listen(partial(Answering, TAIL_BYTES)))
        return
    if options.client:
        name, base, folder, number = options.client
        asyncio.run(CLIENTS[name](base, sorted(Path(folder).iterdir())[: int(number)]))
        return
    if options.quick:
        options.rounds, options.images = 1, "4,20"
    small, large = map(int, options.images.split(","))
    with tempfile.TemporaryDirectory() as name, Server(__file__) as server:
        folder = Path(name)
        pictures(folder / "pictures", large)
        mean = sum(file.stat().st_size for file in (folder / "pictures").iterdir()) / large
        print(f"pictures of {SIZE_PX[0]} x {SIZE_PX[1]} pixels, {mean / 1000:.0f} kB; {IN_FLIGHT} calls in flight")
        show(measure(options, Bench(folder, server.base, (small, large))))


if __name__ == "__main__":
    main()
