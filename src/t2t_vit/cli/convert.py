"""`t2t-vit convert`: weights from one layout to another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def convert(
    source: Annotated[Path, typer.Argument(metavar="IN", help="Weights of any layout.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="The new file.")],
    to: Annotated[
        Literal["official", "mmpretrain", "safetensors"], typer.Option(help="Whose names and layout it gets.")
    ],
    weights: Annotated[
        Literal["ema", "raw"], typer.Option(help="Which weights, where the file has both: the average or the raw ones.")
    ] = "ema",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT if it is there.")] = False,
) -> None:
    """Write weights in another layout, every tensor bit by bit as it is."""
    from t2t_vit.weights.save import convert as convert_file

    checkpoint = convert_file(source, target, to, weights=weights, overwrite=overwrite)
    state = checkpoint.state_dict(weights)
    typer.echo(
        f"{source} ({checkpoint.layout}, {' and '.join(checkpoint.weights)}) → {target} ({to}): {len(state)} tensors, "
        f"{sum(value.numel() for value in state.values()) / 1e6:.2f} M values"
    )
