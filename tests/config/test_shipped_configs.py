"""The configs that come with the package say what was published, and survive JSON."""

from __future__ import annotations

import subprocess
import sys

import pytest

from t2t_vit.config import (
    experiment_from_json,
    experiment_to_json,
    experiment_to_python,
    load_experiment,
    shipped_configs,
)

RECIPES = {"t2t-vit-t-14_8xb64_in1k": 0.05, "t2t-vit-t-19_8xb64_in1k": 0.065, "t2t-vit-t-24_8xb64_in1k": 0.065}

#: The official code's recipes: rate, weight decay.
OFFICIAL = {
    **{f"t2t-vit-{n}_8xb64_in1k": (1e-3, 0.03) for n in (7, 10, 12)},
    "t2t-vit-14_8xb64_in1k": (5e-4, 0.05),
    "t2t-vit-14_8xb64_in1k-384px": (5e-4, 0.05),
    **{f"t2t-vit-{n}_8xb64_in1k": (5e-4, 0.065) for n in (19, 24)},
    **{
        f"t2t-vit-{n}_8xb64_in1k": (5e-4, 0.05) for n in ("14-resnext", "14-wide", "14-se", "16-ghost", "dense", "c-14")
    },
}


def test_shipped_configs_are_the_promised_ones():
    assert set(shipped_configs()) >= {*RECIPES, *OFFICIAL, "t2t-vit-digits_demo"}


@pytest.mark.parametrize("name", OFFICIAL)
def test_official_recipe_is_the_official_codes(name):
    experiment = load_experiment(name)
    assert experiment.model.name == name.split("_")[0].replace("-", "_")
    side = 384 if name.endswith("-384px") else 224
    assert (experiment.model.img_size, experiment.model.drop_path_rate) == (side, 0.1)
    assert int(side / experiment.preprocessing.crop_pct) == {224: 248, 384: 426}[side]
    assert (experiment.optimizer.lr, experiment.optimizer.weight_decay) == OFFICIAL[name]
    schedule = experiment.schedule
    assert (schedule.epochs, schedule.warmup_epochs, schedule.cooldown_epochs) == (310, 10, 10)
    # Its warm-up begins at 1e-6, whatever the rate; its cool-down stays at the lowest.
    assert schedule.warmup_factor * experiment.optimizer.lr == pytest.approx(1e-6, rel=1e-12)
    assert (schedule.min_lr, schedule.cooldown_factor) == (1e-5, 1.0)
    assert experiment.ema.decay == 0.99996
    published = load_experiment("t2t-vit-t-14_8xb64_in1k")
    assert experiment.augmentation == published.augmentation
    assert experiment.runtime == published.runtime


def test_every_architecture_has_a_config():
    from t2t_vit.models.variants import VARIANTS

    assert {load_experiment(name).model.name for name in shipped_configs()} == set(VARIANTS)


@pytest.mark.parametrize("name", shipped_configs())
def test_shipped_config_loads_and_survives_json_and_python(name, tmp_path):
    experiment = load_experiment(name)
    text = experiment_to_json(experiment)
    assert experiment_from_json(text, "text") == experiment
    stored = tmp_path / "experiment.json"
    stored.write_text(text, encoding="utf-8")
    assert load_experiment(stored) == experiment
    assert experiment_to_json(load_experiment(stored)) == text
    printed = tmp_path / "printed.py"
    printed.write_text(experiment_to_python(experiment, "All of it."), encoding="utf-8")
    assert load_experiment(printed) == experiment


@pytest.mark.parametrize("name", shipped_configs())
def test_shipped_config_tells_command_and_hardware(name):
    docstring = shipped_configs()[name].read_text(encoding="utf-8").split('"""')[1]
    assert f"tools/train.py configs/t2t_vit/{name}.py" in docstring
    assert "Hardware:" in docstring


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_is_the_published_one(name):
    experiment = load_experiment(name)
    assert experiment.model.name == name.split("_")[0].replace("-", "_")
    assert experiment.model.img_size == 224
    assert experiment.model.drop_path_rate == 0.1
    assert experiment.model.num_classes is None
    assert experiment.data.batch_size * 8 == experiment.optimizer.base_batch_size == 512

    optimizer = experiment.optimizer
    assert (optimizer.lr, optimizer.betas, optimizer.eps) == (5e-4, (0.9, 0.999), 1e-8)
    assert optimizer.weight_decay == RECIPES[name]
    assert optimizer.clip_grad_norm is None
    assert not optimizer.auto_scale_lr

    schedule = experiment.schedule
    assert (schedule.epochs, schedule.warmup_epochs, schedule.cooldown_epochs) == (310, 10, 10)
    assert (schedule.warmup_factor, schedule.min_lr, schedule.cooldown_factor) == (1e-6, 1e-5, 0.1)

    augmentation = experiment.augmentation
    assert augmentation.rand_augment == "rand-m9-n2-mstd0.5-inc1"
    assert (augmentation.crop_scale, augmentation.crop_ratio) == ((0.08, 1.0), (3 / 4, 4 / 3))
    assert (augmentation.mixup, augmentation.cutmix) == (0.8, 1.0)
    assert (augmentation.erase_prob, augmentation.erase_area) == (0.25, (0.02, 1 / 3))
    assert (augmentation.hflip, augmentation.rotate, augmentation.translate) == (0.5, 0, 0)
    assert experiment.runtime.label_smoothing == 0.1
    assert experiment.ema.decay == 0.99996

    preprocessing = experiment.preprocessing
    assert int(224 / preprocessing.crop_pct) == 248
    assert (preprocessing.interpolation, preprocessing.crop_mode) == ("bicubic", "center")
    assert preprocessing.mean == (0.485, 0.456, 0.406)
    assert preprocessing.std == (0.229, 0.224, 0.225)


def test_importing_config_does_not_import_torch():
    code = "import sys, t2t_vit.config; print({'torch', 'torchvision', 'timm'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"
