from __future__ import annotations

import pytest

from t2t_vit.errors import CheckpointError
from t2t_vit.weights.convert import to_mmpretrain, to_official

# Number of encoder layers and keys of each published model, and the two spellings of every kind of key.
DEPTHS = {14: 184, 19: 239, 24: 294}
TOKENS = {
    "tokens_to_token.attention{}.norm1": "backbone.tokens_to_token.attention{}.ln1",
    "tokens_to_token.attention{}.attn.proj": "backbone.tokens_to_token.attention{}.attn.proj",
    "tokens_to_token.attention{}.norm2": "backbone.tokens_to_token.attention{}.ln2",
    "tokens_to_token.attention{}.mlp.fc1": "backbone.tokens_to_token.attention{}.ffn.layers.0.0",
    "tokens_to_token.attention{}.mlp.fc2": "backbone.tokens_to_token.attention{}.ffn.layers.1",
}
LAYERS = {
    "blocks.{}.norm1": "backbone.encoder.{}.ln1",
    "blocks.{}.attn.proj": "backbone.encoder.{}.attn.proj",
    "blocks.{}.norm2": "backbone.encoder.{}.ln2",
    "blocks.{}.mlp.fc1": "backbone.encoder.{}.ffn.layers.0.0",
    "blocks.{}.mlp.fc2": "backbone.encoder.{}.ffn.layers.1",
}


def spellings(depth: int) -> dict[str, str]:
    """Every key of the t-`depth` model, official to MMPretrain."""
    modules = {
        "tokens_to_token.project": "backbone.tokens_to_token.project",
        "norm": "backbone.norm",
        "head": "head.layers.head",
    }
    keys = {"cls_token": "backbone.cls_token", "pos_embed": "backbone.pos_embed"}
    for numbers, kinds in (((1, 2), TOKENS), (range(depth), LAYERS)):
        for number in numbers:
            modules |= {ours.format(number): theirs.format(number) for ours, theirs in kinds.items()}
            attention = next(ours for ours in kinds if ours.endswith("attn.proj"))
            keys |= {
                f"{attention.format(number).replace('proj', 'qkv')}.weight": (
                    f"{kinds[attention].format(number).replace('proj', 'qkv')}.weight"
                )
            }
    for end in ("weight", "bias"):
        keys |= {f"{ours}.{end}": f"{theirs}.{end}" for ours, theirs in modules.items()}
    return keys


@pytest.mark.parametrize("depth", DEPTHS)
def test_every_parameter_has_its_name_in_both_codes(depth):
    keys = spellings(depth)
    assert len(keys) == DEPTHS[depth]
    official, theirs = {key: key for key in keys}, {name: key for key, name in keys.items()}
    assert to_official(theirs) == official
    assert to_mmpretrain(official) == theirs
    assert to_official(official) == official


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_prefixes_of_wrappers_are_dropped(prefix):
    assert to_official({f"{prefix}backbone.encoder.3.ln1.weight": 1}) == {"blocks.3.norm1.weight": 1}
    assert to_official({f"{prefix}head.weight": 1}) == {"head.weight": 1}


def test_names_of_the_performer_pass_through():
    names = ["w", "kqv.weight", "proj.bias", "norm1.weight", "mlp.0.weight", "mlp.2.bias"]
    keys = {f"tokens_to_token.attention1.{name}": 0 for name in names}
    assert to_official(keys) == keys


@pytest.mark.parametrize("name", ["w", "kqv.weight", "mlp.0.weight"])
def test_performer_has_no_names_in_mmpretrain(name):
    with pytest.raises(CheckpointError, match="token transformers and plain encoder layers only"):
        to_mmpretrain({f"tokens_to_token.attention1.{name}": 0})


def test_unknown_names_are_kept_in_order():
    keys = {"stem.conv.weight": 0, "backbone.encoders.0": 1, "heads.weight": 2}
    assert list(to_official(keys).items()) == list(keys.items())


def test_two_entries_of_one_name_are_refused():
    with pytest.raises(CheckpointError, match=r"'head.weight' and 'module.head.weight'"):
        to_official({"head.weight": 0, "module.head.weight": 1})
