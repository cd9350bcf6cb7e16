"""Fresh weights as wide as the number of inputs asks for."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from t2t_vit import get_model
from t2t_vit.config import Baseline, Experiment, Model
from t2t_vit.run.network import new_network

NARROW = Model(img_size=32, embed_dim=96, depth=2, num_heads=3, token_dim=32, num_classes=200)
VIT = Baseline(name="vit_tiny_patch16_224", options={"embed_dim": 96, "depth": 2, "num_heads": 3})


@pytest.mark.parametrize("baseline", [Baseline(), VIT], ids=["ours", "timm's"])
def test_the_spread_of_a_layer_goes_with_its_inputs(baseline):
    model = NARROW if baseline.name is None else Model(img_size=32, num_classes=200)
    for init, spread in (("published", lambda _: 0.02), ("fan_in", lambda inputs: (2 * inputs) ** -0.5)):
        torch.manual_seed(0)
        network = new_network(Experiment(model=dataclasses.replace(model, init=init), baseline=baseline))
        layers = [module for module in network.modules() if isinstance(module, torch.nn.Linear)]
        assert {module.in_features for module in layers} >= {96, 288} if baseline.name is None else {96, 384}
        for module in layers:
            assert float(module.weight.detach().std()) == pytest.approx(spread(module.in_features), rel=0.1)
            assert module.bias is None or not module.bias.any()


def test_a_model_with_weights_takes_those(tmp_path):
    state = get_model(Experiment(model=NARROW)).state_dict()
    torch.save({"state_dict": state}, tmp_path / "weights.pth")
    model = get_model(Experiment(model=dataclasses.replace(NARROW, init="fan_in")), tmp_path / "weights.pth")
    assert all(torch.equal(model.state_dict()[name], value) for name, value in state.items())
