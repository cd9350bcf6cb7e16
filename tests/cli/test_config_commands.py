"""`t2t-vit print-config`, `verify-data` and `cross-validate`."""

from __future__ import annotations

import csv
import json
import os
import shutil
import sys

import pytest

from t2t_vit import model_index
from t2t_vit.config import experiment_from_json, load_experiment

NAME = "t2t-vit-t-14_8xb64_in1k"
THEIRS = f"_base_ = 'mmpretrain::t2t_vit/{NAME}.py'\nmodel = dict(head=dict(num_classes=5))\n"


@pytest.fixture
def theirs(tmp_path):
    """A config of MMPretrain."""
    path = tmp_path / "theirs.py"
    path.write_text(THEIRS, encoding="utf-8")
    return path


@pytest.fixture
def damaged(pictures, tmp_path):
    """A copy of the pictures, two of them damaged."""
    root = tmp_path / "damaged"
    shutil.copytree(pictures, root)
    (root / "train" / "cat" / "0.png").write_bytes((root / "train" / "cat" / "0.png").read_bytes()[:200])
    (root / "val" / "owl" / "1.png").write_text("<html>", encoding="utf-8")
    return root


def test_printed_config_of_mmpretrain_is_a_config_of_ours(command, theirs, tmp_path):
    done = command("print-config", theirs, "--cfg-options", "train_cfg.max_epochs=7", "optim_wrapper.optimizer.lr=1e-3")
    assert done.status == 0
    ours = tmp_path / "ours.py"
    ours.write_text(done.out, encoding="utf-8")
    experiment = load_experiment(ours)
    assert (experiment.model.num_classes, experiment.schedule.epochs, experiment.optimizer.lr) == (5, 7, 1e-3)
    assert "theirs.py" in done.out.splitlines()[0]


def test_config_is_printed_as_json(command):
    done = command("print-config", NAME, "--json")
    assert experiment_from_json(done.out, "output") == load_experiment(NAME)


def test_registered_name_is_a_config(command, theirs, tmp_path, monkeypatch):
    index = tmp_path / "model-index.yml"
    index.write_text(f"Models: [{{Name: Mine, Config: {theirs.name}}}]", encoding="utf-8")
    monkeypatch.setattr(model_index, "_registered", {})
    monkeypatch.setattr(model_index, "_read_from_environment", set())
    monkeypatch.setenv("T2T_VIT_MODEL_INDEX", str(index))
    done = command("print-config", "mine", "--json", "--cfg-options", "custom_hooks.0.momentum=0.001")
    assert done.status == 0, done.err
    experiment = experiment_from_json(done.out, "output")
    assert (experiment.model.num_classes, experiment.ema.decay) == (5, 0.999)


def test_wrong_config_is_told_in_one_line(command, tmp_path):
    path = tmp_path / "theirs.py"
    path.write_text("model = dict(type='Mine')", encoding="utf-8")
    done = command("print-config", path)
    assert (done.status, done.out) == (1, "")
    assert done.err.startswith(f"error: {path}: model.type is 'Mine'")


def test_bad_images_of_a_folder_are_listed(command, damaged, tmp_path):
    done = command("verify-data", damaged, "--workers", 2, "--out", tmp_path / "bad.txt")
    assert done.status == 1
    assert "18 images read, 2 of them cannot be used" in done.out
    assert "0.png" in done.out
    bad = (tmp_path / "bad.txt").read_text(encoding="utf-8").splitlines()
    assert bad == [str(damaged / "train" / "cat" / "0.png"), str(damaged / "val" / "owl" / "1.png")]


@pytest.mark.parametrize(("phase", "counts"), [("train", "12 images read, 1"), ("val", "6 images read, 1")])
def test_images_of_one_phase_of_a_config(phase, counts, command, damaged):
    done = command("verify-data", NAME, "--phase", phase, "--cfg-options", f"data.root={damaged}")
    assert done.status == 1
    assert counts in done.out


def test_good_images_are_no_error(command, pictures):
    done = command("verify-data", NAME, "--cfg-options", f"data.root={pictures}")
    assert done.status == 0
    assert "18 images read, 0 of them cannot be used" in done.out


def test_all_that_is_odd_is_said_and_written(command, pictures, tmp_path):
    root = tmp_path / "odd"
    shutil.copytree(pictures, root)
    for n in range(3, 9):
        shutil.copy(root / "train" / "cat" / "0.png", root / "val" / "cat" / f"{n}.png")
    (root / "val" / "wolf").mkdir()
    done = command("verify-data", root, "--csv", tmp_path / "found.csv")
    assert done.status == 0, done.err  # nothing of it keeps a run from training
    assert "6 images of one split that are in another, too, byte for byte:" in done.out
    assert f"  {root / 'val/cat/3.png'}: as {root / 'train/cat/0.png'}" in done.out
    assert "  and 1 more; --csv FILE has all" in done.out
    assert "1 class folders without images:\n  val/wolf: no images" in done.out
    assert "sizes from 50 x 40 to 50 x 40 pixels; modes: 24 RGB" in done.out
    with (tmp_path / "found.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["kind"] for row in rows] == [*["leak"] * 6, "empty class"]
    assert rows[0] == {
        "kind": "leak",
        "split": "val",
        "label": "cat",
        "name": str(root / "val" / "cat" / "3.png"),
        "detail": str(root / "train" / "cat" / "0.png"),
    }


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has file names of any bytes")
def test_names_that_are_no_utf8_are_written_as_they_are(command, tmp_path):
    name = os.fsencode(tmp_path / "data" / "cat") + b"/\xff\xfe.png"
    os.makedirs(os.path.dirname(name))  # noqa: PTH103, PTH120 -- a name that is no text
    with open(name, "wb") as file:  # noqa: PTH123 -- as above
        file.write(b"no picture")
    done = command("verify-data", tmp_path / "data", "--out", tmp_path / "bad.txt", "--csv", tmp_path / "found.csv")
    assert done.status == 1
    assert r"\udcff\udcfe.png is not an image" in done.out
    assert (tmp_path / "bad.txt").read_bytes() == name + b"\n"
    assert b"," + name + b"," in (tmp_path / "found.csv").read_bytes()


def test_copies_across_the_splits_of_a_config_are_found(command, pictures, tmp_path):
    root = tmp_path / "odd"
    shutil.copytree(pictures, root)
    shutil.copy(root / "train" / "cat" / "0.png", root / "val" / "dog" / "9.png")
    done = command("verify-data", NAME, "--workers", 2, "--cfg-options", f"data.root={root}")
    assert done.status == 0, done.err
    assert "1 images of one split that are in another" in done.out
    assert "1 images that are in two classes" in done.out


@pytest.mark.parametrize("phase", [[], ["--phase", "val"]])
def test_classes_of_validation_images_are_those_of_training(phase, command, pictures, tmp_path):
    (tmp_path / "val.txt").write_text("cat/0.png 0\nowl/1.png 2\n", encoding="utf-8")
    settings = [f"data.root={pictures}", f"data.val_annotations={tmp_path / 'val.txt'}"]
    done = command("verify-data", NAME, *phase, "--csv", tmp_path / "found.csv", "--cfg-options", *settings)
    assert done.status == 0, done.err
    assert f"{2 if phase else 14} images read, 0 of them cannot be used" in done.out
    with (tmp_path / "found.csv").open(encoding="utf-8", newline="") as file:
        missing = [(row["split"], row["label"]) for row in csv.DictReader(file)]
    assert missing == ([] if phase else [("val", "dog")])


def test_validation_images_are_looked_at_without_those_of_training(command, pictures):
    settings = [f"data.root={pictures}", "data.train=nowhere"]
    done = command("verify-data", NAME, "--phase", "val", "--cfg-options", *settings)
    assert done.status == 0, done.err
    assert "6 images read, 0 of them cannot be used" in done.out


def test_folder_without_images_is_told(command, tmp_path):
    done = command("verify-data", tmp_path)
    assert done.status == 1
    assert done.err.startswith(f"error: no images in '{tmp_path}'")


def test_folds_are_trained_each_and_summed_up(command, options, tmp_path):
    folder = tmp_path / "folds"
    call = ("cross-validate", NAME, "--num-splits", 2, "--work-dir", folder)
    quick = [*options, "schedule.epochs=1", "schedule.warmup_epochs=0"]
    done = command(*call, "--fold", 1, *quick)
    assert done.status == 0, done.err
    assert not (folder / "fold0").exists()
    stored = load_experiment(folder / "fold1" / "experiment.json")
    assert (stored.data.num_folds, stored.data.fold) == (2, 1)

    done = command(*call, "--fold", 1, *quick)
    assert done.status == 1
    assert "holds a run already" in done.err
    done = command(*call, "--resume", *quick)
    assert done.status == 0, done.err
    assert "over 2 of 2 folds" in done.out
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    assert set(summary["folds"]) == {"0", "1"}
    assert 0 <= summary["folds"]["0"]["ema"]["accuracy/top1"] <= 100

    other = command("cross-validate", NAME, "--num-splits", 3, "--work-dir", folder, "--summary")
    assert (other.status, "one of 2 folds, and 3 are asked for; give --num-splits 2" in other.err) == (1, True)
    settings = json.loads((folder / "fold0" / "experiment.json").read_text(encoding="utf-8"))
    settings["schedule"]["epochs"] = 50
    (folder / "fold0" / "experiment.json").write_text(json.dumps(settings), encoding="utf-8")
    (folder / "fold0" / "timeline.jsonl").write_text("", encoding="utf-8")
    partly = command(*call, "--summary").out
    assert "not done, and left out: fold0 (killed)" in partly
    assert "over 1 of 2 folds" in partly
    shutil.rmtree(folder / "fold0")
    assert "over 1 of 2 folds" in command(*call, "--summary").out


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("--num-splits", 2, "--fold", 2), 2, "there are folds 0 to 1"),
        (("--num-splits", 1), 2, "--num-splits"),
        (
            ("--num-splits", 2, "--launcher", "pytorch"),
            2,
            "train a fold at a time by `t2t-vit train` --launcher pytorch",
        ),
        (("--num-splits", 2, "--launcher", "none", "--summary"), 1, "has no fold0 to fold1 that is done"),
        (("--num-splits", 2, "--resume", "x"), 2, "it takes no value, and got 'x'"),
        (("--num-splits", 2, "--summary"), 1, "has no fold0 to fold1 that is done"),
    ],
)
def test_wrong_cross_validation_is_told(arguments, status, message, command, tmp_path):
    done = command("cross-validate", NAME, "--work-dir", tmp_path, *arguments)
    assert done.status == status
    assert message in " ".join(done.err.replace("│", " ").split())


def test_what_is_neither_a_folder_nor_a_config_is_told_with_the_nearest_names(command, tmp_path):
    (tmp_path / "photos").mkdir()
    done = command("verify-data", tmp_path / "fotos")
    assert (done.status, done.out) == (1, "")
    expected = f"there is no folder and no config '{tmp_path / 'fotos'}'. Did you mean '{tmp_path / 'photos'}'?"
    assert done.err == f"error: {expected}\n"
