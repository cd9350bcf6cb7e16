"""The names of the classes that a model tells apart."""

from __future__ import annotations

import os
from functools import cache
from importlib.resources import files
from pathlib import Path

from t2t_vit.errors import DatasetError


def imagenet_classes() -> tuple[str, ...]:
    """Return the names of the 1000 ImageNet-1k classes, in the order of the models' outputs.

    Each is the list of a WordNet synset's lemmas, such as "tench, Tinca tinca". Two classes are called
    "crane", 134 the bird and 517 the machine: tell classes apart by number or by WordNet id, not by name.

    Source: MMPretrain 1.2.0 `datasets/categories.py`, whose spelling `pred_class` has.
    """
    return tuple(name for _, name in _imagenet())


def imagenet_wnids() -> tuple[str, ...]:
    """Return the WordNet ids of the 1000 ImageNet-1k classes, such as "n01440764", in the order of the names.

    They name the folders of the data set, and sorted they are in the order of the models' outputs.
    """
    return tuple(wnid for wnid, _ in _imagenet())


def read_class_file(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Return the class names in a text file: UTF-8, one a line, in the order of the model's outputs.

    Space around a name and empty lines at the end do not count.

    Raises:
        DatasetError: The file cannot be read, is not UTF-8 text, is empty or has an empty line in between.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")  # Windows editors begin a file with a byte order mark
    except FileNotFoundError:
        raise DatasetError(f"There is no file of class names {path}.") from None
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8.") from None
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}.") from error
    names = [line.strip() for line in text.rstrip().split("\n")]
    if names == [""]:
        raise DatasetError(f"{path} is empty; expected one class name a line.")
    if "" in names:
        raise DatasetError(f"{path} is empty on line {names.index('') + 1}; expected one class name a line.")
    return tuple(names)


@cache
def _imagenet() -> tuple[tuple[str, str], ...]:
    """Return (WordNet id, name) of each class."""
    table = files("t2t_vit.data").joinpath("imagenet_classes.tsv").read_text(encoding="utf-8")
    return tuple((wnid, name) for wnid, name in (line.split("\t") for line in table.splitlines()))
