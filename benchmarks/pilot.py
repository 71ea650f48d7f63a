"""How often the interval of `estimate --pilot` holds the true cost of the rest: on the simulator, and on skewed costs.

    python benchmarks/pilot.py [--settings 200] [--images 60] [--pilot 20]

Simulator: in each of 200 random settings (questions, awareness, prices in and out, sizes of the images, who judges) the
simulated model examines all images. Of a run's costs by image the first 20 are the pilot; beside it, 20 other pilots are drawn
from the same run. Skewed: costs with a lognormal part, as of a model that thinks, by its share and width.

Prints a table in Markdown: how often the interval holds the rest's true cost, how often that lies above it, and the median
half-width in percent of the cost. 200 settings have a standard error of .015.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from unsaf_async.runs.begin import begin
from unsaf_async.runs.estimate import quote_images
from unsaf_async.runs.pilot import cost_usd
from unsaf_async.runs.prepare import prepare
from unsaf_async.runs.runner import Runner
from unsaf_async.runs.saved import SavedRun
from unsaf_async.runs.settings import Settings
from unsaf_async.score.rest_total import rest_total

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Costs = tuple[list[float], list[float]]
"""(what each image cost, what was expected by its size), in the run's order."""

AGAIN = 20
"""Further pilots that are drawn from each setting's costs."""


@dataclass
class Covered:
    """What became of the intervals of one row."""

    held: int = 0
    below: int = 0
    """Intervals that end below the true cost: the quote was too low."""
    number: int = 0
    widths: list[float] | None = None

    def add(self, costs: Costs, pilot: Sequence[int], seed: int) -> None:
        """Look at one pilot, given by the places of its images."""
        paid, sizes = costs
        chosen = set(pilot)
        rest = [place for place in range(len(paid)) if place not in chosen]
        found = rest_total([paid[n] for n in pilot], [sizes[n] for n in pilot], [sizes[n] for n in rest], seed=seed)
        assert found.ci is not None
        true = sum(paid[n] for n in rest)
        low, high = found.ci
        slack = 1e-9 * true
        self.number += 1
        self.held += low - slack <= true <= high + slack
        self.below += true > high + slack
        self.widths = [*(self.widths or []), 50 * (high - low) / true]

    def row(self, name: str) -> str:
        """As a row of the table."""
        share, low = self.held / self.number, self.below / self.number
        return f"| {name} | {self.number:,} | {share:.3f} | {low:.3f} | {median(self.widths or [0]):.1f} % |"


def simulated(settings: int, images: int) -> Iterator[Costs]:
    """The costs of a run in each setting."""
    random = Random(17)
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        _draw(Path("images"), images, random)
        for number in range(settings):
            yield _run(number, random)


def _draw(folder: Path, images: int, random: Random) -> None:
    folder.mkdir()
    for number in range(images):
        size = random.choice([160, 320, 640, 1024]), random.choice([120, 480, 768])
        Image.new("RGB", size, (number % 256, number // 256, 7)).save(folder / f"{number}.png")


def _run(number: int, random: Random) -> Costs:
    """A run in a random setting."""
    folder = Path("providers")
    folder.mkdir(exist_ok=True)
    price_in, price_out = random.choice([0.1, 2.5, 15]), random.choice([0.4, 10, 75])
    awareness = {
        "abstain_unanswerable": random.uniform(0.3, 0.95),
        "over_refuse": random.uniform(0, 0.4),
        "hedge": random.uniform(0, 0.5),
        "malformed": random.uniform(0, 0.2),
        "duplicate": random.uniform(0, 0.3),
    }
    extra = ", ".join(f"{name} = {value}" for name, value in awareness.items())
    (folder / f"model{number}.toml").write_text(
        f'backend = "scripted"\nmodel = "model{number}"\nextra = {{ seed = {number}, {extra} }}\n'
        f"price = {{ input_usd_per_mtok = {price_in}, output_usd_per_mtok = {price_out} }}\n"
        'tokens = { image = { formula = "fixed", constants = { tokens = 258 } } }\n'
    )
    judge, questions = random.choice(["self", "rules"]), random.choice([2, 3, 6])
    return asyncio.run(_examined(number, judge, questions))


async def _examined(number: int, judge: str, questions: int) -> Costs:
    """The costs of that model's run."""
    out = Path(f"runs/{number}")
    settings = Settings(
        f"model{number}", images="images", questions=questions, seed=number, judge=judge, cache=None, out=out
    )
    prepared = await prepare(settings)
    with begin(prepared) as opened:
        await Runner(opened).run()
    quotes, kept = quote_images(prepared).known, SavedRun(out).kept
    order = [image.id for image in prepared.images]
    return [cost_usd(kept[name]) for name in order], [float(quotes[name].expected_nano_usd) for name in order]


def skewed(width: float, share: float, images: int, seed: int) -> Costs:
    """Costs of images of unequal sizes, with a lognormal part.

    Args:
        width: Standard deviation of its logarithm.
        share: Its part of the cost.
        images: How many.
        seed: Of the draws.

    Returns:
        (costs, expected costs).
    """
    rng = np.random.default_rng(seed)
    sizes = np.exp(rng.normal(0, 0.3, images))
    thoughts = np.exp(rng.normal(-width * width / 2, width, images))
    return list((1 - share) * sizes * rng.normal(1, 0.05, images) + share * thoughts), list(sizes)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--settings", type=int, default=200)
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--pilot", type=int, default=20)
    given = parser.parse_args()
    print("| costs | pilots | held | quote too low | half-width |\n|---|---|---|---|---|")
    first, drawn, random = Covered(), Covered(), Random(5)
    for number, costs in enumerate(simulated(given.settings, given.images)):
        first.add(costs, range(given.pilot), number)
        for again in range(AGAIN):
            drawn.add(costs, random.sample(range(given.images), given.pilot), again)
    print(first.row("simulator, the run's own pilot"))
    print(drawn.row("simulator, pilots drawn anew"), flush=True)
    for width, share in ((0.5, 0.5), (1.0, 0.3), (1.0, 0.7)):
        for images in (60, 1000):
            row = Covered()
            for seed in range(5 * given.settings):
                row.add(skewed(width, share, images, seed), range(given.pilot), seed)
            print(row.row(f"lognormal {width:g}, {share:.0%} of the cost, {images} images"), flush=True)


if __name__ == "__main__":
    main()
