"""Figures as people read them, for the terminal, the report and the documents alike."""

from __future__ import annotations


def format_figure(value: float | None, digits: int = 3) -> str:
    """A figure for people; "n/a" if it is undefined."""
    return "n/a" if value is None else f"{value:.{digits}f}"


def format_interval(ends: tuple[float, float] | None) -> str:
    """ "0.812 to 0.934", or "n/a"."""
    return "n/a" if ends is None else f"{ends[0]:.3f} to {ends[1]:.3f}"


def format_p(value: float | None) -> str:
    """A p-value for people: three digits, and never 0."""
    return "n/a" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"
