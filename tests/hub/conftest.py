"""A tiny model, files of its weights, and a web server on this machine."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest
import torch

from t2t_vit import T2TViT, get_model
from t2t_vit.weights.convert import to_mmpretrain

TINY: dict[str, Any] = {
    "img_size": 32,
    "soft_splits": ((7, 2, 3), (3, 2, 1), (3, 2, 1)),
    "token_dim": 8,
    "embed_dim": 24,
    "depth": 1,
    "num_heads": 2,
}
_filled_value = runpy.run_path(str(Path(__file__).parents[1] / "golden" / "fill.py"))["filled_value"]


@pytest.fixture
def tiny() -> dict[str, Any]:
    """Settings of a model that is built and run within milliseconds."""
    return dict(TINY)


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def save_as_published(tmp_path):
    """Save a model's weights in the layout of MMPretrain's published files; return the path."""

    def save(model: T2TViT, name: str = "published.pth", **meta: Any) -> Path:
        torch.save({"meta": meta, "state_dict": to_mmpretrain(model.state_dict())}, tmp_path / name)
        return tmp_path / name

    return save


@pytest.fixture(scope="session")
def t2t_vit_14_file(tmp_path_factory) -> Path:
    """A whole T2T-ViT-14 in the layout of MMPretrain's published files, its values made from their names."""
    state = to_mmpretrain(get_model("t2t_vit_t_14").state_dict())
    filled = {
        key: value if key.endswith("pos_embed") else torch.from_numpy(_filled_value(key, tuple(value.shape)))
        for key, value in state.items()
    }
    path = tmp_path_factory.mktemp("published") / "t2t-vit-t-14_8xb64_in1k_20211220-f7378dd5.pth"
    torch.save({"meta": {"epoch": 300}, "state_dict": filled}, path)
    return path


@pytest.fixture
def no_mirror(tmp_path, monkeypatch) -> Path:
    """An empty cache, no mirror and no proxy; return the cache folder."""
    monkeypatch.setenv("T2T_VIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("T2T_VIT_WEIGHTS", raising=False)
    return tmp_path / "cache"
