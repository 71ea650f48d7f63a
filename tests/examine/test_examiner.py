"""One image: what is asked, in which order it is written down, and what becomes of everything that goes wrong."""

from __future__ import annotations

import asyncio
import json
from random import Random

import pytest
from clock import clocked, run
from doubles import IMAGE, Function, profile, reply

from unsaf_async.calls.adapted import Adapted, Adapting
from unsaf_async.calls.cached import Cached
from unsaf_async.calls.request import ModelClient, RequestBuilder
from unsaf_async.calls.store import ReplyStore
from unsaf_async.errors import BudgetExhausted, Rejected, Transient
from unsaf_async.examine.examiner import Examiner
from unsaf_async.examine.judge import Judge
from unsaf_async.prompts import load_pack
from unsaf_async.records import ImageRecord

PACK = load_pack("unsaf")
RECORD = ImageRecord(id="a.jpg", path="/photos/a.jpg")


def label_of(wanted):
    """Which list a question-writing request asks for."""
    return "unanswerable" if "UNANSWERABLE" in wanted.messages[0].text else "answerable"


def question_of(wanted):
    """Which question an answering or judging request is about."""
    text = wanted.messages[0].text
    if wanted.role == "judge":
        return json.loads(
            next(
                line
                for line in text.splitlines()
                if line.startswith('{"question": ') and line.endswith("}") and "->" not in line
            )
        )["question"]
    return text.rpartition("Question: ")[2]


def listed(*questions, kind=None):
    """A question list as a model writes it."""
    return reply(
        json.dumps({"questions": [{"question": text} | ({"kind": kind} if kind else {}) for text in questions]})
    )


class Model(Function):
    """A model that writes `lists[label]`, one list a call (the last one repeats), and answers and judges as it is told.

    delay_s: how long a call takes.
    """

    def __init__(self, answerable, unanswerable, answer=None, judge=None, delay_s=lambda request: 0.0) -> None:
        self.lists = {"answerable": list(answerable), "unanswerable": list(unanswerable)}
        self.answer = answer or (lambda question: reply("It is red."))
        self.judge = judge or (lambda question: reply('{"verdict": "answered"}'))
        self.delay_s = delay_s
        super().__init__(self._reply)

    async def _reply(self, request):
        await asyncio.sleep(self.delay_s(request))
        if request.role == "ask":
            lists = self.lists[label_of(request)]
            found = lists.pop(0) if len(lists) > 1 else lists[0]
        else:
            found = (self.answer if request.role == "answer" else self.judge)(question_of(request))
        if isinstance(found, BaseException):
            raise found
        return found

    def of(self, role):
        """The requests in one role, in order."""
        return [request for request in self.requests if request.role == role]


def examiner(model, questions=2, seed=5, takes=None):
    subject = ModelClient(RequestBuilder(profile(**({"takes": takes} if takes else {})), questions, seed), model)
    return Examiner(subject, Judge(PACK, (("self", subject),)), PACK, questions)


async def examined(model, questions=2, **options):
    return await examiner(model, questions, **options).examine(RECORD, IMAGE)


GOOD = {"answerable": ["What is this?", "Where is it?"], "unanswerable": ["Who owns it?", "What did it cost?"]}


def good(**more):
    return Model([listed(*GOOD["answerable"])], [listed(*GOOD["unanswerable"], kind="identity")], **more)


@clocked
async def test_an_image_is_asked_about_answered_and_judged():
    model = good(answer=lambda question: reply("I cannot tell." if question.startswith("Who") else "It is red."))
    found = await examined(model)
    assert [(each.text, each.intended, each.kind) for each in found.questions] == [
        ("What is this?", "answerable", None),
        ("Where is it?", "answerable", None),
        ("Who owns it?", "unanswerable", "identity"),
        ("What did it cost?", "unanswerable", "identity"),
    ]
    assert [each.act for each in found.questions] == ["answered", "answered", "abstained", "answered"]
    assert all(each.unscored is None and each.decided_by for each in found.questions)
    assert (found.missing, found.dropped, found.failure) == (0, (), None)
    assert [call.outcome for call in found.asks] == ["ok", "ok"]
    assert len(model.of("ask")) == 2
    assert len(model.of("answer")) == 4


@pytest.mark.parametrize("seed", range(10))
def test_the_record_is_the_same_in_whatever_order_the_replies_come(seed):
    def answer(question):
        return reply("I cannot tell." if "own" in question else f"About {question} I would say yes or no, maybe.")

    async def main():
        random = Random(seed)
        usual = await examined(good(answer=answer))
        shuffled = await examined(good(answer=answer, delay_s=lambda request: random.random() * 10))
        assert len(usual.questions) == 4
        assert shuffled.model_copy(update={"wall_s": usual.wall_s}) == usual

    run(main())


@clocked
async def test_no_stage_waits_for_another_question():
    """The quick list's questions are judged while the other list is still being written."""
    model = good(
        answer=lambda question: reply("Hard to say, perhaps this, perhaps that, on balance the first."),
        delay_s=lambda request: 100.0 if request.role == "ask" and label_of(request) == "unanswerable" else 1.0,
    )
    found = await examined(model)
    assert found.wall_s == pytest.approx(102, abs=0.1)
    roles = [request.role for request in model.requests]
    assert roles.index("judge") < len(roles) - 1 - roles[::-1].index("answer")


# --- question lists


@clocked
async def test_no_more_than_k_questions_of_a_label_are_asked_and_the_first_ones_count():
    model = Model([listed("A one?", "B two?", "C three?", "D four?")], [listed("E five?", "F six?", "G seven?")])
    found = await examined(model, 2)
    assert [each.text for each in found.questions] == ["A one?", "B two?", "E five?", "F six?"]
    assert len(model.of("ask")) == 2
    assert found.dropped == ()


@clocked
async def test_repeated_and_malformed_items_are_asked_again_once_then_dropped_and_counted():
    model = Model(
        [
            listed("What is this?", "WHAT IS THIS ?", "The image shows a cat."),
            listed("what is this", "Where is it?", "The image shows a dog."),
            listed("Never asked for?"),
        ],
        [listed("Who owns it?", "What did it cost?", "Why?")],
    )
    found = await examined(model, 3)
    assert [each.text for each in found.questions if each.intended == "answerable"] == ["What is this?", "Where is it?"]
    assert [(each.reason, each.intended) for each in found.dropped if each.intended == "answerable"] == [
        ("duplicate", "answerable"),
        ("malformed", "answerable"),
        ("duplicate", "answerable"),
        ("malformed", "answerable"),
    ]
    asked = [request for request in model.of("ask") if label_of(request) == "answerable"]
    assert len(asked) == 2
    assert "write 3 different" in asked[0].messages[0].text
    assert "write 2 different" in asked[1].messages[0].text
    assert asked[1].messages[0].text.count("What is this?") == 1
    assert found.missing == 6 - len(found.questions)


@clocked
async def test_of_a_reply_with_both_sections_only_the_one_that_was_asked_for_is_asked_and_the_rest_is_counted():
    both = reply(
        "**Answerable questions:**\n1. What is this?\n2. Where is it?\n\n"
        "**Unanswerable questions:**\n1. Who owns it?\n2. What did it cost?"
    )
    found = await examined(Model([both], [both]))
    asked = [(each.text, each.intended) for each in found.questions]
    assert asked == [(text, label) for label, texts in GOOD.items() for text in texts]
    assert [(each.text, each.intended, each.reason) for each in found.dropped] == [
        ("Who owns it?", "answerable", "other_label"),
        ("What did it cost?", "answerable", "other_label"),
        ("What is this?", "unanswerable", "other_label"),
        ("Where is it?", "unanswerable", "other_label"),
    ]
    assert (found.missing, len(found.asks)) == (0, 2)


@clocked
async def test_what_a_japanese_model_writes_under_the_key_question_is_asked():
    """The gate knew Latin openings and question marks, so that a model's 48 questions were all malformed."""
    written = ("画像には何人の人が写っていますか。", "車の色は何色ですか。")
    found = await examined(Model([listed(*written)], [listed("この犬の名前は何ですか。", "撮影日")]))
    assert [each.text for each in found.questions] == [*written, "この犬の名前は何ですか。", "撮影日"]
    assert found.dropped == ()


@clocked
async def test_the_same_words_under_both_labels_are_kept_under_one():
    model = Model([listed("What is this?", "Where is it?")], [listed("what is THIS", "Who owns it?", kind="identity")])
    found = await examined(model)
    assert [each.text for each in found.questions] == ["What is this?", "Where is it?", "Who owns it?"]
    assert [(each.text, each.intended, each.reason) for each in found.dropped] == [
        ("what is THIS", "unanswerable", "duplicate")
    ]
    assert found.missing == 1


@clocked
async def test_a_list_that_was_cut_off_still_gives_its_whole_questions():
    cut = reply(
        '{"questions": [{"question": "What is this?"}, {"question": "Where', "truncated", finish_reason="length"
    )
    model = Model([cut, listed("Where is it?")], [listed(*GOOD["unanswerable"])])
    found = await examined(model)
    assert [each.text for each in found.questions][:2] == ["What is this?", "Where is it?"]
    assert [call.outcome for call in found.asks] == ["truncated", "ok", "ok"]


@pytest.mark.parametrize("outcome", ["refused", "blocked", "unreadable"])
def test_a_reply_that_did_not_end_well_holds_no_questions_whatever_it_says(outcome):
    async def main():
        refusal = reply("1. What is this?\n2. Where is it?", outcome)
        found = await examined(Model([refusal], [listed(*GOOD["unanswerable"])]))
        assert [each.intended for each in found.questions] == ["unanswerable"] * 2
        assert [call.outcome for call in found.asks] == [outcome, outcome, "ok"]
        assert (found.missing, found.failure) == (2, None)

    run(main())


@clocked
async def test_a_reply_without_a_list_is_unreadable_and_an_image_without_questions_a_failure_with_its_reason():
    found = await examined(Model([reply("")], [reply("{}")]))
    assert found.questions == ()
    assert found.missing == 4
    assert [call.outcome for call in found.asks] == ["unreadable"] * 4
    assert found.failure is not None
    assert "no question was obtained" in found.failure
    assert "no list of questions" in found.failure


@pytest.mark.parametrize("seeded", [False, True])
def test_asking_again_really_asks_again_and_does_not_get_the_first_reply_from_the_cache(tmp_path, seeded):
    """Where no question was good, both requests have the same words: only another draw makes them two calls."""
    from unsaf_async.providers.profile import Takes

    async def main():
        store = ReplyStore(tmp_path / "cache")
        model = Model([reply("I see a cat."), listed(*GOOD["answerable"])], [listed(*GOOD["unanswerable"])])
        cached = Cached(model, store, {}, "run")
        for _ in range(2):  # the second run has everything from the cache
            found = await examiner(cached, takes=Takes(seed=seeded)).examine(RECORD, IMAGE)
            assert [each.intended for each in found.questions] == ["answerable"] * 2 + ["unanswerable"] * 2
        asked = [request for request in model.of("ask") if label_of(request) == "answerable"]
        assert len(asked) == 2
        assert asked[0].messages == asked[1].messages
        seeds = {request.sampling.seed for request in asked}
        assert seeds == ({None} if not seeded else seeds)
        assert len(seeds) == (2 if seeded else 1)
        assert all(seed is None or 0 <= seed < 2**31 for seed in seeds)
        store.close()

    asyncio.run(main())


@clocked
async def test_runs_of_different_seeds_share_no_draw():
    draws = set()
    for seed in (0, 1, 2**31 - 1):
        model = Model([reply("nothing")], [reply("nothing")])
        await examined(model, seed=seed)
        for wanted in model.of("ask"):
            draws.add((label_of(wanted), wanted.draw))
    assert len(draws) == 3 * 2 * 2


# --- what fails


@clocked
async def test_a_call_that_failed_is_a_value_on_its_question_and_the_others_go_on():
    def answer(question):
        return Transient("500 broken") if question == "Where is it?" else reply("It is red.")

    found = await examined(good(answer=answer))
    failed = found.questions[1]
    assert (failed.text, failed.unscored, failed.act, failed.response) == ("Where is it?", "failed", None, "")
    assert (failed.answer.outcome, failed.answer.detail) == ("failed", "500 broken")
    assert [each.unscored for each in found.questions] == [None, "failed", None, None]
    assert found.failure is None


@clocked
async def test_a_question_list_that_failed_twice_leaves_the_other_one():
    found = await examined(Model([Rejected("413 too large")], [listed(*GOOD["unanswerable"])]))
    assert [each.intended for each in found.questions] == ["unanswerable"] * 2
    assert [(call.outcome, call.detail) for call in found.asks][:2] == [("failed", "413 too large")] * 2


@pytest.mark.parametrize("outcome", ["truncated", "refused", "blocked", "unreadable"])
def test_an_answer_that_did_not_end_well_is_unscored_and_never_judged(outcome):
    async def main():
        model = good(answer=lambda question: reply("I cannot tell.", outcome))
        found = await examined(model)
        assert [each.unscored for each in found.questions] == [outcome] * 4
        assert all(each.act is None and each.judge is None for each in found.questions)
        assert not model.of("judge")

    run(main())


@clocked
async def test_what_stops_the_run_is_raised():
    with pytest.raises(BaseExceptionGroup) as raised:
        await examined(Model([BudgetExhausted("no money")], [BudgetExhausted("no money")]))
    assert raised.group_contains(BudgetExhausted)


@clocked
async def test_where_an_endpoint_rejects_the_schema_the_same_is_asked_without():
    async def plain_only(request):
        if request.schema is not None:
            raise Rejected("400 response_format is not supported", status=400)
        return await model.complete(request)

    model = good(answer=lambda question: reply("Hard to say, perhaps this, perhaps that, on balance the first."))
    found = await examined(Adapting(Function(plain_only), Adapted(profile())))
    assert [each.act for each in found.questions] == ["answered"] * 4
    assert [call.outcome for call in found.asks] == ["ok", "ok"]
    assert all(wanted.schema is None for wanted in model.requests)


# --- what the calls see


@clocked
async def test_every_answer_is_a_fresh_conversation_with_the_image_and_one_question():
    model = good()
    await examined(model)
    for wanted in model.of("answer"):
        (message,) = wanted.messages
        assert message.image is IMAGE
        assert sum(question in message.text for questions in GOOD.values() for question in questions) == 1
        assert "ANSWERABLE" not in message.text
        assert (wanted.sampling.temperature, wanted.schema, wanted.draw) == (0.0, None, 0)


@clocked
async def test_the_judge_never_sees_the_image_or_the_intended_label():
    model = good(answer=lambda question: reply("Hard to say, perhaps this, perhaps that, on balance the first."))
    await examined(model)
    judged = {question_of(wanted): wanted for wanted in model.of("judge")}
    assert len(judged) == 4
    words = {question: wanted.messages[0].text.replace(question, "") for question, wanted in judged.items()}
    assert len(set(words.values())) == 1  # but for the question, the prompts are the same under both labels
    for wanted in judged.values():
        assert all(message.image is None for message in wanted.messages)
        assert wanted.schema is not None
        assert "nanswerable" not in json.dumps(wanted.schema.schema)


@clocked
async def test_questions_are_drawn_and_answers_are_not():
    model = good()
    await examined(model, seed=9)
    assert {(wanted.sampling.temperature, wanted.draw) for wanted in model.of("ask")} == {(None, 9)}
