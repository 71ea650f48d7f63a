"""How far the headline can be off where responses are lost by what they did: why the limits of `unf1_between` are what they are.

    .venv/bin/python benchmarks/open_headline.py

Rates of declining, shares of unanswerable questions and shares lost are tried in a grid. Abstentions are lost six times as easily
as answers (odds), or the other way about: rules alone decide two thirds of answers and a quarter of abstentions, which is odds of
six. Everything is an expectation, so that no sampling error is mixed in.
"""

from __future__ import annotations

from itertools import product

import numpy as np

ODDS = (6.0, 1 / 6)
UNANSWERABLE = (0.3, 0.5, 0.7)
DECLINED = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98)
REFUSED = (0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)


def lost_alike(share: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What a lost share does to the figures over the grid.

    Args:
        share: Of the responses that are lost, in (0, 1).

    Returns:
        (width of UnF1's bounds, error of UnF1, error of recall or of over-refusal, the greater), each of shape [cases].
    """
    p, recall, refused, odds = np.array(list(product(UNANSWERABLE, DECLINED, REFUSED, ODDS))).T
    tu, fa, fu, ta = p * recall, p * (1 - recall), (1 - p) * refused, (1 - p) * (1 - refused)
    low, high = np.zeros(len(p)), np.ones(len(p))
    for _ in range(50):
        of_answers = (low + high) / 2
        of_abstentions = odds * of_answers / (1 - of_answers + odds * of_answers)
        less = of_abstentions * (tu + fu) + of_answers * (fa + ta) < share
        low, high = np.where(less, of_answers, low), np.where(less, high, of_answers)
    kept_tu, kept_fu = tu * (1 - of_abstentions), fu * (1 - of_abstentions)
    kept_fa, kept_ta = fa * (1 - of_answers), ta * (1 - of_answers)
    unf1 = 2 * kept_tu / (2 * kept_tu + kept_fu + kept_fa)
    best_tu = kept_tu + (p - kept_tu - kept_fa)
    width = 2 * best_tu / (2 * best_tu + kept_fu + kept_fa) - 2 * kept_tu / (2 * kept_tu + kept_fu + kept_fa + share)
    others = np.maximum(
        abs(kept_tu / (kept_tu + kept_fa) - recall),
        abs(kept_fu / (kept_fu + kept_ta) - refused),
    )
    return width, abs(unf1 - 2 * tu / (2 * tu + fu + fa)), others


def main() -> None:
    """Prints two tables: by width of the bounds, and by share lost."""
    shares = np.arange(0.005, 0.405, 0.005)
    found = [lost_alike(share) for share in shares]
    width, error = (np.concatenate([each[place] for each in found]) for place in (0, 1))
    print("bounds' width up to | UnF1 off by, at most | 95 % of cases")
    for limit in (0.03, 0.05, 0.08, 0.10, 0.15, 0.20):
        within = error[width <= limit]
        print(f"{limit:.2f} | {within.max():.3f} | {np.quantile(within, 0.95):.3f}")
    print(
        "\nshare lost | bounds' width, median | UnF1 off, 95 % of cases | recall or over-refusal off, median | 95 % of cases"
    )
    for share in (0.03, 0.05, 0.10, 0.20, 0.30, 0.40):
        wide, off, others = lost_alike(share)
        print(
            f"{share:.2f} | {np.median(wide):.3f} | {np.quantile(off, 0.95):.3f} | {np.median(others):.3f} | "
            f"{np.quantile(others, 0.95):.3f}"
        )


if __name__ == "__main__":
    main()
