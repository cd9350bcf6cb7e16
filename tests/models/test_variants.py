"""The named architectures: parameters as in both code bases, size and work as published."""

from __future__ import annotations

import pytest
import torch

from t2t_vit.errors import ConfigError, T2TViTError, UnknownModelError
from t2t_vit.models import create_model, variant_names
from t2t_vit.models.complexity import measure_complexity
from t2t_vit.weights.convert import to_mmpretrain

# Parameters in millions; MACs in 10⁹ without and with the attention products, as MMPretrain's page and the paper count.
PUBLISHED = {
    "t2t_vit_t_14": (21.47, 4.34, 6.10),
    "t2t_vit_t_19": (39.08, 7.80, 9.80),
    "t2t_vit_t_24": (64.00, 12.69, 14.98),
}


@pytest.fixture(params=PUBLISHED)
def variant(request, undrawn):
    """An architecture without memory: shapes alone."""
    with torch.device("meta"):
        return request.param, undrawn(request.param)


def test_the_published_ones_are_among_the_variants():
    assert set(PUBLISHED) <= set(variant_names())


def shapes(state):
    return {key: list(value.shape) for key, value in state.items()}


def test_every_parameter_has_the_references_name_and_shape(variant, reference_shapes):
    name, model = variant
    assert shapes(model.state_dict()) == reference_shapes["official"][name]
    config = f"{name.replace('_', '-')}_8xb64_in1k"
    assert shapes(to_mmpretrain(model.state_dict())) == reference_shapes["mmpretrain"][config]


def test_size_and_work_are_the_published_ones(variant):
    name, model = variant
    parameters, macs, macs_with_attention = PUBLISHED[name]
    complexity = measure_complexity(model)
    assert round(complexity.num_parameters / 1e6, 2) == parameters
    assert complexity.num_buffer_values == 197 * model.embed_dim
    assert round(complexity.macs / 1e9, 2) == macs
    assert round((complexity.macs + complexity.attention_macs) / 1e9, 2) == macs_with_attention


def test_frozen_parameters_are_counted_too(tiny):
    model = tiny()
    expected = measure_complexity(model)
    assert measure_complexity(model.requires_grad_(False)) == expected


def test_attention_products_are_counted_by_hand(undrawn):
    """q·k and weights·v: 2 N² D MACs a layer."""
    model = undrawn("t2t_vit_t_14", depth=3)
    expected = 2 * 64 * (3136**2 + 784**2) + 3 * 2 * 384 * 197**2
    assert measure_complexity(model).attention_macs == expected


def test_work_grows_with_the_picture_and_measuring_changes_nothing(tiny):
    model = tiny().train().to(torch.bfloat16)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    assert measure_complexity(model, (64, 48)).macs > 2 * measure_complexity(model).macs
    assert model.training
    for key, value in model.state_dict().items():
        assert value.device.type == "cpu"
        assert torch.equal(value, before[key])


def test_overrides_go_over_the_architectures_own(undrawn):
    model = undrawn("t2t_vit_t_14", depth=2, num_classes=7, img_size=64)
    assert len(model.blocks) == 2
    assert model.head.out_features == 7
    assert model.embed_dim == 384


def test_unknown_architecture_names_the_nearest():
    with pytest.raises(UnknownModelError, match=r"unknown architecture 't2t_vit_t14'; known: .*mean .*'t2t_vit_t_14'"):
        create_model("t2t_vit_t14")


def test_unknown_argument_names_the_nearest():
    with pytest.raises(ConfigError, match=r"t2t_vit_t_14 has no argument 'embed_dims'. Did you mean 'embed_dim'"):
        create_model("t2t_vit_t_14", embed_dims=3)


def test_errors_are_of_one_tree():
    assert issubclass(ConfigError, (T2TViTError, ValueError))
    assert issubclass(UnknownModelError, LookupError)
