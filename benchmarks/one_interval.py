"""What one interval of UnF1 costs, by model and way, on the simulator.

    python benchmarks/one_interval.py [--half-width 0.02] [--models gpt-4o,...] [--latency 0.5]
    python benchmarks/one_interval.py --pilots 1000 [--half-width 0.02]

The simulated provider bills by the price map, keeps prompts by its vendor's rules, and works batches off at half the price. Our
ledger must be equal to its bill. "naive" sends the calls alone, about as many images as `power` plans from its assumed rates;
"cached" and "in batches" examine as many. Some end themselves by --until-ci; for others a first run of 100 images says how many
it takes, as `power --runs` does, and is part of them. Beside the bill stand the images and the half-width that came out. "both,
at best" is arithmetic: the cached bill at the price of batches, were as much read in a batch as alone.

--pilots: how often the interval holds where a first run says how many images, by simulation of counts, with the half-width that
comes out: models as `power` assumes them, 6 questions of each label.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from prompt_cache import draw_images, measure, simulation_of

from unsaf_async.calls.batches.batches import Waits
from unsaf_async.compare.pairing import contributions
from unsaf_async.compare.power import plan
from unsaf_async.compare.power_settings import Aim
from unsaf_async.compare.sample_size import images_for_half_width
from unsaf_async.providers.resolve import resolve
from unsaf_async.score.intervals import ratio_interval
from unsaf_async.simulate.settings import BatchRules

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from prompt_cache import Measured

MODELS = ("gpt-4o", "gpt-5.4-mini", "claude-sonnet-5-5", "gemini-3-flash")
WAYS: dict[str, dict[str, Any]] = {
    "alone": {"prompt_cache": "off"},
    "cached": {"prompt_cache": "auto"},
    "in batches": {"batch": True},
}
QUICK = Waits(quiet_s=0.5, first_look_s=0.05, longest_look_s=0.2)
"""Batches of the simulator take no day."""
BATCH_PRICE = 0.5
PILOT = 100
QUESTIONS = 6
MODELS_OF_COUNTS = ((0.8, 0.14, 0.001), (0.7, 0.3, 0.1), (0.9, 0.1, 0.1), (0.95, 0.03, 0.3))
"""(share of unanswerable questions declined, of answerable ones, correlation within an image)."""


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--half-width", type=float, default=0.02)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--latency", type=float, default=0.5)
    parser.add_argument("--pilots", type=int, default=None, metavar="REPLICATIONS")
    given = parser.parse_args()
    if given.pilots is not None:
        pilots(given.half_width, given.pilots)
        return
    for vendor in ("OPENAI", "ANTHROPIC", "GEMINI"):  # the simulator takes any key
        os.environ.setdefault(f"{vendor}_API_KEY", "simulated")
    at_one_width(given.models.split(","), given.half_width, given.latency)


def examine(model: str, images: Path, latency_s: float, **options: Any) -> Measured:
    """One run on a provider of its own, whose bill must be our ledger's."""
    price = resolve(model).price
    assert price is not None
    provider = simulation_of(price, latency=latency_s, batches=BatchRules(work_s=0.5))
    run = asyncio.run(measure(model, images, provider, waits=QUICK, concurrency=32, **options))
    assert 0 <= run.account.cost_usd - run.billed_usd < 1e-8 * sum(run.account.made.values()), (model, options)
    return run


def at_one_width(models: list[str], width: float, latency_s: float) -> None:
    """Prints what an interval of UnF1 with that half-width costs, by model and way."""
    planned = plan(Aim(half_width=width)).models[0].images_needed
    print(f"Planned from assumed rates: {planned} images for +-{width:g}\n")
    print("| model | way | images | half-width | bill, USD | / naive | s |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    cached, batches = WAYS["cached"], WAYS["in batches"]
    with tempfile.TemporaryDirectory() as folder:
        images = draw_images(Path(folder) / "images", 2 * planned)
        for model in models:
            pilot = examine(model, images, latency_s, limit=PILOT, **cached)
            said = images_for_half_width(width, _half(pilot) * PILOT**0.5 / 1.96)
            ways: dict[str, dict[str, Any]] = {
                "naive": {"limit": planned, **WAYS["alone"]},
                "cached": {"limit": planned, **cached},
                "in batches": {"limit": planned, **batches},
                "cached, ends itself": {"until_ci": width, **cached},
                "in batches, ends itself": {"until_ci": width, **batches},
                "cached, as many as a pilot says": {"limit": max(PILOT, said), **cached},
                "in batches, as many as a pilot says": {"limit": max(PILOT, said), **batches},
            }
            naive_usd = 0.0
            for way, options in ways.items():
                run = examine(model, images, latency_s, **options)
                naive_usd = naive_usd or run.billed_usd
                rows = {way: run.billed_usd}
                if way.startswith("cached"):
                    rows["both, at best" + way.removeprefix("cached")] = BATCH_PRICE * run.billed_usd
                for name, usd in rows.items():
                    figures = f"{run.score.images.done} | {_half(run):.4f} | {usd:.2f} | {usd / naive_usd:.2f}"
                    print(f"| {model} | {name} | {figures} | {run.wall_s:.0f} |", flush=True)


def pilots(width: float, replications: int) -> None:
    """Prints how often the interval holds where a pilot says how many images."""
    rng = np.random.default_rng(0)
    print("| UnF1 | correlation | images, if it were known | pilot | images | half-width | held |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for recall, refusal, correlation in MODELS_OF_COUNTS:
        of_many = draw_pairs(rng, recall, refusal, correlation, 1_000_000)
        truth = float(of_many[:, 0].sum() / of_many[:, 1].sum())
        known = images_for_half_width(width, float(np.std(contributions(of_many), ddof=1)))
        for size in (50, 100):
            held, taken, halves = 0, [], []
            for _ in range(replications):
                pairs = draw_pairs(rng, recall, refusal, correlation, size)
                said = images_for_half_width(width, float(np.std(contributions(pairs), ddof=1)))
                more = draw_pairs(rng, recall, refusal, correlation, max(0, said - size))
                pairs = np.concatenate([pairs, more])
                ends = ratio_interval(pairs).ends
                assert ends is not None
                held += ends[0] <= truth <= ends[1]
                taken.append(len(pairs))
                halves.append((ends[1] - ends[0]) / 2)
            figures = f"{np.mean(taken):.0f} | {np.mean(halves):.4f} | {held / replications:.3f}"
            print(f"| {truth:.3f} | {correlation:g} | {known} | {size} | {figures} |", flush=True)


def draw_pairs(
    rng: np.random.Generator, recall: float, refusal: float, correlation: float, images: int
) -> NDArray[np.int64]:
    """(2 TU, 2 TU + FU + FA) of each image; its rates are drawn around the model's."""
    alike = (1 - correlation) / correlation
    tu = rng.binomial(QUESTIONS, rng.beta(alike * recall, alike * (1 - recall), images))
    fu = rng.binomial(QUESTIONS, rng.beta(alike * refusal, alike * (1 - refusal), images))
    return np.stack([2 * tu, tu + fu + QUESTIONS], axis=1)


def _half(run: Measured) -> float:
    low, high = run.score.unf1_ci or (float("nan"), float("nan"))
    return (high - low) / 2


if __name__ == "__main__":
    main()
