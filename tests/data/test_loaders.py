"""Batches as training and evaluation get them, from this process and from others."""

from __future__ import annotations

import pytest
import torch

from t2t_vit.data.augment import Augment
from t2t_vit.data.datasets import Digits, EvaluationSet, TrainingSet
from t2t_vit.data.loaders import evaluation_loader, training_loader
from t2t_vit.data.preprocess import Preprocess
from t2t_vit.data.samplers import ShuffledBatches

PREPROCESS = Preprocess((8, 8), None, "bicubic", (0.5,), (0.5,))
HERE = {"num_workers": 0, "pin_memory": False, "persistent_workers": False}
ELSEWHERE = {"num_workers": 2, "pin_memory": True, "persistent_workers": True}


class Few(Digits):
    """The first twenty digits."""

    def __init__(self):
        super().__init__("train")
        self.labels = self.labels[:20]


def training(rank=0, world_size=1, batch_size=8, **options):
    augment = Augment(
        PREPROCESS, crop_scale=(0.5, 1.0), crop_ratio=(0.8, 1.25), hflip=0.5, interpolation="bicubic",
        rand_augment="rand-m9-n2-mstd0.5-inc1", erase_prob=0.5, erase_area=(0.02, 0.3), rotate=10.0, translate=0.1,
    )  # fmt: skip
    batches = ShuffledBatches(20, batch_size, 3, rank, world_size)
    return batches, training_loader(TrainingSet(Few(), augment, 3), batches, **{**HERE, **options})


def epoch_of(batches, loader, epoch, step=0):
    batches.start_at(epoch, step)
    return list(loader)


def same(some, others):
    return len(some) == len(others) and all(
        torch.equal(a, b) for one, other in zip(some, others, strict=True) for a, b in zip(one, other, strict=True)
    )


def test_training_batches():
    epoch = epoch_of(*training(), epoch=0)
    assert [images.shape for images, _ in epoch] == [(8, 1, 8, 8)] * 2
    assert [labels.shape for _, labels in epoch] == [(8,)] * 2
    assert epoch[0][1].dtype == torch.int64


def test_batches_are_the_same_from_other_processes_epoch_by_epoch():
    """With workers that stay, as a worker that keeps an old epoch or seed would show in the second."""
    here, elsewhere = training(), training(**ELSEWHERE)
    epochs = [epoch_of(*here, epoch) for epoch in range(3)]
    assert all(same(epoch_of(*elsewhere, epoch), epochs[epoch]) for epoch in range(3))
    assert not same(epochs[0], epochs[1])


def test_epoch_goes_on_in_its_middle():
    whole = epoch_of(*training(), epoch=4)
    torch.rand(5)  # whatever happened in between
    assert same(epoch_of(*training(), epoch=4, step=1), whole[1:])


def test_processes_share_the_batches_of_one():
    whole = epoch_of(*training(), epoch=4)
    shares = [epoch_of(*training(rank, 2, 4), epoch=4) for rank in range(2)]
    together = [tuple(map(torch.cat, zip(*parts, strict=True))) for parts in zip(*shares, strict=True)]
    assert same(together, whole)


@pytest.mark.parametrize("world_size", [1, 3])
@pytest.mark.parametrize("options", [HERE, ELSEWHERE], ids=["here", "elsewhere"])
def test_evaluation_sees_every_image_once_with_its_label(world_size, options):
    dataset = EvaluationSet(Few(), PREPROCESS)
    seen = []
    for rank in range(world_size):
        for images, labels, indices in evaluation_loader(dataset, 3, rank, world_size, **options):
            assert images.shape == (len(indices), 1, 8, 8)
            seen += zip(indices.tolist(), labels.tolist(), strict=True)
    assert sorted(seen) == list(enumerate(dataset.images.labels))


def test_more_workers_than_cores_are_not_started(monkeypatch):
    monkeypatch.setattr("os.process_cpu_count", lambda: 2, raising=False)
    _, loader = training(num_workers=500)
    assert loader.num_workers == 2


def test_settings_without_workers_or_gpu_are_left_out(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    _, loader = training(num_workers=0, pin_memory=True, persistent_workers=True)
    assert not loader.pin_memory
    assert not loader.persistent_workers
