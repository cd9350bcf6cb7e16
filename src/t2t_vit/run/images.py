"""The images of an `Experiment`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, get_args

from filelock import FileLock

from t2t_vit.config import Data, Experiment
from t2t_vit.config.settings import PublicDataset
from t2t_vit.data.class_names import imagenet_classes, read_class_file
from t2t_vit.data.sets.annotations import AnnotatedImages
from t2t_vit.data.sets.cifar import Cifar
from t2t_vit.data.sets.digits import Digits
from t2t_vit.data.sets.folders import ImageFolder
from t2t_vit.data.sets.huggingface import HuggingFaceSet
from t2t_vit.data.sets.image_set import ImageSet
from t2t_vit.data.sets.splits import fold_of, fraction_of
from t2t_vit.data.sets.streams import HuggingFaceStream, ImageStream, TarStream
from t2t_vit.data.sets.tar_shards import TarShards
from t2t_vit.data.sets.torchvision import VAL_FRACTION, WITHOUT_SPLIT, TorchvisionSet
from t2t_vit.errors import ConfigError, DatasetError

_PUBLIC_ROOT: Final = "data"


def open_images(data: Data, split: str, num_classes: int | None = None, known: Sequence[str] | None = None) -> ImageSet:
    """Return the `train` or `val` images of `data`.

    Args:
        data: Where they are.
        split: `train` or `val`.
        num_classes: Classes of the model, None if it takes what there is.
        known: The classes where they are settled.

    Raises:
        ConfigError: They can only be streamed.
        DatasetError: They are missing or laid out otherwise.
    """
    if data.streaming and split == "train":
        raise ConfigError("data.streaming is True, so the training images have no order; set it to False to open them")
    if known is None and data.classes_file is not None:
        known = read_class_file(_in_root(data, data.classes_file))
    if data.num_folds is not None:
        return fold_of(_opened(data, "all", num_classes, known), data.num_folds, data.fold, split)
    fraction = data.val_fraction or (VAL_FRACTION if data.dataset in WITHOUT_SPLIT else None)
    if fraction is not None:
        return fraction_of(_opened(data, "all", num_classes, known), fraction, split)
    return _opened(data, split, num_classes, known)


def open_stream(data: Data, num_classes: int | None = None, known: Sequence[str] | None = None) -> ImageStream:
    """Return the training images of `data`, to be read in sequence.

    Args:
        data: Where they are.
        num_classes: Classes of the model, None if it takes what there is.
        known: The classes where they are settled.

    Raises:
        ConfigError: Nothing tells the classes.
        DatasetError: The images are missing or laid out otherwise.
    """
    if known is None and data.classes_file is not None:
        known = read_class_file(_in_root(data, data.classes_file))
    if data.dataset == "huggingface":
        return HuggingFaceStream(
            _root(data),
            data.train,
            config_name=data.config_name,
            image_column=data.image_column,
            label_column=data.label_column,
            known=known,
            num_images=data.num_images,
            shuffle_buffer=data.shuffle_buffer,
        )
    if data.classes == "imagenet":
        known = imagenet_classes()
    elif known is None and num_classes is not None:
        known = [str(number) for number in range(num_classes)]
    elif known is None:
        raise ConfigError(
            "a stream of tar shards does not say which classes there are; name them in a file of data.classes_file, or "
            "give model.num_classes if labels are numbers"
        )
    return TarStream(
        data.train,
        known,
        root=_root(data),
        num_images=data.num_images,
        shuffle_buffer=data.shuffle_buffer,
        label_key=data.label_column or "label",
    )


def _opened(data: Data, split: str, num_classes: int | None, known: Sequence[str] | None) -> ImageSet:
    """Return `train`, `val`, or what is split into both."""
    part = "train" if split == "all" else split
    root, place = _root(data), getattr(data, part)
    if data.dataset == "digits":
        return Digits(part)
    if data.dataset == "huggingface":
        return HuggingFaceSet(
            root,
            place,
            config_name=data.config_name,
            image_column=data.image_column,
            label_column=data.label_column,
            num_classes=num_classes,
            known=known,
        )
    if data.dataset == "tar_shards":
        key = data.label_column or "label"
        return TarShards(place, root=root, classes=data.classes, num_classes=num_classes, known=known, label_key=key)
    if data.dataset == "image_folder":
        return _folder(data, part, num_classes, known)
    return _downloaded(data, split, part) if data.download else _public(data, split, part)


def _downloaded(data: Data, split: str, part: str) -> ImageSet:
    """Return a public data set, fetched if it is not there; the other processes of a run wait until one has done so."""
    root = _root(data)
    try:
        Path(root).mkdir(parents=True, exist_ok=True)
        lock = FileLock(Path(root) / ".download.lock").acquire()
    except OSError as error:
        with suppress(DatasetError):  # what is all there may lie where nothing can be written
            return _public(data, split, part)
        raise DatasetError(f"cannot download to {root!r}: {error.strerror}; name another folder in data.root") from None
    with lock:
        return _public(data, split, part, download=True)


def _public(data: Data, split: str, part: str, download: bool = False) -> ImageSet:
    if data.dataset in ("cifar10", "cifar100"):
        return Cifar(data.dataset, _root(data), part, download)
    return TorchvisionSet(data.dataset, _root(data), split if data.dataset in WITHOUT_SPLIT else part, download)


def _folder(data: Data, split: str, num_classes: int | None, known: Sequence[str] | None) -> ImageSet:
    folder, annotations = _in_root(data, getattr(data, split)), getattr(data, f"{split}_annotations")
    listed = Path("meta") / f"{split}.txt"  # where ImageNet for MMPretrain and its forebears has them
    if annotations is None and _in_root(data, str(listed)).is_file() and not _has_folders(folder):
        annotations = str(listed)
    if annotations is None:
        return ImageFolder(folder, data.classes, num_classes, known)
    return AnnotatedImages(
        _in_root(data, annotations),
        folder,
        classes=data.classes,
        num_classes=num_classes,
        known=known,
        path_column=data.image_column or "path",
        label_column=data.label_column or "label",
    )


def _has_folders(folder: Path) -> bool:
    try:
        return any(entry.is_dir() for entry in folder.iterdir())
    except OSError:
        return False


def _root(data: Data) -> str:
    if data.dataset in get_args(PublicDataset) and data.root == Data.root:
        return _PUBLIC_ROOT
    return os.path.expanduser(data.root)  # noqa: PTH111 -- a name on the hub and a URL are no paths


def _in_root(data: Data, path: str) -> Path:
    """Return a path in `data.root`, or as it is where that is no folder."""
    inside = Path(os.path.expanduser(path))  # noqa: PTH111 -- as above
    return inside if data.dataset == "huggingface" else Path(_root(data)) / inside


def training_images(experiment: Experiment) -> tuple[ImageSet | ImageStream, ImageSet | None, int]:
    """Return training images, validation images (None if there is to be no evaluation) and the number of classes."""
    wanted, data = experiment.model.num_classes, experiment.data
    images = open_stream(data, wanted) if data.streaming else open_images(data, "train", wanted)
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
