"""The plain TRL script of docs/training.md runs over an export as it stands there, with names and length exchanged."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from huggingface_hub import constants
from safetensors.torch import load_file

if TYPE_CHECKING:
    from distill.train.teaching import Made

PAGE = Path(__file__).parents[3] / "docs" / "training.md"

pytestmark = pytest.mark.filterwarnings("default")


def test_the_pages_own_script_trains_the_language_model_alone(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = re.search(r"^```text\n(from datasets import load_dataset\n.*?)^```$", PAGE.read_text("utf-8"), re.M | re.S)
    assert found
    script = found[1]
    assert len(script.splitlines()) <= 35
    for named, here in (
        ("Qwen/Qwen2.5-VL-7B-Instruct", str(made.students["llava"])),
        ("teacher-data", str(made.data)),
        ("num_train_epochs=1", "max_steps=1, use_cpu=True, bf16=False"),
        ("gradient_accumulation_steps=8", "gradient_accumulation_steps=1"),
    ):
        assert named in script
        script = script.replace(named, here)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)  # TRL would tell the hub that it was used
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    exec(compile(script, "own.py", "exec"), {"__name__": "__main__"})
    tensors = load_file(tmp_path / "students" / "own" / "adapter" / "adapter_model.safetensors")
    assert len(tensors) == 2 * 14
    assert all("language_model" in name for name in tensors)
    assert (tmp_path / "students" / "own" / "adapter" / "chat_template.jinja").is_file()
