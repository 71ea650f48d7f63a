"""Quantiles of Student's t distribution, beside scipy's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import stdtrit

from unsaf_async.score.student_t import t_quantile


@pytest.mark.parametrize("p", [0.025, 0.6, 0.9, 0.975, 0.999])
def test_the_quantiles_are_scipy_s(p: float) -> None:
    degrees = [1.0, 2.0, 3.0, 499.9, 500.0, *np.geomspace(1, 1e7, 60)]
    ours = [t_quantile(each, p) for each in degrees]
    assert ours == pytest.approx(stdtrit(degrees, p), rel=1e-11)
