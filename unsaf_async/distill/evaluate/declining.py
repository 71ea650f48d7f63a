"""How well both models tell questions without an answer, whatever their thresholds for declining: one figure before and after."""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING

import numpy as np

from unsaf_async.compare.pairing import examined, match
from unsaf_async.distill.evaluate.figures import Figure, make_figure, side_intervals
from unsaf_async.score.bootstrap import CONFIDENCE
from unsaf_async.score.declining import PROPENSITIES, PROPENSITY_WORDS, DecliningTally
from unsaf_async.score.metrics import auroc
from unsaf_async.score.rank_intervals import auroc_influence, auroc_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from unsaf_async.records import Examination
    from unsaf_async.score.declining import Column

_NONE = "not both models have log-probabilities, a stated confidence or further draws, on questions of both labels"


def decline_figure(before: Sequence[Examination], after: Sequence[Examination]) -> Figure:
    """The AUROC of the first propensity to decline (`score.declining`) that both models have, paired by image.

    An image moves the difference by the sum of its responses' influence on the after-model's AUROC, less that on the
    before-model's. The interval is Student's t with the spread of these, one degree of freedom fewer than pictures.

    Args:
        before: The before-model's examinations, one an image.
        after: The after-model's examinations, one an image.

    Returns:
        The figure, with a note on which propensity it is; undefined, with the reason, where the models have none in common.
    """
    pairs = match(examined(before), examined(after))
    tallies = [DecliningTally(), DecliningTally()]
    for pair in pairs:
        for tally, examination in zip(tallies, pair, strict=True):
            # Both sides' pictures are those of the before-model's: the same pixels may have been sent at two sizes.
            tally.add(examination.model_copy(update={"image": pair[0].image}))
    for name, propensity in PROPENSITIES.items():
        ours, theirs = (tally.column(name) for tally in tallies)
        values = [auroc(column.values, column.unanswerable) for column in (ours, theirs)]
        if values[0] is not None and values[1] is not None:
            ci, why = _interval(ours, theirs, values[0], values[1])
            own = [auroc_interval(each.values, each.unanswerable, each.picture) for each in (ours, theirs)]
            sides = {"before": values[0], "after": values[1]}
            ends, missing = side_intervals(sides, *own)
            return make_figure(
                "decline_auroc",
                pairs,
                lambda question: question.given is not None,
                lambda question, of=propensity: of(question) is not None,  # type: ignore[misc]
                **sides,
                **ends,
                difference=values[1] - values[0],
                ci=ci,
                undefined=({"ci": why} if why else {}) | missing,
                notes=[f"by {PROPENSITY_WORDS[name]}"],
            )
    why = _NONE if pairs else "the runs share no image"
    return make_figure(
        "decline_auroc",
        pairs,
        lambda question: question.given is not None,
        lambda _: False,
        before=None,
        after=None,
        difference=None,
        undefined=dict.fromkeys(("before", "after", "difference", "ci"), why),
    )


def _interval(ours: Column, theirs: Column, before: float, after: float) -> tuple[tuple[float, float] | None, str]:
    """The interval of after - before, or None and the reason."""
    from scipy.special import stdtrit  # slow to import

    pictures = 1 + int(max(ours.picture.max(), theirs.picture.max()))
    moved = _moved(theirs, after, pictures) - _moved(ours, before, pictures)
    moved = moved[(_count(ours, pictures) + _count(theirs, pictures)) > 0]
    n = len(moved)
    if n < 2:
        return None, "pairing needs at least 2 shared images; there is 1"
    error = sqrt(float(moved @ moved) * n / (n - 1))
    if error < 1e-12:
        return None, "no image changes the difference, so the images say nothing about its uncertainty"
    half = float(stdtrit(n - 1, (1 + CONFIDENCE) / 2)) * error
    return (max(-1.0, after - before - half), min(1.0, after - before + half)), ""


def _moved(column: Column, area: float, pictures: int) -> NDArray[np.float64]:
    influence = auroc_influence(column.values, column.unanswerable, area)
    return np.asarray(np.bincount(column.picture, weights=influence, minlength=pictures), dtype=np.float64)


def _count(column: Column, pictures: int) -> NDArray[np.int64]:
    return np.asarray(np.bincount(column.picture, minlength=pictures), dtype=np.int64)
