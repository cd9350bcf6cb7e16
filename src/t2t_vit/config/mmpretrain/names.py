"""MMPretrain's dotted names for ``--cfg-options``.

Source: MMPretrain 1.2.0, `configs/_base_` and `configs/t2t_vit`; the numbers in the names of schedulers, hooks and
augments are those of the published configs.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from t2t_vit.config.mmpretrain.images import of_255
from t2t_vit.config.mmpretrain.model import ARCHITECTURES, mlp_ratio
from t2t_vit.config.mmpretrain.training import WRAPPERS, decay_of
from t2t_vit.errors import ConfigError

#: MMPretrain's dotted name to ours, for what has the same value.
DOTTED_NAMES = {
    "model.backbone.img_size": "model.img_size",
    "model.backbone.in_channels": "model.in_chans",
    "model.backbone.embed_dims": "model.embed_dim",
    "model.backbone.num_layers": "model.depth",
    "model.backbone.drop_rate": "model.drop_rate",
    "model.backbone.drop_path_rate": "model.drop_path_rate",
    "model.backbone.t2t_cfg.token_dims": "model.token_dim",
    "model.backbone.layer_cfgs.num_heads": "model.num_heads",
    "model.backbone.init_cfg.checkpoint": "model.pretrained",
    "model.head.num_classes": "model.num_classes",
    "model.head.loss.label_smooth_val": "runtime.label_smoothing",
    "model.train_cfg.augments.0.alpha": "augmentation.mixup",
    "model.train_cfg.augments.1.alpha": "augmentation.cutmix",
    "data_preprocessor.num_classes": "model.num_classes",
    "train_dataloader.batch_size": "data.batch_size",
    "train_dataloader.num_workers": "data.num_workers",
    "train_dataloader.pin_memory": "data.pin_memory",
    "train_dataloader.persistent_workers": "data.persistent_workers",
    "train_dataloader.dataset.data_root": "data.root",
    "train_dataloader.dataset.split": "data.train",
    "train_dataloader.dataset.data_prefix": "data.train",
    "train_dataloader.dataset.data_prefix.img_path": "data.train",
    "val_dataloader.dataset.split": "data.val",
    "val_dataloader.dataset.data_prefix": "data.val",
    "val_dataloader.dataset.data_prefix.img_path": "data.val",
    "test_dataloader.dataset.split": "data.val",
    "test_dataloader.dataset.data_prefix": "data.val",
    "test_dataloader.dataset.data_prefix.img_path": "data.val",
    "optim_wrapper.optimizer.lr": "optimizer.lr",
    "optim_wrapper.optimizer.weight_decay": "optimizer.weight_decay",
    "optim_wrapper.optimizer.betas": "optimizer.betas",
    "optim_wrapper.optimizer.eps": "optimizer.eps",
    "optim_wrapper.clip_grad.max_norm": "optimizer.clip_grad_norm",
    "optim_wrapper.dtype": "runtime.precision",
    "auto_scale_lr.enable": "optimizer.auto_scale_lr",
    "auto_scale_lr.base_batch_size": "optimizer.base_batch_size",
    "param_scheduler.0.end": "schedule.warmup_epochs",
    "param_scheduler.0.start_factor": "schedule.warmup_factor",
    "param_scheduler.1.eta_min": "schedule.min_lr",
    "param_scheduler.2.factor": "schedule.cooldown_factor",
    "train_cfg.max_epochs": "schedule.epochs",
    "train_cfg.val_interval": "runtime.checkpoint_interval",
    "randomness.seed": "runtime.seed",
    "default_hooks.logger.interval": "runtime.log_interval",
    "default_hooks.checkpoint.interval": "runtime.checkpoint_interval",
    "default_hooks.checkpoint.max_keep_ckpts": "runtime.keep_checkpoints",
    "load_from": "model.pretrained",
}

#: Names that change nothing here, and what is below them.
_IDLE = (
    "default_hooks.param_scheduler",
    "default_hooks.sampler_seed",
    "default_hooks.timer",
    "default_hooks.visualization",
    "default_scope",
    "env_cfg",
    "launcher",
    "log_level",
    "log_processor",
    "test_evaluator",
    "val_evaluator",
    "vis_backends",
    "visualizer",
)

#: Names for what is told in another way.
_ELSEWHERE = {
    "work_dir": "give --work-dir DIR",
    "resume": "give --resume",
    "val_dataloader.batch_size": "evaluation has the batches of training: set train_dataloader.batch_size",
    "val_dataloader.num_workers": "evaluation has the loaders of training: set train_dataloader.num_workers",
    "test_dataloader.batch_size": "evaluation has the batches of training: set train_dataloader.batch_size",
    "test_dataloader.num_workers": "evaluation has the loaders of training: set train_dataloader.num_workers",
    "optim_wrapper.accumulative_counts": "gradients are not accumulated here: set train_dataloader.batch_size",
    "randomness.deterministic": "a run is repeatable by its seed: set randomness.seed",
}

Values = dict[str, dict[str, Any]]


def apply_name(key: str, value: Any, values: Values) -> bool:
    """Set what MMPretrain calls `key` in our `values`; return whether it is such a name with a value of its own kind.

    Args:
        key: Dotted.
        value: In MMPretrain's units.
        values: Our settings by section, changed in place.

    Raises:
        ConfigError: It is told in another way here, or the value cannot be.
    """
    if key in _ELSEWHERE:
        raise ConfigError(f"--cfg-options: {key} cannot be set here; {_ELSEWHERE[key]}")
    if key in _CONVERSIONS:
        _CONVERSIONS[key](key, value, values)
        return True
    return any(key == name or key.startswith(f"{name}.") for name in _IDLE)


def _of_255(key: str, value: Any, values: Values) -> None:
    values["preprocessing"][key.rpartition(".")[2]] = of_255(value, f"--cfg-options: {key}")


def _decay(_: str, value: Any, values: Values) -> None:
    values["ema"]["decay"] = decay_of(value)


def _precision(key: str, value: Any, values: Values) -> None:
    if value not in WRAPPERS:
        raise ConfigError(f"--cfg-options: {key} is {value!r}; expected {' or '.join(WRAPPERS)}")
    values["runtime"]["precision"] = WRAPPERS[value]


def _hidden_width(_: str, value: Any, values: Values) -> None:
    model = values["model"]
    width = model["embed_dim"]
    if width is None:
        named = {size: sizes[0] for sizes, size in ARCHITECTURES.items()}
        width = named.get(model["name"].removeprefix("t2t_vit_").removeprefix("t_"))
    model["mlp_ratio"] = mlp_ratio(value, width)


def _performer(_: str, value: Any, values: Values) -> None:
    values["model"]["tokens"] = "performer" if value else "transformer"


def _evaluation_root(key: str, value: Any, values: Values) -> None:
    """Name another root for the images to evaluate on; theirs may differ from that of training, ours is one."""
    data = values["data"]
    if not isinstance(value, str):
        raise ConfigError(f"--cfg-options: {key} is {value!r}; expected a folder")
    if os.path.normpath(value) != os.path.normpath(data["root"]):
        folder = os.path.basename(data["val"]) if os.path.isabs(data["val"]) else data["val"]  # noqa: PTH117, PTH119
        data["val"] = os.path.join(os.path.abspath(value), folder)  # noqa: PTH100, PTH118 -- it stays text


_CONVERSIONS: dict[str, Callable[[str, Any, Values], None]] = {
    "data_preprocessor.mean": _of_255,
    "data_preprocessor.std": _of_255,
    "model.data_preprocessor.mean": _of_255,
    "model.data_preprocessor.std": _of_255,
    "custom_hooks.0.momentum": _decay,
    "optim_wrapper.type": _precision,
    "model.backbone.layer_cfgs.feedforward_channels": _hidden_width,
    "model.backbone.t2t_cfg.use_performer": _performer,
    "val_dataloader.dataset.data_root": _evaluation_root,
    "test_dataloader.dataset.data_root": _evaluation_root,
}

#: Every name that is understood, for hints.
KNOWN_NAMES = [*DOTTED_NAMES, *_CONVERSIONS, *_ELSEWHERE]
