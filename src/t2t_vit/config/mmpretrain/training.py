"""MMPretrain's optimizer, learning rate schedule, average and run time.

Source: MMEngine 0.10, `optim`, `hooks` and `runner`, whose defaults hold where a config says nothing; AdamW's are
PyTorch's.
"""

from __future__ import annotations

from typing import Any

from t2t_vit.config.mmpretrain.section import Section
from t2t_vit.errors import ConfigError

#: Their wrappers to our precision.
WRAPPERS = {"OptimWrapper": "float32", "AmpOptimWrapper": "float16"}


def optimizer(wrapper: Section) -> tuple[dict[str, Any], str]:
    """Return our `optimizer` settings, and the precision.

    Raises:
        ConfigError: It is another optimizer, or has what cannot be had here.
    """
    precision = WRAPPERS[wrapper.type_in(WRAPPERS, "OptimWrapper")]
    dtype = wrapper.take("dtype")
    if dtype not in (None, "float16", "bfloat16"):
        raise ConfigError(f"{wrapper.where}.dtype is {dtype!r}; expected 'float16' or 'bfloat16'")
    if precision != "float32":
        precision = dtype or precision
    wrapper.skip("loss_scale", "use_fsdp")
    accumulation = wrapper.count("accumulative_counts", 1)
    wrapper.expect("constructor", None, "DefaultOptimWrapperConstructor")
    inner = wrapper.section("optimizer")
    if inner is None:
        raise ConfigError(f"{wrapper.where} has no optimizer")
    settings: dict[str, Any] = {"accumulation": accumulation} if accumulation != 1 else {}
    if inner.type_in(["AdamW", "SGD"]) == "AdamW":
        settings |= {
            "lr": inner.number("lr", 1e-3),
            "weight_decay": inner.number("weight_decay", 1e-2),
            "betas": inner.take("betas", (0.9, 0.999)),
            "eps": inner.number("eps", 1e-8),
        }
        inner.expect("amsgrad", False)
    else:
        settings |= {
            "kind": "sgd",
            "lr": inner.number("lr", 1e-3),
            "weight_decay": inner.number("weight_decay", 0),
            "momentum": inner.number("momentum", 0),
            "nesterov": inner.take("nesterov", False),
        }
        inner.expect("dampening", 0)
    inner.skip("foreach", "fused", "capturable", "differentiable")
    inner.expect("maximize", False)
    inner.close()
    clip = wrapper.section("clip_grad")
    if clip is not None:
        clip.expect("type", "norm")
        clip.expect("norm_type", 2, 2.0)
        clip.skip("error_if_nonfinite")
        settings["clip_grad_norm"] = clip.number("max_norm")
        clip.close()
    _weight_decay_rules(wrapper)
    wrapper.close()
    return settings, precision


def schedule(schedulers: list[Section], epochs: int, lr: float, notes: list[str]) -> dict[str, Any]:
    """Return our `schedule` settings of ``param_scheduler``.

    Raises:
        ConfigError: It is no warm-up, cosine and cool-down that follow each other.
    """
    settings: dict[str, Any] = {"epochs": epochs, "warmup_epochs": 0, "min_lr": lr, "cooldown_epochs": 0}
    reached: float = 0
    phase = 0
    for scheduler in schedulers:
        kind = scheduler.type_in(_PHASES)
        scheduler.expect("by_epoch", True)
        begin, end = scheduler.number("begin", 0), scheduler.take("end")
        end = epochs if end is None else end
        # Without a cosine before it, a constant part of the rate is MMEngine's way of warming up.
        is_cooldown_of_nothing = kind == "ConstantLR" and phase != _PHASES.index(kind)
        out_of_turn = _PHASES.index(kind) < phase or is_cooldown_of_nothing
        if out_of_turn or begin != reached or not isinstance(end, int) or end <= begin:
            raise ConfigError(
                f"{scheduler.where} ({kind}) goes from epoch {begin} to {end!r}; expected {', '.join(_PHASES)} in this "
                f"order, ConstantLR only after the cosine, each beginning where the one before ends (here at {reached})"
            )
        phase, reached = _PHASES.index(kind) + 1, end
        by_step = scheduler.take("convert_to_iter_based", False)
        if kind == "LinearLR":
            settings |= {"warmup_epochs": end, "warmup_factor": scheduler.number("start_factor", 1 / 3)}
            scheduler.expect("end_factor", 1.0)
            if not by_step:
                scheduler.note("the warm-up rises step by step here")
        elif kind == "CosineAnnealingLR":
            ratio = scheduler.take("eta_min_ratio")
            settings["min_lr"] = scheduler.number("eta_min", 0) if ratio is None else lr * ratio
            if scheduler.take("T_max") not in (None, end - begin):
                raise ConfigError(f"{scheduler.where}.T_max is {scheduler.take('T_max')!r}; expected {end - begin}")
            settings |= {"cooldown_epochs": max(epochs - end, 0), "cooldown_factor": 1.0}
            if by_step:
                scheduler.note("the cosine changes the rate at each epoch here, not at each step")
        else:
            settings |= {"cooldown_epochs": end - begin, "cooldown_factor": scheduler.number("factor", 1 / 3)}
        scheduler.skip("verbose", "last_step")
        scheduler.close()
    if settings["cooldown_epochs"] == 0:
        settings.pop("cooldown_factor", None)
    if schedulers and reached != epochs and (phase == len(_PHASES) or reached > epochs):
        notes.append(
            f"param_scheduler ends at epoch {reached} and train_cfg.max_epochs is {epochs}; "
            f"the rate goes through its phases within {epochs} epochs here"
        )
    return settings


_PHASES = ["LinearLR", "CosineAnnealingLR", "ConstantLR"]


def average(hooks: list[Section]) -> dict[str, Any]:
    """Return our `ema` settings of ``custom_hooks``.

    Raises:
        ConfigError: There is a hook that does something else.
    """
    settings: dict[str, Any] = {"enabled": False}
    for hook in hooks:
        kind = hook.type_in(["EMAHook", *_IDLE_HOOKS])
        if kind != "EMAHook":
            hook.skip("priority", *_IDLE_HOOKS[kind])
            hook.close()
            continue
        hook.expect("ema_type", "ExponentialMovingAverage")
        hook.expect("interval", 1)
        settings = {"enabled": True, "decay": decay_of(hook.number("momentum", 2e-4))}
        hook.expect("begin_iter", 0)
        hook.expect("begin_epoch", 0)
        hook.skip("priority", "strict_load", "update_buffers", "evaluate_on_ema", "evaluate_on_origin")
        hook.close()
    return settings


#: Hooks that watch and change nothing, and what can be said of each.
_IDLE_HOOKS: dict[str, tuple[str, ...]] = {
    "EmptyCacheHook": ("before_epoch", "after_epoch", "after_iter"),
    "IterTimerHook": (),
    "NaiveVisualizationHook": ("interval", "draw_gt", "draw_pred"),
    "ProfilerHook": (
        "by_epoch",
        "profile_times",
        "activity_with_cpu",
        "activity_with_cuda",
        "schedule",
        "on_trace_ready",
        "record_shapes",
        "profile_memory",
        "with_stack",
        "with_flops",
        "json_trace_path",
    ),
    "RuntimeInfoHook": (),
}


def decay_of(momentum: Any) -> Any:
    """Return the decay of an average of which `momentum` is new at each step: 0.99996 for 4e-5."""
    return round(1 - momentum, 12) if isinstance(momentum, int | float) else momentum


def epochs_of(train_cfg: Section) -> tuple[int, int]:
    """Return the epochs of a run, and of how many one is evaluated."""
    if train_cfg.take("type") not in (None, "EpochBasedTrainLoop") or train_cfg.take("by_epoch", True) is not True:
        raise ConfigError(f"{train_cfg.where} counts iterations; expected by_epoch=True with max_epochs")
    epochs, interval = train_cfg.count("max_epochs"), train_cfg.count("val_interval", 1)
    train_cfg.skip("type", "by_epoch", "val_begin")
    train_cfg.expect("dynamic_intervals", None)
    train_cfg.close()
    return epochs, interval


def log_and_checkpoints(hooks: Section) -> dict[str, Any]:
    """Return our `runtime` settings of ``default_hooks``.

    Raises:
        ConfigError: A hook has what cannot be had here.
    """
    settings: dict[str, Any] = {}
    logger, checkpoint = hooks.section("logger"), hooks.section("checkpoint")
    if logger is not None:
        logger.type_in(["LoggerHook"], "LoggerHook")
        if "interval" in logger.values:
            settings["log_interval"] = logger.count("interval")
        logger.skip("interval", "priority", *_LOGGER_SETTINGS)
        logger.close()
    if checkpoint is not None:
        checkpoint.type_in(["CheckpointHook"], "CheckpointHook")
        checkpoint.expect("by_epoch", True)
        if "interval" in checkpoint.values:
            settings["checkpoint_interval"] = checkpoint.count("interval")
        if "max_keep_ckpts" in checkpoint.values:
            settings["keep_checkpoints"] = kept(checkpoint.number("max_keep_ckpts"))
        checkpoint.skip("interval", "max_keep_ckpts", "priority", *_CHECKPOINT_SETTINGS)
        checkpoint.close()
    for name, (kind, known) in _IDLE_DEFAULT_HOOKS.items():
        hook = hooks.section(name)
        if hook is not None:
            hook.type_in([kind], kind)
            hook.skip("priority", *known)
            hook.close()
    hooks.close()
    return settings


def kept(max_keep_ckpts: Any) -> Any:
    """Return how many checkpoints ``max_keep_ckpts`` keeps: all of them, None, if it is not above 0."""
    is_number = isinstance(max_keep_ckpts, int) and not isinstance(max_keep_ckpts, bool)
    return None if is_number and max_keep_ckpts < 1 else max_keep_ckpts


#: What a hook can be told that changes nothing here: the optimizer is saved, the best checkpoint is that of top-1.
_CHECKPOINT_SETTINGS = (
    "save_optimizer",
    "save_param_scheduler",
    "out_dir",
    "save_last",
    "save_best",
    "rule",
    "greater_keys",
    "less_keys",
    "file_client_args",
    "filename_tmpl",
    "backend_args",
    "published_keys",
    "save_begin",
)
_LOGGER_SETTINGS = (
    "ignore_last",
    "interval_exp_name",
    "out_dir",
    "out_suffix",
    "keep_local",
    "file_client_args",
    "log_metric_by_epoch",
    "backend_args",
)
_VISUALIZATION = (
    "enable",
    "interval",
    "show",
    "out_dir",
    "draw_gt",
    "draw_pred",
    "draw_score",
    "resize",
    "rescale_factor",
    "text_cfg",
    "wait_time",
)
_IDLE_DEFAULT_HOOKS: dict[str, tuple[str, tuple[str, ...]]] = {
    "timer": ("IterTimerHook", ()),
    "param_scheduler": ("ParamSchedulerHook", ()),
    "sampler_seed": ("DistSamplerSeedHook", ()),
    "visualization": ("VisualizationHook", _VISUALIZATION),
    "runtime_info": ("RuntimeInfoHook", ()),
}


def _weight_decay_rules(wrapper: Section) -> None:
    """See to it that ``paramwise_cfg`` says what is done here: norms, biases and the class token do not decay."""
    rules = wrapper.section("paramwise_cfg")
    if rules is None:
        wrapper.note("norms, biases and the class token do not decay here")
        return
    for key in ("norm_decay_mult", "bias_decay_mult"):
        if rules.take(key) is None and rules.take("flat_decay_mult") != 0:
            rules.note(f"{key} is 0 here")
        rules.expect(key, None, 0)
    rules.expect("flat_decay_mult", None, 0)
    rules.expect("bias_lr_mult", 1, None)
    rules.expect("dwconv_decay_mult", 1, 0, None)
    rules.skip("bypass_duplicate")
    keys = rules.section("custom_keys")
    if keys is not None:
        for key in list(keys.values):
            rule = keys.section(key)
            if rule is None or key.strip(".") not in _NO_DECAY or rule.values != {"decay_mult": 0}:
                raise ConfigError(
                    f"{keys.where}[{key!r}] is {keys.values[key]!r}; only dict(decay_mult=0.0) of "
                    f"{', '.join(_NO_DECAY)} can be had here"
                )
    rules.close()


#: Parameters that do not decay here, or are none here: the position table is not trained.
_NO_DECAY = ["cls_token", "pos_embed", "absolute_pos_embed", "relative_position_bias_table"]
