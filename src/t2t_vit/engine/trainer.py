"""The training loop.

B images a process and batch, K classes. A step takes one or more batches of every process.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from textwrap import shorten
from typing import Any, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from t2t_vit.data.augment import Mix, seed_everything
from t2t_vit.data.views import BadImage
from t2t_vit.engine.bad_images import BadImages
from t2t_vit.engine.checkpoint import BEST, CheckpointFolder, TrainingState
from t2t_vit.engine.distillation import Distillation
from t2t_vit.engine.distributed import Process, gather_everywhere, total
from t2t_vit.engine.failures import explain
from t2t_vit.engine.log import RunLog, duration
from t2t_vit.engine.meter import Meter
from t2t_vit.engine.schedule import WarmupCosineCooldown
from t2t_vit.engine.stopping import StopRequest, TrainingStopped
from t2t_vit.errors import TrainingError
from t2t_vit.evaluation.evaluator import EvaluationStopped

#: The figure by which the best checkpoint is chosen.
BEST_BY = "accuracy/top1"

Validate = Callable[[nn.Module], dict[str, float]]


class Batch(Protocol):
    """Images to train on."""

    @property
    def labels(self) -> torch.Tensor:
        """Their labels (B,)."""

    @property
    def names(self) -> Sequence[str]:
        """What they are called."""

    @property
    def bad(self) -> Sequence[BadImage]:
        """Images that could not be read, and are replaced by others."""

    def inputs(self, device: torch.device) -> torch.Tensor:
        """Return the model's input (B, C, H, W), float32, on `device`."""


class Batches(Protocol):
    """Where training batches come from."""

    @property
    def steps_per_epoch(self) -> int:
        """Steps of a whole epoch."""

    def from_step(self, epoch: int, step: int) -> Iterator[Batch]:
        """Return this process's batches of `epoch` from its step `step` on."""


@dataclass(frozen=True)
class TrainingImages:
    """What a run is trained on.

    Attributes:
        count: How many images.
        fingerprint: Equal for equal images in equal order.
        global_batch_size: How many make a step.
        shares: How many processes and loading workers have a part of their own; 0: any number sees the same order.
    """

    count: int
    fingerprint: str
    global_batch_size: int
    shares: int = 0


class _Told(NamedTuple):
    """What all processes know of a step before it is taken."""

    loss: float  # mean over the processes
    grad_norm: float
    num_bad: int
    stop: bool


@dataclass
class Trainer:
    """One run. `run` trains from `state` to the end; the state and the files it leaves are enough to go on from.

    Attributes:
        model: Images (B, C, H, W) to logits (B, K), on `device`.
        ema: Its average, or None.
        optimizer: Over `model`; each group has its `lr_scale`.
        schedule: The learning rate of a step.
        scaler: Of float16 gradients; does nothing unless enabled.
        loader: Batches of images and labels.
        accumulation: Batches of each process that make a step.
        mix: Mixup or CutMix, or None.
        label_smoothing: Of the loss where `mix` is None.
        class_weights: How much each class counts in the loss (K,), on `device`; None: all alike.
        distillation: Teacher whose answers are part of the loss, or None.
        autocast: Type to compute in; None: float32.
        compiled: Whether the network is compiled.
        clip_grad_norm: Largest norm of the gradient, or None.
        validate: Returns figures of merit of a model; None: no evaluation.
        epochs: Of the whole run.
        checkpoint_interval: Epochs between checkpoints.
        checkpoint_steps: Steps between checkpoints within an epoch, or None.
        early_stopping: Evaluations in a row without a better figure that end the run; None: they do not.
        nonfinite_limit: Steps in a row without a finite loss that end it with an error.
        log_interval: Steps between log lines.
        seed: Of the run.
        process: Which of the processes this is.
        device: Where it computes.
        images: The training images as a run that goes on has to find them again.
        bad_images: Training images that could not be read.
        checkpoints: Where state is kept.
        log: Where progress is told.
        stop: Whether somebody asked to stop.
        state: Where the run stands.
    """

    model: nn.Module
    ema: AveragedModel | None
    optimizer: torch.optim.Optimizer
    schedule: WarmupCosineCooldown
    scaler: torch.amp.GradScaler
    loader: Batches
    accumulation: int
    mix: Mix | None
    label_smoothing: float
    class_weights: torch.Tensor | None
    distillation: Distillation | None
    autocast: torch.dtype | None
    compiled: bool
    clip_grad_norm: float | None
    validate: Validate | None
    epochs: int
    checkpoint_interval: int
    checkpoint_steps: int | None
    early_stopping: int | None
    nonfinite_limit: int
    log_interval: int
    seed: int
    process: Process
    device: torch.device
    images: TrainingImages
    bad_images: BadImages
    checkpoints: CheckpointFolder
    log: RunLog
    stop: StopRequest
    state: TrainingState = field(default_factory=TrainingState)

    def __post_init__(self) -> None:
        self.steps_per_epoch = self.loader.steps_per_epoch
        self.total_steps = self.epochs * self.steps_per_epoch
        self._parameters = [p for p in self.model.parameters() if p.requires_grad]
        devices = [self.device] if self.device.type == "cuda" else None
        parallel = self.process.world_size > 1
        self._parallel = DistributedDataParallel(self.model, device_ids=devices) if parallel else None
        self._network: Callable[[torch.Tensor], torch.Tensor] = self._parallel or self.model
        if self.compiled:
            self._network = torch.compile(self._network)
        self._meter = Meter(self.state.step)
        self._saved_step = self.state.step
        self._is_stepping = False
        self._is_suspect = False  # whether the weights may be at fault for losses that are not finite
        self._batch_size = 0

    def run(self) -> None:
        """Train to the end.

        Raises:
            TrainingStopped: A signal asked for it; the state is saved.
            TrainingError: The loss is not finite, memory is short, a process is lost, too many images are unreadable,
                or a checkpoint cannot be written. What was reached is saved where it can be.
        """
        try:
            while True:
                if self._epoch_is_due():
                    self._finish_epoch()
                if self.state.step >= self.total_steps or self._has_stalled():
                    return
                self._train_epoch()
        except Exception as error:
            told = explain(error, self.state.step, self._batch_size, self.process)
            self._rescue()
            if told is None:
                raise
            raise told from error

    def _train_epoch(self) -> None:
        self.model.train()
        batches = self.loader.from_step(*divmod(self.state.step, self.steps_per_epoch))
        for _ in range(self.state.step % self.steps_per_epoch, self.steps_per_epoch):
            told = self._train_step(batches)
            self.state.step += 1
            self.log.advance(self.state.step)
            if self.state.step % self.log_interval == 0 or self.state.step % self.steps_per_epoch == 0:
                self._report(told)
            if told.num_bad:
                self.bad_images.check()
            if self.state.nonfinite >= self.nonfinite_limit:
                self._give_up(told)
            if told.stop or (self.process.world_size == 1 and self.stop.signal is not None):
                self._stop()
            if self.checkpoint_steps and self.state.step % self.checkpoint_steps == 0 and not self._epoch_is_due():
                self._save_step()

    def _train_step(self, batches: Iterator[Batch]) -> _Told:
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule(self.state.step) * group["lr_scale"]
        taken, losses = [], []
        for part in range(self.accumulation):
            batch = next(batches)
            taken.append(batch)
            # Mixup's and drop-path's draws belong to this batch and process, whatever happened before.
            seed_everything(self.seed, 1, self.state.step * self.accumulation + part, self.process.rank)
            with self._without_sync() if part < self.accumulation - 1 else nullcontext():
                loss = self._loss(batch)
                self.scaler.scale(loss / self.accumulation).backward()
            losses.append(loss.detach())
        self.scaler.unscale_(self.optimizer)
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        norm = nn.utils.get_total_norm(gradients)
        told = self._tell(torch.stack(losses).mean(), norm, taken)
        if self._is_finite(told):
            if self.clip_grad_norm is not None:
                nn.utils.clip_grads_with_norm_(self._parameters, self.clip_grad_norm, norm)
            self._is_stepping = True
            self.scaler.step(self.optimizer)
            if self.ema is not None:
                self.ema.update_parameters(self.model)
            self._is_stepping = False
            self.state.nonfinite = 0
            self._meter.add(told.loss)
        else:
            self._tell_nonfinite(told, taken)
        self._is_suspect = self.state.nonfinite > 1  # once it may be the images
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        self._meter.count(sum(len(batch.labels) for batch in taken) * self.process.world_size)
        return told

    def _loss(self, batch: Batch) -> torch.Tensor:
        images = batch.inputs(self.device)  # (B, C, H, W)
        targets = batch.labels.to(self.device, non_blocking=True)  # (B,), or (B, K) once mixed
        self._batch_size = len(images)
        smoothing = self.label_smoothing
        if self.mix is not None:
            images, targets = self.mix(images, targets)
            smoothing = 0.0  # it is in the targets
        with torch.autocast(self.device.type, dtype=self.autocast, enabled=self.autocast is not None):
            logits = self._network(images).float()
        # Divided by B and not by the weights of the classes that it has: a global batch has one loss, however shared.
        loss = F.cross_entropy(
            logits, targets, weight=self.class_weights, label_smoothing=smoothing, reduction="sum"
        ) / len(images)
        if self.distillation is not None:
            loss = self.distillation.loss(loss, logits, self.distillation.ask(images, self.autocast))
        return loss

    def _without_sync(self) -> AbstractContextManager[None]:
        return nullcontext() if self._parallel is None else self._parallel.no_sync()

    def _tell(self, loss: torch.Tensor, norm: torch.Tensor, taken: Sequence[Batch]) -> _Told:
        """Agree with the other processes on what this step is; after the backward pass, as reading waits for it."""
        bad = [image for batch in taken for image in batch.bad]
        asked = self.stop.signal is not None
        if self.process.world_size == 1:
            loss_now, norm_now = torch.stack([loss, norm]).tolist()
            told = _Told(loss_now, norm_now, len(bad), asked)
        else:
            numbers = torch.stack([loss.double(), norm.double(), *loss.new_tensor([len(bad), asked]).double()])
            loss_now, norm_now, num_bad, num_asked = total(numbers, self.process).tolist()
            size = self.process.world_size
            told = _Told(loss_now / size, norm_now / size, int(num_bad), num_asked > 0)
        if told.num_bad:
            self._note_bad([image for images in gather_everywhere(bad, self.process) for image in images])
        return told

    def _is_finite(self, told: _Told) -> bool:
        # Gradients that overflow in float16 are the scaler's to handle, until it has run out of scale.
        overflow_is_fine = self.scaler.is_enabled() and (math.isfinite(told.grad_norm) or self.scaler.get_scale() > 1)
        return math.isfinite(told.loss) and (math.isfinite(told.grad_norm) or overflow_is_fine)

    def _tell_nonfinite(self, told: _Told, taken: Sequence[Batch]) -> None:
        self.state.nonfinite += 1
        mine = [name for batch in taken for name in batch.names]
        samples = [name for names in gather_everywhere(mine, self.process) for name in names]
        step = self.state.step + 1
        values = {"loss": str(told.loss), "grad_norm": str(told.grad_norm), "samples": samples}
        self.log.record("nonfinite", step, values)
        self.log.say(
            f"step {step} is not taken: loss {told.loss}, gradient {told.grad_norm}; its {len(samples)} images are "
            f"listed in {self.log.folder / 'log.jsonl'}"
        )

    def _give_up(self, told: _Told) -> None:
        kept = self.checkpoints.last()
        raise TrainingError(
            f"the loss was not finite in {self.state.nonfinite} steps in a row, up to step {self.state.step} (loss "
            f"{told.loss}, gradient {told.grad_norm}), none of which was taken; lower optimizer.lr, or train with "
            "runtime.precision=bfloat16 or float32 if it was float16"
            + (f"; the last good checkpoint is {kept}" if kept else "")
        )

    def _note_bad(self, images: Sequence[BadImage]) -> None:
        for image in self.bad_images.add(images):
            self.log.say(f"unreadable, and replaced by another image: {image.reason}")

    def _epoch_is_due(self) -> bool:
        """Whether an epoch is done that wants evaluation and a checkpoint, and has not had them."""
        epoch, rest = divmod(self.state.step, self.steps_per_epoch)
        on_time = epoch % self.checkpoint_interval == 0 or epoch == self.epochs
        return rest == 0 and on_time and self.state.step > self.state.validated_step

    def _has_stalled(self) -> bool:
        stalled = self.early_stopping is not None and self.state.stale >= self.early_stopping
        if stalled:
            self.log.say(f"no better accuracy in {self.state.stale} evaluations: the run ends early")
        return stalled

    def _finish_epoch(self) -> None:
        epoch = self.state.step // self.steps_per_epoch
        figures: dict[str, dict[str, float]] = {}
        if self.validate is not None:
            try:
                for weights, model in (("raw", self.model), ("ema", self.ema)):
                    if model is not None:
                        figures[weights] = self.validate(model)
            except EvaluationStopped:
                self._stop()
            self._is_suspect = not all(math.isfinite(values["loss"]) for values in figures.values())
        self.state.validated_step = self.state.step
        best = None if self._is_suspect else figures.get("ema", figures.get("raw"))
        previous, is_best = self.state.best_file, False
        if best is not None:
            is_best = self.state.best is None or best[BEST_BY] > self.state.best
            self.state.stale += 1
        if best is not None and is_best:
            self.state.best, self.state.stale = best[BEST_BY], 0
            self.state.best_file = f"{BEST}epoch_{epoch}.pth"
        for weights, values in figures.items():
            self.log.record("val", self.state.step, {"epoch": epoch, "weights": weights, **values})
        if figures:
            told = "   ".join(f"{w}: {_figures(v)}" for w, v in figures.items())
            self.log.say(f"epoch {epoch}/{self.epochs}  evaluated   {told}{'   (best so far)' if is_best else ''}")
        path = self._save(f"epoch_{epoch}.pth")
        if path is not None and is_best and self.state.best_file is not None:
            self.checkpoints.save_best(self.state.best_file, path, previous)
        self._meter.skip()

    def _stop(self) -> None:
        # An epoch that is done but not yet evaluated is saved as a step: it is evaluated when the run goes on.
        path = self._save_step()
        message = f"stopped at step {self.state.step} of {self.total_steps}; go on with --resume"
        raise TrainingStopped(f"{message} (saved {path})" if path else message, self.stop.status)

    def _rescue(self) -> None:
        """Save what an error leaves, where a checkpoint of it can be trusted."""
        if self._saved_step < self.state.step and not self._is_stepping and not self._is_suspect:
            path = self._save_step()
            if path is not None:
                self.log.say(f"saved {path}")

    def _save_step(self) -> Path | None:
        return self._save(f"step_{self.state.step}.pth")

    def _save(self, name: str) -> Path | None:
        if self._is_suspect:
            self.log.say(
                f"no checkpoint at step {self.state.step}: the loss is not finite, the weights may be at fault"
            )
            return None
        self._saved_step = self.state.step
        if not self.process.is_main:
            return None
        return self.checkpoints.save(
            name,
            {
                "model": self.model.state_dict(),
                "ema": self.ema.module.state_dict() if self.ema is not None else None,
                "ema_updates": int(self.ema.n_averaged) if self.ema is not None else 0,
                "optimizer": self.optimizer.state_dict(),
                "scaler": self.scaler.state_dict(),
                "state": asdict(self.state),
                "epoch": self.state.step / self.steps_per_epoch,
                "step": self.state.step,
                "steps_per_epoch": self.steps_per_epoch,
                "images": asdict(self.images),
                "world_size": self.process.world_size,
                "bad_images": self.bad_images.state(),
                "losses": self._meter.losses,
            },
        )

    def resume(self, content: dict[str, Any]) -> None:
        """Go on from the `content` of a checkpoint that this class saved.

        Raises:
            TrainingError: It belongs to another model, data set or batch size.
        """
        self._check_images(TrainingImages(**content["images"]))
        try:
            self.model.load_state_dict(content["model"])
            self._resume_optimizer(content["optimizer"])
        except (RuntimeError, ValueError) as error:
            raise TrainingError(
                f"the checkpoint is of another model or optimizer ({shorten(str(error), 200, placeholder=' …')}); "
                "resume with the settings that its run was started with"
            ) from None
        if content["scaler"]:  # none if the run was not in float16
            self.scaler.load_state_dict(content["scaler"])
        self.state = TrainingState(**content["state"])
        self.bad_images.load_state(content["bad_images"])
        self._saved_step = self.state.step
        self._meter = Meter(self.state.step, content["losses"])
        if self.ema is not None:
            self.ema.module.load_state_dict(content["ema"] or content["model"])
            self.ema.n_averaged.fill_(content["ema_updates"])
        if self.process.is_main:
            self.checkpoints.mend_best(self.state.best_file)

    def _resume_optimizer(self, content: dict[str, Any]) -> None:
        """Take the optimizer's state, and keep this run's settings, which may be others."""
        settings = [{k: v for k, v in group.items() if k != "params"} for group in self.optimizer.param_groups]
        if any(("betas" in group) != ("betas" in settings[0]) for group in content["param_groups"]):
            raise ValueError("its optimizer.kind is another one")
        self.optimizer.load_state_dict(content)
        for group, own in zip(self.optimizer.param_groups, settings, strict=True):
            group.update(own)

    def _check_images(self, before: TrainingImages) -> None:
        """Refuse images that are not those of the checkpoint's run; warn where only their names or labels differ."""
        now = self.images
        if before.count != now.count:
            raise TrainingError(
                f"the checkpoint's run has {before.count} training images and there are {now.count} now; bring back "
                "those that it had, or begin anew from its weights with model.pretrained in another folder"
            )
        if before.global_batch_size != now.global_batch_size:
            raise TrainingError(
                f"the checkpoint's run takes {before.global_batch_size} images a step and this one "
                f"{now.global_batch_size}; set data.global_batch_size={before.global_batch_size}"
            )
        if before.shares != now.shares:
            raise TrainingError(
                f"the checkpoint's run read its stream in {before.shares} parts (processes times workers) and this one "
                f"in {now.shares}; resume with as many of both"
            )
        if before.fingerprint != now.fingerprint:
            self.log.say(
                f"WARNING: the {now.count} training images have other names or labels, or another order, than those "
                "that the checkpoint's run began with; it goes on with these"
            )

    def _report(self, told: _Told) -> None:
        loss, images_per_second, seconds_per_step = self._meter.take(self.state.step)
        left = duration(seconds_per_step * (self.total_steps - self.state.step))
        epoch, step = divmod(self.state.step - 1, self.steps_per_epoch)
        lr = self.schedule(self.state.step - 1)
        memory = torch.cuda.max_memory_allocated(self.device) / 2**20 if self.device.type == "cuda" else None
        self.log.record(
            "train",
            self.state.step,
            {
                "epoch": self.state.step / self.steps_per_epoch,
                "loss": loss,
                "lr": lr,
                **({"grad_norm": told.grad_norm} if math.isfinite(told.grad_norm) else {}),
                "images_per_second": images_per_second,
                **({"memory_mib": memory} if memory is not None else {}),
            },
        )
        gpu = f"  memory {memory:.0f} MiB" if memory is not None else ""
        shown = "none finite" if loss is None else f"{loss:.4f}"
        self.log.say(
            f"epoch {epoch + 1}/{self.epochs}  step {step + 1}/{self.steps_per_epoch}  loss {shown}  lr {lr:.3e}  "
            f"{images_per_second:.0f} images/s  time left {left}{gpu}"
        )


def _figures(values: dict[str, float]) -> str:
    return f"top-1 {values['accuracy/top1']:.2f} %  top-5 {values['accuracy/top5']:.2f} %  loss {values['loss']:.4f}"
