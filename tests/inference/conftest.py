"""A tiny model, a picture, and a web server on this machine."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from t2t_vit import T2TViT, get_model

GOLDEN = Path(__file__).parents[1] / "golden"
fill = runpy.run_path(str(GOLDEN / "fill.py"))


@pytest.fixture(scope="session")
def settings() -> dict[str, Any]:
    return {
        "img_size": 32,
        "soft_splits": ((7, 2, 3), (3, 2, 1), (3, 2, 1)),
        "token_dim": 8,
        "embed_dim": 24,
        "depth": 1,
        "num_heads": 2,
        "num_classes": 5,
    }


@pytest.fixture(scope="session")
def model(settings) -> T2TViT:
    """A model whose scores differ from picture to picture and from class to class."""
    torch.manual_seed(0)
    model = get_model("t2t_vit_t_14", **settings)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(8)
    return model


@pytest.fixture(scope="session")
def rgb() -> np.ndarray:
    """A picture (40, 60, 3) whose colours and directions all differ."""
    return fill["rgb_image"](1, 40, 60)


@pytest.fixture
def picture(rgb, tmp_path) -> Path:
    path = tmp_path / "a picture.png"
    Image.fromarray(rgb).save(path)
    return path
