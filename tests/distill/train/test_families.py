"""docs/training.md's table of families: those that train are trained by these tests, the others are refused."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from distill.train.families import FAMILIES
from distill.train.qwen import QWENS, qwen3_vl
from packaging.requirements import Requirement
from safetensors.torch import load_file

from unsaf_async.distill.train.early import UNTRAINED
from unsaf_async.distill.train.train import train

if TYPE_CHECKING:
    from collections.abc import Callable

    from unsaf_async.distill.train.recipe import Recipe

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "training.md").read_text("utf-8")

pytestmark = pytest.mark.filterwarnings("default::DeprecationWarning", "default::FutureWarning")


def test_the_table_of_families_is_what_the_tests_train_and_the_code_refuses() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| .* \| (trained|refused)\b", PAGE, re.MULTILINE))
    assert {name for name, what in rows.items() if what == "trained"} == {*FAMILIES, *QWENS}
    assert {name for name, what in rows.items() if what == "refused"} == set(UNTRAINED)


def test_the_versions_of_the_page_are_all_that_the_extra_allows() -> None:
    lines = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]["distill"]
    ranges = {requirement.name: requirement.specifier for requirement in map(Requirement, lines)}
    for name, tried, others in (("transformers", "5.19", ("5.18.9", "5.20.0")), ("trl", "1.16", ("1.15.9", "1.17.0"))):
        assert f"{'TRL' if name == 'trl' else name} {tried}" in PAGE
        assert ranges[name].contains(f"{tried}.0")
        assert not any(ranges[name].contains(other) for other in others)


def test_qwen3_vl_trains_in_its_language_model_alone(recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    pytest.importorskip("torchvision")  # its processor takes videos
    settings = recipe(student=str(qwen3_vl(tmp_path / "student")), max_steps=2)
    trained = train(settings)
    keys = load_file(trained.adapter / "adapter_model.safetensors")
    assert len(keys) == 2 * 14
    assert all(key.startswith("base_model.model.model.language_model.layers.") for key in keys)
    assert trained.check is not None
    assert trained.check.merge_error <= 1e-5
