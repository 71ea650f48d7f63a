"""Trains a student on an export: LoRA on its language model, by TRL. `train` reads from top to bottom.

    unsaf-async distill --data DIR --student MODEL --out DIR                           one GPU, or none
    accelerate launch -m unsaf_async distill --data DIR --student MODEL --out DIR      several GPUs

Every process does all of it; the first one talks and writes.
"""

from __future__ import annotations

import gc
import shutil
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from accelerate import PartialState

from unsaf_async.distill.train import corpus as corpora
from unsaf_async.distill.train import student as students
from unsaf_async.distill.train.arguments import in_bf16, training_dtype
from unsaf_async.distill.train.begun import CHECKPOINTS, check_revision, read_begun
from unsaf_async.distill.train.contained import contained
from unsaf_async.distill.train.corpus import SFT_TEXTS
from unsaf_async.distill.train.early import check_early
from unsaf_async.distill.train.imitation import imitate
from unsaf_async.distill.train.merge_check import compare, free_to_compare, place_to_compare
from unsaf_async.distill.train.merging import merge
from unsaf_async.distill.train.preference import prefer
from unsaf_async.distill.train.preflight import preflight
from unsaf_async.distill.train.pushing import hub_repo, push_student
from unsaf_async.distill.train.record import Trained, write_record
from unsaf_async.distill.train.rehearsal import is_out_of_memory
from unsaf_async.distill.train.stage import Setup, dataset_of
from unsaf_async.distill.train.student_files import student_files
from unsaf_async.errors import UserError, setting
from unsaf_async.hub import open_repo
from unsaf_async.text import typed_line

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from transformers import ProcessorMixin

    from unsaf_async.distill.train.corpus import Pictures
    from unsaf_async.distill.train.merge_check import Compared
    from unsaf_async.distill.train.merging import Written
    from unsaf_async.distill.train.recipe import Recipe
    from unsaf_async.distill.train.rendering import RenderedRow
    from unsaf_async.distill.train.stage import StageResult

_PROBED = 4
"""Rows on which the merged model is compared with the adapter."""


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
    with contained(recipe):
        state = PartialState(cpu=recipe.device == "cpu" or not torch.cuda.is_available())
        say = announce if announce is not None and state.is_main_process else _silent
        check_early(recipe)
        repo = hub_repo(recipe)
        if repo is not None and state.is_main_process:
            open_repo(repo)
        state.wait_for_everyone()
        recipe.out.mkdir(parents=True, exist_ok=True)

        # 1. the data, the student's processor and its outline: no weights yet
        recipe = students.pin(recipe)
        if recipe.resume:
            check_revision(recipe)
            if read_begun(recipe.out) is None:
                say("Note: an earlier version began this training; whether settings and data are the same is not known")
        processor = students.open_processor(recipe)
        outline = students.read_outline(recipe)
        with state.local_main_process_first():
            writes = state.is_local_main_process
            corpus = corpora.read(recipe.data, recipe.out / corpora.PICTURES, preferences=recipe.dpo, writes=writes)
        try:
            # 2. whatever would waste the training
            free = students.free_bytes(state.device)
            checked, rows = preflight(
                recipe,
                corpus,
                processor,
                outline,
                free_bytes=free,
                free_to_compare=free_to_compare(state.device),
                weight_bytes=training_dtype(bf16=in_bf16(recipe)).itemsize,
            )
            for line in checked.lines():
                say(line)
            setup = Setup(recipe, outline, processor, checked, rows, corpus.pictures, state.device, say, bar)

            # 3. imitation, and the second stage on preferences
            sft, frozen, trainable = imitate(setup)
            dpo = None
            if recipe.dpo:
                dpo, frozen = prefer(setup)

            # 4. what a reader of the model must know
            trained = _trained(setup, sft, dpo, trainable, frozen, time.monotonic() - began_s)
            if state.is_main_process:
                write_record(recipe, outline, trained)
                probe = _probe(processor, (rows.validation or rows.train)[:_PROBED], corpus.pictures)
        finally:
            state.wait_for_everyone()
            if state.is_local_main_process:
                corpus.pictures.close()

        # 5. the merged model: the first process makes it, and no other one waits for that
        gc.collect()  # trainers hold themselves in cycles, and with them the model
        if state.is_main_process:
            if recipe.merge:
                written, check = _merge(setup, probe)
                trained = replace(trained, written=written, check=check, wall_s=time.monotonic() - began_s)
                write_record(recipe, outline, trained)
            _discard_checkpoints(recipe.out)
            if repo is not None:
                say(f"pushing to {repo.name}")
                trained = replace(trained, pushed=push_student(recipe, repo, bar=bar))
    return trained


def _merge(setup: Setup, probe: Mapping[str, torch.Tensor]) -> tuple[Written, Compared | None]:
    """The merged model is written, and compared with the adapter where there is memory for it."""
    recipe, outline = setup.recipe, setup.outline
    setup.say("merging the adapter")
    adapter, merged = recipe.out / "adapter", recipe.out / "merged"
    again = (
        f"the adapter is in {adapter}; give {setting('resume')} to merge again, or with {setting('merge', False)} to leave "
        "it at that"
    )
    try:
        files = student_files(recipe, outline)
        if files is None:
            raise FileNotFoundError("the student's weights are not in safetensors files")
        written = merge(files, setup.processor, adapter, merged)
    except (RuntimeError, MemoryError, OSError) as error:
        raise UserError(f"{merged}: was not made ({typed_line(error)}); {again}") from None
    if setup.device.type == "cuda":
        torch.cuda.empty_cache()
    place = place_to_compare(outline, free_to_compare(setup.device))
    try:
        check = place and compare(recipe, outline, adapter, merged, probe, place, files.dtypes())
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise UserError(f"{merged}: cannot be read ({typed_line(error)}); {again}") from None
        check = None
    setup.say(
        f"merged {written.weights} weights" + (f": {check.line()}" if check else ", not compared: no memory for it")
    )
    return written, check


def _trained(
    setup: Setup,
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


def _probe(processor: ProcessorMixin, rows: Sequence[RenderedRow], pictures: Pictures) -> dict[str, torch.Tensor]:
    """A batch of whole rows, as the trainer makes it."""
    from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

    batch = dataset_of(rows, SFT_TEXTS, pictures)[:]
    examples = [dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True)]
    made = DataCollatorForVisionLanguageModeling(processor, completion_only_loss=True)(examples)
    return {name: value for name, value in made.items() if isinstance(value, torch.Tensor)}


def _discard_checkpoints(out: Path) -> None:
    """They are of no use any more."""
    for folder in (CHECKPOINTS, "checkpoints-dpo"):
        shutil.rmtree(out / folder, ignore_errors=True)


def is_first() -> bool:
    """Whether this is the process that announces and writes; always, where there is but one."""
    return bool(PartialState().is_main_process)
