"""The study of controls: what it counts by the oracle, and that the page's text says what its figures say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).parents[2]


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import controls

    return controls


def test_the_difference_of_two_js_is_that_of_the_sums_and_of_equal_models_nothing(study: ModuleType) -> None:
    one = np.array([[2, 1, 3], [3, 0, 3], [1, 1, 2]] * 10)
    other = np.array([[1, 1, 3], [1, 0, 3], [1, 1, 3]] * 10)
    value, interval = study.j_difference(one, other)
    assert value == pytest.approx((6 - 2) / 8 - (3 - 2) / 9)
    low, high = interval.ends
    assert low < value < high
    assert study.j_difference(one, one)[0] == 0


@pytest.mark.parametrize("questions", ["own", "bank"])
def test_the_kept_figures_hold_together(questions: str) -> None:
    found = json.loads((ROOT / "docs" / "validity" / "controls.json").read_text("utf-8"))[questions]
    by_model = {one["model"]: one for one in found["studies"]}
    for each in found["differences"]:
        smaller, larger = (by_model[name] for name in each["models"])
        assert each["unf1"][0] == pytest.approx(larger["unf1"] - smaller["unf1"])
        for kind in ("blank", "other"):
            js = [one["controls"][kind]["youden"] for one in (smaller, larger)]
            assert each[kind][0] == pytest.approx(js[1] - js[0])
    for one in found["studies"]:
        for kind, told in one["by_the_oracle"].items():
            own = one["controls"][kind]
            assert own["n"] >= told["pairs"] > 0
            assert told["perfect_j"] == pytest.approx(1 - told["answered_there"] - told["false_labels"])
