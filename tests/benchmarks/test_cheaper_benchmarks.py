"""The arithmetic of the benchmarks behind docs/cheaper.md, on numbers whose answer is known."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unsaf_async.compare.pairing import contributions
from unsaf_async.score.spread import Spread

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def script(name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", BENCHMARKS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules.pop("prompt_cache", None)
    return module


def test_what_lies_between_groups_is_found_and_nothing_where_nothing_does(monkeypatch: pytest.MonkeyPatch) -> None:
    clusters, rng = script("clusters", monkeypatch), np.random.default_rng(0)
    side = np.repeat([0, 1], 500)
    points = rng.normal(0, 1, (1000, 5)) + 8 * side[:, None]
    group = clusters.k_means(points, 2, rng)
    assert len({*zip(side, group, strict=True)}) == 2, "the two clouds are the two groups"
    noise = rng.normal(0, 0.17, 1000)
    # Two halves that are .1 apart: .05^2 of the variance lies between them.
    assert clusters.share_between(noise + 0.1 * side, group) == pytest.approx(0.05**2 / (0.05**2 + 0.17**2), abs=0.03)
    assert clusters.share_explained(noise + 0.1 * side, points) > 0.04
    assert abs(clusters.share_between(noise, group)) < 0.01
    assert clusters.share_explained(noise, points) < 0.01


def test_counts_are_drawn_as_power_assumes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    one_interval = script("one_interval", monkeypatch)
    pairs = one_interval.draw_pairs(np.random.default_rng(0), 0.7, 0.3, 0.1, 200_000)
    assert pairs[:, 0].sum() / pairs[:, 1].sum() == pytest.approx(0.7, abs=0.003)
    assert np.std(contributions(pairs)) == pytest.approx(Spread(6).sd, rel=0.02)


def test_a_first_run_says_how_many_images_and_their_interval_holds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one_interval = script("one_interval", monkeypatch)
    monkeypatch.setattr(one_interval, "MODELS_OF_COUNTS", ((0.7, 0.3, 0.1),))
    one_interval.pilots(0.03, 150)
    of_100 = [cell.strip() for cell in capsys.readouterr().out.splitlines()[-1].strip("|").split("|")]
    known, images, half, held = int(of_100[2]), float(of_100[4]), float(of_100[5]), float(of_100[6])
    assert images == pytest.approx(known, rel=0.1)
    assert half == pytest.approx(0.03, rel=0.05)
    assert held > 0.89
