"""Read what `torch.save` wrote without running anything that stands in the file.

A pickle is a program, and what it may call is looked up by name. Three gates stand one behind the other:

1. The pickle's instructions are listed, not run, and every name in them must be in the two tables below.
2. `torch.load(weights_only=True)` runs them, and knows the names of tensors only.
3. Names that real checkpoints need beside tensors (a log's history, NumPy scalars, command-line arguments)
   are given to it as stand-ins that call nothing.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import re
import threading
import warnings
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING  # Python 2's names, as every unpickler reads them
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Self

import torch

from t2t_vit.errors import CheckpointError, UnsafeCheckpointError


class Inert:
    """What a checkpoint's other objects become: it takes any arguments and any state, and keeps nothing."""

    __slots__ = ()

    def __new__(cls, *_arguments: object) -> Self:
        """Return an empty stand-in, whatever the file wanted to build."""
        return super().__new__(cls)

    def __setstate__(self, state: object) -> None:
        """Drop the state."""


class Arguments(Inert):
    """The `argparse.Namespace` in which the official code stores its command line."""

    __slots__ = ("values",)

    values: dict[str, object]

    def __new__(cls, *_arguments: object) -> Self:
        """Return a stand-in without values."""
        self = super().__new__(cls)
        self.values = {}
        return self

    def __setstate__(self, state: object) -> None:
        """Keep the command line's values, as entries and never as attributes."""
        if type(state) is dict:
            self.values = state


STAND_INS: dict[str, type[Inert]] = {
    "argparse.Namespace": Arguments,
    # MMEngine's message hub: each history names its statistics by `getattr(HistoryBuffer, "mean")`.
    "mmengine.logging.history_buffer.HistoryBuffer": Inert,
    "builtins.getattr": Inert,
    # NumPy 2 renamed numpy.core; files of both ages are around.
    "numpy.dtype": Inert,
    "numpy.ndarray": Inert,
    "numpy.core.multiarray._reconstruct": Inert,
    "numpy.core.multiarray.scalar": Inert,
    "numpy._core.multiarray._reconstruct": Inert,
    "numpy._core.multiarray.scalar": Inert,
}

# The part of PyTorch's own list that a dense tensor on the CPU needs. The rest (subclasses, sparse and
# quantized tensors) is no weight of ours. `_codecs.encode` turns text into bytes.
_TENSOR_NAME = re.compile(
    r"collections\.(OrderedDict|Counter)|_codecs\.encode|torch\.Size|torch\._utils\._rebuild_(tensor(_v2)?|parameter)"
    r"|torch\.([A-Z][A-Za-z0-9]*Storage|storage\.UntypedStorage|b?float\d+|double|half|u?int\d+|long|bool)"
)

# Python hashes a tuple in a tuple by C recursion without a limit: 150,000 nested ones as a key of a dict end
# the process (CPython 3.11, stack of 8 MiB), 100,000 do not. The largest model with optimizer has some 6,000.
_MAX_TUPLES = 50_000

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PICKLES = 5  # magic number, protocol, byte order, the object, the keys of its storages

# `torch.serialization.safe_globals` changes a list of the whole process.
_loading = threading.Lock()


def read_zip(path: Path) -> object:
    """Return what stands in a file that `torch.save` wrote since PyTorch 1.6, its tensors mapped from disk.

    Raises:
        UnsafeCheckpointError: Reading it would mean calling something that is not part of a tensor.
        CheckpointError: It is damaged, or not written by `torch.save`.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            instructions = archive.read(_checked_pickle_name(path, archive))
    except (zipfile.BadZipFile, EOFError, ValueError, RuntimeError) as error:  # ValueError: a name that is no text
        raise _damaged(path, error) from error
    _check_instructions(path, io.BytesIO(instructions))
    return _load(path, mmap=True)


def read_legacy(path: Path) -> object:
    """Return what stands in a file that `torch.save` wrote before PyTorch 1.6, a row of pickles.

    Raises:
        UnsafeCheckpointError: Reading it would mean calling something that is not part of a tensor.
        CheckpointError: It is damaged, or not written by `torch.save`.
    """
    with path.open("rb") as file:
        magic = _check_instructions(path, file)
        if magic != _LEGACY_MAGIC:
            raise CheckpointError(f"{path} is a pickle that torch.save did not write. Save the weights with it.")
        for _ in range(_LEGACY_PICKLES - 1):
            _check_instructions(path, file)
    return _load(path, mmap=False)


def _checked_pickle_name(path: Path, archive: zipfile.ZipFile) -> str:
    """Return the name of the archive's one pickle; refuse records that would unpack to more than the file."""
    records = archive.infolist()
    names = [record.filename for record in records]
    if any(name.endswith("/constants.pkl") for name in names):
        raise CheckpointError(f"{path} is a TorchScript program. Save its state_dict() with torch.save.")
    packed = next((record.filename for record in records if record.compress_type != zipfile.ZIP_STORED), None)
    if packed is not None:
        raise CheckpointError(
            f"{path} has a compressed record, {packed!r}; torch.save writes none. Save the weights again."
        )
    if sum(max(record.file_size, record.compress_size) for record in records) > path.stat().st_size:
        raise CheckpointError(f"{path} declares more data than the file holds. Get the file again.")
    pickles = [name for name in names if name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise CheckpointError(f"{path} is a zip archive with {len(pickles)} data.pkl; torch.save writes one.")
    return pickles[0]


def _check_instructions(path: Path, stream: IO[bytes]) -> object:
    """List one pickle's instructions without running them, and refuse those that a checkpoint does not need.

    Returns:
        The argument of the last instruction that had one: the value itself if the pickle is a single number.
    """
    names: set[str] = set()
    num_tuples = 0
    last_argument = None
    try:
        for instruction, argument in _instructions(stream):
            if instruction == "GLOBAL":
                names.add(str(argument))
            num_tuples += instruction.startswith("TUPLE")
            if argument is not None:
                last_argument = argument
    except (ValueError, EOFError, OverflowError, MemoryError) as error:
        raise _damaged(path, error) from error
    foreign = sorted(name for name in names if name not in STAND_INS and not _TENSOR_NAME.fullmatch(name))
    if foreign:
        raise UnsafeCheckpointError(
            f"{path} was not read: it would call {', '.join(map(repr, foreign[:3]))}, which is no part of a "
            "tensor and could run code. If you trust it, save its state_dict() alone where it was made."
        )
    if num_tuples > _MAX_TUPLES:
        raise CheckpointError(f"{path} nests {num_tuples:,} tuples; weights need at most {_MAX_TUPLES:,}.")
    return last_argument


def _instructions(stream: IO[bytes]) -> Iterator[tuple[str, object]]:
    """Yield each instruction of one pickle and its argument; a look-up is `GLOBAL` with a dotted name."""
    texts = ["", ""]  # the last two on the stack, by which protocol 4 looks up
    memo: dict[object, str] = {}
    for opcode, argument, _ in pickletools.genops(stream):
        if opcode.name in ("GLOBAL", "INST"):
            module, _, name = str(argument).partition(" ")
            module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
            yield "GLOBAL", f"{module}.{name}"
        elif opcode.name == "STACK_GLOBAL":
            yield "GLOBAL", ".".join(texts)
        else:
            if isinstance(argument, str):
                texts = [texts[1], argument]
            elif opcode.name == "MEMOIZE":
                memo[len(memo)] = texts[1]
            elif opcode.name in ("BINGET", "LONG_BINGET"):
                texts = [texts[1], memo.get(argument, "?")]
            yield opcode.name, argument


def _load(path: Path, *, mmap: bool) -> object:
    stand_ins: list[Callable[..., object] | tuple[Callable[..., object], str]] = [
        (stand_in, name) for name, stand_in in STAND_INS.items()
    ]
    try:
        # PyTorch warns of pickle protocols and of storage types; a user can do nothing about either.
        with _loading, torch.serialization.safe_globals(stand_ins), warnings.catch_warnings(action="ignore"):
            if not mmap or path.suffix == ".safetensors":  # torch.load would go by the name
                with path.open("rb") as file:
                    return torch.load(file, map_location="cpu", weights_only=True)
            # Mapped, what nobody asks for (an optimizer's state) is never read from disk.
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        reason = _first_line(str(error).rpartition("WeightsUnpickler error:")[2])  # advice stands before it
        raise UnsafeCheckpointError(
            f"{path} was not read: PyTorch's safe loader refuses it ({reason}). Save its state_dict() alone, "
            "with torch.save as it is."
        ) from error
    except Exception as error:  # a damaged pickle can fail in every way there is
        raise _damaged(path, error) from error


def _damaged(path: Path, error: BaseException) -> CheckpointError:
    reason = _first_line(str(error)) or type(error).__name__
    return CheckpointError(f"{path} is cut off or damaged ({reason}). Get the file again.")


def _first_line(message: str) -> str:
    return next(iter(message.strip().splitlines()), "")[:160]
