"""Which models answered, and how replies ended that are not scored: what a run says of the services that it called."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from unsaf_async.calls.same_model import is_same_model
from unsaf_async.examine.unread import NO_VERDICT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unsaf_async.records import CallRecord, Examination, Question
    from unsaf_async.runs.folder import Manifest


MANY_UNREAD, UNREAD_LIMIT = 3, 0.05
"""A judge is told of where at least so many of its replies about one response, and more than this share, hold no verdict."""


class ServicesTally:
    """How services answered, added up image by image."""

    def __init__(self, manifest: Manifest) -> None:
        """A tally of no image.

        Args:
            manifest: The run's.
        """
        self._manifest = manifest
        self.cached = 0
        """Calls that the cache answered."""
        self._models: dict[str, Counter[str]] = {}
        self._thoughts = 0
        self._reasons: Counter[str] = Counter()
        self._judged: Counter[str] = Counter()
        self._unread: Counter[str] = Counter()
        self._example: dict[str, str] = {}

    def add(self, examination: Examination) -> None:
        """Count one image.

        Args:
            examination: Of the image; each image once.
        """
        for name, call in calls_of(self._manifest, examination):
            self.cached += call.cached
            if call.model:
                self._models.setdefault(name, Counter())[call.model] += 1
            self._thoughts += call.outcome == "unreadable" and "reasoning_content" in call.detail
            if call.outcome == "interrupted" and call.finish_reason:
                self._reasons[call.finish_reason] += 1
        for (
            question
        ) in examination.questions:  # what a call about several responses leaves out is asked for again, alone
            for name, call in _calls_about(self._manifest, question):
                if call.role == "judge" and call.outcome != "failed":
                    self._judged[name] += 1
                    if call.detail.startswith(NO_VERDICT):
                        self._unread[name] += 1
                        self._example.setdefault(name, call.detail.removeprefix(NO_VERDICT).lstrip(": "))

    @property
    def answered_by(self) -> dict[str, dict[str, int]]:
        """How many replies each model gave, by the name of whom was asked ("self": the measured model) and by the id in them.

        Cached ones are included; replies without an id are not counted.
        """
        return {name: dict(sorted(models.items())) for name, models in sorted(self._models.items())}

    def about(self) -> Iterator[str]:
        """What a reader should know of how the services answered.

        Yields:
            A sentence for each model that was sent less than its profile has it, for each endpoint that was left out, for each
            model that answered in another's place, and for each judge whose replies often held no verdict; one for answers
            that stand among the thoughts; one for answers that ended for reasons that are not known to be good.
        """
        manifest = self._manifest
        for name, refused in manifest.adapted.items():
            if left_out := [parameter for parameter in refused if parameter != "max_tokens"]:
                yield f"{manifest.profile(name).name} does not take {', '.join(left_out)}: its requests went without"
        for name, endpoints in manifest.left_out.items():
            for endpoint, reason in endpoints.items():
                yield f"{manifest.profile(name).name} at {endpoint} was left out: {reason}"
        for name, models in self.answered_by.items():
            profile = manifest.profile(name)
            if profile.backend == "azure":  # the id is a deployment's: the reply names the model behind it
                continue
            for model, replies in models.items():
                if not is_same_model(profile.wire_model, model):
                    yield f"{profile.name} was asked for {profile.wire_model}, and {model} gave {replies:,} of its replies"
        for name, unread in sorted(self._unread.items()):
            if unread >= MANY_UNREAD and unread > UNREAD_LIMIT * self._judged[name]:
                of = f"{unread:,} of {self._judged[name]:,} replies of {manifest.profile(name).name} as judge"
                yield f"{of} hold no verdict that can be read, such as {self._example[name]}: what it judged so is unscored"
        if self._thoughts:
            yield (
                f"{self._thoughts:,} replies hold no text but in reasoning_content, as a thought: give the model more room, "
                "or start its server without a reasoning parser"
            )
        if self._reasons:
            ended = ", ".join(f"{reason} {replies:,}" for reason, replies in sorted(self._reasons.items()))
            yield f"{self._reasons.total():,} replies were interrupted, by finish reason ({ended}): none of them is scored"


def calls_of(manifest: Manifest, examination: Examination) -> Iterator[tuple[str, CallRecord]]:
    """Every call about an image.

    Args:
        manifest: The run's.
        examination: Of the image.

    Yields:
        (the name of whom it asked, "self" being the measured model; the call).
    """
    yield from (("self", call) for call in examination.asks)
    yield from ((part.judge, part.call) for part in examination.judged_together)
    for question in examination.questions:
        yield from _calls_about(manifest, question)


def _calls_about(manifest: Manifest, question: Question) -> Iterator[tuple[str, CallRecord]]:
    yield "self", question.answer
    yield from (
        ("self", part.call) for part in (question.choice, question.stated, question.p_true, *question.samples) if part
    )
    for judged in (question, question.control):
        if judged and judged.judge and manifest.judges:
            yield manifest.judges[0], judged.judge
        if judged:
            yield from ((vote.judge, vote.call) for vote in judged.votes if vote.call)
    if question.control:
        yield "self", question.control.call
    if question.support:
        yield question.support.judge, question.support.call
    yield from ((audit.auditor, audit.call) for audit in question.audits)
