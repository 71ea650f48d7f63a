"""What a user asks for, checked and resolved. Nothing here writes a file; an endpoint is asked for its model's name at most."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from unsaf_async.errors import UserError
from unsaf_async.images import ImagePolicy
from unsaf_async.inputs import ImageSource, bundled_images, find_images
from unsaf_async.keys import key_of_profile
from unsaf_async.models import open_backend, price_or_error, with_model_found
from unsaf_async.packs import Pack, load_pack
from unsaf_async.prices import parse_price
from unsaf_async.profiles import IN_PROCESS, Profile, resolve

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Settings:
    """What a user asks for. The fields are the options of `unsaf-async run`, with their units and defaults."""

    provider: str
    images: Sequence[str | Path] = ()
    """Folders, files, globs, manifests; none: the shipped ones that the provider's profile names."""
    judge: str | None = None
    """"self", "rules", or another provider's name; None: as the provider's profile says."""
    questions: int = 6
    limit: int | None = None
    seed: int = 0
    max_cost: float | None = None
    """USD; None: no cap."""
    price: str | None = None
    """USD per million tokens, "IN,OUT"."""
    rpm: float | None = None
    tpm: float | None = None
    concurrency: int | None = None
    api_base: str | None = None
    model: str | None = None
    prompts: str | None = None
    """None: the pack that the provider's profile names."""
    out: Path | None = None
    cache: Path | None = Path("cache")
    """None: nothing shared between runs; the run still keeps its own replies, in its folder."""
    until_ci: float | None = None


@dataclass(frozen=True)
class Prepared:
    """Settings, checked and resolved: nothing has been written or sent yet."""

    subject: Profile
    judge: Profile | None
    judge_name: str
    pack: Pack
    pack_name: str
    """As it was given: a shipped pack's name or a folder."""
    images: tuple[ImageSource, ...]
    settings: Settings


async def prepare(settings: Settings, *, offline: bool = False) -> Prepared:
    """`settings`, checked. Raises UserError for whatever is wrong with them. May ask an endpoint for its model's name.

    offline: for a plan alone. No endpoint is asked, so a model may stay without its name, and no key is needed.
    """
    _check(settings)
    price = parse_price(settings.price) if settings.price is not None else None
    subject = resolve(
        settings.provider,
        model=settings.model,
        api_base=settings.api_base,
        price=price,
        rpm=settings.rpm,
        tpm=settings.tpm,
        concurrency=settings.concurrency,
    )
    subject = await _ready(subject, offline=offline)
    judge: Profile | None = subject
    judge_name = subject.judge if settings.judge is None else settings.judge
    if judge_name == "rules":
        judge = None
    elif judge_name != "self":
        judge = await _judge(judge_name, offline=offline)
    pack_name = subject.prompts if settings.prompts is None else settings.prompts
    pack = load_pack(pack_name)
    images = find_images(settings.images) if settings.images else bundled_images(subject.images)
    # A seeded order: a run that ends early (cap, limit, interval) has seen a random sample, not the head of an alphabet.
    random.Random(settings.seed).shuffle(images)
    images = images[: settings.limit] if settings.limit else images
    # In full, so that a run can be resumed from anywhere.
    images = [replace(image, path=image.path.absolute()) for image in images]
    return Prepared(subject, judge, judge_name, pack, pack_name, tuple(images), settings)


async def _ready(profile: Profile, *, offline: bool) -> Profile:
    """`profile` with its model's name, once its price and its key are there."""
    price_or_error(profile)
    if profile.backend in IN_PROCESS:  # what its file says of it is checked where it is opened
        await (await open_backend(profile)).aclose()
    if offline:
        return profile
    key_of_profile(profile)
    return await with_model_found(profile)


async def _judge(name: str, *, offline: bool) -> Profile:
    """The profile of another model as judge. What is wrong with it is said of --judge."""
    try:
        profile = resolve(name)
        if profile.price is None:  # --price is the measured model's
            raise UserError(f"--provider {name}: no price is known; give it in a file in ./providers")
        return await _ready(profile, offline=offline)
    except UserError as error:
        raise UserError(str(error).replace("--provider", "--judge", 1)) from None


def _check(settings: Settings) -> None:
    def positive(option: str, value: float | None, what: str = "a number above 0") -> None:
        if value is not None and not 0 < value < float("inf"):
            raise UserError(f"{option} is {value:g}; give {what}")

    positive("--questions", settings.questions, "a whole number from 1 to 50")
    if settings.questions > 50:
        raise UserError(f"--questions is {settings.questions}; give a whole number from 1 to 50")
    positive("--limit", settings.limit, "a whole number above 0")
    positive("--max-cost", settings.max_cost, "an amount in USD above 0")
    positive("--until-ci", settings.until_ci, "a half-width between 0 and 0.5, such as 0.02")
    if settings.until_ci is not None and settings.until_ci >= 0.5:
        raise UserError(f"--until-ci is {settings.until_ci:g}; give a half-width between 0 and 0.5, such as 0.02")
    if not 0 <= settings.seed < 2**31:
        raise UserError(f"--seed is {settings.seed}; give a whole number from 0 to 2147483647")
    if settings.cache is not None:
        check_cache(settings.cache)


def check_cache(folder: Path) -> None:
    """Raises UserError unless `folder` holds replies, or may: a cache is made private, and other files must not be."""
    try:
        names = {entry.name for entry in folder.iterdir()}
    except FileNotFoundError:
        return
    except OSError as error:
        raise UserError(
            f"--cache {folder}: cannot be used as a cache ({error.strerror}); give another folder or --no-cache"
        ) from None
    if "cache.db" not in names and (foreign := names - {"README.md", ".gitignore"}):
        raise UserError(
            f"--cache {folder}: holds other files, such as {min(foreign)}; give an empty folder or a new one"
        )


def policy_of(profile: Profile) -> ImagePolicy:
    rules = profile.image
    return ImagePolicy(max_side_px=rules.max_side_px, max_pixels=rules.max_pixels, max_bytes=rules.max_bytes)
