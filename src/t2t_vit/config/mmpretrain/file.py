"""From the values of an MMPretrain config to an `Experiment`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from t2t_vit.config.mmpretrain import images, training
from t2t_vit.config.mmpretrain.classifier import label_smoothing, mixing, network
from t2t_vit.config.mmpretrain.options import Option, put_options
from t2t_vit.config.mmpretrain.section import Section, as_sections
from t2t_vit.config.mmpretrain.source import read_config
from t2t_vit.config.settings import Experiment
from t2t_vit.config.validation import validate_experiment
from t2t_vit.errors import ConfigError, nearest

#: Top-level names that are read.
_READ = [
    "auto_scale_lr",
    "custom_hooks",
    "data_preprocessor",
    "default_hooks",
    "load_from",
    "model",
    "optim_wrapper",
    "param_scheduler",
    "randomness",
    "resume",
    "test_dataloader",
    "train_cfg",
    "train_dataloader",
    "val_cfg",
    "val_dataloader",
]

#: Top-level names that change nothing here.
IDLE = [
    "custom_imports",
    "default_scope",
    "env_cfg",
    "launcher",
    "log_level",
    "log_processor",
    "test_cfg",
    "test_evaluator",
    "tta_model",
    "tta_pipeline",
    "val_evaluator",
    "vis_backends",
    "visualizer",
    "work_dir",
]

_BEFORE_1_0 = {"checkpoint_config", "data", "evaluation", "log_config", "lr_config", "optimizer", "runner", "workflow"}


@dataclass
class Reading:
    """What was read.

    Attributes:
        experiment: The settings.
        notes: What is done otherwise here, a line each.
        idle: Names that change nothing here.
    """

    experiment: Experiment
    notes: list[str] = field(default_factory=list)
    idle: list[str] = field(default_factory=list)


def read_file(path: Path, options: Sequence[Option] = ()) -> Reading:
    """Return the `Experiment` of the MMPretrain config at `path`, without running it.

    Args:
        path: The config.
        options: As of `read_values`.

    Raises:
        ConfigError: It is broken, would have to be run, or has what is not supported here.
    """
    values, used, notes = read_config(path)
    reading = read_values(values, str(path), used, options)
    reading.notes[:0] = notes
    return reading


def read_values(
    values: dict[str, Any], source: str, used: set[str] | None = None, options: Sequence[Option] = ()
) -> Reading:
    """Return the `Experiment` of the values of an MMPretrain config.

    Args:
        values: By top-level name; `options` change them in place.
        source: Where from, for messages.
        used: Names that only serve to make other values.
        options: MMPretrain's dotted names with values, put over what the config says.

    Raises:
        ConfigError: There is something in it that is not supported here.
    """
    reading = Reading(Experiment())
    put_options(values, options, [*_READ, *IDLE])
    if options:
        source = f"{source} with --cfg-options"
    try:
        reading.idle = _idle_names(values, used or set())
        settings = _settings(values, reading.notes)
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from None
    except (TypeError, ValueError) as error:  # a value that cannot be counted with
        raise ConfigError(f"{source}: a setting has a value of the wrong type ({error})") from None
    reading.experiment = validate_experiment(settings, source)
    return reading


def _settings(values: dict[str, Any], notes: list[str]) -> dict[str, Any]:
    """Return `values` as our sections."""
    settings: dict[str, Any] = {"augmentation": {}, "preprocessing": {}, "runtime": {}}
    loaders = {name: _loader(values, name, notes) for name in ("train", "val", "test")}
    if values.get("model") is None:
        raise ConfigError(
            "it has no model; expected model = dict(type='ImageClassifier', ...), or a base that has it, such as "
            "'../_base_/models/t2t-vit-t-14.py'"
        )
    model = Section("model", values["model"], notes)
    settings["model"] = network(model)
    if loaders["train"] is None or loaders["train"].kind == "ImageNet":
        # As many as there are folders; so the config also serves for other images.
        _leave_open(settings["model"])
    settings["augmentation"] |= mixing(model)
    settings["runtime"]["label_smoothing"] = label_smoothing(model)
    own = model.take("data_preprocessor")
    model.close()
    if values.get("load_from") is not None:
        settings["model"]["pretrained"] = values["load_from"]
    _images(settings, values, loaders, own, notes)
    _training(settings, values, notes)
    return settings


def _images(
    settings: dict[str, Any],
    values: dict[str, Any],
    loaders: dict[str, images.Loader | None],
    own_preprocessor: Any,
    notes: list[str],
) -> None:
    train, val, test = loaders["train"], loaders["val"], loaders["test"]
    shown = val or test
    if val is not None and test is not None and (val.root, val.folder) != (test.root, test.folder):
        notes.append(
            f"test_dataloader is of {test.root}/{test.folder}; `test` takes the images of val_dataloader here: name "
            "others with --cfg-options data.val=FOLDER"
        )
    size = settings["model"]["img_size"]
    if train is not None or shown is not None:
        settings["data"] = images.folders(train, shown)
        of_imagenet = any(loader is not None and loader.kind == "ImageNet" for loader in (train, shown))
        if of_imagenet and any(name.endswith("_annotations") for name in settings["data"]):
            settings["data"]["classes"] = "imagenet"
    if train is not None:
        settings["data"] |= {
            "batch_size": train.section.number("batch_size", 1),
            "num_workers": train.section.number("num_workers", 0),
            "pin_memory": train.section.take("pin_memory", True),
            "persistent_workers": train.section.take("persistent_workers", True),
        }
        train.section.close()
        settings["augmentation"] |= images.training_view(train.pipeline, size)
    for loader in (val, test):
        if loader is not None:
            # Evaluation has the batches of training here; its figures do not depend on them.
            loader.section.skip("batch_size", "num_workers", "pin_memory", "persistent_workers")
            loader.section.close()
    if shown is not None:
        settings["preprocessing"] |= images.test_view(shown.pipeline, size)
    preprocessor = own_preprocessor if own_preprocessor is not None else values.get("data_preprocessor")
    channels = settings["model"]["in_chans"]
    if preprocessor is not None:
        name = "model.data_preprocessor" if own_preprocessor is not None else "data_preprocessor"
        settings["preprocessing"] |= images.normalization(Section(name, preprocessor, notes), channels)
    settings["runtime"]["validate"] = not (train is not None and val is None) and values.get("val_cfg", {}) is not None


def _training(settings: dict[str, Any], values: dict[str, Any], notes: list[str]) -> None:
    runtime = settings["runtime"]
    lr = Experiment().optimizer.lr
    if values.get("optim_wrapper") is not None:
        settings["optimizer"], runtime["precision"] = training.optimizer(
            Section("optim_wrapper", values["optim_wrapper"], notes)
        )
        lr = settings["optimizer"]["lr"]
    scaling = Section("auto_scale_lr", values.get("auto_scale_lr") or {}, notes)
    wanted = {"auto_scale_lr": scaling.take("enable"), "base_batch_size": scaling.take("base_batch_size")}
    scaling.close()
    settings["optimizer"] = settings.get("optimizer", {}) | {k: v for k, v in wanted.items() if v is not None}
    interval = 1
    if values.get("train_cfg") is not None:
        epochs, interval = training.epochs_of(Section("train_cfg", values["train_cfg"], notes))
        runtime["checkpoint_interval"] = interval
        schedulers = as_sections("param_scheduler", values.get("param_scheduler"), notes)
        settings["schedule"] = training.schedule(schedulers, epochs, lr, notes)
        settings["ema"] = training.average(as_sections("custom_hooks", values.get("custom_hooks"), notes))
    runtime |= training.log_and_checkpoints(Section("default_hooks", values.get("default_hooks") or {}, notes))
    if runtime.get("checkpoint_interval", interval) != interval:
        notes.append(
            f"train_cfg.val_interval is {interval}; each checkpoint is evaluated here, so "
            f"default_hooks.checkpoint.interval counts, {runtime['checkpoint_interval']}"
        )
    randomness = Section("randomness", values.get("randomness") or {}, notes)
    if randomness.take("seed") is not None:
        runtime["seed"] = randomness.take("seed")
    if randomness.take("deterministic"):
        randomness.note("deterministic changes nothing here")
    randomness.skip("diff_rank_seed")
    randomness.close()
    if values.get("resume"):
        notes.append("resume: give --resume to `train`")
    if values.get("work_dir") is not None:
        notes.append(f"work_dir: give --work-dir {values['work_dir']} to `train`")


def _loader(values: dict[str, Any], name: str, notes: list[str]) -> images.Loader | None:
    loader = values.get(f"{name}_dataloader")
    return None if loader is None else images.read_loader(Section(f"{name}_dataloader", loader, notes))


def _leave_open(model: dict[str, Any]) -> None:
    if model.get("num_classes") == 1000:
        del model["num_classes"]


def _idle_names(values: dict[str, Any], used: set[str]) -> list[str]:
    """Return the names that change nothing here; those that look like a slip are refused."""
    old = sorted(values.keys() & _BEFORE_1_0)
    if old:
        raise ConfigError(
            f"{old[0]!r} is a name of MMClassification 0.x, and configs of MMPretrain 1.x are read here: rename it "
            "(data → train_dataloader, optimizer → optim_wrapper, lr_config → param_scheduler, runner → train_cfg)"
        )
    idle = []
    for name, value in values.items():
        if name in _READ or name in used:
            continue
        # A dict that nothing reads and that is called nearly like one that is read: a slip.
        if name not in IDLE and isinstance(value, dict | list) and get_close_matches(name, _READ, cutoff=0.85):
            raise ConfigError(f"{name!r} is no name that a config has.{nearest(name, _READ, 1)}")
        idle.append(name)
    return idle
