"""The plane of the paper's two scores: labels of models that score alike do not lie over one another."""

from __future__ import annotations

from itertools import combinations

from unsaf_async.report.plane import _BESIDE, _LINE, _label_heights


def test_labels_of_points_that_lie_close_stand_below_each_other() -> None:
    close = [(0.73, 0.678), (0.74, 0.644), (0.79, 0.632), (0.2, 0.64), (0.7, 0.1)]
    heights = _label_heights(close)
    for one, other in combinations(range(len(close)), 2):
        beside = abs(close[one][0] - close[other][0]) < _BESIDE
        assert not beside or abs(heights[one] - heights[other]) >= _LINE - 1e-9
    assert heights[0] == 0.678
    assert heights[3:] == [0.64, 0.1], "what has room stays where its point is"
