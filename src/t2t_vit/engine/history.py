"""What a run has left in its work folder, read back: how far it came and how good it was.

It needs no torch, so that many runs are listed at once.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from t2t_vit.files import json_lines

#: The file that a run holds while it goes on.
LOCK = ".lock"


@dataclass(frozen=True)
class Best:
    """The best evaluation with one kind of weights.

    Attributes:
        top1: Accuracy in percent.
        epoch: After which it was.
    """

    top1: float
    epoch: int


@dataclass(frozen=True)
class RunHistory:
    """One run.

    Attributes:
        folder: Its work folder.
        model: Architecture or baseline, empty if the run does not tell.
        state: `running`, `finished`, `stopped` (asked to), `failed` or `killed` (it did not get to say anything).
        reason: Of a run that was stopped or failed, what it said.
        step: Steps done, as far as they were logged.
        total_steps: Steps of the whole run, None if unknown.
        epoch: Epochs done, a fraction.
        epochs: Of the whole run, None if unknown.
        seconds: How long it took, without the pauses; None if unknown.
        begun: When it began, in seconds since 1970; None if unknown.
        best: Best evaluation for each kind of weights (`raw`, `ema`).
    """

    folder: Path
    model: str
    state: str
    reason: str
    step: int
    total_steps: int | None
    epoch: float
    epochs: int | None
    seconds: float | None
    begun: float | None
    best: dict[str, Best]


def find_runs(folder: Path) -> list[Path]:
    """Return the work folders of runs in `folder`, itself and below, by name."""
    return sorted(path.parent for path in folder.rglob("experiment.json") if path.is_file())


def read_history(folder: Path) -> RunHistory:
    """Return what the run in `folder` has left; what is missing or damaged counts as not said."""
    settings = _settings(folder / "experiment.json")
    schedule, model, baseline = (settings.get(name) for name in ("schedule", "model", "baseline"))
    name = (baseline.get("name") if isinstance(baseline, dict) else None) or (
        model.get("name") if isinstance(model, dict) else None
    )
    epochs = schedule.get("epochs") if isinstance(schedule, dict) else None
    events = list(_lines(folder / "timeline.jsonl"))
    step, epoch, best = 0, 0.0, dict[str, Best]()
    for line in _lines(folder / "log.jsonl"):
        step = max(step, int(_number(line, "step")))
        epoch = max(epoch, _number(line, "epoch"))
        top1 = line.get("accuracy/top1")
        weights = str(line.get("weights", "raw"))
        is_better = isinstance(top1, int | float) and (weights not in best or top1 > best[weights].top1)
        if line.get("kind") == "val" and is_better:
            best[weights] = Best(float(_number(line, "accuracy/top1")), int(_number(line, "epoch")))
    last = events[-1] if events else {}
    step = max(step, int(_number(last, "step")))
    running = _is_locked(folder / LOCK)
    reason = str(last.get("error", ""))
    if running:
        state = "running"
    elif reason:
        state = "stopped" if reason.startswith("stopped ") else "failed"
    elif last.get("event") == "end" or (isinstance(epochs, int) and epoch >= epochs):
        state = "finished"
    else:
        state = "killed"
    totals = [line["total_steps"] for line in events if isinstance(line.get("total_steps"), int)]
    return RunHistory(
        folder=folder,
        model=str(name or ""),
        state=state,
        reason=reason,
        step=step,
        total_steps=totals[-1] if totals else None,
        epoch=epoch,
        epochs=epochs if isinstance(epochs, int) else None,
        seconds=_seconds(events, folder / "log.jsonl", running),
        begun=_number(events[0], "time") if events else None,
        best=best,
    )


def _seconds(events: list[dict[str, Any]], log: Path, running: bool) -> float | None:
    """Return how long the run took without its pauses; the part that was killed until its last line of the log."""
    total, begun = 0.0, None
    for line in events:
        if line.get("event") == "begin":
            begun = _number(line, "time")
        elif begun is not None:
            total, begun = total + _number(line, "time") - begun, None
    if begun is not None:
        try:
            until = time.time() if running else log.stat().st_mtime
        except OSError:
            until = begun
        total += max(until - begun, 0.0)
    return total if events else None


def _settings(path: Path) -> dict[str, Any]:
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return settings if isinstance(settings, dict) else {}


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of a log; not those that are cut, as a run is killed, or writes on, in the middle of one."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    yield from filter(None, json_lines(text))


def _number(entry: dict[str, Any], name: str) -> float:
    value = entry.get(name, 0.0)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else 0.0


def _is_locked(path: Path) -> bool:
    """Whether a process holds the lock file; where there is none, none is made."""
    if not path.exists():
        return False
    try:
        with FileLock(path, timeout=0):
            return False
    except Timeout:
        return True
    except OSError:  # a folder that cannot be written
        return False
