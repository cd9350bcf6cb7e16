"""Images in folders of class folders."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from torchvision.datasets.folder import make_dataset

from t2t_vit.data.class_names import imagenet_classes, imagenet_wnids
from t2t_vit.data.decode import SUFFIXES, Mode, decode
from t2t_vit.data.sets.image_set import ImageSet
from t2t_vit.errors import DatasetError, nearest


class ImageFolder(ImageSet):
    """A folder of class folders.

    Args:
        folder: The folder.
        classes: `folders`: the names of the folders, sorted, are the classes. `imagenet`: the folders are named by
            ImageNet's ids, the labels are ImageNet's. `auto`: `imagenet` if all folders are so named and `num_classes`
            is 1000 or None.
        num_classes: Classes of the model, None if it takes what there is.
        known: The classes, where they are settled already (those of the training images, or of a checkpoint).

    Raises:
        DatasetError: There is no such folder, it is laid out otherwise, or a class has no image.
    """

    def __init__(
        self,
        folder: str | Path,
        classes: str = "auto",
        num_classes: int | None = None,
        known: Sequence[str] | None = None,
    ) -> None:
        root = Path(folder)
        names = _class_folders(root)
        self.classes, label_of = _labels(root, names, classes, num_classes, known)
        self._inside = len(os.path.join(root, ""))  # noqa: PTH118 -- with the separator
        self._samples = _images(root, label_of)
        self.labels = [label for _, label in self._samples]

    def load(self, index: int, mode: Mode) -> Image.Image:
        """Return picture `index` in `mode`."""
        return decode(self._samples[index][0], mode)

    def name(self, index: int) -> str:
        """Return the path of picture `index`."""
        return self._samples[index][0]

    def key(self, index: int) -> str:
        """Return the path of picture `index` in the folder."""
        return self._samples[index][0][self._inside :].replace(os.sep, "/")


def _class_folders(root: Path) -> list[str]:
    if not root.is_dir():
        raise DatasetError(
            f"no image folder {str(root)!r} (looked for {root.absolute()}); expected {root}/CLASS/*.jpg, one folder a "
            "class; name another place with --cfg-options data.root=FOLDER data.train=NAME data.val=NAME"
        )
    try:
        names = sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        raise DatasetError(f"cannot read the folder {str(root)!r}: {error.strerror}") from None
    if not names:
        raise DatasetError(
            f"folder {str(root)!r} has no class folders; expected {root}/CLASS/*.jpg, one folder a class"
        )
    return names


def _labels(
    root: Path, names: list[str], classes: str, num_classes: int | None, known: Sequence[str] | None
) -> tuple[tuple[str, ...], dict[str, int]]:
    """Return the classes, and the label of each folder."""
    label_of_id = {wnid: label for label, wnid in enumerate(imagenet_wnids())}
    strangers = [name for name in names if name not in label_of_id]
    if classes == "imagenet" and strangers:
        raise DatasetError(
            f"{str(root)!r} has class folders that are no ImageNet ids, {strangers[0]!r} for one; "
            "expected names such as n01440764, or data.classes=folders"
        )
    if classes == "imagenet" or (classes == "auto" and not strangers and num_classes in (None, len(label_of_id))):
        return imagenet_classes(), {name: label_of_id[name] for name in names}
    if known is None:
        return tuple(names), {name: label for label, name in enumerate(names)}
    label_of_known = {name: label for label, name in enumerate(known)}
    unknown = [name for name in names if name not in label_of_known]
    if unknown:
        raise DatasetError(
            f"{str(root)!r} has the class folder {unknown[0]!r}, which is none of the {len(known)} classes that the "
            f"model is trained on.{nearest(unknown[0], known)}"
        )
    return tuple(known), {name: label_of_known[name] for name in names}


def _images(root: Path, label_of: dict[str, int]) -> list[tuple[str, int]]:
    samples: list[Any] = make_dataset(str(root), label_of, extensions=SUFFIXES, allow_empty=True)
    # Other systems leave files such as ._cat.jpg and .thumbnails/cat.jpg among the images.
    samples = [sample for sample in samples if f"{os.sep}." not in sample[0].removeprefix(str(root))]
    filled = {label for _, label in samples}
    empty = [name for name, label in label_of.items() if label not in filled]
    if empty:
        raise DatasetError(
            f"{len(empty)} of {len(label_of)} class folders in {str(root)!r} have no images, {empty[0]!r} for one; "
            f"looked for {' '.join(SUFFIXES)}; fill or remove them"
        )
    return samples
