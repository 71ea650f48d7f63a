"""Checks before a student is trained: everything that would waste the training, or fake its result.

A row that teaches nothing, a picture in two splits, a prompt longer than the model's context, a disk or a memory that
is too small: each is one clear error, before the first weight is read.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from unsaf_async.distill.train.merging import merge_bytes
from unsaf_async.distill.train.pixel_cap import pixel_cap
from unsaf_async.distill.train.rendering import Renderer
from unsaf_async.distill.train.room import check_disk, check_memory, check_merge
from unsaf_async.distill.train.row_checks import (
    check_context,
    check_near_copies,
    check_same_images,
    check_supervised,
    context_tokens,
    kind_shares,
    without_too_long,
)
from unsaf_async.errors import UserError, as_option, setting
from unsaf_async.text import format_bytes, format_count

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from transformers import ProcessorMixin

    from unsaf_async.distill.train.corpus import Corpus
    from unsaf_async.distill.train.recipe import Recipe
    from unsaf_async.distill.train.rendering import RenderedRows
    from unsaf_async.distill.train.row_checks import KindShare
    from unsaf_async.distill.train.student import Outline


@dataclass(frozen=True)
class Preflight:
    """What the training needs. Bytes and tokens are whole numbers; estimates are marked as such."""

    kinds: dict[str, KindShare]
    train_rows: int
    validation_rows: int
    pairs: int
    images: int
    longest_tokens: int
    """Of the longest sequence, image included."""
    image_tokens: tuple[int, int]
    """The fewest and the most that an image makes; (0, 0) without images."""
    pixel_cap: str | None
    """Where the processor keeps its cap on an image's pixels, and how high it is; None: it takes none."""
    context_tokens: int | None
    """The longest sequence that the student takes; None: its configuration does not say."""
    end_added: bool
    """The chat template ends no reply, so the tokenizer's end token was added to each."""
    near_copies: int | None
    """Pictures with near copies in both splits, let pass by `allow_near_copies`; None: not looked for, for want of imagehash."""
    disk_bytes: int
    """Estimated: checkpoints, adapter and merged model."""
    disk_free_bytes: int
    memory_bytes: dict[str, int]
    """Estimated, by part: weights, adapter (with gradients and AdamW's moments), activations."""
    memory_free_bytes: int
    compared_on: str | None
    """The device on which the merged model is compared with the adapter, by what is free before the training; None: on none."""
    checkpointing: bool
    """Activations are computed again in the backward pass."""
    notes: tuple[str, ...]
    too_long: int = 0
    """Rows and pairs that were left out by `drop_too_long`."""
    adapted_share: float | None = None
    """Of the student's weights (0 to 1), those of the layers that the LoRA is added to; None: of an earlier version."""
    untrained_experts_share: float = 0.0
    """Of the student's weights, those of a mixture's experts that get no LoRA."""
    merge_bytes: int = 0
    """Estimated: the memory that merging takes; 0: it is not merged."""

    def lines(self) -> Iterator[str]:
        """A table of the kinds, and what the training needs, line by line."""
        width = max(len("kind"), *map(len, self.kinds))
        yield f"{'kind':<{width}}  {'rows':>7}  {'supervised tokens':>17}  {'share':>6}"
        for kind, of in self.kinds.items():
            yield f"{kind:<{width}}  {of.rows:>7,}  {of.tokens:>17,}  {100 * of.share:>4.1f} %"
        pairs = f", {self.pairs:,} pairs" if self.pairs else ""
        yield f"{self.train_rows:,} training rows, {self.validation_rows:,} validation rows{pairs}, {self.images:,} images"
        fewest, most = self.image_tokens
        image = f"an image makes {fewest:,}" + (f" to {most:,}" if most != fewest else "") + " tokens"
        limit = "no limit known" if self.context_tokens is None else f"the student takes {self.context_tokens:,}"
        yield f"longest sequence {self.longest_tokens:,} tokens ({limit}); {image}"
        yield f"most pixels of an image: {self.pixel_cap or 'the processor takes no cap'}"
        if self.adapted_share is not None:
            yield f"the LoRA is added to layers with {100 * self.adapted_share:.1f} % of the student's weights"
        parts = " + ".join(f"{name} {format_bytes(number)}" for name, number in self.memory_bytes.items())
        yield f"memory, roughly: {parts}; free {format_bytes(self.memory_free_bytes)}"
        if self.merge_bytes:
            yield f"merging, a weight at a time: {format_bytes(self.merge_bytes)} of the CPU's memory"
        yield f"disk: {format_bytes(self.disk_bytes)}; free {format_bytes(self.disk_free_bytes)}"
        for note in self.notes:
            yield f"Note: {note}"


def preflight(
    recipe: Recipe,
    corpus: Corpus,
    processor: ProcessorMixin,
    outline: Outline,
    *,
    free_bytes: int,
    free_to_compare: Mapping[str, int],
    weight_bytes: int = 4,
) -> tuple[Preflight, RenderedRows]:
    """What the training needs, and the rows as the student reads them.

    Args:
        recipe: What is trained, on what, and how.
        corpus: The data.
        processor: The student's.
        outline: The student without its weights.
        free_bytes: The device's free memory.
        free_to_compare: Free bytes by device where the merged model can be compared with the adapter, the one that is
            wished for first; "cpu" is among them.
        weight_bytes: Of a number in the data type of the training: 4 in single precision, 2 in bfloat16.

    Returns:
        (the figures of all checks, the rows).

    Raises:
        UserError: The first thing that would waste the training.
    """
    renderer = Renderer(processor, recipe.student, corpus.pictures)
    renderer.check_template()
    rows = renderer.render_corpus(corpus)
    if recipe.patience is not None and not rows.validation:
        raise UserError(
            f": there is no validation split to stop by; export with one ({setting('splits')}), or leave it out",
            field="patience",
        )
    check_supervised(rows)
    check_same_images(corpus)
    near = check_near_copies(corpus, allowed=recipe.allow_near_copies)
    limit = context_tokens(processor, outline)
    cap = pixel_cap(processor)
    dropped = 0
    if recipe.drop_too_long and limit is not None:
        rows, dropped = without_too_long(rows, limit)
    check_context(recipe, rows, limit, capped=cap is not None)
    disk, disk_free = check_disk(recipe, outline)
    longest = max(each.tokens for each in rows.all)
    checkpointing, memory = check_memory(
        recipe, outline, longest, free_bytes, weight_bytes=weight_bytes, pairs=bool(rows.train_pairs)
    )
    compared_on = check_merge(recipe, outline, free_to_compare)
    of_images = [renderer.image_tokens(number) for number in range(len(corpus.pictures.places))]
    checked = Preflight(
        kinds=kind_shares(rows.train),
        train_rows=len(rows.train),
        validation_rows=len(rows.validation),
        pairs=len(rows.train_pairs) + len(rows.validation_pairs),
        images=len(of_images),
        longest_tokens=longest,
        image_tokens=(min(of_images) + 1, max(of_images) + 1) if of_images else (0, 0),  # with its mark
        pixel_cap=cap,
        context_tokens=limit,
        end_added=renderer.end_added,
        near_copies=near,
        disk_bytes=disk,
        disk_free_bytes=disk_free,
        memory_bytes=memory,
        memory_free_bytes=free_bytes,
        compared_on=compared_on,
        checkpointing=checkpointing,
        notes=(),
        too_long=dropped,
        adapted_share=(outline.in_targets + (outline.in_experts if outline.experts else 0)) / outline.parameters,
        untrained_experts_share=0.0 if outline.experts else outline.in_experts / outline.parameters,
        merge_bytes=merge_bytes(outline) if recipe.merge else 0,
    )
    return replace(checked, notes=tuple(_notes(checked))), rows


def _notes(checked: Preflight) -> Iterator[str]:
    """What a user should know before the training, a line each."""
    if checked.near_copies is None:
        yield "near copies between the splits were not looked for: imagehash is not installed"
    elif checked.near_copies:
        yield (
            f"{checked.near_copies} pictures of the validation split have near copies in training: its loss flatters the student"
        )
    if checked.end_added:
        yield "the chat template ends no reply: the tokenizer's end token was added, or the student would never stop"
    if checked.too_long:
        yield f"{format_count(checked.too_long, 'row')} longer than the student takes were left out"
    if checked.untrained_experts_share:
        yield (
            f"the experts, {100 * checked.untrained_experts_share:.1f} % of the student's weights, stay as they are; "
            f"{as_option('lora_experts')} adapts them, too"
        )
    if checked.merge_bytes and checked.compared_on is None:
        yield "no memory holds the whole student, so the merged model will not be compared with the adapter"
    if not checked.validation_rows:
        yield f"there is no validation split, so nothing shows overfitting; export with one ({as_option('splits')})"
    if sum(checked.memory_bytes.values()) > checked.memory_free_bytes:
        yield (
            f"the estimate is above the free memory; it is crude, but a smaller {as_option('batch')} with more "
            f"{as_option('accumulate')} is safer"
        )
