"""What `train` and `test` do alike with a config."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import typer

from t2t_vit.config import Experiment, experiment_to_dict, load_experiment, override
from t2t_vit.model_index import registered


def read_config(config: str, options: list[str] | None) -> Experiment:
    """Return the `Experiment` of `config` with the ``key=value`` of `options`."""
    return load_experiment(_file_of(config), options or [])


def resumed_config(checkpoint: Path, config: str, asked: Experiment, options: list[str] | None) -> Experiment:
    """Return the settings of the run that wrote `checkpoint`, with the ``key=value`` of `options`.

    Where `config`, with these options `asked` for, says something else, the run's own settings stay and a line
    says so: a run that goes on must not change its learning rate because an option was left out this time.
    """
    from t2t_vit.run import resumed_experiment

    experiment = override(resumed_experiment(checkpoint), _file_of(config), options or [])
    wanted = experiment_to_dict(asked)
    if wanted["model"]["num_classes"] is None:  # the run has settled it
        wanted["model"]["num_classes"] = experiment.model.num_classes
    if wanted["runtime"]["precision"] == "auto":  # as above
        wanted["runtime"]["precision"] = experiment.runtime.precision
    others = [
        f"{section}.{name}={value} (config: {wanted[section][name]})"
        for section, settings in experiment_to_dict(experiment).items()
        for name, value in settings.items()
        if wanted[section][name] != value
    ]
    if others:
        typer.echo(f"going on with the run's own {', '.join(others)}; change them with --cfg-options", err=True)
    return experiment


def _file_of(config: str) -> str | Path:
    """Return the file of a registered name; `config` itself if it is none."""
    own = registered().get(config.lower())
    return own.config if own is not None and own.config is not None else config


def with_amp(experiment: Experiment) -> Experiment:
    """Return `experiment` in the mixed precision that its device has instructions for."""
    return dataclasses.replace(experiment, runtime=dataclasses.replace(experiment.runtime, precision="auto"))
