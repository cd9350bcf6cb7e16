"""From a config file to an `Experiment`, and to JSON and back."""

from __future__ import annotations

import dataclasses
import json
import logging
import runpy
import traceback
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from t2t_vit.config.mmpretrain import Reading, is_mmpretrain, read_file, read_values
from t2t_vit.config.settings import Experiment
from t2t_vit.config.validation import explain, validate_experiment
from t2t_vit.errors import ConfigError, nearest

_log = logging.getLogger(__name__)


def shipped_configs() -> dict[str, Path]:
    """Return the configs that come with the package: name (the file's stem) to path."""
    package = Path(__file__).parents[1]
    # A wheel has them inside the package; in a source tree they stand at the top.
    folders = [package / "configs", package.parents[1] / "configs" / "t2t_vit"]
    folder = next((folder for folder in folders if folder.is_dir()), folders[0])
    return {path.stem: path for path in sorted(folder.glob("*.py"))}


def config_path(config: str | Path) -> Path:
    """Return the file of `config`: a path, or the name of a shipped config with or without ``.py``.

    MMPretrain's way of writing a shipped one, ``configs/t2t_vit/NAME.py``, works from any folder.

    Raises:
        ConfigError: There is no such file and no such name.
    """
    path = Path(config)
    if path.is_file():
        return path
    shipped = shipped_configs()
    if path.stem in shipped and path.parent in (Path(), Path("configs/t2t_vit")):
        return shipped[path.stem]
    name = str(config).removesuffix(".py")
    if name in shipped:
        return shipped[name]
    kind = "is a folder, not a config file" if path.is_dir() else "is neither a file nor a shipped config"
    raise ConfigError(f"config {str(config)!r} {kind}.{nearest(name, shipped)} Shipped: {', '.join(shipped)}")


def load_experiment(config: str | Path) -> Experiment:
    """Return the `Experiment` of a config: a Python file, a resolved JSON, or the name of a shipped one.

    A Python file that binds `experiment` is executed, so only ever read one that you trust. One of MMPretrain
    (``model = dict(type=...)``, ``_base_``) is read without that; what it means otherwise here is logged.

    Raises:
        ConfigError: The file is missing, broken, binds no `experiment`, or a setting in it is wrong.
    """
    path = config_path(config)
    if path.suffix == ".json":
        return _load_json(path)
    if path.suffix != ".py":
        raise ConfigError(f"config {str(path)!r}: expected a .py or .json file")
    if is_mmpretrain(path.read_bytes().decode("utf-8-sig", errors="replace")):
        return _noted(path, read_file(path))
    try:
        names = runpy.run_path(str(path))
    except ValidationError as error:
        raise ConfigError(f"{_place(path, error)}: {explain(error)}") from None
    except (Exception, SystemExit) as error:
        place = _place(path, error)
        message = " ".join(str(error).split()) or "no message"
        raise ConfigError(f"{place}: {type(error).__name__}: {message}") from error
    experiment = names.get("experiment")
    if not isinstance(experiment, Experiment):
        found = "nothing" if experiment is None else f"a {type(experiment).__name__}"
        raise ConfigError(f"{path} binds {found} to the name 'experiment'; expected experiment = Experiment(...)")
    return experiment


def experiment_from_json(text: str, source: str) -> Experiment:
    """Return the `Experiment` that `experiment_to_json` wrote.

    Raises:
        ConfigError: `text` is no JSON object or holds a wrong setting.
    """
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{source} is not JSON: {error}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{source} holds a {type(values).__name__}; expected an object of settings")
    return validate_experiment(values, source)


def experiment_to_json(experiment: Experiment) -> str:
    """Return `experiment` as JSON, every setting written out."""
    return json.dumps(experiment_to_dict(experiment), indent=2)


def experiment_to_dict(experiment: Experiment) -> dict[str, Any]:
    """Return `experiment` as nested plain values."""
    return dataclasses.asdict(experiment)


def _load_json(path: Path) -> Experiment:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from None
    try:
        values = json.loads(text)
    except json.JSONDecodeError:
        values = None
    if isinstance(values, dict) and isinstance(values.get("model"), dict) and "backbone" in values["model"]:
        return _noted(path, read_values(values, str(path)))
    return experiment_from_json(text, str(path))


def _noted(path: Path, reading: Reading) -> Experiment:
    """Return what was read, and say what is otherwise here."""
    for note in reading.notes:
        _log.warning("%s: %s", path, note)
    if reading.idle:
        _log.info("%s: without effect here: %s", path, ", ".join(reading.idle))
    return reading.experiment


def _place(path: Path, error: BaseException) -> str:
    """Return "file:line" of the last line of the config that ran."""
    if isinstance(error, SyntaxError) and error.lineno and error.filename == str(path):
        return f"{path}:{error.lineno}"
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
    return f"{path}:{lines[-1]}" if lines else str(path)
