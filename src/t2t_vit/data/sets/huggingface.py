"""Images of Hugging Face's `datasets`: on a disk, or of the hub."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from PIL import Image

from t2t_vit.data.decode import Mode, decode
from t2t_vit.data.sets.encoded import decode_named
from t2t_vit.data.sets.image_set import ImageSet
from t2t_vit.data.sets.labels import LabelNumbers, classes_of
from t2t_vit.errors import DatasetError, ImageError, nearest

#: What `save_to_disk` leaves in a folder: of several splits, of one.
_SAVED_SPLITS: Final = "dataset_dict.json"
_SAVED_SPLIT: Final = "state.json"
_STREAMED_SHARDS: Final = 64


class HuggingFaceSet(ImageSet):
    """A split of a data set with an image in each row.

    Args:
        source: A folder (of `save_to_disk`, or with Parquet or Arrow files), or a name on the hub.
        split: Its split.
        config_name: Its configuration, where it has several.
        image_column: Column of images; None: the only one.
        label_column: Column of labels; None: the only one with names of classes, or the one called ``label``.
        num_classes: Classes of the model, None if it takes what there is.
        known: The classes, where they are settled already.

    Raises:
        DatasetError: `datasets` is not installed, or the set, split or a column is missing.
    """

    def __init__(
        self,
        source: str,
        split: str,
        *,
        config_name: str | None = None,
        image_column: str | None = None,
        label_column: str | None = None,
        num_classes: int | None = None,
        known: Sequence[str] | None = None,
    ) -> None:
        rows = open_rows(source, split, config_name, streaming=False)
        self._split = split
        self._source = source
        columns = Columns(rows, f"{source} ({split})", image_column, label_column)
        self._image = columns.image
        self._rows = columns.undecoded(rows)
        written = [columns.label_of(value, self.name(index)) for index, value in enumerate(self._rows[columns.label])]
        if known is None:
            known = columns.classes or classes_of(written, num_classes, self.name, f"{source} ({split})")
        self.classes = tuple(known)
        numbers = columns.numbers(self.classes)
        self.labels = [numbers.of(label, self.name(index)) for index, label in enumerate(written)]

    def load(self, index: int, mode: Mode) -> Image.Image:
        """Return picture `index` in `mode`."""
        return picture_in(self._rows[int(index)][self._image], mode, self.name(index))

    def name(self, index: int) -> str:
        """Return "SOURCE SPLIT row INDEX"."""
        return f"{self._source} {self.key(index)}"

    def key(self, index: int) -> str:
        """Return "SPLIT row INDEX"."""
        return f"{self._split} row {index}"


class Columns:
    """Which columns of a data set have the images and the labels.

    Attributes:
        image: Column of images.
        label: Column of labels.
        classes: Names of the classes that the data set knows, or None.

    Args:
        rows: The data set.
        source: Where it is from, for messages.
        image: Column of images; None: the only one.
        label: Column of labels; None: the only one with names of classes, or the one called ``label``.

    Raises:
        DatasetError: There is no such column, or several, or one for both.
    """

    def __init__(self, rows: Any, source: str, image: str | None, label: str | None) -> None:
        import datasets

        features = dict(rows.features or {})
        self.image = _column(features, image, datasets.Image, "image", source)
        self.label = _column(features, label, datasets.ClassLabel, "label", source)
        if self.image == self.label:
            raise DatasetError(
                f"{source}: the column {self.image!r} is to have the images and the labels; name one for each in "
                "data.image_column and data.label_column"
            )
        kind = features[self.label]
        self.classes = tuple(kind.names) if isinstance(kind, datasets.ClassLabel) and kind.names else None

    def undecoded(self, rows: Any) -> Any:
        """Return `rows` with image files as bytes, so that they are decoded as all others are, and nothing else."""
        import datasets

        return rows.select_columns([self.image, self.label]).cast_column(self.image, datasets.Image(decode=False))

    def label_of(self, value: Any, where: str) -> int | str:
        """Return the label in a row: a name where the data set has names, for it may have another order.

        Raises:
            DatasetError: There is none.
        """
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise DatasetError(f"{where}: {self.label!r} is {value!r}; expected the number or the name of a class")
        if self.classes is None or isinstance(value, str):
            return value
        if not 0 <= value < len(self.classes):
            raise DatasetError(
                f"{where}: {self.label!r} is {value}; expected 0 to {len(self.classes) - 1} (-1 stands for a label "
                "that is not published: take a split with labels)"
            )
        return value if len(set(self.classes)) < len(self.classes) else self.classes[value]

    def numbers(self, classes: Sequence[str]) -> LabelNumbers:
        """Return what gives the number in `classes` of what `label_of` returns.

        Raises:
            DatasetError: Names that stand for several classes cannot be found in others.
        """
        if self.classes is not None and len(set(self.classes)) < len(self.classes) and self.classes != tuple(classes):
            raise DatasetError(
                "several classes of the data set have the same name, so they cannot be told from other names; leave "
                "out data.classes_file, and train and validate with the same classes"
            )
        return LabelNumbers(classes)


def open_rows(source: str, split: str, config_name: str | None, *, streaming: bool) -> Any:
    """Return a split of a data set, as `datasets` has it. Code that lies beside data is never run.

    Raises:
        DatasetError: `datasets` is not installed, or there is no such set or split.
    """
    try:
        import datasets
    except ImportError:
        raise DatasetError("data.dataset='huggingface' needs datasets; pip install 't2t-vit[datasets]'") from None
    folder = Path(source)
    try:
        if (folder / _SAVED_SPLITS).is_file() or (folder / _SAVED_SPLIT).is_file():
            rows = _saved_split(datasets.load_from_disk(str(folder)), split)
            return rows.to_iterable_dataset(num_shards=_shards(rows)) if streaming else rows
        return datasets.load_dataset(source, config_name, split=split, streaming=streaming)
    except Exception as error:  # theirs, fsspec's, pyarrow's and of the network
        reason = (" ".join(str(error).split()) or type(error).__name__).rstrip(".")
        advice = (
            "name another in data.train and data.val"
            if "split" in reason.lower()
            else f"data.root is a folder (looked for {folder.absolute()}) or a name on the hub; several configurations "
            "are told apart by data.config_name"
        )
        raise DatasetError(f"cannot open {source!r}: {reason}; {advice}") from error


def picture_in(value: Any, mode: Mode, name: str) -> Image.Image:
    """Return the picture in a row's undecoded image.

    Raises:
        ImageError: There is none, or it is corrupt.
    """
    data, path = (value or {}).get("bytes"), (value or {}).get("path")
    if data is not None:
        return decode_named(data, mode, name)
    if path is not None:  # images in files beside the table
        return decode(path, mode)
    raise ImageError(f"{name} has no image")


def _saved_split(saved: Any, split: str) -> Any:
    """Return a split of what `save_to_disk` left, which is one of them or all.

    One that does not say which it is stands for the training images, so that nobody validates on those unawares.
    """
    splits = saved if isinstance(saved, dict) else {str(saved.split or "train"): saved}
    if split not in splits:
        raise ValueError(f"Unknown split {split!r}. Should be one of {list(splits)}")
    return splits[split]


def _shards(rows: Any) -> int:
    """Return into how many pieces a saved split is cut for a stream: its files do not show, so it is a fixed number."""
    return max(1, min(_STREAMED_SHARDS, len(rows)))


def _column(features: dict[str, Any], wanted: str | None, kind: type, what: str, source: str) -> str:
    if wanted is not None:
        if wanted in features:
            return wanted
        raise DatasetError(
            f"{source} has no column {wanted!r}, but {', '.join(map(repr, features))}.{nearest(wanted, features)}"
        )
    found = [name for name, feature in features.items() if isinstance(feature, kind)]
    if len(found) != 1 and what in features:
        return what
    if len(found) != 1:
        known = ", ".join(map(repr, features)) or "none that are known"
        raise DatasetError(
            f"{source} has {len(found)} columns of {what}s among {known}; name one in data.{what}_column"
        )
    return found[0]
