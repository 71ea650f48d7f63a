"""A pilot: paid under a cap, found again by the run, and a quote of the rest whose interval holds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import orjson
import pytest
from commandline import command
from driving import KEY, PRICE, draw_images
from truths import scripted_model

from unsaf_async.calls.batches.batches import Waits
from unsaf_async.cli.estimate import print_quote
from unsaf_async.report.viewer import _Pages
from unsaf_async.runs.begin import begin
from unsaf_async.runs.pilot import pilot_of, quote_rest
from unsaf_async.runs.prepare import prepare
from unsaf_async.runs.runner import Runner
from unsaf_async.runs.saved import SavedRun
from unsaf_async.runs.settings import Settings
from unsaf_async.score.rest_total import FEWEST_SAMPLED, rest_total
from unsaf_async.simulate.server import Simulator
from unsaf_async.simulate.settings import BatchRules, Simulation

if TYPE_CHECKING:
    from commandline import Ended

IMAGES, PILOT = 12, 6
RUN = ("--provider", "ada", "--images", "images", "--questions", "2", "--seed", "5", "--judge", "rules", "--quiet")


def quoted(capsys: pytest.CaptureFixture[str], *more: str) -> Ended:
    scripted_model("ada", input_usd_per_mtok=100)
    draw_images(Path("images"), IMAGES)
    given = (*RUN, "--out", "run")
    return command(capsys, "estimate", *given, *more)


def test_the_run_finds_the_pilots_replies_and_costs_what_the_interval_said(capsys: pytest.CaptureFixture[str]) -> None:
    ended = quoted(capsys, "--pilot", str(PILOT), "--max-cost", "5", "--json")
    assert ended.code == 0, ended.err
    quote = orjson.loads(ended.out)
    pilot = SavedRun(Path(f"run-pilot-{PILOT}"))
    assert (quote["images"], quote["rest_images"], quote["undefined"]) == (PILOT, IMAGES - PILOT, {})
    assert 0 < quote["spent_usd"] == pytest.approx(pilot.account.cost_usd) == pytest.approx(quote["cost_usd"])
    again = (*RUN, "--out", "run")
    assert command(capsys, "run", *again, "--no-report", "--max-cost", "5").code == 0
    run = SavedRun(Path("run"))
    assert [image.id for image in run.images[:PILOT]] == [image.id for image in pilot.images], "the run's own order"
    low, high = quote["rest_usd_ci"]
    assert low <= run.account.cost_usd <= high, "it pays for the rest alone"
    assert all(call.cached for image in pilot.images for call in run.kept[image.id].calls)
    low_s, high_s = quote["rest_s_ci"]
    assert 0 <= low_s <= quote["rest_s"] <= high_s


def test_a_second_pilot_costs_nothing_and_quotes_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    first, second = (
        orjson.loads(quoted(capsys, "--pilot", str(PILOT), "--max-cost", "5", "--json", "--out", out).out)
        for out in ("run", "other")
    )
    assert second["spent_usd"] == 0 < first["spent_usd"]
    assert (second["rest_usd"], second["rest_usd_ci"]) == (first["rest_usd"], first["rest_usd_ci"])


async def test_a_pilots_calls_go_alone_and_the_rest_is_quoted_at_the_price_of_batches_without_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    async with Simulator(Simulation(price=PRICE)) as simulator:
        settings = Settings(
            "gpt-5.4-mini", images=draw_images(tmp_path / "images", 12), questions=2, judge="rules", batch=True,
            api_base=simulator.openai_base, out=tmp_path / "run", cache=tmp_path / "cache", price="2.5,10",
        )  # fmt: skip
        prepared = await prepare(settings)
        with begin(pilot_of(prepared, 6)) as folder:
            await Runner(folder).run()
        assert not simulator.ledger.batches
    pilot = SavedRun(tmp_path / "run-pilot-6")
    together = quote_rest(prepared, pilot)
    alone = quote_rest(replace(prepared, settings=replace(settings, batch=False)), pilot)
    assert together.rest_usd == pytest.approx(alone.rest_usd / 2, rel=1e-3)
    assert together.rest_usd_ci == pytest.approx([end / 2 for end in alone.rest_usd_ci], rel=1e-3)
    assert alone.rest_s is not None
    assert together.rest_s is None
    assert "up to a day" in together.undefined["rest_s_ci"]


async def test_replies_that_came_in_batches_say_nothing_of_the_time_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    quick = Waits(quiet_s=0.1, first_look_s=0.02, longest_look_s=0.1)
    rules = BatchRules(validate_s=0, work_s=0.02, finalize_s=0)
    async with Simulator(Simulation(price=PRICE, batches=rules)) as simulator:
        settings = Settings(
            "gpt-5.4-mini", images=draw_images(tmp_path / "images", 12), questions=1, judge="rules", batch=True,
            api_base=simulator.openai_base, out=tmp_path / "run", cache=tmp_path / "cache", price="2.5,10",
        )  # fmt: skip
        with begin(await prepare(settings)) as folder:
            await Runner(folder, waits=quick).run()
        alone = await prepare(replace(settings, batch=False, out=tmp_path / "later"))
        with begin(pilot_of(alone, 6)) as folder:
            await Runner(folder).run()
    pilot = SavedRun(tmp_path / "later-pilot-6")
    quote = quote_rest(alone, pilot)
    assert quote.batched == sum(not call.latency_s for each in pilot.examinations for call in each.calls) > 0
    assert quote.rest_s is None
    assert f"{quote.batched} calls of the pilot had come in batches" in quote.undefined["rest_s_ci"]
    print_quote(quote, pilot, alone)
    said = capsys.readouterr().out
    assert said.startswith("gpt-5.4-mini (openai/gpt-5.4-mini): 12 images, 1 + 1 questions each\n")
    assert "time     n/a: " in said
    assert "at the price of batches: the rest costs more than this" in said


def test_a_pilot_is_called_one_wherever_its_score_is_read(capsys: pytest.CaptureFixture[str]) -> None:
    assert quoted(capsys, "--pilot", "2", "--max-cost", "5").code == 0
    assert (
        "Note: a pilot: its images were examined to quote what a run costs"
        in command(capsys, "show", "run-pilot-2").out
    )
    assert _Pages(Path()).row("run-pilot-2", Path("run-pilot-2"))[-1] == "pilot: to quote a run, not a result"
    assert command(capsys, "run", *RUN, "--out", "run", "--no-report", "--max-cost", "5").code == 0
    assert "pilot" not in command(capsys, "show", "run").out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--pilot", "3"), "--max-cost is missing; a pilot of 3 images costs about $"),
        (("--pilot", "0", "--max-cost", "1"), "--pilot is 0; give a whole number above 0, such as 20"),
        (("--pilot", "3", "--max-cost", "1", "--no-cache"), "leave --no-cache out, or --pilot"),
        (("--pilot", "3", "--max-cost", "0.0001"), "so none could begin"),
    ],
)
def test_a_pilot_that_cannot_be_is_one_line_and_costs_nothing(
    options: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = quoted(capsys, *options)
    assert (ended.code, ended.err.count("\n")) == (2, 1), ended.err
    assert said in ended.err
    assert not list(Path().glob("run*"))


def test_a_pilot_for_people_says_what_its_interval_leaves_out(capsys: pytest.CaptureFixture[str]) -> None:
    ended = quoted(capsys, "--pilot", str(PILOT), "--max-cost", "5")
    assert f"rest     {IMAGES - PILOT} images" in ended.out
    assert "Not in them: attempts that fail and are billed" in ended.out
    assert "UnF1" not in ended.out + ended.err, "nothing is chosen by what the pilot scores"


def test_a_cap_that_ends_the_pilot_is_told_and_what_is_there_is_quoted(capsys: pytest.CaptureFixture[str]) -> None:
    ended = quoted(capsys, "--pilot", "10", "--max-cost", "1.6", "--json")
    assert ended.code == 3
    assert "the pilot stopped early: --max-cost 1.6" in ended.err
    assert 0 < orjson.loads(ended.out)["images"] < 10


# --- the arithmetic -----------------------------------------------------------------------------------------------


def test_the_interval_holds_the_rest_as_often_as_it_says() -> None:
    """Short form of benchmarks/pilot.py: 200 settings with sizes and a lognormal part."""
    rng, held = np.random.default_rng(3), 0
    for seed in range(200):
        sizes = np.exp(rng.normal(0, 0.3, 60))
        width = rng.uniform(0, 0.7)
        paid = 0.6 * sizes * rng.normal(1, 0.05, 60) + 0.4 * np.exp(rng.normal(-width * width / 2, width, 60))
        found = rest_total(list(paid[:20]), list(sizes[:20]), list(sizes[20:]), seed=seed)
        assert found.ci
        held += found.ci[0] <= paid[20:].sum() <= found.ci[1]
    assert 184 <= held <= 199


def test_sizes_that_explain_the_costs_leave_no_doubt() -> None:
    sizes = [1.0, 2.0, 3.0, 5.0, 8.0]
    found = rest_total([2 * size for size in sizes], sizes, [10.0, 20.0])
    assert found.total == pytest.approx(60)
    assert found.ci == pytest.approx((60, 60))


def test_few_images_have_a_total_without_an_interval_and_none_has_neither() -> None:
    few = rest_total([1.0] * (FEWEST_SAMPLED - 1), [1.0] * (FEWEST_SAMPLED - 1), [1.0])
    assert (few.total, few.ci) == (1.0, None)
    assert f"at least {FEWEST_SAMPLED}" in few.why_undefined
    assert rest_total([], [], [1.0]).total is None
    assert rest_total([], [], []).ci == (0.0, 0.0)
