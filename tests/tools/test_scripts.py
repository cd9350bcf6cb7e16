"""MMPretrain's scripts exist by their names, and take their arguments."""

from __future__ import annotations

import json
import os
import runpy
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TINY = ["model.embed_dim=24", "model.depth=1", "model.num_heads=2", "model.token_dim=8"]


def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program in the repository's folder."""
    return subprocess.run(
        [str(a) for a in arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=150,
        env={**os.environ, "PYTHON": sys.executable, "OMP_NUM_THREADS": "1", **environment},
    )


@pytest.fixture
def python(monkeypatch, capsys):
    """Run a Python script of `tools` in this process; return its status and what it printed."""

    def run_script(script: str, *arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", [script, *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            runpy.run_path(str(ROOT / "tools" / script), run_name="__main__")
        return int(exit_.value.code or 0), capsys.readouterr().out

    return run_script


@pytest.fixture
def fake_srun(tmp_path) -> dict[str, str]:
    """An environment whose `srun` prints its arguments, one a line."""
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "srun"
    script.write_text('#!/usr/bin/env bash\nprintf "%s\\n" "$@"\n', encoding="utf-8")
    script.chmod(0o755)
    return {"PATH": f"{script.parent}:{os.environ['PATH']}"}


@pytest.mark.parametrize(
    ("script", "third", "option"),
    [("slurm_train.sh", "work dir", "--work-dir"), ("slurm_test.sh", "a checkpoint.pth", None)],
)
def test_slurm_script_hands_everything_to_srun(script, third, option, fake_srun):
    done = run(
        "bash", f"tools/{script}", "part", "job", "config.py", third, "--amp", "--cfg-options", "data.root=a b",
        GPUS="16", SRUN_ARGS="--quotatype=spot --time=5", **fake_srun,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:2] == ["-p", "part"]
    assert {"--job-name=job", "--gres=gpu:8", "--ntasks=16", "--ntasks-per-node=8", "--cpus-per-task=5"} < set(lines)
    assert {"--quotatype=spot", "--time=5"} < set(lines)
    work = lines[lines.index(sys.executable) :]
    program = "train.py" if option else "test.py"
    assert work[1:] == [
        "-u", f"tools/{program}", "config.py", *([option] if option else []), third, "--launcher", "slurm", "--amp",
        "--cfg-options", "data.root=a b",
    ]  # fmt: skip


@pytest.mark.parametrize("script", ["dist_train.sh", "dist_test.sh", "slurm_train.sh", "slurm_test.sh"])
def test_script_without_arguments_says_how_it_is_called(script):
    done = run(ROOT / "tools" / script)
    assert done.returncode == 2
    assert done.stderr.startswith(f"usage: {ROOT}/tools/{script} ")


@pytest.mark.parametrize(
    "script",
    [
        "kfold-cross-valid.py", "misc/print_config.py", "misc/verify_dataset.py", "model_converters/publish_model.py",
        "analysis_tools/get_flops.py",
    ],
)  # fmt: skip
def test_python_script_shows_its_help(script, python):
    status, out = python(script, "--help")
    assert status == 0
    assert "usage" in out.lower()


def test_flops_at_a_shape(python):
    status, out = python("analysis_tools/get_flops.py", "t2t_vit_t_14", "--shape", 192, 320)
    assert status == 0
    assert "192×320" in out


def test_dataset_is_verified_with_mmpretrains_options(python, tmp_path):
    image = tmp_path / "train" / "cat" / "broken.png"
    image.parent.mkdir(parents=True)
    image.write_bytes(b"nothing")
    status, _ = python(
        "misc/verify_dataset.py", "t2t-vit-t-14_8xb64_in1k", "--out-path", tmp_path / "broken.log", "--num-process=2",
        "--cfg-options", f"data.root={tmp_path}",
    )  # fmt: skip
    assert status == 1
    assert (tmp_path / "broken.log").read_text(encoding="utf-8") == f"{image}\n"


@pytest.mark.timeout(400)
@pytest.mark.slow
def test_two_processes_train_and_test_the_digits(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    options = [
        "--work-dir", tmp_path / "run", "--cfg-options", *TINY, "runtime.device=cpu", "schedule.epochs=1",
        "schedule.warmup_epochs=0",
    ]  # fmt: skip
    done = run("tools/dist_train.sh", "configs/t2t_vit/t2t-vit-digits_demo.py", 2, *options, PORT=port)
    assert done.returncode == 0, done.stderr
    assert "2 × cpu" in done.stdout
    checkpoint = tmp_path / "run" / "epoch_1.pth"
    done = run("tools/dist_test.sh", "configs/t2t_vit/t2t-vit-digits_demo.py", checkpoint, 2, *options, PORT=port)
    assert done.returncode == 0, done.stderr
    metrics = json.loads((tmp_path / "run" / "test_metrics.json").read_text(encoding="utf-8"))
    assert metrics["images"] == 359
