"""Smaller images: sent, billed and kept as asked for; and what two pilots say of the change."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import orjson
import pytest
from commandline import command, serving
from driving import KEY
from PIL import Image

from unsaf_async.compare.image_size import verdict_of
from unsaf_async.runs.saved import SavedRun
from unsaf_async.simulate.settings import Simulation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unsaf_async.simulate.server import Simulator

IN_USD_PER_MTOK, OUT_USD_PER_MTOK = 2.5, 10
IMAGES, PILOT, CALLS = 8, 5, 6
"""Calls about an image: two lists and four answers."""


@pytest.fixture
def simulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with serving(Simulation(price=(IN_USD_PER_MTOK, OUT_USD_PER_MTOK))) as served:
        monkeypatch.setenv("OPENAI_BASE_URL", served.openai_base)
        yield served


def draw(side: int = 1024, number: int = IMAGES) -> None:
    Path("photos").mkdir()
    for index in range(number):
        pixels = np.random.default_rng(index).integers(0, 255, (3, 4, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((side, side * 3 // 4), Image.Resampling.NEAREST).save(f"photos/{index}.png")


RUN = ("--provider", "gpt-4o", "--images", "photos", "--questions", "2", "--judge", "rules", "--quiet", "--out", "run")
COMPARED = ("estimate", *RUN, "--pilot", str(PILOT), "--compare-max-side", "512")


def test_both_pilots_are_paid_under_one_cap_and_the_run_at_either_size_finds_its_replies(
    simulator: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    draw()
    ended = command(capsys, *COMPARED, "--max-cost", "1", "--json")
    assert ended.code == 0, ended.err
    found = orjson.loads(ended.out)
    pilots = [SavedRun(Path(name)) for name in (f"run-pilot-{PILOT}", f"run-512px-pilot-{PILOT}")]
    assert sum(each.account.cost_usd for each in pilots) == pytest.approx(float(simulator.ledger.billed_usd), rel=1e-3)
    assert pilots[1].manifest.max_cost_usd == pytest.approx(1 - pilots[0].account.cost_usd)
    assert (found["images"], found["images_changed"]) == (PILOT, PILOT)
    assert (found["usual"]["max_side_px"], found["smaller"]["max_side_px"]) == (1024, 512)
    assert [{image.image.width for image in each.examinations} for each in pilots] == [{1024}, {512}]
    # A picture of 1024 x 768 is four tiles, of 512 x 384 one: 765 tokens and 255.
    less_usd = CALLS * (765 - 255) * IN_USD_PER_MTOK / 1e6
    assert found["usual"]["image_usd"] - found["smaller"]["image_usd"] == pytest.approx(less_usd, rel=0.1)
    low, high = found["smaller"]["run_usd_ci"]
    assert low <= found["smaller"]["run_usd"] <= high < found["usual"]["run_usd_ci"][0]
    assert command(capsys, "run", *RUN[:-1], "small", "--max-side", "512", "--max-cost", "1", "--no-report").code == 0
    run = SavedRun(Path("small"))
    asked_again = [call for image in pilots[1].images for call in run.kept[image.id].calls if not call.cached]
    assert not asked_again
    assert low <= run.account.cost_usd + pilots[1].account.cost_usd <= high


def test_people_are_told_that_no_change_seen_is_no_pass_and_how_many_images_would_show_it(
    simulator: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    draw()
    ended = command(capsys, *COMPARED, "--max-cost", "1")
    out = " ".join(ended.out.split())
    assert "cannot tell: the interval reaches over 0.02: that no change is seen does not show that there is none" in out
    assert "shows it in four of five cases" in out
    assert "with or without --max-side 512" in out
    wide = command(capsys, *COMPARED, "--max-cost", "1", "--margin", "0.9", "--json")
    assert orjson.loads(wide.out)["verdict"] == "within the margin"


def test_a_cap_that_one_pilot_takes_compares_nothing_and_a_higher_one_goes_on(
    simulator: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    draw()
    for cap, px in (("0.1", 1024), ("0.15", 512)):
        ended = command(capsys, *COMPARED, "--max-cost", cap)
        assert (ended.code, ended.out) == (3, ""), (cap, ended.err)
        assert f"the sizes are not compared: the pilot at {px} px is not whole" in ended.err
        assert float(simulator.ledger.billed_usd) <= float(cap)
    asked = simulator.ledger.requests
    assert command(capsys, *COMPARED, "--max-cost", "1").code == 0
    assert simulator.ledger.requests > asked
    assert not simulator.ledger.repeated(), "what was paid is not paid again"


def test_images_that_are_small_anyway_are_paid_once_and_show_nothing(
    simulator: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    draw(side=400)
    ended = command(capsys, *COMPARED, "--max-cost", "1", "--json")
    found = orjson.loads(ended.out)
    assert (found["verdict"], found["images_changed"], found["difference"]) == ("n/a", 0, 0)
    assert found["why"] == "no image of the pilot is larger than 512 pixels a side: both sent the same"
    assert SavedRun(Path(f"run-512px-pilot-{PILOT}")).spent_usd == 0


@pytest.mark.parametrize(
    ("ends", "verdict"),
    [
        ((-0.02, 0.02), "within the margin"),
        ((0.001, 0.019), "within the margin"),
        ((-0.021, 0.01), "cannot tell"),
        ((0.01, 0.03), "cannot tell"),
        ((-0.5, 0.5), "cannot tell"),
        ((-0.3, -0.021), "outside the margin"),
        ((0.021, 0.03), "outside the margin"),
        (None, "n/a"),
    ],
)
def test_only_an_interval_that_lies_within_the_margin_passes(ends: tuple[float, float] | None, verdict: str) -> None:
    assert verdict_of(ends, 0.02)[0] == verdict


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--compare-max-side", "512"), "--compare-max-side compares two pilots; give --pilot, and no --budget"),
        (
            ("--pilot", "5", "--compare-max-side", "2048"),
            "2048; images are sent with at most 1024 pixels a side: give fewer",
        ),
        (("--pilot", "5", "--compare-max-side", "2"), "--compare-max-side is 2; give 16 to 8192 pixels"),
        (("--pilot", "5", "--compare-max-side", "512", "--margin", "0"), "--margin is 0; give a number above 0"),
        (("--max-side", "9000"), "--max-side is 9000; give 16 to 8192 pixels"),
    ],
)
def test_what_makes_no_sense_is_one_line(
    options: tuple[str, ...], said: str, simulator: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    draw(side=64, number=1)
    ended = command(capsys, "estimate", *RUN, "--max-cost", "1", *options)
    assert (ended.code, ended.err.count("\n")) == (2, 1), ended.err
    assert said in ended.err
    assert simulator.ledger.requests == 0


def test_a_run_that_has_begun_keeps_its_size_and_its_file_says_it(
    simulator: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    draw(number=1)
    begun = ("run", *RUN, "--no-report", "--max-cost", "1")
    assert command(capsys, *begun, "--max-side", "512").code == 0
    ended = command(capsys, *begun)
    assert ended.code == 2
    assert "images of at most 512 pixels a side, not 1024" in ended.err
    assert "max_side = 512" in command(capsys, "show", "run", "--as-suite").out
    assert command(capsys, "resume", "run", "--no-report").code == 0
