"""The measured UnF1 against the truth: the simulated model's rates are stated, so its expected UnF1 is known."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from driving import draw_images

from unsaf_async.runs.begin import begin
from unsaf_async.runs.prepare import prepare
from unsaf_async.runs.runner import Runner
from unsaf_async.runs.settings import Settings
from unsaf_async.simulate.model import Awareness

if TYPE_CHECKING:
    from pathlib import Path

    from unsaf_async.score.run_score import Score

IMAGES = 200
AWARENESS = {
    "default": {},
    "overconfident": {"abstain_unanswerable": 0.3, "over_refuse": 0.02},
    "timid": {"abstain_unanswerable": 0.95, "over_refuse": 0.6},
    "hedging": {"hedge": 0.9},
    "writes false labels": {"false_unanswerable": 0.3, "false_answerable": 0.2},
    "writes garbage": {"malformed": 0.15, "duplicate": 0.15},
    "nearly perfect": {
        "abstain_unanswerable": 0.99,
        "over_refuse": 0.01,
        "false_unanswerable": 0.01,
        "false_answerable": 0.01,
    },
    "blind": {"abstain_unanswerable": 0.5, "over_refuse": 0.5},
}


async def _measure(images: list[Path], folder: Path, seed: int, awareness: dict[str, float]) -> Score:
    settings = Settings("scripted", images=images, questions=4, out=folder, cache=folder.parent / "cache", seed=seed)
    prepared = await prepare(settings)
    subject = prepared.subject.model_copy(update={"extra": {**awareness, "seed": seed}})
    with begin(replace(prepared, subject=subject)) as run_folder:
        return await Runner(run_folder).run()


def test_the_interval_over_200_images_covers_the_truth_as_often_as_it_says(tmp_path: Path) -> None:
    """Of 8 intervals at 95 %, fewer than 6 would cover by chance once in 170 times; the seeds are fixed."""
    images = draw_images(tmp_path / "images", IMAGES)
    covered = []
    for seed, (name, awareness) in enumerate(AWARENESS.items()):
        score = asyncio.run(_measure(images, tmp_path / f"run-{seed}", seed, awareness))
        truth = Awareness(**awareness).expected_unf1()
        assert score.unf1 is not None
        assert score.unf1_ci is not None
        low, high = score.unf1_ci
        print(f"{name:22} truth {truth:.4f}  measured {score.unf1:.4f}  interval [{low:.4f}, {high:.4f}]")
        assert score.images.done == IMAGES
        assert sum(score.unscored.values()) == 0
        assert abs(score.unf1 - truth) < high - low, "farther off than a whole interval: a bias, not chance"
        covered.append(low <= truth <= high)
    assert sum(covered) >= 6
