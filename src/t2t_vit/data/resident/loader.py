"""Training images that are kept in the memory of the device that computes, and augmented there a batch at a time.

Small images are read and moved faster than anything is done to them one by one: on a GPU nothing has to be loaded while
it computes, and on a CPU no process has to be fed beside it.

B batch, C channels, (H, W) image size, N images.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import torch
from rich.console import Console
from rich.progress import track

from t2t_vit.data.preprocess import Preprocess, channels_first
from t2t_vit.data.resident.augment import BatchAugment
from t2t_vit.data.resident.draws import uniform
from t2t_vit.data.samplers import SampleKey, TrainingBatches
from t2t_vit.data.sets.image_set import ImageSet
from t2t_vit.data.views import BadImage, load_or_replace
from t2t_vit.device import free_memory
from t2t_vit.errors import ConfigError

#: Keeps these draws apart from others of the same seed and epoch.
_AUGMENTATION: Final = 4


class ResidentImages:
    """N images, prepared as for testing, as bytes.

    In the place of one that cannot be read stands another, drawn from the seed.

    Args:
        images: What is read.
        preprocess: How they are prepared.
        seed: Of the run.
        device: Where they are kept.
        show_progress: Whether a terminal shows how far it is.

    Raises:
        ConfigError: They do not fit there.
        DatasetError: Too many cannot be read.
    """

    def __init__(
        self, images: ImageSet, preprocess: Preprocess, seed: int, device: torch.device, *, show_progress: bool = False
    ) -> None:
        shape = (len(images), len(preprocess.mean), *preprocess.img_size)
        _check_that_they_fit(shape, device)
        self.images = images
        self.preprocess = preprocess
        self.pixels = torch.empty(shape, dtype=torch.uint8)
        self.labels = torch.empty(len(images), dtype=torch.int64)
        self.bad: dict[int, list[BadImage]] = {}
        console = Console(stderr=True)
        is_shown = show_progress and console.is_terminal
        for number in track(
            range(len(images)), "reading images", console=console, transient=True, disable=not is_shown
        ):
            pixels, read, bad = load_or_replace(images, SampleKey(0, number), seed, self._load)
            self.pixels[number] = pixels
            self.labels[number] = images.labels[read]
            if bad:
                self.bad[number] = bad
        self.pixels = self.pixels.to(device)

    def _load(self, number: int) -> torch.Tensor:
        return channels_first(self.preprocess.crop(self.images.load(number, self.preprocess.mode)))


class ResidentBatch(NamedTuple):
    """A batch to train on: which images, what is drawn for each, and what could not be read.

    Its parts are called as those of `Batch`.
    """

    source: ResidentImages
    indices: torch.Tensor
    labels: torch.Tensor
    augment: BatchAugment
    key: tuple[int, ...]

    @property
    def names(self) -> list[str]:
        """What the images are called."""
        return [self.source.images.name(number) for number in self.indices.tolist()]

    @property
    def bad(self) -> list[BadImage]:
        """Images of this batch that could not be read, and are replaced by others."""
        if not self.source.bad:
            return []
        return [bad for number in self.indices.tolist() for bad in self.source.bad.get(number, [])]

    def inputs(self, device: torch.device) -> torch.Tensor:
        """Return the model's input (B, C, H, W), float32, on `device`."""
        draws = uniform(self.key, self.indices.tolist(), self.augment.num_draws)
        pixels = self.source.pixels
        images = pixels.index_select(0, self.indices.to(pixels.device, non_blocking=True))
        return self.augment(images, draws).to(device)


class ResidentLoader:
    """Batches of training, from any step on.

    Args:
        source: The images.
        augment: What is done to each; it depends on the seed, the epoch and the image's number alone.
        batches: Which images make a batch.
    """

    def __init__(self, source: ResidentImages, augment: BatchAugment, batches: TrainingBatches) -> None:
        self._source = source
        self._augment = augment
        self._batches = batches

    def from_step(self, epoch: int, step: int) -> Iterator[ResidentBatch]:
        """Return the batches of `epoch` from its step `step` on: as many a step as gradients are accumulated over."""
        self._batches.start_at(epoch, step)
        for keys in self._batches:
            indices = torch.tensor([key.image for key in keys])
            key = (self._batches.seed, _AUGMENTATION, epoch)
            yield ResidentBatch(self._source, indices, self._source.labels[indices], self._augment, key)

    @property
    def steps_per_epoch(self) -> int:
        """Steps of a whole epoch."""
        return self._batches.steps_per_epoch

    @property
    def global_batch_size(self) -> int:
        """Images of a step."""
        return self._batches.global_batch_size

    def close(self) -> None:
        """There is nothing to end."""


def _check_that_they_fit(shape: tuple[int, ...], device: torch.device) -> None:
    needed, free = torch.Size(shape).numel(), free_memory(device)
    if free is not None and needed > free:
        count, channels, height, width = shape
        raise ConfigError(
            f"data.in_memory: {count} images of {channels} × {height} × {width} take {needed / 2**30:.1f} GiB and "
            f"{device} has {free / 2**30:.1f} GiB free; leave it out, and data.num_workers processes load them"
        )
