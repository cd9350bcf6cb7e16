"""The figures of a run at Weights & Biases, which may be away at any time: training goes on without it."""

from __future__ import annotations

import importlib
import logging
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from t2t_vit.errors import ConfigError
from t2t_vit.files import write_text

_log = logging.getLogger(__name__)

_ID_FILE: Final = "wandb_run"
_PATIENCE: Final = 30  # seconds that a run waits for the service, at its begin and end


class WeightsAndBiases:
    """One run there; a run that goes on from a checkpoint is the same one there, too.

    Without the service, or without a key for it, what would be sent is kept in the folder `wandb` of the work folder,
    for `wandb sync`.

    Args:
        project: Name of the project there.
        folder: The run's work folder.
        settings: All settings of the run, shown there.

    Raises:
        ConfigError: The library is not installed.
    """

    def __init__(self, project: str, folder: Path, settings: dict[str, Any]) -> None:
        try:
            self._library = importlib.import_module("wandb")
        except ImportError:
            raise ConfigError(
                f"runtime.wandb is {project!r} and Weights & Biases is not installed; "
                "install it with: pip install 't2t-vit[wandb]'"
            ) from None
        arguments = {
            "project": project,
            "name": folder.resolve().name,
            "dir": str(folder),
            "id": self._run_id(folder / _ID_FILE),
            "resume": "allow",
            "config": settings,
            "settings": self._library.Settings(
                init_timeout=_PATIENCE, login_timeout=_PATIENCE, finish_timeout=_PATIENCE, silent=True, console="off"
            ),
        }
        self._run = self._try(lambda: self._library.init(**arguments), "it cannot be reached; keeping figures here")
        if self._run is None:
            # What has failed still holds the run's id.
            self._try(self._library.teardown, "what was begun there cannot be ended")
            self._run = self._try(lambda: self._library.init(**arguments, mode="offline"), "going on without it")
        if self._run is not None:
            # A step of its own: theirs only rises, and lines of one step come before and after a stop.
            self._try(lambda: self._run.define_metric("*", step_metric="step"), "the figures have no common step")

    def send(self, step: int, figures: dict[str, float]) -> None:
        """Send the `figures` of `step`, by name."""
        if self._run is None:
            return
        if self._try(lambda: self._run.log({"step": step, **figures}) or True, "going on without it") is None:
            self._run = None

    def close(self, status: int) -> None:
        """Send what is left; `status` is that of the process, 0 for a run that is done."""
        if self._run is not None:
            self._try(lambda: self._run.finish(exit_code=status), "`wandb sync` sends what is left")

    def _run_id(self, file: Path) -> str:
        if file.is_file() and (known := file.read_text(encoding="utf-8").strip()):
            return known
        new = secrets.token_hex(8)
        write_text(file, new + "\n")
        return new

    def _try(self, act: Callable[[], Any], otherwise: str) -> Any:
        """Return what `act` does, None if it cannot: whatever happens there, the run here goes on."""
        try:
            return act()
        except Exception as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            _log.warning("Weights & Biases: %s (%s)", otherwise, reason)
            return None
