"""Hosts of many models, each called by name at a stub: the key's header, the model's id, the price, the image's tokens."""

from __future__ import annotations

import base64
import re
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from doubles import IMAGE
from serving import serve_requests

from unsaf_async.bundled import bundled
from unsaf_async.calls.backends.open import open_backend
from unsaf_async.calls.request import RequestBuilder
from unsaf_async.cli.spelling import spelled
from unsaf_async.errors import UserError
from unsaf_async.providers.keys import check_packages
from unsaf_async.providers.load_profiles import load_profiles
from unsaf_async.providers.prices import Price
from unsaf_async.providers.resolve import resolve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from unsaf_async.providers.profile import Profile

ENDPOINTS = {endpoint.name: endpoint for endpoint in load_profiles([bundled("providers")]) if endpoint.is_host}
DIRECT = {name: endpoint for name, endpoint in ENDPOINTS.items() if endpoint.defaults.backend != "litellm"}

MODELS = {
    "openrouter": "qwen/qwen3-vl-235b",
    "groq": "qwen/qwen3.8-27b",
    "mistral": "pixtral-large-latest",
    "xai": "grok-4.7",
    "together": "Qwen/Qwen3.5-9B",
    "fireworks": "accounts/fireworks/models/qwen3p8-max",
    "dashscope": "qwen3-vl-32b-instruct",
    "moonshot": "kimi-k3",
    "huggingface": "Qwen/Qwen3-VL-8B-Instruct",
    "hosted_vllm": "Qwen/Qwen3-VL-8B-Instruct",
    "azure": "gpt-5.4-mini",
}
"""A model of each, as the host itself names it."""

UNPRICED = {"openrouter", "huggingface", "hosted_vllm"}
"""Hosts of whose models litellm's map has none."""

ADDRESS_IS_YOURS = {"azure", "hosted_vllm"}

KEY = "test-key-of-a-host"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("UNSAF_PROVIDERS", raising=False)


@asynccontextmanager
async def stub() -> AsyncIterator[tuple[str, list[tuple[str, dict[str, str], dict[str, Any]]]]]:
    """A server's address, and what it is asked: (path with query, headers, body). It answers in OpenAI's form."""
    asked: list[tuple[str, dict[str, str], dict[str, Any]]] = []

    async def handle(request: web.Request) -> web.Response:
        asked.append((request.path_qs, {k.lower(): v for k, v in request.headers.items()}, await request.json()))
        message = {"role": "assistant", "content": "A cat."}
        usage = {"prompt_tokens": 1000, "completion_tokens": 10, "total_tokens": 1010}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return web.json_response({"id": "x", "object": "chat.completion", "choices": [choice], "usage": usage})

    async with serve_requests(handle) as url:
        yield url, asked


async def answer_of(profile: Profile) -> str:
    """What a model says about an image."""
    backend = await open_backend(profile)
    try:
        return (
            await backend.complete(RequestBuilder(profile, 1, 0).request("answer", "What is it?", image=IMAGE))
        ).text
    finally:
        await backend.aclose()


@pytest.mark.parametrize("name", MODELS)
async def test_a_host_is_called_by_name(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    variable = ENDPOINTS[name].defaults.api_key_env
    assert variable
    monkeypatch.setenv(variable, KEY)
    async with stub() as (address, asked):
        profile = resolve(name, model=MODELS[name], api_base=f"{address}/v1")
        assert await answer_of(profile) == "A cat."
    [(path, headers, body)] = asked
    assert path == "/v1/chat/completions"
    assert (headers.get("api-key") if name == "azure" else headers["authorization"].removeprefix("Bearer ")) == KEY
    assert body["model"] == MODELS[name]
    url = body["messages"][0]["content"][0]["image_url"]["url"]
    assert base64.b64decode(url.partition("base64,")[2]) == IMAGE.data
    assert body[profile.max_tokens_field] == profile.output_tokens.limit("answer")
    assert (profile.price is None) == (name in UNPRICED)
    assert profile.tokens.image.worst(1024, 1024) >= 3000
    assert resolve(f"{profile.vendor}/{MODELS[name]}", api_base=f"{address}/v1") == profile


def test_all_hosts_are_tried() -> None:
    assert set(DIRECT) == set(MODELS)


@pytest.mark.parametrize("name", sorted(ENDPOINTS))
def test_a_host_alone_asks_for_a_model(name: str) -> None:
    with pytest.raises(UserError) as error:
        resolve(name)
    assert error.value.spelled(spelled) == f"--provider {name}: is an endpoint; add --model"


@pytest.mark.parametrize("name", sorted(ADDRESS_IS_YOURS))
def test_a_host_at_an_address_of_ones_own_asks_for_it(name: str) -> None:
    with pytest.raises(UserError, match="its address is not known; give api_base"):
        resolve(name, model=MODELS[name])
    assert all(
        endpoint.defaults.has_address for endpoint in ENDPOINTS.values() if endpoint.name not in ADDRESS_IS_YOURS
    )


def test_a_bare_name_is_that_of_its_makers_model_and_not_of_a_hosts() -> None:
    assert resolve("gpt-4o-2024-08-06").vendor == "openai"


# --- Azure --------------------------------------------------------------------------------------------------------


def test_fireworks_is_sent_the_whole_id_of_a_model_that_the_map_has_under_a_short_one() -> None:
    assert resolve("fireworks_ai/kimi-k3").wire_model == "accounts/fireworks/models/kimi-k3"
    assert resolve("fireworks_ai/kimi-k3").price is not None
    assert resolve("fireworks_ai/accounts/me/models/mine").wire_model == "accounts/me/models/mine"


@pytest.mark.parametrize(
    ("name", "litellms"),
    [
        ("together/Qwen/Qwen3.5-9B", "together_ai/Qwen/Qwen3.5-9B"),
        ("fireworks/accounts/a/m", "fireworks_ai/accounts/a/m"),
    ],
)
def test_a_host_goes_by_its_files_name_as_well_as_by_litellms(name: str, litellms: str) -> None:
    assert resolve(name) == resolve(litellms)


async def test_azure_takes_a_dated_version_and_the_deployments_name_in_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", KEY)
    async with stub() as (address, asked):
        (tmp_path / "mine.toml").write_text(
            f'''backend = "azure"
            vendor = "azure"
            endpoint = "{address}"
            api_key_env = "AZURE_OPENAI_API_KEY"
            api_version = "2024-10-21"
            max_tokens_field = "max_completion_tokens"
            [models."eyes"]
            priced_as = "azure/eu/gpt-5.4"
            ''',
            "utf-8",
        )
        profile = resolve("eyes", folders=[tmp_path])
        assert await answer_of(profile) == "A cat."
    [(path, headers, body)] = asked
    assert path == "/openai/deployments/eyes/chat/completions?api-version=2024-10-21"
    assert headers["api-key"] == KEY
    assert "authorization" not in headers
    assert "model" not in body
    known = resolve("azure/eu/gpt-5.4", api_base="http://127.0.0.1:9/openai/v1")
    assert profile.price == known.price is not None
    assert profile.ends == known.ends is not None


def test_a_deployment_with_a_name_of_its_own_has_no_price_until_it_is_given_one() -> None:
    base = "https://me.openai.azure.com/openai/v1"
    assert resolve("azure", model="my-eyes", api_base=base).price is None
    assert resolve("azure", model="gpt-5.4-mini", api_base=base).price is not None
    given = Price(input_usd_per_mtok=1.0, output_usd_per_mtok=2.0)
    assert resolve("azure", model="my-eyes", api_base=base, price=given).price == given


def test_a_deployment_counts_images_as_the_model_that_it_is_priced_as(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    own = 'backend = "azure"\nvendor = "azure"\nendpoint = "https://me.openai.azure.com/openai/v1"\n'
    deployment = '[models."mine-4o-mini"]\nmodel = "deployed"\npriced_as = "azure/gpt-4o-mini"\n'
    file.write_text(own + deployment, "utf-8")
    assert resolve("mine-4o-mini", folders=[tmp_path]).tokens.image == resolve("gpt-4o-mini").tokens.image
    said = 'tokens.image = { formula = "fixed", constants = { tokens = 99 } }\n'
    file.write_text(own + deployment + said, "utf-8")
    assert resolve("mine-4o-mini", folders=[tmp_path]).tokens.image.worst(1024, 1024) == 99


def test_a_host_counts_images_as_their_maker_does() -> None:
    azure = resolve("azure/gpt-4o-mini", api_base="https://me.openai.azure.com/openai/v1")
    assert azure.tokens.image.worst(1024, 1024) == resolve("gpt-4o-mini").tokens.image.worst(1024, 1024) > 40_000
    bedrock = resolve("bedrock/us.anthropic.claude-haiku-4-5-20251001-v1:0")
    assert bedrock.tokens.image.formula == "claude"


# --- through litellm ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "price"),
    [
        ("bedrock/anthropic.claude-sonnet-5-5", "claude-sonnet-5-5"),
        ("vertex_ai/gemini-3.5-flash", "gemini-3.5-flash"),
        ("vertex_ai/gemini-2.5-pro", "gemini-2.5-pro"),  # which the map lists without the vendor
    ],
)
def test_bedrock_and_vertex_have_their_prices_and_need_no_key_of_ours(name: str, price: str) -> None:
    profile = resolve(name)
    assert (profile.backend, profile.api_key_env) == ("litellm", None)
    assert profile.price == resolve(price).price


@pytest.mark.parametrize(("name", "package"), [("bedrock", "boto3"), ("vertex_ai", "google-auth")])
def test_a_package_that_is_missing_is_told_before_anything_is_sent(
    name: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unsaf_async.providers.keys.find_spec", lambda _: None)
    with pytest.raises(UserError) as error:
        check_packages(ENDPOINTS[name].defaults)
    assert error.value.spelled(spelled) == (
        f"--provider {name}: needs the Python package {package}, which is not installed; pip install {package}"
    )


async def test_a_backend_without_its_package_does_not_open(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        'backend = "litellm"\nmodel = "a/b"\npackages = { "no_such_package.at_all" = "no-such-package" }\n', "utf-8"
    )
    with pytest.raises(UserError, match="needs the Python package no-such-package, which is not installed"):
        await open_backend(resolve("mine", folders=[tmp_path]))


# --- models that nobody described ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "model"),
    [("openai", "gpt-9"), ("gpt-4o", "gpt-9"), ("groq", "brand-new"), ("xai", "grok-4.7"), ("openai/gpt-9", None)],
)
def test_a_model_that_nobody_described_is_asked_with_care(name: str, model: str | None) -> None:
    profile = resolve(name, model=model)
    assert (profile.takes.temperature, profile.takes.seed, profile.takes.logprobs) == (False, False, False)
    assert profile.output_tokens.reasoning >= 4096
    assert profile.extra == {}


# --- the documentation --------------------------------------------------------------------------------------------


def test_the_guide_tells_of_every_host_its_key_and_its_address() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "guide.md").read_text("utf-8")
    rows = {match[1]: match[0] for match in re.finditer(r"^\| `(\w+)` \|.*\|$", guide, re.MULTILINE)}
    for name, endpoint in ENDPOINTS.items():
        told = rows[name]
        assert endpoint.defaults.endpoint in told
        assert (endpoint.defaults.api_key_env or "") in told
        assert f"`{endpoint.defaults.backend}`" in told
