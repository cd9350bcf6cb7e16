"""Tokens-to-Token Vision Transformer.

B batch, (H, W) image size in pixels, (h, w) token grid, N = h * w tokens, D embed_dim, K classes.

Source: Yuan et al., Tokens-to-Token ViT, ICCV 2021, arXiv 2101.11986. Parameter names are the official code's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, cast, get_args

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from t2t_vit.errors import ConfigError, nearest
from t2t_vit.models.crop import preprocessing_at
from t2t_vit.models.initialisation import draw_by_fan_in
from t2t_vit.models.load_report import LoadReport
from t2t_vit.models.position import resize_position_table, sinusoid_table
from t2t_vit.models.soft_split import SplitSize, token_grids
from t2t_vit.models.stack import STACKS, StackSettings
from t2t_vit.models.token_convolution import ConvolutionalTokens
from t2t_vit.models.token_performer import TokenPerformer
from t2t_vit.models.token_transformer import TokenTransformer
from t2t_vit.models.tokens_to_token import TokensToToken

OutType = Literal["cls_token", "featmap", "avg_featmap", "raw"]
Stage = Literal["backbone", "neck", "pre_logits"]
Init = Literal["published", "fan_in"]

Tokens = Literal["transformer", "performer", "convolution"]
Stack = Literal["plain", "se", "ghost", "dense"]

#: Soft splits of the 224-pixel models: (kernel, stride, padding) of each.
IMAGENET_SOFT_SPLITS = ((7, 4, 2), (3, 2, 1), (3, 2, 1))


class T2TViT(nn.Module):
    """A T2T-ViT: images in, class logits or features out, at any image size.

    Args:
        img_size: Height and width in pixels (one number: both) that the position table is made for. Other sizes
            are taken at call time: the table is interpolated.
        in_chans: Image channels.
        num_classes: Classes of the head; 0: no head, the model returns what would go into it.
        embed_dim: Width D of the encoder; a multiple of `num_heads`.
        depth: Encoder layers; of a dense stack those of each group.
        num_heads: Attention heads of an encoder layer.
        mlp_ratio: Hidden width of an encoder MLP over `embed_dim`.
        token_dim: Width of a token between two soft splits.
        soft_splits: (kernel, stride, padding) of each soft split, at least one.
        tokens: What makes the tokens: ``transformer`` or ``performer`` layers between soft splits, or ``convolution``.
        stack: Encoder layers: ``plain``, ``se``, ``ghost`` or ``dense``.
        growth_rate: Channels that a layer of the dense stack appends.
        drop_rate: Dropout on the tokens after the position table is added, 0 to 1.
        drop_path_rate: Drop-path rate of the last layer, 0 to 1; it rises linearly from 0 at the first.
        out_type: What `extract_feat` gives: ``cls_token`` (B, D), ``featmap`` (B, D, h, w), ``avg_featmap`` (B, D)
            or ``raw`` (B, 1 + N, D). With ``avg_featmap`` the head, too, sees the average, as in MMPretrain.
        out_indices: Layers that `extract_feat` gives features of; negative ones count from the end. Only those of
            the last layer are normalized.

    Raises:
        ConfigError: A value out of its range.
    """

    #: Names of the classes, and how images are prepared; set by who loads weights that were trained with them.
    classes: tuple[str, ...] | None = None
    preprocessing: dict[str, Any] | None = None
    #: What became of the weights file that was loaded.
    load_report: LoadReport | None = None
    #: How `reset_parameters` draws, so that a new head on loaded weights is drawn as the network was.
    init: Init = "published"

    def __init__(
        self,
        img_size: int | tuple[int, int] = 224,
        in_chans: int = 3,
        num_classes: int = 1000,
        embed_dim: int = 384,
        depth: int | Sequence[int] = 14,
        num_heads: int = 6,
        mlp_ratio: float = 3.0,
        token_dim: int = 64,
        soft_splits: Sequence[tuple[int, int, int]] = IMAGENET_SOFT_SPLITS,
        tokens: Tokens = "transformer",
        stack: Stack = "plain",
        growth_rate: int = 64,
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        out_type: OutType = "cls_token",
        out_indices: int | Sequence[int] = -1,
    ) -> None:
        super().__init__()
        _check_positive(in_chans=in_chans, embed_dim=embed_dim, num_heads=num_heads, token_dim=token_dim)
        if not all(layers > 0 for layers in ([depth] if isinstance(depth, int) else depth)):
            raise ConfigError(f"depth is {depth}; expected 1 or more")
        if num_classes < 0:
            raise ConfigError(f"num_classes is {num_classes}; expected 0 (no head) or more")
        if embed_dim % num_heads:
            raise ConfigError(f"embed_dim {embed_dim} is not a multiple of num_heads {num_heads}")
        if int(embed_dim * mlp_ratio) < 1:
            raise ConfigError(f"mlp_ratio is {mlp_ratio}; of embed_dim {embed_dim} it leaves the MLP no width")
        for name, rate in (("drop_rate", drop_rate), ("drop_path_rate", drop_path_rate)):
            if not 0.0 <= rate < 1.0:
                raise ConfigError(f"{name} is {rate}; expected 0 or more and less than 1")
        _check_choice("out_type", out_type, get_args(OutType))
        _check_choice("tokens", tokens, get_args(Tokens))
        _check_choice("stack", stack, get_args(Stack))

        self.img_size = _height_width(img_size)
        self.in_chans = in_chans
        self.num_classes = num_classes
        self.embed_dim = embed_dim
        self.token_dim = token_dim
        self.out_type = out_type

        self.soft_splits = _split_sizes(soft_splits)
        self.grid_size = self.token_grid(*self.img_size)
        self.tokens_to_token = _TOKENS[tokens](in_chans, embed_dim, token_dim, self.soft_splits)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dim))
        self.pos_embed: torch.Tensor
        num_tokens = self.grid_size[0] * self.grid_size[1]
        table = sinusoid_table(1 + num_tokens, embed_dim)
        self.register_buffer("pos_embed", table.to(torch.get_default_dtype()))
        self.pos_drop = nn.Dropout(drop_rate)
        layers = STACKS[stack](StackSettings(embed_dim, depth, num_heads, mlp_ratio, drop_path_rate, growth_rate))
        self.blocks = nn.ModuleList(layers)
        self.out_indices = _layer_indices(out_indices, len(layers))
        self.grad_checkpointing = False
        #: Width of what comes out of the last layer; a dense stack widens as it goes.
        self.num_features = layers[-1].out_dim
        self.norm = nn.LayerNorm(self.num_features)
        self.head = nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new weights: truncated normal of 0.02 for matrices and the class token, zero biases.

        With ``init="fan_in"`` matrices and convolutions are then drawn by `draw_by_fan_in`.
        """
        if self.cls_token.is_meta:  # there is nothing to draw, and torch takes a second to find that out
            return
        nn.init.trunc_normal_(self.cls_token, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.LayerNorm | nn.Conv1d | nn.Conv2d):
                module.reset_parameters()
            elif isinstance(module, TokenPerformer):
                module.draw_features()
        if self.init == "fan_in":
            draw_by_fan_in(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits (B, K) of normalized images `x` (B, C, H, W); without a head what would go into it (B, D)."""
        return self.forward_head(self.forward_features(x))

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        """Return the normalized tokens (B, 1 + N, D) of the last layer, the class token first."""
        x = self.embed(x)
        for block in self.blocks:
            x = self.run_block(block, x)
        return self.norm(x)  # type: ignore[no-any-return]

    def forward_head(self, x: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        """Return logits (B, K) of tokens `x` (B, 1 + N, D) that `forward_features` gave, or the head's input (B, D)."""
        x = self._pool(x)
        if not pre_logits:
            x = self.head(x)
        return x

    def token_grid(self, height: int, width: int) -> tuple[int, int]:
        """Return the token grid (h, w) of an image of (H, W) pixels.

        Raises:
            ConfigError: The image is too small: no token would be left.
        """
        return token_grids(self.soft_splits, height, width)[-1]

    def set_input_size(self, img_size: int | tuple[int, int]) -> None:
        """Make the position table, by interpolation, one for images of `img_size` (H, W).

        Other sizes are taken at call time anyway; this saves the interpolation in each of them. Where `preprocessing`
        is known, it then crops the same part of a picture to that size.

        Raises:
            ConfigError: The size is too small: no token would be left.
        """
        height, width = _height_width(img_size)
        grid = self.token_grid(height, width)
        self.pos_embed = resize_position_table(self.pos_embed, self.grid_size, grid)
        self.img_size, self.grid_size = (height, width), grid
        if self.preprocessing is not None:
            self.preprocessing = preprocessing_at(self.preprocessing, self.img_size)

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        """Return what the first encoder layer sees, (B, 1 + N, D), of images `x` (B, C, H, W).

        Raises:
            ConfigError: `x` has another number of channels or is too small.
        """
        grid = image_grid(x, self.in_chans, self.soft_splits)
        x = self.tokens_to_token(x)  # (B, N, D)
        x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1).to(x.dtype), x], dim=1)
        x = x + resize_position_table(self.pos_embed, self.grid_size, grid)
        return self.pos_drop(x)  # type: ignore[no-any-return]

    def extract_feat(self, x: torch.Tensor, stage: Stage = "neck") -> tuple[torch.Tensor, ...] | torch.Tensor:
        """Return features of normalized images `x` (B, C, H, W), as MMPretrain's classifiers do.

        Args:
            x: Images.
            stage: ``neck`` or ``backbone`` (the same here): a tuple, one tensor a layer of `out_indices`, of the form
                that `out_type` says. ``pre_logits``: the tensor (B, D) that goes into the head.

        Raises:
            ConfigError: `stage` is none of these.
        """
        if stage not in get_args(Stage):
            raise ConfigError(f"stage is {stage!r}; expected one of {', '.join(get_args(Stage))}")
        if stage == "pre_logits":
            return self.forward_head(self.forward_features(x), pre_logits=True)
        grid = self.token_grid(x.shape[-2], x.shape[-1])
        features = []
        x = self.embed(x)
        for i, block in enumerate(self.blocks):
            x = self.run_block(block, x)
            if i == len(self.blocks) - 1:
                x = self.norm(x)
            if i in self.out_indices:
                features.append(self._format(x, grid))
        return tuple(features)

    def run_block(self, block: nn.Module, x: torch.Tensor) -> torch.Tensor:
        """Return what the encoder layer `block` makes of tokens `x`, computed again in the backward pass if so set."""
        if self.grad_checkpointing and torch.is_grad_enabled():
            return checkpoint(block, x, use_reentrant=False)  # type: ignore[no-any-return]
        return block(x)  # type: ignore[no-any-return]

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Trade time for memory in training: keep one tensor an encoder layer and compute the rest twice."""
        self.grad_checkpointing = enable

    def no_weight_decay(self) -> set[str]:
        """Return the names of parameters, besides norms and biases, that must not decay."""
        return {"cls_token"}

    def _pool(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, 1:].mean(dim=1) if self.out_type == "avg_featmap" else x[:, 0]  # (B, D)

    def _format(self, x: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
        if self.out_type == "raw":
            return x  # (B, 1+N, D)
        if self.out_type == "featmap":
            return x[:, 1:].transpose(1, 2).unflatten(2, grid)  # type: ignore[no-any-return]  # (B, D, h, w)
        return self._pool(x)


#: What makes tokens of an image, given (in_chans, embed_dim, token_dim, soft_splits).
_TOKENS: dict[str, Callable[[int, int, int, Sequence[SplitSize]], nn.Module]] = {
    "transformer": partial(TokensToToken, layer=TokenTransformer),
    "performer": partial(TokensToToken, layer=TokenPerformer),
    "convolution": ConvolutionalTokens,
}


def image_grid(x: torch.Tensor, in_chans: int, soft_splits: Sequence[SplitSize]) -> tuple[int, int]:
    """Return the token grid (h, w) of images `x` (B, C, H, W), after a check of their shape.

    All that depends on the shape is decided here, in a function that symbolic tracers can leave closed.

    Raises:
        ConfigError: `x` has not `in_chans` channels, is too small, or no floating point numbers.
    """
    if x.ndim != 4 or x.shape[1] != in_chans:
        raise ConfigError(f"the input has shape {tuple(x.shape)}; expected (B, {in_chans}, H, W)")
    if not x.is_floating_point():
        raise ConfigError(f"the input is of {x.dtype}; expected normalized images of floating point numbers")
    return token_grids(soft_splits, x.shape[-2], x.shape[-1])[-1]


def _check_positive(**values: int) -> None:
    for name, value in values.items():
        if value < 1:
            raise ConfigError(f"{name} is {value}; expected 1 or more")


def _height_width(img_size: Any) -> tuple[int, int]:
    sides = (img_size, img_size) if isinstance(img_size, int) else img_size
    if not isinstance(sides, Sequence) or len(sides) != 2 or not all(isinstance(side, int) for side in sides):
        raise ConfigError(f"img_size is {img_size!r}; expected pixels, or (height, width) in pixels")
    return (sides[0], sides[1])


def _split_sizes(soft_splits: Any) -> list[SplitSize]:
    if not soft_splits:
        raise ConfigError("soft_splits is empty; expected at least one (kernel, stride, padding)")
    for size in soft_splits:
        if len(size) != 3 or min(size[:2]) < 1 or size[2] < 0:
            raise ConfigError(f"soft_splits has {size!r}; expected (kernel, stride, padding): 1, 1 and 0 or more")
    return [SplitSize(*size) for size in soft_splits]


def _check_choice(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ConfigError(f"{name} is {value!r}; expected one of {', '.join(known)}.{nearest(str(value), known)}")


def _layer_indices(indices: int | Sequence[int], depth: int) -> tuple[int, ...]:
    wanted = cast("Sequence[int]", [indices] if isinstance(indices, int) else indices)
    if not wanted:
        raise ConfigError(f"out_indices is empty; expected one or more of {-depth} to {depth - 1}")
    for i in wanted:
        if not -depth <= i < depth:
            raise ConfigError(f"out_indices has {i}; expected {-depth} to {depth - 1} in a model of {depth} layers")
    return tuple(sorted({i % depth for i in wanted}))
