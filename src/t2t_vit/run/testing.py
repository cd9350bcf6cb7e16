"""From an `Experiment` and a checkpoint to figures."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from t2t_vit.config import Experiment
from t2t_vit.data.loaders import evaluation_loader
from t2t_vit.data.preprocess import Preprocess
from t2t_vit.data.sets.image_set import ImageSet
from t2t_vit.data.views import BadImage, EvaluationSet
from t2t_vit.device import find_device
from t2t_vit.engine.distributed import Launcher, gather, process_group
from t2t_vit.errors import CheckpointError, ConfigError, DatasetError
from t2t_vit.evaluation.evaluator import Evaluation, evaluate, joined
from t2t_vit.hub import preprocessing_of
from t2t_vit.run.images import loading, open_images
from t2t_vit.run.network import load_network
from t2t_vit.run.precision import AUTOCAST, settle_precision


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
    model: nn.Module
    preprocess: Preprocess
    is_main: bool


def test(
    experiment: Experiment,
    checkpoint: str | Path,
    *,
    weights: str = "ema",
    flip: bool = False,
    keep_scores: bool = False,
    launcher: Launcher = "none",
    on_batch: Callable[[int, int], None] | None = None,
    on_bad: Callable[[list[BadImage]], None] | None = None,
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
        on_bad: Called once, in the main process, with the images of all processes that cannot be read and are left
            out; None: they are an `ImageError`.

    Raises:
        CheckpointError: The file holds no weights, those of another model, or such as give logits that are not finite.
        DatasetError: The images are missing, of other classes, or none of them can be read.
    """
    device = find_device(experiment.runtime.device)
    with process_group(launcher, device) as process:
        device = process.device(device)
        model: Any = load_network(experiment, checkpoint, weights).to(device)
        images = open_images(experiment.data, "val", model.num_classes, model.classes)
        if len(images.classes) != model.num_classes:
            raise ConfigError(
                f"the images have {len(images.classes)} classes and {checkpoint} has {model.num_classes}; "
                "test with the data that it was trained for"
            )
        model.classes = images.classes
        precision = settle_precision(experiment.runtime.precision, device, warns=process.is_main)
        preprocess = Preprocess(**preprocessing_of(experiment))
        bad: list[BadImage] = []
        loader = evaluation_loader(
            EvaluationSet(images, preprocess),
            experiment.data.batch_size,
            process.rank,
            process.world_size,
            bad.extend if on_bad is not None else None,
            **loading(experiment.data),
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
                autocast=AUTOCAST[precision],
                flip=flip,
                keep_scores=keep_scores,
                on_batch=count,
            )
        evaluation = joined(gather(evaluation, process))
        bad = [image for share in gather(bad, process) for image in share]
    if bad and on_bad is not None and process.is_main:
        on_bad(bad)
    if not evaluation.confusion.any():
        raise DatasetError(
            f"none of the {len(images)} images can be read; mend them (t2t-vit verify-data lists them) or name others"
        )
    # Not within `evaluate`: a run that trains looks at the loss itself, and other processes would wait for this one.
    if not math.isfinite(evaluation.metrics["loss"]):
        raise CheckpointError(
            f"{checkpoint} gives logits that are not finite, so it has no figures; its weights hold NaN or infinity, "
            f"or overflow in {precision} (runtime.precision=float32 has the most room)"
        )
    return TestRun(evaluation, images, model, preprocess, process.is_main)
