"""From a run's records to its findings."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from unsaf_async.calls.backends.outcome import is_lost
from unsaf_async.calls.budget import NANO
from unsaf_async.errors import as_option
from unsaf_async.runs.findings import Tallies
from unsaf_async.runs.image_notes import ImageNotes
from unsaf_async.runs.journal import paid_nano_usd
from unsaf_async.runs.stopping import rule_of
from unsaf_async.score.run_score import Accounts, Calls, Tokens, score_of
from unsaf_async.text import format_count, format_usd

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from unsaf_async.calls.ledger import Account
    from unsaf_async.records import Examination
    from unsaf_async.runs.findings import Findings
    from unsaf_async.runs.folder import JudgedAnew, Manifest
    from unsaf_async.runs.journal import Kept
    from unsaf_async.score.intervals import Interval
    from unsaf_async.score.label_errors import TrustedLabel
    from unsaf_async.score.run_score import Score


class Unfinished:
    """What of a run failed, added up image by image."""

    def __init__(self) -> None:
        self._images = self._failed = self._partly = self._lost = 0
        self._files = self._asked_again = self._answered = 0
        self._reasons: set[str] = set()

    def add(self, examination: Examination) -> None:
        """Count one image.

        Args:
            examination: Of the image; each image once.
        """
        self._images += 1
        failure, ends = examination.failure, {call.outcome for call in examination.calls}
        if failure is None and ends <= {"ok"}:
            return
        failed_calls, lost = "failed" in ends, any(map(is_lost, examination.calls))
        if failure is not None:
            self._failed += 1
            self._reasons.add(failure)
        elif failed_calls:
            self._partly += 1
        elif lost:
            self._lost += 1
        if failed_calls or lost:
            self._asked_again += 1
        elif failure is not None and examination.image.width is None:
            self._files += 1
        elif failure is not None:
            self._answered += 1

    def in_words(self, skipped: Mapping[str, str]) -> str | None:
        """What failed, with the reason where all images failed for the same one.

        Args:
            skipped: The reasons why no more could be asked about images, by the images' ids.

        Returns:
            One line; None if nothing failed.
        """
        parts = []
        if self._failed:
            why = f" ({next(iter(self._reasons))})" if len(self._reasons) == 1 else ""
            parts.append(f"{self._failed} of {self._images} images failed{why}")
        if self._partly:
            parts.append(f"{format_count(self._partly, 'image holds', 'images hold')} calls that failed")
        if self._lost:
            parts.append(f"{format_count(self._lost, 'image holds', 'images hold')} replies that the server broke off")
        if skipped:
            name, why = next(iter(skipped.items()))
            left = format_count(
                len(skipped), "examined image was left as it is", "examined images were left as they are"
            )
            parts.append(f"{left} (such as {name}: {why})")
        return " and ".join(parts) or None

    def only_files(self, skipped: Mapping[str, str]) -> bool:
        """Whether what resuming could change lies in the images' files: it changes nothing before these are mended.

        Args:
            skipped: As for `in_words`.

        Returns:
            Whether files failed, and no call did.
        """
        return bool(self._files or skipped) and not self._asked_again

    def only_replies(self, skipped: Mapping[str, str]) -> bool:
        """Whether resuming changes nothing: all that failed did so by what a model replied, and replies are kept.

        Args:
            skipped: As for `in_words`.

        Returns:
            Whether images failed, and neither a file nor a call did.
        """
        return bool(self._answered) and not (self._files or skipped or self._asked_again)


class RunTally:
    """A run's findings in the making: its examinations, added up image by image, in the order of the images' ids.

    Not as they finished: resampling and sums depend on the order.
    """

    def __init__(self, manifest: Manifest, labels: Mapping[str, TrustedLabel] | None = None) -> None:
        """A tally of no image.

        Args:
            manifest: The run's.
            labels: Its trusted labels, by the questions' keys.
        """
        self.manifest = manifest
        self.unfinished = Unfinished()
        self._tallies = Tallies(manifest, labels)
        self._notes = ImageNotes()
        self._sized = self._foreign = self._paid_nano_usd = 0
        self._rule = rule_of(manifest.until_ci, anytime=manifest.anytime)

    @classmethod
    def of(cls, manifest: Manifest, kept: Kept, labels: Mapping[str, TrustedLabel] | None = None) -> RunTally:
        """The tally of a run.

        Args:
            manifest: The run's.
            kept: Its examinations by image id, in any order. Each is read once.
            labels: Its trusted labels, by the questions' keys.

        Returns:
            The tally of all of them.
        """
        tally = cls(manifest, labels)
        for examination in kept.in_order(sorted(kept)):
            tally.add(examination)
        return tally

    def add(self, examination: Examination) -> None:
        """Count one image.

        Args:
            examination: Of the image; each image once.
        """
        self._tallies.add(examination)
        self.unfinished.add(examination)
        self._paid_nano_usd += paid_nano_usd(examination)
        if self._rule:
            self._rule.add(examination)
        self._notes.add(examination.image)
        image, side = examination.image, self.manifest.subject.image.native_px
        if image.width:
            self._sized += 1
            self._foreign += (image.width, image.height) != (side, side)

    def findings(self, account: Account) -> Findings:
        """The score of the run and all else that is measured.

        Args:
            account: Of its attempts. Where it comes to less than the replies that are here cost, it lacks lines: their cost
                counts, and a warning says so.

        Returns:
            The findings; figures that are undefined are None, with their reasons.
        """
        manifest, lacks = self.manifest, list[str]()
        if self._paid_nano_usd > account.spent_nano_usd:
            spent, cost = (format_usd(amount / NANO, 4) for amount in (account.spent_nano_usd, self._paid_nano_usd))
            lacks = [f"the ledger lacks lines: it comes to {spent}, and the replies that are here cost {cost}"]
            account = replace(account, spent_nano_usd=self._paid_nano_usd)
        result = score_of(
            self._tallies.score,
            questions_per_label=None if manifest.source else manifest.questions,
            accounts=_accounts(account, self._tallies.services.cached),
            provider=manifest.subject.name,
            judge=manifest.judge_name,
            images_total=manifest.images,
            seed=manifest.seed,
            stopped=self._stopped(),
            enough=(self._rule is not None and self._rule.satisfied) or bool(self._why_early),
        )
        more = [
            *([PILOT] if manifest.pilot else []),
            *_of_judging_anew(manifest.judged_anew),
            *self._narrow_enough(result),
            *lacks,
            *self._foreign_images(),
            *self._notes.in_words(),
        ]
        warnings = [*self._ended_early(result), *result.warnings, *more]
        result = result.model_copy(update={"warnings": warnings})
        return self._tallies.findings(result).model_copy(update={"stopped": manifest.stopped})

    @property
    def _why_early(self) -> str:
        """Why the last session ended before its last image; "" where the manifest does not say, or none is missing."""
        stopped = self.manifest.stopped
        return stopped.why if stopped is not None and stopped.early else ""

    def _ended_early(self, score: Score) -> Iterator[str]:
        """That images are missing, and why; where the reason is not known, the score's own warning says that much."""
        tried = score.images.done + score.images.failed
        if self._why_early and tried < self.manifest.images:
            yield f"{tried} of the run's {self.manifest.images} images: stopped early ({self._why_early})"

    def _stopped(self) -> Interval | None:
        """The interval of the rule that stopped the run, if one did; the fixed-width rule's holds nowhere else."""
        score = self._tallies.score
        all_tried = score.done + score.failed >= self.manifest.images
        if self._rule is None or (all_tried and not self.manifest.anytime):
            return None
        return self._rule.reported

    def _narrow_enough(self, score: Score) -> Iterator[str]:
        """Whether UnF1 is known as well as was asked for, if anything was, once the run has ended; and whose interval it has."""
        if self._rule is None:
            return
        images = score.images
        aim, done = f"{as_option('until_ci')} {self.manifest.until_ci:g}", images.done + images.failed
        if self._rule.satisfied and done < self.manifest.images:
            yield f"{done} of the run's {self.manifest.images} images: they reach {aim}"
        elif not self._rule.satisfied and done == self.manifest.images:
            width = self._rule.half_width
            known = (
                ""
                if width is None
                else f": by the stop rule, which looks after every image, UnF1 is known to ± {width:.3f}"
            )
            yield f"{aim} is not reached with all {done} images{known}"
            if width is not None and score.unf1_ci_method not in _OF_A_RULE:
                yield "the interval of UnF1 shown is the ordinary one, for a number of images that is fixed beforehand"
        if score.unf1_ci_method in _OF_A_RULE:
            yield (
                f"the interval of UnF1 is {_OF_A_RULE[score.unf1_ci_method]}; every other interval is made for a number of "
                "images that is fixed beforehand, and may be a little too narrow after a stop"
            )

    def _foreign_images(self) -> Iterator[str]:
        """A warning if the model was shown images of another world than its own."""
        subject = self.manifest.subject
        side, name = subject.image.native_px, subject.name
        if side is not None and self._foreign:
            of = f"{self._foreign} of {self._sized} images are not {side} x {side} pixels, the only ones that {name} knows"
            yield f"{of}: {subject.notes}"


def _of_judging_anew(anew: JudgedAnew | None) -> Iterator[str]:
    """What a reader should know of a score from answers that another run obtained."""
    if anew is None:
        return
    if anew.left_out:
        images = format_count(anew.left_out, "image", "images")
        yield f"{images} of the run whose answers are judged here had no whole answers, and are left out"
    if anew.stopped_by_rule:
        yield (
            f"the run whose answers are judged here had {as_option('until_ci')}: the interval of UnF1 shown is the ordinary "
            "one, and may be a little too narrow after a stop"
        )


PILOT = "a pilot: its images were examined to quote what a run costs; nothing is to be chosen by its score"

_OF_A_RULE = {
    "fixed_width_stop": "the stop rule's own, which holds where that rule stops",
    "anytime": "that of the anytime rule, which holds at every number of images",
}
"""Whose the interval of UnF1 is, by its method, where a rule looked at it after every image."""


def _accounts(account: Account, cached: int) -> Accounts:
    """cached: calls that the cache answered."""
    return Accounts(
        calls=Calls(
            made=sum(account.made.values()),
            cached=cached,
            retried=account.retried,
            by_role=dict(account.made),
            unsent=account.unsent,
        ),
        tokens=Tokens(
            input=account.usage.input_tokens,
            cached_input=account.usage.cached_input_tokens,
            output=account.usage.output_tokens,
            reasoning=account.usage.reasoning_tokens,
            cache_write=account.usage.cache_write_tokens,
        ),
        cost_usd=account.cost_usd,
        wall_s=round(account.wall_s, 3),
        unknown_attempts=account.unknown,
        cost_unknown_usd=account.unknown_nano_usd / NANO,
        prompt_cache_saved_usd=account.saved_nano_usd / NANO,
    )
