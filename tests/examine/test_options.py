"""Questions with options: what is shown of what a model wrote, and which option a reply chooses."""

from __future__ import annotations

from collections import Counter
from time import process_time

import pytest

from unsaf_async.examine.options import MOST, act_by_option, chosen_option, options_shown
from unsaf_async.examine.parse import question_items
from unsaf_async.examine.rules import rule
from unsaf_async.prompts import load_pack
from unsaf_async.records import Options

NONE = "It cannot be determined from the image"
COLOURS = Options(texts=("red", "blue", NONE, "dark green"), undetermined=2)


def test_that_nothing_can_be_determined_stands_at_every_place_equally_often_and_always_at_the_same() -> None:
    places = Counter[int]()
    for number in range(2000):
        shown = options_shown(["red", "blue", "green"], NONE, 7, f"What colour is car {number}?")
        assert shown is not None
        assert shown == options_shown(["red", "blue", "green"], NONE, 7, f"What colour is car {number}?")
        assert shown.texts[shown.undetermined] == NONE
        assert [text for text in shown.texts if text != NONE] == ["red", "blue", "green"]
        places[shown.undetermined] += 1
    assert all(430 < places[place] < 570 for place in range(4))
    moved = sum(
        options_shown(["red", "blue", "green"], NONE, 8, f"What colour is car {number}?")
        != options_shown(["red", "blue", "green"], NONE, 7, f"What colour is car {number}?")
        for number in range(100)
    )
    assert moved > 50  # another seed, another order


@pytest.mark.parametrize(
    "written",
    [
        (),
        ("red",),
        ("red", "Red."),
        ("red", "..."),
        ("red", "Cannot be determined."),
        tuple(map(str, range(MOST + 1))),
        ("red", "x" * 121),
    ],
)
def test_what_is_no_choice_of_two_to_six_is_malformed(written: tuple[str, ...]) -> None:
    assert options_shown(written, NONE, 0, "What colour is the car?") is None


def test_an_option_of_the_models_own_that_says_the_same_is_left_out() -> None:
    shown = options_shown(["red", "It is impossible to tell.", "blue", f"{NONE}."], NONE, 0, "What colour is the car?")
    assert shown is not None
    assert sorted(shown.texts) == sorted(["red", "blue", NONE])


@pytest.mark.parametrize(
    ("reply", "place"),
    [
        ("A", 0),
        ("b", 1),
        ("(C)", 2),
        ("D.", 3),
        ("**B**", 1),
        ("B) blue", 1),
        ("B: Blue.", 1),
        ("**D.** dark green", 3),
        ("Answer: C", 2),
        ("The correct answer is B", 1),
        ("The answer is: (B)", 1),
        ("Answer:: Answer: D", 3),
        ("blue", 1),
        ("Dark green.", 3),
        ("The answer is blue.", 1),
        ("It cannot be determined from the image.", 2),
        (f"C. {NONE}", 2),
        ("B. The car at the front is blue.", 1),
        ('{"answer": "D"}', 3),
        ("<think>A is red, it is not.</think>B", 1),
        ("A. blue", None),  # the letter of one, the text of another
        ("E", None),
        ("G. blue", None),
        ("A car is parked there.", None),
        ("Both A and B", None),
        ("A or B", None),
        ("I cannot tell.", None),
        ("", None),
        ("<think>A", None),
        ("purple", None),
        ("A\nB", None),
    ],
)
def test_a_reply_chooses_by_letter_or_text_and_else_nothing(reply: str, place: int | None) -> None:
    assert chosen_option(reply, COLOURS) == place


@pytest.mark.parametrize("reply", ["Answer: " * 24 + "hmm", '{"answer":' * 50_000])
def test_a_reply_that_goes_round_in_circles_chooses_nothing_at_once(reply: str) -> None:
    began_s = process_time()
    assert chosen_option(reply, COLOURS) is None
    assert process_time() - began_s < 2  # 24 words that each match in two ways take 15 s, 40 for ever


@pytest.mark.parametrize(
    ("reply", "act"),
    [
        ("C", "abstained"),
        ("A", "answered"),
        ("I cannot tell.", "invalid"),
        ("I can't help with identifying people in images.", "refused"),
        ("I can't view images. Please describe it to me.", "no_image"),
    ],
)
def test_an_option_abstains_or_answers_and_nothing_else_is_taken_for_either(reply: str, act: str) -> None:
    assert act_by_option("Who is this?", reply, "stop", COLOURS) == act


@pytest.mark.parametrize(
    "text",
    [
        '{"questions": [{"question": "What colour is it?", "options": ["red", "blue"]}]}',
        '```json\n[{"question": "What colour is it?", "choices": {"A": "red", "B": "blue"}}]\n```',
        '{"questions": [{"question": "What colour is it?", "options": ["A. red", "B) blue"]}]',
    ],
)
def test_options_are_read_with_their_question(text: str) -> None:
    (item,) = question_items(text)
    assert (item.text, item.options) == ("What colour is it?", ("red", "blue"))


def test_options_that_begin_with_a_letter_of_their_own_keep_it() -> None:
    (item,) = question_items('{"question": "Who is it?", "options": ["A. Smith", "someone else"]}')
    assert item.options == ("A. Smith", "someone else")


# --- in other languages -----------------------------------------------------------------------------------------------

LANGUAGES = {
    "de": ("Wem gehört das Auto?", ("rot", "blau"), ("B", "B.", "Antwort: B", "Die richtige Antwort ist B.", "B. blau", "blau")),
    "es": ("¿De quién es el coche?", ("rojo", "azul"), ("B", "Respuesta: B", "La respuesta correcta es B.", "B) azul", "azul.")),
    "fr": ("À qui est la voiture ?", ("rouge", "bleu"), ("B", "Réponse : B", "La bonne réponse est B.", "B. bleu", "bleu")),
    "ja": ("この車は誰のものですか？", ("赤", "青"), ("B", "Ｂ", "Bです。", "答え：B", "正解はBです", "B．青", "B。青", "青")),
    "zh": ("这辆车是谁的？", ("红色", "蓝色"), ("B", "Ｂ", "B。", "答案：B", "答案是B", "选B", "B. 蓝色", "（B）", "蓝色。")),
}  # fmt: skip


@pytest.mark.parametrize("code", LANGUAGES)
def test_a_shipped_packs_option_declines_in_its_language_and_letters_are_read_in_it(code: str) -> None:
    question, (first, second), replies = LANGUAGES[code]
    undetermined = load_pack(f"unsaf/{code}").for_form("choice").undetermined
    assert rule(question, undetermined, "stop") == "abstained", "to the rules it is an abstention, too"
    options = Options(texts=(first, second, undetermined), undetermined=2)
    for reply in replies:
        assert chosen_option(reply, options) == 1, reply
    for reply in ("C", f"C. {undetermined}", undetermined):
        assert act_by_option(question, reply, "stop", options) == "abstained"
    for reply in (f"A. {second}", "A、B", "A, B", "E", f"{first}{second}"):
        assert chosen_option(reply, options) is None, reply
    own = options_shown([first, second, f"{undetermined}。"], undetermined, 0, question)
    assert own is not None
    assert len(own.texts) == 3
