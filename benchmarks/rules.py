"""How much the rules of the judge cascade settle, and how often they are right, on human-labelled responses.

    python benchmarks/rules.py [--data FILE] [--half all|tune|held-out] [--clean] [--errors]

FILE is JSONL: `question`, `text`, `label` ("answered" or "abstained"), `tier`. The rules were tuned on the half "tune";
questions, not rows, are divided, so that no question stands in both.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from unsaf_async.checks.labels import check_labels
from unsaf_async.examine.rules import explain
from unsaf_async.score.calibration import Judged

if TYPE_CHECKING:
    from collections.abc import Iterable

DATA = Path(__file__).parents[2] / "shared" / "data" / "abstention_dev.jsonl"
LABELS = ("answered", "abstained")
UNLABELLED = ("refused", "no_image")
"""What the labels have no word for: such rows are counted, and neither right nor wrong."""


class Verdict(NamedTuple):
    """One row of the data with what the rules say."""

    tier: str
    label: str
    act: str | None
    rule: str
    question: str
    text: str


def half(question: str) -> str:
    """ "tune" or "held-out", by the question's hash."""
    return "held-out" if sha256(question.encode()).digest()[0] & 1 else "tune"


def judged(rows: Iterable[dict[str, Any]]) -> list[Verdict]:
    """Every row with the rules' act and the name of the rule."""
    return [
        Verdict(row["tier"], row["label"], *explain(row["question"], row["text"], "stop"), row["question"], row["text"])
        for row in rows
    ]


def read(path: Path, which: str = "all") -> list[dict[str, Any]]:
    """The rows of one half, or of both."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return [row for row in rows if which in ("all", half(row["question"]))]


def cleaned(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows without the sources whose labels have slipped against their texts, as `judge calibrate` takes them."""
    judged_rows = [
        Judged(question=row["question"], response=row["text"], label=row["label"], groups={"source": row["source"]})
        for row in rows
    ]
    shifted = check_labels(judged_rows).shifted
    return [row for row in rows if row["source"] not in shifted]


def ratio(part: int, whole: int) -> float | None:
    """part / whole; None without a whole."""
    return part / whole if whole else None


def figures(verdicts: list[Verdict]) -> dict[str, float | int | None]:
    """Rows, share decided, accuracy (in the labels' words), and each label's precision and recall among the decided.

    Shares are in [0, 1].
    """
    decided = [verdict for verdict in verdicts if verdict.act is not None]
    unlabelled = sum(verdict.act in UNLABELLED for verdict in decided)
    table: dict[str, float | int | None] = {
        "rows": len(verdicts),
        "refused or no image": unlabelled,
        "decided": ratio(len(decided), len(verdicts)),
        "accuracy": ratio(sum(v.act == v.label for v in decided), len(decided) - unlabelled),
    }
    for label in LABELS:
        hits = sum(v.act == v.label == label for v in decided)
        table[f"{label} precision"] = ratio(hits, sum(v.act == label for v in decided))
        table[f"{label} recall"] = ratio(hits, sum(v.label == label for v in decided))
    return table


def by_rule(verdicts: list[Verdict]) -> dict[tuple[str, str | None], tuple[int, int]]:
    """For each rule and act: how many rows it decided, and how many of these rightly. Act None: why rows were left open."""
    counts: dict[tuple[str, str | None], list[int]] = defaultdict(lambda: [0, 0])
    for verdict in verdicts:
        counts[verdict.rule, verdict.act][0] += 1
        counts[verdict.rule, verdict.act][1] += verdict.act == verdict.label
    return {key: (n, right) for key, (n, right) in sorted(counts.items(), key=lambda item: -item[1][0])}


def report(verdicts: list[Verdict]) -> str:
    """The tables, one tier after the other."""
    lines = []
    for tier in sorted({verdict.tier for verdict in verdicts}):
        rows = [verdict for verdict in verdicts if verdict.tier == tier]
        lines.append(f"tier {tier}")
        lines += [
            f"  {name:20} {value if isinstance(value, int) else '-' if value is None else f'{value:.4f}'}"
            for name, value in figures(rows).items()
        ]
        lines.append("  rule                            act         n  right  precision")
        for (name, act), (n, right) in by_rule(rows).items():
            share = f"{right:6}  {right / n:9.4f}" if act else "     -          -"
            lines.append(f"    {name:29} {act or 'left open':9} {n:4} {share}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, default=DATA, help="labelled responses (default: %(default)s)")
    parser.add_argument("--half", choices=("all", "tune", "held-out"), default="all")
    parser.add_argument("--clean", action="store_true", help="leave out sources whose labels have slipped")
    parser.add_argument("--errors", action="store_true", help="list every wrong decision")
    options = parser.parse_args()
    if not options.data.is_file():
        raise SystemExit(f"{options.data}: no such file; give labelled responses with --data")
    rows = read(options.data)
    kept = cleaned(rows) if options.clean else rows
    print(f"{len(kept)} of {len(rows)} rows")
    verdicts = judged(row for row in kept if options.half in ("all", half(row["question"])))
    print(report(verdicts))
    if options.errors:
        for v in verdicts:
            if v.act is not None and v.act != v.label:
                print(f"tier {v.tier}, {v.rule}: {v.act}, labelled {v.label}\n  Q {v.question!r}\n  A {v.text!r}")


if __name__ == "__main__":
    main()
