"""The state that makes a run resumable, in files that appear whole or not at all."""

from __future__ import annotations

import json
import logging
import re
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from t2t_vit.errors import CheckpointError, TrainingError
from t2t_vit.files import write_text, written_whole

#: Value of "format" in these files, by which they are known when read for their weights.
FORMAT = "t2t_vit.training"

#: What stands before the name of the best checkpoint.
BEST = "best_accuracy_top1_"

_LAST = "last_checkpoint"
_log = logging.getLogger(__name__)


@dataclass
class TrainingState:
    """Where a run stands.

    Attributes:
        step: Steps done.
        validated_step: Step at which it was evaluated last.
        best: Best figure so far, None before the first.
        best_file: Name of the checkpoint that has it.
        stale: Evaluations since then.
        nonfinite: Steps in a row, the last ones, that were not taken as their loss was not finite.
    """

    step: int = 0
    validated_step: int = 0
    best: float | None = None
    best_file: str | None = None
    stale: int = 0
    nonfinite: int = 0


@dataclass
class CheckpointFolder:
    """The checkpoints of one run: `epoch_N.pth`, `step_N.pth` of an interrupted epoch, `best_*.pth`.

    Attributes:
        folder: The run's work folder.
        keep: How many of the newest stay; None: all of them.
        about: What is written into each: config, classes.
    """

    folder: Path
    keep: int | None
    about: dict[str, Any] = field(default_factory=dict)

    def save(self, name: str, content: dict[str, Any]) -> Path:
        """Write `content` as checkpoint `name`, make it the last one, and remove those that are too old.

        Raises:
            TrainingError: It cannot be written; the checkpoints before it are as they were.
        """
        path = self.folder / name
        try:
            with written_whole(path) as temporary, temporary.open("wb") as file:
                torch.save({"format": FORMAT, **self.about, **content}, file)
            write_text(self.folder / _LAST, path.name)
        except (OSError, RuntimeError) as error:  # torch's writer says RuntimeError for a full disk
            kept = self.last()
            stays = f"the last good one is {kept}" if kept else "there is none before it"
            raise TrainingError(f"cannot write the checkpoint {path} ({_reason(error)}); {stays}") from None
        if self.keep is not None:
            for old in self.newest_first()[self.keep :]:
                old.unlink(missing_ok=True)
        return path

    def save_best(self, name: str, path: Path, previous: str | None) -> None:
        """Keep the checkpoint `path` also as `name`, in place of the `previous` best.

        Raises:
            TrainingError: It cannot be written.
        """
        try:
            with written_whole(self.folder / name) as temporary:
                temporary.unlink()
                try:
                    temporary.hardlink_to(path)
                except OSError:  # some file systems have no hard links
                    temporary.write_bytes(path.read_bytes())
        except OSError as error:
            raise TrainingError(f"cannot write {self.folder / name} ({_reason(error)}); {path} is whole") from None
        if previous is not None and previous != name:
            (self.folder / previous).unlink(missing_ok=True)

    def mend_best(self, name: str | None) -> None:
        """Have `name` be the best checkpoint, and no earlier one: a run may be killed before it is linked, or after.

        Raises:
            TrainingError: It cannot be written.
        """
        source = self.folder / (name or "").removeprefix(BEST)
        if name is not None and not (self.folder / name).exists() and source.is_file():
            self.save_best(name, source, None)
        epoch = _epoch(self.folder / name) if name is not None else 0
        for path in self.folder.glob(f"{BEST}epoch_*.pth"):
            if _epoch(path) < epoch:
                path.unlink()
            elif _epoch(path) > epoch:
                _log.warning("%s is of a part of the run that is done again; move it if you want to keep it", path)

    def last(self) -> Path | None:
        """Return the newest checkpoint, None if there is none."""
        return next(iter(self.newest_first()), None)

    def last_whole(self) -> Path | None:
        """Return the newest checkpoint that is not damaged, None if there is none at all; say which are.

        Raises:
            CheckpointError: There are some, and all are damaged.
        """
        found = self.newest_first()
        for path in found:
            problem = _damage(path)
            if problem is None:
                return path
            _log.warning("%s is damaged (%s); looking for the one before it", path, problem)
        if found:
            raise CheckpointError(f"all {len(found)} checkpoints in {self.folder} are damaged; begin in another folder")
        return None

    def newest_first(self) -> list[Path]:
        """Return the checkpoints, the newest first; the best ones only where they are all that is left."""
        found = [p for p in self.folder.glob("*.pth") if re.fullmatch(r"(epoch|step)_\d+", p.stem)]
        found = found or list(self.folder.glob(f"{BEST}epoch_*.pth"))
        try:  # copying a folder gives its files new times, so what the run noted counts first
            noted = self.folder / (self.folder / _LAST).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            noted = self.folder
        return sorted(found, key=lambda p: (p == noted, p.stat().st_mtime_ns), reverse=True)

    def remove_leftovers(self) -> None:
        """Remove what a killed run left half-written."""
        for path in self.folder.glob(".*-*"):
            if path.suffix in (".pth", ".json", ".txt", "") and re.fullmatch(r"\..+-[a-z0-9_]{8}(\.\w+)?", path.name):
                path.unlink(missing_ok=True)


def read_training_state(path: Path) -> dict[str, Any]:
    """Return the content of a checkpoint that `CheckpointFolder.save` wrote; nothing in it is executed.

    Raises:
        CheckpointError: The file is missing, damaged, or of another kind.
    """
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint {path} to resume from")
    problem = _damage(path)
    if problem is not None:
        raise CheckpointError(f"{path} cannot be resumed from: it is damaged or of another kind ({problem})")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(
            f"{path} cannot be resumed from: it is damaged or of another kind ({_reason(error)})"
        ) from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} was not written by this package's training, so it cannot be resumed; to begin from its weights "
            f"use --cfg-options model.pretrained={json.dumps(str(path))}"
        )
    return content


def _damage(path: Path) -> str | None:
    """Return what is wrong with the file, None if nothing is: torch reads past a bit that has changed."""
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError) as error:
        return _reason(error)
    return None if broken is None else f"the check sum of {broken} is wrong"


def _epoch(path: Path) -> int:
    number = path.stem.rpartition("_")[2]
    return int(number) if number.isdecimal() else 0


def _reason(error: BaseException) -> str:
    if isinstance(error.__context__, OSError):  # torch's writer has it, and says something else
        error = error.__context__
    strerror = getattr(error, "strerror", None)
    return strerror or (str(error).splitlines() or [type(error).__name__])[0]
