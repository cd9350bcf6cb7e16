"""What ends a run, said in a line that tells what to do."""

from __future__ import annotations

import re

import torch

from t2t_vit.engine.distributed import Process
from t2t_vit.errors import LoadingError, T2TViTError, TrainingError

_OUT_OF_MEMORY = re.compile(r"can't allocate memory|out of memory|CUBLAS_STATUS_ALLOC_FAILED", re.IGNORECASE)
_LOST_PROCESS = re.compile(
    r"[Cc]onnection (closed|reset|refused)|Broken pipe|NCCL|gloo|[Tt]imed out waiting|remote process", re.DOTALL
)


def explain(error: Exception, step: int, batch_size: int, process: Process) -> TrainingError | None:
    """Return what `error` means for the run; None if it says so itself, or if it is a bug.

    Args:
        error: What was raised.
        step: Steps done.
        batch_size: Images a process and batch.
        process: Which of the processes this is.
    """
    text = str(error)
    where = f"after step {step}"
    if isinstance(error, LoadingError):
        return TrainingError(f"{text}, and go on with --resume (this was {where})")
    if isinstance(error, T2TViTError):
        return None
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or _OUT_OF_MEMORY.search(text):
        return TrainingError(
            f"out of memory {where} with batches of {batch_size} images; lower data.batch_size (and raise "
            "optimizer.accumulation by as much for the same run), or set model.grad_checkpointing=true or "
            "runtime.precision=bfloat16"
        )
    if process.world_size > 1 and isinstance(error, RuntimeError) and _LOST_PROCESS.search(text):
        return TrainingError(
            f"process {process.rank} of {process.world_size} has lost another one {where}: it was killed, or has "
            "ended with an error of its own; go on with --resume auto"
        )
    if isinstance(error, RuntimeError) and type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
        return TrainingError(f"runtime.compile failed ({text.strip().splitlines()[0]}); train without it")
    return None
