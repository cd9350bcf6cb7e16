"""Memory that a process frees while it loads or trains stays with it: image after image needs the same buffers."""

from __future__ import annotations

import ctypes
import platform
from typing import Final

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
#: The most that glibc takes; larger buffers go back to the system at once, as ever.
_LARGEST_KEPT: Final = 32 * 2**20
_KEPT: Final = 128 * 2**20


def keep_freed_memory() -> None:
    """Have this process keep up to 128 MiB of freed memory for its next buffers, where its C library is glibc.

    By default glibc returns buffers of images to the system whenever some are freed, and the system clears every page
    again that it hands back: a twentieth of the time of an augmented view (benchmarks/README.md).

    Source: glibc manual, "Malloc Tunable Parameters".
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT)
        libc.mallopt(_M_TRIM_THRESHOLD, _KEPT)
