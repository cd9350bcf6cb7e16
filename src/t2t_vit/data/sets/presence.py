"""Whether the files of a list are there."""

from __future__ import annotations

import os
from collections.abc import Iterable


def first_missing(paths: Iterable[str]) -> tuple[int, str | None]:
    """Return how many of `paths` are not there, and the first of them.

    Each folder is listed once instead of asking for each file: a million files in a thousand folders take seconds on a
    disk, and on a network folder not much more. So a file in a folder that cannot be listed counts as missing.
    """
    listed: dict[str, set[str]] = {}
    count, first = 0, None
    for path in paths:
        folder, name = os.path.split(path)
        if folder not in listed:
            try:
                listed[folder] = set(os.listdir(folder or "."))  # noqa: PTH208 -- five times as fast as Path.iterdir
            except OSError:
                listed[folder] = set()
        if name not in listed[folder]:
            count += 1
            first = first if first is not None else path
    return count, first
