"""The images of an `Experiment`."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from t2t_vit.config import Data, Experiment
from t2t_vit.data.datasets import Digits, ImageFolder, ImageSet
from t2t_vit.data.splits import fold_of
from t2t_vit.errors import ConfigError


def open_images(data: Data, split: str, num_classes: int | None = None, known: Sequence[str] | None = None) -> ImageSet:
    """Return the `train` or `val` images of `data`.

    Args:
        data: Where they are.
        split: `train` or `val`.
        num_classes: Classes of the model, None if it takes what there is.
        known: The classes where they are settled.

    Raises:
        DatasetError: They are missing or laid out otherwise.
    """
    if data.num_folds is not None:
        whole = open_images(dataclasses.replace(data, num_folds=None, fold=0), "train", num_classes, known)
        return fold_of(whole, data.num_folds, data.fold, split)
    if data.dataset == "digits":
        return Digits(split)
    root, folder = (os.path.expanduser(path) for path in (data.root, getattr(data, split)))  # noqa: PTH111 -- see join
    return ImageFolder(Path(root) / folder, data.classes, num_classes, known)


def training_images(experiment: Experiment) -> tuple[ImageSet, ImageSet | None, int]:
    """Return training images, validation images (None if there is to be no evaluation) and the number of classes."""
    wanted = experiment.model.num_classes
    images = open_images(experiment.data, "train", wanted)
    num_classes = len(images.classes)
    if wanted not in (None, num_classes):
        raise ConfigError(
            f"the training images have {num_classes} classes and model.num_classes is {wanted}; "
            "leave model.num_classes out to take what the data has"
        )
    val_images = None
    if experiment.runtime.validate:
        val_images = open_images(experiment.data, "val", num_classes, images.classes)
    return images, val_images, num_classes


def loading(data: Data) -> dict[str, Any]:
    """Return how batches are fetched: arguments of the loaders."""
    return {
        "num_workers": data.num_workers,
        "pin_memory": data.pin_memory,
        "persistent_workers": data.persistent_workers,
    }
