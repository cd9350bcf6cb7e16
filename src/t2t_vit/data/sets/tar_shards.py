"""Images in tar files, as WebDataset has them.

A sample is the files of one name up to its first dot: ``0001.jpg`` and ``0001.cls``. The image is the file with an
image's suffix. Its label is, of those that are there, the first: ``.cls``, ``.json`` (an object with a label in it),
``.txt``; a label is the number of a class or its name. Nothing is extracted, so no name in a shard leads anywhere.
"""

from __future__ import annotations

import json
import math
import os
import re
import tarfile
from collections.abc import Iterator, Sequence
from glob import glob, has_magic
from http.client import HTTPException
from itertools import product
from pathlib import Path
from typing import IO, Any, Final, NamedTuple, Self

import numpy as np
from PIL import Image

from t2t_vit.data.class_names import imagenet_classes
from t2t_vit.data.decode import SUFFIXES, Mode
from t2t_vit.data.sets.encoded import decode_named
from t2t_vit.data.sets.image_set import ImageSet
from t2t_vit.data.sets.labels import LabelNumbers, TextLabel, are_wnids, classes_of
from t2t_vit.errors import DatasetError, ImageError

LABELS: Final = ("cls", "json", "txt")
_MAX_LABEL_BYTES: Final = 1024**2
_MAX_HEADER_BYTES: Final = 1024**2
#: Headers that say something of the one after them, such as a long name.
_LONG_HEADERS: Final = (
    tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK,
)  # fmt: skip
_MAX_SHARDS: Final = 1_000_000
_BRACES: Final = re.compile(r"\{([^{}]*)\}")
_RANGE: Final = re.compile(r"(\d+)\.\.(\d+)")


class Member(NamedTuple):
    """A file in a shard: its name, in two at the first dot, and where its bytes are."""

    key: str
    ending: str
    offset: int
    size: int


class _Header(tarfile.TarInfo):
    """A header that is damaged, cut off or missing is an error: `tarfile` takes each for the end of the shard."""

    @classmethod
    def fromtarfile(cls, tar: tarfile.TarFile) -> Self:
        """Return the next header.

        Raises:
            ReadError: There is neither a header nor the mark of the end.
        """
        try:
            return super().fromtarfile(tar)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # the mark of the end
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(str(error)) from None

    def _proc_member(self, tar: tarfile.TarFile) -> Any:
        # Such headers are read whole, of whatever size they say they are: a compressed stream can say gigabytes.
        if self.type in _LONG_HEADERS and self.size > _MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {self.size} bytes, more than {_MAX_HEADER_BYTES}")
        return super()._proc_member(tar)  # type: ignore[misc]


class TarShards(ImageSet):
    """The images of uncompressed tar files on a disk; their headers are read once, then any image at any time.

    Args:
        pattern: Path of the shards: ``train-{000..012}.tar``, or with ``*``.
        root: Folder that it is relative to.
        classes: `imagenet`: the classes are ImageNet's, labels may be WordNet ids. `auto`: so if `num_classes` is 1000
            or None and every label is such an id. `folders`: they are what the labels say.
        num_classes: Classes of the model, None if it takes what there is.
        known: The classes, where they are settled already.
        label_key: What the labels in ``.json`` files are called.

    Raises:
        DatasetError: A shard is missing, broken, compressed or holds links, or a sample has no label.
    """

    def __init__(
        self,
        pattern: str,
        *,
        root: str = "",
        classes: str = "auto",
        num_classes: int | None = None,
        known: Sequence[str] | None = None,
        label_key: str = "label",
    ) -> None:
        self._shards = shards_of(pattern, root)
        urls = [shard for shard in self._shards if is_remote(shard)]
        if urls:
            raise DatasetError(
                f"{urls[0]} is not on a disk, so its images cannot be read in any order; download it, or set "
                "data.streaming=True to train on it"
            )
        self._keys: list[str] = []
        written: list[int | str | TextLabel] = []
        places: list[tuple[int, int, int]] = []
        for number, shard in enumerate(self._shards):
            for key, image, label in _indexed(shard, label_key):
                self._keys.append(f"{key}.{image.ending}")
                places.append((number, image.offset, image.size))
                written.append(label)
        self._places = np.array(places, dtype=np.int64).reshape(-1, 3)

        def where(index: int) -> str:
            return self.name(index)

        plain = [label.plain() if isinstance(label, TextLabel) else label for label in written]
        if classes == "imagenet" or (known is None and classes == "auto" and plain and are_wnids(plain, num_classes)):
            known = imagenet_classes()
        numbers = LabelNumbers(classes_of(plain, num_classes, where, pattern) if known is None else known)
        self.classes = numbers.classes
        self.labels = [numbers.of(label, where(index)) for index, label in enumerate(written)]

    def load(self, index: int, mode: Mode) -> Image.Image:
        """Return picture `index` in `mode`."""
        shard, offset, size = map(int, self._places[index])
        try:
            # Opened each time, in 30 µs, as processes that share an open file share its position.
            with Path(self._shards[shard]).open("rb") as file:
                file.seek(offset)
                data = file.read(size)
        except OSError as error:
            raise ImageError(f"{self.name(index)} cannot be read: {error.strerror}") from None
        return decode_named(data, mode, self.name(index))

    def name(self, index: int) -> str:
        """Return "SHARD/MEMBER" of picture `index`."""
        return f"{self._shards[self._places[index, 0]]}/{self._keys[index]}"

    def key(self, index: int) -> str:
        """Return "SHARD/MEMBER" of picture `index`, without the shard's folder."""
        return f"{os.path.basename(self._shards[self._places[index, 0]])}/{self._keys[index]}"  # noqa: PTH119 -- a URL, too


def shards_of(pattern: str, root: str = "") -> list[str]:
    """Return the paths or URLs that `pattern` stands for.

    ``{000..012}`` and ``{a,b}`` are in the order of the pattern, what ``*`` stands for is sorted.

    Args:
        pattern: Relative to `root`, or absolute.
        root: A folder or a URL.

    Raises:
        DatasetError: There is none, or one of the numbered is missing.
    """
    pieces = _BRACES.split(pattern)
    choices = [_choices(piece, pattern) if number % 2 else [piece] for number, piece in enumerate(pieces)]
    count = math.prod(map(len, choices))
    if count > _MAX_SHARDS:
        raise DatasetError(f"the pattern {pattern!r} stands for {count} shards; expected {_MAX_SHARDS} at most")
    shards: list[str] = []
    for name in map("".join, product(*choices)):
        if is_remote(name) or is_remote(root):
            shards.append(name if is_remote(name) else f"{root.rstrip('/')}/{name}")
        else:
            names = sorted(glob(name, root_dir=root or None)) if has_magic(name) else [name]  # noqa: PTH207 -- of strings
            shards += [os.path.join(root, name) for name in names]  # noqa: PTH118 -- as above
    missing = [shard for shard in shards if not is_remote(shard) and not Path(shard).is_file()]
    if missing or not shards:
        here = (
            f"{len(missing)} of {len(shards)} shards are missing, {missing[0]} for one" if missing else "no tar files"
        )
        raise DatasetError(
            f"{here} at {pattern!r} in {root or '.'!r}; expected tar files, named as in train-{{000..012}}.tar or "
            "train-*.tar, in data.root"
        )
    return shards


def is_remote(shard: str) -> bool:
    """Whether a shard is behind a URL."""
    return shard.startswith(("http://", "https://"))


def members_of(tar: tarfile.TarFile, shard: str) -> Iterator[tuple[Member, tarfile.TarInfo]]:
    """Yield the files in a shard, in order, as they are read.

    Raises:
        DatasetError: The shard is broken or cut off, or holds links or files with holes.
    """
    end = -1
    while True:
        try:
            info = tar.next()
        except (tarfile.TarError, EOFError, OSError, ValueError, OverflowError, HTTPException) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise DatasetError(f"the shard {shard} is broken or cut off: {reason}; make or download it anew") from None
        if info is None:
            return
        tar.members = []  # type: ignore[attr-defined]  # it keeps every header; a stream of them has no end
        if info.isdir():
            continue
        if not info.isreg() or info.issparse():
            raise DatasetError(
                f"the shard {shard} holds {info.name!r}, which is no plain file; pack the files themselves"
            )
        if info.size < 0 or info.offset_data <= end:
            raise DatasetError(f"the shard {shard} is broken: {info.name!r} has {info.size} bytes; make it anew")
        end = info.offset_data
        folder, _, name = info.name.rpartition("/")
        if name.startswith("."):  # what macOS leaves: ._0001.jpg
            continue
        stem, _, ending = name.partition(".")
        yield Member(f"{folder}/{stem}" if folder else stem, ending.lower(), info.offset_data, info.size), info


def is_image(ending: str) -> bool:
    """Whether a member with what is after the first dot of its name is an image."""
    return f".{ending}".endswith(SUFFIXES)


def label_in(data: bytes, ending: str, label_key: str, where: str) -> int | str | TextLabel:
    """Return the label in the bytes of a member.

    Raises:
        DatasetError: There is none; `where` says where it was looked for.
    """
    try:
        text = data.decode("utf-8-sig").strip()
        if ending != "json":
            if not text:
                raise DatasetError(f"{where} is empty; expected the number or the name of a class")
            return TextLabel(text)
        entry = json.loads(text)
    except (ValueError, RecursionError) as error:
        if isinstance(error, DatasetError):
            raise
        raise DatasetError(f"{where} is no {'JSON' if ending == 'json' else 'UTF-8 text'}; expected a label") from None
    label = entry.get(label_key) if isinstance(entry, dict) else None
    if isinstance(label, float):
        raise DatasetError(f"{where}: the label is {label}; expected the number (0, 1, …) or the name of a class")
    if isinstance(label, bool) or not isinstance(label, int | str):
        known = ", ".join(map(repr, entry)) if isinstance(entry, dict) else "no object"
        raise DatasetError(f"{where}: no label is called {label_key!r}, there is {known}; name it in data.label_column")
    return label


def read_label(file: IO[bytes] | None, member: Member, label_key: str, shard: str) -> int | str | TextLabel:
    """Return the label in a member that is one.

    Raises:
        DatasetError: There is none, or the shard ends before it does.
    """
    where = f"{shard}/{member.key}.{member.ending}"
    data = file.read(member.size) if file is not None and member.size <= _MAX_LABEL_BYTES else b""
    if len(data) != member.size:
        raise DatasetError(f"{where} has {member.size} bytes; expected a label")
    return label_in(data, member.ending, label_key, where)


def _indexed(shard: str, label_key: str) -> Iterator[tuple[str, Member, int | str | TextLabel]]:
    """Yield key, image and label of each sample in a shard on a disk."""
    images: dict[str, Member] = {}
    labels: dict[str, Member] = {}
    with opened(shard, "r:") as tar, Path(shard).open("rb") as file:
        for member, _ in members_of(tar, shard):
            kind = images if is_image(member.ending) else labels if member.ending in LABELS else None
            if kind is None:
                continue
            other = kind.get(member.key)
            if other is not None and (kind is images or other.ending == member.ending):
                raise DatasetError(f"the shard {shard} has {member.key}.{member.ending} and {other.key}.{other.ending}")
            if other is None or LABELS.index(member.ending) < LABELS.index(other.ending):
                kind[member.key] = member
        for key, image in images.items():
            if key not in labels:
                raise DatasetError(
                    f"{shard}/{key}.{image.ending} has no label; expected {key}.cls, .json or .txt with it"
                )
            file.seek(labels[key].offset)
            yield key, image, read_label(file, labels[key], label_key, shard)


def opened(shard: str, mode: str, fileobj: IO[bytes] | None = None) -> tarfile.TarFile:
    """Return a shard, open.

    Raises:
        DatasetError: It is no tar file, or a compressed one where that is of no use.
    """
    try:
        return tarfile.open(shard if fileobj is None else None, mode, fileobj, tarinfo=_Header)  # type: ignore[call-overload, no-any-return]
    except (tarfile.TarError, EOFError, OSError, HTTPException) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DatasetError(
            f"the shard {shard} is no tar file ({reason}); a compressed one has to be unpacked (gzip -d), or streamed "
            "(data.streaming=True)"
        ) from None


def _choices(braces: str, pattern: str) -> list[str]:
    """Return what stands for ``{braces}``."""
    numbers = _RANGE.fullmatch(braces)
    if numbers is None:
        return braces.split(",")
    first, last = numbers.groups()
    if int(last) < int(first) or int(last) - int(first) >= _MAX_SHARDS:
        raise DatasetError(f"the pattern {pattern!r} has {{{braces}}}; expected the smaller number first: {{000..012}}")
    return [str(number).zfill(len(first)) for number in range(int(first), int(last) + 1)]
