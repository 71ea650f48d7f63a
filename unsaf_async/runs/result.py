"""From a run's records to its findings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unsaf_async.calls.budget import NANO
from unsaf_async.examine.examiner import has_failed_calls, is_unfinished
from unsaf_async.runs.findings import Findings, findings
from unsaf_async.score.run_score import Accounts, Calls, Tokens, score

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from unsaf_async.calls.ledger import Account
    from unsaf_async.records import Examination
    from unsaf_async.runs.folder import Manifest


def unfinished_work(examinations: Sequence[Examination], skipped: Mapping[str, str]) -> str | None:
    """What failed, in words, with the reason where all images failed for the same one; None if nothing did.

    Args:
        examinations: The run's, one an image.
        skipped: The reasons why no more could be asked about images, by the images' ids.

    Returns:
        One line; None if nothing failed.
    """
    images = sum(each.failure is not None for each in examinations)
    partly = sum(each.failure is None and has_failed_calls(each) for each in examinations)
    parts = []
    if images:
        reasons = {each.failure: None for each in examinations if each.failure}
        why = f" ({next(iter(reasons))})" if len(reasons) == 1 else ""
        parts.append(f"{images} of {len(examinations)} images failed{why}")
    if partly:
        parts.append(f"{partly} images hold calls that failed")
    if skipped:
        name, why = next(iter(skipped.items()))
        parts.append(f"{len(skipped)} examined images were left as they are (such as {name}: {why})")
    return " and ".join(parts) or None


def only_files(examinations: Sequence[Examination], skipped: Mapping[str, str]) -> bool:
    """Whether all that failed lies in the images' files: resuming changes nothing before these are mended.

    Args:
        examinations: The run's, one an image.
        skipped: As for `unfinished_work`.

    Returns:
        Whether files failed, and no call did.
    """
    failed = [each for each in examinations if is_unfinished(each)]
    return bool(failed or skipped) and all(each.failure and each.image.width is None for each in failed)


def score_run(manifest: Manifest, examinations: Sequence[Examination], account: Account, wall_s: float) -> Findings:
    """The score of a run and all else that is measured. Pure; takes some seconds for 1,000 images with further draws.

    Args:
        manifest: The run's.
        examinations: The run's, one an image, in any order.
        account: Of its attempts.
        wall_s: Seconds with a session open.

    Returns:
        The findings; figures that are undefined are None, with their reasons.
    """
    # Not as they finished: resampling and sums depend on the order.
    examinations = sorted(examinations, key=lambda each: each.image.id)
    cached = sum(call.cached for each in examinations for call in each.calls)
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
        unknown_attempts=account.unknown,
        cost_unknown_usd=account.unknown_nano_usd / NANO,
    )
    result = score(
        examinations,
        questions_per_label=None if manifest.source else manifest.questions,
        accounts=accounts,
        provider=manifest.subject.name,
        judge=manifest.judge_name,
        images_total=manifest.images,
        seed=manifest.seed,
    )
    result = result.model_copy(update={"warnings": [*result.warnings, *_foreign_images(manifest, examinations)]})
    return findings(result, manifest, examinations)


def _foreign_images(manifest: Manifest, examinations: Sequence[Examination]) -> Iterator[str]:
    """A warning if the model was shown images of another world than its own."""
    side = manifest.subject.image.native_px
    sizes = [(each.image.width, each.image.height) for each in examinations if each.image.width]
    foreign = sum(size != (side, side) for size in sizes)
    if side is not None and foreign:
        of = f"{foreign} of {len(sizes)} images are not {side} x {side} pixels, the only ones that {manifest.subject.name} knows"
        yield f"{of}: {manifest.subject.notes}"
