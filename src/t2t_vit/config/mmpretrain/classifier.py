"""MMPretrain's ``model = dict(type='ImageClassifier', ...)``: network, loss, Mixup.

Source: MMPretrain 1.2.0, `models/classifiers/image.py`, `models/losses`, `models/utils/batch_augments`.
"""

from __future__ import annotations

from typing import Any

from t2t_vit.config.mmpretrain.model import ARCHITECTURES, model_settings
from t2t_vit.config.mmpretrain.section import Section
from t2t_vit.errors import ConfigError

#: What the backbone has where a config says nothing; 14 layers of width 384 are t-14's.
_DEFAULTS: dict[str, Any] = {
    "img_size": 224,
    "in_channels": 3,
    "embed_dims": 384,
    "num_layers": 14,
    "drop_rate": 0.0,
    "drop_path_rate": 0.0,
}


def network(model: Section) -> dict[str, Any]:
    """Return our `model` settings.

    Raises:
        ConfigError: It is another network, or has what cannot be had here.
    """
    model.type_in(["ImageClassifier"], "ImageClassifier")
    model.expect("neck", None)
    backbone, head = model.take("backbone"), model.take("head")
    for name, value in (("backbone", backbone), ("head", head)):
        if not isinstance(value, dict):
            raise ConfigError(f"model.{name} is {value!r}; expected a dict with a type")
    settings = _architecture({**_DEFAULTS, **backbone})
    for name, default in (("out_type", "cls_token"), ("out_indices", -1)):
        if settings.pop(name, default) != default:
            model.note(f"backbone.{name} is for feature extraction: give it to get_model")
    settings |= model_settings("head", head)
    settings["pretrained"] = _starting_weights(model, backbone)
    return settings


def mixing(model: Section) -> dict[str, Any]:
    """Return our `mixup` and `cutmix`."""
    alphas = {"Mixup": 0.0, "CutMix": 0.0}
    train_cfg = model.section("train_cfg")
    if train_cfg is not None:
        augments = train_cfg.sections("augments")
        for augment in augments:
            kind = augment.type_in(alphas)
            alphas[kind] = augment.number("alpha")
            augment.expect("cutmix_minmax", None)
            augment.skip("correct_lam")
            augment.close()
        probs = train_cfg.take("probs")
        if probs is not None and (len(set(probs)) > 1 or abs(sum(probs) - 1) > 1e-6):
            raise ConfigError(f"{train_cfg.where}.probs is {probs!r}; each batch is mixed here, evenly by each kind")
        train_cfg.close()
    return {"mixup": alphas["Mixup"], "cutmix": alphas["CutMix"]}


def label_smoothing(model: Section) -> float:
    """Return the label smoothing of the head's loss."""
    head = model.section("head")
    loss = head.section("loss") if head is not None else None
    if loss is None:
        return 0.0
    smoothing = 0.0
    if loss.type_in(["LabelSmoothLoss", "CrossEntropyLoss"], "CrossEntropyLoss") == "LabelSmoothLoss":
        smoothing = loss.number("label_smooth_val")
        loss.expect("mode", "original")
        loss.skip("num_classes")
    loss.expect("use_sigmoid", False)
    loss.expect("reduction", "mean")
    loss.expect("class_weight", None)
    loss.expect("loss_weight", 1.0)
    loss.skip("use_soft")
    loss.close()
    return smoothing


def _architecture(backbone: dict[str, Any]) -> dict[str, Any]:
    """Return the named architecture of `backbone`, and what it has otherwise."""
    layers = backbone.get("layer_cfgs")
    if not isinstance(layers, dict) or not {"num_heads", "feedforward_channels"} <= layers.keys():
        raise ConfigError("model.backbone.layer_cfgs lacks num_heads or feedforward_channels; expected both")
    settings = model_settings("backbone", backbone)
    sizes = (
        backbone["embed_dims"],
        backbone["num_layers"],
        layers["num_heads"],
        layers["feedforward_channels"],
    )
    size = ARCHITECTURES.get(sizes)
    performer = settings.pop("tokens", None) == "performer"
    if size is not None:
        for name in ("embed_dim", "depth", "num_heads", "mlp_ratio"):
            del settings[name]
    if settings.get("token_dim") == 64:
        del settings["token_dim"]
    if performer:
        return {"name": f"t2t_vit_{size or '14'}", **settings}
    if size in ("14", "19", "24", None):
        return {"name": f"t2t_vit_t_{size or '14'}", **settings}
    return {"name": f"t2t_vit_{size}", "tokens": "transformer", **settings}


def _starting_weights(model: Section, backbone: dict[str, Any]) -> str | None:
    """Return the checkpoint that `init_cfg` of the model or the backbone names."""
    found = None
    for where, init in (("model", model.take("init_cfg")), ("model.backbone", backbone.get("init_cfg"))):
        for one in init if isinstance(init, list | tuple) else [init]:
            if isinstance(one, dict) and str(one.get("type")).rpartition(".")[2] == "Pretrained":
                found = one.get("checkpoint")
                if not isinstance(found, str):
                    raise ConfigError(f"{where}.init_cfg.checkpoint is {found!r}; expected a path or URL")
    return found
