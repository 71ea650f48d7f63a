"""Whether the model that answered is the one that was asked."""

from __future__ import annotations

import pytest

from unsaf_async.calls.same_model import is_same_model


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("gpt-4o", "gpt-4o-2024-11-20"),
        ("gpt-4o-2024-11-20", "gpt-4o-2024-11-20"),
        ("claude-sonnet-4-5", "claude-sonnet-4-5-20250929"),
        ("claude-haiku-4-5", "claude-haiku-4-5@20251001"),
        ("gemini-2.5-flash", "models/gemini-2.5-flash"),
        ("gemini-2.0-flash", "gemini-2.0-flash-001"),
        ("mistral-small-latest", "mistral-small-2506"),
        ("anthropic/claude-sonnet-4.5", "anthropic/claude-4.5-sonnet-20250929"),
        ("openai/gpt-oss-120b", "gpt-oss-120b"),
        ("Qwen/Qwen2.5-VL-7B-Instruct", "qwen2.5-vl-7b-instruct"),
        ("grok-4", "grok-4-0709"),
        ("deepseek-v3", "deepseek-v3-0324"),
        ("gemini-2.5-flash-preview-09-2025", "models/gemini-2.5-flash-preview-09-2025"),
        ("claude-haiku-4-5-20251001", "claude-haiku-4-5-2025-10-01"),
        ("gpt-4o-2024-08-06", "gpt-4o"),
        ("Qwen/Qwen3-VL-8B-Instruct:together", "Qwen/Qwen3-VL-8B-Instruct"),
        ("qwen/qwen3-vl-235b:free", "qwen/qwen3-vl-235b:free"),
        ("llava:latest", "llava"),
        ("gemini-flash-latest", "gemini-3.5-flash"),
        ("anything", ""),
        ("", "anything"),
    ],
)
def test_a_snapshot_and_another_spelling_are_the_same_model(asked: str, answered: str) -> None:
    assert is_same_model(asked, answered)


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("gemini-2.5-flash", "gemini-3.5-flash"),
        ("gemini-2.5-flash", "gemini-2.5-flash-lite"),
        ("gpt-4o", "gpt-4o-mini"),
        ("gemini-flash-latest", "gemini-3.5-flash-lite"),
        ("gpt-5.4", "gpt-4.5"),
        ("gpt-5-mini", "gpt-5-nano"),
        ("claude-opus-4-5", "claude-sonnet-4-5"),
        ("claude-sonnet-5", "claude-sonnet-5-5"),
        ("gemini-3-flash-preview", "gemini-3-flash"),
        ("gpt-4o-2024-08-06", "gpt-4o-2024-11-20"),
        ("claude-sonnet-4-5-20250929", "claude-sonnet-4-5@20251115"),
        ("mistral-small-2506", "mistral-small-2603"),
        ("kimi-k2-0711-preview", "kimi-k2-0905-preview"),
        ("gemini-2.0-flash-001", "gemini-2.0-flash-002"),
        ("qwen2.5vl:7b", "qwen2.5vl:32b"),
    ],
)
def test_another_generation_size_or_snapshot_is_another_model(asked: str, answered: str) -> None:
    assert not is_same_model(asked, answered)
    assert not is_same_model(answered, asked)
