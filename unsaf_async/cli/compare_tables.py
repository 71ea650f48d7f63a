"""A comparison, and a cross-examination, as tables for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unsaf_async.cli.console import console as stdout
from unsaf_async.cli.console import print_fitting, safe
from unsaf_async.cli.rasch_tables import print_item_response
from unsaf_async.compare.tables import kinds_of, missing_of_pair
from unsaf_async.providers.addresses import LOCAL
from unsaf_async.text import (
    NOT_AVAILABLE,
    format_bracketed,
    format_count,
    format_difference,
    format_figure,
    format_headline,
    format_interval,
    format_p,
    format_usd,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console

    from unsaf_async.compare.comparison import Comparison, RunRow
    from unsaf_async.compare.cross_matrix import CrossFit, CrossMatrix, Effect
    from unsaf_async.score.agreement import Agreement

    _Cells = tuple[tuple[str, ...], Sequence[Sequence[str]]]
    """A table: the columns' titles, and the rows."""


def print_comparison(comparison: Comparison, console: Console | None = None) -> None:
    """Prints a comparison as tables; first of all, how the runs differ.

    Args:
        comparison: The comparison.
        console: Where it is printed; None: stdout.
    """
    console = console or stdout()
    _print_notes(comparison, console)
    for heads, rows in (
        *_runs(comparison),
        _controls(comparison),
        _pairs(comparison),
        _same_answers(comparison),
        _correlations(comparison),
    ):
        if rows and len(heads) > 1:
            console.print()
            print_fitting(console, heads, rows)
    _print_reasons(comparison, console)
    _print_reach(comparison, console)


def _print_reach(comparison: Comparison, console: Console) -> None:
    """What titles mean that do not say it themselves, and which differences could not have been significant."""
    console.print()
    console.print(
        "the paper's scores: timidity and audacity, which the paper of UnSAF names beside its F1, in either reading"
    )
    if any(row.cost_of_one_point_usd is not None for row in comparison.runs):
        console.print("for a 1-point interval: what a 95 % interval 0.01 wide would cost, at the run's price per image")
    if any(pair.p_holm is not None for pair in comparison.pairs):
        console.print("p (Holm): p made stricter for the number of pairs that are compared, by Holm's method")
    if any(pair.detectable is not None for pair in comparison.pairs):
        console.print("detectable: the least true difference that so many images show in four comparisons of five")
    for line in comparison.too_few:
        console.print(f"[yellow]Note:[/yellow] {safe(line)}")


def _print_notes(comparison: Comparison, console: Console) -> None:
    for difference in comparison.differences:
        console.print(f"[yellow]Note:[/yellow] {safe(difference)}")
    for row in comparison.runs:
        if row.origin:
            console.print(f"[yellow]Note:[/yellow] {_about(row.name, row.origin)}")
        for reason in row.unreliable:
            console.print(f"[red]Unreliable:[/red] {_about(row.name, reason)}")
        for warning in row.warnings:
            console.print(f"[yellow]Note:[/yellow] {_about(row.name, warning)}")


def _about(run: str, said: str) -> str:
    """What is said of a run, with its name before it unless it begins with it."""
    return safe(said if said.startswith((f"{run} ", f"{run}:")) else f"{run}: {said}")


def _runs(comparison: Comparison) -> Iterator[_Cells]:
    """Each run's figures, its recall by kind, and its costs."""
    runs = comparison.runs
    heads = ("run", comparison.f1_name, "95 % interval", "images", "questions", "unscored")
    yield heads, [
        (
            safe(f"{row.name} ({LOCAL})" if row.mark == LOCAL else row.name),
            format_headline(row.unf1, row.unf1_between), format_interval(None if row.unf1_between else row.unf1_ci),
            str(row.images), str(row.questions), str(row.unscored),
        )
        for row in runs
    ]  # fmt: skip
    for title, columns in _WITH_INTERVALS.items():
        yield (title, *columns.values()), [(safe(row.name), *(_rate(row, path) for path in columns)) for row in runs]
    if any(row.accuracy is not None for row in runs):
        yield (
            ("labelled sets", "accuracy"),
            [(safe(row.name), f"{format_figure(row.accuracy)}{format_bracketed(row.accuracy_ci)}") for row in runs],
        )
    kinds = kinds_of(comparison)
    yield (
        ("recall by kind", *kinds),
        [(safe(row.name), *(_rate(row, f"recall_by_kind.{kind}") for kind in kinds)) for row in runs],
    )
    yield ("run", *_AMOUNTS.values()), [
        (
            safe(row.name), *(format_usd(usd, 4) for usd in (row.cost_usd, row.cost_per_image_usd, row.cost_of_one_point_usd)),
            "n/a" if row.wall_s is None else f"{row.wall_s:.1f} s",
        )
        for row in runs
    ]  # fmt: skip


_WITH_INTERVALS = {
    "the paper's scores": {
        "precision": "precision (timidity)", "recall": "recall (audacity)", "audacity_of_answers": "audacity of answers",
        "unf1_of_precisions": "F1 of precisions",
    },
    "95 % intervals": {
        "over_refusal_rate": "over-refusal", "over_answer_rate": "over-answer", "macro_f1": "macro F1",
        "matthews_correlation": "Matthews correlation",
    },
}  # fmt: skip
"""Tables of rates with their intervals: by title, the columns' titles by the figures' paths in `RunRow.rates`."""


def _rate(row: RunRow, path: str) -> str:
    return f"{format_figure(row.rates.get(path))}{format_bracketed(row.intervals.get(path))}"


def _pairs(comparison: Comparison) -> _Cells:
    heads = (
        "run", "compared with", "difference", "95 % interval", "p", "p (Holm)", "detectable", "images shared",
        "only in the first", "only in the second",
    )  # fmt: skip
    return heads, [
        (
            safe(pair.a), safe(pair.b), format_difference(pair.difference),
            format_interval(pair.ci), format_p(pair.p), format_p(pair.p_holm), format_figure(pair.detectable),
            str(pair.images_shared), str(pair.images_only_a), str(pair.images_only_b),
        )
        for pair in comparison.pairs
    ]  # fmt: skip


def _same_answers(comparison: Comparison) -> _Cells:
    """What judges made of the same answers."""
    heads = (
        "run", "verdicts against", "same answers", "moved", "agree on all", "kappa", "answers that no rule decides", "kappa",
    )  # fmt: skip
    return heads, [
        (
            safe(each.a), safe(each.b), str(each.answers), str(each.moved), *_agreed(each.agreement),
            str(each.left_open.n), _agreed(each.left_open)[1],
        )
        for each in comparison.same_answers
    ]  # fmt: skip


def _agreed(agreement: Agreement) -> tuple[str, str]:
    """The share and kappa, with their intervals."""
    return (
        f"{format_figure(agreement.share)}{format_bracketed(agreement.share_ci)}",
        f"{format_figure(agreement.kappa)}{format_bracketed(agreement.kappa_ci)}",
    )


def _moves(comparison: Comparison) -> Iterator[str]:
    """Which verdicts moved where, a line for two runs, and why a figure of their agreement is not there."""
    for each in comparison.same_answers:
        if each.moves:
            yield f"{each.a} against {each.b}: " + ", ".join(f"{count} {move}" for move, count in each.moves.items())
        for what, agreement in (("", each.agreement), (" of answers that no rule decides", each.left_open)):
            missing: dict[str, list[str]] = {}
            for figure, why in agreement.why_undefined.items():
                title = figure.removesuffix("_ci")
                missing.setdefault(why, []).append(f"95 % interval of {title}" if title != figure else title)
            for why, figures in missing.items():
                yield f"n/a for {each.a} against {each.b}{what}: {', '.join(figures)}: {why}"


def _correlations(comparison: Comparison) -> _Cells:
    heads = (f"{comparison.f1_name} against", "runs", "Spearman", "95 % interval", "p", "Kendall", "95 % interval", "p")
    return heads, [
        (
            safe(_metric(each.metric)), str(len(each.runs)),
            format_figure(each.spearman.value), format_interval(each.spearman.ci), format_p(each.spearman.p),
            format_figure(each.kendall.value), format_interval(each.kendall.ci), format_p(each.kendall.p),
        )
        for each in comparison.correlations
        if each.spearman.value is not None
    ]  # fmt: skip


def _controls(comparison: Comparison) -> _Cells:
    """How much oftener each model declines where the evidence is gone."""
    from unsaf_async.score.controls import CONTROL_WORDS, FIGURE_WORDS

    return ("run", "asked again with", *FIGURE_WORDS.values(), "questions"), [
        (
            safe(row.name), CONTROL_WORDS[kind],
            *(
                f"{format_figure(getattr(each, name))}{format_bracketed(getattr(each, f'{name}_ci'))}"
                for name in FIGURE_WORDS
            ),
            str(each.n),
        )
        for row in comparison.runs
        for kind, each in row.controls.items()
    ]  # fmt: skip


def _metric(name: str) -> str:
    """What a run's UnF1 is ranked against, in words."""
    from unsaf_async.score.controls import CONTROL_WORDS
    from unsaf_async.score.signals import SIGNAL_WORDS

    for kind, shown in CONTROL_WORDS.items():
        if name == f"controls.{kind}":
            return f"Youden's J with {shown}"
    return next((f"AUROC of {words}" for signal, (words, *_) in SIGNAL_WORDS.items() if signal == name), name)


def _print_reasons(comparison: Comparison, console: Console) -> None:
    """Why a figure of a run or of a pair, a correlation, or an interval of one is not there; a line for each reason."""
    lines = [*_moves(comparison), *_missing_of_runs(comparison), *_missing_correlations(comparison)]
    lines += _missing_of_pairs(comparison)
    if lines:
        console.print()
    for line in lines:
        console.print(safe(line))


def _missing_of_runs(comparison: Comparison) -> Iterator[str]:
    from unsaf_async.score.controls import CONTROL_WORDS, without
    from unsaf_async.score.controls import missing as missing_of_control

    words = {path: title for columns in _WITH_INTERVALS.values() for path, title in columns.items()}
    words |= {f"recall_by_kind.{kind}": f"recall of {kind}" for kind in kinds_of(comparison)}
    runs: dict[tuple[str, str], list[str]] = {}
    for row in comparison.runs:
        missing: dict[tuple[str, str], list[str]] = {}
        for title, why in (*_no_headline(row, comparison.f1_name), *_no_accuracy(comparison, row), *_no_amounts(row)):
            missing.setdefault(("", why), []).append(title)
        for path, title in words.items():
            if path not in row.intervals:
                own = "it has no question of this kind" if path not in row.rates else row.undefined.get(path, "")
                why = own or row.undefined.get(f"intervals.{path}", "its score has no intervals")
                missing.setdefault(("" if own else "95 % interval of ", why), []).append(title)
        for kind, each in row.controls.items():
            for line in without(each):
                yield f"{row.name}: with {CONTROL_WORDS[kind]} {line}"
            for title, why in missing_of_control(each).items():
                missing.setdefault(("", why), []).append(f"{title} with {CONTROL_WORDS[kind]}")
        for (what, why), titles in missing.items():
            runs.setdefault((f"{what}{', '.join(titles)}", why), []).append(row.name)
    for (what, why), names in runs.items():
        yield f"n/a for {', '.join(names)}: {what}: {why}"


def _no_headline(row: RunRow, f1_name: str) -> Iterator[tuple[str, str]]:
    """(what is missing, why)."""
    if row.unf1_between:
        yield f"95 % interval of {f1_name}", "so much is unscored that its bounds stand in its place"
    elif row.unf1 is None:
        yield f1_name, row.undefined.get("unf1", "unknown")
    elif row.unf1_ci is None:
        yield f"95 % interval of {f1_name}", row.undefined.get("unf1_ci", "its score has no intervals")


def _no_accuracy(comparison: Comparison, row: RunRow) -> Iterator[tuple[str, str]]:
    """As `_no_headline`, of the accuracy, where any run has one."""
    if not any(each.accuracy is not None for each in comparison.runs):
        return
    if row.accuracy is None:
        yield "accuracy", row.undefined["accuracy"]
    elif row.accuracy_ci is None:
        yield "95 % interval of accuracy", row.undefined["accuracy_ci"]


def _no_amounts(row: RunRow) -> Iterator[tuple[str, str]]:
    """As `_no_headline`, of money and time."""
    for name, title in _AMOUNTS.items():
        if getattr(row, name) is None:
            yield title, row.undefined.get(name, "unknown")


_AMOUNTS = {
    "cost_usd": "paid",
    "cost_per_image_usd": "per image",
    "cost_of_one_point_usd": "for a 1-point interval",
    "wall_s": "time",
}
"""What a run took: the columns' titles by the fields of `RunRow`."""


def _missing_correlations(comparison: Comparison) -> Iterator[str]:
    reasons: dict[tuple[str, str], list[str]] = {}
    for each in comparison.correlations:
        if each.spearman.value is None:
            reasons.setdefault(("n/a for ", each.spearman.why_undefined), []).append(_metric(each.metric))
            continue
        for name, found in (("Spearman's", each.spearman), ("Kendall's", each.kendall)):
            if found.ci is None:
                key = (f"n/a: {name} interval, ", found.why_undefined)
                reasons.setdefault(key, []).append(_metric(each.metric))
    for (what, why), metrics in reasons.items():
        yield f"{what}{comparison.f1_name} against {', '.join(metrics)}: {why}"


def _missing_of_pairs(comparison: Comparison) -> Iterator[str]:
    for pair in comparison.pairs:
        for names, why in missing_of_pair(pair):
            yield f"n/a for {pair.a} and {pair.b}: {names}: {why}"


def print_matrix(matrix: CrossMatrix, console: Console | None = None) -> None:
    """A cross-examination as tables, to stdout or `console`: who asked down, who answered across."""
    console = console or stdout()
    console.print(
        f"UnF1 on the {format_count(matrix.images, 'image')} that all cells share; questions by the row's model, answers by "
        "the column's"
    )
    for note in matrix.notes:
        console.print(f"[yellow]Note:[/yellow] {safe(note)}")
    console.print()
    print_fitting(
        console,
        ("asks \\ answers", *map(safe, matrix.answerers)),
        [(safe(asker), *(_cell(matrix, asker, each) for each in matrix.answerers)) for asker in matrix.askers],
    )
    fit = matrix.fit
    heads = ("model", "asking", "95 % interval", "answering", "95 % interval")
    asking, answering = ({effect.name: effect for effect in effects} for effects in (fit.asking, fit.answering))
    skills = [
        (safe(name), *_effect(asking.get(name)), *_effect(answering.get(name)))
        for name in dict.fromkeys([*asking, *answering])
    ]
    console.print()
    print_fitting(console, heads, skills)
    console.print()
    console.print(
        f"Additive fit: mean {format_figure(fit.mean)}{format_bracketed(fit.mean_ci)}, "
        f"residual {format_figure(fit.residual_rms)} (root mean square of {fit.cells} cells, {fit.parameters} parameters), "
        f"{format_figure(fit.variance_explained)} of the variance explained"
    )
    console.print(
        f"Advantage on one's own questions: {format_difference(fit.own_advantage)} "
        f"(95 % interval {format_interval(fit.own_advantage_ci)})"
    )
    for cell in matrix.cells:
        if cell.unf1 is None:
            console.print(f"n/a for {safe(cell.answerer)} on the questions of {safe(cell.asker)}: {safe(cell.why)}")
        elif cell.ci is None and cell.unf1_between is None:
            about = f"{safe(cell.answerer)} on the questions of {safe(cell.asker)}"
            console.print(f"n/a: 95 % interval of {about}: {safe(cell.why)}")
    for names, why in _missing_of_fit(fit):
        console.print(f"n/a in the fit: {safe(names)}: {safe(why)}")
    if matrix.item_response:
        print_item_response(matrix.item_response, console)


def _missing_of_fit(fit: CrossFit) -> Iterator[tuple[str, str]]:
    """Which figures of the fit are not there, and why, once for each reason."""
    titles = {
        "mean": "mean",
        "residual_rms": "residual",
        "variance_explained": "variance explained",
        "own_advantage": "advantage on one's own questions",
    }
    by_reason: dict[str, list[str]] = {}
    for path, why in fit.undefined.items():
        figure = path.removesuffix(".ci").removesuffix("_ci")
        if figure != path and figure in fit.undefined and fit.undefined[figure] == why:
            continue
        sort, _, model = figure.partition(".")
        title = f"{sort} of {model}" if model else titles.get(figure, figure)
        by_reason.setdefault(why, []).append(title if figure == path else f"95 % interval of {title}")
    for why, names in by_reason.items():
        yield ", ".join(names), why


def _cell(matrix: CrossMatrix, asker: str, answerer: str) -> str:
    cell = matrix.cell(asker, answerer)
    if cell.unf1_between:
        return format_headline(cell.unf1, cell.unf1_between)
    return f"{format_figure(cell.unf1)}{format_bracketed(cell.ci)}"


def _effect(effect: Effect | None) -> tuple[str, str]:
    """Its value and its interval."""
    if effect is None:
        return NOT_AVAILABLE, NOT_AVAILABLE
    return format_difference(effect.value), format_interval(effect.ci)
