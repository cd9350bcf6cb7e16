"""Files that appear whole or not at all, and logs that grow and may be cut."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from t2t_vit.errors import T2TViTError, WriteError


@contextmanager
def written_whole(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; what is written there takes the place of `path` when the block ends.

    If the block raises, nothing is left and an older `path` stays as it was. The folder is made if need be.

    Raises:
        WriteError: `path` cannot be written. It names `path`, and not the temporary one.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # The suffix stays last: writers choose a format by it.
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    except FileExistsError as error:  # in the place of the folder
        raise WriteError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path)) from error
    except OSError as error:
        raise WriteError(error.errno, error.strerror, str(path)) from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        _flush(temporary)
        temporary.chmod(0o666 & ~_umask())  # mkstemp makes files that only their owner may read
        temporary.replace(path)
        with suppress(OSError):  # folders cannot be flushed everywhere
            _flush(path.parent)
    except OSError as error:
        # The block may also read, and other files have errors of their own; a full disk's names no file.
        is_of_this = error.filename is None or str(error.filename) == name
        if isinstance(error, T2TViTError) or error.errno is None or not is_of_this:
            raise
        raise WriteError(error.errno, error.strerror, str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write `text` to `path` as UTF-8, whole or not at all; names of files that are no UTF-8 keep their bytes."""
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="surrogateescape")


def json_lines(text: str) -> Iterator[dict[str, Any] | None]:
    """Yield the objects in `text`, one a line; None for a line that is cut, as a run is killed in the middle of one."""
    for line in filter(str.strip, text.split("\n")):
        try:
            entry = json.loads(line)
        except ValueError:
            entry = None
        yield entry if isinstance(entry, dict) else None


def _flush(path: Path) -> None:
    """Have the operating system put `path` on disk."""
    # Windows flushes what may be written alone; a folder cannot be opened so.
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
