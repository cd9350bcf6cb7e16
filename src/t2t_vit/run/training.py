"""From an `Experiment` to a trained model."""

from __future__ import annotations

import dataclasses
import logging
from contextlib import ExitStack
from pathlib import Path

import torch
from torch import nn

from t2t_vit.config import Experiment, Schedule, experiment_to_json
from t2t_vit.data.augment import Augment, Mix, seed_everything
from t2t_vit.data.datasets import EvaluationSet, ImageSet, TrainingSet
from t2t_vit.data.loaders import evaluation_loader, training_loader
from t2t_vit.data.preprocess import Preprocess
from t2t_vit.data.samplers import ShuffledBatches
from t2t_vit.device import find_device
from t2t_vit.engine.checkpoint import CheckpointFolder, read_training_state
from t2t_vit.engine.distributed import Launcher, Process, process_group
from t2t_vit.engine.ema import build_ema
from t2t_vit.engine.log import RunLog
from t2t_vit.engine.optim import build_optimizer
from t2t_vit.engine.schedule import WarmupCosineCooldown
from t2t_vit.engine.stopping import StopRequest
from t2t_vit.engine.trainer import Trainer, Validate
from t2t_vit.errors import TrainingError
from t2t_vit.evaluation.evaluator import evaluate
from t2t_vit.hub import build_model, load_model, preprocessing_of, weights_file
from t2t_vit.models import T2TViT
from t2t_vit.run.about import write_about
from t2t_vit.run.images import loading, training_images
from t2t_vit.run.precision import AUTOCAST
from t2t_vit.run.resuming import resume_point
from t2t_vit.run.teacher import distillation_of

_log = logging.getLogger(__name__)


def train(
    experiment: Experiment,
    work_dir: str | Path,
    *,
    resume: str | Path | None = None,
    launcher: Launcher = "none",
) -> Path | None:
    """Train `experiment` in `work_dir` and return the last checkpoint; None in other processes than the main one.

    Args:
        experiment: What to train.
        work_dir: Where checkpoints and logs go.
        resume: None: begin a run, in a folder without one. ``last``: go on from the newest checkpoint in `work_dir`.
            ``auto``: the same, or begin if there is none. A path: go on from that checkpoint.
        launcher: What started the processes of this run.

    Raises:
        ConfigError: A setting does not fit the data or the machine.
        DatasetError: The images are missing or laid out otherwise.
        TrainingError: There is a run already, nothing to resume, the folder cannot be written, the loss is not finite.
        TrainingStopped: A signal asked for it; the state is saved.
    """
    folder = Path(work_dir)
    device = find_device(experiment.runtime.device)
    start = resume_point(folder, resume)
    with process_group(launcher, device) as process, ExitStack() as loaders:
        device = process.device(device)
        images, val_images, num_classes = training_images(experiment)
        settled = dataclasses.replace(experiment.model, num_classes=num_classes)
        experiment = dataclasses.replace(experiment, model=settled)
        runtime = experiment.runtime
        content = read_training_state(start) if start is not None else None
        distillation = distillation_of(experiment, images.classes, device)
        if process.is_main:
            _warn_of_short_schedule(experiment.schedule)
            write_about(folder, experiment)
        seed_everything(runtime.seed)
        model = (_starting_model(experiment) if content is None else build_model(experiment)).to(device)
        model.classes = images.classes
        batches = ShuffledBatches(
            len(images), experiment.data.batch_size, runtime.seed, process.rank, process.world_size
        )
        lr = _learning_rate(experiment, process.world_size)
        optimizer, schedule = experiment.optimizer, dataclasses.asdict(experiment.schedule)
        autocast = AUTOCAST[runtime.precision]
        training_set = TrainingSet(images, _augment(experiment), runtime.seed)
        loader = training_loader(training_set, batches, **loading(experiment.data))
        loaders.callback(loader.close)
        stop = StopRequest()
        log = RunLog(
            folder,
            active=process.is_main,
            from_step=content["step"] if content is not None else 0,
            total_steps=experiment.schedule.epochs * batches.steps_per_epoch,
        )
        with log:
            trainer = Trainer(
                model=model,
                ema=build_ema(model, experiment.ema.decay, experiment.ema.warmup) if experiment.ema.enabled else None,
                optimizer=build_optimizer(model, lr, optimizer.weight_decay, optimizer.betas, optimizer.eps),
                schedule=WarmupCosineCooldown(lr=lr, steps_per_epoch=batches.steps_per_epoch, **schedule),
                scaler=torch.amp.GradScaler(device.type, enabled=autocast is torch.float16),
                batches=batches,
                loader=loader,
                mix=_mix(experiment, num_classes),
                label_smoothing=runtime.label_smoothing,
                distillation=distillation,
                autocast=autocast,
                clip_grad_norm=optimizer.clip_grad_norm,
                validate=_validate(experiment, val_images, num_classes, process, device, stop, loaders),
                epochs=experiment.schedule.epochs,
                checkpoint_interval=runtime.checkpoint_interval,
                log_interval=runtime.log_interval,
                seed=runtime.seed,
                process=process,
                device=device,
                checkpoints=CheckpointFolder(
                    folder,
                    runtime.keep_checkpoints,
                    {"experiment": experiment_to_json(experiment), "classes": list(images.classes)},
                ),
                log=log,
                stop=stop,
            )
            if content is not None:
                trainer.resume(content)
                log.say(f"resumed from {start} at step {trainer.state.step} of {trainer.total_steps}")
            log.say(
                f"{experiment.model.name}: {sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters, "
                f"{len(images)} images of {num_classes} classes, {trainer.total_steps} steps on "
                f"{process.world_size} × {device}, in {folder}"
            )
            with stop:
                trainer.run()
        last = trainer.checkpoints.last()
    if not process.is_main:
        return None
    if last is None:
        raise TrainingError(f"{folder} has no checkpoint after training; was it emptied meanwhile?")
    return last


def _augment(experiment: Experiment) -> Augment:
    """Return what training does to one picture."""
    settings = dataclasses.asdict(experiment.augmentation)
    view = {name: value for name, value in settings.items() if name not in ("mixup", "cutmix")}
    return Augment(Preprocess(**preprocessing_of(experiment)), **view)


def _mix(experiment: Experiment, num_classes: int) -> Mix | None:
    """Return what training does to a batch, None if that is nothing."""
    mixup, cutmix = experiment.augmentation.mixup, experiment.augmentation.cutmix
    if not mixup and not cutmix:
        return None
    return Mix(num_classes, label_smoothing=experiment.runtime.label_smoothing, mixup=mixup, cutmix=cutmix)


def _validate(
    experiment: Experiment,
    images: ImageSet | None,
    num_classes: int,
    process: Process,
    device: torch.device,
    stop: StopRequest,
    loaders: ExitStack,
) -> Validate | None:
    """Return what evaluates a network on `images` while it is trained, None without images."""
    if images is None:
        return None
    val_set = EvaluationSet(images, Preprocess(**preprocessing_of(experiment)))
    batch_size = experiment.data.batch_size
    loader = evaluation_loader(val_set, batch_size, process.rank, process.world_size, **loading(experiment.data))
    loaders.callback(loader.close)

    def validate(network: nn.Module) -> dict[str, float]:
        return evaluate(
            network,
            loader,
            num_classes,
            device,
            autocast=AUTOCAST[experiment.runtime.precision],
            on_batch=lambda _: stop.signal is not None,
        ).metrics

    return validate


def _learning_rate(experiment: Experiment, world_size: int) -> float:
    """Return the rate after warm-up, scaled to the batch of all devices where that is asked for."""
    optimizer = experiment.optimizer
    if not optimizer.auto_scale_lr:
        return optimizer.lr
    return optimizer.lr * experiment.data.batch_size * world_size / optimizer.base_batch_size


def _warn_of_short_schedule(schedule: Schedule) -> None:
    if schedule.epochs > 1 and schedule.epochs <= schedule.warmup_epochs + schedule.cooldown_epochs:
        _log.warning(
            "%d epochs end before the learning rate has gone through its %d epochs of warm-up and %d of cool-down; "
            "lower schedule.warmup_epochs and schedule.cooldown_epochs",
            schedule.epochs, schedule.warmup_epochs, schedule.cooldown_epochs,
        )  # fmt: skip


def _starting_model(experiment: Experiment) -> T2TViT:
    if experiment.model.pretrained is None:
        return build_model(experiment)
    return load_model(experiment, weights_file(experiment.model.pretrained), new_head=True)
