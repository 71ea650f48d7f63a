"""What is told of a miss: which stored reply is the nearest, and what differs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from unsaf_async.calls.stored_reply import digests_of, key_of, key_parts
from unsaf_async.checks.explain_cache import _verdict
from unsaf_async.records import Message, Request, Sampling, Target

ASKED = Request("ask", Target("openai", "gpt-4o", "", {}), (Message("user", "Write."),), Sampling(100))
ELSEWHERE = replace(ASKED, target=replace(ASKED.target, endpoint="http://127.0.0.1:8787/v1"))
SCRIPTED = replace(ASKED, target=replace(ASKED.target, model="scripted"))
IN_OTHER_WORDS = replace(ELSEWHERE, messages=(Message("user", "Write six."),))


@pytest.mark.parametrize("stored", [(SCRIPTED, ELSEWHERE), (ELSEWHERE, SCRIPTED, IN_OTHER_WORDS)])
def test_of_two_replies_that_differ_in_one_part_that_of_the_same_model_is_the_nearest(
    stored: tuple[Request, ...],
) -> None:
    digests = {key_of(parts): digests_of(parts) for parts in map(key_parts, stored)}
    key = key_of(key_parts(ELSEWHERE))
    assert _verdict(ASKED, digests) == f"miss: the nearest stored reply ({key[:12]}) differs in endpoint"
