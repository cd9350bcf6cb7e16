"""Random numbers that belong to samples."""

from __future__ import annotations

import numpy as np

from t2t_vit.data.resident.draws import uniform


def test_they_depend_on_the_key_and_the_sample_alone():
    whole = uniform((3, 1), range(100), 7)
    assert whole.shape == (100, 7)
    assert np.array_equal(uniform((3, 1), [42, 7], 7), whole[[42, 7]])
    assert np.array_equal(uniform((3, 1), range(100), 5), whole[:, :5])
    for other in ((3, 2), (31,), (1, 3)):
        assert not np.isin(uniform(other, range(100), 7), whole).any()


def test_they_are_uniform_and_independent():
    values = uniform((0, 0), range(20_000), 12)
    assert values.min() >= 0
    assert values.max() < 1
    assert np.unique(values).size == values.size
    counts = np.stack([np.histogram(column, 50, (0, 1))[0] for column in values.T])
    # Chi-squared of 49 degrees of freedom: 49 ± 9.9.
    assert (((counts - 400) ** 2 / 400).sum(1) < 100).all()
    correlations = np.corrcoef(values.T) - np.eye(12)
    assert np.abs(correlations).max() < 0.04
    assert abs(np.corrcoef(values[:-1, 0], values[1:, 0])[0, 1]) < 0.04
    assert abs(np.corrcoef(values[:, 0], uniform((0, 1), range(20_000), 1)[:, 0])[0, 1]) < 0.04
