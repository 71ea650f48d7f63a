"""Short form of benchmarks/any_settings.py: whatever is set, no bill passes its cap, and nothing is paid twice."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

SEED, SETTINGS = 0, 8


@pytest.fixture(scope="module")
def script() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
        module = importlib.import_module("any_settings")
        patch.setattr(module.anthropic_batches, "LOOK_AGAIN_S", 0.05)
        yield module


@pytest.fixture(autouse=True)
def ready(script: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for vendor in ("OPENAI", "ANTHROPIC", "GEMINI"):
        monkeypatch.setenv(f"{vendor}_API_KEY", "simulated")
    script.ready()


@pytest.fixture(scope="module")
def images(script: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    drawn: Path = script.draw_images(tmp_path_factory.mktemp("settings") / "images", 6)
    return drawn


@pytest.mark.parametrize("number", range(SETTINGS))
async def test_no_bill_passes_its_cap_and_nothing_is_paid_twice(number: int, script: Any, images: Path) -> None:
    came = await script.measure(script.draw(SEED, number), images)
    assert came.wrong == []


def test_the_short_form_has_something_of_everything(script: Any) -> None:
    drawn = [script.draw(SEED, number) for number in range(SETTINGS)]
    assert {script.resolve(each.model).backend for each in drawn} == {"openai", "anthropic", "gemini"}
    assert {each.batch for each in drawn} == {each.options["prompt_cache"] == "auto" for each in drawn} == {True, False}
    assert any(each.kills for each in drawn)
    assert any(each.goes_on_alone and each.kills for each in drawn)
    assert any(each.provider["batches"].faults and each.batch for each in drawn)
