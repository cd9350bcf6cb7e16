"""Whole processes that are stopped: the state is kept, the status says why, nothing else is said."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

TRAIN = Path(__file__).parents[2] / "tools" / "train.py"
TINY = [
    "model.img_size=32",
    "model.soft_splits=((7,2,3),(3,2,1),(3,2,1))",
    "model.token_dim=8",
    "model.embed_dim=24",
    "model.depth=1",
    "model.num_heads=2",
    "data.batch_size=4",
    "runtime.log_interval=1",
    "schedule.epochs=100000",
]


def start(folder: Path, pictures: Path, *options: str) -> subprocess.Popen[str]:
    """Start to train in a process group of its own, as a terminal does."""
    return subprocess.Popen(
        [sys.executable, TRAIN, "t2t-vit-t-14_8xb64_in1k", "--no-validate", "--work-dir", folder, "--cfg-options",
         *TINY, f"data.root={pictures}", *options],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


@pytest.mark.skipif(os.name == "nt", reason="Windows has no process groups to signal")
@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), pytest.param(signal.SIGUSR1, 143, marks=pytest.mark.slow)],
    ids=["Ctrl-C", "TERM", "USR1"],
)
def test_a_stopped_run_keeps_its_state_and_says_how_to_go_on(number, status, pictures, tmp_path):
    process = start(tmp_path / "run", pictures, "data.num_workers=2")
    assert process.stdout is not None
    line = next(line for line in process.stdout if "step 2/" in line)
    assert "loss" in line
    os.killpg(process.pid, number)  # to the loading processes, too
    _, errors = process.communicate(timeout=60)

    assert process.returncode == status
    assert "go on with --resume (saved " in errors
    assert len(errors.splitlines()) == 1
    (saved,) = (tmp_path / "run").glob("step_*.pth")
    assert str(saved) in errors


@pytest.mark.skipif(os.name == "nt", reason="Windows has no process groups to signal")
def test_ctrl_c_before_the_first_step_ends_at_once_and_quietly(pictures, tmp_path):
    config = tmp_path / "config.py"
    config.write_text("import time\nprint('reading', flush=True)\ntime.sleep(60)\n", encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, TRAIN, config, "--work-dir", tmp_path / "run"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "reading\n"
    os.killpg(process.pid, signal.SIGINT)
    output, errors = process.communicate(timeout=60)

    assert process.returncode == 130
    assert "Traceback" not in output + errors
    assert not (tmp_path / "run").exists()
