"""Images in, labels or features out: MMPretrain's calls."""

from __future__ import annotations

from t2t_vit.inference.classifier import (
    DataSample,
    ImageClassificationInferencer,
    Prediction,
    inference_model,
)
from t2t_vit.inference.features import FeatureExtractor
from t2t_vit.inference.inputs import ImageInput, list_inputs

__all__ = [
    "DataSample",
    "FeatureExtractor",
    "ImageClassificationInferencer",
    "ImageInput",
    "Prediction",
    "inference_model",
    "list_inputs",
]
