"""Checkpoints of a run: whole or not at all, the newest few, and the best."""

from __future__ import annotations

import os
import subprocess

import pytest
import torch

from t2t_vit.engine.checkpoint import FORMAT, CheckpointFolder, read_training_state
from t2t_vit.errors import CheckpointError, TrainingError


def content(step=1, size=10):
    return {"step": step, "model": {"weight": torch.full((size,), float(step))}}


def save(checkpoints, *names):
    """Save each name, a moment after the other."""
    for step, name in enumerate(names, start=1):
        path = checkpoints.save(name, content(step))
        os.utime(path, ns=(step * 10**9, step * 10**9))


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def test_saved_state_is_read_back(tmp_path):
    checkpoints = CheckpointFolder(tmp_path, keep=3, about={"experiment": "{}", "classes": ["a", "b"]})
    path = checkpoints.save("epoch_1.pth", content(7))
    state = read_training_state(path)
    assert (state["format"], state["step"], state["classes"]) == (FORMAT, 7, ["a", "b"])
    assert torch.equal(state["model"]["weight"], torch.full((10,), 7.0))
    assert (tmp_path / "last_checkpoint").read_text(encoding="utf-8") == "epoch_1.pth"


def test_only_the_newest_stay(tmp_path):
    checkpoints = CheckpointFolder(tmp_path, keep=2)
    save(checkpoints, "epoch_1.pth", "step_30.pth", "epoch_2.pth")
    checkpoints.save("epoch_10.pth", content())
    assert files(tmp_path) == ["epoch_10.pth", "epoch_2.pth", "last_checkpoint"]


def test_all_stay_where_none_are_to_go(tmp_path):
    save(CheckpointFolder(tmp_path, keep=None), *(f"epoch_{i}.pth" for i in range(1, 8)))
    assert len(files(tmp_path)) == 7 + 1


def test_other_files_are_left_alone(tmp_path):
    for name in ("notes.txt", "epoch_one.pth", "pretrained.pth", "my_epoch_1.pth"):
        (tmp_path / name).write_text("mine", encoding="utf-8")
    checkpoints = CheckpointFolder(tmp_path, keep=1)
    save(checkpoints, "epoch_1.pth", "epoch_2.pth")
    assert files(tmp_path) == [
        "epoch_2.pth", "epoch_one.pth", "last_checkpoint", "my_epoch_1.pth", "notes.txt", "pretrained.pth",
    ]  # fmt: skip


def test_last_is_the_newest_and_not_that_of_the_highest_number(tmp_path):
    checkpoints = CheckpointFolder(tmp_path, keep=5)
    assert checkpoints.last() is None
    save(checkpoints, "epoch_10.pth", "epoch_9.pth")
    assert checkpoints.last() == tmp_path / "epoch_9.pth"
    assert [path.name for path in checkpoints.newest_first()] == ["epoch_9.pth", "epoch_10.pth"]


def test_last_survives_a_copy_that_gives_new_times(tmp_path):
    checkpoints = CheckpointFolder(tmp_path, keep=5)
    save(checkpoints, "epoch_1.pth", "epoch_2.pth")
    os.utime(tmp_path / "epoch_1.pth", ns=(9 * 10**9, 9 * 10**9))
    assert checkpoints.last() == tmp_path / "epoch_2.pth"


@pytest.mark.parametrize("note", [None, b"epoch_7.pth", b"\xff", b"../epoch_1.pth"])
def test_last_is_found_without_a_note_that_holds(tmp_path, note):
    checkpoints = CheckpointFolder(tmp_path, keep=5)
    save(checkpoints, "epoch_1.pth", "epoch_2.pth")
    if note is None:
        (tmp_path / "last_checkpoint").unlink()
    else:
        (tmp_path / "last_checkpoint").write_bytes(note)
    assert checkpoints.last() == tmp_path / "epoch_2.pth"


# --- the best ---


def test_best_takes_the_place_of_the_best_before_and_outlives_its_epoch(tmp_path):
    checkpoints = CheckpointFolder(tmp_path, keep=1)
    first = checkpoints.save("epoch_1.pth", content(1))
    checkpoints.save_best("best_accuracy_top1_epoch_1.pth", first, None)
    save(checkpoints, "epoch_2.pth")
    assert files(tmp_path) == ["best_accuracy_top1_epoch_1.pth", "epoch_2.pth", "last_checkpoint"]
    assert read_training_state(tmp_path / "best_accuracy_top1_epoch_1.pth")["step"] == 1
    assert checkpoints.last() == tmp_path / "epoch_2.pth"

    checkpoints.save_best("best_accuracy_top1_epoch_2.pth", tmp_path / "epoch_2.pth", "best_accuracy_top1_epoch_1.pth")
    assert files(tmp_path) == ["best_accuracy_top1_epoch_2.pth", "epoch_2.pth", "last_checkpoint"]


def test_best_takes_no_room_of_its_own(tmp_path):
    checkpoints = CheckpointFolder(tmp_path, keep=1)
    path = checkpoints.save("epoch_1.pth", content())
    for _ in range(2):  # the same again, as after a run that went on
        checkpoints.save_best("best.pth", path, "best.pth")
        assert path.samefile(tmp_path / "best.pth")
        assert files(tmp_path) == ["best.pth", "epoch_1.pth", "last_checkpoint"]


def test_best_is_copied_where_there_are_no_links(tmp_path, monkeypatch):
    monkeypatch.setattr(type(tmp_path), "hardlink_to", refuse)
    checkpoints = CheckpointFolder(tmp_path, keep=1)
    path = checkpoints.save("epoch_1.pth", content())
    checkpoints.save_best("best.pth", path, None)
    assert (tmp_path / "best.pth").read_bytes() == path.read_bytes()
    assert not path.samefile(tmp_path / "best.pth")


def refuse(*_, **__):
    raise OSError(95, "Operation not supported")


# --- where it cannot be written ---


def mount_or_skip(folder, *options):
    """Mount a memory disk at `folder`."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", folder], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {made.stderr.decode().strip()}")


@pytest.fixture
def disk(tmp_path):
    """A disk of 256 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount_or_skip(folder, "size=256k")
    yield folder
    # Lazily: the error that a test caught keeps torch's writer, and with it the disk, a little longer.
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_full_disk_leaves_the_checkpoints_before_as_they_were(disk):
    checkpoints = CheckpointFolder(disk, keep=1)
    good = checkpoints.save("epoch_1.pth", content(1, size=10_000))
    with pytest.raises(TrainingError) as caught:
        checkpoints.save("epoch_2.pth", content(2, size=100_000))
    message = str(caught.value)
    assert message.startswith(f"cannot write the checkpoint {disk / 'epoch_2.pth'} (")
    assert message.endswith(f"; the last good one is {good}")
    assert "\n" not in message
    assert files(disk) == ["epoch_1.pth", "last_checkpoint"]
    assert read_training_state(good)["step"] == 1
    assert checkpoints.last() == good


def test_full_disk_at_the_first_checkpoint(disk):
    checkpoints = CheckpointFolder(disk, keep=1)
    with pytest.raises(TrainingError, match="there is none before it"):
        checkpoints.save("epoch_1.pth", content(1, size=100_000))
    assert files(disk) == []


def test_read_only_disk(disk):
    checkpoints = CheckpointFolder(disk, keep=1)
    good = checkpoints.save("epoch_1.pth", content())
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    with pytest.raises(TrainingError, match=r"epoch_2.pth \(Read-only file system\); the last good one is .*epoch_1"):
        checkpoints.save("epoch_2.pth", content())
    with pytest.raises(TrainingError, match=r"best.pth \(Read-only file system\); .*epoch_1.pth is whole"):
        checkpoints.save_best("best.pth", good, None)
    assert files(disk) == ["epoch_1.pth", "last_checkpoint"]


def test_folder_that_is_a_file(tmp_path):
    (tmp_path / "run").write_text("mine", encoding="utf-8")
    with pytest.raises(TrainingError, match=r"cannot write the checkpoint .*run/epoch_1.pth \(.*there is none before"):
        CheckpointFolder(tmp_path / "run", keep=1).save("epoch_1.pth", content())


# --- what cannot be resumed ---


def test_missing_damaged_or_foreign_file_is_told_in_one_line(tmp_path):
    path = tmp_path / "epoch_1.pth"
    with pytest.raises(CheckpointError, match=r"there is no checkpoint .*epoch_1.pth to resume from"):
        read_training_state(path)
    CheckpointFolder(tmp_path, keep=1).save("epoch_1.pth", content())
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"no checkpoint"):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"epoch_1.pth cannot be resumed from: .*damaged") as caught:
            read_training_state(path)
        assert "\n" not in str(caught.value)
    torch.save({"state_dict": {}}, path)
    with pytest.raises(CheckpointError, match=r"was not written by this package's training, .* model.pretrained="):
        read_training_state(path)
