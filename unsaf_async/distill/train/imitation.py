"""Stage 1, imitation: the student learns what the teacher got right, by TRL's SFTTrainer."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from peft import get_peft_model
from torch.nn import functional as fn
from transformers.integrations import get_reporting_integration_callbacks
from trl import SFTConfig, SFTTrainer

from unsaf_async.distill.train import student as students
from unsaf_async.distill.train.adapter import check_trainable, lora_config
from unsaf_async.distill.train.arguments import stage_arguments, training_dtype
from unsaf_async.distill.train.corpus import SFT_TEXTS
from unsaf_async.distill.train.counting import Counting
from unsaf_async.distill.train.progress import ProgressCallback
from unsaf_async.distill.train.stage import dataset_of, run_stage, save_adapter, stopping

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from transformers import Trainer

    from unsaf_async.distill.train.corpus import Pictures
    from unsaf_async.distill.train.rendering import RenderedRow
    from unsaf_async.distill.train.stage import Setup, StageResult


class Imitation(Counting, SFTTrainer):  # type: ignore[misc]  # TRL is untyped to mypy
    """TRL's trainer; on a CPU with the model's own output layer.

    TRL's fused one saves memory on a GPU. On a CPU it takes as long as the whole tiny model again.
    """

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """The mean negative log-likelihood of the supervised tokens.

        Args:
            model: The student with its adapter.
            inputs: A batch as TRL's collator makes it.
            return_outputs: Whether the model's outputs are returned, too; then TRL's own loss is computed.
            num_items_in_batch: Supervised tokens of all processes and accumulated batches, which the sum is divided by;
                None: those of this batch.

        Returns:
            The loss, a scalar; with `return_outputs` (loss, outputs).
        """
        learned = inputs["labels"] != -100
        self.count(model, inputs["attention_mask"], learned)
        if learned.device.type != "cpu" or return_outputs:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        labels = inputs.pop("labels")[:, 1:]
        kept = learned[:, 1:]
        logits = model(**inputs, use_cache=False).logits[:, :-1][kept]
        loss = fn.cross_entropy(logits.float(), labels[kept], reduction="sum")
        if num_items_in_batch is None:
            return loss / kept.sum().clamp(min=1)
        # the items are those of all processes, and gradients are averaged over processes
        return (
            loss
            / num_items_in_batch
            * (self.accelerator.num_processes if self.args.average_tokens_across_devices else 1)
        )


def imitate(setup: Setup) -> tuple[StageResult, str, int]:
    """Stage 1: TRL's SFTTrainer.

    Args:
        setup: What the stage works with.

    Returns:
        (what the stage did, the hash of what was frozen, how many parameters were trained).

    Raises:
        UserError: The training cannot begin, or broke.
    """
    recipe, outline, rows = setup.recipe, setup.outline, setup.rows
    arguments = SFTConfig(
        **stage_arguments(
            recipe,
            "checkpoints",
            len(rows.train),
            recipe.max_steps,
            recipe.epochs,
            validated=bool(rows.validation),
            checkpointing=setup.preflight.checkpointing,
        ),
        learning_rate=recipe.learning_rate,
        max_length=None,
        packing=False,
        completion_only_loss=True,
    )
    base = students.load(recipe, outline, training_dtype(bf16=arguments.bf16), quantized=recipe.qlora)
    model = get_peft_model(base, lora_config(recipe, outline.targets, outline.experts))
    progress = ProgressCallback("training", setup.say, setup.bar)
    trainer = Imitation(
        model=model,
        args=arguments,
        processing_class=setup.processor,
        train_dataset=dataset_of(rows.train, SFT_TEXTS, setup.pictures),
        eval_dataset=dataset_of(rows.validation, SFT_TEXTS, setup.pictures) if rows.validation else None,
        callbacks=[progress, *stopping(recipe, bool(rows.validation))],
    )
    trainable = check_trainable(model, outline.targets, outline.experts)
    layers = len(outline.targets)
    setup.say(
        f"training an adapter of {trainable:,} parameters, in {layers} layers of the language model, beside the student's "
        f"{outline.parameters:,}"
    )
    stage, frozen = run_stage(setup, trainer, progress, "sft", rows.train, trainable)
    for reporter in get_reporting_integration_callbacks(list(recipe.report_to)):
        trainer.remove_callback(reporter)  # its run is over: it would begin another one for what is evaluated now
    by_kind = _by_kind(trainer, rows.validation, setup.pictures)
    save_adapter(recipe, trainer, setup.processor, recipe.out / ("adapter-sft" if recipe.dpo else "adapter"))
    return replace(stage, eval_by_kind=by_kind), frozen, trainable


def _by_kind(trainer: Trainer, rows: Sequence[RenderedRow], pictures: Pictures) -> dict[str, float]:
    kinds = dict.fromkeys(each.row.kind for each in rows)
    return {
        kind: trainer.evaluate(
            dataset_of([each for each in rows if each.row.kind == kind], SFT_TEXTS, pictures),
            metric_key_prefix=f"eval_{place}",
        )[f"eval_{place}_loss"]
        for place, kind in enumerate(kinds)
    }
