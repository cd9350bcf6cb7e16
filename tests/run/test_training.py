"""A whole run in this process: what it leaves, how it goes on, and what it refuses."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import random
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from t2t_vit import run
from t2t_vit.config import load_experiment
from t2t_vit.data.views import TrainingSet
from t2t_vit.engine.log import RunLog
from t2t_vit.engine.stopping import TrainingStopped
from t2t_vit.errors import CheckpointError, ConfigError, DatasetError, TrainingError
from t2t_vit.hub import build_model, get_model, load_model
from t2t_vit.run import training


def content(path: Path):
    return torch.load(path, weights_only=True)


def records(folder: Path, kind: str | None = None):
    """Return the run's log lines without what depends on the clock."""
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    return [
        {name: value for name, value in line.items() if name != "images_per_second"}
        for line in lines
        if kind in (None, line["kind"])
    ]


def assert_equal(one, other, where=""):
    """Compare nested checkpoints bit by bit."""
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_equal(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), where
        for i, (a, b) in enumerate(zip(one, other, strict=True)):
            assert_equal(a, b, f"{where}[{i}]")
    else:
        assert one == other, where


def signal_at(step: int, monkeypatch, number=signal.SIGINT):
    """Have a signal arrive in the middle of a step."""
    advance = RunLog.advance

    def advance_and_signal(self, now, status=""):
        advance(self, now, status)
        if now == step and not status:
            signal.raise_signal(number)

    monkeypatch.setattr(RunLog, "advance", advance_and_signal)


def load_elsewhere(monkeypatch):
    """Have the loading of pictures draw nothing from this process's generators, as if other processes did it."""
    load = TrainingSet.__getitem__

    def load_and_restore(self, key):
        states = random.getstate(), np.random.get_state(), torch.get_rng_state()
        try:
            return load(self, key)
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])
            torch.set_rng_state(states[2])

    monkeypatch.setattr(TrainingSet, "__getitem__", load_and_restore)


def test_a_run_leaves_everything_that_tells_what_happened(recipe, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = tmp_path / "a run"
    last = run.train(recipe(), folder)

    assert last == folder / "epoch_2.pth"
    names = {path.name for path in folder.iterdir()}
    best = f"best_accuracy_top1_epoch_{content(last)['state']['best_file'][-5]}.pth"
    assert names == {
        ".lock", "environment.json", "experiment.json", "last_checkpoint", "log.jsonl", "timeline.jsonl",
        "tensorboard", "train.log",
        "epoch_1.pth", "epoch_2.pth", best,
    }  # fmt: skip
    train = records(folder, "train")
    assert [line["step"] for line in train] == [2, 4, 5, 6, 8, 10]
    assert all(math.isfinite(line["loss"]) for line in train)
    assert [(line["epoch"], line["weights"]) for line in records(folder, "val")] == [
        (1, "raw"), (1, "ema"), (2, "raw"), (2, "ema"),
    ]  # fmt: skip
    board = EventAccumulator(str(folder / "tensorboard")).Reload()
    assert {"train/loss", "train/lr", "val/raw/accuracy/top1", "val/ema/accuracy/top1"} <= set(board.Tags()["scalars"])
    assert [event.step for event in board.Scalars("train/loss")] == [2, 4, 5, 6, 8, 10]
    assert "epoch 2/2  step 5/5  loss" in (folder / "train.log").read_text(encoding="utf-8")
    assert json.loads((folder / "environment.json").read_text())["torch"] == torch.__version__
    stored = run.stored_experiment(folder)
    assert stored == dataclasses.replace(recipe(), model=dataclasses.replace(recipe().model, num_classes=3))


def test_a_checkpoint_is_a_model_with_its_class_names(recipe, tmp_path):
    last = run.train(recipe(), tmp_path / "run")

    model = get_model(tmp_path / "run" / "experiment.json", last)

    assert model.classes == ("cat", "dog", "owl")
    assert torch.equal(model.head.weight, content(last)["ema"]["head.weight"])


def test_the_second_run_refuses_the_place_of_the_first_and_loses_nothing(recipe, tmp_path):
    run.train(recipe(), tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    with pytest.raises(TrainingError, match=r"holds a run already \(epoch_2\.pth\); go on with it by --resume"):
        run.train(recipe(optimizer={"lr": 0.1}), tmp_path)

    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_nothing_to_resume_is_an_error_and_auto_begins(recipe, tmp_path):
    with pytest.raises(TrainingError, match=r"nothing to resume: .* has no checkpoint"):
        run.train(recipe(), tmp_path / "run", resume="last")
    assert not (tmp_path / "run").exists()
    with pytest.raises(CheckpointError, match=r"no checkpoint .*gone\.pth to resume from"):
        run.train(recipe(), tmp_path / "run", resume=tmp_path / "gone.pth")
    assert not (tmp_path / "run").exists()
    assert run.train(recipe(), tmp_path / "run", resume="auto") == tmp_path / "run" / "epoch_2.pth"


@pytest.mark.parametrize("step", [3, 4, 5, 7], ids=["mid-interval", "after a log line", "end of epoch", "epoch 2"])
def test_a_resumed_run_is_bitwise_equal_to_an_uninterrupted_one(step, recipe, tmp_path, monkeypatch):
    load_elsewhere(monkeypatch)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run.train(recipe(), whole)

    with monkeypatch.context() as patch:
        signal_at(step, patch)
        with pytest.raises(TrainingStopped, match=rf"stopped at step {step} of 10; .*step_{step}\.pth") as stopped:
            run.train(recipe(), parts)
    assert stopped.value.status == 130
    assert content(parts / f"step_{step}.pth")["step"] == step
    torch.manual_seed(99)  # whatever the next process draws before
    run.train(recipe(), parts, resume="last")

    assert_equal(content(parts / "epoch_2.pth"), content(whole / "epoch_2.pth"))
    assert records(parts) == records(whole)


def test_a_run_that_is_stopped_while_it_evaluates_evaluates_when_it_goes_on(recipe, tmp_path, monkeypatch):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run.train(recipe(), whole)
    evaluate = training.evaluate

    def signal_first(*arguments, **options):
        signal.raise_signal(signal.SIGTERM)
        return evaluate(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(training, "evaluate", signal_first)
        with pytest.raises(TrainingStopped) as stopped:
            run.train(recipe(), parts)
    assert stopped.value.status == 143
    assert (parts / "step_5.pth").is_file()
    run.train(recipe(), parts, resume="auto")

    assert_equal(content(parts / "epoch_2.pth"), content(whole / "epoch_2.pth"))
    assert records(parts) == records(whole)


def test_what_was_logged_past_the_checkpoint_is_logged_once(recipe, tmp_path):
    whole, again = tmp_path / "whole", tmp_path / "again"
    run.train(recipe(), whole)
    shutil.copytree(whole, again)

    run.train(recipe(), again, resume=again / "epoch_1.pth")

    assert records(again) == records(whole)
    assert_equal(content(again / "epoch_2.pth"), content(whole / "epoch_2.pth"))


def test_the_last_checkpoint_is_known_in_a_copied_folder(recipe, tmp_path):
    run.train(recipe(), tmp_path / "run")
    (tmp_path / "run" / "epoch_1.pth").touch()  # copies are as old as the copying makes them

    assert run.resume_point(tmp_path / "run", "last") == tmp_path / "run" / "epoch_2.pth"
    (tmp_path / "run" / "epoch_2.pth").unlink()
    assert run.resume_point(tmp_path / "run", "last") == tmp_path / "run" / "epoch_1.pth"


def test_a_run_can_be_made_longer(recipe, tmp_path):
    run.train(recipe(), tmp_path)
    assert run.train(recipe(schedule={"epochs": 3}), tmp_path, resume="last") == tmp_path / "epoch_3.pth"
    assert [line["epoch"] for line in records(tmp_path, "val")] == [1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": {"batch_size": 2}}, "takes 4 images a step and this one 2; set data.global_batch_size=4"),
        ({"model": {"depth": 2}}, "checkpoint is of another model"),
        ({"model": {"embed_dim": 48}}, "checkpoint is of another model"),
    ],
    ids=str,
)
def test_another_run_cannot_go_on_from_a_checkpoint(changes, message, recipe, tmp_path):
    run.train(recipe(), tmp_path)
    with pytest.raises(TrainingError, match=message):
        run.train(recipe(**changes), tmp_path, resume="last")


@pytest.mark.parametrize("kind", ["text", "weights"])
def test_a_file_of_another_kind_cannot_be_resumed_and_changes_nothing(kind, recipe, tmp_path):
    run.train(recipe(), tmp_path / "run")
    before = (tmp_path / "run" / "experiment.json").read_bytes()
    if kind == "text":
        (tmp_path / "x.pth").write_text("hello")
    else:
        torch.save({"head.weight": torch.zeros(2, 2)}, tmp_path / "x.pth")

    with pytest.raises(CheckpointError, match=r"x\.pth.*cannot be resumed"):
        run.train(recipe(optimizer={"lr": 0.1}), tmp_path / "run", resume=tmp_path / "x.pth")
    assert (tmp_path / "run" / "experiment.json").read_bytes() == before


def test_training_begins_from_weights(recipe, tmp_path, caplog):
    first = run.train(recipe(), tmp_path / "first")
    again = recipe(model={"pretrained": str(first)}, optimizer={"lr": 1e-12}, ema={"enabled": False})

    last = run.train(again, tmp_path / "second")

    weights = content(first)["ema"]
    assert torch.allclose(content(last)["model"]["head.weight"], weights["head.weight"], atol=1e-6)
    first.unlink()  # a run that goes on needs them no more
    with pytest.raises(CheckpointError, match="no weights file"):
        run.train(again, tmp_path / "third")
    run.train(dataclasses.replace(again, schedule=recipe(schedule={"epochs": 3}).schedule), tmp_path / "second",
              resume="last")  # fmt: skip


def test_frozen_parts_stay_and_the_rest_is_trained(recipe, tmp_path):
    settings = {"freeze": "tokens_to_token,blocks", "grad_checkpointing": True}
    experiment = recipe(model=settings)
    torch.manual_seed(0)
    before = build_model(experiment, num_classes=3)
    torch.save(before.state_dict(), tmp_path / "start.pth")
    last = run.train(recipe(model={**settings, "pretrained": str(tmp_path / "start.pth")}), tmp_path / "run")

    for weights in ("raw", "ema"):
        after = load_model(experiment, last, weights=weights).state_dict()
        changed = {name for name, value in before.state_dict().items() if not torch.equal(value, after[name])}
        assert changed == {"cls_token", "norm.weight", "norm.bias", "head.weight", "head.bias"}


def test_a_loss_that_is_no_number_ends_with_advice_and_keeps_the_last_good_checkpoint(recipe, tmp_path):
    run.train(recipe(schedule={"epochs": 1, "warmup_epochs": 0}), tmp_path)
    wild = recipe(optimizer={"lr": 1e25}, schedule={"epochs": 4, "warmup_epochs": 0}, augmentation={"mixup": 0.0})

    with pytest.raises(
        TrainingError,
        match=r"not finite in 10 steps in a row, .* lower optimizer\.lr, .*the last good checkpoint is .*epoch_1\.pth",
    ):
        run.train(wild, tmp_path, resume="last")
    assert run.resume_point(tmp_path, "last") == tmp_path / "epoch_1.pth"


@pytest.mark.parametrize(
    ("count", "mixed", "steps"),
    [(1, False, 1), (1, True, 1), (2, True, 1), (7, True, 5)],
    ids=["one a class", "one a class, mixed", "fewer than a batch", "odd remainder"],
)
def test_small_and_odd_data_sets_are_trained_on(count, mixed, steps, recipe, save_pictures, tmp_path):
    root = tmp_path / "few"
    save_pictures(root / "train", ["cat", "dog", "owl"], count)
    save_pictures(root / "val", ["cat", "dog", "owl"], 1)
    mixing = {} if mixed else {"mixup": 0.0, "cutmix": 0.0}
    batch_size = 4 if count == 7 else 16
    last = run.train(recipe(data={"root": str(root), "batch_size": batch_size}, augmentation=mixing), tmp_path / "run")

    assert content(last)["steps_per_epoch"] == steps
    assert records(tmp_path / "run", "val")[-1]["accuracy/top5"] == 100


def test_one_image_cannot_be_mixed(recipe, save_pictures, tmp_path):
    save_pictures(tmp_path / "one" / "train", ["cat"], 1)
    save_pictures(tmp_path / "one" / "val", ["cat"], 1)
    data = {"root": str(tmp_path / "one")}

    with pytest.raises(ConfigError, match=r"a batch has 1 images .*augmentation\.mixup=0 augmentation\.cutmix=0"):
        run.train(recipe(data=data), tmp_path / "run")
    run.train(recipe(data=data, augmentation={"mixup": 0.0, "cutmix": 0.0}), tmp_path / "run")


def test_top_5_of_two_classes_counts_both(recipe, save_pictures, tmp_path):
    save_pictures(tmp_path / "two" / "train", ["cat", "dog"], 3)
    save_pictures(tmp_path / "two" / "val", ["cat", "dog"], 2)
    experiment = recipe(data={"root": str(tmp_path / "two")})
    last = run.train(experiment, tmp_path / "run")

    metrics = run.test(experiment, last).evaluation.metrics
    assert metrics["accuracy/top5"] == 100
    assert metrics["accuracy/top1"] in (0, 25, 50, 75, 100)


def test_the_ema_and_the_raw_weights_are_tested_apart(recipe, tmp_path):
    experiment = recipe(optimizer={"lr": 0.01})
    last = run.train(experiment, tmp_path)
    val = {line["weights"]: line for line in records(tmp_path, "val")[-2:]}

    for weights in ("ema", "raw"):
        metrics = run.test(experiment, last, weights=weights).evaluation.metrics
        assert metrics == pytest.approx({name: val[weights][name] for name in metrics}, abs=1e-5)
    assert val["ema"]["loss"] != val["raw"]["loss"]


def test_a_prediction_is_what_the_test_computes(recipe, tmp_path):
    from t2t_vit import ImageClassificationInferencer

    last = run.train(recipe(optimizer={"lr": 0.01}), tmp_path)
    tested = run.test(recipe(), last, keep_scores=True)

    files = [tested.images.name(int(i)) for i in tested.evaluation.indices]
    predictions = ImageClassificationInferencer(tmp_path / "experiment.json", last)(files)

    for prediction, row, label in zip(
        predictions, tested.evaluation.scores, tested.evaluation.predictions, strict=True
    ):
        assert prediction["pred_scores"] == pytest.approx(row, abs=1e-6)
        assert prediction["pred_label"] == label
        assert prediction["pred_class"] == ("cat", "dog", "owl")[label]


def test_no_evaluation_where_none_is_wanted(recipe, pictures, tmp_path):
    shutil.rmtree(pictures / "val")
    with pytest.raises(DatasetError, match="no image folder"):
        run.train(recipe(), tmp_path / "run")
    assert not (tmp_path / "run").exists()

    run.train(recipe(runtime={"validate": False}), tmp_path / "run")
    assert records(tmp_path / "run", "val") == []
    assert not list((tmp_path / "run").glob("best_*"))


def test_the_learning_rate_is_scaled_to_the_batch_and_no_further_when_resumed(recipe, tmp_path, monkeypatch):
    experiment = recipe(optimizer={"auto_scale_lr": True, "lr": 0.128}, schedule={"warmup_epochs": 0})
    run.train(experiment, tmp_path / "whole")
    assert records(tmp_path / "whole", "train")[0]["lr"] == pytest.approx(0.128 * 4 / 512)

    with monkeypatch.context() as patch:
        signal_at(2, patch)
        with pytest.raises(TrainingStopped):
            run.train(experiment, tmp_path / "parts")
    run.train(run.stored_experiment(tmp_path / "parts"), tmp_path / "parts", resume="last")
    assert records(tmp_path / "parts") == records(tmp_path / "whole")


def test_a_model_of_all_imagenet_classes_is_tested_on_some(recipe, save_pictures, tmp_path):
    wnids = ["n01440764", "n01443537", "n02119789"]
    save_pictures(tmp_path / "in1k" / "train", wnids, 2)
    save_pictures(tmp_path / "in1k" / "val", wnids, 2)
    experiment = recipe(data={"root": str(tmp_path / "in1k")})
    last = run.train(experiment, tmp_path / "run")

    tested = run.test(experiment, last)

    assert tested.model.num_classes == 1000
    assert sorted(set(tested.evaluation.labels)) == [0, 1, 278]
    assert "kit fox" in tested.images.classes[278]
    assert 0 <= tested.evaluation.metrics["accuracy/top5"] <= 100


def test_a_checkpoint_of_other_classes_or_another_architecture_is_refused(recipe, save_pictures, tmp_path):
    last = run.train(recipe(), tmp_path / "run")
    save_pictures(tmp_path / "other" / "val", ["cat", "eel", "owl"], 1)

    with pytest.raises(DatasetError, match=r"class folder 'eel'.*none of the 3 classes"):
        run.test(recipe(data={"root": str(tmp_path / "other")}), last)
    with pytest.raises(CheckpointError, match=rf"{last} .*does not fit t2t_vit_t_14: .*experiment\.json"):
        run.test(recipe(model={"depth": 2}), last)
    with pytest.raises(CheckpointError, match=r"head\.weight is \(3, 24\), expected \(1000, 24\)"):
        run.test(recipe(model={"num_classes": 1000}), last)
    digits = load_experiment("t2t-vit-digits_demo")
    with pytest.raises(CheckpointError, match="does not fit t2t_vit_t_14"):
        run.test(digits, last)


def test_published_weights_and_folders_of_other_classes_are_told_apart(recipe, tmp_path):
    model = get_model(recipe(), num_classes=1000)
    torch.save(model.state_dict(), tmp_path / "in1k.pth")
    with pytest.raises(ConfigError, match=r"images have 3 classes and .*in1k\.pth has 1000"):
        run.test(recipe(), tmp_path / "in1k.pth")


def test_the_number_of_classes_must_be_that_of_the_data(recipe, tmp_path):
    with pytest.raises(ConfigError, match=r"have 3 classes and model\.num_classes is 4; leave"):
        run.train(recipe(model={"num_classes": 4}), tmp_path)


def test_a_schedule_that_is_all_warm_up_gets_a_word(recipe, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        run.train(recipe(schedule={"warmup_epochs": 10}), tmp_path)
    assert [record.getMessage()[:51] for record in caplog.records] == [
        "2 epochs end before the learning rate has gone thro"
    ]


def test_mixed_precision_trains_and_tests(recipe, tmp_path):
    experiment = recipe(runtime={"precision": "bfloat16"})
    last = run.train(experiment, tmp_path)
    assert content(last)["model"]["head.weight"].dtype == torch.float32
    assert math.isfinite(run.test(experiment, last).evaluation.metrics["loss"])


def test_flipping_averages_over_mirror_images(recipe, tmp_path):
    last = run.train(recipe(optimizer={"lr": 0.01}), tmp_path)
    plain, flipped = (run.test(recipe(), last, flip=flip, keep_scores=True).evaluation for flip in (False, True))
    assert abs(plain.scores - flipped.scores).max() > 1e-6
    assert flipped.scores.sum(axis=1) == pytest.approx(1, abs=1e-5)
