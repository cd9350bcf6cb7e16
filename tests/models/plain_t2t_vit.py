"""T2T-ViT with token transformers, written out: every softmax, scale and epsilon stands here as a number.

It shares no line with the package and no fused operation, is only as fast as it must be, and takes parameters by their
official names, in float32 or float64.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

SPLITS = ((7, 4, 2), (3, 2, 1), (3, 2, 1))
EPSILON = 1e-5
TOKEN_SCALES = (147**-0.5, 576**-0.5)
ENCODER_SCALE = 64**-0.5


def tokens_and_logits(
    state, images, num_heads, splits=SPLITS, token_scales=TOKEN_SCALES, encoder_scale=ENCODER_SCALE, epsilon=EPSILON
):
    """Return the normalized tokens (B, 1 + N, D) and the logits (B, K) of `images` (B, C, H, W)."""

    def norm(x, name):
        centred = x - x.mean(-1, keepdim=True)
        deviation = (centred.pow(2).mean(-1, keepdim=True) + epsilon).sqrt()
        return centred / deviation * state[f"{name}.weight"] + state[f"{name}.bias"]

    def linear(x, name):
        y = x @ state[f"{name}.weight"].T
        return y + state[f"{name}.bias"] if f"{name}.bias" in state else y

    def mlp(x, name):
        x = linear(x, f"{name}.fc1")
        return linear(x * (1 + torch.erf(x / math.sqrt(2))) / 2, f"{name}.fc2")

    x = images
    for i, (split, scale) in enumerate(zip(splits[:-1], token_scales, strict=True), start=1):
        name = f"tokens_to_token.attention{i}"
        x, grid = windows(x, *split)
        q, k, v = linear(norm(x, f"{name}.norm1"), f"{name}.attn.qkv").chunk(3, dim=-1)
        x = v + linear(attend(q, k, v, scale), f"{name}.attn.proj")
        x = x + mlp(norm(x, f"{name}.norm2"), f"{name}.mlp")
        x = x.transpose(1, 2).unflatten(2, grid)
    x, _ = windows(x, *splits[-1])
    x = linear(x, "tokens_to_token.project")
    x = torch.cat([state["cls_token"].expand(len(x), 1, -1), x], dim=1)
    x = x + positions(x.shape[1], x.shape[2]).to(x)

    depth = 1 + max(int(key.split(".")[1]) for key in state if key.startswith("blocks."))
    for name in (f"blocks.{i}" for i in range(depth)):
        qkv = linear(norm(x, f"{name}.norm1"), f"{name}.attn.qkv").chunk(3, dim=-1)
        width = qkv[0].shape[-1] // num_heads
        heads = [
            attend(*(part[..., head * width : (head + 1) * width] for part in qkv), encoder_scale)
            for head in range(num_heads)
        ]
        x = x + linear(torch.cat(heads, dim=-1), f"{name}.attn.proj")
        x = x + mlp(norm(x, f"{name}.norm2"), f"{name}.mlp")
    x = norm(x, "norm")
    return x, linear(x[:, 0], "head")


def windows(x, kernel, stride, padding):
    """Return the overlapping windows (B, N, C * k * k) of `x` (B, C, H, W), and their grid."""
    x = F.pad(x, (padding,) * 4).unfold(2, kernel, stride).unfold(3, kernel, stride)  # (B, C, h, w, k, k)
    grid = x.shape[2:4]
    return x.permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2), grid


def attend(q, k, v, scale):
    """Return softmax(scale * q kᵀ) v for (B, N, E)."""
    logits = q @ k.transpose(1, 2) * scale
    weights = (logits - logits.amax(-1, keepdim=True)).exp_()
    return weights @ v / weights.sum(-1, keepdim=True)


def positions(num_tokens, dim):
    """Return the position table (N, D), number by number."""
    rows = []
    for position in range(num_tokens):
        angles = [position / 10000 ** (2 * (column // 2) / dim) for column in range(dim)]
        rows.append([math.cos(angle) if column % 2 else math.sin(angle) for column, angle in enumerate(angles)])
    return torch.tensor(rows, dtype=torch.float64)
