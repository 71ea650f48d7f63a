"""What a response did: answered, abstained or invalid. Cheap before dear: rules first, the LLM judge for what they leave open.

The judge sees the question and the response, quoted as data; never the image, never the intended label.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from unsaf_async import parse
from unsaf_async.calls import Caller, complete_schema, record_of
from unsaf_async.errors import CallError
from unsaf_async.packs import VERDICT, Pack
from unsaf_async.records import Act, CallRecord, Decider
from unsaf_async.rules import rule

if TYPE_CHECKING:
    from unsaf_async.provider import Provider

__all__ = ["Judge", "Judgement", "rule"]

MAX_RESPONSE_CHARS = 4000
"""Of a longer response the judge is shown the beginning: what it does is clear by then, and the call's cost stays bounded."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a response did, who decided, and the call if there was one. act is None if nobody could say: `unscored` has why."""

    act: Act | None
    decided_by: Decider | None
    call: CallRecord | None = None
    unscored: str | None = None


@dataclass(frozen=True)
class Judge:
    """The cascade. caller: None leaves open what the rules leave open (`--judge rules`)."""

    caller: Caller | None
    pack: Pack

    async def judge(
        self, question: str, response: str, finish_reason: str | None, provider: Provider | None
    ) -> Judgement:
        """What `response` did. provider: where the LLM judge's calls go (this image's layers)."""
        act = rule(question, response, finish_reason)
        if act is not None:
            return Judgement(act, "rule", unscored="invalid" if act == "invalid" else None)
        if self.caller is None or provider is None:
            return Judgement(None, None, unscored="undecided")
        prompt = self.pack.judge(question, response[:MAX_RESPONSE_CHARS])
        try:
            reply = await complete_schema(provider, self.caller.request("judge", prompt, schema=VERDICT))
        except CallError as error:
            # A judge that failed is not an abstention: the response stays unscored.
            return Judgement(None, None, CallRecord(role="judge", outcome="failed", detail=str(error)), "unjudged")
        call = record_of("judge", reply)
        act = parse.verdict(reply.text) if reply.outcome == "ok" else None
        if act is None:
            return Judgement(None, None, call, "unjudged")
        return Judgement(act, "judge", call, "invalid" if act == "invalid" else None)
