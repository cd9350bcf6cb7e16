"""What an image may be given as: a path, a URL, a folder of them, a PIL image, an array, or a list of these."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from t2t_vit.data.decode import SUFFIXES, ChannelOrder, Mode, decode, from_array, from_pil
from t2t_vit.data.sets.encoded import decode_named
from t2t_vit.data.url import is_url, read_url
from t2t_vit.errors import ImageError

#: One image: a path, a URL, a PIL image or an array.
ImageInput = str | Path | Image.Image | np.ndarray[Any, Any]


def list_inputs(inputs: ImageInput | Sequence[ImageInput]) -> list[ImageInput]:
    """Return the single images that `inputs` stands for; a folder gives its image files by name.

    Raises:
        ImageError: A folder has no image file.
    """
    if isinstance(inputs, str | Path) and not is_url(inputs):
        return list(_files_in(_path(inputs))) if _is_folder(inputs) else [inputs]
    if isinstance(inputs, list | tuple):
        return [image for entry in inputs for image in list_inputs(entry)]
    return [inputs]  # type: ignore[list-item]


def is_many(inputs: object) -> bool:
    """Whether `inputs` is a list or a folder, and not one image."""
    return isinstance(inputs, list | tuple) or _is_folder(inputs)


def load_image(source: ImageInput, channel_order: ChannelOrder, mode: Mode) -> Image.Image:
    """Return the picture that `source` is, upright, in `mode`.

    Args:
        source: A path, a URL, a PIL image, or an array (H, W), (H, W, 3) or (H, W, 4) of 8 or 16 unsigned bits.
        channel_order: Of an array.
        mode: Colour, grey, or colour with transparency.

    Raises:
        ImageError: It is missing, corrupt or of no known kind.
    """
    if isinstance(source, Image.Image):
        return from_pil(source, mode)
    if isinstance(source, np.ndarray):
        return from_array(source, channel_order, mode)
    if source == "":
        raise ImageError("the name of an image is empty; expected a path or a URL")
    if is_url(source):
        return decode_named(read_url(str(source)), mode, str(source))
    if isinstance(source, str | Path):
        return decode(_path(source), mode)
    raise ImageError(f"an image is a path, URL, PIL image or NumPy array, not a {type(source).__name__}")


def _is_folder(inputs: object) -> bool:
    # An empty text is no name, though Path takes it for the current folder: a script's variable was not set.
    return isinstance(inputs, str | Path) and inputs != "" and not is_url(inputs) and os.path.isdir(_path(inputs))  # noqa: PTH112 -- never raises


def _path(source: str | Path) -> Path:
    """Return the path that `source` is, ``~`` being the user's home."""
    return Path(os.path.expanduser(source))  # noqa: PTH111 -- a file may be called ~x where no user is


def _files_in(folder: Path) -> list[Path]:
    files = _images_in(folder)
    if files:
        return files
    classes = sorted(below.name for below in folder.iterdir() if below.is_dir() and _images_in(below))
    if classes:
        names = ", ".join([*classes[:3], *(["…"] if classes[3:] else [])])
        raise ImageError(
            f"folder {str(folder)!r} has no images of its own; it has class folders; name one of them: {names}"
        )
    raise ImageError(f"folder {str(folder)!r} has no images; looked for {' '.join(SUFFIXES)}")


def _images_in(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if _is_image(p))


def _is_image(path: Path) -> bool:
    # What is hidden is some program's own, such as macOS's `._a.jpg`.
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
