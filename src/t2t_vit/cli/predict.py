"""`t2t-vit predict`: what is in a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from t2t_vit.cli.model_options import BatchSize, Device, ModelName, Weights, weights_of


def predict(
    images: Annotated[list[str], typer.Argument(help="Paths, URLs or folders of images.")],
    model: ModelName = None,
    pretrained: Weights = None,
    classes: Annotated[Path | None, typer.Option(help="File with the name of a class a line.")] = None,
    device: Device = "auto",
    batch_size: BatchSize = 1,
    top: Annotated[int, typer.Option(min=1, help="How many classes to name.")] = 5,
    json: Annotated[bool, typer.Option("--json", help="A JSON line an image instead of a table.")] = False,
    show_dir: Annotated[Path | None, typer.Option(help="Write each picture with its prediction here.")] = None,
    show: Annotated[bool, typer.Option("--show", help="Show each picture with its prediction in a window.")] = False,
    wait_time: Annotated[float, typer.Option(min=0, help="Seconds that each is shown; 0: until it is closed.")] = 0.0,
    rescale_factor: Annotated[float | None, typer.Option(help="Pictures are shown that many times as large.")] = None,
    resize: Annotated[
        int | None, typer.Option(min=1, help="Short edge, in pixels, of pictures that are shown.")
    ] = None,
    draw_score: Annotated[bool, typer.Option(help="Whether pictures are shown with the score.")] = True,
) -> None:
    """Say what is in pictures. Those that cannot be read are named, and make the status 1."""
    from t2t_vit.errors import ImageError
    from t2t_vit.inference import ImageClassificationInferencer, list_inputs

    inferencer = ImageClassificationInferencer(model, weights_of(pretrained), device, classes)
    sources = list_inputs(list(images))
    unread = set()

    def leave_out(position: int, error: ImageError) -> None:
        unread.add(position)
        typer.echo(f"error: {' '.join(str(error).split())}", err=True)

    predictions = inferencer.stream(
        sources,
        batch_size,
        resize=resize,
        rescale_factor=rescale_factor,
        draw_score=draw_score,
        show=show,
        wait_time=wait_time,
        show_dir=show_dir,
        on_error=leave_out if len(sources) > 1 else None,
    )
    read = (source for position, source in enumerate(sources) if position not in unread)
    for prediction, source in zip(predictions, read, strict=False):  # predictions first: they fill `unread`
        scores = prediction["pred_scores"]
        best = [(int(i), inferencer.classes[i], float(scores[i])) for i in scores.argsort()[::-1][:top]]
        typer.echo(_json_line(str(source), best) if json else _table(str(source), best))
    if unread:
        raise ImageError(f"{len(unread)} of {len(sources)} images could not be read; they are named above")


def _table(source: str, best: list[tuple[int, str, float]]) -> str:
    return "\n".join([source, *(f"  {100 * score:6.2f} %  {name}" for _, name, score in best)])


def _json_line(source: str, best: list[tuple[int, str, float]]) -> str:
    import json

    label, name, score = best[0]
    return json.dumps(
        {
            "image": source,
            "pred_label": label,
            "pred_class": name,
            "pred_score": score,
            "top": [{"label": i, "class": n, "score": s} for i, n, s in best],
        },
        allow_nan=False,
    )
