"""Adds to slow.txt the tests that were measured to take long: what `make test-fast` leaves out, so that it ends within a minute.

.venv/bin/python -m pytest -n 2 --dist loadfile -m "not slow" --durations=0 | .venv/bin/python tests/choose_slow.py
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from pathlib import Path

LIMIT_S = 0.1
"""Of a test's parameters together, with what is set up for them. Two fifths of the tests are above it, with nearly all time."""

LIST = Path(__file__).with_name("slow.txt")


def main() -> None:
    """Reads pytest's table of durations from standard input and writes slow.txt anew."""
    took_s: defaultdict[str, float] = defaultdict(float)
    for line in sys.stdin:
        if row := re.match(r"\s*([\d.]+)s (?:call|setup|teardown)\s+([\w/]+\.py::\w+)", line):
            took_s[row[2]] += float(row[1])
    listed = set(LIST.read_text("utf-8").split())
    added = {test for test, seconds in took_s.items() if seconds > LIMIT_S} - listed
    LIST.write_text("".join(f"{each}\n" for each in sorted(listed | added)), "utf-8")
    rest_s = sum(seconds for test, seconds in took_s.items() if test not in added)
    print(
        f"{len(added)} of {len(took_s)} tests are slow: {LIST.name} has them; the rest take {rest_s:.0f} s on one core"
    )


if __name__ == "__main__":
    main()
