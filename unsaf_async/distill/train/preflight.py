"""Checks before a student is trained: everything that would waste the training, or fake its result.

A row that teaches nothing, a picture in two splits, a prompt longer than the model's context, a disk or a memory that
is too small: each is one clear error, before the first weight is read.
"""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING

from PIL import Image
from trl import apply_chat_template
from trl.data_utils import prepare_multimodal_messages

from unsaf_async.distill.train.corpus import DPO_TEXTS, SFT_TEXTS
from unsaf_async.distill.train.merging import merge_bytes, merge_place
from unsaf_async.distill.train.pixel_cap import pixel_cap
from unsaf_async.errors import UserError, as_option, setting
from unsaf_async.text import format_bytes, format_count, one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from transformers import ProcessorMixin

    from unsaf_async.distill.train.corpus import Corpus, CorpusRow, Pictures
    from unsaf_async.distill.train.recipe import Recipe
    from unsaf_async.distill.train.student import Outline

_AT_A_TIME = 1_024
"""Texts that are tokenized in one call."""


@dataclass(frozen=True, slots=True)
class RenderedRow:
    """A row as the student reads it."""

    row: CorpusRow
    texts: Mapping[str, str]
    """By column, with the marks of its chat template."""
    prompt_tokens: int
    """The image's included."""
    reply_tokens: tuple[int, ...]
    """Of each reply: one, or of a pair two."""

    @property
    def tokens(self) -> int:
        """Of the longest sequence that the row makes."""
        return self.prompt_tokens + max(self.reply_tokens)


@dataclass(frozen=True)
class RenderedRows:
    """All rows as the student reads them; the pairs are empty without `Recipe.dpo`."""

    train: list[RenderedRow]
    validation: list[RenderedRow]
    train_pairs: list[RenderedRow]
    validation_pairs: list[RenderedRow]

    @property
    def all(self) -> list[RenderedRow]:
        """Every row and pair."""
        return self.train + self.validation + self.train_pairs + self.validation_pairs


@dataclass(frozen=True)
class KindShare:
    """Of the training rows of one kind: rows, supervised tokens, and these tokens' share of all (0 to 1)."""

    rows: int
    tokens: int
    share: float


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
    merge_on: str | None
    """The device on which the adapter is merged, by what is free before the training; None: it is not merged."""
    checkpointing: bool
    """Activations are computed again in the backward pass."""
    notes: tuple[str, ...]
    too_long: int = 0
    """Rows and pairs that were left out by `drop_too_long`."""
    adapted_share: float | None = None
    """Of the student's weights (0 to 1), those of the layers that the LoRA is added to; None: of an earlier version."""
    untrained_experts_share: float = 0.0
    """Of the student's weights, those of a mixture's experts that get no LoRA."""

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
        if self.merge_on is not None:
            yield f"the adapter will be merged on {self.merge_on}"
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
    free_for_merge: Mapping[str, int],
    weight_bytes: int = 4,
) -> tuple[Preflight, RenderedRows]:
    """What the training needs, and the rows as the student reads them.

    Args:
        recipe: What is trained, on what, and how.
        corpus: The data.
        processor: The student's.
        outline: The student without its weights.
        free_bytes: The device's free memory.
        free_for_merge: Free bytes by device where the adapter can be merged, the one that is wished for first.
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
    merge_on = check_merge(recipe, outline, free_for_merge)
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
        merge_on=merge_on,
        checkpointing=checkpointing,
        notes=(),
        too_long=dropped,
        adapted_share=(outline.in_targets + (outline.in_experts if outline.experts else 0)) / outline.parameters,
        untrained_experts_share=0.0 if outline.experts else outline.in_experts / outline.parameters,
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
    if not checked.validation_rows:
        yield f"there is no validation split, so nothing shows overfitting; export with one ({as_option('splits')})"
    if sum(checked.memory_bytes.values()) > checked.memory_free_bytes:
        yield (
            f"the estimate is above the free memory; it is crude, but a smaller {as_option('batch')} with more "
            f"{as_option('accumulate')} is safer"
        )


# --- rows as the student reads them -----------------------------------------------------------------------------------


class Renderer:
    """Texts in the student's chat template, and how many tokens they and their images make."""

    def __init__(self, processor: ProcessorMixin, student: str, pictures: Pictures) -> None:
        self.processor, self.student, self.pictures = processor, student, pictures
        self.end_added = False
        self._of_number: dict[int, int] = {}
        self._of_size: dict[tuple[int, int], int] = {}

    def check_template(self) -> None:
        """Checks the student's chat template.

        Raises:
            UserError: It is of no use: see the messages.
        """
        user = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "QUESTION"}]}]
        text = [{"role": "user", "content": [{"type": "text", "text": "QUESTION"}]}]
        reply = [{"role": "assistant", "content": [{"type": "text", "text": "ANSWER"}]}]
        render = self.processor.apply_chat_template
        at = f"{setting('student')} {self.student}: its chat template"
        try:
            asked, asking, whole, bare = (
                render(user),
                render(user, add_generation_prompt=True),
                render([*user, *reply]),
                render(text),
            )
        except Exception as error:  # whatever a template raises
            raise UserError(
                f"{at} cannot show a question with an image and its answer ({brief(error)}); give a model whose template can"
            ) from None
        if "QUESTION" not in asked or "ANSWER" not in whole:
            raise UserError(f"{at} drops the text of a turn; give a model whose template shows it")
        if asked == bare:
            raise UserError(f"{at} drops the image; give a model whose template shows it")
        if asking == asked:
            raise UserError(
                f"{at} marks no place for the reply (add_generation_prompt changes nothing), so the student could not be asked "
                "to answer; give a model whose template does"
            )
        if not whole.startswith(asking):
            raise UserError(
                f"{at} writes a prompt with a reply unlike a prompt alone, so the student would learn what it is never asked; "
                "give a model whose template does not"
            )
        ending = whole[whole.rindex("ANSWER") + len("ANSWER") :].strip()
        self.end_added = not ending and bool(self.processor.tokenizer.eos_token)

    def render_corpus(self, corpus: Corpus) -> RenderedRows:
        """All rows and pairs of an export as the student reads them.

        Args:
            corpus: The export.

        Returns:
            The rows by split.

        Raises:
            UserError: A row cannot be written in the student's template.
        """
        return RenderedRows(
            train=self.render(corpus.train, SFT_TEXTS),
            validation=self.render(corpus.validation, SFT_TEXTS),
            train_pairs=self.render(corpus.preferred.get("train", []), DPO_TEXTS),
            validation_pairs=self.render(corpus.preferred.get("validation", []), DPO_TEXTS),
        )

    def render(self, rows: Sequence[CorpusRow], columns: Sequence[str]) -> list[RenderedRow]:
        """Rows as the student reads them.

        Args:
            rows: Rows of one kind of column.
            columns: The columns of turns; the first is the prompt, the others are replies.

        Returns:
            The rendered rows, in their order.

        Raises:
            UserError: A row cannot be written in the student's template.
        """
        prompt, *replies = columns
        texts = [self._texts(row, columns) for row in rows]
        lengths = {name: self._lengths([each[name] for each in texts]) for name in columns}
        return [
            RenderedRow(
                row=row,
                texts=each,
                prompt_tokens=lengths[prompt][place] + sum(map(self.image_tokens, row.images)),
                reply_tokens=tuple(lengths[name][place] for name in replies),
            )
            for place, (row, each) in enumerate(zip(rows, texts, strict=True))
        ]

    def _texts(self, row: CorpusRow, columns: Sequence[str]) -> dict[str, str]:
        prompt, *replies = columns
        try:
            messages = {prompt: prepare_multimodal_messages(row.texts[prompt], [None] * len(row.images))}
            messages |= {name: prepare_multimodal_messages(row.texts[name]) for name in replies}
            texts: dict[str, str] = apply_chat_template(messages, self.processor)
        except Exception as error:  # whatever a template raises
            raise UserError(
                f"{row.where}: the chat template of {self.student} does not take this row ({brief(error)}); leave the row out",
                field="data",
            ) from None
        if self.end_added:
            end = self.processor.tokenizer.eos_token
            texts = texts | {name: f"{texts[name].rstrip()}{end}" for name in replies}
        return {name: texts[name] for name in columns}

    def _lengths(self, texts: list[str]) -> list[int]:
        lengths: list[int] = []
        for start in range(0, len(texts), _AT_A_TIME):
            encoded = self.processor.tokenizer(texts[start : start + _AT_A_TIME], add_special_tokens=False)
            lengths += map(len, encoded["input_ids"])
        return lengths

    def image_tokens(self, number: int) -> int:
        """How many tokens an image adds to its mark in the text.

        Processors go by the size, so one blank image of each size is measured.

        Args:
            number: The image's number.

        Returns:
            Tokens, >= 0.

        Raises:
            UserError: The processor takes no image of this size.
        """
        if number not in self._of_number:
            size = self.pictures.size(number)
            if size not in self._of_size:
                self._of_size[size] = self._measured(size)
            self._of_number[number] = self._of_size[size]
        return self._of_number[number]

    def _measured(self, size: tuple[int, int]) -> int:
        turn = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "?"}]}]
        text = self.processor.apply_chat_template(turn)
        try:
            made = self.processor(images=[[Image.new("RGB", size)]], text=[text], add_special_tokens=False)
        except Exception as error:  # whatever a processor raises
            raise UserError(
                f"{self.student}: its processor takes no image of {size[0]} x {size[1]} pixels ({brief(error)}); "
                "leave such images out",
                field="student",
            ) from None
        return len(made["input_ids"][0]) - self._lengths([text])[0]


# --- each check -------------------------------------------------------------------------------------------------------


def kind_shares(rows: Iterable[RenderedRow]) -> dict[str, KindShare]:
    """Rows, supervised tokens and their share, by kind.

    Args:
        rows: The training rows.

    Returns:
        By kind, in the order in which kinds come; {} of nothing.
    """
    number: Counter[str] = Counter()
    tokens: Counter[str] = Counter()
    for each in rows:
        number[each.row.kind] += 1
        tokens[each.row.kind] += sum(each.reply_tokens)
    total = tokens.total()
    return {kind: KindShare(number[kind], tokens[kind], tokens[kind] / total if total else 0.0) for kind in number}


def check_supervised(rows: RenderedRows) -> None:
    """Checks that every row teaches something.

    Args:
        rows: All rows and pairs.

    Raises:
        UserError: A reply is empty, or the two replies of a pair are the same.
    """
    empty = [
        each.row
        for each in rows.all
        if not min(each.reply_tokens)
        or any(
            not "".join(turn["content"] for turn in turns).strip()
            for name, turns in each.row.texts.items()
            if name != "prompt"
        )
    ]
    if empty:
        raise UserError(
            f"{empty[0].where}: has no supervised token, its reply is empty ({format_count(len(empty), 'row')} "
            "like it); leave such rows out",
            field="data",
        )
    same = [
        each.row for each in rows.train_pairs + rows.validation_pairs if each.texts["chosen"] == each.texts["rejected"]
    ]
    if same:
        raise UserError(
            f"{same[0].where}: chosen and rejected are the same ({format_count(len(same), 'row')} like it); leave such pairs out",
            field="data",
        )


def check_same_images(corpus: Corpus) -> None:
    """Checks that no image is both trained on and validated on: by its id, and by its bytes.

    Args:
        corpus: The data.

    Raises:
        UserError: An image is in both splits.
    """
    splits = corpus.splits
    ids = {row.image_id for row in splits["train"]}
    numbers = {number for row in splits["train"] for number in row.images}
    leaks = [row for row in splits["validation"] if row.images and (row.image_id in ids or numbers & set(row.images))]
    if leaks:
        raise UserError(
            f"{leaks[0].where}: its image is in the training split, too ({format_count(len(leaks), 'row')} like it, such "
            f"as image_id {leaks[0].image_id[:12]}); split by image, as `unsaf-async export` does",
            field="data",
        )


def check_near_copies(corpus: Corpus, *, allowed: bool) -> int | None:
    """How many pictures, as clusters of near copies, are in both splits.

    Args:
        corpus: The data.
        allowed: Whether there may be any.

    Returns:
        0, unless they are allowed; None where imagehash is not installed.

    Raises:
        UserError: There is one that is not allowed.
    """
    from unsaf_async.distill.data.clusters import NEAR, clusters, perceptual_hash

    splits = corpus.splits
    numbers = {split: {number for row in rows for number in row.images} for split, rows in splits.items()}
    if not numbers["validation"]:
        return 0
    try:
        import imagehash  # noqa: F401
    except ModuleNotFoundError:
        return None
    hashes = {
        str(number): perceptual_hash(corpus.pictures.data(number))
        for number in numbers["train"] | numbers["validation"]
    }
    of = clusters(hashes)
    both = {of[str(number)] for number in numbers["train"]} & {of[str(number)] for number in numbers["validation"]}
    if both and not allowed:
        row = next(row for row in splits["validation"] if any(of[str(number)] in both for number in row.images))
        raise UserError(
            f"{row.where}: its image is nearly one of the training split's (perceptual hashes within {NEAR} of 64 bits; "
            f"{len(both)} pictures are in both); split by cluster, as `unsaf-async export` does, or give "
            f"{setting('allow_near_copies')}",
            field="data",
        )
    return len(both)


def context_tokens(processor: ProcessorMixin, outline: Outline) -> int | None:
    """The longest sequence that the student takes.

    Args:
        processor: The student's.
        outline: The student without its weights.

    Returns:
        Tokens; None where neither model nor tokenizer has a limit.
    """
    # a tokenizer without a limit has about 1e30
    of_tokenizer = processor.tokenizer.model_max_length or inf
    limit = min(outline.context_tokens or inf, of_tokenizer if of_tokenizer < 1e9 else inf)
    return None if limit == inf else int(limit)


def without_too_long(rows: RenderedRows, limit: int) -> tuple[RenderedRows, int]:
    """The rows and pairs that the student takes.

    Args:
        rows: All of them.
        limit: The longest sequence, in tokens.

    Returns:
        (those that are left, how many are not).

    Raises:
        UserError: No row is left to train on, or no pair where there were some.
    """
    kept = RenderedRows(
        *(
            [each for each in part if each.tokens <= limit]
            for part in (rows.train, rows.validation, rows.train_pairs, rows.validation_pairs)
        )
    )
    if not kept.train or (rows.train_pairs and not kept.train_pairs):
        raise UserError(
            f": every row is longer than the {limit:,} tokens that the student takes, so nothing would be left; "
            f"cap the images with {setting('max_pixels')}, or choose another student",
            field="drop_too_long",
        )
    return kept, len(rows.all) - len(kept.all)


def check_context(recipe: Recipe, rows: RenderedRows, limit: int | None, *, capped: bool) -> None:
    """Checks that no sequence is longer than the student takes: nothing is ever cut off.

    Args:
        recipe: What is trained.
        rows: All rows and pairs.
        limit: The longest sequence, in tokens; None: not known.
        capped: Whether the student's processor takes a cap on an image's pixels.

    Raises:
        UserError: A sequence is too long.
    """
    over = [each for each in rows.all if limit is not None and each.tokens > limit]
    if over:
        worst = max(over, key=lambda each: each.tokens)
        raise UserError(
            f"{worst.row.where}: makes {worst.tokens:,} tokens ({worst.prompt_tokens:,} of prompt and image), and the student "
            f"takes {limit:,}; {format_count(len(over), 'row')} {'is' if len(over) == 1 else 'are'} too long; "
            + _shorter(recipe, capped),
            field="data",
        )


def _shorter(recipe: Recipe, capped: bool) -> str:
    """What to do about rows that are too long."""
    leave = f"leave the rows out ({setting('drop_too_long')})"
    if not capped:
        return f"its processor takes no cap on an image's pixels, so {leave}"
    if recipe.max_pixels:
        return f"give a lower {setting('max_pixels')} than {recipe.max_pixels}, or {leave}"
    return f"cap the images with {setting('max_pixels')} (512*512 = 262144), or {leave}"


def check_disk(recipe: Recipe, outline: Outline) -> tuple[int, int]:
    """Checks the disk.

    A checkpoint is the adapter with AdamW's two moments, in single precision; at most three are there at a time.

    Args:
        recipe: What is trained.
        outline: The student without its weights.

    Returns:
        (bytes that will be written, bytes that are free).

    Raises:
        UserError: They are not enough.
    """
    adapter = 4 * outline.learned
    stages = 2 if recipe.dpo else 1
    needed = stages * (3 * 3 * adapter + adapter) + (outline.parameters * outline.dtype.itemsize if recipe.merge else 0)
    folder = next(path for path in (recipe.out, *recipe.out.absolute().parents) if path.exists())
    free = shutil.disk_usage(folder).free
    if needed > free:
        less = f"train with {setting('merge', False)}, or " if recipe.merge else ""
        raise UserError(
            f"{recipe.out}: {format_bytes(needed)} will be written and {format_bytes(free)} are free; make room, or "
            f"{less}give another folder",
            field="out",
        )
    return needed, free


def check_memory(
    recipe: Recipe, outline: Outline, longest: int, free_bytes: int, *, weight_bytes: int, pairs: bool
) -> tuple[bool, dict[str, int]]:
    """Checks the memory, by a crude estimate: no fit is promised.

    Weights: 4 bytes a parameter, 2 in bfloat16, half a byte and its constants in 4 bits. Adapter: weight, gradient and
    two moments, 16 bytes a parameter. Activations: 34 bytes for each token, layer and unit of width, twice that in
    single precision, without attention scores, which are not kept (Korthikanti et al., "Reducing activation
    recomputation in large transformer models", 2022, equation 1), plus the logits; where they are computed again, one
    number each, and one whole layer.

    Args:
        recipe: What is trained.
        outline: The student without its weights.
        longest: Tokens of the longest sequence.
        free_bytes: The device's free memory.
        weight_bytes: Of a number in the data type of the training: 4 in single precision, 2 in bfloat16.
        pairs: Whether preference pairs are trained on, too.

    Returns:
        (whether activations are computed again, the estimate in bytes by part).

    Raises:
        UserError: The weights and the adapter alone do not fit.
    """
    width = weight_bytes
    quantized = outline.in_targets if recipe.qlora else 0
    certain = {
        "weights": int((outline.parameters - quantized) * width + quantized * 0.53),
        "adapter": 16 * outline.learned,
    }
    if sum(certain.values()) > free_bytes:
        less = "" if recipe.qlora else f"train with {setting('qlora')}, or "
        raise UserError(
            f"{recipe.student}: its weights and the adapter take {format_bytes(sum(certain.values()))}, and "
            f"{format_bytes(free_bytes)} of memory are free; {less}choose a smaller student",
            field="student",
        )
    tokens = recipe.batch * longest * (2 if pairs else 1)
    layer = 34 * tokens * outline.hidden * width // 2
    logits = 2 * 4 * tokens * outline.vocabulary
    kept = outline.layers * layer + logits
    again = outline.layers * tokens * outline.hidden * width + layer + logits
    checkpointing = recipe.checkpointing
    if checkpointing is None:
        checkpointing = sum(certain.values()) + kept > free_bytes
    return checkpointing, certain | {"activations": again if checkpointing else kept}


def check_merge(recipe: Recipe, outline: Outline, free: Mapping[str, int]) -> str | None:
    """Checks that the adapter can be merged: a student in 4 bits is trained in a quarter of what merging needs.

    Args:
        recipe: Whether it is merged.
        outline: The student without its weights.
        free: Free bytes by device, the one that is wished for first.

    Returns:
        The device; None: it is not merged.

    Raises:
        UserError: No device has room.
    """
    if not recipe.merge:
        return None
    place = merge_place(outline, free)
    if place is None:
        room = " and ".join(f"{format_bytes(number)} on {name}" for name, number in free.items())
        raise UserError(
            f"{recipe.student}: merging takes {format_bytes(merge_bytes(outline))} of memory, and {room} are free; train with "
            f"{setting('merge', False)}, and merge the adapter on a larger machine",
            field="student",
        )
    return place[0]


def brief(error: BaseException) -> str:
    """An error in one line.

    Args:
        error: What was raised.

    Returns:
        Its type, and up to 150 characters of its message.
    """
    return f"{type(error).__name__}: {one_line(str(error), 150)}"
