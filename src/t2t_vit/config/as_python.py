"""An `Experiment` as the text of a config file."""

from __future__ import annotations

import dataclasses
from typing import Any

from t2t_vit.config.settings import Experiment


def experiment_to_python(experiment: Experiment, docstring: str) -> str:
    """Return a Python config that binds an equal `experiment`, every setting written out.

    Args:
        experiment: What to write.
        docstring: What the file says of itself.
    """
    sections = [field.name for field in dataclasses.fields(experiment)]
    classes = sorted(["Experiment", *(type(getattr(experiment, name)).__name__ for name in sections)])
    lines = [
        f'"""{_in_docstring(docstring)}"""',
        "",
        "from t2t_vit.config import (",
        *(f"    {name}," for name in classes),
        ")",
        "",
        "experiment = Experiment(",
    ]
    for name in sections:
        section = getattr(experiment, name)
        lines.append(f"    {name}={type(section).__name__}(")
        lines += [f"        {f.name}={_literal(getattr(section, f.name))}," for f in dataclasses.fields(section)]
        lines.append("    ),")
    return "\n".join([*lines, ")", ""])


def _literal(value: Any) -> str:
    if isinstance(value, tuple):
        items = ", ".join(map(_literal, value))
        return f"({items},)" if len(value) == 1 else f"({items})"
    if isinstance(value, str) and value.isprintable() and not {'"', "\\"} & set(value):
        return f'"{value}"'
    return repr(value)


def _in_docstring(text: str) -> str:
    text = text.replace("\\", "/").replace('"', "'")
    return "".join(character if character.isprintable() or character == "\n" else "?" for character in text)
