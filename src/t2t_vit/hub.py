"""A name, a config or an `Experiment` in, a model with weights out."""

from __future__ import annotations

import dataclasses
import fnmatch
import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from t2t_vit.config import (
    Experiment,
    Model,
    Preprocessing,
    experiment_from_json,
    load_experiment,
    shipped_configs,
)
from t2t_vit.config.mmpretrain import model_settings
from t2t_vit.config.validation import validate_experiment
from t2t_vit.device import find_device
from t2t_vit.errors import CheckpointError, ConfigError, UnknownModelError, nearest
from t2t_vit.models import T2TViT, create_model, variant_names
from t2t_vit.models.position import resize_position_table, sinusoid_table
from t2t_vit.weights.catalogue import CATALOGUE, default_weights
from t2t_vit.weights.download import fetch

if TYPE_CHECKING:
    from t2t_vit.weights.load import Checkpoint

_log = logging.getLogger(__name__)

_TASK = "Image Classification"
_BUILD_ONLY = ("out_type", "out_indices")


def list_models(
    pattern: str | None = None, exclude_patterns: str | list[str] | None = None, task: str | None = None
) -> list[str]:
    """Return the names that `get_model` takes, sorted.

    Args:
        pattern: Only names that match it, with ``*`` and ``?``; anything may follow the match.
        exclude_patterns: None of the names that match one of these.
        task: Only models of this task; all of them classify images ("Image Classification").
    """
    if task is not None and task != _TASK:
        return []
    names = {*variant_names(), *CATALOGUE, *shipped_configs()}
    if pattern is not None:
        names = set(fnmatch.filter(names, f"{pattern}*"))
    for excluded in [exclude_patterns] if isinstance(exclude_patterns, str) else exclude_patterns or []:
        names -= set(fnmatch.filter(names, f"{excluded}*"))
    return sorted(names)


def find_experiment(model: str | Path | Experiment) -> Experiment:
    """Return the `Experiment` that `model` stands for: itself, a config's, or an architecture with all defaults.

    Raises:
        UnknownModelError: `model` is no name that is known and no file.
        ConfigError: It is a config, and wrong.
    """
    if isinstance(model, Experiment):
        return model
    if not isinstance(model, str | Path):
        raise UnknownModelError(f"a model is a name, a config file or an Experiment, not a {type(model).__name__}")
    if str(model) in variant_names():
        return Experiment(model=Model(name=str(model)))
    if Path(model).suffix in (".py", ".json") or str(model) in shipped_configs():
        return load_experiment(model)
    known = list_models()
    raise UnknownModelError(f"unknown model {str(model)!r}.{nearest(str(model), known)} Known: {', '.join(known)}")


def get_model(
    model: str | Path | Experiment,
    pretrained: bool | str | Path | None = False,
    device: str | torch.device | None = None,
    *,
    url_mapping: tuple[str, str] | None = None,
    weights: str = "ema",
    **kwargs: Any,
) -> T2TViT:
    """Return a model in eval mode, with published weights, weights from a file, or fresh ones.

    Args:
        model: A name of `list_models()`, the path of a config, or an `Experiment`.
        pretrained: True: the published weights of this model. A path, a URL, or a name with published weights: those.
        device: Where the model goes; `auto` is a GPU if there is one, None the CPU.
        url_mapping: (pattern, replacement), a regular expression applied to the URL of the weights.
        weights: Which of the weights in a file: `ema` (where it has them) or `raw`.
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
    experiment = find_experiment(model)
    target = find_device(device)
    settings = _settings(kwargs)
    has_own_head = "num_classes" in settings
    for_build = {name: settings.pop(name) for name in _BUILD_ONLY if name in settings}
    if settings.get("num_classes") == 0:
        for_build["num_classes"] = settings.pop("num_classes")
    experiment = _changed(experiment, settings)
    if pretrained:
        location, sha256 = _published(model, experiment) if pretrained is True else (pretrained, None)
        file = weights_file(location, sha256, url_mapping)
        network = load_model(experiment, file, weights=weights, new_head=has_own_head, **for_build)
    else:
        network = build_model(experiment, **for_build)
    return network.to(target).eval()


def build_model(experiment: Experiment, num_classes: int | None = None, **overrides: Any) -> T2TViT:
    """Return the network of `experiment` with fresh weights, in training mode.

    Args:
        experiment: What to build.
        num_classes: Classes, if `experiment` leaves them open.
        overrides: Arguments of `T2TViT` over the experiment's.
    """
    settings = {
        field.name: getattr(experiment.model, field.name)
        for field in dataclasses.fields(experiment.model)
        if field.name not in ("name", "pretrained")
    }
    settings = {name: value for name, value in settings.items() if value is not None}
    if num_classes is not None:
        settings["num_classes"] = num_classes
    model = create_model(experiment.model.name, **{**settings, **overrides})
    model.preprocessing = preprocessing_of(experiment)
    return model


def load_model(
    experiment: Experiment,
    file: str | Path,
    *,
    weights: str = "ema",
    new_head: bool = False,
    **overrides: Any,
) -> T2TViT:
    """Return the network of `experiment` with the weights of `file`.

    Args:
        experiment: What to build. Where it leaves the number of classes open, the file decides.
        file: A checkpoint of any layout that `t2t_vit.weights` reads.
        weights: `ema` or `raw`.
        new_head: The number of classes was asked for: a head of another size is drawn anew instead of refused.
        overrides: Arguments of `T2TViT` over the experiment's.

    Raises:
        CheckpointError: The file holds no weights, or they do not fit.
    """
    from t2t_vit.weights.load import read_checkpoint

    checkpoint = read_checkpoint(file)
    state = {name: value.float() for name, value in checkpoint.state_dict(weights).items()}
    if experiment.model.num_classes is None and "num_classes" not in overrides and "head.weight" in state:
        overrides["num_classes"] = len(state["head.weight"])
    with torch.device("meta"):  # nothing is drawn or allocated that the file would overwrite at once
        model = build_model(experiment, **overrides)
    fits_head = _take_weights(model, state, checkpoint, new_head)
    _warn_of_other_preprocessing(experiment, checkpoint)
    if fits_head and checkpoint.classes is not None and len(checkpoint.classes) == model.num_classes:
        model.classes = checkpoint.classes
    return model


def weights_file(location: str | Path, sha256: str | None = None, url_mapping: tuple[str, str] | None = None) -> Path:
    """Return the file at `location`, fetched if it is a URL.

    Args:
        location: A path, a URL, or a name with published weights.
        sha256: Of a URL's file, or its first digits.
        url_mapping: (pattern, replacement), a regular expression applied to a URL first; it may give a path.

    Raises:
        DownloadError: It cannot be fetched.
        HashMismatchError: It is another file than was published.
    """
    if location in CATALOGUE:
        location, sha256 = CATALOGUE[str(location)].url, CATALOGUE[str(location)].sha256
    if re.match(r"https?://", str(location)):
        return fetch(str(location), sha256, url_mapping=url_mapping)
    return Path(location)


def preprocessing_of(experiment: Experiment) -> dict[str, Any]:
    """Return how images are prepared for the model of `experiment`: the arguments of `t2t_vit.data.preprocess`."""
    settings, img_size = experiment.preprocessing, experiment.model.image_height_width
    height, width = (int(side / settings.crop_pct) for side in img_size)
    return {
        "img_size": img_size,
        "resize": (height, width) if settings.crop_mode == "squash" else min(height, width),
        "interpolation": settings.interpolation,
        "mean": settings.mean,
        "std": settings.std,
    }


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
            names = [*known, *_BUILD_ONLY, "backbone", "head", "url_mapping", "weights"]
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


def _published(model: str | Path | Experiment, experiment: Experiment) -> tuple[str, str | None]:
    """Return URL and SHA-256 of the published weights of `model`, or what its config trains from."""
    name = "" if isinstance(model, Experiment) else Path(model).stem
    entry = CATALOGUE.get(name) or (default_weights(experiment.model.name) if _is_unchanged(experiment.model) else None)
    if entry is not None:
        return entry.url, entry.sha256
    if experiment.model.pretrained is not None:
        return experiment.model.pretrained, None
    raise ConfigError(
        f"there are no published weights for {repr(name) if name else 'this Experiment'}; give pretrained=PATH-OR-URL, "
        f"or use one of {', '.join(CATALOGUE)}"
    )


def _is_unchanged(model: Model) -> bool:
    """Whether `model` is its architecture as published, whatever its input size and classes."""
    taken = {"name", "pretrained", "num_classes", "img_size", "drop_rate", "drop_path_rate"}
    return all(
        getattr(model, field.name) == getattr(Model(), field.name)
        for field in dataclasses.fields(model)
        if field.name not in taken
    )


def _warn_of_other_preprocessing(experiment: Experiment, checkpoint: Checkpoint) -> None:
    """Say so if the weights were trained on images that were prepared in another way."""
    stored = checkpoint.meta.get("experiment")
    if not isinstance(stored, str):
        return
    trained = experiment_from_json(stored, str(checkpoint.path)).preprocessing
    if trained != experiment.preprocessing:
        _log.warning(
            "%s was trained with %s and here it is %s; its run's experiment.json has the right one",
            checkpoint.path, trained, experiment.preprocessing,
        )  # fmt: skip


def _take_weights(model: T2TViT, state: dict[str, torch.Tensor], checkpoint: Checkpoint, new_head: bool) -> bool:
    """Put `state` into `model`, which is on the meta device; return whether the head, too, is the file's.

    Raises:
        CheckpointError: Keys are missing or left over, or shapes differ.
    """
    wanted = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    state["pos_embed"] = _position_table(model, state.get("pos_embed"))
    fits_head = True
    if model.num_classes == 0:
        state = {name: value for name, value in state.items() if not name.startswith("head.")}
    elif new_head and tuple(state.get("head.weight", torch.empty(0)).shape) != wanted["head.weight"]:
        fits_head = False
        _log.warning("the head for %d classes is newly initialised: %s has another", model.num_classes, checkpoint.path)
        state["head.weight"] = torch.nn.init.trunc_normal_(torch.empty(wanted["head.weight"]), std=0.02)
        state["head.bias"] = torch.zeros(wanted["head.bias"])
    problems = _differences(wanted, state)
    if problems:
        made_with = checkpoint.path.with_name("experiment.json")
        name = _architecture_of(state) or (made_with if made_with.is_file() else None)
        raise CheckpointError(
            f"{checkpoint.path} ({checkpoint.layout}) does not fit this model: {'; '.join(problems)}. "
            f"Name the model{f' ({name})' if name else ''} that the file was made with"
            + (", or give num_classes to get a new head" if any("head.weight" in p for p in problems) else "")
        )
    model.load_state_dict(state, assign=True)
    model.requires_grad_(True)
    return fits_head


def _architecture_of(state: dict[str, torch.Tensor]) -> str | None:
    """Return the architecture that has the keys and shapes of `state`, whatever its classes and image size."""

    def shapes(values: dict[str, torch.Tensor]) -> dict[str, torch.Size]:
        return {
            name: value.shape for name, value in values.items() if name != "pos_embed" and not name.startswith("head.")
        }

    with torch.device("meta"):
        return next(
            (name for name in variant_names() if shapes(create_model(name).state_dict()) == shapes(state)), None
        )


def _position_table(model: T2TViT, stored: torch.Tensor | None) -> torch.Tensor:
    """Return the table for `model`: computed if the file has none, interpolated if it has one for another grid."""
    rows, dim = model.pos_embed.shape[1:]
    if stored is None or stored.ndim != 3 or stored.shape[2] != dim:
        return sinusoid_table(rows, dim)
    side = round((stored.shape[1] - 1) ** 0.5)
    if stored.shape[1] == rows or 1 + side * side != stored.shape[1]:
        return stored
    return resize_position_table(stored, (side, side), model.grid_size)


def _differences(wanted: dict[str, tuple[int, ...]], state: dict[str, torch.Tensor]) -> list[str]:
    """Return in words what of `state` is missing, left over, or of another shape."""
    missing = [name for name in wanted if name not in state]
    extra = [name for name in state if name not in wanted]
    shapes = [
        f"{name} is {tuple(state[name].shape)}, expected {shape}"
        for name, shape in wanted.items()
        if name in state and tuple(state[name].shape) != shape
    ]
    return [
        f"{len(names)} {what}: {', '.join(names[:3])}{', …' if len(names) > 3 else ''}"
        for what, names in (("missing", missing), ("unexpected", extra), ("of another shape", shapes))
        if names
    ]
