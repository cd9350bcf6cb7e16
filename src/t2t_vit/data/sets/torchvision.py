"""Public data sets by name, found, checked and downloaded by torchvision, decoded as all others are."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from PIL import Image

from t2t_vit.data.decode import Mode, decode, from_pil
from t2t_vit.data.sets.image_set import ImageSet
from t2t_vit.data.sets.presence import first_missing
from t2t_vit.errors import DatasetError

#: Where a set has no official split, so much of each class is held out.
VAL_FRACTION: Final = 0.2


@dataclass(frozen=True)
class _Source:
    """A class of torchvision, and what its arguments are for each of our splits.

    Attributes:
        cls: Its name.
        train: Arguments of the parts that are trained on, one after the other.
        val: Arguments of the part that is held out; None: there is one part only.
        files: Whether pictures are files; if not, they are arrays.
    """

    cls: str
    train: tuple[Mapping[str, Any], ...] = ({},)
    val: Mapping[str, Any] | None = None
    files: Callable[[Any], list[tuple[str, int]]] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


def _by_loader(dataset: Any) -> list[tuple[str, int]]:
    """Return the samples of a set that was given `str` in the place of a function that reads images."""
    return [dataset[index] for index in range(len(dataset))]


def _of_pets(dataset: Any) -> list[tuple[str, int]]:
    return list(zip(map(str, dataset._images), dataset._labels, strict=True))


def _of_caltech(dataset: Any) -> list[tuple[str, int]]:
    folder = os.path.join(dataset.root, "101_ObjectCategories")  # noqa: PTH118 -- as `root`
    return [
        (os.path.join(folder, dataset.categories[label], f"image_{number:04d}.jpg"), label)  # noqa: PTH118
        for label, number in zip(dataset.y, dataset.index, strict=True)
    ]


def _of_arrays(dataset: Any) -> list[tuple[Any, int]]:
    pictures, labels = dataset.data.numpy(), dataset.targets.tolist()
    if len(pictures) != len(labels):
        raise ValueError(f"it has {len(pictures)} images and {len(labels)} labels")
    return list(zip(pictures, labels, strict=True))


_READ_NOTHING: Final = {"loader": str}
_TRAIN_VAL: Final = ({"split": "train"}, {"split": "val"})
_TRAIN_TEST: Final = (({"train": True},), {"train": False})
_TEST: Final = {"split": "test"}

#: What is trained on and held out is as the transfer results of the field have it: all that is not the test split.
_SOURCES: Final = {
    "mnist": _Source("MNIST", *_TRAIN_TEST),
    "fashion_mnist": _Source("FashionMNIST", *_TRAIN_TEST),
    "flowers102": _Source("Flowers102", _TRAIN_VAL, _TEST, _by_loader, _READ_NOTHING),
    "food101": _Source("Food101", ({"split": "train"},), _TEST, _by_loader, _READ_NOTHING),
    "oxford_pets": _Source("OxfordIIITPet", ({"split": "trainval"},), _TEST, _of_pets),
    "dtd": _Source("DTD", _TRAIN_VAL, _TEST, _by_loader, _READ_NOTHING),  # the first of its ten partitions
    "fgvc_aircraft": _Source("FGVCAircraft", ({"split": "trainval"},), _TEST, _by_loader, _READ_NOTHING),
    "sun397": _Source("SUN397", files=_by_loader, options=_READ_NOTHING),
    "caltech101": _Source("Caltech101", files=_of_caltech),
    "eurosat": _Source("EuroSAT", files=_by_loader, options=_READ_NOTHING),
}

#: How many images there are of those sets that list what lies on the disk, and no more.
_NUM_IMAGES: Final = {"sun397": 108_754, "caltech101": 8_677, "eurosat": 27_000}

#: Those that have one part only.
WITHOUT_SPLIT: Final = frozenset(name for name, source in _SOURCES.items() if source.val is None)


class TorchvisionSet(ImageSet):
    """A public data set.

    Args:
        name: Of the data set: `flowers102`, …
        root: Folder in which its own folder is.
        split: `train`, `val`, or `all` for a set of `WITHOUT_SPLIT`.
        download: Fetch it if it is not there.

    Raises:
        DatasetError: It is not there or not whole, cannot be downloaded, or has labels of no class.
    """

    def __init__(self, name: str, root: str | Path, split: str, download: bool = False) -> None:
        source = _SOURCES[name]
        self._name, self._root, self._split = name, Path(root), split
        self.labels: list[int] = []
        self._pictures: list[Any] = []
        for arguments in source.train if split != "val" or source.val is None else (source.val,):
            dataset, samples = self._opened(source, arguments, download)
            if source.val is None:
                samples.sort()  # one of them is in whatever order a disk has its files
            self._pictures += [picture for picture, _ in samples]
            self.labels += [label for _, label in samples]
            self.classes = tuple(dataset.categories if name == "caltech101" else dataset.classes)
        self._are_files = source.files is not None
        self._refuse_incomplete()
        self._refuse_odd_labels()

    def load(self, index: int, mode: Mode) -> Image.Image:
        """Return picture `index` in `mode`."""
        picture = self._pictures[index]
        return decode(picture, mode) if self._are_files else from_pil(Image.fromarray(picture), mode)

    def name(self, index: int) -> str:
        """Return the path of picture `index`, or, where it is no file, "mnist train NUMBER"."""
        return str(self._pictures[index]) if self._are_files else f"{self._name} {self._split} {index}"

    def key(self, index: int) -> str:
        """Return the name of picture `index`, a path below `root` where it is a file."""
        name = self.name(index)
        return os.path.relpath(name, self._root).replace(os.sep, "/") if self._are_files else name

    def _opened(self, source: _Source, arguments: Mapping[str, Any], download: bool) -> tuple[Any, list[Any]]:
        """Return torchvision's data set, and its pictures or their paths with labels."""
        from torchvision import datasets

        cls = getattr(datasets, source.cls)
        if source.files is None:
            # An old torchvision left processed/*.pt, which it would read instead of the files that have an MD5. (The
            # name of the class is that of the folder.)
            cls = type(source.cls, (cls,), {"_check_legacy_exist": lambda _: False})
        try:
            dataset = cls(str(self._root), download=download, **arguments, **source.options)
            return dataset, (source.files or _of_arrays)(dataset)
        except Exception as error:  # whatever it stumbles over in files that are not whole
            reason = " ".join(str(error).split()) or type(error).__name__
            if not download and "download=True" in reason:
                raise DatasetError(
                    f"{self._name} is not in {str(self._root)!r} (looked for {self._root.absolute()}), or not whole; "
                    "set data.download=True, or data.root to the folder that torchvision downloaded to"
                ) from None
            raise DatasetError(
                f"{self._name} in {str(self._root)!r} cannot be {'downloaded or read' if download else 'read'}: "
                f"{reason.rstrip('.')}; what is half there is best removed"
            ) from error

    def _refuse_incomplete(self) -> None:
        """An interrupted extraction leaves folders that torchvision takes for the whole set."""
        count, missing = first_missing(self._pictures) if self._are_files else (0, None)
        if missing is not None or not self.labels:
            raise DatasetError(
                f"{count or 'all'} of the images of {self._name} are not in {str(self._root)!r}"
                f"{f', {missing} for one' if missing else ''}; remove what is there and set data.download=True"
            )
        whole = _NUM_IMAGES.get(self._name, 0)
        if len(self.labels) < whole:
            raise DatasetError(
                f"{self._name} in {str(self._root)!r} has {len(self.labels)} images; expected {whole}, so unpacking "
                "was interrupted: remove what is there and set data.download=True"
            )

    def _refuse_odd_labels(self) -> None:
        odd = next((label for label in self.labels if not 0 <= label < len(self.classes)), None)
        if odd is not None:
            raise DatasetError(
                f"{self._name} in {str(self._root)!r} has the label {odd} and {len(self.classes)} classes; remove it "
                "and set data.download=True"
            )
