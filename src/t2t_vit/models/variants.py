"""The named architectures of the paper and the official code.

Source: paper table 2; official code, ``models/t2t_vit.py``.
"""

from __future__ import annotations

from typing import Any

from t2t_vit.errors import ConfigError, UnknownModelError, nearest
from t2t_vit.models.t2t_vit import T2TViT

#: What each architecture sets; everything else is T2TViT's default.
VARIANTS: dict[str, dict[str, Any]] = {
    "t2t_vit_t_14": {"embed_dim": 384, "depth": 14, "num_heads": 6, "mlp_ratio": 3.0},
    "t2t_vit_t_19": {"embed_dim": 448, "depth": 19, "num_heads": 7, "mlp_ratio": 3.0},
    "t2t_vit_t_24": {"embed_dim": 512, "depth": 24, "num_heads": 8, "mlp_ratio": 3.0},
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
