"""Pictures that come as bytes: from within a larger file, or from the web."""

from __future__ import annotations

from PIL import Image

from t2t_vit.data.decode import Mode, decode
from t2t_vit.errors import ImageError


def decode_named(data: bytes, mode: Mode, name: str) -> Image.Image:
    """Return the picture in the bytes of an image file.

    Raises:
        ImageError: There is none; the message says `name`.
    """
    try:
        return decode(data, mode)
    except ImageError as error:
        raise ImageError(f"{name}: {error}") from None
