"""CIFAR-10 and CIFAR-100.

torchvision reads the archives of pickles. These here are the same pictures in the same order, in the binary archives
that their owners publish beside them: numbers that nobody has to unpickle.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from t2t_vit.data.class_names import read_class_file
from t2t_vit.data.decode import Mode, from_pil
from t2t_vit.data.sets.image_set import ImageSet
from t2t_vit.errors import DatasetError

_URL: Final = "https://www.cs.toronto.edu/~kriz/"
_PIXELS: Final = 3 * 32 * 32


class _Archive(NamedTuple):
    """An archive, its MD5 as its page has it, and what is in it.

    A record is `label_bytes` labels, the last of which counts, and the pixels (3, 32, 32).
    """

    file: str
    md5: str
    folder: str
    classes: str
    label_bytes: int
    train: tuple[str, ...]
    val: tuple[str, ...]
    pickled: str


# Source: https://www.cs.toronto.edu/~kriz/cifar.html
_ARCHIVES: Final = {
    "cifar10": _Archive(
        "cifar-10-binary.tar.gz",
        "c32a1d4ab5d03f1284b67883e8d87530",
        "cifar-10-batches-bin",
        "batches.meta.txt",
        1,
        tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
        ("test_batch.bin",),
        "cifar-10-batches-py",
    ),
    "cifar100": _Archive(
        "cifar-100-binary.tar.gz",
        "03b5dce01913d631647c71ecec9e9cb8",
        "cifar-100-binary",
        "fine_label_names.txt",
        2,
        ("train.bin",),
        ("test.bin",),
        "cifar-100-python",
    ),
}


class Cifar(ImageSet):
    """Pictures of 32×32 pixels, 50,000 to train on and 10,000 held out.

    Args:
        name: `cifar10` or `cifar100` (with its 100 fine classes).
        root: Folder in which the archive's folder is.
        split: `train` or `val` (the test batches).
        download: Fetch the archive (160 MB) if the folder is not there.

    Raises:
        DatasetError: The files are not there, or are not whole, or cannot be downloaded.
    """

    def __init__(self, name: str, root: str | Path, split: str, download: bool = False) -> None:
        archive = _ARCHIVES[name]
        folder = Path(root) / archive.folder
        if not folder.is_dir():
            if not download:
                pickled = Path(root) / archive.pickled
                hint = f" ({pickled} is the pickled version, which is not read)" if pickled.is_dir() else ""
                raise DatasetError(
                    f"no folder {folder}{hint}; set data.download=True, or unpack {_URL}{archive.file} in {root}"
                )
            _download(archive, root)
        self.classes = read_class_file(folder / archive.classes)
        records = np.concatenate([_records(folder / file, archive.label_bytes) for file in getattr(archive, split)])
        labels = records[:, archive.label_bytes - 1]
        if labels.max() >= len(self.classes):
            raise DatasetError(
                f"{folder} has the label {labels.max()} and {len(self.classes)} classes; remove it and download it anew"
            )
        self.labels = labels.tolist()
        self._pixels = records[:, archive.label_bytes :].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        self._called = f"{name} {split}"

    def load(self, index: int, mode: Mode) -> Image.Image:
        """Return picture `index` in `mode`."""
        return from_pil(Image.fromarray(np.ascontiguousarray(self._pixels[index])), mode)

    def name(self, index: int) -> str:
        """Return "cifar10 train NUMBER", the number in the order of the files."""
        return f"{self._called} {index}"


def _records(file: Path, label_bytes: int) -> NDArray[np.uint8]:
    try:
        data = np.fromfile(file, np.uint8)
    except OSError as error:
        raise DatasetError(f"{file} cannot be read: {error.strerror}; remove its folder and download it anew") from None
    size = label_bytes + _PIXELS
    if not len(data) or len(data) % size:
        raise DatasetError(
            f"{file} has {len(data)} bytes; expected records of {size} each: remove its folder and download it anew"
        )
    return data.reshape(-1, size)


def _download(archive: _Archive, root: str | Path) -> None:
    from torchvision.datasets.utils import download_and_extract_archive

    try:
        download_and_extract_archive(_URL + archive.file, str(root), md5=archive.md5)
    except (RuntimeError, OSError, EOFError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DatasetError(f"cannot download {_URL}{archive.file} to {root}: {reason}") from None
