"""The study's commands, on a study of two small networks and the digits."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from t2t_vit import get_model
from t2t_vit.config import load_experiment
from t2t_vit.models.complexity import count_complexity
from t2t_vit.run.network import new_network
from t2t_vit.weights.load import read_checkpoint

STUDY = Path(__file__).parents[2] / "study"
PLAN = """
from dataclasses import dataclass
from real_plans import Study
STUDIES = {"tiny": Study(
    configs=("t2t-vit-mini_fashion-mnist", "vit-mini_fashion-mnist"), rates=(1e-3, 3e-3), tuning_epochs=1,
    held_back=0.3, seeds=(0, 1), images="Handwritten digits; their licence is CC BY 4.0.",
), "settled": Study(configs=("t2t-vit-mini_fashion-mnist",), seeds=(0,), images="")}
"""
QUICK = (
    "data.dataset=digits", "data.download=False", "data.root=data/imagenet", "model.img_size=16",
    "data.batch_size=256", "data.num_workers=0", "schedule.epochs=2", "schedule.warmup_epochs=0", "runtime.device=cpu",
    "schedule.cooldown_epochs=0", "runtime.precision=float32",
)  # fmt: skip
PAGE = """before
<!-- results of tiny -->
old
<!-- end of results of tiny -->
between
<!-- curves of tiny -->
<!-- end of curves of tiny -->
<!-- rates of tiny -->
<!-- end of rates of tiny -->
<!-- results of settled -->
<!-- end of results of settled -->
"""


@pytest.fixture
def study(tmp_path):
    """A copy of the study's scripts with a plan of its own."""
    folder = tmp_path / "study"
    shutil.copytree(STUDY, folder, ignore=shutil.ignore_patterns("runs", "logs", "__pycache__"))
    (folder / "plans.py").rename(folder / "real_plans.py")
    (folder / "plans.py").write_text(PLAN, "utf-8")
    (folder / "README.md").write_text(PAGE, "utf-8")
    (tmp_path / "README.md").write_text("nothing is marked here\n", "utf-8")
    configs = tmp_path / "configs" / "t2t_vit"
    configs.mkdir(parents=True)
    for name in ("t2t-vit-mini_fashion-mnist", "vit-mini_fashion-mnist"):
        (configs / f"{name}.py").write_text('"""A network.\n\nHardware: two CPU cores.\n"""\n', "utf-8")
    return folder


@pytest.fixture
def one_core():
    """Let this process and those that it starts use one core alone."""
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system does not keep processes to some cores")
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield
    os.sched_setaffinity(0, before)


def call(study, *arguments):
    command = [sys.executable, str(study / arguments[0]), *map(str, arguments[1:])]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=study.parent)


def records(study):
    return {path.relative_to(study / "logs").as_posix(): [json.loads(line) for line in path.read_text().splitlines()]
            for path in (study / "logs").rglob("*.jsonl")}  # fmt: skip


def check_what_is_exported(study):
    done = call(study, "run.py", "export", "tiny", study / "out")
    assert done.returncode == 0, done.stderr
    (weights,) = (study / "out").glob("tiny.vit-mini_fashion-mnist.seed-0-*.safetensors")
    state = read_checkpoint(weights).state_dict()
    assert {value.dtype for value in state.values()} == {torch.float16}
    assert len(list((study / "out").glob("*.safetensors"))) == 4
    logs = study / "out" / "logs"
    assert {path.relative_to(logs) for path in logs.rglob("*.jsonl")} == {Path(name) for name in records(study)}
    shutil.move(study / "runs" / "tiny" / "vit-mini_fashion-mnist", study / "elsewhere")
    done = call(study, "run.py", "export", "tiny", study / "less")
    assert done.returncode == 1
    assert "tiny/vit-mini_fashion-mnist/seed-0 was trained elsewhere, or its checkpoints are gone" in done.stderr
    assert len(list((study / "less").glob("*.safetensors"))) == 2
    shutil.move(study / "elsewhere", study / "runs" / "tiny" / "vit-mini_fashion-mnist")


def check_what_is_shipped(study, accuracy):
    done = call(study, "ship.py", "tiny")
    assert done.returncode == 0, done.stderr
    shipped = study.parent / "src" / "t2t_vit" / "shipped"
    digest = hashlib.sha256((shipped / "t2t-vit-mini_fashion-mnist.safetensors").read_bytes()).hexdigest()
    assert (shipped / "SHA256SUMS").read_text("utf-8") == f"{digest}  t2t-vit-mini_fashion-mnist.safetensors\n"
    card = (shipped / "t2t-vit-mini_fashion-mnist.md").read_text("utf-8")
    top1 = re.search(r"top-1 accuracy \| (\S+) % \(95 % interval (\S+) to (\S+)\)", card)
    assert float(top1[1]) == pytest.approx(accuracy, abs=1)  # float16 may turn a picture or two
    assert float(top1[2]) < float(top1[1]) < float(top1[3])
    assert digest in card
    assert "CC BY 4.0" in card
    assert str(study.parent).encode() not in (shipped / "t2t-vit-mini_fashion-mnist.safetensors").read_bytes()
    assert read_checkpoint(shipped / "t2t-vit-mini_fashion-mnist.safetensors").classes == tuple("0123456789")
    assert "$" not in card


def check_what_is_told(study, first, second):
    done = call(study, "report.py")
    assert done.returncode == 0, done.stderr
    page = (study / "README.md").read_text("utf-8")
    assert "old" not in page
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert len(rows) == 4
    assert f"| {first:.2f}, {second:.2f} |" in rows[0]
    assert "M (" not in rows[0]
    difference = re.search(r"M \(\S+\) \| .* \| ([+-]\S+) ± (\S+) \|", rows[1])
    right = {
        config: np.mean(
            [list(map(int, records(study)[f"tiny/{config}/seed-{seed}.jsonl"][-1]["right"])) for seed in (0, 1)]
        )
        for config in ("vit-mini_fashion-mnist", "t2t-vit-mini_fashion-mnist")
    }
    expected = 100 * (right["vit-mini_fashion-mnist"] - right["t2t-vit-mini_fashion-mnist"])
    assert float(difference[1]) == pytest.approx(expected, abs=0.01)
    assert 0 < float(difference[2]) < 10
    assert "float32, 2 runs at a time" in rows[0]
    assert "](curves-tiny.png)" in page
    assert "**" in rows[2]
    assert (study / "curves-tiny.png").stat().st_size > 5000
    assert (study.parent / "README.md").read_text("utf-8") == "nothing is marked here\n"
    config = study.parent / "configs" / "t2t_vit" / "t2t-vit-mini_fashion-mnist.py"
    told = config.read_text("utf-8")
    assert told.startswith('"""A network.\n\nHardware: ')
    measured = f"top-1 {first:.2f}, {second:.2f} % of 359 test images (seed 0, 1; the moving average after 2 epochs)"
    assert measured in " ".join(told.split())
    assert told.endswith('study/README.md.\n"""\n')
    call(study, "report.py")
    assert (study / "README.md").read_text("utf-8") == page
    assert config.read_text("utf-8") == told


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_study_is_tuned_trained_tested_once_and_told(study):
    options = [*QUICK, "schedule.epochs=1"]
    done = call(study, "run.py", "tune", "tiny", "--cfg-options", *options)
    assert done.returncode == 0, done.stderr
    found = records(study)
    assert len(found) == 4
    beyond = ("--only", "vit-mini_fashion-mnist", "--rates", 0.0005)
    assert call(study, "run.py", "tune", "tiny", *beyond, "--cfg-options", *options).returncode == 0
    assert set(records(study)) - set(found) == {"tiny/vit-mini_fashion-mnist/rate-0.0005.jsonl"}
    header, *lines = found["tiny/vit-mini_fashion-mnist/rate-0.003.jsonl"]
    assert (header["kind"], header["settings"]["optimizer"]["lr"]) == ("run", 0.003)
    assert header["settings"]["data"]["val_fraction"] == 0.3
    assert "root" not in header["settings"]["data"]
    assert {line["kind"] for line in lines} == {"train", "val"}

    done = call(study, "run.py", "train", "tiny", "--jobs", 2, "--cfg-options", *QUICK)
    assert done.returncode == 0, done.stderr
    found = records(study)
    assert len(found) == 9
    header, *lines = found["tiny/t2t-vit-mini_fashion-mnist/seed-1.jsonl"]
    assert header["settings"]["runtime"]["seed"] == 1
    assert header["parameters"] > 1000
    assert header["seconds"] > 0
    assert not [line for line in lines if line["kind"] == "val"]  # the test images are read once, at the end
    assert [(line["kind"], line["weights"], line["images"]) for line in lines[-2:]] == [
        ("test", "raw", 359),
        ("test", "ema", 359),
    ]
    assert 0 <= lines[-1]["calibration_error"] <= 100
    texts = json.dumps(found)
    assert str(study.parent) not in texts

    again = call(study, "run.py", "train", "tiny", "--cfg-options", *QUICK)
    assert (again.returncode, again.stdout) == (0, "4 of 4 runs are done\n")

    check_what_is_exported(study)

    other = call(study, "run.py", "train", "tiny", "--cfg-options", *QUICK, "runtime.device=auto")
    assert other.returncode == 1
    assert "of a run with other settings: runtime.device 'cpu' (now 'auto')" in other.stderr
    machine = ("data.dataset=image_folder", "runtime.precision=bfloat16")
    folders = call(study, "run.py", "train", "tiny", "--cfg-options", *QUICK, *machine)
    assert (folders.returncode, folders.stdout) == (0, "4 of 4 runs are done\n")
    harder = call(study, "run.py", "train", "tiny", "--cfg-options", *QUICK, "model.drop_path_rate=0.2")
    assert "of a run with other settings: model.drop_path_rate" in harder.stderr
    warned = call(study, "run.py", "train", "tiny", "--cfg-options", *QUICK, "optimizer.lr=0.5")
    assert "t2t-vit-mini_fashion-mnist has optimizer.lr=0.5; the best of those tried is" in warned.stderr
    assert "was not tried" not in warned.stderr
    (study / "logs" / "tiny" / "t2t-vit-mini_fashion-mnist" / "rate-0.003.jsonl").unlink()
    untried = call(study, "run.py", "train", "tiny", "--cfg-options", *QUICK)
    assert "warning: t2t-vit-mini_fashion-mnist was not tried with optimizer.lr=0.003; tune first" in untried.stderr

    first, second = (
        found[f"tiny/t2t-vit-mini_fashion-mnist/seed-{seed}.jsonl"][-1]["accuracy/top1"] for seed in (0, 1)
    )
    check_what_is_shipped(study, first)
    check_what_is_told(study, first, second)


def test_time_that_is_up_stops_runs_and_the_same_command_goes_on(study):
    arguments = ("run.py", "train", "tiny", "--only", "t2t-vit-mini_fashion-mnist", "--seeds", 0)
    long = [*QUICK, "schedule.epochs=400"]
    folder = study / "runs" / "tiny" / "t2t-vit-mini_fashion-mnist" / "seed-0"
    for minutes in (0.3, 0.6, 1.2):  # on a busy machine, the first may end before a run has begun
        first = call(study, *arguments, "--minutes", minutes, "--cfg-options", *long)
        assert first.returncode == 75, first.stderr
        assert "time is up: 1 runs to go; the same command goes on" in first.stdout
        if (folder / "last_checkpoint").is_file():
            break
    assert (folder / "last_checkpoint").is_file()
    second = subprocess.Popen(
        [sys.executable, str(study / "run.py"), *map(str, arguments[1:]), "--cfg-options", *long],
        cwd=study.parent, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    told = folder.parent / "seed-0.txt"
    end = time.monotonic() + 60
    while "resumed from" not in told.read_text("utf-8") and time.monotonic() < end:
        time.sleep(0.2)
    second.terminate()
    second.communicate(timeout=60)
    assert second.returncode == 143
    assert "resumed from" in told.read_text("utf-8")
    assert "stopped at step" in told.read_text("utf-8").splitlines()[-1]
    assert not records(study)


def test_commands_do_not_get_in_each_others_way(study):
    """A second one is refused, and what a killed one leaves at work is waited for."""
    arguments = ("run.py", "train", "tiny", "--only", "t2t-vit-mini_fashion-mnist", "--seeds", 0)
    options = ("--cfg-options", *QUICK, "schedule.epochs=4000")
    told = study / "runs" / "tiny" / "t2t-vit-mini_fashion-mnist" / "seed-0.txt"
    first = subprocess.Popen(
        [sys.executable, str(study / "run.py"), *map(str, arguments[1:]), *options], cwd=study.parent
    )
    end = time.monotonic() + 120
    while not (told.is_file() and "steps on" in told.read_text("utf-8")) and time.monotonic() < end:
        time.sleep(0.2)
    try:
        second = call(study, *arguments, *options)
        assert second.returncode == 1
        assert "another command of the study is at work" in second.stderr
        first.kill()
        first.wait()
        third = call(study, *arguments, "--minutes", 0.05, *options)
        assert third.returncode == 75, third.stderr
        assert "waiting for runs of an earlier command" in third.stdout
        assert "stopped at step" not in told.read_text("utf-8")
    finally:
        first.kill()
        subprocess.run(["pkill", "-TERM", "-f", str(study / "runs")], check=False)
    assert not records(study)


@pytest.mark.usefixtures("one_core")
def test_a_run_has_as_many_threads_as_there_are_cores_for_it(study):
    arguments = ("run.py", "train", "tiny", "--only", "t2t-vit-mini_fashion-mnist", "--seeds", 0, "--jobs", 1)
    done = call(study, *arguments, "--minutes", 1, "--cfg-options", *QUICK, "schedule.epochs=1")
    assert done.returncode == 0, done.stderr
    (record, *_), *_ = records(study).values()
    assert record["hardware"].startswith("1 of ")


def test_a_run_that_fails_is_told_and_nothing_is_recorded(study):
    done = call(study, "run.py", "train", "tiny", "--seeds", 0, "--cfg-options", *QUICK, "model.num_classes=3")
    assert done.returncode == 1
    assert done.stderr.count("status 1, see") == 2
    assert not records(study)


def test_networks_that_are_compared_are_alike_in_size():
    plans = runpy.run_path(str(STUDY / "plans.py"))
    for plan in plans["STUDIES"].values():
        first, *others = (size_of(load_experiment(config)) for config in plan.configs)
        for other in others:
            assert other.num_parameters / first.num_parameters == pytest.approx(1, abs=0.1)
            macs = (other.macs + other.attention_macs) / (first.macs + first.attention_macs)
            assert macs == pytest.approx(1, abs=0.2)


def size_of(experiment):
    model = experiment.model
    return count_complexity(new_network(experiment), (model.in_chans, *model.image_height_width))


def test_networks_that_are_compared_have_one_recipe():
    plans = runpy.run_path(str(STUDY / "plans.py"))
    for plan in plans["STUDIES"].values():
        first, *others = (load_experiment(config) for config in plan.configs)
        for other in others:
            for part in ("data", "preprocessing", "augmentation", "schedule", "ema", "runtime"):
                assert getattr(other, part) == getattr(first, part)
            assert dataclasses.replace(other.optimizer, lr=first.optimizer.lr) == first.optimizer


def test_an_unknown_study_is_told(study):
    done = call(study, "run.py", "tune", "imagenet")
    assert done.returncode == 2
    assert "there are tiny" in done.stderr


def test_features_are_worth_what_they_tell_of_other_pictures(study, tmp_path):
    """Red and blue pictures are told apart by any features, and noise by none."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 12), ("val", 10)):
        for name, colour in (("red", (200, 0, 0)), ("blue", (0, 0, 200)), ("noise", None), ("more", None)):
            folder = tmp_path / "pictures" / part / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 56, (20, 20, 3)) + (rng.integers(0, 200, 3) if colour is None else colour)
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
    torch.manual_seed(0)
    model = get_model("t2t_vit_7", img_size=32, depth=1)
    torch.save({"state_dict": model.state_dict()}, tmp_path / "weights.pth")
    config = tmp_path / "config.py"
    config.write_text(
        "from t2t_vit.config import Experiment, Model\n"
        "experiment = Experiment(model=Model(name='t2t_vit_7', num_classes=1000, img_size=32, depth=1))\n"
    )
    output = tmp_path / "figures.jsonl"
    done = call(
        study,
        "features.py",
        config,
        tmp_path / "pictures",
        "--pretrained",
        tmp_path / "weights.pth",
        "--output",
        output,
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in output.read_text("utf-8").splitlines()]
    assert [(line["kind"], line["classifier"]) for line in lines] == [
        ("features", "nearest neighbours"), ("features", "linear"),
        ("pixels", "nearest neighbours"), ("pixels", "linear"),
    ]  # fmt: skip
    for line in lines:
        assert 55 <= line["accuracy/top1"] <= 95  # two classes are the same noise: 75 % on average
        assert f"{line['accuracy/top1']:.2f} % of 40" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("run.py", "train", "tiny", "--only", "vit-mini"), 2, "'vit-mini'; there are"),
        (
            ("run.py", "train", "tiny", "--cfg-options", "optimizer.lrr=1"),
            1,
            "error: --cfg-options: unknown setting 'optimizer.lrr'",
        ),
        (("run.py", "tune", "settled"), 1, "error: settled takes its learning rate from another study"),
        (("run.py", "export", "tiny", "out"), 1, "error: no final run of tiny is finished; train them first"),
        (("ship.py", "tiny"), 1, "error: tiny/t2t-vit-mini_fashion-mnist/seed-0 is not finished"),
        (("ship.py", "large"), 2, "'large'; there are tiny, settled"),
        (("features.py", "t2t-vit-t-1", "pictures"), 1, "error: unknown model 't2t-vit-t-1'"),
    ],
)
def test_a_wrong_call_is_told(arguments, status, message, study):
    done = call(study, *arguments)
    assert done.returncode == status
    assert message in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr
