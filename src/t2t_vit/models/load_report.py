"""What became of a weights file."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class LoadReport:
    """What became of the entries of a weights file.

    Attributes:
        loaded: Taken as they are.
        resized: Adapted to another image size or other channels; a position table that is not there, computed.
        initialised: Drawn anew, as the head of other classes.
        dropped: In the file and not in the model.
        missing: In the model and not in the file; they keep what they were initialised with.
        doubtful: Loaded as they are, though the file does not say whether they fit: a position table of as many tokens
            as a square grid has, in a model whose grid is none.
    """

    loaded: list[str] = field(default_factory=list)
    resized: list[str] = field(default_factory=list)
    initialised: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    doubtful: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """Return it in one line: what was not taken as it is, by name."""
        others = [
            f"{len(names)} {what} ({', '.join(names[:4])}{', …' if len(names) > 4 else ''})"
            for what, names in (
                ("resized", self.resized),
                ("newly initialised", self.initialised),
                ("dropped", self.dropped),
                ("missing", self.missing),
                ("of these perhaps for a square token grid", self.doubtful),
            )
            if names
        ]
        return ", ".join([f"{len(self.loaded)} loaded", *others])
