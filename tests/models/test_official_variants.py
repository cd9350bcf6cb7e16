"""Every variant of the official code: its outputs, its sizes, and what is delicate in its parts."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from filling import GOLDEN, fill_parameters

from t2t_vit.errors import ConfigError
from t2t_vit.models import variant_names
from t2t_vit.models.encoder import Block, DropPath
from t2t_vit.models.token_performer import TokenPerformer

# Float32 sums in another order differ by 4e-6.
TOLERANCE = 1e-4

#: Parameters and buffers in millions, as the official code's models have them; the last is the ablation's.
SIZES = {
    "t2t_vit_7": 4.310,
    "t2t_vit_10": 5.889,
    "t2t_vit_12": 6.942,
    "t2t_vit_14": 21.546,
    "t2t_vit_19": 39.177,
    "t2t_vit_24": 64.106,
    "t2t_vit_t_14": 21.541,
    "t2t_vit_t_19": 39.173,
    "t2t_vit_t_24": 64.101,
    "t2t_vit_14_resnext": 21.546,
    "t2t_vit_14_wide": 25.156,
    "t2t_vit_14_se": 21.804,
    "t2t_vit_16_ghost": 16.253,
    "t2t_vit_dense": 23.647,
    "t2t_vit_c_14": 21.422,
}
OFFICIAL = [name for name in SIZES if name != "t2t_vit_c_14"]


@pytest.fixture(scope="module")
def outputs():
    with np.load(GOLDEN / "official_variants.npz") as file:
        return dict(file)


@pytest.fixture
def performer():
    torch.manual_seed(0)
    layer = TokenPerformer(147, 64)
    layer.draw_features()
    return layer.eval()


def check(actual, expected):
    np.testing.assert_allclose(actual.numpy(), expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("name", OFFICIAL)
def test_logits_are_the_official_codes(name, filled, fill, outputs):
    images = torch.from_numpy(fill.normalized_input(7, 2, 224, 224))[:1]
    with torch.no_grad():
        logits = filled(name, "official")(images)
    check(logits[:, ::10], outputs[f"official/{name}/224/logits_every_10th"][:1])


def test_the_model_for_384_pixels_has_a_table_of_its_own(undrawn, fill, outputs):
    model = undrawn("t2t_vit_14", img_size=384)
    fill_parameters(model, fill, "official")
    assert model.pos_embed.shape == (1, 577, 384)
    with torch.no_grad():
        logits = model(torch.from_numpy(fill.normalized_input(7, 1, 384, 384)))
    check(logits[:, ::10], outputs["official/t2t_vit_14/384/logits_every_10th"])


@pytest.mark.parametrize("name", ["t2t_vit_7", "t2t_vit_14", "t2t_vit_14_se"])
def test_logits_and_class_token_are_the_references(name, filled, fill, golden):
    images = torch.from_numpy(fill.normalized_input(7, 2, 224, 224))
    model = filled(name, "official")
    with torch.no_grad():
        tokens = model.forward_features(images)
        check(model.forward_head(tokens), golden[f"official/{name}/224/logits"])
    check(tokens[:, 0], golden[f"official/{name}/224/cls_token"])


def test_every_variant_is_listed_here():
    assert list(SIZES) == variant_names()


@pytest.mark.parametrize("name", SIZES)
def test_size_is_the_published_one(name, undrawn):
    with torch.device("meta"):
        state = undrawn(name).state_dict()
    assert round(sum(value.numel() for value in state.values()) / 1e6, 3) == SIZES[name]


@pytest.mark.parametrize("name", OFFICIAL)
def test_names_and_shapes_are_the_official_ones(name, undrawn, reference_shapes):
    with torch.device("meta"):
        state = undrawn(name).state_dict()
    assert {key: list(value.shape) for key, value in state.items()} == reference_shapes["official"][name]


# --- the performer ---


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("scale", [1.0, 30.0, 1e3])
def test_performer_stays_finite_in_half_precision(performer, dtype, scale):
    tokens = scale * torch.randn(2, 50, 147)
    performer.kqv.weight.data *= scale / 10  # activations as large as the tokens, whatever LayerNorm does to these
    with torch.autocast("cpu", dtype=dtype):
        output = performer(tokens)
    assert output.isfinite().all()


def test_performer_in_half_precision_gives_nearly_what_it_gives_in_float32(performer):
    tokens = torch.randn(2, 50, 147)
    expected = performer(tokens)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = performer(tokens)
    assert (output.float() - expected).norm() < 2e-2 * expected.norm()


def test_performer_in_float64_is_as_exact_as_that(performer):
    """The layer written out; through float32 it would be some 1e-7 off."""
    performer = performer.double()
    tokens = torch.randn(2, 50, 147, dtype=torch.float64)
    k, q, v = performer.kqv(performer.norm1(tokens)).chunk(3, dim=-1)
    k, q = ((x @ performer.w.T - (x * x).sum(-1, keepdim=True) / 2).exp() / 32**0.5 for x in (k, q))
    weights = q @ k.mT
    attended = v + performer.proj(weights @ v / (weights.sum(-1, keepdim=True) + 1e-8))
    expected = attended + performer.mlp(performer.norm2(attended))
    torch.testing.assert_close(performer(tokens), expected, atol=1e-12, rtol=1e-12)


def test_performer_is_its_attention_weights_times_the_values(performer):
    tokens = torch.randn(2, 50, 147)
    normalized = performer.norm1(tokens)
    weights = performer.weights(normalized)
    # Less than 1 by what the epsilon of the denominator takes, as in the official code.
    assert ((weights.sum(-1) > 0.9) & (weights.sum(-1) <= 1.00001)).all()
    values = performer.kqv(normalized)[..., 128:]  # k, q, v in this order
    attended = values + performer.proj(weights[:, 0] @ values)
    torch.testing.assert_close(performer(tokens), attended + performer.mlp(performer.norm2(attended)))


def test_performer_drops_out_in_training_only(performer):
    tokens = torch.randn(2, 50, 147)
    assert torch.equal(performer(tokens), performer(tokens))
    performer.train()
    assert not torch.equal(performer(tokens), performer(tokens))
    assert [performer.dp.p, performer.mlp[3].p] == [0.1, 0.1]


def test_random_features_are_orthogonal_and_not_trained(performer):
    features = performer.w
    torch.testing.assert_close(features @ features.T, 32 * torch.eye(32), rtol=0, atol=1e-4)
    assert "w" in performer.state_dict()
    assert "w" not in dict(performer.named_parameters())


# --- the stacks ---


@pytest.mark.parametrize(
    "settings",
    [
        {"stack": "se"},
        {"stack": "ghost", "mlp_ratio": 3.0},
        {"stack": "dense", "depth": (2, 1), "growth_rate": 8},
        {"tokens": "performer"},
        {"tokens": "convolution"},
    ],
    ids=str,
)
def test_gradients_reach_every_parameter_and_sizes_are_free(settings, tiny):
    if settings.get("stack") == "se":
        settings = {**settings, "embed_dim": 32}
    model = tiny(**settings).train()
    model(torch.randn(2, 3, 32, 48)).square().sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_a_dense_stack_widens_by_its_growth_rate_and_halves_between_groups(tiny):
    model = tiny(stack="dense", depth=(2, 3), growth_rate=8)
    assert [layer.out_dim for layer in model.blocks] == [32, 40, 20, 28, 36, 44]
    assert model.num_features == 44
    assert model.extract_feat(torch.randn(1, 3, 32, 32))[0].shape == (1, 44)


def test_drop_path_of_dense_groups_rises_as_in_the_official_code(tiny):
    model = tiny(stack="dense", depth=(1, 2, 1), growth_rate=8, drop_path_rate=0.11)
    rates = [layer.drop_path.rate for layer in model.blocks if isinstance(layer, Block)]
    assert rates == pytest.approx([0.0, 0.01, 0.01, 0.02])


def test_drop_path_of_a_plain_stack_rises_linearly(tiny):
    model = tiny(depth=3, drop_path_rate=0.2)
    rates = [module.rate for module in model.modules() if isinstance(module, DropPath)]
    assert rates == pytest.approx([0.0, 0.1, 0.2])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stack": "ghost", "mlp_ratio": 2.0}, "mlp_ratio is 2.0; the ghost MLP makes three parts"),
        ({"stack": "plain", "depth": (2, 2)}, "only a dense stack has groups"),
        ({"stack": "dens"}, "stack is 'dens'.*Did you mean 'dense'"),
        ({"tokens": "perfomer"}, "tokens is 'perfomer'.*Did you mean 'performer'"),
    ],
)
def test_a_wrong_choice_is_told(settings, message, tiny):
    with pytest.raises(ConfigError, match=message):
        tiny(**settings)


def test_squeeze_and_excitation_scales_each_channel_by_the_mean_over_tokens(tiny):
    layer = tiny(stack="se", embed_dim=32).blocks[0].attn.se_layer
    x = torch.randn(2, 7, 32)
    hidden = (x.mean(1) @ layer.fc[0].weight.T).clamp(min=0) @ layer.fc[2].weight.T
    torch.testing.assert_close(layer(x), x * (1 / (1 + torch.exp(-hidden)))[:, None])


def test_thirty_two_heads_have_the_scale_of_their_own_width(undrawn):
    with torch.device("meta"):
        model = undrawn("t2t_vit_14_resnext")
    assert model.blocks[0].attn.scale == pytest.approx(1 / math.sqrt(12))
