"""From checked settings to the folder that a run goes into: a new one, or one whose run has the same settings and goes on."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from unsaf_async.calls.disk import open_cache
from unsaf_async.errors import UserError, setting
from unsaf_async.prompts import lasting_name
from unsaf_async.providers.profile import canonical_url
from unsaf_async.runs.authority import authorise
from unsaf_async.runs.control_settings import both_kinds
from unsaf_async.runs.folder import create, images_sha256, new_manifest, reopen
from unsaf_async.runs.listing import exists
from unsaf_async.runs.signature import knows_cache, mark_cache, user_key

if TYPE_CHECKING:
    from unsaf_async.providers.profile import Profile
    from unsaf_async.runs.folder import Manifest, RunFolder
    from unsaf_async.runs.prepare import Prepared


def begin(prepared: Prepared) -> RunFolder:
    """The run's folder: a new one, or the one that `out` names, if it holds a run with these very settings.

    Args:
        prepared: The settings, checked, with everything that they name.

    Returns:
        The folder, opened and locked.

    Raises:
        UserError: The cache cannot be used, or --out holds something else.
    """
    settings = prepared.settings
    if settings.cache is not None:
        cache, key = Path(settings.cache), user_key()
        known = knows_cache(cache, key)
        open_cache(cache).close()  # first, so that a damaged one leaves no run's folder behind
        if known:
            mark_cache(cache, key)
    path = Path(settings.out) if settings.out is not None else default_folder(prepared.subject.name)
    manifest = _manifest_of(prepared)
    if not exists(path):
        return create(path, manifest, prepared.images)
    folder = reopen(path)
    manifest = _in_the_order_of(folder.manifest, manifest)
    try:
        if other := first_difference(folder.manifest, manifest):
            raise UserError(f"{path}: holds a run with {other}; give another folder, or resume that run", field="out")
        authorise(folder, trust=settings.trust_folder, now=manifest)
    except BaseException:
        folder.close()
        raise
    folder.keep_manifest(_merged(folder.manifest, manifest, new_price=settings.price is not None))
    return folder


def difference(before: Manifest, prepared: Prepared) -> tuple[str | None, Manifest]:
    """In what a run that has begun differs from the one that is asked for, so that its folder cannot go on as that.

    Args:
        before: The manifest of the run that has begun.
        prepared: The settings that are asked for now, checked.

    Returns:
        (the first difference in words, or None; the manifest that a run with these settings would have).
    """
    now = _in_the_order_of(before, _manifest_of(prepared))
    return first_difference(before, now), now


def _manifest_of(prepared: Prepared) -> Manifest:
    settings = prepared.settings
    return new_manifest(
        subject=prepared.subject,
        judges=prepared.judges,
        judge_together=settings.judge_together,
        judge_together_sha256=prepared.pack.together_sha256,
        auditors=prepared.auditors,
        grounded=settings.grounded,
        confidence=settings.confidence,
        samples=settings.samples,
        controls=prepared.controls,
        controls_per_image=settings.controls_per_image,
        others=prepared.others,
        source=prepared.source,
        calibration=prepared.calibration,
        pack=lasting_name(prepared.pack_name),
        pack_version=prepared.pack.version,
        pack_sha256=prepared.pack.sha256,
        questions=settings.questions,
        form=settings.question_form,
        seed=settings.seed,
        max_cost_usd=settings.max_cost,
        prompt_cache=settings.prompt_cache,
        until_ci=settings.until_ci,
        anytime=settings.anytime,
        batch=settings.batch,
        batch_window_h=settings.batch_window,
        pilot=prepared.pilot,
        strict_model=settings.strict_model,
        images=len(prepared.images),
        images_sha256=images_sha256(prepared.images),
        cache=str(Path(settings.cache).absolute()) if settings.cache is not None else "",
    )


def first_difference(before: Manifest, now: Manifest) -> str | None:
    """The first thing in which two runs differ so that their results cannot be one.

    What steers the result may not change between two sessions; what steers speed and money may.

    Args:
        before: The manifest of the run that has begun.
        now: That of the run that is asked for.

    Returns:
        The difference in words; None if there is none.
    """
    if (before.subject.model, before.subject.endpoint) != (now.subject.model, now.subject.endpoint):
        there, here = (", ".join(each.subject.endpoints) or "its vendor's address" for each in (before, now))
        if before.subject.model == now.subject.model and before.subject.places & now.subject.places:
            first = before.subject.endpoint
            return f"{before.subject.name} at {there}; give {first} as well, in any order (it is left out where it is dead)"
        of_one = before.subject.model == now.subject.model
        at = f" at {there}, not {here}" if of_one else f" at {there}" if before.subject.endpoint else ""
        return f"another model, {before.subject.name} ({before.subject.model}){at}"
    if before.subject.extra.get("files_sha256") != now.subject.extra.get("files_sha256"):
        return f"other weights of {before.subject.model}"
    if before.subject.image.max_side_px != now.subject.image.max_side_px:
        return (
            f"images of at most {before.subject.image.max_side_px} pixels a side, not {now.subject.image.max_side_px}"
        )
    if (before.questions, before.seed, before.judges) != (now.questions, now.seed, now.judges):
        return (
            f"{setting('questions')} {before.questions} {setting('seed')} {before.seed} "
            f"{setting('judge')} {before.judge_name}"
        )
    if before.judged_anew != now.judged_anew:
        return "the answers of another run, more or fewer of its answers, or another rubric"
    if before.form != now.form:
        return setting("question_form", before.form)
    if before.judge_together != now.judge_together:
        return f"{setting('judge_together')} {before.judge_together}"
    if (before.pack_sha256, before.judge_together_sha256) != (now.pack_sha256, now.judge_together_sha256):
        return f"other prompts, {before.pack} in version {before.pack_version} as it was then"
    return f"another list of {before.images} images" if before.images_sha256 != now.images_sha256 else None


def _in_the_order_of(before: Manifest, now: Manifest) -> Manifest:
    """`now` with its models' endpoints in the order that they have in `before`: replies are known by the first one."""

    def ordered(there: Profile | None, here: Profile) -> Profile:
        if there is None or canonical_url(there.endpoint) not in here.places:
            return here
        known = {canonical_url(url): url for url in there.endpoints}
        kept = [url for form, url in known.items() if form in here.places]
        first, *others = [*kept, *(url for url in here.endpoints if canonical_url(url) not in known)]
        return here.model_copy(update={"endpoint": first, "replicas": tuple(others)})

    others = {name: ordered(before.others.get(name), profile) for name, profile in now.others.items()}
    return now.model_copy(update={"subject": ordered(before.subject, now.subject), "others": others})


def _merged(before: Manifest, now: Manifest, *, new_price: bool) -> Manifest:
    """The manifest of a run that goes on. new_price: whether the user gave one."""
    subject: dict[str, object] = {name: getattr(now.subject, name) for name in ("limits", "replicas", "prompt_cache")}
    if new_price:
        subject |= {"price": now.subject.price, "price_ends": None, "next_price": None}
    replaced = {
        "max_cost_usd": now.max_cost_usd,
        "prompt_cache": now.prompt_cache,
        "until_ci": now.until_ci,
        "anytime": now.anytime,
        "batch": now.batch,
        "batch_window_h": now.batch_window_h,
        "pilot": now.pilot,
        "strict_model": now.strict_model,
        "cache": now.cache,
        "subject": before.subject.model_copy(update=subject),
    }
    # More may be asked about the same answers; what was asked before stays.
    added = {
        "auditors": tuple(dict.fromkeys((*before.auditors, *now.auditors))),
        "grounded": before.grounded or now.grounded,
        "confidence": before.confidence or now.confidence,
        "samples": max(before.samples, now.samples),
        "controls": both_kinds(before.controls, now.controls),
        "controls_per_image": max(before.controls_per_image, now.controls_per_image),
        "others": {**before.others, **now.others},
        "calibration": now.calibration or before.calibration,
    }
    return before.model_copy(update=replaced | added)


def default_folder(model: str, now: datetime | None = None) -> Path:
    """runs/<time>-<model> below the working directory.

    Args:
        model: Its name; characters that do not fit a folder's name become "-".
        now: In the user's own time zone; None: the current time.

    Returns:
        A relative path that does not exist yet.
    """
    stamp = (now or datetime.now()).strftime("%Y%m%d-%H%M%S")  # noqa: DTZ005 - people read it, in their own time
    name = f"{stamp}-{re.sub(r'[^A-Za-z0-9._-]+', '-', model).strip('-.') or 'model'}"
    folder = Path("runs") / name
    number = 2
    while folder.exists():
        folder = Path("runs") / f"{name}-{number}"
        number += 1
    return folder
