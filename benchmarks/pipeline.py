"""Makespan of many images against its lower bound, the work over the slots: ours and stage barriers, same latencies.

    python benchmarks/pipeline.py [--quick] [--images 60] [--slots 32] [--repeats 3]

An image is 2 lists, 12 answers, 12 verdicts; 60 of them are 1,560 calls. Ours is the real engine (`run`, `Examiner`, and
for every call cache, retry, budget, ledger and pace) over a backend that sleeps. Its answers are such as the rules leave
open, so that every one of them goes to the LLM judge. The bound is what the latencies drawn add up to, divided by the
slots: no schedule is shorter. Latency is constant, or lognormal with p50 0.2 s and p99 2 s.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import tempfile
import time
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from statistics import NormalDist, median
from typing import TYPE_CHECKING

import orjson

from unsaf_async.calls.session import Session
from unsaf_async.examine.examiner import Examiner
from unsaf_async.examine.judge import Judge
from unsaf_async.examine.rules import rule
from unsaf_async.prompts import load_pack
from unsaf_async.providers.resolve import resolve
from unsaf_async.records import EncodedImage, Examination, ImageRecord, Reply, Usage
from unsaf_async.runs.runner import MIN_IMAGES_IN_FLIGHT
from unsaf_async.runs.workers import run

if TYPE_CHECKING:
    from collections.abc import Callable

    from unsaf_async.calls.provider import Backend
    from unsaf_async.providers.profile import Profile
    from unsaf_async.records import Request

K = 6
CALLS_AN_IMAGE = 2 + 2 * K + 2 * K
SIGMA = math.log(10) / NormalDist().inv_cdf(0.99)
"""Of a lognormal whose 99th percentile is ten times its median."""

OPEN_ANSWERS = (
    "Probably a bakery, though part of the lettering is hidden behind the tree.",
    "Perhaps it belongs to the shop next door, but the picture leaves some room for doubt.",
    "Hard to tell for sure; a delivery seems most likely.",
)
"""Hedged answers, of the kind that the rules leave to the LLM judge."""


def question(image: str, label: str, number: int) -> str:
    return f"What does {label} sign number {number} in picture {image} say?"


def open_answer() -> str:
    """The first of `OPEN_ANSWERS` that the rules leave open."""
    for answer in OPEN_ANSWERS:
        if rule(question("0", "answerable", 1), answer, "stop") is None:
            return answer
    raise SystemExit("the rules decide every one of OPEN_ANSWERS: add one that they leave open")


@dataclass
class Sleeper:
    """A backend whose calls take as long as `latency_s` says for their place, and bring what the method needs."""

    latency_s: Callable[[str], float]
    slept_s: float = 0.0
    calls: int = 0
    in_flight: int = 0
    most_in_flight: int = 0
    answer: str = field(default_factory=open_answer)

    async def sleep(self, place: str) -> None:
        seconds = self.latency_s(place)
        self.slept_s += seconds
        self.calls += 1
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        await asyncio.sleep(seconds)
        self.in_flight -= 1

    async def complete(self, request: Request) -> Reply:
        message = request.messages[0]
        # An image's lists differ by their instruction; answers and verdicts by their question, which names the image.
        place = f"{request.role} {message.image.pixels_sha256 if message.image else ''} {message.text}"
        await self.sleep(place)
        if request.role == "ask":
            assert message.image is not None
            assert request.schema is not None
            kinds = "kind" in orjson.dumps(request.schema.schema).decode()
            label = "unanswerable" if kinds else "answerable"
            items = [{"question": question(message.image.pixels_sha256, label, n)} for n in range(K)]
            text = orjson.dumps(
                {"questions": [item | {"kind": "hidden"} if kinds else item for item in items]}
            ).decode()
        elif request.role == "answer":
            text = self.answer
        else:
            text = '{"verdict": "answered"}'
        return Reply("ok", text, finish_reason="stop", usage=Usage(input_tokens=300, output_tokens=60))

    async def aclose(self) -> None:
        """Nothing is open."""


def lognormal(seed: int) -> Callable[[str], float]:
    """A latency for each place, the same for all who ask."""

    def latency_s(place: str) -> float:
        digest = int.from_bytes(sha256(f"{seed} {place}".encode()).digest()[:6], "big")
        return 0.2 * math.exp(SIGMA * NormalDist().inv_cdf((digest + 0.5) / 2**48))

    return latency_s


@dataclass(frozen=True)
class Result:
    """makespan_s, first_s: until the last and until the first image was finished. bound_s: the work over the slots."""

    makespan_s: float
    first_s: float
    bound_s: float
    most_in_flight: int

    @property
    def ratio(self) -> float:
        return self.makespan_s / self.bound_s


async def ours(images: int, slots: int, backend: Sleeper) -> Result:
    """The engine, as a run puts it together."""
    profile = resolve("vllm", model="asleep", concurrency=slots)
    pack = load_pack("unsaf")
    finished_s: list[float] = []

    async def open_backend(_: Profile) -> Backend:
        return backend

    with tempfile.TemporaryDirectory() as name:
        async with Session(
            {"self": profile},
            cache=Path(name) / "cache",
            ledger_file=Path(name) / "ledger.jsonl",
            run_id="benchmark",
            questions=K,
            open_backend=open_backend,
        ) as session:

            async def examine_one(number: int) -> Examination:
                image = EncodedImage(b"", "image/jpeg", 640, 480, str(number))
                with session.budget.for_image(0) as image_budget:
                    subject = session.client("self", image_budget)
                    examiner = Examiner(subject, Judge(pack, (("self", subject),)), pack, K)
                    return await examiner.examine(ImageRecord(id=str(number), path=""), image)

            def keep(examination: Examination) -> None:
                assert len(examination.questions) == 2 * K, examination
                finished_s.append(time.perf_counter() - began_s)

            began_s = time.perf_counter()
            await run(range(images), examine_one, keep, width=max(MIN_IMAGES_IN_FLIGHT, slots))
    return result(finished_s, backend, images, slots)


async def barriers(images: int, slots: int, backend: Sleeper) -> Result:
    """All lists, then all answers, then all verdicts: the usual batch pipeline, over one semaphore."""
    semaphore = asyncio.Semaphore(slots)
    finished_s: list[float] = []
    judged = [0] * images

    async def call(number: int, place: str) -> None:
        async with semaphore:
            await backend.sleep(f"{number} {place}")
        if place.startswith("judge"):
            judged[number] += 1
            if judged[number] == 2 * K:
                finished_s.append(time.perf_counter() - began_s)

    began_s = time.perf_counter()
    for role, count in (("ask", 2), ("answer", 2 * K), ("judge", 2 * K)):
        async with asyncio.TaskGroup() as stage:
            for number in range(images):
                for part in range(count):
                    stage.create_task(call(number, f"{role} {part}"))
    return result(finished_s, backend, images, slots)


def result(finished_s: list[float], backend: Sleeper, images: int, slots: int) -> Result:
    assert backend.calls == images * CALLS_AN_IMAGE, backend.calls
    assert len(finished_s) == images
    return Result(max(finished_s), min(finished_s), backend.slept_s / slots, backend.most_in_flight)


async def compare(name: str, latencies: list[Callable[[str], float]], images: int, slots: int) -> None:
    """Ours one after another; the peer's all at once, since it does nothing but sleep."""
    by_contestant = {
        "ours": [await ours(images, slots, Sleeper(latency_s)) for latency_s in latencies],
        "stage barriers": await asyncio.gather(
            *(barriers(images, slots, Sleeper(latency_s)) for latency_s in latencies)
        ),
    }
    for who, results in by_contestant.items():
        ratios = " ".join(f"{result.ratio:.3f}" for result in sorted(results, key=lambda result: result.ratio))
        print(
            f"  {name:10} {who:15} {median(r.makespan_s for r in results):10.2f} {median(r.bound_s for r in results):8.2f}"
            f" {ratios:>18} {median(r.first_s for r in results):13.2f} {max(r.most_in_flight for r in results):9}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--slots", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=3, help="runs at each latency; each draws its latencies anew")
    parser.add_argument("--quick", action="store_true", help="16 images, once: does it run?")
    options = parser.parse_args()
    if options.quick:
        options.images, options.repeats = 16, 1
    print(f"{options.images} images, {options.images * CALLS_AN_IMAGE} calls, {options.slots} slots")
    columns = f"{'makespan_s':>10} {'bound_s':>8} {'makespan/bound':>18} {'first_image_s':>13} {'in flight':>9}"
    print(f"  {'latency':10} {'':15} {columns}")
    asyncio.run(compare("constant", [lambda _: 0.2] * options.repeats, options.images, options.slots))
    draws = [lognormal(seed) for seed in range(options.repeats)]
    asyncio.run(compare("lognormal", draws, options.images, options.slots))


if __name__ == "__main__":
    main()
