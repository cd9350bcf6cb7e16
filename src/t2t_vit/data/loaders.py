"""Batches, from data sets, in the order of samplers, loaded by other processes."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

import torch
from torch.utils.data import DataLoader

from t2t_vit.data.decode import silence_pillow
from t2t_vit.data.freed_memory import keep_freed_memory
from t2t_vit.data.samplers import EverySampleOnce, TrainingBatches
from t2t_vit.data.views import (
    BadImage,
    Batch,
    EvaluationSet,
    StreamedTrainingSet,
    TrainingSet,
    collate_pictures,
    collate_views,
)
from t2t_vit.errors import ImageError, LoadingError

_SECONDS_AFTER_SIGTERM: Final = 30
_SECONDS_TO_DIE: Final = 1
_IN_WORKER: Final = "in DataLoader worker process"  # torch's words before an error that a loading process has raised
_LOST: Final = "a loading process was killed, mostly for want of memory; lower data.num_workers or data.batch_size"


class Loader(DataLoader[Any]):
    """A loader whose processes are ended by `close`, and do not wait for the garbage collector."""

    _batches: Iterator[Any] | None = None

    def __iter__(self) -> Any:
        with self._naming_the_lost():
            self._batches = super().__iter__()
        # torch would raise the death of a loading process wherever the run stands, even within an optimizer's step;
        # without its handler it is raised where the next batch is asked for.
        if hasattr(signal, "SIGCHLD") and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        return self._each()

    def _each(self) -> Iterator[Any]:
        assert self._batches is not None
        with self._naming_the_lost():
            yield from self._batches

    @contextmanager
    def _naming_the_lost(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if _IN_WORKER not in str(error) and self._has_lost_a_process():
                raise LoadingError(_LOST) from error
            raise

    def _has_lost_a_process(self) -> bool:
        # Its end of a pipe closes a little before the process counts as dead: what was raised may be a broken pipe.
        workers = getattr(self._batches, "_workers", ())
        end = time.monotonic() + _SECONDS_TO_DIE
        while workers and time.monotonic() < end:
            if not all(worker.is_alive() for worker in workers):
                return True
            time.sleep(0.01)
        return False

    def close(self) -> None:
        """End the loading processes; nothing can be loaded after it."""
        end = getattr(self._batches, "_shutdown_workers", None)  # torch does it only where nobody holds the iterator
        if end is not None:
            end()
        self._batches = None


class TrainingLoader(Loader):
    """Batches of training, from any step on."""

    batch_sampler: TrainingBatches
    dataset: TrainingSet

    def from_step(self, epoch: int, step: int) -> Iterator[Batch]:
        """Return the batches of `epoch` from its step `step` on: as many a step as gradients are accumulated over."""
        self.batch_sampler.start_at(epoch, step)
        batches: Iterator[Batch] = iter(self)
        return batches

    @property
    def steps_per_epoch(self) -> int:
        """Steps of a whole epoch."""
        return self.batch_sampler.steps_per_epoch

    @property
    def global_batch_size(self) -> int:
        """Images of a step."""
        return self.batch_sampler.global_batch_size


class StreamLoader(Loader):
    """Batches of training from a stream, from any step on.

    Attributes:
        accumulation: How many batches of each process make a step.
    """

    dataset: StreamedTrainingSet
    accumulation: int

    def from_step(self, epoch: int, step: int) -> Iterator[Batch]:
        """Return the batches of `epoch` from its step `step` on: as many a step as gradients are accumulated over."""
        self.dataset.start_at(epoch, step * self.accumulation)
        batches: Iterator[Batch] = iter(self)
        return batches

    @property
    def steps_per_epoch(self) -> int:
        """Steps of a whole epoch."""
        return self.dataset.batches_per_epoch // self.accumulation

    @property
    def global_batch_size(self) -> int:
        """Images of a step."""
        return self.dataset.batch_size * self.dataset.world_size * self.accumulation

    @property
    def num_parts(self) -> int:
        """Into how many parts the stream is shared out."""
        return self.dataset.world_size * max(self.num_workers, 1)


class EvaluationLoader(Loader):
    """Batches of (images (B, C, H, W), labels (B,), indices (B,)).

    Attributes:
        on_bad: Called with images that cannot be read and are not in the batch.
    """

    on_bad: Callable[[list[BadImage]], None]

    def __iter__(self) -> Any:
        for batch in super().__iter__():
            if batch.bad:
                self.on_bad(batch.bad)
            yield batch[:3]


def training_loader(dataset: TrainingSet, batches: TrainingBatches, **options: Any) -> TrainingLoader:
    """Return a loader of `Batch`es.

    Args:
        dataset: The images.
        batches: Their order.
        options: `num_workers`, `pin_memory`, `persistent_workers`.
    """
    collate = partial(collate_views, dataset.augment.preprocess)
    return TrainingLoader(dataset, batch_sampler=batches, collate_fn=collate, **_options(**options))


def stream_loader(dataset: StreamedTrainingSet, accumulation: int, **options: Any) -> StreamLoader:
    """Return a loader of `Batch`es of a stream.

    Args:
        dataset: The images.
        accumulation: How many batches of each process make a step.
        options: `num_workers`, `pin_memory`, `persistent_workers`.
    """
    # Workers that stay would not be told of the next epoch.
    options = {**_options(**options), "persistent_workers": False}
    collate = partial(collate_views, dataset.augment.preprocess)
    loader = StreamLoader(dataset, batch_size=dataset.batch_size, collate_fn=collate, **options)
    loader.accumulation = accumulation
    return loader


def evaluation_loader(
    dataset: EvaluationSet,
    batch_size: int,
    rank: int = 0,
    world_size: int = 1,
    on_bad: Callable[[list[BadImage]], None] | None = None,
    **options: Any,
) -> EvaluationLoader:
    """Return a loader of each image, once over all processes.

    Args:
        dataset: The images.
        batch_size: Images a batch.
        rank: Which of the processes this is.
        world_size: How many share the images.
        on_bad: Called with images that cannot be read; None: they are an `ImageError`.
        options: `num_workers`, `pin_memory`, `persistent_workers`.
    """
    sampler = EverySampleOnce(len(dataset), rank, world_size)
    loader = EvaluationLoader(
        dataset, batch_size=batch_size, sampler=sampler, collate_fn=collate_pictures, **_options(**options)
    )
    loader.on_bad = on_bad or _refuse
    return loader


def _refuse(bad: list[BadImage]) -> None:
    raise ImageError(bad[0].reason)


def _options(num_workers: int, pin_memory: bool, persistent_workers: bool) -> dict[str, Any]:
    # More loaders than cores get in each other's way, and torch warns of them.
    num_workers = min(num_workers, os.process_cpu_count() if hasattr(os, "process_cpu_count") else _cpu_count())
    return {
        "num_workers": num_workers,
        "pin_memory": pin_memory and torch.cuda.is_available(),
        "persistent_workers": persistent_workers and num_workers > 0,
        "worker_init_fn": _start_worker,
    }


def _start_worker(_: int) -> None:
    _leave_signals_to_the_run()
    keep_freed_memory()
    silence_pillow()


def _leave_signals_to_the_run() -> None:
    """Outlive what asks the run to stop: Ctrl-C reaches every process, and the run still needs its batch to save."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        # But not for ever: it is also how Python ends the processes that are left when it ends itself.
        signal.signal(signal.SIGTERM, lambda *_: signal.alarm(_SECONDS_AFTER_SIGTERM) and None)


def _cpu_count() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
