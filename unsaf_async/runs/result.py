"""From a run's records to its findings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unsaf_async.examine.examiner import has_failed_calls
from unsaf_async.runs.findings import Findings, findings
from unsaf_async.score.unf1 import Accounts, Calls, Tokens, score

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from unsaf_async.calls.ledger import Account
    from unsaf_async.records import Examination
    from unsaf_async.runs.folder import Manifest


def unfinished_work(kept: list[Examination], left: dict[str, str]) -> str | None:
    """What failed, in words, with the reason where all images failed for the same one; None if nothing did.

    Args:
        kept: The run's examinations, one an image.
        left: The reasons why no more could be asked about images, by the images' ids.

    Returns:
        One line; None if nothing failed.
    """
    images = sum(examination.failure is not None for examination in kept)
    partly = sum(examination.failure is None and has_failed_calls(examination) for examination in kept)
    parts = []
    if images:
        reasons = {examination.failure: None for examination in kept if examination.failure}
        why = f" ({next(iter(reasons))})" if len(reasons) == 1 else ""
        parts.append(f"{images} of {len(kept)} images failed{why}")
    if partly:
        parts.append(f"{partly} images hold calls that failed")
    if left:
        name, why = next(iter(left.items()))
        parts.append(f"{len(left)} examined images were left as they are (such as {name}: {why})")
    return " and ".join(parts) or None


def score_run(manifest: Manifest, kept: Sequence[Examination], account: Account, wall_s: float) -> Findings:
    """The score of a run and all that is measured beside it. Pure; takes some seconds for 1,000 images with further draws.

    Args:
        manifest: The run's.
        kept: Its examinations, one an image, in any order.
        account: Of its attempts.
        wall_s: Seconds with a session open.

    Returns:
        The findings; figures that are undefined are None, with their reasons.
    """
    kept = sorted(kept, key=lambda each: each.image.id)  # not as they finished: resampling and sums depend on the order
    cached = sum(call.cached for examination in kept for call in examination.calls)
    accounts = Accounts(
        calls=Calls(
            made=sum(account.made.values()), cached=cached, retried=account.retried, by_role=dict(account.made)
        ),
        tokens=Tokens(
            input=account.usage.input_tokens,
            cached_input=account.usage.cached_input_tokens,
            output=account.usage.output_tokens,
            reasoning=account.usage.reasoning_tokens,
        ),
        cost_usd=account.cost_usd,
        wall_s=round(wall_s, 3),
    )
    result = score(
        kept,
        questions_per_label=None if manifest.source else manifest.questions,
        accounts=accounts,
        provider=manifest.subject.name,
        judge=manifest.judge_name,
        images_total=manifest.images,
        seed=manifest.seed,
    )
    result = result.model_copy(update={"warnings": [*result.warnings, *_foreign_images(manifest, kept)]})
    return findings(result, manifest, kept)


def _foreign_images(manifest: Manifest, kept: Sequence[Examination]) -> Iterator[str]:
    """A warning if the model was shown images of another world than its own."""
    side = manifest.subject.image.native_px
    sizes = [(kept_.image.width, kept_.image.height) for kept_ in kept if kept_.image.width]
    foreign = sum(size != (side, side) for size in sizes)
    if side is not None and foreign:
        of = f"{foreign} of {len(sizes)} images are not {side} x {side} pixels, the only ones that {manifest.subject.name} knows"
        yield f"{of}: {manifest.subject.notes}"
