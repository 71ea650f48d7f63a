"""The images of an export: encoded anew as the teacher was sent them, and kept only where they are still the same."""

from __future__ import annotations

import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from unsaf_async.distill.data.clusters import perceptual_hash
from unsaf_async.inputs.parts import located
from unsaf_async.inputs.pixels import encode
from unsaf_async.inputs.policy import ImageError
from unsaf_async.runs.prepare import policy_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unsaf_async.distill.data.build_rows import Item

_WORKERS = min(4, os.cpu_count() or 1)
"""Images decoded at a time."""


@dataclass(frozen=True, slots=True)
class Picture:
    """An image that lies in the folder of pictures."""

    name: str
    """Its file's."""
    file_sha256: str
    """Of the file that it was read from."""
    phash: int
    """See `clusters.perceptual_hash`."""


@dataclass(frozen=True, slots=True)
class Pictured:
    """The questions with an image that is still what the model was sent, and these images."""

    items: list[Item]
    pictures: dict[str, Picture]
    """By pixels' sha256."""
    left_out: Counter[str]
    """The other questions, by reason."""
    missing: int
    """Images that are gone or have changed."""


def keep_pictures(items: Sequence[Item], folder: Path) -> Pictured:
    """The questions with an image that is still what the model was sent; these images are written to `folder`.

    Args:
        items: Questions of any runs.
        folder: Where the images go: an existing folder.

    Returns:
        The questions in their order, and what became of the others.
    """
    distinct = list({(item.run.manifest.run_id, item.image.id): item for item in items}.values())
    with ThreadPoolExecutor(_WORKERS) as threads:
        results = list(threads.map(lambda item: _keep_picture(item, folder), distinct))
    pictures: dict[str, Picture] = {}
    reasons: dict[tuple[str, str], str] = {}
    for item, result in zip(distinct, results, strict=True):
        if isinstance(result, Picture):
            pictures.setdefault(item.pixels, result)
        else:
            reasons[item.run.manifest.run_id, item.image.id] = result
    kept: list[Item] = []
    left_out: Counter[str] = Counter()
    for item in items:
        why = reasons.get((item.run.manifest.run_id, item.image.id))
        if why is None:
            kept.append(item)
        else:
            left_out[why] += 1
    return Pictured(kept, pictures, left_out, len(reasons))


def _keep_picture(item: Item, folder: Path) -> Picture | str:
    """The item's image as it was sent, written to `folder`; or why there is none."""
    part = item.image.part
    if part is not None and part.kind == "object" and part.url not in item.run.objects:
        return "the image lies in an object store, and no list of your own names it"
    try:
        encoded, file_sha256 = encode(
            located(Path(item.image.path), item.image.part), policy_of(item.run.manifest.subject)
        )
    except ImageError:
        return "the image is gone or cannot be read"
    if encoded.pixels_sha256 != item.image.pixels_sha256:
        return "the image has changed since the run"
    # Named by its content, so that runs which send the same pixels at another quality do not overwrite each other's.
    name = f"{sha256(encoded.data).hexdigest()[:32]}{'.png' if encoded.media_type == 'image/png' else '.jpg'}"
    (folder / name).write_bytes(encoded.data)
    return Picture(name, file_sha256, perceptual_hash(encoded.data))
