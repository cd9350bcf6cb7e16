import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image

from t2t_vit.errors import ConfigError
from t2t_vit.models import T2TViT, create_model
from t2t_vit.visualization.attention import (
    TokenCentres,
    attention_heads,
    attention_maps,
    attention_weights,
    plot_attention,
    plot_attention_heads,
    token_centres,
)

SPLITS = ((7, 2, 3), (3, 2, 1), (3, 1, 1))


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = T2TViT(
        img_size=32, soft_splits=SPLITS, token_dim=8, embed_dim=24, depth=2, num_heads=3, num_classes=5,
        drop_rate=0.5, drop_path_rate=0.5,
    )  # fmt: skip
    for block in model.blocks:
        torch.nn.init.normal_(block.attn.qkv.weight, std=0.3)  # fresh weights attend almost evenly
    return model.eval()


def images(height=32, width=32, batch=2):
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(1))


def expected_weights(model, x):
    """The weights from their definition, layer by layer, without `Attention.weights`."""
    layers = []
    with torch.no_grad():
        x = model.embed(x)
        for block in model.blocks:
            q, k, _ = block.attn.qkv(block.norm1(x)).chunk(3, dim=-1)
            heads = []
            for q_head, k_head in zip(q.split(8, dim=-1), k.split(8, dim=-1), strict=True):
                scores = torch.einsum("bnd,bmd->bnm", q_head, k_head) / 8**0.5
                heads.append(scores.exp() / scores.exp().sum(-1, keepdim=True))
            layers.append(torch.stack(heads, dim=1))
            x = block(x)
    return layers


def test_each_row_of_weights_sums_to_one(model):
    weights = attention_weights(model, images())
    assert [tuple(w.shape) for w in weights] == [(2, 3, 65, 65)] * 2
    for w in weights:
        torch.testing.assert_close(w.sum(-1), torch.ones(2, 3, 65))


def test_weights_are_those_of_the_definition(model):
    for ours, theirs in zip(attention_weights(model, images()), expected_weights(model, images()), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_map_is_the_class_tokens_row_of_the_last_layer_averaged_over_heads(model):
    last = expected_weights(model, images())[-1]
    expected = last.mean(1)[:, 0, 1:].unflatten(1, (8, 8))
    torch.testing.assert_close(attention_maps(model, images()), expected)


def test_rollout_is_the_product_of_averaged_weights_and_identity(model):
    product = torch.eye(65).expand(2, -1, -1)
    for w in expected_weights(model, images()):
        layer = w.mean(1) + torch.eye(65)
        product = layer / layer.sum(-1, keepdim=True) @ product
    expected = product[:, 0, 1:].unflatten(1, (8, 8))
    torch.testing.assert_close(attention_maps(model, images(), method="rollout"), expected)


def test_heads_are_the_class_tokens_rows_of_the_layer_asked_for(model):
    expected = [w[:, :, 0, 1:].unflatten(2, (8, 8)) for w in expected_weights(model, images())]
    torch.testing.assert_close(attention_heads(model, images()), expected[1])
    torch.testing.assert_close(attention_heads(model, images(), layer=0), expected[0])


@pytest.mark.parametrize(("layers", "used"), [([0], [0]), ([-2], [0]), ([1, 0], [0, 1]), ([-1, 1], [1])])
def test_layers_can_be_chosen(model, layers, used):
    weights = expected_weights(model, images())
    rollout = torch.eye(65)
    for i in used:
        rollout = (weights[i].mean(1) + torch.eye(65)) / 2 @ rollout
    expected = rollout[:, 0, 1:].unflatten(1, (8, 8))
    torch.testing.assert_close(attention_maps(model, images(), "rollout", layers), expected)
    last = weights[used[-1]].mean(1)[:, 0, 1:].unflatten(1, (8, 8))
    torch.testing.assert_close(attention_maps(model, images(), "last", layers), last)
    assert len(attention_weights(model, images(), layers)) == len(used)


@pytest.mark.parametrize("method", ["last", "rollout"])
@pytest.mark.parametrize(("height", "width"), [(32, 32), (48, 32), (20, 76)])
def test_maps_have_the_token_grid_at_any_image_size(model, method, height, width):
    maps = attention_maps(model, images(height, width), method)
    assert maps.shape == (2, height // 4, width // 4)
    assert (maps >= 0).all()
    own = 1 - maps.sum((1, 2))
    assert (own > 0).all()
    assert (own < 1).all()


def test_maps_of_the_published_architecture_at_224_pixels_have_14_by_14_tokens():
    model = create_model("t2t_vit_t_14", depth=2)
    maps = attention_maps(model, images(224, 224, batch=1), "rollout")
    assert maps.shape == (1, 14, 14)


@pytest.mark.parametrize("fails", [False, True])
def test_the_model_is_left_as_it_was(model, fails, monkeypatch):
    model.train()
    model.blocks[0].eval()
    model.norm.weight.grad = torch.ones(24)
    model.norm.bias.requires_grad_(False)
    modes = [module.training for module in model.modules()]
    state = {name: value.clone() for name, value in model.state_dict().items()}
    if fails:
        monkeypatch.setattr(model.blocks[0], "forward", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            attention_maps(model, images())
    else:
        assert not attention_maps(model, images(), "rollout").requires_grad
    assert [module.training for module in model.modules()] == modes
    assert not any(module._forward_pre_hooks for module in model.modules())
    assert torch.equal(model.norm.weight.grad, torch.ones(24))
    assert [name for name, p in model.named_parameters() if not p.requires_grad] == ["norm.bias"]
    assert [name for name, p in model.named_parameters() if p.grad is not None] == ["norm.weight"]
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name]), name


def test_a_model_in_training_gives_the_maps_of_evaluation(model):
    expected = attention_maps(model, images(), "rollout")
    torch.testing.assert_close(attention_maps(model.train(), images(), "rollout"), expected)


@pytest.mark.parametrize("training", [False, True])
def test_two_threads_can_share_a_model(model, training, monkeypatch):
    batches = [images(), images().flip(0)]
    expected = [attention_maps(model, x, "rollout") for x in batches]
    model.train(training)
    barrier, run_block = threading.Barrier(2, timeout=60), T2TViT.run_block

    def in_step(*args):
        x = run_block(*args)
        barrier.wait()
        return x

    monkeypatch.setattr(T2TViT, "run_block", in_step)
    with ThreadPoolExecutor(2) as threads:
        maps = list(threads.map(lambda x: attention_maps(model, x, "rollout"), batches))
    assert all(torch.equal(shared, alone) for shared, alone in zip(maps, expected, strict=True))
    assert model.training == training


def test_a_bfloat16_model_takes_float32_images_and_gives_float32_maps(model):
    expected = attention_maps(model, images())
    maps = attention_maps(model.bfloat16(), images())
    assert maps.dtype == torch.float32
    # bfloat16 has 8 bits: scores of some units are off by some hundredths, weights by as much of themselves.
    torch.testing.assert_close(maps.sum((1, 2)), expected.sum((1, 2)), atol=0.05, rtol=0.05)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_maps_on_the_gpu_are_those_on_the_cpu(model):
    expected = attention_maps(model, images(), "rollout")
    maps = attention_maps(model.cuda(), images(), "rollout")
    assert maps.is_cuda
    torch.testing.assert_close(maps.cpu(), expected, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "rolout"}, "expected last or rollout. Did you mean 'rollout'"),
        ({"layers": [2]}, "layers has 2; expected -2 to 1"),
        ({"layers": [-3]}, "layers has -3"),
        ({"layers": []}, "layers is empty"),
    ],
)
def test_an_unknown_method_or_layer_is_refused(model, arguments, message):
    with pytest.raises(ConfigError, match=message):
        attention_maps(model, images(), **arguments)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (48, 44)])
def test_token_centres_are_the_middles_of_what_a_token_sees(model, height, width):
    # The soft splits alone, as averages over their windows: the gradient of a token is what it sees.
    x = torch.zeros(1, 1, height, width, requires_grad=True)
    y = x
    for kernel, stride, padding in SPLITS:
        y = torch.nn.functional.avg_pool2d(y, kernel, stride, padding)
    centres = token_centres(model, height, width)
    assert (len(centres.y), len(centres.x)) == y.shape[2:]
    row, column = y.shape[2] // 2, y.shape[3] // 2  # in the midst, where no padding cuts the window
    (seen,) = torch.autograd.grad(y[0, 0, row, column], x)
    seen = seen[0, 0] / seen.sum()
    assert (seen.sum(1) * torch.arange(height)).sum().item() == pytest.approx(centres.y[row], abs=1e-4)
    assert (seen.sum(0) * torch.arange(width)).sum().item() == pytest.approx(centres.x[column], abs=1e-4)


def photo(width=32, height=32):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.mark.parametrize(
    ("height", "width", "suffix"), [(32, 32, ".png"), (48, 32, ".pdf"), (20, 76, ".svg"), (20, 76, ".png")]
)
def test_maps_and_heads_are_drawn_at_any_shape(model, tmp_path, height, width, suffix):
    x, picture, centres = images(height, width), photo(width, height), token_centres(model, height, width)
    out = plot_attention(picture, attention_maps(model, x)[0], tmp_path / f"a{suffix}", "title", centres)
    heads = plot_attention_heads(picture, attention_heads(model, x)[0], tmp_path / f"b{suffix}")
    assert out.stat().st_size > 1000
    assert heads.stat().st_size > 1000


def test_the_picture_says_what_it_shows(tmp_path, texts_of):
    heat = np.full((2, 5), 0.05)
    heat[1, 3] = 0.25
    texts = texts_of(plot_attention(photo(50, 20), heat, tmp_path / "a.svg", title="tabby: 93.1 %"))
    assert {"tabby: 93.1 %", "The picture, 50 × 20 pixels", "attention to a token (%)"} <= set(texts)
    assert "Strongest token 25 %; if even, 7 %" in texts


def test_every_head_has_its_tile(tmp_path, texts_of):
    heads = np.stack([np.full((3, 3), 0.01 * (i + 1)) for i in range(7)])
    texts = texts_of(plot_attention_heads(photo(), heads, tmp_path / "a.svg"))
    assert [text for text in texts if text.startswith("Head")] == [f"Head {i}: up to {i + 1} %" for i in range(7)]


def strongest_place(rasters):
    """Return where the map over a grey picture is most yellow, as fractions (down, across)."""
    (overlay,) = [
        raster[..., :3].astype(int)
        for raster in rasters
        if min(raster.shape[:2]) > 100 and len(np.unique(raster[..., 2])) > 10
    ]
    yellow = overlay[..., 0] + overlay[..., 1] - 2 * overlay[..., 2]
    down, across = (places.mean() for places in np.nonzero(yellow == yellow.max()))
    return (down + 0.5) / yellow.shape[0], (across + 0.5) / yellow.shape[1]


GREY = Image.new("L", (32, 32), 128)
PEAK = np.array([[1, 1, 1, 1], [1, 1, 50, 1], [1, 1, 1, 1], [1, 1, 1, 1]]) / 100


def test_the_map_is_laid_where_the_tokens_are(tmp_path, rasters_of):
    centres = TokenCentres(np.array([0.0, 8.0, 16.0, 24.0]), np.array([0.0, 8.0, 16.0, 24.0]))
    one = plot_attention(GREY, PEAK, tmp_path / "a.svg", centres=centres)
    heads = plot_attention_heads(GREY, PEAK[None], tmp_path / "b.svg", centres=centres)
    assert strongest_place(rasters_of(one)) == pytest.approx((8.5 / 32, 16.5 / 32), abs=0.02)
    assert strongest_place(rasters_of(heads)) == pytest.approx((8.5 / 32, 16.5 / 32), abs=0.02)


def test_without_centres_the_map_is_spread_evenly(tmp_path, rasters_of):
    out = plot_attention(GREY, PEAK, tmp_path / "a.svg")
    assert strongest_place(rasters_of(out)) == pytest.approx((12 / 32, 20 / 32), abs=0.02)


@pytest.mark.parametrize("heat", [np.zeros((3, 3)), np.full((1, 1), 1.0), np.full((14, 14), 1 / 197)])
def test_an_even_map_is_drawn(tmp_path, heat):
    plot_attention(photo(), heat, tmp_path / "a.png")
    plot_attention_heads(photo(), heat[None], tmp_path / "b.png")


def test_an_awkward_title_is_drawn_without_a_warning(tmp_path, awkward_names, texts_of):
    title = " ".join(awkward_names)
    plot_attention_heads(photo(), np.ones((1, 2, 2)), tmp_path / "a.png", title=title)
    assert "$x_1$" in texts_of(plot_attention(photo(), np.ones((2, 2)), tmp_path / "a.svg", title="$x_1$"))


@pytest.mark.parametrize(
    ("heat", "message"),
    [
        (np.ones(4), r"shape \(4,\); expected \(h, w\)"),
        (np.ones((1, 4, 4)), r"expected \(h, w\)"),
        (np.ones((0, 4)), r"shape \(0, 4\)"),
        (np.array([[1.0, np.nan]]), "not finite"),
        (np.ones((4, 5)), r"of \(4, 5\) tokens, the centres of \(8, 8\)"),
    ],
)
def test_what_is_no_map_is_refused(model, tmp_path, heat, message):
    with pytest.raises(ConfigError, match=message):
        plot_attention(photo(), heat, tmp_path / "a.png", centres=token_centres(model, 32, 32))
    assert list(tmp_path.iterdir()) == []
