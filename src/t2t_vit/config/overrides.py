"""``--cfg-options key=value``: settings changed from the command line."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Iterable
from typing import Any

from t2t_vit.config.mmpretrain.names import AFTER_OTHERS, DOTTED_NAMES, ROOTS, apply_name, move_roots, unknown_setting
from t2t_vit.config.settings import Experiment
from t2t_vit.config.validation import known_keys, validate_experiment
from t2t_vit.errors import ConfigError

_WORDS = {"true": True, "false": False, "none": None, "null": None}


def apply_overrides(experiment: Experiment, options: Iterable[str]) -> Experiment:
    """Return `experiment` with each ``key=value`` of `options` applied; later ones win.

    A key is dotted (`optimizer.lr`), ours or MMPretrain's for the same thing. A value is a number, a word, or a list
    written ``(1,2)``, ``[1,2]`` or ``1,2``.

    Raises:
        ConfigError: An option is not ``key=value``, a key is unknown, or a value is wrong.
    """
    values = dataclasses.asdict(experiment)
    roots: dict[str, Any] = {}
    for key, value in sorted(map(parse_option, options), key=lambda option: option[0] in AFTER_OTHERS):
        if key in ROOTS:
            roots.pop(key, None)  # the last one given counts
            roots[key] = value
        elif not apply_name(key, value, values):
            section, name = _find(key)
            values[section][name] = value
    move_roots(roots, values)
    return validate_experiment(values, "--cfg-options")


def parse_option(option: str) -> tuple[str, Any]:
    """Return the name and the value of ``key=value``.

    Raises:
        ConfigError: It is written otherwise.
    """
    key, equals, text = option.partition("=")
    if not equals or not key:
        raise ConfigError(f"--cfg-options got {option!r}; expected key=value, such as optimizer.lr=1e-3")
    return key.strip(), parse_value(text)


def is_own(key: str) -> bool:
    """Whether `key` is a dotted name of this package's."""
    section, _, name = key.partition(".")
    return name in known_keys([section])


def parse_value(text: str) -> Any:
    """Return the value that `text` writes; what reads like none is the text itself."""
    text = text.strip()
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):  # TypeError: a key that is a dict
        return text


def _find(key: str) -> tuple[str, str]:
    section, _, name = DOTTED_NAMES.get(key, key).partition(".")
    if name in known_keys([section]):
        return section, name
    raise unknown_setting(key)
