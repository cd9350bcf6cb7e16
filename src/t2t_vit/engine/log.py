"""What a run says: a line for people, a JSON line for programs, TensorBoard, a progress bar on a terminal."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from t2t_vit.engine.weights_and_biases import WeightsAndBiases
from t2t_vit.files import write_text


class RunLog:
    """Writes `log.jsonl`, `train.log` and `tensorboard/` of a work folder; does nothing where `active` is false.

    Nothing is held back in memory, so a run that is killed has logged all up to its last checkpoint. `timeline.jsonl`
    has a line for each time that the run began or went on, and for each end: step, and time in seconds since 1970.

    Args:
        folder: The work folder.
        active: Whether this process is the one that logs.
        from_step: Step that the run begins at; what an earlier process logged past it is dropped.
        evaluated_step: Step of the last evaluation that it knows of; later ones are dropped, as they come again.
        total_steps: Steps of the whole run.
        wandb: Project of Weights & Biases that the figures go to as well, or None.
        settings: All settings of the run, for that project.
    """

    def __init__(
        self,
        folder: Path,
        *,
        active: bool,
        from_step: int,
        evaluated_step: int | None = None,
        total_steps: int,
        wandb: str | None = None,
        settings: dict[str, Any] | None = None,
    ) -> None:
        self.folder = folder
        self.active = active
        self._from_step = from_step
        self._evaluated_step = from_step if evaluated_step is None else evaluated_step
        self._step = from_step
        self._total_steps = total_steps
        self._project = wandb
        self._settings = settings or {}
        self.console = Console(soft_wrap=True, quiet=not active, highlight=False)
        self._progress: Progress | None = None
        self._bar: Any = None
        self._board: Any = None
        self._wandb: WeightsAndBiases | None = None
        self._sent: set[tuple[str, str, int]] = set()

    def __enter__(self) -> Self:
        if not self.active:
            return self
        from torch.utils.tensorboard import SummaryWriter

        self.folder.mkdir(parents=True, exist_ok=True)
        if self._project is not None:
            self._wandb = WeightsAndBiases(self._project, self.folder, self._settings)
        log = self.folder / "log.jsonl"
        ended = log.stat().st_mtime if log.exists() else None
        ends = {"val": self._evaluated_step}
        kept, dropped = _drop_after(log, self._from_step, ends)
        self._sent = {_key(line) for line in dropped}
        # Written anew: of a run that was killed, some of its last events are missing and others come twice.
        for events in (self.folder / "tensorboard").glob("events.out.tfevents.*"):
            events.unlink(missing_ok=True)
        self._board = SummaryWriter(str(self.folder / "tensorboard"))
        for line in kept:
            self._show_on_board(line["step"], _figures(line))
        _end_killed_part(self.folder / "timeline.jsonl", ended)
        self._note_time("begin", total_steps=self._total_steps)
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
        if self._wandb is not None:
            self._wandb.close(0 if error is None else 1)
        if self.active:
            how = {} if error is None else {"error": " ".join(str(error).split()) or type(error).__name__}
            with suppress(OSError):  # a full disk, which has stopped the run, or harms it no more
                self._note_time("end", **how)

    def say(self, line: str) -> None:
        """Show a line to people and keep it in `train.log`."""
        if not self.active:
            return
        line = line.encode("utf-8", "backslashreplace").decode()  # file names may be anything
        self.console.print(line, markup=False)
        with (self.folder / "train.log").open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def record(self, kind: str, step: int, values: dict[str, Any]) -> None:
        """Keep `values` of `step`: a line in `log.jsonl`, and the numbers in TensorBoard under `kind`.

        Those of kind `train` are shown beside the progress bar.
        """
        if not self.active:
            return
        line = {"kind": kind, "step": step, **values}
        figures = _figures(line)
        # First there, then here: what stands in log.jsonl has been sent, so a run that goes on does not send it again.
        if self._wandb is not None and _key(line) not in self._sent:
            self._wandb.send(step, figures)
        _append(self.folder / "log.jsonl", line)
        self._show_on_board(step, figures)
        self._board.flush()  # it writes every two minutes by itself, and a killed run would miss those
        if self._progress is not None and kind == "train":
            self._progress.update(self._bar, status=_status(values))

    def advance(self, step: int, *_: object) -> None:
        """Move the progress bar to `step`."""
        self._step = step
        if self._progress is not None:
            self._progress.update(self._bar, completed=step)

    def _show_on_board(self, step: int, figures: dict[str, float]) -> None:
        for name, value in figures.items():
            self._board.add_scalar(name, value, step)

    def _note_time(self, event: str, **values: Any) -> None:
        line = {"event": event, "step": self._step, "time": round(time.time(), 3), **values}
        _append(self.folder / "timeline.jsonl", line)


def duration(seconds: float) -> str:
    """Return `seconds` as people write it: 1:02:03."""
    return str(timedelta(seconds=round(seconds)))


def _append(path: Path, line: dict[str, Any]) -> None:
    """Add a JSON line; where a killed run left half of one, it is ended first."""
    with path.open("ab+") as file:
        if file.seek(0, os.SEEK_END) and file.seek(-1, os.SEEK_END) is not None and file.read(1) != b"\n":
            file.write(b"\n")
        file.write((json.dumps(line) + "\n").encode())


def _end_killed_part(timeline: Path, ended: float | None) -> None:
    """Note the end of a part that was killed before it could; `ended` is when it logged last, None if never."""
    if ended is None or not timeline.exists():
        return
    last = timeline.read_text(encoding="utf-8", errors="replace").splitlines()[-1:]
    with suppress(ValueError, KeyError, TypeError):  # what is half-written says nothing
        event = json.loads("".join(last))
        if event["event"] == "begin" and event["time"] <= ended:
            _append(timeline, {"event": "end", "step": event["step"], "time": round(ended, 3), "error": "killed"})


def _status(values: dict[str, Any]) -> str:
    """Return what stands beside the progress bar."""
    forms = {"loss": "loss {:.3f}", "lr": "rate {:.2e}", "images_per_second": "{:.0f} images/s"}
    parts = [form.format(values[name]) for name, form in forms.items() if name in values]
    memory = values.get("memory_mib", _resident_mib())
    return "  ".join([*parts, *([f"{memory:.0f} MiB"] if memory is not None else [])])


def _resident_mib() -> float | None:
    """Return the memory of this process in MiB; None where the system does not tell it in a file."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
    except (OSError, ValueError, IndexError, AttributeError):
        return None


def _drop_after(path: Path, step: int, of_kind: Mapping[str, int]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Drop what is logged past `step`, or past that of its kind, and what a killed run left half-written.

    Returns:
        The lines that are kept, and those that are dropped.
    """
    if not path.exists():
        return [], []
    kept: list[dict[str, Any]] = []
    dropped: list[dict[str, Any]] = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(line)
            is_past = entry["step"] > of_kind.get(entry["kind"], step)
        except (ValueError, KeyError, TypeError):
            continue
        (dropped if is_past else kept).append(entry)
    write_text(path, "".join(f"{json.dumps(entry)}\n" for entry in kept))
    return kept, dropped


def _figures(line: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of a line of the log, by the names that they have on boards."""
    prefix = f"{line['kind']}/{line['weights']}" if "weights" in line else line["kind"]
    return {
        f"{prefix}/{name}": value for name, value in line.items() if name != "step" and isinstance(value, int | float)
    }


def _key(entry: dict[str, Any]) -> tuple[str, str, int]:
    """Return what tells one line of a run from the others."""
    return str(entry.get("kind")), str(entry.get("weights", "")), entry["step"]
