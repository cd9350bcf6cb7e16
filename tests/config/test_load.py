"""A config is found by path or name, and what is wrong with it is said in one line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from t2t_vit.config import Experiment, Optimizer, experiment_from_json, experiment_to_dict, load_experiment
from t2t_vit.config.load import config_path
from t2t_vit.errors import ConfigError

NAME = "t2t-vit-t-14_8xb64_in1k"
HEAD = "from t2t_vit.config import *\n"


def message_of(path):
    with pytest.raises(ConfigError) as caught:
        load_experiment(path)
    message = str(caught.value)
    assert "\n" not in message
    return message


# --- where it is ---


@pytest.mark.parametrize("config", [NAME, f"{NAME}.py", f"configs/t2t_vit/{NAME}.py", Path(NAME)])
def test_shipped_config_is_found_from_anywhere(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert config_path(config).name == f"{NAME}.py"
    assert load_experiment(config).model.name == "t2t_vit_t_14"


def test_own_file_goes_before_a_shipped_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path(f"{NAME}.py").write_text(f"{HEAD}experiment = Experiment(runtime=Runtime(seed=5))", encoding="utf-8")
    assert load_experiment(f"{NAME}.py").runtime.seed == 5


def test_config_may_use_names_of_its_own(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(f"{HEAD}rate = 3e-4\nexperiment = Experiment(optimizer=Optimizer(lr=2 * rate))", encoding="utf-8")
    assert load_experiment(path) == Experiment(optimizer=Optimizer(lr=6e-4))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("nothing.py", "config 'nothing.py' is neither a file nor a shipped config. Shipped: .*" + NAME),
        ("t2t-vit-t14_8xb64_in1k", f"Did you mean '{NAME}'"),
        (f"elsewhere/{NAME}.py", f"config 'elsewhere/{NAME}.py' is neither a file"),
        (".", "config '.' is a folder, not a config file"),
    ],
)
def test_missing_config_names_the_nearest(config, message):
    assert re.search(message, message_of(config))


# --- what is wrong in it: each names the file, and its line where there is one ---

PYTHON = {
    "unknown setting": (
        "\nexperiment = Experiment(\n    optimizer=Optimizer(\n        weigth_decay=3\n    ),\n)",
        4,
        "unknown setting 'optimizer.weigth_decay'. Did you mean 'weight_decay' or 'layer_decay'? Known here: kind, lr,",
    ),
    "unknown section": (
        "experiment = Experiment(optimiser=Optimizer())",
        2,
        "unknown setting 'optimiser'. Did you mean 'optimizer' or 'runtime'? Known here: model, baseline, data,",
    ),
    "wrong type": (
        "experiment = Experiment(schedule=Schedule(epochs='ten'))",
        2,
        "schedule.epochs is 'ten'; expected a valid integer",
    ),
    "truth for a number": (
        "experiment = Experiment(schedule=Schedule(epochs=True))",
        2,
        "schedule.epochs is True; expected a valid integer",
    ),
    "out of range": (
        "x = 1\nexperiment = Experiment(model=Model(drop_path_rate=1.0))",
        3,
        "model.drop_path_rate is 1.0; expected less than 1",
    ),
    "two of them": (
        "experiment = Experiment(schedule=Schedule(epochs=0, warmup_epochs=-1))",
        2,
        "schedule.epochs is 0; expected greater than or equal to 1; schedule.warmup_epochs is -1; expected greater",
    ),
    "not a number": (
        "experiment = Experiment(optimizer=Optimizer(lr=float('nan')))",
        2,
        "optimizer.lr is nan; expected",
    ),
    "infinite": (
        "experiment = Experiment(optimizer=Optimizer(lr=float('inf')))",
        2,
        "optimizer.lr is inf; expected a finite number",
    ),
    "not one of the words": (
        "experiment = Experiment(runtime=Runtime(precision='bf16'))",
        2,
        "runtime.precision is 'bf16'; expected 'auto', 'float32', 'bfloat16' or 'float16'",
    ),
    "image size of nothing": (
        "experiment = Experiment(model=Model(img_size=(0, 224)))",
        2,
        "model.img_size is 0; expected greater than or equal to 1",
    ),
    "soft split too short": (
        "experiment = Experiment(model=Model(soft_splits=((7, 4), (3, 2, 1))))",
        2,
        "model.soft_splits is (7, 4); it has too few values",
    ),
    "mean of white at 255": (
        "experiment = Experiment(preprocessing=Preprocessing(mean=(123.675, 116.28, 103.53)))",
        2,
        "preprocessing.mean is (123.675, 116.28, 103.53); white is 1 here: divide by 255",
    ),
    "mean for other channels": (
        "experiment = Experiment(model=Model(in_chans=1))",
        2,
        "preprocessing.mean has 3 values and model.in_chans is 1; give one value a channel",
    ),
    "range the wrong way round": (
        "experiment = Experiment(augmentation=Augmentation(crop_scale=(1.0, 0.08)))",
        2,
        "augmentation.crop_scale is (1.0, 0.08); expected the smaller number first",
    ),
    "area larger than the picture": (
        "experiment = Experiment(augmentation=Augmentation(erase_area=(0.02, 33)))",
        2,
        "augmentation.erase_area is 33; expected less than or equal to 1",
    ),
    "odd batch to mix": (
        "experiment = Experiment(data=Data(batch_size=63))",
        2,
        "data.batch_size is 63; Mixup and CutMix pair images, so it must be even",
    ),
    "section of another kind": (
        "experiment = Experiment(model=3)",
        2,
        "model is 3; expected",
    ),
    "by position": (
        "experiment = Experiment(model=Model('t2t_vit_t_14'))",
        2,
        "model: write settings by name, not by position",
    ),
    "syntax": ("experiment = Experiment(\n    model=)", 3, "SyntaxError: "),
    "error in a function": ("def f():\n    return 1 / 0\n\nexperiment = f()", 3, "ZeroDivisionError: division by zero"),
    "error of two lines": ("raise ValueError('one\\n   two')", 2, "ValueError: one two"),
    "error without words": ("raise ValueError", 2, "ValueError: no message"),
    "exit": ("import sys\nsys.exit(3)", 3, "SystemExit: 3"),
    "missing module": ("import nothing_like_it", 2, "ModuleNotFoundError: No module named 'nothing_like_it'"),
    "nothing bound": (
        "experience = Experiment()",
        None,
        "binds nothing to the name 'experiment'; expected experiment =",
    ),
    "another thing bound": ("experiment = 'model'", None, "binds a str to the name 'experiment'"),
    "class bound": ("experiment = Experiment", None, "binds a type to the name 'experiment'"),
}


@pytest.mark.parametrize("kind", PYTHON)
def test_broken_python_file_is_told_in_one_line(kind, tmp_path):
    body, line, expected = PYTHON[kind]
    path = tmp_path / "broken.py"
    path.write_text(HEAD + body + "\n", encoding="utf-8")
    place = str(path) if line is None else f"{path}:{line}: "
    message = message_of(path)
    assert message.startswith(place)
    assert expected in message


def test_syntax_error_of_an_imported_file_is_not_put_on_the_config(tmp_path, monkeypatch):
    (tmp_path / "broken_neighbour.py").write_text("\n\n\n\n\nx = = 1", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "mine.py"
    path.write_text("\nimport broken_neighbour\n", encoding="utf-8")
    message = message_of(path)
    assert message.startswith(f"{path}:2: SyntaxError")
    assert "broken_neighbour.py, line 6" in message


def test_bytes_that_are_no_text(tmp_path):
    path = tmp_path / "latin.py"
    path.write_bytes(b"name = 'caf\xe9'\n")
    assert message_of(path).startswith(f"{path}:1: SyntaxError: (unicode error) 'utf-8'")


def test_interrupt_in_a_config_is_an_interrupt(tmp_path):
    path = tmp_path / "config.py"
    path.write_text("raise KeyboardInterrupt", encoding="utf-8")
    with pytest.raises(KeyboardInterrupt):
        load_experiment(path)


JSON = {
    "unknown setting": ('{"optimizer": {"lrr": 1}}', "unknown setting 'optimizer.lrr'. Did you mean 'lr'?"),
    "unknown section": ('{"optimizr": {}}', "unknown setting 'optimizr'. Did you mean 'optimizer'?"),
    "wrong type": ('{"data": {"batch_size": "many"}}', "data.batch_size is 'many'; expected a valid integer"),
    "not a number": ('{"optimizer": {"lr": NaN}}', "optimizer.lr is nan; expected"),
    "section of another kind": ('{"optimizer": null}', "optimizer is None; expected a dictionary"),
    "image size of one": ('{"model": {"img_size": [224]}}', "model.img_size is [224]; it has too few values"),
    "no object": ("[1]", "holds a list; expected an object of settings"),
    "no JSON": ('{"optimizer":\n {,}}', "is not JSON: .*line 2 column 3"),
}


@pytest.mark.parametrize("kind", JSON)
def test_broken_json_file_is_told_in_one_line(kind, tmp_path):
    text, expected = JSON[kind]
    path = tmp_path / "broken.json"
    path.write_text(text, encoding="utf-8")
    message = message_of(path)
    assert message.startswith(str(path))
    assert re.search(expected if kind == "no JSON" else re.escape(expected), message)


def test_json_that_is_no_text(tmp_path):
    path = tmp_path / "broken.json"
    path.write_bytes(b"\xff")
    assert message_of(path).startswith(f"cannot read {path}: 'utf-8'")


@pytest.mark.parametrize("name", ["config.yaml", "config", "config.pth"])
def test_file_of_another_kind_is_refused(name, tmp_path):
    path = tmp_path / name
    path.write_text("a: 1", encoding="utf-8")
    assert message_of(path) == f"config {str(path)!r}: expected a .py or .json file"


# --- defaults ---


def test_json_may_leave_out_what_it_does_not_change():
    assert experiment_from_json("{}", "text") == Experiment()
    experiment = experiment_from_json('{"optimizer": {"lr": 0.001}}', "text")
    assert experiment == Experiment(optimizer=Optimizer(lr=1e-3))


def test_every_setting_is_written_out_as_plain_values():
    values = experiment_to_dict(Experiment())
    assert json.loads(json.dumps(values))["optimizer"]["betas"] == [0.9, 0.999]
    assert set(values) == {
        "model", "baseline", "data", "preprocessing", "augmentation", "optimizer", "schedule", "ema", "distillation",
        "runtime",
    }  # fmt: skip


def test_experiment_cannot_be_changed_by_accident():
    with pytest.raises(AttributeError):
        Experiment().seed = 3  # type: ignore[attr-defined]
    assert hash(Experiment()) == hash(Experiment())


def test_height_and_width_of_the_image():
    assert experiment_from_json('{"model": {"img_size": 96}}', "text").model.image_height_width == (96, 96)
    assert experiment_from_json('{"model": {"img_size": [96, 64]}}', "text").model.image_height_width == (96, 64)


@pytest.mark.parametrize("text", ["[" * 100_000, "9" * 5_000, '{"a": ' * 100_000])
def test_json_that_cannot_be_taken_in_is_told(text, tmp_path):
    (tmp_path / "experiment.json").write_text(text)
    with pytest.raises(ConfigError, match="is not JSON"):
        load_experiment(tmp_path / "experiment.json")
    with pytest.raises(ConfigError, match="is not JSON"):
        experiment_from_json(text, "the file")
