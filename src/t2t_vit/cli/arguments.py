"""MMPretrain's way of writing options, put into the form that typer reads."""

from __future__ import annotations

from collections.abc import Iterator

_LOCAL_RANK = ("--local-rank", "--local_rank")


def expand(arguments: list[str]) -> list[str]:
    """Return `arguments` with ``--cfg-options a=1 b=2`` and ``--resume`` (with or without a value) made regular.

    In MMPretrain the first takes all the ``key=value`` that follow, and the second may stand alone. ``--local-rank N``,
    which launchers add, is dropped: they say the same in the environment.
    """
    return list(_expanded(arguments))


def _expanded(arguments: list[str]) -> Iterator[str]:
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if argument == "--cfg-options" and rest and not rest[0].startswith("-"):
            while rest and not rest[0].startswith("-"):
                yield from (argument, rest.pop(0))
        elif argument == "--resume":
            has_value = bool(rest) and not rest[0].startswith("-")
            yield from (argument, rest.pop(0) if has_value else "last")
        elif argument in _LOCAL_RANK:
            del rest[:1]
        elif argument.partition("=")[0] not in _LOCAL_RANK:
            yield argument
