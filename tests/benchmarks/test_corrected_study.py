"""What benchmarks/corrected.py holds the corrected UnF1 against: figures by hand."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from unsaf_async.score.intervals import ratio_interval

if TYPE_CHECKING:
    from types import ModuleType

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def study() -> ModuleType:
    """The script as a module."""
    sys.path.insert(0, str(BENCHMARKS))  # it imports one of its neighbors
    try:
        spec = importlib.util.spec_from_file_location("corrected_study", BENCHMARKS / "corrected.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    finally:
        sys.path.remove(str(BENCHMARKS))


# image, cell (ta, fu, fa, tu), label: 100, 20, 30 and 50 questions, of which 10, 15, 12 and 45 have no answer
ROWS = np.array(
    [
        (10 * of + number % 7, of, int(number < unanswerable))
        for of, (size, unanswerable) in enumerate(((100, 10), (20, 15), (30, 12), (50, 45)))
        for number in range(size)
    ]
)


def test_the_plain_interval_is_the_delta_methods(study: ModuleType) -> None:
    low, high = study.plain(ROWS, ROWS)
    f1 = 120 / 152
    assert (low + high) / 2 == pytest.approx(f1)
    # N^2 p (1 - p) / n is k (n - k) / n where all are labelled; TU moves F1 by (2 - F1) / 152, FA by -F1 / 152
    variance = (f1**2 * (10 * 90 / 100 + 12 * 18 / 30) + (2 - f1) ** 2 * (15 * 5 / 20 + 45 * 5 / 50)) / 152**2
    assert (high - low) / 2 == pytest.approx(1.96 * variance**0.5)
    undecided = np.vstack([ROWS, [(0, 0, -1)]])
    assert study.plain(ROWS, undecided) == (low, high)


def test_labelled_questions_alone_have_the_f1_of_their_labels(study: ModuleType) -> None:
    pairs = np.zeros((37, 2))
    for image, of, label in ROWS:
        pairs[image] += (2 * (of in (1, 3) and label), 2 if of in (1, 3) and label else of in (1, 3) or label)
    assert pairs.sum(axis=0).tolist() == [120, 152]
    assert study.alone(ROWS) == ratio_interval(pairs).ends


def test_figures_of_replications(study: ModuleType) -> None:
    found = study.figures(np.array([[0.8, 0.7, 0.9, 0.8, 0.8, 0, 1], [0.6, 0.5, 0.7, 0.7, 0.8, 0, 1]]), 0.75)
    assert found["bias"] == pytest.approx(-0.05)
    assert (found["coverage"], found["below"], found["above"]) == (0.5, 0.5, 0)
    assert (found["coverage_plain"], found["coverage_alone"]) == (0.5, 1.0)
    assert found["width"] == pytest.approx(0.2)
