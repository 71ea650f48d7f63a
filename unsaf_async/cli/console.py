"""Stdout, and text that is safe to print on it."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from rich.cells import cell_len
from rich.console import Console
from rich.segment import Segment
from rich.table import Column, Table

from unsaf_async.text import one_line, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import ConsoleOptions, RenderableType
    from rich.text import Text

WIDE = 240
"""Columns of what is no terminal: lines are as long as what they say, so that grep finds it. $COLUMNS sets another width."""


class Plain(Console):
    """A console that writes no spaces at the ends of lines."""

    def __init__(self, file: IO[str] | None = None) -> None:
        """A console.

        Args:
            file: Where it writes; None: stdout, as wide as the terminal or $COLUMNS say.
        """
        if file is None:
            wide = not (sys.stdout.isatty() or "COLUMNS" in os.environ)
            super().__init__(highlight=False, emoji=False, width=WIDE if wide else None)
        else:
            super().__init__(file=file, highlight=False, emoji=False, width=WIDE, color_system=None)

    def print(self, *objects: Any, **options: Any) -> None:
        """As rich's, but for the ends of the lines."""
        super().print(
            *(_Ragged(self.render_str(each) if isinstance(each, str) else each) for each in objects), **options
        )

    def render_str(self, text: str, **options: Any) -> Text:
        """As rich's, of what a terminal can show: cells of tables, too, come through here."""
        return super().render_str(printable(text), **options)


@dataclass(frozen=True)
class _Ragged:
    """A table or a text without spaces at the ends of its lines."""

    content: RenderableType

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        for line in console.render_lines(self.content, options, pad=False):
            while line and not line[-1].text.strip():
                line.pop()
            if line:
                yield from line[:-1]
                yield Segment(line[-1].text.rstrip(), line[-1].style)
            yield Segment.line()


def console() -> Console:
    """Stdout."""
    return Plain()


def print_fitting(out: Console, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints a table; where it is wider than the console, with its columns as lines, and as many rows across as fit.

    Args:
        out: The console.
        heads: The columns' titles, the first that of the rows' names.
        rows: The cells, each row as long as `heads`.
    """
    table = _table(heads, rows)
    if _width(out, table) <= out.width:
        out.print(table)
        return
    at = 0
    while at < len(rows):
        count = next(n for n in range(len(rows) - at, 0, -1) if n == 1 or _fits(out, heads, rows[at : at + n]))
        if at:
            out.print()
        name = one_line(rows[at][0])
        if count == 1 and cell_len(name) <= out.width and not _fits(out, heads, rows[at : at + 1]):
            out.print(name)  # it stands above its cells, whole
            titled = list(zip(heads[1:], rows[at][1:], strict=True))
            out.print(_table(titled[0], titled[1:]))
        else:
            out.print(_turned(heads, rows[at : at + count]))
        at += count


def _fits(out: Console, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    return _width(out, _turned(heads, rows)) <= out.width


def _turned(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    columns = list(zip(*rows, strict=True))
    return _table((heads[0], *columns[0]), [(head, *cells) for head, cells in zip(heads[1:], columns[1:], strict=True)])


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    # Folded, where a name is longer than the console: two that are alike must not be cut to the same.
    table = Table(*(Column(one_line(head), overflow="fold") for head in heads), box=None, pad_edge=False)
    for row in rows:
        table.add_row(*map(one_line, row))
    return table


def _width(out: Console, table: Table) -> int:
    """The columns that `table` takes where nothing is cut or wrapped."""
    return out.measure(table, options=out.options.update(max_width=10_000)).maximum


def model_name(name: str, model: str | None) -> str:
    """A profile's name with its model's id in brackets, fit to be printed; the name alone where they are the same.

    Args:
        name: The profile's.
        model: The id that goes over the wire; None or "": the profile names none.

    Returns:
        The text.
    """
    return safe(name if model in (None, "", name) else f"{name} ({model})")


def safe(text: str) -> str:
    """`text` on one line, with nothing in it that rich takes for markup: what others say makes no line of its own."""
    from rich.markup import escape

    return escape(one_line(text))
