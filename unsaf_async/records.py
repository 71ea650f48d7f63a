"""The nouns of the method, and the shapes in which they are written down.

Frozen dataclasses are what the engine passes around inside; frozen pydantic models (`Record`) are what enters or leaves:
journal lines, the manifest, the score. Nothing here knows a provider, a file or a clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from unsaf_async.text import one_line, printable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from pydantic import ValidationError

Label = Literal["answerable", "unanswerable"]
"""What the instruction asked for: the question's label, by construction."""

Kind = Literal["absent-object", "hidden", "temporal", "mental", "identity", "non-visual", "ambiguous", "other"]
"""Why an unanswerable question has no answer in the image (the method's list)."""

Role = Literal["ask", "answer", "choice", "judge", "ground", "audit", "confidence", "p-true", "sample", "control"]
"""What a call is for.

ask, answer, judge: the method's own. choice: the answer by one of several options. ground: does the image bear the answer out?
audit: does the image answer the question? confidence: how sure is the model of its answer, in its own words? p-true: is its
answer true or false? sample: the answer once more, drawn at the provider's default temperature. control: the question once
more, without what answers it.
"""

Form = Literal["open", "choice", "both"]
"""How questions are put: for an answer in free words, with options to choose from, or in both ways."""

Outcome = Literal["ok", "truncated", "refused", "blocked", "interrupted", "unreadable", "failed"]
"""How a call ended. Only `ok` can be scored.

truncated: stopped by the output limit. refused: the model declined on policy, in the provider's own flag. blocked: the
provider's filter. interrupted: the text ended for a reason that is not among the known good ones, such as `abort`. unreadable:
a reply without usable text. failed: no reply, after all retries.
"""

Act = Literal["answered", "abstained", "refused", "no_image", "invalid"]
"""What a response did. Only the first two are scored.

refused: declined on policy, whatever the image shows. no_image: said that there is no image, or that it sees none. invalid:
empty, off topic, cut off.
"""

ACTS: tuple[Act, ...] = get_args(Act)

Decider = Literal["rule", "judge", "panel"]
"""Who decided what a response did: the rules, the LLM judge, or the majority of several."""

ControlKind = Literal["blank", "other"]
"""What is shown in an image's place when one of its questions is asked again as a control.

blank: a picture of its size in its mean colour. other: another image of the run.
"""

CONTROL_KINDS: tuple[ControlKind, ...] = get_args(ControlKind)

ImageNote = Literal["shrunk", "narrow", "long", "cut-off", "colour-profile", "one-colour"]
"""What is odd about a picture that is sent: made more than eight times smaller, a side under 28 px, more than 200 times as long
as wide, without its file's last bytes, with a colour profile that cannot be used, all of one colour."""

KINDS: tuple[Kind, ...] = (
    "absent-object", "hidden", "temporal", "mental", "identity", "non-visual", "ambiguous", "other",
)  # fmt: skip


# --- inside the engine --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class EncodedImage:
    """An image as it is sent: decoded, upright, RGB, resized, encoded once.

    data: the encoded bytes; b"" where `make` gives the image with them, which `sendable` calls. media_type: "image/jpeg" or
    "image/png". width, height: pixels, as sent. pixels_sha256: of the size and the RGB pixels as sent, so that two files with
    the same pixels are one image. difference_hash: as `ImageRecord.difference_hash`; "" if it was not computed. notes: as
    `ImageRecord.notes`.
    """

    data: bytes = field(repr=False)
    media_type: str
    width: int
    height: int
    pixels_sha256: str
    difference_hash: str = ""
    notes: tuple[ImageNote, ...] = ()
    make: Callable[[], Awaitable[EncodedImage]] | None = field(default=None, repr=False, compare=False)

    async def sendable(self) -> EncodedImage:
        """The image with its bytes, whatever it takes to make them.

        Returns:
            The same object for all who ask for it.

        Raises:
            CallError: Its file cannot be read any more.
        """
        return self if self.make is None else await self.make()

    @cached_property
    def data_url(self) -> str:
        """`data:image/jpeg;base64,...`; built once, shared by every call about the image."""
        from base64 import b64encode

        return f"data:{self.media_type};base64,{b64encode(self.data).decode('ascii')}"


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. An image, where there is one, comes before the text."""

    role: Literal["system", "user", "assistant"]
    text: str
    image: EncodedImage | None = None


@dataclass(frozen=True, slots=True)
class Schema:
    """A JSON schema that the reply must follow, with the name that providers ask for."""

    name: str
    schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the reply is drawn. None means: not sent, the provider's default.

    max_output_tokens: the hard limit, thinking included. temperature: >= 0. seed: sent only to providers that take one.
    logprobs: ask for the log-probability of each output token.
    """

    max_output_tokens: int
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    logprobs: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes: everything about the endpoint that can change the answer. Never the key or a time limit.

    provider: the profile's name. model: the id that goes over the wire. endpoint: its base URL ("" is the vendor's own).
    extra: further body fields (e.g. reasoning_effort). headers: further headers, which may tell a gateway whom to ask.
    """

    provider: str
    model: str
    endpoint: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PromptCache:
    """What a call has to do with its provider's cache of prompts.

    prefix: equal for calls that begin alike, up to the end of the image; "": it shares its beginning with none that pays.
    tokens: about how long that beginning is. calls: in about how many calls it stands. by_mark: the provider keeps what is
    marked, and not what it finds repeated. an_hour: it is asked to keep it for an hour, and not for its shortest time.
    by_key: the provider takes a key, by which calls that begin alike reach one machine.
    """

    prefix: str = ""
    tokens: int = 0
    calls: int = 0
    by_mark: bool = False
    an_hour: bool = False
    by_key: bool = False

    @property
    def writes(self) -> bool:
        """Whether the provider is asked to put the beginning into its cache."""
        return bool(self.prefix) and self.by_mark

    @property
    def unshared(self) -> PromptCache | None:
        """The same for a call that shares its beginning with none: what would be kept unasked is not."""
        return PromptCache(by_mark=True, by_key=True) if self.by_mark and self.by_key else None


@dataclass(frozen=True, slots=True)
class Request:
    """One call. `role` and `prompt_cache` steer priority and money and are not part of the cache key; everything else is.

    draw: which of several samples of an otherwise equal request this is. prompt_cache: None: nothing is known of one.
    """

    role: Role
    target: Target
    messages: tuple[Message, ...]
    sampling: Sampling
    schema: Schema | None = None
    draw: int = 0
    prompt_cache: PromptCache | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call, as the provider counted them.

    input_tokens: all of the prompt, `cached_input_tokens` and `cache_write_tokens` included.
    output_tokens: all that was written, `reasoning_tokens` included.
    """

    input_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Reply:
    """What a call brought.

    text: "" unless there is text. finish_reason: the provider's own word ("stop", "end_turn", "MAX_TOKENS", ...).
    detail: for outcomes other than ok, why, in one line. cost_usd: what this call cost when it was made; a cached reply
    keeps the figure, and costs nothing now. model: as the server reports it. logprobs: one per output token, or None.
    headers: the response's rate headers (lower case), for the pace; not kept in the cache. latency_s: 0.0 where the call went
    in a batch, whose time says nothing of the model's.
    """

    outcome: Outcome
    text: str
    finish_reason: str | None = None
    usage: Usage = Usage()
    cost_usd: float = 0.0
    detail: str = ""
    model: str = ""
    logprobs: tuple[float, ...] | None = None
    latency_s: float = 0.0
    cached: bool = False
    headers: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)


# --- written down -------------------------------------------------------------------------------------------------


class Record(BaseModel):
    """Base of everything that is written down: frozen, and strict about unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="null")


def why_invalid(error: ValidationError) -> str:
    """The first thing that is wrong with a record, in one line: where, what is expected, what was found.

    Args:
        error: Of the record.

    Returns:
        Such as "questions.0.answer.cost_usd: Input should be greater than or equal to 0, and is -3.75".
    """
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "line"
    found = first.get("input")
    is_one = first["type"] != "missing" and isinstance(found, str | int | float | None) and first["loc"]
    said = f"{where}: {first['msg']}" + (f", and is {repr(found)[:60]}" if is_one else "")
    return printable(one_line(said))  # a name in the file may hold anything


Usd = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
Seconds = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
Number = Annotated[int, Field(ge=0, le=2**53)]
Pixels = Annotated[int, Field(ge=1, le=2**31)]
Logprob = Annotated[float, Field(le=0.001, ge=-1e300)]
"""What a file may hold: whoever edits it, or whatever damages it. Rounding makes a little more than 0 of certainty."""


class ImagePart(Record):
    """Where an image lies that is no file: in a table, a list, an archive, or in an object store."""

    kind: Literal["bytes", "base64", "cell", "object"]
    """bytes: as they are. base64: as text. cell: of a table (Parquet, Arrow). object: all of an object in a store."""
    start: Annotated[int, Field(ge=0)]
    """Its first byte in the file; of a cell its row, from 0."""
    length: Annotated[int, Field(ge=0)] = 0
    """How many bytes of the file it takes; 0 of a cell."""
    column: str = ""
    """Of a cell."""
    url: Annotated[str, Field(pattern="(?s)^(s3://.*)?$", max_length=2048)] = ""
    """Of an object: s3://BUCKET/NAME."""
    file_state: Annotated[str, Field(pattern="^[0-9a-f]{16}$")]
    """A digest of the file's size, beginning and end when the list was read; of an object's size and time."""


class ImageRecord(Record):
    """The image an examination is about."""

    id: str
    """From the manifest, or the path relative to the folder given."""
    path: str
    """Where the file was."""
    part: ImagePart | None = None
    """Where in that file the image was; None: the file was the image."""
    bytes_sha256: str | None = None
    """Of the file's bytes; None if it could not be read."""
    pixels_sha256: str | None = None
    """Of the normalised pixels as sent; None if it could not be decoded."""
    difference_hash: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    """256 bits of how brightness rises and falls over the picture, in hexadecimal: nearly equal pictures differ in few of them.
    None if it could not be decoded, or was examined before there were such hashes."""
    width: Pixels | None = None
    height: Pixels | None = None
    """Pixels, as sent."""
    notes: tuple[ImageNote, ...] = ()
    """What a reader should know of the picture, though it could be sent."""
    metadata: dict[str, Any] = {}
    """The manifest's further columns."""


class CallRecord(Record):
    """How one call ended, without its text."""

    role: Role
    outcome: Outcome
    cached: bool = False
    cost_usd: Usd = 0.0
    input_tokens: Number = 0
    output_tokens: Number = 0
    latency_s: Seconds = 0.0
    finish_reason: str | None = None
    detail: str = ""
    model: str = ""
    """Who answered, as the reply says; "" if it does not, or none came."""


class Vote(Record):
    """The verdict of one judge of a panel."""

    judge: str
    """Its name."""
    act: Act | None
    """None if it failed or gave no readable verdict."""
    call: CallRecord | None = None
    """About this response alone; None where the verdict came with others (`Examination.judged_together`)."""


class JudgedTogether(Record):
    """A call in which a judge was asked about several responses of the image."""

    judge: str
    """Its name."""
    responses: Number
    """How many it was asked about."""
    asked_alone: Number = 0
    """About how many of them it was asked once more, each alone, since its reply gave no verdict on them, or it was refused."""
    call: CallRecord


class Support(Record):
    """Whether the image bears an answer out, by a judge that sees it (grounded mode)."""

    judge: str
    supported: bool | None
    """None if there is no readable verdict: `call` has why."""
    call: CallRecord


class Audit(Record):
    """Whether the image answers the question, by a model that sees both and not the question's label."""

    auditor: str
    """Its name."""
    answerable: bool | None
    """None if it failed or gave no readable verdict: `call` has why."""
    call: CallRecord


class TokenConfidence(Record):
    """The log-probabilities (natural) of an answer's tokens, summed up."""

    mean_logprob: Logprob
    """<= 0. The answer's perplexity is exp(-mean_logprob)."""
    min_logprob: Logprob
    """<= 0."""
    tokens: Number


class Confidence(Record):
    """How sure the model is of its answer, asked in a call of its own."""

    value: Annotated[float, Field(ge=0, le=1)] | None
    """In [0, 1]; None if the call failed, or its reply holds no such figure."""
    call: CallRecord
    why: str = ""
    """Why there is no value."""


class Sample(Record):
    """The answer once more: one draw at the provider's default temperature."""

    text: str
    act: Act | None
    """What it did, by the rules alone; None where they leave it open."""
    call: CallRecord


class Control(Record):
    """The question asked once more, as it was, about a picture that does not hold what answers it."""

    kind: ControlKind
    image: str = ""
    """The id of the image that was shown instead; "" of a blank one, and where there was none to show."""
    response: str = ""
    call: CallRecord
    act: Act | None = None
    """What the response did, by the run's judge; None if no verdict was reached."""
    decided_by: Decider | None = None
    judge: CallRecord | None = None
    votes: tuple[Vote, ...] = ()
    unscored: str | None = None
    """Why it does not count, as `Question.unscored`; None if it does."""

    @property
    def calls(self) -> tuple[CallRecord, ...]:
        """Every call of the control."""
        return (self.call, *((self.judge,) if self.judge else ()), *(vote.call for vote in self.votes if vote.call))


class Options(Record):
    """What a question with options offers."""

    texts: tuple[str, ...]
    """As they are shown, in that order."""
    undetermined: Number
    """The place, from 0, of the one that says that nothing can be determined."""


class Choice(Record):
    """The answer by one of the options, where the question is put for an answer in free words, too."""

    response: str = ""
    act: Act | None = None
    """None if there is no reply to read."""
    call: CallRecord


class GivenQuestion(Record):
    """A question that the model is asked without having written it: of a labelled set, or of another model's run."""

    text: str
    intended: Label
    """A labelled set's truth, or what the other model was instructed to write."""
    kind: Kind | None = None
    id: str = ""
    """The labelled set's own."""
    answers: tuple[str, ...] = ()
    """Accepted answers, one an annotator; () if there are none, or none are known."""
    category: str = ""
    """What sort of question it is, in the labelled set's own words."""
    options: Options | None = None
    """What it offers, where the other model was asked for options."""


class Question(Record):
    """One question that was put to the model, what it answered, and what that answer did."""

    text: str
    intended: Label
    kind: Kind | None = None
    """For unanswerable questions; None if the model named none."""
    response: str = ""
    """The model's answer; "" if there is none."""
    answer: CallRecord
    """The answering call."""
    act: Act | None = None
    """What the response did; None if no verdict was reached (`unscored` has why)."""
    decided_by: Decider | None = None
    judge: CallRecord | None = None
    """The judging call, where the rules left the case open; None, too, where the verdict came with others
    (`Examination.judged_together`)."""
    unscored: str | None = None
    """Why this question is in none of the four cells: truncated, refused, blocked, interrupted, unreadable, failed (the answering
    call's outcome; unreadable also for a thought that never ends), invalid (the response did neither), unjudged (the LLM
    judge gave no readable verdict), undecided (the rules left it open, and no LLM judges), tied (the panel's votes are even).
    None if it is scored."""
    options: Options | None = None
    """What it offers; None: it is put for an answer in free words alone."""
    choice: Choice | None = None
    """The answer by option, beside that in free words. Where the question is put with options alone, `response` is it."""
    given: GivenQuestion | None = None
    """Where the question is from, if the model did not write it."""
    votes: tuple[Vote, ...] = ()
    """The panel's, where the rules left the case open and several judge. `judge` is then None."""
    support: Support | None = None
    """Of an answered answerable question, in grounded mode."""
    audits: tuple[Audit, ...] = ()
    """One an auditor."""
    token_confidence: TokenConfidence | None = None
    """None if the provider gave no log-probabilities."""
    stated: Confidence | None = None
    """Verbalised confidence; None if it was not asked for."""
    p_true: Confidence | None = None
    """The probability that the model gives to its answer's being true; None if it was not asked for."""
    samples: tuple[Sample, ...] = ()
    control: Control | None = None
    """None if it was not asked again as a control."""

    @property
    def calls(self) -> tuple[CallRecord, ...]:
        """Every call about the question alone, made or taken from the cache."""
        calls = [self.answer] if self.judge is None else [self.answer, self.judge]
        calls += [part.call for part in (self.choice, self.support, self.stated, self.p_true) if part is not None]
        for parts in (self.votes, self.audits, self.samples):
            if parts:  # most questions have none, and every question of every run comes here
                calls += [part.call for part in parts if part.call is not None]
        if self.control is not None:
            calls += self.control.calls
        return tuple(calls)


class Dropped(Record):
    """A written item that was not asked."""

    text: str
    intended: Label
    reason: Literal["duplicate", "malformed", "other_label"]
    """other_label: it stands under the heading of the questions that were not asked for, or under one that is not known,
    in a reply that has a heading for those that were."""


class Examination(Record):
    """Everything about one image: one line of the journal."""

    image: ImageRecord
    questions: tuple[Question, ...] = ()
    dropped: tuple[Dropped, ...] = ()
    missing: Number = 0
    """How many of the 2 K questions were never obtained."""
    asks: tuple[CallRecord, ...] = ()
    """The question-writing calls."""
    judged_together: tuple[JudgedTogether, ...] = ()
    """The calls about several responses; each of them once, whatever it decided."""
    uncontrolled: dict[ControlKind, str] = Field(default_factory=dict)
    """Why no question can be asked again with a kind of picture that was wanted; {} where all can."""
    failure: str | None = None
    """Why the image could not be examined at all; None if it was."""
    wall_s: Seconds = 0.0

    @property
    def calls(self) -> tuple[CallRecord, ...]:
        """Every call about the image, made or taken from the cache."""
        calls = [*self.asks, *(part.call for part in self.judged_together)]
        for question in self.questions:
            calls += question.calls
        return tuple(calls)
