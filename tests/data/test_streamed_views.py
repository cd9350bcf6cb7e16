"""Views of a stream: shared out over processes and workers, and gone on with from any step."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from t2t_vit.data.augment import Augment
from t2t_vit.data.loaders import stream_loader
from t2t_vit.data.preprocess import Preprocess
from t2t_vit.data.sets.digits import Digits
from t2t_vit.data.sets.streams import ImageStream, StreamedImage
from t2t_vit.data.views import StreamedTrainingSet
from t2t_vit.errors import DatasetError, ImageError

PREPROCESS = Preprocess((8, 8), None, "bicubic", (0.5,), (0.5,))


class DigitShards(ImageStream):
    """The first digits, twelve a shard."""

    def __init__(self, num_shards=4, broken=()):
        self.digits = Digits("train")
        self.classes = self.digits.classes
        self.num_shards = num_shards
        self.num_images = 12 * num_shards
        self.shuffle_buffer = 5
        self.broken = broken

    def read(self, shard):
        for number in range(12 * shard, 12 * shard + 12):
            yield StreamedImage(str(number), self.digits.labels[number], lambda mode, n=number: self.load(n, mode))

    def load(self, number, mode):
        if number in self.broken:
            raise ImageError(f"digit {number} is corrupt")
        return self.digits.load(number, mode)


def loader_of(stream, rank=0, world_size=1, workers=0, accumulation=1, batches=12):
    augment = Augment(
        PREPROCESS, crop_scale=(0.5, 1.0), crop_ratio=(0.8, 1.25), hflip=0.5, interpolation="bicubic",
        rand_augment=None, erase_prob=0.5, erase_area=(0.02, 0.3), rotate=10.0, translate=0.1,
    )  # fmt: skip
    views = StreamedTrainingSet(
        stream, augment, 7, batch_size=4, batches_per_epoch=batches // world_size, rank=rank, world_size=world_size
    )
    options = {"num_workers": workers, "pin_memory": False, "persistent_workers": True}
    return stream_loader(views, accumulation, **options)


def same(some, others):
    return [batch.names for batch in some] == [batch.names for batch in others] and all(
        torch.equal(one.images, other.images) for one, other in zip(some, others, strict=True)
    )


@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.parametrize("world_size", [1, 2])
def test_an_epoch_sees_every_image_once(workers, world_size):
    seen = Counter()
    for rank in range(world_size):
        loader = loader_of(DigitShards(), rank, world_size, workers)
        batches = list(loader.from_step(3, 0))
        assert len(batches) == loader.steps_per_epoch == 12 // world_size
        assert loader.global_batch_size == 4 * world_size
        seen.update(name for batch in batches for name in batch.names)
        assert [Digits("train").labels[int(name)] for name in batches[0].names] == batches[0].labels.tolist()
    assert seen == Counter(str(number) for number in range(48))


@pytest.mark.parametrize(("workers", "accumulation"), [(0, 1), (2, 1), (2, 2)])
@pytest.mark.parametrize("broken", [(), (3, 17, 18, 40)], ids=["whole", "broken"])
def test_an_epoch_goes_on_from_any_step(workers, accumulation, broken):
    whole = list(loader_of(DigitShards(broken=broken), workers=workers, accumulation=accumulation).from_step(2, 0))
    for step in (1, 2, 5):
        rest = loader_of(DigitShards(broken=broken), workers=workers, accumulation=accumulation).from_step(2, step)
        assert same(list(rest), whole[step * accumulation :])


def test_epochs_have_orders_and_views_of_their_own_with_the_same_loader():
    loader = loader_of(DigitShards(), workers=2)
    epochs = [list(loader.from_step(epoch, 0)) for epoch in (0, 1, 0)]
    assert same(epochs[0], epochs[2])
    assert [batch.names for batch in epochs[0]] != [batch.names for batch in epochs[1]]


def test_a_longer_epoch_begins_anew_with_the_images_in_another_order():
    batches = list(loader_of(DigitShards(), batches=24).from_step(0, 0))
    names = [name for batch in batches for name in batch.names]
    assert Counter(names) == Counter({str(number): 2 for number in range(48)})
    assert names[:48] != names[48:]
    assert same(list(loader_of(DigitShards(), batches=24).from_step(0, 15)), batches[15:])


def test_the_next_image_stands_in_for_one_that_cannot_be_read():
    batches = list(loader_of(DigitShards(broken=(3, 17))).from_step(0, 0))
    whole = list(loader_of(DigitShards()).from_step(0, 0))
    names = [name for batch in batches for name in batch.names]
    expected = [name for batch in whole for name in batch.names]
    for place, name in enumerate(expected):
        if name in ("3", "17") and place + 1 < len(expected):
            assert names[place] == next(n for n in expected[place:] if n not in ("3", "17"))
        elif name not in ("3", "17"):
            assert names[place] == name
    assert {image.name for batch in batches for image in batch.bad} == {"3", "17"}


def test_streams_without_a_readable_image_or_enough_shards_are_errors():
    with pytest.raises(DatasetError, match="100 training images in a row cannot be read"):
        list(loader_of(DigitShards(broken=range(48))).from_step(0, 0))
    with pytest.raises(DatasetError, match="1 shards cannot be shared by 2 loading processes"):
        list(loader_of(DigitShards(num_shards=1), rank=1, world_size=2).from_step(0, 0))
