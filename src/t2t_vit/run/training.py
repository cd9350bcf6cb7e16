"""From an `Experiment` to a trained model."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import nn

from t2t_vit.config import (
    Data,
    Experiment,
    Runtime,
    Schedule,
    experiment_from_json,
    experiment_to_dict,
    experiment_to_json,
)
from t2t_vit.data.augment import Augment, Mix, seed_everything
from t2t_vit.data.class_weights import class_weights
from t2t_vit.data.freed_memory import keep_freed_memory
from t2t_vit.data.loaders import StreamLoader, TrainingLoader, evaluation_loader, stream_loader, training_loader
from t2t_vit.data.preprocess import Preprocess
from t2t_vit.data.resident.augment import BatchAugment
from t2t_vit.data.resident.loader import ResidentImages, ResidentLoader
from t2t_vit.data.samplers import TrainingBatches
from t2t_vit.data.sets.image_set import ImageSet
from t2t_vit.data.sets.streams import ImageStream
from t2t_vit.data.views import EvaluationSet, StreamedTrainingSet, TrainingSet
from t2t_vit.device import find_device
from t2t_vit.engine.bad_images import BadImages
from t2t_vit.engine.checkpoint import CheckpointFolder, read_training_state
from t2t_vit.engine.distributed import Launcher, Process, gather_everywhere, process_group, total
from t2t_vit.engine.ema import build_ema
from t2t_vit.engine.log import RunLog
from t2t_vit.engine.optim import build_optimizer, rate_scales
from t2t_vit.engine.schedule import WarmupCosineCooldown
from t2t_vit.engine.stopping import StopRequest
from t2t_vit.engine.trainer import Trainer, TrainingImages, Validate
from t2t_vit.errors import ConfigError, DatasetError, TrainingError
from t2t_vit.evaluation.evaluator import evaluate
from t2t_vit.hub import preprocessing_of
from t2t_vit.models.depths import parameter_depths
from t2t_vit.run.about import write_about
from t2t_vit.run.images import loading, training_images
from t2t_vit.run.network import check_baseline, new_network, starting_network
from t2t_vit.run.occupied import occupied
from t2t_vit.run.precision import AUTOCAST, settle_precision
from t2t_vit.run.resuming import changed_settings, resume_point
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
    keep_freed_memory()
    check_baseline(experiment)
    device = find_device(experiment.runtime.device)
    start = resume_point(folder, resume)
    with StopRequest() as stop, process_group(launcher, device) as process, ExitStack() as stack:
        device = process.device(device)
        images, val_images, num_classes = training_images(experiment)
        settled = dataclasses.replace(experiment.model, num_classes=num_classes)
        content = read_training_state(start) if start is not None else None
        _check_that_all_begin_alike(content, process)
        experiment = dataclasses.replace(
            experiment,
            model=settled,
            data=_with_as_many_images_a_step(experiment, content, process),
            runtime=_with_settled_precision(experiment, device, process),
        )
        runtime, data = experiment.runtime, experiment.data
        distillation = distillation_of(experiment, images.classes, device)
        if process.is_main:
            _warn_of_short_schedule(experiment.schedule)
            stack.enter_context(occupied(folder))
        seed_everything(runtime.seed)
        model = (starting_network(experiment) if content is None else new_network(experiment)).to(device)
        loader: TrainingLoader | StreamLoader | ResidentLoader
        if isinstance(images, ImageStream):
            loader = _stream_loader(experiment, images, process)
            seen = TrainingImages(images.num_images or 0, "", loader.global_batch_size, loader.num_parts)
        else:
            loader = _training_loader(experiment, images, process, device)
            seen = TrainingImages(len(images), images.fingerprint(), loader.global_batch_size)
        stack.callback(loader.close)
        optimizer, schedule = experiment.optimizer, dataclasses.asdict(experiment.schedule)
        lr = _learning_rate(experiment, process.world_size)
        scales = rate_scales(parameter_depths(model), optimizer.layer_decay, optimizer.lr_scale)
        autocast = AUTOCAST[runtime.precision]
        checkpoints = CheckpointFolder(
            folder,
            runtime.keep_checkpoints,
            {"experiment": experiment_to_json(experiment), "classes": list(images.classes)},
        )
        log = RunLog(
            folder,
            active=process.is_main,
            from_step=content["step"] if content is not None else 0,
            evaluated_step=content["state"]["validated_step"] if content is not None else 0,
            total_steps=experiment.schedule.epochs * loader.steps_per_epoch,
            wandb=runtime.wandb,
            settings=experiment_to_dict(experiment),
        )
        trainer = Trainer(
            model=model,
            ema=build_ema(model, experiment.ema.decay, experiment.ema.warmup) if experiment.ema.enabled else None,
            optimizer=build_optimizer(
                model,
                kind=optimizer.kind,
                lr=lr,
                weight_decay=optimizer.weight_decay,
                decay_vectors=optimizer.decay_vectors,
                betas=optimizer.betas,
                eps=optimizer.eps,
                momentum=optimizer.momentum,
                nesterov=optimizer.nesterov,
                scales=scales,
            ),
            schedule=WarmupCosineCooldown(lr=lr, steps_per_epoch=loader.steps_per_epoch, **schedule),
            scaler=torch.amp.GradScaler(device.type, enabled=autocast is torch.float16),
            loader=loader,
            accumulation=optimizer.accumulation,
            mix=_mix(experiment, num_classes),
            label_smoothing=runtime.label_smoothing,
            class_weights=_class_weights(experiment, images, device),
            distillation=distillation,
            autocast=autocast,
            compiled=runtime.compile,
            clip_grad_norm=optimizer.clip_grad_norm,
            validate=_validate(experiment, val_images, num_classes, process, device, stop, stack, log),
            epochs=experiment.schedule.epochs,
            checkpoint_interval=runtime.checkpoint_interval,
            checkpoint_steps=runtime.checkpoint_steps,
            early_stopping=runtime.early_stopping,
            nonfinite_limit=runtime.nonfinite_limit,
            log_interval=runtime.log_interval,
            seed=runtime.seed,
            process=process,
            device=device,
            images=seen,
            bad_images=BadImages(folder, seen.count, data.bad_images_limit, active=process.is_main),
            checkpoints=checkpoints,
            log=log,
            stop=stop,
        )
        if content is not None:
            trainer.resume(content)
        if process.is_main and trainer.state.step < trainer.total_steps:  # of a finished run, nothing more is run
            write_about(folder, experiment)  # now that nothing is refused any more
        with log:
            if content is not None:
                _say_what_goes_on(
                    log, f"{start} at step {trainer.state.step} of {trainer.total_steps}", content, experiment
                )
            log.say(
                f"{experiment.baseline.name or experiment.model.name}: "
                f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters, {seen.count} images "
                f"of {num_classes} classes, {trainer.total_steps} steps on "
                f"{process.world_size} × {device}, in {folder}"
            )
            stop.remember()
            trainer.run()
        last = checkpoints.last()
    if not process.is_main:
        return None
    if last is None:
        raise TrainingError(f"{folder} has no checkpoint after training; was it emptied meanwhile?")
    return last


def _say_what_goes_on(log: RunLog, start: str, content: Mapping[str, Any], experiment: Experiment) -> None:
    log.say(f"resumed from {start}")
    for line in changed_settings(experiment_from_json(content["experiment"], start), experiment):
        log.say(f"changed since: {line}")


def _with_as_many_images_a_step(experiment: Experiment, content: Mapping[str, Any] | None, process: Process) -> Data:
    """Return the settings of the data, with the global batch of a run that goes on if other processes share it now.

    A batch size that was changed stays, and is refused later.
    """
    data = experiment.data
    if content is None or data.global_batch_size is not None:
        return data
    before = experiment_from_json(content["experiment"], "the checkpoint")
    wanted = content["images"]["global_batch_size"]
    shares = process.world_size * experiment.optimizer.accumulation
    unchanged = (before.data.batch_size, before.optimizer.accumulation) == (
        data.batch_size, experiment.optimizer.accumulation,
    )  # fmt: skip
    is_other = unchanged and data.batch_size * shares != wanted
    return dataclasses.replace(data, global_batch_size=wanted) if is_other else data


def _training_loader(
    experiment: Experiment, images: ImageSet, process: Process, device: torch.device
) -> TrainingLoader | ResidentLoader:
    """Return the batches of this process."""
    data, seed = experiment.data, experiment.runtime.seed
    odds = None
    if data.sampling == "balanced":
        by_class = class_weights(images.labels, len(images.classes))
        odds = [by_class[label] for label in images.labels]
    batches = TrainingBatches(
        len(images),
        _batch_size(experiment, process),
        seed,
        process.rank,
        process.world_size,
        experiment.optimizer.accumulation,
        odds,
    )
    preprocess, view = Preprocess(**preprocessing_of(experiment)), _view(experiment)
    if data.in_memory:
        return ResidentLoader(
            ResidentImages(images, preprocess, seed, device, show_progress=process.is_main),
            BatchAugment(preprocess, **view),
            batches,
        )
    return training_loader(TrainingSet(images, Augment(preprocess, **view), seed), batches, **loading(data))


def _stream_loader(experiment: Experiment, images: ImageStream, process: Process) -> StreamLoader:
    """Return this process's batches of a stream.

    Raises:
        ConfigError: Nobody knows how many images there are, or there are too few.
    """
    accumulation = experiment.optimizer.accumulation
    batch_size = _batch_size(experiment, process)
    if images.num_images is None:
        raise ConfigError("the stream does not say how many images it has; set data.num_images to those of an epoch")
    steps = images.num_images // (batch_size * process.world_size * accumulation)
    if not steps:
        raise ConfigError(
            f"a stream of {images.num_images} images does not fill a step of {batch_size} images in "
            f"{process.world_size} processes with {accumulation} batches each; lower data.batch_size"
        )
    dataset = StreamedTrainingSet(
        images,
        Augment(Preprocess(**preprocessing_of(experiment)), **_view(experiment)),
        experiment.runtime.seed,
        batch_size=batch_size,
        batches_per_epoch=steps * accumulation,
        rank=process.rank,
        world_size=process.world_size,
    )
    return stream_loader(dataset, accumulation, **loading(experiment.data))


def _batch_size(experiment: Experiment, process: Process) -> int:
    """Return the images of a process and batch.

    Raises:
        ConfigError: A step's images cannot be shared evenly.
    """
    shares = process.world_size * experiment.optimizer.accumulation
    wanted = experiment.data.global_batch_size
    if wanted is None:
        return experiment.data.batch_size
    size, rest = divmod(wanted, shares)
    mixes = experiment.augmentation.mixup or experiment.augmentation.cutmix
    if rest or (mixes and size % 2):
        raise ConfigError(
            f"a step of {wanted} images cannot be shared evenly by {process.world_size} processes with "
            f"{experiment.optimizer.accumulation} batches each{' of an even number of images' if mixes else ''}; "
            "change the number of processes, data.global_batch_size or optimizer.accumulation"
        )
    return size


def _check_that_all_begin_alike(content: Mapping[str, Any] | None, process: Process) -> None:
    """Refuse processes that do not see the same checkpoint."""
    steps = gather_everywhere(content["step"] if content is not None else 0, process)
    if len(set(steps)) > 1:
        raise TrainingError(
            f"the processes would go on from different steps ({', '.join(map(str, steps))}); the work folder has to "
            "be one that all of them see"
        )


def _with_settled_precision(experiment: Experiment, device: torch.device, process: Process) -> Runtime:
    """Return the settings of the run with the precision that its devices compute in.

    Raises:
        ConfigError: They would choose different ones: their gradients are summed.
    """
    precision = settle_precision(experiment.runtime.precision, device, warns=process.is_main)
    precisions = gather_everywhere(precision, process)
    if len(set(precisions)) > 1:
        raise ConfigError(
            f"runtime.precision=auto (--amp) means another one on the devices of some processes "
            f"({', '.join(precisions)}); name one that all of them have"
        )
    return dataclasses.replace(experiment.runtime, precision=precision)


def _class_weights(experiment: Experiment, images: ImageSet | ImageStream, device: torch.device) -> torch.Tensor | None:
    """Return how much each class counts in the loss (K,), None if all count alike.

    Raises:
        ConfigError: Nobody knows how frequent the classes of a stream are.
    """
    if experiment.runtime.class_weights == "none":
        return None
    if isinstance(images, ImageStream):
        raise ConfigError("runtime.class_weights needs all labels at the beginning; leave it or data.streaming out")
    return torch.tensor(class_weights(images.labels, len(images.classes)), device=device)


def _view(experiment: Experiment) -> dict[str, Any]:
    """Return what training does to one picture: arguments of `Augment` and `BatchAugment`."""
    settings = dataclasses.asdict(experiment.augmentation)
    return {name: value for name, value in settings.items() if name not in ("mixup", "cutmix")}


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
    stack: ExitStack,
    log: RunLog,
) -> Validate | None:
    """Return what evaluates a network on `images` while it is trained, None without images."""
    if images is None:
        return None
    val_set = EvaluationSet(images, Preprocess(**preprocessing_of(experiment)))
    batch_size, world_size = experiment.data.batch_size, process.world_size
    bad: dict[str, str] = {}
    told: set[str] = set()
    loader = evaluation_loader(
        val_set, batch_size, process.rank, world_size, on_bad=bad.update,
        **loading(experiment.data),
    )  # fmt: skip
    stack.callback(loader.close)
    # All processes have so many batches; one that has another one must not wait for the others there.
    common = -(-(len(images) // world_size) // batch_size)

    def validate(network: nn.Module) -> dict[str, float]:
        done = 0

        def is_asked_to_stop(_: int) -> bool:
            nonlocal done
            done += 1
            asked = torch.tensor(float(stop.signal is not None), device=device)
            return done <= common and bool(total(asked, process))

        figures = evaluate(
            network,
            loader,
            num_classes,
            device,
            autocast=AUTOCAST[experiment.runtime.precision],
            on_batch=is_asked_to_stop,
        ).metrics
        unreadable = dict(image for share in gather_everywhere(list(bad.items()), process) for image in share)
        for name, reason in unreadable.items():
            if name not in told:
                told.add(name)
                log.say(f"unreadable, and left out of the evaluation: {reason}")
        if len(unreadable) == len(images):
            raise DatasetError(
                f"none of the {len(images)} validation images can be read; mend them (t2t-vit verify-data lists them), "
                "or train without with runtime.validate=false, and go on with --resume"
            )
        return figures

    return validate


def _learning_rate(experiment: Experiment, world_size: int) -> float:
    """Return the rate after warm-up, scaled to the batch of all devices where that is asked for."""
    optimizer = experiment.optimizer
    if not optimizer.auto_scale_lr:
        return optimizer.lr
    global_batch_size = experiment.data.global_batch_size
    if global_batch_size is None:
        global_batch_size = experiment.data.batch_size * world_size * optimizer.accumulation
    return optimizer.lr * global_batch_size / optimizer.base_batch_size


def _warn_of_short_schedule(schedule: Schedule) -> None:
    if schedule.epochs > 1 and schedule.epochs <= schedule.warmup_epochs + schedule.cooldown_epochs:
        _log.warning(
            "%d epochs end before the learning rate has gone through its %d epochs of warm-up and %d of cool-down; "
            "lower schedule.warmup_epochs and schedule.cooldown_epochs",
            schedule.epochs, schedule.warmup_epochs, schedule.cooldown_epochs,
        )  # fmt: skip
