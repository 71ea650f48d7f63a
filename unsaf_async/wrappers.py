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

    text: outside of all thoughts, trimmed. unfinished: whether a thought was opened and never closed, so that the answer was
    never given; `text` is then what stands before it.
    """

    text: str
    unfinished: bool = False

    @property
    def answer(self) -> str:
        """The answer; "" if there is none, or the thought before it never ended."""
        return "" if self.unfinished else self.text


_ROUNDS = 8
"""What is taken off can lay bare another wrapper; deeper nesting than this is nobody's answer."""


def final_text(reply: str) -> FinalText:
    """A reply without what its model wraps around it.

    Some templates open the thought themselves, so that a reply has only the closing mark: all before it is thought. Idempotent.

    Args:
        reply: As the server sent it.

    Returns:
        What is said outside of thoughts; the trimmed reply if nothing is wrapped around it.
    """
    text, unfinished = _trimmed(reply), False
    for _ in range(_ROUNDS):
        bare, open_channel = _without_bare_channels(text)
        bare, open_thought = _without_thoughts(bare)
        unfinished = unfinished or open_channel or open_thought
        bare = _trimmed(_without_boxes(_without_tokens(bare)))
        if bare == text:
            break
        text = bare
    return FinalText(text, unfinished)


def has_marks(text: str) -> bool:
    """Whether a text still holds what looks like a model's own mark, `<|...|>` for instance.

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
_HEADER = r"[^<\n]{0,60}(?:<\|constrain\|>[^<\n]{0,20})?<\|message\|>"
_MARK = re.compile(
    rf"""
      (?P<final> (?:<\|start\|>assistant\s?)? (?:<\|channel\|>|\A\s*)final\b{_HEADER} | <\|start\|>assistant\s?<\|message\|>
        | <\|begin_of_(?:solution|answer)\|> | <\|START_(?:RESPONSE|TEXT)\|> )
    | (?P<channel> (?:<\|start\|>assistant\s?)? (?:<\|channel\|>\s?[a-z]+|\A\s*(?:analysis|commentary)){_HEADER} )
    | (?P<ended> <\|(?:end|return|call)\|> )
    | (?P<open> <{_THOUGHT}> | (?-i:\[(?:THINK|THINKING|REASONING)\]) | ◁think(?:ing)?▷
        | <\|begin_of_(?:thought|reasoning)\|> | <\|START_THINKING\|> | <\|think_start\|> | <\|inner_prefix\|> | <\|channel> )
    | (?P<close> </{_THOUGHT}> | (?-i:\[/(?:THINK|THINKING|REASONING)\]) | ◁/think(?:ing)?▷
        | <\|end_of_(?:thought|reasoning)\|> | <\|END_THINKING\|> | <\|think_end\|> | <\|inner_suffix\|> | <channel\|> )
    """,
    re.IGNORECASE | re.VERBOSE,
)


def _without_thoughts(text: str) -> tuple[str, bool]:
    """`text` outside of its thoughts, and whether the last thought never ends."""
    kept: list[str] = []
    position = 0  # where what is not yet kept begins
    inside: str | None = None  # the kind of mark that opened the thought
    for mark in _MARK.finditer(text):
        kind = mark.lastgroup
        if kind == "final":
            kept, inside, position = [], None, mark.end()
        elif inside is not None:
            if kind == "close" or (kind == "ended" and inside == "channel"):
                inside, position = None, mark.end()
        elif kind == "channel" or (kind == "open" and not _is_spoken_of(text, position, mark)):
            kept.append(text[position : mark.start()])
            inside = kind
        elif kind == "close" and not _is_spoken_of(text, position, mark):
            kept, position = [], mark.end()
    if inside is None:
        kept.append(text[position:])
    return _joined(kept), inside is not None


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


_BARE_CHANNEL = re.compile(r"(?:assistant)?(?:analysis|commentary)(?=[A-Z\"“'(\[{])")
_BARE_FINAL = re.compile(r"(?:assistant)?final(?=[A-Z\"“{\[])")
_GRANITE_THOUGHT = re.compile(r"Here(?:'s|’s| is) my thought process:")
_GRANITE_RESPONSE = re.compile(r"Here(?:'s|’s| is) my response:")


def _without_bare_channels(text: str) -> tuple[str, bool]:
    """`text` behind the last bare "assistantfinal" or Granite's words, and whether a thought so opened never ends."""
    if _GRANITE_THOUGHT.match(text):
        response = _GRANITE_RESPONSE.search(text)
        return (text[response.end() :], False) if response else ("", True)
    opened = _BARE_CHANNEL.match(text) is not None
    final = text.rfind("assistantfinal")
    before = text[max(0, final - 1) : max(0, final)]
    if final >= 0 and (opened or text.startswith("analysis") or before in ".!?:)]}\"'”’\n"):
        behind = text[final + len("assistantfinal") :]
        if opened or behind[:1].strip():
            return behind, False
    if opened:
        return "", True
    bare_final = _BARE_FINAL.match(text)
    return (text[bare_final.end() :] if bare_final else text), False


# --- tokens, answer tags and boxes -------------------------------------------------------------------------------------

_ANSWER = r"(?:answer|response|solution|final_answer)"
_TURN = r"(?:<\|im_start\|>|<\|start\|>|<start_of_turn>|<\|turn>|<\|start_header_id\|>|<seed:bos>)"
_TOKEN = (
    rf"{_TURN}\s?(?:assistant|model)(?=\s|<|\Z)|<\|[a-z_][\w.-]{{0,59}}\|>|<｜[^<>｜\s]{{1,60}}｜>|</?s>"
    r"|<(?:bos|eos|pad|unk|(?:start|end)_of_turn|turn\||seed:(?:bos|eos|pad))>|<\|turn>|\[e~\["
)
_TOKENS_BEHIND = re.compile(rf"(?:{_TOKEN}|(?P<answer></{_ANSWER}>))", re.IGNORECASE)
_TOKENS_BEFORE = re.compile(rf"(?:\s*+(?:{_TOKEN}|<{_ANSWER}>(?![ \t]+[a-z])))++", re.IGNORECASE)
_ANSWER_OPENS = re.compile(rf"<{_ANSWER}>", re.IGNORECASE)
_BOX = re.compile(r"\$?\$?\s?\\(?:boxed|fbox|text|mathrm)\{|[{}]\s?\$?\$?")
_BOX_TOKEN = re.compile(r"<\|(?:begin|end)_of_box\|>")
_LOOKS_LIKE_A_MARK = re.compile(
    rf"<\|[^<>|\n]{{1,60}}\|?>|<[^\s<>|]{{1,60}}\|>|<｜[^<>]{{1,60}}｜>|</?{_THOUGHT}>|</?{_ANSWER}>"
    r"|\[/?(?-i:THINK|THINKING|REASONING)\]|◁/?think(?:ing)?▷|assistantfinal",
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
