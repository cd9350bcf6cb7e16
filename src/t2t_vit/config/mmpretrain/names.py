"""MMPretrain's dotted names for ``--cfg-options`` over a config of this package.

A config of MMPretrain has its options put into its own values instead: see `options`.

Source: MMPretrain 1.2.0, `configs/_base_` and `configs/t2t_vit`; the numbers in the names of schedulers, hooks and
augments are those of the published configs.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from t2t_vit.config.mmpretrain.images import of_255
from t2t_vit.config.mmpretrain.model import ARCHITECTURES, mlp_ratio
from t2t_vit.config.mmpretrain.training import WRAPPERS, decay_of, kept
from t2t_vit.config.validation import known_keys
from t2t_vit.errors import ConfigError, nearest

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
    "train_dataloader.dataset.split": "data.train",
    "train_dataloader.dataset.data_prefix": "data.train",
    "train_dataloader.dataset.data_prefix.img_path": "data.train",
    "train_dataloader.dataset.ann_file": "data.train_annotations",
    "val_dataloader.dataset.ann_file": "data.val_annotations",
    "test_dataloader.dataset.ann_file": "data.val_annotations",
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
    "optim_wrapper.accumulative_counts": "optimizer.accumulation",
    "optim_wrapper.clip_grad.max_norm": "optimizer.clip_grad_norm",
    "optim_wrapper.dtype": "runtime.precision",
    "auto_scale_lr.enable": "optimizer.auto_scale_lr",
    "auto_scale_lr.base_batch_size": "optimizer.base_batch_size",
    "param_scheduler.0.end": "schedule.warmup_epochs",
    "param_scheduler.0.start_factor": "schedule.warmup_factor",
    "param_scheduler.1.eta_min": "schedule.min_lr",
    "param_scheduler.2.factor": "schedule.cooldown_factor",
    "train_cfg.max_epochs": "schedule.epochs",
    "randomness.seed": "runtime.seed",
    "default_hooks.logger.interval": "runtime.log_interval",
    "default_hooks.checkpoint.interval": "runtime.checkpoint_interval",
    "load_from": "model.pretrained",
}

#: Names that change nothing here, and what is below them.
_IDLE = (
    "default_hooks.checkpoint.rule",
    "default_hooks.checkpoint.save_best",
    "default_hooks.checkpoint.save_last",
    "default_hooks.param_scheduler",
    "default_hooks.sampler_seed",
    "default_hooks.timer",
    "default_hooks.visualization",
    "default_scope",
    "env_cfg",
    "launcher",
    "log_level",
    "log_processor",
    "optim_wrapper.loss_scale",
    "test_evaluator",
    "val_evaluator",
    "vis_backends",
    "visualizer",
)

_COSINE = "the cosine has what is left of schedule.epochs by warm-up and cool-down: set schedule.cooldown_epochs"

#: Names for what is told in another way.
_ELSEWHERE = {
    "work_dir": "give --work-dir DIR",
    "resume": "give --resume",
    "val_dataloader.batch_size": "evaluation has the batches of training: set train_dataloader.batch_size",
    "val_dataloader.num_workers": "evaluation has the loaders of training: set train_dataloader.num_workers",
    "test_dataloader.batch_size": "evaluation has the batches of training: set train_dataloader.batch_size",
    "test_dataloader.num_workers": "evaluation has the loaders of training: set train_dataloader.num_workers",
    "param_scheduler.1.T_max": _COSINE,
    "param_scheduler.1.end": _COSINE,
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
    refuse_elsewhere(key)
    if key in _CONVERSIONS:
        _CONVERSIONS[key](key, value, values)
        return True
    return any(key == name or key.startswith(f"{name}.") for name in _IDLE)


def refuse_elsewhere(key: str) -> None:
    """Refuse a name of MMPretrain's for what is told in another way here.

    Raises:
        ConfigError: It is one.
    """
    if key in _ELSEWHERE:
        raise ConfigError(f"--cfg-options: {key} cannot be set here; {_ELSEWHERE[key]}")


def unknown_setting(key: str) -> ConfigError:
    """Return the error for a name that nobody knows, with the nearest that are known."""
    every = [f"{section}.{name}" for section in known_keys([]) for name in known_keys([section])]
    same_name = [known for known in every if known.endswith(f".{key.rpartition('.')[2]}")]
    hint = f" Did you mean {same_name[0]!r}?" if same_name else nearest(key, [*every, *KNOWN_NAMES])
    return ConfigError(f"--cfg-options: unknown setting {key!r}.{hint}")


def move_roots(roots: dict[str, Any], values: Values) -> None:
    """Let the images of each split that `roots` names lie in a folder of its own; ours is one for both.

    Args:
        roots: MMPretrain's `data_root`, by the names in `ROOTS`, in the order given.
        values: Our settings by section, changed in place.

    Raises:
        ConfigError: One is no text.
    """
    data, of_split = values["data"], {}
    for key, value in roots.items():
        if not isinstance(value, str):
            raise ConfigError(f"--cfg-options: {key} is {value!r}; expected a folder")
        of_split[ROOTS[key]] = value
    if not of_split:
        return
    val_root = of_split.get("val", str(data["root"]))
    data["root"] = of_split.get("train", data["root"])
    if os.path.normpath(val_root) != os.path.normpath(data["root"]):
        moved = os.path.isabs(data["val"]) and "val" in of_split  # noqa: PTH117 -- it stays text
        folder = os.path.basename(data["val"]) if moved else data["val"]  # noqa: PTH119
        data["val"] = os.path.join(os.path.abspath(val_root), folder)  # noqa: PTH100, PTH118


def _of_255(key: str, value: Any, values: Values) -> None:
    values["preprocessing"][key.rpartition(".")[2]] = of_255(value, f"--cfg-options: {key}")


def _decay(_: str, value: Any, values: Values) -> None:
    values["ema"]["decay"] = decay_of(value)


def _precision(key: str, value: Any, values: Values) -> None:
    if value not in WRAPPERS:
        raise ConfigError(f"--cfg-options: {key} is {value!r}; expected {' or '.join(WRAPPERS)}")
    runtime = values["runtime"]
    # `dtype` says which half precision; whether it stands before or after this changes nothing.
    if WRAPPERS[value] == "float32" or runtime["precision"] == "float32":
        runtime["precision"] = WRAPPERS[value]


def _hidden_width(_: str, value: Any, values: Values) -> None:
    model = values["model"]
    width = model["embed_dim"]
    if width is None:
        named = {size: sizes[0] for sizes, size in ARCHITECTURES.items()}
        width = named.get(model["name"].removeprefix("t2t_vit_").removeprefix("t_"))
    model["mlp_ratio"] = mlp_ratio(value, width)


def _performer(_: str, value: Any, values: Values) -> None:
    values["model"]["tokens"] = "performer" if value else "transformer"


def _val_interval(key: str, value: Any, values: Values) -> None:
    if value != values["runtime"]["checkpoint_interval"]:
        raise ConfigError(
            f"--cfg-options: {key} cannot be {value!r}; each checkpoint is evaluated here: set "
            "default_hooks.checkpoint.interval"
        )


def _validate(key: str, value: Any, values: Values) -> None:
    if value is not None:
        raise ConfigError(f"--cfg-options: {key} is {value!r}; expected None, which turns evaluation off")
    values["runtime"]["validate"] = False


def _to_rgb(key: str, value: Any, _: Values) -> None:
    if value is not True:
        raise ConfigError(f"--cfg-options: {key} is {value!r}; images are RGB here, with mean and std of R, G, B")


def _keep(_: str, value: Any, values: Values) -> None:
    values["runtime"]["keep_checkpoints"] = kept(value)


_CONVERSIONS: dict[str, Callable[[str, Any, Values], None]] = {
    "data_preprocessor.mean": _of_255,
    "data_preprocessor.std": _of_255,
    "model.data_preprocessor.mean": _of_255,
    "model.data_preprocessor.std": _of_255,
    "data_preprocessor.to_rgb": _to_rgb,
    "custom_hooks.0.momentum": _decay,
    "default_hooks.checkpoint.max_keep_ckpts": _keep,
    "train_cfg.val_interval": _val_interval,
    "val_cfg": _validate,
    "optim_wrapper.type": _precision,
    "model.backbone.layer_cfgs.feedforward_channels": _hidden_width,
    "model.backbone.t2t_cfg.use_performer": _performer,
}

#: What is read beside what other names set, so after them.
AFTER_OTHERS = ("model.backbone.layer_cfgs.feedforward_channels", "optim_wrapper.type", "train_cfg.val_interval")

#: Folders that data sets lie in, by whose they are.
ROOTS = {
    "train_dataloader.dataset.data_root": "train",
    "val_dataloader.dataset.data_root": "val",
    "test_dataloader.dataset.data_root": "val",
}

#: Every name that is understood, for hints.
KNOWN_NAMES = [*DOTTED_NAMES, *_CONVERSIONS, *ROOTS, *_ELSEWHERE]
