"""Trains a student on an export: LoRA on its language model, by TRL. `train` reads from top to bottom.

    unsaf-async distill --data DIR --student MODEL --out DIR                           one GPU, or none
    accelerate launch -m unsaf_async distill --data DIR --student MODEL --out DIR      several GPUs

Every process does all of it; the first one talks and writes.
"""

from __future__ import annotations

import gc
import json
import os
import random
import shutil
import sys
import time
import warnings
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import transformers
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from datasets import Dataset
from datasets.utils.logging import disable_progress_bar, enable_progress_bar, is_progress_bar_enabled
from peft import PeftModel, get_peft_model, load_peft_weights, set_peft_model_state_dict
from torch.nn import functional as fn
from transformers import EarlyStoppingCallback, TrainerState, set_seed
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

from unsaf_async.distill.train import corpus as corpora
from unsaf_async.distill.train import merging
from unsaf_async.distill.train import student as students
from unsaf_async.distill.train.adapter import check_trainable, lora_config
from unsaf_async.distill.train.corpus import DPO_TEXTS, SFT_TEXTS, Decoding
from unsaf_async.distill.train.early import check_early, last_checkpoint, resolve
from unsaf_async.distill.train.preflight import Preflight, RenderedRow, RenderedRows, brief, preflight
from unsaf_async.distill.train.progress import LogLine, ProgressCallback
from unsaf_async.distill.train.recipe_file import NAME as RECIPE_FILE
from unsaf_async.distill.train.recipe_file import write_recipe
from unsaf_async.distill.train.rehearsal import Rehearsal, is_out_of_memory, rehearse
from unsaf_async.distill.train.student_card import card, read_card
from unsaf_async.errors import UserError, setting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from transformers import ProcessorMixin, Trainer, TrainerCallback

    from unsaf_async.distill.train.corpus import Pictures
    from unsaf_async.distill.train.merging import Merged
    from unsaf_async.distill.train.recipe import Recipe
    from unsaf_async.distill.train.student import Outline

_TENSORBOARD = "TENSORBOARD_LOGGING_DIR"
"""Where transformers looks for the folder."""
_PROBED = 4
"""Rows on which the merged model is compared with the adapter."""
_SFT_SHARE = 0.2
"""Weight of the imitation loss in the second stage: without it DPO may lower the probability of both replies."""


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
    tokens: int
    """Seen over all devices in this session's steps, padding not counted."""
    supervised_tokens: int
    """Those of `tokens` that are in the loss."""
    wall_s: float
    rehearsal: Rehearsal | None = None
    """Of its longest rows, before the first step; None: no step was left to take in this session."""

    @property
    def losses(self) -> tuple[tuple[int, float], ...]:
        """(step, training loss since the entry before)."""
        return tuple((line.step, line.loss) for line in self.log)

    @property
    def tokens_per_s(self) -> float | None:
        """Tokens seen per second, with evaluations and checkpoints; None where no step was taken in this session."""
        return self.tokens / self.wall_s if self.tokens else None


@dataclass(frozen=True)
class Trained:
    """A finished training."""

    adapter: Path
    """Its folder."""
    merged: Path | None
    """The folder of the merged model; None without `merge`."""
    sft: StageResult
    dpo: StageResult | None
    trainable: int
    """Parameters of the adapter."""
    parameters: int
    """Of the student."""
    frozen_sha256: str
    """See `student.frozen_sha256`."""
    preflight: Preflight
    check: Merged | None
    wall_s: float
    """All of it: reading, checking, training, merging."""

    @property
    def steps(self) -> int:
        """Optimizer steps of all stages."""
        return self.sft.steps + (self.dpo.steps if self.dpo else 0)


@dataclass(frozen=True)
class _Setup:
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


def train(recipe: Recipe, announce: Callable[[str], None] | None = None, *, bar: bool = False) -> Trained:
    """Trains a student and writes adapter, merged model, processor, card and training.json to `recipe.out`.

    Reseeds all random numbers by `recipe.seed` and leaves them, and torch's threads, as they were. On a CPU the same
    recipe gives the same weights.

    Args:
        recipe: What is trained, on what, and how.
        announce: Gets every line that a user is to see; None: nobody does.
        bar: Whether a progress bar is shown on stderr.

    Returns:
        The folders, the losses and the checks.

    Raises:
        UserError: Something makes the training useless; before it begins, where that can be known.
    """
    began_s = time.monotonic()
    with _contained(recipe):
        state = PartialState(cpu=recipe.device == "cpu" or not torch.cuda.is_available())
        say = announce if announce is not None and state.is_main_process else _silent
        check_early(recipe)
        state.wait_for_everyone()
        recipe.out.mkdir(parents=True, exist_ok=True)

        # 1. the data, the student's processor and its outline: no weights yet
        recipe = students.pin(recipe)
        processor = students.open_processor(recipe)
        outline = students.read_outline(recipe)
        with state.local_main_process_first():
            writes = state.is_local_main_process
            corpus = corpora.read(recipe.data, recipe.out / "pictures.bin", preferences=recipe.dpo, writes=writes)
        try:
            # 2. whatever would waste the training
            free = students.free_bytes(state.device)
            room = merging.free_for_merge(state.device)
            checked, rows = preflight(
                recipe,
                corpus,
                processor,
                outline,
                free_bytes=free,
                free_for_merge=room,
                weight_bytes=_training_dtype(bf16=_in_bf16(recipe)).itemsize,
            )
            for line in checked.lines():
                say(line)
            setup = _Setup(recipe, outline, processor, checked, rows, corpus.pictures, state.device, say, bar)

            # 3. imitation, and the second stage on preferences
            sft, frozen, trainable = _imitate(setup)
            dpo = None
            if recipe.dpo:
                dpo, frozen = _prefer(setup)

            # 4. what a reader of the model must know, and then the merged model, checked against the adapter
            trained = _trained(setup, sft, dpo, trainable, frozen, time.monotonic() - began_s)
            if state.is_main_process:
                _record(recipe, outline, trained)
                if recipe.merge:
                    trained = replace(trained, check=_merge(setup), wall_s=time.monotonic() - began_s)
                    _record(recipe, outline, trained)
                _discard_checkpoints(recipe.out)
        finally:
            state.wait_for_everyone()
            if state.is_local_main_process:
                corpus.pictures.close()
    gc.collect()  # trainers hold themselves in cycles, and with them the model
    return trained


def _merge(setup: _Setup) -> Merged:
    """The merged model is written and compared with the adapter."""
    recipe, rows = setup.recipe, setup.rows
    setup.say("merging the adapter and checking the merged model")
    probe = _probe(setup.processor, (rows.validation or rows.train)[:_PROBED], setup.pictures)
    adapter, merged = recipe.out / "adapter", recipe.out / "merged"
    gc.collect()  # what was trained goes, and its memory with it
    if setup.device.type == "cuda":
        torch.cuda.empty_cache()
    again = f"give {setting('resume')} to merge again, or with {setting('merge', False)} to leave it at that"
    place = merging.merge_place(setup.outline, merging.free_for_merge(setup.device))
    if place is None:
        raise UserError(f"{merged}: there is no memory left to merge in; the adapter is in {adapter}; {again}")
    try:
        check = merging.merge(recipe, setup.outline, setup.processor, adapter, merged, probe, place)
    except (RuntimeError, MemoryError) as error:
        shutil.rmtree(merged, ignore_errors=True)
        raise UserError(f"{merged}: was not made ({brief(error)}); the adapter is in {adapter}; {again}") from None
    setup.say(
        f"merged: logits differ by {check.merge_error:.1e} from the adapter's, by {check.reload_error:.1e} after "
        f"writing and reading, by {check.rounding:.1e} for {check.saved_dtype}"
    )
    return check


def _trained(
    setup: _Setup,
    sft: StageResult,
    dpo: StageResult | None,
    trainable: int,
    frozen_sha256: str,
    wall_s: float,
) -> Trained:
    return Trained(
        adapter=setup.recipe.out / "adapter",
        merged=setup.recipe.out / "merged" if setup.recipe.merge else None,
        sft=sft,
        dpo=dpo,
        trainable=trainable,
        parameters=setup.outline.parameters,
        frozen_sha256=frozen_sha256,
        preflight=setup.preflight,
        check=None,
        wall_s=wall_s,
    )


def _silent(_: str) -> None:
    """Says nothing."""


@contextmanager
def _contained(recipe: Recipe) -> Iterator[None]:
    """Seeds all random numbers and sets threads, and puts everything back at the end; libraries report errors alone."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    threads, verbosity = torch.get_num_threads(), transformers.logging.get_verbosity()
    bars = transformers.logging.is_progress_bar_enabled(), is_progress_bar_enabled()
    # By default TensorBoard's files lie among the checkpoints, which are taken away at the end.
    given = os.environ.get(_TENSORBOARD)
    os.environ[_TENSORBOARD] = given or str(recipe.out / "tensorboard")
    try:
        if recipe.threads is not None:
            torch.set_num_threads(recipe.threads)
        set_seed(recipe.seed)
        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
        disable_progress_bar()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of libraries about each other; what concerns the user is in the preflight
            yield
    finally:
        if given is None:
            del os.environ[_TENSORBOARD]
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
        if cuda:
            torch.cuda.set_rng_state_all(cuda)
        torch.set_num_threads(threads)
        transformers.logging.set_verbosity(verbosity)
        if bars[0]:
            transformers.logging.enable_progress_bar()
        if bars[1]:
            enable_progress_bar()


# --- stage 1: imitation -----------------------------------------------------------------------------------------------


class _Counting:
    """What both trainers share: tokens are counted, and nothing is sent or written that was not asked for."""

    counted: torch.Tensor
    """Tokens seen, tokens supervised, sequences; of this process."""
    _told: tuple[float, int, int] | None = None
    """When the last line was logged, by `time.monotonic`, and the tokens and sequences until then."""
    _metrics: dict[str, dict[str, list[float]]]
    """TRL's."""
    _total_train_tokens: int
    """TRL's."""

    def batch_of(self, places: Sequence[int]) -> Any:
        """Rows of the training set as a batch on the device, by the trainer's own collator."""
        rows = [self.train_dataset[place] for place in places]  # type: ignore[attr-defined]
        return self._prepare_inputs(self.data_collator(rows))  # type: ignore[attr-defined]

    def forget(self) -> None:
        """Takes back what batches outside the training have added to any count."""
        if hasattr(self, "counted"):
            del self.counted
        for of_mode in self._metrics.values():
            of_mode.clear()
        self._total_train_tokens = 0

    def begin(self) -> None:
        """Starts the clock of the first line's speed."""
        self._told = time.monotonic(), 0, 0

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """The card is written at the end, once."""

    def _send_telemetry(self) -> None:
        """TRL reports every training to its makers; this program sends nothing unasked."""

    def floating_point_ops(self, _inputs: dict[str, Any]) -> int:
        """Not counted: the library's estimate takes longer than a tiny model's optimizer step, and nobody reads it."""
        return 0

    def count(self, model: torch.nn.Module, seen: torch.Tensor, supervised: torch.Tensor) -> None:
        """Adds to the tokens seen and supervised in training. Stays on the device: nothing waits for it."""
        if model.training:
            all_of = torch.stack([seen.sum(), supervised.sum(), torch.full_like(seen.sum(), seen.shape[0])])
            self.counted = all_of if not hasattr(self, "counted") else self.counted + all_of

    def totals(self) -> tuple[int, int, int]:
        """(tokens seen, tokens supervised, sequences) of this session, over all processes, which all must ask."""
        if not hasattr(self, "counted"):
            return 0, 0, 0
        tokens, supervised, sequences = self.accelerator.reduce(self.counted).tolist()  # type: ignore[attr-defined]
        return int(tokens), int(supervised), int(sequences)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds the speed since the last line to what is logged of training, so that every reporter has it.

        Args:
            logs: The new entry.
            start_time: The trainer's own clock.
        """
        if "loss" in logs:
            now_s, (tokens, _, sequences) = time.monotonic(), self.totals()
            if self._told is not None and now_s > self._told[0]:
                before_s, before_tokens, before = self._told
                logs["tokens_per_s"] = (tokens - before_tokens) / (now_s - before_s)
                logs["samples_per_s"] = (sequences - before) / (now_s - before_s)
            self._told = now_s, tokens, sequences
        super().log(logs, start_time)  # type: ignore[misc]


class Imitation(_Counting, SFTTrainer):  # type: ignore[misc]  # TRL is untyped to mypy
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


def _imitate(setup: _Setup) -> tuple[StageResult, str, int]:
    """Stage 1: TRL's SFTTrainer. The stage, the hash of what was frozen, and the number of trained parameters."""
    recipe, outline, rows = setup.recipe, setup.outline, setup.rows
    arguments = SFTConfig(
        **_arguments(
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
    base = students.load(recipe, outline, _training_dtype(bf16=arguments.bf16), quantized=recipe.qlora)
    model = get_peft_model(base, lora_config(recipe, outline.targets, outline.experts))
    progress = ProgressCallback("training", setup.say, setup.bar)
    trainer = Imitation(
        model=model,
        args=arguments,
        processing_class=setup.processor,
        train_dataset=_dataset(rows.train, SFT_TEXTS, setup.pictures),
        eval_dataset=_dataset(rows.validation, SFT_TEXTS, setup.pictures) if rows.validation else None,
        callbacks=[progress, *_stopping(recipe, bool(rows.validation))],
    )
    trainable = check_trainable(model, outline.targets, outline.experts)
    layers = len(outline.targets)
    setup.say(f"training {trainable:,} of {outline.parameters:,} parameters, in {layers} layers of the language model")
    stage, frozen = _run(setup, trainer, progress, "sft", rows.train, trainable)
    by_kind = _by_kind(trainer, rows.validation, setup.pictures)
    _save_adapter(recipe, trainer, setup.processor, recipe.out / ("adapter-sft" if recipe.dpo else "adapter"))
    return replace(stage, eval_by_kind=by_kind), frozen, trainable


def _by_kind(trainer: Trainer, rows: Sequence[RenderedRow], pictures: Pictures) -> dict[str, float]:
    kinds = dict.fromkeys(each.row.kind for each in rows)
    return {
        kind: trainer.evaluate(
            _dataset([each for each in rows if each.row.kind == kind], SFT_TEXTS, pictures),
            metric_key_prefix=f"eval_{place}",
        )[f"eval_{place}_loss"]
        for place, kind in enumerate(kinds)
    }


# --- stage 2: preferences ---------------------------------------------------------------------------------------------


class Preference(_Counting, DPOTrainer):  # type: ignore[misc]
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


def _prefer(setup: _Setup) -> tuple[StageResult, str]:
    """Stage 2: TRL's DPOTrainer goes on with the adapter of stage 1, which is also its reference.

    Rafailov et al., "Direct Preference Optimization" (2023), with a fifth of the imitation loss.
    """
    recipe, outline, rows = setup.recipe, setup.outline, setup.rows
    has_validation = bool(rows.validation_pairs)
    arguments = DPOConfig(
        **_arguments(
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
    base = students.load(recipe, outline, _training_dtype(bf16=arguments.bf16), quantized=recipe.qlora)
    model = PeftModel.from_pretrained(base, recipe.out / "adapter-sft", is_trainable=True)
    # by its folder, or each checkpoint asks the hub for a model that is called like a tiny one
    model.peft_config["default"].base_model_name_or_path = resolve(recipe.student)
    check_trainable(model, outline.targets, outline.experts)
    progress = ProgressCallback("preferring", setup.say, setup.bar)
    trainer = Preference(
        model=model,
        args=arguments,
        processing_class=setup.processor,
        train_dataset=_dataset(rows.train_pairs, DPO_TEXTS, setup.pictures),
        eval_dataset=_dataset(rows.validation_pairs, DPO_TEXTS, setup.pictures) if has_validation else None,
        callbacks=[progress, *_stopping(recipe, has_validation)],
    )
    trainable = check_trainable(model, outline.targets, outline.experts)
    setup.say(f"preferring, on {len(rows.train_pairs):,} pairs")
    stage, frozen = _run(setup, trainer, progress, "dpo", rows.train_pairs, trainable)
    _save_adapter(recipe, trainer, setup.processor, recipe.out / "adapter")
    return stage, frozen


# --- what both stages share -------------------------------------------------------------------------------------------


def _arguments(
    recipe: Recipe,
    checkpoints: str,
    rows: int,
    max_steps: int | None,
    epochs: float,
    *,
    validated: bool,
    checkpointing: bool,
) -> dict[str, Any]:
    """The settings that both trainers take. checkpointing: whether activations are computed again."""
    planned = max_steps or int(epochs * rows / (recipe.batch * recipe.accumulate * PartialState().num_processes))
    on_gpu = _on_gpu(recipe)
    every = "steps" if recipe.eval_every else "epoch"
    stops = recipe.patience is not None and validated
    save_every = recipe.save_every or (recipe.eval_every if stops else None)
    return {
        "output_dir": str(recipe.out / checkpoints),
        **({"max_steps": max_steps} if max_steps else {"num_train_epochs": epochs}),
        "per_device_train_batch_size": recipe.batch,
        "per_device_eval_batch_size": recipe.batch,
        "gradient_accumulation_steps": recipe.accumulate,
        "lr_scheduler_type": recipe.schedule,
        "warmup_steps": recipe.warmup,
        "weight_decay": recipe.weight_decay,
        "seed": recipe.seed,
        "data_seed": recipe.seed,
        "bf16": _in_bf16(recipe),
        "use_cpu": not on_gpu,
        "gradient_checkpointing": checkpointing,
        "gradient_checkpointing_kwargs": {"use_reentrant": False},
        "eval_strategy": every if validated else "no",
        **({"eval_steps": recipe.eval_every} if recipe.eval_every else {}),
        "eval_on_start": validated and not (recipe.resume and last_checkpoint(recipe.out / checkpoints)),
        "prediction_loss_only": True,
        "save_strategy": "steps" if save_every else "epoch",
        **({"save_steps": save_every} if save_every else {}),
        "save_total_limit": 2,
        "load_best_model_at_end": stops,
        "metric_for_best_model": "eval_loss" if stops else None,
        "logging_steps": max(1, min(10, planned // 20)),
        "logging_first_step": True,
        "report_to": list(recipe.report_to) or "none",
        "logging_nan_inf_filter": False,  # a loss that is no number must be seen
        "disable_tqdm": True,  # `ProgressCallback` does that
        "dataloader_num_workers": recipe.workers,
        "dataloader_pin_memory": on_gpu,
        "remove_unused_columns": False,
        **({"train_sampling_strategy": "group_by_length"} if recipe.group_by_length else {}),
    }


def _on_gpu(recipe: Recipe) -> bool:
    return recipe.device == "auto" and torch.cuda.is_available()


def _in_bf16(recipe: Recipe) -> bool:
    return _on_gpu(recipe) and torch.cuda.is_bf16_supported() if recipe.bf16 is None else recipe.bf16


def _training_dtype(*, bf16: bool) -> torch.dtype:
    """The data type of the frozen weights; the adapter is always in single precision (of QLoRA in bfloat16)."""
    return torch.bfloat16 if bf16 else torch.float32


def _dataset(rows: Sequence[RenderedRow], columns: Sequence[str], pictures: Pictures) -> Dataset:
    texts: dict[str, list[Any]] = {name: [each.texts[name] for each in rows] for name in columns}
    texts["images"] = [list(each.row.images) for each in rows]
    texts["length"] = [each.tokens for each in rows]
    return Dataset.from_dict(texts).with_transform(Decoding(pictures))


def _stopping(recipe: Recipe, validated: bool) -> list[TrainerCallback]:
    return [EarlyStoppingCallback(recipe.patience)] if recipe.patience is not None and validated else []


def _run(
    setup: _Setup,
    trainer: Trainer,
    progress: ProgressCallback,
    name: str,
    rows: Sequence[RenderedRow],
    trainable: int,
) -> tuple[StageResult, str]:
    """Trains, and proves that nothing but the adapter changed: the stage, and the hash of what was frozen."""
    recipe, checkpoints = setup.recipe, Path(trainer.args.output_dir)
    rehearsal = None
    trainer.remove_callback(transformers.trainer_callback.PrinterCallback)
    before = _hashed_once(trainer)
    last = last_checkpoint(checkpoints) if recipe.resume else None
    began_s = time.monotonic()
    try:
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
    wall_s = time.monotonic() - began_s
    if _hashed_once(trainer) != before:
        raise UserError(
            ": a frozen parameter has changed in training; nothing was saved; please report this model", field="student"
        )
    seen, supervised, _ = trainer.totals()
    log = trainer.state.log_history
    best = trainer.state.best_model_checkpoint
    stage = StageResult(
        name=name,
        steps=trainer.state.global_step,
        log=tuple(LogLine.of(entry["step"], entry) for entry in log if "loss" in entry),
        eval_losses=tuple((entry["step"], entry["eval_loss"]) for entry in log if "eval_loss" in entry),
        eval_by_kind={},
        best_step=int(best.rpartition("-")[2]) if best else None,
        tokens=seen,
        supervised_tokens=supervised,
        wall_s=wall_s,
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
    last = last_checkpoint(checkpoints)
    ways = (
        f"give {setting('resume')} to go on from {last.name}" if last else "no checkpoint was written yet: begin anew"
    )
    if is_out_of_memory(error):
        ways += f", with {setting('checkpointing')}"
    return UserError(
        f"{checkpoints.parent}: the training stopped after step {trainer.state.global_step} ({brief(error)}); {ways}"
    )


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
    set_peft_model_state_dict(model, load_peft_weights(str(checkpoint), device="cpu"))


def _save_adapter(recipe: Recipe, trainer: Trainer, processor: ProcessorMixin, folder: Path) -> None:
    """The adapter and the processor. The base is named as the user named it: a folder's path means nothing elsewhere."""
    if trainer.accelerator.is_main_process:
        model = trainer.accelerator.unwrap_model(trainer.model)
        model.peft_config["default"].base_model_name_or_path = recipe.student
        model.save_pretrained(folder, selected_adapters=["default"], save_embedding_layers=False)
        (folder / "README.md").unlink(missing_ok=True)  # PEFT's, an empty form
        processor.save_pretrained(folder)
    trainer.accelerator.wait_for_everyone()


def _probe(processor: ProcessorMixin, rows: Sequence[RenderedRow], pictures: Pictures) -> dict[str, torch.Tensor]:
    """A batch of whole rows, as the trainer makes it."""
    from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

    batch = _dataset(rows, SFT_TEXTS, pictures)[:]
    examples = [dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True)]
    made = DataCollatorForVisionLanguageModeling(processor, completion_only_loss=True)(examples)
    return {name: value for name, value in made.items() if isinstance(value, torch.Tensor)}


# --- written down -----------------------------------------------------------------------------------------------------


def versions() -> dict[str, str]:
    """Of everything that has a part in the weights."""
    names = ("unsaf-async", "torch", "transformers", "trl", "peft", "accelerate", "datasets", "safetensors")
    return {"python": sys.version.split()[0], **{name: version(name) for name in names}}


def _record(recipe: Recipe, outline: Outline, trained: Trained) -> None:
    """training.json and the model card."""
    record = {
        "recipe": recipe.to_dict(),
        "versions": versions(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() and recipe.device == "auto" else "cpu",
        "processes": PartialState().num_processes,
        "parameters": trained.parameters,
        "trainable": trained.trainable,
        "adapted_layers": [*outline.targets, *outline.experts],
        "frozen_sha256": trained.frozen_sha256,
        "preflight": asdict(trained.preflight),
        "stages": [
            asdict(stage) | {"losses": stage.losses, "tokens_per_s": stage.tokens_per_s}
            for stage in (trained.sft, trained.dpo)
            if stage
        ],
        "merged": asdict(trained.check) if trained.check else None,
        "wall_s": trained.wall_s,
    }
    (recipe.out / "training.json").write_text(json.dumps(record, indent=1) + "\n", "utf-8")
    write_recipe(recipe, recipe.out / RECIPE_FILE)
    (recipe.out / "README.md").write_text(card(recipe, record, read_card(recipe.data)), "utf-8")


def _discard_checkpoints(out: Path) -> None:
    """They are of no use any more."""
    for folder in ("checkpoints", "checkpoints-dpo"):
        shutil.rmtree(out / folder, ignore_errors=True)


def is_first() -> bool:
    """Whether this is the process that announces and writes; always, where there is but one."""
    return bool(PartialState().is_main_process)
