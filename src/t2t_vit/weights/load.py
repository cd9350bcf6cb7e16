"""Read a weights file of any known layout, without ever running code in it.

What is in the file decides, never its name. The result has the official parameter names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from os import PathLike
from pathlib import Path
from typing import TypeGuard

import torch
from torch import Tensor

from t2t_vit.errors import CheckpointError, ConfigError, nearest
from t2t_vit.weights.convert import to_official
from t2t_vit.weights.unpickle import Arguments, read_legacy, read_zip

StateDict = dict[str, Tensor]
MetaValue = bool | int | float | str | dict[str, bool | int | float | str]

TRAINING_FORMAT = "t2t_vit.training"
"""Value of the entry `format` by which this package's own training checkpoints are known."""


class Layout(StrEnum):
    """How a weights file is laid out."""

    TRAINING = "t2t_vit training"
    MMPRETRAIN = "MMPretrain"
    MMENGINE_TRAINING = "MMEngine training"
    OFFICIAL_TRAINING = "official training"
    OFFICIAL_FINETUNED = "official fine-tuned"
    STATE_DICT = "state dict"
    SAFETENSORS = "safetensors"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a weights file holds.

    Attributes:
        path: The file.
        layout: How it is laid out.
        weights: The sets of weights in it, `raw`, `ema` or both, each from official parameter name to tensor.
        classes: Names of the classes in the order of the head's outputs, None if the file does not tell.
        meta: Numbers and texts that stand beside the weights, as the file calls them: epoch, acc, args.
    """

    path: Path
    layout: Layout
    weights: Mapping[str, StateDict]
    classes: tuple[str, ...] | None
    meta: dict[str, MetaValue]

    def state_dict(self, weights: str = "ema") -> StateDict:
        """Return one set of weights.

        Args:
            weights: `ema` for the exponential moving average, or the only set of a file without one;
                `raw` for the weights that the optimizer stepped.

        Raises:
            CheckpointError: The raw weights are asked for and the file has the average only.
            ConfigError: `weights` is neither.
        """
        if weights not in ("ema", "raw"):
            raise ConfigError(f"weights={weights!r} is unknown: it is 'ema' or 'raw'.")
        if weights == "ema":
            return self.weights.get("ema") or self.weights["raw"]
        if "raw" not in self.weights:
            raise CheckpointError(f"{self.path} holds the moving average only. Ask for 'ema', not for 'raw'.")
        return self.weights["raw"]


def read_checkpoint(path: str | PathLike[str]) -> Checkpoint:
    """Read the weights file at `path`: published, from training, or a plain state dict, in any known layout.

    Nothing in the file is executed. The tensors are on the CPU and own their memory.

    Raises:
        UnsafeCheckpointError: The file could only be read by running code in it.
        CheckpointError: There is no such file, it is damaged, or it holds no weights.
    """
    path = Path(path)
    kind = _kind(path)
    if kind == "safetensors":
        return _read_safetensors(path)
    content = _entries(read_zip(path) if kind == "zip" else read_legacy(path))
    if content is None:
        raise CheckpointError(f"{path} holds something else than a state dict. Save model.state_dict() instead.")
    layout, sets = _recognised(path, content)
    meta = _entries(content.get("meta")) or {}
    return Checkpoint(
        path=path,
        layout=layout,
        weights={name: _state_dict(path, values) for name, values in sets.items()},
        classes=_classes(content, meta),
        meta=_plain(meta) | _plain(content),
    )


def _kind(path: Path) -> str:
    """Return `zip`, `pickle` or `safetensors` for what the file at `path` begins with."""
    try:
        with path.open("rb") as file:
            head = file.read(1024)
    except FileNotFoundError:
        raise CheckpointError(f"There is no weights file {path}.{_neighbours(path)}") from None
    except IsADirectoryError:
        raise CheckpointError(f"{path} is a folder; name a file in it.") from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}.") from error
    if not head:
        raise CheckpointError(f"{path} is empty: whatever wrote it did not finish. Get the file again.")
    if head.startswith(b"PK\x03\x04"):
        return "zip"
    if head[4:9] == b"\0\0\0\0{":  # behind the length of its header, whose first byte may be a pickle's, too
        return "safetensors"
    if head[0] == 0x80:  # a pickle of protocol 2 or later
        return "pickle"
    raise CheckpointError(f"{path} is {_described(head)}, not a weights file. Get the file again.")


def _described(head: bytes) -> str:
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return "an HTML page (a server's error or log-in page, most likely)"
    if text.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer that stands for a file"
    if b"\0" not in head and head.isascii():
        return "a text file"
    return "of no known kind (neither torch.save nor safetensors wrote it)"


def _neighbours(path: Path) -> str:
    try:
        return nearest(path.name, (file.name for file in path.absolute().parent.iterdir()))
    except OSError:
        return f" There is no folder {path.absolute().parent} either."


def _read_safetensors(path: Path) -> Checkpoint:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            meta: dict[str, str] = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (it is no mapping)
    except SafetensorError as error:
        raise CheckpointError(f"{path} is cut off or damaged ({error}). Get the file again.") from error
    try:
        classes = json.loads(meta.get("classes", "null"))
    except (ValueError, RecursionError):
        classes = None
    weights = {"raw": _state_dict(path, tensors)}
    return Checkpoint(path, Layout.SAFETENSORS, weights, _class_names(classes), _plain(meta))


def _recognised(path: Path, content: dict[str, object]) -> tuple[Layout, dict[str, dict[str, object]]]:
    """Return the layout of `content` and the sets of weights in it, named as they are there."""
    state_dict = _entries(content.get("state_dict"))
    model = _entries(content.get("model")) or _entries(content.get("model_state_dict"))
    average, swapped = _entries(content.get("state_dict_ema")), _entries(content.get("ema_state_dict"))
    model_average = _entries(content.get("model_ema"))
    net = _entries(content.get("net"))
    sets: dict[str, dict[str, object] | None]

    if content.get("format") == TRAINING_FORMAT:
        layout, sets = Layout.TRAINING, {"raw": model, "ema": _entries(content.get("ema"))}
    elif state_dict and swapped:
        # EMAHook swaps the two before it saves, so that whoever reads `state_dict` gets the average.
        # Source: MMEngine 0.10, mmengine/hooks/ema_hook.py, EMAHook._swap_ema_state_dict.
        layout, sets = Layout.MMENGINE_TRAINING, {"raw": swapped, "ema": state_dict}
    elif average or (state_dict and "arch" in content):
        layout, sets = Layout.OFFICIAL_TRAINING, {"raw": state_dict, "ema": average}
    elif state_dict and ("optimizer" in content or "message_hub" in content):
        layout, sets = Layout.MMENGINE_TRAINING, {**_mmcv_sets(state_dict)}
    elif state_dict and any(key.startswith("backbone.") for key in state_dict):
        layout, sets = Layout.MMPRETRAIN, {**_mmcv_sets(state_dict)}
    elif net:
        layout, sets = Layout.OFFICIAL_FINETUNED, {"raw": net}
    elif state_dict or model:
        layout, sets = Layout.STATE_DICT, {"raw": state_dict or model, "ema": model_average}
    else:
        has_tensors = any(isinstance(value, Tensor) for value in content.values())
        layout, sets = Layout.STATE_DICT, {"raw": content if has_tensors else None}

    present = {name: values for name, values in sets.items() if values}
    if not present:
        raise CheckpointError(f"{path} holds no weights: its entries are {_listed(content)}.")
    return layout, present


def _mmcv_sets(state_dict: dict[str, object]) -> dict[str, dict[str, object]]:
    """Separate the two sets that MMCV's EMAHook, of the time before MMEngine, keeps in one state dict.

    The raw value of `a.b` stands under `ema_a_b`, since the hook swaps them before the file is written.

    Source: MMCV 1.7, mmcv/runner/hooks/ema.py.
    """
    average = {key: value for key, value in state_dict.items() if not key.startswith("ema_")}
    if len(average) == len(state_dict):
        return {"raw": state_dict}
    raw = {key: state_dict.get(f"ema_{key.replace('.', '_')}", value) for key, value in average.items()}
    return {"raw": raw, "ema": average}


# What averages keep beside the weights: how often they were updated (MMEngine, torch.optim.swa_utils).
_COUNTERS = ("steps", "n_averaged")


def _state_dict(path: Path, values: Mapping[str, object]) -> StateDict:
    """Return `values` with official names, after making sure that each is a tensor of the size it claims."""
    tensors: StateDict = {}
    left = 2 * path.stat().st_size  # a set of weights is no larger than its file, but for a tied tensor
    for key, value in values.items():
        if key in _COUNTERS:
            continue
        if not _is_plain_tensor(value):
            raise CheckpointError(f"{path}: the entry {key!r} is no plain tensor but {_kind_of(value)}.")
        left -= value.nbytes
        if left < 0:
            raise CheckpointError(f"{path} would unpack to more than twice its size: it repeats the same tensors.")
        # A copy, since a mapped tensor would end the process once the file is cut short or written over.
        tensors[key] = value.detach().clone()
    if not tensors:
        raise CheckpointError(f"{path} holds no weights: its state dict is empty.")
    return to_official(tensors)


def _is_plain_tensor(value: object) -> TypeGuard[Tensor]:
    # A tensor that repeats its memory (stride 0) could claim any size: copying it would fill the machine.
    return (
        type(value) in (Tensor, torch.nn.Parameter)
        and isinstance(value, Tensor)
        and value.layout is torch.strided
        and not value.is_quantized
        and not value.is_complex()
        and value.numel() * value.element_size() <= value.untyped_storage().nbytes()
    )


def _kind_of(value: object) -> str:
    if isinstance(value, Tensor):
        return f"{value.dtype} of shape {tuple(value.shape)} over {value.untyped_storage().nbytes()} bytes"
    return f"a {type(value).__name__}"


def _entries(value: object) -> dict[str, object] | None:
    """Return `value` as a plain dict if it is a dict with texts for keys, None if it is anything else.

    The methods are those of the type: a pickle can set an attribute `items` on an `OrderedDict`.
    """
    if not isinstance(value, dict):
        return None
    entries = dict(dict.items(value))
    return entries if all(isinstance(key, str) for key in entries) else None


def _plain(entries: Mapping[str, object]) -> dict[str, MetaValue]:
    """Return the numbers and texts among `entries`, and those in its command-line arguments."""
    plain: dict[str, MetaValue] = {}
    for key, value in entries.items():
        if isinstance(value, bool | int | float | str):
            plain[key] = value
        elif isinstance(value, Arguments):
            plain[key] = {
                name: setting
                for name, setting in (_entries(value.values) or {}).items()
                if isinstance(setting, bool | int | float | str)
            }
    return plain


def _classes(content: Mapping[str, object], meta: Mapping[str, object]) -> tuple[str, ...] | None:
    """Return the class names from wherever one of the training codes puts them."""
    dataset = _entries(meta.get("dataset_meta")) or {}
    places = (content.get("classes"), dataset.get("classes"), dataset.get("CLASSES"), meta.get("CLASSES"))
    return next((names for names in map(_class_names, places) if names), None)


def _class_names(value: object) -> tuple[str, ...] | None:
    if isinstance(value, list | tuple) and value and all(isinstance(name, str) for name in value):
        return tuple(value)
    return None


def _listed(entries: Mapping[str, object], count: int = 8) -> str:
    keys = [repr(key[:40]) for key in entries]
    more = f" and {len(keys) - count} more" if len(keys) > count else ""
    return ", ".join(keys[:count]) + more if keys else "none"
