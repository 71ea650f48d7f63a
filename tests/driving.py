"""Driving the whole engine against the simulator's sockets: what the end-to-end tests share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from PIL import Image

from unsaf_async.runs.begin import begin
from unsaf_async.runs.estimate import estimate
from unsaf_async.runs.prepare import prepare
from unsaf_async.runs.runner import Runner
from unsaf_async.runs.settings import Settings
from unsaf_async.simulate.server import Simulator

if TYPE_CHECKING:
    from pathlib import Path

    from unsaf_async.calls.batches.batches import Waits
    from unsaf_async.records import Examination
    from unsaf_async.score.run_score import Score
    from unsaf_async.simulate.ledger import ServerLedger
    from unsaf_async.simulate.settings import Simulation

KEY = "sk-test-0123456789abcdef"
PRICE = (2.5, 10)

ROUTES = {
    "openai": ("gpt-5.4-mini", "openai_base"),
    "anthropic": ("claude-sonnet-5-5", "anthropic_base"),
    "gemini": ("gemini-3.5-flash-lite", "gemini_base"),
    "vllm": ("vllm", "openai_base"),
    "litellm": ("gpt-5.4-mini", "openai_base"),
}
"""Each route's provider, and which of the simulator's addresses it calls. litellm: the way of vendors without a wire."""


def draw_images(folder: Path, number: int) -> list[Path]:
    """`number` small pictures, all different."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for index in range(number):
        file = folder / f"{index:04d}.png"
        Image.new("RGB", (40, 30), (index % 256, index // 256, 90)).save(file)
        files.append(file)
    return files


@dataclass
class Outcome:
    """How a driven run ended."""

    score: Score
    runner: Runner
    ledger: ServerLedger
    examinations: list[Examination]
    image_worst_usd: float
    """What one image needs to be begun."""


async def drive(
    simulation: Simulation,
    route: str,
    folder: Path,
    *,
    images: int = 2,
    profile: dict[str, Any] | None = None,
    **options: Any,
) -> Outcome:
    """Run the engine against `simulation` over `route`'s wire. profile: fields of the profile to change."""
    async with Simulator(simulation) as simulator:
        return await drive_at(simulator, route, folder, images=images, profile=profile, **options)


async def drive_at(
    simulator: Simulator,
    route: str,
    folder: Path,
    *,
    images: int = 2,
    profile: dict[str, Any] | None = None,
    waits: Waits | None = None,
    **options: Any,
) -> Outcome:
    """As `drive`, against a simulator that is running."""
    from unsaf_async.runs.journal import read_journal

    provider, base = ROUTES[route]
    price = ",".join(f"{amount:.9f}" for amount in map(float, simulator.simulation.price))
    settings = Settings(
        provider,
        images=draw_images(folder / "images", images),
        **{
            "questions": 3,
            "out": folder / "run",
            "cache": folder / "cache",
            "price": price,
            "rpm": 1e6,
            "tpm": 1e9,
            **options,
        },
        api_base=getattr(simulator, base),
    )
    prepared = await prepare(settings)
    changed = {"retry_wait_s": 0.01, **({"backend": "litellm"} if route == "litellm" else {}), **(profile or {})}
    subject = prepared.subject.model_copy(update=changed)
    prepared = replace(prepared, subject=subject)
    with begin(prepared) as run_folder:
        runner = Runner(run_folder, waits=waits)
        score = await runner.run()
        kept = list(read_journal(run_folder.files.journal).values())
    return Outcome(score, runner, simulator.ledger, kept, estimate(prepared).per_image_worst_usd)
