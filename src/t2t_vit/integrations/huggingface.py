"""Models as folders, and folders on the Hugging Face Hub.

    save_pretrained(model, "flowers")
    model = from_pretrained("flowers")
    push_to_hub(model, "user/flowers")
    model = from_pretrained("user/flowers")

The same folder loads with timm after ``import t2t_vit.integrations.timm``, and with transformers after
``import t2t_vit.integrations.transformers``.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch

from t2t_vit.config import Experiment
from t2t_vit.config.validation import validate_experiment
from t2t_vit.errors import CheckpointError, ConfigError, DownloadError, WeightsError
from t2t_vit.files import written_whole
from t2t_vit.hub import get_model, preprocessing_of
from t2t_vit.integrations.config_json import (
    check_claims,
    class_names,
    experiment_of,
    head_of,
    labels_of,
    model_to_config,
    read_config,
)
from t2t_vit.integrations.model_card import CardFacts, is_own_card, model_card
from t2t_vit.models import T2TViT
from t2t_vit.weights.catalogue import pretrained
from t2t_vit.weights.save import to_safetensors

_log = logging.getLogger(__name__)

_WEIGHTS = "model.safetensors"
_CONFIG = "config.json"
_CARD = "README.md"


def save_pretrained(
    model: T2TViT,
    folder: str | Path,
    *,
    origin: str | None = None,
    licence: str | None = None,
    datasets: Sequence[str] = (),
    measured: Mapping[str, float] | None = None,
) -> None:
    """Write `model` to `folder`: `model.safetensors`, `config.json` and a model card, `README.md`.

    All three are written before any of them takes the place of an older one. A `README.md` of another author stays.

    Args:
        model: What to save, with its `preprocessing` and `classes`.
        folder: Where to; it is made if need be.
        origin: Name of the published weights that `model` has, from which the card quotes accuracy and licence.
        licence: Identifier of the weights' licence for the card, as the Hub spells it; None: that of `origin`.
        datasets: Names of the data sets that it was trained with, for the card.
        measured: Figures that you measured, by name, for the card.

    Raises:
        ConfigError: `model` is no T2TViT, or has something that `config.json` cannot say.
        UnknownModelError: No published weights are called `origin`.
        OSError: The folder cannot be written, or the disk is full.
    """
    folder = _expanded(folder)
    _save(model, folder, folder.resolve().name, _facts(origin, licence, datasets, measured))


def from_pretrained(
    source: str | Path,
    device: str | torch.device | None = None,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    **kwargs: Any,
) -> T2TViT:
    """Return the model in a folder or a repository of the Hugging Face Hub, in eval mode.

    Folders that timm's or transformers' own functions wrote of a T2T-ViT are read, too. Nothing in them is executed:
    only `config.json` and `model.safetensors` are fetched.

    Args:
        source: A folder, or a repository ``user/name``.
        device: Where the model goes; `auto` is a GPU if there is one, None the CPU.
        revision: Branch, tag or commit of a repository.
        token: For a private repository; None: the one that ``hf auth login`` stored.
        cache_dir: Where what is fetched is kept; None: where the Hub's own tools keep it.
        kwargs: Settings over the stored ones, to which the weights are adapted as by `get_model`: `num_classes`,
            `img_size`, `in_chans`, `drop_path_rate`, `out_type`, `freeze` and so on, or MMPretrain's
            ``backbone=dict(...)`` and ``head=dict(...)``.

    Returns:
        The model. Its `preprocessing` says how its images are prepared, its `classes` what it was trained to tell.

    Raises:
        DownloadError: The repository cannot be fetched.
        CheckpointError: There is no such folder, or it holds no T2T-ViT, or a damaged one.
        ConfigError: A setting is unknown or wrong.
        DeviceError: There is no such device.
    """
    is_pretrained = kwargs.pop("pretrained", True)
    if is_pretrained is not True:
        raise ConfigError(
            f"pretrained is {is_pretrained!r}; expected True, the weights of the source: get_model has others"
        )
    config_file, weights = _files(source, revision, token, cache_dir)
    config = read_config(config_file)
    experiment = experiment_of(config, str(config_file))
    check_claims(experiment, _shapes(weights), str(config_file))
    img_size = _taken_size(kwargs)
    try:
        model = get_model(experiment, weights, device, **{**head_of(config, str(config_file)), **kwargs})
    except (RuntimeError, OverflowError) as error:  # PyTorch's words for sizes that no machine has
        raise ConfigError(f"{config_file}: no model can be built of these settings ({error})") from None
    if img_size is not None:
        _resize(model, experiment, img_size)
    model.classes = labels_of(config, model.num_classes)
    return model


def push_to_hub(
    model: T2TViT,
    repo_id: str,
    *,
    private: bool | None = None,
    token: str | bool | None = None,
    revision: str | None = None,
    commit_message: str = "Upload a T2T-ViT",
    origin: str | None = None,
    licence: str | None = None,
    datasets: Sequence[str] = (),
    measured: Mapping[str, float] | None = None,
) -> str:
    """Upload what `save_pretrained` writes to the Hugging Face Hub; return the commit's URL.

    A model card that is already in the repository stays as it is.

    Args:
        model: What to upload.
        repo_id: The repository, ``user/name``; it is made if need be.
        private: Whether a repository that is made is private; None: as the account has it.
        token: Of an account that may write there; None: the one that ``hf auth login`` stored.
        revision: An existing branch; None: the main one.
        commit_message: What the commit says.
        origin: As in `save_pretrained`.
        licence: As in `save_pretrained`.
        datasets: As in `save_pretrained`.
        measured: As in `save_pretrained`.

    Raises:
        ConfigError: As in `save_pretrained`.
        UnknownModelError: As in `save_pretrained`.
        WeightsError: The Hub refused it, or cannot be reached.
        OSError: There is no room for the files that are to be uploaded.
    """
    from huggingface_hub import HfApi

    with tempfile.TemporaryDirectory() as folder:
        _save(model, Path(folder), repo_id, _facts(origin, licence, datasets, measured))
        with _hub_errors(WeightsError, f"{repo_id} was not uploaded"):
            api = HfApi(token=token)
            repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
            commit = api.upload_folder(
                repo_id=repo_id,
                folder_path=folder,
                revision=revision,
                commit_message=commit_message,
                ignore_patterns=_CARD if api.file_exists(repo_id, _CARD, revision=revision) else None,
            )
    return str(commit.commit_url)


def _facts(
    origin: str | None, licence: str | None, datasets: Sequence[str], measured: Mapping[str, float] | None
) -> CardFacts:
    entry = None if origin is None else pretrained(origin)
    return CardFacts(origin=entry, licence=licence, datasets=datasets, measured=measured or {})


def _save(model: T2TViT, folder: Path, name: str, facts: CardFacts) -> None:
    if not isinstance(model, T2TViT):
        raise ConfigError(f"a {type(model).__name__} cannot be saved here; expected a T2TViT (unwrap it first)")
    config = model_to_config(model)
    # The class names go into the weights, too: so these can be loaded on their own.
    texts = {"classes": json.dumps(class_names(model))}
    files = {
        _CARD: model_card(model, config, name, facts).encode(),
        _CONFIG: (json.dumps(config, indent=2, ensure_ascii=False) + "\n").encode(),
        _WEIGHTS: to_safetensors({key: value.detach().cpu() for key, value in model.state_dict().items()}, texts),
    }
    try:
        if (folder / _CARD).exists() and not is_own_card((folder / _CARD).read_bytes()):
            _log.warning("%s was not written by save_pretrained and stays as it is", folder / _CARD)
            del files[_CARD]
        with ExitStack() as all_written:
            for file, content in files.items():
                all_written.enter_context(written_whole(folder / file)).write_bytes(content)
    except OSError as error:  # its own words name no file, or a temporary one
        raise OSError(error.errno, error.strerror, str(folder)) from error


def _files(
    source: str | Path, revision: str | None, token: str | bool | None, cache_dir: str | Path | None
) -> tuple[Path, Path]:
    """Return `config.json` and the weights of a folder or a repository."""
    folder = _expanded(source)
    if not folder.is_dir():
        if not isinstance(source, str) or not re.fullmatch(r"[\w.-]+/[\w.-]+", source):
            raise CheckpointError(f"{str(source)!r} is neither a folder nor a repository of the form user/name")
        return _fetched(source, _CONFIG, revision, token, cache_dir), _fetched(
            source, _WEIGHTS, revision, token, cache_dir
        )
    if not (folder / _CONFIG).is_file():
        raise CheckpointError(f"{folder} has no {_CONFIG}; expected a folder that save_pretrained wrote")
    if not (folder / _WEIGHTS).is_file():
        pickles = [file.name for file in sorted(folder.iterdir()) if file.suffix in (".bin", ".pth", ".pt", ".tar")]
        advice = f"; get_model(NAME, pretrained={str(folder / pickles[0])!r}) reads that one" if pickles else ""
        raise CheckpointError(f"{folder} has no {_WEIGHTS}{advice}")
    return folder / _CONFIG, folder / _WEIGHTS


def _expanded(folder: str | Path) -> Path:
    return Path(os.path.expanduser(folder))  # noqa: PTH111 -- a folder may be called ~x where no user is


def _fetched(
    repo_id: str, name: str, revision: str | None, token: str | bool | None, cache_dir: str | Path | None
) -> Path:
    from huggingface_hub import hf_hub_download

    with _hub_errors(DownloadError, f"{name} of {repo_id} was not fetched, and there is no folder of this name"):
        return Path(hf_hub_download(repo_id, name, revision=revision, token=token, cache_dir=cache_dir))


@contextmanager
def _hub_errors(kind: type[WeightsError], what: str) -> Iterator[None]:
    """Say in one line what the Hub or the way to it refused."""
    # The base class of what its HTTP library raises, which differs from version to version.
    from huggingface_hub.errors import EntryNotFoundError, HTTPError  # type: ignore[attr-defined]

    try:
        yield
    except (OSError, ValueError, EntryNotFoundError, HTTPError) as error:
        raise kind(f"{what}: {' '.join(str(error).split())}") from error


def _shapes(file: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the tensors in a safetensors file, without reading them."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="pt") as tensors:
            return {name: tuple(tensors.get_slice(name).get_shape()) for name in tensors.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise CheckpointError(f"{file} is cut off or damaged ({error}). Get the file again.") from None


def _taken_size(kwargs: dict[str, Any]) -> Any:
    """Take `img_size` out of `kwargs`, or of MMPretrain's ``backbone=dict(...)`` in it; None: it is not there."""
    backbone = kwargs.get("backbone")
    within = None
    if isinstance(backbone, dict):
        kwargs["backbone"] = {key: value for key, value in backbone.items() if key != "img_size"}
        within = backbone.get("img_size")
    return kwargs.pop("img_size", within)


def _resize(model: T2TViT, experiment: Experiment, img_size: int | tuple[int, int]) -> None:
    """Make the position table for images of `img_size`. The grid it was made for is known here: it need not be square.

    Raises:
        ConfigError: `img_size` is no size, or too small.
    """
    values = dataclasses.asdict(experiment)
    values["model"]["img_size"] = img_size
    prepared = preprocessing_of(validate_experiment(values, "from_pretrained"))
    model.set_input_size(prepared["img_size"])
    model.preprocessing = {
        **(model.preprocessing or {}),
        "img_size": prepared["img_size"],
        "resize": prepared["resize"],
    }
