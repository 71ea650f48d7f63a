"""What a run's folder may decide: of one that is not known as the user's own, neither where calls go nor what goes with them.

The user's profiles say that, found anew by the models' names. Where the folder says the same it goes on; where it does not,
nobody is called unless the user trusts the folder. Trust has bounds, too: a key of no profile, headers of no profile and
fields that no profile has and that may do harm are never taken from a folder.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from unsaf_async.bundled import bundled
from unsaf_async.errors import UntrustedFolder, UserError, setting
from unsaf_async.prompts import is_shipped
from unsaf_async.providers.lifetime import on_day, today_utc
from unsaf_async.providers.load_profiles import load_profiles, search_path
from unsaf_async.providers.profile import IN_PROCESS, Profile, as_toml, harmless_in_extra
from unsaf_async.providers.resolve import resolve
from unsaf_async.runs.saved import SavedRun
from unsaf_async.runs.settings import CACHE, DEFAULT_CACHE
from unsaf_async.runs.signature import state_folder, user_key
from unsaf_async.text import shorten

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from unsaf_async.inputs.sources import ImageSource
    from unsaf_async.records import ControlKind
    from unsaf_async.runs.folder import Manifest, RunFolder

HARMLESS = frozenset(
    {"name", "stream", "max_tokens_field", "priced_as", "ends", "price_ends", "next_price", "image", "output_tokens"}
    | {"takes", "rate_headers", "prompts", "judge", "images", "outputs_may_train", "notes"}
)
"""The fields of a profile that a folder may say: how a model is measured and asked."""

RECKONED = ("tokens", "limits", "timeout_s", "deadline_s", "attempts", "retry_wait_s")
"""How much a call may cost at its worst, and how hard a model is pressed: the user's, whose cap rests on them."""

SILENT = ("packages", "api_key_required", "origin", "endpoint_env", *RECKONED)
"""Fields that are the user's in any case: to differ in them is no choice that anybody has to make."""

COMPARED = tuple(name for name in Profile.model_fields if name not in HARMLESS and name not in SILENT)
"""All others: where calls go, what goes with them, and what they cost. A field that is new in `Profile` is among them."""

MOST_SHOWN = 3
"""How many images are named in an error."""

_DIGEST = "files_sha256"
"""In `extra`: which weights a name stands for. Nobody is steered by it."""


def authorise(
    run: RunFolder,
    *,
    trust: bool,
    now: Manifest | None = None,
    more: bool = False,
    controls: Sequence[ControlKind] = (),
) -> None:
    """Lets an opened folder's run call its models, if it may. Of the user's own, nothing is asked.

    Of another, the manifest gets the user's own values where a folder has no say, and the user's own cache.

    Args:
        run: The folder. Its manifest may be replaced in memory; if it is trusted, it is signed when it is next kept.
        trust: Whether the user takes the folder's values.
        now: The manifest of the run that the user asks for, to be gone on with in this folder, about the same images; None: the
            user named the folder alone.
        more: Whether more is asked of all images than the folder says.
        controls: Which controls are asked for, beside those that the folder says.

    Raises:
        UntrustedFolder: It says otherwise than the user, and is not trusted.
        UserError: It says what no trust covers.
    """
    if run.authorised:
        return
    sent = now is None and not run.manifest.judged_anew  # a judge of answers sees no image
    pending = _sent(run, (*run.manifest.controls, *controls), more=more) if sent else ()
    manifest = authorised(run.path, run.manifest, trust=trust, now=now, images=pending)
    cache = str(Path(os.environ.get(CACHE.variable or "") or DEFAULT_CACHE).absolute()) if manifest.cache else ""
    run.authorise(manifest.model_copy(update={"cache": cache}), own=trust)


def authorised(
    folder: Path, manifest: Manifest, *, trust: bool, now: Manifest | None = None, images: Iterable[ImageSource] = ()
) -> Manifest:
    """The manifest of a folder that is not the user's own, with the user's values where a folder has no say.

    Args:
        folder: The run's, for the message.
        manifest: As it was read.
        trust: Whether the user takes the folder's values.
        now: As for `authorise`.
        images: Those that are to be sent.

    Returns:
        The manifest; `others` holds the judges and auditors alone.

    Raises:
        UntrustedFolder: It says otherwise than the user, and is not trusted.
        UserError: It says what no trust covers.
    """
    users = {} if now is None else {"self": now.subject, **now.others}
    differing: list[str] = []
    profiles: dict[str, Profile] = {}
    for name in manifest.called:
        theirs = manifest.subject if name == "self" else manifest.others.get(name)
        if theirs is None or name not in ("self", theirs.name):
            raise UserError(f"{folder}: its manifest has no profile of {as_toml(name)}; restore it, or start a new run")
        theirs = on_day(theirs, today_utc())
        mine = users.get(name) or _users_own(theirs)
        differing += _differences(theirs, mine)
        profiles[name] = _trusted(folder, theirs, mine) if trust else _laid_over(theirs, mine)
    if now is None and not is_shipped(manifest.pack):
        differing.append(f"prompts {as_toml(manifest.pack)} (yours: none given)")
    if now is None and manifest.judged_anew and manifest.judged_anew.rubric:
        differing.append(
            f"a judging prompt of its own, {as_toml(manifest.judged_anew.rubric_name)} (yours: none given)"
        )
    differing += _outside(folder, images)
    if differing and not trust:
        raise _untrusted(folder, differing)
    return manifest.model_copy(update={"subject": profiles.pop("self", manifest.subject), "others": profiles})


def check_images(folder: Path, images: Iterable[ImageSource], *, trust: bool) -> None:
    """Checks that images which a run's folder names may be sent.

    They may if they lie in the folder, ship with this package, or have a digest, which is compared before they are sent: whoever
    made the folder had them.

    Args:
        folder: The run's.
        images: As it names them.
        trust: Whether the user trusts the folder.

    Raises:
        UntrustedFolder: One may not.
    """
    if not trust and (differing := list(_outside(folder, images))):
        raise _untrusted(folder, differing)


def _sent(run: RunFolder, controls: Sequence[ControlKind], *, more: bool) -> Sequence[ImageSource]:
    """The images that may be sent, or asked a store for, whatever is finished of them; more: whether more is asked of all."""
    saved = SavedRun(run.path)
    if "other" in controls:  # any of them may be shown in the place of another
        return saved.images
    extras, finished = run.manifest.extras, saved.finished

    def is_read(image: ImageSource) -> bool:
        """A finished image's pixels are compared before it is sent; an object has been asked for by then."""
        return image.id not in finished or (image.is_object and (more or extras.lacks(saved.kept[image.id])))

    return tuple(filter(is_read, saved.images))


def _untrusted(folder: Path, differing: Iterable[str]) -> UntrustedFolder:
    why = "" if user_key() else f" (no run is: {state_folder() or 'a state folder'} cannot be written)"
    return UntrustedFolder(
        f"{folder}: is not known as a run of yours{why}, and says what you did not say: {'; '.join(differing)}; nothing was "
        f"sent: look at its files, and give {setting('trust_folder', True)} if all of this is meant"
    )


def _users_own(theirs: Profile) -> Profile | None:
    """What the user's own files and variables say of the model that a folder names; None if they know none of this name.

    Where the name is an endpoint's, which needs a model's id or an address beside it, the model is the folder's.
    """
    with suppress(UserError):
        return resolve(theirs.name)
    with suppress(UserError):
        return resolve(theirs.name, model=theirs.wire_model)
    for model in (None, theirs.wire_model):
        with suppress(UserError):
            return resolve(theirs.name, model=model, api_base="http://localhost").model_copy(update={"endpoint": ""})
    return None


def _differences(theirs: Profile, mine: Profile | None) -> Iterator[str]:
    """What a folder's profile says otherwise than the user's, in words, with both values."""
    if mine is None:
        yield f"{_name(theirs)}: endpoint {_shown(theirs.endpoint)}, api_key_env {_shown(theirs.api_key_env)} (yours: no profile)"
        return
    for field in COMPARED:
        there, here = _comparable(theirs, mine, field)
        if there != here:
            yield f"{_name(theirs)}: {field} {_shown(there)} (yours: {_shown(here)})"


def _comparable(theirs: Profile, mine: Profile, field: str) -> tuple[object, object]:
    """A field of both profiles, as far as a difference in it counts."""
    there, here = getattr(theirs, field), getattr(mine, field)
    if field == "extra":
        return _without_digest(there), _without_digest(here)
    if field == "model" and not here:  # one of the models of an address that the user named
        return "", ""
    if field == "price":
        if theirs.backend in IN_PROCESS:
            return "", ""
        return tuple(price and price.model_dump(exclude={"source"}) for price in (there, here))
    return there, here


def _without_digest(extra: Mapping[str, object]) -> dict[str, object]:
    digest = extra.get(_DIGEST)
    harmless = isinstance(digest, str) and re.fullmatch(r"[0-9a-f]{64}", digest)
    return {name: value for name, value in extra.items() if name != _DIGEST or not harmless}


def _shown(value: object) -> str:
    return "none" if value in ("", None, {}, ()) else shorten(repr(value), 200)


def _name(profile: Profile) -> str:
    """A folder's name of a model, fit to be printed: whatever it holds, a terminal does nothing but show it."""
    return repr(profile.name)[1:-1]


def _laid_over(theirs: Profile, mine: Profile | None) -> Profile:
    """A folder's profile, with the user's values in all that a folder may not say. They are equal, or nobody is called."""
    if mine is None:
        return theirs
    users = {name: getattr(mine, name) for name in (*COMPARED, *SILENT)}
    users |= {"extra": theirs.extra, "model": mine.model or theirs.model, "price": theirs.price}
    return theirs.model_copy(update=users)


def _trusted(folder: Path, theirs: Profile, mine: Profile | None) -> Profile:
    """A folder's profile, as far as trust goes. Raises UserError where it goes further."""
    keys = {profile.api_key_env for endpoint in load_profiles(search_path()) for profile in endpoint.profiles()}
    keys |= {None, mine.api_key_env if mine is not None else None}
    never = setting("trust_folder", True)
    if theirs.backend in IN_PROCESS and (mine is None or mine.backend != theirs.backend):  # its replies would be stored
        raise UserError(
            f"{folder}: {_name(theirs)}: {IN_PROCESS[theirs.backend]}, and your profile of that name does not; {never} does not "
            "cover that: start a new run"
        )
    if theirs.api_key_env not in keys:
        raise UserError(
            f"{folder}: {_name(theirs)}: asks for the variable {theirs.api_key_env}, which no profile of yours names; {never} "
            "does not cover that: add a profile in ./providers that names it, or start a new run"
        )
    for name, value in theirs.headers.items():
        if mine is None or mine.headers.get(name) != value:
            raise UserError(
                f"{folder}: {_name(theirs)}: has the header {as_toml(name)}, which your profile does not have "
                f"with that value; {never} does "
                "not cover that: add it to a profile in ./providers, or start a new run"
            )
    usual = mine.extra if mine is not None else {}
    for name in _without_digest(theirs.extra):
        if theirs.backend not in IN_PROCESS and name not in usual and not harmless_in_extra(name):
            raise UserError(
                f"{folder}: {_name(theirs)}: extra has {as_toml(name)}, which your profile does not have; {never} does not cover "
                "that: add it to a profile in ./providers, or start a new run"
            )
    return theirs.model_copy(
        update={name: getattr(mine, name) for name in SILENT} if mine is not None else {"packages": {}}
    )


def _outside(folder: Path, images: Iterable[ImageSource]) -> Iterator[str]:
    """The images that a folder has no say over, in words; links are followed.

    An object is asked for with the user's credentials, so that no digest says that it may be.
    """
    homes = [Path(os.path.realpath(home)) for home in (folder, bundled("images"))]
    outside = [image for image in images if image.is_object or not (image.file_sha256 or _is_below(image.path, homes))]
    if outside:
        named = ", ".join(shorten(repr(image.address), 200) for image in outside[:MOST_SHOWN])
        more = f" and {len(outside) - MOST_SHOWN} more" if len(outside) > MOST_SHOWN else ""
        yield f"images {named}{more} (outside the folder, and you named none)"


def _is_below(path: Path, folders: Iterable[Path]) -> bool:
    try:
        real = Path(os.path.realpath(path))
    except ValueError:  # a name that no file can have
        return False
    return any(real.is_relative_to(folder) for folder in folders)
