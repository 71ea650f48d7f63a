"""What a score costs, alone, with the providers' caches of prompts, and in batches, by model, on the simulator.

    python benchmarks/savings.py [--images 100] [--models gpt-4o,...] [--until-ci 0.05]
    python benchmarks/savings.py --judge-together 12 [--batch] [--images 100] [--models gpt-4o,...]

Each model examines the same images of 1024 x 768 pixels three times. The simulated provider bills by the price map, keeps prompts
by its vendor's rules, and works batches off at half the price. Our ledger must be equal to its bill. Where a run ends itself by
--until-ci, the interval is as narrow in each of the three.
--judge-together: instead, what asking the judge about several responses in one call saves, where the rules leave few responses
open and where they leave many, of models that judge themselves. Such models give each response the same verdict both ways.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prompt_cache import draw_images, measure, simulation_of

from unsaf_async.calls.batches.batches import Waits
from unsaf_async.providers.resolve import resolve
from unsaf_async.simulate.model import Awareness
from unsaf_async.simulate.settings import BatchRules

if TYPE_CHECKING:
    from collections.abc import Sequence

MODELS = ("gpt-4o", "gpt-5.4-mini", "claude-sonnet-5-5", "claude-haiku-4-5", "gemini-3-flash", "gemini-3.8-flash")
WAYS: dict[str, dict[str, Any]] = {
    "alone": {"prompt_cache": "off"},
    "cached": {"prompt_cache": "auto"},
    "in batches": {"batch": True},
}
QUICK = Waits(quiet_s=0.5, first_look_s=0.05, longest_look_s=0.2)
"""Batches of the simulator take no day."""


OPEN = {"few": Awareness(), "many": Awareness(hedge=1.0, abstain_unanswerable=0.2)}
"""Models of whose responses the rules leave few, or many, to the judge."""


def judged_together(models: Sequence[str], count: int, together: int, *, batch: bool = False) -> None:
    """Prints the table of judging alone and together."""
    print("| model | left open | judging calls | together | judging, USD | together | all, USD | together | saved |")
    print("| --- |" + " --- |" * 8)
    with tempfile.TemporaryDirectory() as folder:
        images = draw_images(Path(folder) / "images", count)
        for model in models:
            price = resolve(model).price
            assert price is not None
            for left, awareness in OPEN.items():
                alone, several = (
                    asyncio.run(
                        measure(
                            model,
                            images,
                            simulation_of(price, latency=0.02, awareness=awareness, batches=BatchRules(work_s=0.2)),
                            waits=QUICK,
                            batch=batch,
                            judge_together=responses,
                            concurrency=32,
                        )
                    )
                    for responses in (1, together)
                )
                for run in (alone, several):
                    calls = sum(run.account.made.values())
                    assert 0 <= run.account.cost_usd - run.billed_usd < 1e-8 * calls, (model, left)
                share = alone.account.made["judge"] / alone.account.made["answer"]
                cells = [f"{model} | {left}, {100 * share:.0f} %"]
                cells += [f"{run.account.made['judge']:,}" for run in (alone, several)]
                cells += [f"{run.judge_usd:.3f}" for run in (alone, several)]
                cells += [f"{run.billed_usd:.3f}" for run in (alone, several)]
                cells.append(f"{100 * (1 - several.billed_usd / alone.billed_usd):.0f} %")
                print("| " + " | ".join(cells) + " |", flush=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--until-ci", type=float, default=None)
    parser.add_argument("--judge-together", type=int, default=0)
    parser.add_argument("--batch", action="store_true", help="with --judge-together: both ways in batches")
    given = parser.parse_args()
    for vendor in ("OPENAI", "ANTHROPIC", "GEMINI"):  # the simulator takes any key
        os.environ.setdefault(f"{vendor}_API_KEY", "simulated")
    if given.judge_together:
        judged_together(given.models.split(","), given.images, given.judge_together, batch=given.batch)
        return
    print("| model | " + " | ".join(f"{way}, USD | s" for way in WAYS) + " | least / alone | calls |")
    print("| --- |" + " --- |" * (2 * len(WAYS) + 2))
    with tempfile.TemporaryDirectory() as folder:
        images = draw_images(Path(folder) / "images", given.images)
        for model in given.models.split(","):
            price = resolve(model).price
            assert price is not None
            bills, cells = {}, []
            for way, options in WAYS.items():
                provider = simulation_of(price, latency=0.1, batches=BatchRules(work_s=0.5))
                run = asyncio.run(
                    measure(model, images, provider, waits=QUICK, until_ci=given.until_ci, concurrency=32, **options)
                )
                assert 0 <= run.account.cost_usd - run.billed_usd < 1e-8 * sum(run.account.made.values()), (model, way)
                bills[way] = run.billed_usd
                calls = sum(run.account.made.values())
                cells.append(f"{run.billed_usd:.3f} | {run.wall_s:.0f}")
            least = min(bills.values()) / bills["alone"]
            print(f"| {model} | " + " | ".join(cells) + f" | {least:.2f} | {calls:,} |", flush=True)


if __name__ == "__main__":
    main()
