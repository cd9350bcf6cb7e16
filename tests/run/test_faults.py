"""What happens to long runs: one line says it, and nothing that was reached is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from forked_runs import log_of
from test_exact_resume import content, differences

from t2t_vit import run
from t2t_vit.config import experiment_to_json
from t2t_vit.engine.checkpoint import CheckpointFolder, read_training_state
from t2t_vit.engine.trainer import Trainer
from t2t_vit.errors import CheckpointError, DatasetError, TrainingError


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A file system of half a megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", folder]
    if os.name == "nt" or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system takes an administrator")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_folder_that_may_not_be_written_is_told_before_training(recipe, small_disk):
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(TrainingError, match=r"cannot write into the work folder .*Read-only file system"):
        run.train(recipe(), small_disk / "run")


def test_a_file_in_place_of_the_work_folder_is_told(recipe, tmp_path):
    (tmp_path / "run").write_text("a file")
    with pytest.raises(TrainingError, match="cannot write into the work folder"):
        run.train(recipe(), tmp_path / "run")


def test_a_full_disk_ends_the_run_and_keeps_the_last_good_checkpoint(recipe, small_disk):
    experiment = recipe(
        schedule={"epochs": 100, "warmup_epochs": 0}, runtime={"keep_checkpoints": 100, "validate": False}
    )
    with pytest.raises(
        TrainingError,
        match=r"cannot write the checkpoint .*epoch_\d+\.pth \(No space left on device\); the last good one is ",
    ) as error:
        run.train(experiment, small_disk)
    assert "\n" not in str(error.value)

    last = run.resume_point(small_disk, "last")
    assert read_training_state(last)["step"] > 0
    assert not [path for path in small_disk.rglob(".*") if path.suffix == ".pth"]  # nothing half-written is left


def test_a_checkpoint_that_cannot_be_written_leaves_those_before_it(tmp_path, monkeypatch):
    folder = CheckpointFolder(tmp_path, keep=1)
    folder.save("epoch_1.pth", {"step": 1})

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(TrainingError, match=r"epoch_2\.pth \(No space left on device\); the last good one is .*_1"):
        folder.save("epoch_2.pth", {"step": 2})
    assert [path.name for path in tmp_path.glob("*.pth")] == ["epoch_1.pth"]
    assert folder.last() == tmp_path / "epoch_1.pth"


# --- checkpoints that are damaged ---


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def empty(path):
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [cut, flip, empty])
def test_a_damaged_checkpoint_is_told_and_the_one_before_it_taken(damage, recipe, tmp_path, caplog):
    run.train(recipe(), tmp_path / "whole")
    run.train(recipe(), tmp_path / "run")
    damage(tmp_path / "run" / "epoch_2.pth")

    assert run.train(recipe(), tmp_path / "run", resume="auto") == tmp_path / "run" / "epoch_2.pth"

    assert "epoch_2.pth is damaged (" in caplog.text
    assert "resumed from" in (tmp_path / "run" / "train.log").read_text()
    assert differences(content(tmp_path / "run" / "epoch_2.pth"), content(tmp_path / "whole" / "epoch_2.pth")) == []


def test_every_bit_of_a_checkpoint_counts(recipe, tmp_path):
    """Whatever bit has changed, the file is refused, or what was read is what was written."""
    last = run.train(recipe(), tmp_path)
    whole, data = content(last), last.read_bytes()
    refused = 0
    beginning = [(at, bit) for at in range(100) for bit in (16, 128)]  # the header of the first record, and its name
    for at, bit in [*beginning, *((at, 16) for at in range(0, len(data), len(data) // 150))]:
        changed = bytearray(data)
        changed[at] ^= bit
        last.write_bytes(changed)
        try:
            assert differences(read_training_state(last), whole) == []
        except CheckpointError:
            refused += 1
    assert refused > 75


def test_nothing_but_damaged_checkpoints_is_an_error_and_no_new_beginning(recipe, tmp_path):
    run.train(recipe(schedule={"epochs": 1, "warmup_epochs": 0}), tmp_path)
    cut(tmp_path / "epoch_1.pth")
    with pytest.raises(CheckpointError, match=r"all 1 checkpoints in .* are damaged"):
        run.train(recipe(), tmp_path, resume="auto")
    with pytest.raises(CheckpointError, match=r"epoch_1\.pth cannot be resumed from: it is damaged"):
        run.train(recipe(), tmp_path, resume=tmp_path / "epoch_1.pth")


# --- processes that are lost ---


def test_a_process_that_loses_another_says_so_and_saves_what_it_has(recipe, runs, tmp_path):
    experiment = recipe(
        schedule={"epochs": 10000, "warmup_epochs": 0}, runtime={"validate": False, "checkpoint_interval": 10000}
    )
    pids = runs.start(experiment, tmp_path / "run", world_size=2)
    while "loss" not in runs.said():
        time.sleep(0.01)
    os.kill(pids[1], signal.SIGKILL)
    begin = time.monotonic()
    assert runs.wait() == [1, -signal.SIGKILL]
    assert time.monotonic() - begin < 30

    lines = runs.said().splitlines()
    assert "error: process 0 of 2 has lost another one after step" in lines[-1]
    assert "go on with --resume auto" in lines[-1]
    (saved,) = (tmp_path / "run").glob("step_*.pth")
    assert read_training_state(saved)["step"] == int(saved.stem.removeprefix("step_"))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="finds the process in /proc")
def test_torchrun_starts_lost_processes_again_and_they_go_on(recipe, tmp_path):
    experiment = recipe(
        data={"global_batch_size": 4},
        schedule={"epochs": 100, "warmup_epochs": 0},
        runtime={"validate": False, "checkpoint_interval": 10, "log_interval": 1},
    )
    config = tmp_path / "config.json"
    config.write_text(experiment_to_json(experiment), encoding="utf-8")
    train = Path(__file__).parents[2] / "tools" / "train.py"
    process = subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--max-restarts", "2",
         train, config, "--work-dir", tmp_path / "run", "--resume", "auto", "--launcher", "pytorch"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    while not list((tmp_path / "run").glob("epoch_*.pth")):
        assert process.poll() is None
        time.sleep(0.05)
    os.kill(process_of_rank(1, str(tmp_path / "run")), signal.SIGKILL)
    output, _ = process.communicate(timeout=150)

    assert process.returncode == 0, output
    assert "process 0 of 2 has lost another one" in output
    assert "resumed from" in output
    assert [line["step"] for line in log_of(tmp_path / "run", "train")] == list(range(1, 501))


def process_of_rank(rank: int, argument: str) -> int:
    for entry in Path("/proc").iterdir():
        try:
            arguments = (entry / "cmdline").read_bytes().decode().split("\0")
            if argument in arguments and f"RANK={rank}" in (entry / "environ").read_bytes().decode().split("\0"):
                return int(entry.name)
        except (OSError, UnicodeDecodeError):
            continue
    raise AssertionError("no such process")


@pytest.mark.skipif(sys.platform != "linux", reason="finds the process in /proc")
def test_a_killed_loading_process_is_told_and_the_state_saved(recipe, runs, tmp_path):
    experiment = recipe(
        data={"num_workers": 2}, schedule={"epochs": 10000, "warmup_epochs": 0},
        runtime={"validate": False, "checkpoint_interval": 10000},
    )  # fmt: skip
    (pid,) = runs.start(experiment, tmp_path / "run")
    while "loss" not in runs.said():
        time.sleep(0.01)
    worker = int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
    os.kill(worker, signal.SIGKILL)
    assert runs.wait() == [1]

    *_, saved, error = runs.said().splitlines()
    assert saved.startswith(f"saved {tmp_path / 'run'}")
    assert "error: a loading process was killed, mostly for want of memory; lower data.num_workers" in error
    assert "go on with --resume (this was after step" in error
    assert run.resume_point(tmp_path / "run", "auto") is not None


def test_two_runs_cannot_be_in_one_folder(recipe, runs, tmp_path):
    experiment = recipe(schedule={"epochs": 10000, "warmup_epochs": 0}, runtime={"validate": False})
    (pid,) = runs.start(experiment, tmp_path / "run")
    while "epoch 3/" not in runs.said():
        time.sleep(0.01)
    with pytest.raises(TrainingError, match=r"another run is in .*run at this moment; wait for it"):
        run.train(experiment, tmp_path / "run", resume="auto")
    os.kill(pid, signal.SIGTERM)
    assert runs.wait() == [143]
    assert run.resume_point(tmp_path / "run", "auto") is not None


# --- memory, numbers, images ---


def test_a_machine_that_is_too_small_is_told_with_what_to_lower(recipe, runs, tmp_path):
    memory_mib = 300 + int(Path(f"/proc/{runs.pid}/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE") // 2**20
    experiment = recipe(
        model={"img_size": 224, "soft_splits": ((7, 1, 3), (3, 1, 1), (3, 2, 1))}, runtime={"validate": False}
    )
    assert runs.train(experiment, tmp_path / "run", memory_mib=memory_mib) == [1]
    line = runs.said().splitlines()[-1]
    assert "error: out of memory after step 0 with batches of 4 images; lower data.batch_size" in line


def poison(monkeypatch, images, from_step=0):
    """Have batches with some images end in a loss that is no number, from a step on."""
    loss_of = Trainer._loss

    def poisoned(self, batch):
        loss = loss_of(self, batch)
        return loss * torch.nan if images & set(batch.indices.tolist()) and self.state.step >= from_step else loss

    monkeypatch.setattr(Trainer, "_loss", poisoned)


def test_a_step_without_a_finite_loss_is_not_taken_and_its_images_are_listed(recipe, tmp_path, monkeypatch):
    poison(monkeypatch, {5})
    order = np.random.default_rng((0, 0)).permutation(21), np.random.default_rng((0, 1)).permutation(21)
    expected = [20 // 4 * epoch + at // 4 + 1 for epoch in (0, 1) for at in np.flatnonzero(order[epoch][:20] == 5)]
    experiment = recipe(
        data={"global_batch_size": 4}, augmentation={"mixup": 0.0, "cutmix": 0.0}, optimizer={"accumulation": 2},
        schedule={"warmup_epochs": 0}, runtime={"log_interval": 1},
    )  # fmt: skip
    last = run.train(experiment, tmp_path)

    skipped = log_of(tmp_path, "nonfinite")
    assert [line["step"] for line in skipped] == expected
    for line in skipped:
        assert line["loss"] == "nan"
        assert len(line["samples"]) == 4
        assert any(name.endswith(str(Path("cat") / "5.png")) for name in line["samples"])
    train = {line["step"]: line["loss"] for line in log_of(tmp_path, "train")}
    assert {step for step, loss in train.items() if loss is None} == {line["step"] for line in skipped}
    assert all(torch.isfinite(value).all() for value in content(last)["model"].values())
    assert content(last)["ema_updates"] == 10 - len(expected)


def test_too_many_steps_without_a_finite_loss_end_the_run_with_the_last_good_checkpoint(recipe, tmp_path, monkeypatch):
    poison(monkeypatch, set(range(21)), from_step=5)
    experiment = recipe(schedule={"epochs": 5, "warmup_epochs": 0}, runtime={"nonfinite_limit": 7})
    with pytest.raises(TrainingError, match=r"not finite in 7 steps in a row, up to step 12 .*bfloat16.*epoch_2\.pth"):
        run.train(experiment, tmp_path)
    first, last = (content(tmp_path / f"epoch_{n}.pth")["model"] for n in (1, 2))
    assert differences(first, last) == []  # of the second epoch no step was taken
    assert not list(tmp_path.glob("step_*.pth"))


def test_a_validation_without_a_readable_image_ends_the_run_and_goes_on_once_they_are_mended(
    recipe, pictures, tmp_path
):
    for path in (pictures / "val").glob("*/*.png"):
        path.rename(path.with_suffix(".kept"))
        path.write_text("no picture")
    experiment = recipe(schedule={"epochs": 1, "warmup_epochs": 0})
    with pytest.raises(DatasetError, match=r"none of the 9 validation images can be read; .* go on with --resume"):
        run.train(experiment, tmp_path / "run")
    assert not list((tmp_path / "run").glob("best_*"))

    for path in (pictures / "val").glob("*/*.kept"):
        path.replace(path.with_suffix(".png"))
    run.train(experiment, tmp_path / "run", resume="auto")
    assert len(list((tmp_path / "run").glob("best_*"))) == 1
    assert [line["step"] for line in log_of(tmp_path / "run", "train")] == [2, 4, 5]


@pytest.mark.skipif(sys.platform != "linux", reason="file names there are bytes")
def test_an_unreadable_image_may_have_a_name_that_is_no_text(recipe, pictures, tmp_path):
    Path(os.fsdecode(os.fsencode(pictures / "train" / "cat") + b"/\xff\xfe.png")).write_text("no picture")
    run.train(recipe(data={"bad_images_limit": 0.5}), tmp_path / "run")
    assert "\\udcff\\udcfe.png" in (tmp_path / "run" / "train.log").read_text("utf-8")


def test_images_that_become_unreadable_are_replaced_and_listed(recipe, pictures, tmp_path):
    for name in ("cat/2", "owl/0"):
        cut(pictures / "train" / f"{name}.png")
    (pictures / "val" / "dog" / "1.png").write_text("no picture")
    experiment = recipe(data={"bad_images_limit": 0.1, "num_workers": 2})
    run.train(experiment, tmp_path / "run")

    listed = [line.split("\t") for line in (tmp_path / "run" / "bad_images.txt").read_text().splitlines()]
    assert sorted(Path(name).relative_to(pictures).as_posix() for name, _ in listed) == [
        "train/cat/2.png", "train/owl/0.png",
    ]  # fmt: skip
    assert all("is truncated or corrupt" in reason for _, reason in listed)
    said = (tmp_path / "run" / "train.log").read_text()
    assert said.count("unreadable, and replaced by another image") == 2
    assert said.count("unreadable, and left out of the evaluation") == 1

    run.train(experiment, tmp_path / "again")
    for folder in ("run", "again"):
        assert log_of(tmp_path / folder) == log_of(tmp_path / "run")


def test_too_many_unreadable_images_stop_the_run_which_can_go_on(recipe, pictures, tmp_path):
    for n in range(3):
        cut(pictures / "train" / "cat" / f"{n}.png")
    with pytest.raises(
        TrainingError, match=r"2 of 21 training images cannot be read, more than the 1 .*bad_images\.txt.*verify-data"
    ):
        run.train(recipe(), tmp_path / "run")
    run.train(recipe(data={"bad_images_limit": 0.2}), tmp_path / "run", resume="auto")
    assert len((tmp_path / "run" / "bad_images.txt").read_text().splitlines()) == 3


def test_images_that_changed_since_the_checkpoint(recipe, pictures, tmp_path):
    first = recipe(schedule={"epochs": 1, "warmup_epochs": 0})
    run.train(first, tmp_path / "run")
    longer = recipe(schedule={"warmup_epochs": 0})
    (pictures / "train" / "cat" / "0.png").rename(pictures / "train" / "cat" / "9.png")
    run.train(longer, tmp_path / "run", resume="auto")
    assert "WARNING: the 21 training images have other names" in (tmp_path / "run" / "train.log").read_text()

    (pictures / "train" / "cat" / "9.png").unlink()
    with pytest.raises(TrainingError, match="run has 21 training images and there are 20 now"):
        run.train(recipe(schedule={"epochs": 3, "warmup_epochs": 0}), tmp_path / "run", resume="auto")


def test_a_moved_folder_has_the_same_images(recipe, pictures, tmp_path):
    run.train(recipe(schedule={"epochs": 1, "warmup_epochs": 0}), tmp_path / "run")
    moved = pictures.rename(tmp_path / "moved")
    run.train(recipe(data={"root": str(moved)}, schedule={"warmup_epochs": 0}), tmp_path / "run", resume="auto")
    assert "WARNING" not in (tmp_path / "run" / "train.log").read_text()
