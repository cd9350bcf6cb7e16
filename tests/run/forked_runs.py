"""Runs in processes of their own, and what they leave."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from t2t_vit.config import Experiment, experiment_to_json


class Runs:
    """Starts runs in processes of their own, by `runner.py`."""

    def __init__(self) -> None:
        self._server = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("runner.py")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        self.pid = self._server.pid
        self._pids: list[int] = []
        assert self._read() == "ready"

    def start(
        self,
        experiment: Experiment,
        work_dir: Path,
        *,
        resume: str | None = None,
        world_size: int = 1,
        stop_at: int | None = None,
        number: int = signal.SIGTERM,
        stopped_rank: int = 0,
        memory_mib: int | None = None,
        launcher: str = "pytorch",
    ) -> list[int]:
        """Begin to train and return the processes; one of them may be sent a signal in the step `stop_at`."""
        self.output = work_dir.with_name(f"{work_dir.name}-output")
        self.output.mkdir(exist_ok=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        request = {
            "experiment": experiment_to_json(experiment), "work_dir": str(work_dir), "output": str(self.output),
            "resume": resume, "world_size": world_size, "stop_at": stop_at, "signal": int(number),
            "stopped_rank": stopped_rank, "port": port, "memory_mib": memory_mib, "launcher": launcher,
        }  # fmt: skip
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        self._pids = self._read()
        return list(self._pids)

    def wait(self) -> list[int]:
        """Return the exit statuses of the run, once all of its processes have ended."""
        self._pids = []
        return self._read()

    def train(self, experiment: Experiment, work_dir: Path, **options: Any) -> list[int]:
        """Train, and return the exit statuses."""
        self.start(experiment, work_dir, **options)
        return self.wait()

    def said(self, rank: int = 0) -> str:
        """Return all that a process of the last run's folder has said."""
        path = self.output / f"said-{rank}.txt"
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def end(self) -> None:
        """Kill what a test that failed has left."""
        if self._pids:
            for pid in self._pids:
                os.kill(pid, signal.SIGKILL)
            self.wait()

    def close(self) -> None:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.close()
        self._server.wait(60)
        self._server.stdout.close()

    def _read(self) -> Any:
        assert self._server.stdout is not None
        return json.loads(self._server.stdout.readline())


def samples_of(work_dir: Path, world_size: int = 1, accumulation: int = 1) -> list[tuple[str, list[str]]]:
    """Return epoch and images of each step of a run, in their global order."""
    output = work_dir.with_name(f"{work_dir.name}-output")
    shares = [(output / f"samples-{rank}.txt").read_text().splitlines() for rank in range(world_size)]
    batches = [[line.split() for line in batch] for batch in zip(*shares, strict=True)]
    steps = []
    for first in range(0, len(batches), accumulation):
        images = [image for batch in batches[first : first + accumulation] for share in batch for image in share[1:]]
        steps.append((batches[first][0][0], images))
    return steps


def log_of(work_dir: Path, kind: str | None = None) -> list[dict[str, Any]]:
    """Return a run's log lines without what depends on the clock."""
    lines = [json.loads(line) for line in (work_dir / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    clock = ("images_per_second", "memory_mib")
    return [
        {name: value for name, value in line.items() if name not in clock}
        for line in lines
        if kind in (None, line["kind"])
    ]
