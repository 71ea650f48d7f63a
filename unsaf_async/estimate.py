"""What a run will cost, before anything is sent."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

from unsaf_async.budget import NANO
from unsaf_async.calls import Caller
from unsaf_async.images import ImageError, sent_size
from unsaf_async.journal import read_journal
from unsaf_async.meter import Meter
from unsaf_async.models import price_or_error
from unsaf_async.packs import load_pack
from unsaf_async.plan import Planner, Priced
from unsaf_async.settings import Prepared, policy_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from unsaf_async.plan import Quote
    from unsaf_async.profiles import Profile
    from unsaf_async.records import Given, Question
    from unsaf_async.runs import Manifest, RunFolder


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
    settings, policy = prepared.settings, policy_of(prepared.subject)
    priced = _priced(prepared.profile, settings.questions, settings.seed)
    planner = Planner.of(priced, prepared.judges, prepared.pack, settings.questions, prepared.wanted)
    own, given = cache(planner.quote), cache(planner.quote_given)  # many images are of one size
    quotes = []
    for image in prepared.images:
        try:
            size = sent_size(image.path, policy)
        except ImageError:
            continue
        quotes.append(given(*size, *number_given(image.given)) if prepared.source else own(*size))
    return _added(quotes, len(prepared.images), unreadable=len(prepared.images) - len(quotes))


def number_given(questions: Sequence[Given | Question]) -> tuple[int, int]:
    """How many of the questions are meant to be answerable, and how many are not."""
    answerable = sum(each.intended == "answerable" for each in questions)
    return answerable, len(questions) - answerable


def estimate_beside(folder: RunFolder, manifest: Manifest) -> Estimate:
    """What it will cost to ask what `manifest` wants beside the answers that the run at `folder` holds; sends nothing.

    What is there already, and is not paid again, is not counted.
    """
    before, wanted = folder.manifest.wanted, manifest.wanted
    new = replace(
        wanted,
        auditors=tuple(name for name in wanted.auditors if name not in before.auditors),
        grounded=wanted.grounded and not before.grounded,
        stated=wanted.stated and not before.stated,
        p_true=wanted.p_true and not before.p_true,
        samples=max(0, wanted.samples - before.samples),
    )
    priced = _priced(manifest.profile, manifest.questions, manifest.seed)
    planner = Planner.of(priced, manifest.judges, load_pack(manifest.pack), manifest.questions, new)
    quote = cache(planner.quote_beside)
    quotes = [
        quote(image.width, image.height, *number_given(examination.questions))
        for examination in read_journal(folder.journal_file).values()
        if (image := examination.image).width and image.height
    ]
    return _added(quotes, len(quotes), unreadable=0)


def _added(quotes: Sequence[Quote], images: int, *, unreadable: int) -> Estimate:
    return Estimate(
        images=images,
        unreadable=unreadable,
        calls=sum(quote.calls for quote in quotes),
        expected_usd=sum(quote.expected_nano_usd for quote in quotes) / NANO,
        worst_usd=sum(quote.worst_nano_usd for quote in quotes) / NANO,
        per_image_worst_usd=max((quote.worst_nano_usd for quote in quotes), default=0) / NANO,
    )


def _priced(profile: Callable[[str], Profile], questions: int, seed: int) -> Callable[[str], Priced]:
    """The model with a name, with its prices. profile: the profile with that name."""

    def priced(name: str) -> Priced:
        found = profile(name)
        return Priced(Caller(found, questions, seed), Meter(found, price_or_error(found)))

    return priced
