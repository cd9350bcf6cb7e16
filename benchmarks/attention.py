"""Attention forward and backward on a CPU: PyTorch's fused kernel beside the plain products, in two precisions."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Annotated

import torch
import torch.nn.functional as F
import typer

from t2t_vit.data.freed_memory import keep_freed_memory

#: (batch, heads, tokens, head width): encoders of small images, their tokens, and the encoder of 224 pixels.
SHAPES = ((128, 4, 50, 32), (128, 6, 65, 32), (128, 1, 196, 32), (64, 1, 256, 64), (16, 6, 197, 64))


def main(rounds: Annotated[int, typer.Option(min=1)] = 15) -> None:
    """Print milliseconds of a forward and a backward pass, medians of `rounds`."""
    keep_freed_memory()
    print(f"{'shape':20}{'precision':>10}{'fused':>9}{'plain':>9}")
    for shape in SHAPES:
        for precision in (torch.float32, torch.bfloat16):
            q, k, v = (torch.randn(shape, dtype=precision, requires_grad=True) for _ in range(3))
            gradient, scale = torch.randn(shape, dtype=precision), shape[-1] ** -0.5

            def fused() -> None:
                F.scaled_dot_product_attention(q, k, v, scale=scale).backward(gradient)  # noqa: B023

            def plain() -> None:
                (((q * scale) @ k.transpose(-2, -1)).softmax(-1) @ v).backward(gradient)  # noqa: B023

            times = [1e3 * _median(run, rounds) for run in (fused, plain)]
            print(f"{shape!s:20}{str(precision)[6:]:>10}{times[0]:9.1f}{times[1]:9.1f}")


def _median(run: Callable[[], None], rounds: int) -> float:
    times = []
    for _ in range(rounds + 2):
        begin = time.perf_counter()
        run()
        times.append(time.perf_counter() - begin)
    return statistics.median(times[2:])


if __name__ == "__main__":
    typer.run(main)
