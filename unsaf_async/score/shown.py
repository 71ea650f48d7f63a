"""A score as people are shown it where its bounds are the headline: nothing else in it is called UnF1."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from unsaf_async.score.unf1 import BOUNDS_ALONE

if TYPE_CHECKING:
    from unsaf_async.score.run_score import Score

S = TypeVar("S", bound="Score")


def without_other_readings(score: S) -> S:
    """A score to be shown: where its bounds are the headline, no other figure in it is called UnF1.

    Args:
        score: A run's.

    Returns:
        Where bounds are the headline, a copy in which `unf1_of_precisions` and the UnF1 of kinds are undefined; `unf1`, beside
        which the bounds stand, is left. Else the score itself.
    """
    if score.unf1_between is None:
        return score
    kinds = {kind: each.model_copy(update={"unf1": None}) for kind, each in score.by_kind.items()}
    gone = ("unf1_of_precisions", *(f"by_kind.{kind}.unf1" for kind in kinds))
    changed = {
        "unf1_of_precisions": None,
        "by_kind": kinds,
        "intervals": {path: ends for path, ends in score.intervals.items() if path not in gone},
        "undefined": score.undefined | dict.fromkeys(gone, BOUNDS_ALONE),
    }
    return score.model_copy(update=changed)
