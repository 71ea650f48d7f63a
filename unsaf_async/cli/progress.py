"""What a user sees while a run goes on: a live display on a terminal, a plain line now and then elsewhere.

It listens to the engine's events and reads the conductor's figures; the engine knows nothing of it.
"""

from __future__ import annotations

import sys
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from unsaf_async.budget import NANO
from unsaf_async.events import BoundBroken, CacheHit, CallRetried, CallSent, CallSettled, Event, ImageKept, Paused
from unsaf_async.score import Running

if TYPE_CHECKING:
    from rich.console import Group

    from unsaf_async.cli.options import Say
    from unsaf_async.conduct import Conductor

PLAIN_EVERY_S = 10.0
"""How often a plain line is written at most."""


class Watch:
    """Keeps count of a run's events."""

    def __init__(self, conductor: Conductor) -> None:
        self.conductor = conductor
        self.began = time.monotonic()
        self.total = conductor.folder.manifest.images
        self.done = 0
        self.failed = 0
        self.in_flight: Counter[str] = Counter()
        self.sent: deque[float] = deque()
        self.hits = 0
        self.retries = 0
        self.running = Running()
        self.notes: deque[str] = deque(maxlen=3)

    def hear(self, event: Event) -> None:
        """Take one event in."""
        match event:
            case CallSent():
                self.in_flight[event.role] += 1
                self.sent.append(time.monotonic())
            case CallSettled():
                self.in_flight[event.role] -= 1
            case CacheHit():
                self.hits += 1
            case CallRetried():
                self.retries += 1
            case Paused():
                self.notes.append(f"{event.provider} asks for patience: {event.seconds:.1f} s ({event.reason[:80]})")
            case BoundBroken():
                self.notes.append(
                    f"a call of {event.provider} cost ${event.cost_usd:.4f}, above its bound of ${event.bound_usd:.4f}; bounds are raised"
                )
            case ImageKept():
                self.done += 1
                self.failed += event.examination.failure is not None
                if event.examination.failure:
                    self.notes.append(f"{event.examination.image.id}: {event.examination.failure[:120]}")
                self.running.add(event.examination)

    def money(self) -> str:
        """Spent and held, against the cap if there is one."""
        budget = self.conductor.budget
        if budget is None:
            return "$0"
        cap = f" of ${budget.cap_nano_usd / NANO:.2f}" if budget.cap_nano_usd is not None else ""
        return f"${budget.spent_nano_usd / NANO:.4f} spent, ${budget.held_nano_usd / NANO:.4f} held{cap}"

    def score(self) -> str:
        """UnF1 so far, with a quick interval."""
        if self.running.unf1 is None:
            return "n/a yet"
        interval = self.running.interval
        if interval is None:
            return f"{self.running.unf1:.3f}"
        return f"{self.running.unf1:.3f} [{interval[0]:.3f}, {interval[1]:.3f}]"

    def left(self) -> str:
        """Time left at the pace so far."""
        if not self.done:
            return "n/a yet"
        seconds = (time.monotonic() - self.began) / self.done * max(0, self.total - self.done)
        return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"

    def limits(self) -> str:
        """How much of each model's limits is in use."""
        now = time.monotonic()
        while self.sent and now - self.sent[0] > 60:
            self.sent.popleft()
        parts = []
        for model in self.conductor.models:
            pace, limits = model.pace, model.profile.limits
            part = f"{model.profile.name}: {pace.in_flight} of {max(1, int(pace.ceiling))} slots"
            if limits.requests_per_minute:
                part += f", {len(self.sent)} of {limits.requests_per_minute:g} requests/min"
            parts.append(part)
        return "; ".join(parts) or "n/a yet"

    def line(self) -> str:
        """Everything on one plain line."""
        return (
            f"{self.done}/{self.total} images ({self.failed} failed), {sum(self.in_flight.values())} calls in flight, "
            f"UnF1 {self.score()}, {self.money()}, {self.left()} left"
        )


@contextmanager
def watching(conductor: Conductor, *, quiet: bool) -> Iterator[Say]:
    """Show `conductor`'s progress on stderr while the context lasts. Yields what puts a line before the user."""
    if quiet:
        yield lambda _: None
        return
    watch = Watch(conductor)
    conductor.listen(watch.hear)
    if sys.stderr.isatty():
        with _live(watch) as say:
            yield say
        return
    last_s = time.monotonic()

    def hear(event: Event) -> None:
        nonlocal last_s
        if isinstance(event, ImageKept) and (time.monotonic() - last_s >= PLAIN_EVERY_S or watch.done == watch.total):
            last_s = time.monotonic()
            _plain(watch.line())

    conductor.listen(hear)
    yield _plain


def _plain(text: str) -> None:
    sys.stderr.write(f"unsaf-async: {text}\n")
    sys.stderr.flush()


@contextmanager
def _live(watch: Watch) -> Iterator[Say]:
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=True)
    # rich redraws on a thread of its own; it only reads figures.
    with Live(get_renderable=lambda: _panel(watch), console=console, refresh_per_second=4, transient=True):
        yield lambda text: console.print(text, markup=False, highlight=False)


def _panel(watch: Watch) -> Group:
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    calls = ", ".join(f"{watch.in_flight[role]} {role}" for role in ("judge", "answer", "ask"))
    failed = f", {watch.failed} failed" if watch.failed else ""
    table.add_row("images", f"{watch.done} of {watch.total}{failed}; {watch.left()} left")
    table.add_row("calls", f"{calls} in flight; {watch.hits} from the cache, {watch.retries} retried")
    table.add_row("limits", watch.limits())
    table.add_row("money", watch.money())
    table.add_row("UnF1", watch.score())
    notes = [Text(note, style="yellow") for note in watch.notes]
    return Group(ProgressBar(total=max(1, watch.total), completed=watch.done), table, *notes)
