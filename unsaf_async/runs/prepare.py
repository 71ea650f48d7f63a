"""Settings, checked and resolved. Nothing here writes a file; an endpoint is asked for its model's name at most."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from unsaf_async.calls.backends.open import open_backend, with_model_found
from unsaf_async.calls.batches.api import VENDORS
from unsaf_async.calls.cost import price_or_error
from unsaf_async.calls.prompt_cache import without_prompt_cache
from unsaf_async.errors import UserError, naming, renaming, setting
from unsaf_async.examine.controls import Wanted
from unsaf_async.examine.extras import ExtraMeasures
from unsaf_async.inputs.opening import sent_size
from unsaf_async.inputs.pixels import encode
from unsaf_async.inputs.policy import ImageError, ImagePolicy
from unsaf_async.inputs.sources import ImageSource, bundled_images, find_images, merged_rows
from unsaf_async.prompts import Pack, load_pack
from unsaf_async.providers.addresses import LOCAL, mark, place
from unsaf_async.providers.keys import check_packages, key_of_profile
from unsaf_async.providers.lifetime import check_cap, today_utc
from unsaf_async.providers.prices import parse_price
from unsaf_async.providers.profile import IN_PROCESS, Profile
from unsaf_async.providers.resolve import money_of, resolve
from unsaf_async.records import Form, GivenQuestion
from unsaf_async.runs.authority import check_images
from unsaf_async.runs.control_settings import both_kinds, check_controls, control_kinds
from unsaf_async.runs.folder import Manifest, RunFiles, Source, judge_named, read_manifest
from unsaf_async.runs.journal import Examinations, Kept
from unsaf_async.runs.readable import why_unreadable
from unsaf_async.runs.saved import SavedRun
from unsaf_async.runs.settings import LONGEST_BATCH_WINDOW_H, MOST_TOGETHER, check_max_side
from unsaf_async.score.calibration import CalibrationFile, read_calibration

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from unsaf_async.records import ControlKind
    from unsaf_async.runs.settings import Settings


_FEW = 3
"""Up to so many images are decoded before a run begins, where it needs that to say that none can be used."""

MOST_SAMPLES = 20
"""Further draws of an answer."""


@dataclass(frozen=True)
class Prepared:
    """Settings, checked and resolved: nothing has been written or sent yet."""

    subject: Profile
    judges: tuple[str, ...]
    """By name; "self" is the subject. () where only the rules judge."""
    auditors: tuple[str, ...]
    others: dict[str, Profile]
    """The judges and auditors that are not the subject, by name."""
    source: Source | None
    """Where the questions are from, if the model does not write them."""
    calibration: CalibrationFile | None
    """What is known of the judge's errors."""
    pack: Pack
    pack_name: str
    """As it was given: a shipped pack's name or a folder."""
    images: tuple[ImageSource, ...]
    settings: Settings
    merged: str = ""
    """What the user is told of rows that are about one picture or about none; "" if there are no such rows."""
    pilot: bool = False
    """Whether it is the pilot of another run."""

    @property
    def judge_name(self) -> str:
        """Who judges, in one word or several."""
        return " + ".join(self.judges) or "rules"

    @property
    def controls(self) -> tuple[ControlKind, ...]:
        """What is shown where questions are asked again as controls."""
        return control_kinds(self.settings.controls)

    @property
    def extras(self) -> ExtraMeasures:
        """What is asked besides the answers."""
        settings = self.settings
        return ExtraMeasures(
            auditors=self.auditors,
            grounded=settings.grounded,
            stated=settings.confidence,
            p_true=settings.confidence and self.subject.takes.logprobs,
            samples=settings.samples,
            controls=Wanted(self.controls, settings.controls_per_image, settings.seed),
            form=settings.question_form,
        )

    def profile(self, name: str) -> Profile:
        """The profile of a judge or an auditor.

        Args:
            name: As in `judges` and `auditors`; "self" is the subject.

        Returns:
            Its profile.
        """
        return self.subject if name == "self" else self.others[name]


async def prepare(settings: Settings, *, offline: bool = False, today: date | None = None) -> Prepared:
    """Settings, checked and resolved. May ask an endpoint for its model's name.

    Args:
        settings: What the user asks for.
        offline: For a plan alone. No endpoint is asked, so a model may stay without its name, and no key is needed.
        today: The day whose prices count; None for the current one.

    Returns:
        What a run needs: profiles, prompts, and the images in a seeded order.

    Raises:
        UserError: Whatever is wrong with the settings.
    """
    check_settings(settings)
    today = today or today_utc()
    price = parse_price(settings.price) if settings.price is not None else None
    subject = resolve(
        settings.provider,
        model=settings.model,
        api_base=settings.api_base,
        price=price,
        rpm=settings.rpm,
        tpm=settings.tpm,
        concurrency=settings.concurrency,
        today=today,
    )
    if settings.batch:
        check_batches(subject)
    if settings.max_side is not None:
        subject = subject.with_max_side(settings.max_side)
    subject = await _ready(subject, offline=offline)
    others: dict[str, Profile] = {}
    named = judge_names(settings.judge, subject) if settings.question_form != "choice" else ()
    judges = await named_models(named, "judge", others, api_base=settings.judge_api_base, offline=offline)
    auditors = await named_models(settings.audit, "audit", others, api_base=settings.audit_api_base, offline=offline)
    if settings.prompt_cache == "off":
        subject, *rest = (without_prompt_cache(each) for each in (subject, *others.values()))
        others = dict(zip(others, rest, strict=True))
    if settings.max_cost is not None:
        check_cap(subject, others.values(), today)
    if settings.grounded and not judges:
        raise UserError(
            f": nobody judges but the rules, which see no image; name a model with {setting('judge')}", field="grounded"
        )
    pack_name = subject.prompts if settings.prompts is None else settings.prompts
    with naming("prompts"):
        pack = load_pack(pack_name, form=settings.question_form)
    if settings.judge_together > 1:
        pack = judging_together(pack, judges)
    given = settings.questions_from is not None or settings.data is not None
    if why := await asyncio.to_thread(why_unreadable, subject, pack, None if given else settings.questions):
        raise UserError(f"{pack_name}: {why}; give prompts that are shorter, or another model", field="prompts")
    notes: list[str] = []
    images, source = await asyncio.to_thread(_images, settings, subject, notes, trust=settings.trust_folder or offline)
    if source and pack.form != "open" and any(not each.options for image in images for each in image.given):
        raise UserError(
            f"is {pack.form}, and questions that are given have no options; give {setting('question_form', 'open')}, or "
            f"{setting('questions_from')} a run whose model wrote some",
            field="question_form",
        )
    merged = "" if source else "; ".join((*notes, *filter(None, (merged_rows(images),))))
    # A seeded order: a run that ends early (cap, limit, interval) has seen a random sample, not the head of an alphabet.
    random.Random(settings.seed).shuffle(images)
    images = images[: settings.limit] if settings.limit else images
    kinds = control_kinds(settings.controls)
    check_controls(kinds, settings.controls_per_image, images=len(images), labelled=settings.data is not None)
    # In full, so that a run can be resumed from anywhere.
    images = [image if image.is_object else replace(image, path=image.path.absolute()) for image in images]
    await asyncio.to_thread(_check_readable, images, policy_of(subject))
    prepared = Prepared(
        subject, judges, auditors, others, source, None, pack, pack_name, tuple(images), settings, merged
    )
    judge = judge_named(subject, judges)
    return replace(
        prepared, calibration=calibration_for(settings.judge_calibration, judge, pack, settings.judge_together)
    )


def judging_together(pack: Pack, judges: Sequence[str]) -> Pack:
    """A pack with its prompt for several responses.

    Args:
        pack: The prompts.
        judges: Who judges by them.

    Returns:
        The pack as it judges several responses in one call.

    Raises:
        UserError: It has no such prompt, or nobody judges by it.
    """
    if not judges:
        raise UserError(
            f": nobody judges but the rules, which make no calls; name a model with {setting('judge')}, or leave it out",
            field="judge_together",
        )
    return pack.judging_together()


def check_batches(subject: Profile) -> None:
    """Checks that a model's vendor sells batches.

    Args:
        subject: The measured model's profile.

    Raises:
        UserError: It does not, or they are not spoken.
    """
    if subject.in_batches is None:
        *first, last = VENDORS.values()
        works = f"it works with {', '.join(first)} and {last}, each at its own address"
        raise UserError(f"cannot be: {_no_batches(subject)}; {works}; leave it out", "batch")


def _no_batches(subject: Profile) -> str:
    """Why a model's calls go in no batches."""
    name = subject.name
    if subject.replicas:
        return f"{name} is called at several addresses"
    if subject.backend in ("tiny", "scripted"):
        return f"{name} runs in this process"
    if mark(subject) == LOCAL or (subject.vendor == "" and subject.backend == "openai"):
        return f"{name} is on a server of yours, which takes no less for a batch"
    way = "Azure" if subject.backend == "azure" else "another vendor or a gateway"
    return f"{name} is called by way of {way}, whose batches are not spoken"


def _check_readable(images: Sequence[ImageSource], policy: ImagePolicy) -> None:
    """Raises UserError if none of the images can be read. Reads headers, up to the first good one; of few, all of the file."""
    read = encode if len(images) <= _FEW else sent_size
    for image in images:
        with suppress(ImageError):
            read(image.place, policy)
            return
    if images:
        try:
            encode(images[0].place, policy)
        except ImageError as error:
            which = (
                images[0].id if len(images) == 1 else f"none of {len(images)} can be used; the first, {images[0].id}"
            )
            raise UserError(f": {which}: {error}; give other images", field="images") from None


def calibration_for(file: Path | str | None, judge: str, pack: Pack, together: int) -> CalibrationFile | None:
    """What is known of a judge's errors.

    Args:
        file: What `judge calibrate` wrote; None: nothing is known.
        judge: The judge's name, as `judge_named` has it.
        pack: The prompts it judges by.
        together: About how many responses of an image it is asked in one call, at most.

    Returns:
        The calibration; None without a file.

    Raises:
        UserError: It cannot be read, or is of another judge or another judging prompt.
    """
    if file is None:
        return None
    with naming("judge_calibration"):
        calibration = read_calibration(Path(file))
    if calibration.judge != judge:
        raise UserError(
            f"{file}: is of {calibration.judge}, and this run's judge is {judge}; calibrate that one",
            field="judge_calibration",
        )
    if calibration.judge_together != together:
        raise UserError(
            f"{file}: is of {setting('judge_together')} {calibration.judge_together}, and this run has {together}; calibrate "
            "the judge in the same way",
            field="judge_calibration",
        )
    if calibration.prompt_sha256 != pack.judging_sha256:
        raise UserError(
            f"{file}: was made with another judging prompt; calibrate the judge again", field="judge_calibration"
        )
    return calibration


def _images(
    settings: Settings, subject: Profile, notes: list[str], *, trust: bool
) -> tuple[list[ImageSource], Source | None]:
    """The images with their questions, and where these are from if the model does not write them.

    notes: gets what is to be told. trust: another run's images wherever they lie.
    """
    if settings.data is not None:
        from unsaf_async.inputs.datasets import read_labelled

        if len(settings.image_paths) > 1:
            raise UserError(
                ": several are given; give the one folder that the labelled set's images lie in", field="images"
            )
        folder = Path(settings.image_paths[0]) if settings.image_paths else None
        dataset = read_labelled(Path(settings.data), settings.data_format, folder)
        labelled = [ImageSource(each.id, each.path, given=each.questions, part=each.part) for each in dataset.images]
        path = str(Path(settings.data).absolute())
        return labelled, Source(
            kind="labelled",
            name=dataset.name,
            path=path,
            format=dataset.format,
            yes_no=dataset.yes_no,
            skipped=dataset.skipped,
        )
    if settings.questions_from is not None:
        if settings.image_paths:
            raise UserError(
                f": the images are those of {setting('questions_from')}; leave one of them out", field="images"
            )
        with naming("questions_from"):
            return questions_of(Path(settings.questions_from), trust=trust)
    return find_images(settings.image_paths, notes) if settings.image_paths else bundled_images(subject.images), None


def questions_of(run: Path, *, trust: bool = False) -> tuple[list[ImageSource], Source]:
    """The images of another run that have questions, with these questions.

    Args:
        run: The other run's folder.
        trust: Whether its images may lie anywhere, even without a digest.

    Returns:
        (images, source): at least one image, and where the questions are from.

    Raises:
        UserError: The folder holds no run, or the run has asked no question.
        UntrustedFolder: An image without a digest lies outside the folder, which is not trusted.
    """
    manifest = read_manifest(run)
    images = []
    for examination in Examinations(Kept(RunFiles(run).journal)):
        given = tuple(
            each.given or GivenQuestion(text=each.text, intended=each.intended, kind=each.kind, options=each.options)
            for each in examination.questions
        )
        if given:
            image = examination.image
            images.append(
                ImageSource(image.id, Path(image.path), image.metadata, given, image.bytes_sha256, image.part)
            )
    if not images:
        raise UserError(f"{run}: holds no questions; give the folder of a run that has asked some")
    listed = SavedRun(run).objects if any(image.is_object for image in images) else ()
    # A journal is not signed.
    check_images(run, [image for image in images if image.address not in listed], trust=trust)
    source = Source(kind="run", name=manifest.subject.name, path=str(run.absolute()), run_id=manifest.run_id)
    return images, source


async def _ready(profile: Profile, *, offline: bool) -> Profile:
    """`profile` with its model's name, once its price and its key are there."""
    price_or_error(profile)
    if profile.backend in IN_PROCESS:  # what its file says of it is checked where it is opened
        await (await open_backend(profile)).aclose()
    if offline:
        return profile
    check_packages(profile)
    key_of_profile(profile)
    return await with_model_found(profile)


async def asking_more(
    manifest: Manifest,
    audit: Sequence[str],
    *,
    audit_api_base: str | Sequence[str] | None = None,
    grounded: bool,
    confidence: bool,
    samples: int,
    controls: str | Sequence[str] = (),
    controls_per_image: int = 1,
) -> Manifest:
    """A run's manifest with more to be asked about every answer. What was asked for before stays.

    Args:
        manifest: The run's.
        audit: Further auditors' names.
        audit_api_base: Their base URL, or those of several servers; None for each one's own.
        grounded: Whether the judge, seeing the image, says if answers are borne out.
        confidence: Whether the model is asked how sure it is of each answer.
        samples: Further draws of each answer, 0 to `MOST_SAMPLES`; what the run has already counts.
        controls: Further kinds of controls, as `control_kinds` takes them.
        controls_per_image: How many of each kind, 1 to `control_settings.MOST_CONTROLS`; what the run has already counts.

    Returns:
        The new manifest.

    Raises:
        UserError: As `prepare`.
    """
    if not 0 <= samples <= MOST_SAMPLES:
        raise UserError(f"is {samples}; give a whole number from 0 to {MOST_SAMPLES}", field="samples")
    kinds = both_kinds(manifest.controls, control_kinds(controls))
    labelled = manifest.source is not None and manifest.source.kind == "labelled"
    check_controls(kinds if controls else (), controls_per_image, images=manifest.images, labelled=labelled)
    check_form(manifest.form, grounded=grounded, confidence=confidence, samples=samples > 0, controls=bool(controls))
    if grounded and not manifest.judges:
        raise UserError(
            f": nobody judged but the rules, which see no image; start a run with {setting('judge', 'NAME')}",
            field="grounded",
        )
    called = {*manifest.judges, *manifest.auditors}  # of all others the user's profile counts, not the folder's
    others = {name: profile for name, profile in manifest.others.items() if name in called}
    auditors = await named_models(audit, "audit", others, api_base=audit_api_base)
    if manifest.prompt_cache == "off":
        others = {name: without_prompt_cache(profile) for name, profile in others.items()}
    return manifest.model_copy(
        update={
            "auditors": tuple(dict.fromkeys((*manifest.auditors, *auditors))),
            "grounded": manifest.grounded or grounded,
            "confidence": manifest.confidence or confidence,
            "samples": max(manifest.samples, samples),
            "controls": kinds,
            "controls_per_image": max(manifest.controls_per_image, controls_per_image),
            "others": others,
        }
    )


def judge_names(given: str | Sequence[str] | None, subject: Profile) -> tuple[str, ...]:
    """The judges that a user names.

    Args:
        given: One name or several; None: as the subject's profile says.
        subject: The measured model's profile.

    Returns:
        The names; () for "rules" alone.

    Raises:
        UserError: "rules" is given with others. The rules come before every judge.
    """
    names = (subject.judge,) if given is None else (given,) if isinstance(given, str) else tuple(given)
    if names in ((), ("rules",)):
        return ()
    if "rules" in names:
        raise UserError(
            f"{setting('judge', 'rules')}: the rules come before every judge; leave it out where others are named"
        )
    return names


async def named_models(
    names: Sequence[str],
    field: str,
    others: dict[str, Profile],
    *,
    api_base: str | Sequence[str] | None = None,
    offline: bool = False,
) -> tuple[str, ...]:
    """The models that a user names, by the names of their profiles.

    Args:
        names: Names, aliases or litellm ids; "self" is the subject.
        field: The setting that names them.
        others: Profiles by name. Those of the named models are added.
        api_base: Their base URL, or those of several servers that all serve them; None for each one's own.
        offline: As for `prepare`.

    Returns:
        The profiles' names, in order.

    Raises:
        UserError: A model is unknown, cannot be called, is named twice, be it by an alias, or has two addresses.
    """
    profiles: list[str] = []
    if api_base is not None and set(names) <= {"self"}:
        raise UserError(f": is nobody's address; name a model with {setting(field)}", field=f"{field}_api_base")
    for given in names:
        name = given
        if given != "self":
            profile = await _other(given, field, api_base, offline=offline)
            name = profile.name
            # What is known of a model stays; its price may have changed since.
            others[name] = others.get(name, profile).model_copy(update=money_of(profile))
            if others[name].places != profile.places:
                raise UserError(
                    f"{given}: is called {place(others[name])} already, and here {place(profile)}; give one address",
                    field=field,
                )
        if name in profiles:
            raise UserError(f"{given}: is given twice; name each model once", field=field)
        profiles.append(name)
    return tuple(profiles)


async def _other(name: str, field: str, api_base: str | Sequence[str] | None, *, offline: bool) -> Profile:
    """The profile of a judge or an auditor. Errors are about `field`."""
    with renaming({"provider": field, "api_base": f"{field}_api_base"}):
        profile = resolve(name, api_base=api_base)
        if profile.price is None:  # `price` is the measured model's
            raise UserError(f"{name}: no price is known; give it in a file in ./providers", field="provider")
        return await _ready(profile, offline=offline)


def check_settings(settings: Settings) -> None:
    """Checks the numbers of a run's settings, and that its cache is one.

    Args:
        settings: Of the run.

    Raises:
        UserError: A number is out of its range, or two settings contradict each other.
    """

    def positive(field: str, value: float | None, what: str = "a number above 0") -> None:
        if value is not None and not 0 < value < float("inf"):
            raise UserError(f"is {value:g}; give {what}", field=field)

    positive("questions", settings.questions, "a whole number from 1 to 50")
    if settings.questions > 50:
        raise UserError(f"is {settings.questions}; give a whole number from 1 to 50", field="questions")
    check_together(settings.judge_together)
    positive("limit", settings.limit, "a whole number above 0")
    check_max_side(settings.max_side, "max_side")
    check_controls(
        control_kinds(settings.controls), settings.controls_per_image, images=2, labelled=settings.data is not None
    )
    if settings.controls_per_image > 1 and not settings.controls:
        raise UserError(f": is about controls; give {setting('controls', 'KINDS')}, too", field="controls_per_image")
    if not 0 <= settings.samples <= MOST_SAMPLES:
        raise UserError(f"is {settings.samples}; give a whole number from 0 to {MOST_SAMPLES}", field="samples")
    check_form(
        settings.question_form,
        judge=settings.judge is not None,
        judge_calibration=settings.judge_calibration is not None,
        judge_together=settings.judge_together > 1,
        grounded=settings.grounded,
        confidence=settings.confidence,
        samples=settings.samples > 0,
        controls=bool(control_kinds(settings.controls)),
    )
    if settings.data is not None and settings.questions_from is not None:
        raise UserError(f"{setting('data')} and {setting('questions_from')} contradict each other; give one of them")
    positive("max_cost", settings.max_cost, "an amount in USD above 0")
    positive("until_ci", settings.until_ci, "a half-width between 0 and 0.5, such as 0.02")
    if settings.until_ci is not None and settings.until_ci >= 0.5:
        raise UserError(
            f"is {settings.until_ci:g}; give a half-width between 0 and 0.5, such as 0.02", field="until_ci"
        )
    if settings.anytime and settings.until_ci is None:
        raise UserError(f"is about when a run stops; give {setting('until_ci')} too, such as 0.02", field="anytime")
    positive("batch_window", settings.batch_window, "hours above 0")
    if settings.batch_window > LONGEST_BATCH_WINDOW_H:
        raise UserError(f"is {settings.batch_window:g}; give at most {LONGEST_BATCH_WINDOW_H:g} hours", "batch_window")
    if not 0 <= settings.seed < 2**31:
        raise UserError(f"is {settings.seed}; give a whole number from 0 to 2147483647", field="seed")
    if settings.cache is not None:
        check_cache(Path(settings.cache))


def check_together(responses: int) -> None:
    """Checks how many responses are to be judged in one call.

    Args:
        responses: As given.

    Raises:
        UserError: It is out of its range.
    """
    if not 1 <= responses <= MOST_TOGETHER:
        raise UserError(f"is {responses}; give a whole number from 1 to {MOST_TOGETHER}", field="judge_together")


def check_form(form: Form, **asked: bool) -> None:
    """Checks that nothing is asked about answers in free words where there are none.

    Args:
        form: How questions are put.
        **asked: Whether the setting of that name asks something about answers in free words.

    Raises:
        UserError: One does, and answers are options.
    """
    if form != "choice":
        return
    for field, wanted in asked.items():
        if wanted:
            raise UserError(
                ": is about answers in free words, and these are options; give "
                f"{setting('question_form', 'both')}, or leave it out",
                field=field,
            )


def check_cache(folder: Path) -> None:
    """Checks that a folder holds replies, or may: a cache is made private, and other files must not be.

    Args:
        folder: An existing folder, or a new one's path.

    Raises:
        UserError: It cannot be read, or holds other files.
    """
    try:
        names = {entry.name for entry in folder.iterdir()}
    except FileNotFoundError:
        return
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be used as a cache ({error.strerror}); give another folder or {setting('cache', None)}",
            field="cache",
        ) from None
    if "cache.db" not in names and (foreign := names - {"README.md", ".gitignore"}):
        raise UserError(
            f"{folder}: holds other files, such as {min(foreign)}; give an empty folder or a new one", field="cache"
        )


def policy_of(profile: Profile) -> ImagePolicy:
    """How images are encoded for a model.

    Args:
        profile: The model's.

    Returns:
        The limits of sides, pixels and bytes that its profile states.
    """
    rules = profile.image
    return ImagePolicy(
        max_side_px=rules.max_side_px,
        max_pixels=rules.max_pixels,
        max_bytes=rules.max_bytes,
        min_side_px=rules.min_side_px,
        max_aspect=rules.max_aspect,
    )
