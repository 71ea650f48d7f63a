"""Lists of questions in twelve languages and many shapes: recall and precision of what is read and passes the gate."""

from __future__ import annotations

import json
import re
import tomllib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from unsaf_async.examine.parse import of_label, question_items
from unsaf_async.examine.parse.gate import is_question

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from unsaf_async.examine.parse.items import Item

LANGUAGES: dict[str, dict[str, Any]] = tomllib.loads(
    (Path(__file__).parents[1] / "data" / "languages.toml").read_text("utf-8")
)


def passes(item: Item) -> bool:
    return is_question(item.text, named=item.named)


def four(pool: Sequence[str], first: int) -> list[str]:
    return [pool[(first + 2 * number) % len(pool)] for number in range(4)]


def numbered(questions: Sequence[str], form: str = "{n}. {q}") -> str:
    return "\n".join(form.format(n=n, q=question) for n, question in enumerate(questions, 1))


def replies(words: dict[str, Any]) -> Iterator[tuple[str, str, list[str]]]:
    """(shape, reply, the questions in it) of one language."""
    marked, unmarked, both = words["marked"], words["unmarked"], words["marked"] + words["unmarked"]
    preamble, closing, question, answer = (words[name] for name in ("preamble", "closing", "question", "answer"))
    yield "numbered, preamble", f"{preamble}\n\n{numbered(q := four(marked, 0))}\n\n{closing}", q
    yield "bullets", f"{preamble}\n" + numbered(q := four(marked, 1), "- {q}"), q
    yield "bullets, no marks", f"{preamble}\n\n" + numbered(q := four(unmarked, 0), "* {q}") + f"\n\n{closing}", q
    yield "numbered, no marks", numbered(q := four(unmarked, 1)), q
    yield (
        "own numerals",
        "\n".join(f"{m} {q}" for m, q in zip(words["marks"], four(marked, 0), strict=True)),
        four(marked, 0),
    )
    yield (
        "circled numerals",
        "\n".join(f"{m}{q}" for m, q in zip("①②③④", four(unmarked, 1), strict=True)),
        four(unmarked, 1),
    )
    yield (
        "wide numerals",
        "\n".join(f"（{m}）{q}" for m, q in zip("１２３４", four(marked, 1), strict=True)),
        four(marked, 1),
    )
    yield "named and numbered", numbered(q := four(marked, 0), f"{question} {{n}}: {{q}}"), q
    yield "named, with answers", numbered(q := four(unmarked, 0), f"**{question}:** {{q}}\n**{answer}:** ...\n"), q
    yield "bold", numbered(q := four(marked, 1), "{n}. **{q}**"), q
    yield "plain lines", f"{preamble}\n" + "\n".join(q := four(marked, 0)), q
    q = four(unmarked, 1)
    listed = [{"question": each} for each in q]
    yield "JSON", json.dumps({"questions": listed}, ensure_ascii=False), q
    yield "JSON, own key", json.dumps([{question: each, answer: "..."} for each in q], ensure_ascii=False), q
    yield "JSON of strings", json.dumps({"questions": (q := four(both, 5))}), q
    yield "JSON in JSON", json.dumps({"questions": json.dumps([{"question": each} for each in q])}), q
    yield (
        "fenced",
        f"{preamble}\n```json\n{json.dumps(listed, ensure_ascii=False, indent=2)}\n```\n{closing}",
        four(unmarked, 1),
    )
    q = four(both, 3)
    yield (
        "table",
        f"{preamble}\n\n| # | {question} | {words['kind']} |\n|---|:---|---|\n" + numbered(q, "| {n} | {q} | hidden |"),
        q,
    )
    yield "tags", "<questions>\n" + numbered(q, '  <question id="{n}">{q}</question>') + "\n</questions>", q
    yield "list tags", "<ol>" + numbered(q, "<li>{q}</li>") + f"</ol><p>{closing}</p>", q


def figures(words: dict[str, Any]) -> tuple[float, float, list[str]]:
    """Recall, precision and the shapes that lost or gained something."""
    wanted = found = accepted = 0
    wrong = []
    statements = [numbered(words["statements"], form) for form in ("{q}", "- {q}", "{n}. {q}")]
    for shape, reply, questions in [*replies(words), *(("statements", each, []) for each in statements)]:
        read = Counter(item.text for item in question_items(reply) if passes(item))
        wanted += len(questions)
        found += (read & Counter(questions)).total()
        accepted += read.total()
        if read != Counter(questions):
            wrong.append(shape)
    return found / wanted, found / accepted if accepted else 1.0, wrong


@pytest.mark.parametrize("language", LANGUAGES)
def test_lists_of_a_language_are_read_whole_and_nothing_else_is(language: str) -> None:
    words = LANGUAGES[language]
    recall, precision, wrong = figures(words)
    print(f"{language}: recall {recall:.3f}, precision {precision:.3f} {wrong}")
    assert recall >= 0.98, wrong
    assert precision >= 0.98, wrong
    assert not any(is_question(text, named=True) for text in words["under_key"])
    assert all(is_question(text, named=True) for text in words["marked"] + words["unmarked"])


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("form", ["{h}:\n", "## {h}\n\n", "**{h}**\n", "1. {h}：\n"])
def test_a_reply_with_both_sections_gives_those_that_were_asked_for(language: str, form: str) -> None:
    words = LANGUAGES[language]
    first, second = four(words["marked"], 0), four(words["unmarked"], 1)
    headings = form.format(h=words["answerable"]), form.format(h=words["unanswerable"])
    items = question_items(f"{headings[0]}{numbered(first, '- {q}')}\n\n{headings[1]}{numbered(second, '- {q}')}")
    own, others = of_label(items, "answerable")
    assert ([each.text for each in own], [each.text for each in others]) == (first, second)
    own, others = of_label(items, "unanswerable")
    assert ([each.text for each in own], [each.text for each in others]) == (second, first)


HEADINGS = {
    "en, verb": ("Questions the image answers", "Questions the image does not answer"),
    "en, can": ("Questions that can be answered", "Questions that cannot be answered"),
    "en, word": ("answerable", "not_answerable"),
    "en, image": ("Questions the image can answer", "Questions that the image can't fully answer"),
    "zh": ("可以回答的问题", "无法回答的问题"),
    "zh, image": ("图像能回答的问题", "图像不能回答的问题"),
    "ja": ("画像から答えられる質問", "画像からは答えられない質問"),
    "ko": ("이미지로 답할 수 있는 질문", "이미지로 답할 수 없는 질문"),
    "es": ("Preguntas que la imagen puede responder", "Preguntas que la imagen no puede responder"),
    "de": ("Fragen, die das Bild beantwortet", "Fragen, die das Bild nicht beantwortet"),
    "de, passive": (
        "Fragen, die beantwortet werden können",
        "Fragen, die nicht mit dem Bild beantwortet werden können",
    ),
    "fr": ("Questions auxquelles on peut répondre", "Questions auxquelles l'image ne répond pas"),
    "pt": ("Perguntas que podem ser respondidas", "Perguntas que não podem ser respondidas"),
    "ru": ("Вопросы, на которые можно ответить", "Вопросы, на которые нельзя ответить"),
    "ar": ("أسئلة يمكن الإجابة عنها", "أسئلة لا يمكن الإجابة عنها"),
    "hi": ("जिन प्रश्नों का उत्तर दिया जा सकता है", "जिन प्रश्नों का उत्तर नहीं दिया जा सकता"),
    "hi, word": ("उत्तर योग्य प्रश्न", "अनुत्तरणीय प्रश्न"),
    "th": ("คำถามที่สามารถตอบได้", "คำถามที่ไม่สามารถตอบได้"),
}


@pytest.mark.parametrize("form", ["{h}\n1. {q}", "{h}:\n1. {q}", "## {h}\n- {q}", "**{h}**\n\n1) {q}", "keys"])
@pytest.mark.parametrize("headings", HEADINGS.values(), ids=HEADINGS)
def test_a_heading_that_negates_the_answering_of_questions_is_told_from_one_that_does_not(
    headings: tuple[str, str], form: str
) -> None:
    questions = ("What is the dog doing?", "Who owns the dog?")
    pairs = dict(zip(headings, questions, strict=True))
    if form == "keys":
        written = json.dumps({heading: [question] for heading, question in pairs.items()})
    else:
        written = "\n\n".join(form.format(h=heading, q=question) for heading, question in pairs.items())
    own, others = of_label(question_items(written), "answerable")
    assert ([each.text for each in own], [each.text for each in others]) == ([questions[0]], [questions[1]])


PACKS = Path(__file__).parents[2] / "prompts" / "unsaf"
OWN_WORDS = {
    "": "Questions that are {}",
    "de": "Fragen, die {} sind",
    "es": "Preguntas que {}",
    "fr": "Questions {}",
    "ja": "{}質問",
    "zh": "{}的问题",
}


@pytest.mark.parametrize("language", OWN_WORDS)
def test_the_words_by_which_a_prompt_pack_asks_are_known_as_headings(language: str) -> None:
    """The packs set them in capitals, or in quotation marks where a script has no capitals."""
    headings = []
    for label in ("answerable", "unanswerable"):
        asked = (PACKS / language / f"ask-{label}.md").read_text("utf-8")
        words = re.search(r"(?<=[“「])[^”」]+|[A-ZÉ]{2,}(?: [A-ZÉ]{2,})*", asked)
        assert words, asked
        headings.append(OWN_WORDS[language].format(words[0].lower()))
    written = "\n\n".join(
        f"{heading}\n1. {q}" for heading, q in zip(headings, ("Is it red?", "Who is he?"), strict=True)
    )
    assert [item.label for item in question_items(written)] == ["answerable", "unanswerable"], headings
    keys = json.dumps(dict(zip(headings, (["Is it red?"], ["Who is he?"]), strict=True)))
    assert [item.label for item in question_items(keys)] == ["answerable", "unanswerable"], headings


@pytest.mark.parametrize(
    "written",
    [
        "Answerable questions:\n1. Is it red?\n\nHopeless questions:\n1. Who is he?",
        "## Answerable\n1. Is it red?\n\n## Hopeless\n1. Who is he?",
        "**Answerable**\n1. Is it red?\n\n**The others**\n1. Who is he?",
        "answerable\n1. Is it red?\n\nHopeless questions\n1. Who is he?",
        json.dumps({"answerable": ["Is it red?"], "hopeless": ["Who is he?"]}),
    ],
)
def test_below_an_unknown_heading_the_label_of_the_one_before_it_ends(written: str) -> None:
    is_it_red, who_is_he = items = question_items(written)
    assert [item.label for item in items] == ["answerable", "unknown"]
    assert of_label(items, "answerable") == ((is_it_red,), (who_is_he,))
    assert of_label(items, "unanswerable") == ((who_is_he,), (is_it_red,))


def test_topics_below_the_heading_of_a_section_keep_its_label() -> None:
    items = question_items(
        "## Unanswerable\n**Before**\n1. What was it?\n\n**Owners**\n2. Who is he?\n\n## Answerable\n3. Is it red?"
    )
    assert [item.label for item in items] == ["unanswerable", "unanswerable", "answerable"]
    items = question_items("## Unanswerable\n### Hidden\n1. What is in it?\n### Questions about time\n2. When was it?")
    assert [item.label for item in items] == ["unanswerable", "unanswerable"]


@pytest.mark.parametrize(
    "line", ["Questions and answers", "## Answers to the questions", "질문과 답변", "أسئلة وإجابات", "答案："]
)
def test_a_heading_of_questions_and_answers_gives_no_label(line: str) -> None:
    items = question_items(f"{line}\n1. Is it red?\n2. Who is he?")
    assert [item.label for item in items] == [None, None]


LABELLED = {
    "keys": {"answerable": ["What is the dog doing?"], "unanswerable": ["Who owns the dog?"]},
    "keys of objects": {
        "Answerable_Questions": [{"question": "What is the dog doing?"}],
        "unanswerable questions": [{"question": "Who owns the dog?"}],
    },
    "members": [
        {"question": "What is the dog doing?", "label": "answerable"},
        {"question": "Who owns the dog?", "label": "unanswerable"},
    ],
    "truth values": [
        {"question": "What is the dog doing?", "answerable": True},
        {"question": "Who owns the dog?", "answerable": False},
    ],
}
LINES = {
    "column of labels": "| Question | Label |\n|---|---|\n| What is the dog doing? | answerable |\n"
    "| Who owns the dog? | unanswerable |",
    "a column for either": "| Answerable | Unanswerable |\n|---|---|\n| What is the dog doing? | Who owns the dog? |",
    "tags": "<answerable><question>What is the dog doing?</question></answerable>\n"
    "<unanswerable><question>Who owns the dog?</question></unanswerable>",
    "sentences": "Here is one answerable question:\n- What is the dog doing?\nAnd one that cannot be answered from the image:\n"
    "- Who owns the dog?",
    "in capitals": "ANSWERABLE\n1. What is the dog doing?\n\nUNANSWERABLE\n1. Who owns the dog?",
    "parts": "### Part A: Answerable Questions\n1. What is the dog doing?\n\n"
    "### Part B: Unanswerable Questions\n1. Who owns the dog?",
    "behind each": "1. What is the dog doing? (answerable)\n2. Who owns the dog? [unanswerable]",
    "behind each, with a kind": "1. What is the dog doing? – **answerable**\n2. Who owns the dog? (unanswerable, identity)",
    "behind each, in Chinese": "1. What is the dog doing?（可回答）\n2. Who owns the dog?（无法回答）",
    "before each": "Answerable: What is the dog doing?\nUnanswerable: Who owns the dog?",
}


@pytest.mark.parametrize("written", [*map(json.dumps, LABELLED.values()), *LINES.values()], ids=[*LABELLED, *LINES])
def test_labels_are_read_from_keys_tables_tags_and_headings(written: str) -> None:
    own, others = of_label(question_items(written), "unanswerable")
    assert [each.text for each in own] == ["Who owns the dog?"]
    assert [each.text for each in others] == ["What is the dog doing?"]


def test_a_list_that_is_wholly_under_the_other_heading_is_what_was_asked_for() -> None:
    items = question_items("Answerable questions:\n1. What is the dog doing?\n2. Who owns the dog?")
    assert of_label(items, "unanswerable") == (items, ())


@pytest.mark.parametrize(
    "written",
    [
        "Here are the answerable and unanswerable questions:\n1. What is it?\n2. Who is he?",
        "1. Is the riddle on the sign answerable?\n2. Who is he?",
        "1. What can be answered by pressing the red button?\n2. Who is he?",
    ],
)
def test_a_line_that_speaks_of_both_labels_or_asks_is_no_heading(written: str) -> None:
    items = question_items(written)
    assert len(items) == 2
    assert {item.label for item in items} == {None}


@pytest.mark.parametrize(
    ("written", "kinds"),
    [
        (
            "| No. | Question | Kind |\n|---|---|---|\n| 1 | Who is he? | identity |\n| 2 | Was it loud? | non-visual |",
            ("identity", "non-visual"),
        ),
        (
            "Question | Kind\n--- | ---\nWho is he? | identity\nWas it loud? | non-visual\n\nDone.",
            ("identity", "non-visual"),
        ),
        (
            '<question kind="identity">Who is he?</question><question kind="non-visual">Was it loud?</question>',
            ("identity", "non-visual"),
        ),
        (
            "<question>Who is he?</question><kind>identity</kind>\n<question>Was it loud?</question><kind>other</kind>",
            ("identity", "other"),
        ),
        ("一、Who is he?（类型：identity）\n二、Was it loud?（类型：other）", ("identity", "other")),
        ("- question: Who is he?\n  kind: identity\n- question: Was it loud?\n  kind: other", ("identity", "other")),
    ],
)
def test_kinds_are_read_from_tables_tags_and_wide_brackets(written: str, kinds: tuple[str, ...]) -> None:
    items = question_items(written)
    assert [item.text for item in items] == ["Who is he?", "Was it loud?"]
    assert tuple(item.kind for item in items) == kinds


INSIDE = json.dumps([{"question": "Wer ist er", "kind": "identity"}, {"question": "Was it loud?"}])


@pytest.mark.parametrize(
    "written",
    [
        json.dumps({"questions": INSIDE}),
        json.dumps({"output": {"text": INSIDE}}),
        json.dumps(INSIDE),
        json.dumps({"response": f"```json\n{INSIDE}\n```"}),
        json.dumps({"result": json.dumps({"questions": INSIDE})}),
    ],
)
def test_json_inside_json_is_read(written: str) -> None:
    items = question_items(written)
    assert [(item.text, item.kind, item.named) for item in items] == [
        ("Wer ist er", "identity", True),
        ("Was it loud?", None, True),
    ]


def test_lines_inside_json_are_read() -> None:
    items = question_items(json.dumps({"questions": "1. Who is he?\n2. Was it loud?"}))
    assert [item.text for item in items] == ["Who is he?", "Was it loud?"]


def test_what_a_json_key_names_a_question_needs_no_form() -> None:
    """In languages that the gate does not know, too; what it knows to be no question is stopped."""
    for text in ("車の色", "Rangi ya gari", "Số người trong ảnh", "მანქანის ფერი", "Colour of the car"):
        (item,) = question_items(json.dumps({"questions": [{"question": text}]}))
        assert passes(item), text
    for text in ("The image does not show a dog.", "The dog is brown.", "...", "Question 1", "x" * 301, ""):
        assert not any(map(passes, question_items(json.dumps({"questions": [{"question": text}]})))), text


@pytest.mark.parametrize(
    "text",
    [
        "Tell me if you want more.",
        "Soll ich weitere Fragen schreiben?",
        "필요하시면 알려 주세요.",
        "질문을 더 만들어 드릴까요?",
        "और चाहिए तो बताएँ।",
        "क्या आपको और प्रश्न चाहिए?",
    ],
)
def test_an_offer_to_write_more_is_no_question_about_the_image(text: str) -> None:
    assert not is_question(text)


@pytest.mark.parametrize(
    "text",
    [
        "Wer das Foto gemacht hat, ist nicht zu erkennen",
        "Was auf dem Bild zu sehen ist, weiß ich nicht",
        "Wie man sieht, ist der Hund braun",
        "Ist das Bild nicht vorhanden, kann ich nicht antworten",
        "Was das Bild zeigt: ein Hund",
        "Кто сделал фото, неизвестно",
        "Как видно, собака коричневая",
        "Когда идёт дождь, он с зонтом",
        "Quem tirou a foto não é conhecido",
        "Quando chove, ele usa guarda-chuva",
        "من التقط الصورة غير معروف",
        "ما يظهر في الصورة هو كلب",
        "Quand il pleut, il a un parapluie",
        "Qui a pris la photo n'est pas indiqué",
        "Que yo sepa, no hay gatos",
        "Como se puede ver, hay un perro",
        "이미지를 올려 주시겠어요?",
        "क्या आप चित्र अपलोड कर सकते हैं?",
        "これらの質問でよろしいでしょうか？",
    ],
)
def test_statements_that_begin_like_questions_and_talk_to_the_user_are_stopped(text: str) -> None:
    assert not is_question(text)


@pytest.mark.parametrize(
    "text",
    [
        "How many dogs? Three",
        "¿Cuántos perros hay? Tres",
        "Wie viele Hunde? Drei",
        "Combien de chiens ? Trois",
        "Quantos cães há? Três",
        "Сколько собак? Три",
        "개가 몇 마리 있나요? 세 마리",
        "犬は何匹いますか？ → 三匹",
        "कितने कुत्ते हैं? तीन",
        "มีสุนัขกี่ตัว? สามตัว",
        "كم كلبًا؟ ثلاثة",
    ],
)
def test_a_question_with_its_answer_behind_it_is_none_under_a_key_either(text: str) -> None:
    assert not is_question(text, named=True)


@pytest.mark.parametrize(
    "text",
    [
        "抱歉牌上写了什么？",
        "Was steht unter 'Antwort:'?",
        'What is written behind "Answer:"?',
        "On ne voit pas le soleil ?",
        "Y a t il un chien",
        "Welche Farbe hat das Auto, das links steht",
        "Что делает человек, который стоит слева",
        "Где собака",
        "أين الكلب",
        "犬は何匹",
        "차는 무슨 색",
        "Which one is it? Name the bigger one.",
    ],
)
def test_questions_that_look_like_something_else_pass(text: str) -> None:
    assert is_question(text)
    assert is_question(text, named=True)


@pytest.mark.parametrize(
    "mark",
    ["Ｑ１：", "問1．", "第1问：", "第二题、", "１）", "Ⅱ．", "❷ ", "⑵", "5.º ", "№ 3. ", "IV. ", "질문 2) ", "２번 "],
)
def test_marks_of_items_are_no_part_of_them(mark: str) -> None:
    items = question_items(f"{mark}这是什么？\n{mark}那是谁？")
    assert [item.text for item in items] == ["这是什么？", "那是谁？"]


FURTHER: dict[str, dict[str, Any]] = tomllib.loads(
    (Path(__file__).parents[1] / "data" / "more_languages.toml").read_text("utf-8")
)


@pytest.mark.parametrize("language", FURTHER)
def test_lists_and_both_sections_of_further_languages_are_read(language: str) -> None:
    words = FURTHER[language]
    read = [
        (f"{words['preamble']}\n\n{numbered(words['unmarked'])}\n\n{words['closing']}", words["unmarked"]),
        (f"{words['preamble']}\n" + "\n".join(words["answerable"]) + f"\n{words['closing']}", words["answerable"]),
        (json.dumps({"questions": words["unmarked"]}), words["unmarked"]),
        (numbered(words["statements"]), []),
    ]
    for written, questions in read:
        assert [item.text for item in question_items(written) if passes(item)] == questions
    for form in ("{h}:\n", "## {h}\n", "**{h}**\n", "{h}\n"):
        first, second = (form.format(h=heading) for heading in words["headings"])
        items = question_items(f"{first}{numbered(words['answerable'])}\n\n{second}{numbered(words['unanswerable'])}")
        own, others = of_label(items, "unanswerable")
        assert [each.text for each in own] == words["unanswerable"], form
        assert [each.text for each in others] == words["answerable"], form


@pytest.mark.parametrize(
    "headings",
    [
        ("Visible / Answerable", "Hidden / Unanswerable"),
        ("Answerable (based on visible content)", "Unanswerable (not enough visible content)"),
        ("【Answerable】", "【Unanswerable】"),
        ("--- Answerable from the photo ---", "--- Unanswerable from the photo ---"),
        ("Lässt sich beantworten", "Lässt sich nicht beantworten"),
        ("Con respuesta en la imagen", "Sin respuesta en la imagen"),
        ("ตอบได้จากภาพ", "ตอบไม่ได้จากภาพ"),
        ("जिनका उत्तर दिया जा सकता है", "जिनका उत्तर नहीं दिया जा सकता"),
        ("I. 回答可能な質問", "II. 回答不可能な質問"),
    ],
)
def test_a_heading_may_say_a_little_more_than_the_label(headings: tuple[str, str]) -> None:
    written = "\n\n".join(
        f"{heading}\n- {q}" for heading, q in zip(headings, ("Is it red?", "Who is he?"), strict=True)
    )
    assert [item.label for item in question_items(written)] == ["answerable", "unanswerable"]


TWO = ["What is he called?", "Was it loud?"]
VOICES = {
    "character data": "<list><item><![CDATA[{}]]></item><item><![CDATA[{}]]></item></list>",
    "typographic quotes": "{{“questions”: [{{“question”: “{}”, “kind”: “identity”}}, {{“question”: “{}”}}]}}",
    "wide brackets": "｛“questions”：［“{}”，“{}”］｝",
    "escaped": '{{\\"questions\\": [\\"{}\\", \\"{}\\"]}}',
    "escaped line ends": "1. {}\\n2. {}",
    "no outer bars": "1 | {}\n2 | {}",
    "no rule": "No. | Question | Kind\n1 | {} | identity\n2 | {} | other",
    "table in tags": "<table><tr><th>#</th><th>Question</th></tr><tr><td>1</td><td>{}</td></tr>"
    "<tr><td>2</td><td>{}</td></tr></table>",
    "pictures as bullets": "🔹 {}\n🔹 {}",
    "pictures": "🐶 {}\n👨‍👩‍👧 {}",
    "small Roman": "i. {}\nii. {}",
    "marks of direction": "\u200f1. \u202b{}\u202c\n\u200f2. \u202b{}\u202c",
    "no width": "1. \u200b{}\n2. \u200b{}",
    "strong in tags": "<ol><li><strong>{}</strong></li><li><b>{}</b></li></ol>",
    "definitions": "<dl><dt>hidden</dt><dd>{}</dd><dt>identity</dt><dd>{}</dd></dl>",
    "attributes": '<questions><question text="{}" kind="identity"/><question text="{}" kind="other"/></questions>',
    "numbered tags": "<question_1>{}</question_1>\n<q2>{}</q2>",
    "TOML": '[[questions]]\nquestion = "{}"\nkind = "identity"\n\n[[questions]]\nquestion = "{}"\n',
    "tuples": '[("{}", "identity"), ("{}", "other")]',
    "rows": '[["{}", "identity"], ["{}", "other"]]',
    "kinds as keys": '{{"identity": "{}", "other": "{}"}}',
    "tabs between": "1\t{}\tidentity\n2\t{}\tother",
    "tabs before": "\t1.\t{}\n\t2.\t{}",
    "semicolons between": 'id;question;kind\n1;"{}";identity\n2;"{}";other',
    "quoted cells": '"1","{}","identity"\n"2","{}","other"',
    "LaTeX": "\\begin{{enumerate}}\n\\item {}\n\\item {}\n\\end{{enumerate}}",
    "one line": "{}; {}",
    "ask": '1. Ask: "{}"\n2. Ask: "{}"',
    "kind and reason": "1. {} (identity: no name is shown)\n2. {} (non-visual: it is a photo)",
    "reason": "1. {} *(not visible)*\n2. {} The image does not show this.",
    "translation": "1. {} (Wie heißt er?)\n2. {} (War es laut?)",
    "translation behind a stroke": "1. {} / 彼の名前は何ですか？\n2. {} / うるさかったですか？",
}  # fmt: skip


@pytest.mark.parametrize("voice", VOICES.values(), ids=VOICES)
def test_a_list_is_read_in_whatever_form_a_model_writes_it(voice: str) -> None:
    assert [item.text for item in question_items(voice.format(*TWO)) if passes(item)] == TWO


def test_greek_questions_end_in_a_semicolon() -> None:
    questions = ["Τι χρώμα είναι η πόρτα;", "Πού είναι ο σκύλος;"]
    for written in ("1. {} 2. {}", "{} {}", '1,"{}",hidden\n2,"{}",hidden', "1. {} (hidden)\n2. {} (hidden)"):
        assert [item.text for item in question_items(written.format(*questions))] == questions


def test_what_stands_beside_questions_is_their_kind_and_no_item() -> None:
    for voice in ("attributes", "tuples", "rows", "kinds as keys", "tabs between", "quoted cells"):
        items = question_items(VOICES[voice].format(*TWO))
        assert [item.kind for item in items] == ["identity", "other"], voice
    assert question_items("1. Who is he? (identity: no name is shown)")[0].kind == "identity"
    assert question_items("Wie alt ist er? Was hat der Koffer gekostet?")[1].text == "Was hat der Koffer gekostet?"
