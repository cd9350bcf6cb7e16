"""Runs that are killed at the worst moments lose nothing."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest
from forked_runs import log_of
from test_exact_resume import content, differences

NUM_RUNS, KILLS_A_RUN = 8, 5


def experiment_of(recipe):
    return recipe(
        model={"drop_path_rate": 0.3, "embed_dim": 96, "depth": 4},  # large enough to be caught in writing
        data={"batch_size": 2, "num_workers": 0},
        optimizer={"lr": 1e-2, "accumulation": 2},
        schedule={"epochs": 6, "warmup_epochs": 1},
        runtime={"log_interval": 1, "checkpoint_steps": 2},
    )


def half_written(folder: Path) -> list[str]:
    return [entry.name for entry in os.scandir(folder) if entry.name.startswith(".") and entry.name.endswith(".pth")]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_forty_kills_change_nothing(recipe, runs, tmp_path):
    experiment, rng = experiment_of(recipe), random.Random(0)
    whole = tmp_path / "whole"
    assert runs.train(experiment, whole) == [0]
    in_writing = resumed = 0
    for n in range(NUM_RUNS):
        parts = tmp_path / str(n)
        for kill in range(KILLS_A_RUN):
            (pid,) = runs.start(experiment, parts, resume="auto")
            wait_for_steps(parts, steps_logged(parts) + rng.randrange(4), pid)
            time.sleep(rng.uniform(0.0, 0.05))
            if kill % 2:  # this one in the next write of a checkpoint
                while not (parts.exists() and half_written(parts)) and is_running(pid):
                    pass
            os.kill(pid, signal.SIGKILL)
            assert runs.wait() == [-signal.SIGKILL], runs.said()
            in_writing += parts.exists() and bool(half_written(parts))
        assert runs.train(experiment, parts, resume="auto") == [0], runs.said()
        resumed += "resumed from" in runs.said()
        assert differences(content(parts / "epoch_6.pth"), content(whole / "epoch_6.pth")) == []
        assert log_of(parts) == log_of(whole)
        assert steps_on_board(parts) == [line["step"] for line in log_of(whole, "train")]
        assert not half_written(parts)
    print(f"{NUM_RUNS * KILLS_A_RUN} kills, {in_writing} of them in the write of a checkpoint")
    assert in_writing >= 10
    assert resumed >= NUM_RUNS // 2  # else they were killed too early to show anything


def wait_for_write(folder: Path, number: int, pid: int) -> None:
    """Return in the middle of so many writes of a checkpoint, or when the process has ended."""
    seen: set[str] = set()
    while len(seen) < number and is_running(pid):
        seen.update(half_written(folder) if folder.exists() else ())


def wait_for_steps(folder: Path, number: int, pid: int) -> None:
    """Return when so many steps are logged, or when the process has ended."""
    while steps_logged(folder) < number and is_running(pid):
        time.sleep(0.001)


def steps_logged(folder: Path) -> int:
    path = folder / "log.jsonl"
    return path.read_bytes().count(b'"kind": "train"') if path.exists() else 0


def is_running(pid: int) -> bool:
    """Whether the process has not ended; its parent has not asked for its status yet."""
    return ") Z" not in Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")


def steps_on_board(folder: Path) -> list[int]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return [event.step for event in EventAccumulator(str(folder / "tensorboard")).Reload().Scalars("train/loss")]
