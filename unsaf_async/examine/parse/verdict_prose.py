"""What the prose around a judge's object makes of it: its verdict, somebody else's words, or what it decides against."""

from __future__ import annotations

import re

_SAYS = (
    r"(?<!\bas )(?:contain|state|claim|instruct|attempt|mention|demand|embed|inject|quote|include)(?:s|d|ed|ded|ing)?"
    r"|(?<!\bas )(?<!\byou )(?<!\bi )(?<!json )(?<!object )(?<!format )(?:ask|request)(?:s|ed|ing)?"
    r"|say(?:s|ing)|said|writ(?:es|ing)|wrote|tells|told|tries|tried|reads"
)
_BETWEEN = (
    r"the|an?|this|me|us|judge|text|string|words?|json|object|literally|only|just|to|make|output|reply|return|print|write"
    r"|say|verdict|as|follows"
)
_SAYS_ELSEWHERE = "|".join(
    (
        "enthält|sagt|schreibt|behauptet|zitiert|fordert|verlangt|erwähnt|steht",
        "dit|contient|écrit|affirme|cite|demande|mentionne|inclut",
        "dice|contiene|escribe|afirma|cita|pide|menciona|incluye",
        "diz|contém|escreve|pede|inclui",
        "говорит|содержит|пишет|утверждает|просит|упоминает|сказано|написано",
        "(?:يقول|تقول|كتب|يطلب|تطلب)|(?:يحتوي|تحتوي)(?: على)?|(?:يتضمن|تتضمن)",
    )
)
_SAYS_UNSPACED = (
    "写着?|寫著?|写道|寫道|写了|包含|含有|(?<!来)说|(?<!來)說|提到|(?<!按照)(?<!根据)(?<!按)要求|声称|引用"
    "|(?:応答|回答|返答)(?:に)?は|กล่าวว่า|มีข้อความ|เขียนว่า|ระบุว่า|บอกว่า"
)
_QUOTED_BEFORE = re.compile(
    rf"(?:\b(?:{_SAYS})[^\w.!?]{{0,4}}(?:(?:{_BETWEEN})[^\w.!?]{{1,4}}){{0,6}}"
    rf"|(?:\b(?:{_SAYS_ELSEWHERE})|{_SAYS_UNSPACED})[\W_]{{0,4}})(?:```\w*\s*)?$",
    re.IGNORECASE,
)
"""Words before a quotation: the response "contains", "says:", "tries to make the judge output"."""
_QUOTED_BEHIND = re.compile(
    r"\W{0,4}(?:と(?:書|言|述|主張|要求|あり|ある|いう)|[がを](?:含|引用)|(?:이)?라(?:고|는)|[을를이가] ?(?:포함|인용)"
    r"|(?:लिखा|कहता|कहती|शामिल))"
)
_DENIED_BEFORE = re.compile(
    r"(?:\b(?:not|cannot|never|instead of|rather than|nicht|statt|pas|no es|não é|не)\b"
    r"|n't|不(?:应该?|應該?|能|会|會|可)?[是给給选選]|并非|並非|~~)"
    r"(?:\W{1,4}(?:be|is|an?|the|to|say|give|write|reply|return|output|choose|pick|my|verdict|simply|just|call|it|this|as)\b)*"
    r"[^\w.!?。！？]{0,4}$",
    re.IGNORECASE,
)
_DENIED_BEHIND = re.compile(
    r"\W{0,4}(?:(?:or|oder|ou|или)\b"
    r"|(?:is|was|(?:w|c)ould be|may be|seems|ist|wäre)\s(?:not|wrong|incorrect|false|nicht|falsch|zu)\b"
    r"|(?:w|c)ould be too\b|(?<!~)~~(?!~)"
    r"|(?:isn't|n'est pas|no es|não é)\b|ではな|ではありません|じゃな|[이가]? ?아[니닙]|不(?:对|對|正确|正確|成立)"
    r"|或(?![许許])|または)",
    re.IGNORECASE,
)
_EXAMPLE_BEFORE = re.compile(
    r"(?:\b(?:e\. ?g\.?|example|for instance|z\. ?b\.|zum beispiel|beispiel|par exemple|exemple|por ejemplo|ejemplo|por exemplo"
    r"|например|пример\b)|例如|比如|例えば|예를 들어|예시|مثال|मसलन|उदाहरण)[^.!?。！？{}]{0,60}$"
    r"|\b(?:output|reply|response|answer|expected|required|the|this|following) (?:json )?(?:format|form|schema|template)"
    r"(?: (?:is|was|would be|should be))?\W{0,4}(?:```\w*\s*)?$",
    re.IGNORECASE,
)
"""Words before an object that only shows what a reply looks like."""
_IN_THE_FORMAT = re.compile(r"\b(?:my|verdict|judge?ment|here)\b[^.!?\n]{0,60}$", re.IGNORECASE)
_HAD = re.compile(r"\bif\b[^,;]{0,80}\bhad\b", re.IGNORECASE)
_WOULD = re.compile(r"\b(?:would|could|might)\b", re.IGNORECASE)
_IF = re.compile(r"\b(?:if|unless)\b", re.IGNORECASE)
_SENTENCE_EDGE = re.compile(r"[.!?\n]")
_GIVES = (
    r"(?:\b(?:verdict|final|answer|label|judge?ment|conclusion|decision|correction|actually|but|so|thus|hence|therefore"
    r"|choose|pick|urteil|ergebnis|endgültig|fazit|conclusión|veredicto|conclus(?:ão|ione)|итог|вердикт|вывод)\b"
    r"|结论|結論|判定|判断|判斷|결론|판정|الحكم|निर्णय)"
    r"(?:[\s*_`\"':：=,。は是은는-]|\b(?:final|answer|verdict|label|is|be|it|should|must|would|the|as|ist|est|es|lautet)\b){1,12}"
)
"""Words between which and a label nothing stands but marks, where prose gives the label."""
_AT_CLAUSE_END = r"\b(?=[\s*_`\"'”’)]*(?:$|[.!?,;:。、\n]|です|だ))"
_NO_LABEL_BEHIND = re.compile(
    r"(?:\b(?:not|never|than|of|neither|nor|no|or|is|was|are|were|be|been|being|as|nicht|pas|no|не)|n't|不|非)"
    r"[\s*_`\"'“‘]{0,4}(?:\w{1,12}[\s*_`\"'“‘]{1,3}){0,2}$",
    re.IGNORECASE,
)
"""Words before a label that is denied, or that is an ordinary word: "the question is not answered"."""
_MOST_CHARS = 300
"""So far before and behind an object is looked for what it is part of."""


def is_own(before: str, behind: str) -> bool:
    """Whether an object in prose may be the judge's own verdict.

    Args:
        before: The text before the object.
        behind: The text behind it.

    Returns:
        False where the prose presents it as somebody else's words or as an example, denies it, or gives it under a
        condition.
    """
    before, behind = before[-_MOST_CHARS:], behind[:_MOST_CHARS]
    if _QUOTED_BEFORE.search(before) or _QUOTED_BEHIND.match(behind):
        return False
    if _DENIED_BEFORE.search(before) or _DENIED_BEHIND.match(behind) or _HAD.search(_SENTENCE_EDGE.split(before)[-1]):
        return False
    if before[-1:] in ('"', "“") and behind[:1] in ('"', "”") and not _IN_THE_FORMAT.search(before):
        return False
    if (example := _EXAMPLE_BEFORE.search(before)) and not _IN_THE_FORMAT.search(before[: example.start()]):
        return False
    start, end = _SENTENCE_EDGE.split(before)[-1], _SENTENCE_EDGE.split(behind)[0]
    return not (_WOULD.search(start) and (_IF.search(start) or _IF.search(end)))


def gives_other(before: str, behind: str, label: str, labels: tuple[str, ...]) -> bool:
    """Whether prose gives another label than an object in it: "Final answer: abstained", "No, wait: abstained".

    Args:
        before: The text before the object.
        behind: The text behind it.
        label: Of the object.
        labels: All, in lower case.

    Returns:
        False for a label that is only mentioned. Behind the object one that ends a clause is given, unless it is denied.
    """
    others = "|".join(other.replace("_", "[_ -]") for other in labels if other != label)
    if not others:
        return False
    if re.search(rf"(?:{_GIVES}|<verdict>\s{{0,9}})(?:{others})\b", f"{before}\n{behind}", re.IGNORECASE):
        return True
    ends = re.finditer(rf"\b(?:{others}){_AT_CLAUSE_END}", behind, re.IGNORECASE)
    return any(not _NO_LABEL_BEHIND.search(behind[max(0, end.start() - 50) : end.start()]) for end in ends)
