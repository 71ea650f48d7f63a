"""Gates: passed only by an interval that lies on the right side."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from unsaf_async.compare.quality_gates import fail_under


@pytest.mark.parametrize(
    ("between", "bar", "verdict"),
    [
        (None, 0.1, "pass"),
        (None, 0.5, "cannot tell"),
        ((0.762, 0.947), 0.1, "pass"),
        ((0.762, 0.947), 0.5, "cannot tell"),  # the bounds alone would have passed
        ((0.05, 0.947), 0.1, "cannot tell"),
        ((0.05, 0.08), 1.0, "fail"),
    ],
)
def test_what_nobody_scored_makes_no_gate_easier(between, bar, verdict):
    score = SimpleNamespace(
        unf1=0.9,
        unf1_ci=(0.177, 0.999),
        unf1_between=between,
        undefined={},
        unreliable=["open"] * (between is not None),
    )
    gate = fail_under("run", SimpleNamespace(findings=score), bar)
    assert gate.verdict == verdict
    assert ("bounds" in gate.why) == (between is not None)
