"""Batches as training and evaluation get them, from this process and from others."""

from __future__ import annotations

import signal
from unittest.mock import Mock

import pytest
import torch
from PIL import Image

from t2t_vit.data.augment import Augment
from t2t_vit.data.loaders import evaluation_loader, training_loader
from t2t_vit.data.preprocess import Preprocess
from t2t_vit.data.samplers import TrainingBatches
from t2t_vit.data.sets.digits import Digits
from t2t_vit.data.views import EvaluationSet, TrainingSet
from t2t_vit.errors import DatasetError, ImageError

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
    batches = TrainingBatches(20, batch_size, 3, rank, world_size)
    return training_loader(TrainingSet(Few(), augment, 3), batches, **{**HERE, **options})


def finished(batch):
    return batch.inputs(torch.device("cpu")), batch.labels, batch.indices


def epoch_of(loader, epoch, step=0):
    return [finished(batch) for batch in loader.from_step(epoch, step)]


def same(some, others):
    return len(some) == len(others) and all(
        torch.equal(a, b) for one, other in zip(some, others, strict=True) for a, b in zip(one, other, strict=True)
    )


def test_training_batches():
    epoch = epoch_of(training(), epoch=0)
    assert [images.shape for images, _, _ in epoch] == [(8, 1, 8, 8)] * 2
    assert [labels.shape for _, labels, _ in epoch] == [(8,)] * 2
    assert epoch[0][0].dtype == torch.float32
    assert epoch[0][1].dtype == torch.int64


@pytest.mark.parametrize("options", [HERE, ELSEWHERE], ids=["here", "elsewhere"])
def test_views_travel_as_bytes_in_shared_memory_and_alone(options):
    """Floats would be four times the memory, and every tensor is a file and a connection."""
    (batch, *_) = training(**options).from_step(0, 0)
    assert batch.images.dtype == torch.uint8
    assert batch.images.is_shared() == (options is ELSEWHERE)
    assert not batch.labels.is_shared()
    assert not batch.indices.is_shared()
    assert len(batch.patches.boxes) > 0


def test_inputs_are_normalized_as_in_evaluation():
    (batch,) = training(batch_size=20).from_step(1, 0)
    covered = {image for image, *_ in batch.patches.boxes}
    assert 0 < len(covered) < 20
    inputs = batch.inputs(torch.device("cpu"))
    for number in range(20):
        picture = Image.fromarray(batch.images[number, 0].numpy())
        assert torch.equal(inputs[number], PREPROCESS.normalize(picture)) == (number not in covered)
    assert batch.images.dtype == torch.uint8  # as it was


def test_loading_processes_keep_freed_memory_and_leave_signals_to_the_run(monkeypatch):
    kept, handled = Mock(), Mock()
    monkeypatch.setattr("t2t_vit.data.loaders.keep_freed_memory", kept)
    monkeypatch.setattr("signal.signal", handled)
    training().worker_init_fn(0)
    kept.assert_called_once_with()
    assert signal.SIGINT in {call.args[0] for call in handled.call_args_list}


def test_batches_are_the_same_from_other_processes_epoch_by_epoch():
    """With workers that stay, as a worker that keeps an old epoch or seed would show in the second."""
    here, elsewhere = training(), training(**ELSEWHERE)
    epochs = [epoch_of(here, epoch) for epoch in range(3)]
    assert all(same(epoch_of(elsewhere, epoch), epochs[epoch]) for epoch in range(3))
    assert not same(epochs[0], epochs[1])


def test_epoch_goes_on_in_its_middle():
    whole = epoch_of(training(), epoch=4)
    torch.rand(5)  # whatever happened in between
    assert same(epoch_of(training(), epoch=4, step=1), whole[1:])


def test_processes_share_the_batches_of_one():
    whole = epoch_of(training(), epoch=4)
    shares = [epoch_of(training(rank, 2, 4), epoch=4) for rank in range(2)]
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


class Broken(Few):
    """Some of its pictures cannot be read."""

    def __init__(self, *broken):
        super().__init__()
        self.broken = broken

    def load(self, index, mode):
        if index in self.broken:
            raise ImageError(f"digit {index} is\ncorrupt")
        return super().load(index, mode)


def of(images, **options):
    loader = training(**options)
    loader.dataset.images = images
    return loader


@pytest.mark.parametrize("options", [HERE, ELSEWHERE], ids=["here", "elsewhere"])
def test_unreadable_images_are_replaced_by_the_same_others_each_time(options):
    once, again, whole = (of(images, **options) for images in (Broken(3, 5), Broken(3, 5), Few()))
    batches = list(once.from_step(2, 0))
    assert same(list(map(finished, batches)), epoch_of(again, 2))
    bad = [image for batch in batches for image in batch.bad]
    expected = epoch_of(whole, 2)
    seen = [int(index) for batch in expected for index in batch[2]]
    assert {image.name for image in bad} >= {Few().name(index) for index in {3, 5} & set(seen)}
    assert all(image.reason.endswith("is corrupt") for image in bad)
    for batch, (whole_images, _, whole_indices) in zip(batches, expected, strict=True):
        images, labels, indices = finished(batch)
        assert not {3, 5} & set(indices.tolist())
        assert labels.tolist() == [Few().labels[int(index)] for index in indices]
        assert batch.names == [Few().name(int(index)) for index in indices]
        kept = [i for i, index in enumerate(whole_indices.tolist()) if index not in (3, 5)]
        assert torch.equal(indices[kept], whole_indices[kept])
        assert torch.equal(images[kept], whole_images[kept])


def test_a_set_of_which_nothing_can_be_read_is_an_error():
    with pytest.raises(DatasetError, match=r"100 training images in a row cannot be read, .* is corrupt"):
        list(of(Broken(*range(20))).from_step(0, 0))


def test_an_error_of_a_transform_is_none_of_the_image(monkeypatch):
    loader = training()
    monkeypatch.setattr(loader.dataset, "augment", Mock(side_effect=ImageError("a bug"), preprocess=PREPROCESS))
    with pytest.raises(ImageError, match="a bug"):
        list(loader.from_step(0, 0))


def test_an_evaluation_leaves_out_and_tells_what_cannot_be_read():
    dataset = EvaluationSet(Broken(0, 1, 2, 7), PREPROCESS)
    told = []
    loader = evaluation_loader(dataset, 3, on_bad=told.extend, **HERE)
    assert [indices.tolist() for _, _, indices in loader] == [
        [], [3, 4, 5], [6, 8], [9, 10, 11], [12, 13, 14], [15, 16, 17], [18, 19],
    ]  # fmt: skip
    assert [image.name for image in told] == [Few().name(i) for i in (0, 1, 2, 7)]
    with pytest.raises(ImageError, match="digit 0 is corrupt"):
        list(evaluation_loader(dataset, 3, **HERE))


def test_more_workers_than_cores_are_not_started(monkeypatch):
    monkeypatch.setattr("os.process_cpu_count", lambda: 2, raising=False)
    loader = training(num_workers=500)
    assert loader.num_workers == 2


def test_settings_without_workers_or_gpu_are_left_out(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    loader = training(num_workers=0, pin_memory=True, persistent_workers=True)
    assert not loader.pin_memory
    assert not loader.persistent_workers
