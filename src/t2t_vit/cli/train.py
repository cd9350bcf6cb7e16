"""`t2t-vit train`: train what a config says."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import typer


def train(
    config: Annotated[str, typer.Argument(help="Config file, or the name of a shipped one.")],
    work_dir: Annotated[
        Path | None, typer.Option(help="Where checkpoints and logs go; default work_dirs/<config name>.")
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(
            help="Go on from the last checkpoint, or from the one named; `auto`: begin if there is none.",
            metavar="[PATH|auto]",
        ),
    ] = None,
    amp: Annotated[bool, typer.Option("--amp", help="Mixed precision: bfloat16 where it can be had.")] = False,
    no_validate: Annotated[bool, typer.Option("--no-validate", help="Do not evaluate while training.")] = False,
    auto_scale_lr: Annotated[
        bool, typer.Option("--auto-scale-lr", help="Scale the learning rate to the batch size.")
    ] = False,
    no_pin_memory: Annotated[bool, typer.Option("--no-pin-memory", help="No page-locked memory.")] = False,
    no_persistent_workers: Annotated[
        bool, typer.Option("--no-persistent-workers", help="Start the loading processes anew each epoch.")
    ] = False,
    cfg_options: Annotated[
        list[str] | None, typer.Option(help="Settings over the config's.", metavar="KEY=VALUE ...")
    ] = None,
    launcher: Annotated[
        Literal["none", "pytorch", "slurm", "mpi"],
        typer.Option(help="What started the processes of this run."),
    ] = "none",
) -> None:
    """Train what a config says; checkpoints, logs and curves go into the work folder."""
    from t2t_vit.cli.settings import read_config, resumed_config, with_amp
    from t2t_vit.engine.stopping import TrainingStopped
    from t2t_vit.run import resume_point
    from t2t_vit.run import train as run_training
    from t2t_vit.visualization.curves import plot_curves

    folder = work_dir or Path("work_dirs") / Path(config).stem
    experiment = read_config(config, cfg_options)
    start = resume_point(folder, resume)
    if start is not None:
        experiment = resumed_config(start, config, experiment, cfg_options)
    runtime, data, optimizer = experiment.runtime, experiment.data, experiment.optimizer
    if no_validate:
        runtime = dataclasses.replace(runtime, validate=False)
    if no_pin_memory:
        data = dataclasses.replace(data, pin_memory=False)
    if no_persistent_workers:
        data = dataclasses.replace(data, persistent_workers=False)
    if auto_scale_lr:
        optimizer = dataclasses.replace(optimizer, auto_scale_lr=True)
    experiment = dataclasses.replace(experiment, runtime=runtime, data=data, optimizer=optimizer)
    if amp:
        experiment = with_amp(experiment)
    try:
        last = run_training(experiment, folder, resume=start or resume, launcher=launcher)
    except TrainingStopped as stopped:
        typer.echo(str(stopped), err=True)
        raise typer.Exit(stopped.status) from None
    if last is not None:
        typer.echo(f"last checkpoint: {last}\ncurves: {plot_curves(folder / 'log.jsonl', folder / 'curves.png')}")
