"""N steps are k steps, a stop, and N - k steps: bit by bit, in everything."""

from __future__ import annotations

import itertools
import signal

import pytest
import torch
from forked_runs import log_of, samples_of


def content(path):
    return torch.load(path, weights_only=True)


def differences(one, other, where=""):
    """Return where nested checkpoints are not the same bits."""
    if isinstance(one, torch.Tensor):
        return [] if one.dtype == other.dtype and torch.equal(one, other) else [where]
    if isinstance(one, dict):
        if one.keys() != other.keys():
            return [f"{where}: {one.keys() ^ other.keys()}"]
        return [d for key in one for d in differences(one[key], other[key], f"{where}.{key}")]
    if isinstance(one, list | tuple):
        if len(one) != len(other):
            return [f"{where}: {len(one)} and {len(other)}"]
        return [d for i, pair in enumerate(zip(one, other, strict=True)) for d in differences(*pair, f"{where}[{i}]")]
    return [] if one == other else [f"{where}: {one} and {other}"]


def experiment_of(recipe, accumulation, workers, precision):
    return recipe(
        model={"drop_path_rate": 0.3},
        data={"batch_size": 2, "num_workers": workers},
        optimizer={"lr": 1e-2, "accumulation": accumulation},
        schedule={"epochs": 2, "warmup_epochs": 1},
        runtime={"log_interval": 1, "precision": precision},
    )


MATRIX = list(itertools.product([1, 2], [1, 2], [0, 2], ["float32", "bfloat16"]))
QUICK = [(1, 2, 2, "bfloat16"), (2, 1, 0, "float32")]


def name(case):
    return "{} processes, {} batches a step, {} workers, {}".format(*case)


@pytest.mark.parametrize(
    ("world_size", "accumulation", "workers", "precision"),
    [pytest.param(*case, marks=[] if case in QUICK else pytest.mark.slow, id=name(case)) for case in MATRIX],
)
def test_a_run_that_was_stopped_equals_one_that_was_not(
    world_size, accumulation, workers, precision, recipe, runs, tmp_path
):
    experiment = experiment_of(recipe, accumulation, workers, precision)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert runs.train(experiment, whole, world_size=world_size) == [0] * world_size
    steps = content(whole / "epoch_2.pth")["step"]
    for k in (1, steps // 2 + 1):  # in the middle of either epoch; only the last process hears the signal
        status = runs.train(
            experiment, parts, world_size=world_size, resume="auto", stop_at=k, stopped_rank=world_size - 1
        )
        assert status == [143] * world_size
        assert content(parts / f"step_{k}.pth")["step"] == k
    assert runs.train(experiment, parts, world_size=world_size, resume="auto") == [0] * world_size

    assert differences(content(parts / "epoch_2.pth"), content(whole / "epoch_2.pth")) == []
    assert log_of(parts) == log_of(whole)
    assert [line["step"] for line in log_of(parts, "train")] == list(range(1, steps + 1))
    assert samples_of(parts, world_size, accumulation) == samples_of(whole, world_size, accumulation)


@pytest.mark.slow
def test_the_number_of_workers_changes_nothing(recipe, runs, tmp_path):
    for workers in (0, 1, 2):
        runs.train(experiment_of(recipe, 1, workers, "float32"), tmp_path / str(workers))
    checkpoints = [content(tmp_path / str(workers) / "epoch_2.pth") for workers in (0, 1, 2)]
    for checkpoint in checkpoints:
        checkpoint.pop("experiment")
    assert differences(checkpoints[0], checkpoints[1]) == []
    assert differences(checkpoints[0], checkpoints[2]) == []


def plain(recipe, accumulation=1, compiled=False):
    """Nothing that is drawn: no augmentation, no drop-path."""
    view = {"crop_scale": (1.0, 1.0), "crop_ratio": (1.25, 1.25), "hflip": 0.0, "rand_augment": None, "erase_prob": 0.0}
    return recipe(
        model={"drop_path_rate": 0.0},
        data={"global_batch_size": 8},
        augmentation={**view, "mixup": 0.0, "cutmix": 0.0},
        optimizer={"lr": 5e-3, "accumulation": accumulation},
        schedule={"epochs": 10, "warmup_epochs": 1},
        runtime={"log_interval": 1, "validate": False, "compile": compiled},
    )


@pytest.mark.slow
def test_a_global_batch_is_the_same_run_on_one_two_or_four_processes(recipe, runs, tmp_path):
    losses, samples = {}, {}
    for world_size, accumulation in [(1, 1), (2, 1), (4, 1), (1, 4), (2, 2)]:
        folder = tmp_path / f"{world_size}x{accumulation}"
        status = runs.train(plain(recipe, accumulation), folder, world_size=world_size)
        assert status == [0] * world_size
        losses[folder.name] = [line["loss"] for line in log_of(folder, "train")]
        samples[folder.name] = samples_of(folder, world_size, accumulation)
    assert len(losses["1x1"]) == 20
    for run_name, of_run in losses.items():
        assert of_run == pytest.approx(losses["1x1"], abs=1e-5), run_name
        assert samples[run_name] == samples["1x1"], run_name


@pytest.mark.slow
def test_a_run_goes_on_with_another_number_of_processes_in_the_same_order(recipe, runs, tmp_path):
    experiment = plain(recipe)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    runs.train(experiment, whole)
    order, seen = samples_of(whole), []
    for world_size, stop_at in [(2, 3), (4, 9), (1, None)]:
        status = runs.train(experiment, parts, world_size=world_size, resume="auto", stop_at=stop_at)
        assert status == [143 if stop_at else 0] * world_size
        seen += samples_of(parts, world_size)
        for rank in range(world_size):
            (runs.output / f"samples-{rank}.txt").unlink()
    assert seen == order
    assert [line["loss"] for line in log_of(parts, "train")] == pytest.approx(
        [line["loss"] for line in log_of(whole, "train")], abs=1e-5
    )


def test_a_step_that_cannot_be_shared_evenly_is_refused(recipe, runs, tmp_path):
    experiment = plain(recipe, accumulation=3)
    assert runs.train(experiment, tmp_path / "run") == [1]
    assert "a step of 8 images cannot be shared evenly by 1 processes with 3 batches each" in runs.said()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_any_process_that_is_asked_to_stop_stops_all_at_the_same_step(number, recipe, runs, tmp_path):
    status = runs.train(plain(recipe), tmp_path / "run", world_size=2, stop_at=4, number=number, stopped_rank=1)
    assert status[1] == (130 if number == signal.SIGINT else 143)
    assert status[0] in (130, 143)
    assert [path.name for path in (tmp_path / "run").glob("step_*.pth")] == ["step_4.pth"]
