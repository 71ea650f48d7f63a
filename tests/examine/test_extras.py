"""What is asked beside the answers: audits, grounded verdicts, confidence, further draws; each kept, none asked twice."""

from __future__ import annotations

import asyncio
import json
from math import log

import pytest
from clock import clocked, run
from doubles import IMAGE, Function, profile, reply

from unsaf_async.calls.request import ModelClient, RequestBuilder
from unsaf_async.errors import Transient
from unsaf_async.examine.extras import ExtraMeasures, Extras
from unsaf_async.examine.judge import Judge, majority
from unsaf_async.examine.parse.verdicts import choice, percentage
from unsaf_async.prompts import load_pack
from unsaf_async.providers.profile import Takes
from unsaf_async.records import CallRecord, Question

PACK = load_pack("unsaf")
ALL = ExtraMeasures(auditors=("a", "b"), grounded=True, stated=True, p_true=True, samples=2)

SAID = {
    "audit": reply('{"verdict": "answerable"}'),
    "ground": reply('{"verdict": "unsupported"}'),
    "confidence": reply('{"confidence": 70}'),
    "p-true": reply("B", logprobs=(log(0.9),)),
    "sample": reply("It is blue."),
}


class Model(Function):
    """Says what stands in `said`, by the request's role; an exception is raised."""

    def __init__(self, **said) -> None:
        self.said = SAID | {role.replace("_", "-"): found for role, found in said.items()}
        super().__init__(self._said)

    def _said(self, request):
        found = self.said[request.role]
        if isinstance(found, BaseException):
            raise found
        return found

    def roles(self):
        return sorted(request.role for request in self.requests)


def question(**fields) -> Question:
    given = {
        "text": "What color is the cat?",
        "intended": "answerable",
        "response": "It is red.",
        "answer": CallRecord(role="answer", outcome="ok"),
        "act": "answered",
        "decided_by": "rule",
    }
    return Question(**given | fields)


def extras(model, wanted=ALL, seed=0, **fields) -> Extras:
    client = ModelClient(RequestBuilder(profile(takes=Takes(logprobs=True, seed=True), **fields), 6, seed), model)
    auditors = dict.fromkeys(wanted.auditors, client)
    return Extras(wanted, PACK, client, auditors, ("judge", client))


@clocked
async def test_everything_that_is_wanted_is_asked_once_and_kept():
    model = Model()
    found = await extras(model).measure(question(), IMAGE)
    assert model.roles() == ["audit", "audit", "confidence", "ground", "p-true", "sample", "sample"]
    assert [(audit.auditor, audit.answerable) for audit in found.audits] == [("a", True), ("b", True)]
    assert (found.support.judge, found.support.supported) == ("judge", False)
    assert found.stated.value == 0.7
    assert found.p_true.value == pytest.approx(0.1)  # "B" is false: the complement
    assert [(sample.text, sample.act) for sample in found.samples] == [("It is blue.", "answered")] * 2
    assert len(found.calls) == 8
    assert not ALL.pending(found)
    assert await extras(model).measure(found, IMAGE) == found
    assert len(model.requests) == 7


@clocked
async def test_the_auditor_is_blind_to_the_label_and_sees_the_image_and_no_answer():
    answerable, unanswerable = Model(), Model()
    wanted = ExtraMeasures(auditors=("a",))
    await extras(answerable, wanted).measure(question(), IMAGE)
    await extras(unanswerable, wanted).measure(question(intended="unanswerable", kind="hidden", act="abstained"), IMAGE)
    (one,), (other,) = answerable.requests, unanswerable.requests
    assert one == other
    (message,) = one.messages
    assert message.image is IMAGE
    assert question().response not in message.text


@clocked
async def test_draws_differ_by_seed_and_draw_and_are_taken_at_the_providers_own_temperature():
    model = Model()
    await extras(model, ExtraMeasures(samples=3), seed=5).measure(question(), IMAGE)
    assert {request.sampling.temperature for request in model.requests} == {None}
    assert len({request.sampling.seed for request in model.requests} | {5}) == 4
    assert len({request.draw for request in model.requests} | {5}) == 4
    again = Model()
    await extras(again, ExtraMeasures(samples=3), seed=5).measure(question(), IMAGE)
    assert again.requests == model.requests


@clocked
async def test_only_what_is_missing_or_failed_is_asked_again():
    broken = Model(audit=Transient("500 broken"), p_true=Transient("500 broken"), sample=Transient("500 broken"))
    first = await extras(broken).measure(question(), IMAGE)
    assert [audit.answerable for audit in first.audits] == [None, None]
    assert (first.p_true.value, first.p_true.why) == (None, "the call failed")
    model = Model()
    more = ExtraMeasures(auditors=("a", "b", "c"), grounded=True, stated=True, p_true=True, samples=3)
    assert len(more.pending(first)) == 3 + 1 + 3
    whole = await extras(model, more).measure(first, IMAGE)
    assert model.roles() == ["audit", "audit", "audit", "p-true", "sample", "sample", "sample"]
    assert [audit.auditor for audit in whole.audits] == ["a", "b", "c"]
    assert whole.stated == first.stated
    assert not more.pending(whole)


@pytest.mark.parametrize(
    "fields",
    [
        {"intended": "unanswerable"},
        {"act": "abstained"},
        {"act": None, "unscored": "undecided"},
        {"act": "invalid", "unscored": "invalid"},
    ],
)
def test_a_grounded_verdict_is_asked_of_answers_to_answerable_questions_alone(fields):
    assert not ExtraMeasures(grounded=True).pending(question(**fields))
    assert ExtraMeasures(grounded=True).pending(question())


def test_a_question_without_an_answer_is_audited_and_asked_nothing_else():
    failed = question(answer=CallRecord(role="answer", outcome="failed"), act=None, unscored="failed", response="")
    assert ALL.pending(failed) == [("audit", "a"), ("audit", "b")]


@pytest.mark.parametrize(
    ("said", "value", "why"),
    [
        (reply("A", logprobs=(log(0.8), -1.0)), 0.8, ""),
        (reply("B) False", logprobs=(log(0.75),)), 0.25, ""),
        (reply("(B)", logprobs=(log(0.75),)), None, 'the reply does not begin with the letter "A" or "B"'),
        (reply("A cat.", logprobs=(log(0.75),)), None, 'the reply does not begin with the letter "A" or "B"'),
        (reply("A", "truncated", logprobs=(0.0,)), 1.0, ""),
        (reply("Yes", logprobs=(log(0.8),)), None, 'the reply does not begin with the letter "A" or "B"'),
        (reply("A"), None, "the reply came without log-probabilities"),
        (reply("A", "refused", logprobs=(0.0,)), None, 'the reply does not begin with the letter "A" or "B"'),
    ],
)
def test_p_true_is_the_probability_of_the_first_letter(said, value, why):
    found = run(extras(Model(p_true=said), ExtraMeasures(p_true=True)).measure(question(), IMAGE)).p_true
    assert found.value == (None if value is None else pytest.approx(value))
    assert found.why == why


@pytest.mark.parametrize(
    ("text", "percent"),
    [
        ('{"confidence": 85}', 85),
        ('```json\n{"confidence": "85%"}\n```', 85),
        ("85", 85),
        ("**0 %**.", 0),
        ("99.5", 99.5),
        ('{"confidence": 101}', None),
        ('{"confidence": -1}', None),
        ('{"confidence": true}', None),
        ('{"confidence": null}', None),
        ('{"confidence": 1, "confidence": 2}', None),
        ("about 85", None),
        ("8 5", None),
        ("", None),
        ("NaN", None),
    ],
)
def test_a_stated_confidence_is_one_number_and_nothing_else(text, percent):
    assert percentage(text) == percent


def test_a_choice_is_one_of_its_labels():
    labels = ("supported", "unsupported")
    assert choice('{"verdict": "unsupported"}', labels) == "unsupported"
    assert choice("Supported.", labels) == "supported"
    assert choice("answered", labels) is None
    assert choice("not supported", labels) is None


# --- panels -----------------------------------------------------------------------------------------------------------

OPEN = "Hard to say, perhaps this, perhaps that, on balance the first."


@pytest.mark.parametrize(
    ("acts", "act", "unscored"),
    [
        (["answered", "answered", "abstained"], "answered", None),
        (["answered", "abstained"], None, "tied"),
        (["answered", "abstained", None], None, "tied"),
        (["abstained", None, None], "abstained", None),
        (["invalid", "invalid", "answered"], "invalid", "invalid"),
        (["invalid", "abstained", "answered"], None, "tied"),
        ([None, None], None, "unjudged"),
        ([], None, "unjudged"),
    ],
)
def test_a_panel_decides_by_majority_and_not_at_all_where_it_is_tied(acts, act, unscored):
    assert majority(acts) == (act, unscored)

    async def main():
        members = tuple(
            (
                str(number),
                ModelClient(
                    RequestBuilder(profile(), 6, 0),
                    Function(lambda _, said=said: reply(json.dumps({"verdict": said}) if said else "no idea")),
                ),
            )
            for number, said in enumerate(acts)
        )
        found = await Judge(PACK, members).judge("What is it?", OPEN, "stop")
        assert (found.act, found.unscored) == (act, unscored)
        assert [(vote.judge, vote.act) for vote in found.votes] == [(str(n), said) for n, said in enumerate(acts)]
        assert found.decided_by == ("panel" if act else None)

    if len(acts) > 1:
        asyncio.run(main())


@clocked
async def test_a_panel_is_not_asked_about_what_the_rules_decide():
    model = Function(lambda _: reply("never asked"))
    members = tuple((name, ModelClient(RequestBuilder(profile(), 6, 0), model)) for name in "ab")
    found = await Judge(PACK, members).judge("What is her name?", "I cannot tell from the image.", "stop")
    assert (found.act, found.decided_by, found.votes) == ("abstained", "rule", ())
    assert not model.requests
