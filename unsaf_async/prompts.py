"""Prompt packs: folders of Markdown templates. Every word that a model reads stands there and nowhere in the code.

A pack knows its templates' placeholders; it knows nothing of providers, parameters or replies.
"""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from string import Template, ascii_uppercase
from typing import TYPE_CHECKING

from unsaf_async.bundled import bundled
from unsaf_async.errors import UserError, setting
from unsaf_async.records import ACTS, KINDS, Form, Label, Schema

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PLACEHOLDERS = {
    "ask-answerable": {"count"},
    "ask-unanswerable": {"count"},
    "ask-again": {"written"},
    "answer": {"question"},
    "judge": {"data"},
    "ground": {"data"},
    "audit": {"data"},
    "confidence": {"data"},
    "p-true": {"data"},
}
"""Each template's file name (without .md) and the placeholders that it must hold."""

CHOICE = {
    "choice-ask-answerable": {"count"},
    "choice-ask-unanswerable": {"count"},
    "choice-answer": {"question", "options"},
    "choice-undetermined": set[str](),
}
"""The same of the templates for questions with options, which a pack has all or none of."""

OPTIONAL = ("ground", "audit", "confidence", "p-true")
"""The templates of the extra measures. For one that a pack lacks, the shipped pack `unsaf` stands in."""

TOGETHER = "judge-together"
"""The template by which several responses are judged in one call. A pack may lack it; its words count where it is used alone."""


def _object(**properties: object) -> dict[str, object]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


_TEXT = {"type": "string"}
QUESTIONS: dict[Label, Schema] = {
    "answerable": Schema("unsaf_questions", _object(questions={"type": "array", "items": _object(question=_TEXT)})),
    "unanswerable": Schema(
        "unsaf_questions",
        _object(
            questions={
                "type": "array",
                "items": _object(question=_TEXT, kind={"type": "string", "enum": list(KINDS)}),
            }
        ),
    ),
}
"""What a question list must look like, by label."""


_OPTIONS = {"type": "array", "items": _TEXT}
CHOICE_QUESTIONS: dict[Label, Schema] = {
    "answerable": Schema(
        "unsaf_questions",
        _object(questions={"type": "array", "items": _object(question=_TEXT, options=_OPTIONS)}),
    ),
    "unanswerable": Schema(
        "unsaf_questions",
        _object(
            questions={
                "type": "array",
                "items": _object(question=_TEXT, options=_OPTIONS, kind={"type": "string", "enum": list(KINDS)}),
            }
        ),
    ),
}
"""What a list of questions with options must look like, by label."""


def _verdict(name: str, *choices: str) -> Schema:
    return Schema(name, _object(verdict={"type": "string", "enum": list(choices)}))


VERDICTS = "unsaf_verdicts"
VERDICT = _verdict("unsaf_verdict", *ACTS)
"""What a verdict must look like; `Pack.verdict` is of a pack's own."""
SUPPORT = _verdict("unsaf_support", "supported", "unsupported")
"""What a grounded verdict must look like."""
AUDIT = _verdict("unsaf_audit", "answerable", "unanswerable")
"""What an auditor's verdict must look like."""
CONFIDENCE = Schema("unsaf_confidence", _object(confidence={"type": "integer"}))
"""What a stated confidence must look like, in percent."""

_LINE_ENDS = {ord(end): f"\\u{ord(end):04x}" for end in "\x85\u2028\u2029"}
"""What some take for the end of a line, and JSON leaves as it is."""


@dataclass(frozen=True)
class Pack:
    """A loaded prompt pack."""

    name: str
    version: str
    sha256: str
    """Of every template and of `json_lists`, so a manifest that names it names what is asked."""
    texts: dict[str, str]
    """The templates, by their names in `PLACEHOLDERS`."""
    json_lists: bool = True
    """Whether the question lists that it asks for are JSON, so that a schema may be sent with the prompt."""
    together: str | None = field(default=None, compare=False)
    """The template `TOGETHER`; None if the pack has none. It is among `texts` of a pack that judges by it."""
    choice: dict[str, str] = field(default_factory=dict)
    """The templates for questions with options, by their names in `CHOICE`; {} if it has none."""
    form: Form = "open"
    """How questions are put."""
    place: str = field(default="", compare=False)
    """As it was given: a shipped pack's name or a folder, for messages; `name` may be that of the pack that it is a copy of."""

    def for_form(self, form: Form) -> Pack:
        """The pack for a form of questions.

        Args:
            form: How questions are put.

        Returns:
            The pack, whose hash is of the templates for questions with options, too, where they are put so.

        Raises:
            UserError: It has no such templates.
        """
        if form == "open":
            return self
        if not self.choice:
            raise UserError(
                f"{self.place or self.name}: has no {min(CHOICE)}.md, so it cannot ask with options; give "
                f"{setting('question_form', 'open')}, or prompts that can"
            )
        texts = {**self.texts, **self.choice}
        return replace(self, sha256=_digest(texts, self.json_lists), texts=texts, form=form)

    @property
    def verdict(self) -> Schema:
        """What a verdict must look like: the acts that the pack's judging prompt names. Earlier ones name three."""
        return _verdict(VERDICT.name, *self._acts("judge"))

    @property
    def verdicts(self) -> Schema:
        """What verdicts on several responses must look like: each with its response's number."""
        one = _object(number={"type": "integer"}, verdict={"type": "string", "enum": self._acts(TOGETHER)})
        return Schema(VERDICTS, _object(verdicts={"type": "array", "items": one}))

    def _acts(self, template: str) -> list[str]:
        """The acts that a judging prompt names; all of them unless it names the two that are scored."""
        acts = [act for act in ACTS if re.search(rf"\b{act}\b", self.texts[template])]
        return list(acts if {"answered", "abstained"} <= set(acts) else ACTS)

    def judging_together(self) -> Pack:
        """The pack as it judges several responses in one call.

        Returns:
            The same prompts and one more, under the same hash: `together_sha256` is of that one.

        Raises:
            UserError: The pack has no such prompt.
        """
        if self.together is None:
            lacks = f"{self.place or self.name} has no {TOGETHER}.md, by which several responses are judged in one call"
            raise UserError(
                f"{lacks}; add one, give another pack, or leave {setting('judge_together')} out",
                "prompts",
            )
        return replace(self, texts={**self.texts, TOGETHER: self.together})

    def judging_alone(self) -> Pack:
        """The pack as it judges each response in a call of its own.

        Returns:
            The same prompts without that for several responses.
        """
        return replace(self, texts={name: text for name, text in self.texts.items() if name != TOGETHER})

    @property
    def together_sha256(self) -> str:
        """Of the prompt by which several responses are judged in one call; "" where each is judged alone."""
        return self.sha256_of(TOGETHER) if TOGETHER in self.texts else ""

    @property
    def judging_sha256(self) -> str:
        """Of all that a judge is told: of `judge.md` alone, unless several responses are judged in one call."""
        if TOGETHER not in self.texts:
            return self.sha256_of("judge")
        return sha256(json.dumps([self.texts["judge"], self.texts[TOGETHER]]).encode()).hexdigest()

    def judging_by(self, rubric: str) -> Pack:
        """The pack with another judging prompt.

        Args:
            rubric: The prompt, as `read_rubric` gives it; "": the pack's own.

        Returns:
            The pack, under its name, with another hash.
        """
        if not rubric:
            return self
        texts = {**self.texts, "judge": rubric}
        return replace(self, sha256=_digest(texts, self.json_lists), texts=texts)

    def sha256_of(self, template: str) -> str:
        """The SHA-256 of one template's text.

        Args:
            template: Its name in `PLACEHOLDERS`.

        Returns:
            64 hexadecimal digits.
        """
        return sha256(self.texts[template].encode()).hexdigest()

    def ask(self, label: Label, count: int, written: Sequence[str] = ()) -> str:
        """The instruction to write questions.

        Args:
            label: What the questions are to be.
            count: How many, > 0.
            written: Questions that must not be written again.

        Returns:
            The prompt.
        """
        stem = f"ask-{label}" if self.form == "open" else f"choice-ask-{label}"
        text = Template(self.texts[stem]).substitute(count=count)
        if written:
            listed = "\n".join(f"- {question}" for question in written)
            text += "\n\n" + Template(self.texts["ask-again"]).substitute(written=listed)
        return text

    def schema(self, label: Label) -> Schema | None:
        """What a question list must look like, for endpoints that keep to a schema.

        Args:
            label: What the questions are to be.

        Returns:
            The schema; None if the pack asks for plain text.
        """
        lists = QUESTIONS if self.form == "open" else CHOICE_QUESTIONS
        return lists[label] if self.json_lists else None

    def answer(self, question: str) -> str:
        """The instruction to answer a question.

        Args:
            question: The question's text.

        Returns:
            The prompt.
        """
        return Template(self.texts["answer"]).substitute(question=question)

    def choose(self, question: str, options: Sequence[str]) -> str:
        """The instruction to answer a question by one of its options.

        Args:
            question: The question's text.
            options: In the order in which they are shown.

        Returns:
            The prompt.
        """
        listed = "\n".join(f"{letter}. {option}" for letter, option in zip(ascii_uppercase, options, strict=False))
        return Template(self.texts["choice-answer"]).substitute(question=question, options=listed)

    @property
    def undetermined(self) -> str:
        """The option that says that nothing can be determined."""
        return self.texts["choice-undetermined"]

    def judge(self, question: str, response: str) -> str:
        """The instruction to judge a response. Both texts go in as one line of JSON, as data.

        Args:
            question: The question's text.
            response: The model's answer to it.

        Returns:
            The prompt.
        """
        return self._about("judge", question=question, response=response)

    def judge_together(self, responses: Sequence[tuple[str, str]]) -> str:
        """The instruction to judge several responses, each of which goes in as a numbered line of JSON, as data.

        Args:
            responses: Question and response of each; the first has the number 1.

        Returns:
            The prompt.
        """
        lines = [
            _line(number=number, question=question, response=response)
            for number, (question, response) in enumerate(responses, 1)
        ]
        return Template(self.texts[TOGETHER]).substitute(data="\n".join(lines), count=len(lines))

    def ground(self, question: str, response: str) -> str:
        """The instruction to decide whether the image bears a response out.

        Args:
            question: The question's text.
            response: The model's answer to it.

        Returns:
            The prompt.
        """
        return self._about("ground", question=question, response=response)

    def audit(self, question: str) -> str:
        """The instruction to decide whether the image answers a question.

        Args:
            question: The question's text.

        Returns:
            The prompt.
        """
        return self._about("audit", question=question)

    def confidence(self, question: str, response: str) -> str:
        """The instruction to state the confidence in a response, in percent.

        Args:
            question: The question's text.
            response: The model's answer to it.

        Returns:
            The prompt.
        """
        return self._about("confidence", question=question, response=response)

    def p_true(self, question: str, response: str) -> str:
        """The instruction to decide whether a response is (A) true or (B) false.

        Args:
            question: The question's text.
            response: The model's answer to it.

        Returns:
            The prompt.
        """
        return self._about("p-true", question=question, response=response)

    def _about(self, template: str, **texts: str) -> str:
        return Template(self.texts[template]).substitute(data=_line(**texts))


def _line(**data: object) -> str:
    """Data as one line of JSON."""
    return json.dumps(data, ensure_ascii=False).translate(_LINE_ENDS)


def load_pack(name: str, sha256_wanted: str | None = None, form: Form = "open") -> Pack:
    """A prompt pack, read and checked.

    Args:
        name: A folder's path, or a shipped pack's name. A folder of that name in the working directory stands in for the
            shipped pack only if it holds a pack.toml; `./NAME` always means the folder.
        sha256_wanted: Of an earlier version, which the pack's folder `earlier` still holds. None, or one that is unknown:
            the pack as it is.
        form: How questions are put.

    Returns:
        The pack, with every template of `PLACEHOLDERS`, for that form.

    Raises:
        UserError: The name is unknown, a file is missing, a template has a wrong placeholder, or the pack cannot ask in that
            form.
    """
    shipped = bundled("prompts")
    folder = shipped / name if is_shipped(name) else Path(name)
    if not name or not _is_folder(folder):
        raise UserError(f"{name!r}: no such folder or shipped pack; shipped: {', '.join(_shipped_names())}")
    meta_file = folder / "pack.toml"
    try:
        meta = tomllib.loads(meta_file.read_text("utf-8"))
    except OSError as error:
        raise UserError(f"{meta_file}: cannot be read ({error.strerror}); a pack needs a pack.toml") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{meta_file}: is not valid TOML ({error})") from None
    for key in ("name", "version"):
        if not isinstance(meta.get(key), str) or not meta[key]:
            raise UserError(f'{meta_file}: {key} is missing; give it as text, such as {key} = "1"')
    base = meta.get("base", "")
    if base and base not in _shipped_names():
        raise UserError(f"{meta_file}: base is {base!r}; give a shipped pack: {', '.join(_shipped_names())}")
    texts = {
        stem: _template(_home(folder, shipped, stem, base) / f"{stem}.md", needed)
        for stem, needed in PLACEHOLDERS.items()
    }
    json_lists = meta.get("json_lists", True)
    if not isinstance(json_lists, bool):
        raise UserError(f"{meta_file}: json_lists is {json_lists!r}; give true or false")
    file = folder / f"{TOGETHER}.md"
    together = _template(file, {"data", "count"}) if file.exists() else None
    has_choice = any((folder / f"{stem}.md").exists() for stem in CHOICE)
    choice = {stem: _template(folder / f"{stem}.md", needed) for stem, needed in CHOICE.items() if has_choice}
    sha256_now = _digest(texts, json_lists)
    pack = Pack(meta["name"], meta["version"], sha256_now, texts, json_lists, together, choice, place=name)
    wanted = pack.for_form(form)
    if sha256_wanted in (None, wanted.sha256):
        return wanted
    earlier = (each.for_form(form) for each in _earlier(folder, pack))
    return next((each for each in earlier if each.sha256 == sha256_wanted), wanted)


def read_rubric(name: str | Path) -> str:
    """A judging prompt.

    Args:
        name: A file like a pack's judge.md, or a prompt pack's name or folder, whose judge.md it is.

    Returns:
        The prompt, with the placeholder $data.

    Raises:
        UserError: There is no such file or pack, or it is no judging prompt.
    """
    if Path(name).is_file():
        return _template(Path(name), PLACEHOLDERS["judge"])
    return load_pack(str(name)).texts["judge"]


def _digest(texts: dict[str, str], json_lists: bool) -> str:
    hashed = texts if json_lists else {**texts, "json_lists": "false"}
    return sha256(json.dumps(hashed, sort_keys=True).encode()).hexdigest()


def _earlier(folder: Path, pack: Pack) -> Iterator[Pack]:
    """The earlier versions of a pack: `earlier/VERSION/` in its folder holds the templates that were different then."""
    if not (folder / "earlier").is_dir():
        return
    for version in (folder / "earlier").iterdir():
        texts, choice = (
            now | {stem: _template(file, needed[stem]) for stem in now if (file := version / f"{stem}.md").is_file()}
            for now, needed in ((pack.texts, PLACEHOLDERS), (pack.choice, CHOICE))
        )
        sha = _digest(texts, pack.json_lists)
        yield replace(pack, version=version.name, sha256=sha, texts=texts, choice=choice, together=None)


def lasting_name(name: str) -> str:
    """The name of a pack as it holds in every working directory, for a run's manifest.

    Args:
        name: As for `load_pack`, which knows the pack.

    Returns:
        A shipped pack's name, or the folder's absolute path.
    """
    return name if is_shipped(name) else str(Path(name).absolute())


def short_name(name: str) -> str:
    """The name of a pack for people.

    Args:
        name: A pack's lasting name.

    Returns:
        A shipped pack's name, or the last part of a folder's path.
    """
    return (Path(name).name or name) if Path(name).is_absolute() else name


def in_place_of_shipped(name: str) -> str | None:
    """The shipped pack that a folder stands in for because it has its name.

    Args:
        name: A pack's lasting name.

    Returns:
        The shipped pack's name; None for a shipped pack, and for a folder of another name.
    """
    folder = Path(name)
    names = (folder.name, f"{folder.parent.name}/{folder.name}")  # of a pack, or of a pack in another language
    return next((each for each in names if each in _shipped_names()), None) if folder.is_absolute() else None


def _shipped_names() -> list[str]:
    home = bundled("prompts")
    files = [*home.glob("*/pack.toml"), *home.glob("*/*/pack.toml")]
    return sorted(file.parent.relative_to(home).as_posix() for file in files)


def is_shipped(name: str) -> bool:
    """Whether a name means a shipped pack. A folder of that name stands in for it only if the folder is a pack itself.

    Args:
        name: As for `load_pack`.

    Returns:
        Whether it does, from this working directory.
    """
    return name in _shipped_names() and not (Path(name) / "pack.toml").is_file()


def _home(folder: Path, shipped: Path, stem: str, base: str) -> Path:
    """Where the template lies: in the pack's folder, or, if it is not there, in its base; an optional one in the pack unsaf."""
    if (folder / f"{stem}.md").exists():
        return folder
    return shipped / (base or "unsaf") if base or stem in OPTIONAL else folder


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a name that is too long, a folder that may not be looked into
        return False


def _template(file: Path, needed: set[str]) -> str:
    try:
        text = file.read_text("utf-8").strip()
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror}); a pack needs this file") from None
    except UnicodeDecodeError:
        raise UserError(f"{file}: is not UTF-8 text; save it as UTF-8") from None
    template = Template(text)
    if not template.is_valid():
        raise UserError(f"{file}: holds a '$' that starts no placeholder; write '$$' for a dollar sign")
    present = set(template.get_identifiers())
    if present != needed:
        wanted = ", ".join(f"${name}" for name in sorted(needed))
        raise UserError(
            f"{file}: its placeholders are {', '.join(f'${name}' for name in sorted(present)) or 'none'}; it needs {wanted}"
        )
    return text
