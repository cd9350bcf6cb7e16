"""Freeze parts of a model: they are no longer trained."""

from __future__ import annotations

import re

from torch import nn

from t2t_vit.errors import ConfigError, nearest


def freeze(model: nn.Module, parts: str | None) -> list[str]:
    """Make parts of `model` untrainable and return the names of the parameters they have.

    Args:
        model: Whose parameters.
        parts: Modules or parameters by name, separated by commas; ``blocks.0-5`` are the first six encoder layers.
            None or empty: nothing.

    Raises:
        ConfigError: A part is none of this model's.
    """
    frozen = []
    for part in filter(None, (part.strip() for part in (parts or "").split(","))):
        for prefix in _spelt_out(part):
            named = [name for name, _ in model.named_parameters() if name == prefix or name.startswith(f"{prefix}.")]
            if not named:
                known = {name for name, module in model.named_modules() if name and _has_parameters(module)}
                tops = [name for name, child in model.named_children() if _has_parameters(child)]
                raise ConfigError(
                    f"freeze: the model has no {prefix!r} to freeze.{nearest(prefix, known)} "
                    f"Parts: {', '.join([*tops, 'cls_token'])}"
                )
            frozen += named
    for name in frozen:
        model.get_parameter(name).requires_grad_(False)
    return frozen


def _spelt_out(part: str) -> list[str]:
    """Return the names that ``blocks.0-5`` stands for, or `part` itself."""
    match = re.fullmatch(r"(.+\.)(\d+)-(\d+)(\..+)?", part)
    if match is None:
        return [part]
    before, first, last, behind = match[1], int(match[2]), int(match[3]), match[4] or ""
    if last < first:
        raise ConfigError(f"freeze: {part!r} counts down; expected the smaller number first")
    return [f"{before}{i}{behind}" for i in range(first, last + 1)]


def _has_parameters(module: nn.Module) -> bool:
    return next(module.parameters(), None) is not None
