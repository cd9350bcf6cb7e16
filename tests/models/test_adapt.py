"""Weights of one model in another: other channels, classes and sizes."""

from __future__ import annotations

import pytest
import torch

from t2t_vit.errors import CheckpointError
from t2t_vit.models import T2TViT
from t2t_vit.models.adapt import fit_state_dict
from t2t_vit.models.position import resize_position_table

SMALL = {
    "img_size": 32,
    "soft_splits": ((7, 2, 3), (3, 2, 1), (3, 2, 1)),
    "token_dim": 8,
    "embed_dim": 24,
    "depth": 2,
    "num_heads": 2,
    "num_classes": 5,
}
FIRST_LAYER = "tokens_to_token.attention1."


def model(seed: int = 0, **settings) -> T2TViT:
    """A small model in eval mode whose every parameter is drawn, norms too."""
    torch.manual_seed(seed)
    network = T2TViT(**{**SMALL, **settings}).eval()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.2 + ("norm" in name and name.endswith("weight")))
    return network


def images(channels: int, height: int = 32, width: int = 32) -> torch.Tensor:
    return torch.randn(2, channels, height, width, generator=torch.Generator().manual_seed(1))


def adapted(source: T2TViT, **settings):
    """`source`'s weights in a model with other settings, and the report."""
    target = model(seed=1, **settings)
    state, report = fit_state_dict(target, source.state_dict(), new_head="num_classes" in settings)
    target.load_state_dict(state)
    return target, report


@pytest.mark.parametrize("tokens", ["transformer", "performer", "convolution"])
def test_weights_of_the_same_model_stay_as_they_are(tokens):
    source = model(tokens=tokens)
    state, report = fit_state_dict(model(seed=1, tokens=tokens), source.state_dict())

    assert all(torch.equal(state[name], value) for name, value in source.state_dict().items())
    assert list(state) == list(source.state_dict()) == report.loaded
    assert str(report) == f"{len(state)} loaded"


# A grey image in three equal channels and in one: float32 sums in another order.
@pytest.mark.parametrize(
    ("tokens", "splits"),
    [
        ("performer", SMALL["soft_splits"]),
        ("convolution", SMALL["soft_splits"]),
        ("transformer", ((8, 8, 0),)),
        ("convolution", ((8, 8, 0),)),
    ],
)
def test_one_channel_gives_what_a_grey_image_gave(tokens, splits):
    source = model(tokens=tokens, soft_splits=splits)
    target, report = adapted(source, tokens=tokens, soft_splits=splits, in_chans=1)

    grey = images(1)
    torch.testing.assert_close(target(grey), source(grey.expand(-1, 3, -1, -1)), atol=2e-5, rtol=1e-5)
    assert all(name.startswith("tokens_to_token.") for name in report.resized)


def test_one_channel_of_a_token_transformer_keeps_the_sources_attention_scale():
    source = model()
    with torch.no_grad():  # then nothing is left that 49 numbers could not say
        source.get_parameter(f"{FIRST_LAYER}norm1.bias").zero_()
    target, report = adapted(source, in_chans=1)

    grey = images(1)
    torch.testing.assert_close(target(grey), source(grey.expand(-1, 3, -1, -1)), atol=2e-5, rtol=1e-5)
    layer = target.tokens_to_token.attention1.attn
    assert layer.scale == 49**-0.5
    taken = source.tokens_to_token.attention1
    value = (taken.attn.qkv.weight * taken.norm1.weight).reshape(24, 3, 49).sum(1)[16:]
    torch.testing.assert_close(layer.qkv.weight[16:], value)
    assert report.resized == [f"{FIRST_LAYER}{name}" for name in ("attn.qkv.weight", "norm1.weight", "norm1.bias")]


def test_the_bias_of_a_token_transformers_norm_is_met_as_nearly_as_one_channel_can():
    source = model()
    target, _ = adapted(source, in_chans=1)

    layer, taken = target.tokens_to_token.attention1, source.tokens_to_token.attention1
    wanted = taken.attn.qkv.weight @ taken.norm1.bias
    wanted[:8] *= (49 / 147) ** -0.5 * (49 / 147)  # the query, weakened with its scale
    left = layer.attn.qkv.weight @ layer.norm1.bias - wanted
    nudged = layer.attn.qkv.weight @ (layer.norm1.bias + 0.01 * torch.randn(49)) - wanted
    unweighted = torch.ones(24)
    unweighted[:8] /= (49 / 147) ** 0.5  # least squares was over the query as it was
    assert (left * unweighted).norm() < (nudged * unweighted).norm()
    assert (left * unweighted).norm() <= (wanted * unweighted).norm()


# Two, five and twelve channels, too: what a grey image gave, it gives.
@pytest.mark.parametrize("tokens", ["transformer", "performer", "convolution"])
@pytest.mark.parametrize(("there", "here"), [(3, 4), (3, 5), (3, 12), (3, 2), (4, 3), (5, 2), (12, 3), (2, 3)])
def test_a_grey_image_gives_the_same_whatever_the_number_of_channels(tokens, there, here):
    source = model(tokens=tokens, in_chans=there)
    target, report = adapted(source, tokens=tokens, in_chans=here)

    grey = images(1)
    torch.testing.assert_close(
        target(grey.expand(-1, here, -1, -1)), source(grey.expand(-1, there, -1, -1)), atol=5e-5, rtol=1e-5
    )
    assert report.resized


@pytest.mark.parametrize("tokens", ["performer", "convolution"])
def test_more_channels_share_the_weight_of_those_they_repeat(tokens):
    source = model(tokens=tokens)
    target, _ = adapted(source, tokens=tokens, in_chans=4)

    name = "tokens_to_token.soft_split0.weight" if tokens == "convolution" else f"{FIRST_LAYER}kqv.weight"
    weight, old = target.get_parameter(name).reshape(-1, 4, 49), source.get_parameter(name).reshape(-1, 3, 49)
    torch.testing.assert_close(weight[:, 0], old[:, 0] / 2)
    torch.testing.assert_close(weight[:, 3], old[:, 0] / 2)
    assert torch.equal(weight[:, 1:3], old[:, 1:])


def test_channels_come_back_from_one_to_three():
    grey = model(in_chans=1)
    colour, _ = adapted(grey, in_chans=3)
    again, _ = adapted(colour, in_chans=1)
    torch.testing.assert_close(again(images(1)), grey(images(1)), atol=2e-2, rtol=0)


@pytest.mark.parametrize("size", [(48, 48), (32, 64)])
def test_the_position_table_is_interpolated_to_another_size(size):
    source = model()
    target, report = adapted(source, img_size=size)

    assert report.resized == ["pos_embed"]
    x = images(3, *size)
    torch.testing.assert_close(target(x), source(x), atol=1e-6, rtol=0)  # as at call time


@pytest.mark.parametrize(("there", "here"), [((32, 64), (64, 32)), ((32, 128), (64, 64)), ((32, 64), (48, 48))])
def test_a_position_table_of_a_grid_that_is_told_is_not_taken_for_a_square_one(there, here):
    source = model(img_size=there)
    target = model(seed=1, img_size=here)
    state, report = fit_state_dict(target, source.state_dict(), source_grid=source.grid_size)

    assert report.resized == ["pos_embed"]
    assert torch.equal(state["pos_embed"], resize_position_table(source.pos_embed, source.grid_size, target.grid_size))
    same, nothing = fit_state_dict(source, source.state_dict(), source_grid=source.grid_size)
    assert torch.equal(same["pos_embed"], source.pos_embed)
    assert nothing.resized == []


@pytest.mark.parametrize("grid", [(2, 8), (8, 2)])
def test_a_position_table_that_may_be_a_square_ones_is_called_doubtful(grid):
    source = model(img_size=32)  # (4, 4) tokens
    target = model(seed=1, img_size=(8 * grid[0], 8 * grid[1]))
    state, report = fit_state_dict(target, source.state_dict())

    assert torch.equal(state["pos_embed"], source.pos_embed)
    assert report.doubtful == ["pos_embed"]
    assert str(report) == f"{len(state)} loaded, 1 of these perhaps for a square token grid (pos_embed)"
    assert not fit_state_dict(target, source.state_dict(), source_grid=(4, 4))[1].doubtful
    assert not fit_state_dict(target, target.state_dict(), source_grid=grid)[1].doubtful
    assert not fit_state_dict(source, target.state_dict())[1].doubtful


ON_GPU = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]


@pytest.mark.parametrize("channels", [1, 5])
@pytest.mark.parametrize(
    ("tokens", "device"),
    [
        ("performer", "meta"),
        ("convolution", "meta"),
        pytest.param("transformer", "cuda", marks=ON_GPU),
        pytest.param("performer", "cuda", marks=ON_GPU),
    ],
)
def test_weights_are_adapted_on_their_own_device(tokens, device, channels):
    target = model(tokens=tokens, in_chans=channels, num_classes=7)
    state = {name: value.to(device) for name, value in model(tokens=tokens).state_dict().items()}
    del state["pos_embed"]
    fitted, report = fit_state_dict(target, state, new_head=True)

    assert report.resized
    assert {name for name, value in fitted.items() if value.device.type != device} == set()
    shapes = {name: value.shape for name, value in target.state_dict().items()}
    assert {name: value.shape for name, value in fitted.items()} == shapes


def test_a_head_of_other_classes_is_drawn_only_if_that_is_allowed():
    source = model()
    with pytest.raises(CheckpointError, match=r"2 of another shape: head\.weight is \(5, 24\), expected \(7, 24\)"):
        fit_state_dict(model(num_classes=7), source.state_dict())

    target, report = adapted(source, num_classes=7)
    assert report.initialised == ["head.weight", "head.bias"]
    assert target.head.weight.abs().max() < 0.1
    assert not target.head.bias.any()
    assert torch.equal(target.extract_feat(images(3))[0], source.extract_feat(images(3))[0])


def test_without_a_head_that_of_the_file_is_dropped():
    target, report = adapted(model(), num_classes=0)
    assert report.dropped == ["head.weight", "head.bias"]
    assert isinstance(target.head, torch.nn.Identity)


def test_the_auxiliary_head_of_token_labelling_is_dropped():
    source = model()
    state = {**source.state_dict(), "aux_head.weight": torch.ones(5, 24), "aux_head.bias": torch.ones(5)}
    fitted, report = fit_state_dict(model(seed=1), state)

    assert report.dropped == ["aux_head.weight", "aux_head.bias"]
    assert "2 dropped (aux_head.weight, aux_head.bias)" in str(report)
    assert list(fitted) == list(source.state_dict())


def test_what_does_not_fit_is_left_out_where_that_is_asked_for():
    source = model(depth=3, num_classes=7)
    state = source.state_dict()
    del state["norm.weight"]
    with pytest.raises(CheckpointError, match=r"1 missing: norm\.weight; 11 unexpected: blocks\.2\.norm1\.weight"):
        fit_state_dict(model(), state)

    target = model(seed=1)
    fitted, report = fit_state_dict(target, state, strict=False)
    target.load_state_dict(fitted)
    assert torch.equal(target.blocks[1].mlp.fc2.weight, source.blocks[1].mlp.fc2.weight)
    assert report.missing == ["norm.weight", "head.weight", "head.bias"]
    assert torch.equal(target.norm.weight, torch.ones(24))
    assert target.head.weight.abs().max() < 0.1
    assert {name.partition(".")[0] for name in report.dropped} == {"blocks", "head"}
    assert len(report.loaded) + len(report.missing) == len(fitted)


def test_what_is_adapted_in_vain_is_dropped_only():
    state = model().state_dict()
    state[f"{FIRST_LAYER}attn.qkv.weight"] = torch.ones(30, 196)
    state[f"{FIRST_LAYER}norm1.weight"] = state[f"{FIRST_LAYER}norm1.bias"] = torch.ones(196)
    _, report = fit_state_dict(model(), state, strict=False)
    assert f"{FIRST_LAYER}attn.qkv.weight" in report.dropped
    assert f"{FIRST_LAYER}attn.qkv.weight" not in report.resized


def test_random_features_that_are_missing_are_drawn():
    source = model(tokens="performer")
    state = {name: value for name, value in source.state_dict().items() if not name.endswith(".w")}
    fitted, report = fit_state_dict(model(seed=1, tokens="performer"), state, strict=False)
    assert report.missing == [f"{FIRST_LAYER}w", "tokens_to_token.attention2.w"]
    w = fitted[f"{FIRST_LAYER}w"]
    torch.testing.assert_close(w @ w.T, 4 * torch.eye(4))


def test_nothing_of_the_model_or_the_weights_is_changed():
    source, target = model(), model(seed=1, in_chans=1, num_classes=7)
    before = {name: value.clone() for name, value in (source.state_dict() | target.state_dict()).items()}
    fit_state_dict(target, source.state_dict(), new_head=True)
    after = source.state_dict() | target.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


@pytest.mark.parametrize(
    "odd",
    [
        {"pos_embed": torch.ones(1, 19, 24)},
        {f"{FIRST_LAYER}norm1.weight": torch.ones(50)},
        {f"{FIRST_LAYER}attn.qkv.weight": torch.ones(24, 0)},
        {f"{FIRST_LAYER}attn.qkv.weight": torch.ones(())},
        {"head.weight": torch.ones(())},
    ],
    ids=str,
)
def test_odd_shapes_are_refused_in_words(odd):
    with pytest.raises(CheckpointError, match=f"of another shape: {next(iter(odd))}"):
        fit_state_dict(model(), {**model().state_dict(), **odd})
