"""Caps and limits per minute over random settings of runs by several workers, by the server's own account.

`python tests/cluster/random_settings.py --settings 50` prints a line for each setting, and what they come to. The workers are in
this process: all but the transport is as with Ray.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from cluster.in_process import Workers, drive

from unsaf_async.simulate.server import Simulator
from unsaf_async.simulate.settings import ServerLimits, Simulation

PRICE = (2.5, 10)


async def one(chance: random.Random, folder: Path) -> tuple[str, bool, int, int]:
    """One setting: (what came of it in words, whether the cap held, requests served, requests turned away for their rate)."""
    workers, images = chance.randint(2, 4), chance.randint(4, 10)
    per_minute, burst = chance.choice([900, 1500, 3000]), chance.choice([4, 10, 25])
    tokens = chance.choice([None, per_minute * 600])
    cap_usd = chance.choice([0.18, 0.25, 0.4, 100.0])
    limits = ServerLimits(requests_per_minute=per_minute, burst=burst, input_tokens_per_minute=tokens)
    async with Simulator(
        Simulation(price=PRICE, latency=0.05, limits=limits, seed=chance.randrange(1000))
    ) as simulator:
        ended = await drive(
            simulator, folder, Workers(workers), images=images, max_cost=cap_usd, rpm=per_minute, tpm=tokens or 1e9
        )
        totals = simulator.ledger.as_json()["totals"]
    billed_usd = totals["billed_usd"]
    words = (
        f"{workers} workers, {images} images, {per_minute}/min (burst {burst}), {tokens or 'any'} tokens/min, cap ${cap_usd:g}: "
        f"{ended.score.images.done} images, billed ${billed_usd:.4f}, {totals['served']} served, {totals['limited']} turned away"
    )
    return words, billed_usd <= cap_usd, totals["served"], totals["limited"]


async def main() -> int:
    """Reads the options, and goes through the settings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    chance, passed, served, limited = random.Random(given.seed), 0, 0, 0
    for number in range(given.settings):
        with tempfile.TemporaryDirectory(prefix="settings-") as folder:
            words, held, ok, away = await one(chance, Path(folder))
        passed += not held
        served, limited = served + ok, limited + away
        print(f"{number + 1:3} {'' if held else 'CAP PASSED '}{words}", flush=True)
    print(
        f"{given.settings} settings: the cap passed in {passed}; {limited} of {served + limited} requests turned away"
    )
    return 1 if passed else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
