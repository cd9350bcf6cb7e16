"""Users' own model names: an index in, names that every call and command takes."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from t2t_vit import ModelHub, T2TViTError, get_model, inference_model, list_models
from t2t_vit import model_index as registry
from t2t_vit.config import Experiment, Model, experiment_to_json
from t2t_vit.errors import ConfigError, UnknownModelError
from t2t_vit.hub import build_model
from t2t_vit.weights.catalogue import CATALOGUE

TINY: dict[str, Any] = {
    "img_size": 32, "soft_splits": ((7, 2, 3), (3, 2, 1), (3, 2, 1)), "token_dim": 8, "embed_dim": 24, "depth": 1,
    "num_heads": 2, "num_classes": 3,
}  # fmt: skip
NAME = "t2t-vit-t-14_8xb64_in1k"


@pytest.fixture(autouse=True)
def nothing_registered(monkeypatch):
    """Have each test begin and end with nothing registered."""
    monkeypatch.delenv(registry.ENVIRONMENT_VARIABLE, raising=False)
    monkeypatch.setattr(registry, "_registered", {})
    monkeypatch.setattr(registry, "_read_from_environment", set())


@pytest.fixture
def folder(tmp_path):
    """Two configs, of which one has weights beside it."""
    experiment = Experiment(model=Model(**TINY))
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "tiny.json").write_text(experiment_to_json(experiment))
    wide = dataclasses.replace(experiment, model=Model(**{**TINY, "embed_dim": 32}))
    (tmp_path / "configs" / "wide.json").write_text(experiment_to_json(wide))
    torch.manual_seed(3)
    torch.save(build_model(experiment).state_dict(), tmp_path / "tiny.pth")
    return tmp_path


INDEX = """
Collections:
  - Name: Small ones
    Metadata: {Architecture: [T2T], Epochs: 300}
Models:
  - Name: My-Tiny_T2T
    In Collection: Small ones
    Metadata: {FLOPs: 12, Epochs: 5}
    Config: configs/tiny.json
    Weights: tiny.pth
    Results:
      - Task: Image Classification
        Dataset: pictures
        Metrics: {Top 1 Accuracy: 81.5}
  - Name: my-wide
    Config: configs/wide.json
"""


@pytest.fixture
def index(folder):
    return write(folder, INDEX)


def write(folder: Path, text: str, name: str = "model-index.yml") -> Path:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_what_an_index_says_of_a_model_can_be_asked_for(index, folder):
    ModelHub.register_model_index(index)

    found = ModelHub.get("My-Tiny_T2T")
    assert found == ModelHub.get("my-tiny_t2t")
    assert found.name == "my-tiny_t2t"
    assert found.config == folder / "configs" / "tiny.json"
    assert found.weights == str(folder / "tiny.pth")
    assert found.metadata == {"Architecture": ["T2T"], "FLOPs": 12, "Epochs": 5}
    assert found.metrics == {"Top 1 Accuracy": 81.5}
    assert found.index == index
    assert ModelHub.get("my-wide").weights is None
    assert ModelHub.get("my-wide").metrics == {}
    assert ModelHub.has("MY-wide")
    assert not ModelHub.has("my-other")


def test_what_the_package_has_can_be_asked_for_too():
    found = ModelHub.get(NAME)
    assert found.weights == CATALOGUE[NAME].url
    assert found.config is not None
    assert found.config.name == f"{NAME}.py"
    assert found.metrics == {"Top 1 Accuracy": 81.83, "Top 5 Accuracy": 95.84}
    assert ModelHub.has("t2t_vit_14.official_in1k")
    assert ModelHub.has("t2t_vit_dense")
    assert ModelHub.get("t2t_vit_dense").weights is None


def test_an_unknown_name_is_told_with_the_nearest(index):
    ModelHub.register_model_index(index)
    with pytest.raises(UnknownModelError, match=r"no model is called 'my-tyni_t2t'\. Did you mean 'my-tiny_t2t'"):
        ModelHub.get("my-tyni_t2t")


def test_registered_names_are_models_like_any_other(index, folder):
    ModelHub.register_model_index(index)

    assert {"my-tiny_t2t", "my-wide"} <= set(list_models())
    assert list_models("my-*") == ["my-tiny_t2t", "my-wide"]
    model = get_model("My-Tiny_T2T", pretrained=True)
    stored = torch.load(folder / "tiny.pth", weights_only=True)
    assert torch.equal(model.head.weight, stored["head.weight"])
    assert get_model("my-wide").embed_dim == 32
    assert inference_model("my-tiny_t2t", torch.zeros(40, 40, 3, dtype=torch.uint8).numpy())["pred_label"] in range(3)
    with pytest.raises(ConfigError, match="there are no published weights for 'my-wide'"):
        get_model("my-wide", pretrained=True)


def test_commands_know_the_indexes_that_the_environment_names(index, folder, capsys, monkeypatch):
    from t2t_vit.cli import main

    other = write(folder, "Models: [{Name: third, Config: ../configs/wide.json}]", "other/index.yml")
    monkeypatch.setenv(registry.ENVIRONMENT_VARIABLE, os.pathsep.join([str(folder), str(other)]))
    with pytest.raises(SystemExit) as exit_:
        main(["models"])
    assert not exit_.value.code
    listed = {line.split()[0] for line in capsys.readouterr().out.splitlines()}
    assert {"my-tiny_t2t", "my-wide", "third", NAME} <= listed


def test_a_wrong_index_in_the_environment_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv(registry.ENVIRONMENT_VARIABLE, str(tmp_path / "gone.yml"))
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"there is no model index .*gone\.yml"):
            registry.registered()


def test_an_index_imports_others_each_with_configs_beside_it(folder):
    write(folder, "Name: one\nConfig: ../configs/tiny.json\n", "a/metafile.yml")
    write(folder, "- {name: two, config: ../configs/wide.json}\n", "b/metafile.yml")
    write(folder, "Import: ../model-index.yml\nModels: [{Name: three, Config: ../configs/wide.json}]", "c/metafile.yml")
    write(folder, "Import: ['*/metafile.yml']\nModels:\n")

    ModelHub.register_model_index(folder)

    assert set(registry.registered()) == {"one", "two", "three"}


def test_configs_may_lie_below_a_prefix_and_weights_on_the_web(folder):
    url = "https://example.org/x.pth"
    index = write(folder, f"Models: [{{Name: one, Config: tiny.json, Weights: '{url}'}}]", "elsewhere/index.yml")
    ModelHub.register_model_index(index, config_prefix=folder / "configs")
    assert (ModelHub.get("one").config, ModelHub.get("one").weights) == (folder / "configs" / "tiny.json", url)


def test_the_same_twice_is_no_conflict(index):
    ModelHub.register_model_index(index)
    ModelHub.register_model_index(str(index))
    index.write_text(index.read_text().replace("81.5", "82.5"))
    ModelHub.register_model_index(index)
    assert ModelHub.get("my-tiny_t2t").metrics == {"Top 1 Accuracy": 82.5}


def test_another_model_of_a_registered_name_is_refused_and_changes_nothing(index, folder):
    ModelHub.register_model_index(index)
    text = "Models: [{Name: new, Config: tiny.json}, {Name: MY-WIDE, Config: tiny.json}]"
    other = write(folder, text, "configs/index.yml")
    with pytest.raises(ConfigError, match=r"'my-wide' is the name of another model already, from .*model-index\.yml"):
        ModelHub.register_model_index(other)
    assert ModelHub.get("my-wide").config == folder / "configs" / "wide.json"
    assert not ModelHub.has("new")


@pytest.mark.parametrize("name", [NAME, "t2t_vit_14", "T2T_ViT_14.official_in1k"])
def test_names_of_this_package_cannot_be_taken(name, folder):
    index = write(folder, f"Models: [{{Name: {name}, Config: configs/tiny.json, Weights: tiny.pth}}]")
    with pytest.raises(ConfigError, match="is a model of this package; give yours another name"):
        ModelHub.register_model_index(index)


def test_an_index_of_the_published_models_themselves_is_taken(folder):
    text = f"Models: [{{Name: {NAME}, Config: configs/tiny.json, Weights: '{CATALOGUE[NAME].url}'}}]"
    ModelHub.register_model_index(write(folder, text))
    assert ModelHub.get(NAME).config.name == f"{NAME}.py"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is no model index; expected a list of Models"),
        ("just words", "is no model index"),
        ("Model: []", "is no model index"),
        ("Models: {Name: x}", "Models is a dict; expected a list"),
        ("Models: [[1", "cannot be read as YAML: .*line 1"),
        ("Models: [!!python/object/apply:os.system [echo]]", "cannot be read as YAML: could not determine a constr"),
        ("Models: [words]", "a model has no Name"),
        ("Models: [{Config: configs/tiny.json}]", "a model has no Name"),
        ("Models: [{Name: 5, Config: configs/tiny.json}]", "a model has no Name, or one that is no text"),
        ("Models: [{Name: x}]", "model 'x' has no Config"),
        ("Models: [{Name: x, Config: gone.py}]", r"the Config of 'x', /.*gone\.py, is no file"),
        ("Models: [{Name: x, Config: configs}]", r"the Config of 'x', /.*configs, is no file"),
        ("Models: [{Name: x, Config: configs/tiny.json, Weights: [a]}]", r"Weights of 'x' is \['a'\]; expected a URL"),
        ("Models: &m [*m]", "values with its aliases followed; write them out"),
        ("Models: [&m {Name: x, Metadata: *m}]", "values with its aliases followed"),
        (
            "a0: &a0 [x]\n" + "".join(f"a{i + 1}: &a{i + 1} [{', '.join([f'*a{i}'] * 9)}]\n" for i in range(9)),
            "aliases f",
        ),
        (
            "a0: &a0 {x: 1}\n"
            + "".join(f"a{i + 1}: &a{i + 1} {{<<: [{', '.join([f'*a{i}'] * 9)}]}}\n" for i in range(9)),
            "aliases followed",
        ),
        ("Models: " + "[" * 2000 + "]" * 2000, "is nested too deeply for a model index"),
        ("Import: gone.yml", "imports 'gone.yml', and there is no such file"),
        ("Import: ['']", "Import names ''; expected paths"),
        ("Import: [3]", "Import names 3; expected paths"),
        ("Import: /gone/index.yml", "there is no model index /gone/index.yml"),
    ],
)
def test_a_wrong_index_is_told_in_one_line(text, message, folder):
    with pytest.raises(ConfigError, match=message) as raised:
        ModelHub.register_model_index(write(folder, text))
    assert "\n" not in str(raised.value)
    assert not registry.registered()


def test_what_models_have_in_common_may_be_an_alias(folder):
    text = """Models:
  - {Name: a, Config: configs/tiny.json, Metadata: &common {Epochs: 300}}
  - {Name: b, Config: configs/wide.json, Metadata: *common}
"""
    ModelHub.register_model_index(write(folder, text))
    assert ModelHub.get("a").metadata == ModelHub.get("b").metadata == {"Epochs": 300}


def test_an_index_that_is_not_there_is_told(tmp_path):
    with pytest.raises(T2TViTError, match=r"there is no model index .*gone\.yml"):
        ModelHub.register_model_index(tmp_path / "gone.yml")
    with pytest.raises(ConfigError, match=r"holds no model-index\.yml"):
        ModelHub.register_model_index(tmp_path)
    (tmp_path / "bytes.yml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read as YAML"):
        ModelHub.register_model_index(tmp_path / "bytes.yml")


def test_an_index_can_be_json(folder):
    content = {"Models": [{"Name": "x", "Config": "configs/tiny.json"}]}
    ModelHub.register_model_index(write(folder, json.dumps(content), "index.json"))
    assert ModelHub.has("x")
