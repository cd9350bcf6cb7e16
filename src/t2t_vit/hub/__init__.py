"""A name, a config or an `Experiment` in, a model with weights out."""

from __future__ import annotations

from t2t_vit.hub.build import build_model, default_preprocessing, load_model, preprocessing_of
from t2t_vit.hub.get_model import get_model
from t2t_vit.hub.names import find_experiment, list_models
from t2t_vit.hub.published import model_of, weights_file
from t2t_vit.hub.shipped import DEFAULT_MODEL, shipped_card

__all__ = [
    "DEFAULT_MODEL",
    "build_model",
    "default_preprocessing",
    "find_experiment",
    "get_model",
    "list_models",
    "load_model",
    "model_of",
    "preprocessing_of",
    "shipped_card",
    "weights_file",
]
