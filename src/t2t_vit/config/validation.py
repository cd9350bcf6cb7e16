"""From pydantic's report of what is wrong with a setting to one line that a person can act on."""

from __future__ import annotations

import dataclasses
from typing import Any

from pydantic import TypeAdapter, ValidationError

from t2t_vit.config import settings
from t2t_vit.config.settings import Experiment
from t2t_vit.errors import ConfigError, nearest

_EXPERIMENT: TypeAdapter[Experiment] = TypeAdapter(Experiment)


def validate_experiment(values: dict[str, Any], source: str) -> Experiment:
    """Return the `Experiment` of nested plain `values`.

    Raises:
        ConfigError: A key is unknown or a value of the wrong type or out of range; `source` says where from.
    """
    try:
        return _EXPERIMENT.validate_python(values)
    except ValidationError as error:
        raise ConfigError(f"{source}: {explain(error)}") from None


def explain(error: ValidationError) -> str:
    """Return one line that says what is wrong, where, and what would be right."""
    problems: dict[str, str] = {}
    # Of what each member of a union has to say, the one that got furthest into the value knows most.
    for item in sorted(error.errors(), key=lambda item: -len(item["loc"])):
        # Parts of the location that begin lower-case and are no index are settings; unions add type names after them.
        keys = [str(part) for part in item["loc"] if str(part).isidentifier()]
        dotted = ".".join([*_prefix(error.title), *keys])
        problems.setdefault(dotted, _say(item, dotted))
    return "; ".join(problems.values())


def known_keys(prefix: list[str]) -> list[str]:
    """Return the settings below the dotted `prefix` (all the sections for an empty one); none if it is no section."""
    sections = {field.name: field for field in dataclasses.fields(Experiment)}
    if not prefix:
        return list(sections)
    if len(prefix) > 1 or prefix[0] not in sections:
        return []
    return [field.name for field in dataclasses.fields(_section_class(prefix[0]))]


def _say(item: Any, dotted: str) -> str:
    prefix, _, key = dotted.rpartition(".")
    if item["type"] == "unexpected_keyword_argument":
        known = known_keys(prefix.split(".") if prefix else [])
        return f"unknown setting {dotted!r}.{nearest(key, known)} Known here: {', '.join(known)}"
    if item["type"] == "unexpected_positional_argument":
        return f"{dotted or 'experiment'}: write settings by name, not by position"
    message = str(item["msg"]).removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    if item["type"] == "value_error":
        return message
    if item["type"] == "missing":
        message = "it has too few values"
    return f"{dotted} is {item['input']!r}; {message.replace('input should be', 'expected')}"


def _prefix(title: str) -> list[str]:
    for field in dataclasses.fields(Experiment):
        if _section_class(field.name).__name__ == title:
            return [field.name]
    return []


def _section_class(name: str) -> Any:
    return getattr(settings, name.capitalize())
