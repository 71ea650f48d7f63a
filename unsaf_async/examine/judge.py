"""What a response did: answered, abstained, refused, no image or invalid. Rules first; LLM judges for what they leave open.

A judge sees the question and the response, quoted as data; never the image, never the intended label. Of several judges the
majority decides, and a tie decides nothing. Several responses may go to a judge in one call: see `judge_together`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import islice
from typing import TYPE_CHECKING, TypeGuard

from unsaf_async.calls.backends.outcome import is_open
from unsaf_async.calls.request import ModelClient, failed, record_of
from unsaf_async.errors import CallError, Rejected
from unsaf_async.examine import parse
from unsaf_async.examine.rules import rule
from unsaf_async.examine.unread import UnreadVerdicts
from unsaf_async.records import Act, CallRecord, Control, Decider, JudgedTogether, Vote
from unsaf_async.wrappers import final_text

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Sequence
    from typing import Any, TypeVar

    from unsaf_async.prompts import Pack
    from unsaf_async.records import Question, Reply

    T = TypeVar("T")

__all__ = ["Judge", "Judgement", "rule"]

MAX_RESPONSE_CHARS = 4000
"""Of a longer response the judge sees the beginning: what it does is clear by then, and the call's cost stays bounded."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a response did, and who decided.

    act: None if nobody could say. decided_by: None likewise. call: the judge's about this response alone, if there was one.
    unscored: why the response is not scored; None if it is. votes: of a panel.
    """

    act: Act | None
    decided_by: Decider | None
    call: CallRecord | None = None
    unscored: str | None = None
    votes: tuple[Vote, ...] = ()

    @property
    def on_question(self) -> dict[str, object]:
        """The fields of a `Question` that say it."""
        return {
            "act": self.act,
            "decided_by": self.decided_by,
            "judge": self.call,
            "unscored": self.unscored,
            "votes": self.votes,
        }


def lacks_verdict(control: Control | None) -> TypeGuard[Control]:
    """Whether a control was answered, and its answer still has to be judged, or judged again as a call failed.

    Args:
        control: The question's; None: it has none.

    Returns:
        False where nobody has to look at it.
    """
    if control is None or control.call.outcome != "ok":
        return False
    never = control.act is None and control.unscored is None
    return never or any(map(is_open, control.calls[1:]))


_Verdict = tuple[Act | None, CallRecord | None]
"""One judge's verdict on a response, and its call about that response alone, if there was one."""


@dataclass(frozen=True)
class Judge:
    """The cascade: rules first, then models.

    members: names and models to ask where no rule decides: none (rules alone), one model, or a panel. unread: counts the
    replies without a verdict; shared by all judges of a run. together: how many responses of an image go into one call at most.
    """

    pack: Pack
    members: tuple[tuple[str, ModelClient], ...] = ()
    unread: UnreadVerdicts = field(default_factory=UnreadVerdicts)
    together: int = 1

    def without_model(self, question: str, response: str, finish_reason: str | None) -> Judgement | None:
        """What a response did, as far as no model has to be asked.

        Args:
            question: As it was asked.
            response: As the model wrote it.
            finish_reason: In OpenAI's vocabulary; None if unknown.

        Returns:
            The judgement; None where a model is to be asked.
        """
        act = rule(question, response, finish_reason)
        if act is not None:
            return Judgement(act, "rule", unscored=unscored_of(act))
        if final_text(response).unfinished:  # a thought is no answer, whoever judges it
            return Judgement(None, None, unscored="unreadable")
        return None if self.members else Judgement(None, None, unscored="undecided")

    async def judge(self, question: str, response: str, finish_reason: str | None) -> Judgement:
        """What a response did.

        Args:
            question: As it was asked.
            response: As the model wrote it.
            finish_reason: In OpenAI's vocabulary; None if unknown.

        Returns:
            The judgement. A call that failed is a value on it.
        """
        known = self.without_model(question, response, finish_reason)
        return known or self._judgement(
            await _all(self._alone(client, question, response) for _, client in self.members)
        )

    async def judge_answers(self, questions: Sequence[Question]) -> tuple[list[Question], tuple[JudgedTogether, ...]]:
        """An image's questions with what their responses did.

        Args:
            questions: With their responses. One whose answer did not come whole stays as it is.

        Returns:
            (the questions, in their order; the calls that were about several responses).
        """
        whole = [place for place, each in enumerate(questions) if each.answer.outcome == "ok"]
        responses = {place: (questions[place].text, questions[place].response) for place in whole}
        ended = {place: questions[place].answer.finish_reason for place in whole}
        calls: tuple[JudgedTogether, ...] = ()
        if self.together == 1:
            found = await _all(self.judge(*responses[place], ended[place]) for place in whole)
            judgements = dict(zip(whole, found, strict=True))
        else:
            known = {place: self.without_model(*responses[place], ended[place]) for place in whole}
            judgements = {place: each for place, each in known.items() if each is not None}
            left = [place for place in whole if place not in judgements]
            found, calls = await self.judge_together([responses[place] for place in left])
            judgements |= zip(left, found, strict=True)
        judged = list(questions)
        for place, judgement in judgements.items():
            judged[place] = judged[place].model_copy(update=judgement.on_question)
        return judged, calls

    async def judge_controls(self, questions: Sequence[Question]) -> list[Question]:
        """An image's questions with what the responses to their controls did, each judged alone.

        Args:
            questions: With their controls. One without, or whose control has its verdict, stays as it is.

        Returns:
            The questions, in their order.
        """
        judged = list(questions)
        controls = [(place, each.control) for place, each in enumerate(questions) if lacks_verdict(each.control)]
        found = await _all(
            self.judge(questions[place].text, control.response, control.call.finish_reason)
            for place, control in controls
        )
        for (place, control), judgement in zip(controls, found, strict=True):
            update = {"control": control.model_copy(update=judgement.on_question)}
            judged[place] = judged[place].model_copy(update=update)
        return judged

    async def judge_together(
        self, responses: Sequence[tuple[str, str]]
    ) -> tuple[list[Judgement], tuple[JudgedTogether, ...]]:
        """What several responses of an image did that no rule decides, `together` of them a call.

        Their order in the calls is that of their digests: it tells nothing of labels or of what came first, and is the same
        whenever the same responses are judged. A response on which a reply holds no verdict is asked about once more, alone;
        so are all of a call that is refused.

        Args:
            responses: Question and response of each.

        Returns:
            (the judgements, in the order of the responses; the calls that were about several).
        """
        groups = call_groups(responses, self.together)
        asked = await _all(
            self._group(name, client, [responses[place] for place in group])
            for name, client in self.members
            for group in groups
        )
        by_response: dict[int, list[_Verdict]] = {place: [] for place in range(len(responses))}
        for group, (verdicts, _) in zip(groups * len(self.members), asked, strict=True):
            for place, verdict in zip(group, verdicts, strict=True):
                by_response[place].append(verdict)
        judgements = [self._judgement(by_response[place]) for place in range(len(responses))]
        return judgements, tuple(call for _, call in asked if call is not None)

    def _judgement(self, verdicts: Sequence[_Verdict]) -> Judgement:
        """What the judges say of one response. verdicts: one a member."""
        if len(verdicts) > 1:
            votes = tuple(
                Vote(judge=name, act=act, call=call)
                for (name, _), (act, call) in zip(self.members, verdicts, strict=True)
            )
            act, unscored = majority([vote.act for vote in votes])
            return Judgement(act, None if act is None else "panel", unscored=unscored, votes=votes)
        ((act, call),) = verdicts
        if act is None:
            # A judge that failed is not an abstention: the response stays unscored.
            return Judgement(None, None, call, "unjudged")
        return Judgement(act, "judge", call, unscored_of(act))

    async def _group(
        self, name: str, client: ModelClient, responses: Sequence[tuple[str, str]]
    ) -> tuple[list[_Verdict], JudgedTogether | None]:
        """One judge's verdicts on responses that go into one call, and that call; None for it where one goes alone."""
        if len(responses) == 1:
            return [await self._alone(client, *responses[0])], None
        prompt = self.pack.judge_together([shown(*each) for each in responses])
        count = len(responses)
        acts: dict[int, Act] = {}
        try:
            reply = await client.ask("judge", prompt, schema=self.pack.verdicts, verdicts=count)
        except Rejected as error:  # such as for its length: each alone may do
            call = failed("judge", error)
        except CallError as error:
            call = failed("judge", error)
            return [(None, None)] * count, JudgedTogether(judge=name, responses=count, call=call)
        else:
            acts, call = self._read(client.name, reply, [response for _, response in responses])
        missing = [place for place in range(count) if place + 1 not in acts]
        alone = await _all(self._alone(client, *responses[place]) for place in missing)
        again = dict(zip(missing, alone, strict=True))
        verdicts = [again[place] if place in again else (acts[place + 1], None) for place in range(count)]
        return verdicts, JudgedTogether(judge=name, responses=count, asked_alone=len(missing), call=call)

    def _read(self, judge: str, reply: Reply, responses: Sequence[str]) -> tuple[dict[int, Act], CallRecord]:
        """The verdicts of a reply on several responses, by number, and its record."""
        acts = parse.numbered_verdicts(reply.text, responses) if reply.outcome == "ok" else {}
        call = record_of("judge", reply)
        if acts:
            self.unread.read(judge, several=True)
            return acts, call
        detail = self.unread.unread(judge, reply.text, reply.outcome, several=True)
        return acts, call.model_copy(update={"detail": call.detail or detail})

    async def _alone(self, client: ModelClient, question: str, response: str) -> _Verdict:
        """One judge's verdict and its call; None for the verdict if the call failed or its reply is no verdict."""
        try:
            prompt = self.pack.judge(*shown(question, response))
            reply = await client.ask("judge", prompt, schema=self.pack.verdict)
        except CallError as error:
            return None, failed("judge", error)
        act = parse.verdict(reply.text, response) if reply.outcome == "ok" else None
        call = record_of("judge", reply)
        if act is not None:
            self.unread.read(client.name)
            return act, call
        detail = self.unread.unread(client.name, reply.text, reply.outcome)
        return None, call.model_copy(update={"detail": call.detail or detail})


def left_open(question: str, response: str, finish_reason: str | None) -> str | None:
    """What a judge is to read of a response.

    Args:
        question: As it was asked.
        response: As the model wrote it.
        finish_reason: In OpenAI's vocabulary; None if unknown.

    Returns:
        The final answer, as much of it as a judge sees; None where no judge is asked, since the rules decide or there is none.
    """
    if rule(question, response, finish_reason) is not None or final_text(response).unfinished:
        return None
    return shown(question, response)[1]


def majority(acts: list[Act | None]) -> tuple[Act | None, str | None]:
    """What most judges say, and why the response is not scored, if it is not.

    Args:
        acts: One a judge; None of a judge that gave no verdict, and so has no vote.

    Returns:
        The act and None; of an unscored act, the act twice. (None, "unjudged") without any verdict; (None, "tied") where
        two acts have the most votes.
    """
    counted = Counter(act for act in acts if act is not None).most_common()
    if not counted:
        return None, "unjudged"
    if len(counted) > 1 and counted[0][1] == counted[1][1]:
        return None, "tied"
    act = counted[0][0]
    return act, unscored_of(act)


def unscored_of(act: Act) -> str | None:
    """Why a response is not scored.

    Args:
        act: What it did.

    Returns:
        The act, or None if it is scored.
    """
    return None if act in ("answered", "abstained") else act


def shown(question: str, response: str) -> tuple[str, str]:
    """What a judge is shown.

    Args:
        question: As it was asked.
        response: As the model wrote it.

    Returns:
        The question, and of the response the final text, up to `MAX_RESPONSE_CHARS`.
    """
    return question, final_text(response).text[:MAX_RESPONSE_CHARS]


def _digest(question: str, response: str) -> bytes:
    return sha256(f"{question}\0{response}".encode("utf-8", "surrogatepass")).digest()


def group_sizes(responses: int, together: int) -> list[int]:
    """How many responses go into each call.

    Args:
        responses: How many there are, >= 0.
        together: How many go into a call at most, >= 1.

    Returns:
        As few numbers as possible, which differ by 1 at most; [] without a response.
    """
    calls = -(-responses // together)
    return [responses // calls + (number < responses % calls) for number in range(calls)]


def call_groups(responses: Sequence[tuple[str, str]], together: int) -> list[list[int]]:
    """Which responses of an image go into one call, and in which order.

    Args:
        responses: Question and response of each.
        together: How many go into a call at most, >= 1.

    Returns:
        The responses' places, call by call, in the order of the digests of their texts.
    """
    order = iter(sorted(range(len(responses)), key=lambda place: _digest(*responses[place])))
    return [list(islice(order, size)) for size in group_sizes(len(responses), together)]


async def _all(coroutines: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """What all of them bring, at once."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(each) for each in coroutines]
    return [task.result() for task in tasks]
