"""From what a user calls weights to a file on this machine."""

from __future__ import annotations

import inspect
import os
import re
from pathlib import Path

from t2t_vit.config import Experiment, Model
from t2t_vit.errors import ConfigError
from t2t_vit.hub.build import check_is_ours, stored_experiment
from t2t_vit.hub.shipped import shipped_models, shipped_weights
from t2t_vit.model_index import registered
from t2t_vit.models import T2TViT
from t2t_vit.models.variants import VARIANTS
from t2t_vit.weights.catalogue import CATALOGUE, PretrainedWeights, find_weights
from t2t_vit.weights.download import fetch


def weights_file(location: str | Path, url_mapping: tuple[str, str] | None = None) -> Path:
    """Return the file at `location`, fetched if it is a URL.

    Args:
        location: A path, a URL, or a name with published or shipped weights. A file that is there goes before a name.
        url_mapping: (pattern, replacement), a regular expression applied to a URL first; it may give a path.

    Raises:
        DownloadError: It cannot be fetched.
        HashMismatchError: It is another file than was published.
    """
    if Path(location).is_file():
        return Path(location)
    shipped, entry = shipped_weights(str(location)), find_weights(str(location))
    if shipped is not None:
        return shipped
    if entry is not None:
        return fetch(entry.url, entry.sha256, size=entry.file_size, url_mapping=url_mapping)
    if re.match(r"https?://", str(location)):
        return fetch(str(location), url_mapping=url_mapping)
    return Path(os.path.expanduser(location))  # noqa: PTH111 -- a file may be called ~x where no user is


def model_of(location: str | Path, url_mapping: tuple[str, str] | None = None) -> str | Experiment:
    """Return the model that weights are of: a name, or the settings that their file was written with.

    Args:
        location: As of `weights_file`.
        url_mapping: As of `weights_file`.

    Raises:
        ConfigError: The file does not tell.
        CheckpointError: It holds no weights.
        T2TViTError: What `weights_file` raises.
    """
    from t2t_vit.weights.load import read_checkpoint

    if not Path(location).is_file() and (str(location) in shipped_models() or find_weights(str(location)) is not None):
        return str(location)
    experiment = stored_experiment(read_checkpoint(weights_file(location, url_mapping)))
    if experiment is None:
        raise ConfigError(f"{location} does not say which model it is of; name it with model=NAME-OR-CONFIG (--model)")
    return experiment


def named_weights(name: str | Path) -> PretrainedWeights | None:
    """Return the published weights called `name`, None if it is no such name, or an architecture's alone."""
    entry = find_weights(str(name))
    return None if entry is None or entry.model == str(name) else entry


def published_weights(model: str | Path | Experiment, experiment: Experiment) -> str:
    """Return the name of the weights of `model` that come along or are published, or what its config trains from.

    Args:
        model: What the user called it.
        experiment: What that is.

    Raises:
        ConfigError: There are none.
    """
    check_is_ours(experiment)
    name = "" if isinstance(model, Experiment) else str(model)
    own = registered().get(name.lower())
    if own is not None and own.weights is not None:
        return own.weights
    config = Path(name).stem if name.endswith((".py", ".json")) else name
    if config in shipped_models():
        return config
    entry = named_weights(name) or named_weights(config if config != name else "")
    if entry is None and own is None and _is_unchanged(experiment.model):
        entry = find_weights(experiment.model.name)
    if entry is not None:
        return entry.name
    if experiment.model.pretrained is not None:
        return experiment.model.pretrained
    raise ConfigError(
        f"there are no published weights for {repr(name) if name else 'this Experiment'}; give pretrained=PATH-OR-URL, "
        f"or use one of {', '.join([*shipped_models(), *CATALOGUE])}"
    )


#: What weights can be adapted to, or do not depend on.
_FREE = {
    "name",
    "pretrained",
    "num_classes",
    "img_size",
    "in_chans",
    "drop_rate",
    "drop_path_rate",
    "init",
    "freeze",
    "grad_checkpointing",
}


def _is_unchanged(model: Model) -> bool:
    """Whether `model` is its architecture as published, whatever its images and classes."""
    own = {name: parameter.default for name, parameter in inspect.signature(T2TViT).parameters.items()}
    own |= VARIANTS.get(model.name, {})
    return all(
        value == getattr(Model(), name) or value == own.get(name)
        for name, value in vars(model).items()
        if name not in _FREE
    )
