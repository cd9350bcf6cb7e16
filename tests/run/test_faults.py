"""A disk that is full or may not be written: one line, and the last good checkpoint is kept."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from t2t_vit import run
from t2t_vit.engine.checkpoint import CheckpointFolder, read_training_state
from t2t_vit.errors import TrainingError


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A file system of half a megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", folder]
    if os.name == "nt" or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system takes an administrator")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_folder_that_may_not_be_written_is_told_before_training(recipe, small_disk):
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(TrainingError, match=r"cannot write into the work folder .*Read-only file system"):
        run.train(recipe(), small_disk / "run")


def test_a_file_in_place_of_the_work_folder_is_told(recipe, tmp_path):
    (tmp_path / "run").write_text("a file")
    with pytest.raises(TrainingError, match="cannot write into the work folder"):
        run.train(recipe(), tmp_path / "run")


def test_a_full_disk_ends_the_run_and_keeps_the_last_good_checkpoint(recipe, small_disk):
    experiment = recipe(
        schedule={"epochs": 100, "warmup_epochs": 0}, runtime={"keep_checkpoints": 100, "validate": False}
    )
    with pytest.raises(
        TrainingError,
        match=r"cannot write the checkpoint .*epoch_\d+\.pth \(.*\); the last good one is .*epoch_\d+",
    ) as error:
        run.train(experiment, small_disk)
    assert "\n" not in str(error.value)

    last = run.resume_point(small_disk, "last")
    assert read_training_state(last)["step"] > 0
    assert not [path for path in small_disk.rglob(".*") if path.suffix == ".pth"]  # nothing half-written is left


def test_a_checkpoint_that_cannot_be_written_leaves_those_before_it(tmp_path, monkeypatch):
    import torch

    folder = CheckpointFolder(tmp_path, keep=1)
    folder.save("epoch_1.pth", {"step": 1})

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(TrainingError, match=r"epoch_2\.pth \(No space left on device\); the last good one is .*_1"):
        folder.save("epoch_2.pth", {"step": 2})
    assert [path.name for path in tmp_path.glob("*.pth")] == ["epoch_1.pth"]
    assert folder.last() == tmp_path / "epoch_1.pth"
