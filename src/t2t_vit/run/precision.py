"""The precision that a setting names, and the one that a device is fast in."""

from __future__ import annotations

import logging
import platform
from typing import Literal

import torch

_log = logging.getLogger(__name__)

#: What autocast computes in; None: no autocast.
AUTOCAST = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


def settle_precision(
    precision: Literal["auto", "float32", "bfloat16", "float16"], device: torch.device, *, warns: bool
) -> Literal["float32", "bfloat16", "float16"]:
    """Return `precision`, in the place of `auto` the half precision that `device` computes in, float32 if none.

    Args:
        precision: What is asked for.
        device: Where it is computed.
        warns: Whether a processor that would have to emulate what is asked for gets a warning.
    """
    has_bfloat16 = computes_in_bfloat16(device)
    if precision == "auto":
        if has_bfloat16:
            return "bfloat16"
        return "float32" if device.type == "cpu" else "float16"
    if warns and precision == "bfloat16" and device.type == "cpu" and not has_bfloat16:
        _log.warning(
            "this processor has no instructions for bfloat16 and is many times slower in it than in float32; "
            "runtime.precision=auto takes what it is fast in"
        )
    return precision


def computes_in_bfloat16(device: torch.device) -> bool:
    """Return whether `device` has instructions for bfloat16; emulated, it is slower than float32."""
    if device.type == "cuda":
        with torch.cuda.device(device):
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return True
    # torch.cpu.get_capabilities, which says it for all processors, is not in PyTorch 2.10.
    if platform.machine().lower() in ("x86_64", "amd64"):
        return bool(torch.cpu._is_avx512_bf16_supported())
    return torch.backends.mkldnn.is_available() and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
