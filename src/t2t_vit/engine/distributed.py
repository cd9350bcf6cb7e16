"""Several processes that train together: who this one is, and how they meet.

Source: PyTorch's `torchrun` and SLURM's and Open MPI's environment variables.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import torch
import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from t2t_vit.errors import ConfigError, TrainingError

Shared = TypeVar("Shared")
Launcher = Literal["none", "pytorch", "slurm", "mpi"]

_PORT = "29500"


@dataclass(frozen=True)
class Process:
    """One of the processes of a run.

    Attributes:
        rank: Its number, from 0.
        world_size: How many there are.
        local_rank: Its number on its machine.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0

    @property
    def is_main(self) -> bool:
        """Whether this is the one that logs and writes."""
        return self.rank == 0

    def device(self, wanted: torch.device) -> torch.device:
        """Return the device of this process: its own GPU where GPUs are wanted."""
        return torch.device("cuda", self.local_rank) if wanted.type == "cuda" and self.world_size > 1 else wanted


@contextmanager
def process_group(launcher: Launcher, device: torch.device) -> Iterator[Process]:
    """Join the processes that `launcher` started, and leave them at the end.

    Raises:
        ConfigError: This process was not started by `launcher`.
        TrainingError: The others cannot be reached.
    """
    if launcher == "none":
        yield Process()
        return
    process = _from_environment(launcher)
    if device.type == "cuda":
        torch.cuda.set_device(process.local_rank)
    try:
        # After a restart, torchrun of PyTorch 2.15 hands out the same store again, in which gloo may find the addresses
        # of processes that are gone, and wait for them for ever. So each attempt has names of its own.
        store, _, _ = next(rendezvous("env://", process.rank, process.world_size))
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        store = dist.PrefixStore(f"attempt_{attempt}", store)  # type: ignore[attr-defined]  # it is public
        backend = "nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, store=store, rank=process.rank, world_size=process.world_size)
    except (RuntimeError, ValueError) as error:
        raise TrainingError(f"cannot meet the other processes of launcher {launcher!r}: {error}") from None
    try:
        yield process
    finally:
        dist.destroy_process_group()


def gather(value: Shared, process: Process) -> list[Shared]:
    """Return the values of all processes, by rank, in the main one; its own alone in another."""
    if process.world_size == 1:
        return [value]
    values: list[Any] | None = [None] * process.world_size if process.is_main else None
    dist.gather_object(value, values)
    return values if values is not None else [value]


def gather_everywhere(value: Shared, process: Process) -> list[Shared]:
    """Return the values of all processes, by rank, in each."""
    values: list[Any] = [value]
    if process.world_size > 1:
        values = [None] * process.world_size
        dist.all_gather_object(values, value)
    return values


def total(numbers: torch.Tensor, process: Process) -> torch.Tensor:
    """Return `numbers`, summed over all processes, in each."""
    if process.world_size > 1:
        dist.all_reduce(numbers)
    return numbers


def _from_environment(launcher: Launcher) -> Process:
    names = {
        "pytorch": ("RANK", "WORLD_SIZE", "LOCAL_RANK"),
        "slurm": ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"),
        "mpi": ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"),
    }[launcher]
    missing = [name for name in names if name not in os.environ]
    if missing:
        start = {"pytorch": "torchrun", "slurm": "srun", "mpi": "mpirun"}[launcher]
        raise ConfigError(f"--launcher {launcher}: {', '.join(missing)} not set; start this command with {start}")
    if launcher == "slurm" and "MASTER_ADDR" not in os.environ:
        os.environ["MASTER_ADDR"] = _first_slurm_host(os.environ.get("SLURM_STEP_NODELIST", "localhost"))
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    os.environ.setdefault("MASTER_PORT", _PORT)
    rank, world_size, local_rank = (int(os.environ[name]) for name in names)
    return Process(rank, world_size, local_rank)


def _first_slurm_host(nodes: str) -> str:
    if nodes == "localhost":
        return nodes
    try:
        listed = subprocess.run(["scontrol", "show", "hostname", nodes], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise ConfigError(f"--launcher slurm: cannot tell the first of {nodes!r} ({error}); set MASTER_ADDR") from None
    return listed.stdout.splitlines()[0]
