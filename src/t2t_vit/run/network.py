"""From an `Experiment` to the network that is trained or tested: a T2T-ViT, or a baseline of timm's beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import timm
from torch import nn

from t2t_vit.config import Experiment
from t2t_vit.errors import CheckpointError, ConfigError, nearest
from t2t_vit.hub import build_model, load_model, weights_file
from t2t_vit.models.freeze import freeze
from t2t_vit.models.initialisation import draw_by_fan_in
from t2t_vit.weights.catalogue import weights_at
from t2t_vit.weights.load import read_checkpoint


def new_network(experiment: Experiment, num_classes: int | None = None) -> nn.Module:
    """Return the network of `experiment` with fresh weights, in training mode.

    Args:
        experiment: What to build.
        num_classes: Classes, if `experiment` leaves them open.

    Raises:
        ConfigError: There is no such network, or a setting of it is wrong.
    """
    if experiment.baseline.name is None:
        return build_model(experiment, num_classes)
    check_baseline(experiment)
    name, model = experiment.baseline.name, experiment.model
    settings = dict(experiment.baseline.options, in_chans=model.in_chans, drop_path_rate=model.drop_path_rate)
    if num_classes is not None or model.num_classes is not None:
        settings["num_classes"] = num_classes or model.num_classes
    published = timm.get_pretrained_cfg(name)
    if published is not None and published.fixed_input_size:  # convolutions take any, and have no argument for it
        settings["img_size"] = model.img_size
    try:
        network = timm.create_model(name, **settings)
    except (TypeError, ValueError, RuntimeError, AssertionError) as error:
        raise ConfigError(f"timm cannot make {name} with {settings}: {' '.join(str(error).split())}") from None
    if model.init == "fan_in":
        draw_by_fan_in(network)
    freeze(network, model.freeze)
    return network


def check_baseline(experiment: Experiment) -> None:
    """Refuse a baseline that timm has not; it takes no time, unlike building it.

    Raises:
        ConfigError: There is no such network.
    """
    name = experiment.baseline.name
    if name is not None and not timm.is_model(name):
        raise ConfigError(f"baseline.name is {name!r}, which timm has not.{nearest(name, timm.list_models())}")


def starting_network(experiment: Experiment) -> nn.Module:
    """Return what training begins with: fresh weights, or those of `Model.pretrained` with a head for the classes."""
    location = experiment.model.pretrained
    if location is None:
        return new_network(experiment)
    entry = weights_at(location)
    source_size = None if entry is None else entry.image_height_width
    return load_model(experiment, weights_file(location), new_head=True, source_size=source_size)


def load_network(experiment: Experiment, file: str | Path, weights: str) -> nn.Module:
    """Return the network of `experiment` with the weights of `file`, in training mode.

    It has as many classes as the file, and `classes` where that names them.

    Args:
        experiment: What to build.
        file: A checkpoint.
        weights: `ema` or `raw`.

    Raises:
        CheckpointError: The file holds no weights, or they do not fit.
    """
    if experiment.baseline.name is None:
        return load_model(experiment, file, weights=weights)
    checkpoint = read_checkpoint(file)
    network: Any = new_network(experiment, len(checkpoint.classes) if checkpoint.classes else None)
    network.classes = checkpoint.classes
    try:
        network.load_state_dict(checkpoint.state_dict(weights))
    except RuntimeError as error:
        problem = " ".join(str(error).split())
        raise CheckpointError(f"{file} does not fit timm's {experiment.baseline.name}: {problem[:200]}") from None
    return cast("nn.Module", network)
