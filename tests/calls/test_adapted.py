"""What a model does not take is left out, once, for the rest of a run."""

from __future__ import annotations

from dataclasses import replace

import pytest
from doubles import Function, Listener, Script, profile, reply, request

from unsaf_async.calls.adapted import Adapted, Adapting
from unsaf_async.errors import Fatal, Rejected, Transient
from unsaf_async.events import ParameterRefused
from unsaf_async.records import Sampling, Schema

SCHEMA = Schema("list", {"type": "object"})


def adapting(provider, **fields):
    return Adapting(provider, Adapted(profile(**fields)))


def fussy(status, *, about):
    """A provider that rejects what `about` picks from a request."""

    def answer(made):
        if about(made):
            raise Rejected("not taken", status=status)
        return reply()

    return Function(answer)


@pytest.mark.parametrize("status", [400, 422])
async def test_a_rejected_schema_is_left_out_and_the_log_probabilities_stay(status):
    provider = fussy(status, about=lambda made: made.schema is not None)
    made = request(schema=SCHEMA, sampling=Sampling(max_output_tokens=100, logprobs=True))
    assert (await adapting(provider).complete(made)).outcome == "ok"
    assert provider.requests == [made, replace(made, schema=None)]


@pytest.mark.parametrize("status", [400, 422])
async def test_rejected_log_probabilities_are_left_out(status):
    provider = fussy(status, about=lambda made: made.sampling.logprobs)
    made = request(sampling=Sampling(max_output_tokens=100, temperature=0.5, logprobs=True))
    assert (await adapting(provider).complete(made)).outcome == "ok"
    assert [each.sampling.logprobs for each in provider.requests] == [True, False]
    assert provider.requests[1].sampling.temperature == 0.5


@pytest.mark.parametrize(
    ("error", "fields"),
    [
        (Rejected("too large", status=413), {"schema": SCHEMA}),
        (Fatal("the key was refused", kind="key", status=400), {"schema": SCHEMA}),  # as Google says it
        (Rejected("not taken", status=400), {}),
        (Rejected("not taken", status=422), {}),
        (Transient("unavailable", status=503), {"schema": SCHEMA}),
    ],
)
async def test_no_other_failure_is_asked_again_without(error, fields):
    provider = Script(error)
    with pytest.raises(type(error)):
        await adapting(provider).complete(request(**fields))
    assert len(provider.requests) == 1


async def test_a_named_parameter_is_dropped_once_for_all_layers_and_announced_once():
    def answer(made):
        if made.sampling.temperature is not None:
            raise Rejected("temperature is not supported", status=400, parameter="temperature")
        return reply()

    heard, provider = Listener(), Function(answer)
    adapted = Adapted(profile(), seed=7, announce=heard)
    first, second = request("One?"), request("Two?")
    for made in (first, second):
        await Adapting(provider, adapted).complete(made)
    assert [each.sampling.temperature for each in provider.requests] == [0.0, None, None]
    assert [each.draw for each in provider.requests] == [0, 7, 7]
    assert heard.events == [ParameterRefused("double", "temperature", "temperature is not supported")]
    assert adapted.refused == {"temperature": "temperature is not supported"}


async def test_calls_under_way_at_the_first_refusal_are_sent_again_once_for_each_parameter():
    def answer(made):
        for name in ("seed", "temperature"):
            if getattr(made.sampling, name) is not None:
                raise Rejected(f"{name} is not supported", status=422, parameter=name)
        return reply()

    provider = Function(answer)
    layer = Adapting(provider, Adapted(profile()))
    made = request(sampling=Sampling(max_output_tokens=100, temperature=0.0, seed=1))
    await layer.complete(made)
    assert len(provider.requests) == 3
    await layer.complete(made)
    assert len(provider.requests) == 4


async def test_a_parameter_that_is_not_sent_is_nothing_to_drop():
    provider = Script(Rejected("seed is not supported", status=400, parameter="seed"))
    adapted = Adapted(profile())
    with pytest.raises(Rejected, match="seed"):
        await Adapting(provider, adapted).complete(request())
    assert (len(provider.requests), adapted.refused) == (1, {})


async def test_what_did_not_help_is_not_dropped():
    provider = Script(Rejected("bad image", status=400))
    adapted = Adapted(profile())
    with pytest.raises(Rejected, match="bad image"):
        await Adapting(provider, adapted).complete(request(schema=SCHEMA))
    assert (len(provider.requests), adapted.refused) == (2, {})


async def test_what_an_earlier_session_learned_is_not_sent():
    provider = Script(reply())
    await Adapting(provider, Adapted(profile(), refused={"schema": "no", "a-lie": "x"})).complete(
        request(schema=SCHEMA)
    )
    assert [made.schema for made in provider.requests] == [None]


def test_the_output_limit_goes_under_its_other_name_where_the_protocol_has_two():
    made = request()
    renamed = Adapted(profile()).without(made, "max_tokens")
    assert renamed.target.extra == {"max_tokens": None, "max_completion_tokens": 100}
    assert Adapted(profile()).without(renamed, "max_tokens") is renamed
    back = Adapted(profile(max_tokens_field="max_completion_tokens")).without(made, "max_tokens")
    assert back.target.extra == {"max_completion_tokens": None, "max_tokens": 100}
    assert Adapted(profile(backend="anthropic")).without(made, "max_tokens") is made


@pytest.mark.parametrize(
    ("extra", "left"),
    [
        ({"reasoning_effort": "low", "user": "x"}, {"user": "x"}),
        ({"reasoning": {"effort": "low"}}, {}),
        ({"generationConfig": {"thinkingConfig": {"thinkingBudget": 0}, "topK": 1}}, {"generationConfig": {"topK": 1}}),
        ({"thinking": {"type": "disabled"}}, {}),
    ],
)
def test_how_much_to_think_is_left_out_of_the_further_fields_however_it_is_called(extra, left):
    made = request(target=replace(request().target, extra=extra))
    assert Adapted(profile()).without(made, "reasoning_effort").target.extra == left
    assert Adapted(profile()).without(made, "seed") is made


async def test_what_a_reply_has_come_to_is_not_suspected_by_a_refusal_that_names_nothing():
    """A picture that cannot be processed takes no log-probabilities from the rest of the run."""
    made = request(sampling=Sampling(max_output_tokens=100, logprobs=True))
    provider = Script(reply(), Rejected("Could not process image", status=400), reply())
    layer = adapting(provider)
    assert (await layer.complete(made)).outcome == "ok"
    with pytest.raises(Rejected, match="process image"):
        await layer.complete(made)
    assert (await layer.complete(made)).outcome == "ok"
    assert [each.sampling.logprobs for each in provider.requests] == [True] * 3
