"""The pixels of a Pillow picture where they lie: each copy of a photograph costs as much as a tenth of its decoding.

Pillow lends them by Arrow's C data interface, a structure that is fixed for good, so that no Arrow library is needed.

Source: Arrow, "The Arrow C data interface" (`struct ArrowArray`); Pillow's handbook, "Arrow support".
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def stored_pixels(image: Image.Image) -> NDArray[np.uint8]:
    """Return the pixels of an RGB `image` as Pillow stores them: (H, W, 4) uint8, the fourth without a meaning.

    They are the picture's own wherever that lies in one piece: they can only be read, and outlive it.
    """
    shape = (image.height, image.width, 4)
    try:
        _, array = image.__arrow_c_array__()
    except ValueError:  # Pillow keeps large pictures in several pieces
        return np.frombuffer(image.tobytes("raw", "RGBX"), np.uint8).reshape(shape)
    return np.asarray(_Lent(array, shape))


class _Lent:
    """What NumPy makes an array of, and holds as long as that is there."""

    def __init__(self, array: Any, shape: tuple[int, int, int]) -> None:
        self._array = array  # once it goes, so do the pixels of a picture that is gone
        pixels = _ArrowArray.from_address(_pointer(array, b"arrow_array")).children[0].contents
        self.__array_interface__ = {"version": 3, "shape": shape, "typestr": "|u1", "data": (pixels.buffers[1], True)}


class _ArrowArray(ctypes.Structure):
    pass


_ArrowArray._fields_ = [
    ("length", ctypes.c_int64),
    ("null_count", ctypes.c_int64),
    ("offset", ctypes.c_int64),
    ("n_buffers", ctypes.c_int64),
    ("n_children", ctypes.c_int64),
    ("buffers", ctypes.POINTER(ctypes.c_void_p)),
    ("children", ctypes.POINTER(ctypes.POINTER(_ArrowArray))),
    ("dictionary", ctypes.c_void_p),
    ("release", ctypes.c_void_p),
    ("private_data", ctypes.c_void_p),
]

_pointer: Any = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.restype, _pointer.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
