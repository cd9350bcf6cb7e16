"""What a run takes with it when it goes on, and what it leaves as it was."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest
from forked_runs import log_of

from t2t_vit import run
from t2t_vit.config import experiment_from_json
from t2t_vit.engine.checkpoint import read_training_state
from t2t_vit.errors import ConfigError, TrainingError
from t2t_vit.run import resumed_experiment


def changed(experiment, **sections):
    values = {name: dataclasses.replace(getattr(experiment, name), **new) for name, new in sections.items()}
    return dataclasses.replace(experiment, **values)


def files_in(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_that_lost_processes_goes_on_over_and_over_at_the_same_rate(recipe, runs, tmp_path):
    """Two processes with 4 images each, then one, twice; beside it one process with 8 images all along."""
    first = recipe(schedule={"epochs": 1, "warmup_epochs": 0}, optimizer={"auto_scale_lr": True})
    assert runs.train(first, tmp_path / "run", world_size=2) == [0, 0]
    run.train(changed(first, data={"batch_size": 8}), tmp_path / "other")
    for folder in (tmp_path / "run", tmp_path / "other"):
        for epochs in (2, 3):
            experiment = resumed_experiment(run.resume_point(folder, "last"))
            run.train(changed(experiment, schedule={"epochs": epochs}), folder, resume="last")
    stored = experiment_from_json((tmp_path / "run" / "experiment.json").read_text("utf-8"), "stored")
    assert stored.data.global_batch_size == 8
    rates = [[(line["step"], line["lr"]) for line in log_of(tmp_path / name, "train")] for name in ("run", "other")]
    assert rates[0] == rates[1]
    assert [step for step, _ in rates[0]] == [2, 4, 6]


def groups(state):
    return state["optimizer"]["param_groups"]


def test_a_batch_size_that_was_changed_is_refused(recipe, tmp_path):
    run.train(recipe(schedule={"epochs": 1, "warmup_epochs": 0}), tmp_path)
    with pytest.raises(TrainingError, match="takes 4 images a step and this one 2"):
        run.train(recipe(data={"batch_size": 2}), tmp_path, resume="last")


def test_a_resume_that_is_refused_leaves_the_folder_as_it_was(recipe, tmp_path):
    run.train(recipe(), tmp_path)
    before = files_in(tmp_path)
    with pytest.raises(TrainingError, match="of another model or optimizer"):
        run.train(recipe(model={"depth": 2}), tmp_path, resume=tmp_path / "epoch_1.pth")
    after = files_in(tmp_path)
    assert {path for path in after if after[path] != before.get(path)} <= {Path(".lock")}
    assert before.keys() <= after.keys()


def test_settings_of_the_optimizer_that_were_changed_are_taken(recipe, tmp_path):
    run.train(recipe(schedule={"epochs": 1, "warmup_epochs": 0}), tmp_path)
    optimizer = {"weight_decay": 0.5, "betas": (0.5, 0.6), "eps": 1e-6}
    run.train(recipe(optimizer=optimizer), tmp_path, resume="last")
    state = read_training_state(tmp_path / "epoch_2.pth")
    assert {group["weight_decay"] for group in groups(state)} == {0.5, 0.0}
    assert {tuple(group["betas"]) for group in groups(state)} == {(0.5, 0.6)}
    assert {group["eps"] for group in groups(state)} == {1e-6}


@pytest.mark.parametrize(("before", "after"), [("adamw", "sgd"), ("sgd", "adamw")])
def test_another_optimizer_is_refused(before, after, recipe, tmp_path):
    run.train(recipe(schedule={"epochs": 1, "warmup_epochs": 0}, optimizer={"kind": before}), tmp_path)
    with pytest.raises(TrainingError, match=r"its optimizer.kind is another one"):
        run.train(recipe(optimizer={"kind": after}), tmp_path, resume="last")


@pytest.mark.parametrize("precisions", [("float32", "float16"), ("float16", "float32")])
def test_another_precision_is_taken(precisions, recipe, tmp_path):
    before, after = precisions
    run.train(recipe(schedule={"epochs": 1, "warmup_epochs": 0}, runtime={"precision": before}), tmp_path)
    run.train(recipe(runtime={"precision": after}), tmp_path, resume="last")
    assert read_training_state(tmp_path / "epoch_2.pth")["step"] == 10


def test_settings_that_were_changed_are_told(recipe, tmp_path):
    run.train(recipe(schedule={"epochs": 1, "warmup_epochs": 0}), tmp_path)
    run.train(recipe(schedule={"epochs": 2, "warmup_epochs": 0}), tmp_path, resume="last")
    said = (tmp_path / "train.log").read_text("utf-8").splitlines()
    assert [line for line in said if line.startswith("changed")] == ["changed since: schedule.epochs: 1, now 2"]


def test_what_earlier_parts_ran_on_is_kept(recipe, tmp_path, monkeypatch):
    environment = tmp_path / "environment.json"
    for epochs in (1, 2, 3):
        monkeypatch.setattr(sys, "argv", ["train", "elsewhere"] if epochs == 2 else ["train"])
        run.train(recipe(schedule={"epochs": epochs, "warmup_epochs": 0}), tmp_path, resume="auto")
    last = json.loads(environment.read_text("utf-8"))
    assert [part["command"] for part in (*last["earlier"], last)] == [["train", "elsewhere"], ["train"]]

    told = environment.read_text("utf-8")
    monkeypatch.setattr(sys, "argv", ["train", "again"])
    run.train(recipe(schedule={"epochs": 3, "warmup_epochs": 0}), tmp_path, resume="auto")
    assert environment.read_text("utf-8") == told  # it was finished: nothing ran

    environment.write_text("{", "utf-8")
    run.train(recipe(schedule={"epochs": 4, "warmup_epochs": 0}), tmp_path, resume="auto")
    assert json.loads(environment.read_text("utf-8"))["earlier"] == []


def test_a_checkpoint_of_another_model_is_refused_in_a_line_of_some_length(recipe, tmp_path):
    run.train(recipe(schedule={"epochs": 1, "warmup_epochs": 0}), tmp_path)
    with pytest.raises(TrainingError, match="of another model or optimizer") as refused:
        run.train(recipe(model={"embed_dim": 48}), tmp_path, resume="last")
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 350


def test_the_best_checkpoint_is_there_again_after_a_kill_before_it_was_linked(recipe, tmp_path):
    experiment = recipe(schedule={"epochs": 1, "warmup_epochs": 0}, runtime={"keep_checkpoints": None})
    run.train(experiment, tmp_path)
    (best,) = tmp_path.glob("best_*.pth")
    best.rename(tmp_path / "best_accuracy_top1_epoch_0.pth")  # that of an earlier evaluation, which it replaces
    run.train(experiment, tmp_path, resume="last")
    assert list(tmp_path.glob("best_*.pth")) == [best]
    assert best.read_bytes() == (tmp_path / "epoch_1.pth").read_bytes()


def test_a_best_checkpoint_of_a_part_that_is_done_again_is_kept_and_told(recipe, tmp_path, caplog):
    run.train(recipe(schedule={"epochs": 1, "warmup_epochs": 0}), tmp_path)
    later = tmp_path / "best_accuracy_top1_epoch_7.pth"
    later.write_bytes(b"weights")
    run.train(recipe(), tmp_path, resume=tmp_path / "epoch_1.pth")
    assert later.read_bytes() == b"weights"
    assert f"{later} is of a part of the run that is done again" in caplog.text


def test_a_folder_with_the_best_checkpoint_alone_is_a_run(recipe, tmp_path):
    run.train(recipe(schedule={"epochs": 1, "warmup_epochs": 0}), tmp_path)
    for path in [*tmp_path.glob("epoch_*.pth"), tmp_path / "last_checkpoint"]:
        path.unlink()
    (best,) = tmp_path.glob("best_*.pth")
    with pytest.raises(TrainingError, match=f"holds a run already \\({best.name}\\)"):
        run.train(recipe(), tmp_path)
    run.train(recipe(), tmp_path, resume="auto")
    assert read_training_state(tmp_path / "epoch_2.pth")["step"] == 10


def test_other_files_beside_tensorboards_stay(recipe, tmp_path):
    (tmp_path / "tensorboard").mkdir()
    (tmp_path / "tensorboard" / "notes.txt").write_text("mine")
    run.train(recipe(schedule={"epochs": 1, "warmup_epochs": 0}), tmp_path)
    assert (tmp_path / "tensorboard" / "notes.txt").read_text() == "mine"


def test_a_model_that_is_frozen_whole_is_refused(recipe, tmp_path):
    frozen = "tokens_to_token,blocks,norm,head,cls_token"
    with pytest.raises(ConfigError, match=r"model.freeze leaves nothing to train"):
        run.train(recipe(model={"freeze": frozen}), tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="sees in /proc which signals a process hears")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["TERM", "Ctrl-C"])
def test_a_signal_before_the_first_step_ends_at_once_with_the_status_that_says_so(
    number, status, recipe, pictures, runs, tmp_path
):
    for n in range(30_000):  # so that it takes a while to begin
        (pictures / "train" / "cat" / f"many-{n}.png").touch()
    (pid,) = runs.start(recipe(runtime={"validate": False}), tmp_path / "run")
    while not hears(pid, signal.SIGTERM):
        time.sleep(0.001)
    os.kill(pid, number)
    assert runs.wait() == [status]
    assert runs.said() == "stopped before the first step; nothing is lost\n"


def hears(pid, number):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    caught = next(line for line in lines if line.startswith("SigCgt:"))
    return int(caught.split()[1], 16) >> (number - 1) & 1
