"""Images as the loaders take them: augmented views to train on, preprocessed pictures to evaluate with.

B batch, C channels, (H, W) image size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count, islice
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset, IterableDataset, default_collate, get_worker_info

from t2t_vit.data.augment import Augment, seed_sample
from t2t_vit.data.erasing import Patch, Patches, cover, gather_patches
from t2t_vit.data.preprocess import Preprocess
from t2t_vit.data.samplers import SampleKey
from t2t_vit.data.sets.image_set import ImageSet
from t2t_vit.data.sets.streams import ImageStream, StreamedImage
from t2t_vit.errors import DatasetError, ImageError

#: So many unreadable images in a row are no accident.
_TRIES = 100
#: Keeps the draws of replacements apart from others of the same seed and epoch.
_REPLACEMENT = 3

_Loaded = TypeVar("_Loaded")


class BadImage(NamedTuple):
    """An image that cannot be used: what it is called, and a line that names it and says why not."""

    name: str
    reason: str


class View(NamedTuple):
    """A view (C, H, W), its image's label, number and name, and the images in whose place that stands.

    To train on it is uint8, and a patch may cover it; to evaluate with it is float32, normalized.
    """

    image: torch.Tensor
    label: int
    number: int
    name: str
    bad: list[BadImage]
    patch: Patch | None = None


class Batch(NamedTuple):
    """A batch to train on: views (B, C, H, W) as bytes, and all that makes them a model's input.

    Beside them labels (B,), numbers (B,) and names, and what could not be read.
    """

    images: torch.Tensor
    labels: torch.Tensor
    indices: torch.Tensor
    names: list[str]
    bad: list[BadImage]
    patches: Patches
    preprocess: Preprocess

    def inputs(self, device: torch.device) -> torch.Tensor:
        """Return the model's input (B, C, H, W), float32, on `device`: normalized, and erased where that was drawn."""
        images = self.preprocess.normalize_pixels(self.images.to(device, non_blocking=True))
        cover(images, self.patches)
        return images

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to another process with as few tensors as can be.

        Each takes a file of shared memory and a connection, which costs more than to pickle some numbers.
        """
        labels, indices = self.labels.tolist(), self.indices.tolist()
        return _unpack, (self.images, labels, indices, *self[3:])


class EvaluationBatch(NamedTuple):
    """A batch to evaluate with: images (B, C, H, W), float32, labels (B,), numbers (B,), and what could not be read."""

    images: torch.Tensor
    labels: torch.Tensor
    indices: torch.Tensor
    bad: list[BadImage]


class TrainingSet(Dataset[View]):
    """Augmented views; the view depends on the seed, the epoch and the index alone.

    In the place of an image that cannot be read stands another one, drawn from the same three.
    """

    def __init__(self, images: ImageSet, augment: Augment, seed: int) -> None:
        self.images = images
        self.augment = augment
        self.seed = seed

    def __getitem__(self, key: SampleKey) -> View:
        picture, index, bad = load_or_replace(self.images, key, self.seed, self._load)
        seed_sample(self.seed, key.epoch, key.image)
        view, patch = self.augment(picture)
        return View(view, self.images.labels[index], index, self.images.name(index), bad, patch)

    def __len__(self) -> int:
        return len(self.images)

    def _load(self, index: int) -> Image.Image:
        return self.images.load(index, self.augment.preprocess.mode)


class StreamedTrainingSet(IterableDataset[View]):
    """Augmented views of what a process sees of a stream; each depends on the seed, the epoch and its place alone.

    Every process and loading worker has shards of its own, and begins anew with them where an epoch is longer. In the
    place of an image that cannot be read stands the next one of its part.

    Args:
        stream: The images.
        augment: What is done to each.
        seed: Of the run.
        batch_size: Images a process and batch.
        batches_per_epoch: Of this process.
        rank: Which of the processes this is.
        world_size: How many there are.
    """

    def __init__(
        self,
        stream: ImageStream,
        augment: Augment,
        seed: int,
        *,
        batch_size: int,
        batches_per_epoch: int,
        rank: int,
        world_size: int,
    ) -> None:
        self.stream = stream
        self.augment = augment
        self.seed = seed
        self.batch_size = batch_size
        self.batches_per_epoch = batches_per_epoch
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0
        self.first_batch = 0

    def start_at(self, epoch: int, batch: int) -> None:
        """Make the next iteration that of `epoch`, from its batch `batch` on."""
        self.epoch, self.first_batch = epoch, batch

    def __iter__(self) -> Iterator[View]:
        worker = get_worker_info()
        num_workers, number = (worker.num_workers, worker.id) if worker is not None else (1, 0)
        # The loader takes a batch from each worker in turn, beginning with the first: that one has to go on with the
        # part that is next.
        part = (self.first_batch + number) % num_workers
        done = len(range(part, self.first_batch, num_workers)) * self.batch_size
        last = len(range(part, self.batches_per_epoch, num_workers)) * self.batch_size
        part, num_parts = self.rank * num_workers + part, self.world_size * num_workers
        ahead: list[StreamedImage] = []  # read in the place of others, and yet to come
        pictures = self._laps(part, num_parts, done)
        for place in range(done, last):
            picture, streamed, bad = self._load(ahead, pictures)
            index = place * num_parts + part
            seed_sample(self.seed, self.epoch, index)
            view, patch = self.augment(picture)
            yield View(view, streamed.label, index, streamed.name, bad, patch)

    def _laps(self, part: int, num_parts: int, skip: int) -> Iterator[StreamedImage]:
        """Yield a part's images over and over, in another order each time."""
        for lap in count():
            length = 0
            for streamed in self.stream.samples(self.seed, self.epoch + (lap << 32), part, num_parts):
                length += 1
                if skip:
                    skip -= 1
                else:
                    yield streamed
            if not length:
                raise DatasetError(f"part {part} of {num_parts} of the stream has no images; lower data.num_workers")

    def _load(
        self, ahead: list[StreamedImage], pictures: Iterator[StreamedImage]
    ) -> tuple[Image.Image, StreamedImage, list[BadImage]]:
        bad: list[BadImage] = []
        if not ahead:
            ahead.extend(islice(pictures, 1))
        for tried in range(_TRIES):
            if tried == len(ahead):
                ahead.extend(islice(pictures, 1))
            try:
                picture, streamed = ahead[tried].load(self.augment.preprocess.mode), ahead[tried]
            except ImageError as error:
                bad.append(_bad_image(ahead[tried].name, error))
                continue
            del ahead[0]
            return picture, streamed, bad
        raise DatasetError(f"{_TRIES} training images in a row cannot be read, the last because: {bad[-1].reason}")


class EvaluationSet(Dataset[View | BadImage]):
    """Preprocessed pictures."""

    def __init__(self, images: ImageSet, preprocess: Preprocess) -> None:
        self.images = images
        self.preprocess = preprocess

    def __getitem__(self, index: int) -> View | BadImage:
        try:
            view = self.preprocess(self.images.load(index, self.preprocess.mode))
        except ImageError as error:
            return _bad_image(self.images.name(index), error)
        return View(view, self.images.labels[index], index, self.images.name(index), [])

    def __len__(self) -> int:
        return len(self.images)


def load_or_replace(
    images: ImageSet, key: SampleKey, seed: int, load: Callable[[int], _Loaded]
) -> tuple[_Loaded, int, list[BadImage]]:
    """Return what `load` gives for an image, its number, and what could not be read before it.

    Args:
        images: Where it is.
        key: Which it is; in the place of one that cannot be read stands another, drawn from `key` and `seed`.
        seed: Of the run.
        load: Reads the image of a number; an `ImageError` says that it cannot be read.

    Raises:
        DatasetError: None of many can be read.
    """
    bad: list[BadImage] = []
    index, others = key.image, None
    for _ in range(_TRIES):
        try:
            return load(index), index, bad
        except ImageError as error:
            bad.append(_bad_image(images.name(index), error))
        others = others or np.random.default_rng((seed, _REPLACEMENT, key.epoch, key.image))
        index = int(others.integers(len(images)))
    raise DatasetError(f"{_TRIES} training images in a row cannot be read, the last because: {bad[-1].reason}")


def collate_views(preprocess: Preprocess, views: Sequence[View]) -> Batch:
    """Return training `views` as a batch, whose pixels `preprocess` will normalize."""
    return Batch(
        default_collate([view.image for view in views]),
        _whole_numbers(view.label for view in views),
        _whole_numbers(view.number for view in views),
        [view.name for view in views],
        [image for view in views for image in view.bad],
        gather_patches([view.patch for view in views]),
        preprocess,
    )


def collate_pictures(samples: Sequence[View | BadImage]) -> EvaluationBatch:
    """Return `samples` of an evaluation as a batch; it is smaller where some could not be read."""
    views = [sample for sample in samples if isinstance(sample, View)]
    return EvaluationBatch(
        default_collate([view.image for view in views]) if views else torch.empty(0),
        _whole_numbers(view.label for view in views),
        _whole_numbers(view.number for view in views),
        [sample for sample in samples if isinstance(sample, BadImage)],
    )


def _unpack(images: torch.Tensor, labels: list[int], indices: list[int], *others: Any) -> Batch:
    return Batch(images, _whole_numbers(labels), _whole_numbers(indices), *others)


def _whole_numbers(values: Iterable[int]) -> torch.Tensor:
    return torch.tensor(list(values), dtype=torch.int64)


def _bad_image(name: str, error: ImageError) -> BadImage:
    reason = str(error) if name in str(error) else f"{name}: {error}"
    # A file's name may have bytes that are no UTF-8, which neither a console nor a log would take.
    return BadImage(name, " ".join(reason.split()).encode("utf-8", "backslashreplace").decode("utf-8"))
