"""Profiles: the shipped files, names and options on the command line, and what a wrong file is told."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from dataclasses import fields
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from unsaf_async.bundled import bundled
from unsaf_async.cli.spelling import spelled
from unsaf_async.errors import UserError
from unsaf_async.providers.load_profiles import load_profiles, search_path
from unsaf_async.providers.prices import Price
from unsaf_async.providers.profile import Limits, OutputTokens, Profile
from unsaf_async.providers.resolve import all_models, resolve
from unsaf_async.providers.tokens import CONSTANTS
from unsaf_async.simulate.model import Awareness

SHIPPED = [profile for endpoint in load_profiles([bundled("providers")]) for profile in endpoint.profiles()]
NAMES = [profile.name for profile in SHIPPED]

PLAIN = 'backend = "openai"\nendpoint = "http://localhost:9/v1"\n'


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the checkout's ./providers nor the tester's own settings are seen."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("UNSAF_PROVIDERS", raising=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty ./providers."""
    folder = tmp_path / "providers"
    folder.mkdir()
    return folder


def complaint(folder: Path, text: str, name: str = "mine.toml") -> str:
    """What is said about a file with `text`; one line, without the file's place in front."""
    (folder / name).write_text(text, "utf-8")
    with pytest.raises(UserError) as error:
        load_profiles([folder])
    said = str(error.value)
    assert "\n" not in said
    assert said.startswith(f"providers/{name}: ")
    return said.removeprefix(f"providers/{name}: ")


# --- the shipped files --------------------------------------------------------------------------------------------


def test_the_families_ship() -> None:
    for name in (
        "gpt-4o",
        "gpt-5.4-mini",
        "claude-sonnet-4-5",
        "claude-opus-5-5",
        "gemini-2.5-flash",
        "vllm",
        "scripted",
    ):
        assert name in NAMES
    assert len([name for name in NAMES if name.startswith("gpt-")]) >= 20
    assert len([name for name in NAMES if name.startswith("claude-")]) >= 12
    assert len([name for name in NAMES if name.startswith("gemini-")]) >= 11


MODELS = [
    listing for listing in all_models([], date(2026, 11, 27)) if listing.profile.model or not listing.profile.vendor
]
"""Those that have a profile of their own; of a host's models none has."""


@pytest.mark.parametrize("listing", MODELS, ids=lambda listing: listing.profile.name)
def test_every_shipped_model_has_a_price(listing: Any) -> None:
    price = listing.profile.price
    assert price is not None
    if listing.profile.vendor:
        assert price.input_usd_per_mtok > 0
        assert price.output_usd_per_mtok > price.input_usd_per_mtok
        assert "offline map" in price.source
    else:
        assert price.worst_nano_usd(10**6, 10**6) == 0


@pytest.mark.parametrize("profile", SHIPPED, ids=NAMES)
def test_every_shipped_model_is_whole(profile: Profile) -> None:
    """Its image rule counts, its room suffices, and a thinking model has room to think."""
    rule = profile.tokens.image
    # the tiny models see nine patches, and every word of theirs is one token
    least_image, least_list = (9, 160) if profile.backend == "tiny" else (50, 600)
    assert rule.worst(1024, 1024) >= rule.expected(1024, 1024) >= least_image
    assert profile.output_tokens.limit("ask", 6) >= least_list
    if profile.extra.get("reasoning_effort") in ("minimal", "low"):
        assert profile.output_tokens.reasoning >= 1024
    if profile.vendor and profile.model:
        assert profile.api_key_required
        assert profile.api_key_env
    assert profile.deadline_s > profile.timeout_s


def test_all_shipped_models_see_the_same_pixels() -> None:
    assert {(profile.image.max_side_px, profile.image.max_pixels) for profile in SHIPPED} == {(1024, None)}


def test_an_endpoint_without_rate_headers_states_its_limits() -> None:
    for profile in SHIPPED:
        if profile.vendor and profile.model and profile.rate_headers == "none":
            assert profile.limits.requests_per_minute
            assert profile.limits.tokens_per_minute


def test_a_profile_survives_json() -> None:
    for profile in SHIPPED:
        assert Profile.model_validate_json(profile.model_dump_json()) == profile


def test_the_readme_explains_every_key_and_formula() -> None:
    text = (bundled("providers") / "README.md").read_text("utf-8")
    keys = set(Profile.model_fields) - {
        "name",
        "origin",
        "limits",
        "image",
        "tokens",
        "output_tokens",
        "takes",
        "prompt_cache",
        "price",
    }
    keys |= {f"limits.{key}" for key in Limits.model_fields} | {
        f"output_tokens.{key}" for key in OutputTokens.model_fields
    }
    keys |= {
        f"{group}.{key}"
        for group in ("image", "tokens", "takes", "prompt_cache")
        for key in _fields(group)
        if key != "image"
    }
    keys |= {f"tokens.image.{key}" for key in ("formula", "constants", "safety", "ceiling")}
    keys |= {f"price.{key}" for key in Price.model_fields} | {"vendor", "aliases"}
    assert [key for key in sorted(keys) if f"| `{key}` |" not in text] == []
    assert [formula for formula in CONSTANTS if f"| `{formula}` |" not in text] == []


def _fields(group: str) -> list[str]:
    annotation = Profile.model_fields[group].annotation
    assert annotation is not None
    return list(annotation.model_fields)


def test_the_readmes_examples_work(folder: Path) -> None:
    text = (bundled("providers") / "README.md").read_text("utf-8")
    examples = [part.split("```")[0] for part in text.split("```toml\n")[1:]]
    assert len(examples) == 4
    for number, example in enumerate(examples):
        (folder / f"example{number}.toml").write_text(example, "utf-8")
    strict = resolve("strict")
    assert (strict.name, strict.model) == ("gpt-5.4-mini-strict", "openai/gpt-5.4-mini-2026-03-17")
    assert strict.takes.seed
    gateway = resolve("qwen-vl")
    assert (gateway.backend, gateway.model, gateway.limits.requests_per_minute) == ("openai", "qwen/qwen-vl-72b", 500)
    assert gateway.price is not None
    assert gateway.price.worst_nano_usd(10**6, 0) == 400_000_000
    claude = resolve("claude-sonnet-5-5")
    assert (claude.address, claude.model) == ("https://llm.company.example/v1", "anthropic/claude-sonnet-5-5")
    assert claude.api_key_env == "COMPANY_LLM_KEY"


def test_the_readme_lists_the_awareness_of_a_scripted_model() -> None:
    text = (bundled("providers") / "README.md").read_text("utf-8")
    assert [item.name for item in fields(Awareness) if f"| `{item.name}` | {item.default} |" not in text] == []


def test_profiles_are_read_without_importing_litellm() -> None:
    script = (
        "import sys; from unsaf_async.providers.resolve import all_models, resolve; "
        "all_models(); resolve('mistral/pixtral-large-latest'); print('litellm' in sys.modules)"
    )
    checkout = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=checkout)
    assert done.stdout.strip() == "False"


# --- names --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("gpt-4o", "openai/gpt-4o"),
        ("claude-sonnet-4-5", "anthropic/claude-sonnet-4-5"),
        ("gemini-2.5-flash", "gemini/gemini-2.5-flash"),
        ("sonnet-4-5", "anthropic/claude-sonnet-4-5"),
        ("openai/gpt-4o", "openai/gpt-4o"),
        ("gpt-4o-2024-08-06", "openai/gpt-4o-2024-08-06"),
        ("anthropic/claude-haiku-4-5-20251001", "anthropic/claude-haiku-4-5-20251001"),
        ("openai/o3", "openai/o3"),
        ("mistral/pixtral-large-latest", "mistral/pixtral-large-latest"),
        ("scripted", "scripted"),
        ("vllm", ""),
    ],
)
def test_a_name_an_alias_or_an_id_finds_its_model(name: str, model: str) -> None:
    profile = resolve(name)
    assert profile.model == model
    assert profile.price is not None


def test_an_id_of_a_listed_model_has_all_that_its_profile_says() -> None:
    assert resolve("openai/gpt-5-mini") == resolve("gpt-5-mini") == resolve("openai", model="gpt-5-mini")


def test_a_snapshot_is_shaped_like_its_model_and_priced_for_itself() -> None:
    snapshot, model = resolve("gpt-4o-2024-05-13"), resolve("gpt-4o")
    assert snapshot.name == "gpt-4o-2024-05-13"
    assert snapshot.tokens == model.tokens
    assert snapshot.price is not None
    assert model.price is not None
    assert (snapshot.price.input_usd_per_mtok, model.price.input_usd_per_mtok) == (5.0, 2.5)


def test_a_thinking_model_that_no_file_lists_is_sent_no_temperature_and_has_room_to_think() -> None:
    profile = resolve("openai/o3")
    assert not profile.takes.temperature
    assert not profile.takes.logprobs
    assert profile.output_tokens.reasoning >= 4096
    assert profile.api_key_env == "OPENAI_API_KEY"
    assert "cautious" in profile.notes


def test_another_vendors_model_has_generic_settings_and_the_maps_price() -> None:
    profile = resolve("deepinfra/Qwen/Qwen3.8-27B")
    assert (profile.backend, profile.api_key_env) == ("litellm", "DEEPINFRA_API_KEY")
    assert not profile.api_key_required
    assert profile.tokens.image.worst(1024, 1024) >= 3000


def test_a_model_that_the_map_does_not_list_has_no_price_and_names_its_likes() -> None:
    profile = resolve("anthropic/claude-sonet-4-5")
    assert profile.price is None
    assert "claude-sonnet-4-5" in profile.notes
    assert resolve("mistral/brand-new").price is None


@pytest.mark.parametrize(
    "name", ["gptt-4o", "GPT-4O-minni", "vlm", "clade-sonnet", "nosuchvendor/gpt-4o", "", "../etc"]
)
def test_an_unknown_name_lists_the_nearest(name: str) -> None:
    with pytest.raises(UserError) as error:
        resolve(name)
    said = error.value.spelled(spelled)
    assert said.startswith("--provider ")
    near = said.split("the nearest are ")[1].split(";")[0].split(", ")
    assert 3 <= len(near) <= 5
    assert set(near) <= set(NAMES) | {"openai", "anthropic", "gemini"} | {a for x in all_models() for a in x.aliases}


def test_the_nearest_name_comes_first() -> None:
    with pytest.raises(UserError, match="the nearest are gpt-4o-mini, "):
        resolve("gpt4o-mini")


def test_a_model_of_a_host_is_named_with_the_host() -> None:
    with pytest.raises(UserError, match=r"the nearest are (?:.*, )?xai/grok-4\.3, "):
        resolve("grok-4.3")


def test_a_header_that_is_given_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="holds a name twice"):
        Profile(name="a", backend="openai", headers={"x-title": "a", "X-Title": "b"})


def test_a_model_that_does_not_chat_is_refused() -> None:
    with pytest.raises(UserError, match=r"is no chat model .*embedding"):
        resolve("openai/text-embedding-3-large")


def test_an_endpoint_alone_asks_for_a_model() -> None:
    with pytest.raises(UserError, match=r"provider openai: is an endpoint; add model, or .*: gpt-4o, "):
        resolve("openai")


# --- options ------------------------------------------------------------------------------------------------------


def test_options_lie_over_the_profile() -> None:
    price = Price(input_usd_per_mtok=1.0, output_usd_per_mtok=2.0, source="--price")
    profile = resolve(
        "gpt-4o", api_base="http://127.0.0.1:9000/v1/", price=price, rpm=120, tpm=5e5, concurrency=7, folders=[]
    )
    assert profile.endpoint == "http://127.0.0.1:9000/v1"
    assert profile.price == price
    assert profile.limits == Limits(concurrency=7, requests_per_minute=120, tokens_per_minute=500_000)
    assert profile.takes == resolve("gpt-4o").takes


def test_another_model_at_an_endpoint_that_counts_as_free_is_free() -> None:
    profile = resolve("vllm", model="Qwen/Qwen3-VL-8B", api_base="http://gpu:8000/v1")
    assert (profile.model, profile.backend, profile.endpoint) == ("Qwen/Qwen3-VL-8B", "openai", "http://gpu:8000/v1")
    assert profile.price is not None
    assert profile.price.worst_nano_usd(10**6, 10**6) == 0


def test_another_model_does_not_inherit_the_price_of_the_one_it_replaces(folder: Path) -> None:
    (folder / "gate.toml").write_text(
        PLAIN + '[models."a"]\nprice = { input_usd_per_mtok = 1, output_usd_per_mtok = 1 }\n', "utf-8"
    )
    assert resolve("a").price is not None
    assert resolve("a", model="b").price is None
    assert resolve("gpt-4o", model="made-up").price is None


def test_a_known_model_named_as_an_option_has_its_own_settings() -> None:
    assert resolve("gpt-4o", model="gpt-5-mini") == resolve("gpt-5-mini")
    assert (
        resolve("mistral/pixtral-large-latest", model="mistral-medium-latest").model == "mistral/mistral-medium-latest"
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"rpm": 0}, "--rpm is 0; give a number above 0"),
        ({"rpm": -5}, "--rpm is -5; give a number above 0"),
        ({"rpm": float("nan")}, "--rpm is nan; give a number above 0"),
        ({"tpm": float("inf")}, "--tpm is inf; give a number above 0"),
        ({"concurrency": 0}, "--concurrency is 0; give a number above 0"),
        ({"model": " "}, "--model is empty"),
        ({"api_base": "localhost:8000"}, "--api-base is 'localhost:8000'; give a URL such as http"),
        ({"api_base": "http://"}, "--api-base is 'http://'; give a URL"),
        ({"api_base": "http://h:x/v1"}, "--api-base is 'http://h:x/v1'; give a URL"),
        ({"api_base": "ftp://h/v1"}, "--api-base is 'ftp://h/v1'; give a URL"),
        ({"api_base": "http://h /v1"}, "--api-base is 'http://h /v1'; give a URL"),
        ({"api_base": ""}, "--api-base is ''; give a URL"),
    ],
)
def test_a_senseless_option_is_told_in_one_line(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as error:
        resolve("gpt-4o", **options)
    assert error.value.spelled(spelled).startswith(said)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("url", ["https://me:s3cret@host/v1", "https://host/v1?key=s3cret", "https://host/v1#s3cret"])
def test_a_secret_in_a_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(UserError, match="holds a password or a query") as error:
        resolve("gpt-4o", api_base=url)
    assert "s3cret" not in str(error.value)


# --- the user's own files -----------------------------------------------------------------------------------------


def test_the_search_goes_from_given_folders_to_the_shipped_one(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, listed = tmp_path / "given", tmp_path / "listed"
    for place, port in ((given, 1), (folder, 2), (listed, 3)):
        place.mkdir(exist_ok=True)
        (place / "vllm.toml").write_text(f'backend = "openai"\nendpoint = "http://h:{port}/v1"\n', "utf-8")
    monkeypatch.setenv("UNSAF_PROVIDERS", str(listed))
    assert search_path([given]) == (given, Path("providers"), listed, bundled("providers"))
    assert resolve("vllm", folders=[given]).endpoint == "http://h:1/v1"
    assert resolve("vllm").endpoint == "http://h:2/v1"
    (folder / "vllm.toml").unlink()
    assert resolve("vllm").endpoint == "http://h:3/v1"
    monkeypatch.delenv("UNSAF_PROVIDERS")
    assert resolve("vllm").endpoint == "http://localhost:8000/v1"


def test_the_shipped_folder_is_searched_once_from_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = bundled("providers")
    monkeypatch.chdir(shipped.parent)
    assert len([place for place in search_path() if place.samefile(shipped)]) == 1


def test_a_file_that_adds_one_model_leaves_the_shipped_ones(folder: Path) -> None:
    (folder / "openai.toml").write_text('backend = "litellm"\nvendor = "openai"\n[models."gpt-9"]\n', "utf-8")
    assert resolve("gpt-9").model == "openai/gpt-9"
    assert resolve("gpt-4o").api_key_env == "OPENAI_API_KEY"


def test_a_model_overrides_its_endpoint_key_by_key(folder: Path) -> None:
    (folder / "mine.toml").write_text(
        PLAIN
        + """
        extra = { a = 1, b = { c = 2, d = 3 } }
        limits.concurrency = 5
        limits.requests_per_minute = 60
        tokens.per_call = 9
        tokens.image = { formula = "openai-tile", constants = { base = 1, per_tile = 2 }, ceiling = 77 }
        [models.one]
        extra.b.c = 4
        limits.requests_per_minute = 30
        tokens.image.safety = 2.0
        [models.two]
        tokens.image = { formula = "fixed", constants = { tokens = 3 } }
        """,
        "utf-8",
    )
    one, two = resolve("one"), resolve("two")
    assert one.extra == {"a": 1, "b": {"c": 4, "d": 3}}
    assert (one.limits.concurrency, one.limits.requests_per_minute) == (5, 30)
    assert (one.tokens.image.formula, one.tokens.image.safety, one.tokens.per_call) == ("openai-tile", 2.0, 9)
    assert (two.tokens.image.worst(9, 9), two.tokens.per_call) == (3, 9)  # no ceiling is left of the other rule


def test_a_listing_says_whether_the_key_is_set_and_never_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-do-not-show")
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    monkeypatch.setenv("GEMINI_API_KEY", "")
    listed = {listing.profile.name: listing for listing in all_models()}
    assert [listed[name].key_set for name in ("gpt-4o", "claude-haiku-4-5", "gemini-2.5-pro", "scripted")] == [
        True,
        False,
        False,
        None,
    ]
    assert listed["claude-sonnet-4-5"].aliases == ("sonnet-4-5",)
    assert listed["gpt-4o"].file.name == "openai.toml"
    assert "sk-do-not-show" not in repr(listed)


def test_a_hidden_profile_is_listed_once(folder: Path) -> None:
    (folder / "vllm.toml").write_text(PLAIN, "utf-8")
    assert [listing.profile.endpoint for listing in all_models() if listing.profile.name == "vllm"] == [
        "http://localhost:9/v1"
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[limits]\nrequests_per_minute = -5", "limits.requests_per_minute is -5; give a number above 0, or leave it out for no limit"),  # noqa: E501
        ("limits.requests_per_minute = nan", "limits.requests_per_minute is nan; give a finite number, or leave it out for no limit"),  # noqa: E501
        ("limits.tokens_per_minute = inf", "limits.tokens_per_minute is inf; give a finite number"),
        ("limits.tokens_per_minute = '9'", "limits.tokens_per_minute is '9'; give a number"),
        ("limits.concurrency = 0", "limits.concurrency is 0; give a whole number above 0"),
        ("limits.concurrency = 2.5", "limits.concurrency is 2.5; give a whole number"),
        ("limits.concurrency = true", "limits.concurrency is true; give a whole number"),
        ("limits.rpm = 5", "limits.rpm is an unknown key; "),
        ("limits = 3", "limits is 3; give a table"),
        ("image.max_bytes = -1", "image.max_bytes is -1; give a whole number above 0"),
        ("image.max_pixel = 9", "image.max_pixel is an unknown key; did you mean max_pixels?"),
        ("time_out_s = 5", "time_out_s is an unknown key; did you mean timeout_s?"),
        ("timeout_s = 0", "timeout_s is 0; give a number above 0"),
        ("deadline_s = 5", "deadline_s is 5, below timeout_s 120; give at least that"),
        ("attempts = 0", "attempts is 0; give a whole number above 0"),
        ("rate_headers = 'google'", "rate_headers is 'google'; give 'openai', 'anthropic' or 'none'"),
        ("takes.seed = 1", "takes.seed is 1; give true or false"),
        ("takes.sed = true", "takes.sed is an unknown key; did you mean seed?"),
        ("price = { input_usd_per_mtok = 1 }", "price.output_usd_per_mtok is missing; give it"),
        ("price = { input_usd_per_mtok = -1, output_usd_per_mtok = 1 }", "price.input_usd_per_mtok is -1; give a number of at least 0"),  # noqa: E501
        ("price = { input_usd_per_mtok = nan, output_usd_per_mtok = 1 }", "price.input_usd_per_mtok is nan; give a finite number"),  # noqa: E501
        ("price = 'cheap'", "price is 'cheap'; give a table, or leave it out"),
        ("tokens.image = { formula = 'guess', constants = {} }", "tokens.image.formula is 'guess'; give 'openai-tile'"),
        ("tokens.image = { formula = 'fixed', constants = { token = 1 } }", "tokens.image: the formula 'fixed' takes the constants tokens, found: token"),  # noqa: E501
        ("tokens.image = { formula = 'fixed', constants = { tokens = 'x' } }", "tokens.image.constants.tokens is 'x'; give a number"),  # noqa: E501
        ("tokens.image = { formula = 'fixed', constants = { tokens = 1 }, safety = 0.5 }", "tokens.image.safety is 0.5; give a number of at least 1"),  # noqa: E501
        ("output_tokens.answer = 0", "output_tokens.answer is 0; give a whole number above 0"),
        ("output_tokens.ask = -1", "output_tokens.ask is -1; give a number of at least 0"),
        ("extra = { when = 2026-01-01 }", "extra.when is datetime.date(2026, 1, 1); give text, a number"),
        ("extra = { temperature = 1 }", "extra holds temperature, which the engine sets itself; leave it out"),
        ("extra = { systemInstruction = 'x' }", "extra holds systemInstruction, which the engine sets itself"),
        ("extra.generationConfig.maxOutputTokens = 9", "extra holds generationConfig.maxOutputTokens, which the engine"),
        ("extra.generation_config.candidate_count = 2", "extra holds generation_config.candidate_count, which the engine"),
        ("extra.output_config.format = { }", "extra holds output_config.format, which the engine sets itself"),
        ("extra = { contents = [] }", "extra holds contents, which the engine sets itself; leave it out"),
        ("headers = { x-title = 3 }", "headers.x-title is 3; give text in quotes"),
        ("headers = { 'x title' = 'a' }", "headers: 'x title' is no name of a header"),
        ("headers = { x-title = 'a\\nb' }".replace("'a", '"a').replace("b'", 'b"'), "headers: the value of x-title holds characters that no header can"),  # noqa: E501
        ("headers = { Content-Type = 'text/plain' }", "headers: Content-Type is set by the program; leave it out"),
        ("headers = 'x'", "headers is 'x'; give a table"),
        ("api_version = '2024 10'", "api_version is '2024 10'; give letters, digits, dots and dashes"),
        ("stream = 1", "stream is 1; give true or false"),
        ("max_tokens_field = 'most'", "max_tokens_field is 'most'; give 'max_tokens' or 'max_completion_tokens'"),
        ("[models.a]\nvendor = 'openai'", 'models."a".vendor is no key of a model; give it at the top of the file'),
        ("vendor = 3", "vendor is 3; give litellm's name of it in quotes"),
        ("name = 'x'", "name is no key; the endpoint's name is the file's, so leave it out"),
        ("models = 3", 'models holds no tables; write each as [models."name"]'),
        ("models.a = 3", 'models holds no tables; write each as [models."name"]'),
        ("[models.a]\nname = 'x'", 'models."a".name is no key; the model\'s name is the table\'s, so leave it out'),
        ("[models.a]\naliases = 'x'", 'models."a".aliases is \'x\'; give a list of names'),
        ("[models.a]\naliases = ['b']\n[models.b]", 'models."a".aliases holds b, which is taken; give each name once'),
        ("[models.a]\nalias = ['b']", 'models."a".alias is an unknown key; did you mean aliases?'),
        ("[models.a]\nlimits.concurrency = -1", 'models."a".limits.concurrency is -1; give a whole number above 0'),
        ("[limits", "is not valid TOML: "),
        ("a = 1\na = 2", "is not valid TOML: "),
    ],
)  # fmt: skip
def test_a_wrong_file_is_told_in_one_line(folder: Path, text: str, said: str) -> None:
    assert complaint(folder, PLAIN + text).startswith(said)


def test_a_file_without_a_backend_is_told_what_is_missing(folder: Path) -> None:
    assert complaint(folder, "attempts = 3") == "backend is missing; give it"
    known = "'litellm', 'openai', 'anthropic', 'gemini', 'azure', 'scripted' or 'tiny'"
    assert complaint(folder, "backend = 'telnet'") == f"backend is 'telnet'; give {known}"


def test_a_bad_endpoint_is_told(folder: Path) -> None:
    assert complaint(folder, 'backend = "openai"\nendpoint = "localhost:8000"').startswith(
        "endpoint is 'localhost:8000'"
    )


@pytest.mark.parametrize("line", ['api_key = "sk-123 456"', 'api_key_env = "sk-123 456"', "api_key_env = 123456"])
def test_a_key_written_into_a_file_is_refused_and_not_repeated(folder: Path, line: str) -> None:
    said = complaint(folder, PLAIN + line)
    assert "api_key_env" in said
    assert "123" not in said


@pytest.mark.parametrize(
    "header",
    [
        "Authorization = 'Bearer s3cret'",
        "proxy-authorization = 's3cret'",
        "x-api-key = 's3cret'",
        "api-key = 's3cret'",
        "x-goog-api-key = 's3cret'",
        "Cookie = 's3cret'",
        "helicone-auth = 's3cret'",
        "x-amz-security-token = 's3cret'",
        "x-anything = 'Bearer s3cret'",
        "x-anything = 'sk-s3cret'",
    ],
)
def test_a_header_that_holds_a_key_is_refused_and_not_repeated(folder: Path, header: str) -> None:
    said = complaint(folder, PLAIN + f"headers = {{ {header} }}")
    assert said.startswith("headers: ")
    assert "api_key_env" in said
    assert "s3cret" not in said


def test_headers_of_a_gateway_are_kept_under_names_in_lower_case(folder: Path) -> None:
    (folder / "gate.toml").write_text(
        PLAIN + 'headers = { X-Title = "a b" }\n[models.one]\nheaders = { HTTP-Referer = "https://example.org" }\n',
        "utf-8",
    )
    assert resolve("one").headers == {"x-title": "a b", "http-referer": "https://example.org"}


def test_a_vendors_own_id_is_the_models_without_the_vendor() -> None:
    """What stands behind the vendor may hold further slashes: a gateway's ids do."""
    assert [resolve(name).vendor for name in ("gpt-4o", "mistral/pixtral-large-latest", "vllm")] == [
        "openai",
        "mistral",
        "",
    ]
    assert resolve("gpt-4o").wire_model == "gpt-4o"
    assert resolve("mistral/pixtral-large-latest").wire_model == "pixtral-large-latest"
    assert resolve("deepinfra/Qwen/Qwen3-235B-A22B-Instruct-2507").wire_model == "Qwen/Qwen3-235B-A22B-Instruct-2507"
    assert resolve("vllm", model="Qwen/Qwen3-VL-8B").wire_model == "Qwen/Qwen3-VL-8B"


@pytest.mark.parametrize("backend", ["openai", "azure"])
def test_an_endpoint_without_an_address_is_told_to_give_one(folder: Path, backend: str) -> None:
    (folder / "gate.toml").write_text(f'backend = "{backend}"\nvendor = "azure"\n[models.mine]\n', "utf-8")
    with pytest.raises(UserError) as error:
        resolve("mine")
    assert error.value.spelled(spelled) == (
        "--provider mine: its address is not known; give --api-base, or endpoint in its file"
    )
    assert resolve("mine", api_base="https://me.example.com").endpoint == "https://me.example.com"


@pytest.mark.parametrize(
    ("backend", "vendor"), [("openai", "openai"), ("anthropic", "anthropic"), ("gemini", "gemini"), ("litellm", "xai")]
)
def test_a_vendor_whose_own_address_is_known_needs_none(folder: Path, backend: str, vendor: str) -> None:
    (folder / "own.toml").write_text(f'backend = "{backend}"\nvendor = "{vendor}"\n[models.mine]\n', "utf-8")
    assert resolve("mine").endpoint == ""


def test_a_vendors_prices_are_the_maps_whatever_carries_the_calls(folder: Path) -> None:
    (folder / "own.toml").write_text('backend = "openai"\nvendor = "openai"\n[models."gpt-5.4-mini"]\n', "utf-8")
    assert resolve("gpt-5.4-mini", folders=[folder]).price == resolve("openai/gpt-5.4-mini").price is not None


def test_a_name_given_twice_in_a_folder_is_told(folder: Path) -> None:
    (folder / "a.toml").write_text(PLAIN + "[models.same]", "utf-8")
    assert complaint(folder, PLAIN + "[models.same]") == "same is also in a.toml; give each name once"


def test_a_folder_or_file_that_cannot_be_read_is_told(folder: Path) -> None:
    with pytest.raises(UserError, match="nowhere: is no folder with provider files"):
        resolve("gpt-4o", folders=[Path("nowhere")])
    (folder / "mine.toml").write_bytes(b"notes = '\xff'")
    with pytest.raises(UserError, match=r"providers/mine.toml: is not UTF-8 text"):
        load_profiles([folder])
    (folder / "mine.toml").unlink()
    (folder / "mine.toml").mkdir()
    with pytest.raises(UserError, match=r"providers/mine.toml: cannot be read"):
        load_profiles([folder])


def test_files_that_are_not_toml_are_left_alone(folder: Path) -> None:
    (folder / "README.md").write_text("[not toml", "utf-8")
    assert load_profiles([folder]) == ()


# --- room for a reply ---------------------------------------------------------------------------------------------


def test_the_room_for_questions_grows_with_their_number_and_thinking_comes_on_top() -> None:
    room = OutputTokens(ask=10, ask_per_question=5, answer=20, judge=7, reasoning=100)
    assert [room.limit("ask", 6), room.limit("answer"), room.limit("judge", 6)] == [140, 120, 107]


def test_scripted_may_state_anything_in_extra(folder: Path) -> None:
    (folder / "mine.toml").write_text('backend = "scripted"\nextra = { seed = 3, temperature = 1 }\n', "utf-8")
    assert resolve("mine").extra == {"seed": 3, "temperature": 1}


def test_the_shipped_files_say_what_they_say_in_ascii_toml() -> None:
    for file in bundled("providers").glob("*.toml"):
        assert tomllib.loads(file.read_bytes().decode("ascii"))["backend"]
