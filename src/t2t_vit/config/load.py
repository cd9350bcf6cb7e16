"""From a config file to an `Experiment`, and to JSON and back."""

from __future__ import annotations

import dataclasses
import json
import logging
import runpy
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from t2t_vit.config.mmpretrain import Reading, is_mmpretrain, read_file, read_text, read_values
from t2t_vit.config.overrides import apply_overrides, is_own, parse_option
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


def load_experiment(config: str | Path, options: Iterable[str] = ()) -> Experiment:
    """Return the `Experiment` of a config: a Python file, a resolved JSON, or the name of a shipped one.

    A Python file that binds `experiment` is executed, so only ever read one that you trust. One of MMPretrain
    (``model = dict(type=...)``, ``_base_``) is read without that; what it means otherwise here is logged.

    Args:
        config: The file or the name.
        options: ``key=value`` over what the config says, as of `apply_overrides`. Over a config of MMPretrain,
            MMPretrain's names mean what they mean in that file, and this package's go before them.

    Raises:
        ConfigError: The file is missing, broken, binds no `experiment`, or a setting in it is wrong.
    """
    path, options = config_path(config), list(options)
    reading = _read_mmpretrain(path, options)
    if reading is None:
        return apply_overrides(_load_own(path), options)
    for note in reading.notes:
        _log.warning("%s: %s", path, note)
    if reading.idle:
        _log.info("%s: without effect here: %s", path, ", ".join(reading.idle))
    return apply_overrides(reading.experiment, _own_options(options))


def override(experiment: Experiment, config: str | Path, options: Iterable[str]) -> Experiment:
    """Return `experiment`, which came of `config` once, with what `options` change in that.

    Raises:
        ConfigError: As of `load_experiment`.
    """
    path, options = config_path(config), list(options)
    plain, changed = _read_mmpretrain(path, []), _read_mmpretrain(path, options)
    if plain is None or changed is None:
        return apply_overrides(experiment, options)
    values = experiment_to_dict(experiment)
    before, after = experiment_to_dict(plain.experiment), experiment_to_dict(changed.experiment)
    for section, settings in after.items():
        values[section] |= {name: value for name, value in settings.items() if value != before[section][name]}
    return apply_overrides(validate_experiment(values, "--cfg-options"), _own_options(options))


def _own_options(options: list[str]) -> list[str]:
    return [option for option in options if is_own(parse_option(option)[0])]


def _read_mmpretrain(path: Path, options: list[str]) -> Reading | None:
    """Return what a config of MMPretrain says with its own names among `options`; None if `path` is no such config."""
    theirs = [(key, value) for key, value in map(parse_option, options) if not is_own(key)]
    if path.suffix == ".py":
        text = read_text(path, "replace")
        try:
            is_theirs = is_mmpretrain(text)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from None
        return read_file(path, theirs) if is_theirs else None
    if path.suffix != ".json":
        raise ConfigError(f"config {str(path)!r}: expected a .py or .json file")
    try:
        values = json.loads(_json_text(path))
    except (ValueError, RecursionError):
        return None
    if isinstance(values, dict) and isinstance(values.get("model"), dict) and "backbone" in values["model"]:
        return read_values(values, str(path), options=theirs)
    return None


def _load_own(path: Path) -> Experiment:
    """Return the `Experiment` that the file itself holds, or binds when it is executed."""
    if path.suffix == ".json":
        return experiment_from_json(_json_text(path), str(path))
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
    except (ValueError, RecursionError) as error:
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


def _json_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from None


def _place(path: Path, error: BaseException) -> str:
    """Return "file:line" of the last line of the config that ran."""
    if isinstance(error, SyntaxError) and error.lineno and error.filename == str(path):
        return f"{path}:{error.lineno}"
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
    return f"{path}:{lines[-1]}" if lines else str(path)
