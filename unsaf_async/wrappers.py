"""What models wrap around their answers, taken off: thoughts, channels, special tokens, answer tags and boxes.

Servers with the right reasoning parser take all this off themselves. Without one it stands in the text, and a thought must
never be read as the answer. Known are the marks of the reasoning parsers and chat templates of vLLM and SGLang
(https://docs.vllm.ai/en/latest/features/reasoning_outputs/, https://docs.sglang.ai/advanced_features/separate_reasoning.html):

    <think>...</think>                                DeepSeek, Qwen, GLM, ERNIE and others; also thinking, thought, reasoning,
                                                      seed:think (Seed-OSS), mm:think (MiniMax)
    [THINK]...[/THINK]                                Mistral
    ◁think▷...◁/think▷                                Kimi
    <|begin_of_thought|>...<|end_of_thought|>         OpenThoughts; then <|begin_of_solution|>...<|end_of_solution|>
    <|START_THINKING|>...<|END_THINKING|>             Cohere; then <|START_RESPONSE|>...<|END_RESPONSE|>
    <|channel>thought ...<channel|>                   Gemma
    <|channel|>analysis<|message|>...<|end|>          gpt-oss (harmony); then <|start|>assistant<|channel|>final<|message|>...
    analysis...assistantfinal...                      the same, where a server dropped the special tokens
    Here is my thought process: ...                   Granite; then "Here is my response: ..."
    Here are my reasoning steps: ...                  Apriel; then [BEGIN FINAL RESPONSE]...[END FINAL RESPONSE]
    <unused94>thought ...<unused95>                   MedGemma

No list of names is ever whole. So an element, a bracket or a special token that begins a reply and whose name speaks of
thinking (`<inner_thoughts>`, `[cot]`, `<|think|>`, `<details type="reasoning">`) opens a thought, known or not. Any other
unknown mark at the beginning stays, and `has_marks` tells of it: what it means is not for rules to say.

A mark that a sentence speaks about ("The tag <think> is on the sign.") is text and stays. Pure functions; time grows linearly
with the text.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FinalText:
    """What a reply says once its wrappers are off.

    text: outside of all thoughts, trimmed. unfinished: whether the answer was never given: a thought was opened and never
    closed, and `text` is what stands before it; or the reply is a thought that its template opened, and nothing follows.
    """

    text: str
    unfinished: bool = False

    @property
    def answer(self) -> str:
        """The answer; "" if there is none, or it was never given."""
        return "" if self.unfinished else self.text


_ROUNDS = 8
"""What is taken off can lay bare another wrapper; deeper nesting than this is nobody's answer."""


def final_text(reply: str) -> FinalText:
    """A reply without what its model wraps around it.

    Some templates open the thought themselves, so that a reply has only the closing mark: all before it is thought. If
    nothing follows that mark, the answer was never given. Idempotent.

    Args:
        reply: As the server sent it.

    Returns:
        What is said outside of thoughts; the trimmed reply if nothing is wrapped around it.
    """
    text, unfinished, closed_alone = _trimmed(reply), False, False
    for _ in range(_ROUNDS):
        bare, open_channel = _without_bare_channels(text)
        bare, open_thought, closed = _without_thoughts(bare)
        unfinished = unfinished or open_channel or open_thought
        closed_alone = closed_alone or closed
        bare = _trimmed(_without_boxes(_without_tokens(bare)))
        if bare == text:
            break
        text = bare
    return FinalText(text, unfinished or (closed_alone and not text))


def has_marks(text: str) -> bool:
    """Whether a text still holds what looks like a model's own mark: `<|...|>` for instance, or any tag where it begins.

    Args:
        text: What `final_text` left.

    Returns:
        True also where a sentence speaks about such a mark: what it means is then not for rules to say.
    """
    return _LOOKS_LIKE_A_MARK.search(text) is not None


def _trimmed(text: str) -> str:
    return text.strip().strip("\ufeff").strip()


# --- thoughts and channels ---------------------------------------------------------------------------------------------

_THOUGHT = r"(?:[a-z]{1,12}:)?(?:think|thinking|thoughts?|reason|reasoning|reflection|scratchpad|analysis)"
_THOUGHT_WORD = (
    r"(?:think|thought|reason|rationale|monologue|analy[sz]|reflect|scratchpad|deliberat"
    r"|(?<![^\W_])(?:long)?cot(?![^\W_]))"
)
_ABOUT_THOUGHT = rf"[\w:.▁-]{{0,40}}?{_THOUGHT_WORD}[\w:.▁-]{{0,40}}"  # a name
_ABOUT_THOUGHT_IN_WORDS = rf"(?:[\w-]{{1,20}}[ ]){{0,2}}?{_ABOUT_THOUGHT}(?:[ ][\w-]{{1,20}})?"
_ATTRIBUTES = r"(?:\s[^<>]{0,99})?"
_END_WORD = r"(?:/|end|close)"
_THOUGHT_OPENS = rf"""
    <{_THOUGHT}{_ATTRIBUTES}> | \A\s*<{_ABOUT_THOUGHT}{_ATTRIBUTES}>
    | \A\s*<(?P<tag>[a-z][\w-]{{0,29}})\s[^<>]{{0,60}}=[^<>]{{0,40}}?{_THOUGHT_WORD}[^<>]{{0,60}}>
    | \A\s*<{_ABOUT_THOUGHT_IN_WORDS}>(?=\s*\S)
    | (?-i:\[(?:THINK|THINKING|REASONING)\]) | \A\s*\[{_ABOUT_THOUGHT_IN_WORDS}\](?=\s*\S)(?!(?-i:[ \t]+[a-z]))
    | ◁think(?:ing)?▷ | [<‹][|｜]{_ABOUT_THOUGHT}[|｜][>›] | <\|inner_prefix\|> | <\|channel> | <unused94>
"""
_THOUGHT_MAY_OPEN = rf"<{_ABOUT_THOUGHT}{_ATTRIBUTES}> | \[{_ABOUT_THOUGHT_IN_WORDS}\]"  # anywhere: if it is closed
_THOUGHT_CLOSES = rf"""
    </\s?{_ABOUT_THOUGHT_IN_WORDS}\s?> | <end[_-]{_ABOUT_THOUGHT}> | <{_ABOUT_THOUGHT}[_-]end>
    | \[(?:/\s?|end[ _]){_ABOUT_THOUGHT_IN_WORDS}\] | \[{_ABOUT_THOUGHT}[ _]end\]
    | ◁/think(?:ing)?▷ | [<‹][|｜]{_END_WORD}{_ABOUT_THOUGHT}[|｜][>›]
    | [<‹][|｜]{_ABOUT_THOUGHT}[_▁-]{_END_WORD}[|｜][>›] | <\|inner_suffix\|> | <channel\|> | <unused95>
"""
_HEADER = r"[^<\n]{0,60}(?:<\|constrain\|>[^<\n]{0,20})?<\|message\|>"
_MARK = re.compile(
    rf"""
    (?=\A|<(?!<)|\[(?!\[)|[‹◁]) (?:  # where any of them begins; most of a text is passed over at once
      (?P<final> (?:<\|start\|>assistant\s?)? (?:<\|channel\|>|\A\s*)final\b{_HEADER} | <\|start\|>assistant\s?<\|message\|>
        | <\|begin_of_(?:solution|answer)\|> | <\|START_(?:RESPONSE|TEXT)\|>
        | (?-i:\[BEGIN\ FINAL\ RESPONSE\]) )
    | (?P<channel> (?:<\|start\|>assistant\s?)? (?:<\|channel\|>\s?[a-z]+|\A\s*(?:analysis|commentary)){_HEADER} )
    | (?P<ended> <\|(?:end|return|call)\|> )
    | (?P<close> {_THOUGHT_CLOSES} ) | (?P<open> {_THOUGHT_OPENS} ) | (?P<may_open> {_THOUGHT_MAY_OPEN} )
    | (?P<tag_end> </(?P<ended_tag>[a-z][\w-]{{0,29}})\s?> ) )
    """,
    re.IGNORECASE | re.VERBOSE,
)


def _without_thoughts(text: str) -> tuple[str, bool, bool]:
    """`text` outside of its thoughts, whether the last thought never ends, and whether one ends that was not opened."""
    kept: list[str] = []
    position = 0  # where what is not yet kept begins
    inside: str | None = None  # the kind of mark that opened the thought
    tag: str | None = None  # the element that opened the thought, if only its attributes speak of thinking
    perhaps: int | None = None  # where a thought begins if a closing mark follows
    closed_alone = False
    for mark in _MARK.finditer(text):
        kind = mark.lastgroup
        if kind == "final":
            kept, inside, perhaps, position = [], None, None, mark.end()
        elif inside is not None:
            ended = mark["ended_tag"] if kind == "tag_end" else None
            if (ended and ended == tag) or (kind == "close" and not tag) or (kind == "ended" and inside == "channel"):
                inside, tag, position = None, None, mark.end()
        elif kind == "channel" or (kind == "open" and not _is_spoken_of(text, position, mark)):
            kept.append(text[position : mark.start()])
            inside, tag, perhaps = kind, mark["tag"], None
        elif kind == "may_open" and perhaps is None and not _is_spoken_of(text, position, mark):
            perhaps = mark.start()
        elif kind == "close" and perhaps is not None and not _is_spoken_of(text, position, mark):
            kept.append(text[position:perhaps])
            perhaps, position = None, mark.end()
        elif kind == "close" and not _is_spoken_of(text, position, mark):
            kept, position, closed_alone = [], mark.end(), True
    if inside is None:
        kept.append(text[position:])
    return _joined(kept), inside is not None, closed_alone


_QUOTED_AFTER = {'"': '"', "'": "'", "`": "`", "“": "”", "‘": "’", "«": "»", "(": ")"}
_RUNNING_BEFORE = re.compile(r"[\w,;][ \t]+\Z")
_RUNNING_AFTER = re.compile(r"[ \t]*(?:[.,;:!?)]|\Z)|[ \t]+[a-z]")


def _is_spoken_of(text: str, begin: int, mark: re.Match[str]) -> bool:
    """Whether `mark` is in quotes, or in the middle of a sentence, in what `text` says from `begin`."""
    before, after = text[max(begin, mark.start() - 40) : mark.start()], text[mark.end() : mark.end() + 40]
    if before and after and _QUOTED_AFTER.get(before[-1]) == after[0]:
        return True
    return _RUNNING_BEFORE.search(before) is not None and _RUNNING_AFTER.match(after) is not None


def _joined(parts: list[str]) -> str:
    """The parts as one text, with a space where two would touch: together they must not make a new mark."""
    parts = [part for part in parts if part]
    for place in range(1, len(parts)):
        if not (parts[place - 1][-1].isspace() or parts[place][0].isspace()):
            parts[place] = " " + parts[place]
    return "".join(parts)


_BARE_CHANNEL = re.compile(r"(?:assistant\s?)?(?:analysis|commentary)\s{0,9}(?=[A-Z\"“'(\[{])")
_BARE_FINAL = re.compile(r"(?:assistant)?final(?=[A-Z\"“{\[])")
_BARE_FINAL_BEHIND = re.compile(r"assistantfinal|assistant\s{1,3}final\s{0,9}(?=[A-Z\"“{\[])")
_APRIEL_THOUGHT = re.compile(r"Here are my reasoning steps:")
_GRANITE_THOUGHT = re.compile(r"Here(?:'s|’s| is) my thought process:")
_GRANITE_RESPONSE = re.compile(r"Here(?:'s|’s| is) my response:")


def _without_bare_channels(text: str) -> tuple[str, bool]:
    """`text` behind the last bare "assistantfinal" or Granite's words, and whether a thought so opened never ends."""
    if _GRANITE_THOUGHT.match(text):
        response = _GRANITE_RESPONSE.search(text)
        return (text[response.end() :], False) if response else ("", True)
    if _APRIEL_THOUGHT.match(text) and "[BEGIN FINAL RESPONSE]" not in text:
        return "", True
    if _BARE_CHANNEL.match(text):
        last = next(iter(deque(_BARE_FINAL_BEHIND.finditer(text), maxlen=1)), None)
        return (text[last.end() :], False) if last else ("", True)
    final = text.rfind("assistantfinal")
    before = text[max(0, final - 1) : max(0, final)]
    if final >= 0 and (text.startswith("analysis") or before in ".!?:)]}\"'”’\n"):
        behind = text[final + len("assistantfinal") :]
        if behind[:1].strip():
            return behind, False
    bare_final = _BARE_FINAL.match(text)
    return (text[bare_final.end() :] if bare_final else text), False


# --- tokens, answer tags and boxes -------------------------------------------------------------------------------------

_ANSWER = r"(?:answer|response|solution|final_answer)"
_TURN = r"(?:<\|im_start\|>|<\|start\|>|<start_of_turn>|<\|turn>|<\|start_header_id\|>|<seed:bos>)"
_TOKEN = (
    rf"{_TURN}\s?(?:assistant|model)(?=\s|<|\Z)|<\|[a-z_][\w.-]{{0,59}}\|>|<｜[^<>｜\s]{{1,60}}｜>|</?s>"
    r"|<(?:bos|eos|pad|unk|(?:start|end)_of_turn|turn\||seed:(?:bos|eos|pad))>|<\|turn>|\[e~\[|(?-i:\[END FINAL RESPONSE\])"
)
_KNOWN_WORD = (
    r"(?:im|start|startoftext|begin|beginoftext|end|endoftext|of|text|sentence|turn|token|header|role|id|sep|assistant|chatbot"
    r"|model|user|system|message|bos|eos|eot|eom|eod|pad|unk|box|solution|answer|response|final|return|call|channel)"
)
_KNOWN_TOKEN = (
    rf"{_TURN}\s?(?:assistant|model)(?=\s|<|\Z)|{_TURN}|<[|｜]{_KNOWN_WORD}(?:[_▁-]{_KNOWN_WORD})*+(?:[_▁-]?\d{{1,4}})?[|｜]>|</?s>"
    r"|<(?:bos|eos|pad|unk|(?:start|end)_of_turn|turn\||seed:(?:bos|eos|pad))>|\[e~\["
)
_TOKENS_BEHIND = re.compile(rf"(?:{_TOKEN}|(?P<answer></{_ANSWER}>))", re.IGNORECASE)
_TOKENS_BEFORE = re.compile(rf"(?:\s*+(?:{_KNOWN_TOKEN}|<{_ANSWER}>(?![ \t]+[a-z])))++", re.IGNORECASE)
_ANSWER_OPENS = re.compile(rf"<{_ANSWER}>", re.IGNORECASE)
_BOX = re.compile(r"\$?\$?\s?\\(?:boxed|fbox|text|mathrm)\{|[{}]\s?\$?\$?")
_BOX_TOKEN = re.compile(r"<\|(?:begin|end)_of_box\|>")
_LOOKS_LIKE_A_MARK = re.compile(
    rf"<\|[^<>|\n]{{1,60}}\|?>|<[^\s<>|]{{1,60}}\|>|[<‹]｜[^<>‹›]{{1,60}}｜[>›]|</?{_THOUGHT}{_ATTRIBUTES}>|</?{_ANSWER}>"
    rf"|[<\[]/?{_ABOUT_THOUGHT}{_ATTRIBUTES}[>\]]|◁/?think(?:ing)?▷|assistantfinal"
    r"|\A[\s\\*_`#]{0,9}(?:<[/!?]?[a-z][^<>\n]{0,99}>|<!--|&lt;|\[/?[a-z][\w :./-]{0,60}\]|[‹◁【⟨][^‹›◁▷【】⟨⟩\n]{1,60}[›▷】⟩]"
    rf"|[<({{\[]{{2,3}}/?{_ABOUT_THOUGHT}|(?:thoughts?|thinking|reasoning|analysis)[ \t]*[:*_\n])",
    re.IGNORECASE,
)


def _without_tokens(text: str) -> str:
    """`text` without special tokens at its ends; what the last answer tag holds, if that stands at the end."""
    begin, end, tagged = 0, len(text), False
    run_begin, run_end, run_tagged = 0, 0, False  # of tokens with nothing but space between them
    for token in _TOKENS_BEHIND.finditer(text):
        if run_end == 0 or text[run_end : token.start()].strip():
            run_begin, run_tagged = token.start(), False
        run_end = token.end()
        run_tagged = run_tagged or token["answer"] is not None
    if run_end and not text[run_end:].strip():
        end, tagged = run_begin, run_tagged
    last = next(iter(deque(_ANSWER_OPENS.finditer(text, 0, end), maxlen=1)), None) if tagged else None
    if last is not None:
        before = text[max(0, last.start() - 40) : last.start()]
        if _RUNNING_BEFORE.search(before):  # "The colour is <answer>red</answer>" is one sentence
            return text[: last.start()] + text[last.end() : end]
        begin = last.end()
    leading = _TOKENS_BEFORE.match(text, begin, end)
    return text[leading.end() if leading else begin : end]


def _without_boxes(text: str) -> str:
    r"""`text` with "\boxed{Red}" replaced by "Red", dollar signs around it included, and GLM's "<|begin_of_box|>" likewise."""
    text = _BOX_TOKEN.sub("", text)
    if "\\boxed{" not in text and "\\fbox{" not in text:
        return text
    open_: list[tuple[re.Match[str], bool]] = []
    spans: list[tuple[int, int]] = []
    for mark in _BOX.finditer(text):
        if mark[0].endswith("{"):
            boxed = "boxed{" in mark[0] or "fbox{" in mark[0]
            open_.append((mark, boxed or (len(mark[0]) > 1 and bool(open_) and open_[-1][1])))
        elif open_:
            opening, boxed = open_.pop()
            if boxed:
                closing = mark.end() if opening[0].startswith("$") else mark.start() + 1
                spans += [opening.span(), (mark.start(), closing)]
    pieces, position = [], 0
    for start, stop in sorted(spans):
        pieces.append(text[position:start])
        position = stop
    return "".join([*pieces, text[position:]])
