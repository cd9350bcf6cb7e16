"""`train` and `test` with each of MMPretrain's flags, and the scripts of `tools/` from another folder."""

from __future__ import annotations

import csv
import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from t2t_vit import run
from t2t_vit.cli import main, test_output
from t2t_vit.config import load_experiment
from t2t_vit.run.precision import settle_precision
from t2t_vit.weights.load import read_checkpoint

TOOLS = Path(__file__).parents[2] / "tools"
NAME = "t2t-vit-t-14_8xb64_in1k"
CONFIG = f"configs/t2t_vit/{NAME}.py"


def test_the_scripts_work_from_another_folder(options, tmp_path):
    def script(name, *arguments):
        done = subprocess.run(
            [sys.executable, TOOLS / name, CONFIG, *arguments],
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    output = script("train.py", *options)
    folder = Path("work_dirs") / NAME
    assert output.endswith(f"last checkpoint: {folder / 'epoch_2.pth'}\ncurves: {folder / 'curves.png'}\n")
    with Image.open(tmp_path / folder / "curves.png") as image:
        assert image.width > 500

    output = script("test.py", folder / "epoch_2.pth", *options)
    assert "accuracy/top5              100.00 %" in output
    assert output.endswith("6 images of 3 classes\n")
    metrics = json.loads((tmp_path / folder / "test_metrics.json").read_text())
    assert metrics["images"] == 6
    assert metrics["checkpoint"] == str(folder / "epoch_2.pth")


def test_the_digits_are_trained_on(command, tmp_path):
    done = command("train", "t2t-vit-digits_demo", "--work-dir", tmp_path / "run", "--cfg-options", "schedule.epochs=1",
                   "model.depth=1", "model.embed_dim=24", "model.token_dim=8", "data.batch_size=256",
                   "model.soft_splits=((7,2,3),(3,2,1),(3,2,1))")  # fmt: skip
    assert done.status == 0
    assert "1438 images of 10 classes" in done.out
    run_folder = tmp_path / "run"
    done = command("test", run_folder / "experiment.json", run_folder / "epoch_1.pth", "--work-dir", tmp_path)
    assert "359 images of 10 classes" in done.out


def stored(folder: Path):
    return run.stored_experiment(folder)


@pytest.mark.parametrize(
    ("flags", "changed"),
    [
        (["--amp"], ("runtime", "precision", settle_precision("auto", torch.device("cpu"), warns=False))),
        (["--no-validate"], ("runtime", "validate", False)),
        (["--auto-scale-lr"], ("optimizer", "auto_scale_lr", True)),
        (["--no-pin-memory"], ("data", "pin_memory", False)),
        (["--no-persistent-workers"], ("data", "persistent_workers", False)),
        (["--launcher", "none"], ("runtime", "validate", True)),
        (["--cfg-options", "optim_wrapper.optimizer.weight_decay=0.1"], ("optimizer", "weight_decay", 0.1)),
        (["--cfg-options=train_cfg.max_epochs=1"], ("schedule", "epochs", 1)),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_each_flag_of_train_reaches_the_run(flags, changed, command, options, tmp_path):
    folder = tmp_path / "a run"
    done = command("train", NAME, "--work-dir", folder, *options, *flags)

    assert done.status == 0, done.err
    section, name, value = changed
    assert getattr(getattr(stored(folder), section), name) == value
    assert (folder / "curves.png").is_file()


def test_a_run_that_goes_on_says_nothing_of_a_precision_that_was_left_to_the_device(command, options, tmp_path):
    for resume in ([], ["--resume"]):
        done = command("train", NAME, "--work-dir", tmp_path, *resume, *options, "runtime.precision=auto")
        assert (done.status, done.err) == (0, "")


def test_a_second_run_is_refused_and_a_resumed_one_goes_on(command, trained, options):
    done = command("train", NAME, "--work-dir", trained, *options)
    assert done.status == 1
    assert "holds a run already (epoch_2.pth)" in done.err

    for resume in (["--resume"], ["--resume", "auto"], ["--resume", trained / "epoch_2.pth"]):
        done = command("train", NAME, "--work-dir", trained, *resume, *options)
        assert done.status == 0, done.err
        assert "resumed from " in done.out
        assert done.err == ""


def test_a_resumed_run_keeps_its_settings_where_the_options_are_left_out(command, options, tmp_path):
    for steps in ("whole", "parts"):
        epochs = 3 if steps == "whole" else 2
        done = command("train", NAME, "--work-dir", tmp_path / steps, "--amp", *options, "optimizer.lr=0.003",
                       f"schedule.epochs={epochs}")  # fmt: skip
        assert done.status == 0, done.err

    done = command("train", NAME, "--work-dir", tmp_path / "parts", "--resume", "--cfg-options", "schedule.epochs=3")

    assert done.status == 0, done.err
    assert len(done.err.splitlines()) == 1
    assert done.err.startswith("going on with the run's own model.img_size=32 (config: 224)")
    assert "optimizer.lr=0.003 (config: 0.0005)" in done.err
    assert "epochs" not in done.err.replace("warmup_epochs", "").replace("cooldown_epochs", "")
    assert stored(tmp_path / "parts") == stored(tmp_path / "whole")
    assert "epoch 3/3  evaluated" in done.out


def test_auto_resume_begins_where_there_is_nothing(command, options, tmp_path):
    done = command("train", NAME, "--work-dir", tmp_path / "run", "--resume", "auto", *options)
    assert done.status == 0
    assert "resumed" not in done.out


@pytest.fixture
def test_run(command, trained, options, tmp_path):
    def start(*arguments):
        return command("test", NAME, trained / "epoch_2.pth", "--work-dir", tmp_path / "tested", *options, *arguments)

    return start


def test_metrics_are_written_and_shown(test_run, tmp_path):
    done = test_run("--out", tmp_path / "m.json", "--out-item", "metrics")
    assert done.status == 0
    metrics = json.loads((tmp_path / "m.json").read_text())
    assert metrics == json.loads((tmp_path / "tested" / "test_metrics.json").read_text())
    assert f"accuracy/top1            {metrics['accuracy/top1']:8.2f} %" in done.out
    assert {"accuracy/top5", "single-label/precision", "single-label/recall", "single-label/f1-score"} <= set(metrics)


@pytest.mark.parametrize("suffix", ["json", "pkl", "csv"])
def test_predictions_are_written(suffix, test_run, pictures, tmp_path):
    out = tmp_path / "sub folder" / f"p.{suffix}"
    assert test_run("--out", out).status == 0
    if suffix == "csv":
        rows = list(csv.DictReader(out.read_text(encoding="utf-8").splitlines()))
    else:
        rows = pickle.loads(out.read_bytes()) if suffix == "pkl" else json.loads(out.read_text())
        for row in rows:
            assert np.argmax(row["pred_scores"]) == row["pred_label"]
            assert max(row["pred_scores"]) == pytest.approx(row["pred_score"], abs=1e-6)
    assert [row["img_path"] for row in rows] == sorted(str(path) for path in (pictures / "val").rglob("*.png"))
    assert [int(row["gt_label"]) for row in rows] == [0, 0, 1, 1, 2, 2]


def test_pictures_are_saved_at_the_interval(test_run, tmp_path):
    assert test_run("--show-dir", tmp_path / "shown", "--interval", "4").status == 0
    assert sorted(path.name for path in (tmp_path / "shown").iterdir()) == ["000000_0.png", "000004_0.png"]


@pytest.mark.parametrize(
    ("flag", "target", "told"),
    [
        ("--work-dir", "file", "'{}file' is no folder"),
        ("--work-dir", "file/deeper/run", "'{}file' is no folder"),
        ("--work-dir", "taken", "'{}taken/test_metrics.json' is a folder"),
        ("--out", "folder.json", "'{}folder.json' is a folder"),
        ("--out", "file/p.json", "'{}file' is no folder"),
        ("--show-dir", "file", "'{}file' is no folder"),
    ],
)
def test_what_could_not_be_written_is_told_before_the_test(flag, target, told, test_run, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "test", lambda *_, **__: pytest.fail("it was tested"))
    (tmp_path / "file").touch()
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "taken" / "test_metrics.json").mkdir(parents=True)

    done = test_run(flag, tmp_path / target)

    assert done.status == 1
    assert done.err.startswith(f"error: {flag}: {told.format(f'{tmp_path}{os.sep}')}; expected ")
    assert len(done.err.splitlines()) == 1


def test_figures_are_shown_though_they_cannot_be_written(test_run, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(test_output, "write_metrics", fail)
    done = test_run()
    assert done.status == 1
    assert "No space left on device" in done.err
    assert done.out.endswith("6 images of 3 classes\n")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_have_neither_figures_nor_predictions(
    value, command, trained, pictures, options, tmp_path
):
    broken = tmp_path / "broken.pth"
    state = read_checkpoint(trained / "epoch_2.pth").state_dict("ema")
    torch.save({"state_dict": {name: torch.full_like(weight, value) for name, weight in state.items()}}, broken)

    done = command("test", NAME, broken, "--work-dir", tmp_path / "tested", *options)
    assert (done.status, done.out) == (1, "")
    assert done.err.startswith(f"error: {broken} gives logits that are not finite")
    assert not (tmp_path / "tested").exists()

    picture = pictures / "val" / "cat" / "0.png"
    for form in ([], ["--json"]):
        done = command("predict", picture, "--model", trained / "experiment.json", "--pretrained", broken, *form)
        assert (done.status, done.out) == (1, "")
        assert done.err.startswith("error: the model's scores are not finite")
        assert len(done.err.splitlines()) == 1


def test_metrics_of_a_runs_own_config_are_written_into_the_run(command, trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("first", "second"):
        shutil.copytree(trained, name)
        assert command("test", f"{name}/experiment.json", f"{name}/epoch_2.pth").status == 0
        assert json.loads(Path(name, "test_metrics.json").read_text())["checkpoint"] == f"{name}/epoch_2.pth"
    assert not Path("work_dirs").exists()


@pytest.mark.parametrize("flags", ["--tta", "--amp", "--no-pin-memory", "--launcher none", "--weights raw"])
def test_each_flag_of_test_is_understood(flags, test_run):
    done = test_run(*flags.split())
    assert done.status == 0, done.err
    assert "6 images of 3 classes" in done.out


@pytest.mark.filterwarnings("ignore:FigureCanvasAgg is non-interactive")
def test_pictures_are_shown_where_there_is_a_screen(test_run, monkeypatch):
    import matplotlib.pyplot as plt

    from t2t_vit.visualization import window

    seconds = []
    monkeypatch.setattr(window, "check_screen", lambda _: None)
    monkeypatch.setattr(plt, "pause", seconds.append)
    assert test_run("--show", "--wait-time", "0.5", "--interval", "3").status == 0
    assert seconds == [0.5, 0.5]
    assert plt.get_fignums() == []


def test_run_that_goes_on_takes_options_as_its_config_means_them(command, trained, options, tmp_path):
    theirs = tmp_path / "theirs.py"
    theirs.write_text(
        "_base_ = 'mmpretrain::t2t_vit/t2t-vit-t-14_8xb64_in1k.py'\n"
        "custom_hooks = [dict(type='EmptyCacheHook'), dict(type='EMAHook', momentum=4e-5)]\n"
    )
    folder = tmp_path / "run"
    shutil.copytree(trained, folder)
    more = [*options, "schedule.epochs=3", "custom_hooks.1.momentum=0.01", "runtime.keep_checkpoints=none"]
    done = command("train", theirs, "--work-dir", folder, "--resume", *more)
    assert done.status == 0, done.err
    run = torch.load(folder / "epoch_3.pth", weights_only=True)["experiment"]
    assert json.loads(run)["ema"]["decay"] == 0.99
    assert json.loads(run)["runtime"]["keep_checkpoints"] is None


def test_run_that_goes_on_says_which_settings_of_its_config_it_leaves(command, trained, options, tmp_path):
    ours = tmp_path / "ours.py"
    ours.write_text(
        "from t2t_vit.config import Experiment, Runtime\n"
        "experiment = Experiment(runtime=Runtime(keep_checkpoints=None))\n"
    )
    folder = tmp_path / "run"
    shutil.copytree(trained, folder)
    done = command("train", ours, "--work-dir", folder, "--resume", *options)
    assert "going on with the run's own runtime.keep_checkpoints=3 (config: None); change" in done.err


def test_weights_of_another_model_are_told_in_one_line(command, trained, pictures):
    done = command("test", NAME, trained / "epoch_2.pth", "--cfg-options", f"data.root={pictures}")
    assert done.status == 1
    assert len(done.err.splitlines()) == 1
    assert "does not fit t2t_vit_t_14" in done.err
    assert f"Name the model that it was made with ({trained / 'experiment.json'})" in done.err

    done = command("test", trained / "experiment.json", trained / "epoch_2.pth", "--cfg-options", "data.dataset=digits")
    assert done.status == 1
    assert "the images have 10 classes" in done.err


def test_a_stopped_run_has_the_signals_status(command, options, tmp_path, monkeypatch):
    import signal

    from t2t_vit.engine.log import RunLog

    monkeypatch.setattr(RunLog, "advance", lambda *_: signal.raise_signal(signal.SIGINT))
    done = command("train", NAME, "--work-dir", tmp_path / "run", *options)
    assert done.status == 130
    assert done.err == f"stopped at step 1 of 6; go on with --resume (saved {tmp_path / 'run' / 'step_1.pth'})\n"


def test_a_configs_own_name_is_the_default_work_folder(options, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = tmp_path / "my recipe.py"
    own.write_text("from t2t_vit.config import Experiment, Model\nexperiment = Experiment(model=Model(depth=1))\n")
    with pytest.raises(SystemExit) as exit_:
        main(["train", str(own), *options])
    assert not exit_.value.code
    last = tmp_path / "work_dirs" / "my recipe" / "epoch_2.pth"
    assert torch.load(last, weights_only=True)["classes"] == ["cat", "dog", "owl"]
    assert load_experiment(last.with_name("experiment.json")).model.num_classes == 3


@pytest.mark.parametrize("workers", [0, 1])
def test_corrupt_pictures_past_the_limit_are_named_in_one_line_whoever_loads_them(
    workers, command, options, pictures, tmp_path
):
    root = tmp_path / "data"
    shutil.copytree(pictures, root)
    broken = root / "train" / "dog" / "0.png"
    broken.write_bytes(broken.read_bytes()[:200])
    settings = [f"data.root={root}", f"data.num_workers={workers}"]

    done = command("train", "t2t-vit-t-14_8xb64_in1k", "--work-dir", tmp_path / "lenient", *options, *settings)
    assert done.status == 0
    assert f"replaced by another image: {broken}" in done.out

    settings.append("data.bad_images_limit=0")
    done = command("train", "t2t-vit-t-14_8xb64_in1k", "--work-dir", tmp_path / "strict", *options, *settings)
    assert done.status == 1
    assert done.err.startswith("error: 1 of 12 training images cannot be read, more than the 0 that")
    assert str(broken) in done.err
    assert len(done.err.splitlines()) == 1


@pytest.fixture
def own_pictures(pictures, tmp_path):
    """A copy of the pictures, to be damaged."""
    return Path(shutil.copytree(pictures, tmp_path / "data"))


@pytest.mark.parametrize("workers", [0, 1])
def test_figures_are_of_the_pictures_that_can_be_read_and_the_others_are_named(
    workers, test_run, own_pictures, tmp_path
):
    broken = own_pictures / "val" / "cat" / "0.png"
    broken.write_bytes(broken.read_bytes()[:200])
    files = ["--out", tmp_path / "p.csv", "--show-dir", tmp_path / "shown"]

    done = test_run(f"data.root={own_pictures}", f"data.num_workers={workers}", *files)

    assert done.status == 1
    named, counted = done.err.splitlines()
    assert named.startswith(f"unreadable, and left out of the figures: {broken}")
    assert counted == "error: 1 of 6 images could not be read; they are named above"
    assert "accuracy/top5              100.00 %" in done.out
    assert done.out.endswith("5 images of 3 classes\n")
    assert json.loads((tmp_path / "tested" / "test_metrics.json").read_text())["images"] == 5
    assert len((tmp_path / "p.csv").read_text(encoding="utf-8").splitlines()) == 1 + 5
    assert len(list((tmp_path / "shown").iterdir())) == 5


def test_a_test_without_any_picture_that_can_be_read_has_no_figures(test_run, own_pictures, tmp_path):
    for path in (own_pictures / "val").rglob("*.png"):
        path.write_bytes(b"")

    done = test_run(f"data.root={own_pictures}")

    assert done.status == 1
    assert len(done.err.splitlines()) == 7
    assert done.err.splitlines()[-1].startswith("error: none of the 6 images can be read; mend them")
    assert not (tmp_path / "tested").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="file names may be any bytes on Linux alone")
def test_long_names_and_those_that_are_no_text_are_written(command, trained, pictures, options, tmp_path):
    root = tmp_path / "odd"
    shutil.copytree(pictures, root)
    cats = root / "val" / "cat"
    (cats / "0.png").rename(cats / os.fsdecode(b"caf\xe9.png"))
    (cats / "1.png").rename(cats / f"{'x' * 250}.png")
    done = command(
        "test", NAME, trained / "epoch_2.pth", "--work-dir", tmp_path / "tested", "--out", tmp_path / "p.csv",
        "--show-dir", tmp_path / "shown", *options, f"data.root={root}",
    )  # fmt: skip
    assert done.status == 0, done.err
    assert b"caf\xe9.png," in (tmp_path / "p.csv").read_bytes()
    assert len(list((tmp_path / "shown").iterdir())) == 6
