"""A dict of an MMPretrain config whose every key has to be accounted for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from t2t_vit.errors import ConfigError, nearest


class Section:
    """One dict; what is not asked for by the time of `close` is refused.

    Args:
        where: Its dotted name, for messages.
        values: What it holds.
        notes: Where to say what is read otherwise than MMPretrain would.

    Raises:
        ConfigError: `values` is no dict.
    """

    def __init__(self, where: str, values: Any, notes: list[str]) -> None:
        if not isinstance(values, dict):
            raise ConfigError(f"{where} is {values!r}; expected a dict")
        self.where = where
        self.values = values
        self.notes = notes
        self._asked: dict[str, None] = {}  # in order

    def take(self, key: str, default: Any = None) -> Any:
        """Return the value of `key`, `default` if there is none."""
        self._asked[key] = None
        return self.values.get(key, default)

    def number(self, key: str, default: float | None = None) -> Any:
        """Return the value of `key`, which is a number.

        Raises:
            ConfigError: It is none.
        """
        value = self.take(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ConfigError(f"{self.where}.{key} is {value!r}; expected a number")
        return value

    def count(self, key: str, default: int | None = None) -> Any:
        """Return the value of `key`, which is a whole number from 1.

        Raises:
            ConfigError: It is none.
        """
        value = self.take(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ConfigError(f"{self.where}.{key} is {value!r}; expected a whole number, 1 or more")
        return value

    def expect(self, key: str, *allowed: Any) -> None:
        """Refuse any value of `key` but those `allowed`; the first of them is what a missing key means.

        Raises:
            ConfigError: It is another one.
        """
        value = self.take(key, allowed[0])
        if not any(value == one for one in allowed):
            words = " or ".join(map(repr, allowed))
            raise ConfigError(f"{self.where}.{key} is {value!r}, which is not supported here; expected {words}")

    def skip(self, *keys: str) -> None:
        """Take note that `keys` change nothing here."""
        self._asked.update(dict.fromkeys(keys))

    def type_in(self, supported: Iterable[str], default: str | None = None) -> str:
        """Return `type`, without a scope such as ``mmpretrain.``.

        Raises:
            ConfigError: It is none of those `supported`.
        """
        name, supported = self.take("type", default), list(supported)
        bare = name.rpartition(".")[2] if isinstance(name, str) else name
        if bare not in supported:
            raise ConfigError(
                f"{self.where}.type is {name!r}, which is not supported here.{nearest(str(bare), supported)} "
                f"Supported: {', '.join(supported)}"
            )
        return str(bare)

    def section(self, key: str, default: Any = None) -> Section | None:
        """Return the dict at `key`; None if there is none."""
        value = self.take(key, default)
        return None if value is None else Section(f"{self.where}.{key}", value, self.notes)

    def sections(self, key: str) -> list[Section]:
        """Return the dicts at `key`: a list of them, or one."""
        return as_sections(f"{self.where}.{key}", self.take(key), self.notes)

    def note(self, text: str) -> None:
        """Say what is read otherwise than MMPretrain would."""
        self.notes.append(f"{self.where}: {text}")

    def close(self) -> None:
        """Refuse what was not asked for.

        Raises:
            ConfigError: There is such a key.
        """
        for key in self.values:
            if key not in self._asked:
                known = sorted(self._asked)
                raise ConfigError(
                    f"{self.where} has the setting {key!r}, which is not supported here.{nearest(str(key), known)} "
                    f"Known: {', '.join(known)}"
                )


def as_sections(where: str, value: Any, notes: list[str]) -> list[Section]:
    """Return `value`, a list of dicts, one dict or None, as sections."""
    if value is None:
        return []
    if isinstance(value, dict):
        return [Section(where, value, notes)]
    if not isinstance(value, list | tuple):
        raise ConfigError(f"{where} is {value!r}; expected a list of dicts")
    return [Section(f"{where}[{i}]", item, notes) for i, item in enumerate(value)]
