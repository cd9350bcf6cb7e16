"""`get_model` by every kind of name, with our settings and MMPretrain's."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from t2t_vit import Experiment, get_model
from t2t_vit.config import Model, Preprocessing, load_experiment
from t2t_vit.errors import CheckpointError, ConfigError, DeviceError, UnknownModelError
from t2t_vit.hub.published import published_weights
from t2t_vit.models.token_performer import TokenPerformer
from t2t_vit.models.token_transformer import TokenTransformer

CONFIG = Path(__file__).parents[2] / "configs" / "t2t_vit" / "t2t-vit-t-14_8xb64_in1k.py"


@pytest.mark.parametrize(
    "model",
    [
        "t2t_vit_t_14",
        "t2t-vit-t-14_8xb64_in1k",
        "t2t-vit-t-14_8xb64_in1k.py",
        "configs/t2t_vit/t2t-vit-t-14_8xb64_in1k.py",
        str(CONFIG),
        CONFIG,
        Experiment(model=Model(name="t2t_vit_t_14")),
        load_experiment("t2t-vit-t-14_8xb64_in1k"),
    ],
    ids=["architecture", "config name", "file name", "MMPretrain's path", "path", "Path", "Experiment", "its config"],
)
def test_a_model_is_a_name_a_config_or_an_experiment(model, tiny, images, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # names work from anywhere

    network = get_model(model, **tiny)

    assert not network.training
    assert network(images).shape == (2, 1000)


def test_a_model_is_a_stored_experiment(tiny, tmp_path):
    from t2t_vit.config import experiment_to_json

    stored = tmp_path / "experiment.json"
    stored.write_text(experiment_to_json(Experiment(model=Model(**tiny, num_classes=3))), encoding="utf-8")

    assert get_model(stored).num_classes == 3


@pytest.mark.parametrize("name", ["t2t-vit-t14", "t2t_vit_t14", "T2T-ViT-t-14_8xb64_in1k"])
def test_an_unknown_name_is_told_with_the_nearest_ones(name):
    with pytest.raises(UnknownModelError, match=rf"unknown model '{name}'\. Did you mean 't2t") as error:
        get_model(name)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 200


def test_a_config_that_is_not_there_is_told():
    with pytest.raises(ConfigError, match=r"'nowhere/mine\.py' is neither a file nor a shipped config"):
        get_model("nowhere/mine.py")


@pytest.mark.parametrize("model", [None, 14, {"type": "ImageClassifier"}])
def test_what_is_no_model_is_refused(model):
    with pytest.raises(UnknownModelError, match="a name, a config file or an Experiment"):
        get_model(model)


def test_our_settings_reach_the_model(tiny):
    model = get_model(
        "t2t_vit_t_14",
        **{**tiny, "img_size": (32, 48), "in_chans": 1, "num_classes": 7, "depth": 3, "drop_path_rate": 0.2},
        out_type="featmap",
        out_indices=(0, 2),
    )

    assert (model.num_classes, model.img_size, len(model.blocks)) == (7, (32, 48), 3)
    assert [round(block.drop_path.rate, 6) for block in model.blocks] == [0.0, 0.1, 0.2]
    features = model.extract_feat(torch.zeros(1, 1, 32, 48))
    assert [tuple(f.shape) for f in features] == [(1, 24, 4, 6)] * 2


def test_mean_and_std_follow_the_number_of_channels(tiny):
    assert get_model("t2t_vit_t_14", **tiny).preprocessing["mean"] == Preprocessing().mean
    grey = get_model("t2t_vit_t_14", **tiny, in_chans=1).preprocessing
    assert (len(grey["mean"]), len(grey["std"])) == (1, 1)
    assert grey["mean"][0] == pytest.approx(sum(Preprocessing().mean) / 3)


MMPRETRAIN_BACKBONE = {
    "type": "T2T_ViT",
    "img_size": 32,
    "in_channels": 3,
    "embed_dims": 24,
    "t2t_cfg": {"token_dims": 8, "use_performer": False},
    "num_layers": 2,
    "layer_cfgs": {"num_heads": 2, "feedforward_channels": 61, "qkv_bias": False},
    "norm_cfg": {"type": "LN", "eps": 1e-5},
    "final_norm": True,
    "with_cls_token": True,
    "interpolate_mode": "bicubic",
    "drop_rate": 0.0,
    "drop_path_rate": 0.1,
    "out_type": "raw",
    "out_indices": [0, -1],
    "init_cfg": [{"type": "TruncNormal", "layer": "Linear", "std": 0.02}],
}
MMPRETRAIN_HEAD = {
    "type": "VisionTransformerClsHead",
    "num_classes": 7,
    "in_channels": 24,
    "loss": {"type": "LabelSmoothLoss", "label_smooth_val": 0.1, "mode": "original"},
    "topk": (1, 5),
}


def test_mmpretrains_whole_config_is_understood(tiny, images):
    model = get_model(
        "t2t-vit-t-14_8xb64_in1k",
        soft_splits=tiny["soft_splits"],
        backbone=MMPRETRAIN_BACKBONE,
        neck=None,
        head=MMPRETRAIN_HEAD,
    )

    assert model(images).shape == (2, 7)
    assert model.blocks[0].mlp.fc1.out_features == 61
    assert model.tokens_to_token.project.in_features == 8 * 9
    assert [tuple(f.shape) for f in model.extract_feat(images)] == [(2, 17, 24)] * 2


@pytest.mark.parametrize(
    ("name", "t2t_cfg", "is_performer"),
    [
        ("t2t_vit_14", {"use_performer": False}, False),
        ("t2t_vit_t_14", {"use_performer": True}, True),
        ("t2t_vit_14", {"token_dims": 8}, True),
        ("t2t_vit_t_14", {"token_dims": 8}, False),
        ("t2t_vit_c_14", {"use_performer": False}, False),
    ],
)
def test_mmpretrain_says_whether_performers_make_the_tokens(name, t2t_cfg, is_performer, tiny):
    layer = get_model(name, **tiny, backbone={"t2t_cfg": t2t_cfg}).tokens_to_token.attention1

    assert isinstance(layer, TokenPerformer if is_performer else TokenTransformer)


def test_what_an_architecture_has_anyway_may_be_said_of_published_weights():
    said = Experiment(model=Model(name="t2t_vit_t_14", tokens="transformer", embed_dim=384))
    other = Experiment(model=Model(name="t2t_vit_14", tokens="transformer"))

    assert published_weights("t2t_vit_t_14", said) == published_weights("t2t_vit_t_14", Experiment())
    with pytest.raises(ConfigError, match="there are no published weights for 't2t_vit_14'"):
        published_weights("t2t_vit_14", other)


@pytest.mark.parametrize(
    ("out_type", "shape"),
    [("cls_token", (2, 24)), ("featmap", (2, 24, 4, 4)), ("avg_featmap", (2, 24)), ("raw", (2, 17, 24))],
)
def test_features_have_the_form_that_the_backbone_is_asked_for(out_type, shape, tiny, images):
    model = get_model("t2t-vit-t-14_8xb64_in1k", **tiny, backbone={"out_type": out_type}, head=None)

    features = model.extract_feat(images)

    assert isinstance(features, tuple)
    assert [tuple(f.shape) for f in features] == [shape]
    assert model(images).shape == (2, 24)  # there is no head


@pytest.mark.parametrize("weightless", [{"head": None}, {"num_classes": 0}])
def test_without_a_head_what_would_go_into_it_comes_out(weightless, tiny, images):
    model = get_model("t2t_vit_t_14", **tiny, **weightless)

    assert model.num_classes == 0
    assert torch.equal(model(images), model.extract_feat(images, stage="pre_logits"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pretraned": True}, "get_model has no argument 'pretraned'"),
        ({"num_clases": 3}, "Did you mean 'num_classes'"),
        ({"num_classes": -1}, "num_classes is -1"),
        ({"num_classes": "ten"}, "num_classes is 'ten'"),
        ({"img_size": 0}, "img_size"),
        ({"drop_path_rate": 1.5}, "drop_path_rate is 1.5"),
        ({"embed_dim": 25}, "embed_dim 25 is not a multiple of num_heads 2"),
        ({"name": "t2t_vit_t_19"}, "get_model has no argument 'name'"),
        ({"device_map": "auto"}, "device_map is 'auto'; a T2T-ViT fits on one device"),
        ({"out_type": "feat"}, "out_type is 'feat'"),
        ({"out_indices": [4]}, "out_indices has 4"),
        ({"backbone": 3}, "backbone is 3; expected a dict"),
        ({"backbone": {"out_typ": "raw"}}, "backbone has no setting 'out_typ'. Did you mean 'out_type'"),
        ({"backbone": {"norm_cfg": {"type": "LN", "eps": 1e-6}}}, "eps is 1e-06; only 1e-05"),
        ({"backbone": {"with_cls_token": False}}, "with_cls_token is False"),
        ({"backbone": {"layer_cfgs": {"feedforward_channels": 9}}}, "with embed_dims beside it"),
        ({"head": {"num_class": 3}}, "Did you mean 'num_classes'"),
        ({"neck": {"type": "GlobalAveragePooling"}}, "get_model has no argument 'neck'"),
    ],
    ids=str,
)
def test_a_wrong_setting_is_refused_in_one_line(settings, message, tiny):
    with pytest.raises(ConfigError) as error:
        get_model("t2t-vit-t-14_8xb64_in1k", **{**tiny, **settings})
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("device", ["gpu", "cuda:99", object()], ids=["gpu", "cuda:99", "object"])
def test_a_device_that_is_not_there_is_told(device, tiny):
    with pytest.raises(DeviceError, match=r"cannot be used here .*try 'cpu' or 'auto'"):
        get_model("t2t_vit_t_14", device=device, **tiny)


@pytest.mark.parametrize("device", [None, "cpu", "auto", torch.device("cpu")])
def test_the_device_can_be_said_in_every_way(device, tiny):
    assert isinstance(get_model("t2t_vit_t_14", device=device, **tiny).cls_token.device, torch.device)


@pytest.mark.parametrize("location", ["~nobody-of-that-name/x.pth", "~x.pth"])
def test_a_home_that_is_none_is_a_name_like_any_other(location):
    with pytest.raises(CheckpointError, match=r"x\.pth"):
        get_model("t2t_vit_7", pretrained=location)


def test_empty_weights_are_none_at_all():
    with pytest.raises(ConfigError, match="pretrained is an empty text"):
        get_model("t2t_vit_7", pretrained="")


@pytest.mark.parametrize("size", [96, (64, 48)])
@pytest.mark.parametrize(("crop_pct", "crop_mode"), [(0.9, "center"), (0.9, "squash"), (1.0, "center")])
def test_preprocessing_follows_the_input_size_as_if_it_had_been_asked_for(size, crop_pct, crop_mode, tiny):
    preprocessing = Preprocessing(crop_pct=crop_pct, crop_mode=crop_mode, interpolation="bilinear")
    experiment = Experiment(model=Model(**tiny), preprocessing=preprocessing)
    model = get_model(experiment)
    before = dict(model.preprocessing)

    model.set_input_size(size)

    assert model.preprocessing == get_model(experiment, img_size=size).preprocessing
    model.set_input_size(32)
    assert model.preprocessing == before
