"""Where calls go: the address is resolved once, from what the user said, and a key travels there alone; over real sockets."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from doubles import IMAGE, profile
from serving import serve_requests

from unsaf_async.calls.backends.open import open_backend
from unsaf_async.calls.request import RequestBuilder
from unsaf_async.calls.stored_reply import key_of, key_parts
from unsaf_async.errors import UserError
from unsaf_async.providers.addresses import called, is_local, mark, not_the_vendors, where
from unsaf_async.providers.keys import key_of_profile
from unsaf_async.providers.load_profiles import load_profiles, search_path
from unsaf_async.providers.profile import Profile
from unsaf_async.providers.resolve import _variables_of, all_models, resolve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from unsaf_async.records import Request

KEY = "test-key-0123456789"
KEYS = (
    "OPENAI_API_KEY",
    "ANTHROPIC_API_KEY",
    "GEMINI_API_KEY",
    "AZURE_OPENAI_API_KEY",
    "COMPANY_LLM_KEY",
    "GROQ_API_KEY",
)


@dataclass(frozen=True)
class Asked:
    """What a stub was asked."""

    url: str
    headers: dict[str, str]
    model: str


@asynccontextmanager
async def stub() -> AsyncIterator[tuple[str, list[Asked]]]:
    """A server's root, and what it is asked. It answers in the form of whoever is asked, by the path."""
    asked: list[Asked] = []

    async def handle(request: web.Request) -> web.Response:
        body = await request.json()
        headers = {name.lower(): value for name, value in request.headers.items()}
        asked.append(Asked(str(request.url), headers, body.get("model", "")))
        if request.path.endswith("/messages"):
            usage = {"input_tokens": 10, "output_tokens": 5}
            content = [{"type": "text", "text": "A cat."}]
            return web.json_response({"content": content, "stop_reason": "end_turn", "usage": usage, "model": "m"})
        if request.path.endswith(":generateContent"):
            candidate = {"content": {"parts": [{"text": "A cat."}]}, "finishReason": "STOP"}
            counts = {"promptTokenCount": 10, "candidatesTokenCount": 5}
            return web.json_response({"candidates": [candidate], "usageMetadata": counts})
        choice = {"index": 0, "message": {"role": "assistant", "content": "A cat."}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
        return web.json_response({"id": "x", "object": "chat.completion", "choices": [choice], "usage": usage})

    async with serve_requests(handle) as url:
        yield url, asked


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEYS:
        monkeypatch.setenv(name, f"{KEY}-{name}")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """./providers, empty."""
    (tmp_path / "providers").mkdir()
    return tmp_path / "providers"


def request_to(model: Profile) -> Request:
    return RequestBuilder(model, 1, 0).request("answer", "What is it?", image=IMAGE)


async def answer_of(model: Profile) -> str:
    backend = await open_backend(model)
    try:
        return (await backend.complete(request_to(model))).text
    finally:
        await backend.aclose()


# --- variables ----------------------------------------------------------------------------------------------------

VARIABLES = [
    ("OPENAI_BASE_URL", "gpt-4o", "/v1", "/v1/chat/completions"),
    ("OPENAI_API_BASE", "gpt-4o", "/v1", "/v1/chat/completions"),
    ("ANTHROPIC_BASE_URL", "claude-sonnet-4-5", "", "/v1/messages"),
    ("ANTHROPIC_API_BASE", "claude-sonnet-4-5", "/v1/messages", "/v1/messages"),
    ("GOOGLE_GEMINI_BASE_URL", "gemini-2.5-flash", "/", "/v1beta/models/gemini-2.5-flash:generateContent"),
    ("GEMINI_API_BASE", "gemini-2.5-flash", "/v1beta", "/v1beta/models/gemini-2.5-flash:generateContent"),
    ("AZURE_OPENAI_ENDPOINT", "azure/gpt-4o", "/", "/openai/v1/chat/completions"),
    ("AZURE_API_BASE", "azure/gpt-4o", "/openai/v1", "/openai/v1/chat/completions"),
    ("GROQ_API_BASE", "groq/any", "/v1", "/v1/chat/completions"),
]


@pytest.mark.parametrize(("variable", "name", "path", "called_path"), VARIABLES)
async def test_a_vendors_variable_gives_its_address_openly(
    variable: str, name: str, path: str, called_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = resolve(name, address_later=True)
    async with stub() as (root, asked):
        monkeypatch.setenv(variable, root + path)
        model = resolve(name)
        assert model.endpoint.startswith(root)
        assert where(model) == f"{model.name} at {model.endpoint} (by {variable})"
        assert await answer_of(model) == "A cat."
    assert [each.url.removeprefix(root) for each in asked] == [called_path]
    assert key_of(key_parts(request_to(model))) != key_of(key_parts(request_to(before)))


async def test_a_vendor_that_litellm_speaks_to_is_called_where_its_variable_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with stub() as (root, asked):
        monkeypatch.setenv("DEEPINFRA_API_BASE", f"{root}/v1")
        monkeypatch.setenv("DEEPINFRA_API_KEY", KEY)
        model = resolve("deepinfra/Qwen/Qwen3.8-27B")
        assert (model.backend, model.endpoint) == ("litellm", f"{root}/v1")
        assert await answer_of(model) == "A cat."
    assert len(asked) == 1


def test_what_the_user_says_goes_before_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://variable:1/v1")
    model = resolve("gpt-4o", api_base="http://option:1/v1/")
    assert (model.endpoint, model.origin) == ("http://option:1/v1", "")


def test_a_variable_with_the_vendors_own_address_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    before = resolve("gpt-4o")
    monkeypatch.setenv("OPENAI_BASE_URL", " https://api.openai.com/v1/ ")
    assert resolve("gpt-4o") == before
    monkeypatch.setenv("OPENAI_BASE_URL", "")
    monkeypatch.setenv("OPENAI_API_BASE", "http://second:1/v1")
    assert resolve("gpt-4o").endpoint == "http://second:1/v1"


def test_a_file_with_an_address_takes_no_variable(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("OPENAI_BASE_URL", "MINE_BASE_URL"):
        monkeypatch.setenv(variable, f"http://{variable.lower()}:1/v1")
    (folder / "mine.toml").write_text(
        'backend = "openai"\nvendor = "openai"\nendpoint = "http://mine:1/v1"\n'
        '[models."a"]\n[models."b"]\nendpoint_env = ["MINE_BASE_URL"]\n',
        "utf-8",
    )
    assert [resolve(name).endpoint for name in "ab"] == ["http://mine:1/v1", "http://mine_base_url:1/v1"]
    assert resolve("vllm").endpoint == "http://localhost:8000/v1"


def test_a_variable_that_holds_no_address_is_named_and_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("https://user:pass-word@host/v1", "host:8000", "https://host/v1?key=pass-word"):
        monkeypatch.setenv("OPENAI_BASE_URL", value)
        with pytest.raises(UserError, match="OPENAI_BASE_URL holds no plain base URL") as error:
            resolve("gpt-4o")
        assert value not in str(error.value)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://host:1/v1")
    assert resolve("claude-sonnet-4-5").endpoint == ""


async def test_litellm_itself_takes_no_address_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    from unsaf_async.calls.backends.litellm import LitellmBackend

    await (await LitellmBackend.open()).aclose()
    from litellm.secret_managers.main import get_secret, get_secret_str

    for name in (
        "COHERE_API_BASE",
        "ANTHROPIC_BASE_URL",
        "WATSONX_URL",
        "AWS_BEDROCK_RUNTIME_ENDPOINT",
        "DASHSCOPE_API_BASE_IMAGE",
    ):
        monkeypatch.setenv(name, "http://elsewhere:1")
        assert get_secret(name) is get_secret_str(name) is get_secret_str(f"os.environ/{name}") is None
    monkeypatch.setenv("COHERE_API_KEY", KEY)
    assert get_secret_str("COHERE_API_KEY") == KEY


NO_ADDRESS_OF_A_MODEL = {
    "AZURE_AUTHORITY_HOST",
    "FAL_AI_QUEUE_API_BASE",
    "OPENAI_CHATGPT_API_BASE",
    "AZURE_API_BASE",
    "AZURE_AI_API_BASE",
}
"""Read for other things than a chat: logins, prices, counts of tokens; and by a vendor that is logged in to in a browser."""


def test_what_litellm_reads_past_its_own_function_is_adopted() -> None:
    """Its own function reads no address (the test above). This looks for the others, in every version of it."""
    endpoints = load_profiles(search_path())
    spec = find_spec("litellm")
    assert spec is not None
    assert spec.origin is not None
    vendors = Path(spec.origin).parent / "llms"
    pattern = re.compile(r"os\.(?:getenv|environ\.get)\(\s*\"(\w+_(?:API_BASE|BASE_URL|ENDPOINT|HOST))\"")
    for file in vendors.rglob("*.py"):
        vendor = file.relative_to(vendors).parts[0]
        adopted = set(_variables_of(Profile(name="x", backend="litellm", vendor=vendor), endpoints))
        read = set(pattern.findall(file.read_text("utf-8")))
        assert read <= adopted | NO_ADDRESS_OF_A_MODEL, file


# --- names and files ----------------------------------------------------------------------------------------------

LOCAL = 'backend = "openai"\nendpoint = "http://127.0.0.1:9/v1"\nprice = { input_usd_per_mtok = 0, output_usd_per_mtok = 0 }\n'


@pytest.mark.parametrize("name", ["gpt-4o", "openai/gpt-4o", "openai/gpt-9", "gpt-4o-2024-08-06"])
@pytest.mark.parametrize(
    "table",
    [
        '[models."local"]\nmodel = "gpt-4o"\n',
        '[models."local"]\nmodel = "openai/gpt-4o"\n',
        '[models."local"]\naliases = ["gpt-4o", "openai/gpt-4o"]\n',
        'model = "gpt-4o"\n',
    ],
)
@pytest.mark.parametrize("vendor", ["", 'vendor = "openai"\n'])
def test_no_file_takes_a_shipped_name_by_an_alias_or_an_id_on_the_wire(
    name: str, table: str, vendor: str, folder: Path
) -> None:
    before = resolve(name)
    (folder / "local.toml").write_text(LOCAL + vendor + table, "utf-8")
    assert resolve(name) == before
    assert resolve("local").endpoint == "http://127.0.0.1:9/v1"


def test_a_shipped_alias_is_as_safe(folder: Path) -> None:
    alias = next(alias for listing in all_models() for alias in listing.aliases)
    before = resolve(alias)
    (folder / "local.toml").write_text(LOCAL + f'[models."local"]\naliases = ["{alias}"]\n', "utf-8")
    assert resolve(alias) == before


def test_a_file_that_gives_a_shipped_name_as_its_own_stands_in_and_says_so(folder: Path) -> None:
    (folder / "local.toml").write_text(LOCAL + '[models."gpt-4o"]\n[models."other"]\n', "utf-8")
    assert where(resolve("gpt-4o")) == (
        "gpt-4o at http://127.0.0.1:9/v1 (providers/local.toml, in place of the shipped gpt-4o)"
    )
    assert where(resolve("other")) == "other at http://127.0.0.1:9/v1 (providers/local.toml)"


def test_no_file_says_where_it_is_from_itself(folder: Path) -> None:
    (folder / "local.toml").write_text(LOCAL + 'origin = "shipped"\n', "utf-8")
    with pytest.raises(UserError, match="origin is no key"):
        resolve("local")


# --- a gateway ----------------------------------------------------------------------------------------------------

GATEWAY = """
[gateway]
endpoint = "{root}/v1"
backend = "openai"
api_key_env = "COMPANY_LLM_KEY"
headers = {{ x-team = "vision" }}
model = "{{vendor}}/{{name}}"
"""


async def test_a_gateway_takes_the_calls_of_all_vendors(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://nobody:1/v1")
    names = (
        "gpt-4o",
        "claude-sonnet-4-5",
        "gemini-2.5-flash",
        "groq/any",
        "bedrock/us.anthropic.claude-haiku-4-5-20251001-v1:0",
    )
    prices = [resolve(name, api_base="http://h:1").price for name in names]
    async with stub() as (root, asked):
        (folder / "company.toml").write_text(GATEWAY.format(root=root), "utf-8")
        models = [resolve(name) for name in names]
        for model in models:
            assert await answer_of(model) == "A cat."
    assert {each.url for each in asked} == {f"{root}/v1/chat/completions"}
    assert [each.model for each in asked] == [
        "openai/gpt-4o",
        "anthropic/claude-sonnet-4-5",
        "gemini/gemini-2.5-flash",
        "groq/any",
        "bedrock/us.anthropic.claude-haiku-4-5-20251001-v1:0",
    ]
    for each in asked:
        assert each.headers["authorization"] == f"Bearer {KEY}-COMPANY_LLM_KEY"
        assert each.headers["x-team"] == "vision"
        assert KEY not in str(each.headers).replace(f"{KEY}-COMPANY_LLM_KEY", "")
    assert [model.price for model in models] == prices
    assert where(models[0]) == f"gpt-4o at {root}/v1 (the gateway in providers/company.toml)"


async def test_a_gateway_without_a_protocol_is_spoken_to_in_each_vendors_own(folder: Path) -> None:
    async with stub() as (root, asked):
        (folder / "company.toml").write_text(f'[gateway]\nendpoint = "{root}"\n', "utf-8")
        for name in ("claude-sonnet-4-5", "gpt-4o"):
            assert await answer_of(resolve(name)) == "A cat."
    assert [each.url.removeprefix(root) for each in asked] == ["/v1/messages", "/chat/completions"]
    assert KEY not in str(asked)


def test_a_gateway_takes_nothing_that_the_user_sends_elsewhere(folder: Path) -> None:
    (folder / "company.toml").write_text(GATEWAY.format(root="https://gate.example"), "utf-8")
    (folder / "mine.toml").write_text(LOCAL + 'vendor = "openai"\n[models."a"]\n', "utf-8")
    assert resolve("gpt-4o", api_base="http://h:1/v1").endpoint == "http://h:1/v1"
    assert resolve("a").endpoint == "http://127.0.0.1:9/v1"
    assert resolve("vllm").endpoint == "http://localhost:8000/v1"
    assert (
        resolve("tiny-10m" if any(each.profile.name == "tiny-10m" for each in all_models()) else "tiny").endpoint == ""
    )


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[gateway]\n", "gateway.endpoint"),
        ('[gateway]\nendpoint = "h:1"\n', "gateway.endpoint: is 'h:1'; give a URL"),
        ('[gateway]\nendpoint = "http://h:1"\nmodell = "x"\n', "gateway.modell is an unknown key; did you mean model?"),
        ('[gateway]\nendpoint = "http://h:1"\nmodel = "x"\n', "gateway.model: lacks {name}"),
        (
            '[gateway]\nendpoint = "http://h:1"\nheaders = { authorization = "Bearer x" }\n',
            "holds a secret by its name",
        ),
        ('backend = "openai"\n[gateway]\nendpoint = "http://h:1"\n', "holds a gateway and backend"),
    ],
)
def test_a_gateway_that_is_wrong_is_told_by_its_key(text: str, complaint: str, folder: Path) -> None:
    (folder / "company.toml").write_text(text, "utf-8")
    with pytest.raises(UserError, match=r"^providers/company\.toml: ") as error:
        resolve("gpt-4o")
    assert complaint in str(error.value)


# --- encryption and proxies ---------------------------------------------------------------------------------------


LOCAL_HOSTS = (
    "127.0.0.1 localhost 10.1.2.3 172.16.0.1 192.168.1.5 169.254.1.1 100.64.0.1 [::1] [fd00::1] [fe80::1%25eth0] "
    "gpu vllm_1 host.docker.internal gpu.local"
)
OTHER_HOSTS = (
    "8.8.8.8 [2606:4700::1111] 134744072 0x08080808 api.openai.com gpu.lan.example 127.0.0.1.evil.example "
    "localhost.evil.example internal.example"
)


@pytest.mark.parametrize("host", LOCAL_HOSTS.split())
def test_hosts_of_private_networks_are_local(host: str) -> None:
    assert is_local(f"http://{host}:8000/v1")


@pytest.mark.parametrize("host", OTHER_HOSTS.split())
def test_other_hosts_are_not(host: str) -> None:
    assert not is_local(f"http://{host}:8000/v1")


def test_a_key_travels_without_encryption_to_private_networks_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_API_KEY", KEY)
    far = resolve("vllm", api_base="http://gpu.example.com:8000/v1")
    with pytest.raises(UserError, match="would be sent the key in VLLM_API_KEY without") as error:
        key_of_profile(far)
    assert KEY not in str(error.value)
    for near in ("http://gpu:8000/v1", "http://10.0.0.7:8000/v1", "https://gpu.example.com/v1"):
        assert key_of_profile(resolve("vllm", api_base=near)) == KEY
    with pytest.raises(UserError, match="its credentials"):
        key_of_profile(resolve("bedrock/x.y", api_base="http://gate.example.com"))
    monkeypatch.delenv("VLLM_API_KEY")
    assert key_of_profile(far) is None


async def test_a_proxy_is_used_and_told_without_its_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no password of ~/.netrc takes the place of the key."""
    (tmp_path / ".netrc").write_text("default login me password of-netrc\n", "utf-8")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("VLLM_API_KEY", KEY)
    for variable in ("HTTP_PROXY", "ALL_PROXY"):
        async with stub() as (proxy, asked):
            monkeypatch.setenv(variable, proxy.replace("http://", "http://me:pass-word@"))
            model = resolve("vllm", api_base="http://models.internal:8000/v1", model="a-model")
            assert where(model) == f"vllm at http://models.internal:8000/v1 through the proxy {proxy}"
            assert await answer_of(model) == "A cat."
        [request] = asked
        assert request.headers["host"] == "models.internal:8000"
        assert request.headers["authorization"] == f"Bearer {KEY}"
        assert request.headers["proxy-authorization"].startswith("Basic ")
        monkeypatch.delenv(variable)
    monkeypatch.setenv("HTTP_PROXY", "http://proxy:3128")
    monkeypatch.setenv("NO_PROXY", "models.internal")
    assert where(model) == "vllm at http://models.internal:8000/v1"
    monkeypatch.delenv("HTTP_PROXY")
    monkeypatch.setenv("ALL_PROXY", "socks5://proxy:1080")
    assert "proxy" not in where(resolve("gpt-4o"))


# --- who is called where ------------------------------------------------------------------------------------------


def test_one_line_says_which_model_is_called_where() -> None:
    gpt, claude = resolve("gpt-4o"), resolve("claude-sonnet-4-5")
    others = {claude.name: claude}
    assert called(gpt, ["self", claude.name], [claude.name], others) == (
        "gpt-4o at https://api.openai.com/v1; judge and auditor claude-sonnet-4-5 at https://api.anthropic.com"
    )
    assert called(gpt, ["self"], [], others) == "gpt-4o at https://api.openai.com/v1"
    assert called(resolve("scripted"), [], [], {}) == ""
    assert where(resolve("bedrock/x.y")) == "bedrock/x.y at the address that litellm has of bedrock"


def test_a_simulation_and_a_local_address_are_marked() -> None:
    assert mark(resolve("scripted")) == "simulated"
    assert mark(resolve("vllm")) == mark(profile(endpoint="http://192.168.0.9/v1")) == "local address"
    assert mark(resolve("gpt-4o")) == mark(resolve("bedrock/x.y")) == ""
    assert not_the_vendors(resolve("gpt-4o", api_base="http://127.0.0.1:8787/v1")) == (
        "gpt-4o was called at http://127.0.0.1:8787/v1: what answers there need not be the vendor's model."
    )
    assert not_the_vendors(resolve("vllm")) == not_the_vendors(resolve("gpt-4o")) == ""
