"""Parameters made from their names, as the golden outputs were made with."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import torch

from t2t_vit.models import T2TViT
from t2t_vit.weights.convert import to_mmpretrain

GOLDEN = Path(__file__).parents[1] / "golden"


def fill_parameters(model: T2TViT, fill: SimpleNamespace, naming: str) -> None:
    """Fill the parameters of `model` by their `mmpretrain` or `official` names."""
    # The performer's random features are weights, too; only the position table is not filled.
    parameters = {name: value for name, value in model.state_dict().items() if name != "pos_embed"}
    named = to_mmpretrain(parameters) if naming == "mmpretrain" else parameters
    with torch.no_grad():
        for key, parameter in named.items():
            parameter.copy_(torch.from_numpy(fill.filled_value(key, tuple(parameter.shape))))
