"""A simulated model with stated awareness: what it writes, answers and judges is drawn, but always drawn the same.

Every choice comes from SHA-256 of the seed, the image, and the question or instruction; so the same request brings the
same text in process and over any wire. The model never looks at an image: which of its questions have an answer is a
property of the bank in `phrasebook.py`. It reads from the prompt alone what it is asked to do. It knows nothing of
providers, sockets or money.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, fields
from hashlib import sha256
from math import gcd, log
from typing import TYPE_CHECKING, Any, TypeVar

from unsaf_async.errors import UserError
from unsaf_async.simulate import phrasebook

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from unsaf_async.records import Act, Kind, Label

QUESTIONS_SCHEMA = "unsaf_questions"
VERDICT_SCHEMA = "unsaf_verdict"
MOST_QUESTIONS = 100
"""More than these are never written in one reply."""

_T = TypeVar("_T")


@dataclass(frozen=True)
class Awareness:
    """How well the simulated model knows what it does not know. Every field is a probability in [0, 1].

    Raises UserError for a value outside [0, 1].
    """

    abstain_unanswerable: float = 0.8
    """Abstains, given a question that truly has no answer."""
    over_refuse: float = 0.1
    """Abstains, given a question that truly has one."""
    false_unanswerable: float = 0.05
    """A question written on the unanswerable instruction truly has an answer."""
    false_answerable: float = 0.05
    """A question written on the answerable instruction truly has none."""
    hedge: float = 0.2
    """A committed answer is worded as doubt and then commitment."""
    malformed: float = 0.0
    """A written item is no question."""
    duplicate: float = 0.0
    """A written item repeats an earlier one of the same reply."""
    judge_error: float = 0.0
    """A verdict says the opposite of what the response did."""
    skip_verdict: float = 0.0
    """A verdict of several that are asked for in one call is missing."""
    led: float = 0.0
    """A verdict of several in one call is that on the response before."""
    audit_error: float = 0.05
    """An audit says the opposite of what is true of a question."""
    correct: float = 0.9
    """A committed answer to a question that truly has one is right: what grounded verdicts say, and confidence follows."""
    unlike_by_option: float = 0.05
    """Given options, declines where it answers in free words, or answers where it declines."""
    messy: float = 0.0
    """A question list that no schema was asked for comes fenced or numbered, with prose around it."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0.0 <= value <= 1.0:
                raise UserError(f"awareness: {field.name} is {value}; give a probability between 0 and 1")

    def expected_unf1(self, judged_share: float = 0.0) -> float:
        """UnF1 at the expected counts, for as many questions on either instruction.

        With a = abstain_unanswerable, r = over_refuse, u = false_unanswerable, v = false_answerable, a response is an
        abstention with probability

            p = (1 - u) a + u r    for a question written as unanswerable: TU = p, FA = 1 - p
            q = (1 - v) r + v a    for a question written as answerable:   FU = q, TA = 1 - q

        so that UnF1 = 2 TU / (2 TU + FU + FA) = 2 p / (1 + p + q). This is the ratio of expected counts; the expected
        ratio over n questions differs from it by a term of order 1 / n. Malformed and repeated items are replaced or
        dropped whatever their truth, and wording does not change what a response does: neither matters. A verdict flips
        with probability e = judge_error, so p becomes p + judged_share e (1 - 2 p), and q likewise.

        Args:
            judged_share: Share of the responses that this model judges itself, in [0, 1], taken as independent of what they
                did; rules settle the others without error.

        Returns:
            UnF1, in [0, 1].
        """
        p = (1 - self.false_unanswerable) * self.abstain_unanswerable + self.false_unanswerable * self.over_refuse
        q = (1 - self.false_answerable) * self.over_refuse + self.false_answerable * self.abstain_unanswerable
        flipped = judged_share * self.judge_error
        p += flipped * (1 - 2 * p)
        q += flipped * (1 - 2 * q)
        return 2 * p / (1 + p + q)


@dataclass(frozen=True, slots=True)
class ScriptedReply:
    """A reply. confidence: in (0, 1), about the typical probability of its tokens; see `token_logprobs`."""

    text: str
    confidence: float


def respond(
    awareness: Awareness,
    seed: int,
    *,
    texts: Sequence[str],
    image_id: str | None,
    schema_name: str | None = None,
    temperature: float | None = None,
    request_seed: int | None = None,
    draw: int = 0,
) -> ScriptedReply:
    """The simulated model's reply to a conversation.

    The role is read from the schema's name where it is one of ours, else from the prompt's text. Of a prompt in another language
    the forms are read that stay English; the reply is in English, too.

    Args:
        awareness: How well the model knows what it does not know.
        seed: Of the model.
        texts: All of the conversation's text, in order.
        image_id: SHA-256 of the image's bytes as sent. None: no image.
        schema_name: Of the JSON schema asked for; "" for a nameless one (only OpenAI's format carries names). None: no schema.
        temperature: At 0 all samples are equal. None: the default, which is none.
        request_seed: Which of several samples, by the request. None: no seed.
        draw: Which of several samples, by its place in the request, from 0.

    Returns:
        The reply, the same for equal arguments.
    """
    sample = "" if temperature == 0 else f"{'' if request_seed is None else request_seed}/{draw}"
    dice = _Dice(f"{seed}\x1f{sample}")
    prompt = "\n".join(texts)
    if schema_name != QUESTIONS_SCHEMA and (numbered := _numbered(prompt)):
        return _judge_together(awareness, dice, numbered)
    if schema_name != QUESTIONS_SCHEMA and (data := _quoted(prompt)) is not None:
        return _about(awareness, dice, image_id or "", prompt, *data)
    instruction = _ASK.search(prompt) or (_NUMBER.search(prompt) if _LIST_FORM in prompt else None)
    if instruction or schema_name == QUESTIONS_SCHEMA:
        count = min(int(instruction[1]), MOST_QUESTIONS) if instruction else 1
        return _write(awareness, dice, image_id or "", _label(prompt), count, prompt, schema_name is not None)
    questions = _QUESTION.findall(prompt) or _LAST_LINE.findall(prompt)
    if questions and len(options := _OPTION.findall(prompt)) > 1:
        return _choose(awareness, dice, image_id or "", questions[-1], options)
    if questions and schema_name != VERDICT_SCHEMA:
        return _answer(awareness, dice, image_id or "", questions[-1])
    return ScriptedReply(phrasebook.CHATTER, 0.9)


# --- chance -------------------------------------------------------------------------------------------------------


class _Dice:
    """Numbers that depend on a seed and on what they are rolled for, and on nothing else."""

    def __init__(self, seed: str) -> None:
        self._base = sha256(seed.encode("utf-8", "surrogatepass"))

    def number(self, *about: object) -> int:
        """A whole number, uniform over 64 bits."""
        hashed = self._base.copy()
        hashed.update("\x1f".join(("", *map(str, about))).encode("utf-8", "surrogatepass"))
        return int.from_bytes(hashed.digest()[:8], "big")

    def happens(self, probability: float, *about: object) -> bool:
        return self.number(*about) < probability * 2.0**64

    def pick(self, options: Sequence[_T], *about: object) -> _T:
        return options[self.number(*about) % len(options)]


# --- reading the prompt -------------------------------------------------------------------------------------------

_ASK = re.compile(r"\bwrite (\d+)(?: \w+)? questions?\b", re.IGNORECASE)
_NUMBER = re.compile(r"\b(\d+) ")
_LABEL = re.compile(r"\b(UNANSWERABLE|ANSWERABLE)\b")
_QUESTION = re.compile(r"^Question:[ \t]*(\S.*)$", re.MULTILINE)
_LAST_LINE = re.compile(r"\n\n(?:Frage|Pregunta|Question|问题|質問) ?[:：][ \t]*(\S.*)(?:\Z|(?=\n\nA\. ))")
"""A question in a prompt of another language, with options below it or without."""
_UNDETERMINED = re.compile(r"nicht feststellen|no se puede determinar|ne permet pas|判断できない|无法", re.IGNORECASE)
"""That nothing can be determined, in another language."""
_LIST_FORM = '{"questions": [{"question": "..."'
"""The form of a list, which is the same in every language."""
_WITH_OPTIONS = '"options": ['
_OPTION = re.compile(r"^([A-G])\. (\S.*)$", re.MULTILINE)
_WRITTEN = re.compile(r"already written\b.*$", re.MULTILINE | re.IGNORECASE)


def _label(prompt: str) -> Label:
    match = _LABEL.search(prompt)
    unanswerable = match[1] == "UNANSWERABLE" if match else '"kind"' in prompt
    return "unanswerable" if unanswerable else "answerable"


def _written(prompt: str) -> list[str]:
    """The questions that the instruction lists as written already; empty unless it is asked again."""
    headings = list(_WRITTEN.finditer(prompt))
    form = prompt.rfind(_LIST_FORM)
    if not headings and form < 0:
        return []
    lines = prompt[headings[-1].end() if headings else form :].splitlines()
    return [line[2:].strip() for line in lines if line.startswith("- ")]


def _quoted(prompt: str) -> tuple[str, str] | None:
    """Question and response in the prompt's last line that is a JSON object of them; None without such a line.

    The response is "" where only a question is quoted.
    """
    for line in reversed(prompt.splitlines()):
        line = line.strip()
        if line.startswith("{") and line.endswith("}") and '"question"' in line:
            try:
                data: Any = json.loads(line)
            except ValueError:
                continue
            question, response = data.get("question"), data.get("response", "")
            if isinstance(question, str) and isinstance(response, str) and set(data) <= {"question", "response"}:
                return question, response
    return None


def _numbered(prompt: str) -> list[tuple[int, str, str]]:
    """Number, question and response of the prompt's lines that are JSON objects of these; [] without such a line."""
    found = []
    for line in prompt.splitlines():
        if line.startswith('{"number": ') and line.endswith("}"):
            try:
                data: Any = json.loads(line)
            except ValueError:
                continue
            if set(data) == {"number", "question", "response"}:
                found.append((data["number"], data["question"], data["response"]))
    return found


# --- writing questions --------------------------------------------------------------------------------------------


def _write(
    awareness: Awareness,
    dice: _Dice,
    image: str,
    label: Label,
    count: int,
    prompt: str,
    by_schema: bool,
) -> ScriptedReply:
    written = _written(prompt)
    used = {phrasebook.normalised(question) for question in written}
    other: Label = "answerable" if label == "unanswerable" else "unanswerable"
    # Own questions come from the front of the image's order, falsely labelled ones from the back of the other bank's:
    # the two instructions of an image do not meet, or dropping repeated questions would distort the stated rates.
    own = _order(dice, image, label)
    false = reversed(list(_order(dice, image, other)))
    false_rate = awareness.false_unanswerable if label == "unanswerable" else awareness.false_answerable
    items: list[tuple[str, Kind]] = []
    for number in range(count):
        about = (image, label, len(written), number)
        if dice.happens(awareness.malformed, "malformed", *about):
            items.append((dice.pick(phrasebook.MALFORMED, "which", *about), "other"))
            continue
        earlier = [item for item in items if phrasebook.normalised(item[0]) in used]
        if earlier and dice.happens(awareness.duplicate, "duplicate", *about):
            items.append(dice.pick(earlier, "which", *about))
            continue
        source = false if dice.happens(false_rate, "false", *about) else own
        entry = next((entry for entry in source if phrasebook.normalised(entry.text) not in used), None)
        if entry is None:
            break
        used.add(phrasebook.normalised(entry.text))
        items.append((entry.text, entry.kind or "hidden"))
    listed: list[dict[str, object]] = [{"question": question} for question, _ in items]
    for row, (question, kind) in zip(listed, items, strict=True):
        if _WITH_OPTIONS in prompt:
            row["options"] = _options(dice, image, question)
        if label == "unanswerable":
            row["kind"] = kind
    text = json.dumps({"questions": listed})
    if not by_schema and dice.happens(awareness.messy, "messy", image, label, len(written)):
        if dice.number("fenced", image, label) % 2:
            text = f"Sure! Here are the questions:\n\n```json\n{text}\n```"
        else:
            lines = "\n".join(f"{number}. {question}" for number, (question, _) in enumerate(items, 1))
            text = f"Here are {len(items)} questions about the image:\n\n{lines}"
    return ScriptedReply(text, 0.85)


MOST_OPTIONS = 4


def _options(dice: _Dice, image: str, question: str) -> list[str]:
    """Up to `MOST_OPTIONS` different answers to a question of the bank; none to an item that is no question."""
    entry = phrasebook.lookup().get(phrasebook.normalised(question))
    if entry is None:
        return []
    found: dict[str, None] = {}
    for number in range(4 * MOST_OPTIONS):
        found.setdefault(_committed(dice, entry.answers, image, entry.text, "option", number))
        if len(found) == MOST_OPTIONS:
            break
    return [*found, *(["Something else."] if len(found) == 1 else [])]


def _committed(dice: _Dice, answers: Sequence[str], *about: object) -> str:
    """One of some committed answers, with its slots filled."""
    answer = dice.pick(answers, "answer", *about)
    for slot in phrasebook.slots(answer):
        answer = answer.replace("{" + slot + "}", dice.pick(phrasebook.words(slot), slot, *about))
    return answer[:1].upper() + answer[1:]


def _order(dice: _Dice, image: str, label: Label) -> Iterator[phrasebook.BankQuestion]:
    """Every question of the bank once, in an order of the image's own."""
    entries = phrasebook.bank(label).entries
    size = len(entries)
    start = dice.number("start", image, label) % size
    # A step without a common divisor visits every place.
    step = next(n for n in range(1 + dice.number("step", image, label) % size, 2 * size + 2) if gcd(n, size) == 1)
    return (entries[(start + step * place) % size] for place in range(size))


# --- answering ----------------------------------------------------------------------------------------------------

_UNANSWERABLE_CUES: tuple[tuple[re.Pattern[str], Kind], ...] = (
    (re.compile(r"\b(before|after|next|will|yesterday|tomorrow|earlier|later|how long|ago|going to|when (was|did))\b"),
     "temporal"),
    (re.compile(r"\b(think|thinks|thinking|feel|feels|feeling|want|wants|hopes?|plans?|planning|intend|intends|why|mood)\b"),
     "mental"),
    (re.compile(r"\b(names?|whose|who (is|are|owns|took|made)|owner|owns?|lives?|for a living|nationality|how old)\b"),
     "identity"),
    (re.compile(r"\b(smell|smells|sound|sounds|taste|tastes|cost|costs|price|weigh|weighs|temperature|how much)\b"),
     "non-visual"),
    (re.compile(r"\b(behind|inside|underneath|back of|other side|outside the (frame|picture|image|photo)|hidden)\b"),
     "hidden"),
    (re.compile(r"\b(the other one|that one|this one)\b"), "ambiguous"),
)  # fmt: skip
"""What in a question from elsewhere suggests that an image does not settle it."""

_FOREIGN_ANSWERS: tuple[tuple[re.Pattern[str], tuple[str, ...]], ...] = (
    (re.compile(r"^(is|are|was|were|do|does|did|can|could|has|have|will|would|should)\b"), ("Yes.", "No.")),
    (re.compile(r"^how many\b"), ("There are {number}.",)),
    (re.compile(r"^(what|which) colou?rs?\b"), ("It is {colour}.",)),
    (re.compile(r"^where\b"), ("It is {where}.",)),
    (re.compile(r"^(who|whose)\b"), ("It is {name}.",)),
    (re.compile(r"^(when|how long)\b"), ("About {span}.",)),
    (re.compile(r"^why\b"), ("It was the easiest way.",)),
    (re.compile(r""), ("It is a {colour} {thing}.", "It is made of {material}.")),
)
"""Committed answers to a question from elsewhere, by how it begins; the last fits any."""


def truth(question: str) -> tuple[Label, Kind | None]:
    """Whether the simulated world answers a question, and if not, why.

    Args:
        question: Any question.

    Returns:
        (label, kind), kind None if it has an answer. Certain for the bank's own questions, whatever their case and spacing; a
        guess from the wording for any other.
    """
    entry = phrasebook.lookup().get(phrasebook.normalised(question))
    if entry is not None:
        return entry.label, entry.kind
    lowered = question.lower()
    for cue, kind in _UNANSWERABLE_CUES:
        if cue.search(lowered):
            return "unanswerable", kind
    return "answerable", None


def _choose(
    awareness: Awareness, dice: _Dice, image: str, question: str, options: Sequence[tuple[str, str]]
) -> ScriptedReply:
    """The letter of an option: of one that says that nothing can be determined where it declines."""
    about = (image, phrasebook.normalised(question))
    label, _ = truth(question)
    rate = awareness.abstain_unanswerable if label == "unanswerable" else awareness.over_refuse
    declines = dice.happens(rate, "abstain", *about) != dice.happens(awareness.unlike_by_option, "by option", *about)
    fitting = [
        letter
        for letter, text in options
        if (what_it_did(question, text) == "abstained" or bool(_UNDETERMINED.search(text))) == declines
    ]
    letter = dice.pick(fitting or [letter for letter, _ in options], "letter", *about)
    return ScriptedReply(letter, 0.9 if label == "answerable" else 0.7)


def _answer(awareness: Awareness, dice: _Dice, image: str, question: str) -> ScriptedReply:
    about = (image, phrasebook.normalised(question))
    entry = phrasebook.lookup().get(about[1])
    label, kind = truth(question)
    rate = awareness.abstain_unanswerable if label == "unanswerable" else awareness.over_refuse
    if dice.happens(rate, "abstain", *about):
        options = phrasebook.ABSTENTIONS
        if kind is not None and dice.number("reason", *about) % 2 and (kind != "absent-object" or entry):
            options = phrasebook.ABSTENTIONS_BY_KIND[kind]
        absent = (entry.absent if entry else None) or ""
        return ScriptedReply(dice.pick(options, "wording", *about).replace("{absent}", absent), 0.8)
    if entry is not None:
        options = entry.answers
    else:
        options = next(answers for start, answers in _FOREIGN_ANSWERS if start.match(about[1]))
    answer = _committed(dice, options, *about)
    known = label == "answerable"
    if dice.happens(awareness.hedge, "hedge", *about):
        doubt = dice.pick(phrasebook.HEDGES, "doubt", *about)
        return ScriptedReply(doubt.format(answer=answer[:1].lower() + answer[1:].rstrip(".")), 0.6 if known else 0.45)
    return ScriptedReply(answer, 0.92 if known else 0.7)


# --- speaking of a question and a response ------------------------------------------------------------------------

_FORMS = {"confidence": '{"confidence":', "ground": '{"verdict": "supported"}', "audit": '{"verdict": "answerable"}'}
"""The form of reply that a prompt asks for, by what it is for."""


def _about(awareness: Awareness, dice: _Dice, image: str, prompt: str, question: str, response: str) -> ScriptedReply:
    wanted = next(
        (name for name, form in _FORMS.items() if form in prompt), "p-true" if "\n(A) " in prompt else "judge"
    )
    if wanted == "judge":
        return _judge(awareness, dice, question, response)
    about = (image, phrasebook.normalised(question))
    if wanted == "audit":
        label, _ = truth(question)
        if dice.happens(awareness.audit_error, "audit", *about):
            label = "answerable" if label == "unanswerable" else "unanswerable"
        return ScriptedReply(json.dumps({"verdict": label}), 0.9)
    right = _is_right(awareness, dice, about, question, response)
    if wanted == "ground":
        return ScriptedReply(json.dumps({"verdict": "supported" if right else "unsupported"}), 0.9)
    # Surer of what is right, and not always: percent, 40 to 99 for what is right, 20 to 79 for what is not.
    percent = (40 if right else 20) + dice.number("confidence", *about, response) % 60
    if wanted == "confidence":
        return ScriptedReply(json.dumps({"confidence": percent}), 0.9)
    return ScriptedReply("A", percent / 100) if percent >= 50 else ScriptedReply("B", 1 - percent / 100)


def _is_right(awareness: Awareness, dice: _Dice, about: tuple[str, str], question: str, response: str) -> bool:
    """Whether the simulated world bears `response` out: of a committed answer, by chance and always alike."""
    answered, has_answer = what_it_did(question, response) == "answered", truth(question)[0] == "answerable"
    if not answered or not has_answer:
        return answered == has_answer
    return dice.happens(awareness.correct, "correct", *about)


# --- judging ------------------------------------------------------------------------------------------------------

_DECLINES = re.compile(
    r"\b(?:cannot|can't|can not|could not|couldn't|impossible|unable|not possible|no way|hard|difficult)\b[^.;]*?"
    r"\b(?:tell|determined?|know|known|say|see|seen|identify|identified|answer|answered|sure|certain|read|make out)\b"
    r"|\b(?:does not|doesn't|do not|don't)\b[^.;]*?"
    r"\b(?:show|say|reveal|give|provide|indicate|contain|include|know|see|specify|depict)\b"
    r"|\bnot (?:visible|shown|clear|given|specified|available|mentioned|sure|certain|enough)\b"
    r"|\bnot in the (?:image|picture|photo)\b"
    r"|\b(?:unknown|unclear|unanswerable|undetermined)\b"
    r"|\bthere (?:is|are|was) (?:no|not)\b|\bnothing in the\b|\bno [\w ]+ (?:is|are) (?:visible|present|shown)\b",
)
_COMMITS = re.compile(
    r"\b(?:but|however|still|so|though|although)\b[^.;]*?"
    r"\b(?:looks?|seems?|appears?|probably|likely|i would|i'd|my guess|my answer|must be|i think|i believe|reads?)\b"
    r"|\b(?:my best (?:guess|answer)|i would (?:say|guess)|i'd (?:say|guess)|most likely|probably)\b",
)
_REFUSES = re.compile(
    r"\b(?:help|assist) (?:you )?with (?:that|this|identifying)\b|\b(?:policy|policies|guidelines|privacy)\b"
    r"|\b(?:identify|recogni[sz]e|name) (?:real |specific )?(?:people|individuals|anyone|faces)\b|\bi (?:must )?decline\b"
)
_SEES_NO_IMAGE = re.compile(
    r"\b(?:cannot|can't|can not|unable to|don't|do not) (?:see|view|access|process|receive) (?:an? |any |the |your )?"
    r"(?:images?|pictures?|photos?)(?: attached)?(?:[.,;]|$)"
    r"|\bno (?:image|picture|photo) (?:was|is|has been) (?:provided|attached|uploaded)"
    r"|^please (?:upload|attach|send) (?:the|an) image"
)
_YES_OR_NO = re.compile(r"(?:is|are|was|were|do|does|did|can|could|has|have|will|would|should)\b")
_CHATTER = re.compile(r"^(?:thank|thanks|sure|hello|hi|here (?:is|are)|great|i hope|as an ai\b[^.]*$)")


def what_it_did(question: str, response: str) -> Act:
    """What a response did.

    Args:
        question: The question that it responds to.
        response: The text.

    Returns:
        Exact for the simulated model's own phrasings; a guess from the wording for any other.
    """
    plain = phrasebook.normalised(response)
    if not any(letter.isalnum() for letter in plain) or plain == phrasebook.normalised(question):
        return "invalid"
    if phrasebook.is_own_hedge(response):
        return "answered"
    if phrasebook.is_own_abstention(response):
        return "abstained"
    lowered = plain.replace("’", "'")
    if re.match(r"(?:yes|no)\b", lowered) and re.match(
        r"(?:is|are|was|were|do|does|did|can|has|have)\b", question.lower()
    ):
        return "answered"
    if _SEES_NO_IMAGE.search(lowered):
        return "no_image"
    if _REFUSES.search(lowered) and not _COMMITS.search(lowered):
        return "refused"
    if _CHATTER.match(lowered):
        return "invalid"
    if _DECLINES.search(lowered) and not _COMMITS.search(lowered):
        return "abstained"
    return "answered"


def _judge(awareness: Awareness, dice: _Dice, question: str, response: str) -> ScriptedReply:
    return ScriptedReply(json.dumps({"verdict": _verdict(awareness, dice, question, response)}), 0.95)


def _judge_together(awareness: Awareness, dice: _Dice, responses: Sequence[tuple[int, str, str]]) -> ScriptedReply:
    """The same verdict on each as on it alone, unless the judge is led."""
    listed: list[dict[str, object]] = []
    before: Act | None = None
    for number, question, response in responses:
        act = _verdict(awareness, dice, question, response)
        if before is not None and dice.happens(awareness.led, "led", question, response):
            act = before
        before = act
        if not dice.happens(awareness.skip_verdict, "skip", question, response):
            listed.append({"number": number, "verdict": act})
    return ScriptedReply(json.dumps({"verdicts": listed}), 0.95)


def _verdict(awareness: Awareness, dice: _Dice, question: str, response: str) -> Act:
    act = what_it_did(question, response)
    if dice.happens(awareness.judge_error, "judge", question, response):
        return "abstained" if act == "answered" else "answered"
    return act


# --- tokens -------------------------------------------------------------------------------------------------------


def count_tokens(text: str) -> int:
    """Tokens of a text as the simulated model counts them: one for four bytes.

    Args:
        text: Any text.

    Returns:
        The number; at least 1 unless the text is empty.
    """
    return max(1, len(text.encode()) // 4) if text else 0


def within(text: str, max_output_tokens: int | None) -> tuple[str, bool]:
    """A text, cut to the output limit.

    Args:
        text: Any text.
        max_output_tokens: The limit, >= 1. None: no limit.

    Returns:
        (text, whether the limit cut anything off).
    """
    if max_output_tokens is None or count_tokens(text) <= max_output_tokens:
        return text, False
    return text.encode()[: 4 * max_output_tokens].decode(errors="ignore"), True


def tokens(text: str) -> list[bytes]:
    """A text in tokens.

    Args:
        text: Any text.

    Returns:
        `count_tokens(text)` pieces of its bytes, which together are the whole.
    """
    data, count = text.encode(), count_tokens(text)
    pieces = [data[4 * place : 4 * place + 4] for place in range(count)]
    if pieces:
        pieces[-1] = data[4 * (count - 1) :]
    return pieces


def token_logprobs(reply: ScriptedReply, seed: int, count: int) -> tuple[float, ...]:
    """Log-probabilities of a reply's tokens.

    They scatter around the confidence's logarithm; the model is a little surer of what it knows than of what it makes up.

    Args:
        reply: The reply.
        seed: Of the model.
        count: How many tokens of it are wanted, >= 0.

    Returns:
        `count` natural logarithms, <= 0, always the same for the same text.
    """
    dice = _Dice(f"{seed}\x1flogprobs\x1f{reply.text}")
    middle = log(reply.confidence)
    return tuple(round(middle * 2 * dice.number(place) / 2**64, 6) for place in range(count))
