"""The models that come with the package."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil

import pytest
import torch

from t2t_vit import get_model, list_models
from t2t_vit.config import experiment_from_json, shipped_configs
from t2t_vit.errors import HashMismatchError
from t2t_vit.hub import DEFAULT_MODEL, find_experiment, shipped, weights_file
from t2t_vit.weights.load import read_checkpoint

FOLDER = shipped._FOLDER
LARGEST = 10_000_000  # bytes
NAMES = list(shipped.shipped_models())


@pytest.fixture(autouse=True)
def without_a_network(monkeypatch, tmp_path):
    monkeypatch.setenv("T2T_VIT_WEIGHTS", str(tmp_path / "nothing-here"))
    monkeypatch.setenv("T2T_VIT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def own_folder(monkeypatch, tmp_path):
    """A copy of the folder, to be spoilt."""
    folder = shutil.copytree(FOLDER, tmp_path / "shipped")
    monkeypatch.setattr(shipped, "_FOLDER", folder)
    return folder


def test_the_default_is_one_of_them():
    assert DEFAULT_MODEL in NAMES
    assert {file.stem for file in FOLDER.glob("*.safetensors")} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_small_half_precision_and_says_what_it_is(name):
    file = FOLDER / f"{name}.safetensors"
    assert file.stat().st_size <= LARGEST

    checkpoint = read_checkpoint(file)
    values = checkpoint.state_dict("ema").values()
    assert {value.dtype for value in values if value.is_floating_point()} == {torch.float16}
    config, stored = find_experiment(name), experiment_from_json(checkpoint.meta["experiment"], name)
    assert dataclasses.replace(stored.model, num_classes=config.model.num_classes) == config.model
    assert stored.preprocessing == config.preprocessing
    assert stored.data == config.data  # and not where the images were
    assert len(checkpoint.classes or ()) == len(checkpoint.state_dict("ema")["head.weight"])


@pytest.mark.parametrize("name", NAMES)
def test_a_card_tells_of_the_file(name):
    card = (FOLDER / f"{name}.md").read_text(encoding="utf-8")

    assert card.startswith(f"# {name}\n")
    assert hashlib.sha256((FOLDER / f"{name}.safetensors").read_bytes()).hexdigest() in card
    assert "$" not in card
    for part in ("## Data", "licence", f"t2t-vit train {name}", "95 % interval", "calibration", "## Limits"):
        assert part in card


@pytest.mark.parametrize("name", NAMES)
def test_it_is_had_by_its_name_without_a_network(name, tmp_path):
    assert name in shipped_configs()
    assert name in list_models()
    model = get_model(name, pretrained=True)

    state = read_checkpoint(FOLDER / f"{name}.safetensors").state_dict("ema")
    assert all(torch.equal(value, state[key].to(value.dtype)) for key, value in model.state_dict().items())
    assert len(model.classes or ()) == model.num_classes
    assert weights_file(name) == FOLDER / f"{name}.safetensors"
    again = get_model(f"configs/t2t_vit/{name}.py", pretrained=name)
    assert torch.equal(again.state_dict()["head.weight"], model.state_dict()["head.weight"])


def test_other_classes_get_a_new_head():
    model = get_model(DEFAULT_MODEL, pretrained=True, num_classes=3)
    assert model.num_classes == 3
    assert model.classes is None
    assert "head.weight" not in model.load_report.loaded


@pytest.mark.parametrize("spoil", ["gone", "cut", "a bit"])
def test_another_file_than_came_is_refused(spoil, own_folder):
    file = own_folder / f"{DEFAULT_MODEL}.safetensors"
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes({"gone": b"", "cut": content[:-9], "a bit": content}[spoil])
    if spoil == "gone":
        file.unlink()

    with pytest.raises(HashMismatchError, match="install the package anew"):
        get_model(DEFAULT_MODEL, pretrained=True)
