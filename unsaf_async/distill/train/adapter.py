"""The adapter: which weights of a student's language model get a LoRA, of what rank, and that nothing else learns."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import torch
from peft import LoraConfig

from unsaf_async.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from peft import PeftModel
    from transformers import PreTrainedModel

    from unsaf_async.distill.train.recipe import Recipe

_SEES = re.compile(
    r"(?:^|\.)[^.]*(?:vision|visual|image|projector|connector|merger|audio|perceiver|cross_?att|encoder_att)[^.]*(?:\.|$)"
)
"""Modules through which a model sees or hears, those that lead from there to its language model, and the attention of the
language model that looks there."""
_ROUTES = re.compile(r"(?:^|\.)(?:gate|[^.]*router|shared_expert_gate)(?:\.|$)")
"""Of a mixture of experts, what decides which expert answers. Trained on a few kinds of rows, it would forget the others."""


def _language(model: PreTrainedModel, of: Sequence[str]) -> tuple[str, ...]:
    """Those of the full names that lie below the nearest module above the word embeddings that has any of them."""
    words = model.get_input_embeddings()
    at = next((name for name, module in model.named_modules() if module is words), "")
    while at:
        at = at.rpartition(".")[0]
        found = tuple(
            name
            for name in of
            if (not at or name.startswith(f"{at}.")) and not _SEES.search(name) and not _ROUTES.search(name)
        )
        if found:
            return found
    return ()


def language_targets(model: PreTrainedModel, wanted: Sequence[str] = ()) -> tuple[str, ...]:
    """The linear layers of the language model.

    They are those below the nearest module above the word embeddings that has any: never the output layer, the router of a
    mixture of experts, nor anything through which the model sees.

    Args:
        model: The student.
        wanted: Only layers with one of these names, such as "q_proj" or "mlp.down_proj"; (): all.

    Returns:
        Their full names, one at least.

    Raises:
        UserError: There is none, or none of a wanted name.
    """
    output = model.get_output_embeddings()
    linear = [
        name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear) and module is not output
    ]
    found = _language(model, linear)
    if not found:
        raise UserError(
            f": no linear layer was found in the language model of {type(model).__name__}, so there is nothing to adapt; "
            "choose another student",
            field="student",
        )
    for each in wanted:
        _check_named(each, found, "lora_targets")
    return tuple(name for name in found if not wanted or any(_is_named(name, each) for each in wanted))


def fused_experts(model: PreTrainedModel) -> tuple[str, ...]:
    """The weights of a mixture of experts that are one parameter of three dimensions for all experts of a layer.

    Args:
        model: The student.

    Returns:
        Their full names; () where there are none, or each expert has linear layers of its own.
    """
    return _language(
        model, [name for name, weight in model.named_parameters() if weight.dim() == 3 and ".experts." in f".{name}"]
    )


def _is_named(name: str, wanted: str) -> bool:
    return name == wanted or name.endswith(f".{wanted}")


def _check_named(wanted: str, found: Sequence[str], field: str) -> None:
    if not any(_is_named(name, wanted) for name in found):
        known = sorted({name.rpartition(".")[2] for name in found})
        raise UserError(
            f"{wanted}: is no layer of the student's language model; give names such as {', '.join(known)}", field=field
        )


def per_layer(pairs: Sequence[tuple[str, int]], names: Sequence[str], field: str) -> dict[str, int]:
    """What is set for single layers.

    Args:
        pairs: (name of a layer or its end, number).
        names: The adapted layers, by full name.
        field: The setting that the pairs are of, for messages.

    Returns:
        The number by full name, of those that have one; of several pairs the last.

    Raises:
        UserError: A name is none of an adapted layer.
    """
    for wanted, _ in pairs:
        _check_named(wanted, names, field)
    return {name: number for name in names for wanted, number in pairs if _is_named(name, wanted)}


def lora_config(recipe: Recipe, targets: Sequence[str], experts: Sequence[str]) -> LoraConfig:
    """The adapter's configuration.

    Args:
        recipe: Rank, scale, dropout and variant.
        targets: The linear layers that it is added to, by their full names.
        experts: The fused weights that it is added to, by theirs.

    Returns:
        The configuration for PEFT.
    """
    return LoraConfig(
        r=recipe.lora_r,
        lora_alpha=recipe.lora_alpha,
        lora_dropout=recipe.lora_dropout,
        bias="none",
        task_type="CAUSAL_LM",
        target_modules=list(targets),
        target_parameters=list(experts) or None,
        rank_pattern=per_layer(recipe.ranks, targets, "lora_rank_of"),
        alpha_pattern=per_layer(recipe.alphas, targets, "lora_alpha_of"),
        use_rslora=recipe.rslora,
        use_dora=recipe.dora,
        revision=recipe.revision,
    )


def learned_parameters(recipe: Recipe, linear: dict[str, tuple[int, int]], experts: dict[str, tuple[int, ...]]) -> int:
    """How many parameters an adapter has.

    Args:
        recipe: Rank and variant.
        linear: (inputs, outputs) of each adapted linear layer, by full name.
        experts: The shape of each adapted fused weight, experts first, by full name.

    Returns:
        Parameters, > 0.
    """
    ranks = per_layer(recipe.ranks, tuple(linear), "lora_rank_of")
    layers = sum(
        ranks.get(name, recipe.lora_r) * (inputs + outputs) + (outputs if recipe.dora else 0)
        for name, (inputs, outputs) in linear.items()
    )
    return layers + sum(recipe.lora_r * number * (one + other) for number, one, other in experts.values())


def check_trainable(model: PeftModel, targets: Sequence[str], experts: Sequence[str]) -> int:
    """Checks that the adapter alone learns.

    Args:
        model: The student with its adapter.
        targets: The linear layers that the adapter is added to.
        experts: The fused weights that it is added to.

    Returns:
        How many parameters learn, > 0.

    Raises:
        UserError: A parameter learns that is not the adapter's, or none does.
    """
    learned = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    layers = tuple(f"base_model.model.{name}.lora_" for name in targets)
    holders = tuple({f"base_model.model.{name.rpartition('.')[0]}." for name in experts})
    wrong = [
        name for name in learned if not name.startswith(layers) and not (name.startswith(holders) and ".lora_" in name)
    ]
    if wrong or not learned:
        what = f"{wrong[0]} would be trained" if wrong else "nothing would be trained"
        raise UserError(
            f": {what}, and only the language model's adapter is to be; please report this model", field="student"
        )
    return sum(weight.numel() for weight in learned.values())
