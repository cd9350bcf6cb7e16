"""Golden outputs, and models whose parameters are made from their names."""

from __future__ import annotations

import json
import lzma
import runpy
from collections.abc import Callable, Mapping
from functools import cache
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import pytest
import torch
from filling import GOLDEN, fill_parameters

from t2t_vit.models import T2TViT, create_model


@pytest.fixture(scope="session")
def fill() -> SimpleNamespace:
    """The functions of `golden/fill.py`."""
    return SimpleNamespace(**runpy.run_path(str(GOLDEN / "fill.py")))


@pytest.fixture(scope="session")
def golden() -> Mapping[str, np.ndarray]:
    """The reference outputs, by key."""
    with np.load(GOLDEN / "expected.npz") as file:
        return dict(file)


@pytest.fixture(scope="session")
def reference_shapes() -> dict[str, dict[str, dict[str, list[int]]]]:
    """Shape of every parameter of the reference models: by code base, model, key."""
    return json.loads(lzma.decompress((GOLDEN / "parameter_shapes.json.xz").read_bytes()))


@pytest.fixture(scope="session")
def undrawn() -> Callable[..., T2TViT]:
    """Makes a model whose weights are about to be replaced: without the seconds that drawing them takes."""

    def make(name: str, **overrides: object) -> T2TViT:
        with patch.object(T2TViT, "reset_parameters"):
            return create_model(name, **overrides).eval()

    return make


@pytest.fixture(scope="session")
def filled(fill: SimpleNamespace, undrawn: Callable[..., T2TViT]) -> Callable[[str, str], T2TViT]:
    """Makes an architecture in eval mode whose parameters are filled by their `mmpretrain` or `official` names.

    The position table stays the model's own. Models are shared: leave them as they are.
    """

    @cache
    def make(name: str, naming: str) -> T2TViT:
        model = undrawn(name)
        fill_parameters(model, fill, naming)
        return model

    return make


@pytest.fixture
def tiny() -> Callable[..., T2TViT]:
    """Makes a small model of 5 classes for 32×32 pixels; what is given goes over its settings."""

    def make(**overrides: object) -> T2TViT:
        settings = {"img_size": 32, "embed_dim": 24, "depth": 3, "num_heads": 2, "token_dim": 8, "num_classes": 5}
        torch.manual_seed(0)
        return T2TViT(**{**settings, **overrides}).eval()

    return make
