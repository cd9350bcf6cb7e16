"""A model's settings as the `config.json` that timm and transformers read, and back.

Nothing in such a file is ever executed: it names an architecture that is known here, and values that are checked.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from t2t_vit.config import Experiment, Preprocessing
from t2t_vit.config.validation import validate_experiment
from t2t_vit.data.class_names import imagenet_classes
from t2t_vit.errors import CheckpointError, ConfigError, nearest
from t2t_vit.hub import default_preprocessing
from t2t_vit.models import T2TViT, create_model, variant_names
from t2t_vit.models.crop import crop_of
from t2t_vit.models.dense import DenseBlock, Transition
from t2t_vit.models.encoder import Block, SelfAttention
from t2t_vit.models.ghost import GhostAttention
from t2t_vit.models.soft_split import SplitSize, token_grids
from t2t_vit.models.squeeze_excitation import ExcitedAttention
from t2t_vit.models.token_convolution import ConvolutionalTokens
from t2t_vit.models.token_performer import TokenPerformer
from t2t_vit.models.variants import VARIANTS

#: What T2TViT sets where neither the architecture nor the file does.
_DEFAULTS = {
    name: parameter.default
    for name, parameter in inspect.signature(T2TViT).parameters.items()
    if name not in ("num_classes", "out_indices")
} | {"img_size": (224, 224)}
#: timm's name for `out_type`, and its words for those that the logits depend on.
_POOLING = {"token": "cls_token", "avg": "avg_featmap"}
#: What a model of timm's has in its `model_args`, and one of ours takes as it comes: images of every size.
_SIZES = ("dynamic_img_size", "strict_img_size")
#: What `model_args` may have. The number of classes stands beside it; timm writes it here, too.
_ARGUMENTS = [
    *(name for name in _DEFAULTS if name != "out_type"),
    *("global_pool", "num_classes", "pos_drop_rate"),
    *_SIZES,
]


def model_to_config(model: T2TViT) -> dict[str, Any]:
    """Return what `config.json` says of `model`: architecture, settings, preprocessing and names of the classes.

    What only training or feature extraction asks for, and no setting of the network tells, is not in it: frozen
    parameters, gradient checkpointing, `out_indices`.

    Raises:
        ConfigError: Something of `model` cannot be said in such a file.
    """
    pooling = getattr(model, "global_pool", "avg" if model.out_type == "avg_featmap" else "token")
    if pooling not in _POOLING:  # timm has more
        raise ConfigError(f"global_pool is {pooling!r}; expected one of {', '.join(_POOLING)} in a model that is saved")
    settings = _settings_of(model)
    architecture = min(VARIANTS, key=lambda name: len(_difference(settings, name)))
    arguments = _difference(settings, architecture)
    _check_said(model, architecture, arguments)
    preprocessing = model.preprocessing or _default_preprocessing(model)
    if tuple(preprocessing["img_size"]) != model.img_size:
        raise ConfigError(
            f"preprocessing crops to {preprocessing['img_size']}; expected the model's img_size {model.img_size}"
        )
    crop_pct, crop_mode = _crop(preprocessing)
    if arguments.pop("out_type", None):
        arguments["global_pool"] = pooling
    config: dict[str, Any] = {
        "architecture": architecture,
        "num_classes": model.num_classes,
        "num_features": model.num_features,
        "global_pool": pooling,
        "model_args": arguments,
        "pretrained_cfg": {
            "num_classes": model.num_classes,
            "input_size": [model.in_chans, *preprocessing["img_size"]],
            "crop_pct": crop_pct,
            "crop_mode": crop_mode,
            "interpolation": preprocessing["interpolation"],
            "mean": list(preprocessing["mean"]),
            "std": list(preprocessing["std"]),
        },
    }
    names = class_names(model)
    if names is not None:
        config |= {"label_names": list(names), "id2label": dict(enumerate(names))}
    return config


def class_names(model: T2TViT) -> tuple[str, ...] | None:
    """Return the names of the classes of `model`, ImageNet's if it has 1000 and no names, None if nothing is known."""
    if model.classes is not None and len(model.classes) == model.num_classes:
        return model.classes
    return imagenet_classes() if model.num_classes == len(imagenet_classes()) else None


def read_config(file: Path) -> dict[str, Any]:
    """Return the content of a `config.json`.

    Raises:
        CheckpointError: There is none, or it is no JSON object.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(
            f"{file.parent} has no config.json; expected a folder that save_pretrained wrote"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{file} is damaged or no JSON ({error}). Get the file again.") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{file} holds a {type(content).__name__}; expected an object with an 'architecture'")
    return content


def experiment_of(config: Mapping[str, Any], source: str) -> Experiment:
    """Return the model and the preprocessing that `config` describes, as we, timm or transformers wrote it.

    Keys that do not concern these, of which other writers have many, are left alone.

    Args:
        config: The content of a `config.json`.
        source: What to call it in messages.

    Raises:
        CheckpointError: It is of another kind of model.
        ConfigError: A setting is unknown or wrong.
    """
    name = config.get("architecture")
    if name not in variant_names():
        found = f"architecture {name!r}" if name else f"no architecture (model_type {config.get('model_type')!r})"
        raise CheckpointError(f"{source} has {found}; expected one of {', '.join(variant_names())}")
    arguments = _object(config, "model_args", source)
    for key in arguments:
        if key not in _ARGUMENTS:
            raise ConfigError(
                f"{source}: model_args has an unknown setting {key!r}.{nearest(key, _ARGUMENTS)} "
                f"Known: {', '.join(_ARGUMENTS)}"
            )
    pretrained_cfg = _object(config, "pretrained_cfg", source)
    input_size = pretrained_cfg.get("input_size", (3, 224, 224))
    if not isinstance(input_size, Sequence) or len(input_size) != 3:
        raise ConfigError(f"{source}: input_size is {input_size!r}; expected [channels, height, width]")
    given = {
        "in_chans": input_size[0],
        "img_size": tuple(input_size[1:]),
        "drop_path_rate": 0.0,
        **{key: value for key, value in arguments.items() if key not in ("global_pool", "num_classes", *_SIZES)},
    }
    pos_drop_rate = given.pop("pos_drop_rate", None)
    if pos_drop_rate:  # timm's name for it
        given["drop_rate"] = pos_drop_rate
    settings: dict[str, Any] = {"model": {**given, "name": name}, "preprocessing": {}}
    num_classes = config.get("num_classes", pretrained_cfg.get("num_classes"))
    if num_classes != 0:  # a model without a head; an Experiment has always one
        settings["model"]["num_classes"] = num_classes
    for field in dataclasses.fields(Preprocessing):
        if pretrained_cfg.get(field.name) is not None:
            settings["preprocessing"][field.name] = pretrained_cfg[field.name]
    return validate_experiment(settings, source)


def head_of(config: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Return the arguments of `T2TViT` that `config` has and an `Experiment` has not: of the head and before it.

    Raises:
        ConfigError: The pooling is unknown.
    """
    pooling = _object(config, "model_args", source).get("global_pool", "token")
    if pooling not in _POOLING:
        raise ConfigError(f"{source}: global_pool is {pooling!r}; expected one of {', '.join(_POOLING)}")
    arguments: dict[str, Any] = {} if pooling == "token" else {"out_type": _POOLING[pooling]}
    return arguments | ({"num_classes": 0} if config.get("num_classes") == 0 else {})


def labels_of(config: Mapping[str, Any], num_classes: int) -> tuple[str, ...] | None:
    """Return the names of the classes in `config`, None if there are none, or not one for each of `num_classes`."""
    names = config.get("label_names")
    if isinstance(names, Mapping):
        names = [names.get(str(label)) for label in range(num_classes)]
    if not isinstance(names, list) or len(names) != num_classes or not all(isinstance(name, str) for name in names):
        return None
    return tuple(names)


def check_claims(experiment: Experiment, shapes: Mapping[str, tuple[int, ...]], source: str) -> None:
    """Refuse settings that ask for more than the weights hold, before anything is built of them.

    Args:
        experiment: What a `config.json` describes.
        shapes: Of the tensors in the weights file beside it.
        source: What to call the file.

    Raises:
        CheckpointError: There are more layers or tokens, or wider ones, than there are weights for, or other channels.
        ConfigError: There are no soft splits, or the image size leaves no token.
    """
    model = experiment.model
    settings = {**_DEFAULTS, **VARIANTS[model.name], **{k: v for k, v in vars(model).items() if v is not None}}
    if not settings["soft_splits"]:
        raise ConfigError(f"{source}: soft_splits is empty; expected at least one [kernel, stride, padding]")
    depth = settings["depth"] if isinstance(settings["depth"], int) else sum(settings["depth"])
    if depth > len(shapes):
        raise CheckpointError(f"{source} asks for {depth} layers, and beside it are {len(shapes)} tensors")
    height, width = token_grids([SplitSize(*size) for size in settings["soft_splits"]], *model.image_height_width)[-1]
    expected = (1, 1 + height * width, settings["embed_dim"])
    if shapes.get("pos_embed") != expected:
        found = shapes.get("pos_embed", "none")
        raise CheckpointError(f"{source} asks for a position table (pos_embed) of {expected}, and beside it is {found}")
    _check_channels(settings["in_chans"], settings["soft_splits"], shapes, source)


def _check_channels(
    in_chans: int, soft_splits: Sequence[Sequence[int]], shapes: Mapping[str, tuple[int, ...]], source: str
) -> None:
    """Refuse other image channels than the first weights take: these would be adapted to them without a word."""
    kernel = soft_splits[0][0]
    first = "project" if len(soft_splits) == 1 else "soft_split0"
    for layer in (first, "attention1.attn.qkv", "attention1.kqv"):
        name = f"tokens_to_token.{layer}.weight"
        values = math.prod(shapes.get(name, ())[1:])
        if name in shapes and values != in_chans * kernel**2:
            raise CheckpointError(
                f"{source} asks for {in_chans} channels in windows of {kernel} × {kernel} pixels, and beside it {name} "
                f"takes {values} values, expected {in_chans * kernel**2}; correct in_chans or soft_splits"
            )


def _settings_of(model: T2TViT) -> dict[str, Any]:
    """Return the arguments that `model` was built with, read off its parts."""
    blocks = [block for block in model.blocks if isinstance(block, Block)]
    first = blocks[0]
    assert isinstance(first.attn, SelfAttention)
    # A dense stack widens, and its hidden widths are rounded down: the largest of the ratios gives them all.
    mlp_ratio = max(_hidden_dim(block) / block.norm2.normalized_shape[0] for block in blocks)
    if any(int(block.norm2.normalized_shape[0] * mlp_ratio) < _hidden_dim(block) for block in blocks):
        mlp_ratio = math.nextafter(mlp_ratio, math.inf)
    settings = {
        "img_size": model.img_size,
        "in_chans": model.in_chans,
        "embed_dim": model.embed_dim,
        "depth": len(blocks),
        "num_heads": first.attn.num_heads,
        "mlp_ratio": mlp_ratio,
        "token_dim": model.token_dim,
        "soft_splits": tuple(tuple(size) for size in model.soft_splits),
        "tokens": _tokens_of(model),
        "stack": "plain",
        "drop_rate": model.pos_drop.p,
        "drop_path_rate": round(blocks[-1].drop_path.rate, 12),
        # The others differ in what extract_feat gives, not in what the head sees.
        "out_type": "avg_featmap" if model.out_type == "avg_featmap" else "cls_token",
    }
    if isinstance(first, DenseBlock):
        groups = [1]
        for block in list(model.blocks)[1:]:
            groups[-1:] = [groups[-1], 0] if isinstance(block, Transition) else [groups[-1] + 1]
        rates = {block.drop_path.rate for block in blocks}
        settings |= {
            "stack": "dense",
            "depth": tuple(groups),
            "growth_rate": first.dense_linear.out_features,
            # Its rates rise over twelve steps, of which each group has one.
            "drop_path_rate": round(11 * min(rates - {0.0}, default=0.0), 12),
        }
    elif isinstance(first.attn, GhostAttention):
        settings["stack"] = "ghost"
    elif isinstance(first.attn, ExcitedAttention):
        settings["stack"] = "se"
    return settings


def _tokens_of(model: T2TViT) -> str:
    if isinstance(model.tokens_to_token, ConvolutionalTokens):
        return "convolution"
    has_performer = any(isinstance(layer, TokenPerformer) for layer in model.tokens_to_token.children())
    return "performer" if has_performer else "transformer"


def _hidden_dim(block: Block) -> int:
    fc2 = block.mlp.get_submodule("fc2")
    assert isinstance(fc2, torch.nn.Linear)
    return fc2.in_features


def _difference(settings: Mapping[str, Any], architecture: str) -> dict[str, Any]:
    """Return which of `settings` are not the architecture's own."""
    own = {**_DEFAULTS, **VARIANTS[architecture]}
    return {key: value for key, value in settings.items() if value != own.get(key)}


def _check_said(model: T2TViT, architecture: str, arguments: Mapping[str, Any]) -> None:
    """Refuse a model that is not what its settings build: somebody has changed its parts."""
    with torch.device("meta"):
        expected = create_model(architecture, **arguments, num_classes=model.num_classes).state_dict()
    for name in {**expected, **model.state_dict()}:
        there, here = (state[name].shape if name in state else None for state in (expected, model.state_dict()))
        if there != here:
            raise ConfigError(f"config.json cannot describe this model: its {name} is {here}, expected {there}")


def _default_preprocessing(model: T2TViT) -> dict[str, Any]:
    """Return how images are prepared for a model that was not told: as timm has it, if it was built there."""
    known: Mapping[str, Any] = getattr(model, "pretrained_cfg", None) or {}
    fields = [field.name for field in dataclasses.fields(Preprocessing)]
    return default_preprocessing(model, **{name: known[name] for name in fields if known.get(name) is not None})


def _crop(preprocessing: Mapping[str, Any]) -> tuple[float, str]:
    """Return (crop_pct, crop_mode) that give the resize of `preprocessing`.

    Raises:
        ConfigError: None do.
    """
    sides, resize = preprocessing["img_size"], preprocessing["resize"]
    crop = crop_of(sides, resize)
    if crop is None:
        raise ConfigError(
            f"preprocessing resizes to {resize} for {tuple(sides)}; config.json can only say a part of the picture "
            "that is cropped, alike for both sides"
        )
    return crop


def _object(config: Mapping[str, Any], key: str, source: str) -> Mapping[str, Any]:
    value = config.get(key)
    if value is not None and not isinstance(value, Mapping):
        raise ConfigError(f"{source}: {key} is a {type(value).__name__}; expected an object")
    return value or {}
