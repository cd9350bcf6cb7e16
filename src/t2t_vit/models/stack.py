"""The stacks of encoder layers that the paper compares.

Source: paper section 3.2 and table 2; official code, ``models/``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import nn

from t2t_vit.errors import ConfigError
from t2t_vit.models.dense import DenseBlock, Transition
from t2t_vit.models.encoder import Attention, Block, Mlp
from t2t_vit.models.ghost import GhostAttention, GhostMlp
from t2t_vit.models.squeeze_excitation import REDUCTION, ExcitedAttention

#: Over how many steps the official code's drop-path rate of dense groups rises, of which it uses the first few.
_DENSE_RATE_STEPS = 12


Layer = Block | Transition


@dataclass(frozen=True)
class StackSettings:
    """What a stack is made of.

    Attributes:
        dim: Width D of what comes in.
        depth: Layers, or the layers of each group of a dense stack.
        num_heads: Heads of an attention.
        mlp_ratio: Hidden width of an MLP over its own.
        drop_path_rate: Of the last layer; it rises linearly from 0 at the first.
        growth_rate: Channels that a dense layer appends.
    """

    dim: int
    depth: int | Sequence[int]
    num_heads: int
    mlp_ratio: float
    drop_path_rate: float
    growth_rate: int


def plain(settings: StackSettings) -> list[Layer]:
    """Return pre-norm transformer layers."""
    return _stack(settings, Attention)


def squeeze_excitation(settings: StackSettings) -> list[Layer]:
    """Return layers whose attention is followed by squeeze-and-excitation.

    Raises:
        ConfigError: The width is so small that nothing is left when it is squeezed.
    """
    if settings.dim < REDUCTION:
        raise ConfigError(
            f"embed_dim is {settings.dim}; squeeze-and-excitation divides it by {REDUCTION}, so expected "
            f"{REDUCTION} or more"
        )
    return _stack(settings, ExcitedAttention)


def ghost(settings: StackSettings) -> list[Layer]:
    """Return layers of ghost attention and ghost MLP.

    Raises:
        ConfigError: The MLP's ratio is not the 3 that it is made for, or the width has no half.
    """
    if settings.dim % 2:
        raise ConfigError(f"embed_dim is {settings.dim}; ghost attention computes half of it, so it must be even")
    if settings.mlp_ratio != 3:
        raise ConfigError(f"mlp_ratio is {settings.mlp_ratio}; the ghost MLP makes three parts, so it must be 3")
    return _stack(settings, GhostAttention, lambda dim, _: GhostMlp(dim))


def dense(settings: StackSettings) -> list[Layer]:
    """Return groups of densely connected layers, and between two groups a transition, which halves the width."""
    groups = [settings.depth] if isinstance(settings.depth, int) else settings.depth
    rates = _rates(settings.drop_path_rate, _DENSE_RATE_STEPS)
    dim = settings.dim
    layers: list[Layer] = []
    for group, num_layers in enumerate(groups):
        if group:
            layers.append(Transition(dim))
            dim //= 2
        for _ in range(num_layers):
            rate = rates[min(group, len(rates) - 1)]
            layers.append(DenseBlock(dim, settings.growth_rate, settings.num_heads, settings.mlp_ratio, rate))
            dim += settings.growth_rate
    return layers


STACKS: dict[str, Callable[[StackSettings], list[Layer]]] = {
    "plain": plain,
    "se": squeeze_excitation,
    "ghost": ghost,
    "dense": dense,
}


def _stack(
    settings: StackSettings,
    attention: Callable[[int, int], nn.Module],
    mlp: Callable[[int, int], nn.Module] = Mlp,
) -> list[Layer]:
    if not isinstance(settings.depth, int):
        raise ConfigError(f"depth is {settings.depth!r}; only a dense stack has groups, expected one number of layers")
    dim, hidden_dim = settings.dim, int(settings.dim * settings.mlp_ratio)
    rates = _rates(settings.drop_path_rate, settings.depth)
    return [Block(dim, attention(dim, settings.num_heads), mlp(dim, hidden_dim), rate) for rate in rates]


def _rates(last: float, depth: int) -> list[float]:
    return [last * i / max(depth - 1, 1) for i in range(depth)]
