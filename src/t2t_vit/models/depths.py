"""How deep in the network each parameter is."""

from __future__ import annotations

import re

from torch import nn


def parameter_depths(model: nn.Module) -> dict[str, int]:
    """Return each parameter's depth by name: 0 for the tokens, then the encoder layers, the head's the largest."""
    layers = {name: re.match(r"blocks\.(\d+)\.", name) for name, _ in model.named_parameters()}
    last = max((int(match[1]) for match in layers.values() if match), default=-1) + 2
    return {
        name: int(match[1]) + 1 if match else last if name.startswith(("norm.", "head.")) else 0
        for name, match in layers.items()
    }
