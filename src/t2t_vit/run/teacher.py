"""The teacher of a run with distillation."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch

from t2t_vit.config import Experiment
from t2t_vit.engine.distillation import Distillation
from t2t_vit.errors import ConfigError, UnknownModelError
from t2t_vit.hub import get_model, preprocessing_of

_log = logging.getLogger(__name__)


def distillation_of(experiment: Experiment, classes: Sequence[str], device: torch.device) -> Distillation | None:
    """Return the teacher that `experiment` names, None if it names none.

    Raises:
        ConfigError: The teacher tells other classes apart, or takes images that are prepared otherwise.
    """
    settings = experiment.distillation
    if settings.teacher is None:
        return None
    try:
        teacher = get_model(settings.teacher, settings.teacher_weights or True, device)
    except UnknownModelError as error:
        raise ConfigError(f"distillation.teacher: {error}") from None
    except ConfigError as error:
        if settings.teacher_weights is None:
            raise ConfigError(f"distillation.teacher: {error} (here: distillation.teacher_weights)") from None
        raise
    if teacher.num_classes != len(classes):
        raise ConfigError(
            f"the teacher {settings.teacher} has {teacher.num_classes} classes and the training images have "
            f"{len(classes)}; use a teacher that was trained on such images"
        )
    _check_names(settings.teacher, teacher.classes, classes)
    if teacher.in_chans != experiment.model.in_chans:
        raise ConfigError(
            f"the teacher {settings.teacher} takes images of {teacher.in_chans} channels and model.in_chans is "
            f"{experiment.model.in_chans}"
        )
    prepared = preprocessing_of(experiment)
    expected = teacher.preprocessing or prepared
    if any(expected[name] != prepared[name] for name in ("mean", "std")):
        raise ConfigError(
            f"the teacher {settings.teacher} takes images normalized with mean {expected['mean']} and std "
            f"{expected['std']}; set preprocessing.mean and preprocessing.std to these"
        )
    return Distillation(teacher.requires_grad_(False).eval(), settings.kind, settings.alpha, settings.temperature)


def _check_names(teacher: str, theirs: Sequence[str] | None, ours: Sequence[str]) -> None:
    """Refuse a teacher that has a class at another label, and warn of one that names a class otherwise."""
    others = [i for i, name in enumerate(ours) if theirs is not None and theirs[i] != name]
    if theirs is None or not others:
        return
    moved = next((i for i in others if ours[i] in theirs), None)
    i = others[0] if moved is None else moved
    told = f"label {i} is {theirs[i]!r} to the teacher {teacher} and {ours[i]!r} in the training images"
    if moved is not None:
        raise ConfigError(f"{told}; use a teacher that has the classes in the same order")
    _log.warning("%s, and %d labels in all differ so; they are taken for the same classes", told, len(others))
