"""The training loop.

B images a process and step, K classes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader

from t2t_vit.data.augment import Mix, seed_everything
from t2t_vit.data.samplers import ShuffledBatches
from t2t_vit.engine.checkpoint import CheckpointFolder, TrainingState
from t2t_vit.engine.distillation import Distillation
from t2t_vit.engine.distributed import Process
from t2t_vit.engine.log import RunLog, duration
from t2t_vit.engine.schedule import WarmupCosineCooldown
from t2t_vit.engine.stopping import StopRequest, TrainingStopped
from t2t_vit.errors import TrainingError
from t2t_vit.evaluation.evaluator import EvaluationStopped

#: The figure by which the best checkpoint is chosen.
BEST_BY = "accuracy/top1"

Validate = Callable[[nn.Module], dict[str, float]]


@dataclass
class Trainer:
    """One run. `run` trains from `state` to the end; the state and the files it leaves are enough to go on from.

    Attributes:
        model: Images (B, C, H, W) to logits (B, K), on `device`.
        ema: Its average, or None.
        optimizer: Over `model`.
        schedule: The learning rate of a step.
        scaler: Of float16 gradients; does nothing unless enabled.
        batches: Order of the images; the loader's sampler.
        loader: Batches of images and labels.
        mix: Mixup or CutMix, or None.
        label_smoothing: Of the loss where `mix` is None.
        distillation: Teacher whose answers are part of the loss, or None.
        autocast: Type to compute in; None: float32.
        clip_grad_norm: Largest norm of the gradient, or None.
        validate: Returns figures of merit of a model; None: no evaluation.
        epochs: Of the whole run.
        checkpoint_interval: Epochs between checkpoints.
        log_interval: Steps between log lines.
        seed: Of the run.
        process: Which of the processes this is.
        device: Where it computes.
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
    batches: ShuffledBatches
    loader: DataLoader[Any]
    mix: Mix | None
    label_smoothing: float
    distillation: Distillation | None
    autocast: torch.dtype | None
    clip_grad_norm: float | None
    validate: Validate | None
    epochs: int
    checkpoint_interval: int
    log_interval: int
    seed: int
    process: Process
    device: torch.device
    checkpoints: CheckpointFolder
    log: RunLog
    stop: StopRequest
    state: TrainingState = field(default_factory=TrainingState)

    def __post_init__(self) -> None:
        self.steps_per_epoch = self.batches.steps_per_epoch
        self.total_steps = self.epochs * self.steps_per_epoch
        devices = [self.device] if self.device.type == "cuda" else None
        parallel = self.process.world_size > 1
        self._network = DistributedDataParallel(self.model, device_ids=devices) if parallel else self.model
        self._meter = _Meter(self.state.step)

    def run(self) -> None:
        """Train to the end.

        Raises:
            TrainingStopped: A signal asked for it; the state is saved.
            TrainingError: The loss is not finite, or a checkpoint cannot be written.
        """
        while True:
            if self._epoch_is_due():
                self._finish_epoch()
            if self.state.step >= self.total_steps:
                return
            self._train_epoch()

    def _train_epoch(self) -> None:
        self.model.train()
        self.batches.start_at(*divmod(self.state.step, self.steps_per_epoch))
        for images, labels in self.loader:
            loss = self._train_step(images, labels)
            self.state.step += 1
            self._meter.add(loss, len(images) * self.process.world_size)
            self.log.advance(self.state.step)
            if self.state.step % self.log_interval == 0 or self.state.step % self.steps_per_epoch == 0:
                self._report()
            if self.stop.signal is not None:
                self._stop()

    def _train_step(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        # Mixup's and drop-path's draws belong to this step and process, whatever happened before.
        seed_everything(self.seed, 1, self.state.step, self.process.rank)
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule(self.state.step)
        images = images.to(self.device, non_blocking=True)  # (B, C, H, W)
        targets = labels.to(self.device, non_blocking=True)  # (B,), or (B, K) once mixed
        smoothing = self.label_smoothing
        if self.mix is not None:
            images, targets = self.mix(images, targets)
            smoothing = 0.0  # it is in the targets
        with torch.autocast(self.device.type, dtype=self.autocast, enabled=self.autocast is not None):
            logits = self._network(images)
        loss = F.cross_entropy(logits.float(), targets, label_smoothing=smoothing)
        if self.distillation is not None:
            loss = self.distillation.loss(loss, logits.float(), self.distillation.ask(images, self.autocast))
        self.scaler.scale(loss).backward()
        if self.clip_grad_norm is not None:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), self.clip_grad_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        if self.ema is not None:
            self.ema.update_parameters(self.model)
        return loss.detach()

    def _epoch_is_due(self) -> bool:
        """Whether an epoch is done that wants evaluation and a checkpoint, and has not had them."""
        epoch, rest = divmod(self.state.step, self.steps_per_epoch)
        on_time = epoch % self.checkpoint_interval == 0 or epoch == self.epochs
        return rest == 0 and on_time and self.state.step > self.state.validated_step

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
        self.state.validated_step = self.state.step
        best = figures.get("ema", figures.get("raw"))
        previous, is_best = self.state.best_file, False
        if best is not None and (self.state.best is None or best[BEST_BY] > self.state.best):
            is_best = True
            self.state.best = best[BEST_BY]
            self.state.best_file = f"best_accuracy_top1_epoch_{epoch}.pth"
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
        path = self._save(f"step_{self.state.step}.pth")
        message = f"stopped at step {self.state.step} of {self.total_steps}; go on with --resume"
        raise TrainingStopped(f"{message} (saved {path})" if path else message, self.stop.status)

    def _save(self, name: str) -> Path | None:
        if not self.process.is_main:
            return None
        return self.checkpoints.save(
            name,
            {
                "model": self.model.state_dict(),
                "ema": self.ema.module.state_dict() if self.ema is not None else None,
                "optimizer": self.optimizer.state_dict(),
                "scaler": self.scaler.state_dict(),
                "state": asdict(self.state),
                "epoch": self.state.step / self.steps_per_epoch,
                "step": self.state.step,
                "steps_per_epoch": self.steps_per_epoch,
                "losses": self._meter.losses(),
            },
        )

    def resume(self, content: dict[str, Any]) -> None:
        """Go on from the `content` of a checkpoint that this class saved.

        Raises:
            TrainingError: It belongs to another model, data set or batch size.
        """
        if content["steps_per_epoch"] != self.steps_per_epoch:
            raise TrainingError(
                f"the checkpoint's run has {content['steps_per_epoch']} steps an epoch and this one "
                f"{self.steps_per_epoch}: the data set or the batch size is another"
            )
        try:
            self.model.load_state_dict(content["model"])
            self.optimizer.load_state_dict(content["optimizer"])
        except (RuntimeError, ValueError) as error:
            raise TrainingError(
                f"the checkpoint is of another model ({error}); resume with the settings that its run was started with"
            ) from None
        self.scaler.load_state_dict(content["scaler"])
        self.state = TrainingState(**content["state"])
        self._meter = _Meter(self.state.step, [torch.tensor(loss, device=self.device) for loss in content["losses"]])
        if self.ema is not None:
            self.ema.module.load_state_dict(content["ema"] or content["model"])
            self.ema.n_averaged.fill_(self.state.step)

    def _report(self) -> None:
        loss, images_per_second, seconds_per_step = self._meter.take(self.state.step)
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss is {loss} at step {self.state.step}; lower optimizer.lr, or train with "
                "runtime.precision=bfloat16 or float32 if it was float16"
            )
        left = duration(seconds_per_step * (self.total_steps - self.state.step))
        epoch, step = divmod(self.state.step - 1, self.steps_per_epoch)
        lr = self.optimizer.param_groups[0]["lr"]
        memory = torch.cuda.max_memory_allocated(self.device) / 2**20 if self.device.type == "cuda" else None
        self.log.record(
            "train",
            self.state.step,
            {
                "epoch": self.state.step / self.steps_per_epoch,
                "loss": loss,
                "lr": lr,
                "images_per_second": images_per_second,
                **({"memory_mib": memory} if memory is not None else {}),
            },
        )
        gpu = f"  memory {memory:.0f} MiB" if memory is not None else ""
        self.log.say(
            f"epoch {epoch + 1}/{self.epochs}  step {step + 1}/{self.steps_per_epoch}  loss {loss:.4f}  lr {lr:.3e}  "
            f"{images_per_second:.0f} images/s  time left {left}{gpu}"
        )
        self.log.advance(self.state.step, f"loss {loss:.3f}  {images_per_second:.0f} images/s")


class _Meter:
    """Loss and speed since the last report; speed since the beginning for the time left."""

    def __init__(self, step: int, losses: Sequence[torch.Tensor] = ()) -> None:
        self._first_step = step
        self._begin = self._last = time.monotonic()
        self._losses = list(losses)
        self._images = 0

    def add(self, loss: torch.Tensor, num_images: int) -> None:
        self._losses.append(loss)  # as it is: reading it would make the device wait
        self._images += num_images

    def losses(self) -> list[float]:
        """Return the losses since the last call of `take`."""
        return [float(loss) for loss in self._losses]

    def skip(self) -> None:
        """Leave the time since the last call out of the speed."""
        self._last = time.monotonic()

    def take(self, step: int) -> tuple[float, float, float]:
        """Return mean loss and images a second since the last call, and seconds a step since the beginning."""
        loss = float(torch.stack(self._losses).mean())
        now = time.monotonic()
        speed = self._images / max(now - self._last, 1e-9)
        per_step = (now - self._begin) / (step - self._first_step)
        self._losses, self._images, self._last = [], 0, now
        return loss, speed, per_step


def _figures(values: dict[str, float]) -> str:
    return f"top-1 {values['accuracy/top1']:.2f} %  top-5 {values['accuracy/top5']:.2f} %  loss {values['loss']:.4f}"
