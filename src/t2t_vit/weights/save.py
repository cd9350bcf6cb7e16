"""Write weights in the layout of another project, or as safetensors."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch

from t2t_vit.errors import CheckpointError, ConfigError
from t2t_vit.files import written_whole
from t2t_vit.weights.convert import to_mmpretrain
from t2t_vit.weights.load import Checkpoint, read_checkpoint

Target = Literal["official", "mmpretrain", "safetensors"]

#: How files of weights end, of whatever layout.
_WEIGHT_SUFFIXES = (".pth", ".pt", ".tar", ".bin", ".safetensors")

_SUFFIXES: Mapping[str, tuple[str, ...]] = {
    "official": (".pth", ".pt", ".pth.tar"),
    "mmpretrain": (".pth", ".pt"),
    "safetensors": (".safetensors",),
}

#: What `torch.save` writes in a way that our reader, and older PyTorch, can read.
_DTYPES = {torch.float64, torch.float32, torch.float16, torch.bfloat16}
_DTYPES |= {torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool}


def convert(
    source: str | Path, target: str | Path, to: Target, *, weights: str = "ema", overwrite: bool = False
) -> Checkpoint:
    """Write the weights of `source` to `target`, whole or not at all, every tensor bit by bit as it is.

    What is not weights (optimizer, log) stays behind; class names and this package's settings go with them.

    Args:
        source: A checkpoint of any layout that `read_checkpoint` knows.
        target: The new file.
        to: `official`: what the official code loads, an entry `state_dict`. `mmpretrain`: what MMPretrain loads.
            `safetensors`: the official names, in a file that cannot hold code.
        weights: `ema` or `raw`, where the file has both.
        overwrite: Whether there may be a `target` already.

    Returns:
        What was read.

    Raises:
        CheckpointError: `source` holds no weights, or such as the layout has no names for; or `target` is there.
        ConfigError: `to` is unknown, or `target` has another layout's suffix.
    """
    source, target = Path(source), Path(target)
    _suffix(target, to)
    if target.exists() and not overwrite:
        raise CheckpointError(f"{target} is there already; name another file, or overwrite it (--overwrite)")
    checkpoint = read_checkpoint(source)
    _write(target, _packed(checkpoint, weights, to))
    return checkpoint


def publish(
    source: str | Path, target: str | Path, to: Target | None = None, *, weights: str = "ema", half: bool = False
) -> Path:
    """Write the weights of `source` to hand them on, under a name that ends in the first digits of the file's SHA-256.

    This package's settings go with them, but for the folder that the images were in (`data.root`).

    Args:
        source: A checkpoint of any layout that `read_checkpoint` knows.
        target: The new file; `model.pth` becomes `model-1a2b3c4d.pth`.
        to: As for `convert`; None: safetensors if `target` is called so, else official.
        weights: `ema` or `raw`, where the file has both.
        half: Write float16, half the size: values keep three digits.

    Returns:
        The new file.

    Raises:
        CheckpointError: `source` holds no weights, such as the layout has no names for, or too large for float16.
        ConfigError: `to` is unknown, or `target` has another layout's suffix.
    """
    target = Path(target)
    to = to or ("safetensors" if target.suffix == ".safetensors" else "official")
    suffix = _suffix(target, to)
    checkpoint = _without_place(read_checkpoint(source))
    content = _packed(_halved(checkpoint, weights) if half else checkpoint, weights, to)
    digest = hashlib.sha256(content).hexdigest()
    named = target.with_name(f"{target.name.removesuffix(suffix)}-{digest[:8]}{suffix}")
    _write(named, content)
    return named


def to_safetensors(state: Mapping[str, torch.Tensor], texts: Mapping[str, str]) -> bytes:
    """Return the safetensors file of `state` with `texts` beside it; equal ones are the same file, to the byte.

    The library writes texts in an order of its own, another at every call.
    """
    from safetensors.torch import save

    content = save({name: value.contiguous() for name, value in state.items()}, {"format": "pt", **texts})
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    ordered = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    ordered += b" " * (-len(ordered) % 8)  # tensors begin where their bytes are aligned
    return len(ordered).to_bytes(8, "little") + ordered + content[end:]


def _suffix(target: Path, to: str) -> str:
    """Return the suffix of `target`."""
    if to not in _SUFFIXES:
        raise ConfigError(f"to={to!r} is unknown: it is one of {', '.join(_SUFFIXES)}.")
    suffix = next((suffix for suffix in _SUFFIXES[to] if target.name.endswith(suffix)), None)
    if suffix is None:
        raise ConfigError(f"{target} does not end in {' or '.join(_SUFFIXES[to])}, as a file of {to} weights does.")
    return suffix


def _without_place(checkpoint: Checkpoint) -> Checkpoint:
    """Return `checkpoint` without the places of its images and of weights it began with.

    They say something of a machine, and nothing of a model.
    """
    try:
        settings = json.loads(str(checkpoint.meta["experiment"]))
        data = settings["data"]
        data.pop("root", None)
        data |= {name: Path(value).name for name, value in data.items() if _is_place(value) and _is_absolute(value)}
        for section, name in (("model", "pretrained"), ("distillation", "teacher_weights")):
            if _is_place(settings.get(section, {}).get(name)):
                settings[section][name] = None
    except (KeyError, TypeError, ValueError, AttributeError):  # none, or not ours
        return checkpoint
    return dataclasses.replace(checkpoint, meta={**checkpoint.meta, "experiment": json.dumps(settings)})


def _is_place(value: object) -> bool:
    """Whether `value` is a path on this machine, and neither a URL nor a name."""
    if not isinstance(value, str) or "://" in value:
        return False
    return "/" in value or "\\" in value or value.startswith("~") or Path(value).suffix in _WEIGHT_SUFFIXES


def _is_absolute(place: str) -> bool:
    return place.startswith("~") or Path(place).is_absolute()


def _halved(checkpoint: Checkpoint, weights: str) -> Checkpoint:
    """Return `checkpoint` with one of its sets of weights alone, in float16."""
    state = {
        name: value.half() if value.is_floating_point() else value
        for name, value in checkpoint.state_dict(weights).items()
    }
    lost = next(
        (name for name, value in state.items() if value.is_floating_point() and not value.isfinite().all()), None
    )
    if lost is not None:
        raise CheckpointError(f"{lost} has values that are not finite in float16; publish it as it is.")
    return dataclasses.replace(checkpoint, weights={weights: state})


def _packed(checkpoint: Checkpoint, weights: str, to: Target) -> bytes:
    """Return the file that holds one of the sets of weights of `checkpoint`."""
    state = checkpoint.state_dict(weights)
    odd = next((name for name, value in state.items() if value.dtype not in _DTYPES), None)
    if to != "safetensors" and odd is not None:
        raise CheckpointError(f"{odd} is {state[odd].dtype}, which files of {to} weights cannot hold; use safetensors.")
    classes, experiment = checkpoint.classes, checkpoint.meta.get("experiment")
    texts = {"experiment": experiment} if isinstance(experiment, str) else {}
    if to == "safetensors":
        if classes is not None:
            texts["classes"] = json.dumps(classes)
        return to_safetensors(state, texts)
    content: dict[str, object]
    if to == "mmpretrain":
        known = {} if classes is None else {"dataset_meta": {"classes": list(classes)}}
        content = {"meta": {**texts, **known}, "state_dict": to_mmpretrain(state)}
    else:
        content = {"state_dict": state, **texts, **({} if classes is None else {"classes": list(classes)})}
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def _write(path: Path, content: bytes) -> None:
    try:
        with written_whole(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be written: {error.strerror}.") from error
