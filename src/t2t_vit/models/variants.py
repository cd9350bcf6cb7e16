"""The named architectures of the paper and the official code.

Source: paper table 2; official code, ``models/t2t_vit.py``.
"""

from __future__ import annotations

from typing import Any

from t2t_vit.errors import ConfigError, UnknownModelError, nearest
from t2t_vit.models.t2t_vit import T2TViT

#: What each architecture sets; everything else is T2TViT's default.
VARIANTS: dict[str, dict[str, Any]] = {
    "t2t_vit_7": {"tokens": "performer", "embed_dim": 256, "depth": 7, "num_heads": 4, "mlp_ratio": 2.0},
    "t2t_vit_10": {"tokens": "performer", "embed_dim": 256, "depth": 10, "num_heads": 4, "mlp_ratio": 2.0},
    "t2t_vit_12": {"tokens": "performer", "embed_dim": 256, "depth": 12, "num_heads": 4, "mlp_ratio": 2.0},
    "t2t_vit_14": {"tokens": "performer", "embed_dim": 384, "depth": 14, "num_heads": 6, "mlp_ratio": 3.0},
    "t2t_vit_19": {"tokens": "performer", "embed_dim": 448, "depth": 19, "num_heads": 7, "mlp_ratio": 3.0},
    "t2t_vit_24": {"tokens": "performer", "embed_dim": 512, "depth": 24, "num_heads": 8, "mlp_ratio": 3.0},
    "t2t_vit_t_14": {"embed_dim": 384, "depth": 14, "num_heads": 6, "mlp_ratio": 3.0},
    "t2t_vit_t_19": {"embed_dim": 448, "depth": 19, "num_heads": 7, "mlp_ratio": 3.0},
    "t2t_vit_t_24": {"embed_dim": 512, "depth": 24, "num_heads": 8, "mlp_ratio": 3.0},
    # The designs that the paper tries on the encoder (section 3.2) ...
    "t2t_vit_14_resnext": {"tokens": "performer", "embed_dim": 384, "depth": 14, "num_heads": 32, "mlp_ratio": 3.0},
    "t2t_vit_14_wide": {"tokens": "performer", "embed_dim": 768, "depth": 4, "num_heads": 12, "mlp_ratio": 3.0},
    "t2t_vit_14_se": {
        "tokens": "performer",
        "stack": "se",
        "embed_dim": 384,
        "depth": 14,
        "num_heads": 6,
        "mlp_ratio": 3.0,
    },
    "t2t_vit_16_ghost": {
        "tokens": "performer",
        "stack": "ghost",
        "embed_dim": 384,
        "depth": 16,
        "num_heads": 6,
        "mlp_ratio": 3.0,
    },
    "t2t_vit_dense": {
        "tokens": "performer",
        "stack": "dense",
        "embed_dim": 128,
        "depth": (3, 6, 6, 4),
        "growth_rate": 64,
        "num_heads": 8,
        "mlp_ratio": 2.0,
    },
    # ... and on the tokens (table 7).
    "t2t_vit_c_14": {"tokens": "convolution", "embed_dim": 384, "depth": 14, "num_heads": 6, "mlp_ratio": 3.0},
}


def variant_names() -> list[str]:
    """Return the names that `create_model` knows, in the paper's order."""
    return list(VARIANTS)


def create_model(name: str, **overrides: Any) -> T2TViT:
    """Return the architecture `name` with freshly drawn weights.

    Args:
        name: One of `variant_names()`.
        overrides: Arguments of `T2TViT`, over the architecture's own.

    Raises:
        UnknownModelError: There is no such architecture.
        ConfigError: An override is unknown or out of its range.
    """
    if name not in VARIANTS:
        raise UnknownModelError(
            f"unknown architecture {name!r}; known: {', '.join(VARIANTS)}.{nearest(name, VARIANTS)}"
        )
    known = T2TViT.__init__.__annotations__.keys() - {"return"}
    for key in overrides.keys() - known:
        raise ConfigError(f"{name} has no argument {key!r}.{nearest(key, known)} Known: {', '.join(sorted(known))}")
    return T2TViT(**{**VARIANTS[name], **overrides})
