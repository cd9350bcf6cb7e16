"""Fresh weights as wide as the number of inputs asks for."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from t2t_vit import get_model
from t2t_vit.config import Baseline, Experiment, Model
from t2t_vit.run.network import new_network, starting_network

NARROW = Model(img_size=32, embed_dim=96, depth=2, num_heads=3, token_dim=32, num_classes=200)
VIT = Baseline(name="vit_tiny_patch16_224", options={"embed_dim": 96, "depth": 2, "num_heads": 3})


@pytest.mark.parametrize(
    ("model", "baseline", "inputs"),
    [
        (NARROW, Baseline(), {96, 288}),
        (dataclasses.replace(NARROW, tokens="convolution"), Baseline(), {96, 288, 3 * 7 * 7, 32 * 3 * 3}),
        (Model(img_size=32, num_classes=200), VIT, {96, 384, 3 * 16 * 16}),
    ],
    ids=["ours", "convolutions", "timm's"],
)
def test_the_spread_of_a_layer_goes_with_its_inputs(model, baseline, inputs):
    torch.manual_seed(0)
    network = new_network(Experiment(model=dataclasses.replace(model, init="fan_in"), baseline=baseline))
    layers = [module for module in network.modules() if isinstance(module, torch.nn.Linear | torch.nn.Conv2d)]
    assert {module.weight[0].numel() for module in layers} >= inputs
    for module in layers:
        spread = (2 * module.weight[0].numel()) ** -0.5
        assert float(module.weight.detach().std()) == pytest.approx(spread, rel=0.1)
        assert module.bias is None or not module.bias.any()


@pytest.mark.parametrize("baseline", [Baseline(), VIT], ids=["ours", "timm's"])
def test_by_default_it_is_that_of_the_published_models(baseline):
    model = NARROW if baseline.name is None else Model(img_size=32, num_classes=200)
    for module in new_network(Experiment(model=model, baseline=baseline)).modules():
        if isinstance(module, torch.nn.Linear):
            assert float(module.weight.detach().std()) == pytest.approx(0.02, rel=0.1)


def test_a_model_with_weights_takes_those(tmp_path):
    state = get_model(Experiment(model=NARROW)).state_dict()
    torch.save({"state_dict": state}, tmp_path / "weights.pth")
    model = get_model(Experiment(model=dataclasses.replace(NARROW, init="fan_in")), tmp_path / "weights.pth")
    assert all(torch.equal(model.state_dict()[name], value) for name, value in state.items())


@pytest.mark.parametrize(("init", "spread"), [("published", 0.02), ("fan_in", (2 * 96) ** -0.5)])
def test_a_new_head_on_loaded_weights_is_drawn_as_the_experiment_says(init, spread, tmp_path):
    file = tmp_path / "weights.pth"
    torch.save({"state_dict": get_model(Experiment(model=NARROW)).state_dict()}, file)
    model = dataclasses.replace(NARROW, init=init, pretrained=str(file), num_classes=300)

    def new_head(load):
        torch.manual_seed(0)
        return load(Experiment(model=model)).head

    for load in (starting_network, lambda experiment: get_model(experiment, file, num_classes=300)):
        head = new_head(load)
        assert float(head.weight.detach().std()) == pytest.approx(spread, rel=0.05)
        assert not head.bias.any()
        assert torch.equal(new_head(load).weight, head.weight)
