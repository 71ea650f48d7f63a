"""Does a judge decide otherwise where it sees several responses in one call? The same labelled responses, judged both ways.

The difference of two agreements on the same responses, with the image as the unit: what one call decides, it decides together.
Its bounds are those of `mean_bounds`, which count what the images of a sample do not show: an interval by a standard error
excludes a loss too often where few images tell it, and has no width where none does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from unsaf_async.errors import as_option
from unsaf_async.records import Record
from unsaf_async.score.bounded_mean import mean_bounds
from unsaf_async.score.intervals import difference_interval
from unsaf_async.text import format_count

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from unsaf_async.records import Act, Examination

FEW, SHARE = 20, 0.5
"""Where a judge leaves this share of at least so many responses out, asking about them one by one had been cheaper."""

MARGIN = 0.02
"""The loss of agreement that is to be excluded: what moves UnF1 by less than .03, the smallest difference of interest."""


class JudgedTogetherCounts(Record):
    """How a run's responses went to judges, where several went in one call."""

    calls: int
    """About several, of all judges together; those that the cache answered among them."""
    responses: int
    """That these calls were about; one that a panel judges counts for each of its judges."""
    asked_alone: int
    """Of these, responses on which a reply held no verdict, so that the judge was asked about each once more, alone."""

    @property
    def in_words(self) -> str:
        """One line."""
        again = f", {self.asked_alone:,} asked about again alone" if self.asked_alone else ""
        return f"{format_count(self.responses, 'verdict')} in {format_count(self.calls, 'call')} about several{again}"

    @property
    def warning(self) -> str:
        """What a reader should know of a judge that does not answer such calls; "" of one that does."""
        if self.responses < FEW or self.asked_alone < SHARE * self.responses:
            return ""
        return (
            f"{self.asked_alone:,} of {format_count(self.responses, 'verdict')} were missing in the judge's calls about several "
            f"responses, and asked for again, each alone: without {as_option('judge_together')} the same costs less"
        )


class JudgedTogetherTally:
    """The calls about several responses, counted image by image."""

    def __init__(self) -> None:
        self._calls = self._responses = self._asked_alone = 0

    def add(self, examination: Examination) -> None:
        """Count one image.

        Args:
            examination: Of the image.
        """
        for call in examination.judged_together:
            self._calls += 1
            self._responses += call.responses
            self._asked_alone += call.asked_alone

    @property
    def counts(self) -> JudgedTogetherCounts:
        """What was counted."""
        return JudgedTogetherCounts(calls=self._calls, responses=self._responses, asked_alone=self._asked_alone)


class TogetherCheck(Record):
    """A judge's agreement with people on responses that were judged alone, and again several in one call."""

    responses: int
    """That no rule decides, of images with at least two such."""
    images: int
    """Of which they are; where the file names none, calls."""
    calls: int
    """About several, of all judges together."""
    asked_alone: int
    """Verdicts that were missing in these calls, so that their responses were asked about once more, alone."""
    alone: float | None
    """Share of the responses on which the judge, asked alone, says what people say; no verdict agrees with nobody."""
    together: float | None
    """The same of the verdicts from calls about several."""
    alike: float | None
    """Share of the responses on which both verdicts are the same act, right or wrong."""
    difference: float | None
    """together - alone."""
    difference_ci: tuple[float, float] | None
    """95 %, over images."""
    margin: float
    """The loss that matters, > 0."""
    early: float | None
    """`together` of the responses in the first half of their calls' lists."""
    late: float | None
    """The same of the second half. Which response stands where is as good as random, so the two differ by the place alone."""
    late_less_early_ci: tuple[float, float] | None
    """95 % interval of late - early, over images."""
    why_undefined: dict[str, str] = Field(default_factory=dict)
    """Why there is no such interval."""

    @property
    def excludes_loss(self) -> bool:
        """Whether the interval excludes a loss of `margin` or more."""
        return self.difference_ci is not None and self.difference_ci[0] > -self.margin


def together_check(
    responses: Iterable[tuple[int, str, Act | None, Act | None, bool]],
    *,
    calls: int,
    asked_alone: int,
    margin: float = MARGIN,
) -> TogetherCheck:
    """How far judging together changes a judge's agreement with people.

    Args:
        responses: Of each response the number of its image, people's label, and what the judge says alone and together;
            at last whether it stands in the second half of its call's list.
        calls: See `TogetherCheck`.
        asked_alone: See `TogetherCheck`.
        margin: See `TogetherCheck`.

    Returns:
        The check; without a response its shares are None.
    """
    rows = list(responses)
    if not rows:
        return TogetherCheck(
            responses=0, images=0, calls=calls, asked_alone=asked_alone, alone=None, together=None, alike=None,
            difference=None, difference_ci=None, margin=margin, early=None, late=None, late_less_early_ci=None,
            why_undefined={"late_less_early": "no response was judged with others"},
        )  # fmt: skip
    _, image = np.unique([number for number, *_ in rows], return_inverse=True)
    alone = np.array([act == label for _, label, act, _, _ in rows], dtype=float)
    together = np.array([act == label for _, label, _, act, _ in rows], dtype=float)
    sizes = np.bincount(image)
    # A mean over images of what each adds to the difference over responses: at most all that the largest image holds.
    adds, most = np.bincount(image, together - alone) / sizes.mean(), float(sizes.max() / sizes.mean())
    low, high = mean_bounds(adds, -most, most)
    second = np.array([late for *_, late in rows])
    halves = [np.bincount(image, part * values) for part in (second, ~second) for values in (together, 1.0)]
    by_place = difference_interval(np.stack(halves, axis=1))
    return TogetherCheck(
        responses=len(rows),
        images=len(sizes),
        calls=calls,
        asked_alone=asked_alone,
        alone=float(alone.mean()),
        together=float(together.mean()),
        alike=float(np.mean([one == other and one is not None for _, _, one, other, _ in rows])),
        difference=float(together.mean() - alone.mean()),
        difference_ci=(max(-1.0, low), min(1.0, high)),
        margin=margin,
        early=_share(together[~second]),
        late=_share(together[second]),
        late_less_early_ci=by_place.ends,
        why_undefined={"late_less_early": by_place.why_undefined} if by_place.why_undefined else {},
    )


def _share(values: NDArray[np.float64]) -> float | None:
    return float(values.mean()) if len(values) else None
