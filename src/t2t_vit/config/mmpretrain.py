"""How MMPretrain names what is set here under another name.

Source: MMPretrain 1.2.0, `configs/_base_` and `models/backbones/t2t_vit.py`.
"""

from __future__ import annotations

import math
from typing import Any

from t2t_vit.errors import ConfigError, nearest

#: MMPretrain's dotted name to ours.
DOTTED_NAMES = {
    "model.backbone.img_size": "model.img_size",
    "model.backbone.in_channels": "model.in_chans",
    "model.backbone.embed_dims": "model.embed_dim",
    "model.backbone.num_layers": "model.depth",
    "model.backbone.drop_rate": "model.drop_rate",
    "model.backbone.drop_path_rate": "model.drop_path_rate",
    "model.backbone.t2t_cfg.token_dims": "model.token_dim",
    "model.backbone.layer_cfgs.num_heads": "model.num_heads",
    "model.head.num_classes": "model.num_classes",
    "model.head.loss.label_smooth_val": "runtime.label_smoothing",
    "train_dataloader.batch_size": "data.batch_size",
    "train_dataloader.num_workers": "data.num_workers",
    "train_dataloader.pin_memory": "data.pin_memory",
    "train_dataloader.persistent_workers": "data.persistent_workers",
    "train_dataloader.dataset.data_root": "data.root",
    "optim_wrapper.optimizer.lr": "optimizer.lr",
    "optim_wrapper.optimizer.weight_decay": "optimizer.weight_decay",
    "optim_wrapper.optimizer.betas": "optimizer.betas",
    "optim_wrapper.optimizer.eps": "optimizer.eps",
    "optim_wrapper.clip_grad.max_norm": "optimizer.clip_grad_norm",
    "auto_scale_lr.enable": "optimizer.auto_scale_lr",
    "auto_scale_lr.base_batch_size": "optimizer.base_batch_size",
    "train_cfg.max_epochs": "schedule.epochs",
    "randomness.seed": "runtime.seed",
    "default_hooks.logger.interval": "runtime.log_interval",
    "default_hooks.checkpoint.interval": "runtime.checkpoint_interval",
    "default_hooks.checkpoint.max_keep_ckpts": "runtime.keep_checkpoints",
    "load_from": "model.pretrained",
}


def model_settings(part: str, values: dict[str, Any]) -> dict[str, Any]:
    """Return MMPretrain's ``backbone=dict(...)`` or ``head=dict(...)`` under our names.

    What has the same name here is kept: ``out_type`` and ``out_indices``.

    Args:
        part: `backbone` or `head`.
        values: What the dict holds; dicts in it are followed.

    Raises:
        ConfigError: There is nothing here for one of the keys.
    """
    settings: dict[str, Any] = {}
    for dotted, value in _flat(f"model.{part}", values):
        name = dotted.rpartition(".")[2]
        if name in ("out_type", "out_indices"):
            settings[name] = value
        elif name == "feedforward_channels":
            settings["mlp_ratio"] = _mlp_ratio(value, values.get("embed_dims"))
        elif dotted in DOTTED_NAMES and DOTTED_NAMES[dotted].startswith("model."):
            settings[DOTTED_NAMES[dotted].removeprefix("model.")] = value
        elif name in _FIXED:
            if value != _FIXED[name]:
                raise ConfigError(f"{part}: {name} is {value!r}; only {_FIXED[name]!r} can be had here")
        elif name not in _SETTLED:
            known = {key.rpartition(".")[2] for key in DOTTED_NAMES if key.startswith(f"model.{part}.")}
            known |= {"out_type", "out_indices", "feedforward_channels"} if part == "backbone" else set()
            raise ConfigError(
                f"{part} has no setting {name!r}.{nearest(name, known)} Known: {', '.join(sorted(known))}"
            )
    return settings


#: What follows from the rest here without being said: types, first weights, the head's width, loss and top-k.
_SETTLED = {"type", "init_cfg", "in_channels", "topk", "label_smooth_val", "mode"}

#: What can be said as long as it says this.
_FIXED = {
    "use_performer": False,
    "with_cls_token": True,
    "final_norm": True,
    "qkv_bias": False,
    "interpolate_mode": "bicubic",
    "eps": 1e-5,
}


def _mlp_ratio(hidden_dim: Any, embed_dim: Any) -> Any:
    """Return the ratio that makes an encoder MLP `hidden_dim` wide."""
    if not isinstance(hidden_dim, int) or not isinstance(embed_dim, int) or embed_dim < 1:
        raise ConfigError("backbone: feedforward_channels is a number with embed_dims beside it; or give mlp_ratio")
    ratio = hidden_dim / embed_dim
    return ratio if int(embed_dim * ratio) == hidden_dim else math.nextafter(ratio, math.inf)


def _flat(prefix: str, values: dict[str, Any]) -> list[tuple[str, Any]]:
    flat: list[tuple[str, Any]] = []
    for key, value in values.items():
        dotted = f"{prefix}.{key}"
        flat += _flat(dotted, value) if isinstance(value, dict) else [(dotted, value)]
    return flat
