"""What there is to see of a run while it goes on, in words. `show.py` shows it.

It listens to the engine's events and reads the conductor's figures; the engine knows nothing of it.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from unsaf_async.calls.budget import NANO
from unsaf_async.events import (
    BatchesMoved,
    BoundBroken,
    CacheHit,
    CallRetried,
    CallSent,
    CallSettled,
    Event,
    ImageKept,
    KeyHidden,
    Notice,
    ParameterRefused,
    Paused,
    Say,
)
from unsaf_async.providers.masked_keys import MARK
from unsaf_async.runs.answered_by import calls_of
from unsaf_async.runs.so_far import SoFar
from unsaf_async.runs.stopping import rule_of
from unsaf_async.text import NOT_AVAILABLE, clock_in, format_count, format_headline, format_usd, moment_in

if TYPE_CHECKING:
    from unsaf_async.calls.session import OpenModel
    from unsaf_async.records import Reply
    from unsaf_async.runs.runner import Runner

LONG_WAIT_S = 10.0
"""From this length on a wait is told in a line of its own."""

WINDOW_S = 60.0
"""What limits per minute are compared with: what happened in so many seconds up to now."""


@dataclass
class Traffic:
    """One model's calls of the last minute. Times are monotonic."""

    sent: deque[float] = field(default_factory=deque)
    tokens: deque[tuple[float, int, int]] = field(default_factory=deque)
    """(when, input, output) of each reply."""

    def leave(self) -> None:
        """A call left."""
        now = time.monotonic()
        self.sent.append(now)
        while now - self.sent[0] > WINDOW_S:
            self.sent.popleft()

    def settle(self, reply: Reply) -> None:
        """A reply came.

        Args:
            reply: The reply.
        """
        now = time.monotonic()
        self.tokens.append((now, reply.usage.input_tokens, reply.usage.output_tokens))
        while now - self.tokens[0][0] > WINDOW_S:
            self.tokens.popleft()

    def shares(self, model: OpenModel) -> list[str]:
        """How much of each of a model's limits is in use.

        Args:
            model: Whose calls these are.

        Returns:
            A phrase a limit.
        """
        since = time.monotonic() - WINDOW_S
        parts = [f"{model.replicas.in_flight} of {model.replicas.slots} slots"]
        # Copied first: the display reads on a thread of its own, while the event loop's appends.
        used = {
            "requests": sum(when > since for when in tuple(self.sent)),
            **dict.fromkeys(("tokens", "input tokens", "output tokens"), 0),
        }
        for when, came, went in tuple(self.tokens):
            if when > since:
                used["tokens"] += came + went
                used["input tokens"] += came
                used["output tokens"] += went
        parts += [_share(used[name], limit, f"{name}/min") for name, limit in model.replicas.per_minute.items()]
        return parts


class Watch:
    """Keeps count of a run's events. say: puts a line before the user for what should not scroll by."""

    def __init__(self, runner: Runner, say: Say) -> None:
        manifest = runner.folder.manifest
        self.runner = runner
        self.say = say
        self.began = time.monotonic()
        self.total = manifest.images
        self.questions_an_image = 2 * manifest.questions
        self.done = 0
        self.failed = 0
        self.answers = 0
        """Answers that came in this session."""
        self.in_flight: Counter[str] = Counter()
        self.traffic: dict[str, Traffic] = {}
        self.batches: dict[str, BatchesMoved] = {}
        """How far each model's batches are."""
        self.hits = 0
        """Calls of images in the journal that the cache answered."""
        self.collected = 0
        """Calls that batches of earlier sessions had answered."""
        self.retries = 0
        self.score = "n/a yet"
        """The figure so far; while images are to come, with a quick interval, which is not the one that the score will have."""
        self.pause: tuple[float, str] = (0.0, "")
        """Until when a model asked for patience, in monotonic seconds, and in what words."""
        self._told_until: dict[str, float] = {}
        """Until when each model's last wait that was told lasts, in monotonic seconds."""
        self.so_far = SoFar(manifest.source)
        self.rule = rule_of(manifest.until_ci, anytime=manifest.anytime)
        self._bounds_broken: set[str] = set()
        self._told_keys: set[str] = set()

    def hear(self, event: Event) -> None:
        """Take one event in.

        Args:
            event: Of the run.
        """
        match event:
            case Notice():
                self.say(event.text)
            case CallSent():
                self.in_flight[event.role] += 1
                if not event.batched:
                    self._traffic(event.provider).leave()
            case BatchesMoved():
                self.batches[event.provider] = event
            case CallSettled():
                self.in_flight[event.role] -= 1
                if event.reply is not None:
                    self.answers += event.role == "answer"
                    self._traffic(event.provider).settle(event.reply)
            case CacheHit():
                self.collected += event.collected
                self.answers += event.role == "answer"
            case CallRetried():
                self.retries += 1
            case Paused():
                self.pause = (time.monotonic() + event.seconds, f"{event.provider} asks for patience ({event.reason})")
                self._tell_wait(event)
            case ParameterRefused():
                instead = f"sent as {event.renamed}" if event.renamed else "left out"
                self.say(f"{event.provider} does not take {event.parameter} ({event.reason}): {instead} from here on")
            case KeyHidden() if event.provider not in self._told_keys:
                self._told_keys.add(event.provider)
                self.say(
                    f"{event.provider} sent back a key that was sent to it: {MARK} stands in its place wherever it is kept; "
                    "use a new key from now on"
                )
            case BoundBroken() if event.provider not in self._bounds_broken:
                self._bounds_broken.add(event.provider)
                self.say(
                    f"a call of {event.provider} cost ${event.cost_usd:.4f}, above its bound of ${event.bound_usd:.4f}; "
                    "bounds are raised"
                )
            case ImageKept():
                self.done += 1
                # As the summary counts: a list's question that stands in the other list too shares a call, and is dropped.
                self.hits += sum(call.cached for _, call in calls_of(self.runner.folder.manifest, event.examination))
                if event.examination.failure:
                    self.failed += 1
                    self.say(f"{event.examination.image.id}: {event.examination.failure}")
                self.so_far.add(event.examination)
                if self.rule:
                    self.rule.add(event.examination)
                self.score = self._score()

    def _tell_wait(self, event: Paused) -> None:
        """A line for a long wait, once: every call that was under way is turned away with the same wait."""
        now = time.monotonic()
        until, told_until = now + event.seconds, self._told_until.get(event.provider, 0.0)
        if event.seconds < LONG_WAIT_S or (now < told_until and until < told_until + LONG_WAIT_S):
            return
        self._told_until[event.provider] = until
        why = f"asked for {event.seconds:,.0f} s" if event.asked else f"turns calls away ({event.reason})"
        self.say(f"waiting until {moment_in(event.seconds)}: {event.provider} {why}")

    def _traffic(self, provider: str) -> Traffic:
        return self.traffic.setdefault(provider, Traffic())

    def _score(self) -> str:
        value, interval = self.so_far.value, self.so_far.interval
        if value is None:
            return NOT_AVAILABLE if self.done == self.total else f"{NOT_AVAILABLE} yet"
        if between := self.so_far.between:
            return format_headline(value, between)
        if interval is None or self.done == self.total:
            return f"{value:.3f}"
        if self.rule is not None:
            width = self.rule.half_width
            known = NOT_AVAILABLE if width is None else f"± {width:.3f}"
            return f"{value:.3f} ({known} by the stop rule, to reach ± {self.rule.target:g})"
        return f"{value:.3f} (about {interval[0]:.3f} to {interval[1]:.3f})"

    def images(self) -> str:
        """Images done, failed and to do."""
        return f"{self.done} of {self.total}" + (f", {self.failed} failed" if self.failed else "")

    def calls(self) -> str:
        """Calls under way, by role; what the cache gave, what was tried again."""
        always = ("ask", "answer", "judge")
        roles = (*always, *(role for role, number in self.in_flight.items() if number and role not in always))
        flying = ", ".join(f"{self.in_flight[role]} {role}" for role in roles) + " in flight"
        if not self.in_flight.total() and any(each.gathered for each in self.batches.values()):
            flying = "gathering for a batch"
        collected = f"{self.collected} from batches of an earlier session, " if self.collected else ""
        return f"{flying}; {collected}{self.hits} from the cache, {self.retries} retried"

    def money(self) -> str:
        """Spent and held, against the cap if there is one."""
        budget = self.runner.budget
        if budget is None:
            return "$0"
        cap = f", of {format_usd(budget.cap_nano_usd / NANO, 2)}" if budget.cap_nano_usd is not None else ""
        spent, held = (format_usd(nano_usd / NANO, 4) for nano_usd in (budget.spent_nano_usd, budget.reserved_nano_usd))
        return f"{spent} spent, {held} held{cap}"

    @property
    def expected_answers(self) -> int:
        """How many answers this session will bring, as far as can be told."""
        return max(1, self.questions_an_image * (self.total - self.runner.done_before - self.failed))

    def left(self) -> str:
        """Time left at the pace so far; of batches, until when they are waited for: their replies come all at once."""
        if self.done == self.total:
            return "done"
        if self.runner.folder.manifest.batch or self._with_vendors:
            return self._waits_until()
        if not self.answers:
            return "time left: n/a yet"
        to_do = max(0.0, self.expected_answers / self.answers - 1)
        seconds = (time.monotonic() - self.began) * to_do
        return f"{seconds / 60:.0f} min left" if seconds >= 120 else f"{seconds:.0f} s left"

    def limits(self) -> list[str]:
        """A line for each model: how much of its limits is in use."""
        models = self.runner.models
        names = [f"{model.profile.name}: " if len(models) > 1 else "" for model in models]
        return [
            name + ", ".join(self._traffic(model.profile.name).shares(model))
            for name, model in zip(names, models, strict=True)
        ]

    @property
    def _with_vendors(self) -> list[BatchesMoved]:
        return [each for each in self.batches.values() if each.batches]

    def _waits_until(self) -> str:
        """Until when the batches that are out are waited for; "" if there are none."""
        ends = [each.until_s for each in self._with_vendors]
        known = [end for end in ends if end is not None]
        if len(known) < len(ends):
            return "their vendor takes as long as it takes"
        return f"waited for until {moment_in(max(0.0, max(known) - time.time()))} at most" if known else ""

    def with_vendors(self) -> str:
        """How far the batches are, and how many calls gather for one; "" if there are none."""
        parts = [
            f"{format_count(each.batches, 'batch', 'batches')} with {each.done:,} of {each.rows:,} calls answered"
            for each in self._with_vendors
        ]
        if gathered := sum(each.gathered for each in self.batches.values()):
            parts.append(f"{format_count(gathered, 'call gathers', 'calls gather')} for a batch")
        return "; ".join(parts)

    def waits(self) -> str:
        """Why calls do not leave that could: a pause, a limit that is learned or spread over the minute, money; "" if none."""
        until, why = self.pause
        seconds = until - time.monotonic()
        if seconds > 0.5:
            return f"paused until {clock_in(seconds)}: {why}"
        models = self.runner.models
        reasons = [(model.profile.name, why) for model in models if (why := model.replicas.why_wait())]
        parts = [f"{name}: {why}" if len(models) > 1 else why for name, why in reasons]
        if self.runner.budget and (waiting := self.runner.budget.waiting):
            parts.append(
                f"{format_count(waiting, 'call waits', 'calls wait')} for money that is held for calls under way"
            )
        return "; ".join(parts)

    def rows(self) -> list[tuple[str, str]]:
        """(name, what there is to say) for each line of a display but the bar."""
        rows = [("calls", self.calls()), ("batches", self.with_vendors())]
        rows += [("limits", text) for text in self.limits()]
        rows += [("money", self.money()), (self.so_far.title, self.score), ("waits", self.waits())]
        return [(name, text) for name, text in rows if text]

    def line(self) -> str:
        """Everything on one plain line."""
        flying = sum(self.in_flight.values())
        parts = [
            f"images {self.images()}",
            self.with_vendors() or (f"{flying} in flight" if flying else ""),
            f"{self.so_far.title} {self.score}",
            self.money(),
        ]
        return ", ".join(part for part in [*parts, self.left(), self.waits()] if part)


def _share(used: float, limit: float, unit: str) -> str:
    size = f"{limit:,.0f}" if limit >= 10 else f"{limit:g}"
    return f"{100 * used / limit:.0f} % of {size} {unit}"
