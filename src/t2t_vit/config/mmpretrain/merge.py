"""One config over another."""

from __future__ import annotations

from typing import Any


def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Return `base` with `over` in it: dicts key by key, everything else replaced; `_delete_` drops the base's."""
    merged = dict(base)
    for key, value in over.items():
        if isinstance(value, dict):
            below = None if value.get("_delete_", False) or not isinstance(merged.get(key), dict) else merged[key]
            own = {k: v for k, v in value.items() if k != "_delete_"}
            merged[key] = merge({} if below is None else below, own)
        else:
            merged[key] = value
    return merged


def unshared(value: Any) -> Any:
    """Return a copy of `value` in which no dict or list stands at two places; of what is in itself there is none."""
    if isinstance(value, dict):
        return {key: unshared(item) for key, item in value.items()}
    return type(value)(map(unshared, value)) if isinstance(value, list | tuple) else value
