"""`t2t-vit publish`: weights to hand on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def publish(
    source: Annotated[Path, typer.Argument(metavar="IN", help="A checkpoint, as training leaves it.")],
    target: Annotated[
        Path, typer.Argument(metavar="OUT", help="The new file, .pth or .safetensors; its hash goes into its name.")
    ],
    to: Annotated[
        Literal["official", "mmpretrain", "safetensors"] | None,
        typer.Option(help="Whose names and layout it gets; default: safetensors if OUT is called so, else official."),
    ] = None,
    weights: Annotated[
        Literal["ema", "raw"], typer.Option(help="Which weights, where the file has both: the average or the raw ones.")
    ] = "ema",
    float16: Annotated[bool, typer.Option("--float16", help="Write half precision: half the size.")] = False,
) -> None:
    """Strip a checkpoint to its weights and name the file with the first eight digits of its SHA-256."""
    from t2t_vit.weights.save import publish as publish_file

    typer.echo(publish_file(source, target, to, weights=weights, half=float16))
