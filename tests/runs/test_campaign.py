"""Several runs in turn under one cap: a program makes them, the cap holds over all, and the same call goes on."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from commandline import serving
from driving import draw_images
from truths import scripted_model, served_model

from unsaf_async.errors import UserError
from unsaf_async.events import Event, ImageKept
from unsaf_async.runs.campaign import PlannedRun, run_campaign
from unsaf_async.runs.estimate import estimate
from unsaf_async.runs.prepare import prepare
from unsaf_async.runs.runner import Runner
from unsaf_async.runs.settings import Settings
from unsaf_async.simulate.settings import Simulation

if TYPE_CHECKING:
    from unsaf_async.runs.folder import RunFolder

IMAGES = 4


def planned(*names: str, **options: object) -> list[PlannedRun]:
    """A run of each model on the same images."""
    images = draw_images(Path("images"), IMAGES)

    async def settled() -> list[PlannedRun]:
        return [
            PlannedRun(
                Path(name),
                await prepare(Settings(name, images=images, questions=2, cache=None, out=Path(name), **options)),  # type: ignore[arg-type]
            )
            for name in names
        ]

    return asyncio.run(settled())


def two_scripted() -> list[PlannedRun]:
    """Two simulated models that cost money."""
    for seed, name in enumerate(("ada", "bob")):
        scripted_model(name, seed=seed, input_usd_per_mtok=100)
    return planned("ada", "bob")


def kept(run: PlannedRun) -> int:
    return len(run.saved.examinations)


def test_two_runs_share_one_cap_and_a_higher_one_goes_on() -> None:
    runs = two_scripted()
    each_usd = estimate(runs[0].prepared).per_image_worst_usd
    for cap_usd in (1.2 * each_usd, 1.5 * each_usd, None):
        before = [run.saved.examinations for run in runs]
        end = asyncio.run(run_campaign(runs, max_cost_usd=cap_usd))
        for run, examinations in zip(runs, before, strict=True):
            assert run.saved.examinations[: len(examinations)] == examinations
        spent_usd = sum(run.spent_usd for run in runs)
        if cap_usd is None:
            assert (end.reason, end.stopped, end.stopped_in, end.unfinished) == (None, None, "", {})
        else:
            assert 0 < spent_usd <= cap_usd
            assert end.stopped is not None
            assert end.stopped.startswith(f"{end.stopped_in}: --max-cost ")
            assert 0 < sum(map(kept, runs)) < 2 * IMAGES
    assert [kept(run) for run in runs] == [IMAGES, IMAGES]
    assert not any(run.remaining.images for run in runs)


def test_what_the_first_run_spent_is_gone_for_the_second() -> None:
    runs = two_scripted()
    asyncio.run(run_campaign(runs[:1]))
    end = asyncio.run(run_campaign(runs, max_cost_usd=runs[0].spent_usd))
    assert (end.stopped, end.stopped_in) == (f"--max-cost {runs[0].spent_usd:g} is spent", "")
    assert not Path("bob").exists()


def test_a_finished_campaign_calls_nobody_even_where_its_cap_is_spent() -> None:
    runs = two_scripted()
    asyncio.run(run_campaign(runs))
    spent_usd = sum(run.spent_usd for run in runs)
    made = [run.saved.account.made for run in runs]
    assert asyncio.run(run_campaign(runs, max_cost_usd=spent_usd / 2)).stopped is None
    assert [run.saved.account.made for run in runs] == made


def test_a_ledger_that_lost_its_lines_gives_the_cap_nothing_back() -> None:
    runs = two_scripted()
    asyncio.run(run_campaign(runs[:1]))
    spent_usd = runs[0].spent_usd
    runs[0].saved.files.ledger.write_bytes(b"")
    end = asyncio.run(run_campaign(runs, max_cost_usd=spent_usd))
    assert (end.stopped_in, kept(runs[1])) == ("", 0)
    assert end.stopped == f"--max-cost {spent_usd:g} is spent"


def test_events_of_all_runs_are_heard_one_run_after_the_other() -> None:
    heard: list[Event] = []
    asyncio.run(run_campaign(two_scripted(), announce=heard.append))
    assert sum(isinstance(event, ImageKept) for event in heard) == 2 * IMAGES


def test_a_caller_may_work_each_run_off_itself() -> None:
    names = []

    async def run_one(run: PlannedRun, folder: RunFolder) -> Runner:
        names.append(run.name)
        runner = Runner(folder)
        if run.name == "bob":
            runner.stop()
        await runner.run()
        return runner

    end = asyncio.run(run_campaign(two_scripted(), run_one=run_one))
    assert names == ["ada", "bob"]
    assert end.stopped == "bob: interrupted"
    assert kept(two_scripted()[0]) == IMAGES


def test_calls_that_failed_do_not_end_the_campaign_and_are_named() -> None:
    with serving(Simulation(any_model=True, price=(2.5, 10), faults={"500": 0.2}, fault_seed=1)) as broken:
        served_model("shaky", broken.openai_base, (2.5, 10), attempts=1)
        scripted_model("ada")
        runs = planned("shaky", "ada")
        end = asyncio.run(run_campaign(runs))
    assert end.stopped is None
    assert list(end.unfinished) == ["shaky"]
    assert kept(runs[1]) == IMAGES


def test_a_wrong_model_name_is_the_users_mistake_and_no_further_run_begins() -> None:
    with serving(Simulation(models=("simulated",))) as simulator:
        served_model("unknown", simulator.openai_base, (2.5, 10))
        scripted_model("ada")
        with pytest.raises(
            UserError, match=r"check api_base or endpoint in providers/unknown\.toml, and the model's name"
        ):
            asyncio.run(run_campaign(planned("unknown", "ada")))
    assert not Path("ada").exists()


def test_a_folder_with_another_run_is_refused() -> None:
    runs = two_scripted()
    asyncio.run(run_campaign(runs[:1]))
    (other,) = planned("bob")
    prepared = replace(other.prepared, settings=replace(other.prepared.settings, out=Path("ada")))
    with pytest.raises(UserError, match="holds a run with another model"):
        asyncio.run(run_campaign([PlannedRun(Path("ada"), prepared)]))


def test_a_cap_that_is_spent_leaves_finished_runs_with_their_own() -> None:
    runs = two_scripted()
    asyncio.run(run_campaign(runs, max_cost_usd=1000))
    caps_usd = [run.saved.manifest.max_cost_usd for run in runs]
    assert None not in caps_usd
    end = asyncio.run(run_campaign(runs, max_cost_usd=0.0001))
    assert end.reason is None
    assert [run.saved.manifest.max_cost_usd for run in runs] == caps_usd


def test_a_cap_that_lets_no_image_begin_is_refused_before_a_folder_is_made() -> None:
    runs = two_scripted()
    each_usd = estimate(runs[0].prepared).per_image_worst_usd
    with pytest.raises(UserError, match=r"max_cost is .*; one image can cost \$.* at worst, so none could begin"):
        asyncio.run(run_campaign(runs, max_cost_usd=0.9 * each_usd))
    assert not any(run.folder.exists() for run in runs)
