"""The intervals of a judge's figures, against scipy's and at their ends."""

from __future__ import annotations

import pytest
from scipy.stats import binomtest

from unsaf_async.score.calibration import Confusion, Verdicts
from unsaf_async.score.confusion_intervals import confusion_intervals


def test_shares_have_the_exact_interval_and_every_interval_holds_its_figure():
    confusion = Confusion(
        answered=Verdicts(answered=40, abstained=3, refused=1, none=5), abstained=Verdicts(answered=6, abstained=30)
    )
    found = confusion_intervals(confusion)
    for name, hits, n in (("accuracy", 70, 80), ("sensitivity", 30, 36), ("specificity", 40, 43)):
        exact = binomtest(hits, n).proportion_ci(method="exact")
        assert found[name] == pytest.approx((exact.low, exact.high), abs=1e-9)
    for name in ("accuracy", "f1", "kappa", "sensitivity", "specificity"):
        ends = found[name]
        assert ends is not None
        assert ends[0] < getattr(confusion, name) < ends[1]


def test_a_figure_at_its_end_has_an_interval_and_one_of_nothing_has_none():
    perfect = confusion_intervals(Confusion(answered=Verdicts(answered=12)))
    assert perfect["accuracy"] == pytest.approx((1 - (1 - 0.025 ** (1 / 12)), 1.0))
    assert perfect["sensitivity"] is None
    assert perfect["f1"] is None
    assert set(confusion_intervals(Confusion()).values()) == {None}
