"""The networks. Nothing here knows of files, configs or images: tensors in, tensors out."""

from __future__ import annotations

from t2t_vit.models.t2t_vit import T2TViT
from t2t_vit.models.variants import create_model, variant_names

__all__ = ["T2TViT", "create_model", "variant_names"]
