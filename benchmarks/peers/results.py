"""From runs to figures, and from figures to tables: medians over rounds, and ratios to ours within a round."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

from environments import OURS
from measure import Run

if TYPE_CHECKING:
    from environments import Peer
    from rows import Column, Row


@dataclass
class Results:
    """The runs of one row: in each round, by peer and by case. A peer may be missing in a round."""

    row: Row
    rounds: list[dict[str, dict[str, Run]]] = field(default_factory=list)

    def figures(self, column: Column, peer: Peer) -> list[float | None]:
        """A column's figure of one peer in each round; None where a run of it is missing or did not end well."""
        figures: list[float | None] = []
        takes_part = all(peer.why_not(self.row.key, case) is None for case in column.cases)
        for runs_of in self.rounds:
            runs = runs_of.get(peer.name, {}) if takes_part else {}
            whole = all(case in runs and not runs[case].error for case in column.cases)
            figures.append(column.of(runs, peer) if whole else None)
        return figures


@dataclass(frozen=True)
class Cell:
    """value: the median over the rounds. ratio: to ours, the median of the ratios within a round. None: n/a."""

    value: float | None
    ratio: float | None

    def text(self, digits: int) -> str:
        if self.value is None:
            return "n/a"
        value = f"{self.value:.{digits}f}"
        return value if self.ratio is None else f"{value} ({self.ratio:.2f}x)"


def cell(figures: list[float | None], ours: list[float | None]) -> Cell:
    """The cell of one peer from its figures in each round, and ours in the same rounds."""
    values = [value for value in figures if value is not None]
    pairs = zip(figures, ours, strict=False)
    ratios = [theirs / mine for theirs, mine in pairs if theirs is not None and mine is not None and mine > 0]
    return Cell(median(values) if values else None, median(ratios) if ratios else None)


def cells(results: Results, column: Column, peers: list[Peer]) -> list[Cell]:
    """A column's cells, a peer each. Ours, and all where ours is missing, have no ratio."""
    mine = next((results.figures(column, peer) for peer in peers if peer.name == OURS), [])
    return [cell(results.figures(column, peer), [] if peer.name == OURS else mine) for peer in peers]


def kept(everything: list[Results]) -> dict[str, Any]:
    """The runs of all rows as JSON takes them, to be read back by `recall`."""
    return {
        results.row.key: [
            {name: {case: asdict(run) for case, run in runs.items()} for name, runs in each.items()}
            for each in results.rounds
        ]
        for results in everything
    }


def recall(said: dict[str, Any], rows: list[Row]) -> list[Results]:
    """What `kept` made, for those rows of which there is any."""
    return [
        Results(
            row,
            [
                {name: {case: Run(**run) for case, run in runs.items()} for name, runs in each.items()}
                for each in said[row.key]
            ],
        )
        for row in rows
        if row.key in said
    ]


def table(everything: list[Results], peers: list[Peer]) -> list[list[str]]:
    """One line a figure, one column a peer, with a head."""
    lines = [["", "figure", "unit", *(peer.name for peer in peers)]]
    for results in everything:
        for column in results.row.columns:
            texts = [each.text(column.digits) for each in cells(results, column, peers)]
            lines.append([results.row.key, column.label, column.unit, *texts])
    return lines


def markdown(lines: list[list[str]]) -> str:
    """A table in Markdown, its columns aligned."""
    widths = [max(len(line[place]) for line in lines) for place in range(len(lines[0]))]
    padded = [
        "| " + " | ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) + " |" for line in lines
    ]
    rule = "| " + " | ".join("-" * max(3, width) for width in widths) + " |"
    return "\n".join([padded[0], rule, *padded[1:]])


def behind(everything: list[Results], peers: list[Peer]) -> list[tuple[str, str, list[str]]]:
    """Where peers are ahead of ours by more than 2 %: key of row and column, its label, and who with what figure."""
    found = []
    for results in everything:
        for column in results.row.columns:
            row_cells = dict(zip((peer.name for peer in peers), cells(results, column, peers), strict=True))
            mine = row_cells.get(OURS)
            if mine is None or mine.value is None:
                continue
            ahead = [
                f"{name} {other.text(column.digits)}"
                for name, other in row_cells.items()
                if is_better(other, mine.value, column.better)
            ]
            if ahead:
                found.append((f"{results.row.key}.{column.label}", mine.text(column.digits), ahead))
    return found


def spread(everything: list[Results], peers: list[Peer]) -> list[str]:
    """The least and the greatest figure of who was measured in several rounds, and in how many: a line for each column."""
    lines = []
    for results in everything:
        for column in results.row.columns:
            ranges = []
            for peer in peers:
                values = [value for value in results.figures(column, peer) if value is not None]
                if len(values) > 1:
                    low, high = (f"{value:.{column.digits}f}" for value in (min(values), max(values)))
                    ranges.append(f"{peer.name} {low} to {high} ({len(values)})")
            if ranges:
                lines.append(f"**{results.row.key}.{column.label}**: {', '.join(ranges)}.")
    return lines


def is_better(theirs: Cell, mine: float, better: str) -> bool:
    """Whether a figure is better than ours by more than 2 %: by the ratios within a round where there are any."""
    if theirs.value is None:
        return False
    value, ours = (theirs.value, mine) if theirs.ratio is None else (theirs.ratio, 1.0)
    gain = ours - value if better == "lower" else value - ours
    return gain > max(0.02 * abs(ours), 1e-4)


def missing(everything: list[Results], peers: list[Peer]) -> list[str]:
    """Why there is no figure where there is none, and which calls failed: one line each."""
    lines = []
    for peer in peers:
        lines += [
            f"{peer.name} has no figure in {', '.join(places)}: {reason}."
            for reason, places in reasons(everything, peer).items()
        ]
        for results in everything:
            for case in results.row.cases:
                runs = [each[peer.name][case.name] for each in results.rounds if case.name in each.get(peer.name, {})]
                if errors := sorted({run.error for run in runs if run.error}):
                    lines.append(f"{peer.name} in {results.row.key}, {case.name}: {'; '.join(errors)}.")
                elif failed := sum(run.failed for run in runs):
                    asked = sum(run.failed + run.done for run in runs)
                    lines.append(f"{peer.name} in {results.row.key}, {case.name}: {failed} of {asked} calls failed.")
        if left := unmeasured(everything, peer):
            lines.append(f"{peer.name} was not measured in {', '.join(left)}.")
    return lines


def unmeasured(everything: list[Results], peer: Peer) -> list[str]:
    """The figures that a peer could have and has not, since nobody measured it there."""
    left = []
    for results in everything:
        for column in results.row.columns:
            takes_part = all(peer.why_not(results.row.key, case) is None for case in column.cases)
            runs = [each.get(peer.name, {}).get(case) for each in results.rounds for case in column.cases]
            ended = any(run is not None and run.error for run in runs)
            if takes_part and not ended and not any(figure is not None for figure in results.figures(column, peer)):
                left.append(f"{results.row.key} ({column.label})")
    return left


def reasons(everything: list[Results], peer: Peer) -> dict[str, list[str]]:
    """Why a peer has no figure, and in which rows, or cases of a row."""
    found: dict[str, list[str]] = {}
    for row in (results.row for results in everything):
        places = {row.key: row.key} | {f"{row.key}.{case.name}": f"{row.key} ({case.name})" for case in row.cases}
        for name, place in places.items():
            if name in peer.cannot:
                found.setdefault(peer.cannot[name], []).append(place)
    return found
