"""Training on images that are kept in memory and augmented there."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from forked_runs import log_of
from PIL import Image

from t2t_vit import run
from t2t_vit.config import Data
from t2t_vit.data.resident import loader as resident
from t2t_vit.engine.checkpoint import read_training_state
from t2t_vit.errors import ConfigError

WHOLE = {"augmentation": {"crop_scale": (1.0, 1.0), "crop_ratio": (1.0, 1.0), "hflip": 0.0, "rand_augment": None,
                          "erase_prob": 0.0, "mixup": 0.0, "cutmix": 0.0}}  # fmt: skip


def in_memory(experiment):
    return dataclasses.replace(experiment, data=dataclasses.replace(experiment.data, in_memory=True))


def assert_equal_runs(one, other):
    first, second = (read_training_state(folder / "epoch_2.pth") for folder in (one, other))
    for weights in ("model", "ema"):
        assert all(torch.equal(second[weights][name], value) for name, value in first[weights].items())
    assert log_of(one, "val") == log_of(other, "val")


@pytest.mark.parametrize("after", [2, 7])
def test_a_run_that_was_stopped_ends_as_one_that_was_not(after, recipe, tmp_path):
    experiment = in_memory(recipe(optimizer={"accumulation": 1}, data={"batch_size": 4}))
    run.train(experiment, tmp_path / "whole")
    runtime = dataclasses.replace(experiment.runtime, checkpoint_steps=after, keep_checkpoints=None)
    run.train(dataclasses.replace(experiment, runtime=runtime), tmp_path / "parts")
    for path in (tmp_path / "parts").glob("*.pth"):
        if path.name != f"step_{after}.pth":
            path.unlink()
    run.train(experiment, tmp_path / "parts", resume="auto")
    assert_equal_runs(tmp_path / "whole", tmp_path / "parts")


def test_without_augmentation_it_is_the_run_that_reads_images_each_time(pictures, recipe, tmp_path, save_pictures):
    experiment = recipe(**WHOLE, preprocessing={"crop_pct": 1.0, "crop_mode": "squash", "interpolation": "bilinear"})
    for path in pictures.rglob("*.png"):  # of the size of the view: nothing is resized in either way
        Image.open(path).resize((32, 32)).save(path)
    run.train(experiment, tmp_path / "read")
    run.train(in_memory(experiment), tmp_path / "kept")
    assert_equal_runs(tmp_path / "read", tmp_path / "kept")


def test_two_processes_take_the_steps_of_one(recipe, runs, tmp_path):
    whole = {**WHOLE, "model": {"drop_path_rate": 0.0}, "schedule": {"epochs": 1, "warmup_epochs": 0}}
    one = in_memory(recipe(**whole, data={"global_batch_size": 4}))
    run.train(one, tmp_path / "one")
    assert runs.train(one, tmp_path / "two", world_size=2) == [0, 0]
    losses = [[line["loss"] for line in log_of(tmp_path / name, "train")] for name in ("one", "two")]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def test_views_do_not_depend_on_the_batch(recipe, tmp_path, monkeypatch):
    """With all of the published augmentation, an image has the same view in batches of 4 and of 2."""
    seen: dict[int, dict[int, torch.Tensor]] = {}
    original = resident.ResidentBatch.inputs

    def inputs(self, device):
        torch.manual_seed(0)  # the noise that erases is not the image's
        views = original(self, device)
        for number, view in zip(self.indices.tolist(), views, strict=True):
            seen.setdefault(len(self.indices), {})[number] = view.clone()  # Mixup changes it in place
        return views

    monkeypatch.setattr(resident.ResidentBatch, "inputs", inputs)
    for size in (4, 2):
        once = {"schedule": {"epochs": 1, "warmup_epochs": 0}, "augmentation": {"erase_prob": 0.0}}
        run.train(in_memory(recipe(data={"batch_size": size}, **once)), tmp_path / str(size))
    common = seen[4].keys() & seen[2].keys()
    assert len(common) == 20
    assert all(torch.equal(seen[4][number], seen[2][number]) for number in common)


def test_images_that_cannot_be_read_are_replaced_and_listed(pictures, recipe, tmp_path):
    (pictures / "train" / "cat" / "3.png").write_bytes(b"no picture")
    Image.new("RGB", (300_000, 1)).save(pictures / "train" / "dog" / "5.png")  # resized, it would fill the memory
    limit = {"data": {"bad_images_limit": 0.2}}
    run.train(in_memory(recipe(**limit)), tmp_path / "one")
    run.train(in_memory(recipe(**limit)), tmp_path / "two")
    listed = (tmp_path / "one" / "bad_images.txt").read_text("utf-8")
    assert ("3.png" in listed, "5.png" in listed) == (True, True)
    assert_equal_runs(tmp_path / "one", tmp_path / "two")


def test_images_that_do_not_fit_are_told(recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(resident, "free_memory", lambda _: 2**15)
    with pytest.raises(ConfigError, match=r"data.in_memory: 21 images of 3 × 32 × 32 take .* GiB and cpu has .* free"):
        run.train(in_memory(recipe()), tmp_path)


def test_a_stream_cannot_be_kept():
    with pytest.raises(ValueError, match=r"data.in_memory needs all images at the beginning"):
        Data(dataset="tar_shards", root="x", streaming=True, num_images=5, in_memory=True)
