"""Batches, from data sets, in the order of samplers, loaded by other processes."""

from __future__ import annotations

import os
import signal
from typing import Any

import torch
from torch.utils.data import DataLoader

from t2t_vit.data.datasets import EvaluationSet, TrainingSet
from t2t_vit.data.samplers import EverySampleOnce, ShuffledBatches


def training_loader(dataset: TrainingSet, batches: ShuffledBatches, **options: Any) -> DataLoader[Any]:
    """Return a loader of (images (B, C, H, W), labels (B,)) for the epoch that `batches` is set to.

    Args:
        dataset: The images.
        batches: Their order.
        options: `num_workers`, `pin_memory`, `persistent_workers`.
    """
    return DataLoader(dataset, batch_sampler=batches, **_options(**options))


def evaluation_loader(
    dataset: EvaluationSet, batch_size: int, rank: int = 0, world_size: int = 1, **options: Any
) -> DataLoader[Any]:
    """Return a loader of (images (B, C, H, W), labels (B,), indices (B,)): each image once over all processes."""
    sampler = EverySampleOnce(len(dataset), rank, world_size)
    return DataLoader(dataset, batch_size=batch_size, sampler=sampler, **_options(**options))


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
    """Ignore what asks the run to stop: Ctrl-C reaches every process, and the run still needs its batch to save."""
    for name in ("SIGINT", "SIGTERM", "SIGUSR1"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


def _cpu_count() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
