"""``--cfg-options key=value``: settings changed from the command line."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from typing import Any

from t2t_vit.config.load import experiment_to_dict
from t2t_vit.config.settings import Experiment
from t2t_vit.config.validation import known_keys, validate_experiment
from t2t_vit.errors import ConfigError, nearest

#: MMPretrain's dotted names for settings that are ours under another name.
MMPRETRAIN_NAMES = {
    "model.backbone.img_size": "model.img_size",
    "model.backbone.in_channels": "model.in_chans",
    "model.backbone.embed_dims": "model.embed_dim",
    "model.backbone.num_layers": "model.depth",
    "model.backbone.drop_rate": "model.drop_rate",
    "model.backbone.drop_path_rate": "model.drop_path_rate",
    "model.backbone.t2t_cfg.token_dims": "model.token_dim",
    "model.backbone.layer_cfgs.num_heads": "model.num_heads",
    "model.head.num_classes": "model.num_classes",
    "model.head.loss.label_smooth_val": "runtime.label_smoothing",
    "train_dataloader.batch_size": "data.batch_size",
    "train_dataloader.num_workers": "data.num_workers",
    "train_dataloader.pin_memory": "data.pin_memory",
    "train_dataloader.persistent_workers": "data.persistent_workers",
    "train_dataloader.dataset.data_root": "data.root",
    "optim_wrapper.optimizer.lr": "optimizer.lr",
    "optim_wrapper.optimizer.weight_decay": "optimizer.weight_decay",
    "optim_wrapper.optimizer.betas": "optimizer.betas",
    "optim_wrapper.optimizer.eps": "optimizer.eps",
    "optim_wrapper.clip_grad.max_norm": "optimizer.clip_grad_norm",
    "auto_scale_lr.enable": "optimizer.auto_scale_lr",
    "auto_scale_lr.base_batch_size": "optimizer.base_batch_size",
    "train_cfg.max_epochs": "schedule.epochs",
    "randomness.seed": "runtime.seed",
    "default_hooks.logger.interval": "runtime.log_interval",
    "default_hooks.checkpoint.interval": "runtime.checkpoint_interval",
    "default_hooks.checkpoint.max_keep_ckpts": "runtime.keep_checkpoints",
    "load_from": "model.pretrained",
}

_WORDS = {"true": True, "false": False, "none": None, "null": None}


def apply_overrides(experiment: Experiment, options: Iterable[str]) -> Experiment:
    """Return `experiment` with each ``key=value`` of `options` applied; later ones win.

    A key is dotted (`optimizer.lr`), ours or MMPretrain's for the same thing. A value is a number, a word, or a list
    written ``(1,2)``, ``[1,2]`` or ``1,2``.

    Raises:
        ConfigError: An option is not ``key=value``, a key is unknown, or a value is wrong.
    """
    values = experiment_to_dict(experiment)
    for option in options:
        key, equals, text = option.partition("=")
        if not equals or not key:
            raise ConfigError(f"--cfg-options got {option!r}; expected key=value, such as optimizer.lr=1e-3")
        section, name = _find(key.strip())
        values[section][name] = parse_value(text)
    return validate_experiment(values, "--cfg-options")


def parse_value(text: str) -> Any:
    """Return the value that `text` writes; what reads like none is the text itself."""
    text = text.strip()
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _find(key: str) -> tuple[str, str]:
    section, _, name = MMPRETRAIN_NAMES.get(key, key).partition(".")
    if name in known_keys([section]):
        return section, name
    every = [f"{s}.{k}" for s in known_keys([]) for k in known_keys([s])]
    same_name = [known for known in every if known.endswith(f".{key.rpartition('.')[2]}")]
    hint = f" Did you mean {same_name[0]!r}?" if same_name else nearest(key, [*every, *MMPRETRAIN_NAMES])
    raise ConfigError(f"--cfg-options: unknown setting {key!r}.{hint}")
