"""The learning rate of every step, against MMEngine's schedulers for the published recipe."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from t2t_vit.config import load_experiment
from t2t_vit.engine.schedule import WarmupCosineCooldown

GOLDEN = Path(__file__).parents[1] / "golden" / "recipe_expected.npz"


def rates(**changes):
    """The rates of a whole run; by default of 30 epochs of 2 steps: 3 of warm-up, 22 of cosine, 5 of cool-down."""
    settings = {
        "lr": 1.0, "min_lr": 0.01, "epochs": 30, "warmup_epochs": 3, "warmup_factor": 0.1, "cooldown_epochs": 5,
        "cooldown_factor": 0.5, "steps_per_epoch": 2,
    } | changes  # fmt: skip
    schedule = WarmupCosineCooldown(**settings)
    return np.array([schedule(step) for step in range(settings["epochs"] * settings["steps_per_epoch"])])


def test_every_step_of_the_published_recipe_is_mmengines():
    experiment = load_experiment("t2t-vit-t-14_8xb64_in1k")
    schedule = WarmupCosineCooldown(lr=experiment.optimizer.lr, steps_per_epoch=20, **asdict(experiment.schedule))
    with np.load(GOLDEN) as golden:
        expected = golden["lr_310_epochs_20_iters"]
    assert expected.shape == (310 * 20,)
    actual = [schedule(step) for step in range(len(expected))]
    # MMEngine multiplies its way from step to step; 6,200 roundings of float64 leave 4e-15.
    np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=0)


def test_golden_rates_have_the_recipes_landmarks():
    with np.load(GOLDEN) as golden:
        rate = golden["lr_310_epochs_20_iters"].reshape(310, 20)
    assert rate[0, 0] == pytest.approx(5e-10)
    assert rate[9, 19] == rate[10, 0] == pytest.approx(5e-4)
    assert rate[155, 0] == pytest.approx(2.55e-4)
    last_of_cosine = 1e-5 + 4.9e-4 * (1 + math.cos(math.pi * 289 / 290)) / 2
    assert rate[309, 0] == pytest.approx(last_of_cosine)
    assert rate[300, 0] == rate[308, 19] == pytest.approx(last_of_cosine / 10)


def test_warmup_rises_evenly_by_step():
    warmup = rates()[:6]
    np.testing.assert_allclose(warmup, np.linspace(0.1, 1.0, 6))


def test_cosine_falls_by_epoch():
    cosine = rates()[6:50].reshape(22, 2)
    expected = 0.01 + 0.99 * (1 + np.cos(np.pi * np.arange(22) / 22)) / 2
    np.testing.assert_allclose(cosine, np.stack([expected, expected], axis=1))


def test_cooldown_is_flat_but_for_its_last_epoch():
    run = rates()
    np.testing.assert_allclose(run[50:58], run[49] / 2)
    np.testing.assert_allclose(run[58:], run[49])


def test_rate_is_a_function_of_the_step_alone():
    schedule = WarmupCosineCooldown(1.0, 0.01, 30, 3, 0.1, 5, 0.5, 2)
    backwards = [schedule(step) for step in reversed(range(60))][::-1]
    np.testing.assert_array_equal(backwards, rates())


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"epochs": 1}, [0.1, 0.28]),
        ({"epochs": 2}, [0.1, 0.28, 0.46, 0.64]),
        ({"epochs": 3}, [0.1, 0.28, 0.46, 0.64, 0.82, 1.0]),
        ({"epochs": 5}, [0.1, 0.28, 0.46, 0.64, 0.82, 1.0, 1.0, 1.0, 1.0, 1.0]),
        ({"epochs": 1, "warmup_epochs": 0, "cooldown_epochs": 0}, [1.0, 1.0]),
        ({"epochs": 2, "warmup_epochs": 0, "cooldown_epochs": 0}, [1.0, 1.0, 0.505, 0.505]),
        ({"epochs": 2, "warmup_epochs": 1, "cooldown_epochs": 0, "steps_per_epoch": 1}, [0.1, 1.0]),
        ({"epochs": 3, "warmup_epochs": 1, "cooldown_epochs": 1, "steps_per_epoch": 1}, [0.1, 1.0, 1.0]),
        ({"epochs": 4, "warmup_epochs": 1, "cooldown_epochs": 2, "steps_per_epoch": 1}, [0.1, 1.0, 0.5, 1.0]),
    ],
)
def test_short_runs(changes, expected):
    np.testing.assert_allclose(rates(**changes), expected)


@pytest.mark.parametrize("epochs", [1, 2, 7, 8, 9, 15, 60, 309, 1000])
@pytest.mark.parametrize("steps_per_epoch", [1, 3])
def test_rates_of_any_run_stay_between_their_bounds(epochs, steps_per_epoch):
    run = rates(epochs=epochs, steps_per_epoch=steps_per_epoch)
    assert run.max() <= 1.0
    assert run.min() >= 0.01 * 0.5


def test_rate_below_the_minimum_does_not_rise():
    run = rates(lr=1e-3)
    np.testing.assert_allclose(run[6:50], 1e-3)
