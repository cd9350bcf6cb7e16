"""Fit weights to a model of another image size, with other channels or other classes, and say what was done.

A state dict goes in and a state dict comes out, under the official parameter names.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping

import torch

from t2t_vit.errors import CheckpointError
from t2t_vit.models.load_report import LoadReport
from t2t_vit.models.position import resize_position_table, sinusoid_table
from t2t_vit.models.t2t_vit import T2TViT

StateDict = dict[str, torch.Tensor]

#: Parameters of an auxiliary head, which token labelling trains beside the one that classifies.
_AUXILIARY = "aux_head."


def fit_state_dict(
    model: T2TViT,
    state: Mapping[str, torch.Tensor],
    *,
    new_head: bool = False,
    strict: bool = True,
    source_grid: tuple[int, int] | None = None,
) -> tuple[StateDict, LoadReport]:
    """Return `state` as `model` can load it, every entry there and of the right shape, and what was done for it.

    - The position table is interpolated from the grid it was made for, or computed if there is none.
    - The first token layer is adapted to the model's image channels.
    - A head of other classes is drawn anew if `new_head` allows it.
    - The auxiliary head of token labelling is dropped.

    Args:
        model: What the weights are for; it may be on the meta device and is not changed.
        state: Weights under the official names.
        new_head: Whether a head of another number of classes may be drawn anew.
        strict: Refuse weights that lack an entry, have one too many or one of another shape. Otherwise such an entry
            is left out and the model's drawn anew.
        source_grid: Token grid (h, w) that the position table was made for. None: the model's own if that has as many
            tokens, else a square one; where it could be either, the report calls it doubtful.

    Raises:
        CheckpointError: The weights do not fit; the message lists what is missing, left over, or of another shape.
    """
    fitted, report = dict(state), LoadReport()
    device = next((value.device for value in state.values()), torch.device("cpu"))
    wanted = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    _drop(fitted, report, [name for name in fitted if name.startswith(_AUXILIARY)])
    if model.num_classes == 0:
        _drop(fitted, report, [name for name in fitted if name.startswith("head.")])
    elif new_head and _shape(fitted, "head.weight") != wanted["head.weight"]:
        fitted = {name: value for name, value in fitted.items() if not name.startswith("head.")}
        fitted |= _drawn(model, ["head.weight", "head.bias"], device)
        report.initialised += ["head.weight", "head.bias"]
    _fit_position_table(model, fitted, report, source_grid, device)
    _fit_channels(model, fitted, report)

    problems = differences(wanted, fitted)
    if problems and strict:
        raise CheckpointError("; ".join(problems))
    _drop(fitted, report, [name for name in fitted if _shape(fitted, name) != wanted.get(name)])
    report.resized = [name for name in report.resized if name in fitted]
    report.missing += [name for name in wanted if name not in fitted]
    fitted |= _drawn(model, report.missing, device)
    made = {*report.resized, *report.initialised, *report.missing}
    report.loaded += [name for name in wanted if name not in made]
    return {name: fitted[name] for name in wanted}, report


def differences(wanted: Mapping[str, tuple[int, ...]], state: Mapping[str, torch.Tensor]) -> list[str]:
    """Return in words what of `state` is missing, left over, or of another shape than `wanted`."""
    missing = [name for name in wanted if name not in state]
    extra = [name for name in state if name not in wanted]
    shapes = [
        f"{name} is {tuple(state[name].shape)}, expected {shape}"
        for name, shape in wanted.items()
        if name in state and tuple(state[name].shape) != shape
    ]
    return [
        f"{len(names)} {what}: {', '.join(names[:3])}{', …' if len(names) > 3 else ''}"
        for what, names in (("missing", missing), ("unexpected", extra), ("of another shape", shapes))
        if names
    ]


def _shape(state: Mapping[str, torch.Tensor], name: str) -> tuple[int, ...] | None:
    return tuple(state[name].shape) if name in state else None


def _drop(state: StateDict, report: LoadReport, names: list[str]) -> None:
    for name in names:
        del state[name]
    report.dropped += names


def _drawn(model: T2TViT, names: list[str], device: torch.device) -> StateDict:
    """Return first values for the parameters and buffers `names` of `model`, the same ones on every `device`."""
    if not names:
        return {}
    fresh = copy.deepcopy(model).to_empty(device="cpu")
    fresh.reset_parameters()
    fresh.pos_embed.copy_(sinusoid_table(*fresh.pos_embed.shape[1:]))
    return {name: value.to(device) for name, value in fresh.state_dict().items() if name in names}


def _fit_position_table(
    model: T2TViT, state: StateDict, report: LoadReport, source_grid: tuple[int, int] | None, device: torch.device
) -> None:
    rows, dim = model.pos_embed.shape[1:]
    stored = state.get("pos_embed")
    if stored is None:  # some files leave out what can be computed
        state["pos_embed"] = sinusoid_table(rows, dim).to(device)
        report.resized.append("pos_embed")
    elif stored.ndim == 3 and stored.shape[2] == dim:
        side = math.isqrt(max(0, stored.shape[1] - 1))
        is_told = source_grid is not None and 1 + math.prod(source_grid) == stored.shape[1]
        if not is_told and stored.shape[1] == rows:  # it can be of another shape, but nobody says so
            if 1 + side**2 == rows and model.grid_size != (side, side):
                report.doubtful.append("pos_embed")
            return
        source_grid = source_grid if is_told and source_grid is not None else (side, side)
        if source_grid != model.grid_size and 1 + math.prod(source_grid) == stored.shape[1]:
            state["pos_embed"] = resize_position_table(stored, source_grid, model.grid_size)
            report.resized.append("pos_embed")


def _fit_channels(model: T2TViT, state: StateDict, report: LoadReport) -> None:
    """Adapt what sees the pixels to as many image channels as the model has."""
    kernel = model.soft_splits[0].kernel
    first = "tokens_to_token." + ("project" if len(model.soft_splits) == 1 else "soft_split0")
    layer = "tokens_to_token.attention1."
    if f"{first}.weight" in state:
        _fit_pixels(model.in_chans, kernel, f"{first}.weight", state, report)
    elif f"{layer}attn.qkv.weight" in state:
        channels = _fit_token_layer(model.in_chans, kernel, layer, "attn.qkv", state, report)
        if channels is not None:  # the scale is that of the input's width: a weaker query keeps the source's
            query, key_value = state[f"{layer}attn.qkv.weight"].tensor_split((model.token_dim,))
            query = query * (model.in_chans / channels) ** 0.5
            state[f"{layer}attn.qkv.weight"] = torch.cat([query, key_value])
    elif f"{layer}kqv.weight" in state:
        _fit_token_layer(model.in_chans, kernel, layer, "kqv", state, report)


def _fit_pixels(channels: int, kernel: int, name: str, state: StateDict, report: LoadReport) -> None:
    """Adapt the convolution or projection `name`, which sees pixels as they are, to `channels`."""
    weight = state[name]
    there, left_over = divmod(math.prod(weight.shape[1:]), kernel**2)
    if there == channels or left_over or not there:
        return
    adapted = _other_channels(weight.reshape(len(weight), there, kernel**2), channels)
    state[name] = adapted.flatten(1) if weight.ndim == 2 else adapted.reshape(-1, channels, kernel, kernel)
    report.resized.append(name)


def _fit_token_layer(
    channels: int, kernel: int, layer: str, projection: str, state: StateDict, report: LoadReport
) -> int | None:
    """Adapt the first token layer, a norm and a projection of its windows, to `channels`.

    In equal channels a window is normalized as it is in one of them. So fewer channels can give for a grey image
    what more gave: the norm's weight is folded into the projection, and its bias, one constant for each output, into
    the projection's or, where that has none, into the norm's, as nearly as its numbers can say it.

    Returns:
        The number of channels that the weights were made for, None if there was nothing to do.
    """
    names = [f"{layer}{projection}.weight", f"{layer}norm1.weight", f"{layer}norm1.bias"]
    width = _last_size(state, names[0])
    there, left_over = divmod(width or 0, kernel**2)
    if there in (0, channels) or left_over or any(_last_size(state, name) != width for name in names):
        return None
    weight, norm, bias = (state[name].reshape(-1, there, kernel**2) for name in names)
    report.resized += names
    if channels < there:
        folded = _other_channels(weight * norm, channels).flatten(1)  # (O, C' * k²)
        constant = (weight * bias).sum(dim=(1, 2))  # (O,)
        nearest = folded.new_zeros(folded.shape[1])
        if f"{layer}{projection}.bias" in state:
            state[f"{layer}{projection}.bias"] = state[f"{layer}{projection}.bias"] + constant
            report.resized.append(f"{layer}{projection}.bias")
        else:
            inputs, outputs = folded.double().cpu(), constant.double().cpu()  # GPUs have no such driver
            nearest = torch.linalg.lstsq(inputs, outputs[:, None], driver="gelsd").solution[:, 0]
        adapted = [folded, folded.new_ones(folded.shape[1]), nearest]
    else:
        repeated = torch.arange(channels) % there
        adapted = [
            _other_channels(weight, channels).flatten(1),
            norm[0, repeated].flatten(),
            bias[0, repeated].flatten(),
        ]
    state.update({name: value.to(weight) for name, value in zip(names, adapted, strict=True)})
    return there


def _last_size(state: StateDict, name: str) -> int | None:
    return state[name].shape[-1] if name in state and state[name].ndim else None


def _other_channels(weight: torch.Tensor, channels: int) -> torch.Tensor:
    """Return a kernel (O, C, k²) for `channels` image channels, the sum over channels unchanged.

    More channels repeat the old ones in turn and share their weight; fewer take the old ones in turn, summed up. So a
    grey image gives what it gave.
    """
    there = weight.shape[1]
    if channels < there:
        taken = weight.new_zeros(weight.shape[0], channels, weight.shape[2])
        return taken.index_add(1, torch.arange(there, device=weight.device) % channels, weight)
    repeated = torch.arange(channels) % there
    return weight[:, repeated] / repeated.bincount()[repeated][:, None].to(weight.device)
