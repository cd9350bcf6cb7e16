"""Networks of timm's in the place of a T2T-ViT, under the same recipe."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from forked_runs import log_of

from t2t_vit import get_model, run
from t2t_vit.cli import main
from t2t_vit.config import Baseline, Model, apply_overrides, experiment_from_json, experiment_to_json
from t2t_vit.engine.checkpoint import read_training_state
from t2t_vit.engine.history import read_history
from t2t_vit.errors import CheckpointError, ConfigError
from t2t_vit.run.network import new_network

SMALL = {
    "vit_tiny_patch16_224": {"patch_size": 8, "embed_dim": 24, "depth": 1, "num_heads": 2},
    "resnet18": {"layers": (1, 1, 1, 1), "channels": (8, 8, 8, 8), "stem_width": 8},
}


@pytest.fixture
def compare(recipe):
    """Return the recipe with one of timm's networks in the place of the T2T-ViT."""

    def make(name, **sections):
        experiment = dataclasses.replace(recipe(**sections), model=Model(img_size=32))
        return dataclasses.replace(experiment, baseline=Baseline(name=name, options=SMALL[name]))

    return make


@pytest.mark.parametrize("name", SMALL)
def test_a_baseline_is_trained_resumed_and_tested_as_a_t2t_vit_is(name, compare, tmp_path):
    experiment = compare(name)
    whole = run.train(experiment, tmp_path / "whole")
    first = dataclasses.replace(experiment.runtime, checkpoint_steps=3)
    run.train(dataclasses.replace(experiment, runtime=first), tmp_path / "parts")
    for path in (tmp_path / "parts").glob("*epoch_*.pth"):
        path.unlink()
    parts = run.train(experiment, tmp_path / "parts", resume="auto")
    expected, found = read_training_state(whole), read_training_state(parts)
    for weights in ("model", "ema"):
        assert all(torch.equal(found[weights][key], value) for key, value in expected[weights].items())
    for weights in ("raw", "ema"):
        figures = run.test(run.stored_experiment(tmp_path / "parts"), parts, weights=weights).evaluation.metrics
        logged = next(line for line in log_of(tmp_path / "parts", "val")[::-1] if line["weights"] == weights)
        assert figures["accuracy/top1"] == pytest.approx(logged["accuracy/top1"])
        assert figures["loss"] == pytest.approx(logged["loss"], rel=1e-5)
    assert read_history(tmp_path / "parts").model == name


def test_batch_norms_statistics_are_averaged_too(compare, tmp_path):
    state = read_training_state(run.train(compare("resnet18"), tmp_path / "run"))
    raw, ema = (state[weights]["bn1.running_mean"] for weights in ("model", "ema"))
    assert not torch.equal(raw, ema)
    assert state["ema"]["bn1.num_batches_tracked"] == state["model"]["bn1.num_batches_tracked"] == 10


def test_what_the_model_says_of_images_and_classes_holds_for_the_baseline(compare):
    experiment = dataclasses.replace(
        compare("vit_tiny_patch16_224"),
        model=Model(img_size=(32, 48), num_classes=7, drop_path_rate=0.3),
        baseline=Baseline(name="vit_tiny_patch16_224", options={"patch_size": 8, "depth": 2}),
    )
    network = new_network(experiment)
    assert (network.num_classes, network.patch_embed.grid_size) == (7, (4, 6))
    assert network.blocks[1].drop_path1.drop_prob == pytest.approx(0.3)
    assert new_network(compare("resnet18"), 5).num_classes == 5


def test_settings_are_the_same_after_json(compare):
    experiment = compare("resnet18")
    assert experiment_from_json(experiment_to_json(experiment), "text") == experiment
    assert hash(experiment) == hash(compare("resnet18"))
    options = "baseline.options={'layers': [2, 2, 2, 2], 'channels': (8, 8, 8, 8)}"
    assert apply_overrides(experiment, [options]).baseline.options["layers"] == (2, 2, 2, 2)


@pytest.mark.parametrize(
    ("baseline", "message"),
    [
        ({"options": {"depth": 3}}, "baseline.options are given without a baseline.name"),
        ({"name": "resnet18", "options": {"pretrained": True}}, "'pretrained', which is model.pretrained's to say"),
        ({"name": "resnet18", "options": {"layers": None}}, "baseline.options.layers is None; expected a number, a"),
    ],
)
def test_wrong_settings_are_told(baseline, message):
    with pytest.raises(ValueError, match=message):
        Baseline(**baseline)


def test_settings_of_a_t2t_vit_do_nothing_for_a_baseline(compare):
    experiment = compare("resnet18")
    with pytest.raises(ValueError, match=r"model\.depth is 3 and does nothing for the baseline 'resnet18'"):
        dataclasses.replace(experiment, model=Model(depth=3))
    with pytest.raises(ValueError, match=r"optimizer\.layer_decay does nothing for a baseline"):
        dataclasses.replace(experiment, optimizer=dataclasses.replace(experiment.optimizer, layer_decay=0.7))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("resnet81", {}, "'resnet81', which timm has not"),
        ("hf-hub:somebody/something", {}, "which timm has not"),
        ("resnet18", {"dpeth": 3}, "timm cannot make resnet18 with .*dpeth"),
        ("vit_tiny_patch16_224", {"embed_dim": 25}, "timm cannot make vit_tiny_patch16_224"),
    ],
)
def test_networks_that_timm_cannot_make_are_told(name, options, message, compare):
    experiment = dataclasses.replace(compare("resnet18"), baseline=Baseline(name=name, options=options))
    with pytest.raises(ConfigError, match=message):
        new_network(experiment, 3)


def test_a_misspelt_network_is_told_before_images_are_read(compare, tmp_path):
    experiment = compare("resnet18")
    lost = dataclasses.replace(
        experiment,
        baseline=Baseline(name="resnet81"),
        data=dataclasses.replace(experiment.data, root=str(tmp_path / "no")),
    )
    with pytest.raises(ConfigError, match=r"'resnet81', which timm has not\. Did you mean"):
        run.train(lost, tmp_path / "run")


def test_a_baseline_is_no_model_of_ours(compare, tmp_path):
    path = tmp_path / "baseline.json"
    path.write_text(experiment_to_json(compare("resnet18")), "utf-8")
    with pytest.raises(ConfigError, match="network is timm's resnet18, a baseline to compare with"):
        get_model(str(path))
    with pytest.raises(ConfigError, match="network is timm's resnet18, a baseline to compare with"):
        get_model(str(path), pretrained=True)  # and not the published weights of what it is compared with


def test_weights_of_another_network_are_refused(compare, recipe, tmp_path):
    checkpoint = run.train(recipe(schedule={"epochs": 1, "warmup_epochs": 0}), tmp_path / "run")
    with pytest.raises(CheckpointError, match="does not fit timm's resnet18"):
        run.test(compare("resnet18"), checkpoint)


def test_info_counts_a_baseline(compare, tmp_path, capsys):
    path = tmp_path / "baseline.json"
    experiment = dataclasses.replace(compare("resnet18"), model=Model(img_size=224, num_classes=1000))
    path.write_text(experiment_to_json(dataclasses.replace(experiment, baseline=Baseline(name="resnet18"))), "utf-8")
    with pytest.raises(SystemExit, match="0"):
        main(["info", str(path)])
    row = capsys.readouterr().out.splitlines()[1].split("  ")
    assert {"224×224", "11.69 M", "1.81 G"} <= {cell.strip() for cell in row}  # timm's and torchvision's figures
