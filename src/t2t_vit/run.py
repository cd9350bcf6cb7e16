"""The composition root: an `Experiment` becomes a model, data and an engine, and is trained or tested."""

from __future__ import annotations

import dataclasses
import json
import logging
import platform
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from t2t_vit.config import Data, Experiment, Schedule, experiment_from_json, experiment_to_json
from t2t_vit.data.augment import Augment, Mix, seed_everything
from t2t_vit.data.datasets import Digits, EvaluationSet, ImageFolder, ImageSet, TrainingSet
from t2t_vit.data.loaders import evaluation_loader, training_loader
from t2t_vit.data.preprocess import Preprocess
from t2t_vit.data.samplers import ShuffledBatches
from t2t_vit.data.splits import fold_of
from t2t_vit.device import find_device
from t2t_vit.engine.checkpoint import CheckpointFolder, read_training_state
from t2t_vit.engine.distillation import Distillation
from t2t_vit.engine.distributed import Launcher, Process, gather, process_group
from t2t_vit.engine.ema import build_ema
from t2t_vit.engine.log import RunLog
from t2t_vit.engine.optim import build_optimizer
from t2t_vit.engine.schedule import WarmupCosineCooldown
from t2t_vit.engine.stopping import StopRequest
from t2t_vit.engine.trainer import Trainer
from t2t_vit.errors import ConfigError, TrainingError
from t2t_vit.evaluation.evaluator import Evaluation, evaluate, joined
from t2t_vit.files import write_text
from t2t_vit.hub import build_model, get_model, load_model, preprocessing_of, weights_file
from t2t_vit.models import T2TViT

_log = logging.getLogger(__name__)

_AUTOCAST = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class TestRun:
    """A tested model.

    Attributes:
        evaluation: What came of it; in other processes than the main one, of their share of the images.
        images: The images.
        model: The model.
        preprocess: How images were prepared.
        is_main: Whether this process is the one that reports.
    """

    evaluation: Evaluation
    images: ImageSet
    model: T2TViT
    preprocess: Preprocess
    is_main: bool


def open_images(data: Data, split: str, num_classes: int | None = None, known: Sequence[str] | None = None) -> ImageSet:
    """Return the `train` or `val` images of `data`.

    Args:
        data: Where they are.
        split: `train` or `val`.
        num_classes: Classes of the model, None if it takes what there is.
        known: The classes where they are settled.

    Raises:
        DatasetError: They are missing or laid out otherwise.
    """
    if data.num_folds is not None:
        whole = open_images(dataclasses.replace(data, num_folds=None, fold=0), "train", num_classes, known)
        return fold_of(whole, data.num_folds, data.fold, split)
    if data.dataset == "digits":
        return Digits(split)
    return ImageFolder(Path(data.root) / getattr(data, split), data.classes, num_classes, known)


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
    with process_group(launcher, device) as process:
        device = process.device(device)
        images, val_images, num_classes = _training_images(experiment)
        settled = dataclasses.replace(experiment.model, num_classes=num_classes)
        experiment = dataclasses.replace(experiment, model=settled)
        content = read_training_state(start) if start is not None else None
        distillation = _distillation(experiment, images.classes, device)
        if process.is_main:
            _warn_of_short_schedule(experiment.schedule)
            _write_about(folder, experiment)
        seed_everything(experiment.runtime.seed)
        model = (_starting_model(experiment) if content is None else build_model(experiment)).to(device)
        model.classes = images.classes
        batches = ShuffledBatches(
            len(images), experiment.data.batch_size, experiment.runtime.seed, process.rank, process.world_size
        )
        log = RunLog(
            folder,
            active=process.is_main,
            from_step=content["step"] if content is not None else 0,
            total_steps=experiment.schedule.epochs * batches.steps_per_epoch,
        )
        with log, ExitStack() as loaders:
            stop = StopRequest()
            trainer = _trainer(
                experiment,
                folder,
                model,
                images,
                val_images,
                batches,
                distillation,
                process,
                device,
                log,
                stop,
                loaders,
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


def test(
    experiment: Experiment,
    checkpoint: str | Path,
    *,
    weights: str = "ema",
    flip: bool = False,
    keep_scores: bool = False,
    launcher: Launcher = "none",
    on_batch: Callable[[int, int], None] | None = None,
) -> TestRun:
    """Return how the weights of `checkpoint` do on the `val` images of `experiment`.

    Args:
        experiment: Which model and images.
        checkpoint: File of the weights.
        weights: `ema` or `raw`, where the file has both.
        flip: Average the scores of each image and its mirror image.
        keep_scores: Keep the scores of all classes.
        launcher: What started the processes of this run.
        on_batch: Called with images done and images in all (of this process) after each batch.

    Raises:
        CheckpointError: The file holds no weights, or those of another model.
        DatasetError: The images are missing, or of other classes.
    """
    device = find_device(experiment.runtime.device)
    with process_group(launcher, device) as process:
        device = process.device(device)
        model = load_model(experiment, checkpoint, weights=weights).to(device)
        images = open_images(experiment.data, "val", model.num_classes, model.classes)
        if len(images.classes) != model.num_classes:
            raise ConfigError(
                f"the images have {len(images.classes)} classes and {checkpoint} has {model.num_classes}; "
                "test with the data that it was trained for"
            )
        model.classes = images.classes
        preprocess = Preprocess(**preprocessing_of(experiment))
        loader = evaluation_loader(
            EvaluationSet(images, preprocess),
            experiment.data.batch_size,
            process.rank,
            process.world_size,
            **_loading(experiment.data),
        )
        share, done = len(range(process.rank, len(images), process.world_size)), 0

        def count(size: int) -> bool:
            nonlocal done
            done += size
            if on_batch is not None:
                on_batch(done, share)
            return False

        with closing(loader):
            evaluation = evaluate(
                model,
                loader,
                model.num_classes,
                device,
                autocast=_AUTOCAST[experiment.runtime.precision],
                flip=flip,
                keep_scores=keep_scores,
                on_batch=count,
            )
        evaluation = joined(gather(evaluation, process))
    return TestRun(evaluation, images, model, preprocess, process.is_main)


def stored_experiment(work_dir: str | Path) -> Experiment:
    """Return the `Experiment` that the run in `work_dir` was started with.

    Raises:
        ConfigError: There is none, or it is damaged.
    """
    path = Path(work_dir) / "experiment.json"
    try:
        return experiment_from_json(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise ConfigError(f"{work_dir} holds no run: cannot read {path} ({error.strerror})") from None


def resume_point(work_dir: str | Path, resume: str | Path | None) -> Path | None:
    """Return the checkpoint that `train` goes on from with this `resume`, None if it begins.

    Raises:
        TrainingError: There is a run already and `resume` is None, or there is nothing to resume.
    """
    folder = Path(work_dir)
    last = CheckpointFolder(folder, keep=1).last()
    if resume is None:
        if last is not None:
            raise TrainingError(
                f"{folder} holds a run already ({last.name}); go on with it by --resume, "
                "or name another place with --work-dir"
            )
        return None
    if resume == "auto":
        return last
    if resume == "last":
        if last is None:
            raise TrainingError(f"there is nothing to resume: {folder} has no checkpoint")
        return last
    return Path(resume)


def resumed_experiment(checkpoint: Path) -> Experiment:
    """Return the settings of the run that wrote `checkpoint`.

    Raises:
        CheckpointError: It is missing, damaged or not of training.
        ConfigError: The settings in it are damaged.
    """
    return experiment_from_json(read_training_state(checkpoint)["experiment"], str(checkpoint))


def _trainer(
    experiment: Experiment,
    folder: Path,
    model: T2TViT,
    images: ImageSet,
    val_images: ImageSet | None,
    batches: ShuffledBatches,
    distillation: Distillation | None,
    process: Process,
    device: torch.device,
    log: RunLog,
    stop: StopRequest,
    loaders: ExitStack,
) -> Trainer:
    runtime, optimizer, augmentation = experiment.runtime, experiment.optimizer, experiment.augmentation
    preprocess = Preprocess(**preprocessing_of(experiment))
    autocast = _AUTOCAST[runtime.precision]
    view = {f.name: getattr(augmentation, f.name) for f in dataclasses.fields(augmentation)}
    mixing = {name: view.pop(name) for name in ("mixup", "cutmix")}
    mix = None
    if any(mixing.values()):
        mix = Mix(model.num_classes, label_smoothing=runtime.label_smoothing, **mixing)
    training_set = TrainingSet(images, Augment(preprocess, **view), runtime.seed)

    validate = None
    if val_images is not None:
        val_loader = evaluation_loader(
            EvaluationSet(val_images, preprocess),
            experiment.data.batch_size,
            process.rank,
            process.world_size,
            **_loading(experiment.data),
        )
        loaders.callback(val_loader.close)

        def validate(network: nn.Module) -> dict[str, float]:
            return evaluate(
                network,
                val_loader,
                model.num_classes,
                device,
                autocast=autocast,
                on_batch=lambda _: stop.signal is not None,
            ).metrics

    loader = training_loader(training_set, batches, **_loading(experiment.data))
    loaders.callback(loader.close)
    schedule = dataclasses.asdict(experiment.schedule)
    lr = _learning_rate(experiment, process.world_size)
    return Trainer(
        model=model,
        ema=build_ema(model, experiment.ema.decay, experiment.ema.warmup) if experiment.ema.enabled else None,
        optimizer=build_optimizer(model, lr, optimizer.weight_decay, optimizer.betas, optimizer.eps),
        schedule=WarmupCosineCooldown(lr=lr, steps_per_epoch=batches.steps_per_epoch, **schedule),
        scaler=torch.amp.GradScaler(device.type, enabled=autocast is torch.float16),
        batches=batches,
        loader=loader,
        mix=mix,
        label_smoothing=runtime.label_smoothing,
        distillation=distillation,
        autocast=autocast,
        clip_grad_norm=optimizer.clip_grad_norm,
        validate=validate,
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


def _training_images(experiment: Experiment) -> tuple[ImageSet, ImageSet | None, int]:
    """Return training images, validation images (None if there is to be no evaluation) and the number of classes."""
    wanted = experiment.model.num_classes
    images = open_images(experiment.data, "train", wanted)
    num_classes = len(images.classes)
    if wanted not in (None, num_classes):
        raise ConfigError(
            f"the training images have {num_classes} classes and model.num_classes is {wanted}; "
            "leave model.num_classes out to take what the data has"
        )
    val_images = None
    if experiment.runtime.validate:
        val_images = open_images(experiment.data, "val", num_classes, images.classes)
    return images, val_images, num_classes


def _distillation(experiment: Experiment, classes: Sequence[str], device: torch.device) -> Distillation | None:
    """Return the teacher that `experiment` names, None if it names none.

    Raises:
        ConfigError: The teacher tells other classes apart, or takes images that are prepared otherwise.
    """
    settings = experiment.distillation
    if settings.teacher is None:
        return None
    try:
        teacher = get_model(settings.teacher, settings.teacher_weights or True, device)
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


def _loading(data: Data) -> dict[str, Any]:
    return {
        "num_workers": data.num_workers,
        "pin_memory": data.pin_memory,
        "persistent_workers": data.persistent_workers,
    }


def _write_about(folder: Path, experiment: Experiment) -> None:
    """Write the resolved config and what it runs on into the work folder."""
    import PIL
    import timm
    import torchvision

    import t2t_vit

    environment = {
        "command": sys.argv,
        "t2t_vit": t2t_vit.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "timm": timm.__version__,
        "pillow": PIL.__version__,
        "cuda": torch.version.cuda if torch.cuda.is_available() else None,
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "threads": torch.get_num_threads(),
    }
    try:
        write_text(folder / "experiment.json", experiment_to_json(experiment) + "\n")
        write_text(folder / "environment.json", json.dumps(environment, indent=2) + "\n")
    except OSError as error:
        raise TrainingError(f"cannot write into the work folder {folder} ({error.strerror})") from None
