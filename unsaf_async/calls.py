"""From a prompt to a request, for one model: which parameters it is sent, and how its calls are written down."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from unsaf_async.errors import Rejected
from unsaf_async.records import CallRecord, EncodedImage, Message, Reply, Request, Role, Sampling, Schema, Target

if TYPE_CHECKING:
    from unsaf_async.profiles import Profile
    from unsaf_async.provider import Provider

TEMPERATURE: dict[Role, float | None] = {"ask": None, "answer": 0.0, "judge": 0.0}
"""The method's defaults: questions at the provider's own temperature (None), answers and verdicts at 0 where it is taken."""


@dataclass(frozen=True)
class Caller:
    """Builds the requests to one model. questions: K, which sets the room for a question list. seed: the run's."""

    profile: Profile
    questions: int
    seed: int

    @cached_property
    def target(self) -> Target:
        """Where the requests go."""
        profile = self.profile
        return Target(profile.name, profile.model, profile.endpoint, profile.extra)

    def request(
        self, role: Role, prompt: str, *, image: EncodedImage | None = None, schema: Schema | None = None
    ) -> Request:
        """One fresh conversation: the image, if any, and `prompt`. What the model does not take is left out."""
        takes = self.profile.takes
        temperature = TEMPERATURE[role] if takes.temperature else None
        drawn = temperature is None  # a sampled reply: another seed is another draw
        return Request(
            role=role,
            target=self.target,
            messages=(Message("user", prompt, image),),
            sampling=Sampling(
                max_output_tokens=self.profile.output_tokens.limit(role, self.questions),
                temperature=temperature,
                seed=self.seed if takes.seed else None,
            ),
            schema=schema if takes.json_schema else None,
            draw=self.seed if drawn else 0,
        )


async def complete_schema(provider: Provider, request: Request) -> Reply:
    """The reply to a request with a schema; where the endpoint rejects the schema, to the same request without.

    The prompts ask for the same JSON in words. Raises CallError.
    """
    try:
        return await provider.complete(request)
    except Rejected as error:
        if request.schema is None or error.status not in (400, 422):
            raise
        return await provider.complete(replace(request, schema=None))


def record_of(role: Role, reply: Reply) -> CallRecord:
    """How `reply` is written down."""
    return CallRecord(
        role=role,
        outcome=reply.outcome,
        cached=reply.cached,
        cost_usd=reply.cost_usd,
        input_tokens=reply.usage.input_tokens,
        output_tokens=reply.usage.output_tokens,
        latency_s=round(reply.latency_s, 6),
        finish_reason=reply.finish_reason,
        detail=reply.detail,
    )
