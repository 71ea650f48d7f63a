"""What a user of the command line sees while a run goes on; `--quiet` leaves what a reader of the figures has to know."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from unsaf_async.cli.streams import tell
from unsaf_async.events import KeyHidden, Notice
from unsaf_async.progress.show import showing
from unsaf_async.progress.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unsaf_async.events import Say
    from unsaf_async.runs.runner import Runner


@contextmanager
def watching(runner: Runner, *, quiet: bool) -> Iterator[Say]:
    """Show `runner`'s progress on stderr while the context lasts. Yields what puts a line before the user.

    quiet: no progress. Who is called where, and what else a reader of the figures has to know, is told all the same.
    """
    if quiet:
        watch = Watch(runner, tell)
        runner.listen(lambda event: watch.hear(event) if isinstance(event, Notice | KeyHidden) else None)
        yield lambda _: None
    else:
        with showing(runner, tell) as say:
            yield say
