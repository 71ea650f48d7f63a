"""What smaller images change: the dollars, and UnF1 on the same images, from two pilots of one run.

Both pilots examine the same images, and the model writes its own questions at each size, as the run would. The difference is
paired by image (`compare/pairing.py`). That a smaller size changes nothing has to be shown: the whole 95 % interval must lie
within the margin, either way (two one-sided tests at .025 each; Schuirmann 1987, doi:10.1007/BF01068419). That no difference
is seen shows nothing.
"""

from __future__ import annotations

from statistics import NormalDist
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from unsaf_async.compare.comparison import paired_runs
from unsaf_async.compare.pairing import examined, match
from unsaf_async.compare.sample_size import ALPHA, POWER, images_for_half_width
from unsaf_async.records import Record
from unsaf_async.runs.pilot import cost_usd, quote_rest

if TYPE_CHECKING:
    from unsaf_async.runs.prepare import Prepared
    from unsaf_async.runs.saved import SavedRun

Verdict = Literal["within the margin", "outside the margin", "cannot tell", "n/a"]


class AtSize(Record):
    """A pilot at one size, and the whole run by it. A figure that is None has its reason in `undefined`."""

    max_side_px: int
    image_usd: float
    """What an image cost on average, on the images that both pilots have; replies that the cache had count, too."""
    run_usd: float | None
    """What all images are expected to cost, the pilot's among them."""
    run_usd_ci: tuple[float, float] | None
    """95 % interval: which images the pilot happened to hold."""
    undefined: dict[str, str] = Field(default_factory=dict)


class SizeComparison(Record):
    """What smaller images change."""

    usual: AtSize
    smaller: AtSize
    images: int
    """That both pilots have examined."""
    images_changed: int
    """Of these, those that are sent with other pixels."""
    difference: float | None
    """UnF1 with smaller images minus UnF1 with the usual ones, on the images of both."""
    ci: tuple[float, float] | None
    """95 % interval of `difference`, paired by image."""
    margin: float
    verdict: Verdict
    """Where the whole interval lies; n/a where there is none, or one of the scores is unreliable. Only the first passes."""
    why: str
    """What decided, in words."""
    images_needed: int | None
    """With so many images it is shown in four of five cases, if nothing changes; None: these ones do not tell how far images
    differ."""

    @property
    def passed(self) -> bool:
        """Whether it is shown that UnF1 changes by no more than the margin."""
        return self.verdict == "within the margin"


def compare_sizes(
    usual: tuple[Prepared, SavedRun], smaller: tuple[Prepared, SavedRun], margin: float
) -> SizeComparison:
    """What smaller images change. Blocks while it reads the images' headers.

    Args:
        usual: The run that is planned, and its pilot.
        smaller: The same with smaller images.
        margin: By how much UnF1 may change, either way, > 0.

    Returns:
        The comparison, on the images that both pilots have examined.

    Raises:
        UserError: A pilot has examined no image that can be read.
    """
    before, after = usual[1], smaller[1]
    shared = match(examined(after.examinations), examined(before.examinations))
    changed = sum(one.image.pixels_sha256 != other.image.pixels_sha256 for one, other in shared)
    sides = [("smaller", after.examinations, after.findings), ("usual", before.examinations, before.findings)]
    pair = paired_runs(sides)[0]
    verdict, why = verdict_of(pair.ci, margin)
    doubts = [line for run in (after, before) for line in run.findings.unreliable]
    if shared and not changed:
        side_px = smaller[0].subject.image.max_side_px
        verdict, why = "n/a", f"no image of the pilot is larger than {side_px} pixels a side: both sent the same"
    elif doubts:
        verdict, why = "n/a", f"unreliable: {doubts[0]}"
    elif pair.ci is None:
        why = pair.undefined.get("ci") or pair.undefined.get("difference") or "there is no interval"
    return SizeComparison(
        usual=_at_size(*usual, [cost_usd(other) for _, other in shared]),
        smaller=_at_size(*smaller, [cost_usd(one) for one, _ in shared]),
        images=len(shared),
        images_changed=changed,
        difference=pair.difference,
        ci=pair.ci,
        margin=margin,
        verdict=verdict,
        why=why,
        images_needed=_images_needed(pair.sd, margin) if pair.sd else None,
    )


def _at_size(prepared: Prepared, pilot: SavedRun, costs_usd: list[float]) -> AtSize:
    quote = quote_rest(prepared, pilot)
    ends = quote.rest_usd_ci
    return AtSize(
        max_side_px=prepared.subject.image.max_side_px,
        image_usd=sum(costs_usd) / len(costs_usd) if costs_usd else 0.0,
        run_usd=None if quote.rest_usd is None else quote.cost_usd + quote.rest_usd,
        run_usd_ci=ends and (quote.cost_usd + ends[0], quote.cost_usd + ends[1]),
        undefined={"run_usd_ci": quote.undefined["rest_usd_ci"]} if ends is None else {},
    )


def _images_needed(sd: float, margin: float) -> int:
    """The least number of images with which the interval lies within the margin in four of five cases, if nothing changes.

    There the margin is the half-width and what the difference is off by in one case of five: z(.975) + z(.9) standard errors.
    """
    least = NormalDist().inv_cdf(1 - ALPHA / 2)
    return images_for_half_width(margin * least / (least + NormalDist().inv_cdf((1 + POWER) / 2)), sd)


def verdict_of(ends: tuple[float, float] | None, margin: float) -> tuple[Verdict, str]:
    """Where an interval of a difference lies.

    Args:
        ends: The interval's; None: there is none.
        margin: By how much the figure may change, either way, > 0.

    Returns:
        (the verdict, what decided, in words).
    """
    if ends is None:
        return "n/a", ""
    if -margin <= ends[0] and ends[1] <= margin:
        return "within the margin", f"the whole interval lies within {margin:g} either way"
    if ends[1] < -margin or ends[0] > margin:
        return "outside the margin", f"the whole interval lies outside of {margin:g} either way"
    return (
        "cannot tell",
        f"the interval reaches over {margin:g}: that no change is seen does not show that there is none",
    )
