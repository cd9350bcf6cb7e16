"""Two processes do what one does."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from t2t_vit import run
from t2t_vit.config import experiment_to_json
from t2t_vit.engine.distributed import Process, gather, process_group
from t2t_vit.errors import ConfigError

TOOLS = Path(__file__).parents[2] / "tools"


def torchrun(*command: object) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *map(str, command),
         "--launcher", "pytorch"],
        capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="gloo over loopback is tried on Linux")
def test_two_processes_train_and_test_as_one(recipe, tmp_path):
    config = tmp_path / "config.json"
    config.write_text(experiment_to_json(recipe()), encoding="utf-8")

    output = torchrun(TOOLS / "train.py", config, "--work-dir", tmp_path / "run")
    assert output.count("last checkpoint:") == 1
    assert "2 × cpu" in output
    last = tmp_path / "run" / "epoch_2.pth"
    lines = map(json.loads, (tmp_path / "run" / "log.jsonl").read_text(encoding="utf-8").splitlines())
    assert [line["step"] for line in lines if line["kind"] == "train"] == [2, 4]

    output = torchrun(TOOLS / "test.py", config, last, "--work-dir", tmp_path / "two", "--out", tmp_path / "two.pkl")
    assert output.count("9 images of 3 classes") == 1
    metrics = json.loads((tmp_path / "two" / "test_metrics.json").read_text())
    alone = run.test(recipe(), last, keep_scores=True)

    assert {name: metrics[name] for name in alone.evaluation.metrics} == pytest.approx(
        alone.evaluation.metrics, abs=1e-6
    )
    predictions = pickle.loads((tmp_path / "two.pkl").read_bytes())
    assert [p["img_path"] for p in predictions] == [alone.images.name(i) for i in range(9)]
    np.testing.assert_allclose([p["pred_scores"] for p in predictions], alone.evaluation.scores, atol=1e-6)


@pytest.mark.parametrize("launcher", ["slurm", "mpi"])
def test_other_launchers_tell_the_same_by_other_variables(launcher, recipe, runs, tmp_path):
    experiment = recipe(schedule={"epochs": 1, "warmup_epochs": 0})
    assert runs.train(experiment, tmp_path / "run", world_size=2, launcher=launcher) == [0, 0]
    assert "2 × cpu" in runs.said(0)
    assert runs.said(1) == ""


@pytest.mark.parametrize(("launcher", "command"), [("pytorch", "torchrun"), ("slurm", "srun"), ("mpi", "mpirun")])
def test_a_launcher_that_did_not_start_this_is_told(launcher, command, recipe, tmp_path):
    with pytest.raises(ConfigError, match=f"--launcher {launcher}: .* not set; start this command with {command}"):
        run.train(recipe(), tmp_path / "run", launcher=launcher)
    assert not (tmp_path / "run").exists()


def test_one_process_needs_nobody():
    import torch

    with process_group("none", torch.device("cpu")) as process:
        assert process == Process()
        assert process.is_main
        assert gather("mine", process) == ["mine"]
