"""`t2t-vit predict`: what is in a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def predict(
    images: Annotated[list[str], typer.Argument(help="Paths, URLs or folders of images.")],
    model: Annotated[str, typer.Option(help="Name of a model, or a config.")] = "t2t-vit-t-14_8xb64_in1k",
    pretrained: Annotated[str | None, typer.Option(help="Weights: a path or URL; default: the published ones.")] = None,
    classes: Annotated[Path | None, typer.Option(help="File with the name of a class a line.")] = None,
    device: Annotated[str, typer.Option(help="Where to compute; auto: a GPU if there is one.")] = "auto",
    batch_size: Annotated[int, typer.Option(min=1, help="Images at once.")] = 1,
    top: Annotated[int, typer.Option(min=1, help="How many classes to name.")] = 5,
    json: Annotated[bool, typer.Option("--json", help="A JSON line an image instead of a table.")] = False,
) -> None:
    """Say what is in pictures."""
    from t2t_vit.inference import ImageClassificationInferencer, list_inputs

    inferencer = ImageClassificationInferencer(model, pretrained or True, device, classes)
    sources = list_inputs(list(images))
    for first in range(0, len(sources), batch_size):
        batch = sources[first : first + batch_size]
        for source, prediction in zip(batch, inferencer(batch, batch_size=batch_size), strict=True):
            scores = prediction["pred_scores"]
            best = [(int(i), inferencer.classes[i], float(scores[i])) for i in scores.argsort()[::-1][:top]]
            typer.echo(_json_line(str(source), best) if json else _table(str(source), best))


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
        }
    )
