"""Options of the commands that apply a model to pictures."""

from __future__ import annotations

from typing import Annotated

import typer

ModelName = Annotated[
    str | None, typer.Option("--model", help="Name of a model, or a config; default: the one that comes along.")
]
Weights = Annotated[str | None, typer.Option("--pretrained", help="Weights: a path or URL; default: the model's own.")]
Device = Annotated[str, typer.Option("--device", help="Where to compute; auto: a GPU if there is one.")]
BatchSize = Annotated[int, typer.Option("--batch-size", min=1, help="Images at once.")]


def weights_of(pretrained: str | None) -> str | bool:
    """Return what `--pretrained` means to the Python calls: its value, or the model's own weights where it is left out.

    An empty value stays what it is, to be refused: from a script with an unset variable it is a mistake.
    """
    return True if pretrained is None else pretrained
