"""Requests that the real services refuse are refused by the simulator, in their words."""

from __future__ import annotations

from typing import Any

import pytest

from unsaf_async.simulate.anthropic import Anthropic
from unsaf_async.simulate.openai import OpenAI
from unsaf_async.simulate.pictures import Pictures
from unsaf_async.simulate.wire import RequestError

ASKED = {"model": "gpt-4o", "messages": [{"role": "user", "content": "What is it?"}]}
CLAUDE = {"model": "claude-sonnet-4-5", "max_tokens": 10}


@pytest.mark.parametrize(
    ("settings", "parameter", "words"),
    [
        ({"max_tokens": 5, "max_completion_tokens": 5}, "max_tokens", "at the same time is not supported"),
        ({"top_logprobs": 3}, "top_logprobs", "only allowed when 'logprobs' is enabled"),
        ({"top_logprobs": 3, "logprobs": False}, "top_logprobs", "only allowed when 'logprobs' is enabled"),
        ({"response_format": {"type": "json_object"}}, "messages", "must contain the word 'json' in some form"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings: dict[str, Any], parameter: str, words: str) -> None:
    with pytest.raises(RequestError, match=words) as refused:
        OpenAI().read({**ASKED, **settings}, "", {}, Pictures())
    assert refused.value.parameter == parameter


def test_settings_that_go_together_are_taken() -> None:
    asked = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Give JSON."}]}
    settings = {"max_completion_tokens": 5, "logprobs": True, "top_logprobs": 3}
    call = OpenAI().read({**asked, **settings, "response_format": {"type": "json_object"}}, "", {}, Pictures())
    assert (call.max_output_tokens, call.top_logprobs) == (5, 3)


@pytest.mark.parametrize("content", ["", [{"type": "text", "text": ""}]])
def test_claude_takes_no_empty_text(content: Any) -> None:
    body = {**CLAUDE, "messages": [{"role": "user", "content": content}]}
    with pytest.raises(RequestError, match="text content blocks must be non-empty"):
        Anthropic().read(body, "", {"anthropic-version": "2023-06-01"}, Pictures())
