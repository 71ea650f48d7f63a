"""A score as a notebook shows it: its headline, the table of four, what is unscored, and what speaks against it.

HTML without styles of its own, scripts or addresses: it looks like the notebook around it, light or dark, and fetches nothing.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Protocol

from unsaf_async.text import NOT_AVAILABLE, format_count, format_figure, format_headline, format_interval, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from unsaf_async.score.unf1 import Counts

_RATIOS = ("precision", "recall", "over_refusal_rate", "over_answer_rate")
_WORDS = {"over_refusal_rate": "over-refusal", "over_answer_rate": "over-answering"}


class _Shown(Protocol):
    """What of a score is shown: fields of `Score`."""

    @property
    def unf1(self) -> float | None: ...
    @property
    def unf1_ci(self) -> tuple[float, float] | None: ...
    @property
    def unf1_bounds(self) -> tuple[float, float] | None: ...
    @property
    def unf1_between(self) -> tuple[float, float] | None: ...
    @property
    def f1_name(self) -> str: ...
    @property
    def counts(self) -> Counts: ...
    @property
    def unscored(self) -> Mapping[str, int]: ...
    @property
    def intervals(self) -> Mapping[str, tuple[float, float]]: ...
    @property
    def undefined(self) -> Mapping[str, str]: ...
    @property
    def unreliable(self) -> Sequence[str]: ...
    @property
    def warnings(self) -> Sequence[str]: ...
    @property
    def provider(self) -> str: ...
    @property
    def judge(self) -> str: ...


def html_of(score: _Shown, images: int, failed: int) -> str:
    """A score as HTML for a notebook.

    Args:
        score: The score.
        images: How many images it rests on.
        failed: How many could not be examined.

    Returns:
        One `<div>`; every text in it is escaped.
    """
    done = format_count(images, "image") + (f", {failed:,} failed" if failed else "")
    about = f"{score.provider}, judged by {score.judge}; {done}"
    parts = [f"<p><b>{_text(score.f1_name)} {_text(_headline(score))}</b><br>{_text(about)}</p>", _matrix(score.counts)]
    parts.append(_table(("", "", "95 % interval"), (_ratio(score, name) for name in _RATIOS)))
    if score.unscored:
        reasons = ", ".join(f"{reason} {n:,}" for reason, n in score.unscored.items())
        total = sum(score.unscored.values())
        bounds = f"; counted either way, {score.f1_name} lies in {format_interval(score.unf1_bounds)}"
        parts.append(f"<p>{_text(f'Unscored: {total:,} ({reasons}){bounds}')}</p>")
    notes = [("Unreliable", line) for line in score.unreliable] + [("Note", line) for line in score.warnings]
    if notes:
        parts.append(f"<ul>{''.join(f'<li><b>{head}:</b> {_text(line)}</li>' for head, line in notes)}</ul>")
    return f"<div>{''.join(parts)}</div>"


def _headline(score: _Shown) -> str:
    value = format_headline(score.unf1, score.unf1_between)
    if score.unf1_between:
        return f"{value}, with the unscored either way"
    if score.unf1 is None:
        return f"{value}: {score.undefined.get('unf1', 'unknown')}"
    if score.unf1_ci is None:
        return f"{value}, no interval: {score.undefined.get('unf1_ci', 'unknown')}"
    return f"{value}, 95 % interval {format_interval(score.unf1_ci)}"


def _matrix(counts: Counts) -> str:
    heads = ("question", "answered", "abstained")
    rows = (("answerable", counts.ta, counts.fu), ("unanswerable", counts.fa, counts.tu))
    return _table(heads, ((label, f"{answered:,}", f"{abstained:,}") for label, answered, abstained in rows))


def _ratio(score: _Shown, name: str) -> Iterator[str]:
    value = getattr(score, name)
    reason = score.undefined.get(name) if value is None else score.undefined.get(f"intervals.{name}")
    yield _WORDS.get(name, name)
    yield format_figure(value)
    yield format_interval(score.intervals.get(name), f"{NOT_AVAILABLE}: {reason}" if reason else NOT_AVAILABLE)


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = "".join(f'<th scope="col">{_text(each)}</th>' for each in heads)
    body = ""
    for first, *others in rows:
        cells = "".join(f"<td>{_text(each)}</td>" for each in others)
        body += f'<tr><th scope="row">{_text(first)}</th>{cells}</tr>'
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _text(text: str) -> str:
    return escape(printable(text))
