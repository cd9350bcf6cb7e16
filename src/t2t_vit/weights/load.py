"""Read a weights file of any known layout, without ever running code in it.

What is in the file decides, never its name. The result has the official parameter names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from os import PathLike
from pathlib import Path
from typing import TypeGuard

import torch
from torch import Tensor

from t2t_vit.errors import CheckpointError, ConfigError, nearest
from t2t_vit.weights.convert import to_official
from t2t_vit.weights.unpickle import Arguments, read_legacy, read_zip

StateDict = dict[str, Tensor]
MetaValue = bool | int | float | str | dict[str, bool | int | float | str]

TRAINING_FORMAT = "t2t_vit.training"
"""Value of the entry `format` by which this package's own training checkpoints are known."""


class Layout(StrEnum):
    """How a weights file is laid out."""

    TRAINING = "t2t_vit training"
    MMPRETRAIN = "MMPretrain"
    MMENGINE_TRAINING = "MMEngine training"
    OFFICIAL_TRAINING = "official training"
    OFFICIAL_FINETUNED = "official fine-tuned"
    STATE_DICT = "state dict"
    SAFETENSORS = "safetensors"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a weights file holds.

    Attributes:
        path: The file.
        layout: How it is laid out.
        weights: The sets of weights in it, `raw`, `ema` or both, each from official parameter name to tensor.
        classes: Names of the classes in the order of the head's outputs, None if the file does not tell.
        meta: Numbers and texts that stand beside the weights: epoch, accuracy, architecture, configuration, arguments.
    """

    path: Path
    layout: Layout
    weights: Mapping[str, StateDict]
    classes: tuple[str, ...] | None
    meta: dict[str, MetaValue]

    def state_dict(self, weights: str = "ema") -> StateDict:
        """Return one set of weights.

        Args:
            weights: `ema` for the exponential moving average, or the only set of a file without one;
                `raw` for the weights that the optimizer stepped.

        Raises:
            CheckpointError: The raw weights are asked for and the file has the average only.
            ConfigError: `weights` is neither.
        """
        if weights not in ("ema", "raw"):
            raise ConfigError(f"weights is 'ema' or 'raw', not {weights!r}.{nearest(weights, ('ema', 'raw'))}")
        if weights == "ema":
            return self.weights.get("ema") or self.weights["raw"]
        if "raw" not in self.weights:
            raise CheckpointError(f"{self.path} holds the moving average only, no raw weights. Ask for 'ema'.")
        return self.weights["raw"]


def read_checkpoint(path: str | PathLike[str]) -> Checkpoint:
    """Read the weights file at `path`: published, from training, or a plain state dict, in any of the known layouts.

    Nothing in the file is executed. Tensors are on the CPU and may be mapped from the file.

    Raises:
        UnsafeCheckpointError: The file could only be read by running code in it.
        CheckpointError: There is no such file, it is damaged, or it holds no weights.
    """
    path = Path(path)
    content = _read(path)
    if isinstance(content, Checkpoint):
        return content
    layout, sets = _recognised(path, content)
    weights = {name: _state_dict(path, name, values) for name, values in sets.items()}
    meta = content.get("meta")
    meta = meta if isinstance(meta, dict) else {}
    return Checkpoint(path, layout, weights, _classes(content, meta), _scalars(meta) | _scalars(content))
