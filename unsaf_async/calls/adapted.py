"""Parameters that a model turned out not to take: its requests go without them for the rest of the run.

The endpoint's refusal names the parameter. It is dropped, or the output limit is sent under its other name, and the request
goes again. What is really sent is what the cache's key covers.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from unsaf_async.calls.backends.error_status import PARAMETERS
from unsaf_async.errors import Rejected
from unsaf_async.events import Announce, ParameterRefused, silent
from unsaf_async.text import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from unsaf_async.calls.provider import Provider
    from unsaf_async.providers.profile import Profile
    from unsaf_async.records import Reply, Request

OTHER_NAME = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
"""The two names of the output limit in OpenAI's protocol."""

IN_DOUBT = ("schema", "logprobs")
"""What a refusal that names nothing may be about, the likeliest first: many servers name neither."""


class Adapted:
    """What one model turned out not to take."""

    def __init__(
        self, profile: Profile, seed: int = 0, refused: Mapping[str, str] | None = None, announce: Announce = silent
    ) -> None:
        """What is known at the start of a session.

        Args:
            profile: The model's.
            seed: The run's: replies that are drawn, since no temperature is taken, are other draws in a run with another seed.
            refused: What earlier sessions learned, as `refused` holds it; None for nothing.
            announce: Receives a `ParameterRefused` for each parameter, once.
        """
        self.refused = {name: reason for name, reason in (refused or {}).items() if name in PARAMETERS}
        """The endpoint's words by the parameter's name."""
        self.taken: set[str] = set()
        """What a reply has come to, of `IN_DOUBT`: a refusal that names nothing is not about these."""
        self._name = profile.name
        # The other protocols have one name for it, and a request must hold it.
        limits = {"openai": profile.max_tokens_field, "azure": profile.max_tokens_field, "litellm": "max_tokens"}
        self._limit_field = limits.get(profile.backend)
        self._seed = seed
        self._announce = announce

    def apply(self, request: Request) -> Request:
        """A request as the model takes it.

        Args:
            request: As the profile would have it.

        Returns:
            The same request, or one without what was refused.
        """
        for parameter in self.refused:
            request = self.without(request, parameter)
        return request

    def drop(self, parameter: str, reason: str) -> None:
        """Note that a parameter is not taken.

        Args:
            parameter: One of `error_status.PARAMETERS`.
            reason: The endpoint's words.
        """
        if parameter not in self.refused:
            self.refused[parameter] = one_line(reason, 300)
            renamed = OTHER_NAME.get(self._limit_field or "", "") if parameter == "max_tokens" else ""
            self._announce(ParameterRefused(self._name, parameter, self.refused[parameter], renamed))

    def without(self, request: Request, parameter: str) -> Request:
        """A request without one parameter.

        Args:
            request: Any.
            parameter: One of `error_status.PARAMETERS`.

        Returns:
            The request without it; with the output limit under its other name; the very same where it does not hold it.
        """
        if parameter == "max_tokens":
            return self._renamed(request)
        sampling, target = request.sampling, request.target
        extra = _without_fields(target.extra, parameter)
        if extra is not target.extra:
            request = replace(request, target=replace(target, extra=extra))
        if parameter == "schema":
            return replace(request, schema=None) if request.schema is not None else request
        if parameter == "prompt_cache":
            return replace(request, prompt_cache=None) if request.prompt_cache is not None else request
        if parameter == "logprobs":
            return replace(request, sampling=replace(sampling, logprobs=False)) if sampling.logprobs else request
        if parameter == "top_p" and sampling.top_p is not None:
            return replace(request, sampling=replace(sampling, top_p=None))
        if parameter == "seed" and sampling.seed is not None:
            return replace(request, sampling=replace(sampling, seed=None))
        if parameter == "temperature" and sampling.temperature is not None:
            # At a temperature of the provider's own a reply is a draw: another seed is another one.
            return replace(request, sampling=replace(sampling, temperature=None), draw=request.draw or self._seed)
        return request

    def _renamed(self, request: Request) -> Request:
        field, target = self._limit_field, request.target
        if field is None or field in target.extra:
            return request
        limit = {field: None, OTHER_NAME[field]: request.sampling.max_output_tokens}
        return replace(request, target=replace(target, extra={**target.extra, **limit}))


def _without_fields(fields: Mapping[str, Any], parameter: str) -> Mapping[str, Any]:
    """`fields` without those that are called as vendors call the parameter, at any depth; the same where there are none."""
    pattern = PARAMETERS[parameter]
    kept: dict[str, Any] = {}
    for name, value in fields.items():
        inner = _without_fields(value, parameter) if isinstance(value, dict) else value
        if not pattern.fullmatch(name.lower()) and (inner or inner is value):
            kept[name] = inner
    changed = len(kept) != len(fields) or any(kept[name] is not fields[name] for name in kept)
    return kept if changed else fields


class Adapting:
    """A provider that leaves out what the model does not take, and asks again where it learns so."""

    def __init__(self, inner: Provider, adapted: Adapted) -> None:
        """A layer for one image's calls.

        Args:
            inner: Who is asked.
            adapted: What the model is known not to take; shared by all layers around the model.
        """
        self._inner = inner
        self._adapted = adapted

    async def complete(self, request: Request) -> Reply:
        """The inner provider's reply to the request, or to as much of it as the model takes.

        A refusal that names nothing is tried once without the schema, or else without log-probabilities: the prompts ask for
        the same JSON in words, and a run without log-probabilities has one sign of confidence less.

        Args:
            request: The call.

        Returns:
            The reply.

        Raises:
            CallError: None came.
        """
        adapted = self._adapted
        guess = reason = ""
        while True:  # each round lacks something that the one before had
            sent = adapted.apply(request)
            sent = adapted.without(sent, guess) if guess else sent
            try:
                reply = await self._inner.complete(sent)
            except Rejected as error:
                if error.parameter and adapted.without(sent, error.parameter) is not sent:
                    adapted.drop(error.parameter, str(error))
                    continue
                held = [name for name in _held(adapted, sent) if name not in adapted.taken]
                if guess or error.status not in (400, 422) or not held:
                    raise
                guess, reason = held[0], str(error)
                continue
            if guess:
                adapted.drop(guess, reason)
            adapted.taken.update(_held(adapted, sent))
            return reply


def _held(adapted: Adapted, request: Request) -> list[str]:
    """Which of `IN_DOUBT` a request holds."""
    if not request.target.extra:  # most requests, and every call comes here
        held = {"schema": request.schema is not None, "logprobs": request.sampling.logprobs}
        return [name for name in IN_DOUBT if held[name]]
    return [name for name in IN_DOUBT if adapted.without(request, name) is not request]
