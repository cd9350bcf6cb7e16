"""The configs that fine-tune on CIFAR say what the official code does."""

from __future__ import annotations

import pytest

from t2t_vit.config import load_experiment
from t2t_vit.weights.catalogue import CATALOGUE


@pytest.mark.parametrize("depth", [14, 19])
@pytest.mark.parametrize("num_classes", [10, 100])
def test_transfer_recipe_is_the_official_codes(depth, num_classes):
    experiment = load_experiment(f"t2t-vit-{depth}_cifar{num_classes}")
    model, optimizer, schedule = experiment.model, experiment.optimizer, experiment.schedule
    assert (model.name, model.num_classes, model.img_size) == (f"t2t_vit_{depth}", num_classes, 224)
    assert (experiment.data.dataset, experiment.data.batch_size) == (f"cifar{num_classes}", 64)
    assert (optimizer.kind, optimizer.lr, optimizer.momentum, optimizer.nesterov) == ("sgd", 0.05, 0.9, False)
    assert (optimizer.weight_decay, optimizer.decay_vectors) == (5e-4, True)
    assert optimizer.lr_scale == {"tokens_to_token": 0.01, "blocks": 0.01}
    assert (schedule.epochs, schedule.warmup_epochs, schedule.cooldown_epochs, schedule.min_lr) == (60, 0, 0, 2e-4)
    assert experiment.runtime.label_smoothing == 0
    assert not experiment.ema.enabled

    augmentation = experiment.augmentation
    assert (augmentation.hflip, augmentation.translate) == (0.5, 28 / 224)
    assert (augmentation.crop_scale, augmentation.crop_ratio) == ((1, 1), (1, 1))
    assert (augmentation.mixup, augmentation.cutmix, augmentation.erase_prob, augmentation.rand_augment) == (
        0, 0, 0, None,
    )  # fmt: skip


@pytest.mark.parametrize("depth", [14, 19])
@pytest.mark.parametrize("num_classes", [10, 100])
def test_images_are_prepared_as_for_the_published_weights_of_the_recipe(depth, num_classes):
    preprocessing = load_experiment(f"t2t-vit-{depth}_cifar{num_classes}").preprocessing
    entry = CATALOGUE[f"t2t_vit_{depth}.official_cifar{num_classes}"]
    for name in ("crop_pct", "crop_mode", "interpolation", "mean", "std"):
        assert getattr(preprocessing, name) == getattr(entry, name)


@pytest.mark.parametrize("depth", [14, 19])
def test_it_begins_with_published_weights_of_the_architecture(depth):
    model = load_experiment(f"t2t-vit-{depth}_cifar10").model
    assert CATALOGUE[model.pretrained].model == model.name


def test_what_the_official_code_does_not_hand_to_its_optimizer_is_frozen():
    import torch

    from t2t_vit.hub import build_model

    with torch.device("meta"):
        network = build_model(load_experiment("t2t-vit-14_cifar10"))
    trained = {name.split(".")[0] for name, p in network.named_parameters() if p.requires_grad}
    assert trained == {"tokens_to_token", "blocks", "head"}
