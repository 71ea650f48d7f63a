"""Checks of the rows: each teaches something, no picture is in two splits, and the student takes their length."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from unsaf_async.distill.train.rendering import RenderedRows
from unsaf_async.errors import UserError, setting
from unsaf_async.text import format_count

if TYPE_CHECKING:
    from collections.abc import Iterable

    from transformers import ProcessorMixin

    from unsaf_async.distill.train.corpus import Corpus
    from unsaf_async.distill.train.recipe import Recipe
    from unsaf_async.distill.train.rendering import RenderedRow
    from unsaf_async.distill.train.student import Outline


@dataclass(frozen=True)
class KindShare:
    """Of the training rows of one kind: rows, supervised tokens, and these tokens' share of all (0 to 1)."""

    rows: int
    tokens: int
    share: float


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
