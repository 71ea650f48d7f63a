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
    assert ("0.900" in gate.why) == (between is None), "where bounds are the headline no other UnF1 is said"
    assert between is None or f"UnF1 between {between[0]:.3f} and {between[1]:.3f}, " in gate.why


@pytest.mark.parametrize(
    ("unf1", "undefined", "why"),
    [
        (
            None,
            {"unf1": "no question was scored", "unf1_ci": "no question was scored"},
            "UnF1 is n/a: no question was scored",
        ),
        (
            0.5,
            {"unf1_ci": "an interval needs at least 2 images; there is 1"},
            "an interval needs at least 2 images; there is 1",
        ),
    ],
)
def test_a_gate_that_cannot_be_computed_names_its_reason_once(unf1, undefined, why):
    score = SimpleNamespace(unf1=unf1, unf1_ci=None, unf1_between=None, undefined=undefined, unreliable=[])
    gate = fail_under("run", SimpleNamespace(findings=score), 0.5)
    assert (gate.verdict, gate.why) == ("n/a", why)
