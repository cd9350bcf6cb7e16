"""Which images make a batch: the same for any number of processes, and from any step on."""

from __future__ import annotations

from collections import Counter
from itertools import chain

import pytest

from t2t_vit.data.class_weights import class_weights
from t2t_vit.data.samplers import EverySampleOnce, TrainingBatches
from t2t_vit.errors import DatasetError


def epoch_of(sampler, epoch, step=0):
    sampler.start_at(epoch, step)
    return [[key.image for key in batch] for batch in sampler]


def global_batches(num_samples, global_batch_size, world_size, epoch=3, step=0):
    """The images of each global batch, the shares of the processes one after the other."""
    shares = [
        epoch_of(TrainingBatches(num_samples, global_batch_size // world_size, 7, rank, world_size), epoch, step)
        for rank in range(world_size)
    ]
    return [list(chain.from_iterable(parts)) for parts in zip(*shares, strict=True)]


@pytest.mark.parametrize("num_samples", [64, 100, 8, 11])
@pytest.mark.parametrize("world_size", [2, 4])
def test_global_batches_are_the_same_for_any_number_of_processes(num_samples, world_size):
    alone = global_batches(num_samples, 8, 1)
    assert len(alone) == num_samples // 8
    assert global_batches(num_samples, 8, world_size) == alone


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_every_image_is_seen_once_an_epoch(world_size):
    seen = Counter(chain.from_iterable(global_batches(64, 8, world_size)))
    assert seen == Counter(range(64))


def test_images_that_fill_no_batch_sit_out_and_others_the_next_time():
    sampler = TrainingBatches(10, 4, 7)
    epochs = [set(chain.from_iterable(epoch_of(sampler, epoch))) for epoch in range(8)]
    assert {len(seen) for seen in epochs} == {8}
    assert set.union(*epochs) == set(range(10))


def test_epochs_and_seeds_have_orders_of_their_own():
    orders = [epoch_of(TrainingBatches(64, 8, seed), epoch) for seed in (0, 1) for epoch in (0, 1)]
    assert len({str(order) for order in orders}) == 4
    assert epoch_of(TrainingBatches(64, 8, 0), 0) == orders[0]


def test_keys_carry_the_epoch():
    sampler = TrainingBatches(8, 4, 7)
    sampler.start_at(5)
    assert {key.epoch for batch in sampler for key in batch} == {5}


@pytest.mark.parametrize("step", [0, 1, 5, 8])
@pytest.mark.parametrize("world_size", [1, 2])
def test_epoch_goes_on_from_any_step(step, world_size):
    whole = global_batches(64, 8, world_size)
    assert global_batches(64, 8, world_size, step=step) == whole[step:]
    sampler = TrainingBatches(64, 8, 7)
    sampler.start_at(3, step)
    assert len(sampler) == 8 - step
    assert sampler.steps_per_epoch == 8


@pytest.mark.parametrize(
    ("num_samples", "batch_size", "world_size", "size", "steps"),
    [(10, 64, 1, 10, 1), (11, 64, 1, 10, 1), (10, 64, 2, 4, 1), (3, 64, 2, 1, 1), (1, 64, 1, 1, 1), (9, 3, 1, 3, 3)],
)
def test_small_set_is_a_batch_of_its_own(num_samples, batch_size, world_size, size, steps):
    sampler = TrainingBatches(num_samples, batch_size, 0, 0, world_size)
    assert sampler.batch_size == size
    assert [len(batch) for batch in sampler] == [size] * steps


def test_fewer_images_than_processes_are_refused():
    with pytest.raises(DatasetError, match="3 training images cannot be shared by 4 processes with 1 batches a step"):
        TrainingBatches(3, 8, 0, 0, 4)
    with pytest.raises(DatasetError, match="3 training images cannot be shared by 2 processes with 2 batches a step"):
        TrainingBatches(3, 8, 0, 0, 2, 2)


@pytest.mark.parametrize(("world_size", "accumulation"), [(1, 4), (2, 2), (4, 1)])
def test_a_step_takes_the_same_images_however_it_is_shared(world_size, accumulation):
    alone = epoch_of(TrainingBatches(50, 8, 7), 3, 2)
    shares = [epoch_of(TrainingBatches(50, 2, 7, rank, world_size, accumulation), 3, 2) for rank in range(world_size)]
    batches = [list(chain.from_iterable(parts)) for parts in zip(*shares, strict=True)]
    steps = [list(chain.from_iterable(batches[i : i + accumulation])) for i in range(0, len(batches), accumulation)]
    assert steps == alone
    sampler = TrainingBatches(50, 2, 7, 0, world_size, accumulation)
    assert (sampler.steps_per_epoch, sampler.global_batch_size, len(sampler)) == (6, 8, 6 * accumulation)


def test_balanced_draws_see_every_class_as_often():
    labels = [0] * 900 + [1] * 90 + [2] * 10
    by_class = class_weights(labels, 4)
    assert by_class == pytest.approx([1000 / 2700, 1000 / 270, 1000 / 30, 0])
    sampler = TrainingBatches(1000, 10, 7, weights=[by_class[label] for label in labels])
    seen = Counter(labels[i] for epoch in range(10) for i in chain.from_iterable(epoch_of(sampler, epoch)))
    assert all(3000 < count < 3700 for count in seen.values())
    assert epoch_of(sampler, 1) == epoch_of(sampler, 1)
    assert epoch_of(sampler, 1, 4) == epoch_of(sampler, 1)[4:]


@pytest.mark.parametrize("num_samples", [0, 1, 2, 10, 12])
@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_evaluation_sees_every_image_once_and_none_twice(num_samples, world_size):
    shares = [EverySampleOnce(num_samples, rank, world_size) for rank in range(world_size)]
    assert sorted(index for share in shares for index in share) == list(range(num_samples))
    assert [len(list(share)) for share in shares] == [len(share) for share in shares]
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
