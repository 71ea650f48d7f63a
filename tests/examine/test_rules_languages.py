"""The rules in other languages: what their packs decide, what they leave to the judge, and that English is not touched."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unsaf_async.examine.rules import by_phrases, explain, rule
from unsaf_async.examine.rules.language import KINDS, LANGUAGES, LanguagePack, language_of, load_language
from unsaf_async.records import Act

ROOT = Path(__file__).parents[2]
BENCH = runpy.run_path(str(ROOT / "benchmarks" / "rule_languages.py"))
ROWS = BENCH["judged"]()
DECIDED_AT_LEAST = 0.50
"""Of each language's responses, half of which are made to mislead."""


def of(code: str) -> list[dict[str, Any]]:
    return [row for row in ROWS if row["language"] == code]


HOSTILE = [json.loads(line) for line in (ROOT / "tests/data/rules_hostile.jsonl").read_text("utf-8").splitlines()]


def _parted(pair: str) -> tuple[str, str, str]:
    return pair.partition("|")


@pytest.mark.parametrize("code", LANGUAGES)
def test_both_acts_of_a_language_are_right_in_98_of_100_decisions(code: str) -> None:
    for act in ("answered", "abstained"):
        decided = [row for row in of(code) if row["act"] == act]
        assert len(decided) >= 25
        assert sum(row["label"] == act for row in decided) / len(decided) >= 0.98


@pytest.mark.parametrize("code", LANGUAGES)
def test_no_response_of_a_language_is_read_wrongly_and_half_of_them_are_decided(code: str) -> None:
    rows = of(code)
    assert [row for row in rows if row["act"] not in (None, row["label"])] == []
    assert sum(row["act"] is not None for row in rows) / len(rows) >= DECIDED_AT_LEAST


@pytest.mark.parametrize("code", LANGUAGES)
def test_a_language_is_measured_on_a_hundred_responses_half_of_them_made_to_mislead(code: str) -> None:
    rows = of(code)
    assert len(rows) >= 100
    for half in ("dev", "held-out", "held-out-2"):
        misleading = [row["adversarial"] for row in rows if row["half"] == half]
        assert sum(misleading) * 2 == len(misleading)
    assert {row["label"] for row in rows} <= {*get_args(Act), "open"}


def test_the_page_shows_the_table_that_the_benchmark_prints() -> None:
    page = (ROOT / "docs" / "languages.md").read_text("utf-8")
    for line in BENCH["table"]().splitlines()[2:]:
        assert line in page


def test_chinese_is_measured_in_both_scripts_and_decided_alike_in_them() -> None:
    for simplified, traditional in (
        ("盒子里有什么？|盒子是关着的，看不到里面有什么。", "盒子裡有什麼？|盒子是關著的，看不到裡面有什麼。"),
        ("门是开着的吗？|是的。", "門是開著的嗎？|是的。"),
        ("图片里有几辆车？|两辆。", "圖片裡有幾輛車？|兩輛。"),
        ("他在想什么？|这得问他本人。", "他在想什麼？|這得問他本人。"),
    ):
        acts = [rule(question, response, "stop") for question, _, response in map(_parted, (simplified, traditional))]
        assert acts[0] == acts[1]
    fold, written = load_language("zh").data["text"]["fold"]
    assert len(fold) == len(written) == len(set(fold))


@pytest.mark.parametrize(
    ("question", "response", "act"),
    [
        ("Welche Farbe hat das Auto?", "Rot.", "answered"),
        ("Wie viele Hunde sind auf dem Bild?", "Keine.", "answered"),
        ("Wie heißt der Mann?", "Das weiß ich nicht.", "abstained"),
        ("Wo ist das rote Auto?", "Ein rotes Auto ist nicht zu sehen, nur ein blaues.", None),
        ("¿De qué color es el coche?", "No se ve el coche rojo, pero hay un coche azul.", None),
        ("¿De qué color es el coche?", "No lo sé, quizá rojo.", None),
        ("¿Qué pone en el cartel?", "En el cartel pone «Desconocido».", None),
        ("¿Cómo se llama el hombre?", "No se puede saber a partir de la imagen.", "abstained"),
        ("Que tient l'homme ?", "L'homme tient un parapluie.", "answered"),
        ("Combien de bateaux y a-t-il ?", "Trois.", "answered"),
        ("Qui a appelé ?", "Aucune idée.", "abstained"),
        ("犬は何匹いますか？", "三匹です。", "answered"),
        ("犬は何色ですか？", "画像に犬は写っていません。", "abstained"),
        ("看板には何と書いてありますか？", "看板には「不明」と書いてあります。", None),
        ("圖中有幾隻狗？", "三隻。", "answered"),
        ("牌子上写着什么？", "牌子上写着“未知”。", None),
        ("这张照片是什么时候拍的？", "我不知道。", "abstained"),
    ],
)
def test_a_response_is_read_in_its_own_language(question: str, response: str, act: str | None) -> None:
    assert rule(question, response, "stop") == act


@pytest.mark.parametrize(
    ("question", "response", "act"),
    [
        ("女人拿着什么？", "图片显示一个女人拿着书，看不清女人的脸。", None),
        (
            "Was hält der Mann?",
            "Das Bild zeigt einen Mann mit einem Buch. Welches Buch es ist, ist nicht zu sehen.",
            None,
        ),
        ("¿Qué lleva el hombre?", "La imagen muestra a un hombre con un paraguas. No se distingue el color.", None),
        ("Welche Farbe hat der Ball?", "Der Ball ist weder rot noch blau.", None),
        ("Combien de chats y a-t-il ?", "Une infinité.", None),
        ("¿Cuántos gatos hay?", "Un montón.", None),
        ("男性は何を持っていますか？", "内緒です。", None),
        ("犬はどこにいますか？", "画面の外です。", None),
        ("图里有几只猫？", "图里有一群猫。", None),
        ("Wie viele Kinder hat die Frau?", "Zwei Luftballons.", None),
        ("Ist das Essen frisch?", "Ja und nein.", None),
        ("¿De qué color es el perro?", "El perro está junto al coche rojo.", None),
        ("À quoi pense la femme ?", "La femme pense beaucoup.", None),
        ("犬は何色ですか？", "犬は赤い車のそばにいます。", None),
        ("女人有几个孩子？", "女人有两个气球。", None),
        ("Qui a gagné ?", "L'image montre une foule en liesse, mais n'indique pas qui a gagné.", "abstained"),
        ("誰贏了比賽？", "圖片顯示歡呼的人群，但看不出誰贏了。", "abstained"),
    ],
)
def test_a_detail_a_vague_word_and_an_evasion_are_no_abstention_and_no_answer(
    question: str, response: str, act: str | None
) -> None:
    assert rule(question, response, "stop") == act


@pytest.mark.parametrize(
    ("question", "response"),
    [
        ("Qual é a cor do carro?", "Não é possível saber."),  # Portuguese
        ("O que há na caixa?", "Um gato."),
        ("Di che colore è la macchina?", "Non si può sapere."),  # Italian
        ("Cosa c'è nella scatola?", "Un gatto."),
        ("Welke kleur heeft de auto?", "Dat is niet te zien."),  # Dutch
        ("Vilken färg har bilen?", "Det vet jag inte."),  # Swedish
        ("De quin color és el cotxe?", "No es pot saber."),  # Catalan
        ("Какого цвета машина?", "Неизвестно."),
        ("자동차는 무슨 색입니까?", "알 수 없습니다."),
        ("Welche Farbe hat das Auto?", "The car is red."),  # answered in another language
        ("What is on the sign?", "Das weiß ich nicht."),
        ("車は何色ですか？", "The car is red."),
        ("汽车是什么颜色的？", "赤いです。"),
        ("Farbe?", "Rot."),  # no function word
        ("¿A qué temperatura está el agua?", "s/d, N/A"),
    ],
)
def test_what_is_in_no_known_language_for_certain_is_left_to_the_judge(question: str, response: str) -> None:
    assert rule(question, response, "stop") is None


def test_no_english_question_is_read_by_a_pack() -> None:
    for name in ("rules_golden", "rules_short"):
        for line in (ROOT / "tests" / "data" / f"{name}.jsonl").read_text("utf-8").splitlines():
            row = json.loads(line)
            assert language_of(row["question"], row["response"]) is None, row


def test_an_act_that_a_pack_leaves_open_goes_to_the_judge() -> None:
    pack = load_language("de")
    wary = LanguagePack("de", pack.data | {"leaves_open": ["answered"]})
    asked = "Welche Farbe hat das Auto?"
    assert by_phrases.explain_by_phrases(pack, asked, "Rot.") == ("answered", "de-typed")
    assert by_phrases.explain_by_phrases(wary, asked, "Rot.") == (None, "open")
    assert by_phrases.explain_by_phrases(wary, asked, "Das weiß ich nicht.") == ("abstained", "de-declines")


@pytest.mark.parametrize("code", LANGUAGES)
def test_a_filler_an_echo_a_no_and_a_read_text_are_not_taken_for_what_they_are_not(code: str) -> None:
    rows = [row for row in HOSTILE if row["language"] == code]
    assert len(rows) > 30
    assert [row for row in rows if rule(row["question"], row["response"], "stop") == row["wrong"]] == []


@pytest.mark.parametrize(
    ("question", "response"),
    [
        ("Was hält der Mann?", "Der Mann hält einen Regenschirm und eine rote Tasche."),
        ("Wo steht das Fahrrad?", "Das Fahrrad steht neben dem grünen Zaun."),
        ("¿Qué sostiene el hombre?", "El hombre sostiene una taza blanca."),
        ("¿Dónde está la llave?", "Debajo de la silla."),
        ("Que tient l'homme dans la main ?", "L'homme tient une grande tasse dans la main."),
        ("Où est le vélo ?", "Le vélo est devant la porte rouge."),
        ("男性は何を持っていますか？", "男性は黒い傘とバッグを持っています。"),
        ("自転車はどこにありますか？", "自転車は赤いドアの前にあります。"),
        ("男人手里拿着什么？", "男人手里拿着一个白色的杯子。"),
        ("自行车在哪里？", "自行车在红色的门旁边。"),
    ],
)
def test_an_answer_in_the_packs_own_words_is_an_answer(question: str, response: str) -> None:
    assert rule(question, response, "stop") == "answered"


@pytest.mark.parametrize(
    ("question", "declines", "denies"),
    [
        ("Ist die Frau verheiratet?", "Das lässt sich nicht sagen.", "Das Bild zeigt das nicht."),
        ("¿Está casada la mujer?", "No se puede saber.", "La imagen no lo indica."),
        ("La femme est-elle mariée ?", "On ne peut pas le savoir.", "L'image ne le montre pas."),
        ("彼女は結婚していますか？", "わかりません。", "示されていません。"),
        ("她结婚了吗？", "无法确定。", "图片没有显示这一点。"),
    ],
)
def test_a_yes_no_question_is_declined_by_not_knowing_and_not_by_what_is_not_shown(
    question: str, declines: str, denies: str
) -> None:
    assert rule(question, declines, "stop") == "abstained"
    assert rule(question, denies, "stop") is None


@pytest.mark.parametrize("code", LANGUAGES)
def test_a_pack_has_every_key_and_names_no_part_that_it_lacks(code: str) -> None:
    pack = load_language(code)
    english = load_language("de")
    assert {kind for kind, _ in pack.kinds} == set(KINDS)
    for table in ("words", "questions", "answers"):
        missing = set(english.data[table]) - set(pack.data[table])
        assert missing == set()
        assert all(pack.pattern(table, name) for name in pack.data[table])
    assert set(pack.leaves_open) <= set(get_args(Act))


def test_a_long_response_is_left_to_the_judge() -> None:
    declined = "Das weiß ich nicht. "
    long = declined * (by_phrases.MAX_CHARS // len(declined) + 1)
    assert explain("Wie heißt der Mann?", long, "stop") == (None, "too-long")
    assert explain("Wie heißt der Mann?", declined * 3, "stop") == ("abstained", "de-declines")


@given(st.lists(st.sampled_from([row["response"] for row in ROWS]), min_size=1, max_size=3), st.integers(0, 400))
def test_no_mixture_of_responses_makes_the_rules_fail(responses: list[str], length: int) -> None:
    text = " ".join(responses)[:length]
    for question in (
        "Was ist in der Schachtel?",
        "¿Qué hay en la caja?",
        "Que contient la boîte ?",
        "箱の中は何ですか？",
    ):
        assert rule(question, text, "stop") in (*get_args(Act), None)
