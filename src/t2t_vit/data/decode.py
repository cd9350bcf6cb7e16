"""The one way from bytes to pixels: training, testing and prediction see the same picture of a file.

The policy, whatever the format:

- The picture stands as a viewer shows it: EXIF orientation is applied, once. Where the EXIF data is broken,
  the picture stands as stored.
- What is transparent (an alpha channel, a palette entry or a colour) shows white. Mode "RGBA" keeps it.
- More than 8 bits are rescaled, so that white stays white: 16-bit grey is divided by 257 and rounded; of
  16-bit colours Pillow keeps the high byte. Integers of 32 bits are read as 16-bit grey; among floats, white
  is the first of 1, 255 and 65535 that no value exceeds. What does not fit in there is refused.
- CMYK, YCCK, YCbCr, Lab, palettes and 1-bit pictures become RGB. ICC profiles are ignored, as the references
  ignore them: the published weights were trained on pixels as stored.
- Of an animation or a file of several pages, the first. What a GIF's first frame leaves bare shows white.
- Refused, with an `ImageError` that names the file and the reason: what is no image, is truncated or corrupt
  as far as Pillow can tell (even where `PIL.ImageFile.LOAD_TRUNCATED_IMAGES` is set: a half-grey picture is a
  wrong one), has no pixels or more than `MAX_PIXELS`, or is a drawing that another program has to render.

Pillow's warnings about a file are silent here: either the picture is right, or an error says why not.
"""

from __future__ import annotations

import io
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

from t2t_vit.errors import ConfigError, ImageError, ImageNotFoundError, nearest

Mode = Literal["RGB", "L", "RGBA"]
ChannelOrder = Literal["bgr", "rgb"]

#: File names that count as images where a folder is given.
SUFFIXES: Final = (
    ".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".jp2", ".pbm", ".pgm", ".png", ".ppm", ".tga", ".tif", ".tiff", ".webp",
)  # fmt: skip

MAX_PIXELS: Final = 178_956_970
"""More are taken for a decompression bomb. It is Pillow's own limit, but here it always holds."""

#: How ICO and ICNS files begin: Pillow decodes what is in them before it tells how large that is.
_ICONS: Final = (b"\x00\x00\x01\x00", b"icns")

_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode(source: str | os.PathLike[str] | bytes, mode: Mode = "RGB") -> Image.Image:
    """Return the picture in an image file, as this module's policy says.

    Args:
        source: A path, or the bytes of a file.
        mode: What to return: colour, grey, or colour with transparency.

    Raises:
        ImageNotFoundError: There is no such file.
        ImageError: The file holds no picture, or not a whole one.
        ConfigError: `mode` is not one of the three.
    """
    _check_choice("mode", mode, get_args(Mode))
    data, name = (source, "The data") if isinstance(source, bytes) else (_read(source), str(source))
    if not data:
        raise ImageError(f"{name} is empty: it has 0 bytes.")
    if data.startswith(_ICONS):
        raise ImageError(f"{name} is an icon, which may hold several pictures; save one of them as PNG first.")
    file = _WholeFile(data) if ImageFile.LOAD_TRUNCATED_IMAGES else io.BytesIO(data)
    with _errors_of(name), silent_pillow():
        try:
            image = Image.open(file)
        except UnidentifiedImageError:
            raise ImageError(_why_unidentified(name, data)) from None
        if isinstance(file, _WholeFile):
            file.decoding = image.format != "JPEG2000"  # its decoder reads on after the end of a whole file, too
        return _convert(image, mode, name)


def from_pil(image: Image.Image, mode: Mode = "RGB") -> Image.Image:
    """Return what `decode` makes of the file that `image` was opened from.

    A picture made otherwise, or at a frame that was chosen, is taken as it is, by the same policy.

    Args:
        image: Any Pillow image. It stays as it is, only its pixels are loaded.
        mode: What to return: colour, grey, or colour with transparency.

    Raises:
        ImageError: The picture is empty, too large, or cannot be loaded or converted.
        ConfigError: `mode` is not one of the three.
    """
    _check_choice("mode", mode, get_args(Mode))
    name = str(getattr(image, "filename", "")) or "The image"
    with _errors_of(name), silent_pillow():
        converted = _convert(image, mode, name)
        return converted.copy() if converted.im is image.im else converted


def from_array(array: NDArray[Any], channel_order: ChannelOrder = "bgr", mode: Mode = "RGB") -> Image.Image:
    """Return the picture in an array.

    Args:
        array: uint8, uint16 (rescaled to 8 bits) or bool (True is white), of shape (H, W), (H, W, 1),
            (H, W, 3) or (H, W, 4), whose last channel is alpha.
        channel_order: Order of the colours: "bgr" as OpenCV and MMPretrain have them, "rgb" as most others.
        mode: What to return: colour, grey, or colour with transparency.

    Raises:
        ImageError: The array has another shape or type, is empty or too large.
        ConfigError: `mode` or `channel_order` is unknown.
    """
    _check_choice("mode", mode, get_args(Mode))
    _check_choice("channel_order", channel_order, get_args(ChannelOrder))
    array = np.asarray(array)
    shape = array.shape
    if array.ndim not in (2, 3) or (array.ndim == 3 and shape[2] not in (1, 3, 4)):
        hint = (
            " Its channels come first: use array.transpose(1, 2, 0)."
            if array.ndim == 3 and shape[0] in (1, 3, 4)
            else ""
        )
        raise ImageError(
            f"An array of shape {shape} is not a picture; expected (H, W), (H, W, 1), (H, W, 3) or (H, W, 4).{hint}"
        )
    _check_size((shape[1], shape[0]), "The array")
    pixels = _to_uint8(array)
    if pixels.ndim == 3 and shape[2] == 1:
        pixels = pixels[:, :, 0]
    elif pixels.ndim == 3 and channel_order == "bgr":
        pixels = pixels[:, :, [2, 1, 0, 3][: shape[2]]]
    return _flatten(Image.fromarray(np.array(pixels, order="C")), mode)


def _read(source: str | os.PathLike[str]) -> bytes:
    """Return the bytes of the file at `source`, or say why there are none."""
    try:
        with open(os.fspath(source), "rb", buffering=0) as file:  # noqa: PTH123 -- a path object takes three times as long
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        path = Path(source)
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        if isinstance(error, OSError) and os.path.isdir(source):  # noqa: PTH112 -- never raises
            raise ImageError(f"{Path(source)} is a folder; expected an image file.") from None
        raise ImageError(f"{Path(source)} cannot be read: {_reason(error)}.") from error
    folder = path.parent
    if not os.path.isdir(folder):  # noqa: PTH112 -- never raises
        raise ImageNotFoundError(f"There is no image file {path}: {folder} is not a folder.")
    # A flat data set can have a million names; the nearest of some thousands comes in time.
    known = [entry.name for entry in islice(folder.iterdir(), 5000) if entry.suffix.lower() in SUFFIXES]
    raise ImageNotFoundError(f"There is no image file {path}.{nearest(path.name, known)}")


class _Stored(NamedTuple):
    """What the header of a file says of its pixels, and Pillow forgets or leaves aside when it loads them."""

    white: int  # the value of white in grey of more than 8 bits
    inverted: bool  # grey of more than 8 bits, with black at `white`
    transparent: Any  # the transparent colour, palette entry or palette alphas, or None
    box: tuple[int, int, int, int] | None  # left, top, right, bottom of a GIF's frame on a canvas it does not fill


def _stored(image: Image.Image) -> _Stored:
    """Return what has to be asked before the pixels are loaded."""
    white, inverted, box = 65535, False, None
    transparent = image.info.get("transparency")
    tags = getattr(image, "tag_v2", {})
    if tags:
        white = min(white, 2 ** int(tags.get(ExifTags.Base.BitsPerSample, (16,))[0]) - 1)
        inverted = tags.get(ExifTags.Base.PhotometricInterpretation) == 0
    tile = image.tile[0] if isinstance(image, ImageFile.ImageFile) and image.tile else None
    if tile and image.format == "GIF" and tile.extents != (0, 0, *image.size):
        box = tile.extents
    if tile and image.format == "PNG" and transparent is not None:
        # Pillow leaves the colour in the file's own bit depth, but brings the pixels to 8 bits.
        if tile.args in ("L;2", "L;4"):
            transparent *= {"L;2": 85, "L;4": 17}[tile.args]
        elif tile.args == "RGB;16B":
            transparent = tuple(value >> 8 for value in transparent)
    return _Stored(white, inverted, transparent, box)


def _convert(image: Image.Image, mode: Mode, name: str) -> Image.Image:
    """Return `image` whole, upright and in `mode`, without metadata that would have it turned again."""
    if image.format in {"EPS", "WMF", "IPTC"}:
        raise ImageError(f"{name} is a drawing ({image.format}), not a picture; render it to PNG first.")
    _check_size(image.size, name)
    stored = _stored(image)
    image.load()
    orientation = _orientation(image)
    if image.mode == "F" or image.mode.startswith("I"):
        image = _to_8_bits(image, stored, name)
    elif stored.transparent != image.info.get("transparency"):
        image = image.copy()
        image.info["transparency"] = stored.transparent
    image = _flatten(image, mode, stored.box)
    if orientation in _UPRIGHT:
        image = image.transpose(_UPRIGHT[orientation])
    image.info = {}
    return image


def _orientation(image: Image.Image) -> Any:
    """Return the EXIF orientation, which is 1 to 8 if the file is sound, or None where it cannot be read.

    A TIFF was turned, and its tag removed, by Pillow.
    """
    try:
        return image.getexif().get(ExifTags.Base.Orientation)
    except MemoryError:
        raise
    except Exception:  # its parser raises whatever it stumbles over
        return None


def _to_8_bits(image: Image.Image, stored: _Stored, name: str) -> Image.Image:
    """Return grey of more than 8 bits as "L", or as "LA" if one of its values is transparent."""
    values = np.asarray(image)
    low, high = values.min(), values.max()
    white = stored.white
    if image.mode == "F":
        white = next((limit for limit in (1, 255, 65535) if high <= limit), 0)
    if not (low >= 0 and high <= white):  # a NaN is neither
        raise ImageError(
            f"{name} has values from {low} to {high}, and nothing says which is white; save it with 8 or 16 bits."
        )
    grey = np.rint(values * np.float32(255 / white)).astype(np.uint8)
    picture = Image.fromarray(255 - grey if stored.inverted else grey)
    if stored.transparent is None:
        return picture
    alpha = np.where(values == stored.transparent, 0, 255).astype(np.uint8)
    return Image.merge("LA", (picture, Image.fromarray(alpha)))


def _flatten(image: Image.Image, mode: Mode, box: tuple[int, int, int, int] | None = None) -> Image.Image:
    """Return an 8-bit `image`, transparent outside of `box`, in `mode`: over white unless that has alpha.

    The pixels may be those of `image` itself, as to copy a photograph takes a tenth of the time of decoding it.
    """
    if box is None and not image.has_transparency_data:
        if image.mode in {"HSV", "LAB"}:  # from these Pillow goes to RGB only
            image = image.convert("RGB")
        return image._new(image.im) if image.mode == mode else image.convert(mode)
    if image.mode == "La":  # from this one to LA only
        image = image.convert("LA")
    image = image.convert("RGBA")
    if box is not None:
        canvas = Image.new("RGBA", image.size)
        canvas.paste(image.crop(box), box)
        image = canvas
    if mode == "RGBA":
        return image
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB").convert(mode)


def _check_size(size: tuple[int, int], name: str) -> None:
    """Refuse what has no pixels, or more than `MAX_PIXELS`."""
    width, height = size
    if width < 1 or height < 1:
        raise ImageError(f"{name} has no pixels: it is {width} wide and {height} high.")
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"{name} is taken for a decompression bomb: {width} x {height} are more than {MAX_PIXELS} pixels."
        )


def _to_uint8(array: NDArray[Any]) -> NDArray[np.uint8]:
    """Return an array's values in 8 bits, or say how they would get there."""
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.bool_:
        return array * np.uint8(255)
    if array.dtype.kind == "u" and array.dtype.itemsize == 2:
        return np.rint(array * np.float32(1 / 257)).astype(np.uint8)
    advice = "(x * 255).round().astype('uint8') if white is 1" if array.dtype.kind == "f" else "x.astype('uint8')"
    raise ImageError(f"An array of {array.dtype} is not a picture; expected uint8, uint16 or bool: use {advice}.")


def _check_choice(setting: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        expected = ", ".join(map(repr, known))
        raise ConfigError(f"{setting} is {value!r}; expected one of {expected}.{nearest(str(value), known)}")


class _WholeFile(io.BytesIO):
    """A file whose end is an error for a decoder that still asks for more, as it is without `LOAD_TRUNCATED_IMAGES`.

    That flag of Pillow's belongs to the user and holds for the whole process, so it is neither obeyed nor changed.
    """

    decoding = False

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        if not data and size != 0 and self.decoding:
            raise EOFError("image file is truncated")
        return data


@contextmanager
def _errors_of(name: str) -> Iterator[None]:
    """Turn whatever a Pillow plugin raises over a bad file into one `ImageError` of one line."""
    try:
        yield
    except (ImageError, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(f"{name} is taken for a decompression bomb: {_reason(error)}.") from error
    except Exception as error:  # SyntaxError, struct.error, KeyError, ...
        raise ImageError(f"{name} is truncated or corrupt: {_reason(error)}.") from error


def _reason(error: Exception) -> str:
    """Return an error's text on one line."""
    text = getattr(error, "strerror", None) or str(error)  # an OSError's text says the name again
    return " ".join(text.split()).rstrip(".") or type(error).__name__


def _why_unidentified(name: str, data: bytes) -> str:
    """Say what stands where an image should."""
    if data[4:8] == b"ftyp" and data[8:12] in {b"heic", b"heix", b"hevc", b"mif1", b"msf1"}:
        return f"{name} is a HEIF picture, which Pillow does not read; convert it to JPEG."
    start = data[:16].ljust(16, b"\0")  # Pillow's plugins unpack numbers from it
    kinds = [kind for kind, (_, accepts) in Image.OPEN.items() if accepts and accepts(start) is True]
    if kinds:
        return f"{name} begins as {kinds[0]}, but its header is corrupt or of a kind that Pillow does not read."
    beginning = data[:40].decode("ascii", errors="backslashreplace")
    return f"{name} is not an image; it begins with {beginning!r}."


_silence = threading.Lock()
_silent_decodes = 0
_filters: warnings.catch_warnings[None] | None = None


@contextmanager
def silent_pillow() -> Iterator[None]:
    """Ignore the warnings of Pillow's modules, even where warnings are errors.

    Warning filters belong to the process. If each thread saved and restored them, one would restore what
    another still needs, and the last what it found half way. So the first in saves, the last out restores.
    """
    if getattr(sys.flags, "context_aware_warnings", False):  # Python 3.14 can keep filters for each thread
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"PIL\.")
            yield
        return
    silence_pillow()
    try:
        yield
    finally:
        _unsilence_pillow()


def silence_pillow() -> None:
    """Do as `silent_pillow` for good, in a process that does nothing but decode: it saves a little for each picture."""
    global _silent_decodes, _filters  # noqa: PLW0603
    with _silence:
        if _silent_decodes == 0:
            _filters = warnings.catch_warnings()
            _filters.__enter__()
            warnings.filterwarnings("ignore", module=r"PIL\.")
        _silent_decodes += 1


def _unsilence_pillow() -> None:
    global _silent_decodes  # noqa: PLW0603
    with _silence:
        _silent_decodes -= 1
        if _silent_decodes == 0 and _filters is not None:
            _filters.__exit__(None, None, None)
