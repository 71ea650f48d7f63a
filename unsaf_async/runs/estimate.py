"""What a run will cost, before anything is sent."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache, partial
from math import ceil
from typing import TYPE_CHECKING, Protocol

from unsaf_async.calls.budget import NANO
from unsaf_async.calls.cost import CostModel, price_or_error
from unsaf_async.calls.ledger import read_account
from unsaf_async.calls.prompt_cache import shared_tokens
from unsaf_async.calls.request import RequestBuilder
from unsaf_async.errors import UserError
from unsaf_async.examine.examiner import is_unfinished
from unsaf_async.inputs.opening import sent_size
from unsaf_async.inputs.policy import ImageError
from unsaf_async.runs.journal import Kept
from unsaf_async.runs.prepare import Prepared, policy_of
from unsaf_async.runs.quote import Planner, Priced, quote_verdicts
from unsaf_async.runs.rejudger import answers_alone
from unsaf_async.runs.saved import answers_of, pack_of
from unsaf_async.runs.stopping import rule_of
from unsaf_async.score.spread import Spread

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from unsaf_async.inputs.sources import ImageSource
    from unsaf_async.providers.profile import Profile
    from unsaf_async.records import GivenQuestion
    from unsaf_async.runs.folder import Manifest, RunFiles
    from unsaf_async.runs.quote import Quote
    from unsaf_async.runs.settings import Settings


@dataclass(frozen=True)
class Estimate:
    """What a run will cost. expected_usd: a planning figure. worst_usd: no run costs more, failed attempts aside.

    per_image_worst_usd: the most that one image needs to be begun. unreadable: images that cannot be
    opened, or that the model refuses. failures: (id, reason) of each.
    prompt_cache_saves_usd: what the provider's cache of prompts is expected to take off, which expected_usd lacks already.
    prompt_cache: why it takes nothing off for some images, in words; "" where there is nothing to say.
    until_ci_images: how many images the rule that stops the run is expected to take, by the rates in assumed; None: no rule.
    calls and expected_usd are of so many, worst_usd is of all.
    """

    images: int
    unreadable: int
    calls: int
    expected_usd: float
    worst_usd: float
    per_image_worst_usd: float
    until_ci_images: int | None = None
    assumed: str = ""
    failures: tuple[tuple[str, str], ...] = ()
    prompt_cache_saves_usd: float = 0.0
    prompt_cache: str = ""


def estimate(prepared: Prepared) -> Estimate:
    """What a run will cost, from the images' sizes and the prices. Sends nothing; blocks while it reads the images' headers.

    Args:
        prepared: The settings, checked.

    Returns:
        The estimate.
    """
    quotes = quote_images(prepared)
    added = _added(list(quotes.known.values()), len(prepared.images), unreadable=len(quotes.failures))
    return replace(
        _stopped(added, prepared.settings, prepared.images),
        failures=tuple(sorted(quotes.failures)),
        prompt_cache=_too_short(prepared.subject, quotes.sizes),
    )


@dataclass(frozen=True)
class Quotes:
    """What each image of a run costs by its size, before it is examined."""

    known: dict[str, Quote]
    """By the image's id."""
    failures: list[tuple[str, str]]
    """(id, reason) of images that cannot be opened, or that the model refuses."""
    sizes: list[tuple[int, int]] = field(default_factory=list)
    """Width and height in pixels, as sent, of those that can."""


def quote_images(prepared: Prepared) -> Quotes:
    """The quote of each image, from its size and the prices. Blocks while it reads the images' headers.

    Args:
        prepared: The settings, checked.

    Returns:
        The quotes of all images that can be opened, and why the others cannot.
    """
    policy, batch = policy_of(prepared.subject), prepared.settings.batch
    planner, alone = _planner(prepared, batch=batch), _planner(prepared, batch=False)

    def quoted(width: int, height: int, given: Sequence[GivenQuestion] | None = None) -> Quote:
        """At worst every call goes alone, at full price: a batch may leave it open."""
        one, other = (
            each.quote(width, height) if given is None else each.quote_given(width, height, given)
            for each in (planner, alone)
        )
        return replace(one, worst_nano_usd=other.worst_nano_usd)

    own = cache(quoted)  # many images are of one size
    quotes, failures, sizes = {}, [], []
    for image in sorted(prepared.images, key=_lies_at):  # the parts of one file in turn: its tables are read in groups
        try:
            size = sent_size(image.place, policy)
        except ImageError as error:
            failures.append((image.id, str(error)))
            continue
        sizes.append(size)
        quotes[image.id] = quoted(*size, image.given) if prepared.source else own(*size)
    return Quotes(quotes, failures, sizes)


def _too_short(profile: Profile, sizes: Sequence[tuple[int, int]]) -> str:
    """Of how many images the beginnings that calls share are too short for the provider's cache of prompts; "" if of none."""
    floor = profile.prompt_cache.min_tokens
    if (
        profile.prompt_cache.kind == "none"
        or floor is None
        or not profile.price
        or not profile.price.input_usd_per_mtok
    ):
        return ""
    lengths = [shared_tokens(profile, *size) for size in sizes]
    short = [length for length in lengths if length < floor]
    if not short:
        return ""
    of = "" if len(short) == len(lengths) else f" of {len(short)} of {len(lengths)} images"
    return f"the shared prefix{of} has about {max(short):,} tokens, {profile.name} caches from {floor:,} on"


def _planner(prepared: Prepared, *, batch: bool) -> Planner:
    """batch: at the prices of batches, for models whose vendors sell some."""
    settings = prepared.settings

    def profile(name: str) -> Profile:
        whole = prepared.profile(name)
        return (whole.in_batches if batch else None) or whole

    priced = _priced(profile, settings.questions, settings.seed)
    together = settings.judge_together
    return Planner.of(priced, prepared.judges, prepared.pack, settings.questions, prepared.extras, together=together)


def _stopped(whole: Estimate, settings: Settings, images: Sequence[ImageSource]) -> Estimate:
    """The estimate with the images that the run's rule is expected to take, if it has one."""
    needed, assumed = stopping_images(settings, images)
    if needed is None:
        return whole
    readable = max(1, whole.images - whole.unreadable)
    share = min(1.0, needed / readable)
    return replace(
        whole,
        calls=round(share * whole.calls),
        expected_usd=share * whole.expected_usd,
        prompt_cache_saves_usd=share * whole.prompt_cache_saves_usd,
        until_ci_images=needed,
        assumed=assumed,
    )


def stopping_images(settings: Settings, images: Sequence[ImageSource]) -> tuple[int | None, str]:
    """How many images the rule that stops a run is expected to take, and by which rates.

    Args:
        settings: The run's.
        images: All of them, with their given questions.

    Returns:
        (images, what is assumed in words); (None, "") without a rule.
    """
    rule = rule_of(settings.until_ci, anytime=settings.anytime)
    if rule is None:
        return None, ""
    given = sum(len(image.given) for image in images)
    questions = max(1, round(given / 2 / len(images))) if given else settings.questions
    spread = Spread(questions)
    return rule.expected_images(spread), (
        f"UnF1 about {spread.unf1:g}, {questions} questions of each label an image, responses about one image with the "
        f"correlation {spread.image_correlation:g}"
    )


def check_covers_an_image(prepared: Prepared) -> None:
    """Checks that a run's cap lets an image begin. Blocks while it reads images' headers, up to the first that may.

    Args:
        prepared: The settings, checked.

    Raises:
        UserError: Every image can cost more than the cap.
    """
    settings, policy = prepared.settings, policy_of(prepared.subject)
    if settings.max_cost is None:
        return
    planner = _planner(prepared, batch=False)  # the first image's calls go alone in any case
    own, least = cache(planner.quote), None
    for image in prepared.images:
        try:
            size = sent_size(image.place, policy)
        except ImageError:
            continue
        worst = (planner.quote_given(*size, image.given) if prepared.source else own(*size)).worst_nano_usd
        if worst <= settings.max_cost * NANO:
            return
        least = worst if least is None else min(worst, least)
    if least is not None:
        needed = _rounded_up(least)
        raise UserError(
            f"is {settings.max_cost:g}; one image can cost ${needed:.4f} at worst, so none could begin: give at least that",
            field="max_cost",
        )


class Place(Protocol):
    """Where a run's files lie, and its images: those of an opened folder, or of one that is yet to be made."""

    @property
    def path(self) -> Path:
        """The run's folder."""
        ...

    @property
    def files(self) -> RunFiles:
        """Its files."""
        ...

    @property
    def images(self) -> Sequence[ImageSource]:
        """In the order of admission."""
        ...


def check_covers_more(folder: Place, manifest: Manifest) -> None:
    """Checks that a run's cap, which counts what was spent, lets more be asked about an image.

    Args:
        folder: The run's, opened or yet to be made.
        manifest: What is asked of it now, and its cap.

    Raises:
        UserError: Every image that something is still to be asked about can cost more than what is left; or as `estimate_more`.
    """
    if manifest.max_cost_usd is None:
        return
    spent = read_account(folder.files.ledger).spent_nano_usd
    quotes, _ = _quotes_of_more(folder, manifest)
    least = min((quote.worst_nano_usd for quote in quotes if quote.worst_nano_usd), default=0)
    if least and spent + least > manifest.max_cost_usd * NANO:
        needed = _rounded_up(spent + least)
        raise UserError(
            f"is {manifest.max_cost_usd:g}, and ${spent / NANO:.4f} of it is spent; one image can cost ${least / NANO:.4f} more "
            f"at worst, so none could begin: give at least {needed:.4f}",
            field="max_cost",
        )


def _lies_at(image: ImageSource) -> tuple[str, int]:
    return str(image.path), image.part.start if image.part is not None else 0


def _rounded_up(nano_usd: int) -> float:
    """USD, to the next hundredth of a cent above."""
    return ceil(nano_usd / NANO * 10_000) / 10_000


def estimate_more(folder: Place, manifest: Manifest) -> Estimate:
    """What it will cost to finish a run with all that a manifest asks. Sends nothing; blocks while it reads the images' headers.

    What is there already is not paid again, and not counted; what failed is.

    Args:
        folder: The run's, opened or yet to be made.
        manifest: What is asked of it now.

    Returns:
        The estimate.

    Raises:
        UserError: The prompts have changed since the run began, or a model has no price.
    """
    quotes, unreadable = _quotes_of_more(folder, manifest)
    return _added(quotes, len(folder.images), unreadable=unreadable)


def _quotes_of_more(folder: Place, manifest: Manifest) -> tuple[list[Quote], int]:
    """What is to be asked of each image, and how many cannot be read."""
    priced = _priced(manifest.profile, manifest.questions, manifest.seed)
    if manifest.judged_anew:
        kept, answers = Kept(folder.files.journal), answers_of(folder.path, manifest)
        left = [source.id for source in folder.images if source.id not in kept or is_unfinished(kept[source.id])]
        judges, pack = tuple(map(priced, manifest.judges)), pack_of(folder.path, manifest)
        quoted = partial(quote_verdicts, judges, pack, together=manifest.judge_together)
        begun = kept.in_order(kept.keys() - left)
        anew = map(answers_alone, answers.in_order(left))
        return [
            *(quoted(each.questions, controls=each.questions if manifest.controls else ()) for each in anew),
            *(quoted((), controls=each.questions) for each in begun if manifest.extras.lacks(each)),
        ], 0
    pack, together = pack_of(folder.path, manifest), manifest.judge_together
    planner = Planner.of(priced, manifest.judges, pack, manifest.questions, manifest.extras, together=together)
    policy = policy_of(manifest.subject)
    kept = Kept(folder.files.journal)
    quotes: list[Quote] = []
    unreadable = 0
    for source in folder.images:
        examination = kept.get(source.id)
        if examination is not None and not is_unfinished(examination):
            image = examination.image
            quotes.append(planner.quote_missing(image.width or 1, image.height or 1, examination))
            continue
        try:
            size = sent_size(source.place, policy)
        except ImageError:
            unreadable += 1
            continue
        quotes.append(planner.quote_given(*size, source.given) if manifest.source else planner.quote(*size))
    return quotes, unreadable


def _added(quotes: Sequence[Quote], images: int, *, unreadable: int) -> Estimate:
    return Estimate(
        images=images,
        unreadable=unreadable,
        calls=sum(quote.calls for quote in quotes),
        expected_usd=sum(quote.expected_nano_usd for quote in quotes) / NANO,
        worst_usd=sum(quote.worst_nano_usd for quote in quotes) / NANO,
        per_image_worst_usd=max((quote.worst_nano_usd for quote in quotes), default=0) / NANO,
        prompt_cache_saves_usd=sum(quote.saved_nano_usd for quote in quotes) / NANO,
    )


def _priced(profile: Callable[[str], Profile], questions: int, seed: int) -> Callable[[str], Priced]:
    """The model with a name, with its prices. profile: the profile with that name."""

    def priced(name: str) -> Priced:
        chosen = profile(name)
        return Priced(RequestBuilder(chosen, questions, seed), CostModel(chosen, price_or_error(chosen)))

    return priced
