"""A start without hope ends in seconds: its reason alone, and no table of figures that there are none of."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from commandline import Ended, command, serving
from driving import draw_images
from truths import served_model

from unsaf_async.calls import rate_limit
from unsaf_async.runs.saved import SavedRun
from unsaf_async.simulate.settings import Simulation

if TYPE_CHECKING:
    from collections.abc import Sequence


def start(capsys: pytest.CaptureFixture[str], *arguments: str) -> Ended:
    draw_images(Path("images"), 6)
    begin = ("run", "--images", "images", "--questions", "3", "--cache", "cache", "--out", "out", "--max-cost", "50")
    return command(capsys, *begin, *arguments)


def last_line(ended: Ended) -> str:
    return ended.err.strip().splitlines()[-1]


def check_no_table(outs: Sequence[str]) -> None:
    for out in outs:
        assert "n/a" not in out
        assert "UnF1" not in out


@pytest.mark.parametrize("role", ["judge", "audit"])
@pytest.mark.parametrize(
    ("hopeless", "says", "advice"),
    [
        ({"api_key": "right", "any_model": True}, "the key was refused: 401", "put the right key into its variable"),
        ({}, "no such model or address: 404", "check its address"),
    ],
)
def test_a_hopeless_judge_or_auditor_ends_a_run_with_its_reason_alone(
    capsys: pytest.CaptureFixture[str], role: str, hopeless: dict[str, object], says: str, advice: str
) -> None:
    with serving(Simulation(price=(2.5, 10), any_model=True)) as subject, serving(Simulation(**hopeless)) as other:  # type: ignore[arg-type]
        served_model("sub", subject.openai_base, (2.5, 10), concurrency=4)
        served_model("other-one", other.openai_base, (0, 0))
        judge = [] if role == "judge" else ["--judge", "rules"]
        ended = start(capsys, "--provider", "sub", *judge, f"--{role}", "other-one")
        assert ended.code == 2
        assert f"other-one: {says}" in last_line(ended)
        assert advice in last_line(ended)
        assert "--api-base" not in last_line(ended), "which is the measured model's"
        check_no_table([ended.out])
        paid = float(subject.ledger.billed_usd)
        assert SavedRun(Path("out")).account.cost_usd == pytest.approx(paid)
        again = command(capsys, "resume", "out")
        assert again.code == 2
        assert max(entry.served for entry in subject.ledger.entries.values()) == 1


def test_a_server_that_only_fails_ends_a_run_in_seconds_without_a_table(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_limit, "START_S", 1.0)
    with serving(Simulation(faults={"500": 1.0}, any_model=True)) as simulator:
        served_model("sub", simulator.openai_base, (0, 0), concurrency=1, attempts=1000)
        began_s = time.monotonic()
        ended = start(capsys, "--provider", "sub")
    assert time.monotonic() - began_s < 15
    assert ended.code == 3
    assert "attempts failed, and none was answered" in last_line(ended)
    assert "resume" in last_line(ended)
    check_no_table([ended.out])


def test_images_that_all_failed_are_said_without_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(Simulation(faults={"500": 1.0}, any_model=True)) as simulator:
        served_model("sub", simulator.openai_base, (0, 0), attempts=1)
        draw_images(Path("images"), 2)
        ended = command(capsys, "run", "--provider", "sub", "--images", "images", "--limit", "2", "--out", "out")
    assert ended.code == 3
    assert "2 of 2 images failed (no question was obtained" in last_line(ended)
    check_no_table([ended.out])


def test_an_audit_whose_cap_lets_no_image_begin_is_refused_with_the_figure_that_would_do(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with serving(Simulation(price=(2.5, 10), any_model=True)) as simulator:
        served_model("sub", simulator.openai_base, (2.5, 10))
        served_model("auditor", simulator.openai_base, (250, 1000))
        assert start(capsys, "--provider", "sub").code == 0
        calls = simulator.ledger.requests
        refused = command(capsys, "audit", "out", "--provider", "auditor", "--max-cost", "0.05")
        assert refused.code == 2
        assert "--max-cost is 0.05, and $" in last_line(refused)
        enough = last_line(refused).rpartition("give at least ")[2]
        assert SavedRun(Path("out")).manifest.auditors == ()
        assert simulator.ledger.requests == calls
        assert command(capsys, "audit", "out", "--provider", "auditor", "--max-cost", enough).code in (0, 3)
        assert simulator.ledger.requests > calls
