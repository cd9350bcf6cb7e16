"""Typed configuration: what a run can be told, and how it is read. Importing this does not import torch."""

from __future__ import annotations

from t2t_vit.config.as_python import experiment_to_python
from t2t_vit.config.load import (
    experiment_from_json,
    experiment_to_dict,
    experiment_to_json,
    load_experiment,
    override,
    shipped_configs,
)
from t2t_vit.config.overrides import apply_overrides
from t2t_vit.config.settings import (
    Augmentation,
    Baseline,
    Data,
    Distillation,
    Ema,
    Experiment,
    Model,
    Optimizer,
    Preprocessing,
    Runtime,
    Schedule,
)

__all__ = [
    "Augmentation",
    "Baseline",
    "Data",
    "Distillation",
    "Ema",
    "Experiment",
    "Model",
    "Optimizer",
    "Preprocessing",
    "Runtime",
    "Schedule",
    "apply_overrides",
    "experiment_from_json",
    "experiment_to_dict",
    "experiment_to_json",
    "experiment_to_python",
    "load_experiment",
    "override",
    "shipped_configs",
]
