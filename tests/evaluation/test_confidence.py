"""The interval around a measured accuracy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from t2t_vit.evaluation.confidence import accuracy_interval


@pytest.mark.parametrize(("right", "total"), [(81, 263), (15, 148), (0, 20), (29, 29), (1, 1)])
def test_interval_is_the_one_that_scipy_has(right, total):
    expected = binomtest(right, total).proportion_ci(0.95, method="wilson")
    # The normal's point is written with seven digits there.
    assert accuracy_interval(right, total) == pytest.approx((100 * expected.low, 100 * expected.high), abs=1e-4)


def test_all_right_is_not_certain():
    low, high = accuracy_interval(30, 30)
    assert high == 100
    assert 80 < low < 95


def test_nothing_is_known_of_no_images():
    assert accuracy_interval(0, 0) == (0, 100)


def test_it_holds_the_true_accuracy_in_95_of_100_samples():
    rights = np.random.default_rng(0).binomial(200, 0.9, 4000)
    inside = [low <= 90 <= high for low, high in (accuracy_interval(int(right), 200) for right in rights)]
    assert 0.93 < np.mean(inside) < 0.97  # standard error 0.0034, and the interval is of whole images
