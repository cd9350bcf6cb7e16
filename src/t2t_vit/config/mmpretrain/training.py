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
    accumulation = wrapper.take("accumulative_counts", 1)
    if accumulation != 1:
        raise ConfigError(
            f"{wrapper.where}.accumulative_counts is {accumulation!r}; gradients are not accumulated over steps here: "
            "leave it out, and raise the batch size or lower the rate"
        )
    wrapper.expect("constructor", None, "DefaultOptimWrapperConstructor")
    inner = wrapper.section("optimizer")
    if inner is None:
        raise ConfigError(f"{wrapper.where} has no optimizer")
    inner.type_in(["AdamW"])
    settings = {
        "lr": inner.number("lr", 1e-3),
        "weight_decay": inner.number("weight_decay", 1e-2),
        "betas": inner.take("betas", (0.9, 0.999)),
        "eps": inner.number("eps", 1e-8),
    }
    inner.expect("amsgrad", False)
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
        if _PHASES.index(kind) < phase or begin != reached or not isinstance(end, int) or end <= begin:
            raise ConfigError(
                f"{scheduler.where} ({kind}) goes from epoch {begin} to {end!r}; expected {', '.join(_PHASES)} in this "
                f"order, each beginning where the one before ends (here at {reached})"
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
        if hook.type_in(["EMAHook", *_IDLE_HOOKS]) != "EMAHook":
            continue
        hook.expect("ema_type", "ExponentialMovingAverage")
        hook.expect("interval", 1)
        settings = {"enabled": True, "decay": decay_of(hook.number("momentum", 2e-4))}
        hook.expect("begin_iter", 0)
        hook.expect("begin_epoch", 0)
        hook.skip("priority", "strict_load", "update_buffers", "evaluate_on_ema", "evaluate_on_origin")
        hook.close()
    return settings


#: Hooks that watch and change nothing.
_IDLE_HOOKS = ["EmptyCacheHook", "IterTimerHook", "NaiveVisualizationHook", "ProfilerHook", "RuntimeInfoHook"]


def decay_of(momentum: Any) -> Any:
    """Return the decay of an average of which `momentum` is new at each step: 0.99996 for 4e-5."""
    return round(1 - momentum, 12) if isinstance(momentum, int | float) else momentum


def epochs_of(train_cfg: Section) -> tuple[int, int]:
    """Return the epochs of a run, and of how many one is evaluated."""
    if train_cfg.take("type") not in (None, "EpochBasedTrainLoop") or train_cfg.take("by_epoch", True) is not True:
        raise ConfigError(f"{train_cfg.where} counts iterations; expected by_epoch=True with max_epochs")
    epochs, interval = train_cfg.number("max_epochs"), train_cfg.number("val_interval", 1)
    train_cfg.skip("type", "by_epoch", "val_begin")
    train_cfg.expect("dynamic_intervals", None)
    train_cfg.close()
    return epochs, interval


def log_and_checkpoints(hooks: Section, epochs: int) -> dict[str, Any]:
    """Return our `runtime` settings of ``default_hooks``."""
    settings: dict[str, Any] = {}
    logger, checkpoint = hooks.section("logger"), hooks.section("checkpoint")
    if logger is not None and "interval" in logger.values:
        settings["log_interval"] = logger.take("interval")
    if checkpoint is not None:
        checkpoint.expect("by_epoch", True)
        if "interval" in checkpoint.values:
            settings["checkpoint_interval"] = checkpoint.take("interval")
        keep = checkpoint.take("max_keep_ckpts")
        if keep is not None:
            settings["keep_checkpoints"] = epochs if keep == -1 else keep
    hooks.skip("timer", "param_scheduler", "sampler_seed", "visualization", "runtime_info")
    hooks.close()
    return settings


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
