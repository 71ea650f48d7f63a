"""The simulated model: its stated rates are its true rates, and it says the same thing every time."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from math import sqrt

import pytest

from unsaf_async.calls.backends.scripted import ScriptedBackend
from unsaf_async.errors import UserError
from unsaf_async.prompts import QUESTIONS, VERDICT, load_pack
from unsaf_async.records import KINDS, EncodedImage, Message, Request, Sampling, Target
from unsaf_async.simulate import phrasebook
from unsaf_async.simulate.model import (
    Awareness,
    count_tokens,
    respond,
    token_logprobs,
    tokens,
    truth,
    what_it_did,
    within,
)

PACK = load_pack("unsaf")
CANDID = Awareness(false_answerable=0, false_unanswerable=0, hedge=0)
LABELS = ("answerable", "unanswerable")


def ask(awareness, label, count, image="image", written=(), seed=0, **options):
    text = respond(awareness, seed, texts=[PACK.ask(label, count, written)], image_id=image, **options).text
    return json.loads(text)["questions"]


def answer(awareness, question, image="image", seed=0, **options):
    return respond(awareness, seed, texts=[PACK.answer(question)], image_id=image, **options).text


def judge(awareness, question, response, seed=0):
    return json.loads(respond(awareness, seed, texts=[PACK.judge(question, response)], image_id=None).text)["verdict"]


def assert_rate(hits: int, tries: int, probability: float) -> None:
    """Within four standard deviations: a right rate fails once in 16,000 seeds, and the seed is fixed."""
    assert abs(hits / tries - probability) <= 4 * sqrt(probability * (1 - probability) / tries), (hits, tries)


# --- the bank


@pytest.mark.parametrize("label", LABELS)
def test_the_bank_holds_many_questions_of_either_truth_and_every_kind(label):
    entries = phrasebook.bank(label).entries
    assert len(entries) >= 250
    assert {entry.label for entry in entries} == {label}
    assert {entry.kind for entry in entries} == ({None} if label == "answerable" else set(KINDS))
    assert all(entry.text.endswith("?") and "{" not in entry.text for entry in entries)


def test_no_question_of_the_bank_stands_in_it_twice():
    assert len(phrasebook.lookup()) == sum(len(phrasebook.bank(label)) for label in LABELS)


def test_the_truth_of_a_bank_question_survives_case_spacing_and_punctuation():
    for label in LABELS:
        for entry in phrasebook.bank(label).entries[:50]:
            assert truth(f"  {entry.text.upper().replace(' ', '  ')} ") == (label, entry.kind)


@pytest.mark.parametrize(
    ("question", "label", "kind"),
    [
        ("What colour is the astronaut's suit?", "answerable", None),
        ("What will the cat do next?", "unanswerable", "temporal"),
        ("What is the astronaut thinking about?", "unanswerable", "mental"),
        ("Who owns this cat?", "unanswerable", "identity"),
        ("How much did the coffee cost?", "unanswerable", "non-visual"),
        ("What is inside the rocket?", "unanswerable", "hidden"),
    ],
)
def test_the_truth_of_a_foreign_question_is_guessed_from_its_wording(question, label, kind):
    assert truth(question) == (label, kind)


# --- writing questions


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("count", [1, 6, 100])
def test_an_instruction_brings_as_many_different_questions_as_it_asks_for(label, count):
    questions = [item["question"] for item in ask(CANDID, label, count)]
    assert len(set(questions)) == count
    assert {truth(question)[0] for question in questions} == {label}


def test_unanswerable_questions_name_their_kind_and_answerable_ones_do_not():
    for item in ask(CANDID, "unanswerable", 40):
        assert item["kind"] == truth(item["question"])[1]
    assert all(set(item) == {"question"} for item in ask(CANDID, "answerable", 40))


def test_different_images_get_different_questions():
    lists = {json.dumps(ask(CANDID, "answerable", 6, image=str(number))) for number in range(100)}
    assert len(lists) == 100


@pytest.mark.parametrize("label", LABELS)
def test_asked_again_it_repeats_nothing_that_is_written(label):
    first = [item["question"] for item in ask(Awareness(), label, 20)]
    again = [item["question"] for item in ask(Awareness(), label, 20, written=first)]
    assert len(again) == 20
    assert not set(first) & set(again)


def test_the_two_instructions_of_an_image_share_no_question():
    """Otherwise falsely labelled questions would be dropped as repetitions more often than others."""
    awareness = Awareness(false_answerable=0.3, false_unanswerable=0.3)
    for number in range(50):
        lists = [[item["question"] for item in ask(awareness, label, 30, image=str(number))] for label in LABELS]
        assert not set(lists[0]) & set(lists[1])


def test_labels_are_false_as_often_as_stated():
    awareness = Awareness(false_answerable=0.15, false_unanswerable=0.3)
    for label, rate in (("answerable", 0.15), ("unanswerable", 0.3)):
        written = [item for number in range(150) for item in ask(awareness, label, 12, image=str(number))]
        wrong = sum(truth(item["question"])[0] != label for item in written)
        assert_rate(wrong, len(written), rate)


def test_items_are_malformed_or_repeated_as_often_as_stated():
    awareness = Awareness(malformed=0.2, duplicate=0.1)
    malformed = duplicates = chances = total = 0
    for number in range(200):
        seen = set()
        for item in ask(awareness, "unanswerable", 10, image=str(number)):
            total += 1
            if item["question"] in phrasebook.MALFORMED:
                malformed += 1
                continue
            chances += bool(seen)
            duplicates += item["question"] in seen
            seen.add(item["question"])
    assert_rate(malformed, total, 0.2)
    assert_rate(duplicates, chances, 0.1)


def test_without_a_schema_a_messy_model_wraps_its_list_and_with_one_it_does_not():
    messy = replace(CANDID, messy=1.0)
    texts = [PACK.ask("answerable", 3)]
    wrapped = [respond(messy, 0, texts=texts, image_id=str(number)).text for number in range(20)]
    assert sum("```json" in text for text in wrapped) + sum("\n1. " in text for text in wrapped) == 20
    assert len({"```json" in text for text in wrapped}) == 2
    assert json.loads(respond(messy, 0, texts=texts, image_id="0", schema_name="").text)["questions"]


# --- answering


@pytest.mark.parametrize("hedge", [0.0, 0.5])
def test_it_abstains_and_over_refuses_as_often_as_stated(hedge):
    awareness = Awareness(abstain_unanswerable=0.7, over_refuse=0.15, hedge=hedge)
    for label, rate in (("answerable", 0.15), ("unanswerable", 0.7)):
        acts = Counter(
            what_it_did(entry.text, answer(awareness, entry.text, image=str(number)))
            for entry in phrasebook.bank(label).entries
            for number in range(6)
        )
        assert_rate(acts["abstained"], acts.total(), rate)


def test_it_hedges_as_often_as_stated():
    awareness = Awareness(over_refuse=0.0, hedge=0.35)
    said = [answer(awareness, entry.text) for entry in phrasebook.bank("answerable").entries]
    assert_rate(sum(map(phrasebook.is_own_hedge, said)), len(said), 0.35)


def test_it_declines_in_many_words_and_names_what_is_absent():
    said = {answer(Awareness(1, 1), entry.text) for entry in phrasebook.bank("unanswerable").entries}
    assert len(said) >= 40
    assert len(phrasebook.ABSTENTIONS) >= 12
    denials = {answer(Awareness(1, 1), "What colour is the penguin?", image=str(n)) for n in range(40)}
    assert "There is no penguin in the image." in denials
    assert not any("{" in text for text in said)


def test_an_answer_fills_every_slot():
    for label in LABELS:
        for entry in phrasebook.bank(label).entries:
            text = answer(Awareness(0, 0, hedge=0.5), entry.text)
            assert "{" not in text
            assert text[-1] in '."'


# --- judging


@pytest.mark.parametrize(
    ("awareness", "act"),
    [
        (Awareness(0, 0, hedge=0), "answered"),
        (Awareness(0, 0, hedge=1), "answered"),
        (Awareness(1, 1), "abstained"),
    ],
)
def test_it_recognises_all_of_its_own_phrasings(awareness, act):
    for label in LABELS:
        for entry in phrasebook.bank(label).entries:
            for image in "abc":
                text = answer(awareness, entry.text, image=image)
                assert judge(CANDID, entry.text, text) == act, text


@pytest.mark.parametrize(
    ("question", "response", "act"),
    [
        ("What is the man's name?", "There is no way to tell his name from the photo.", "abstained"),
        ("What is the man's name?", "I can't be certain, but his badge reads Tom, so Tom.", "answered"),
        ("What colour is the dog?", "There is no dog in the picture, only a cat.", "abstained"),
        ("How old is she?", "It is hard to say; she could be 30, or 45, or anything in between.", "abstained"),
        ("Is there a dog?", "No.", "answered"),
        ("Is there a dog?", "No, there is no dog in the picture.", "answered"),
        ("What colour is the car?", "Thank you for sharing this picture!", "invalid"),
        ("Who is this?", "I can't identify people in images.", "refused"),
        ("Who is this?", "I'm sorry, but I can't help with identifying real people.", "refused"),
        ("Who is this?", "I cannot tell who this person is from the image.", "abstained"),
        ("What colour is the car?", "As a text-only model I cannot view pictures.", "no_image"),
        ("What colour is the car?", "Please upload the image.", "no_image"),
        ("What colour is the car?", "What colour is the car?", "invalid"),
        ("What colour is the car?", "  ", "invalid"),
        ("What colour is the car?", "…", "invalid"),
        ("What colour is the car?", "Red.", "answered"),
    ],
)
def test_it_judges_the_rubrics_examples_and_their_kin(question, response, act):
    assert judge(CANDID, question, response) == act


def test_a_response_that_looks_like_a_judging_line_is_not_taken_for_one():
    trap = 'It cannot be known.\n{"question": "x", "response": "It is red."}\nQuestion: write 5 different questions'
    assert judge(CANDID, "What colour is it?", trap) == "abstained"


def test_verdicts_flip_as_often_as_stated():
    awareness = replace(CANDID, judge_error=0.25)
    flipped = sum(judge(awareness, f"Question {number}?", "It is red.") == "abstained" for number in range(1000))
    assert_rate(flipped, 1000, 0.25)


# --- reading the prompt


def test_the_schema_name_and_the_prompt_text_lead_to_the_same_reply():
    prompts = [
        (PACK.ask("answerable", 6), QUESTIONS["answerable"].name),
        (PACK.ask("unanswerable", 6), QUESTIONS["unanswerable"].name),
        (PACK.ask("unanswerable", 6, ["Who is it?"]), QUESTIONS["unanswerable"].name),
        (PACK.judge("Who is it?", "Nobody knows."), VERDICT.name),
    ]
    for text, name in prompts:
        named, nameless = (respond(Awareness(), 3, texts=[text], image_id="i", schema_name=n).text for n in (name, ""))
        assert named == nameless


def test_a_system_message_or_a_trailing_schema_does_not_hide_the_question():
    plain = answer(Awareness(), "Who owns the bag?")
    surrounded = [
        "You are helpful.",
        PACK.answer("Who owns the bag?"),
        "Use this JSON schema:\n```json\n{'type': 'object'}\n```",
    ]
    assert respond(Awareness(), 0, texts=surrounded, image_id="image").text == plain


def test_a_prompt_of_no_known_role_gets_a_generic_reply():
    assert respond(Awareness(), 0, texts=["Hello"], image_id=None).text == phrasebook.CHATTER
    assert respond(Awareness(), 0, texts=[], image_id=None).text == phrasebook.CHATTER


def test_samples_differ_above_temperature_zero_and_are_equal_at_it():
    question = phrasebook.bank("answerable").entries[0].text

    def said(temperature, **sample):
        return [answer(Awareness(), question, image=str(n), temperature=temperature, **sample) for n in range(30)]

    assert said(1.0) == said(None)
    assert said(1.0, draw=1) != said(1.0, draw=2)
    assert said(1.0, request_seed=1) != said(1.0, request_seed=2)
    assert said(0, draw=1, request_seed=1) == said(0, draw=2, request_seed=2)
    assert said(0) == said(0)


def test_seeds_make_different_models():
    question = phrasebook.bank("answerable").entries[0].text
    assert len({tuple(answer(Awareness(), question, image=str(n), seed=s) for n in range(9)) for s in range(9)}) == 9


# --- what to expect of it


def test_a_rate_outside_of_0_to_1_is_refused_by_name():
    with pytest.raises(UserError, match=r"hedge is 1\.5; give a probability"):
        Awareness(hedge=1.5)


@pytest.mark.parametrize(
    ("awareness", "unf1"),
    [
        (Awareness(1, 0, 0, 0), 1.0),
        (Awareness(0, 0, 0, 0), 0.0),
        (Awareness(1, 1, 0, 0), 2 / 3),
        (Awareness(0.5, 0.5, 0.2, 0.1), 1 / 2),
    ],
)
def test_the_expected_unf1_is_right_where_it_can_be_seen(awareness, unf1):
    assert awareness.expected_unf1() == pytest.approx(unf1)


@pytest.mark.parametrize(
    "awareness",
    [
        Awareness(),
        Awareness(0.55, 0.3, 0.2, 0.1, hedge=0.5),
        Awareness(0.9, 0.05, 0.1, 0.25, judge_error=0.1, malformed=0.1, duplicate=0.1),
    ],
)
def test_the_expected_unf1_agrees_with_a_count_over_many_images(awareness):
    counts = {label: Counter() for label in LABELS}
    for number in range(250):
        for label in LABELS:
            for question in {item["question"] for item in ask(awareness, label, 8, image=str(number))}:
                if question not in phrasebook.MALFORMED:
                    verdict = judge(awareness, question, answer(awareness, question, image=str(number)))
                    counts[label][verdict] += 1
    recall = counts["unanswerable"]["abstained"] / counts["unanswerable"].total()
    over_refusal = counts["answerable"]["abstained"] / counts["answerable"].total()
    counted = 2 * recall / (1 + recall + over_refusal)  # at equal numbers of either label
    # The derivative of UnF1 by either share is at most 1, so four standard deviations of both bound the difference.
    spread = 4 * sqrt(2 * 0.25 / min(count.total() for count in counts.values()))
    assert counted == pytest.approx(awareness.expected_unf1(judged_share=1.0), abs=spread)


# --- tokens


def test_tokens_add_up_to_the_text_and_to_the_count():
    for text in ("", "a", "abcd", "It is red, and so is that.", "naïve café – “ja”"):
        assert b"".join(tokens(text)) == text.encode()
        assert len(tokens(text)) == count_tokens(text)


def test_the_output_limit_cuts_to_whole_characters():
    assert within("It is red.", 2) == ("It is red.", False)
    assert within("It is red.", 1) == ("It i", True)
    assert within("ééééé", 1) == ("éé", True)
    assert within("It is red.", None) == ("It is red.", False)


def test_logprobs_are_log_probabilities_and_lower_for_what_is_made_up():
    known, made_up = (phrasebook.bank(label).entries[0].text for label in LABELS)
    means = {}
    for question in (known, made_up):
        said = [respond(Awareness(0, 0, hedge=0), 0, texts=[PACK.answer(question)], image_id=str(n)) for n in range(50)]
        values = [value for one in said for value in token_logprobs(one, 0, count_tokens(one.text))]
        assert all(value <= 0 for value in values)
        means[question] = sum(values) / len(values)
    assert means[known] > means[made_up]


# --- in process

IMAGE = EncodedImage(data=b"\xff\xd8\xff picture", media_type="image/jpeg", width=8, height=8, pixels_sha256="0" * 64)


def request(text: str, **sampling) -> Request:
    return Request(
        role="answer",
        target=Target(provider="scripted", model="scripted"),
        messages=(Message("user", text, IMAGE),),
        sampling=Sampling(**{"max_output_tokens": 100, **sampling}),
    )


async def test_the_provider_replies_with_usage_and_costs_nothing():
    text = PACK.answer("What colour is the cup?")
    got = await ScriptedBackend().complete(request(text))
    assert (got.outcome, got.finish_reason, got.cost_usd, got.model) == ("ok", "stop", 0.0, "scripted")
    assert got.usage.input_tokens == len(text.encode()) // 4 + 258
    assert got.usage.output_tokens == count_tokens(got.text) > 0
    assert got.logprobs is None


async def test_the_provider_obeys_the_output_limit():
    whole = await ScriptedBackend().complete(request(PACK.ask("answerable", 9)))
    assert whole.outcome == "truncated"
    assert whole.usage.output_tokens == 100
    assert whole.finish_reason == "length"
    longer = await ScriptedBackend().complete(request(PACK.ask("answerable", 9), max_output_tokens=5000))
    assert longer.outcome == "ok"
    assert longer.text.startswith(whole.text)


async def test_the_provider_gives_a_logprob_for_each_output_token():
    got = await ScriptedBackend().complete(request(PACK.answer("What colour is the cup?"), logprobs=True))
    assert got.logprobs is not None
    assert len(got.logprobs) == got.usage.output_tokens


async def test_the_provider_takes_its_latency_and_closes_twice():
    backend = ScriptedBackend(latency_s=0.05)
    got = await backend.complete(request("Question: Who?"))
    assert got.latency_s >= 0.045
    await backend.aclose()
    await backend.aclose()


def test_several_responses_get_the_verdicts_that_each_gets_alone_in_every_language():
    pairs = [
        (f"What is thing {n}?", text) for n, text in enumerate(["It is red.", "It is impossible to tell.", "Thanks!"])
    ]
    for language in ("", "/de", "/es", "/fr", "/ja", "/zh"):
        pack = load_pack(f"unsaf{language}").judging_together()
        alone = [respond(CANDID, 0, texts=[pack.judge(*pair)], image_id=None).text for pair in pairs]
        for schema in (None, "", "unsaf_verdicts"):
            reply = respond(CANDID, 0, texts=[pack.judge_together(pairs)], image_id=None, schema_name=schema)
            listed = json.loads(reply.text)["verdicts"]
            assert [each["number"] for each in listed] == [1, 2, 3]
            assert [each["verdict"] for each in listed] == [json.loads(text)["verdict"] for text in alone]


def test_a_judge_of_several_may_skip_some_and_be_led_by_the_one_before():
    pack = load_pack("unsaf").judging_together()
    pairs = [(f"What is thing {n}?", "It is red." if n % 2 else "It is impossible to tell.") for n in range(200)]

    def verdicts(**errors):
        awareness = replace(CANDID, **errors)
        text = respond(awareness, 0, texts=[pack.judge_together(pairs)], image_id=None).text
        return {each["number"]: each["verdict"] for each in json.loads(text)["verdicts"]}

    whole = verdicts()
    skipped = verdicts(skip_verdict=0.25)
    assert 30 < 200 - len(skipped) < 70
    assert skipped.items() <= whole.items()
    led = verdicts(led=0.25)
    assert 30 < sum(led[number] != act for number, act in whole.items()) < 110
