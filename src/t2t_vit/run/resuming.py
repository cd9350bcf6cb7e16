"""What a run goes on from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from t2t_vit.config import Experiment, experiment_from_json, experiment_to_dict
from t2t_vit.engine.checkpoint import CheckpointFolder, read_training_state
from t2t_vit.errors import ConfigError, TrainingError


def stored_experiment(work_dir: str | Path) -> Experiment:
    """Return the `Experiment` that the run in `work_dir` was started with.

    Raises:
        ConfigError: There is none, or it is damaged.
    """
    path = Path(work_dir) / "experiment.json"
    try:
        return experiment_from_json(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise ConfigError(f"{work_dir} holds no run: cannot read {path} ({error.strerror})") from None


def resume_point(work_dir: str | Path, resume: str | Path | None) -> Path | None:
    """Return the checkpoint that `train` goes on from with this `resume`, None if it begins.

    Raises:
        TrainingError: There is a run already and `resume` is None, or there is nothing to resume.
        CheckpointError: All checkpoints are damaged.
    """
    checkpoints = CheckpointFolder(Path(work_dir), keep=None)
    if resume is None:
        last = checkpoints.last()
        if last is not None:
            raise TrainingError(
                f"{work_dir} holds a run already ({last.name}); go on with it by --resume, "
                "or name another place with --work-dir"
            )
        return None
    if resume not in ("auto", "last"):
        return Path(resume)
    last = checkpoints.last_whole()
    if last is None and resume == "last":
        raise TrainingError(f"there is nothing to resume: {work_dir} has no checkpoint")
    return last


def changed_settings(before: Experiment, now: Experiment) -> list[str]:
    """Return a line for each setting that is another one in `now`: ``runtime.precision: float32, now bfloat16``."""
    old, new = (_flat(experiment_to_dict(experiment)) for experiment in (before, now))
    return [f"{name}: {old.get(name)}, now {value}" for name, value in new.items() if old.get(name) != value]


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat


def resumed_experiment(checkpoint: Path) -> Experiment:
    """Return the settings of the run that wrote `checkpoint`.

    Raises:
        CheckpointError: It is missing, damaged or not of training.
        ConfigError: The settings in it are damaged.
    """
    return experiment_from_json(read_training_state(checkpoint)["experiment"], str(checkpoint))
