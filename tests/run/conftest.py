"""Small pictures in class folders, and a recipe that trains on them within a second."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from forked_runs import Runs
from PIL import Image

from t2t_vit.config import Data, Experiment, Model, Runtime, Schedule

MODEL: dict[str, Any] = {
    "img_size": 32,
    "soft_splits": ((7, 2, 3), (3, 2, 1), (3, 2, 1)),
    "token_dim": 8,
    "embed_dim": 24,
    "depth": 1,
    "num_heads": 2,
}


@pytest.fixture
def save_pictures():
    """Save pictures of a colour for each class as FOLDER/CLASS/N.png; return the folder."""

    def save(folder: Path, classes: list[str], count: int) -> Path:
        rng = np.random.default_rng(len(classes))
        for i, name in enumerate(classes):
            (folder / name).mkdir(parents=True)
            for n in range(count):
                pixels = rng.integers(0, 120, (40, 50, 3), dtype=np.uint8)
                pixels[..., i % 3] += 120
                Image.fromarray(pixels).save(folder / name / f"{n}.png")
        return folder

    return save


@pytest.fixture
def pictures(save_pictures, tmp_path) -> Path:
    """21 pictures to train on and 9 to validate with, of three classes."""
    root = tmp_path / "pictures"
    save_pictures(root / "train", ["cat", "dog", "owl"], 7)
    save_pictures(root / "val", ["cat", "dog", "owl"], 3)
    return root


@pytest.fixture
def recipe(pictures):
    """Return the published recipe for the pictures and a tiny model, with other settings by section."""

    def make(**sections: dict[str, Any]) -> Experiment:
        base = Experiment(
            model=Model(**MODEL),
            data=Data(root=str(pictures), batch_size=4, num_workers=0),
            schedule=Schedule(epochs=2, warmup_epochs=1, cooldown_epochs=0),
            runtime=Runtime(log_interval=2, device="cpu"),
        )
        changed = {name: dataclasses.replace(getattr(base, name), **values) for name, values in sections.items()}
        return dataclasses.replace(base, **changed)

    return make


@pytest.fixture(scope="session")
def runner() -> Iterator[Runs]:
    if not hasattr(os, "fork"):
        pytest.skip("processes are forked here, which Windows cannot")
    started = Runs()
    yield started
    started.close()


@pytest.fixture
def runs(runner) -> Iterator[Runs]:
    """Runs in processes of their own, which are quickly started."""
    yield runner
    runner.end()
