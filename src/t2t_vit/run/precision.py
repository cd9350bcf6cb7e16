"""The precision that a setting names."""

from __future__ import annotations

import torch

#: What autocast computes in; None: no autocast.
AUTOCAST = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}
