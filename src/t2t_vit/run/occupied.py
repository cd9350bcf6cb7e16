"""One run in a work folder at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from t2t_vit.engine.checkpoint import CheckpointFolder
from t2t_vit.engine.history import LOCK
from t2t_vit.errors import TrainingError


@contextmanager
def occupied(folder: Path) -> Iterator[None]:
    """Keep other runs out of `folder` while the run lasts, and remove what a killed one left half-written.

    Raises:
        TrainingError: There is a run in it, or it cannot be written.
    """
    lock = FileLock(folder / LOCK)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(blocking=False)
    except Timeout:
        raise TrainingError(
            f"another run is in {folder} at this moment; wait for it, or name another place with --work-dir"
        ) from None
    except OSError as error:
        raise TrainingError(f"cannot write into the work folder {folder} ({error.strerror})") from None
    try:
        CheckpointFolder(folder, keep=None).remove_leftovers()
        yield
    finally:
        lock.release()
