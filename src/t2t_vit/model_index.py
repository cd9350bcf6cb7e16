"""Users' own model names: registered from a ``model-index.yml``, as MMPretrain's `ModelHub` does.

    Models:
      - Name: my-t2t-vit_8xb64_birds
        Config: my-t2t-vit_8xb64_birds.py             # beside the index, or below `config_prefix`
        Weights: checkpoints/my-t2t-vit.pth           # beside the index, or a URL
        Results: [{Task: Image Classification, Dataset: birds, Metrics: {Top 1 Accuracy: 91.2}}]

Commands run in processes of their own: they know the indexes that the environment variable `T2T_VIT_MODEL_INDEX` names.

Source: MMPretrain 1.2.0, `apis/model.py`; model-index 0.1.11.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from t2t_vit.config import shipped_configs
from t2t_vit.errors import ConfigError, UnknownModelError, nearest
from t2t_vit.weights.catalogue import CATALOGUE, find_weights

ENVIRONMENT_VARIABLE: Final = "T2T_VIT_MODEL_INDEX"
#: An index of all of MMPretrain's models has some ten thousand.
_MAX_VALUES: Final = 200_000
_FILE_NAMES: Final = ("model-index.yml", "model-index.yaml")


@dataclass(frozen=True)
class RegisteredModel:
    """What an index says of a model.

    Attributes:
        name: The name that users type, in small letters.
        config: Its config; None for what this package has without one.
        weights: URL or path of its weights, None if there are none.
        metadata: FLOPs, parameters, training data and the like, of its collection, too.
        results: For each benchmark its `task`, `dataset` and `metrics`.
        index: The file that says so; None for what comes with this package.
    """

    name: str
    config: Path | None
    weights: str | None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    results: tuple[Mapping[str, Any], ...] = ()
    index: Path | None = None

    @property
    def metrics(self) -> Mapping[str, Any]:
        """Figures of the first benchmark, `Top 1 Accuracy` for example."""
        found = self.results[0].get("metrics") if self.results else None
        return found if isinstance(found, dict) else {}


class ModelHub:
    """The models that can be had by name: those of this package, and those that were registered."""

    @staticmethod
    def register_model_index(
        model_index_path: str | os.PathLike[str], config_prefix: str | os.PathLike[str] | None = None
    ) -> None:
        """Make the models of an index known to `get_model`, `list_models` and the inferencers. See the function."""
        register_model_index(model_index_path, config_prefix)

    @staticmethod
    def get(model_name: str) -> RegisteredModel:
        """Return what is known of the model called `model_name`.

        Raises:
            UnknownModelError: There is none; the message names the nearest.
        """
        name = model_name.lower()
        found = registered().get(name) or _own(name)
        if found is None:
            known = [*registered(), *_own_names()]
            raise UnknownModelError(f"no model is called {model_name!r}.{nearest(name, known)}")
        return found

    @staticmethod
    def has(model_name: str) -> bool:
        """Whether there is a model called `model_name`."""
        name = model_name.lower()
        return name in registered() or _own(name) is not None


_registered: dict[str, RegisteredModel] = {}
_read_from_environment: set[str] = set()


def register_model_index(
    path: str | os.PathLike[str], config_prefix: str | os.PathLike[str] | None = None
) -> list[RegisteredModel]:
    """Register the models of an index and of those that it imports, all or none; return them.

    Their configs are executed when they are used: only register an index that you trust. A model that comes with this
    package, with the same weights, is left as it is.

    Args:
        path: A YAML file, or a folder with a ``model-index.yml``.
        config_prefix: Folder that relative configs are in; None: the folder of the index that names them.

    Raises:
        ConfigError: The file is missing or no index, a config is missing, or a name is taken.
    """
    new: dict[str, RegisteredModel] = {}
    own = _own_names()
    for model in _read(_index_file(Path(path)), None if config_prefix is None else Path(config_prefix), set()):
        published = find_weights(model.name)
        if model.name in own:
            if published is not None and published.url == model.weights:
                continue
            raise ConfigError(f"{model.index}: {model.name!r} is a model of this package; give yours another name")
        known = new.get(model.name) or _registered.get(model.name)
        if known is not None and (known.config, known.weights) != (model.config, model.weights):
            raise ConfigError(
                f"{model.index}: {model.name!r} is the name of another model already, from {known.index}; rename one"
            )
        new[model.name] = model
    _registered.update(new)
    return list(new.values())


def registered() -> Mapping[str, RegisteredModel]:
    """Return the registered models by name, in small letters.

    Raises:
        ConfigError: An index that `T2T_VIT_MODEL_INDEX` names is wrong.
    """
    for path in filter(None, os.environ.get(ENVIRONMENT_VARIABLE, "").split(os.pathsep)):
        if path not in _read_from_environment:
            register_model_index(path)
            _read_from_environment.add(path)
    return MappingProxyType(_registered)


def _own(name: str) -> RegisteredModel | None:
    """Return what this package itself has under `name`: an architecture, a shipped config, published weights."""
    if name not in _own_names():
        return None
    config, weights = shipped_configs().get(name), find_weights(name)
    figures = {"Top 1 Accuracy": weights.top1, "Top 5 Accuracy": weights.top5} if weights is not None else {}
    metrics = {key: value for key, value in figures.items() if value is not None}
    result = {"task": "Image Classification", "metrics": metrics}
    return RegisteredModel(name, config, weights.url if weights else None, results=(result,) if metrics else ())


def _own_names() -> set[str]:
    from t2t_vit.models import variant_names  # with torch

    published = {name for entry in CATALOGUE.values() for name in (entry.name, entry.full_name)}
    return {*variant_names(), *shipped_configs(), *published}


def _index_file(path: Path) -> Path:
    if path.is_dir():
        found = next((path / name for name in _FILE_NAMES if (path / name).is_file()), None)
        if found is None:
            raise ConfigError(f"folder {str(path)!r} holds no {_FILE_NAMES[0]}")
        return found
    return path


def _read(path: Path, config_prefix: Path | None, seen: set[Path]) -> Iterator[RegisteredModel]:
    """Yield the models of the index `path` and of its imports; `seen` are the files that were read before."""
    path = path.absolute()  # not resolved: what lies beside a link is beside it
    if path.resolve() in seen:
        return
    seen.add(path.resolve())
    content = _load(path)
    if isinstance(content, dict) and "name" in content:
        content = {"models": [content]}
    elif isinstance(content, list):
        content = {"models": content}
    if not isinstance(content, dict) or not {"models", "import", "collections"} & content.keys():
        raise ConfigError(f"{path} is no model index; expected a list of Models, or Import: a list of files")
    for pattern in _list(content.get("import"), "Import", path):
        files = sorted(path.parent.glob(pattern)) if _is_relative(pattern, path) else [Path(pattern)]
        if not files:
            raise ConfigError(f"{path} imports {pattern!r}, and there is no such file")
        for file in files:
            yield from _read(file, config_prefix, seen)
    collections = {
        entry.get("name"): entry.get("metadata")
        for entry in _list(content.get("collections"), "Collections", path)
        if isinstance(entry, dict)
    }
    for entry in _list(content.get("models"), "Models", path):
        yield _model(entry, path, config_prefix or path.parent, collections)


def _model(entry: Any, path: Path, config_folder: Path, collections: Mapping[Any, Any]) -> RegisteredModel:
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise ConfigError(f"{path}: a model has no Name, or one that is no text; write Name: my-model")
    name = entry["name"].lower()
    config, weights = entry.get("config"), entry.get("weights")
    if not isinstance(config, str):
        raise ConfigError(f"{path}: model {name!r} has no Config, the path of its config file")
    if not (weights is None or isinstance(weights, str)):
        raise ConfigError(f"{path}: Weights of {name!r} is {weights!r}; expected a URL or a path")
    file = (config_folder / config).absolute()
    if not file.is_file():
        raise ConfigError(f"{path}: the Config of {name!r}, {file}, is no file")
    if weights is not None and not re.match(r"https?://", weights):
        weights = str(path.parent / weights)
    results = entry.get("results")
    return RegisteredModel(
        name,
        file,
        weights,
        {**_dict(collections.get(entry.get("in collection"))), **_dict(entry.get("metadata"))},
        tuple(r for r in (results if isinstance(results, list) else [results]) if isinstance(r, dict)),
        path,
    )


def _load(path: Path) -> Any:
    """Return the content of a YAML file; of indexes, models, collections and results the keys are in small letters."""
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
        _refuse_endless(yaml.compose(text, Loader=yaml.SafeLoader), path)
        content = yaml.safe_load(text)
    except RecursionError:
        raise ConfigError(f"{path} is nested too deeply for a model index") from None
    except FileNotFoundError:
        raise ConfigError(f"there is no model index {path}") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read as YAML: {' '.join(str(error).split())}") from None
    return _small_keys(content)


def _refuse_endless(root: Any, path: Path) -> None:
    """Refuse what grows without end once aliases (``*name``) are followed, or stands in itself."""
    waiting, num_values = [root], 0
    while waiting:
        # A scalar's value is text; a mapping has pairs, a sequence nodes.
        value = getattr(waiting.pop(), "value", None)
        for item in value if isinstance(value, list) else []:
            waiting += item if isinstance(item, tuple) else [item]
        num_values += 1
        if num_values > _MAX_VALUES:
            raise ConfigError(f"{path} has more than {_MAX_VALUES} values with its aliases followed; write them out")


def _small_keys(value: Any) -> Any:
    if isinstance(value, list):
        return [_small_keys(item) for item in value]
    if not isinstance(value, dict):
        return value
    small = {str(key).lower(): item for key, item in value.items()}
    return {
        key: _small_keys(item) if key in ("models", "collections", "results") else item for key, item in small.items()
    }


def _list(value: Any, what: str, path: Path) -> list[Any]:
    if value is None:
        return []
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        raise ConfigError(f"{path}: {what} is a {type(value).__name__}; expected a list")
    return value


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _is_relative(pattern: Any, path: Path) -> bool:
    if not isinstance(pattern, str) or not pattern:
        raise ConfigError(f"{path}: Import names {pattern!r}; expected paths of files")
    return not Path(pattern).is_absolute()
