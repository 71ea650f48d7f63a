"""Merging one weight at a time: what PEFT makes of the whole model in memory, bit for bit, and nothing else changed."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import torch
from distill.train.families import llava, save, text, tokenizer
from distill.train.qwen import qwen3_vl_moe
from doubles import disk_of
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText, AutoProcessor

from unsaf_async.distill.train.adapter import fused_experts, language_targets
from unsaf_async.distill.train.merging import merge
from unsaf_async.distill.train.recipe import Recipe
from unsaf_async.distill.train.student import read_outline
from unsaf_async.distill.train.student_files import student_files
from unsaf_async.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from unsaf_async.distill.train.student_files import StudentFiles

pytestmark = pytest.mark.filterwarnings("default::DeprecationWarning", "default::FutureWarning")


def adapter_of(student: Path, *, experts: bool = False, dora: bool = False, **more: Any) -> Path:
    """An adapter that changes every weight that it is added to, in STUDENT/../adapter."""
    model = AutoModelForImageTextToText.from_pretrained(student)
    config = LoraConfig(
        r=4,
        lora_alpha=16,
        use_dora=dora,
        target_modules=list(language_targets(model)),
        target_parameters=list(fused_experts(model)) if experts else None,
        task_type="CAUSAL_LM",
        **more,
    )
    adapted = get_peft_model(model, config)
    torch.manual_seed(1)
    for name, weight in adapted.named_parameters():
        if "lora_magnitude" in name:
            weight.data *= 1.1
        elif ".lora_" in name:
            torch.nn.init.normal_(weight, std=0.05)
    adapted.save_pretrained(student.parent / "adapter")
    return student.parent / "adapter"


def stored(folder: Path) -> dict[str, torch.Tensor]:
    return {key: tensor for file in sorted(folder.glob("*.safetensors")) for key, tensor in load_file(file).items()}


def in_parts(student: Path, dtype: torch.dtype) -> Path:
    """The student again, in another data type but for its norms, and in several files."""
    folder = student.parent / "parts"
    model = AutoModelForImageTextToText.from_pretrained(student, dtype=dtype)
    for name, weight in model.named_parameters():
        if "norm" in name:
            weight.data = weight.data.float()
    model.save_pretrained(folder, max_shard_size="100KB")
    AutoProcessor.from_pretrained(student).save_pretrained(folder)
    return folder


def files_of(student: Path, **given: Any) -> StudentFiles:
    recipe = Recipe(data=student, student=str(student), out=student.parent / "out", **given)
    files = student_files(recipe, read_outline(recipe))
    assert files is not None
    return files


def in_memory(student: Path, adapter: Path, folder: Path, kinds: dict[str, torch.dtype]) -> dict[str, torch.Tensor]:
    """The tensors that transformers writes of PEFT's merged model, rounded to the data types of the student's."""
    base = AutoModelForImageTextToText.from_pretrained(student, dtype=torch.float32)
    PeftModel.from_pretrained(base, adapter).merge_and_unload().save_pretrained(folder)
    return {key: tensor.to(kinds[key]) for key, tensor in stored(folder).items()}


@pytest.mark.parametrize(
    ("how", "dtype"),
    [
        ({}, torch.float32),
        ({"dora": True, "use_rslora": True}, torch.bfloat16),
        ({"rank_pattern": {"down_proj": 2}, "alpha_pattern": {"q_proj": 64}}, torch.float16),
    ],
    ids=["plain", "DoRA", "patterns"],
)
def test_weights_are_those_of_peft_bit_for_bit_and_all_others_the_students(
    how: dict[str, Any], dtype: torch.dtype, tmp_path: Path
) -> None:
    student = in_parts(llava(tmp_path / "student"), dtype)
    adapter = adapter_of(student, **how)
    files = files_of(student)
    assert len(files.files) > 3
    written = merge(files, AutoProcessor.from_pretrained(student), adapter, tmp_path / "merged")
    before, after = stored(student), stored(tmp_path / "merged")
    expected = in_memory(student, adapter, tmp_path / "memory", {key: each.dtype for key, each in before.items()})
    assert after.keys() == before.keys() == expected.keys()
    assert all(torch.equal(after[key], expected[key]) for key in after)
    changed = {key for key in after if not torch.equal(after[key], before[key])}
    assert len(changed) == written.weights == 14
    assert written.dtypes == (str(dtype).removeprefix("torch."),)
    for file in files.files:
        with safe_open(file, "pt") as one, safe_open(tmp_path / "merged" / file.name, "pt") as other:
            assert one.metadata() == other.metadata()
    assert (tmp_path / "merged" / "model.safetensors.index.json").is_file()
    AutoModelForImageTextToText.from_pretrained(tmp_path / "merged")
    AutoProcessor.from_pretrained(tmp_path / "merged")


def glm4v_moe(folder: Path) -> Path:
    """GLM-4.5V with four experts a layer, which its files hold one by one. Its processor is LLaVA's: no row is read."""
    from transformers import Glm4vMoeConfig, Glm4vMoeForConditionalGeneration

    torch.manual_seed(0)
    tok = tokenizer(named={})
    rope = {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5, "mrope_section": [4, 6, 6]}
    experts = {
        "n_routed_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 32,
        "n_group": 1,
        "topk_group": 1,
    }
    config = Glm4vMoeConfig(
        text_config={**text(tok), **experts, "first_k_dense_replace": 1, "rope_parameters": rope},
        vision_config={"depth": 1, "hidden_size": 64, "num_heads": 2, "image_size": 56, "out_hidden_size": 64},
    )
    llava(folder)
    return save(Glm4vMoeForConditionalGeneration(config), AutoProcessor.from_pretrained(folder), tok, folder)


@pytest.mark.filterwarnings("ignore:The following (rank|alpha)_pattern keys:RuntimeWarning")  # PEFT's own, for GLM
@pytest.mark.parametrize("mixture", [qwen3_vl_moe, glm4v_moe], ids=["fused", "one by one"])
def test_experts_are_merged_however_the_files_hold_them(mixture: Callable[[Path], Path], tmp_path: Path) -> None:
    pytest.importorskip("torchvision")  # Qwen-VL's processor takes videos
    student = mixture(tmp_path / "student")
    adapter = adapter_of(student, experts=True)
    files = files_of(student, lora_experts=True, lora_dropout=0.0)
    written = merge(files, AutoProcessor.from_pretrained(student), adapter, tmp_path / "merged")
    before, after = stored(student), stored(tmp_path / "merged")
    expected = in_memory(student, adapter, tmp_path / "memory", {key: each.dtype for key, each in before.items()})
    assert all(torch.equal(after[key], expected[key]) for key in after)
    experts = [key for key in after if ".experts." in key and not torch.equal(after[key], before[key])]
    assert len(experts) == len([key for key in after if ".experts." in key])
    assert written.weights >= len(fused_experts(files.model))


def test_a_weight_that_is_not_there_or_is_stored_in_few_bits_is_told(tmp_path: Path) -> None:
    student = llava(tmp_path / "student")
    weights = load_file(student / "model.safetensors")
    key = next(key for key in weights if key.endswith("layers.1.mlp.up_proj.weight"))
    save_file(weights | {key: weights[key].to(torch.float8_e4m3fn)}, student / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=r"1\.mlp\.up_proj\.weight are stored as F8_E4M3, .*; train with merge=False"):
        files_of(student).check()
    del weights[key]
    save_file(weights, student / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=r"1\.mlp\.up_proj\.weight are not found in its files, so that"):
        files_of(student).check()


def test_the_folder_in_which_somebody_had_the_model_is_not_passed_on(tmp_path: Path) -> None:
    student = llava(tmp_path / "student")
    adapter = adapter_of(student)
    config = json.loads((student / "config.json").read_text("utf-8"))
    (student / "config.json").write_text(json.dumps(config | {"_name_or_path": "/home/somebody/llava"}), "utf-8")
    merge(files_of(student), AutoProcessor.from_pretrained(student), adapter, tmp_path / "merged")
    assert json.loads((tmp_path / "merged" / "config.json").read_text("utf-8")) == config


def test_a_full_disk_leaves_no_half_of_a_model(tmp_path: Path) -> None:
    student = llava(tmp_path / "student")
    adapter, processor, files = adapter_of(student), AutoProcessor.from_pretrained(student), files_of(student)
    with disk_of(100_000), pytest.raises(OSError, match="File too large"):
        merge(files, processor, adapter, tmp_path / "merged")
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith("merged")]
    shutil.rmtree(tmp_path / "adapter")
