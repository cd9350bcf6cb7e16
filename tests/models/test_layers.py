"""What is numerically delicate: attention scales, the epsilon, drop path, soft splits."""

from __future__ import annotations

import math

import numpy as np
import plain_t2t_vit
import pytest
import torch
from torch import nn

from t2t_vit.models.encoder import Attention, Block, DropPath, Mlp
from t2t_vit.models.soft_split import SoftSplit, SoftSplitProjection, SplitSize
from t2t_vit.models.token_transformer import TokenAttention, TokenTransformer
from t2t_vit.models.variants import variant_names


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def close(actual, expected, tolerance=1e-5):
    torch.testing.assert_close(actual, expected, rtol=0, atol=tolerance)


# --- attention ---


@pytest.mark.parametrize(("dim", "num_heads", "scale"), [(384, 6, 1 / 8), (448, 7, 1 / 8), (48, 3, 1 / 4)])
def test_encoder_attention_is_scaled_by_the_width_of_a_head(dim, num_heads, scale):
    attention = Attention(dim, num_heads)
    assert attention.scale == scale
    x = 3 * torch.randn(2, 10, dim)
    q, k, v = (part.unflatten(2, (num_heads, -1)).transpose(1, 2) for part in attention.qkv(x).chunk(3, dim=-1))
    weights = (q @ k.transpose(2, 3) * scale).softmax(-1)
    close(attention(x), attention.proj((weights @ v).transpose(1, 2).flatten(2)))
    close(attention.weights(x), weights)


@pytest.mark.parametrize(("in_dim", "dim"), [(147, 64), (576, 64), (49, 16)])
def test_token_attention_is_scaled_by_the_width_before_the_projection(in_dim, dim):
    attention = TokenAttention(in_dim, dim)
    x = 3 * torch.randn(2, 10, in_dim)
    q, k, v = attention.qkv(x).chunk(3, dim=-1)
    weights = (q @ k.transpose(1, 2) / math.sqrt(in_dim)).softmax(-1)
    close(attention(x), v + attention.proj(weights @ v))
    close(attention.weights(x), weights[:, None])


def test_attention_weights_sum_to_one(tiny):
    model, x = tiny(), torch.randn(2, 7, 24)
    close(model.blocks[0].attn.weights(x).sum(-1), torch.ones(2, 2, 7))
    close(model.tokens_to_token.attention1.attn.weights(torch.randn(2, 7, 147)).sum(-1), torch.ones(2, 1, 7))


def test_token_transformer_has_the_value_for_residual():
    """Tokens come out narrower than they go in, so the input itself cannot be it."""
    layer = TokenTransformer(49, 16)
    for linear in (layer.attn.proj, layer.mlp.fc2):
        nn.init.zeros_(linear.weight)
        nn.init.zeros_(linear.bias)
    x = torch.randn(2, 5, 49)
    close(layer(x), layer.attn.qkv(layer.norm1(x))[..., 32:])


def test_mlp_has_the_exact_gelu():
    mlp = Mlp(6, 9)
    x = 3 * torch.randn(4, 6)
    hidden = mlp.fc1(x)
    close(mlp(x), mlp.fc2(hidden * (1 + torch.erf(hidden / math.sqrt(2))) / 2), 1e-6)


# --- layer normalization ---


@pytest.mark.parametrize("name", variant_names())
def test_every_layer_norm_has_epsilon_1e_5(undrawn, name):
    with torch.device("meta"):
        model = undrawn(name)
    norms = {n: module for n, module in model.named_modules() if isinstance(module, nn.LayerNorm)}
    assert len(norms) >= 2 * sum(isinstance(layer, Block) for layer in model.blocks) + 1
    assert {n: norm.eps for n, norm in norms.items()} == dict.fromkeys(norms, 1e-5)


@pytest.mark.parametrize(
    "make", [lambda: Block(16, Attention(16, 2), Mlp(16, 48)).norm1, lambda: TokenTransformer(16, 16).norm1]
)
def test_layer_norm_of_a_nearly_constant_input(make):
    """Values ±0.003 have variance 9e-6: they become ±0.003 / sqrt(9e-6 + 1e-5) = ±0.68825, with 1e-6 it were ±0.949."""
    x = torch.tensor([1.0, -1.0]).repeat(8) * 0.003
    close(make()(x), x.sign() * 0.68825, 1e-5)


def test_dim_picture_tells_the_epsilon(tiny):
    """A nearly even picture, whose tokens vary by about the epsilon, in float64 against the written-out model."""
    model = tiny(img_size=64, token_dim=16, embed_dim=32).double()
    x = 0.003 * torch.randn(2, 3, 64, 64, dtype=torch.float64)
    state = model.state_dict() | {"pos_embed": None}
    settings = {"token_scales": (147**-0.5, 144**-0.5), "encoder_scale": 16**-0.5}
    with torch.no_grad():
        expected, _ = plain_t2t_vit.tokens_and_logits(state, x, 2, **settings)
        others = [
            plain_t2t_vit.tokens_and_logits(state, x, 2, epsilon=epsilon, **settings)[0] for epsilon in (1e-6, 1.5e-5)
        ]
        tokens = model.forward_features(x)
    close(tokens, expected, 1e-6)  # the position table is rounded to float32
    assert min(float((expected - other).abs().max()) for other in others) > 1e-3


# --- drop path ---


def test_drop_path_drops_whole_samples_and_keeps_the_mean():
    drop = DropPath(0.3).train()
    out = drop(torch.ones(20_000, 2, 3))
    per_sample = out.flatten(1)
    assert (per_sample == per_sample[:, :1]).all()
    kept = per_sample[:, 0] != 0
    close(per_sample[kept], torch.full((int(kept.sum()), 6), 1 / 0.7), 1e-6)
    # Five standard deviations of a share of 20,000 draws.
    assert float(kept.float().mean()) == pytest.approx(0.7, abs=5 * math.sqrt(0.3 * 0.7 / 20_000))


def test_drop_path_does_nothing_in_evaluation_or_at_rate_zero():
    x = torch.randn(8, 3)
    assert DropPath(0.9).eval()(x) is x
    assert DropPath(0.0).train()(x) is x


def test_drop_path_rises_linearly_over_the_layers(tiny):
    rates = [block.drop_path.rate for block in tiny(depth=5, drop_path_rate=0.2).blocks]
    np.testing.assert_allclose(rates, [0, 0.05, 0.1, 0.15, 0.2], rtol=0, atol=1e-12)
    assert [block.drop_path.rate for block in tiny(depth=1, drop_path_rate=0.2).blocks] == [0]
    assert "rate=0.100" in repr(tiny(depth=5, drop_path_rate=0.2).blocks[2].drop_path)


def test_drop_path_stands_on_both_branches_of_a_layer():
    block = Block(8, Attention(8, 2), Mlp(8, 16), drop_path_rate=0.999999).train()
    x = torch.randn(16, 4, 8)
    torch.testing.assert_close(block(x), x, rtol=0, atol=0)


# --- soft splits ---


def test_soft_split_gives_overlapping_windows_channel_by_channel():
    x = torch.arange(2 * 4 * 4.0).reshape(1, 2, 4, 4)
    tokens = SoftSplit(SplitSize(3, 2, 1))(x)
    assert tokens.shape == (1, 4, 18)
    assert tokens[0, 0].tolist() == [0, 0, 0, 0, 0, 1, 0, 4, 5, 0, 0, 0, 0, 16, 17, 0, 20, 21]
    assert tokens[0, 3, :9].tolist() == [5, 6, 7, 9, 10, 11, 13, 14, 15]


@pytest.mark.parametrize("size", [SplitSize(7, 4, 2), SplitSize(3, 2, 1), SplitSize(3, 1, 0), SplitSize(2, 3, 0)])
def test_projection_is_the_soft_split_and_a_linear_layer(size):
    x = torch.randn(2, 5, 13, 18)
    project = SoftSplitProjection(5, 9, size)
    assert project.weight.shape == (9, 5 * size.kernel**2)
    tokens, grid = plain_t2t_vit.windows(x, *size)
    assert size.grid(13, 18) == tuple(grid)
    close(SoftSplit(size)(x), tokens, 0)
    close(project(x), tokens @ project.weight.T + project.bias)


def test_repr_tells_the_geometry(tiny):
    assert "SoftSplit(kernel=7, stride=4, padding=2)" in repr(tiny())
