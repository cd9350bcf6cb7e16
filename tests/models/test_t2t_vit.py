"""The network as a whole: sizes, channels, forms of output, and what it refuses."""

from __future__ import annotations

import copy
import io
import pickle

import pytest
import torch

from t2t_vit.errors import ConfigError
from t2t_vit.models import T2TViT


def images(*size, channels=3, batch=2):
    return torch.randn(batch, channels, *size, generator=torch.Generator().manual_seed(3))


# --- sizes and channels ---


@pytest.mark.parametrize("size", [(32, 32), (64, 32), (33, 47), (16, 160), (9, 9)])
def test_any_size_at_call_time(tiny, size):
    model = tiny(out_type="featmap")
    with torch.no_grad():
        assert model(images(*size)).shape == (2, 5)
        (feature,) = model.extract_feat(images(*size))
    assert feature.shape == (2, 24, *model.token_grid(*size))


@pytest.mark.parametrize("img_size", [(32, 64), [64, 32], 48])
def test_model_built_for_any_size(tiny, img_size):
    model = tiny(img_size=img_size)
    height, width = (img_size, img_size) if isinstance(img_size, int) else img_size
    assert model.img_size == (height, width)
    assert model.pos_embed.shape[1] == 1 + (height // 16) * (width // 16)
    with torch.no_grad():
        assert model(images(height, width)).shape == (2, 5)


@pytest.mark.parametrize(("resize", "then"), [(None, None), (32, 64), ((40, 48), (80, 192)), ([40, 40], (80, 160))])
def test_preprocessing_of_ones_own_follows_the_input_size(tiny, resize, then):
    model = tiny()
    model.preprocessing = {"img_size": (32, 32), "resize": resize, "mean": (0.5,)}
    model.set_input_size((64, 128))
    assert model.preprocessing == {"img_size": (64, 128), "resize": then, "mean": (0.5,)}
    assert model.img_size == (64, 128)
    without = tiny()
    without.set_input_size(64)
    assert without.preprocessing is None


@pytest.mark.parametrize("in_chans", [1, 2, 4])
def test_any_number_of_channels(tiny, in_chans):
    model = tiny(in_chans=in_chans)
    assert model.tokens_to_token.attention1.attn.qkv.in_features == 49 * in_chans
    with torch.no_grad():
        assert model(images(32, 32, channels=in_chans)).shape == (2, 5)


@pytest.mark.parametrize(
    ("soft_splits", "grid"),
    [
        (((16, 16, 0),), (2, 2)),
        (((7, 4, 2), (3, 2, 1)), (4, 4)),
        (((7, 2, 3), (3, 2, 1), (3, 1, 1)), (8, 8)),
        (((3, 2, 1),) * 4, (2, 2)),
    ],
)
def test_any_soft_splits(tiny, soft_splits, grid):
    model = tiny(soft_splits=soft_splits)
    assert model.grid_size == grid
    assert sum("attention" in name for name, _ in model.tokens_to_token.named_children()) == len(soft_splits) - 1
    with torch.no_grad():
        assert model(images(32, 32)).shape == (2, 5)


def test_each_image_of_a_batch_is_on_its_own(tiny):
    model, batch = tiny(), images(32, 32, batch=3)
    with torch.no_grad():
        torch.testing.assert_close(model(batch)[1:2], model(batch[1:2]), rtol=0, atol=1e-6)


# --- the head ---


def test_no_classes_no_head(tiny):
    model = tiny(num_classes=0)
    assert not [key for key in model.state_dict() if key.startswith("head")]
    with torch.no_grad():
        out = model(images(32, 32))
        assert out.shape == (2, 24)
        torch.testing.assert_close(out, model.forward_features(images(32, 32))[:, 0])


def test_one_class(tiny):
    with torch.no_grad():
        assert tiny(num_classes=1)(images(32, 32)).shape == (2, 1)


def test_head_sees_the_average_with_avg_featmap(tiny):
    model = tiny(out_type="avg_featmap")
    with torch.no_grad():
        tokens = model.forward_features(images(32, 32))
        torch.testing.assert_close(model(images(32, 32)), model.head(tokens[:, 1:].mean(1)))


# --- features ---


@pytest.mark.parametrize(
    ("out_type", "shape"),
    [("cls_token", (2, 24)), ("avg_featmap", (2, 24)), ("raw", (2, 9, 24)), ("featmap", (2, 24, 4, 2))],
)
def test_features_by_out_type(tiny, out_type, shape):
    model = tiny(out_type=out_type)
    with torch.no_grad():
        features = model.extract_feat(images(64, 32))
        tokens = model.forward_features(images(64, 32))
    assert isinstance(features, tuple)
    assert [feature.shape for feature in features] == [shape]
    expected = {
        "cls_token": tokens[:, 0],
        "avg_featmap": tokens[:, 1:].mean(1),
        "raw": tokens,
        "featmap": tokens[:, 1:].transpose(1, 2).reshape(2, 24, 4, 2),
    }[out_type]
    torch.testing.assert_close(features[0], expected)


@pytest.mark.parametrize(
    ("out_indices", "layers"),
    [(-1, [2]), (0, [0]), (-3, [0]), ([0, 2], [0, 2]), ((-1, -2), [1, 2]), ([2, 0, 1], [0, 1, 2]), ([2, -1], [2])],
)
def test_features_of_several_layers_come_in_their_order(tiny, out_indices, layers):
    model = tiny(out_indices=out_indices, out_type="raw")
    with torch.no_grad():
        features = model.extract_feat(images(32, 32))
        x = model.embed(images(32, 32))
        expected = []
        for block in model.blocks:
            x = block(x)
            expected.append(x)
        expected[-1] = model.norm(x)  # the last alone is normalized
    assert len(features) == len(layers)
    for feature, layer in zip(features, layers, strict=True):
        torch.testing.assert_close(feature, expected[layer])


def test_stages(tiny):
    model = tiny()
    with torch.no_grad():
        (neck,) = model.extract_feat(images(32, 32))
        (backbone,) = model.extract_feat(images(32, 32), stage="backbone")
        before_head = model.extract_feat(images(32, 32), stage="pre_logits")
        logits = model(images(32, 32))
    assert torch.equal(neck, backbone)
    torch.testing.assert_close(before_head, neck)
    torch.testing.assert_close(model.head(before_head), logits)


def test_unknown_stage_is_refused(tiny):
    with pytest.raises(ConfigError, match="stage is 'head'; expected one of backbone, neck, pre_logits"):
        tiny().extract_feat(images(32, 32), stage="head")


# --- training and evaluation ---


def test_evaluation_is_deterministic_and_training_is_not(tiny):
    model, batch = tiny(drop_rate=0.2, drop_path_rate=0.5), images(32, 32)
    with torch.no_grad():
        assert torch.equal(model(batch), model(batch))
        model.train()
        assert not torch.equal(model(batch), model(batch))


def test_dropout_alone_makes_a_difference_in_training(tiny):
    model, batch = tiny(drop_rate=0.2), images(32, 32)
    with torch.no_grad():
        before = model.embed(batch)
        dropped = model.train().embed(batch)
    share = float((dropped == 0).float().mean())
    assert share == pytest.approx(0.2, abs=0.1)  # 240 values
    torch.testing.assert_close(dropped[dropped != 0], (before / 0.8)[dropped != 0])


@pytest.mark.parametrize("out_type", ["cls_token", "avg_featmap"])
def test_gradients_reach_every_parameter(tiny, out_type):
    model = tiny(out_type=out_type).train()
    model(images(32, 32)).square().sum().backward()
    dead = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert dead == []


@pytest.mark.parametrize("out_type", ["cls_token", "raw"])
def test_gradient_checkpointing_gives_the_same_gradients(tiny, out_type, monkeypatch):
    """Drop-path and dropout draw the same again in the second forward pass."""
    model = tiny(out_type=out_type, depth=3, drop_path_rate=0.5, drop_rate=0.2).train()
    calls = []
    monkeypatch.setattr(type(model.blocks[1]), "forward", counted(type(model.blocks[1]).forward, calls))

    def gradients():
        calls.clear()
        model.zero_grad()
        torch.manual_seed(0)
        model.extract_feat(images(32, 32))[0].square().sum().backward()
        return [parameter.grad.clone() for parameter in model.blocks.parameters()]

    plain, plain_calls = gradients(), len(calls)
    model.set_grad_checkpointing()
    assert all(torch.equal(one, other) for one, other in zip(gradients(), plain, strict=True))
    assert (plain_calls, len(calls)) == (3, 6)
    calls.clear()
    with torch.no_grad():
        model(images(32, 32))
    assert len(calls) == 3
    model.set_grad_checkpointing(False)
    assert all(torch.equal(one, other) for one, other in zip(gradients(), plain, strict=True))
    assert len(calls) == 3


def counted(forward, calls):
    def call(self, x):
        calls.append(self)
        return forward(self, x)

    return call


@pytest.mark.parametrize("tokens", ["transformer", "performer", "convolution"])
def test_no_images_give_no_logits(tiny, tokens):
    model = tiny(tokens=tokens, out_type="featmap")
    with torch.no_grad():
        assert model(torch.zeros(0, 3, 32, 32)).shape == (0, 5)
        assert model.extract_feat(torch.zeros(0, 3, 32, 32))[0].shape == (0, 24, 2, 2)


@pytest.mark.parametrize("tokens", ["transformer", "performer"])
def test_a_model_can_be_made_in_half_precision(tiny, tokens):
    torch.set_default_dtype(torch.bfloat16)
    try:
        model = tiny(tokens=tokens)
    finally:
        torch.set_default_dtype(torch.float32)
    assert {value.dtype for value in model.state_dict().values()} == {torch.bfloat16}
    assert model(images(32, 32).bfloat16()).isfinite().all()


def test_fresh_weights_are_small_and_normal(tiny):
    model = tiny(embed_dim=192)
    state = model.state_dict()
    matrices = torch.cat([value.flatten() for key, value in state.items() if key.endswith("weight") and value.ndim > 1])
    assert float(matrices.std()) == pytest.approx(0.02, rel=0.01)
    assert float(matrices.mean()) == pytest.approx(0, abs=1e-4)
    assert float(state["cls_token"].std()) == pytest.approx(0.02, rel=0.3)
    for key, value in state.items():
        if key.endswith("bias"):
            assert not value.any(), key
        elif "norm" in key:
            assert (value == 1).all(), key


def test_class_token_does_not_decay(tiny):
    model = tiny()
    assert model.no_weight_decay() == {"cls_token"}
    assert model.no_weight_decay() <= {name for name, _ in model.named_parameters()}


# --- precision ---


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("size", [(32, 32), (48, 80)])
def test_whole_model_in_another_precision(tiny, dtype, size):
    """Two per cent of the largest logit: what is left of 8 bits after three layers."""
    model, batch = tiny(), images(*size)
    with torch.no_grad():
        expected = model(batch)
        out = model.to(dtype)(batch.to(dtype))
    assert out.dtype == dtype
    assert float((out.float() - expected).norm() / expected.norm()) < 2e-2


# --- copies ---


def test_copies_and_files_give_the_same_output(tiny):
    model, batch = tiny(drop_path_rate=0.1, out_indices=(0, -1)), images(32, 48)
    model.classes = ("a", "b", "c", "d", "e")
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    other = tiny(out_indices=(0, -1))
    torch.nn.init.ones_(other.head.weight)
    other.load_state_dict(torch.load(file, weights_only=True))
    with torch.no_grad():
        expected = model(batch)
        for same in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), other):
            assert torch.equal(same(batch), expected)
            assert same.out_indices == (0, 2)
    assert copy.deepcopy(model).classes == pickle.loads(pickle.dumps(model)).classes == model.classes
    assert T2TViT.classes is None


def test_copy_shares_nothing(tiny):
    model = tiny()
    twin = copy.deepcopy(model)
    torch.nn.init.zeros_(twin.head.weight)
    assert model.head.weight.any()


# --- what is refused ---


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"in_chans": 0}, "in_chans is 0; expected 1 or more"),
        ({"embed_dim": 0}, "embed_dim is 0; expected 1 or more"),
        ({"depth": 0}, "depth is 0; expected 1 or more"),
        ({"num_heads": -1}, "num_heads is -1; expected 1 or more"),
        ({"token_dim": 0}, "token_dim is 0; expected 1 or more"),
        ({"num_classes": -1}, r"num_classes is -1; expected 0 \(no head\) or more"),
        ({"embed_dim": 25}, "embed_dim 25 is not a multiple of num_heads 2"),
        ({"mlp_ratio": 0.0}, "mlp_ratio is 0.0; of embed_dim 24 it leaves the MLP no width"),
        ({"mlp_ratio": -3.0}, "mlp_ratio is -3.0"),
        ({"soft_splits": ()}, "soft_splits is empty"),
        ({"soft_splits": ((7, 4),)}, r"soft_splits has \(7, 4\); expected \(kernel, stride, padding\)"),
        ({"soft_splits": ((7, 4, 2, 1),)}, r"soft_splits has \(7, 4, 2, 1\)"),
        ({"soft_splits": ((7, 0, 2),)}, r"soft_splits has \(7, 0, 2\)"),
        ({"soft_splits": ((0, 1, 2),)}, r"soft_splits has \(0, 1, 2\)"),
        ({"soft_splits": ((7, 4, 2), (3, 2, -1))}, r"soft_splits has \(3, 2, -1\)"),
        ({"drop_rate": 1.0}, "drop_rate is 1.0; expected 0 or more and less than 1"),
        ({"drop_path_rate": -0.1}, "drop_path_rate is -0.1"),
        ({"drop_path_rate": float("nan")}, "drop_path_rate is nan"),
        ({"out_type": "feature_map"}, r"out_type is 'feature_map'; expected one of .*mean 'featmap'"),
        ({"out_indices": 3}, "out_indices has 3; expected -3 to 2 in a model of 3 layers"),
        ({"out_indices": [0, -4]}, "out_indices has -4"),
        ({"out_indices": ()}, "out_indices is empty; expected one or more of -3 to 2"),
        ({"img_size": 0}, "an image of 0×0 pixels is too small for the soft splits"),
        ({"img_size": (32, 3), "soft_splits": ((7, 4, 0),)}, "an image of 32×3 pixels is too small"),
        ({"img_size": (32,)}, r"img_size is \(32,\); expected pixels, or \(height, width\)"),
        ({"img_size": 32.0}, "img_size is 32.0; expected pixels"),
        ({"img_size": "32"}, "img_size is '32'; expected pixels"),
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(tiny, settings, message):
    with pytest.raises(ConfigError, match=message) as caught:
        tiny(**settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((3, 32, 32), r"the input has shape \(3, 32, 32\); expected \(B, 3, H, W\)"),
        ((1, 1, 32, 32), r"the input has shape \(1, 1, 32, 32\)"),
        ((1, 3, 2, 0), "an image of 2×0 pixels is too small"),
    ],
)
def test_inputs_of_another_shape_are_refused(tiny, shape, message):
    with pytest.raises(ConfigError, match=message):
        tiny()(torch.zeros(shape))
    if len(shape) == 4:
        with pytest.raises(ConfigError, match=message):
            tiny().extract_feat(torch.zeros(shape))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.bool])
def test_inputs_of_whole_numbers_are_refused(tiny, dtype):
    with pytest.raises(ConfigError, match=rf"the input is of {dtype}; expected normalized images"):
        tiny()(torch.zeros(1, 3, 32, 32, dtype=dtype))
