"""From a model's name to its `Profile`, with settings laid over it and its price; and the list of all names.

Knows provider files and litellm's price map. Opens no connection, and reads of a key only whether it is set.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from difflib import get_close_matches
from math import isfinite
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from unsaf_async.errors import UserError, setting
from unsaf_async.providers.addresses import VARIABLE
from unsaf_async.providers.lifetime import on_day, today_utc
from unsaf_async.providers.load_profiles import Endpoint, load_gateway, load_profiles, search_path
from unsaf_async.providers.prices import Price, last_day_of, map_entry, price_map, price_of
from unsaf_async.providers.profile import IN_PROCESS, Profile, as_toml, given_twice, url_problem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date
    from pathlib import Path

    from unsaf_async.providers.gateway import Gateway


def resolve(
    name: str,
    *,
    model: str | None = None,
    api_base: str | Sequence[str] | None = None,
    price: Price | None = None,
    rpm: float | None = None,
    tpm: float | None = None,
    concurrency: int | None = None,
    folders: Sequence[Path] | None = None,
    today: date | None = None,
    address_later: bool = False,
) -> Profile:
    """The profile that a name stands for, with the settings laid over it and its price looked up.

    Args:
        name: A profile's name or alias ("gpt-4o", "vllm"), the name of a file together with `model` ("openai"), a
            model's dated snapshot, or any id that litellm knows ("mistral/pixtral-large-latest").
        model: Another model at the same endpoint; None for the profile's own.
        api_base: Another base URL, or those of several servers of the same model; None for that of the user's gateway, of the
            vendor's environment variable, or of the profile, in this order.
        price: Goes before the file's price and the map's; None to take these.
        rpm: Requests per minute, > 0; None for the profile's limit.
        tpm: Tokens per minute, > 0; None for the profile's limit.
        concurrency: Most calls in flight, > 0; None for the profile's limit.
        folders: Searched before the usual places (`search_path`); None for these alone.
        today: The day whose price counts; None for the current one.
        address_later: Whether it may have no address, because a server is still to be started for it.

    Returns:
        The profile. Its price is, in this order: `price`, the file's, the map's, or None (unknown). Its end is the
        file's, or the map's.

    Raises:
        UserError: The name is unknown (the error lists the nearest ones), a setting makes no sense, or a provider file
            is wrong.
    """
    places = search_path(folders)
    endpoints = load_profiles(places)
    profile = _images_as_priced(_named(name, model, endpoints), endpoints)
    if model and profile.backend == "scripted":  # which has no weights; a tiny model may be another folder of them
        raise _takes_none(profile, "model")
    profile = _addressed(profile, api_base, endpoints, load_gateway(places))
    if not (profile.has_address or address_later):
        raise UserError(
            f"{profile.name}: its address is not known; give {setting('api_base')}, or endpoint in its file",
            field="provider",
        )
    limits = {
        "requests_per_minute": _limit("rpm", rpm),
        "tokens_per_minute": _limit("tpm", tpm),
        "concurrency": _limit("concurrency", concurrency),
    }
    changed = {key: value for key, value in limits.items() if value is not None}
    profile = profile.model_copy(update={"limits": profile.limits.model_copy(update=changed)})
    return _priced(profile, today or today_utc(), price)


def called_at(profile: Profile, api_base: str | Sequence[str]) -> Profile:
    """A model at other addresses than its profile has.

    Args:
        profile: The model's.
        api_base: A base URL, or those of several servers of the model.

    Returns:
        The profile, changed. What its file permits at its own address is not permitted there.

    Raises:
        UserError: The model is called nowhere, or what is given is no address, or is given twice.
    """
    urls = (api_base,) if isinstance(api_base, str) else tuple(api_base)
    if urls and profile.backend in IN_PROCESS:
        raise _takes_none(profile, "api_base")
    for url in urls:
        if problem := url_problem(url):
            raise UserError(problem, field="api_base")
    bare = [url.rstrip("/") for url in urls]
    if twice := given_twice(bare):
        raise UserError(f"{twice}: is given twice; give each address once", field="api_base")
    # A permission for one address does not hold for another; a ban stays.
    may_train = False if profile.outputs_may_train is False else None
    first, *others = bare or [""]
    return profile.model_copy(update={"endpoint": first, "replicas": tuple(others), "outputs_may_train": may_train})


def _takes_none(profile: Profile, field: str) -> UserError:
    how = IN_PROCESS[profile.backend]
    return UserError(
        f": {profile.name} {how} and takes none; leave it out, or name another {setting('provider')}", field=field
    )


def _limit(field: str, value: float | None) -> float | None:
    if value is not None and not (isfinite(value) and value > 0):
        raise UserError(f"is {value:g}; give a number above 0, or leave it out", field=field)
    return value


def _priced(profile: Profile, today: date, price: Price | None = None) -> Profile:
    """`profile` with its end, and with the price of the day. price: the user's, which has no end."""
    in_map = bool(profile.priced_as or profile.vendor) or profile.backend == "litellm"
    known_as = profile.priced_as or profile.model
    ends = profile.ends or (last_day_of(known_as) if in_map else None)
    if price is not None:
        return profile.model_copy(update={"ends": ends, "price": price, "price_ends": None, "next_price": None})
    price = profile.price or (price_of(known_as) if in_map else None)
    return on_day(profile.model_copy(update={"ends": ends, "price": price}), today)


def _named(name: str, model: str | None, endpoints: tuple[Endpoint, ...]) -> Profile:
    """The profile for `name` and `model`, before options and price."""
    if model is not None and not model.strip():
        raise UserError("is empty; give a model's id, or leave it out", field="model")
    if (endpoint := _owner(name, endpoints)) is not None:
        found = endpoint.find(name)
        if found is not None and not (endpoint.is_host and model is None):
            found = _told_from_shipped(found, name, endpoints)
            return found if model is None else _other_model(found, endpoint, model, endpoints)
        if model is None:
            known = f", or name one of its models: {', '.join(endpoint.models)}" if endpoint.models else ""
            raise UserError(f"{name}: is an endpoint; add {setting('model')}{known}", field="provider")
        return _other_model(endpoint.defaults, endpoint, model, endpoints)
    profile = _by_litellm_id(name, endpoints)
    if profile is None:
        near = ", ".join(_nearest(name, endpoints))
        raise UserError(
            f"{as_toml(name)}: is unknown; the nearest are {near}; `unsaf-async providers` lists all",
            field="provider",
        )
    if model is None:
        return profile
    vendor = profile.model.partition("/")[0]
    wire_id = model if model.startswith(f"{vendor}/") else f"{vendor}/{model}"
    other = _by_litellm_id(wire_id, endpoints)
    assert other is not None  # the vendor is known: it was found by it
    return other


def _owner(name: str, endpoints: tuple[Endpoint, ...]) -> Endpoint | None:
    """The file that a name is from: the first that gives it as the name of a model or its own; None if none knows it.

    An alias or an id on the wire counts after that, and one of a shipped file first: no file of the user's takes a shipped
    name but by giving that name itself.
    """
    named = (endpoint for endpoint in endpoints if name == endpoint.name or name in endpoint.models)
    known = (endpoint for endpoint in _shipped_first(endpoints) if endpoint.find(name) is not None)
    return next(named, None) or next(known, None)


def _shipped_first(endpoints: tuple[Endpoint, ...]) -> list[Endpoint]:
    return sorted(endpoints, key=lambda endpoint: not endpoint.is_shipped)


def _told_from_shipped(profile: Profile, name: str, endpoints: tuple[Endpoint, ...]) -> Profile:
    """`profile`, whose origin says that it stands in for a shipped one of that name, if it does."""
    shipped = any(name in (each.name, *each.models, *each.aliases) for each in endpoints if each.is_shipped)
    if not (profile.origin and shipped):
        return profile
    return profile.model_copy(update={"origin": f"{profile.origin}, in place of the shipped {name}"})


_VERSION = re.compile(r"/v\d\w*$")


def _addressed(
    profile: Profile,
    api_base: str | Sequence[str] | None,
    endpoints: tuple[Endpoint, ...],
    gateway: tuple[Gateway, str] | None,
) -> Profile:
    """`profile` with the address that is called: the user's, the gateway's, the one in the vendor's variable, or its own."""
    if api_base is not None:
        return called_at(profile, api_base)
    if gateway and profile.vendor and not (profile.origin and profile.endpoint):
        return gateway[0].called_through(profile, gateway[1])
    variables = profile.endpoint_env or (() if profile.endpoint else _variables_of(profile, endpoints))
    variable = next((name for name in variables if os.environ.get(name, "").strip()), None)
    if variable is None:
        return profile
    given = os.environ[variable].strip()
    if url_problem(given):  # not repeated: it may hold a password
        raise UserError(
            f"{profile.name}: the environment variable {variable} holds no plain base URL; mend it or unset it",
            field="provider",
        )
    address = _in_our_form(given.rstrip("/"), profile)
    origin = "; ".join(filter(None, (profile.origin, f"{VARIABLE}{variable}")))
    return profile if address == profile.address else called_at(profile.model_copy(update={"origin": origin}), address)


def _variables_of(profile: Profile, endpoints: tuple[Endpoint, ...]) -> tuple[str, ...]:
    """The variables in which a vendor's address is given: as its shipped file says, else as litellm names them for most."""
    vendor = profile.vendor or (profile.model.partition("/")[0] if profile.backend == "litellm" else "")
    if not vendor:
        return ()
    shipped = (each.defaults.endpoint_env for each in endpoints if each.is_shipped and each.vendor == vendor)
    if (known := next(shipped, None)) is not None:
        return known
    name = _variable_name(vendor)
    return (f"{name}_API_BASE", f"{name}_BASE_URL", f"{name}_ENDPOINT", f"{name}_URL")


def _variable_name(vendor: str) -> str:
    return re.sub(r"\W", "_", vendor).upper()


def _in_our_form(address: str, profile: Profile) -> str:
    """An address as our wires take it, from the form in which vendors' libraries read it out of their variables."""
    if profile.backend == "anthropic":
        return address.removesuffix("/messages")
    if profile.backend == "gemini" and not _VERSION.search(address):
        return f"{address}/v1beta"
    if profile.backend == "azure" and not profile.api_version and not urlsplit(address).path:
        return f"{address}/openai/v1"
    return address


def _other_model(profile: Profile, endpoint: Endpoint, model: str, endpoints: tuple[Endpoint, ...]) -> Profile:
    """`model` at `endpoint`: by its own profile where the file has one, cautious at a vendor, else shaped like `profile`.

    What the file says of one model's price and terms does not hold for another; what it says of all does.
    """
    wire_id = f"{endpoint.vendor}/{model}" if endpoint.vendor and not model.startswith(f"{endpoint.vendor}/") else model
    known = endpoint.find(model) if endpoint.models else None
    known = known or (endpoint.find(wire_id) if endpoint.models else None)
    if known is None and endpoint.vendor:
        known = _snapshot(wire_id, endpoint) or _unlisted(wire_id, endpoint.defaults, endpoints)
    of_all = {"outputs_may_train": endpoint.defaults.outputs_may_train, **money_of(endpoint.defaults)}
    return known or profile.model_copy(update={"model": wire_id, **of_all})


def money_of(profile: Profile) -> dict[str, Any]:
    """The fields that say how long a model lasts and what it costs.

    Args:
        profile: The model's.

    Returns:
        The fields' values by their names.
    """
    return {name: getattr(profile, name) for name in ("ends", "priced_as", "price", "price_ends", "next_price")}


def _by_litellm_id(name: str, endpoints: tuple[Endpoint, ...]) -> Profile | None:
    """A profile for a litellm id that no file lists, or None if litellm's map knows neither it nor its vendor.

    Of a vendor that a file serves: the file's snapshot or defaults. Of another: generic defaults, and the key in
    VENDOR_API_KEY, as litellm itself names it for most.
    """
    vendor = name.partition("/")[0] if "/" in name else ""
    for endpoint in _shipped_first(endpoints):
        # Without a vendor in front a name is that of its maker's model, not of a host's.
        bare = not vendor and not endpoint.is_host and map_entry(f"{endpoint.vendor}/{name}")
        if endpoint.vendor and (vendor in (endpoint.vendor, endpoint.name) or bare):
            wire_id = f"{endpoint.vendor}/{name.removeprefix(f'{vendor}/')}"
            return _snapshot(wire_id, endpoint) or _unlisted(wire_id, endpoint.defaults, endpoints)
    if not vendor or vendor not in {entry.get("litellm_provider") for entry in price_map().values()}:
        return None
    generic = Profile(name=name, backend="litellm", vendor=vendor, api_key_env=f"{_variable_name(vendor)}_API_KEY")
    return _unlisted(name, generic, endpoints)


def _snapshot(wire_id: str, endpoint: Endpoint) -> Profile | None:
    """The profile of a listed model, for a dated snapshot of it ("openai/gpt-4o-2024-08-06"), or None."""
    undated = re.sub(r"[-@](\d{4}-\d{2}-\d{2}|\d{8}|latest)$", "", wire_id)
    profile = endpoint.find(undated) if undated != wire_id else None
    name = wire_id.partition("/")[2]
    if profile is None:
        return None
    lasts = {**money_of(endpoint.defaults), "ends": last_day_of(wire_id) or profile.ends}
    return profile.model_copy(update={"name": name, "model": wire_id, **lasts})


UNLISTED_IMAGE_TOKENS = 3000
"""The least that the worst case of an image is taken to be where nobody described the model: above every described one
for an image of 1024 pixels, but for gpt-4o-mini."""


def _unlisted(wire_id: str, defaults: Profile, endpoints: tuple[Endpoint, ...]) -> Profile:
    """`defaults` for a model that no file lists, made careful by what litellm's map says of it.

    Its images are counted as those of a listed model of its name (a host serves it), and taken to cost
    `UNLISTED_IMAGE_TOKENS` at least. A model that thinks, or of which nothing is known, gets room to think, and is sent
    neither a temperature nor a seed nor a wish for log-probabilities. Raises UserError if the map knows that it is no
    chat model (an embedding, a speech model).
    """
    entry = map_entry(wire_id)
    namesake = _namesake(wire_id, endpoints)
    image = namesake.tokens.image if namesake else defaults.tokens.image
    image = image.model_copy(update={"ceiling": max(image.ceiling, UNLISTED_IMAGE_TOKENS)})
    tokens = defaults.tokens.model_copy(update={"image": image})
    takes, room = defaults.takes, max(defaults.output_tokens.reasoning, 4096)
    thinking = defaults.output_tokens.model_copy(update={"reasoning": room})
    known: dict[str, Any] = {"name": wire_id, "model": wire_id, "tokens": tokens}
    if (whole := _whole_id(wire_id)) != wire_id:
        known |= {"model": whole, "priced_as": wire_id}
    if (
        namesake and namesake.price_ends and price_of(wire_id) == price_of(namesake.model)
    ):  # one price, and one end of it
        known |= {"price_ends": namesake.price_ends, "next_price": namesake.next_price}
    if entry is None:
        known["takes"] = takes.model_copy(update={"temperature": False, "seed": False, "logprobs": False})
        known["output_tokens"] = thinking
        near = get_close_matches(wire_id.partition("/")[2], _names_of(wire_id.partition("/")[0]), n=3)
        hint = f"; the nearest that it lists: {', '.join(near)}" if near else ""
        known["notes"] = _joined(f"litellm's price map does not list this model{hint}.", defaults.notes)
        return defaults.model_copy(update=known)
    if entry.get("mode") not in ("chat", "responses"):
        raise UserError(
            f"{wire_id}: is no chat model (litellm's map: {entry.get('mode')}); name another", field="provider"
        )
    thinks = bool(entry.get("supports_reasoning"))
    samples = not thinks and entry.get("supports_sampling_params") is not False
    known["takes"] = takes.model_copy(
        update={
            "json_schema": takes.json_schema and bool(entry.get("supports_response_schema")),
            "temperature": takes.temperature and samples,
            "seed": takes.seed and samples,
            "logprobs": takes.logprobs and samples,
        }
    )
    if thinks:
        known["output_tokens"] = thinking
    known["notes"] = _joined("No provider file lists this model: cautious settings from litellm's map.", defaults.notes)
    if not entry.get("supports_vision"):  # as a judge it needs none
        known["notes"] += " The map does not say that it reads images."
    return defaults.model_copy(update=known)


ID_BEGINS: Mapping[str, str] = {"fireworks_ai": "accounts/fireworks/models/"}
"""What a host's ids begin with, where litellm's map has them without it."""


def _whole_id(wire_id: str) -> str:
    """`wire_id` as the host itself has it; one with a slash is whole."""
    vendor, _, name = wire_id.partition("/")
    return wire_id if "/" in name else f"{vendor}/{ID_BEGINS.get(vendor, '')}{name}"


def _joined(*notes: str) -> str:
    return " ".join(filter(None, notes))


def _namesake(wire_id: str, endpoints: tuple[Endpoint, ...]) -> Profile | None:
    """The listed model that has the same name elsewhere ("azure/gpt-5.4-mini"); None if none has."""
    name = re.sub(
        r"^(?:[\w-]+\.)?anthropic\.|[-@](?:\d{4}-\d{2}-\d{2}|\d{8})(?:-v\d(?::\d)?)?$", "", wire_id.rpartition("/")[2]
    )
    listed = (endpoint.models.get(name) for endpoint in endpoints if endpoint.vendor)
    return next((profile for profile in listed if profile is not None), None)


def _images_as_priced(profile: Profile, endpoints: tuple[Endpoint, ...]) -> Profile:
    """`profile`, with images counted as the model that `priced_as` names has them counted, where its file does not say how."""
    unsaid = profile.tokens.image == Profile.model_fields["tokens"].default.image
    namesake = _namesake(profile.priced_as, endpoints) if profile.priced_as and unsaid else None
    if namesake is None:
        return profile
    tokens = profile.tokens.model_copy(update={"image": namesake.tokens.image})
    return profile.model_copy(update={"tokens": tokens})


def _names_of(vendor: str) -> list[str]:
    """The models that the map lists for `vendor`, without the vendor."""
    return [
        key.removeprefix(f"{vendor}/") for key, entry in price_map().items() if entry.get("litellm_provider") == vendor
    ]


def _nearest(name: str, endpoints: tuple[Endpoint, ...]) -> list[str]:
    """The known names that are most like `name`, best first: at most 2 of vendors that have the very model, and 4 others."""
    known = {key for endpoint in endpoints for key in (endpoint.name, *endpoint.models, *endpoint.aliases)}
    by_lower = {key.lower(): key for key in sorted(known)}
    model = name.rpartition("/")[2].lower() or name.lower()
    bare = name and "/" not in name
    elsewhere = [key for key in price_map() if bare and key.lower().partition("/")[2] == model]
    near = sorted(elsewhere, key=lambda key: (key.partition("/")[0] not in by_lower, key))[:2]
    return near + [by_lower[key] for key in get_close_matches(model, by_lower, n=4, cutoff=0.0)]


@dataclass(frozen=True, slots=True)
class Listing:
    """One line of `unsaf-async providers`.

    Attributes:
        profile: With its price.
        aliases: Its other names.
        file: Where the profile is from.
        key_set: Whether the key's variable is set; None if the profile names none.
    """

    profile: Profile
    aliases: tuple[str, ...]
    file: Path
    key_set: bool | None


def all_models(folders: Sequence[Path] | None = None, today: date | None = None) -> tuple[Listing, ...]:
    """Every profile that can be named, with its price; of a key only whether its variable is set.

    Args:
        folders: Searched before the usual places (`search_path`); None for these alone.
        today: The day whose prices count; None for the current one.

    Returns:
        In the order in which names are looked up. Profiles that an earlier one of the same name hides are not among them.

    Raises:
        UserError: See `load_profiles`.
    """
    seen: set[str] = set()
    listings = []
    for endpoint in load_profiles(search_path(folders)):
        for profile in endpoint.profiles():
            if profile.name in seen:
                continue
            variable = profile.api_key_env
            aliases = (alias for alias, name in endpoint.aliases.items() if name == profile.name and alias not in seen)
            listings.append(
                Listing(
                    profile=_priced(profile, today or today_utc()),
                    aliases=tuple(aliases),
                    file=endpoint.file,
                    key_set=None if variable is None else bool(os.environ.get(variable)),
                )
            )
        seen |= {endpoint.name, *endpoint.models, *endpoint.aliases}
    return tuple(listings)
