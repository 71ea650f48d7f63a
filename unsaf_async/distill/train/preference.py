"""Stage 2, preferences: the adapter of stage 1 learns which of two replies is better, by TRL's DPOTrainer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from peft import PeftModel
from trl import DPOConfig, DPOTrainer

from unsaf_async.distill.train import student as students
from unsaf_async.distill.train.adapter import check_trainable
from unsaf_async.distill.train.arguments import stage_arguments, training_dtype
from unsaf_async.distill.train.corpus import DPO_TEXTS
from unsaf_async.distill.train.counting import Counting
from unsaf_async.distill.train.early import resolve
from unsaf_async.distill.train.progress import ProgressCallback
from unsaf_async.distill.train.stage import dataset_of, run_stage, save_adapter, stopping

if TYPE_CHECKING:
    import torch

    from unsaf_async.distill.train.stage import Setup, StageResult

_SFT_SHARE = 0.2
"""Weight of the imitation loss in the second stage: without it DPO may lower the probability of both replies."""


class Preference(Counting, DPOTrainer):  # type: ignore[misc]
    """TRL's trainer of preferences."""

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """DPO's loss.

        Args:
            model: The student with its adapter.
            inputs: A batch as TRL's collator makes it.
            return_outputs: Whether the model's outputs are returned, too.
            num_items_in_batch: As TRL has it.

        Returns:
            The loss, a scalar; with `return_outputs` (loss, outputs).
        """
        self.count(model, inputs["attention_mask"], inputs["completion_mask"])
        return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)


def prefer(setup: Setup) -> tuple[StageResult, str]:
    """Stage 2: TRL's DPOTrainer goes on with the adapter of stage 1, which is also its reference.

    Rafailov et al., "Direct Preference Optimization" (2023), with a fifth of the imitation loss.

    Args:
        setup: What the stage works with.

    Returns:
        (what the stage did, the hash of what was frozen).

    Raises:
        UserError: The training cannot begin, or broke.
    """
    recipe, outline, rows = setup.recipe, setup.outline, setup.rows
    has_validation = bool(rows.validation_pairs)
    arguments = DPOConfig(
        **stage_arguments(
            recipe,
            "checkpoints-dpo",
            len(rows.train_pairs),
            recipe.dpo_max_steps,
            recipe.dpo_epochs,
            validated=has_validation,
            checkpointing=setup.preflight.checkpointing,
        ),
        learning_rate=recipe.dpo_learning_rate,
        beta=recipe.dpo_beta,
        loss_type=["sigmoid", "sft"],
        loss_weights=[1.0, _SFT_SHARE],
        max_length=None,
    )
    base = students.load(recipe, outline, training_dtype(bf16=arguments.bf16), quantized=recipe.qlora)
    model = PeftModel.from_pretrained(base, recipe.out / "adapter-sft", is_trainable=True)
    # by its folder, or each checkpoint asks the hub for a model that is called like a tiny one
    model.peft_config["default"].base_model_name_or_path = resolve(recipe.student)
    check_trainable(model, outline.targets, outline.experts)
    progress = ProgressCallback("preferring", setup.say, setup.bar)
    trainer = Preference(
        model=model,
        args=arguments,
        processing_class=setup.processor,
        train_dataset=dataset_of(rows.train_pairs, DPO_TEXTS, setup.pictures),
        eval_dataset=dataset_of(rows.validation_pairs, DPO_TEXTS, setup.pictures) if has_validation else None,
        callbacks=[progress, *stopping(recipe, has_validation)],
    )
    trainable = check_trainable(model, outline.targets, outline.experts)
    setup.say(f"preferring, on {len(rows.train_pairs):,} pairs")
    stage, frozen = run_stage(setup, trainer, progress, "dpo", rows.train_pairs, trainable)
    save_adapter(recipe, trainer, setup.processor, recipe.out / "adapter")
    return stage, frozen
