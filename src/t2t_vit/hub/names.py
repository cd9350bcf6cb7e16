"""The names that models go by, and what each stands for."""

from __future__ import annotations

import fnmatch
from pathlib import Path

from t2t_vit.config import Experiment, Model, Preprocessing, load_experiment, shipped_configs
from t2t_vit.errors import UnknownModelError, nearest
from t2t_vit.model_index import registered
from t2t_vit.models import variant_names
from t2t_vit.weights.catalogue import CATALOGUE, PretrainedWeights, find_weights

_TASK = "Image Classification"


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
    tagged = (entry.full_name for entry in CATALOGUE.values())
    own = (name for name in shipped_configs() if name.startswith("t2t"))  # the others are of baselines
    names = {*variant_names(), *CATALOGUE, *tagged, *own, *registered()}
    if pattern is not None:
        names = set(fnmatch.filter(names, f"{pattern}*"))
    for excluded in [exclude_patterns] if isinstance(exclude_patterns, str) else exclude_patterns or []:
        names -= set(fnmatch.filter(names, f"{excluded}*"))
    return sorted(names)


def find_experiment(model: str | Path | Experiment) -> Experiment:
    """Return the `Experiment` that `model` stands for.

    That is itself, a config's, that of a registered name or of published weights, or an architecture with all defaults.

    Raises:
        UnknownModelError: `model` is no name that is known and no file.
        ConfigError: It is a config, and wrong.
    """
    if isinstance(model, Experiment):
        return model
    if not isinstance(model, str | Path):
        raise UnknownModelError(f"a model is a name, a config file or an Experiment, not a {type(model).__name__}")
    name = str(model)
    if name in variant_names():
        return Experiment(model=Model(name=name))
    if Path(model).suffix in (".py", ".json") or name in shipped_configs():
        return load_experiment(model)
    own = registered().get(name.lower())
    if own is not None and own.config is not None:
        return load_experiment(own.config)
    weights = find_weights(name)
    if weights is not None:
        return published_experiment(weights)
    if name and Path(name).exists():
        found = "a folder" if Path(name).is_dir() else "a file"
        raise UnknownModelError(
            f"model {name!r} is {found}, neither a name nor a config; weights go into pretrained=… (--pretrained FILE)"
        )
    known = list_models()
    raise UnknownModelError(
        f"unknown model {name!r}.{nearest(name, known)} `t2t-vit models` and list_models() give all {len(known)} names"
    )


def published_experiment(weights: PretrainedWeights) -> Experiment:
    """Return the `Experiment` of the model that `weights` were made for, with its preprocessing."""
    return Experiment(
        model=Model(name=weights.model, num_classes=weights.num_classes, img_size=weights.img_size),
        preprocessing=Preprocessing(
            crop_pct=weights.crop_pct,
            crop_mode=weights.crop_mode,
            interpolation=weights.interpolation,
            mean=weights.mean,
            std=weights.std,
        ),
    )
