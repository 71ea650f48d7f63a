"""What a run will cost, before anything is sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from unsaf_async.budget import NANO
from unsaf_async.calls import Caller
from unsaf_async.images import ImageError, sent_size
from unsaf_async.meter import Meter
from unsaf_async.models import price_or_error
from unsaf_async.plan import Planner, Priced
from unsaf_async.settings import Prepared, policy_of

if TYPE_CHECKING:
    from unsaf_async.profiles import Profile


@dataclass(frozen=True)
class Estimate:
    """What a run will cost. expected_usd: a planning figure. worst_usd: no run costs more, failed attempts aside.

    per_image_worst_usd: the most that one image needs to be begun. unreadable: images that cannot be opened.
    """

    images: int
    unreadable: int
    calls: int
    expected_usd: float
    worst_usd: float
    per_image_worst_usd: float


def estimate(prepared: Prepared) -> Estimate:
    """What the run will cost, from the images' sizes and the prices; sends nothing. Blocks while it reads the headers."""
    planner = _planner(prepared)
    policy = policy_of(prepared.subject)
    sizes: dict[tuple[int, int], int] = {}
    unreadable = 0
    for image in prepared.images:
        try:
            size = sent_size(image.path, policy)
        except ImageError:
            unreadable += 1
            continue
        sizes[size] = sizes.get(size, 0) + 1
    quotes = {size: planner.quote(*size) for size in sizes}
    return Estimate(
        images=len(prepared.images),
        unreadable=unreadable,
        calls=sum(number * quotes[size].calls for size, number in sizes.items()),
        expected_usd=sum(number * quotes[size].expected_nano_usd for size, number in sizes.items()) / NANO,
        worst_usd=sum(number * quotes[size].worst_nano_usd for size, number in sizes.items()) / NANO,
        per_image_worst_usd=max((quote.worst_nano_usd for quote in quotes.values()), default=0) / NANO,
    )


def _planner(prepared: Prepared) -> Planner:
    def priced(profile: Profile) -> Priced:
        caller = Caller(profile, prepared.settings.questions, prepared.settings.seed)
        return Priced(caller, Meter(profile, price_or_error(profile)))

    judge = priced(prepared.judge) if prepared.judge else None
    return Planner(priced(prepared.subject), judge, prepared.pack, prepared.settings.questions)
