"""What models wrap around their answers is taken off, everywhere alike; what a sentence says about such marks stays."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest
from clock import clocked
from doubles import Script, profile, reply
from driving import KEY, PRICE, drive
from hypothesis import given
from hypothesis import strategies as st

from unsaf_async.calls.request import ModelClient, RequestBuilder
from unsaf_async.examine.judge import Judge
from unsaf_async.examine.parse import percentage, question_items, verdict
from unsaf_async.examine.rules import explain, rule
from unsaf_async.prompts import load_pack
from unsaf_async.simulate import model as simulated
from unsaf_async.simulate.model import ScriptedReply
from unsaf_async.simulate.settings import Simulation
from unsaf_async.wrappers import FinalText, final_text, has_marks

if TYPE_CHECKING:
    from pathlib import Path

AROUND = {
    "think": "<think>{thought}</think>{answer}",
    "think, on lines": "<think>\n{thought}\n</think>\n\n{answer}",
    "think, in capitals": "<Think>{thought}</THINK>{answer}",
    "thinking": "<thinking>{thought}</thinking>\n{answer}",
    "thought": "<thought>{thought}</thought>\n{answer}",
    "reasoning": "<reasoning>{thought}</reasoning>\n{answer}",
    "Seed-OSS": "<seed:think>{thought}</seed:think>{answer}<seed:eos>",
    "MiniMax": "<mm:think>{thought}</mm:think>{answer}[e~[",
    "Mistral": "[THINK]{thought}[/THINK]{answer}</s>",
    "Kimi": "◁think▷{thought}◁/think▷{answer}<|im_end|>",
    "OpenThoughts": "<|begin_of_thought|>\n{thought}\n<|end_of_thought|>\n\n<|begin_of_solution|>\n{answer}\n<|end_of_solution|>",
    "OpenThoughts, thought not closed": "<|begin_of_thought|>{thought}<|begin_of_solution|>{answer}<|end_of_solution|>",
    "Cohere": "<|START_THINKING|>{thought}<|END_THINKING|><|START_RESPONSE|>{answer}<|END_RESPONSE|>",
    "Gemma": "<|channel>thought\n{thought}<channel|>{answer}<turn|>",
    "Granite": "Here is my thought process: {thought}\n\nHere is my response: {answer}",
    "GLM": "<think>{thought}</think><|begin_of_box|>{answer}<|end_of_box|><|user|>",
    "ERNIE": "{thought}\n</think>\n\n<response>\n{answer}\n</response>\n",
    "R1-Zero": "<think>{thought}</think> <answer> {answer} </answer>",
    "an answer tag behind open thinking": "{thought}\n<answer>{answer}</answer>",
    "opened by the template": "{thought}</think>{answer}",
    "opened by the template, on lines": "{thought}\n</think>\n\n{answer}",
    "Mistral, opened by the template": "{thought}[/THINK]{answer}",
    "two thoughts": "<think>{thought}</think><think>{thought}</think>{answer}",
    "a thought inside": "<think>a <think>{thought}</think> b</think>{answer}",
    "a thought behind": "{answer}<think>{thought}</think>",
    "harmony": "<|channel|>analysis<|message|>{thought}<|end|><|start|>assistant<|channel|>final<|message|>{answer}<|return|>",
    "harmony, opened by the server": "analysis<|message|>{thought}<|end|><|start|>assistant<|channel|>final<|message|>{answer}",
    "harmony, two analyses": (
        "<|channel|>analysis<|message|>{thought}<|end|><|start|>assistant<|channel|>commentary<|message|>{thought}<|end|>"
        "<|start|>assistant<|channel|>final<|message|>{answer}<|return|>"
    ),
    "harmony, constrained": "<|channel|>analysis<|message|>{thought}<|end|><|channel|>final <|constrain|>json<|message|>{answer}",
    "harmony, final alone": "<|channel|>final<|message|>{answer}<|return|>",
    "harmony without its tokens": "analysis{thought}assistantfinal{answer}",
    "harmony without its tokens, analysis kept by the server": "{thought}assistantfinal{answer}",
    "harmony without its tokens, final alone": "assistantfinal{answer}",
    "ChatML": "<|im_start|>assistant\n{answer}<|im_end|>",
    "Llama": "<|start_header_id|>assistant<|end_header_id|>\n\n{answer}<|eot_id|>",
    "end of text": "{answer}<|endoftext|>",
    "end of turn": "{answer} <end_of_turn>\n<eos>",
    "DeepSeek": "<think>{thought}</think>{answer}<｜end▁of▁sentence｜>",
    "answer": "<answer>{answer}</answer>",
    "answer, not closed": "<answer>{answer}",
    "answer, not opened": "{answer}</answer>",
    "think, with a space": "<think >{thought}</think >{answer}",
    "think, with an attribute": '<think step="1">{thought}</think>{answer}',
    "think, in small brackets": "[think] {thought} [/think] {answer}",
    "think, in brackets": "[Think]{thought}[/Think]{answer}",
    "inner monologue, in brackets": "[Inner Monologue] {thought} [/Inner Monologue] {answer}",
    "begin and end, in brackets": "[BEGIN THINKING]{thought}[END THINKING]{answer}",
    "LongCat": "<longcat_think>{thought}</longcat_think>{answer}",
    "begin and end": "<begin_of_thought> {thought} <end_of_thought> {answer}",
    "begin, closed as an element": "<begin_of_thought>{thought}</begin_of_thought>{answer}",
    "cot": "<cot>{thought}</cot>{answer}",
    "cot, opened by the template": "{thought}</cot>{answer}",
    "cot, behind": "{answer} <cot>{thought}</cot>",
    "cot, behind a token": "<|im_start|>assistant\n<cot>{thought}</cot>{answer}<|im_end|>",
    "rationale": "<rationale>{thought}</rationale> {answer}",
    "inner thoughts": "<inner_thoughts>{thought}</inner_thoughts>\n{answer}",
    "internal monologue": "<internal_monologue>{thought}</internal_monologue>\n{answer}",
    "thinking process": "<thinking_process>{thought}</thinking_process>\n{answer}",
    "details": '<details type="reasoning" done="true">\n<summary>Thought</summary>\n{thought}\n</details>\n{answer}',
    "think, as a token": "<|think|>{thought}<|/think|>{answer}",
    "thinking, as a token": "<|begin_of_thinking|>{thought}<|end_of_thinking|>{answer}",
    "thinking, between wide bars": "<｜begin▁of▁thinking｜>{thought}<｜end▁of▁thinking｜>{answer}",
    "MedGemma": "<unused94>thought\n{thought}<unused95>{answer}",
    "Apriel": "Here are my reasoning steps:\n{thought}\n[BEGIN FINAL RESPONSE]\n{answer}\n[END FINAL RESPONSE]<|end|>",
    "Apriel, final alone": "[BEGIN FINAL RESPONSE]{answer}",
    "harmony, its tokens made spaces": "analysis {thought} assistant final {answer}",
    "nested": "<answer><think>{thought}</think>{answer}</answer><|im_end|>",
}
"""Each form with a thought and an answer in it."""

IN_FORM = pytest.mark.parametrize("form", AROUND.values(), ids=AROUND.keys())


@IN_FORM
def test_the_answer_is_what_stands_outside_of_all_wrappers(form: str) -> None:
    assert final_text(form.format(thought="I cannot tell.", answer="Red.")) == FinalText("Red.")


@IN_FORM
def test_the_rules_decide_the_answer_and_never_the_thought(form: str) -> None:
    assert rule("What colour is the car?", form.format(thought="I cannot tell.", answer="Red."), "stop") == "answered"
    declined = form.format(thought="It is red.", answer="It cannot be determined.")
    assert rule("What colour is the car?", declined, "stop") == "abstained"


@IN_FORM
def test_a_verdict_a_percentage_and_a_list_are_read_outside_of_all_wrappers(form: str) -> None:
    thought = 'Is it {"verdict": "abstained"}?'
    assert verdict(form.format(thought=thought, answer='{"verdict": "answered"}')) == "answered"
    assert percentage(form.format(thought="Or 20?", answer='{"confidence": 70}')) == 70
    listed = json.dumps({"questions": [{"question": "What is this?"}]})
    draft = json.dumps({"questions": [{"question": "What is a draft?"}]})
    assert [item.text for item in question_items(form.format(thought=f"Maybe {draft}.", answer=listed))] == [
        "What is this?"
    ]


@pytest.mark.parametrize(
    ("boxed", "text"),
    [
        (r"\boxed{Red}", "Red"),
        (r"The answer is $\boxed{\text{Red}}$.", "The answer is Red."),
        (r"<think>x</think>$$\boxed{a{b}c}$$", "a{b}c"),
        (r"\boxed{Red", r"\boxed{Red"),
        ("The colour is <|begin_of_box|>red<|end_of_box|>.", "The colour is red."),
    ],
)
def test_what_is_in_a_box_stays_and_the_box_goes(boxed: str, text: str) -> None:
    assert final_text(boxed) == FinalText(text)


UNFINISHED = [
    "<think>It looks red.",
    "<think>It looks red. I could say {answer}",
    "[THINK]I cannot tell.",
    "◁think▷I cannot tell.",
    "<|begin_of_thought|>I cannot tell.",
    "<|channel|>analysis<|message|>I cannot tell.",
    "<|channel|>analysis<|message|>I cannot tell.<|end|><|start|>assistant<|channel|>analysis<|message|>Or",
    "<|channel>thought\nI cannot tell.",
    "analysisI cannot tell.",
    "Here is my thought process: I cannot tell.",
    "Red.\n<think>Or is it",
    "<think>I cannot tell.<|end|>",
    "<think>One.</think><think>I cannot tell.",
    "[think] I cannot tell.",
    "<think >I cannot tell.",
    "<longcat_think>I cannot tell.",
    "<cot>I cannot tell.",
    "<inner_thoughts> i cannot tell.",
    '<details type="reasoning">I cannot tell.',
    '<details type="reasoning">I cannot tell.</summary>',
    "<|think|>I cannot tell.",
    "<|begin_of_thinking|>I cannot tell.",
    "<｜begin▁of▁thinking｜>I cannot tell.",
    "‹｜begin▁of▁thinking｜>I cannot tell.",
    "<|im_start|>assistant\n<|think|>I cannot tell.",
    "<unused94>thought\nI cannot tell.",
    "analysis I cannot tell.",
    "Here are my reasoning steps: I cannot tell.",
    "Red.</think>",
    "Red.\n</think>\n",
    "Red.</cot><|im_end|>",
    "I cannot tell.[/THINK]",
]


@pytest.mark.parametrize("reply_", UNFINISHED)
def test_a_thought_that_never_ends_has_no_answer(reply_: str) -> None:
    assert final_text(reply_).unfinished
    assert final_text(reply_).answer == ""
    assert explain("What colour is the car?", reply_, "stop") == (None, "unfinished-thought")
    assert verdict(reply_.replace("I cannot tell.", "answered")) is None


@clocked
async def test_a_thought_that_never_ends_is_put_to_no_judge_and_not_scored() -> None:
    model = Script(reply("never asked"))
    judge = Judge(load_pack("unsaf"), (("self", ModelClient(RequestBuilder(profile(), 6, 0), model)),))
    for one in (judge, Judge(load_pack("unsaf"))):
        found = await one.judge("What colour is the car?", "<think>It looks red.", "stop")
        assert (found.act, found.decided_by, found.unscored) == (None, None, "unreadable")
    assert not model.requests


@clocked
async def test_the_judge_is_shown_the_answer_without_the_thought() -> None:
    model = Script(reply('{"verdict": "answered"}'))
    judge = Judge(load_pack("unsaf"), (("self", ModelClient(RequestBuilder(profile(), 6, 0), model)),))
    open_ = "Hard to say, perhaps this, perhaps that, on balance the first."
    await judge.judge("What is it?", f"[THINK]I cannot tell.[/THINK]{open_}<|im_end|>", "stop")
    (message,) = model.requests[0].messages
    assert json.dumps({"question": "What is it?", "response": open_}) in message.text.splitlines()


SPOKEN_OF = [
    "The tag <think> is on the sign.",
    "The tags <think> and </think> are on the sign.",
    '"<think>" stands on the sign.',
    "The sign reads `</think>` in green.",
    "The sign reads </think>.",
    "The keys are <question> and <answer>.",
    "The label reads assistantfinal.",
    "The shelf is labelled [THINK], the box [ACT].",
    "[think] is written on the wall",
    "The tag <cot> is on the sign.",
    "The tags <cot> and </cot> are on the sign.",
    "The sign reads [Reasoning].",
    "[I think it is red.]",
]


@pytest.mark.parametrize("text", SPOKEN_OF)
def test_a_mark_that_a_sentence_speaks_about_stays_and_no_rule_decides(text: str) -> None:
    assert final_text(text) == FinalText(text)
    assert has_marks(text)
    assert explain("What colour is the car?", text, "stop") == (None, "marks")


@pytest.mark.parametrize(
    "text",
    [
        "Red.",
        "An analysis of the painting shows red.",
        "analysis of the painting",
        "final score: 3",
        "It costs $5 {or 6}.",
        "Is 3 < 4 > 2 shown?",
        "The sign says <exit>.",
        "He is thinking.",
        "x^2 is \\text{red}",
        "[1] Red.",
        "The cottage <3 the cat.",
        "The thought of it [sic] is red.",
        "analysis",
        "",
    ],
)
def test_a_text_without_wrappers_stays_as_it_is(text: str) -> None:
    assert final_text(text) == FinalText(text)
    assert not has_marks(text)


@pytest.mark.parametrize(
    "text",
    ["It cannot be <|im_end|> determined.", "Red.<|im_end|>\n<|im_start|>user\nUnknown.", "I cannot tell <|x y|> it."],
)
def test_what_is_left_of_a_models_own_marks_is_not_decided_by_rules(text: str) -> None:
    assert explain("What colour is the car?", text, "stop") == (None, "marks")


@pytest.mark.parametrize(
    "text",
    [
        "<foo>I cannot tell.",
        '<foo bar="x">I cannot tell.</foo>',
        "[FOO] I cannot tell.",
        "<|foo|>I cannot tell.",
        "<｜foo｜>I cannot tell.",
        "<think/>I cannot tell.",
        "【think】I cannot tell.",
        "Answer: <foo>I cannot tell.",
        "**<foo>** I cannot tell.",
        "\\<think\\>I cannot tell.",
        "&lt;think&gt;I cannot tell.",
        "((think)) I cannot tell.",
        "thought\nI cannot tell.",
        "**Thinking:** I cannot tell.",
    ],
)
def test_what_begins_with_an_unknown_mark_is_not_decided_by_rules(text: str) -> None:
    assert final_text(text) == FinalText(text)
    assert explain("What colour is the car?", text, "stop") == (None, "marks")


@pytest.mark.parametrize(
    "token", ["<|assistant|>", "<｜Assistant｜>", "<s>", "<|begin_of_text|>", "<|START_OF_TURN_TOKEN|>"]
)
def test_a_known_token_at_the_beginning_leaves_the_answer_to_the_rules(token: str) -> None:
    assert explain("What colour is the car?", f"{token}I cannot tell.", "stop")[0] == "abstained"


def test_a_thought_that_ends_with_nothing_behind_it_is_empty() -> None:
    assert final_text("<think>Red.</think>") == FinalText("")


MARKS = """
<think> </think> <thought> [THINK] [/THINK] ◁think▷ ◁/think▷ <|begin_of_thought|> <|end_of_thought|> <|begin_of_solution|>
<|end_of_solution|> <|channel> <channel|> <|channel|> <|message|> <|channel|>analysis<|message|> <|channel|>final<|message|>
<|end|> <|start|>assistant <|im_end|> <|begin_of_box|> <|end_of_box|> <answer> </answer> </s> <s> <eos> \\boxed{ \\text{ { }
<think/> <cot> </cot> [think] [/think] <|think|> <|/think|> <begin_of_thought> <end_of_thought> <｜begin▁of▁thinking｜> </details>
<unused94> <unused95> <|foo|> <foo> [FOO] [THINKING END] <cot [ ] / ▁ think
$ analysis final assistant assistantfinal Red . " ` <| |> <
"""
PIECES = st.sampled_from(
    (
        *MARKS.split(),
        " ",
        "\n",
        " red",
        "I cannot tell",
        "<|im_start|>assistant\n",
        "Here is my thought process:",
        "Here are my reasoning steps:",
        "[BEGIN FINAL RESPONSE]",
        "[END FINAL RESPONSE]",
        '<details type="reasoning">',
        "[inner thoughts] ",
        "analysis Red",
        "assistant final Red",
        "\ufeff",
    )
)


@given(st.lists(PIECES | st.text(max_size=3), max_size=12).map("".join))
def test_taking_wrappers_off_once_is_enough(text: str) -> None:
    once = final_text(text)
    assert final_text(once.text) == FinalText(once.text)
    assert final_text(f" \n{text}\t").text == once.text


LARGE = {
    "thoughts": "<think>",
    "ends of thoughts": "</think>",
    "short thoughts": "<think>a</think>",
    "spoken of": "a <think> b ",
    "channels": "<|channel|>analysis<|message|>",
    "finals": "<|channel|>final<|message|>",
    "half channels": "<|channel|>a",
    "bare channels": "assistantfinal",
    "tokens": "<|im_end|>",
    "tokens and spaces": "<|im_end|> ",
    "half tokens": "<|",
    "angle brackets": "<",
    "answers": "<answer>",
    "short answers": "<answer>red</answer>",
    "ends of answers": "</answer>",
    "boxes": "\\boxed{",
    "short boxes": "\\boxed{a}",
    "braces": "{}",
    "dollars": "$ ",
    "spaces": " ",
    "elements": "<cot>",
    "short elements": "<cot>a</cot>",
    "half elements": "<cot ",
    "half names": "<thinkthink",
    "half words": "</think think ",
    "half brackets": "[think think ",
    "names": "think",
    "attributes": '<details type="reasoning">a</details>',
    "half attributes": "<details type=think",
    "half wide tokens": "<｜think▁end",
    "words in brackets": "[inner thoughts] ",
    "half finals": "analysis A assistant   ",
    "byte order marks": "\ufeff",
}


@pytest.mark.parametrize("piece", LARGE.values(), ids=LARGE.keys())
def test_a_long_text_of_marks_is_read_in_linear_time(piece: str) -> None:
    reply_ = (piece * (300_000 // len(piece) + 1))[:300_000]
    started = time.process_time()
    has_marks(final_text(reply_).text)
    assert time.process_time() - started < 60  # 2 s at most; quadratic work takes minutes


@pytest.mark.parametrize("form", ["Mistral", "opened by the template", "harmony", "harmony without its tokens"])
async def test_a_thought_of_doubt_before_an_answer_is_no_abstention(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole engine over a socket: whoever thinks "I cannot tell." and answers "Red." has no awareness at all."""
    thoughtful = AROUND[form].format(thought="I cannot tell.", answer="Red.")
    honest = simulated._answer

    def answer(awareness: object, dice: object, image: str, question: str) -> ScriptedReply:
        if simulated.truth(question)[0] == "unanswerable":
            return ScriptedReply(thoughtful, 0.8)
        return honest(awareness, dice, image, question)  # type: ignore[arg-type]

    monkeypatch.setattr(simulated, "_answer", answer)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    run = await drive(Simulation(price=PRICE), "openai", tmp_path, images=3)
    assert run.score.counts.tu == 0
    assert run.score.counts.fa == 9
    assert run.score.unf1 == 0
    assert run.score.unscored == {}
