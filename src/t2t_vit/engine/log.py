"""What a run says: a line for people, a JSON line for programs, TensorBoard, a progress bar on a terminal."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from t2t_vit.files import write_text


class RunLog:
    """Writes `log.jsonl`, `train.log` and `tensorboard/` of a work folder; does nothing where `active` is false.

    Args:
        folder: The work folder.
        active: Whether this process is the one that logs.
        from_step: Step that the run begins at; what an earlier process logged past it is dropped.
        total_steps: Steps of the whole run.
    """

    def __init__(self, folder: Path, *, active: bool, from_step: int, total_steps: int) -> None:
        self.folder = folder
        self.active = active
        self._from_step = from_step
        self._total_steps = total_steps
        self.console = Console(soft_wrap=True, quiet=not active, highlight=False)
        self._progress: Progress | None = None
        self._bar: Any = None
        self._board: Any = None

    def __enter__(self) -> Self:
        if not self.active:
            return self
        from torch.utils.tensorboard import SummaryWriter

        self.folder.mkdir(parents=True, exist_ok=True)
        _drop_steps_after(self.folder / "log.jsonl", self._from_step)
        self._board = SummaryWriter(str(self.folder / "tensorboard"), purge_step=self._from_step + 1)
        if self.console.is_terminal:
            self._progress = Progress(
                TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("time left"),
                TimeRemainingColumn(), TextColumn("{task.fields[status]}"), console=self.console,
            )  # fmt: skip
            self._bar = self._progress.add_task("steps", total=self._total_steps, completed=self._from_step, status="")
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()
        if self._board is not None:
            self._board.close()

    def say(self, line: str) -> None:
        """Show a line to people and keep it in `train.log`."""
        if not self.active:
            return
        self.console.print(line, markup=False)
        with (self.folder / "train.log").open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def record(self, kind: str, step: int, values: dict[str, Any]) -> None:
        """Keep `values` of `step`: a line in `log.jsonl`, and the numbers in TensorBoard under `kind`."""
        if not self.active:
            return
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"kind": kind, "step": step, **values}) + "\n")
        prefix = f"{kind}/{values['weights']}" if "weights" in values else kind
        for name, value in values.items():
            if isinstance(value, int | float):
                self._board.add_scalar(f"{prefix}/{name}", value, step)

    def advance(self, step: int, status: str = "") -> None:
        """Move the progress bar to `step`."""
        if self._progress is not None:
            fields: dict[str, Any] = {"status": status} if status else {}
            self._progress.update(self._bar, completed=step, **fields)


def duration(seconds: float) -> str:
    """Return `seconds` as people write it: 1:02:03."""
    return str(timedelta(seconds=round(seconds)))


def _drop_steps_after(path: Path, step: int) -> None:
    """Drop what is logged past `step`, and a last line that a killed run left half-written."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line)
        except (ValueError, KeyError, TypeError):
            continue
    write_text(path, "".join(f"{line}\n" for line in kept))
