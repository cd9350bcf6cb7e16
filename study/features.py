"""What a model's features are worth on pictures that it was not trained on: nearest neighbours, a linear classifier.

    python study/features.py MODEL data/sign-digits

`train` and `val` in the folder have a folder of pictures for each class. Features are what goes into the model's head;
beside them, to compare with, the pixels that go into the model. Settings are chosen by five folds of the training
pictures; the others are looked at once.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler

from t2t_vit.data.sets.folders import ImageFolder
from t2t_vit.errors import T2TViTError
from t2t_vit.files import write_text
from t2t_vit.inference import FeatureExtractor

Matrix = np.ndarray[Any, Any]
#: What is tried: a classifier of features (N, D), and the settings to choose from.
CLASSIFIERS: dict[str, tuple[Any, dict[str, list[Any]]]] = {
    "nearest neighbours": (
        make_pipeline(Normalizer(), KNeighborsClassifier(weights="distance")),
        {"kneighborsclassifier__n_neighbors": [1, 3, 5, 10, 20]},
    ),
    "linear": (
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000)),
        {"logisticregression__C": [0.001, 0.01, 0.1, 1.0, 10.0]},
    ),
}


def main(
    model: Annotated[str, typer.Argument(help="Name of a model, or a config.")],
    folder: Annotated[Path, typer.Argument(help="Pictures: train/CLASS and val/CLASS.")],
    pretrained: Annotated[str | None, typer.Option(help="Weights; default: the model's own.")] = None,
    output: Annotated[Path | None, typer.Option(help="A file for the figures, a JSON line each.")] = None,
) -> None:
    """Print how many of the validation pictures each classifier gets right."""
    extractor = FeatureExtractor(model, pretrained or True)
    train, val = (ImageFolder(folder / part, "folders") for part in ("train", "val"))
    lines = []
    for kind, describe in (("features", _features), ("pixels", _pixels)):
        for name, (classifier, choices) in CLASSIFIERS.items():
            search = GridSearchCV(classifier, choices, cv=5).fit(describe(extractor, train), train.labels)
            ((_, chosen),) = search.best_params_.items()
            line = {
                "kind": kind, "model": model, "pretrained": pretrained, "classifier": name, "setting": chosen,
                "images": len(val), "folds": 100 * float(search.best_score_),
                "accuracy/top1": 100 * float(search.score(describe(extractor, val), val.labels)),
            }  # fmt: skip
            lines.append(line)
            told = f"{line['accuracy/top1']:.2f} % of {len(val)} ({line['folds']:.2f} % in folds)"
            print(f"{kind}, {name} ({chosen}): {told}", flush=True)
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        write_text(output, "".join(f"{json.dumps(line)}\n" for line in lines))


def _pictures(extractor: FeatureExtractor, images: ImageFolder) -> list[Image.Image]:
    return [images.load(number, extractor.preprocess.mode) for number in range(len(images))]


def _features(extractor: FeatureExtractor, images: ImageFolder) -> Matrix:
    """Return what goes into the model's head, (N, D)."""
    features = extractor(_pictures(extractor, images), batch_size=64, stage="pre_logits")
    return torch.stack([torch.as_tensor(one) for one in features]).numpy()


def _pixels(extractor: FeatureExtractor, images: ImageFolder) -> Matrix:
    """Return what goes into the model, (N, C × H × W)."""
    return torch.stack([extractor.preprocess(picture).flatten() for picture in _pictures(extractor, images)]).numpy()


if __name__ == "__main__":
    try:
        typer.run(main)
    except T2TViTError as error:
        sys.exit(f"error: {' '.join(str(error).split())}")
