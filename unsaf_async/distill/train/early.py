"""What can be checked before torch is imported: folders, arguments, and whether the student is of a family that trains."""

from __future__ import annotations

import json
import os
import re
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from unsaf_async.distill.train.begun import CHECKPOINTS, NAME, check_begun
from unsaf_async.distill.train.corpus import PICTURES, check_folder
from unsaf_async.distill.train.pushing import hub_repo
from unsaf_async.errors import UserError, setting
from unsaf_async.hub import check_push
from unsaf_async.text import first_line
from unsaf_async.tiny.folders import SHIPPED

if TYPE_CHECKING:
    from unsaf_async.distill.train.recipe import Recipe, Reporter

_CHECKPOINT = re.compile(r"checkpoint-(\d+)")
"""A folder that transformers' trainer writes."""

_PACKAGES: dict[Reporter, tuple[str, ...]] = {
    "tensorboard": ("tensorboard", "tensorboardX"),
    "wandb": ("wandb",),
    "mlflow": ("mlflow",),
    "trackio": ("trackio",),
}
"""One of them makes a reporter work."""

_SHARDING = {
    "ACCELERATE_USE_FSDP": "FSDP",
    "ACCELERATE_USE_DEEPSPEED": "DeepSpeed",
    "ACCELERATE_USE_MEGATRON_LM": "Megatron-LM",
    "ACCELERATE_USE_PARALLELISM_CONFIG": "a parallelism of its own",
}
"""What `accelerate launch` can be set up for, and training is not: each process is to hold the whole student."""

UNTRAINED = {
    "llama4": "its processor makes images in bfloat16 alone, and the adapter does not reach its experts' fused weights",
    "mllama": "the mask by which it sees the image spans the prompt, and TRL 1.16 adds the reply without widening it",
    "paligemma": "its processor expects an image with every text, and TRL 1.16 gives it the replies alone",
}
"""Families that are refused, by `model_type`, each with its reason."""


def check_early(recipe: Recipe) -> None:
    """Checks what needs no heavy library, so that a mistyped path costs no half minute of imports.

    Args:
        recipe: What is to be trained, on what, and where it goes.

    Raises:
        UserError: The processes are to share the weights, the data are no export, the output folder is in use or was
            begun otherwise than it is to go on, the student's folder is no model's or its family is not trained, a
            reporter is not installed, or nothing can be pushed to the hub.
    """
    check_launch()
    check_folder(recipe.data, preferences=recipe.dpo)
    if os.environ.get("RANK", "0") == "0":  # of several processes the others might find what the first has written
        check_out(recipe)
        if recipe.resume:
            check_begun(recipe)
    config = Path(resolve(recipe.student)) / "config.json"
    if config.is_file():
        try:
            read = json.loads(config.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(
                f"{recipe.student}: its config.json cannot be read ({error}); give a folder that save_pretrained wrote",
                field="student",
            ) from None
        check_family(recipe.student, read.get("model_type") if isinstance(read, dict) else None)
    for name in recipe.report_to:
        if not any(find_spec(package) for package in _PACKAGES[name]):
            raise UserError(f"{name}: is not installed; pip install {name}, or leave it out", field="report_to")
    if recipe.attention == "flash_attention_2" and find_spec("flash_attn") is None:
        raise UserError(
            f"{recipe.attention}: flash-attn is not installed; pip install flash-attn, or give sdpa", field="attention"
        )
    if recipe.qlora and find_spec("bitsandbytes") is None:
        raise UserError(
            f": bitsandbytes is not installed; pip install bitsandbytes, or leave {setting('qlora')} out", field="qlora"
        )
    if (repo := hub_repo(recipe)) is not None:
        check_push(repo)


def check_launch() -> None:
    """Checks that the weights are not to be spread over processes.

    What is saved, and the proof that nothing else has changed, are read from one process. On CPUs accelerate would leave
    the weights whole, and say nothing.

    Raises:
        UserError: They are to be.
    """
    for variable, name in _SHARDING.items():
        if os.environ.get(variable, "").lower() in ("1", "true", "yes"):
            raise UserError(
                f"distill: accelerate is set up for {name}, which spreads weights over processes; each is to hold the whole "
                f"student here: launch without it, and give {setting('qlora')} or {setting('checkpointing')} where memory is "
                "short"
            )


def check_torchvision() -> None:
    """Checks that torchvision, where it is installed, is of torch's build: else no processor can be opened.

    It imports torch.

    Raises:
        UserError: It does not load.
    """
    if find_spec("torchvision") is None:
        return
    try:
        import torchvision  # noqa: F401
    except (RuntimeError, OSError, ImportError) as error:
        raise UserError(
            f"distill: torchvision {version('torchvision')} does not load beside torch {version('torch')} "
            f"({first_line(error, 150)}); install both from one index, such as https://download.pytorch.org/whl/cpu for a "
            "torch for CPUs, or uninstall it"
        ) from None


def check_out(recipe: Recipe) -> None:
    """Checks the folder that is written to.

    Args:
        recipe: Names it.

    Raises:
        UserError: Something is in it that a training which ended before its first checkpoint does not leave, or, to
            resume, no checkpoint.
    """
    out = recipe.out
    if out.resolve().is_relative_to(recipe.data.resolve()):  # whoever passes the data on would pass the student on, too
        raise UserError(f"{out}: lies in the data, {recipe.data}; give a folder elsewhere", field="out")
    last = last_checkpoint(out / CHECKPOINTS) or last_checkpoint(out / "checkpoints-dpo")
    if recipe.resume and last is None:
        hint = "" if _is_fresh(out) else ", and give a new or empty folder"
        raise UserError(
            f": there is no checkpoint in {out}; leave {setting('resume')} out{hint or ' to begin anew'}",
            field="resume",
        )
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: is a file; give a new or empty folder", field="out")
    if not recipe.resume and not _is_fresh(out):
        hint = (
            f"give {setting('resume')} to go on from its last checkpoint, or a new folder"
            if last
            else "give a new or empty folder"
        )
        raise UserError(f"{out}: is not empty; {hint}", field="out")


def _is_fresh(out: Path) -> bool:
    """Whether a folder is not there, or empty, or has nothing but what a kill before the first checkpoint leaves."""
    found = {path.name for path in out.iterdir()} if out.is_dir() else set()
    begun = set((out / CHECKPOINTS).iterdir()) if (out / CHECKPOINTS).is_dir() else set()
    left = {path for path in begun if not _CHECKPOINT.fullmatch(path.name) or _is_whole(path)}
    return found <= {PICTURES, CHECKPOINTS} and {path.name for path in left} <= {NAME, "runs"}  # TensorBoard's


def last_checkpoint(folder: Path) -> Path | None:
    """The checkpoint with the highest step. One that a kill has cut off in writing is none.

    Args:
        folder: Where a stage's checkpoints lie.

    Returns:
        Its folder; None: there is none.
    """
    found = [path for path in folder.iterdir() if _is_whole(path)] if folder.is_dir() else []
    steps = {int(match[1]): path for path in found if (match := _CHECKPOINT.fullmatch(path.name))}
    return steps[max(steps)] if steps else None


def _is_whole(checkpoint: Path) -> bool:
    """Whether a checkpoint was written to its end: the trainer's state comes last."""
    try:
        json.loads((checkpoint / "trainer_state.json").read_bytes())
    except (OSError, ValueError):
        return False
    return True


def check_family(student: str, model_type: str | None) -> None:
    """Checks that a student is of no family that is known not to train.

    Args:
        student: Its name, for messages.
        model_type: As its configuration has it; None: it has none.

    Raises:
        UserError: It is of one.
    """
    if model_type in UNTRAINED:
        raise UserError(
            f"{student}: is a {model_type}, which is not trained here: {UNTRAINED[model_type]}; "
            "choose another student, such as a Qwen3-VL, SmolVLM or Gemma 3",
            field="student",
        )


def resolve(student: str) -> str:
    """Where a student's weights are.

    Args:
        student: A shipped tiny model's name, a folder, or a hub id.

    Returns:
        The folder of a shipped model by its name, else the text as it was given.

    Raises:
        UserError: A folder has no model's configuration.
    """
    ours = SHIPPED / student
    if re.fullmatch(r"[\w-]+", student) and (ours / "config.json").is_file() and not Path(student).exists():
        return str(ours)
    if Path(student).exists() and not (Path(student) / "config.json").is_file():
        raise UserError(
            f"{student}: has no config.json; give a folder that save_pretrained wrote, or a hub id", field="student"
        )
    return student
