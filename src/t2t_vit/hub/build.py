"""From an `Experiment` to its network, with fresh weights or a file's."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from t2t_vit.config import Experiment, Preprocessing, experiment_from_json
from t2t_vit.config.validation import validate_experiment
from t2t_vit.errors import CheckpointError, ConfigError, UnknownModelError
from t2t_vit.models import T2TViT, create_model, variant_names
from t2t_vit.models.adapt import fit_state_dict
from t2t_vit.models.crop import resize_of
from t2t_vit.models.freeze import freeze
from t2t_vit.models.initialisation import draw_by_fan_in
from t2t_vit.models.load_report import LoadReport

if TYPE_CHECKING:
    from t2t_vit.weights.load import Checkpoint

_log = logging.getLogger(__name__)

#: Settings of the model that its network is not built of.
_AFTERWARDS = ("name", "init", "pretrained", "freeze", "grad_checkpointing")


def build_model(experiment: Experiment, num_classes: int | None = None, **overrides: Any) -> T2TViT:
    """Return the network of `experiment` with fresh weights, in training mode.

    Args:
        experiment: What to build.
        num_classes: Classes, if `experiment` leaves them open.
        overrides: Arguments of `T2TViT` over the experiment's.

    Raises:
        ConfigError: A setting is wrong, or the experiment's network is a baseline.
    """
    check_is_ours(experiment)
    settings = {
        field.name: getattr(experiment.model, field.name)
        for field in dataclasses.fields(experiment.model)
        if field.name not in _AFTERWARDS
    }
    settings = {name: value for name, value in settings.items() if value is not None}
    if num_classes is not None:
        settings["num_classes"] = num_classes
    model = create_model(experiment.model.name, **{**settings, **overrides})
    model.init = experiment.model.init
    if model.init == "fan_in":
        draw_by_fan_in(model)
    model.preprocessing = preprocessing_of(experiment)
    model.set_grad_checkpointing(experiment.model.grad_checkpointing)
    freeze(model, experiment.model.freeze)
    return model


def check_is_ours(experiment: Experiment) -> None:
    """Refuse a baseline.

    Raises:
        ConfigError: The network of `experiment` is one.
    """
    if experiment.baseline.name is not None:
        raise ConfigError(
            f"the config's network is timm's {experiment.baseline.name}, a baseline to compare with: it can be trained "
            "and tested, and used by timm.create_model"
        )


def load_model(
    experiment: Experiment,
    file: str | Path,
    *,
    weights: str = "ema",
    new_head: bool = False,
    strict: bool = True,
    source_size: tuple[int, int] | None = None,
    **overrides: Any,
) -> T2TViT:
    """Return the network of `experiment` with the weights of `file`, in training mode.

    Its `load_report` says what was loaded, adapted, drawn anew or dropped.

    Args:
        experiment: What to build. Where it leaves the number of classes open, the file decides.
        file: A checkpoint of any layout that `t2t_vit.weights` reads.
        weights: `ema` or `raw`.
        new_head: The number of classes was asked for: a head of another size is drawn anew instead of refused.
        strict: Refuse a file that does not fit. Otherwise take what fits.
        source_size: Height and width of the images that the file's position table was made for, where it does not tell.
        overrides: Arguments of `T2TViT` over the experiment's.

    Raises:
        CheckpointError: The file holds no weights, or they do not fit.
    """
    from t2t_vit.weights.load import read_checkpoint

    checkpoint = read_checkpoint(file)
    head = checkpoint.state_dict(weights).get("head.weight")
    if experiment.model.num_classes is None and "num_classes" not in overrides and head is not None and head.ndim == 2:
        overrides["num_classes"] = max(1, len(head))
    with torch.device("meta"):  # nothing is drawn or allocated that the file would overwrite at once
        model = build_model(experiment, **overrides)
    load_weights(
        model,
        checkpoint,
        experiment.model.name,
        weights=weights,
        new_head=new_head,
        strict=strict,
        source_size=source_size,
    )
    _warn_of_other_preprocessing(experiment, checkpoint)
    return model


def load_weights(
    model: T2TViT,
    checkpoint: Checkpoint,
    architecture: str,
    *,
    weights: str = "ema",
    new_head: bool = False,
    strict: bool = True,
    source_size: tuple[int, int] | None = None,
) -> LoadReport:
    """Put the weights of `checkpoint` into `model`, adapted to it, and say what was not taken as it is.

    Args:
        model: Where they go; on the meta device it gets the file's tensors, else their values. What a file that is
            taken without strictness lacks is drawn anew on the meta device, and else stays as it is.
        checkpoint: Where they come from.
        architecture: What the model is called.
        weights: `ema` or `raw`.
        new_head: Whether a head of another number of classes is drawn anew.
        strict: Refuse weights that do not fit. Otherwise take what fits.
        source_size: Height and width of the images that the position table was made for, where the file does not tell.

    Returns:
        What the model then has as its `load_report`.

    Raises:
        CheckpointError: The weights do not fit.
    """
    state = checkpoint.state_dict(weights)
    for name, value in state.items():
        if not value.is_floating_point():
            raise CheckpointError(f"{checkpoint.path}: {name} is {value.dtype}; weights are floating-point numbers.")
    state = {name: value.float() for name, value in state.items()}
    source_grid = _grid_of(checkpoint)
    if source_grid is None and source_size is not None:
        source_grid = model.token_grid(*source_size)
    try:
        fitted, report = fit_state_dict(model, state, new_head=new_head, strict=strict, source_grid=source_grid)
    except CheckpointError as error:
        raise CheckpointError(_misfit(architecture, checkpoint, state, str(error))) from None
    if model.cls_token.is_meta:
        frozen = [name for name, parameter in model.named_parameters() if not parameter.requires_grad]
        model.load_state_dict(fitted, assign=True)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name not in frozen)
    else:
        model.load_state_dict({name: fitted[name] for name in fitted if name not in report.missing}, strict=False)
    model.load_report = report
    _say(checkpoint, report)
    is_own_head = "head.weight" in report.loaded
    if is_own_head and checkpoint.classes is not None and len(checkpoint.classes) == model.num_classes:
        model.classes = checkpoint.classes
    return report


def preprocessing_of(experiment: Experiment) -> dict[str, Any]:
    """Return how images are prepared for the model of `experiment`: the arguments of `t2t_vit.data.preprocess`."""
    settings, img_size = experiment.preprocessing, experiment.model.image_height_width
    return {
        "img_size": img_size,
        "resize": resize_of(img_size, settings.crop_pct, settings.crop_mode),
        "interpolation": settings.interpolation,
        "mean": settings.mean,
        "std": settings.std,
    }


def default_preprocessing(model: T2TViT, **known: Any) -> dict[str, Any]:
    """Return how images are prepared for `model` if nobody said so.

    Args:
        model: For whose channels and image size.
        known: Settings of `Preprocessing` over its defaults. Mean and std of other channels do not count: they are 0.5.

    Raises:
        ConfigError: One of `known` is wrong.
    """
    channels = model.in_chans
    chosen = {name: getattr(Preprocessing(), name) for name in ("mean", "std")} | known
    chosen |= {name: (0.5,) * channels for name in ("mean", "std") if len(chosen[name]) != channels}
    settings = {"model": {"img_size": model.img_size, "in_chans": channels}, "preprocessing": chosen}
    return preprocessing_of(validate_experiment(settings, "the model"))


def architecture_of(state: dict[str, torch.Tensor]) -> str | None:
    """Return the architecture that has the keys and shapes of `state`, whatever its classes, channels and image size.

    Args:
        state: Weights under the official names.
    """

    def shapes(values: dict[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
        return {
            name: () if name.startswith("tokens_to_token.") else tuple(value.shape)
            for name, value in values.items()
            if name != "pos_embed" and not name.startswith(("head.", "aux_head."))
        }

    with torch.device("meta"):
        return next(
            (name for name in variant_names() if shapes(create_model(name).state_dict()) == shapes(state)), None
        )


def _misfit(model: str, checkpoint: Checkpoint, state: dict[str, torch.Tensor], problems: str) -> str:
    """Return what to say of weights that do not fit, in one line."""
    name = architecture_of(state)
    made_with = checkpoint.path.with_name("experiment.json")
    if name is not None and name != model:
        advice = f"This is {name}: use that, or take what fits with strict=False (Python)"
    elif made_with.is_file():
        advice = f"Name the model that it was made with ({made_with}), or take what fits with strict=False (Python)"
    else:
        advice = "Name the model that it was made with, or take what fits with strict=False (Python)"
    if "head.weight" in problems:
        advice += ", or give num_classes to get a new head"
    return f"{checkpoint.path} ({checkpoint.layout}) does not fit {model}: {problems}. {advice}"


def _say(checkpoint: Checkpoint, report: LoadReport) -> None:
    """Report what was not taken as it is; a resized position table is nothing to warn of."""
    others = [*report.initialised, *report.missing, *report.dropped, *report.doubtful]
    is_usual = report.resized in ([], ["pos_embed"]) and not others
    _log.log(logging.INFO if is_usual else logging.WARNING, "%s: %s", checkpoint.path, report)


def stored_experiment(checkpoint: Checkpoint) -> Experiment | None:
    """Return the settings of the run that wrote `checkpoint`, None if it does not tell.

    Others may call something else `experiment`; whether settings are damaged is for those to say who go on with a run.
    """
    stored = checkpoint.meta.get("experiment")
    try:
        return experiment_from_json(stored, str(checkpoint.path)) if isinstance(stored, str) else None
    except ConfigError:
        return None


def _grid_of(checkpoint: Checkpoint) -> tuple[int, int] | None:
    """Return the token grid that the position table of `checkpoint` was made for, None if it does not tell."""
    stored = stored_experiment(checkpoint)
    if stored is None:
        return None
    try:
        with torch.device("meta"):
            return build_model(stored).grid_size
    except (ConfigError, UnknownModelError):
        return None


def _warn_of_other_preprocessing(experiment: Experiment, checkpoint: Checkpoint) -> None:
    """Say so if the weights were trained on images that were prepared in another way."""
    stored = stored_experiment(checkpoint)
    if stored is None:
        return
    trained_with, here = stored.preprocessing, experiment.preprocessing
    if stored.model.in_chans != experiment.model.in_chans:  # then means and spreads cannot be the same
        trained_with = dataclasses.replace(trained_with, mean=here.mean, std=here.std)
    if trained_with != here:
        _log.warning(
            "%s was trained with %s and here it is %s; its run's experiment.json has the right one",
            checkpoint.path, stored.preprocessing, here,
        )  # fmt: skip
