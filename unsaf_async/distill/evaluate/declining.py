"""How well both models tell questions without an answer, whatever their thresholds for declining: one figure before and after."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from unsaf_async.compare.pairing import examined, match
from unsaf_async.distill.evaluate.figures import Figure, make_figure, side_intervals
from unsaf_async.score.declining import PROPENSITIES, PROPENSITY_WORDS, DecliningTally
from unsaf_async.score.intervals import Interval, combined_interval, effective_images, exact_interval
from unsaf_async.score.metrics import auroc
from unsaf_async.score.rank_intervals import auroc_influence, auroc_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from unsaf_async.records import Examination
    from unsaf_async.score.declining import Column

_EQUAL = 1e-12
"""Below which what an image does to two areas differs by rounding alone."""

_NONE = "not both models have log-probabilities, a stated confidence or further draws, on questions of both labels"


def decline_figure(before: Sequence[Examination], after: Sequence[Examination]) -> Figure:
    """The AUROC of the first propensity to decline (`score.declining`) that both models have, paired by image.

    An image moves the difference by the sum of its responses' influence on the after-model's AUROC, less that on the
    before-model's. The interval combines those of both areas with the correlation of what an image does to each
    (`intervals.combined_interval`), so it holds with few pictures, and near an area of 1, as theirs do.

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
            own = [auroc_interval(each.values, each.unanswerable, each.picture) for each in (ours, theirs)]
            found = _interval((theirs, values[1], own[1]), (ours, values[0], own[0]))
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
                ci=found.ends,
                undefined=({} if found.ends else {"ci": found.why_undefined}) | missing,
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


def _interval(after: tuple[Column, float, Interval], before: tuple[Column, float, Interval]) -> Interval:
    """The interval of after's area minus before's. Of each: the responses, the area and its own interval."""
    pictures = 1 + int(max(after[0].picture.max(), before[0].picture.max()))
    if pictures < 2:
        return Interval(images=pictures, why_undefined="pairing needs at least 2 shared images; there is 1")
    moved = [_moved(column, area, pictures) for column, area, _ in (after, before)]
    if np.abs(moved[0] - moved[1]).max() < _EQUAL:
        return _alike_interval(after[0], before[0])
    return combined_interval((after[1], after[2], moved[0]), (before[1], before[2], moved[1]))


def _alike_interval(after: Column, before: Column) -> Interval:
    """How large a difference may be of which no image shows any: the exact bound of that share of an area's pairs.

    As for an area of 0 or 1 (`rank_intervals.auroc_interval`), what counts are pairs of one image's unanswerable question and
    another's answerable one that have no image in common. Images count by what they hold.
    """
    sides = [
        np.bincount(column.picture[chosen])
        for column in (after, before)
        for chosen in (column.unanswerable, ~column.unanswerable)
    ]
    pairs = min(len(np.unique(after.picture)) // 2, *map(effective_images, sides))
    found = exact_interval(0.0, math.ceil(pairs), pairs)
    return found if found.ends is None else replace(found, ends=(-found.ends[1], found.ends[1]), method="exact")


def _moved(column: Column, area: float, pictures: int) -> NDArray[np.float64]:
    influence = auroc_influence(column.values, column.unanswerable, area)
    return np.asarray(np.bincount(column.picture, weights=influence, minlength=pictures), dtype=np.float64)
