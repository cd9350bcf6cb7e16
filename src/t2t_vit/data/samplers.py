"""Which images make a batch: pure functions of the seed, the epoch and the step, so a run resumes anywhere.

The order is global: a batch holds the same images however many processes share it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from torch.utils.data import Sampler

from t2t_vit.errors import DatasetError


class SampleKey(NamedTuple):
    """One training sample: the epoch decides its augmentation, the number its image."""

    epoch: int
    image: int


class ShuffledBatches(Sampler[list[SampleKey]]):
    """The batches of one epoch, shuffled, from a step on.

    Images that do not fill a last batch sit out the epoch; a set smaller than one batch makes a batch of its own.

    Args:
        num_samples: Images in the data set.
        batch_size: Images a process and step.
        seed: Of the run.
        rank: Which of the processes this is.
        world_size: How many processes share a global batch.

    Raises:
        DatasetError: There are fewer images than processes.
    """

    def __init__(self, num_samples: int, batch_size: int, seed: int, rank: int = 0, world_size: int = 1) -> None:
        if num_samples < world_size:
            raise DatasetError(
                f"{num_samples} training images cannot be shared by {world_size} processes; start fewer processes"
            )
        self.num_samples = num_samples
        # Even, as Mixup pairs images.
        self.batch_size = min(batch_size, max(num_samples // world_size // 2 * 2, 1))
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0
        self.first_step = 0

    @property
    def steps_per_epoch(self) -> int:
        """Steps of a whole epoch."""
        return self.num_samples // (self.batch_size * self.world_size)

    def start_at(self, epoch: int, step: int = 0) -> None:
        """Make the next iteration that of `epoch`, from its batch `step` on."""
        self.epoch, self.first_step = epoch, step

    def __iter__(self) -> Iterator[list[SampleKey]]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.num_samples)
        for step in range(self.first_step, self.steps_per_epoch):
            first = (step * self.world_size + self.rank) * self.batch_size
            yield [SampleKey(self.epoch, int(i)) for i in order[first : first + self.batch_size]]

    def __len__(self) -> int:
        return self.steps_per_epoch - self.first_step


class EverySampleOnce(Sampler[int]):
    """The share of one process in an evaluation: every image is in exactly one share, none is padded."""

    def __init__(self, num_samples: int, rank: int = 0, world_size: int = 1) -> None:
        self._share = range(rank, num_samples, world_size)

    def __iter__(self) -> Iterator[int]:
        return iter(self._share)

    def __len__(self) -> int:
        return len(self._share)
