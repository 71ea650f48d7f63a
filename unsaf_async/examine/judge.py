"""What a response did: answered, abstained, refused, no image or invalid. Rules first; LLM judges for what they leave open.

A judge sees the question and the response, quoted as data; never the image, never the intended label. Of several judges the
majority decides, and a tie decides nothing.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from unsaf_async.calls.request import ModelClient, failed, record_of
from unsaf_async.errors import CallError
from unsaf_async.examine import parse
from unsaf_async.examine.rules import rule
from unsaf_async.examine.unread import UnreadVerdicts
from unsaf_async.records import Act, CallRecord, Decider, Vote
from unsaf_async.wrappers import final_text

if TYPE_CHECKING:
    from unsaf_async.prompts import Pack

__all__ = ["Judge", "Judgement", "rule"]

MAX_RESPONSE_CHARS = 4000
"""Of a longer response the judge sees the beginning: what it does is clear by then, and the call's cost stays bounded."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a response did, and who decided.

    act: None if nobody could say. decided_by: None likewise. call: the judge's, if one was asked. unscored: why the response is
    not scored; None if it is. votes: of a panel.
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


@dataclass(frozen=True)
class Judge:
    """The cascade: rules first, then models.

    members: names and models to ask where no rule decides: none (rules alone), one model, or a panel. unread: counts the
    replies without a verdict; shared by all judges of a run.
    """

    pack: Pack
    members: tuple[tuple[str, ModelClient], ...] = ()
    unread: UnreadVerdicts = field(default_factory=UnreadVerdicts)

    async def judge(self, question: str, response: str, finish_reason: str | None) -> Judgement:
        """What a response did.

        Args:
            question: As it was asked.
            response: As the model wrote it.
            finish_reason: In OpenAI's vocabulary; None if unknown.

        Returns:
            The judgement. A call that failed is a value on it.
        """
        act = rule(question, response, finish_reason)
        if act is not None:
            return Judgement(act, "rule", unscored=_unscored(act))
        final = final_text(response)
        if final.unfinished:  # a thought is no answer, whoever judges it
            return Judgement(None, None, unscored="unreadable")
        if not self.members:
            return Judgement(None, None, unscored="undecided")
        prompt = self.pack.judge(question, final.text[:MAX_RESPONSE_CHARS])
        if len(self.members) > 1:
            return await self._panel(prompt, response)
        ((_, client),) = self.members
        act, call = await self._verdict(client, prompt, response)
        if act is None:
            # A judge that failed is not an abstention: the response stays unscored.
            return Judgement(None, None, call, "unjudged")
        return Judgement(act, "judge", call, _unscored(act))

    async def _panel(self, prompt: str, response: str) -> Judgement:
        async with asyncio.TaskGroup() as group:
            asked = [
                (name, group.create_task(self._verdict(client, prompt, response))) for name, client in self.members
            ]
        votes = tuple(Vote(judge=name, act=task.result()[0], call=task.result()[1]) for name, task in asked)
        act, unscored = majority([vote.act for vote in votes])
        return Judgement(act, None if act is None else "panel", unscored=unscored, votes=votes)

    async def _verdict(self, client: ModelClient, prompt: str, response: str) -> tuple[Act | None, CallRecord]:
        """One judge's verdict and its call; None for the verdict if the call failed or its reply is no verdict."""
        try:
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
    final = final_text(response)
    if rule(question, response, finish_reason) is not None or final.unfinished:
        return None
    return final.text[:MAX_RESPONSE_CHARS]


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
    return act, _unscored(act)


def _unscored(act: Act) -> str | None:
    """Why a response that did this is not scored; None if it is."""
    return None if act in ("answered", "abstained") else act
