"""Gates over finished runs, for CI: is UnF1 at least so much, and is it no worse than that of an earlier run?

Each gate holds the end of a 95 % interval that is against the run to a bar. It passes if the whole interval is on the right
side, fails if the whole interval is on the wrong side, and cannot tell otherwise; only the first passes. So a regression up to
the margin is allowed, and that it is no more has to be shown (non-inferiority): see `distill/evaluate/gates.py` for the source.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from unsaf_async.compare.comparison import paired_runs
from unsaf_async.records import Record
from unsaf_async.text import format_difference, format_headline, format_interval

if TYPE_CHECKING:
    from unsaf_async.runs.saved import SavedRun

Verdict = Literal["pass", "fail", "cannot tell", "n/a"]

_ROUNDING = 1e-9


class QualityGate(Record):
    """One condition on one run."""

    run: str
    what: Literal["fail_under", "max_regression"]
    verdict: Verdict
    """n/a: it cannot be computed, and does not pass."""
    why: str
    """The figures that decided, or what is missing."""

    @property
    def passed(self) -> bool:
        """Whether it passes."""
        return self.verdict == "pass"


def fail_under(name: str, run: SavedRun, bar: float) -> QualityGate:
    """Whether a run's UnF1 is shown to be at least so much: by the lower end of its 95 % interval.

    Args:
        name: The run's, for the report.
        run: Its folder.
        bar: In [0, 1].

    Returns:
        The gate: by the interval's ends, and by the bounds where so much is unscored that these are the headline, whichever lie
        further out. Of a labelled set by the F1 of abstaining.
    """
    score = run.findings
    ends = score.unf1_ci
    if ends is None:
        if score.unf1 is None:
            reason = f"UnF1 is n/a: {score.undefined.get('unf1', 'unknown')}"
        else:
            reason = score.undefined.get("unf1_ci") or "UnF1 has no interval"
        return QualityGate(run=name, what="fail_under", verdict="n/a", why=reason)
    if len(score.unreliable) > (score.unf1_between is not None):  # that bounds are the headline is one such reason
        return QualityGate(run=name, what="fail_under", verdict="n/a", why=f"unreliable: {score.unreliable[0]}")
    between = score.unf1_between
    if between is not None:  # what nobody scored may lie either way, beside which images there are
        ends = min(ends[0], between[0]), max(ends[1], between[1])
    verdict = _verdict(ends, bar)
    end = {"pass": "the lower end is not below", "fail": "the upper end is below"}.get(verdict, "the interval holds")
    what = "95 % interval" if between is None else "95 % interval and bounds together"
    why = f"UnF1 {format_headline(score.unf1, between)}, {what} {format_interval(ends)}: {end} {bar:g}"
    return QualityGate(run=name, what="fail_under", verdict=verdict, why=why)


def max_regression(name: str, run: SavedRun, before: SavedRun, margin: float) -> QualityGate:
    """Whether a run is shown to be no worse than an earlier one by more than a margin: by the paired interval's lower end.

    Args:
        name: The run's, for the report.
        run: Its folder.
        before: The earlier run's folder.
        margin: By how much UnF1 may fall, >= 0.

    Returns:
        The gate, on the images that both have.
    """
    earlier = str(before.folder)
    sides = [(name, run.examinations, run.findings), (f"before: {earlier}", before.examinations, before.findings)]
    pair = paired_runs(sides)[0]
    if pair.ci is None:
        reason = pair.undefined.get("ci") or pair.undefined.get("difference") or "there is no interval"
        return QualityGate(run=name, what="max_regression", verdict="n/a", why=f"against {earlier}: {reason}")
    verdict = _verdict(pair.ci, -margin)
    figures = f"{format_difference(pair.difference)}, 95 % interval {format_interval(pair.ci)}"
    bar = "not below" if verdict == "pass" else "below" if verdict == "fail" else "on both sides of"
    images = f"{pair.images_shared:,} shared images"
    why = f"UnF1 {figures} on {images} against {earlier}: {bar} {-margin:g}"
    return QualityGate(run=name, what="max_regression", verdict=verdict, why=why)


def undecided(
    name: str, what: Literal["fail_under", "max_regression"], why: str = "it has examined no image"
) -> QualityGate:
    """A gate that cannot be computed.

    Args:
        name: The run's.
        what: Which gate.
        why: What is missing.

    Returns:
        The gate, which does not pass.
    """
    return QualityGate(run=name, what=what, verdict="n/a", why=why)


def _verdict(ends: tuple[float, float], bar: float) -> Verdict:
    low, high = ends
    return "pass" if low >= bar - _ROUNDING else "fail" if high < bar - _ROUNDING else "cannot tell"
