"""MMPretrain's ``backbone=dict(...)`` and ``head=dict(...)`` under our names.

Source: MMPretrain 1.2.0, `models/backbones/t2t_vit.py`, `models/heads/vision_transformer_head.py`.
"""

from __future__ import annotations

import math
from typing import Any

from t2t_vit.errors import ConfigError, nearest

#: The architectures by what MMPretrain writes out: width, layers, heads, hidden width of the MLP.
ARCHITECTURES = {
    (256, 7, 4, 512): "7",
    (256, 10, 4, 512): "10",
    (256, 12, 4, 512): "12",
    (384, 14, 6, 1152): "14",
    (448, 19, 7, 1344): "19",
    (512, 24, 8, 1536): "24",
    (384, 14, 32, 1152): "14_resnext",
    (768, 4, 12, 2304): "14_wide",
}

_TYPES = {"backbone": "T2T_ViT", "head": "VisionTransformerClsHead"}

#: What has a name of its own here.
_NAMES = {
    "backbone": {
        "img_size": "img_size",
        "in_channels": "in_chans",
        "embed_dims": "embed_dim",
        "num_layers": "depth",
        "drop_rate": "drop_rate",
        "drop_path_rate": "drop_path_rate",
        "t2t_cfg.token_dims": "token_dim",
        "layer_cfgs.num_heads": "num_heads",
        "out_type": "out_type",
        "out_indices": "out_indices",
    },
    "head": {"num_classes": "num_classes"},
}

#: What can be said as long as it says this.
_FIXED: dict[str, Any] = {
    "with_cls_token": True,
    "final_norm": True,
    "interpolate_mode": "bicubic",
    "norm_cfg.type": "LN",
    "norm_cfg.eps": 1e-5,
    "layer_cfgs.norm_cfg.type": "LN",
    "layer_cfgs.norm_cfg.eps": 1e-5,
    "layer_cfgs.act_cfg.type": "GELU",
    "layer_cfgs.qkv_bias": False,
    "layer_cfgs.qk_scale": None,
    "layer_cfgs.num_fcs": 2,
    "layer_cfgs.drop_rate": 0.0,
    "layer_cfgs.attn_drop_rate": 0.0,
    "layer_cfgs.drop_path_rate": 0.0,
}

#: What follows from the rest here without being said: first weights, the head's width, loss and top-k.
_SETTLED = {"type", "init_cfg", "topk", "cal_acc", "loss"}


def model_settings(part: str, values: dict[str, Any]) -> dict[str, Any]:
    """Return MMPretrain's ``backbone=dict(...)`` or ``head=dict(...)`` under our names.

    What has the same name here is kept: ``out_type`` and ``out_indices``.

    Args:
        part: `backbone` or `head`.
        values: What the dict holds; dicts in it are followed.

    Raises:
        ConfigError: There is nothing here for one of the keys, or for the type.
    """
    settings: dict[str, Any] = {}
    names = _NAMES[part]
    kind = str(values.get("type", _TYPES[part])).rpartition(".")[2]
    if kind != _TYPES[part]:
        raise ConfigError(f"{part}: the type {values['type']!r} is not supported here. Supported: {_TYPES[part]}")
    for name, value in _flat(values):
        if name in names:
            settings[names[name]] = value
        elif name == "t2t_cfg.use_performer":
            settings["tokens"] = "performer" if value else "transformer"
        elif name == "layer_cfgs.feedforward_channels":
            settings["mlp_ratio"] = mlp_ratio(value, values.get("embed_dims"))
        elif name in _FIXED:
            if value != _FIXED[name]:
                raise ConfigError(f"{part}: {name} is {value!r}; only {_FIXED[name]!r} can be had here")
        elif name not in _SETTLED and not (part == "head" and name == "in_channels"):
            known = [*names, *(["layer_cfgs.feedforward_channels", *_FIXED] if part == "backbone" else [])]
            word = name.rpartition(".")[2]
            raise ConfigError(
                f"{part} has no setting {word!r}.{nearest(word, [k.rpartition('.')[2] for k in known])} "
                f"Known: {', '.join(sorted(known))}"
            )
    return settings


def mlp_ratio(hidden_dim: Any, embed_dim: Any) -> float:
    """Return the ratio that makes an encoder MLP `hidden_dim` wide.

    Raises:
        ConfigError: One of them is no count.
    """
    if not isinstance(hidden_dim, int) or not isinstance(embed_dim, int) or embed_dim < 1:
        raise ConfigError("backbone: feedforward_channels is a number with embed_dims beside it; or give mlp_ratio")
    ratio = hidden_dim / embed_dim
    return ratio if int(embed_dim * ratio) == hidden_dim else math.nextafter(ratio, math.inf)


def _flat(values: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Return `values` by dotted names; what is settled is not opened."""
    flat: list[tuple[str, Any]] = []
    for key, value in values.items():
        dotted = f"{prefix}{key}"
        opened = isinstance(value, dict) and dotted not in _SETTLED
        flat += _flat(value, f"{dotted}.") if opened else [(dotted, value)]
    return flat
