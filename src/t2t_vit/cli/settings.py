"""What `train` and `test` do alike with a config."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch
import typer

from t2t_vit.config import Experiment, apply_overrides, experiment_to_dict, load_experiment
from t2t_vit.device import find_device
from t2t_vit.model_index import registered


def read_config(config: str, options: list[str] | None) -> Experiment:
    """Return the `Experiment` of `config` with the ``key=value`` of `options`."""
    own = registered().get(config.lower())
    path = own.config if own is not None and own.config is not None else config
    return apply_overrides(load_experiment(path), options or [])


def resumed_config(checkpoint: Path, asked: Experiment, options: list[str] | None) -> Experiment:
    """Return the settings of the run that wrote `checkpoint`, with the ``key=value`` of `options`.

    Where the config, with these options `asked` for, says something else, the run's own settings stay and a line
    says so: a run that goes on must not change its learning rate because an option was left out this time.
    """
    from t2t_vit.run import resumed_experiment

    experiment = apply_overrides(resumed_experiment(checkpoint), options or [])
    wanted = experiment_to_dict(asked)
    others = [
        f"{section}.{name}={value} (config: {wanted[section][name]})"
        for section, settings in experiment_to_dict(experiment).items()
        for name, value in settings.items()
        if wanted[section][name] not in (value, None)
    ]
    if others:
        typer.echo(f"going on with the run's own {', '.join(others)}; change them with --cfg-options", err=True)
    return experiment


def with_amp(experiment: Experiment) -> Experiment:
    """Return `experiment` in mixed precision: bfloat16, or float16 on GPUs that lack it."""
    device = find_device(experiment.runtime.device)
    lacks_bfloat16 = device.type == "cuda" and not torch.cuda.is_bf16_supported()
    runtime = dataclasses.replace(experiment.runtime, precision="float16" if lacks_bfloat16 else "bfloat16")
    return dataclasses.replace(experiment, runtime=runtime)
