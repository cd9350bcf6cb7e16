"""What `train` and `test` do alike with a config."""

from __future__ import annotations

import dataclasses

import torch

from t2t_vit.config import Experiment, apply_overrides, load_experiment
from t2t_vit.device import find_device


def read_config(config: str, options: list[str] | None) -> Experiment:
    """Return the `Experiment` of `config` with the ``key=value`` of `options`."""
    return apply_overrides(load_experiment(config), options or [])


def with_amp(experiment: Experiment) -> Experiment:
    """Return `experiment` in mixed precision: bfloat16, or float16 on GPUs that lack it."""
    device = find_device(experiment.runtime.device)
    lacks_bfloat16 = device.type == "cuda" and not torch.cuda.is_bf16_supported()
    runtime = dataclasses.replace(experiment.runtime, precision="float16" if lacks_bfloat16 else "bfloat16")
    return dataclasses.replace(experiment, runtime=runtime)
