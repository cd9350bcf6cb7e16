"""What the shipped model makes of photographs that are installed with scikit-learn and scikit-image.

    python study/photographs.py

All that show things as a camera sees them: no microscopy, text or drawings, and of the two views of one motorcycle the
left one. Nothing was chosen by them. Where a model's classes have a name for what a photograph shows, it should be
found; where they have none, no class should get a high score.
"""

from __future__ import annotations

import json
import sys
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image

from t2t_vit import ImageClassificationInferencer
from t2t_vit.errors import T2TViTError
from t2t_vit.files import write_text
from t2t_vit.hub import DEFAULT_MODEL

LOG = Path(__file__).parent / "logs" / "photographs.jsonl"
#: Package of the folder, file, what is seen, and CIFAR-100's names for it.
PHOTOGRAPHS = (
    ("sklearn.datasets", "images/flower.jpg", "a dahlia", ()),
    ("sklearn.datasets", "images/china.jpg", "a Chinese palace", ()),
    ("skimage", "data/rocket.jpg", "a rocket at its launch pad", ("rocket",)),
    ("skimage", "data/coffee.png", "a cup of coffee on a saucer, from above", ("cup",)),
    ("skimage", "data/astronaut.png", "a woman in a space suit", ("woman",)),
    ("skimage", "data/camera.png", "a man behind a camera, grey", ("man",)),
    ("skimage", "data/motorcycle_left.png", "a motorcycle in a workshop", ("motorcycle",)),
    ("skimage", "data/clock_motion.png", "a clock, blurred beyond recognition, grey", ("clock",)),
    ("skimage", "data/chelsea.png", "the face of a cat", ()),
    ("skimage", "data/coins.png", "coins in rows, grey", ()),
    ("skimage", "data/brick.png", "a brick wall, grey", ()),
    ("skimage", "data/grass.png", "grass, grey", ()),
    ("skimage", "data/gravel.png", "gravel, grey", ()),
    ("skimage", "data/moon.png", "the surface of the moon, grey", ()),
    ("skimage", "data/retina.jpg", "the back of an eye", ()),
    ("skimage", "data/hubble_deep_field.jpg", "galaxies", ()),
)


def main(
    model: Annotated[str, typer.Argument(help="Name of a model, or a config.")] = DEFAULT_MODEL,
    pretrained: Annotated[str | None, typer.Option(help="Weights; default: the model's own.")] = None,
    output: Annotated[
        Path | None, typer.Option(help="A file for the predictions; default: the study's log, if of the default model.")
    ] = None,
) -> None:
    """Print the three best classes of each photograph."""
    inferencer = ImageClassificationInferencer(model, pretrained or True)
    classes = inferencer.classes
    lines = []
    for package, file, seen, names in PHOTOGRAPHS:
        with files(package).joinpath(file).open("rb") as stream, Image.open(stream) as picture:
            scores = inferencer(picture.convert("RGB"))[0]["pred_scores"]
        best = [(classes[index], round(100 * float(scores[index]), 1)) for index in np.argsort(-scores)[:3]]
        lines.append({"kind": "photograph", "model": model, "picture": f"{package}/{file}", "seen": seen,
                      "names": [name for name in names if name in classes], "best": best})  # fmt: skip
        print(f"{file}: {seen}: {', '.join(f'{name} {score:.1f} %' for name, score in best)}", flush=True)
    is_shipped = model == DEFAULT_MODEL and pretrained is None
    target = output or (LOG if is_shipped else None)
    if target is not None:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_text(target, "".join(f"{json.dumps(line)}\n" for line in lines))


if __name__ == "__main__":
    try:
        typer.run(main)
    except T2TViTError as error:
        sys.exit(f"error: {' '.join(str(error).split())}")
