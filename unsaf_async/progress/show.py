"""Shows a run while it goes on: live on a terminal and in a notebook, as a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING, Any

from unsaf_async.events import ImageKept, Notice, Paused
from unsaf_async.progress.watch import Watch
from unsaf_async.text import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Group

    from unsaf_async.events import Event, Say
    from unsaf_async.runs.runner import Runner

PLAIN_EVERY_S = 10.0
"""How often a plain line is written at most."""

NOTEBOOK_EVERY_S = 0.5
"""How often a notebook's display changes at most: each change is a message to the browser."""


@contextmanager
def showing(runner: Runner, tell: Say | None = None) -> Iterator[Say]:
    """Show a run's progress while the context lasts: below a notebook's cell, else on stderr.

    Args:
        runner: Of the run; it has not begun.
        tell: Puts a line before the user where nothing is live; None: onto stderr.

    Yields:
        What puts a line before the user, beside the display.
    """
    if (notebook := _notebook()) is not None:
        with _in_notebook(runner, notebook) as say:
            yield say
    elif is_live():
        with _live(runner) as say:
            yield say
    else:
        yield _lines(runner, tell or _tell)


def is_live() -> bool:
    """Whether stderr can show what changes.

    Returns:
        False where it is no terminal, and of a terminal that moves no cursor (TERM=dumb): rich shows nothing there.
    """
    if not sys.stderr.isatty():
        return False
    from rich.console import Console

    console = Console(stderr=True)
    return console.is_terminal and not console.is_dumb_terminal


def _tell(text: str) -> None:
    sys.stderr.write(f"{shown(text)}\n")
    sys.stderr.flush()


def _lines(runner: Runner, tell: Say) -> Say:
    watch = Watch(runner, tell)
    last_s = watch.began

    def hear(event: Event) -> None:
        nonlocal last_s
        watch.hear(event)
        finished = isinstance(event, ImageKept) and watch.done == watch.total
        if finished or time.monotonic() - last_s >= PLAIN_EVERY_S:
            last_s = time.monotonic()
            tell(watch.line())

    runner.listen(hear)
    return tell


# --- a terminal ------------------------------------------------------------------------------------------------------


@contextmanager
def _live(runner: Runner) -> Iterator[Say]:
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=True)

    def say(text: str) -> None:
        console.print(shown(text), markup=False, highlight=False, emoji=False)

    watch = Watch(runner, say)
    runner.listen(watch.hear)
    # rich redraws on a thread of its own; it only reads figures.
    with Live(get_renderable=lambda: panel(watch), console=console, refresh_per_second=4, transient=True):
        yield say


def panel(watch: Watch) -> Group:
    """The display: a bar, and a line for each figure. No line wraps, so that its height stays and nothing flickers.

    Args:
        watch: Of the run.

    Returns:
        What rich shows. Only why calls wait may take a second line: at 80 columns its end says how long.
    """
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    width = max(7, len(watch.so_far.title))

    def row(name: str, text: str) -> Table:
        waits = name == "waits"
        table = Table.grid(padding=(0, 2))
        table.add_column(width=width, no_wrap=True)
        table.add_column(no_wrap=not waits, overflow="fold" if waits else "ellipsis")
        table.add_row(name, Text(shown(text), style="yellow" if waits else ""))
        return table

    bar = Table.grid(padding=(0, 2))
    bar.add_column(width=width)
    bar.add_column(width=30)
    bar.add_column(no_wrap=True, overflow="ellipsis")
    expected = watch.expected_answers
    bar.add_row(
        "images",
        ProgressBar(total=expected, completed=min(watch.answers, expected)),
        "; ".join(filter(None, (watch.images(), watch.left()))),
    )
    return Group(bar, *(row(*each) for each in watch.rows()))


# --- a notebook ------------------------------------------------------------------------------------------------------


def _notebook() -> Callable[..., Any] | None:
    """IPython's `display` where a notebook is what shows it: rich's own live display needs ipywidgets there."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return sys.modules["IPython.display"].display if hasattr(shell, "kernel") else None


@contextmanager
def _in_notebook(runner: Runner, display: Callable[..., Any]) -> Iterator[Say]:
    said: list[str] = []
    watch = Watch(runner, said.append)
    handle = display(bundle(watch, said), raw=True, display_id=True)
    last_s = time.monotonic()

    def hear(event: Event) -> None:
        nonlocal last_s
        watch.hear(event)
        if isinstance(event, Notice | Paused) or time.monotonic() - last_s >= NOTEBOOK_EVERY_S:
            last_s = time.monotonic()
            handle.update(bundle(watch, said), raw=True)

    runner.listen(hear)
    try:
        yield said.append
    finally:
        handle.update(bundle(watch, said), raw=True)


def bundle(watch: Watch, said: list[str]) -> dict[str, str]:
    """The display as a notebook takes it: HTML without styles, scripts or addresses, and one plain line.

    Args:
        watch: Of the run.
        said: What was told so far, a line each.

    Returns:
        Texts by their media types; every text is escaped.
    """
    expected = watch.expected_answers
    left = "; ".join(filter(None, (watch.images(), watch.left())))
    bar = f'<progress max="{expected}" value="{min(watch.answers, expected)}"></progress> {escape(shown(left))}'
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(shown(text))}</td></tr>' for name, text in watch.rows()
    )
    told = "".join(f"<li>{escape(shown(line))}</li>" for line in said)
    return {
        "text/html": f"<div><p>{bar}</p><table>{rows}</table>{f'<ul>{told}</ul>' if told else ''}</div>",
        "text/plain": "\n".join([*map(shown, said), shown(watch.line())]),
    }
