"""The limits above which a score's bounds are its headline are those of the script that tells their reason."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np

from unsaf_async.score.run_score import OPEN_SHARE_LIMIT, OPEN_WIDTH_LIMIT

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "open_headline.py"


def test_the_limits_of_an_open_headline_keep_what_is_said_of_them() -> None:
    spec = importlib.util.spec_from_file_location("open_headline", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    found = [script.lost_alike(share) for share in np.arange(0.005, 0.405, 0.005)]
    width, error = (np.concatenate([each[place] for each in found]) for place in (0, 1))
    within = np.quantile(error[width <= OPEN_WIDTH_LIMIT], 0.95)
    assert round(float(within), 3) == 0.022
    assert round(float(np.quantile(script.lost_alike(OPEN_SHARE_LIMIT)[2], 0.95)), 2) == 0.11
