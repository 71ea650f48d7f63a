"""How often the judge's rules are right in other languages than English, and how much they decide.

    python benchmarks/rule_languages.py [--half dev|held-out|held-out-2] [--errors]

On invented responses with labels, tests/data/rules_languages.jsonl: `language`, `half`, `adversarial`, `question`, `response`,
`label` (an act, or "open" where readers may differ: then no decision is right).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from unsaf_async.examine.rules import explain

DATA = Path(__file__).parents[1] / "tests" / "data" / "rules_languages.jsonl"
NAMES = {"de": "German", "es": "Spanish", "fr": "French", "ja": "Japanese", "zh": "Chinese"}
ACTS = ("answered", "abstained")


def judged(half: str | None = None) -> list[dict[str, Any]]:
    """The rows of one half, or of all, each with the rules' `act`."""
    rows = [json.loads(line) for line in DATA.read_text("utf-8").splitlines()]
    kept = [row for row in rows if half in (None, row["half"])]
    return [row | {"act": explain(row["question"], row["response"], "stop")[0]} for row in kept]


def cells(rows: list[dict[str, Any]]) -> list[str]:
    """Of one language: rows, share decided, and for each act how many decisions, of these right, precision and recall."""
    decided = [row for row in rows if row["act"] is not None]
    plain = [row for row in rows if not row["adversarial"]]
    found = [str(len(rows)), f"{len(decided) / len(rows):.0%}"]
    found.append(f"{sum(row['act'] is not None for row in plain) / len(plain):.0%}")
    for act in ACTS:
        said = [row for row in decided if row["act"] == act]
        right = sum(row["label"] == act for row in said)
        found.append(f"{right} of {len(said)}")
        found.append(f"{right / len(said):.3f}" if said else "n/a")
        found.append(f"{right / sum(row['label'] == act for row in rows):.2f}")
    others = [row for row in decided if row["act"] not in ACTS]
    return [*found, f"{sum(row['act'] == row['label'] for row in others)} of {len(others)}"]


def table(half: str | None = None) -> str:
    """One line a language, and one for all, as Markdown."""
    rows = judged(half)
    columns = ["", "responses", "decided", "of the plain half"]
    columns += [f"{act}: {what}" for act in ACTS for what in ("right", "precision", "recall")]
    columns.append("other acts: right")
    lines = [columns, ["---"] * len(columns)]
    lines += [[NAMES[code], *cells([row for row in rows if row["language"] == code])] for code in NAMES]
    lines.append(["all", *cells(rows)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--half", choices=("dev", "held-out", "held-out-2"))
    parser.add_argument("--errors", action="store_true", help="list every wrong decision")
    options = parser.parse_args()
    print(table(options.half))
    if options.errors:
        for row in judged(options.half):
            if row["act"] not in (None, row["label"]):
                print(
                    f"{row['language']}: {row['act']}, labelled {row['label']}\n  {row['question']}\n  {row['response']}"
                )


if __name__ == "__main__":
    main()
