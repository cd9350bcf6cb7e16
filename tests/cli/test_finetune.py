"""`t2t-vit finetune`: a folder of pictures in, a model, its figures and a line that predicts out."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from t2t_vit.config import experiment_from_json

TINY = """
from t2t_vit.config import *
experiment = Experiment(
    model=Model(
        img_size=32, soft_splits=((7, 2, 3), (3, 2, 1), (3, 2, 1)), token_dim=8, embed_dim=24, depth=1, num_heads=2
    )
)
"""


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """A folder to stand in, with the config of a tiny model."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.py").write_text(TINY, encoding="utf-8")
    return tmp_path


@pytest.fixture
def photos(here) -> Path:
    """Ten pictures of each of two classes, without a split, in a folder with a space in its name."""
    rng = np.random.default_rng(0)
    for i, name in enumerate(("cat", "dog")):
        (here / "my photos" / name).mkdir(parents=True)
        for n in range(10):
            pixels = rng.integers(0, 100, (36, 40, 3), dtype=np.uint8)
            pixels[..., i] += 120
            Image.fromarray(pixels).save(here / "my photos" / name / f"{n}.png")
    return here / "my photos"


def split(photos, *parts):
    """Put 6, 3 and 1 of ten pictures of a class below folders of these names."""
    for name in ("cat", "dog"):
        for n in range(10):
            part = parts[min((n > 5) + (n > 8), len(parts) - 1)]
            (photos / part / name).mkdir(parents=True, exist_ok=True)
            (photos / name / f"{n}.png").rename(photos / part / name / f"{n}.png")
        (photos / name).rmdir()


def stored(folder):
    return experiment_from_json((folder / "experiment.json").read_text("utf-8"), "stored")


CALL = ("--model", "tiny.py", "--device", "cpu")


def test_photographs_in_a_folder_become_a_model_that_predicts(command, here, photos):
    done = command("finetune", photos, *CALL, "--from-scratch", "--epochs", 3)
    assert done.status == 0, done.err
    folder = here / "work_dirs" / "my photos"
    assert "16 images of 2 classes to train on, 8 of each" in done.out
    assert "20% of each class are held out" in done.out
    assert "epochs 3: as asked" in done.out
    for text in ("on the 4 validation images", "last, ema", "last, raw", "best, ema", "95 % interval"):
        assert text in done.out
    assert {"curves.png", "confusion.png", "figures.txt"} <= {path.name for path in folder.iterdir()}
    environment = json.loads((folder / "environment.json").read_text())
    assert {"command", "git", "t2t_vit_git", "torch", "python"} <= set(environment)
    assert environment["folder"] == str(here)
    line = shlex.split(done.out.splitlines()[-1])
    assert line[:2] == ["t2t-vit", "predict"]
    predicted = command(*line[1:])
    assert predicted.status == 0, predicted.err
    assert {row.split()[-1] for row in predicted.out.splitlines()[1:]} == {"cat", "dog"}

    again = command("finetune", photos, *CALL, "--from-scratch", "--epochs", 3)
    assert again.status == 1
    assert "holds a run already" in again.err
    longer = command("finetune", photos, *CALL, "--resume", "--cfg-options", "schedule.epochs=4")
    assert longer.status == 0, longer.err
    assert "step 3/3" not in longer.out.partition("epoch 4/4")[0]  # it did not begin anew
    assert "epoch 4/4" in longer.out


def test_weights_that_are_at_hand_are_begun_with(command, here, photos):
    assert command("finetune", photos, *CALL, "--from-scratch", "--epochs", 1, "--work-dir", "first").status == 0
    split(photos, "train", "val", "test")
    done = command(
        "finetune", photos, *CALL, "--pretrained", "first/epoch_1.pth", "--epochs", 1, "--img-size", 40,
        "--freeze", "tokens_to_token", "--work-dir", "second", "--cfg-options", "optimizer.lr=1e-6",
    )  # fmt: skip
    assert done.status == 0, done.err
    settings = stored(here / "second")
    assert settings.model.pretrained == str(here / "first" / "epoch_1.pth")  # wherever one stands when it goes on
    assert (settings.model.img_size, settings.model.freeze) == (40, "tokens_to_token")
    assert settings.optimizer.lr == 1e-6
    assert settings.optimizer.layer_decay == 0.75
    assert (settings.data.train, settings.data.val) == ("train", "val")
    assert "how good it is on the 2 images in test/ (training never saw these images)" in done.out


def test_a_test_folder_alone_is_validated_on(command, here, photos):
    split(photos, "Train", "Test")
    done = command("finetune", photos, *CALL, "--from-scratch", "--epochs", 1, "--work-dir", "w")
    assert done.status == 0, done.err
    assert (stored(here / "w").data.train, stored(here / "w").data.val) == ("Train", "Test")
    assert "best' was chosen on these very images" in done.out


def test_a_class_may_be_named_like_a_split(command, here, photos):
    (photos / "cat").rename(photos / "train")
    done = command("finetune", photos, *CALL, "--from-scratch", "--epochs", 1)
    assert done.status == 0, done.err
    assert "16 images of 2 classes to train on" in done.out


def test_a_test_folder_that_is_wrong_is_told_before_training(command, here, photos):
    split(photos, "train", "val", "test")
    (photos / "test" / "cat").rename(photos / "test" / "bird")
    done = command("finetune", photos, *CALL, "--from-scratch", "--epochs", 1)
    assert done.status == 1
    assert "bird" in done.err
    assert not (here / "work_dirs").exists()


def test_a_picture_that_cannot_be_read_is_left_out_of_the_figures(command, here, photos):
    split(photos, "train", "val")
    (photos / "val" / "cat" / "7.png").write_text("no picture")
    done = command("finetune", photos, *CALL, "--from-scratch", "--epochs", 1)
    assert done.status == 0, done.err
    assert "unreadable, and left out of the figures: " in done.out
    assert "on the 7 validation images" in done.out


def test_a_run_that_goes_on_is_on_the_same_pictures_and_keeps_its_settings(command, here, photos):
    work = ("--work-dir", "run")
    assert command("finetune", photos, *CALL, *work, "--from-scratch", "--epochs", 1).status == 0
    done = command("finetune", photos, *CALL, *work, "--epochs", 5, "--resume")
    assert done.status == 0, done.err
    assert "not taken, as a run keeps its settings: --model tiny.py --epochs 5" in done.out
    assert stored(here / "run").schedule.epochs == 1

    done = command("finetune", photos, "--model", "t2t_vit_7", "--from-scratch", "--device", "cpu", *work, "--resume")
    assert done.status == 0, done.err
    assert "not taken, as a run keeps its settings: --model t2t_vit_7 --from-scratch;" in done.out

    (here / "others").mkdir()
    done = command("finetune", here / "others", *CALL, *work, "--resume")
    assert done.status == 1
    assert f"is on the pictures in {photos}, not on those in {here / 'others'}" in done.err


def make_one_class(photos):
    shutil.rmtree(photos / "dog")


def make_no_image(photos):
    for path in photos.rglob("*.png"):
        path.unlink()


def make_single_image(photos):
    for n in range(1, 10):
        (photos / "dog" / f"{n}.png").unlink()


def make_no_train(photos):
    (photos / "val").mkdir()
    (photos / "cat").rename(photos / "val" / "cat")


def make_other_classes(photos):
    split(photos, "train", "val")
    (photos / "val" / "dog").rename(photos / "val" / "dogs")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (make_one_class, "has one class, 'cat'; expected two or more class folders"),
        (make_no_image, "2 of 2 class folders in"),
        (make_single_image, "1 of 2 classes have a single image, 'dog' for one"),
        (shutil.rmtree, "there is no folder"),
        (make_no_train, "has val/ and no train/"),
        (make_other_classes, "has the class folder 'dogs', which is none of the 2 classes"),
    ],
)
def test_a_folder_that_cannot_be_learned_from_is_told_in_one_line(make, message, command, here, photos):
    make(photos)
    done = command("finetune", photos, *CALL, "--from-scratch")
    assert done.status == 1
    assert done.err.startswith("error: ")
    assert message in done.err
    assert len(done.err.splitlines()) == 1
    assert not (here / "work_dirs").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (CALL, "no weights are published for 'tiny.py'; give some with --pretrained PATH-OR-URL, or train without"),
        ((*CALL, "--pretrained", "gone.pth"), "there is no weights file gone.pth; name one that is there, or train"),
        ((*CALL, "--pretrained", "a.pth", "--from-scratch"), "exclude each other"),
        (("--model", "t2t_vit_15"), "unknown model 't2t_vit_15'"),
        ((*CALL, "--resume"), "there is nothing to resume"),
        ((*CALL, "--from-scratch", "--cfg-options", "optimiser.lr=1"), "unknown setting 'optimiser.lr'"),
    ],
)
def test_a_call_that_cannot_work_is_told_in_one_line(arguments, message, command, here, photos):
    done = command("finetune", photos, *arguments)
    assert done.status == 1
    assert message in done.err
    assert len(done.err.splitlines()) == 1
    assert not (here / "work_dirs").exists()


def test_without_a_network_the_way_without_weights_is_offered(command, here, photos, monkeypatch):
    monkeypatch.setenv("T2T_VIT_WEIGHTS", str(here / "mirror"))
    monkeypatch.setenv("T2T_VIT_CACHE", str(here / "cache"))
    done = command("finetune", photos, "--model", "t2t_vit_7")
    assert done.status == 1
    last = done.err.splitlines()[-1]
    assert last.startswith("error: ")
    assert last.endswith("begin with a file that you have: --pretrained FILE, or train without weights: --from-scratch")
