"""Every error that this package raises on purpose.

    T2TViTError
    ├── ConfigError (ValueError)               a setting: unknown, of the wrong type or out of range
    ├── UnknownModelError (LookupError)        a model name that nobody knows
    ├── DeviceError (ValueError)               a device that is not there
    ├── ImageError (ValueError)                an image that cannot be decoded or is of no known kind
    │   └── ImageNotFoundError (FileNotFoundError)
    ├── DatasetError (ValueError)              a data set that is missing, empty or laid out otherwise
    ├── LoadingError (RuntimeError)            a process that loads images was killed
    ├── WeightsError
    │   ├── DownloadError (OSError)            a file that could not be had
    │   ├── HashMismatchError (ValueError)     a file whose SHA-256 is not the published one
    │   ├── CheckpointError (ValueError)       a file of no weights, those of something else, or not finite
    │   └── UnsafeCheckpointError (ValueError) a file that would have to run code to be read
    ├── WriteError (OSError)                   a file that cannot be written
    └── TrainingError (RuntimeError)           a run that cannot begin or go on

Each message is one line: what arrived, what was expected, what to do. Commands print it and end with status 1.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class T2TViTError(Exception):
    """Base of all errors raised on purpose by this package."""


class ConfigError(T2TViTError, ValueError):
    """A setting is unknown, of the wrong type or out of range."""


class UnknownModelError(T2TViTError, LookupError):
    """No model, config or file of this name is known."""


class DeviceError(T2TViTError, ValueError):
    """The device asked for is not on this machine."""


class ImageError(T2TViTError, ValueError):
    """An image is corrupt, too large, or of a kind that cannot be read."""


class ImageNotFoundError(ImageError, FileNotFoundError):
    """There is no image file at this path."""


class DatasetError(T2TViTError, ValueError):
    """A data set is missing, empty, or laid out in another way."""


class LoadingError(T2TViTError, RuntimeError):
    """A process that loads images was killed."""


class WeightsError(T2TViTError):
    """Base of what can go wrong between a URL and a state dict."""


class DownloadError(WeightsError, OSError):
    """A file could not be downloaded."""


class HashMismatchError(WeightsError, ValueError):
    """A file's SHA-256 is not the published one."""


class CheckpointError(WeightsError, ValueError):
    """A file holds no weights, weights of another architecture, or such as give scores that are not finite."""


class UnsafeCheckpointError(CheckpointError):
    """Reading this file would mean running code from it."""


class WriteError(T2TViTError, OSError):
    """A file cannot be written; `filename` is what it would have been called, `strerror` says why not."""

    def __str__(self) -> str:
        return f"cannot write to {self.filename}: {self.strerror}"


class TrainingError(T2TViTError, RuntimeError):
    """A training run cannot begin or go on."""


def nearest(word: str, known: Iterable[str], count: int = 3) -> str:
    """Return a hint that names the known words nearest to `word`: " Did you mean 'a' or 'b'?", or "".

    Args:
        word: What was typed.
        known: The words that would have been right.
        count: How many to name at most.
    """
    matches = difflib.get_close_matches(word, list(known), n=count, cutoff=0.5)
    return f" Did you mean {' or '.join(map(repr, matches))}?" if matches else ""
