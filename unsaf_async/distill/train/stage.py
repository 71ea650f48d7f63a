"""One stage of a training: from its first step, or its last checkpoint, to its adapter on disk."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import transformers
from accelerate.utils import broadcast_object_list
from datasets import Dataset
from peft import load_peft_weights, set_peft_model_state_dict
from transformers import EarlyStoppingCallback, TrainerState

from unsaf_async.distill.train import student as students
from unsaf_async.distill.train.begun import write_begun
from unsaf_async.distill.train.corpus import Decoding
from unsaf_async.distill.train.counting import Counts
from unsaf_async.distill.train.early import last_checkpoint
from unsaf_async.distill.train.progress import LogLine
from unsaf_async.distill.train.rehearsal import Rehearsal, is_out_of_memory, rehearse
from unsaf_async.errors import UserError, setting
from unsaf_async.text import typed_line

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch
    from transformers import ProcessorMixin, Trainer, TrainerCallback

    from unsaf_async.distill.train.corpus import Pictures
    from unsaf_async.distill.train.preflight import Preflight
    from unsaf_async.distill.train.progress import ProgressCallback
    from unsaf_async.distill.train.recipe import Recipe
    from unsaf_async.distill.train.rendering import RenderedRow, RenderedRows
    from unsaf_async.distill.train.student import Outline


@dataclass(frozen=True)
class Setup:
    """What every stage works with: the recipe, the data as the student reads them, and where lines go."""

    recipe: Recipe
    outline: Outline
    processor: ProcessorMixin
    preflight: Preflight
    rows: RenderedRows
    pictures: Pictures
    device: torch.device
    say: Callable[[str], None]
    bar: bool
    """Whether a progress bar is shown."""


@dataclass(frozen=True)
class StageResult:
    """What one stage did. Losses are means over a step's supervised tokens (of DPO: its pairs), and of these the mean."""

    name: str
    steps: int
    log: tuple[LogLine, ...]
    """A line for every few steps, of earlier sessions, too."""
    eval_losses: tuple[tuple[int, float], ...]
    """(step, loss on the validation split), step 0 before training."""
    eval_by_kind: dict[str, float]
    """After training, on the validation rows of each kind; of DPO {}."""
    best_step: int | None
    """The step with the weights that were kept, with `patience`; None: the last."""
    tokens: int | None
    """Seen over all devices and sessions, padding not counted; None: those of an earlier session are not known."""
    supervised_tokens: int | None
    """Those of `tokens` that are in the loss."""
    wall_s: float | None
    """Of the steps of all sessions, with evaluations and checkpoints; None as for `tokens`."""
    rehearsal: Rehearsal | None = None
    """Of its longest rows, before the first step; None: no step was left to take in this session."""

    @property
    def losses(self) -> tuple[tuple[int, float], ...]:
        """(step, training loss since the entry before)."""
        return tuple((line.step, line.loss) for line in self.log)

    @property
    def tokens_per_s(self) -> float | None:
        """Tokens seen per second, with evaluations and checkpoints; None where they are not known."""
        return self.tokens / self.wall_s if self.tokens and self.wall_s else None


def dataset_of(rows: Sequence[RenderedRow], columns: Sequence[str], pictures: Pictures) -> Dataset:
    """Rows as the trainers take them; a picture is decoded when its row is asked for.

    Args:
        rows: The rows.
        columns: The columns of texts.
        pictures: The corpus's.

    Returns:
        A dataset of texts, images and lengths, in the order of the rows.
    """
    texts: dict[str, list[Any]] = {name: [each.texts[name] for each in rows] for name in columns}
    texts["images"] = [list(each.row.images) for each in rows]
    texts["length"] = [each.tokens for each in rows]
    return Dataset.from_dict(texts).with_transform(Decoding(pictures))


def stopping(recipe: Recipe, validated: bool) -> list[TrainerCallback]:
    """What stops a stage early: with `patience` and a validation set, a loss that no longer falls.

    Args:
        recipe: Its patience.
        validated: Whether there is a validation set.

    Returns:
        Callbacks of the trainer; []: nothing stops it.
    """
    return [EarlyStoppingCallback(recipe.patience)] if recipe.patience is not None and validated else []


def run_stage(
    setup: Setup,
    trainer: Trainer,
    progress: ProgressCallback,
    name: str,
    rows: Sequence[RenderedRow],
    trainable: int,
) -> tuple[StageResult, str]:
    """Trains, and proves that nothing but the adapter changed.

    Args:
        setup: What the stage works with.
        trainer: Ready to train.
        progress: The callback that shows a bar, which is taken away at the end.
        name: "sft" or "dpo".
        rows: Those of the training set, in its order.
        trainable: Parameters that learn.

    Returns:
        (what the stage did, the hash of what was frozen).

    Raises:
        UserError: The training broke, its loss is no number, or something that was frozen has changed.
    """
    recipe, checkpoints = setup.recipe, Path(trainer.args.output_dir)
    rehearsal = None
    trainer.remove_callback(transformers.trainer_callback.PrinterCallback)
    before = _hashed_once(trainer)
    last = last_checkpoint(checkpoints) if recipe.resume else None
    if last is not None:
        trainer.earlier = Counts.read(last)
    try:
        if last is None and name == "sft" and trainer.accelerator.is_main_process:
            write_begun(recipe, checkpoints)
        if last is None or not _is_done(trainer, last):
            if last is not None:
                _load_adapter(trainer, last)
            rehearsal = rehearse(trainer, rows, recipe, trainable)
            setup.say(rehearsal.line())
            trainer.begin()
            trainer.train(resume_from_checkpoint=str(last) if last else None)
    except (RuntimeError, MemoryError) as error:
        raise _stopped(error, trainer, checkpoints) from None
    finally:
        progress.close()
        if trainer.accelerator.is_main_process and last_checkpoint(checkpoints) is None:
            shutil.rmtree(checkpoints, ignore_errors=True)  # so that the same command begins anew
    counts = trainer.counts()
    if _hashed_once(trainer) != before:
        raise UserError(
            ": a frozen parameter has changed in training; nothing was saved; please report this model", field="student"
        )
    log = trainer.state.log_history
    best = trainer.state.best_model_checkpoint
    stage = StageResult(
        name=name,
        steps=trainer.state.global_step,
        log=tuple(LogLine.of(entry["step"], entry) for entry in log if "loss" in entry),
        eval_losses=tuple((entry["step"], entry["eval_loss"]) for entry in log if "eval_loss" in entry),
        eval_by_kind={},
        best_step=int(best.rpartition("-")[2]) if best else None,
        tokens=counts and counts.tokens,
        supervised_tokens=counts and counts.supervised_tokens,
        wall_s=counts and counts.wall_s,
        rehearsal=rehearsal,
    )
    if not all(np.isfinite(loss) for _, loss in stage.losses):
        raise UserError(
            f"{recipe.learning_rate:g}: the loss became infinite or no number; give a lower one", field="learning_rate"
        )
    return stage, before


def _hashed_once(trainer: Trainer) -> str:
    """The hash of what is frozen, by the first process: all have the same weights, and a large model's take minutes."""
    of_first = [students.frozen_sha256(trainer.model) if trainer.accelerator.is_main_process else ""]
    return str(broadcast_object_list(of_first)[0])


def _stopped(error: Exception, trainer: Trainer, checkpoints: Path) -> UserError:
    """One line about what ended the training, and how to go on."""
    last, step = last_checkpoint(checkpoints), trainer.state.global_step
    if step == 0 and last is not None:  # it went on from there, and the trainer had not read so yet
        step = int(last.name.rpartition("-")[2])
    ways = (
        f"give {setting('resume')} to go on from {last.name}" if last else "no checkpoint was written yet: begin anew"
    )
    if is_out_of_memory(error):
        ways += f", with {setting('checkpointing')}"
    return UserError(f"{checkpoints.parent}: the training stopped after step {step} ({typed_line(error)}); {ways}")


def _is_done(trainer: Trainer, checkpoint: Path) -> bool:
    """Whether the checkpoint is the last step; the trainer, which would take one step more, then has its weights."""
    state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))
    wanted = trainer.args.max_steps if trainer.args.max_steps > 0 else state.max_steps
    if state.global_step < wanted:
        return False
    _load_adapter(trainer, Path(state.best_model_checkpoint or checkpoint))
    trainer.state = state
    return True


def _load_adapter(trainer: Trainer, checkpoint: Path) -> None:
    """Loads the checkpoint's adapter. Of two, the second being DPO's reference, transformers would load that alone."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    try:
        set_peft_model_state_dict(model, load_peft_weights(str(checkpoint), device="cpu"))
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        raise UserError(
            f": {checkpoint} has another adapter than the one that goes on; give {setting('lora_r')} and the adapter's other "
            "settings as they were",
            field="resume",
        ) from None


def save_adapter(recipe: Recipe, trainer: Trainer, processor: ProcessorMixin, folder: Path) -> None:
    """Writes the adapter and the processor.

    The base is named as the user named it: a folder's path means nothing elsewhere.

    Args:
        recipe: Names the student.
        trainer: Its model has the adapter.
        processor: The student's.
        folder: Where they go.
    """
    if trainer.accelerator.is_main_process:
        model = trainer.accelerator.unwrap_model(trainer.model)
        model.peft_config["default"].base_model_name_or_path = recipe.student
        model.save_pretrained(folder, selected_adapters=["default"], save_embedding_layers=False)
        (folder / "README.md").unlink(missing_ok=True)  # PEFT's, an empty form
        processor.save_pretrained(folder)
    trainer.accelerator.wait_for_everyone()
