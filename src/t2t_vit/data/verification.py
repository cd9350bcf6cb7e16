"""What is wrong with a set of images before a run stumbles over it: bad files, duplicates, odd sizes and modes."""

from __future__ import annotations

import hashlib
import io
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

from PIL import Image

from t2t_vit.data.decode import SUFFIXES, decode, silent_pillow
from t2t_vit.data.sets.image_set import ImageSet
from t2t_vit.errors import DatasetError, ImageError

#: Images that are handed to the workers at a time: a million of them do not wait in memory.
_CHUNK: Final = 1024
#: What a folder below the root is called where it is a split and not a class.
_SPLITS: Final = frozenset({"train", "training", "val", "valid", "validation", "test", "testing", "dev", "eval"})
#: Shorter sides, in pixels, that show little.
TINY: Final = 16
#: Ratios of the longer to the shorter side of which a square crop leaves little.
ELONGATED: Final = 4.0
#: Modes of Pillow that need no second look: grey, colour, transparency, palettes, bits.
USUAL_MODES: Final = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA"})


class Entry(NamedTuple):
    """One image to look at.

    Attributes:
        name: What it is called, a path where it is a file.
        split: `train`, `val` and so on; empty where there are none.
        label: The class; empty where there is none.
        source: The file, or what loads a picture that is in none.
    """

    name: str
    split: str
    label: str
    source: Path | Callable[[], Image.Image]


class Seen(NamedTuple):
    """What one image turned out to be.

    Attributes:
        entry: The image.
        problem: Why it cannot be used, in one line; None where it can.
        digest: Of its content, None where that cannot be read; files that differ in a byte have different ones.
        size: Width and height as stored, None where it is bad.
        mode: Pillow's mode as stored, empty where it is bad.
    """

    entry: Entry
    problem: str | None
    digest: bytes | None
    size: tuple[int, int] | None
    mode: str


class Oddity(NamedTuple):
    """A line of the report.

    Attributes:
        kind: `bad`, `duplicate`, `leak`, `contradiction`, `tiny`, `elongated`, `mode`, `empty class` or
            `missing class`.
        split: Of the image or class.
        label: The class.
        name: The image, empty where it is about a class.
        detail: The reason, the first of the duplicates, the size, the mode.
    """

    kind: str
    split: str
    label: str
    name: str
    detail: str


@dataclass
class Findings:
    """What was found, filled image by image.

    Attributes:
        num_images: Images looked at.
        oddities: Everything to tell, images in the order in which they came.
        modes: Images of each mode.
        smallest: Size of the picture with the fewest pixels, None before the first.
        largest: Of that with the most.
    """

    num_images: int = 0
    oddities: list[Oddity] = field(default_factory=list)
    modes: Counter[str] = field(default_factory=Counter)
    smallest: tuple[int, int] | None = None
    largest: tuple[int, int] | None = None
    _first: dict[bytes, tuple[str, str, str]] = field(default_factory=dict, repr=False)
    _classes: dict[str, Counter[str]] = field(default_factory=dict, repr=False)

    def of(self, kind: str) -> list[Oddity]:
        """Return the oddities of one kind."""
        return [oddity for oddity in self.oddities if oddity.kind == kind]

    def add(self, seen: Seen) -> None:
        """Count one image."""
        entry = seen.entry
        self.num_images += 1
        self._classes.setdefault(entry.split, Counter())[entry.label] += 1
        if seen.problem is not None:
            self._note("bad", entry, seen.problem)
        if seen.size is not None:
            self._add_size(entry, seen.size)
            self.modes[seen.mode] += 1
            if seen.mode not in USUAL_MODES:
                self._note("mode", entry, seen.mode)
        if seen.digest is not None:
            self._add_content(entry, seen.digest)

    def add_empty_classes(self, classes: Iterable[tuple[str, str]]) -> None:
        """Note the classes (split, label) that have no image, and those that are not in every split."""
        empty = set(classes)
        for split, label in sorted(empty):
            self.oddities.append(Oddity("empty class", split, label, "", "no images"))
        splits = [split for split in self._classes if split]
        known = list(dict.fromkeys(label for split in splits for label in self._classes[split] if label))
        for split in splits:
            for label in known:
                others = [other for other in splits if label in self._classes[other]]
                if label not in self._classes[split] and (split, label) not in empty:
                    self.oddities.append(Oddity("missing class", split, label, "", f"only in {', '.join(others)}"))

    def _add_size(self, entry: Entry, size: tuple[int, int]) -> None:
        width, height = size
        if self.smallest is None or width * height < self.smallest[0] * self.smallest[1]:
            self.smallest = size
        if self.largest is None or width * height > self.largest[0] * self.largest[1]:
            self.largest = size
        if min(size) < TINY:
            self._note("tiny", entry, f"{width} x {height}")
        if max(size) > ELONGATED * min(size):
            self._note("elongated", entry, f"{width} x {height}")

    def _add_content(self, entry: Entry, digest: bytes) -> None:
        this = (entry.name, entry.split, entry.label)
        first = self._first.setdefault(digest, this)
        if first is this:
            return
        name, split, label = first
        self._note("leak" if split != entry.split else "duplicate", entry, name)
        if label != entry.label:
            self._note("contradiction", entry, f"{name} is {label!r}")

    def _note(self, kind: str, entry: Entry, detail: str) -> None:
        self.oddities.append(Oddity(kind, entry.split, entry.label, entry.name, detail))


def look_at(entries: Sequence[Entry], workers: int) -> Iterator[Seen]:
    """Yield what each image is, in their order; every one is decoded whole.

    Args:
        entries: The images.
        workers: How many are decoded at once.
    """
    # Pillow decodes outside the interpreter's lock, and so does hashing, so threads do.
    rest = iter(entries)
    with ThreadPoolExecutor(workers) as pool:
        while chunk := list(islice(rest, _CHUNK)):
            yield from pool.map(_look_at, chunk)


def entries_of(images: ImageSet, split: str) -> list[Entry]:
    """Return the images of a set; those that are files are read as such."""

    def source(index: int) -> Path | Callable[[], Image.Image]:
        path = Path(images.name(index))
        return path if path.is_file() else lambda: images.load(index, "RGB")

    return [Entry(images.name(i), split, images.classes[label], source(i)) for i, label in enumerate(images.labels)]


def entries_below(folder: Path) -> tuple[list[Entry], list[tuple[str, str]]]:
    """Return the image files in `folder` and below it, hidden ones left out, and the classes that have none.

    ``folder/train/CLASS/…`` has splits, by their usual names; else ``folder/CLASS/…`` is one set.

    Returns:
        The images, and (split, label) of each class folder without one.

    Raises:
        DatasetError: There are no images.
    """
    splits = {name for name in _folders(folder) if name.lower() in _SPLITS and _folders(folder / name)}
    entries: list[Entry] = []
    for path in sorted(_files_below(str(folder))):
        parts = path.relative_to(folder).parts
        if path.suffix.lower() in SUFFIXES and not any(p.startswith(".") for p in parts):
            split, *below = parts if parts[0] in splits else ("", *parts)
            entries.append(Entry(str(path), split, below[0] if len(below) > 1 else "", path))
    if not entries:
        raise DatasetError(f"no images in {str(folder)!r}; looked for {' '.join(SUFFIXES)} in it and below")
    filled = {(entry.split, entry.label) for entry in entries}
    classes = [(split, name) for split in sorted(splits) for name in _folders(folder / split)]
    if not splits:
        classes = [("", name) for name in _folders(folder)]
    return entries, [known for known in classes if known not in filled]


def _files_below(folder: str, above: tuple[str, ...] = ()) -> Iterator[Path]:
    """Yield the files in `folder` and below it, in linked folders too, as training reads those.

    A link back to one of the folders `above` leads round and round, so it is not followed.
    """
    here = os.path.realpath(folder)
    if here in above:
        return
    _, folders, files = next(os.walk(folder), (folder, [], []))
    for name in files:
        yield Path(folder, name)
    for name in folders:
        yield from _files_below(os.path.join(folder, name), (*above, here))  # noqa: PTH118 -- of strings


def _folders(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        raise DatasetError(f"cannot read the folder {str(folder)!r}: {error.strerror}") from None


def _look_at(entry: Entry) -> Seen:
    digest: bytes | None = None
    try:
        if isinstance(entry.source, Path):
            decode(entry.source)
            content = entry.source.read_bytes()  # the second reading comes from the system's cache
            digest = _digest(content)
            with silent_pillow(), Image.open(io.BytesIO(content)) as image:
                return Seen(entry, None, digest, image.size, image.mode)
        picture = entry.source()
        return Seen(entry, None, _digest(picture.tobytes()), picture.size, picture.mode)
    except (ImageError, OSError) as error:
        return Seen(entry, " ".join(str(error).split()), digest, None, "")


def _digest(content: bytes) -> bytes:
    # 128 bits: by chance, two of a billion images have the same with a probability of 1e-21.
    return hashlib.blake2b(content, digest_size=16).digest()
