"""Images that come one after the other, from shards that are too many or too far for random access.

The sequence of a part is a function of seed, epoch, part and number of parts: the shards are shuffled by (seed, epoch)
and dealt out to the parts, and a buffer of pictures is shuffled by (seed, epoch, part).
"""

from __future__ import annotations

import tarfile
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from http.client import HTTPException
from itertools import islice
from typing import Any, Final, TypeVar

import numpy as np
from PIL import Image

from t2t_vit.data.decode import Mode
from t2t_vit.data.sets.encoded import decode_named
from t2t_vit.data.sets.huggingface import Columns, open_rows, picture_in
from t2t_vit.data.sets.labels import LabelNumbers, TextLabel
from t2t_vit.data.sets.tar_shards import LABELS, is_image, is_remote, members_of, opened, read_label, shards_of
from t2t_vit.errors import DatasetError

_TIMEOUT_SECONDS: Final = 60
_MAX_IMAGE_BYTES: Final = 1024**3
#: Keep the draws of shards and of the buffer apart from others of the same seed and epoch.
_SHARDS, _BUFFER = 11, 12
_T = TypeVar("_T")


@dataclass(frozen=True)
class StreamedImage:
    """A picture of a stream, not decoded yet.

    Attributes:
        name: What it is called.
        label: Number of its class.
        load: Return it in a mode, upright; raises ImageError if it is corrupt.
    """

    name: str
    label: int
    load: Callable[[Mode], Image.Image]


class ImageStream(ABC):
    """Pictures with labels that are read in sequence.

    Attributes:
        classes: Names of the K classes.
        num_images: How many there are, or None where nobody knows.
        num_shards: Into how many pieces they can be shared out.
        shuffle_buffer: From how many pictures the next one is drawn; they lie encoded in memory.
    """

    classes: tuple[str, ...]
    num_images: int | None
    num_shards: int
    shuffle_buffer: int

    @abstractmethod
    def read(self, shard: int) -> Iterator[StreamedImage]:
        """Yield the pictures of a shard in their order, undecoded.

        Raises:
            DatasetError: The shard cannot be read.
        """

    def samples(
        self, seed: int, epoch: int, part: int = 0, num_parts: int = 1, skip: int = 0
    ) -> Iterator[StreamedImage]:
        """Yield the pictures of a part of an epoch, from number `skip` on; equal arguments give equal sequences.

        Each picture is in one part of the `num_parts`. What is skipped is read, but not decoded.

        Raises:
            DatasetError: There are fewer shards than parts, or a shard cannot be read.
        """
        if num_parts > self.num_shards:
            raise DatasetError(
                f"{self.num_shards} shards cannot be shared by {num_parts} loading processes; write more shards, or "
                "lower data.num_workers"
            )
        order = np.random.default_rng((seed, _SHARDS, epoch)).permutation(self.num_shards)[part::num_parts]
        pictures = (picture for shard in order for picture in self.read(int(shard)))
        draws = np.random.default_rng((seed, _BUFFER, epoch, part))
        return islice(_shuffled(pictures, self.shuffle_buffer, draws), skip, None)


class TarStream(ImageStream):
    """Tar shards, on a disk or behind http or https, compressed or not.

    Args:
        pattern: As for `TarShards`; or URLs.
        classes: Names of the classes.
        root: Folder or URL that the pattern is relative to.
        num_images: How many there are, where it is known.
        shuffle_buffer: From how many the next one is drawn.
        label_key: What the labels in ``.json`` files are called.

    Raises:
        DatasetError: A shard on a disk is missing.
    """

    def __init__(
        self,
        pattern: str,
        classes: Sequence[str],
        *,
        root: str = "",
        num_images: int | None = None,
        shuffle_buffer: int = 1000,
        label_key: str = "label",
    ) -> None:
        self.shards = shards_of(pattern, root)
        self.num_shards = len(self.shards)
        self.classes = tuple(classes)
        self.num_images = num_images
        self.shuffle_buffer = shuffle_buffer
        self._label_key = label_key
        self._numbers = LabelNumbers(self.classes)

    def read(self, shard: int) -> Iterator[StreamedImage]:
        """Yield the pictures of shard number `shard`."""
        path = self.shards[shard]
        with ExitStack() as stack:
            file = stack.enter_context(_fetched(path)) if is_remote(path) else None
            tar = stack.enter_context(opened(path, "r|*", file))
            yield from self._samples(tar, path)

    def _samples(self, tar: tarfile.TarFile, path: str) -> Iterator[StreamedImage]:
        """Yield the pictures; the files of a sample follow one another, as nothing else can be read in sequence."""
        key: str | None = None
        image: tuple[str, bytes] | None = None
        labels: dict[str, int | str | TextLabel] = {}
        for member, info in members_of(tar, path):
            if member.key != key:
                if image is not None:
                    yield self._sample(path, image, labels)
                key, image, labels = member.key, None, {}
            try:
                if is_image(member.ending):
                    if member.size > _MAX_IMAGE_BYTES:
                        raise DatasetError(f"{path}/{info.name} has {member.size} bytes; expected an image")
                    file = tar.extractfile(info)
                    data = file.read() if file is not None else b""
                    if len(data) != member.size:
                        raise DatasetError(f"the shard {path} is cut off in {info.name}; make or download it anew")
                    if image is not None:
                        raise DatasetError(f"the shard {path} has two images called {member.key}")
                    image = (f"{member.key}.{member.ending}", data)
                elif member.ending in LABELS:
                    labels[member.ending] = read_label(tar.extractfile(info), member, self._label_key, path)
            except (tarfile.TarError, OSError, EOFError, HTTPException) as error:
                raise DatasetError(f"the shard {path} is broken or cut off in {info.name}: {error}") from None
        if image is not None:
            yield self._sample(path, image, labels)

    def _sample(self, path: str, image: tuple[str, bytes], labels: dict[str, int | str | TextLabel]) -> StreamedImage:
        name, data = f"{path}/{image[0]}", image[1]
        label = next((labels[ending] for ending in LABELS if ending in labels), None)
        if label is None:
            raise DatasetError(f"{name} has no label beside it; expected a .cls, .json or .txt of the same name")
        return StreamedImage(name, self._numbers.of(label, name), lambda mode: decode_named(data, mode, name))


class HuggingFaceStream(ImageStream):
    """A split of a data set of Hugging Face's `datasets`, read in sequence.

    Args:
        source: As for `HuggingFaceSet`.
        split: Its split.
        config_name: Its configuration, where it has several.
        image_column: As for `HuggingFaceSet`.
        label_column: As for `HuggingFaceSet`.
        known: The classes, where the data set does not know them, or in an order of one's own.
        num_images: How many there are; None: what the data set says of itself.
        shuffle_buffer: From how many the next one is drawn.

    Raises:
        DatasetError: As `HuggingFaceSet` does, or nothing tells the classes.
    """

    def __init__(
        self,
        source: str,
        split: str,
        *,
        config_name: str | None = None,
        image_column: str | None = None,
        label_column: str | None = None,
        known: Sequence[str] | None = None,
        num_images: int | None = None,
        shuffle_buffer: int = 1000,
    ) -> None:
        rows = open_rows(source, split, config_name, streaming=True)
        self._columns = Columns(rows, f"{source} ({split})", image_column, label_column)
        self._rows = self._columns.undecoded(rows)
        classes = known if known is not None else self._columns.classes
        if classes is None:
            raise DatasetError(
                f"{source} ({split}) does not say which classes there are; name them in a file of data.classes_file"
            )
        self.classes = tuple(classes)
        self._numbers = self._columns.numbers(self.classes)
        self.num_shards = int(self._rows.num_shards)
        said = (rows.info.splits or {}).get(split)
        self.num_images = num_images if num_images is not None else said.num_examples if said is not None else None
        self.shuffle_buffer = shuffle_buffer
        self._name = f"{source} {split}"

    def read(self, shard: int) -> Iterator[StreamedImage]:
        """Yield the pictures of shard number `shard`."""
        for number, row in enumerate(self._rows_of(shard)):
            name = f"{self._name} shard {shard} row {number}"
            label = self._numbers.of(self._columns.label_of(row[self._columns.label], name), name)
            yield StreamedImage(name, label, _loader(row[self._columns.image], name))

    def _rows_of(self, shard: int) -> Iterator[Any]:
        try:
            yield from self._rows.shard(num_shards=self.num_shards, index=shard)
        except Exception as error:  # theirs, fsspec's, pyarrow's and of the network
            reason = (" ".join(str(error).split()) or type(error).__name__).rstrip(".")
            raise DatasetError(
                f"shard {shard} of {self._name} cannot be read: {reason}; look at the file, or download or make it anew"
            ) from error


def _loader(value: Any, name: str) -> Callable[[Mode], Image.Image]:
    return lambda mode: picture_in(value, mode, name)


def _shuffled(items: Iterator[_T], size: int, draws: np.random.Generator) -> Iterator[_T]:
    """Yield `items`, each drawn from a buffer of `size`."""
    buffer: list[_T] = []
    for item in items:
        if len(buffer) < size:
            buffer.append(item)
            continue
        drawn = int(draws.integers(size))
        buffer[drawn], item = item, buffer[drawn]  # noqa: PLW2901 -- a swap
        yield item
    for drawn in draws.permutation(len(buffer)):
        yield buffer[drawn]


def _fetched(url: str) -> Any:
    try:
        return urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS)
    except (urllib.error.URLError, OSError, ValueError, HTTPException) as error:
        raise DatasetError(f"cannot fetch the shard {url}: {getattr(error, 'reason', None) or error}") from None
