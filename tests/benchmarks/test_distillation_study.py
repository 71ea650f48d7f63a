"""What benchmarks/distillation.py makes of its students: equal tokens, intervals over seeds, and nothing unreliable in a mean."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t

from unsaf_async.distill.data.write_rows import WrittenRow

if TYPE_CHECKING:
    from types import ModuleType

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def study() -> ModuleType:
    """The script, as a module."""
    sys.path.insert(0, str(BENCHMARKS))  # it imports one of its neighbors
    try:
        spec = importlib.util.spec_from_file_location("distillation_study", BENCHMARKS / "distillation.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # dataclasses look their module up
        spec.loader.exec_module(module)
        return module
    finally:
        sys.path.remove(str(BENCHMARKS))


def row(number: int, tokens: int) -> WrittenRow:
    return WrittenRow(str(number), "image", "image.png", "answer", "What is it?", "x" * tokens)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=8), st.integers(0, 120))
def test_rows_are_taken_and_taken_again_until_the_next_one_would_be_too_much(
    study: ModuleType, sizes: list[int], budget: int
) -> None:
    rows = [row(number, size) for number, size in enumerate(sizes)]
    taken = list(study.to_budget(rows, budget, len))
    spent = sum(len(each.completion) for each in taken)
    assert spent <= budget < spent + sizes[len(taken) % len(sizes)]
    assert [each.completion for each in taken] == [rows[n % len(rows)].completion for n in range(len(taken))]
    assert len({each.id for each in taken}) == len(taken)


def test_of_no_rows_none_are_taken(study: ModuleType) -> None:
    assert list(study.to_budget([], 10, len)) == []


def test_the_interval_over_seeds_is_students(study: ModuleType) -> None:
    values = [0.11, 0.13, 0.08, 0.12, 0.1]
    low, high = t.interval(0.95, 4, loc=np.mean(values), scale=np.std(values, ddof=1) / np.sqrt(5))
    assert study.over_seeds(values) == f"{np.mean(values):+.3f} [{low:+.3f}, {high:+.3f}]"


def student(arm: str, seed: int, after: float, *, unreliable: bool = False) -> dict[str, Any]:
    side = {"unreliable": [], "obtained": 1.0}
    return {
        "arm": arm,
        "seed": seed,
        "figures": {"unf1_own": {"before": 0.5, "after": after, "ci": None}},
        "before": side,
        "after": side | {"unreliable": ["only 3 of 90 answerable questions (3%) were obtained"] if unreliable else []},
    }


def test_a_score_that_the_engine_calls_unreliable_is_in_no_mean_and_is_counted(
    study: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study, "FIGURES", {"unf1_own": "UnF1"})
    students = [student("full", seed, 0.6 + seed / 100) for seed in range(4)]
    students += [student("answers", seed, 0.7, unreliable=seed != 1) for seed in range(4)]
    table = study.change_table({"students": students, "seeds": 4})
    assert table.splitlines()[-1] == "| UnF1 | 0.500 | +0.115 [+0.094, +0.136] | +0.200 (3 of 4 unreliable) |"
    table = study.against_table({"students": students, "seeds": 4})
    assert table.splitlines()[-1] == "| UnF1 | -0.090 (3 of 4 unreliable) |"
