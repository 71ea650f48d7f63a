"""The folders of tiny models, and what is in them."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from unsaf_async.errors import UserError, setting
from unsaf_async.tiny.ladder import LADDER

if TYPE_CHECKING:
    from unsaf_async.providers.profile import Profile

SHIPPED = Path(__file__).parent / "models"
"""The folders of the shipped models."""

_ARCHITECTURE = ("llava", "llama", "clip_vision_model")
"""`model_type` of a tiny model, of its language model and of its vision tower."""

_FILES = ("config.json", "processor_config.json", "tokenizer.json", "model.safetensors")


def shipped() -> tuple[Path, ...]:
    """The folders of the shipped models, from the smallest to the largest."""
    return tuple(SHIPPED / rung.name for rung in LADDER if (SHIPPED / rung.name).is_dir())


def folder_of(profile: Profile) -> Path:
    """The folder of a profile's model.

    Args:
        profile: Its `model` is a shipped one's name, or any folder that `save_pretrained` wrote.

    Returns:
        The folder.

    Raises:
        UserError: It is not there, or is no tiny model.
    """
    ours = SHIPPED / profile.model
    folder = ours if ours in shipped() else Path(profile.model)
    missing = [name for name in _FILES if not (folder / name).is_file()]
    if missing or not profile.model:
        known = ", ".join(folder.name for folder in shipped())
        raise UserError(
            f"{profile.model!r}: is no tiny model: there is no {missing[0] if missing else 'name'} in it; "
            f"give a folder with the files of one, or one of {known}",
            field="model",
        )
    _check_architecture(folder, profile.model)
    return folder


def _check_architecture(folder: Path, name: str) -> None:
    """Raises UserError where the runtime, which knows LLaVA of CLIP and Llama alone, could not read the folder's model."""
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
        found = tuple(part.get("model_type") for part in (config, config["text_config"], config["vision_config"]))
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        found = ()
    if found != _ARCHITECTURE:
        kind = (
            found[0]
            if found and found[0] != _ARCHITECTURE[0]
            else "LLaVA of other parts"
            if found
            else "config unknown here"
        )
        raise UserError(
            f"{name!r}: is no tiny model but a {kind}, and these are a LLaVA of CLIP and Llama; serve it, and measure it "
            f"there ({setting('provider', 'vllm')})",
            field="model",
        )


def with_weights(profile: Profile) -> Profile:
    """The profile with the digest of its model's files.

    Replies of other weights are other replies, whatever the folder's name.

    Args:
        profile: A tiny model's.

    Returns:
        A copy with `extra["files_sha256"]`, and with the folder's full path if it is not a shipped one.

    Raises:
        UserError: As `folder_of` does.
    """
    folder = folder_of(profile)
    model = profile.model if folder in shipped() else str(folder.absolute())
    return profile.model_copy(update={"model": model, "extra": {**profile.extra, "files_sha256": _digest(folder)}})


def unchanged(profile: Profile) -> Path:
    """The folder of a profile's model, if its files are still those that the run began with.

    Args:
        profile: A tiny model's, with the digest of its files in `extra` or without.

    Returns:
        The folder.

    Raises:
        UserError: The files have changed: a run that goes on would mix two models.
    """
    folder = folder_of(profile)
    if profile.extra.get("files_sha256") not in (None, _digest(folder)):
        raise UserError(
            f"{profile.model}: its files have changed since the run began; restore them, or start a new run",
            field="model",
        )
    return folder


def _digest(folder: Path) -> str:
    digest = sha256()
    for name in _FILES:
        digest.update(sha256((folder / name).read_bytes()).digest())
    return digest.hexdigest()
