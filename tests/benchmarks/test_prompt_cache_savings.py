"""The providers' caches of prompts, end to end: what a run saves is on the server's bill, and no bill passes its cap."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

from unsaf_async.providers.resolve import resolve
from unsaf_async.text import prompt_cache_in_words

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "prompt_cache.py"


@pytest.fixture(scope="module")
def script() -> Any:
    spec = importlib.util.spec_from_file_location("benchmark_of_prompt_caches", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)  # dataclasses look there
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.setenv(name, "sk-test-0123456789abcdef")


@pytest.mark.parametrize(
    ("model", "read", "written"),
    [
        ("claude-sonnet-4-5", 3 * 1036, 1036),
        ("gpt-4o-mini", 3 * (1024 + (25501 - 1024) // 128 * 128), 0),
        ("gpt-5.6-luna", 0, 0),
    ],
)
async def test_what_a_run_saved_is_what_the_server_billed_less(
    model: str, read: int, written: int, script: Any, tmp_path: Path
) -> None:
    images = script.draw_images(tmp_path / "images", 1)
    price = resolve(model).price
    assert price is not None
    runs = {
        how: await script.measure(
            model, images, script.simulation_of(price, latency=0.005), prompt_cache=how, questions=2
        )
        for how in ("off", "auto")
    }
    off, auto = runs["off"], runs["auto"]
    assert (auto.cached_tokens, auto.written_tokens) == (read, written)
    assert off.cached_tokens == 0 or not written  # an automatic cache is read by whatever comes late enough
    for each in (off, auto):  # each call is rounded up to a nano-dollar
        assert each.account.cost_usd == pytest.approx(each.billed_usd, abs=1e-9 * sum(each.account.made.values()))
    assert auto.account.usage.cached_input_tokens == auto.cached_tokens
    less_nano_usd = (off.billed_usd - auto.billed_usd) * 1e9
    assert auto.account.saved_nano_usd - off.account.saved_nano_usd == pytest.approx(less_nano_usd, abs=100)
    if read:
        assert auto.billed_usd < off.billed_usd
        assert auto.expected.prompt_cache_saves_usd == pytest.approx(auto.account.saved_nano_usd / 1e9, rel=0.05)
        assert auto.expected.prompt_cache == ""
        assert prompt_cache_in_words(auto.account.saved_nano_usd / 1e9, auto.billed_usd).startswith(
            "prompt caching saved $"
        )
    else:  # left to itself, this model bills all prompts that are long enough as written
        assert off.account.saved_nano_usd <= auto.account.saved_nano_usd == 0
        assert auto.expected.prompt_cache == (
            "the shared prefix has about 930 tokens, gpt-5.6-luna caches from 1,024 on"
        )


def test_no_bill_passes_its_cap_with_caching_on(script: Any) -> None:
    begun, _, read = script.cap(3, seed=1)
    assert begun >= 1
    assert read >= 1


def test_a_run_that_began_without_caching_goes_on_without(script: Any, tmp_path: Path) -> None:
    from unsaf_async.providers.profile import PromptCacheRules
    from unsaf_async.runs.begin import begin
    from unsaf_async.runs.folder import read_manifest
    from unsaf_async.runs.prepare import asking_more, prepare
    from unsaf_async.runs.settings import Settings

    images = script.draw_images(tmp_path / "images", 1)
    settings = Settings("claude-sonnet-4-5", images=images, judge="gpt-4o", out=tmp_path / "run", prompt_cache="off")
    with begin(asyncio.run(prepare(settings))) as folder:
        pass
    manifest = read_manifest(folder.path)
    assert manifest.prompt_cache == "off"
    more = asyncio.run(asking_more(manifest, ["claude-haiku-5-5"], grounded=False, confidence=False, samples=0))
    for profile in (more.subject, *more.others.values()):
        assert profile.prompt_cache == PromptCacheRules()


def test_the_table_of_judging_together_has_fewer_calls_and_less_of_a_bill(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    savings = importlib.import_module("savings")
    savings.judged_together(["gpt-4o"], 4, 12)
    _, _, *rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()]
    assert [row[1].split(",")[0] for row in rows] == ["few", "many"]
    for _, _, calls, fewer, judging, cheaper, bill, less, _ in rows:
        assert int(fewer) <= int(calls)
        assert float(cheaper) <= float(judging)
        assert float(less) <= float(bill)
    assert 2 * int(rows[1][3]) <= int(rows[1][2])
    assert float(rows[1][7]) < float(rows[1][6])
