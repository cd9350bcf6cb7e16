"""``--cfg-options`` in the values of an MMPretrain config, before these are read.

So a name means what it means in the file: the third scheduler is the third of this config, not of the published one.

Source: MMEngine 0.10, `config/config.py`, for how an option is merged.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from t2t_vit.config.mmpretrain.merge import merge
from t2t_vit.config.mmpretrain.names import refuse_elsewhere, unknown_setting
from t2t_vit.errors import ConfigError

#: A dotted name and its value.
Option = tuple[str, Any]


def put_options(values: dict[str, Any], options: Iterable[Option], known: Collection[str]) -> None:
    """Set what `options` name in `values`.

    Args:
        values: The config's, by top-level name; changed in place.
        options: In the order in which they were given; later ones win.
        known: The top-level names that mean something.

    Raises:
        ConfigError: A name is unknown, stands for nothing in this config, or is told in another way here.
    """
    for key, value in options:
        refuse_elsewhere(key)
        top = key.partition(".")[0]
        if top not in known:
            if top in values:
                raise ConfigError(
                    f"--cfg-options: {key} changes nothing: {top} is only a name in the config, and what was made of "
                    "it is made; set that"
                )
            raise unknown_setting(key)
        _put(values, key, value)


def _put(values: dict[str, Any], key: str, value: Any) -> None:
    here: Any = values
    *way, last = key.split(".")
    for depth, step in enumerate(way):
        where = ".".join(way[:depth])
        slot = _slot(here, step, key, where)
        below = here.get(slot) if isinstance(here, dict) else here[slot]
        # What lies in a tuple can be set, too; where there is nothing yet, a dict begins.
        below = {} if below is None else list(below) if isinstance(below, tuple) else below
        here[slot] = below
        here = below
    slot = _slot(here, last, key, ".".join(way))
    if isinstance(here, dict) and isinstance(here.get(slot), dict) and isinstance(value, dict):
        value = merge(here[slot], value)
    here[slot] = value


def _slot(container: Any, step: str, key: str, where: str) -> Any:
    """Return the key or index that `step` is in `container`, which `key` calls `where`."""
    if isinstance(container, dict):
        return step
    if not isinstance(container, list):
        raise ConfigError(f"--cfg-options: {key} cannot be set: {where} is {container!r}")
    if not (step.isdecimal() and int(step) < len(container)):
        raise ConfigError(
            f"--cfg-options: {key} cannot be set: {where} is a list of {len(container)}, counted from 0, and {step!r} "
            "is none of them"
        )
    return int(step)
