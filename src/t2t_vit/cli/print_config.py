"""`t2t-vit print-config`: what a config comes to, as a config of this package."""

from __future__ import annotations

import logging
from typing import Annotated

import typer


def print_config(
    config: Annotated[
        str, typer.Argument(help="Config file, of MMPretrain too, or the name of a shipped or registered one.")
    ],
    cfg_options: Annotated[
        list[str] | None, typer.Option(help="Settings over the config's.", metavar="KEY=VALUE ...")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON instead of Python.")] = False,
) -> None:
    """Print every setting of a config, as a Python config to be saved and used; so one moves from MMPretrain."""
    from t2t_vit.cli.settings import read_config
    from t2t_vit.config import experiment_to_json, experiment_to_python

    # What a config of MMPretrain says to no effect is told here, beside the warnings that every command shows.
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    logging.getLogger("t2t_vit.config").setLevel(logging.INFO)
    experiment = read_config(config, cfg_options)
    if as_json:
        typer.echo(experiment_to_json(experiment))
    else:
        typer.echo(experiment_to_python(experiment, f"Every setting of {config}."), nl=False)
