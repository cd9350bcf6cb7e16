"""`t2t-vit info`: how large a model is and how much it computes."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from t2t_vit.config import Experiment
    from t2t_vit.models.complexity import Complexity


def info(
    models: Annotated[
        list[str] | None, typer.Argument(help="Names of models, or configs; none: every architecture.")
    ] = None,
    img_size: Annotated[
        list[int] | None,
        typer.Option(min=1, help="Image side in pixels, or twice: height and width; default: the model's."),
    ] = None,
) -> None:
    """Say how large models are and how much they compute for one image."""
    import torch

    from t2t_vit.hub import build_model, find_experiment
    from t2t_vit.models import variant_names
    from t2t_vit.models.complexity import measure_complexity
    from t2t_vit.weights.catalogue import find_weights

    if img_size and len(img_size) > 2:
        raise typer.BadParameter(f"{len(img_size)} of them; expected height and width", param_hint="--img-size")
    sides: dict[str, Any] = {"img_size": (img_size[0], img_size[-1])} if img_size else {}
    header = ("model", "pixels", "parameters", "buffers", "MACs¹", "MACs²", "top-1³", "top-5³")
    rows: list[tuple[str, ...]] = [header]
    for name in models or variant_names():
        experiment = find_experiment(name)
        if experiment.baseline.name is not None:
            size, pixels = _size_of_baseline(experiment, sides.get("img_size"))
        else:
            with torch.device("meta"):
                model = build_model(experiment, **sides)
            size, pixels = measure_complexity(model), model.img_size
        published = find_weights(name)
        if published is not None and published.model == name:  # an architecture, not its weights
            published = None
        rows.append(
            (
                name,
                "×".join(map(str, pixels)),
                f"{size.num_parameters / 1e6:.2f} M",
                f"{size.num_buffer_values / 1e6:.3f} M",
                f"{size.macs / 1e9:.2f} G",
                f"{(size.macs + size.attention_macs) / 1e9:.2f} G",
                f"{published.top1} %" if published and published.top1 else "–",
                f"{published.top5} %" if published and published.top5 else "–",
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    for row in rows:
        cells = [
            row[0].ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)),
        ]
        typer.echo("  ".join(cells).rstrip())
    typer.echo("\n¹ without the two attention products, as MMPretrain's page counts")
    typer.echo("² with them, as the paper counts")
    typer.echo(
        "³ quoted from the page of the published weights, not measured here; on ImageNet-1k, or what the name says"
    )


def _size_of_baseline(experiment: Experiment, img_size: tuple[int, int] | None) -> tuple[Complexity, tuple[int, int]]:
    from t2t_vit.models.complexity import count_complexity
    from t2t_vit.run.network import new_network

    if img_size is not None:
        experiment = dataclasses.replace(experiment, model=dataclasses.replace(experiment.model, img_size=img_size))
    pixels = experiment.model.image_height_width
    return count_complexity(new_network(experiment), (experiment.model.in_chans, *pixels)), pixels
