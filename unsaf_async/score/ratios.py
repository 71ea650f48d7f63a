"""Quotients and means of which an empty one is undefined."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def ratio(part: float, whole: float) -> float | None:
    """part / whole.

    Args:
        part: The numerator.
        whole: The denominator.

    Returns:
        None where the denominator is 0.
    """
    return part / whole if whole else None


def mean(values: Sequence[float]) -> float | None:
    """The mean of some values.

    Args:
        values: The values, in any order.

    Returns:
        None without values.
    """
    return sum(values) / len(values) if values else None


def quotients(parts: NDArray[Any], wholes: NDArray[Any]) -> NDArray[np.float64]:
    """parts / wholes, element by element.

    Args:
        parts: The numerators.
        wholes: The denominators, of the same shape.

    Returns:
        Of that shape; NaN where the denominator is 0.
    """
    parts, wholes = np.asarray(parts, dtype=np.float64), np.asarray(wholes, dtype=np.float64)
    result: NDArray[np.float64] = np.full(parts.shape, np.nan)
    np.divide(parts, wholes, out=result, where=wholes != 0)
    return result
