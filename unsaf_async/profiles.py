"""Endpoints and models as data: providers/*.toml become `Profile`s, and a name on the command line becomes one of them.

Knows the files, their search path and litellm's price map; opens no connection, and reads of a key only whether it is
set. How the TOML files are written is told in providers/README.md.
"""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import dataclass, field
from difflib import get_close_matches
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, JsonValue, ValidationError, model_validator

from unsaf_async.bundled import bundled
from unsaf_async.errors import UserError
from unsaf_async.prices import Price, map_entry, price_map, price_of
from unsaf_async.records import Record, Role
from unsaf_async.tokens import ImageTokens, TokenRules

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Self

Backend = Literal["litellm", "openai", "scripted", "tiny"]
"""How calls travel: through litellm, to an OpenAI-compatible server directly, or nowhere (a simulated model, a tiny one)."""

IN_PROCESS = {"scripted": "is simulated in this process", "tiny": "runs in this process"}
"""The backends that call nobody, and how to say so."""

Count = Annotated[int, Field(gt=0, strict=True)]
CountOrZero = Annotated[int, Field(ge=0, strict=True)]
Amount = Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)]
Flag = Annotated[bool, Field(strict=True)]
Text = Annotated[str, Field(strict=True)]

SEARCH_VARIABLE = "UNSAF_PROVIDERS"
"""Environment variable: further folders with TOML files, separated as in PATH."""


# --- what a profile holds -----------------------------------------------------------------------------------------


class Limits(Record):
    """How fast the endpoint may be asked. None: no limit known; what the endpoint's rate headers say is obeyed."""

    concurrency: Count = 32
    """Most calls in flight."""
    requests_per_minute: Amount | None = None
    tokens_per_minute: Amount | None = None
    """Input and output together."""
    input_tokens_per_minute: Amount | None = None
    output_tokens_per_minute: Amount | None = None


class ImageRules(Record):
    """What an image must fit into before it is sent; larger ones are shrunk, smaller ones left alone."""

    max_side_px: Count = 1024
    max_pixels: Count | None = None
    max_bytes: Count = 10_000_000
    """Of the encoded file; base64 makes a third more of it on the wire."""
    native_px: Count | None = None
    """Width and height of the only images that the model knows; it is warned of others. None: it takes any."""


class OutputTokens(Record):
    """Hard limits of a reply, in tokens. `reasoning` comes on top of each, for models that think before they write."""

    ask: CountOrZero = 200
    ask_per_question: CountOrZero = 100
    """For each of the K questions that one call is to write."""
    answer: Count = 300
    judge: Count = 100
    """Of a verdict, and of every other reply that is one word or number: audits, confidence."""
    reasoning: CountOrZero = 0

    def limit(self, role: Role, questions: int = 1) -> int:
        """The limit of one call in `role`, in tokens, thinking included. questions: K, for an ask."""
        match role:
            case "ask":
                visible = self.ask + self.ask_per_question * questions
            case "answer" | "sample":
                visible = self.answer
            case "judge" | "ground" | "audit" | "confidence" | "p-true":
                visible = self.judge
        return max(1, visible + self.reasoning)


class Takes(Record):
    """Which parameters the model accepts. What it does not take is not sent."""

    json_schema: Flag = True
    temperature: Flag = True
    seed: Flag = False
    logprobs: Flag = False
    n: Flag = False


class Profile(Record):
    """One model at one endpoint: everything that the engine needs to call it, pace it and price it."""

    name: Text
    backend: Backend
    model: Text = ""
    """The id as the backend wants it: "openai/gpt-4o" for litellm, the bare id for an OpenAI-compatible server. "": the
    one model that the server names at /v1/models, found when it is opened."""
    endpoint: Text = ""
    """Base URL; "": the vendor's own."""
    api_key_env: Annotated[str, Field(strict=True, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
    """The environment variable that holds the key. The key itself is in no file."""
    api_key_required: Flag = False
    price: Price | None = None
    """None: not known, so that --price is needed."""
    limits: Limits = Limits()
    image: ImageRules = ImageRules()
    tokens: TokenRules = TokenRules(image=ImageTokens(formula="fixed", constants={"tokens": 1500}, ceiling=3000))
    output_tokens: OutputTokens = OutputTokens()
    timeout_s: Amount = 120.0
    """Of one attempt."""
    deadline_s: Amount = 600.0
    """From a call's first failure on: later than that, no further attempt begins. Neither the first attempt nor the wait
    before it counts; an attempt that has begun may take its whole `timeout_s`."""
    attempts: Count = 6
    """Most tries of a call that meets transient errors."""
    retry_wait_s: Amount = 0.5
    """The pause before the second try; it doubles each time, with jitter, up to 30 s."""
    takes: Takes = Takes()
    extra: dict[str, JsonValue] = Field(default_factory=dict)
    """Further fields of the request's body, such as reasoning_effort. They are part of a reply's cache key."""
    rate_headers: Literal["openai", "anthropic", "none"] = "none"
    """Whose rate headers the endpoint sends. Unless "none", a run that knows no limit of requests sends its first call
    alone, to learn it; headers that come are learned from in any case."""
    prompts: Text = "unsaf"
    """The prompt pack that the model is asked with, unless --prompts names one."""
    judge: Text = "self"
    """Who judges, unless --judge says so."""
    images: Literal["photos", "world"] = "photos"
    """Which of the shipped images it is measured on, unless --images names some."""
    outputs_may_train: Flag | None = None
    """Whether the model's outputs may train other models, as whoever wrote the file has found in its license and the endpoint's
    terms. None: not said; an export then asks for --accept-teacher-terms, unless the model runs in this process or behind an
    address of this machine. true: it does not ask. false: it always asks. --api-base or --model undo a true that was said of
    another address or model."""
    notes: Text = ""
    """What a user should know, in a line."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.deadline_s < self.timeout_s:
            raise ValueError(
                f"deadline_s is {self.deadline_s:g}, below timeout_s {self.timeout_s:g}; give at least that"
            )
        if self.endpoint and (problem := _url_problem(self.endpoint)):
            raise ValueError(f"endpoint {problem}")
        if self.backend != "scripted" and (taken := RESERVED.intersection(self.extra)):
            raise ValueError(f"extra holds {min(taken)}, which the engine sets itself; leave it out")
        return self


RESERVED = frozenset(
    {"model", "messages", "stream", "n", "max_tokens", "max_completion_tokens", "temperature", "top_p", "seed"}
    | {"logprobs", "response_format", "timeout", "api_key", "api_base", "base_url", "headers", "extra_headers"}
)
"""Request fields that `extra` may not hold: the engine sets them, and keys have no place in a file."""


def _url_problem(url: str) -> str | None:
    """What is wrong with a base URL, or None. Neither a password nor a query may be in it: the manifest records it."""
    try:
        parts = urlsplit(url)
        plain = not (parts.username or parts.password or parts.query or parts.fragment)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0 or re.search(r"\s", url):
            return f"is {_shown(url)}; give a URL such as http://localhost:8000/v1"
    except ValueError:  # a port that is no number, an unclosed bracket
        return f"is {_shown(url)}; give a URL such as http://localhost:8000/v1"
    return None if plain else "holds a password or a query; give the plain base URL, and the key in its variable"


# --- from files to profiles ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One TOML file. defaults: what its top level says, which is itself the profile where it lists no models.

    vendor: litellm's name of the vendor ("openai"), "" where the file serves none. models: by name. aliases: from
    another name to the model's.
    """

    name: str
    file: Path
    vendor: str
    defaults: Profile
    models: Mapping[str, Profile] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)

    def profiles(self) -> Iterator[Profile]:
        """Its models' profiles, or the endpoint's own if it lists none."""
        yield from self.models.values() if self.models else (self.defaults,)

    def find(self, name: str) -> Profile | None:
        """The profile with this name, alias or wire id, or None."""
        if not self.models:
            return self.defaults if name == self.name else None
        if (profile := self.models.get(self.aliases.get(name, name))) is not None:
            return profile
        return next((profile for profile in self.models.values() if profile.model == name), None)


def load_profiles(folders: Sequence[Path]) -> tuple[Endpoint, ...]:
    """All endpoints in the `*.toml` files of `folders`, in the folders' order: a name found earlier hides later ones.

    Prices that the files leave out stay None. Raises UserError for a folder or file that cannot be read, for anything
    in it that is not as providers/README.md says, and for a name given twice within a folder.
    """
    endpoints: list[Endpoint] = []
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"{folder}: is no folder with provider files; create it, or leave it out")
        owners: dict[str, Path] = {}
        for file in sorted(folder.glob("*.toml")):
            endpoint = _endpoint(file)
            for name in {endpoint.name, *endpoint.models, *endpoint.aliases}:
                if name in owners:
                    raise UserError(f"{_label(file)}: {name} is also in {owners[name].name}; give each name once")
                owners[name] = file
            endpoints.append(endpoint)
    return tuple(endpoints)


def search_path(folders: Sequence[Path] | None = None) -> tuple[Path, ...]:
    """Where provider files are looked for, in order: `folders`, ./providers, $UNSAF_PROVIDERS, the shipped ones."""
    shipped = bundled("providers")
    places = list(folders or ())
    if (local := Path("providers")).is_dir() and not local.samefile(shipped):
        places.append(local)
    places += [Path(place) for place in os.environ.get(SEARCH_VARIABLE, "").split(os.pathsep) if place]
    return (*places, shipped)


def _endpoint(file: Path) -> Endpoint:
    """The endpoint that `file` describes."""
    label = _label(file)
    table = _read(file, label)
    vendor = table.pop("vendor", "")
    if not isinstance(vendor, str):
        raise UserError(f"{label}: vendor is {_shown(vendor)}; give litellm's name of it in quotes")
    models = table.pop("models", {})
    if not isinstance(models, dict) or not all(isinstance(model, dict) for model in models.values()):
        raise UserError(f'{label}: models holds no tables; write each as [models."name"]')
    if "name" in table:
        raise UserError(f"{label}: name is no key; the endpoint's name is the file's, so leave it out")
    defaults = _profile({**table, "name": file.stem}, f"{label}: ", ("vendor", "models"))

    profiles: dict[str, Profile] = {}
    aliases: dict[str, str] = {}
    for name, model in models.items():
        where = f'{label}: models."{name}".'
        if "name" in model:
            raise UserError(f"{where}name is no key; the model's name is the table's, so leave it out")
        for alias in _strings(model.pop("aliases", []), f"{where}aliases"):
            if alias in models or alias in aliases:
                raise UserError(f"{where}aliases holds {alias}, which is taken; give each name once")
            aliases[alias] = name
        wire_id = f"{vendor}/{name}" if vendor else name
        merged = _merge(table, {"model": wire_id, **model}) | {"name": name}
        profiles[name] = _profile(merged, where, ("aliases",))
    return Endpoint(file.stem, file, vendor, defaults, profiles, aliases)


def _read(file: Path, label: str) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise UserError(f"{label}: cannot be read ({error.strerror}); check the file") from None
    except UnicodeDecodeError:
        raise UserError(f"{label}: is not UTF-8 text; save it as UTF-8") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UserError(f"{label}: is not valid TOML: {_one_line(str(error))}") from None


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`below` with what `above` says instead, table by table.

    A price, and a way of counting images, are replaced whole: half of one and half of another mean nothing.
    """
    merged = dict(below)
    for key, value in above.items():
        lower = merged.get(key)
        whole = key in ("price", "image") and isinstance(value, dict) and ("formula" in value or key == "price")
        merged[key] = (
            _merge(lower, value) if isinstance(lower, dict) and isinstance(value, dict) and not whole else value
        )
    return merged


def _profile(table: Mapping[str, Any], where: str, siblings: tuple[str, ...]) -> Profile:
    """`table` as a profile. siblings: keys that may stand beside a profile's own, for the nearest name of a slip."""
    try:
        return Profile.model_validate(table)
    except ValidationError as error:
        raise UserError(where + _explained(error, siblings)) from None


# --- what is wrong with a file, in one line -----------------------------------------------------------------------


def _explained(error: ValidationError, siblings: tuple[str, ...]) -> str:
    """The first thing that is wrong: the key, what was found, what to do."""
    first = error.errors(include_url=False)[0]
    path = [str(part) for part in first["loc"]]
    key = ".".join(path[:2] if path[:1] == ["extra"] else path)  # below extra, pydantic names its own types
    kind, context = first["type"], first.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown_key(path, siblings)
    if kind == "missing":
        return f"{key} is missing; give it"
    if kind == "value_error":
        reason = str(context["error"])
        return f"{key}: {reason}" if key else reason
    if path[-1] == "api_key_env":  # whoever errs here may have written the key itself: it is not repeated
        return f"{key} is not the name of an environment variable; give its name, never the key"
    advice = {
        "greater_than": f"a number above {context.get('gt', 0):g}",
        "greater_than_equal": f"a number of at least {context.get('ge', 0):g}",
        "finite_number": "a finite number",
        "int_type": "a whole number",
        "float_type": "a number",
        "bool_type": "true or false",
        "string_type": "text in quotes",
        "literal_error": str(context.get("expected", "")),
        "dict_type": "a table",
        "model_type": "a table",
        "invalid-json-value": "text, a number, true, false, a list or a table",
    }.get(kind, _one_line(first["msg"]))
    if kind == "greater_than" and _is_whole(path):
        advice = f"a whole number above {context.get('gt', 0):g}"
    return f"{key} is {_shown(first['input'])}; give {advice}{_leave_out(path)}"


def _unknown_key(path: list[str], siblings: tuple[str, ...]) -> str:
    """Names the nearest key that exists. The value is not shown: a stray `api_key` would be in it."""
    table = _model_at(path[:-1])
    known = [name for name in table.model_fields if table is not Profile or name != "name"]
    if len(path) == 1:
        known += siblings
    near = get_close_matches(path[-1], known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"
    return f"{'.'.join(path)} is an unknown key; {hint}"


def _model_at(path: list[str]) -> type[BaseModel]:
    """The record that holds the keys at `path` of a profile."""
    model: type[BaseModel] = Profile
    for part in path:
        annotation = model.model_fields[part].annotation
        model = next(
            kind
            for kind in (annotation, *get_args(annotation))
            if isinstance(kind, type) and issubclass(kind, BaseModel)
        )
    return model


def _is_whole(path: list[str]) -> bool:
    try:
        annotation = _model_at(path[:-1]).model_fields[path[-1]].annotation
    except (KeyError, StopIteration):
        return False
    return annotation is int or int in get_args(annotation)


def _leave_out(path: list[str]) -> str:
    """What leaving the key out would mean, where it may be left out for "none"."""
    try:
        annotation = _model_at(path[:-1]).model_fields[path[-1]].annotation
    except (KeyError, StopIteration):
        return ""
    if type(None) not in get_args(annotation):
        return ""
    return ", or leave it out for no limit" if path[0] in ("limits", "image") else ", or leave it out"


def _strings(value: object, where: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise UserError(f'{where} is {_shown(value)}; give a list of names, such as ["sonnet"]')
    return value


def _label(file: Path) -> str:
    """How a file is named to the user: as seen from here if it lies below, else in full."""
    try:
        return str(file.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(file)


def _shown(value: object) -> str:
    """`value` on one line, as TOML writes it where that differs, cut to 60 characters."""
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _one_line(text: str) -> str:
    return " ".join(text.split())


# --- from a name to a profile -------------------------------------------------------------------------------------


def resolve(
    name: str,
    *,
    model: str | None = None,
    api_base: str | None = None,
    price: Price | None = None,
    rpm: float | None = None,
    tpm: float | None = None,
    concurrency: int | None = None,
    folders: Sequence[Path] | None = None,
) -> Profile:
    """The profile that `name` stands for, with the options laid over it and its price looked up.

    name: a profile's name or alias ("gpt-4o", "vllm"), the name of a file together with `model` ("openai"), a model's
    dated snapshot, or any id that litellm knows ("mistral/pixtral-large-latest"). model: another model at the same
    endpoint. folders: searched before the usual places (`search_path`). The price is, in this order: `price`, the
    file's, the map's, or None (unknown).

    Raises UserError for an unknown name (with the nearest ones), a senseless option, or a bad provider file.
    """
    endpoints = load_profiles(search_path(folders))
    profile = _named(name, model, endpoints)
    # A tiny model may be another folder of weights; a simulated one has none.
    takes_model = profile.backend != "scripted"
    senseless = "--model" if model and not takes_model else "--api-base" if api_base else ""
    if senseless and profile.backend in IN_PROCESS:
        how = IN_PROCESS[profile.backend]
        raise UserError(f"{senseless}: {profile.name} {how} and takes none; leave it out, or name another --provider")
    if api_base is not None:
        if problem := _url_problem(api_base):
            raise UserError(f"--api-base {problem}")
        # Leave that is given at one address is not given at another; a ban stays.
        may_train = False if profile.outputs_may_train is False else None
        profile = profile.model_copy(update={"endpoint": api_base.rstrip("/"), "outputs_may_train": may_train})
    limits = {
        "requests_per_minute": _option("--rpm", rpm),
        "tokens_per_minute": _option("--tpm", tpm),
        "concurrency": _option("--concurrency", concurrency),
    }
    given = {key: value for key, value in limits.items() if value is not None}
    profile = profile.model_copy(update={"limits": profile.limits.model_copy(update=given)})
    return _priced(profile, price)


def _option(option: str, value: float | None) -> float | None:
    if value is not None and not (isfinite(value) and value > 0):
        raise UserError(f"{option} is {value:g}; give a number above 0, or leave it out")
    return value


def _priced(profile: Profile, price: Price | None = None) -> Profile:
    price = price or profile.price or (price_of(profile.model) if profile.backend == "litellm" else None)
    return profile if price is profile.price else profile.model_copy(update={"price": price})


def _named(name: str, model: str | None, endpoints: tuple[Endpoint, ...]) -> Profile:
    """The profile for `name` and `model`, before options and price."""
    if model is not None and not model.strip():
        raise UserError("--model is empty; give a model's id, or leave it out")
    for endpoint in endpoints:
        if (profile := endpoint.find(name)) is not None:
            return profile if model is None else _other_model(profile, endpoint, model)
        if name == endpoint.name:
            if model is None:
                known = ", ".join(endpoint.models)
                raise UserError(f"--provider {name}: is an endpoint; add --model, or name one of its models: {known}")
            return _other_model(endpoint.defaults, endpoint, model)
    profile = _by_litellm_id(name, endpoints)
    if profile is None:
        near = ", ".join(_nearest(name, endpoints))
        raise UserError(
            f"--provider {_shown(name)}: is unknown; the nearest are {near}; `unsaf-async providers` lists all"
        )
    if model is None:
        return profile
    vendor = profile.model.partition("/")[0]
    wire_id = model if model.startswith(f"{vendor}/") else f"{vendor}/{model}"
    return _by_litellm_id(wire_id, endpoints) or profile.model_copy(update={"model": wire_id, "price": None})


def _other_model(profile: Profile, endpoint: Endpoint, model: str) -> Profile:
    """`model` at `endpoint`: by its own profile where the file has one, else shaped like `profile`.

    What the file says of one model's price and terms does not hold for another; what it says of all does.
    """
    wire_id = f"{endpoint.vendor}/{model}" if endpoint.vendor and not model.startswith(f"{endpoint.vendor}/") else model
    known = endpoint.find(model) if endpoint.models else None
    known = known or (endpoint.find(wire_id) if endpoint.models else None)
    if known is None and endpoint.vendor:
        known = _snapshot(wire_id, endpoint)
        if known is None and profile is endpoint.defaults:
            known = _unlisted(wire_id, endpoint.defaults)
    of_all = {"price": endpoint.defaults.price, "outputs_may_train": endpoint.defaults.outputs_may_train}
    return known or profile.model_copy(update={"model": wire_id, **of_all})


def _by_litellm_id(name: str, endpoints: tuple[Endpoint, ...]) -> Profile | None:
    """A profile for a litellm id that no file lists, or None if litellm's map knows neither it nor its vendor.

    Of a vendor that a file serves: the file's snapshot or defaults. Of another: generic defaults, and the key in
    VENDOR_API_KEY, as litellm itself names it for most.
    """
    vendor = name.partition("/")[0] if "/" in name else ""
    for endpoint in endpoints:
        if endpoint.vendor and (vendor == endpoint.vendor or (not vendor and map_entry(f"{endpoint.vendor}/{name}"))):
            wire_id = name if vendor else f"{endpoint.vendor}/{name}"
            return _snapshot(wire_id, endpoint) or _unlisted(wire_id, endpoint.defaults)
    if not vendor or vendor not in {entry.get("litellm_provider") for entry in price_map().values()}:
        return None
    key = re.sub(r"\W", "_", vendor).upper() + "_API_KEY"
    generic = Profile(name=name, backend="litellm", api_key_env=key)
    return _unlisted(name, generic)


def _snapshot(wire_id: str, endpoint: Endpoint) -> Profile | None:
    """The profile of a listed model, for a dated snapshot of it ("openai/gpt-4o-2024-08-06"), or None."""
    undated = re.sub(r"[-@](\d{4}-\d{2}-\d{2}|\d{8}|latest)$", "", wire_id)
    profile = endpoint.find(undated) if undated != wire_id else None
    name = wire_id.partition("/")[2]
    return profile and profile.model_copy(update={"name": name, "model": wire_id, "price": endpoint.defaults.price})


UNLISTED_IMAGE_TOKENS = 3000
"""The least that the worst case of an image is taken to be where nobody described the model: above every described one
for an image of 1024 pixels, but for gpt-4o-mini."""


def _unlisted(wire_id: str, defaults: Profile) -> Profile:
    """`defaults` for a model that no file lists, made careful by what litellm's map says of it.

    Its images are held to cost `UNLISTED_IMAGE_TOKENS` at least. A model that thinks gets room to think, and is sent
    neither a temperature nor a wish for log-probabilities. Raises UserError if the map knows that it is no chat model
    (an embedding, a speech model).
    """
    entry = map_entry(wire_id)
    image = defaults.tokens.image
    image = image.model_copy(update={"ceiling": max(image.ceiling, UNLISTED_IMAGE_TOKENS)})
    tokens = defaults.tokens.model_copy(update={"image": image})
    known: dict[str, Any] = {"name": wire_id, "model": wire_id, "tokens": tokens}
    if entry is None:
        near = get_close_matches(wire_id.partition("/")[2], _names_of(wire_id.partition("/")[0]), n=3)
        hint = f"; the nearest that it lists: {', '.join(near)}" if near else ""
        return defaults.model_copy(update={**known, "notes": f"litellm's price map does not list this model{hint}."})
    if entry.get("mode") not in ("chat", "responses"):
        raise UserError(f"--provider {wire_id}: is no chat model (litellm's map: {entry.get('mode')}); name another")
    thinks = bool(entry.get("supports_reasoning"))
    samples = not thinks and entry.get("supports_sampling_params") is not False
    takes = defaults.takes
    known["takes"] = takes.model_copy(
        update={
            "json_schema": takes.json_schema and bool(entry.get("supports_response_schema")),
            "temperature": takes.temperature and samples,
            "logprobs": takes.logprobs and samples,
        }
    )
    if thinks:
        room = max(defaults.output_tokens.reasoning, 4096)
        known["output_tokens"] = defaults.output_tokens.model_copy(update={"reasoning": room})
    known["notes"] = "No provider file lists this model: cautious settings from litellm's map."
    if not entry.get("supports_vision"):  # as a judge it needs none
        known["notes"] += " The map does not say that it reads images."
    return defaults.model_copy(update=known)


def _names_of(vendor: str) -> list[str]:
    """The models that the map lists for `vendor`, without the vendor."""
    return [
        key.removeprefix(f"{vendor}/") for key, entry in price_map().items() if entry.get("litellm_provider") == vendor
    ]


def _nearest(name: str, endpoints: tuple[Endpoint, ...]) -> list[str]:
    """The 4 known names that are most like `name`, best first."""
    known = {key for endpoint in endpoints for key in (endpoint.name, *endpoint.models, *endpoint.aliases)}
    by_lower = {key.lower(): key for key in sorted(known)}
    wanted = name.rpartition("/")[2].lower() or name.lower()
    return [by_lower[key] for key in get_close_matches(wanted, by_lower, n=4, cutoff=0.0)]


# --- the list of all ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Listing:
    """One line of `unsaf-async providers`. file: where the profile is from. key_set: None if it needs no key."""

    profile: Profile
    aliases: tuple[str, ...]
    file: Path
    key_set: bool | None


def all_models(folders: Sequence[Path] | None = None) -> tuple[Listing, ...]:
    """Every profile that can be named, priced, in the order in which names are looked up; hidden ones left out.

    Of a key only whether its variable is set. Raises UserError as `load_profiles` does.
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
                    profile=_priced(profile),
                    aliases=tuple(aliases),
                    file=endpoint.file,
                    key_set=None if variable is None else bool(os.environ.get(variable)),
                )
            )
        seen |= {endpoint.name, *endpoint.models, *endpoint.aliases}
    return tuple(listings)
