"""From a prompt to a request, for one model: which parameters it is sent, and how its calls are written down."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from unsaf_async.calls.prompt_cache import prompt_cache_of
from unsaf_async.errors import as_option
from unsaf_async.records import CallRecord, EncodedImage, Message, Reply, Request, Role, Sampling, Schema, Target

if TYPE_CHECKING:
    from collections.abc import Mapping

    from unsaf_async.calls.adapted import Adapted
    from unsaf_async.calls.provider import Provider
    from unsaf_async.errors import CallError
    from unsaf_async.providers.profile import Profile

TEMPERATURE: dict[Role, float | None] = {"ask": None, "sample": None}
"""The method's defaults: questions, and repeated draws of an answer, at the provider's own temperature (None); all else at 0,
where that is taken."""

WITH_LOGPROBS: frozenset[Role] = frozenset({"answer", "choice", "control", "p-true"})
"""Roles whose replies come with token log-probabilities, where the model gives them: they cost nothing."""


@dataclass(frozen=True)
class RequestBuilder:
    """Builds the requests to one model.

    questions: K, which sets the room for a question list. seed: the run's. calls: how many calls about one image the model gets,
    by role, so that it is known which begin alike; empty where that is not known.
    """

    profile: Profile
    questions: int
    seed: int
    calls: Mapping[Role, int] = field(default_factory=dict)

    @cached_property
    def target(self) -> Target:
        """Where the requests go."""
        profile = self.profile
        return Target(profile.name, profile.model, profile.endpoint, profile.extra, profile.headers)

    def request(
        self,
        role: Role,
        prompt: str,
        *,
        image: EncodedImage | None = None,
        schema: Schema | None = None,
        sample: int = 0,
        verdicts: int = 1,
    ) -> Request:
        """One fresh conversation: an image, if any, and a prompt. What the model does not take is not sent.

        Args:
            role: What the call is for; sets the output limit and the temperature.
            prompt: The text.
            image: What comes before it; None for a call without an image.
            schema: What the reply must follow; None for free text.
            sample: Which of several draws of an otherwise equal request this is, >= 0; each has its own seed.
            verdicts: How many verdicts a judge is to give.

        Returns:
            The request.
        """
        takes = self.profile.takes
        temperature = TEMPERATURE.get(role, 0.0) if takes.temperature else None
        drawn = temperature is None  # a sampled reply: another seed is another draw
        seed = (self.seed + sample * SAMPLE_STEP) % 2**31
        schema = schema if takes.json_schema else None
        return Request(
            role=role,
            target=self.target,
            messages=(Message("user", prompt, image),),
            sampling=Sampling(
                max_output_tokens=self.profile.output_tokens.limit(role, self.questions, verdicts),
                temperature=temperature,
                seed=seed if takes.seed else None,
                logprobs=takes.logprobs and role in WITH_LOGPROBS,
            ),
            schema=schema,
            draw=seed if drawn else 0,
            prompt_cache=prompt_cache_of(self.profile, self.calls, role, image, schema),
        )


@dataclass(frozen=True)
class ModelClient:
    """One model as one image's calls reach it.

    provider: the layers that are paid from that image's money. adapted: what the model turned out not to take, if it is known.
    """

    builder: RequestBuilder
    provider: Provider
    adapted: Adapted | None = None

    @property
    def name(self) -> str:
        """The model's, as its profile has it."""
        return self.builder.profile.name

    @property
    def refuses_logprobs(self) -> bool:
        """Whether it turned out that the model gives no log-probabilities."""
        return self.adapted is not None and "logprobs" in self.adapted.refused

    async def ask(
        self,
        role: Role,
        prompt: str,
        *,
        image: EncodedImage | None = None,
        schema: Schema | None = None,
        sample: int = 0,
        verdicts: int = 1,
    ) -> Reply:
        """The reply to one fresh conversation.

        Args:
            role: What the call is for.
            prompt: The text.
            image: What comes before it; None for a call without an image.
            schema: What the reply must follow; None for free text.
            sample: Which of several draws of an otherwise equal request this is, >= 0.
            verdicts: How many verdicts a judge is to give.

        Returns:
            The reply.

        Raises:
            CallError: None came.
            BudgetExhausted: There is no money to begin the image.
        """
        return await self.provider.complete(
            self.builder.request(role, prompt, image=image, schema=schema, sample=sample, verdicts=verdicts)
        )


SAMPLE_STEP = 1_000_003
"""Between the seeds of two draws: far from those that a user gives to two runs."""


def failed(role: Role, error: CallError) -> CallRecord:
    """How a call without a reply is written down.

    Args:
        role: What the call was for.
        error: Why there is none.

    Returns:
        A record with outcome `failed`.
    """
    return CallRecord(role=role, outcome="failed", detail=error.spelled(as_option))


def record_of(role: Role, reply: Reply) -> CallRecord:
    """How a reply is written down.

    Args:
        role: What the call was for.
        reply: What it brought.

    Returns:
        The record, without the text.
    """
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
        model=reply.model,
    )
