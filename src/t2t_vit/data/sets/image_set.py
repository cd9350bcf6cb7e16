"""Pictures with labels, whatever they come from."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Final

from PIL import Image

from t2t_vit.data.decode import Mode

_HASHED_AT_ONCE: Final = 10_000


class ImageSet(ABC):
    """Pictures with labels.

    Attributes:
        classes: Names of the K classes.
        labels: Label of each picture, 0 to K - 1.
    """

    classes: tuple[str, ...]
    labels: Sequence[int]

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self.labels)

    @abstractmethod
    def load(self, index: int, mode: Mode) -> Image.Image:
        """Return picture `index` in `mode`, upright.

        Raises:
            ImageError: It is missing or corrupt.
        """

    @abstractmethod
    def name(self, index: int) -> str:
        """Return what picture `index` is called, a path where it is a file."""

    def key(self, index: int) -> str:
        """Return what tells picture `index` from the others, wherever the set lies: its name below the set's folder."""
        return self.name(index)

    def fingerprint(self) -> str:
        """Return 16 hexadecimal digits that change with the classes, the pictures' keys, labels or order.

        Pixels and the place of the set do not count: a moved folder is the same set.
        """
        digest = hashlib.blake2b(digest_size=8)
        digest.update(repr(self.classes).encode("utf-8", "surrogatepass"))
        for first in range(0, len(self), _HASHED_AT_ONCE):
            last = min(first + _HASHED_AT_ONCE, len(self))
            # A null character is in no file's name, so no two lists of pictures look alike.
            lines = "".join(f"{self.key(index)}\0{int(self.labels[index])}\0" for index in range(first, last))
            digest.update(lines.encode("utf-8", "surrogateescape"))  # names that are no UTF-8 have surrogates
        return digest.hexdigest()
