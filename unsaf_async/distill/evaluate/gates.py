"""Gates: which differences between before and after are asked for, and whether they are there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from unsaf_async.distill.evaluate.figures import Figure, unavailable
from unsaf_async.distill.evaluate.measures import FigureName
from unsaf_async.errors import as_option
from unsaf_async.records import Record
from unsaf_async.text import format_points

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

GateName = Literal["unf1_own", "unf1_bank", "accuracy", "over_refusal", "pope"]

Part = Literal["own", "bank", "labelled", "pope"]
"""What a model is put to: its own questions, the frozen bank, a labelled set, POPE."""

PARTS: tuple[Part, ...] = get_args(Part)

_ROUNDING = 1e-9
"""A difference that is a limit in exact arithmetic must not miss it by rounding."""


class Thresholds(Record):
    """What the gates ask for, in points (hundredths)."""

    own_gain_points: float = 0.0
    """The interval of UnF1 with own questions has to lie above this."""
    bank_gain_points: float = 0.0
    """The same on the frozen bank."""
    accuracy_drop_points: float = 1.0
    """Labelled accuracy may fall by so much."""
    over_refusal_rise_points: float = 2.0
    """Over-refusal may rise by so much."""
    pope_drop_points: float = 0.0
    """The interval of POPE's accuracy must not lie wholly below minus this."""


class Gate(Record):
    """One condition, and whether it is met."""

    name: GateName
    verdict: Literal["pass", "fail", "n/a", "not asked"]
    """n/a: it was asked for, and cannot be computed. It does not pass."""
    why: str
    """The figures that decided, or what is missing, in words."""
    figure: FigureName | None = None
    """The figure that it is about; None if it was not asked for."""


def all_pass(gates: Iterable[Gate]) -> bool:
    """Whether every gate that was asked for passes.

    Args:
        gates: All gates of a comparison.

    Returns:
        False if none was asked for.
    """
    asked = [gate for gate in gates if gate.verdict != "not asked"]
    return bool(asked) and all(gate.verdict == "pass" for gate in asked)


# --- gates ------------------------------------------------------------------------------------------------------------

GATES: dict[GateName, str] = {
    "unf1_own": "UnF1 up, own questions",
    "unf1_bank": "UnF1 up, frozen bank",
    "accuracy": "accuracy kept",
    "over_refusal": "over-refusal kept",
    "pope": "POPE not worse",
}
"""The gates in words, in their order."""

_NOT_ASKED: dict[GateName, str] = {
    "unf1_own": "there are no runs with own questions",
    "unf1_bank": "there are no runs on a frozen bank",
    "accuracy": f"give {as_option('labelled')}",
    "over_refusal": f"give {as_option('labelled')}, or a frozen bank",
    "pope": f"give {as_option('pope')}",
}


def judge(
    figures: Iterable[Figure],
    asked: Collection[Part],
    thresholds: Thresholds | None = None,
    withheld: Mapping[Part, str] | None = None,
) -> list[Gate]:
    """All gates, in their order.

    Args:
        figures: The figures of the parts that were asked for.
        asked: The parts that both models were to be measured on; a gate without its part is "not asked". Over-refusal
            is that of the labelled set, or without one that of the frozen bank.
        thresholds: What the gates ask for; None: the defaults.
        withheld: Why a part's figures must not decide (a model wrote no questions, a run is not complete): its gates
            are then "n/a". None: all may.

    Returns:
        One gate for each name in `GATES`.
    """
    limits, withheld = thresholds or Thresholds(), withheld or {}
    by_name = {figure.name: figure for figure in figures}
    refusal_part: Part = "labelled" if "labelled" in asked else "bank"
    refusal: FigureName = "over_refusal" if refusal_part == "labelled" else "over_refusal_bank"
    rules: dict[GateName, tuple[Part, FigureName, Callable[[Figure], tuple[bool | None, str]]]] = {
        "unf1_own": ("own", "unf1_own", lambda figure: _above(figure, limits.own_gain_points)),
        "unf1_bank": ("bank", "unf1_bank", lambda figure: _above(figure, limits.bank_gain_points)),
        "accuracy": ("labelled", "accuracy", lambda figure: _at_least(figure, -limits.accuracy_drop_points)),
        "over_refusal": (
            refusal_part,
            refusal,
            lambda figure: _at_most(figure, limits.over_refusal_rise_points),
        ),
        "pope": ("pope", "pope_accuracy", lambda figure: _not_wholly_below(figure, -limits.pope_drop_points)),
    }
    gates = []
    for name, (part, figure_name, rule) in rules.items():
        if part not in asked:
            gates.append(Gate(name=name, verdict="not asked", why=_NOT_ASKED[name]))
            continue
        figure = by_name.get(figure_name) or unavailable(figure_name, "it was not computed")
        if part in withheld:
            passed, why = None, withheld[part]
        elif figure.difference is None:
            passed, why = None, figure.undefined.get("difference", "there is no difference")
        else:
            passed, why = rule(figure)
        gates.append(
            Gate(
                name=name,
                verdict="n/a" if passed is None else "pass" if passed else "fail",
                why=why,
                figure=figure_name,
            )
        )
    return gates


def _above(figure: Figure, bar_points: float) -> tuple[bool | None, str]:
    """The whole interval above the bar."""
    assert figure.difference is not None
    text, bar = _difference_text(figure), format_points(bar_points)
    if figure.ci is None:
        if 100 * figure.difference <= bar_points + _ROUNDING:
            return False, f"{text}: not above {bar}"
        return None, f"{text}: {figure.undefined.get('ci', 'there is no interval')}"
    passed = 100 * figure.ci[0] > bar_points + _ROUNDING
    return passed, f"{text}: {'' if passed else 'not '}wholly above {bar}"


def _at_least(figure: Figure, bar_points: float) -> tuple[bool | None, str]:
    """The difference at the bar or above; the interval is only shown."""
    assert figure.difference is not None
    passed = 100 * figure.difference >= bar_points - _ROUNDING
    return passed, f"{_difference_text(figure)}: {'at least' if passed else 'below'} {format_points(bar_points)}"


def _at_most(figure: Figure, bar_points: float) -> tuple[bool | None, str]:
    """The difference at the bar or below; the interval is only shown."""
    assert figure.difference is not None
    passed = 100 * figure.difference <= bar_points + _ROUNDING
    return passed, f"{_difference_text(figure)}: {'at most' if passed else 'above'} {format_points(bar_points)}"


def _not_wholly_below(figure: Figure, bar_points: float) -> tuple[bool | None, str]:
    """The interval not wholly below the bar. Where every resample has the same difference, that one decides."""
    assert figure.difference is not None
    text, bar = _difference_text(figure), format_points(bar_points)
    if figure.ci is None and figure.images < 2:
        return None, f"{text}: {figure.undefined.get('ci', 'there is no interval')}"
    upper = figure.difference if figure.ci is None else figure.ci[1]
    passed = 100 * upper >= bar_points - _ROUNDING
    return passed, f"{text}: {'not ' if passed else ''}wholly below {bar}"


def _difference_text(figure: Figure) -> str:
    assert figure.difference is not None
    difference = f"{100 * figure.difference:+.1f} points"
    if figure.ci is None:
        return f"{difference}, no interval"
    return f"{difference}, interval {100 * figure.ci[0]:+.1f} to {100 * figure.ci[1]:+.1f}"
