"""Tokens-to-Token Vision Transformers: predict, extract features, train, test and explain.

    from t2t_vit import get_model, inference_model

Names are imported when they are first used, so that importing this does not import torch.
Source: Yuan et al., Tokens-to-Token ViT, ICCV 2021, arXiv 2101.11986.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from t2t_vit.config import Experiment, load_experiment
    from t2t_vit.errors import T2TViTError
    from t2t_vit.hub import get_model, list_models
    from t2t_vit.inference import FeatureExtractor, ImageClassificationInferencer, inference_model
    from t2t_vit.integrations.huggingface import from_pretrained, push_to_hub, save_pretrained
    from t2t_vit.model_index import ModelHub
    from t2t_vit.models import T2TViT

__version__ = "0.1.0"

_HOME = {
    "Experiment": "config",
    "FeatureExtractor": "inference",
    "ImageClassificationInferencer": "inference",
    "ModelHub": "model_index",
    "T2TViT": "models",
    "T2TViTError": "errors",
    "from_pretrained": "integrations.huggingface",
    "get_model": "hub",
    "inference_model": "inference",
    "list_models": "hub",
    "load_experiment": "config",
    "push_to_hub": "integrations.huggingface",
    "save_pretrained": "integrations.huggingface",
}

__all__ = [
    "Experiment",
    "FeatureExtractor",
    "ImageClassificationInferencer",
    "ModelHub",
    "T2TViT",
    "T2TViTError",
    "from_pretrained",
    "get_model",
    "inference_model",
    "list_models",
    "load_experiment",
    "push_to_hub",
    "save_pretrained",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
