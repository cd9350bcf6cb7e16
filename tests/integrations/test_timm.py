from __future__ import annotations

import json
import logging
import shutil
from functools import partial
from typing import Any

import pytest
import timm
import timm.optim
import torch
from timm.data import create_transform, resolve_data_config
from timm.models import PretrainedCfg, save_for_hf
from torch import nn

import t2t_vit.integrations.timm as ours
from t2t_vit import get_model
from t2t_vit.errors import CheckpointError, ConfigError, DownloadError, UnsafeCheckpointError
from t2t_vit.integrations.timm import TimmT2TViT
from t2t_vit.models import variant_names
from t2t_vit.weights.catalogue import CATALOGUE, find_weights
from t2t_vit.weights.convert import to_mmpretrain

TINY: dict[str, Any] = {
    "img_size": 32,
    "soft_splits": ((7, 2, 3), (3, 2, 1), (3, 2, 1)),
    "token_dim": 8,
    "embed_dim": 32,
    "depth": 3,
    "num_heads": 2,
}
KINDS = ("t2t_vit_t_14", "t2t_vit_14", "t2t_vit_c_14", "t2t_vit_14_se", "t2t_vit_16_ghost", "t2t_vit_dense")
FILE = "81.5_T2T_ViT_14.pth.tar"  # of t2t_vit_14.official_in1k

# The timm methods do what T2TViT does, in the same order, so equal means equal in every bit.
equal = partial(torch.testing.assert_close, rtol=0, atol=0)


def create(name: str = "t2t_vit_14", **settings: Any) -> TimmT2TViT:
    depth = {"depth": (2, 2), "growth_rate": 8} if "dense" in name else {}
    return timm.create_model(name, **{**TINY, **depth, **settings})


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A tiny model whose weights lie where those of t2t_vit_14.official_in1k are looked for, in that file's layout."""
    model = create(num_classes=1000).eval()
    torch.save({"arch": "t2t_vit_14", "state_dict_ema": model.state_dict()}, tmp_path / FILE)
    monkeypatch.setenv("T2T_VIT_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("T2T_VIT_CACHE", str(tmp_path / "cache"))
    return model


# --- names


def test_every_architecture_is_listed_in_natural_order():
    names = timm.list_models("t2t*")
    assert set(names) >= set(variant_names())
    assert names[:5] == ["t2t_vit_7", "t2t_vit_10", "t2t_vit_12", "t2t_vit_14", "t2t_vit_14_resnext"]


def test_every_published_file_is_listed_by_architecture_and_tag():
    assert set(timm.list_pretrained("t2t*")) == {weights.full_name for weights in CATALOGUE.values()}
    assert timm.models.is_model_pretrained("t2t_vit_14")
    assert not timm.models.is_model_pretrained("t2t_vit_dense")


@pytest.mark.parametrize("name", [name for name in variant_names() if find_weights(name)])
def test_a_name_without_a_tag_is_the_first_of_the_catalogue(name):
    first = find_weights(name)
    cfg = timm.get_pretrained_cfg(name)
    assert first is not None
    assert (cfg.url, cfg.tag, cfg.num_classes) == (first.url, first.tag, first.num_classes)


def test_a_name_that_timm_has_stays_timms(monkeypatch):
    monkeypatch.setitem(timm.models._registry._model_entrypoints, "t2t_vit_14", lambda **_: nn.Flatten())
    ours._register()
    assert isinstance(timm.create_model("t2t_vit_14"), nn.Flatten)


def test_registering_again_changes_nothing():
    before = timm.list_models("t2t*"), timm.models.load_checkpoint
    ours._register()  # under warnings as errors: timm warns where a name is overwritten
    assert (timm.list_models("t2t*"), timm.models.load_checkpoint) == before


def test_an_unknown_tag_is_an_error():
    with pytest.raises(RuntimeError, match="Invalid pretrained tag"):
        create("t2t_vit_14.official_in2k")


# --- building


@pytest.mark.parametrize("name", KINDS)
def test_outputs_are_those_of_get_model(name, images):
    model = create(name, num_classes=5).eval()
    depth = {"depth": (2, 2), "growth_rate": 8} if "dense" in name else {}
    same = get_model(name, num_classes=5, **{**TINY, **depth})
    same.load_state_dict(model.state_dict())
    equal(model(images), same(images))


def test_the_architecture_is_the_variants():
    model = timm.create_model("t2t_vit_14.official_in1k_384", device="meta")
    assert isinstance(model, TimmT2TViT)
    assert model.img_size == (384, 384)
    assert model.num_classes == 1000
    assert {name: value.shape for name, value in model.state_dict().items()} == {
        name: value.shape for name, value in get_model("t2t_vit_14", img_size=384).state_dict().items()
    }
    assert timm.create_model("t2t_vit_19.official_cifar100", device="meta").num_classes == 100


def test_rates_go_where_the_official_registration_puts_them():
    model = create(drop_rate=0.1, drop_path_rate=0.2)
    assert model.pos_drop.p == 0.1
    assert [block.drop_path.rate for block in model.blocks] == [0.0, 0.1, 0.2]


def test_dtype_and_device_are_taken():
    model = create(dtype=torch.bfloat16, device="cpu")
    assert {value.dtype for value in model.state_dict().values()} == {torch.bfloat16}


@pytest.mark.parametrize(
    ("pool", "expected"),
    [
        ("token", lambda x: x[:, 0]),
        ("avg", lambda x: x[:, 1:].mean(dim=1)),
        ("max", lambda x: x[:, 1:].amax(dim=1)),
        ("", lambda x: x),
    ],
)
def test_global_pool_is_what_the_head_sees(pool, expected, images):
    model = create(global_pool=pool, num_classes=5).eval()
    tokens = model.forward_features(images)
    equal(model.forward_head(tokens, pre_logits=True), expected(tokens))
    equal(model(images), model.head(expected(tokens)))


@pytest.mark.parametrize(
    "settings",
    [{"dynamic_img_size": True}, {"strict_img_size": False}, {"dynamic_img_size": True, "pos_drop_rate": 0.0}],
)
def test_images_of_every_size_are_taken_by_timms_names_too(settings):
    assert create(**settings, num_classes=5).eval()(torch.randn(1, 3, 48, 64)).shape == (1, 5)


@pytest.mark.parametrize("settings", [{"dynamic_img_size": False}, {"strict_img_size": True}])
def test_images_of_another_size_are_refused_where_only_one_is_to_be_taken(settings, images):
    model = create(**settings, num_classes=5).eval()
    assert model(images).shape == (2, 5)
    for call in (model, model.forward_features, model.forward_intermediates, model.extract_feat):
        with pytest.raises(
            ConfigError, match=r"shape \(1, 3, 48, 32\); expected \(B, C, 32, 32\) with dynamic_img_size"
        ):
            call(torch.randn(1, 3, 48, 32))
    model.set_input_size((48, 32))
    assert model(torch.randn(1, 3, 48, 32)).shape == (1, 5)


def test_pos_drop_rate_is_the_dropout_on_the_tokens():
    assert create(pos_drop_rate=0.2).pos_drop.p == create(drop_rate=0.2).pos_drop.p == 0.2
    with pytest.raises(ConfigError, match=r"drop_rate is 0\.1, pos_drop_rate 0\.2; they are the same: give one"):
        create(drop_rate=0.1, pos_drop_rate=0.2)


def test_there_are_no_masks(images):
    model = create().eval()
    equal(model.forward_features(images, attn_mask=None, is_causal=False), model.forward_features(images))
    mask = torch.ones(17, 17, dtype=torch.bool)
    for call in (model.forward_features, model.forward_intermediates, model.get_intermediate_layers):
        with pytest.raises(ConfigError, match="attn_mask is a Tensor; expected none"):
            call(images, attn_mask=mask)
    with pytest.raises(ConfigError, match="is_causal is True; expected none"):
        model.forward_features(images, is_causal=True)


def test_pool_is_what_timms_own_models_have(images):
    model = create(global_pool="avg").eval()
    tokens = model.forward_features(images)
    equal(model.pool(tokens), tokens[:, 1:].mean(dim=1))
    equal(model.pool(tokens, pool_type="token"), tokens[:, 0])
    equal(model.pool(tokens, ""), tokens)
    with pytest.raises(ConfigError, match="global_pool is 'cls'"):
        model.pool(tokens, "cls")


def test_wrong_settings_are_refused_in_one_line():
    with pytest.raises(ConfigError, match=r"global_pool is 'cls'; expected one of 'token'"):
        create(global_pool="cls")
    with pytest.raises(TypeError, match="patch_size"):
        create(patch_size=8)


# --- features


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("size", [(32, 32), (41, 58)])
def test_features_only_gives_maps_of_the_promised_width_at_any_size(name, size):
    model = create(name, features_only=True, out_indices=(0, 1, -1)).eval()
    maps = model(torch.randn(2, 3, *size))
    grid = create(name).token_grid(*size)
    assert [feature.shape for feature in maps] == [(2, width, *grid) for width in model.feature_info.channels()]
    assert model.feature_info.reduction() == [8, 8, 8]


def test_the_widths_of_a_dense_stack_are_those_of_its_layers():
    assert [info["num_chs"] for info in create("t2t_vit_dense").feature_info] == [40, 48, 24, 32, 40]


@pytest.mark.parametrize("name", KINDS)
def test_the_last_intermediate_with_norm_is_the_feature_map(name, images):
    model = create(name).eval()
    images = images[..., :25]
    features, (last,) = model.forward_intermediates(images, indices=1, norm=True)
    same = get_model(
        name,
        out_type="featmap",
        **{**TINY, **({"depth": (2, 2), "growth_rate": 8} if "dense" in name else {})},
    )
    same.load_state_dict(model.state_dict())
    equal(last, same.extract_feat(images)[-1])
    equal(features, model.forward_features(images))


@pytest.mark.parametrize("name", KINDS)
def test_intermediates_are_what_each_layer_gives(name, images):
    model = create(name).eval()
    layers = []
    for block in model.blocks:
        block.register_forward_hook(lambda _module, _inputs, output: layers.append(output))
    _, tokens = model.forward_intermediates(images, output_fmt="NLC", return_prefix_tokens=True)
    assert len(tokens) == len(model.blocks)
    for (spatial, prefix), layer in zip(tokens, layers, strict=True):
        equal(torch.cat([prefix, spatial], dim=1), layer)


def test_indices_are_a_number_of_last_layers_or_a_choice(images):
    model = create().eval()
    everything = model.forward_intermediates(images, intermediates_only=True)
    for indices, expected in ((2, [1, 2]), ([0, -1], [0, 2]), ((1,), [1])):
        chosen = model.forward_intermediates(images, indices=indices, intermediates_only=True)
        assert len(chosen) == len(expected)
        for feature, i in zip(chosen, expected, strict=True):
            equal(feature, everything[i])
    with pytest.raises(AssertionError, match="out of range"):
        model.forward_intermediates(images, indices=[3])


def test_norm_is_of_every_layer_as_wide_as_the_last(images):
    model = create().eval()
    raw = model.forward_intermediates(images, output_fmt="NLC", intermediates_only=True)
    normed = model.forward_intermediates(images, output_fmt="NLC", intermediates_only=True, norm=True)
    for one, other in zip(raw, normed, strict=True):
        torch.testing.assert_close(model.norm(one), other)


def test_norm_is_of_the_last_layer_only_in_a_dense_stack(images):
    model = create("t2t_vit_dense").eval()
    raw = model.forward_intermediates(images, [0, 2, -1], output_fmt="NLC", intermediates_only=True)
    *others, last = model.forward_intermediates(
        images, [0, 2, -1], output_fmt="NLC", intermediates_only=True, norm=True
    )
    equal(others, raw[:-1])
    torch.testing.assert_close(last, model.norm(raw[-1]), rtol=0, atol=1e-6)  # of a slice here, of all tokens there
    assert raw[0].shape[-1] == raw[-1].shape[-1]  # though as wide as the last


def test_stopping_early_computes_no_later_layer(images):
    model = create().eval()
    whole = model.forward_intermediates(images, indices=[0], intermediates_only=True)
    model.blocks[1].forward = None  # would fail if called
    equal(model.forward_intermediates(images, indices=[0], stop_early=True, intermediates_only=True), whole)
    with pytest.raises(TypeError):
        model.forward_intermediates(images, indices=[0])


def test_intermediates_come_as_a_dict_too(images):
    model = create().eval()
    entries = model.forward_intermediates(images, indices=1, output_dict=True, return_prefix_tokens=True)
    assert set(entries) == {"image_intermediates", "image_intermediates_prefix", "image_features"}
    equal(entries["image_features"], model.forward_features(images))
    alone = model.forward_intermediates(images, output_dict=True, intermediates_only=True)
    assert set(alone) == {"image_intermediates"}
    with pytest.raises(ConfigError, match="NHWC"):
        model.forward_intermediates(images, output_fmt="NHWC")


@pytest.mark.parametrize("name", ["t2t_vit_14", "t2t_vit_dense"])
def test_pruning_takes_away_what_is_not_needed(name, images):
    model = create(name).eval()
    expected = model.forward_intermediates(images, indices=[0, 1], intermediates_only=True)
    assert model.prune_intermediate_layers([0, 1], prune_norm=True) == [0, 1]
    assert len(model.blocks) == 2
    assert isinstance(model.norm, nn.Identity)
    assert isinstance(model.head, nn.Identity)
    equal(model.forward_intermediates(images, indices=[0, 1], intermediates_only=True), expected)
    assert model(images).shape == (2, 17, model.blocks[-1].out_dim)  # no pooling, no head
    assert len(model.extract_feat(images)) == 1


def test_intermediate_layers_in_dinos_way(images):
    model = create().eval()
    (tokens,) = model.get_intermediate_layers(images)
    (feature,) = model.get_intermediate_layers(images, reshape=True)
    assert tokens.shape == (2, 16, 32)
    equal(feature.flatten(2).transpose(1, 2), tokens)


# --- changing


def test_reset_classifier_draws_a_head_and_may_change_the_pooling(images):
    model = create(dtype=torch.float64).eval()
    model.classes = ("a",) * 1000
    model.reset_classifier(7, "avg")
    assert model.get_classifier() is model.head
    assert model(images.double()).shape == (2, 7)
    assert model.num_classes == 7
    assert model.classes is None
    equal(model.forward_head(t := model.forward_features(images.double()), pre_logits=True), t[:, 1:].mean(dim=1))
    assert 0 < model.head.weight.abs().max() < 0.2
    model.reset_classifier(0)
    assert model(images.double()).shape == (2, 32)


@pytest.mark.parametrize("size", [(48, 40), 64])
def test_set_input_size_interpolates_the_position_table_once(size):
    model = create().eval()
    height, width = (size, size) if isinstance(size, int) else size
    x = torch.randn(1, 3, height, width)
    before = model(x)
    model.set_input_size(size)
    assert model.img_size == (height, width)
    assert model.pos_embed.shape[1] == 1 + (height // 8) * (width // 8)
    assert "pos_embed" in model.state_dict()
    equal(model(x), before)
    model.set_input_size(None)
    assert model.img_size == (height, width)


def test_gradient_checkpointing_changes_nothing_but_memory(images):
    model = create(num_classes=4)
    gradients = []
    for enable in (False, True):
        model.set_grad_checkpointing(enable)
        model.eval().zero_grad()
        model(images).square().sum().backward()
        gradients.append({name: value.grad.clone() for name, value in model.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name])


def test_the_class_token_does_not_decay_and_the_rate_decays_by_layer():
    model = create(num_classes=4)
    optimizer = timm.optim.create_optimizer_v2(model, opt="adamw", lr=1.0, weight_decay=0.05, layer_decay=0.5)
    names = {id(value): name for name, value in model.named_parameters()}
    scale = {names[id(p)]: group["lr_scale"] for group in optimizer.param_groups for p in group["params"]}
    decay = {names[id(p)]: group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert set(scale) == set(names.values())
    # stem, three layers (the norm with the last), head
    assert scale["tokens_to_token.project.weight"] == scale["cls_token"] == 0.5**4
    assert [scale[f"blocks.{i}.mlp.fc1.weight"] for i in range(3)] == [0.5**3, 0.5**2, 0.5]
    assert scale["norm.weight"] == 0.5
    assert scale["head.weight"] == scale["head.bias"] == 1.0
    assert decay["cls_token"] == decay["norm.weight"] == decay["head.bias"] == 0.0
    assert decay["head.weight"] == 0.05


# --- weights


def test_pretrained_weights_come_by_the_packages_download(published, images):
    for name in ("t2t_vit_14.official_in1k", "t2t_vit_14"):
        equal(create(name, pretrained=True).eval()(images), published(images))
    with pytest.raises(DownloadError, match=r"81.9_T2T_ViT_19"):  # not in that folder
        create("t2t_vit_19", pretrained=True)


def test_other_classes_get_a_new_head(published, images):
    model = create(pretrained=True, num_classes=7).eval()
    assert model(images).shape == (2, 7)
    equal(model.forward_features(images), published.forward_features(images))
    assert model.load_report.initialised == ["head.weight", "head.bias"]
    equal(create(pretrained=True, num_classes=0).eval()(images), published.forward_features(images)[:, 0])


@pytest.mark.parametrize("name", ["t2t_vit_14", "t2t_vit_c_14", "t2t_vit_t_14"])
def test_a_grey_model_gives_what_the_rgb_one_gives_of_three_equal_channels(name, tmp_path, images):
    rgb = create(name, num_classes=9).eval()
    torch.save(rgb.state_dict(), tmp_path / "rgb.pth")
    overlay = {"file": str(tmp_path / "rgb.pth"), "num_classes": 9}
    grey = create(name, pretrained=True, in_chans=1, pretrained_cfg_overlay=overlay).eval()
    expected = rgb(images[:, :1].expand(-1, 3, -1, -1))
    torch.testing.assert_close(grey(images[:, :1]), expected, rtol=0, atol=1e-5)  # a sum over channels is reordered


def test_another_image_size_interpolates_the_position_table(published):
    model = create(pretrained=True, img_size=(48, 40)).eval()
    x = torch.randn(1, 3, 48, 40)
    equal(model(x), published(x))
    assert model.pos_embed.shape[1] == 1 + 6 * 5


def test_features_only_is_pretrained_too(published, images):
    model = create(pretrained=True, features_only=True, out_indices=(1,)).eval()
    equal(model(images), published.forward_intermediates(images, [1], intermediates_only=True))


def test_an_overlay_chooses_file_and_preprocessing(tmp_path, images):
    other = create("t2t_vit_t_14", num_classes=3).eval()
    torch.save({"meta": {"CLASSES": ["a", "b", "c"]}, "state_dict": to_mmpretrain(other.state_dict())}, tmp_path / "m")
    overlay = {"file": str(tmp_path / "m"), "num_classes": 3, "crop_pct": 1.0}
    model = create("t2t_vit_t_14.official_in1k", pretrained=True, pretrained_cfg_overlay=overlay).eval()
    equal(model(images), other(images))
    assert model.classes == ("a", "b", "c")
    assert model.pretrained_cfg["crop_pct"] == 1.0


def test_a_whole_cfg_or_a_state_dict_can_be_given(images):
    other = create(num_classes=3).eval()
    state = {f"module.{name}": value for name, value in other.state_dict().items()}
    cfg = PretrainedCfg(state_dict=state, num_classes=3, label_names=("x", "y", "z"))
    for given in (cfg, cfg.to_dict()):
        model = create(pretrained=True, pretrained_cfg=given).eval()
        equal(model(images), other(images))
        assert model.classes == ("x", "y", "z")


def test_an_architecture_without_weights_says_so():
    with pytest.raises(ConfigError, match="no published weights for t2t_vit_dense; use pretrained=False"):
        create("t2t_vit_dense", pretrained=True)


def test_weights_of_another_architecture_are_named(published, tmp_path):
    shutil.copy(tmp_path / FILE, tmp_path / "81.7_T2T_ViTt_14.pth.tar")
    with pytest.raises(CheckpointError, match="does not fit this model"):
        create("t2t_vit_t_14.official_in1k", pretrained=True)


def test_a_cache_folder_that_would_have_no_effect_is_said(published, tmp_path):
    with pytest.warns(UserWarning, match="set T2T_VIT_CACHE instead"):
        create(pretrained=True, cache_dir=tmp_path)


def layouts(model: nn.Module) -> dict[str, Any]:
    """What training codes and releases save of a model, by whose layout it is."""
    state, other = model.state_dict(), {name: value * 0 for name, value in model.state_dict().items()}
    return {
        "plain": state,
        "data parallel": {f"module.{name}": value for name, value in state.items()},
        "official": {"arch": "x", "state_dict": other, "state_dict_ema": state},
        "fine-tuned": {"net": state, "acc": 98.3, "epoch": 3},
        "mmpretrain": {"meta": {}, "state_dict": to_mmpretrain(state)},
        "mmengine": {"message_hub": {}, "state_dict": to_mmpretrain(state), "ema_state_dict": to_mmpretrain(other)},
        "own training": {"format": "t2t_vit.training", "model": other, "ema": state},
    }


@pytest.mark.parametrize("layout", list(layouts(create("t2t_vit_t_14"))))
def test_checkpoint_path_reads_every_layout(layout, tmp_path, images):
    model = create("t2t_vit_t_14", num_classes=5).eval()
    torch.save(layouts(model)[layout], tmp_path / "weights")
    read = create("t2t_vit_t_14", num_classes=5, checkpoint_path=str(tmp_path / "weights")).eval()
    equal(read(images), model(images))


def test_checkpoint_path_runs_nothing_and_takes_no_other_head(tmp_path):
    class Exploit:
        def __reduce__(self):
            return print, ("executed",)

    torch.save({"state_dict": create().state_dict(), "x": Exploit()}, tmp_path / "bad.pth")
    with pytest.raises(UnsafeCheckpointError):
        create(checkpoint_path=tmp_path / "bad.pth")
    torch.save(create(num_classes=3).state_dict(), tmp_path / "three.pth")
    with pytest.raises(CheckpointError, match=r"head.weight is \(3, 32\)"):
        create(num_classes=5, checkpoint_path=tmp_path / "three.pth")


def test_load_checkpoint_obeys_its_arguments(tmp_path, images):
    raw, average = create(num_classes=5).eval(), create(num_classes=5).eval()
    torch.save({"state_dict": raw.state_dict(), "state_dict_ema": average.state_dict()}, tmp_path / "both.pth")
    model = create(num_classes=5).eval()
    timm.models.load_checkpoint(model, str(tmp_path / "both.pth"), use_ema=False)
    equal(model(images), raw(images))
    timm.models.load_checkpoint(model, str(tmp_path / "both.pth"))
    equal(model(images), average(images))

    partly = {name: value for name, value in raw.state_dict().items() if not name.startswith("norm.")}
    torch.save(partly | {"more": torch.ones(1)}, tmp_path / "partly.pth")
    with pytest.raises(CheckpointError, match=r"2 missing: norm.weight, norm.bias; 1 unexpected: more"):
        timm.models.load_checkpoint(model, str(tmp_path / "partly.pth"))
    nn.init.constant_(model.norm.weight, 3.0)
    missing, _ = timm.models.load_checkpoint(model, str(tmp_path / "partly.pth"), strict=False)
    assert set(missing) == {"norm.weight", "norm.bias"}
    assert model.norm.weight.eq(3).all()  # stays as it was


def test_other_models_are_loaded_by_timm(tmp_path):
    vit = timm.create_model("test_vit", num_classes=3)
    torch.save(vit.state_dict(), tmp_path / "vit.pth")
    again = timm.create_model("test_vit", num_classes=3, checkpoint_path=str(tmp_path / "vit.pth"))
    equal(again.head.weight, vit.head.weight)


@pytest.mark.parametrize("safe", [True, False])
@pytest.mark.parametrize("name", ["t2t_vit_14", "t2t_vit_dense"])
def test_a_saved_folder_gives_the_same_model(name, safe, tmp_path, images):
    model = create(name, num_classes=4, img_size=(32, 48), global_pool="avg").eval()
    settings = {key: value for key, value in TINY.items() if key != "img_size"} | {"img_size": (32, 48)}
    depth = {"depth": (2, 2), "growth_rate": 8} if "dense" in name else {}
    args = {**settings, **depth, "global_pool": "avg"}
    save_for_hf(model, tmp_path / "m", model_args=args, safe_serialization=safe)
    again = timm.create_model(f"local-dir:{tmp_path / 'm'}", pretrained=True).eval()
    equal(again(images), model(images))
    other = timm.create_model(f"local-dir:{tmp_path / 'm'}", pretrained=True, img_size=(48, 32), num_classes=2).eval()
    tall = torch.randn(1, 3, 48, 32)  # what the rows of the table stand for is known, though they are no square
    equal(other.forward_features(tall), model.forward_features(tall))


def test_a_folder_without_weights_is_named(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "t2t_vit_14", "pretrained_cfg": {}}))
    with pytest.raises(CheckpointError, match=r"has no weights file; expected one of model.safetensors"):
        timm.create_model(f"local-dir:{tmp_path}", pretrained=True)


def test_a_hub_repository_gives_the_same_model(tmp_path, monkeypatch, images):
    model = create(num_classes=4).eval()
    snapshot = tmp_path / "models--somebody--tiny" / "snapshots" / ("0" * 40)
    save_for_hf(model, snapshot, model_args=TINY, safe_serialization=True)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("0" * 40)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    found = timm.create_model("hf-hub:somebody/tiny", pretrained=True, cache_dir=tmp_path).eval()
    equal(found(images), model(images))
    (snapshot / "model.safetensors").unlink()
    with pytest.raises(DownloadError, match=r"somebody/tiny .* has no model.safetensors or pytorch_model.bin"):
        timm.create_model("hf-hub:somebody/tiny", pretrained=True, cache_dir=tmp_path)


def test_what_was_not_taken_as_it_is_is_logged(published, caplog):
    with caplog.at_level(logging.WARNING):
        create(pretrained=True, num_classes=7)
    assert "newly initialised (head.weight, head.bias)" in caplog.text


# --- preprocessing


@pytest.mark.parametrize("name", [weights.full_name for weights in CATALOGUE.values()])
def test_timm_prepares_images_as_this_package_does(name):
    from PIL import Image

    from t2t_vit.data.preprocess import Preprocess
    from t2t_vit.hub import find_experiment, preprocessing_of

    pixels = torch.randint(0, 256, (301, 400, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    image = Image.fromarray(pixels.numpy())
    config = resolve_data_config(model=timm.create_model(name, device="meta"))
    theirs = create_transform(**config)(image)
    expected = Preprocess(**preprocessing_of(find_experiment(name)))(image)
    torch.testing.assert_close(theirs, expected, rtol=0, atol=1e-6)


# --- tracing


@pytest.mark.parametrize("name", KINDS)
def test_a_graph_of_torch_fx_gives_the_same_at_any_size(name):
    model = create(name).eval()
    graph = timm.models.GraphExtractNet(model, ["norm"], return_dict=False)
    for size in ((32, 32), (41, 58)):
        x = torch.randn(1, 3, *size)
        equal(graph(x), model.forward_features(x))


@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")
@pytest.mark.parametrize("name", KINDS)
def test_a_scripted_model_gives_the_same_at_any_size(name, tmp_path):
    model = create(name).eval()
    before = list(model.state_dict())
    torch.jit.script(model).save(tmp_path / "scripted.pt")
    scripted = torch.jit.load(tmp_path / "scripted.pt")
    for size in ((32, 32), (41, 58)):
        x = torch.randn(3, 3, *size)
        torch.testing.assert_close(scripted(x), model(x))
    assert list(model.state_dict()) == before
    with pytest.raises(ConfigError, match=r"in eval mode; call model.eval\(\) first"):
        torch.jit.script(model.train())


@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")
def test_a_model_of_one_size_is_traced_and_scripted_like_others(images):
    model = create(dynamic_img_size=False).eval()
    equal(timm.models.GraphExtractNet(model, ["norm"], return_dict=False)(images), model.forward_features(images))
    torch.testing.assert_close(torch.jit.script(model)(images), model(images))
    scripted = torch.jit.script(timm.models.create_feature_extractor(model, ["norm"]))
    torch.testing.assert_close(scripted(images)["norm"], model.forward_features(images))


@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")
@pytest.mark.parametrize("name", KINDS)
def test_a_scripted_graph_gives_the_same_at_any_size(name):
    model = create(name, drop_path_rate=0.1).eval()
    scripted = torch.jit.script(timm.models.create_feature_extractor(model, ["norm"]))
    for size in ((32, 32), (41, 58)):
        x = torch.randn(3, 3, *size)
        torch.testing.assert_close(scripted(x)["norm"], model.forward_features(x))


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("t2t_vit_14.official_in1k_384", {}),
        ("t2t_vit_14.official_cifar10", {}),
        ("t2t_vit_14.official_in1k", {"in_chans": 1, "img_size": (160, 256)}),
        ("t2t_vit_dense", {}),
    ],
)
def test_our_inferencer_prepares_images_as_for_our_own_model(name, settings):
    model = timm.create_model(name, **settings)
    assert model.preprocessing == get_model(name, **settings).preprocessing


def test_another_input_size_has_a_preprocessing_of_its_own():
    model = timm.create_model("t2t_vit_7")
    model.set_input_size(384)
    assert (model.preprocessing["img_size"], model.preprocessing["resize"]) == ((384, 384), 426)
    overlaid = timm.create_model("t2t_vit_7", pretrained_cfg_overlay={"crop_mode": "border"})
    assert overlaid.preprocessing is None


def test_a_file_with_other_classes_is_not_called_another_architecture(tmp_path):
    torch.save(get_model("t2t_vit_7", num_classes=5).state_dict(), tmp_path / "five.pth")
    with pytest.raises(CheckpointError, match=r"does not fit t2t_vit_7.*give num_classes") as error:
        timm.create_model("t2t_vit_7", checkpoint_path=tmp_path / "five.pth")
    assert "This is" not in str(error.value)
    torch.save(get_model("t2t_vit_10").state_dict(), tmp_path / "ten.pth")
    with pytest.raises(CheckpointError, match="This is t2t_vit_10: use that"):
        timm.create_model("t2t_vit_7", checkpoint_path=tmp_path / "ten.pth")


def test_weights_can_be_drawn_anew():
    model = timm.create_model("t2t_vit_7", **TINY)
    before = model.head.weight.clone()
    model.init_weights()
    assert not torch.equal(model.head.weight, before)


def test_there_are_no_patches_to_size():
    model = timm.create_model("t2t_vit_7")
    model.set_input_size(img_size=192, patch_size=None)
    assert model.img_size == (192, 192)
    with pytest.raises(ConfigError, match="soft splits, not patches"):
        model.set_input_size(patch_size=(8, 8))


def test_default_precision_may_be_half():
    torch.set_default_dtype(torch.bfloat16)
    try:
        model = timm.create_model("t2t_vit_7")
    finally:
        torch.set_default_dtype(torch.float32)
    assert {value.dtype for value in model.state_dict().values()} == {torch.bfloat16}
