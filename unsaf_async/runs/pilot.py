"""A pilot: the first images of a run, paid for, and what they say the others will cost and take.

The pilot is a run of its own about the first images of the order that the later run has, a random sample by the seed. Its
replies lie in the cache, where the later run finds them: they are part of it, and nothing is chosen by their answers. What the
others come to is predicted by `score/rest_total.py` from what the images of the pilot cost, with what the price map expects of
every image, by its size, as the known variable.

Time: of each group of models, calls in flight, requests and tokens a minute are what may hold a run up. Each is predicted in
seconds, the largest counts, and the last image's own calls come after it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from unsaf_async.errors import UserError, setting
from unsaf_async.runs.begin import default_folder
from unsaf_async.runs.estimate import quote_images, stopping_images
from unsaf_async.score.rest_total import RestTotal, rest_total
from unsaf_async.text import format_count

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from unsaf_async.providers.profile import Profile
    from unsaf_async.records import CallRecord, Examination
    from unsaf_async.runs.prepare import Prepared
    from unsaf_async.runs.saved import SavedRun

JUDGING = frozenset({"judge", "ground", "audit"})
"""Roles that another model than the measured one may have."""

SPANS = ("ask", "answer", "judge")
"""Calls about one image that wait for each other."""


@dataclass(frozen=True)
class PilotQuote:
    """What a pilot cost, and what the rest of the run will. A figure that is None has its reason in `undefined`."""

    images: int
    """Of the pilot, examined or failed."""
    failed: int
    """Of these."""
    spent_usd: float
    """Paid for the pilot in its own folder: what the cache had costs nothing."""
    cost_usd: float
    """What its calls cost when they were made: the figure that the quote rests on."""
    rest_images: int
    rest_usd: float | None
    rest_usd_ci: tuple[float, float] | None
    """95 % interval, over which images are in the pilot and which are left."""
    rest_s: float | None
    """With as many calls in flight, requests and tokens a minute as the run may have, and an endpoint as it was in the pilot."""
    rest_s_ci: tuple[float, float] | None
    held_up_by: str
    """What the time is predicted by: "32 calls in flight"; "" without one."""
    batched: int = 0
    """Calls of the pilot that an earlier run had answered in batches: nobody knows what they take, or cost, alone."""
    assumed: str = ""
    """Why so many images are left, if the run's rule stops it; "" if all are examined."""
    undefined: dict[str, str] = field(default_factory=dict)


def pilot_of(prepared: Prepared, images: int) -> Prepared:
    """The pilot of a run, as a run.

    Args:
        prepared: The run's settings, checked.
        images: How many images the pilot has, >= 1. Fewer if the run has no more.

    Returns:
        The settings of the pilot, whose folder is the run's with "-pilot-N" behind its name.

    Raises:
        UserError: The run shares no replies, so that nothing of the pilot would be part of it.
    """
    settings = prepared.settings
    if images < 1:
        raise UserError(f"is {images}; give a whole number above 0, such as 20", "pilot")
    if settings.cache is None:
        raise UserError(
            f"keeps its replies for the run in the cache; leave {setting('cache', None)} out, or {setting('pilot')}"
        )
    first = prepared.images[:images]
    own = default_folder(prepared.subject.name) if settings.out is None else Path(settings.out)
    folder = own.with_name(f"{own.name}-pilot-{len(first)}")
    # A pilot is to be known today: its calls go alone, also where those of the run go in batches.
    changed = replace(settings, out=folder, limit=None, until_ci=None, anytime=False, batch=False)
    return replace(prepared, images=first, settings=changed, pilot=True)


def quote_rest(prepared: Prepared, pilot: SavedRun) -> PilotQuote:
    """What the rest of a run will cost and take, by its pilot. Blocks while it reads the images' headers.

    Args:
        prepared: The run's settings, checked.
        pilot: The pilot's run.

    Returns:
        The quote.

    Raises:
        UserError: The pilot has examined no image that can be read.
    """
    alone = replace(prepared, settings=replace(prepared.settings, batch=False))
    quotes = quote_images(alone).known
    kept = {each.image.id: each for each in pilot.examinations}
    seen = [kept[image.id] for image in prepared.images if image.id in kept and image.id in quotes]
    if not seen:
        raise UserError(f"{pilot.folder}: the pilot has examined no image, so nothing can be quoted from it")
    last, assumed = stopping_images(prepared.settings, prepared.images)
    planned = [image.id for image in prepared.images if image.id in quotes][:last]
    rest = [name for name in planned if name not in kept]

    def predicted(value: Callable[[Examination], float], sizes: Callable[[str], float] = lambda _: 1.0) -> RestTotal:
        return rest_total(
            list(map(value, seen)), [sizes(each.image.id) for each in seen], list(map(sizes, rest)),
            seed=prepared.settings.seed,
        )  # fmt: skip

    batched = sum(call.outcome != "failed" and not call.latency_s for each in seen for call in each.calls)
    dollars = predicted(cost_usd, lambda name: quotes[name].expected_nano_usd)
    seconds, held_up_by = _slowest(prepared, predicted)
    if prepared.settings.batch:
        whole = sum(quotes[name].expected_nano_usd for name in rest)
        cheaper = sum(
            known.expected_nano_usd for name, known in quote_images(prepared).known.items() if name in set(rest)
        )
        dollars = _times(dollars, cheaper / whole if whole else 1.0)
        seconds, held_up_by = (
            RestTotal(None, why_undefined="batches take what their vendor takes, up to a day for each of three"),
            "",
        )
    if batched and seconds.total is not None:
        why = (
            f"{format_count(batched, 'call')} of the pilot had come in batches, whose time says nothing of calls alone"
        )
        seconds, held_up_by = RestTotal(None, why_undefined=why), ""
    span_s = sum(map(_span_s, seen)) / len(seen) if rest else 0.0
    ends = seconds.ci and (seconds.ci[0] + span_s, seconds.ci[1] + span_s)
    return PilotQuote(
        images=len(seen),
        failed=sum(each.failure is not None for each in seen),
        spent_usd=pilot.spent_usd,
        cost_usd=sum(map(cost_usd, seen)),
        rest_images=len(rest),
        rest_usd=dollars.total,
        rest_usd_ci=dollars.ci,
        rest_s=None if seconds.total is None else seconds.total + span_s,
        rest_s_ci=ends,
        held_up_by=held_up_by,
        batched=batched,
        assumed=assumed if rest else "",
        undefined={
            name: found.why_undefined
            for name, found in (("rest_usd_ci", dollars), ("rest_s_ci", seconds))
            if found.ci is None
        },
    )


def _times(predicted: RestTotal, share: float) -> RestTotal:
    """What is predicted, at a share of its price."""
    ends = predicted.ci and (share * predicted.ci[0], share * predicted.ci[1])
    return replace(predicted, total=None if predicted.total is None else share * predicted.total, ci=ends)


def cost_usd(examination: Examination) -> float:
    """What an image's calls cost when they were made, in USD: one that the cache answered counts, too.

    Args:
        examination: Of the image.

    Returns:
        USD, >= 0; without attempts that brought no reply.
    """
    return sum(call.cost_usd for call in examination.calls)


def _slowest(prepared: Prepared, predicted: Callable[..., RestTotal]) -> tuple[RestTotal, str]:
    """What holds the run up longest, in seconds, and what that is."""
    slowest, what = RestTotal(None, why_undefined="no image was sampled"), ""
    for profile, calls_of, models in _groups(prepared):
        limits = profile.total_limits
        resources: list[tuple[str, float | None, Callable[[CallRecord], float]]] = [
            ("calls in flight", limits.concurrency, lambda call: call.latency_s),
            ("requests a minute", limits.requests_per_minute, lambda _: 60.0),
            ("tokens a minute", limits.tokens_per_minute, lambda call: 60.0 * (call.input_tokens + call.output_tokens)),
            ("input tokens a minute", limits.input_tokens_per_minute, lambda call: 60.0 * call.input_tokens),
            ("output tokens a minute", limits.output_tokens_per_minute, lambda call: 60.0 * call.output_tokens),
        ]
        for name, limit, value in resources:
            if limit is not None:
                rate = limit * models
                found = predicted(lambda each, v=value, c=calls_of, r=rate: sum(map(v, c(each))) / r)
                if slowest.total is None or (found.total or 0.0) > slowest.total:
                    slowest, what = found, f"{limit:,g} {name} of {profile.name}"
    return slowest, what


def _groups(prepared: Prepared) -> list[tuple[Profile, Callable[[Examination], Sequence[CallRecord]], int]]:
    """(model, its calls about an image, how many models share these). Which of several judges a call was to is not kept."""
    own_judge = not prepared.others

    def of_subject(each: Examination) -> Sequence[CallRecord]:
        return [call for call in each.calls if own_judge or call.role not in JUDGING]

    def of_others(each: Examination) -> Sequence[CallRecord]:
        return [call for call in each.calls if call.role in JUDGING]

    others = list(prepared.others.values())
    return [(prepared.subject, of_subject, 1), *((profile, of_others, len(others)) for profile in others)]


def _span_s(examination: Examination) -> float:
    """How long an image takes at least: the longest call of each of the steps that wait for each other."""
    longest = (max((call.latency_s for call in examination.calls if call.role == role), default=0.0) for role in SPANS)
    return sum(longest)
