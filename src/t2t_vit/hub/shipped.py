"""The models that come with the package, weights and all: they need no network.

Each is a shipped config by the same name. `shipped/` has its weights, and a card of what they were trained on and how
good they are; names and hashes are those of `shipped/SHA256SUMS`, in the format of `sha256sum`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Final

from t2t_vit.errors import HashMismatchError

#: What predicts where no model is named.
DEFAULT_MODEL: Final = "t2t-vit-tiny_cifar100"

_FOLDER: Final = Path(__file__).parents[1] / "shipped"


@cache
def shipped_models() -> Mapping[str, str]:
    """Return the SHA-256 of the weights of each model, by its name."""
    lines = (_FOLDER / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    sums = (line.split(maxsplit=1) for line in lines)
    return MappingProxyType({file.removesuffix(".safetensors"): digest for digest, file in sums})


def shipped_card(name: str) -> Path:
    """Return the card of a model that comes with the package: its data, figures, classes and limits, in Markdown."""
    return _FOLDER / f"{name}.md"


def shipped_weights(name: str) -> Path | None:
    """Return the weights of the model called `name`, None if it does not come with the package.

    Raises:
        HashMismatchError: The file is not the one that came.
    """
    if name not in shipped_models():
        return None
    file = _FOLDER / f"{name}.safetensors"
    if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != shipped_models()[name]:
        raise HashMismatchError(f"{file} is not the file that came with the package; install the package anew")
    return file
