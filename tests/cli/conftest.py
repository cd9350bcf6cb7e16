"""Run a command line in this process; a tiny trained model of pictures in class folders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from t2t_vit.cli import main

TINY = [
    "model.img_size=32",
    "model.soft_splits=((7,2,3),(3,2,1),(3,2,1))",
    "model.token_dim=8",
    "model.embed_dim=24",
    "model.depth=1",
    "model.num_heads=2",
    "data.batch_size=4",
    "data.num_workers=0",
    "runtime.device=cpu",
    "runtime.log_interval=2",
    "schedule.epochs=2",
    "schedule.warmup_epochs=1",
    "schedule.cooldown_epochs=0",
]


@dataclass(frozen=True)
class Done:
    """What a command line came to."""

    status: int
    out: str
    err: str


@pytest.fixture
def command(capsys) -> Callable[..., Done]:
    """Run `t2t-vit` with arguments; return status and output."""

    def run(*arguments: object) -> Done:
        with pytest.raises(SystemExit) as exit_:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Done(int(exit_.value.code or 0), captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def pictures(tmp_path_factory) -> Path:
    """12 pictures to train on and 6 to validate with, of three classes."""
    root = tmp_path_factory.mktemp("data") / "some pictures"
    rng = np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 2)):
        for i, name in enumerate(("cat", "dog", "owl")):
            (root / split / name).mkdir(parents=True)
            for n in range(count):
                pixels = rng.integers(0, 120, (40, 50, 3), dtype=np.uint8)
                pixels[..., i] += 120
                Image.fromarray(pixels).save(root / split / name / f"{n}.png")
    return root


@pytest.fixture(scope="session")
def options(pictures) -> list[str]:
    """`--cfg-options` of a run that takes a second."""
    return ["--cfg-options", *TINY, f"data.root={pictures}"]


@pytest.fixture(scope="session")
def trained(options, tmp_path_factory) -> Path:
    """The work folder of a finished run."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    with pytest.raises(SystemExit) as exit_:
        main(["train", "t2t-vit-t-14_8xb64_in1k", "--work-dir", str(folder), *options])
    assert not exit_.value.code
    return folder
