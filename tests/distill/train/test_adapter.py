"""What is adapted, and how: targets, ranks, rsLoRA, DoRA, experts; what is never adapted; the settings of speed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from distill.train.qwen import qwen3_vl_moe
from distill.train.teaching import Made, read_json
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForImageTextToText

from unsaf_async.distill.train import student as students
from unsaf_async.distill.train.adapter import fused_experts, language_targets
from unsaf_async.distill.train.train import train
from unsaf_async.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from unsaf_async.distill.train.recipe import Recipe

    Recipes = Callable[..., Recipe]

pytestmark = pytest.mark.filterwarnings("default::DeprecationWarning", "default::FutureWarning")


def of_adapter(out: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """adapter_config.json and the adapter's tensors."""
    return read_json(out / "adapter" / "adapter_config.json"), load_file(out / "adapter" / "adapter_model.safetensors")


def test_targets_ranks_and_variants_are_pefts_own(recipe: Recipes) -> None:
    settings = recipe(
        max_steps=2,
        lora_targets=("q_proj", "mlp.down_proj"),
        lora_rank_of=("down_proj=4", "layers.1.mlp.down_proj=2"),
        lora_alpha_of=("q_proj=64",),
        rslora=True,
        dora=True,
    )
    trained = train(settings)
    config, tensors = of_adapter(settings.out)
    assert (config["use_rslora"], config["use_dora"], config["r"]) == (True, True, 16)
    ranks = {
        name.removeprefix("base_model.model.model.language_model.").removesuffix(".lora_A.weight"): tensor.shape[0]
        for name, tensor in tensors.items()
        if "lora_A" in name
    }
    assert ranks == {
        "layers.0.self_attn.q_proj": 16,
        "layers.0.mlp.down_proj": 4,
        "layers.1.self_attn.q_proj": 16,
        "layers.1.mlp.down_proj": 2,
    }
    assert trained.trainable == sum(tensor.numel() for tensor in tensors.values())
    assert trained.trainable == students.read_outline(settings).learned
    assert set(config["alpha_pattern"].values()) == {64}
    assert trained.check is not None
    assert trained.check.merge_error <= 1e-5


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"lora_targets": ("c_attn",)},
            r"^lora_targets c_attn: is no layer .*; give names such as down_proj, gate_proj",
        ),
        ({"lora_rank_of": ("vision_tower=3",)}, r"^lora_rank_of vision_tower: is no layer"),
        ({"lora_experts": True, "lora_dropout": 0.0}, r"^lora_experts: .* has no experts whose weights are fused"),
    ],
)
def test_a_layer_that_is_not_there_is_one_line(wrong: dict[str, Any], message: str, recipe: Recipes) -> None:
    with pytest.raises(UserError, match=message):
        train(recipe(**wrong))


@pytest.fixture(scope="module")
def mixture(tmp_path_factory: pytest.TempPathFactory) -> str:
    pytest.importorskip("torchvision")  # Qwen-VL's processor takes videos
    return str(qwen3_vl_moe(tmp_path_factory.mktemp("mixture") / "student"))


def test_of_a_mixture_the_attention_is_adapted_and_what_stays_is_said(mixture: str, recipe: Recipes) -> None:
    lines: list[str] = []
    settings = recipe(student=mixture, max_steps=2)
    trained = train(settings, lines.append)
    _, tensors = of_adapter(settings.out)
    assert {name.split(".")[-3] for name in tensors} == {"q_proj", "k_proj", "v_proj", "o_proj"}
    outline = students.read_outline(settings)
    share = 100 * outline.in_experts / outline.parameters
    assert share > 10
    assert f"Note: the experts, {share:.1f} % of the student's weights, stay as they are; --lora-experts" in "\n".join(
        lines
    )
    assert trained.check is not None
    assert trained.check.merge_error <= 1e-5


def test_experts_are_adapted_on_demand_and_merged(mixture: str, recipe: Recipes) -> None:
    settings = recipe(student=mixture, max_steps=2, lora_experts=True, lora_dropout=0.0)
    trained = train(settings)
    outline = students.read_outline(settings)
    assert trained.trainable == outline.learned
    source = load_file(f"{mixture}/model.safetensors")
    written = load_file(trained.merged / "model.safetensors")  # type: ignore[operator]
    changed = {name for name in source if not torch.equal(source[name], written[name])}
    assert any("experts" in name for name in changed)
    assert not any(".mlp.gate.weight" in name or "visual" in name for name in changed)
    assert trained.preflight.untrained_experts_share == 0
    assert trained.check is not None
    assert trained.check.merge_error <= 1e-5


def on_meta(config: Any) -> Any:
    with torch.device("meta"):
        return AutoModelForImageTextToText.from_config(config)


def test_attention_that_carries_the_picture_is_not_the_language_model() -> None:
    config = AutoConfig.for_model("mllama")
    config.text_config.num_hidden_layers, config.text_config.cross_attention_layers = 3, [1]
    config.vision_config.num_hidden_layers = config.vision_config.num_global_layers = 1
    targets = language_targets(on_meta(config))
    assert {name.split(".")[3] for name in targets} >= {"0", "2"}
    assert not any("cross_attn" in name for name in targets)


def test_a_router_is_never_adapted_though_it_is_a_linear_layer() -> None:
    model = torch.nn.Module()
    model.words, model.gate, model.gate_proj = torch.nn.Embedding(4, 4), torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)
    model.modality_router = torch.nn.Linear(4, 4)  # Gemma 3n's
    model.experts = torch.nn.ModuleList([torch.nn.Linear(4, 4)])
    whole = torch.nn.Module()
    whole.language = model
    whole.get_input_embeddings = lambda: model.words
    whole.get_output_embeddings = lambda: None
    assert language_targets(whole) == ("language.gate_proj", "language.experts.0")  # type: ignore[arg-type]
    assert fused_experts(whole) == ()  # type: ignore[arg-type]


def test_attention_and_grouping_change_no_result_but_the_order(made: Made, recipe: Recipes, tmp_path: Path) -> None:
    eager = train(recipe(out=tmp_path / "eager", attention="eager", lora_dropout=0.0, merge=False))
    default = train(recipe(out=tmp_path / "default", lora_dropout=0.0, merge=False))
    assert [loss for _, loss in eager.sft.losses] == pytest.approx([loss for _, loss in default.sft.losses], rel=1e-4)
    grouped = train(recipe(out=tmp_path / "grouped", group_by_length=True, max_steps=1, merge=False))
    assert grouped.sft.losses != default.sft.losses[:1]
    assert grouped.sft.tokens >= default.sft.tokens / 5  # the longest batch is the first
