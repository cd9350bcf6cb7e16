"""Which images make a batch: pure functions of the seed, the epoch and the step, so a run resumes anywhere.

The order is global: a step takes the same images however many processes and batches share it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from t2t_vit.errors import DatasetError


class SampleKey(NamedTuple):
    """One training sample: the epoch decides its augmentation, the number its image."""

    epoch: int
    image: int


class TrainingBatches(Sampler[list[SampleKey]]):
    """The batches of one process in one epoch, shuffled, from a step on.

    Images that do not fill a last step sit out the epoch; a set smaller than one step makes a step of its own.

    Args:
        num_samples: Images in the data set.
        batch_size: Images a process and batch.
        seed: Of the run.
        rank: Which of the processes this is.
        world_size: How many processes share a step.
        accumulation: How many batches of each process make a step.
        weights: How likely each image is drawn; None: each comes once an epoch.

    Raises:
        DatasetError: There are too few images for all to have one.
    """

    def __init__(
        self,
        num_samples: int,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        accumulation: int = 1,
        weights: Sequence[float] | None = None,
    ) -> None:
        shares = world_size * accumulation
        if num_samples < shares:
            raise DatasetError(
                f"{num_samples} training images cannot be shared by {world_size} processes with {accumulation} "
                "batches a step each; start fewer processes, or lower optimizer.accumulation"
            )
        self.num_samples = num_samples
        # Even, as Mixup pairs images.
        self.batch_size = min(batch_size, max(num_samples // shares // 2 * 2, 1))
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.accumulation = accumulation
        self.epoch = 0
        self.first_step = 0
        self._odds: NDArray[np.float64] | None = None
        if weights is not None:
            self._odds = np.asarray(weights, dtype=np.float64)
            self._odds /= self._odds.sum()

    @property
    def global_batch_size(self) -> int:
        """Images of a step."""
        return self.batch_size * self.world_size * self.accumulation

    @property
    def steps_per_epoch(self) -> int:
        """Steps of a whole epoch."""
        return self.num_samples // self.global_batch_size

    def start_at(self, epoch: int, step: int = 0) -> None:
        """Make the next iteration that of `epoch`, from its step `step` on."""
        self.epoch, self.first_step = epoch, step

    def __iter__(self) -> Iterator[list[SampleKey]]:
        rng = np.random.default_rng((self.seed, self.epoch))
        if self._odds is None:
            order = rng.permutation(self.num_samples)
        else:
            order = rng.choice(self.num_samples, self.num_samples, p=self._odds)
        for batch in range(self.first_step * self.accumulation, self.steps_per_epoch * self.accumulation):
            first = (batch * self.world_size + self.rank) * self.batch_size
            yield [SampleKey(self.epoch, int(i)) for i in order[first : first + self.batch_size]]

    def __len__(self) -> int:
        return (self.steps_per_epoch - self.first_step) * self.accumulation


class EverySampleOnce(Sampler[int]):
    """The share of one process in an evaluation: every image is in exactly one share, none is padded."""

    def __init__(self, num_samples: int, rank: int = 0, world_size: int = 1) -> None:
        self._share = range(rank, num_samples, world_size)

    def __iter__(self) -> Iterator[int]:
        return iter(self._share)

    def __len__(self) -> int:
        return len(self._share)
