"""What the providers' caches of prompts save: bill and makespan with and without, by model, on the simulator.

    python benchmarks/prompt_cache.py [--images 100] [--models claude-sonnet-4-5,...] [--latency 0.2] [--concurrency 32]
    python benchmarks/prompt_cache.py --cap 50 [--seed 0]

The table: each model examines the same images of 1024 x 768 pixels twice, with `prompt_cache` "off" and "auto", on a simulated
provider that keeps prompts by its vendor's rules and bills by the price map. Our ledger must be equal to its bill.
--cap: random settings with caching on; no server's bill may pass its cap, nor our ledger lie under it.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from unsaf_async.calls.ledger import read_account
from unsaf_async.providers.resolve import resolve
from unsaf_async.runs.begin import begin
from unsaf_async.runs.estimate import estimate
from unsaf_async.runs.journal import Examinations, Kept
from unsaf_async.runs.prepare import prepare
from unsaf_async.runs.runner import Runner
from unsaf_async.runs.settings import Settings
from unsaf_async.simulate.server import Simulator
from unsaf_async.simulate.settings import CachePrice, Lognormal, Simulation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unsaf_async.calls.batches.batches import Waits
    from unsaf_async.calls.ledger import Account
    from unsaf_async.providers.prices import Price
    from unsaf_async.runs.estimate import Estimate
    from unsaf_async.score.run_score import Score

MODELS = (
    "claude-sonnet-4-5", "claude-sonnet-5-5", "claude-opus-5-5", "claude-haiku-5-5", "claude-haiku-4-5", "gpt-4o",
    "gpt-4o-mini", "gpt-4.1-mini", "gpt-5.4-mini", "gpt-5.6-luna", "gemini-3-flash", "gemini-3.8-flash",
)  # fmt: skip
BASES = {"openai": "openai_base", "anthropic": "anthropic_base", "gemini": "gemini_base"}


@dataclass
class Measured:
    """One run: the server's bill and tokens, our account, the time, what was expected, and what judging cost."""

    billed_usd: float
    cached_tokens: int
    written_tokens: int
    account: Account
    wall_s: float
    expected: Estimate
    begun: bool
    exhausted: bool
    judge_usd: float
    score: Score


def draw_images(folder: Path, count: int, size: tuple[int, int] = (1024, 768)) -> Path:
    """A folder with pictures of one size, all different, a few kilobytes each."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        pixels = np.random.default_rng(index).integers(0, 255, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST).save(folder / f"{index:04d}.jpg", quality=50)
    return folder


def simulation_of(price: Price, **fields: Any) -> Simulation:
    """A provider with a model's price."""
    read = price.input_usd_per_mtok if price.cached_input_usd_per_mtok is None else price.cached_input_usd_per_mtok
    write = price.input_usd_per_mtok if price.cache_write_usd_per_mtok is None else price.cache_write_usd_per_mtok
    hour = write if price.cache_write_1h_usd_per_mtok is None else price.cache_write_1h_usd_per_mtok
    whole = (price.input_usd_per_mtok, price.output_usd_per_mtok)
    return Simulation(price=whole, cache_price=CachePrice(read, write, hour), **fields)


async def measure(
    model: str,
    images: Path,
    simulation: Simulation,
    *,
    limits: dict[str, Any] | None = None,
    waits: Waits | None = None,
    **options: Any,
) -> Measured:
    """One run of a model on a simulated provider. limits: fields of the profile to change. waits: for batches."""
    async with Simulator(simulation) as simulator:
        with tempfile.TemporaryDirectory() as folder:
            profile = resolve(model)
            settings = Settings(
                model,
                images=images,
                out=Path(folder) / "run",
                cache=Path(folder) / "cache",
                api_base=getattr(simulator, BASES[profile.backend]),
                **{"rpm": 1e6, "tpm": 1e9, **options},
            )
            prepared = await prepare(settings)
            prepared = replace(
                prepared, subject=prepared.subject.model_copy(update={"retry_wait_s": 0.01} | (limits or {}))
            )
            began_s = time.perf_counter()
            with begin(prepared) as run_folder:
                runner = Runner(run_folder, waits=waits)
                findings = await runner.run()
                account = read_account(run_folder.files.ledger)
            wall_s = time.perf_counter() - began_s
            ledger = simulator.ledger
            return Measured(
                float(ledger.billed_usd),
                ledger.cached_tokens,
                ledger.cache_write_tokens,
                account,
                wall_s,
                estimate(prepared),
                ledger.requests > 0,
                runner.exhausted,
                sum(
                    call.cost_usd
                    for examination in Examinations(Kept(run_folder.files.journal))
                    for call in examination.calls
                    if call.role == "judge"
                ),
                findings,
            )


def table(models: Sequence[str], count: int, latency: float | Lognormal, concurrency: int) -> None:
    """Prints the table."""
    print("| model | quote off | quote auto | bill off | bill auto | saved | read | written | s off | s auto |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        images = draw_images(Path(folder) / "images", count)
        for model in models:
            price = resolve(model).price
            assert price is not None
            off, auto = (
                asyncio.run(
                    measure(
                        model, images, simulation_of(price, latency=latency), prompt_cache=how, concurrency=concurrency
                    )
                )
                for how in ("off", "auto")
            )
            for each in (off, auto):  # each call is rounded up to a nano-dollar
                assert 0 <= each.account.cost_usd - each.billed_usd < 1e-9 * sum(each.account.made.values()) + 1e-12
            print(
                f"| {model} | ${off.expected.expected_usd:.3f} | ${auto.expected.expected_usd:.3f} | ${off.billed_usd:.3f} | "
                f"${auto.billed_usd:.3f} | {1 - auto.billed_usd / off.billed_usd:.0%} | {auto.cached_tokens:,} | "
                f"{auto.written_tokens:,} | {off.wall_s:.1f} | {auto.wall_s:.1f} |",
                flush=True,
            )


FAULTS = (
    "429",
    "500",
    "503",
    "disconnect",
    "disconnect_after",
    "truncated_body",
    "garbage",
    "safety",
    "length",
    "empty",
)


def cap(settings: int, seed: int) -> tuple[int, int, int]:
    """Drives random settings against a cap.

    Args:
        settings: How many.
        seed: Of the settings.

    Returns:
        (settings in which an image was begun, those that the cap stopped, those in which the cache was read).

    Raises:
        AssertionError: A server's bill passes its cap, or our ledger lies under it.
    """
    draw = random.Random(seed)
    begun = stopped = read = 0
    with tempfile.TemporaryDirectory() as folder:
        images = draw_images(Path(folder) / "images", 4)
        for number in range(settings):
            model = draw.choice(
                ("claude-sonnet-4-5", "claude-haiku-5-5", "claude-opus-4-5", "gpt-4o-mini", "gpt-5.4-mini")
            )
            price = resolve(model).price
            assert price is not None
            faults = {name: draw.choice((0.02, 0.1)) for name in draw.sample(FAULTS, draw.randint(0, 4))}
            provider = simulation_of(
                price,
                seed=draw.randrange(100),
                fault_seed=draw.randrange(100),
                latency=draw.choice((0.0, 0.002, Lognormal(0.001, 0.02))),
                faults=faults,
                retry_after_s=0.005,
                cache_lifetime_s=draw.choice((None, 0.02)),
            )
            options: dict[str, Any] = {
                "concurrency": draw.randint(1, 40),
                "questions": draw.randint(1, 3),
                "limit": draw.randint(1, 4),
                "samples": draw.randint(0, 1),
                "limits": {"attempts": draw.randint(1, 3)},
            }
            if model.startswith("claude") and draw.random() < 0.3:  # such limits have prompts kept for an hour
                options |= {"rpm": 1e4, "concurrency": 20_000}
            worst = asyncio.run(_estimated(model, images, options)).per_image_worst_usd
            at_most = worst * draw.uniform(0.99, 2.5)
            run = asyncio.run(measure(model, images, provider, max_cost=at_most, **options))
            told = (number, model, options, faults)
            assert run.billed_usd <= at_most + 1e-12, told
            assert run.billed_usd <= run.account.cost_usd + 1e-9 <= at_most + 2e-9, told
            begun, stopped, read = begun + run.begun, stopped + run.exhausted, read + (run.cached_tokens > 0)
    return begun, stopped, read


async def _estimated(model: str, images: Path, options: dict[str, Any]) -> Estimate:
    given = {name: value for name, value in options.items() if name != "limits"}
    return estimate(await prepare(Settings(model, images=images, **given), offline=True))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--latency", default="0.2")
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--cap", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    for vendor in ("OPENAI", "ANTHROPIC", "GEMINI"):  # the simulator takes any key
        os.environ.setdefault(f"{vendor}_API_KEY", "simulated")
    if given.cap:
        begun, stopped, read = cap(given.cap, given.seed)
        print(
            f"{given.cap} settings: no bill above its cap, no ledger under its bill; "
            f"{begun} began an image, {stopped} were stopped by the cap, {read} read from the cache"
        )
        return
    parts = [float(part) for part in given.latency.split(",")]
    latency = Lognormal(*parts) if len(parts) == 2 else parts[0]
    table(given.models.split(","), given.images, latency, given.concurrency)


if __name__ == "__main__":
    main()
