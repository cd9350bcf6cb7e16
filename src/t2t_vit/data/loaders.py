"""Batches, from data sets, in the order of samplers, loaded by other processes."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any, Final

import torch
from torch.utils.data import DataLoader

from t2t_vit.data.datasets import EvaluationSet, TrainingSet
from t2t_vit.data.samplers import EverySampleOnce, ShuffledBatches

_SECONDS_AFTER_SIGTERM: Final = 30


class Loader(DataLoader[Any]):
    """A loader whose processes are ended by `close`, and do not wait for the garbage collector."""

    _batches: Iterator[Any] | None = None

    def __iter__(self) -> Any:
        self._batches = super().__iter__()
        return self._batches

    def close(self) -> None:
        """End the loading processes; nothing can be loaded after it."""
        end = getattr(self._batches, "_shutdown_workers", None)  # torch does it only where nobody holds the iterator
        if end is not None:
            end()
        self._batches = None


def training_loader(dataset: TrainingSet, batches: ShuffledBatches, **options: Any) -> Loader:
    """Return a loader of (images (B, C, H, W), labels (B,)) for the epoch that `batches` is set to.

    Args:
        dataset: The images.
        batches: Their order.
        options: `num_workers`, `pin_memory`, `persistent_workers`.
    """
    return Loader(dataset, batch_sampler=batches, **_options(**options))


def evaluation_loader(
    dataset: EvaluationSet, batch_size: int, rank: int = 0, world_size: int = 1, **options: Any
) -> Loader:
    """Return a loader of (images (B, C, H, W), labels (B,), indices (B,)): each image once over all processes."""
    sampler = EverySampleOnce(len(dataset), rank, world_size)
    return Loader(dataset, batch_size=batch_size, sampler=sampler, **_options(**options))


def _options(num_workers: int, pin_memory: bool, persistent_workers: bool) -> dict[str, Any]:
    # More loaders than cores get in each other's way, and torch warns of them.
    num_workers = min(num_workers, os.process_cpu_count() if hasattr(os, "process_cpu_count") else _cpu_count())
    return {
        "num_workers": num_workers,
        "pin_memory": pin_memory and torch.cuda.is_available(),
        "persistent_workers": persistent_workers and num_workers > 0,
        "worker_init_fn": _leave_signals_to_the_run,
    }


def _leave_signals_to_the_run(_: int) -> None:
    """Outlive what asks the run to stop: Ctrl-C reaches every process, and the run still needs its batch to save."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        # But not for ever: it is also how Python ends the processes that are left when it ends itself.
        signal.signal(signal.SIGTERM, lambda *_: signal.alarm(_SECONDS_AFTER_SIGTERM) and None)


def _cpu_count() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
