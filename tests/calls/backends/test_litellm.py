"""What litellm raises before anything was sent: it costs nothing, it is not tried again, and the line names no wrapper."""

from __future__ import annotations

import importlib.util
import socket

import pytest
from doubles import request

from unsaf_async.calls.backends.litellm import LitellmBackend
from unsaf_async.errors import CallError, Fatal, Rejected, Transient
from unsaf_async.records import Sampling, Target

PLAIN = Sampling(max_output_tokens=100)


async def raised_for(model: str, endpoint: str = "", sampling: Sampling = PLAIN) -> CallError:
    """The error of a call to a model that cannot be made from here."""
    backend = await LitellmBackend.open(endpoint, "a-key")
    try:
        with pytest.raises(CallError) as raised:
            await backend.complete(request(target=Target("double", model, endpoint), sampling=sampling))
    finally:
        await backend.aclose()
    words = str(raised.value)
    assert "\n" not in words
    assert not any(
        wrapper in words for wrapper in ("Traceback", "litellm.", "Exception", "APIConnectionError", "object at 0x")
    )
    assert not raised.value.fate_unknown
    return raised.value


@pytest.mark.parametrize(
    ("model", "module", "package"),
    [("vertex_ai/gemini-2.5-flash", "google.auth", "google-auth"), ("openai/gpt-5-pro", "mcp", "mcp")],
)
async def test_a_package_that_is_missing_is_named(model: str, module: str, package: str) -> None:
    try:
        there = importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        there = False
    if there:
        pytest.skip(f"{module} is installed")
    error = await raised_for(model)
    assert isinstance(error, Fatal)
    assert error.kind == "machine"
    assert package in str(error)


async def test_a_vendor_that_nobody_knows_is_a_mistake_in_the_models_name() -> None:
    error = await raised_for("foo/bar")
    assert isinstance(error, Fatal)
    assert (error.kind, str(error)) == ("model", "foo/bar: no vendor of this name is known")


async def test_credentials_that_litellm_misses_are_a_missing_key() -> None:
    error = await raised_for("watsonx/a-model")
    assert isinstance(error, Fatal)
    assert error.kind == "key"
    assert "WX_PROJECT_ID" in str(error)


async def test_a_refused_connection_is_told_with_its_address() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    error = await raised_for("openai/a-model", f"http://127.0.0.1:{port}/v1")
    assert isinstance(error, Transient)
    assert error.unsent
    assert str(error) == f"127.0.0.1:{port}: no connection (connection refused)"


@pytest.mark.parametrize(
    ("model", "parameter", "sampling"),
    [
        ("openai/gpt-5", "temperature", Sampling(max_output_tokens=100, temperature=0.0)),
        ("openai/o3", "logprobs", Sampling(max_output_tokens=100, logprobs=True)),
        ("anthropic/claude-sonnet-4-5", "seed", Sampling(max_output_tokens=100, seed=1)),
    ],
)
async def test_a_parameter_that_litellm_knows_a_model_does_not_take_is_named(
    model: str, parameter: str, sampling: Sampling
) -> None:
    error = await raised_for(model, sampling=sampling)
    assert isinstance(error, Rejected)
    assert error.parameter == parameter
    assert "drop_params" not in str(error)
