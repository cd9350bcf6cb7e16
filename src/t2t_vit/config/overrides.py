"""``--cfg-options key=value``: settings changed from the command line."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from typing import Any

from t2t_vit.config.load import experiment_to_dict
from t2t_vit.config.mmpretrain.names import DOTTED_NAMES, KNOWN_NAMES, apply_name
from t2t_vit.config.settings import Experiment
from t2t_vit.config.validation import known_keys, validate_experiment
from t2t_vit.errors import ConfigError, nearest

_WORDS = {"true": True, "false": False, "none": None, "null": None}


def apply_overrides(experiment: Experiment, options: Iterable[str]) -> Experiment:
    """Return `experiment` with each ``key=value`` of `options` applied; later ones win.

    A key is dotted (`optimizer.lr`), ours or MMPretrain's for the same thing. A value is a number, a word, or a list
    written ``(1,2)``, ``[1,2]`` or ``1,2``.

    Raises:
        ConfigError: An option is not ``key=value``, a key is unknown, or a value is wrong.
    """
    values = experiment_to_dict(experiment)
    for option in options:
        key, equals, text = option.partition("=")
        if not equals or not key:
            raise ConfigError(f"--cfg-options got {option!r}; expected key=value, such as optimizer.lr=1e-3")
        key, value = key.strip(), parse_value(text)
        if not apply_name(key, value, values):
            section, name = _find(key)
            values[section][name] = value
    return validate_experiment(values, "--cfg-options")


def parse_value(text: str) -> Any:
    """Return the value that `text` writes; what reads like none is the text itself."""
    text = text.strip()
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _find(key: str) -> tuple[str, str]:
    section, _, name = DOTTED_NAMES.get(key, key).partition(".")
    if name in known_keys([section]):
        return section, name
    every = [f"{s}.{k}" for s in known_keys([]) for k in known_keys([s])]
    same_name = [known for known in every if known.endswith(f".{key.rpartition('.')[2]}")]
    hint = f" Did you mean {same_name[0]!r}?" if same_name else nearest(key, [*every, *KNOWN_NAMES])
    raise ConfigError(f"--cfg-options: unknown setting {key!r}.{hint}")
