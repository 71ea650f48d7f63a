"""A comparison as JSON, CSV and LaTeX."""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING, Literal

from unsaf_async.compare.comparison import RATES
from unsaf_async.text import format_figure, format_headline, format_interval, format_p

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from unsaf_async.compare.comparison import Comparison, Pair, RunRow
    from unsaf_async.score.unf1 import KindName


def to_json(comparison: Comparison) -> str:
    """A comparison as JSON.

    Args:
        comparison: Of two or more runs.

    Returns:
        All of it. What is undefined is null, with its reason in the `undefined` of the same object.
    """
    return comparison.model_dump_json(indent=2) + "\n"


def to_csv(comparison: Comparison, part: Literal["runs", "pairs"] = "runs") -> str:
    """A comparison's runs or pairs as CSV.

    Args:
        comparison: Of two or more runs.
        part: "runs": one line a run; "pairs": one line a pair.

    Returns:
        A header, then the lines. An undefined figure is an empty field; text is guarded as `csv_of` says.
    """
    if part == "pairs":
        header = [
            "a", "b", "unf1_a", "unf1_b", "difference", "ci_low", "ci_high", "p", "p_holm", "p_method",
            "images_shared", "images_only_a", "images_only_b", "images_differing", "least_p", "detectable",
        ]  # fmt: skip
        return csv_of(
            header,
            (
                [
                    pair.a, pair.b, pair.unf1_a, pair.unf1_b, pair.difference, *(pair.ci or (None, None)), pair.p,
                    pair.p_holm, pair.p_method, pair.images_shared, pair.images_only_a, pair.images_only_b,
                    pair.images_differing, pair.least_p, pair.detectable,
                ]
                for pair in comparison.pairs
            ),
        )  # fmt: skip
    kinds = kinds_of(comparison)
    rates = {name: name for name in RATES} | {f"recall_by_kind.{kind}": f"recall_{kind}" for kind in kinds}
    rest = (
        "images", "questions", "unscored", "cost_usd", "cost_per_image_usd", "cost_of_one_point_usd", "wall_s", "scale",
    )  # fmt: skip
    return csv_of(
        [
            "name", "folder", "provider", "model", "judge", "unf1", "unf1_ci_low", "unf1_ci_high",
            "unf1_between_low", "unf1_between_high",
            *(f"{title}{part}" for title in (*rates.values(), "accuracy") for part in ("", "_ci_low", "_ci_high")),
            *rest, "unreliable", "warnings",
        ],
        (
            [
                row.name, row.folder, row.provider, row.model, row.judge, *_unf1(row),
                *(value for path in rates for value in (row.rates.get(path), *row.intervals.get(path, (None, None)))),
                row.accuracy, *(row.accuracy_ci or (None, None)),
                *(getattr(row, name) for name in rest),
                "; ".join(row.unreliable), "; ".join(row.warnings),
            ]
            for row in comparison.runs
        ),
    )  # fmt: skip


def _unf1(row: RunRow) -> tuple[float | None, ...]:
    """UnF1 and its interval, or in their place its bounds where these are the headline."""
    if row.unf1_between:
        return None, None, None, *row.unf1_between
    return row.unf1, *(row.unf1_ci or (None, None)), None, None


def csv_of(header: Sequence[str], rows: Iterable[Sequence[str | float | None]]) -> str:
    """CSV (RFC 4180, but with plain newlines).

    Names come from other people's folders and servers, and spreadsheets run what looks like a formula. So text that begins
    with one of = + - @, a tab or a line break gets an apostrophe before it, as OWASP advises
    (https://owasp.org/www-community/attacks/CSV_Injection). Numbers stay as they are.

    Args:
        header: The columns' names.
        rows: The fields, in the columns' order; None is an empty field.

    Returns:
        A line each, the header first.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    for row in rows:
        writer.writerow(["" if value is None else _guarded(value) for value in row])
    return out.getvalue()


def _guarded(value: str | float) -> str | float:
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) else value


def to_latex(comparison: Comparison) -> str:
    """A comparison as LaTeX, for a document that loads booktabs.

    Args:
        comparison: Of two or more runs.

    Returns:
        Three tables: of the runs, of their rates with intervals, and of the pairs, if there are any.
    """
    runs = _tabular(
        "lrrrrrrr",
        ["Run", comparison.f1_name, "95 % interval", "Precision", "Recall", "Over-refusal", "Images", "USD per image"],
        [
            [
                row.name,
                format_headline(row.unf1, row.unf1_between),
                format_interval(None if row.unf1_between else row.unf1_ci),
                format_figure(row.precision),
                format_figure(row.recall),
                format_figure(row.over_refusal_rate),
                str(row.images),
                format_figure(row.cost_per_image_usd, 4),
            ]
            for row in comparison.runs
        ],
    )
    rates = _tabular(
        "llrr",
        ["Figure", "Run", "Value", "95 % interval"],
        [
            [title, row.name, format_figure(row.rates[path]), format_interval(row.intervals.get(path))]
            for path, title in _titles(comparison).items()
            for row in comparison.runs
            if path in row.rates
        ],
    )
    pairs = _tabular(
        "llrrrrrr",
        ["Run", "compared with", "Difference", "95 % interval", "p", "p (Holm)", "Detectable", "Images"],
        [
            [
                pair.a,
                pair.b,
                format_figure(pair.difference),
                format_interval(pair.ci),
                format_p(pair.p),
                format_p(pair.p_holm),
                format_figure(pair.detectable),
                str(pair.images_shared),
            ]
            for pair in comparison.pairs
        ],
    )
    return "% needs \\usepackage{booktabs}\n" + "\n".join([runs, rates, *([pairs] if comparison.pairs else [])])


def _titles(comparison: Comparison) -> dict[str, str]:
    """The rates of the runs in words, by their paths in `RunRow.rates`."""
    words = {name: name.replace("_", " ").capitalize() for name in RATES} | _WORDS
    return words | {f"recall_by_kind.{kind}": f"Recall, {kind}" for kind in kinds_of(comparison)}


_WORDS = {
    "over_refusal_rate": "Over-refusal",
    "over_answer_rate": "Over-answer",
    "unf1_of_precisions": "F1 of precisions",
    "macro_f1": "Macro F1",
}


def _tabular(columns: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [" & ".join(map(escaped, row)) + r" \\" for row in rows]
    head = " & ".join(map(escaped, header)) + r" \\"
    body = ["\\toprule", head, "\\midrule", *lines, "\\bottomrule"]
    return "\n".join([f"\\begin{{tabular}}{{{columns}}}", *body, "\\end{tabular}", ""])


_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    **{mark: f"\\{mark}" for mark in "&%$#_{}"},
}


def escaped(text: str) -> str:
    """A text so that LaTeX prints it as it stands.

    Args:
        text: Plain text.

    Returns:
        LaTeX. Every run of white space and control characters becomes one blank.
    """
    # A leading [ or * after the \\ of the line before would be read as that command's option.
    spoken = "".join(_LATEX.get(mark, mark) for mark in re.sub(r"[\s\x00-\x1f\x7f]+", " ", text).strip())
    return "{}" + spoken if spoken.startswith(("[", "*")) else spoken


def missing_of_pair(pair: Pair) -> Iterator[tuple[str, str]]:
    """Which figures of a pair are not there, and why.

    Args:
        pair: The pair.

    Yields:
        (their titles in a table, the reason), once for each reason.
    """
    by_reason: dict[str, list[str]] = {}
    for name, title in _OF_A_PAIR.items():
        if name in pair.undefined:
            by_reason.setdefault(pair.undefined[name], []).append(title)
    for why, titles in by_reason.items():
        yield ", ".join(titles), why


_OF_A_PAIR = {
    "difference": "difference",
    "ci": "95 % interval",
    "p": "p",
    "p_holm": "p (Holm)",
    "detectable": "detectable",
}


def kinds_of(comparison: Comparison) -> list[KindName]:
    """The kinds of unanswerable question that any run asked.

    Args:
        comparison: Of two or more runs.

    Returns:
        Each once, in the order of the runs that asked them first.
    """
    return list(dict.fromkeys(kind for row in comparison.runs for kind in row.recall_by_kind))
