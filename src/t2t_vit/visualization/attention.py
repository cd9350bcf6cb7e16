"""Where the class token looks: the encoder's attention, as numbers and over the picture.

B batch, C channels, (H, W) image size in pixels, L layers, M heads, (h, w) token grid, N = 1 + h * w tokens,
the class token first.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Literal, NamedTuple, cast, get_args

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from t2t_vit.data.decode import from_pil
from t2t_vit.errors import ConfigError, nearest
from t2t_vit.models import T2TViT
from t2t_vit.models.encoder import Block, SelfAttention
from t2t_vit.visualization.canvas import drawing
from t2t_vit.visualization.lettering import shorten

Method = Literal["last", "rollout"]

_COLOURS: Final = "viridis"
_BAR_LABEL: Final = "attention to a token (%)"


class TokenCentres(NamedTuple):
    """Where the tokens of a grid lie in the image, in pixels; 0 is the centre of the first pixel.

    Attributes:
        y: Of each row of tokens, (h,).
        x: Of each column of tokens, (w,).
    """

    y: NDArray[np.float64]
    x: NDArray[np.float64]


def attention_maps(
    model: T2TViT, x: torch.Tensor, method: Method = "last", layers: Sequence[int] | None = None
) -> torch.Tensor:
    """Return how much of the class token's attention each token of the image gets.

    The shares of one image sum to 1 less what the class token gives itself. A model with
    ``out_type="avg_featmap"`` classifies without the class token; its maps say little.

    Args:
        model: The network. It computes as in evaluation here and is left as it was.
        x: Normalized images (B, C, H, W) of any size that the model takes, on any device.
        method: ``last``: the attention in one layer, the mean over its heads. ``rollout``: through all
            layers, with half of each layer's attention replaced by the identity for its residual connection.
        layers: Encoder layers, negative ones counted from the end; None: all. ``last`` is of the last of
            them.

    Returns:
        Shares (B, h, w), 0 to 1, float32, on the model's device.

    Raises:
        ConfigError: The method or a layer is unknown, or the model cannot take `x`.

    Source: Abnar & Zuidema, Quantifying Attention Flow in Transformers, ACL 2020, section 3 (rollout).
    """
    if method not in get_args(Method):
        raise ConfigError(
            f"method is {method!r}; expected {' or '.join(get_args(Method))}." + nearest(str(method), get_args(Method))
        )
    chosen = _check_layers(model, layers)
    if method == "last":
        (rows,) = _observe(model, x, chosen[-1:], lambda weights: weights[:, :, 0].mean(dim=1))
    else:
        matrices = _observe(model, x, chosen, lambda weights: weights.mean(dim=1))  # L of (B, N, N)
        rows = torch.zeros_like(matrices[0][:, 0])  # (B, N)
        rows[:, 0] = 1
        # Only the class token's row of the product is wanted, so vectors meet matrices, from the last layer
        # down.
        for matrix in reversed(matrices):
            rows = (rows + (rows.unsqueeze(1) @ matrix).squeeze(1)) / 2  # (B, N)
    return rows[:, 1:].reshape(-1, *_grid(model, x))  # (B, h, w)


def attention_heads(model: T2TViT, x: torch.Tensor, layer: int = -1) -> torch.Tensor:
    """Return how much of the class token's attention each token of the image gets, for each head of a layer.

    Args:
        model: The network. It computes as in evaluation here and is left as it was.
        x: Normalized images (B, C, H, W) of any size that the model takes, on any device.
        layer: The encoder layer; a negative one counts from the end.

    Returns:
        Shares (B, M, h, w), 0 to 1, float32, on the model's device.

    Raises:
        ConfigError: There is no such layer, or the model cannot take `x`.
    """
    (rows,) = _observe(model, x, _check_layers(model, [layer]), lambda weights: weights[:, :, 0, 1:])
    return rows.reshape(*rows.shape[:2], *_grid(model, x))  # (B, M, h, w)


def attention_weights(model: T2TViT, x: torch.Tensor, layers: Sequence[int] | None = None) -> tuple[torch.Tensor, ...]:
    """Return all attention weights of encoder layers.

    Args:
        model: The network. It computes as in evaluation here and is left as it was.
        x: Normalized images (B, C, H, W) of any size that the model takes, on any device.
        layers: Encoder layers, negative ones counted from the end; None: all.

    Returns:
        For each layer, from the first, (B, M, N, N), float32, on the model's device; each row sums to 1.

    Raises:
        ConfigError: A layer is unknown, or the model cannot take `x`.
    """
    return tuple(_observe(model, x, _check_layers(model, layers), lambda weights: weights))


def token_centres(model: T2TViT, height: int, width: int) -> TokenCentres:
    """Return where the last soft split's tokens lie in an image of `height` × `width` pixels.

    They are not where an even grid would put them: the soft splits pad the left as much as the right but need
    not use all of the right. In the 224-pixel models the first token lies on pixel 1, the next ones 16
    further each, the last on 209.

    Raises:
        ConfigError: The image is too small for the model.
    """
    grid = model.token_grid(height, width)
    y, x = (np.arange(size, dtype=np.float64) for size in grid)
    for split in reversed(model.soft_splits):
        y, x = (split.stride * c - split.padding + (split.kernel - 1) / 2 for c in (y, x))
    return TokenCentres(y, x)


def plot_attention(
    image: Image.Image, heat: ArrayLike, out: Path, title: str = "", centres: TokenCentres | None = None
) -> Path:
    """Draw a picture, its attention map, and the map over the picture, side by side.

    Args:
        image: The picture as the model sees it: resized and cropped.
        heat: Its map (h, w), as from `attention_maps`.
        out: The picture to write: PNG, PDF or SVG by its suffix.
        title: What stands above, such as the predicted class.
        centres: Where the tokens lie, as from `token_centres`; None: evenly spread.

    Returns:
        `out`.

    Raises:
        ConfigError: The map has another shape or does not belong to `centres`, or the suffix is unknown.
        ImageError: The picture cannot be shown.
    """
    tokens = _check_maps(heat, "(h, w)", centres)
    image = from_pil(image)
    height = 3.4 * min(2.0, max(0.5, image.height / image.width))
    with drawing(out, width=11.0, height=height + 0.9) as figure:
        left, middle, right = figure.subplots(1, 3)
        figure.suptitle(shorten(title, 90))
        left.imshow(image)
        left.set_title(f"The picture, {image.width} × {image.height} pixels")
        shades = middle.imshow(100 * tokens, cmap=_COLOURS, interpolation="nearest")
        shades.set_extent((0, image.width, image.height, 0))
        even = tokens.sum() / tokens.size
        middle.set_title(f"Strongest token {100 * tokens.max():.2g} %; if even, {100 * even:.2g} %")
        _overlay(right, image, 100 * tokens, centres, shades.norm)
        right.set_title("The map over the picture")
        for axes in (left, middle, right):
            axes.set_axis_off()
        bar = figure.colorbar(shades, cax=right.inset_axes((1.03, 0, 0.05, 1)), label=_BAR_LABEL)
        bar.outline.set_visible(False)
    return out


def plot_attention_heads(
    image: Image.Image, heads: ArrayLike, out: Path, title: str = "", centres: TokenCentres | None = None
) -> Path:
    """Draw the attention map of each head over the picture, all on one colour scale.

    Args:
        image: The picture as the model sees it: resized and cropped.
        heads: The maps (M, h, w), as from `attention_heads`.
        out: The picture to write: PNG, PDF or SVG by its suffix.
        title: What stands above, such as the predicted class.
        centres: Where the tokens lie, as from `token_centres`; None: evenly spread.

    Returns:
        `out`.

    Raises:
        ConfigError: The maps have another shape or do not belong to `centres`, or the suffix is unknown.
        ImageError: The picture cannot be shown.
    """
    maps = _check_maps(heads, "(M, h, w)", centres)
    image = from_pil(image)
    num_tiles = 1 + len(maps)
    num_columns = min(num_tiles, 4 if num_tiles <= 8 else 5)
    num_rows = -(-num_tiles // num_columns)
    tile = 2.3 * min(2.0, max(0.5, image.height / image.width))
    with drawing(out, width=2.3 * num_columns + 1.0, height=num_rows * (tile + 0.3) + 0.6) as figure:
        figure.suptitle(shorten(title, 90))
        tiles = list(figure.subplots(num_rows, num_columns, squeeze=False).flat)
        for axes in tiles:
            axes.set_axis_off()
        tiles[0].imshow(image)
        tiles[0].set_title("The picture")
        scale = Normalize(100 * maps.min(), 100 * maps.max())
        for i, (axes, heat) in enumerate(zip(tiles[1:], maps, strict=False)):
            _overlay(axes, image, 100 * heat, centres, scale)
            axes.set_title(f"Head {i}: up to {100 * heat.max():.2g} %")
        shades = ScalarMappable(scale, _COLOURS)
        bar = figure.colorbar(shades, ax=tiles, label=_BAR_LABEL, pad=0.02, shrink=0.8, aspect=30)
        bar.outline.set_visible(False)
    return out


def _observe(
    model: T2TViT,
    x: torch.Tensor,
    layers: Sequence[int],
    reduce: Callable[[torch.Tensor], torch.Tensor],
) -> list[torch.Tensor]:
    """Run `model` on `x` and return `reduce` of the attention weights (B, M, N, N) of each of `layers`.

    The fused attention stays as it is. `reduce` acts at once, so that no more than one layer's weights need be in
    memory.
    """
    model = _evaluating(model)
    blocks = _attention_blocks(model)
    watched = [blocks[i] for i in layers]
    seen = []
    with torch.no_grad():
        x = model.embed(x.to(model.cls_token))  # to its device and type
        for block in model.blocks:
            if block in watched:
                weights = cast("SelfAttention", block.attn).weights(block.norm1(x))
                seen.append(reduce(weights.float()))
            x = model.run_block(block, x)
    return seen


def _evaluating(model: T2TViT) -> T2TViT:
    """Return `model` in evaluation mode: itself if it is, else a twin with the same tensors.

    Nothing of `model` is changed, so other threads can use it meanwhile.
    """
    if not any(module.training for module in model.modules()):
        return model
    tensors = [*model.parameters(), *model.buffers()]
    return copy.deepcopy(model, {id(tensor): tensor for tensor in tensors}).eval()


def _grid(model: T2TViT, x: torch.Tensor) -> tuple[int, int]:
    return model.token_grid(x.shape[-2], x.shape[-1])


def _attention_blocks(model: T2TViT) -> list[Block]:
    """Return the encoder layers that attend; the transitions of a dense stack do not."""
    return [block for block in model.blocks if isinstance(block, Block)]


def _check_layers(model: T2TViT, layers: Sequence[int] | None) -> list[int]:
    depth = len(_attention_blocks(model))
    if layers is None:
        return list(range(depth))
    if not layers:
        raise ConfigError("layers is empty; expected at least one encoder layer, or None for all")
    for i in layers:
        if not -depth <= i < depth:
            raise ConfigError(f"layers has {i}; expected {-depth} to {depth - 1} in a model of {depth} layers")
    return sorted({i % depth for i in layers})


def _check_maps(maps: ArrayLike, shape: str, centres: TokenCentres | None) -> NDArray[np.float64]:
    array = np.asarray(maps, dtype=np.float64)
    if array.ndim != shape.count(",") + 1 or not array.size:
        raise ConfigError(f"the attention has shape {array.shape}; expected {shape}, such as (14, 14) tokens")
    if not np.isfinite(array).all():
        raise ConfigError("the attention is not finite: the model's weights or its input are not numbers")
    if centres is not None and array.shape[-2:] != (len(centres.y), len(centres.x)):
        raise ConfigError(
            f"the attention is of {array.shape[-2:]} tokens, the centres of "
            f"{(len(centres.y), len(centres.x))}; take both at one image size"
        )
    return array


def _overlay(
    axes: Axes, image: Image.Image, heat: NDArray[np.float64], centres: TokenCentres | None, scale: Normalize
) -> None:
    heat = _to_pixels(heat, image, centres)
    axes.imshow(image.convert("L"), cmap="gray", vmin=0, vmax=255)
    # The less attention, the clearer the picture: a veil over all of it would hide what is not looked at.
    axes.imshow(heat, cmap=_COLOURS, norm=scale, alpha=0.1 + 0.65 * np.asarray(scale(heat)))


def _to_pixels(heat: NDArray[np.float64], image: Image.Image, centres: TokenCentres | None) -> NDArray[np.float64]:
    """Return `heat` (h, w) at the pixels of `image`: linear between centres, constant beyond the last."""
    if centres is None:
        y, x = (
            (np.arange(tokens) + 0.5) * pixels / tokens - 0.5
            for tokens, pixels in zip(heat.shape, (image.height, image.width), strict=True)
        )
        centres = TokenCentres(y, x)
    rows = np.stack([np.interp(np.arange(image.width), centres.x, row) for row in heat])  # (h, W)
    columns = [np.interp(np.arange(image.height), centres.y, column) for column in rows.T]
    return np.stack(columns, axis=1)  # (H, W)
