"""Parameter names: MMPretrain's to the official ones and back.

    official                                       MMPretrain
    cls_token, pos_embed, norm.*                   backbone.cls_token, backbone.pos_embed, backbone.norm.*
    tokens_to_token.attention1.norm1.*             backbone.tokens_to_token.attention1.ln1.*
    blocks.N.attn.*                                backbone.encoder.N.attn.*
    blocks.N.mlp.fc1.*, blocks.N.mlp.fc2.*         backbone.encoder.N.ffn.layers.0.0.*, ….ffn.layers.1.*
    head.*                                         head.layers.head.*

A name in neither column stays as it is: whoever loads the weights sees it and can report it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TypeVar

from t2t_vit.errors import CheckpointError

_Value = TypeVar("_Value")

_MODULES = {
    "cls_token": "backbone.cls_token",
    "pos_embed": "backbone.pos_embed",
    "tokens_to_token": "backbone.tokens_to_token",
    "blocks": "backbone.encoder",
    "norm": "backbone.norm",
    "head": "head.layers.head",
}
_LAYERS = {
    ".norm1.": ".ln1.",
    ".norm2.": ".ln2.",
    ".mlp.fc1.": ".ffn.layers.0.0.",
    ".mlp.fc2.": ".ffn.layers.1.",
}
_MODULES_BACK = {theirs: ours for ours, theirs in _MODULES.items()}
_LAYERS_BACK = {theirs: ours for ours, theirs in _LAYERS.items()}

# What DataParallel, torch.compile and training frameworks put in front of every name, in any order.
_WRAPPERS = re.compile(r"^(?:module\.|_orig_mod\.|model\.)+")
# All that MMPretrain's T2T-ViT has, under the official names: token transformers and plain encoder layers.
_KNOWN_THERE = re.compile(
    r"cls_token|pos_embed|(?:tokens_to_token\.project|norm|head)\.(?:weight|bias)"
    r"|(?:tokens_to_token\.attention\d+|blocks\.\d+)\.(?:norm[12]|attn\.(?:qkv|proj)|mlp\.fc[12])\.(?:weight|bias)"
)


def to_official(state_dict: Mapping[str, _Value]) -> dict[str, _Value]:
    """Return `state_dict` with the official parameter names, in the same order.

    MMPretrain's names are translated, the prefixes of `DataParallel` and `torch.compile` are dropped,
    official names pass through.

    Raises:
        CheckpointError: Two entries would get the same name.

    Source: MMPretrain 1.2.0, mmpretrain/models/backbones/t2t_vit.py; the official code, models/t2t_vit.py.
    """
    return _renamed(state_dict, lambda key: _translated(_WRAPPERS.sub("", key), _MODULES_BACK, _LAYERS_BACK))


def to_mmpretrain(state_dict: Mapping[str, _Value]) -> dict[str, _Value]:
    """Return `state_dict`, which has the official parameter names, with MMPretrain's.

    The inverse of `to_official`.

    Raises:
        CheckpointError: The weights are of a model that MMPretrain does not have, or two entries would get the
            same name.
    """
    foreign = next((key for key in state_dict if not _KNOWN_THERE.fullmatch(key)), None)
    if foreign is not None:
        raise CheckpointError(
            f"MMPretrain has no name for {foreign!r}: it knows token transformers and plain encoder layers only. "
            "Keep the official names."
        )
    return _renamed(state_dict, lambda key: _translated(key, _MODULES, _LAYERS))


def _translated(key: str, modules: Mapping[str, str], layers: Mapping[str, str]) -> str:
    for module, module_there in modules.items():
        if key == module or key.startswith(f"{module}."):
            key = module_there + key.removeprefix(module)
            for layer, layer_there in layers.items():
                key = key.replace(layer, layer_there)
            return key
    return key


def _renamed(state_dict: Mapping[str, _Value], rename: Callable[[str], str]) -> dict[str, _Value]:
    renamed: dict[str, _Value] = {}
    origin: dict[str, str] = {}
    for key, value in state_dict.items():
        name = rename(key)
        if name in renamed:
            raise CheckpointError(
                f"The entries {origin[name]!r} and {key!r} are both the parameter {name!r}; remove one."
            )
        renamed[name], origin[name] = value, key
    return renamed
