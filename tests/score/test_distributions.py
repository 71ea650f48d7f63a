"""Quantiles, tails and roots, beside scipy's."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import special

from unsaf_async.score.distributions import (
    beta_quantile,
    f_upper_tail,
    incomplete_beta,
    noncentral_t_below,
    root,
    t_quantile,
)


@pytest.mark.parametrize("p", [0.025, 0.6, 0.9, 0.975, 0.999, 1 - 1e-6])
def test_the_quantiles_of_t_are_scipys(p: float) -> None:
    degrees = [1.0, 2.0, 3.0, 499.9, 500.0, *np.geomspace(1, 1e7, 60)]
    ours = [t_quantile(each, p) for each in degrees]
    assert ours == pytest.approx(special.stdtrit(degrees, p), rel=1e-11)


@pytest.mark.parametrize("p", [0.001, 0.025, 0.5, 0.975, 0.999])
def test_the_quantiles_of_beta_are_scipys(p: float) -> None:
    for a, b in itertools.product((0.5, 1, 1.5, 3.7, 20.5, 333, 5e3, 1e6), repeat=2):
        assert beta_quantile(a, b, p) == pytest.approx(special.betaincinv(a, b, p), rel=1e-10, abs=0), (a, b)


def test_the_probabilities_of_beta_and_f_are_scipys() -> None:
    for a, b in itertools.product((0.5, 1, 3.7, 333, 1e5), repeat=2):
        x = np.array([0, 1e-9, 0.1, 0.5, 0.9, 1 - 1e-9, 1])
        ours = [incomplete_beta(float(each), a, b) for each in x]
        assert ours == pytest.approx(special.betainc(a, b, x), rel=1e-10, abs=1e-300), (a, b)
    for above, below, f in itertools.product((1, 2, 3.5, 60), (1, 4, 9.5, 5000), (0, 0.01, 1, 2.5, 50)):
        assert f_upper_tail(f, above, below) == pytest.approx(special.fdtrc(above, below, f), rel=1e-10)


def test_the_noncentral_t_is_scipys() -> None:
    for degrees, shift in itertools.product((1, 5, 5.5, 11, 40, 199, 9999, 1e5), (-2, 0, 0.1, 1, 2.8, 5, 12)):
        t = np.array([-4, -2, -0.5, 0, 0.5, 1.96, 2.6, 5, 13])
        theirs = special.nctdtr(degrees, shift, t)
        ours = [noncentral_t_below(float(each), degrees, shift) for each in t[~np.isnan(theirs)]]  # where it gives up
        assert len(ours) > 5
        assert ours == pytest.approx(theirs[~np.isnan(theirs)], abs=1e-10), (degrees, shift)


def test_a_root_is_found_to_the_last_digits_or_as_near_as_is_asked() -> None:
    asked: list[float] = []

    def cubic(x: float) -> float:
        asked.append(x)
        return x**3 - 2

    assert root(cubic, 0, 2) == pytest.approx(2 ** (1 / 3), rel=1e-15)
    exact = len(asked)
    asked.clear()
    assert root(cubic, 0, 2, within=0.05) == pytest.approx(2 ** (1 / 3), abs=0.05)
    assert len(asked) < exact < 20
    assert root(lambda x: math.exp(x) - 1e-30, -1e4, 0, share=1e-3) == pytest.approx(-69.08, rel=1e-3)
    assert (root(lambda x: x - 1, 1, 3), root(lambda x: x - 3, 1, 3)) == (1, 3)
    with pytest.raises(ValueError, match="no change of sign between 1 and 2"):
        root(lambda x: x, 1, 2)
