"""`get_model`, MMPretrain's call, and the settings it takes."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch

from t2t_vit.config import Experiment, Model, Preprocessing
from t2t_vit.config.mmpretrain import model_settings
from t2t_vit.config.validation import validate_experiment
from t2t_vit.device import find_device
from t2t_vit.errors import ConfigError, nearest
from t2t_vit.hub.build import build_model, load_model
from t2t_vit.hub.names import find_experiment, published_experiment
from t2t_vit.hub.published import published_weights, weights_file
from t2t_vit.models import T2TViT, variant_names
from t2t_vit.weights.catalogue import weights_at

_BUILD_ONLY = ("out_type", "out_indices")


def get_model(
    model: str | Path | Experiment,
    pretrained: bool | str | Path | None = False,
    device: str | torch.device | None = None,
    device_map: None = None,
    offload_folder: None = None,
    url_mapping: tuple[str, str] | None = None,
    *,
    weights: str = "ema",
    strict: bool = True,
    **kwargs: Any,
) -> T2TViT:
    """Return a model in eval mode, with published weights, weights from a file, or fresh ones.

    Args:
        model: A name of `list_models()`, the path of a config, or an `Experiment`.
        pretrained: True: the weights of this model that are published, or come with the package. A path, a URL, or a
            name with such weights: those.
        device: Where the model goes; `auto` is a GPU if there is one, None the CPU.
        device_map: None; these models are small enough for one device.
        offload_folder: None, for the same reason.
        url_mapping: (pattern, replacement), a regular expression applied to the URL of the weights.
        weights: Which of the weights in a file: `ema` (where it has them) or `raw`.
        strict: Refuse a file that does not fit. Otherwise take what fits; the model's `load_report` says what.
        kwargs: Settings of the model over its own: `num_classes`, `img_size`, `in_chans`, `drop_path_rate` and the
            other fields of `t2t_vit.config.Model`; `out_type` and `out_indices` of `T2TViT`; or MMPretrain's
            ``backbone=dict(...)`` and ``head=dict(num_classes=...)``, ``head=None`` for no head.

    Returns:
        The model. Its `preprocessing` says how its images are prepared, its `classes` what it was trained to tell.

    Raises:
        UnknownModelError: Nothing is known by this name.
        ConfigError: A setting is unknown or wrong, or there are no published weights.
        DownloadError: The weights cannot be fetched.
        CheckpointError: The file holds no weights, or those of another architecture.
        DeviceError: There is no such device.
    """
    for name, value in (("device_map", device_map), ("offload_folder", offload_folder)):
        if value is not None:
            raise ConfigError(f"{name} is {value!r}; a T2T-ViT fits on one device: leave it out, and give device")
    if pretrained == "":
        raise ConfigError("pretrained is an empty text; expected True, False, a name, a path or a URL")
    experiment = find_experiment(model)
    target = find_device(device)
    settings = _settings(kwargs)
    has_own_head = "num_classes" in settings
    for_build = {name: settings.pop(name) for name in _BUILD_ONLY if name in settings}
    if settings.get("num_classes") == 0:
        for_build["num_classes"] = settings.pop("num_classes")
    if not pretrained:
        network = build_model(_changed(experiment, settings), **for_build)
        return network.to(target).eval()

    location = published_weights(model, _changed(experiment, settings)) if pretrained is True else pretrained
    entry = weights_at(location)
    if entry is not None and str(model) in variant_names() and entry.model == model:
        experiment = published_experiment(entry)  # an architecture has no preprocessing of its own, its weights have
    file = weights_file(location, url_mapping)
    source_size = None if "img_size" in settings else experiment.model.image_height_width  # a model and its own weights
    if entry is not None:
        source_size = entry.image_height_width
    network = load_model(
        _changed(experiment, settings),
        file,
        weights=weights,
        new_head=has_own_head,
        strict=strict,
        source_size=source_size,
        **for_build,
    )
    is_own_head = network.load_report is not None and "head.weight" in network.load_report.loaded
    if entry is not None and is_own_head and network.classes is None:
        network.classes = entry.classes
    return network.to(target).eval()


def _settings(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return `kwargs` under our names, MMPretrain's dicts opened."""
    settings: dict[str, Any] = {}
    for key, value in kwargs.items():
        if key in ("backbone", "head") and isinstance(value, dict):
            settings |= model_settings(key, value)
        elif key == "head" and value is None:
            settings["num_classes"] = 0
        elif key in ("backbone", "head"):
            raise ConfigError(f"{key} is {value!r}; expected a dict of MMPretrain's settings")
        elif key != "neck" or value is not None:  # there is none to take away
            settings[key] = value
    known = [field.name for field in dataclasses.fields(Model) if field.name not in ("name", "pretrained")]
    for key in settings:
        if key not in (*known, *_BUILD_ONLY):
            names = [*known, *_BUILD_ONLY, "backbone", "head", "url_mapping", "weights", "strict"]
            raise ConfigError(f"get_model has no argument {key!r}.{nearest(key, names)} Known: {', '.join(names)}")
    return settings


def _changed(experiment: Experiment, settings: dict[str, Any]) -> Experiment:
    """Return `experiment` with `settings` in its model, and mean and std for as many channels as it then has."""
    if not settings:
        return experiment
    values = dataclasses.asdict(experiment)
    values["model"] |= settings
    channels, preprocessing = settings.get("in_chans"), experiment.preprocessing
    if isinstance(channels, int) and channels != len(preprocessing.mean):
        values["preprocessing"] |= _for_channels(preprocessing, channels)
    return validate_experiment(values, "get_model")


def _for_channels(preprocessing: Preprocessing, channels: int) -> dict[str, tuple[float, ...]]:
    """Return mean and std for another number of channels: the average of those there are, for each."""
    return {
        name: (sum(getattr(preprocessing, name)) / len(getattr(preprocessing, name)),) * channels
        for name in ("mean", "std")
    }
