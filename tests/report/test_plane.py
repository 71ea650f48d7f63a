"""Labels of plots: those of models that score alike do not lie over one another, and no two look alike."""

from __future__ import annotations

from itertools import combinations

import pytest

from unsaf_async.report.drawing import short
from unsaf_async.report.plane import _LINE, _label_heights


@pytest.mark.parametrize("wide", [0.1, 0.3, 0.45])
def test_labels_of_points_that_lie_close_stand_below_each_other(wide: float) -> None:
    close = [(0.73, 0.678), (0.74, 0.644), (0.79, 0.632), (0.2, 0.64), (0.7, 0.1)]
    heights = _label_heights(close, [wide] * len(close))
    spans = [(x, x + wide) if x < 0.7 else (x - wide, x) for x, _ in close]
    for one, other in combinations(range(len(close)), 2):
        beside = spans[one][0] < spans[other][1] and spans[other][0] < spans[one][1]
        assert not beside or abs(heights[one] - heights[other]) >= _LINE - 1e-9
    assert heights[0] == 0.678
    assert heights[4] == 0.1, "what has room stays where its point is"
    assert (heights[3] == 0.64) == (wide < 0.2), "and a long label from the left goes below"


def test_cut_labels_keep_the_part_that_differs() -> None:
    assert short(["a model", "one of a name that is too long"]) == ["a model", "one of a name that is…"]
    runs = [f"tiny-xs (20261128-{time}-tiny-xs)" for time in ("094501", "094612")]
    assert short(runs) == ["tiny-xs…094501-tiny-x…", "tiny-xs…094612-tiny-x…"]
    nested = [f"{'x' * 30}{end}" for end in ("", "a", "b", f"b{'y' * 30}a", f"b{'y' * 30}b")]
    for labels in (nested, [*runs, *nested], [*nested, nested[0]]):
        found = short(labels)
        assert len(set(found)) == len(set(labels))
        assert max(map(len, found)) <= 22
