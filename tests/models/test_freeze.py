"""Freezing parts of a model."""

from __future__ import annotations

import pytest

from t2t_vit.errors import ConfigError
from t2t_vit.models import T2TViT
from t2t_vit.models.freeze import freeze


def model() -> T2TViT:
    return T2TViT(img_size=32, embed_dim=24, depth=12, num_heads=2, token_dim=8, num_classes=3)


def trainable(network: T2TViT) -> set[str]:
    return {name for name, parameter in network.named_parameters() if parameter.requires_grad}


def test_modules_and_a_range_of_layers_are_frozen_and_nothing_else():
    network = model()
    frozen = freeze(network, "tokens_to_token, blocks.0-5,cls_token")

    assert set(frozen) == {name for name, _ in network.named_parameters()} - trainable(network)
    assert "cls_token" in frozen
    assert {name.split(".")[1] for name in frozen if name.startswith("blocks.")} == {str(i) for i in range(6)}
    assert not any(name.startswith("tokens_to_token.") for name in trainable(network))
    assert {"norm.weight", "head.weight", "blocks.6.norm1.weight", "blocks.10.norm1.weight"} <= trainable(network)


def test_one_layer_is_not_its_namesakes():
    assert {name.split(".")[1] for name in freeze(model(), "blocks.1")} == {"1"}


def test_a_part_of_each_layer_can_be_frozen():
    assert freeze(model(), "blocks.2-3.norm1") == [
        f"blocks.{i}.norm1.{name}" for i in (2, 3) for name in ("weight", "bias")
    ]


@pytest.mark.parametrize("nothing", [None, "", " , "])
def test_nothing_is_frozen_by_default(nothing):
    network = model()
    assert freeze(network, nothing) == []
    assert len(trainable(network)) == len(list(network.parameters()))


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ("block.0-5", r"no 'block\.0' to freeze.*Did you mean 'blocks\.0'"),
        ("blocks.0-12", r"no 'blocks\.12' to freeze"),
        ("blocks.5-0", "counts down"),
        ("pos_embed", r"no 'pos_embed' to freeze.*Parts: tokens_to_token, blocks, norm, head, cls_token"),
        ("blocks.", "to freeze"),
    ],
)
def test_what_is_no_part_is_refused(parts, message):
    with pytest.raises(ConfigError, match=message):
        freeze(model(), parts)
