"""From a profile to the backend that speaks to its model."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from unsaf_async.errors import CallError, UserError, setting
from unsaf_async.providers.addresses import address_given_by
from unsaf_async.providers.keys import check_packages, key_of_profile, secrets_of_profile
from unsaf_async.providers.redactor import Redactor

if TYPE_CHECKING:
    from collections.abc import Callable

    from unsaf_async.calls.backends.wire import Wire
    from unsaf_async.calls.provider import Backend
    from unsaf_async.providers.profile import Profile
    from unsaf_async.records import Reply, Request


async def open_backend(profile: Profile) -> Backend:
    """The backend that a profile names, with the key from its environment variable.

    Args:
        profile: The model's.

    Returns:
        The backend; it connects with its first call.

    Raises:
        UserError: The key is missing, or a package that its calls need.
    """
    check_packages(profile)
    key = key_of_profile(profile)
    if (wire := _wire(profile)) is not None:
        from unsaf_async.calls.backends.http import HttpBackend

        return HttpBackend(wire, profile.endpoint, key, profile.headers, Redactor(secrets_of_profile(profile)))
    if profile.backend == "scripted":
        return _scripted(profile)
    if profile.backend == "tiny":
        from unsaf_async.calls.backends.tiny import TinyBackend
        from unsaf_async.tiny.folders import unchanged

        return TinyBackend(await asyncio.to_thread(unchanged, profile))
    if profile.model.startswith("aiohttp_openai/"):
        raise UserError(
            f"{profile.name}: litellm's way aiohttp_openai follows redirects, and would take the key along; "
            'give backend = "openai" and endpoint',
            field="provider",
        )
    from unsaf_async.calls.backends.litellm import LitellmBackend

    return await LitellmBackend.open(profile.endpoint, key, Redactor(secrets_of_profile(profile)))


class _Unconnected:
    """A backend of a model that others call."""

    async def complete(self, request: Request) -> Reply:
        raise RuntimeError(f"{request.target.provider} is not called from here")

    async def aclose(self) -> None:
        pass


async def unconnected(profile: Profile) -> Backend:  # noqa: ARG001
    """A backend that makes no calls, for a session that keeps the books for others.

    Args:
        profile: The model's.

    Returns:
        The backend.
    """
    return _Unconnected()


def _wire(profile: Profile) -> Wire | None:
    """The protocol that a profile's endpoint speaks; None for a backend that speaks none of ours."""
    match profile.backend:
        case "openai":
            from unsaf_async.calls.backends.openai_wire import OpenAIWire

            return OpenAIWire(profile.max_tokens_field, profile.stream, profile.vendor)
        case "azure":
            from unsaf_async.calls.backends.openai_wire import AzureWire

            return AzureWire(profile.max_tokens_field, profile.stream, profile.vendor, profile.api_version)
        case "anthropic":
            from unsaf_async.calls.backends.anthropic_wire import AnthropicWire

            return AnthropicWire(profile.endpoint)
        case "gemini":
            from unsaf_async.calls.backends.gemini_wire import GeminiWire

            return GeminiWire()
    return None


def _scripted(profile: Profile) -> Backend:
    from unsaf_async.calls.backends.scripted import ScriptedBackend
    from unsaf_async.simulate.model import Awareness

    known = {field.name for field in fields(Awareness)} | {"seed", "latency_s"}
    given: dict[str, float] = {}
    for name, value in profile.extra.items():
        if name not in known or isinstance(value, bool) or not isinstance(value, int | float):
            raise UserError(
                f"{profile.name}: extra.{name} is {value!r}; give a number, for one of {', '.join(sorted(known))}",
                field="provider",
            )
        given[name] = value
    seed, latency_s = int(given.pop("seed", 0)), given.pop("latency_s", 0.0)
    return ScriptedBackend(Awareness(**given), seed, latency_s)


def whole_endpoint(profile: Profile) -> str | None:
    """The address that was probably meant where a profile's lacks its path.

    Args:
        profile: The model's.

    Returns:
        The endpoint with /v1, as OpenAI's protocol is mostly served; None where it has a path, or its protocol needs none.
    """
    if profile.backend != "openai" or not profile.endpoint or urlsplit(profile.endpoint).path not in ("", "/"):
        return None
    return f"{profile.endpoint.rstrip('/')}/v1"


def meant_endpoint(profile: Profile, named: Callable[[str], str]) -> str:
    """The question whether an address with its path was meant.

    Args:
        profile: The model's, whose address did not work.
        named: Names a setting, as `as_option` does.

    Returns:
        It; "" where the address has a path, or its protocol needs none.
    """
    whole = whole_endpoint(profile)
    if not whole:
        return ""
    given_by, option = address_given_by(profile, named), named("api_base")
    return f"did you mean {option} {whole}?" if given_by == option else f"did you mean {whole}? See {given_by}"


OTHERS_WAIT_S = 5.0
"""How long an endpoint is waited for that does not say what it serves, once another has: the run finds out what it does."""


async def with_model_found(profile: Profile) -> Profile:
    """A profile with its model's id.

    For an endpoint that names none, that is the first that its /models lists; for a tiny model, the digest of its weights. Of
    several endpoints those that answer must list the same model; one that does not answer is left to the run, which leaves it
    out.

    Args:
        profile: The model's.

    Returns:
        The profile, as it was if its id is known.

    Raises:
        UserError: No server can be reached (each is named), or refuses the key, or lists no model, or another one than the first.
    """
    if profile.backend == "tiny":
        from unsaf_async.tiny.folders import with_weights

        return await asyncio.to_thread(with_weights, profile)
    wire = None if profile.model else _wire(profile)
    if wire is None:
        return profile
    found = await _all_models(profile, wire)
    listed = {endpoint: models for endpoint, models in found.items() if not isinstance(models, _Problem)}
    problems = [problem for problem in found.values() if isinstance(problem, _Problem)]
    if not listed:
        whats = "; ".join(problem.what for problem in problems)
        raise UserError(f"{profile.name}: {whats}; {problems[0].then}", field="provider")
    first, (model, *_) = next(iter(listed.items()))
    for endpoint, models in listed.items():
        if model not in models:
            raise UserError(
                f"{profile.name}: {first} serves {model}, and {endpoint} serves {models[0]}; give endpoints of one model, or "
                f"name one that all serve with {setting('model')}",
                field="provider",
            )
    return profile.model_copy(update={"model": model})


async def _all_models(profile: Profile, wire: Wire) -> dict[str, list[str] | _Problem]:
    """By endpoint, as `_models` finds them: of those that answer, and of those that do within `OTHERS_WAIT_S` of the first."""
    found: dict[str, list[str] | _Problem] = {}
    key = key_of_profile(profile)

    async def ask(each: Profile) -> None:
        found[each.endpoint] = await _models(each, wire, key)
        if limit.when() is None and not isinstance(found[each.endpoint], _Problem):
            limit.reschedule(asyncio.get_running_loop().time() + OTHERS_WAIT_S)

    endpoints = profile.at_each_endpoint()
    with suppress(TimeoutError):
        async with asyncio.timeout(None) as limit, asyncio.TaskGroup() as group:
            for each in endpoints:
                group.create_task(ask(each))
    return {each.endpoint: found[each.endpoint] for each in endpoints if each.endpoint in found}


@dataclass(frozen=True)
class _Problem:
    """Why an endpoint's models are not known, and what to do."""

    what: str
    then: str


async def _models(profile: Profile, wire: Wire, key: str | None) -> list[str] | _Problem:
    """The models that an endpoint lists, at least one, or what is wrong with it."""
    from unsaf_async.calls.backends.http import HttpBackend

    redact = Redactor(secrets_of_profile(profile))
    backend = HttpBackend(wire, profile.endpoint, key, profile.headers, redact)
    try:
        async with asyncio.timeout(30):
            models = await backend.models()
    except (CallError, TimeoutError) as error:
        reason = redact(str(error)) or "no answer within 30 s"
        then = meant_endpoint(profile, setting) or f"check the server, {address_given_by(profile, setting)} and the key"
        return _Problem(f"{profile.endpoint}/models: {reason}", then)
    finally:
        await backend.aclose()
    then = meant_endpoint(profile, setting) or f"name one with {setting('model')}"
    return models or _Problem(f"{profile.endpoint} lists no models", then)
