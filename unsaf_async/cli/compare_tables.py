"""A comparison, and a cross-examination, as tables for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from unsaf_async.cli.console import console as stdout
from unsaf_async.cli.console import safe
from unsaf_async.compare.tables import kinds_of
from unsaf_async.text import format_difference, format_figure, format_interval, format_p, format_usd

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from unsaf_async.compare.comparison import Comparison
    from unsaf_async.compare.cross_matrix import CrossMatrix


def print_comparison(comparison: Comparison, console: Console | None = None) -> None:
    """Prints a comparison as tables; first of all, how the runs differ.

    Args:
        comparison: The comparison.
        console: Where it is printed; None: stdout.
    """
    console = console or stdout()
    _print_notes(comparison, console)
    for table in (*_runs(comparison), _pairs(comparison), _correlations(comparison)):
        if table.row_count and len(table.columns) > 1:
            console.print()
            console.print(table)
    for pair in comparison.pairs:
        for why in dict.fromkeys(pair.undefined.values()):
            console.print(f"n/a for {safe(pair.a)} and {safe(pair.b)}: {safe(why)}")


def _print_notes(comparison: Comparison, console: Console) -> None:
    for difference in comparison.differences:
        console.print(f"[yellow]Note:[/yellow] {safe(difference)}")
    for row in comparison.runs:
        for reason in row.unreliable:
            console.print(f"[red]Unreliable:[/red] {safe(row.name)}: {safe(reason)}")
        for warning in row.warnings:
            console.print(f"[yellow]Note:[/yellow] {safe(row.name)}: {safe(warning)}")


def _runs(comparison: Comparison) -> Iterator[Table]:
    """Each run's figures, its recall by kind, and its costs."""
    runs = Table(
        "run", "UnF1", "95 % interval", "precision", "recall", "over-refusal", "over-answer", "images", "questions", "unscored",
        box=None, pad_edge=False,
    )  # fmt: skip
    costs = Table("run", "paid", "per image", "for a 1-point interval", "time", box=None, pad_edge=False)
    for row in comparison.runs:
        runs.add_row(
            safe(row.name), format_figure(row.unf1), format_interval(row.unf1_ci),
            *map(format_figure, (row.precision, row.recall, row.over_refusal_rate, row.over_answer_rate)),
            str(row.images), str(row.questions), str(row.unscored),
        )  # fmt: skip
        costs.add_row(
            safe(row.name), *(format_usd(usd, 4) for usd in (row.cost_usd, row.cost_per_image_usd, row.cost_of_one_point_usd)),
            "n/a" if row.wall_s is None else f"{row.wall_s:.1f} s",
        )  # fmt: skip
    yield runs
    kinds = kinds_of(comparison)
    recalls = Table("recall by kind", *kinds, box=None, pad_edge=False)
    for row in comparison.runs:
        recalls.add_row(safe(row.name), *(format_figure(row.recall_by_kind.get(kind)) for kind in kinds))
    yield recalls
    yield costs


def _pairs(comparison: Comparison) -> Table:
    pairs = Table(
        "run", "compared with", "difference", "95 % interval", "p", "p (Holm)", "images shared", "only in the first",
        "only in the second", box=None, pad_edge=False,
    )  # fmt: skip
    for pair in comparison.pairs:
        pairs.add_row(
            safe(pair.a), safe(pair.b), format_difference(pair.difference),
            format_interval(pair.ci), format_p(pair.p), format_p(pair.p_holm),
            str(pair.images_shared), str(pair.images_only_a), str(pair.images_only_b),
        )  # fmt: skip
    return pairs


def _correlations(comparison: Comparison) -> Table:
    correlations = Table(
        "UnF1 against",
        "runs",
        "Spearman",
        "95 % interval",
        "p",
        "Kendall",
        "95 % interval",
        "p",
        "",
        box=None,
        pad_edge=False,
    )
    for each in comparison.correlations:
        rho, tau = each.spearman, each.kendall
        correlations.add_row(
            safe(each.metric), str(len(each.runs)), format_figure(rho.value), format_interval(rho.ci), format_p(rho.p),
            format_figure(tau.value), format_interval(tau.ci), format_p(tau.p),
            safe("" if rho.value is not None else rho.why_undefined),
        )  # fmt: skip
    return correlations


def print_matrix(matrix: CrossMatrix, console: Console | None = None) -> None:
    """A cross-examination as tables, to stdout or `console`: who asked down, who answered across."""
    console = console or stdout()
    console.print(
        f"UnF1 on the {matrix.images} images that all cells share; questions by the row's model, answers by the column's"
    )
    cells = Table("asks \\ answers", *map(safe, matrix.answerers), box=None, pad_edge=False)
    for asker in matrix.askers:
        row = [matrix.cell(asker, answerer) for answerer in matrix.answerers]
        cells.add_row(
            safe(asker),
            *(format_figure(cell.unf1) + (f" ({format_interval(cell.ci)})" if cell.ci else "") for cell in row),
        )
    console.print()
    console.print(cells)
    fit = matrix.fit
    skills = Table("model", "asking", "95 % interval", "answering", "95 % interval", box=None, pad_edge=False)
    asking, answering = ({effect.name: effect for effect in effects} for effects in (fit.asking, fit.answering))
    for name in dict.fromkeys([*asking, *answering]):
        of = (asking.get(name), answering.get(name))
        skills.add_row(
            safe(name),
            *(
                text
                for effect in of
                for text in (
                    format_difference(effect.value if effect else None),
                    format_interval(effect.ci if effect else None),
                )
            ),
        )
    console.print()
    console.print(skills)
    console.print()
    console.print(
        f"Additive fit: mean {format_figure(fit.mean)}, residual {format_figure(fit.residual_rms)} "
        f"(root mean square of {fit.cells} cells, {fit.parameters} parameters), "
        f"{format_figure(fit.variance_explained)} of the variance explained"
    )
    console.print(
        f"Advantage on one's own questions: {format_difference(fit.own_advantage)} "
        f"(95 % interval {format_interval(fit.own_advantage_ci)})"
    )
    for cell in matrix.cells:
        if cell.unf1 is None:
            console.print(f"n/a for {safe(cell.answerer)} on the questions of {safe(cell.asker)}: {safe(cell.why)}")
    for why in dict.fromkeys(why for name, why in fit.undefined.items() if not name.endswith("ci")):
        console.print(f"n/a in the fit: {safe(why)}")
