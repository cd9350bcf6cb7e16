"""Which parameters decay, and what the average of the weights is."""

from __future__ import annotations

import json
import lzma
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from torch import nn

from t2t_vit.config import load_experiment
from t2t_vit.engine.ema import build_ema
from t2t_vit.engine.optim import build_optimizer, rate_scales
from t2t_vit.errors import ConfigError
from t2t_vit.models import T2TViT, create_model
from t2t_vit.models.depths import parameter_depths
from t2t_vit.weights.convert import to_mmpretrain

GOLDEN = Path(__file__).parents[1] / "golden" / "recipe_weight_decay.json.xz"
SETTINGS = {
    "kind": "adamw", "lr": 1e-3, "decay_vectors": False, "betas": (0.9, 0.95), "eps": 1e-7, "momentum": 0.8,
    "nesterov": True,
}  # fmt: skip


def decays_by_name(model, optimizer):
    """Weight decay of every parameter that the optimizer has."""
    names = {parameter: name for name, parameter in model.named_parameters()}
    return {names[p]: group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}


# --- weight decay ---


def test_weight_decay_of_every_parameter_is_the_recipes():
    expected = json.loads(lzma.decompress(GOLDEN.read_bytes()))["weight_decay"]
    settings = load_experiment("t2t-vit-t-14_8xb64_in1k").optimizer
    with torch.device("meta"), patch.object(T2TViT, "reset_parameters"):
        model = create_model("t2t_vit_t_14")
    optimizer = build_optimizer(model, **{**SETTINGS, "weight_decay": settings.weight_decay})
    assert to_mmpretrain(decays_by_name(model, optimizer)) == expected
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(expected)


def test_vectors_and_named_exceptions_do_not_decay():
    model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Conv2d(1, 2, 3))
    optimizer = build_optimizer(model, weight_decay=0.3, **SETTINGS)
    assert decays_by_name(model, optimizer) == {
        "0.weight": 0.3, "0.bias": 0.0, "1.weight": 0.0, "1.bias": 0.0, "2.weight": 0.3, "2.bias": 0.0,
    }  # fmt: skip
    model.no_weight_decay = lambda: {"2.weight"}
    optimizer = build_optimizer(model, weight_decay=0.3, **SETTINGS)
    assert decays_by_name(model, optimizer)["2.weight"] == 0.0
    assert decays_by_name(model, optimizer)["0.weight"] == 0.3


def test_frozen_parameters_are_left_out():
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    model[0].requires_grad_(False)
    optimizer = build_optimizer(model, weight_decay=0.3, **SETTINGS)
    assert set(decays_by_name(model, optimizer)) == {"1.weight", "1.bias"}


def test_all_vectors_decay_where_they_are_told_to():
    model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
    optimizer = build_optimizer(model, weight_decay=0.3, **{**SETTINGS, "decay_vectors": True})
    assert set(decays_by_name(model, optimizer).values()) == {0.3}


# --- rates ---


def tiny_model():
    with torch.device("meta"), patch.object(T2TViT, "reset_parameters"):
        return create_model("t2t_vit_t_14", depth=3)


def test_rates_fall_from_the_head_to_the_tokens():
    depths = parameter_depths(tiny_model())
    scales = rate_scales(depths, 0.5, None)
    assert {name: scales[name] for name in ("head.weight", "norm.bias", "blocks.2.mlp.fc1.weight")} == {
        "head.weight": 1.0, "norm.bias": 1.0, "blocks.2.mlp.fc1.weight": 0.5,
    }  # fmt: skip
    assert scales["blocks.0.norm1.weight"] == 0.125
    assert scales["cls_token"] == scales["tokens_to_token.project.weight"] == 0.0625


def test_the_longest_beginning_of_a_name_decides_its_rate():
    depths = parameter_depths(tiny_model())
    scales = rate_scales(depths, None, {"blocks": 0.01, "blocks.2": 0.1, "tokens_to_token": 0.0})
    assert scales["blocks.1.norm1.weight"] == 0.01
    assert scales["blocks.2.norm1.weight"] == 0.1
    assert scales["tokens_to_token.project.weight"] == 0
    assert scales["head.weight"] == scales["cls_token"] == 1
    with pytest.raises(ConfigError, match=r"lr_scale: the model has no 'block'\. Did you mean 'blocks'"):
        rate_scales(depths, None, {"block": 0.1})


def test_every_group_has_the_factor_of_its_parameters():
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    scales = {"0.weight": 0.1, "0.bias": 0.1, "1.weight": 1.0, "1.bias": 1.0}
    optimizer = build_optimizer(model, weight_decay=0.3, scales=scales, **SETTINGS)
    names = {parameter: name for name, parameter in model.named_parameters()}
    assert {names[p]: group["lr_scale"] for group in optimizer.param_groups for p in group["params"]} == scales
    assert {group["lr"] for group in optimizer.param_groups} == {1e-3, 1e-4}


def test_sgd_has_its_momentum():
    model = nn.Linear(3, 4, bias=False)
    optimizer = build_optimizer(model, weight_decay=0.3, **{**SETTINGS, "kind": "sgd"})
    (group,) = optimizer.param_groups
    assert type(optimizer) is torch.optim.SGD
    assert (group["momentum"], group["nesterov"], group["weight_decay"]) == (0.8, True, 0.3)


def test_optimizer_is_adamw_with_the_settings_given():
    optimizer = build_optimizer(nn.Linear(3, 4, bias=False), weight_decay=0.3, **SETTINGS)
    assert isinstance(optimizer, torch.optim.AdamW)
    (group,) = optimizer.param_groups
    expected = {"lr": 1e-3, "betas": (0.9, 0.95), "eps": 1e-7, "weight_decay": 0.3}
    assert {key: group[key] for key in expected} == expected


def test_decay_is_decoupled_from_the_gradient():
    """Without a gradient a step shrinks what decays by lr times weight decay, and leaves the rest."""
    model = nn.Linear(2, 2)
    nn.init.ones_(model.weight)
    nn.init.ones_(model.bias)
    optimizer = build_optimizer(model, weight_decay=0.3, **SETTINGS)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    torch.testing.assert_close(model.weight.detach(), torch.full((2, 2), 1 - 1e-3 * 0.3))
    torch.testing.assert_close(model.bias.detach(), torch.ones(2))


# --- the average ---


def averaged(values, decay, *, warmup):
    """Feed `values` to an average as the weight of a model; return what it is after each."""
    model = nn.Linear(1, 1, bias=False)
    ema = build_ema(model, decay, warmup)
    averages = []
    for value in values:
        nn.init.constant_(model.weight, value)
        ema.update_parameters(model)
        averages.append(ema.module.weight.item())
    return averages


def test_average_equals_its_formula():
    values = [float(v) for v in torch.randn(300, generator=torch.Generator().manual_seed(0))]
    expected, average = [], values[0]  # the first update takes the weights as they are
    for n, value in enumerate(values):
        if n:
            decay = min(0.97, (1 + n) / (10 + n))
            average = decay * average + (1 - decay) * value
        expected.append(average)
    assert averaged(values, 0.97, warmup=True) == pytest.approx(expected, abs=1e-6)


def test_warmup_begins_at_two_elevenths_and_ends_at_the_decay():
    """From 0 a step to 1 leaves 1 - decay."""
    assert averaged([0, 1], 0.99996, warmup=True)[-1] == pytest.approx(1 - 2 / 11)
    assert averaged([0] * 20 + [1], 0.99996, warmup=True)[-1] == pytest.approx(1 - 21 / 30)
    assert averaged([0] * 20 + [1], 0.5, warmup=True)[-1] == pytest.approx(0.5)


def test_without_warmup_the_average_hardly_moves():
    assert averaged([0, 1, 1], 0.99996, warmup=False)[-1] == pytest.approx(1 - 0.99996**2, rel=1e-3)


def test_short_run_is_averaged_over_its_end():
    """So that it is not its first, random weights that are evaluated: after 30 steps they count for 10⁻¹¹."""
    assert averaged([100.0, *[1.0] * 30], 0.99996, warmup=True)[-1] == pytest.approx(1.0, abs=1e-4)
    assert averaged([100.0, *[1.0] * 30], 0.99996, warmup=False)[-1] > 99


def test_average_is_a_copy_and_has_the_models_names():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    ema = build_ema(model, 0.9, warmup=True)
    ema.update_parameters(model)
    before = ema.module[0].weight.clone()
    nn.init.zeros_(model[0].weight)
    assert torch.equal(ema.module[0].weight, before)
    assert list(ema.module.state_dict()) == list(model.state_dict())
    model(torch.randn(4, 2))
    ema.update_parameters(model)
    kept = 2 / 11  # (1 + n) / (10 + n) after one update
    torch.testing.assert_close(ema.module[1].running_mean, (1 - kept) * model[1].running_mean)
    assert ema.module[1].num_batches_tracked == model[1].num_batches_tracked == 1
