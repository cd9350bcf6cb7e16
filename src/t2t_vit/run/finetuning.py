"""From a folder of pictures to the `Experiment` that fine-tunes a model on them, with the reason for each choice.

B images a step.
"""

from __future__ import annotations

import dataclasses
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import torch

from t2t_vit.config import Augmentation, Data, Ema, Experiment, Optimizer, Runtime, Schedule
from t2t_vit.data.decode import SUFFIXES
from t2t_vit.data.sets.folders import ImageFolder
from t2t_vit.data.sets.image_set import ImageSet
from t2t_vit.device import find_device, free_memory
from t2t_vit.errors import ConfigError, DatasetError, DownloadError
from t2t_vit.hub import build_model, find_experiment, weights_file
from t2t_vit.hub.names import published_experiment
from t2t_vit.hub.published import published_weights
from t2t_vit.hub.shipped import shipped_models
from t2t_vit.models import variant_names
from t2t_vit.run.images import open_images
from t2t_vit.run.precision import computes_in_bfloat16
from t2t_vit.weights.catalogue import weights_at

_TRAIN: Final = ("train", "training")
_VAL: Final = ("val", "valid", "validation", "dev")
_TEST: Final = ("test", "testing")
_HELD_OUT: Final = 0.2  # of each class, where the folders have no split
_SMALLEST_BATCH: Final = 4
_LARGEST_BATCH: Final = 64
_STEPS_PER_EPOCH: Final = 20  # at least: a rate that falls in fewer steps falls in jumps
_SCRATCH = "train without weights: --from-scratch"


@dataclass(frozen=True)
class Plan:
    """How a model is fine-tuned.

    Attributes:
        experiment: All settings.
        reasons: A line for each choice that was made.
    """

    experiment: Experiment
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class _Layout:
    """The folders of the pictures, below `root`; `val` is None where the training images have to be split."""

    root: Path
    train: str
    val: str | None
    test: str | None


def plan_finetuning(
    folder: Path,
    model: str,
    *,
    pretrained: str | None = None,
    from_scratch: bool = False,
    epochs: int | None = None,
    img_size: int | None = None,
    freeze: str | None = None,
    device: str = "auto",
) -> Plan:
    """Return how to train `model` on the pictures in `folder`.

    Args:
        folder: ``folder/train/CLASS/…`` with ``val``, ``test`` or both beside it, or ``folder/CLASS/…``.
        model: A name or a config: the network and its preprocessing.
        pretrained: Weights to begin with, by path, URL or name; None: the published ones of `model`.
        from_scratch: Begin without weights.
        epochs: Passes over the training images; None: as many as the number of images suggests.
        img_size: Pixels; None: the model's.
        freeze: Parts that are not trained, as `Model.freeze`.
        device: Where to train; its memory limits the batch.

    Raises:
        DatasetError: The folder has fewer than two classes, or a class too few images.
        UnknownModelError: The model is not known.
        ConfigError: There are no weights to begin with.
        DownloadError: The weights cannot be fetched.
    """
    layout = _find_layout(folder)
    data, images = _open(layout)
    reasons = [_about_images(images), _about_split(layout)]
    experiment, about_weights = _starting_point(model, pretrained, from_scratch)
    reasons.append(about_weights)
    network = dataclasses.replace(experiment.model, num_classes=None, freeze=freeze)
    if img_size is not None:
        network = dataclasses.replace(network, img_size=img_size)
    height, width = network.image_height_width
    reasons.append(f"image size {height} × {width}: {'as asked' if img_size else 'what the model was made for'}")
    experiment = dataclasses.replace(experiment, model=network)

    batch_size, about_batch = _choose_batch(experiment, len(images), len(images.classes), find_device(device))
    steps_per_epoch = max(len(images) // batch_size, 1)
    wanted = 4000 if from_scratch else 1500
    chosen = epochs or min(max(round(wanted / steps_per_epoch), 10), 200 if from_scratch else 50)
    # Adam's steps are of one size, so the noise in them, and the rate, go with the root of the batch.
    base_lr, base_batch = (1e-3, 64) if from_scratch else (3e-4, 32)
    lr = float(f"{base_lr * math.sqrt(batch_size / base_batch):.1e}")
    layer_decay = None if from_scratch else 0.75
    reasons += [
        about_batch,
        f"epochs {chosen}: "
        + ("as asked" if epochs else f"about {chosen * steps_per_epoch} steps of {batch_size} images"),
        f"learning rate {lr:g}: {base_lr:g} for {base_batch} images a step, by the root of the batch size"
        + (f"; {layer_decay:g} of it for each layer further from the classes" if layer_decay else ""),
        "pictures are mirrored at random; where left and right matter: --cfg-options augmentation.hflip=0",
    ]
    planned = Experiment(
        model=network,
        data=dataclasses.replace(data, batch_size=batch_size, num_workers=_num_workers(len(images))),
        preprocessing=experiment.preprocessing,
        augmentation=Augmentation(
            crop_scale=(0.5, 1.0), rand_augment="rand-m7-n2-mstd0.5-inc1", erase_prob=0.1, mixup=0.2, cutmix=0.0
        ),
        optimizer=Optimizer(lr=lr, weight_decay=0.05, layer_decay=layer_decay, clip_grad_norm=1.0),
        schedule=Schedule(
            epochs=chosen, warmup_epochs=chosen // 10, warmup_factor=1e-2, min_lr=lr / 100, cooldown_epochs=0
        ),
        # It averages over a twentieth of the run.
        ema=Ema(decay=min(max(1 - 20 / (chosen * steps_per_epoch), 0.9), 0.9999)),
        runtime=Runtime(
            device=device,
            precision=_precision(find_device(device)),
            log_interval=max(steps_per_epoch // 2, 1),
            keep_checkpoints=1,
        ),
    )
    return Plan(planned, tuple(reasons))


def find_test_folder(experiment: Experiment) -> str | None:
    """Return the folder of pictures that the training of `experiment` never looks at, as `data.val` would name it.

    There is one where ``train``, ``val`` and ``test`` lie beside each other.
    """
    data = experiment.data
    if data.dataset != "image_folder" or data.val_fraction is not None or not Path(data.root).is_dir():
        return None
    test = _find_layout(Path(data.root)).test
    return None if test == data.val else test


def _find_layout(folder: Path) -> _Layout:
    if not folder.is_dir():
        raise DatasetError(
            f"there is no folder {str(folder)!r}; expected one with a folder of pictures for each class, or with "
            "train/ and val/ that have such folders"
        )
    try:
        names = {entry.name.lower(): entry.name for entry in folder.iterdir() if entry.is_dir()}
    except OSError as error:
        raise DatasetError(f"cannot read the folder {str(folder)!r}: {error.strerror}") from None
    splits = [names[name] for name in (*_TRAIN, *_VAL, *_TEST) if name in names]
    if len(splits) < len(names) and all(_is_class(folder / split) for split in splits):
        names = {}  # "train" may be a class beside "bus" and "car"
    train, val, test = (next((names[name] for name in known if name in names), None) for known in (_TRAIN, _VAL, _TEST))
    if train is None:
        if val is not None or test is not None:
            raise DatasetError(f"{str(folder)!r} has {val or test}/ and no train/; put the pictures to train on there")
        return _Layout(folder.absolute(), ".", None, None)
    return _Layout(folder.absolute(), train, val or test, test if val is not None else None)


def _is_class(folder: Path) -> bool:
    """Whether pictures lie in `folder` itself."""
    entries = list(folder.iterdir())
    return not any(entry.is_dir() for entry in entries) and any(entry.suffix.lower() in SUFFIXES for entry in entries)


def _open(layout: _Layout) -> tuple[Data, ImageSet]:
    """Return the settings of the data, and the pictures to train on."""
    data = Data(root=str(layout.root), train=layout.train, val=layout.val or "val", classes="folders")
    whole = ImageFolder(layout.root / layout.train, "folders")
    if len(whole.classes) < 2:
        raise DatasetError(
            f"{str(layout.root / layout.train)!r} has one class, {whole.classes[0]!r}; expected two or more class "
            "folders, to tell one from the other"
        )
    if layout.val is not None:
        for split in filter(None, (layout.val, layout.test)):  # they are wrong now or in ten epochs
            open_images(dataclasses.replace(data, val=split), "val", len(whole.classes), whole.classes)
        return data, whole
    lonely = [name for label, name in enumerate(whole.classes) if list(whole.labels).count(label) < 2]
    if lonely:
        raise DatasetError(
            f"{len(lonely)} of {len(whole.classes)} classes have a single image, {lonely[0]!r} for one; one to train "
            "on and one to check with are the least: add images, or take the class out"
        )
    data = dataclasses.replace(data, val_fraction=_HELD_OUT)
    return data, open_images(data, "train")


def _about_images(images: ImageSet) -> str:
    counts = [list(images.labels).count(label) for label in range(len(images.classes))]
    few, many = counts.index(min(counts)), counts.index(max(counts))
    told = f"{len(images)} images of {len(images.classes)} classes to train on"
    if counts[few] == counts[many]:
        return f"{told}, {counts[few]} of each"
    return f"{told}, from {counts[few]} ({images.classes[few]}) to {counts[many]} ({images.classes[many]}) of each"


def _about_split(layout: _Layout) -> str:
    if layout.val is None:
        return f"validation: {_HELD_OUT:.0%} of each class are held out, the same images in every run"
    told = f"validation: the images in {layout.val}/"
    return told if layout.test is None else f"{told}; those in {layout.test}/ are for the last figures alone"


def _starting_point(model: str, pretrained: str | None, from_scratch: bool) -> tuple[Experiment, str]:
    """Return the model's `Experiment`, with the weights to begin with, and a line about these."""
    experiment = find_experiment(model)
    if from_scratch:
        if pretrained is not None:
            raise ConfigError(f"--pretrained {pretrained} and --from-scratch exclude each other; leave one of them out")
        network = dataclasses.replace(experiment.model, pretrained=None)
        return dataclasses.replace(experiment, model=network), (
            "no weights to begin with, as asked: expect to need many more images and epochs than with them"
        )
    if pretrained == "":
        raise ConfigError("--pretrained is empty; expected a name, a path or a URL")
    try:
        location = published_weights(model, experiment) if pretrained is None else pretrained
    except ConfigError:
        raise ConfigError(
            f"no weights are published for {model!r}; give some with --pretrained PATH-OR-URL, or {_SCRATCH}"
        ) from None
    try:
        file = weights_file(location)
    except DownloadError as error:
        raise DownloadError(
            f"{str(error).rstrip('.')}; begin with a file that you have: --pretrained FILE, or {_SCRATCH}"
        ) from None
    if not file.is_file():
        raise ConfigError(f"there is no weights file {file}; name one that is there, or {_SCRATCH}")
    entry = weights_at(location)
    if entry is not None and model in variant_names() and entry.model == model:
        experiment = published_experiment(entry)  # an architecture has no preprocessing of its own, its weights have
    # Relative to where one stands now, a path means something else when the run goes on from another place.
    is_name = entry is not None or location in shipped_models()
    kept = location if is_name or "://" in location else str(file.absolute())
    network = dataclasses.replace(experiment.model, pretrained=kept)
    return dataclasses.replace(experiment, model=network), f"weights to begin with: {location}"


def _choose_batch(experiment: Experiment, num_images: int, num_classes: int, device: torch.device) -> tuple[int, str]:
    """Return the images a step, even as Mixup pairs them, and the reason."""
    by_count = max(num_images // _STEPS_PER_EPOCH, _SMALLEST_BATCH)
    free, each = free_memory(device), _bytes_per_image(experiment, num_classes)
    by_memory = max(int(free / 2 / each), 2) if free is not None else _LARGEST_BATCH
    most = min(by_count, by_memory, _LARGEST_BATCH)
    batch_size = 2 ** int(math.log2(most))
    if most == by_memory < min(by_count, _LARGEST_BATCH) and free is not None:
        why = f"an image takes {each / 2**20:.0f} MiB while training, and {free / 2**30:.1f} GiB are free"
    elif most == by_count == _SMALLEST_BATCH:
        why = "there are few images, and of fewer a step a rate and an average mean little"
    elif most == by_count < _LARGEST_BATCH:
        why = f"so that an epoch has {_STEPS_PER_EPOCH} steps or more"
    else:
        why = "more make a step slower and no better"
    return batch_size, f"batch size {batch_size}: {why}"


def _bytes_per_image(experiment: Experiment, num_classes: int) -> int:
    """Return what one more image keeps in memory from the forward to the backward pass, in float32, without computing.

    Tensors that share memory are counted twice, so it is an upper limit.
    """
    with torch.device("meta"):
        model = build_model(experiment, num_classes=num_classes)
    model = model.to("meta").train()  # its position table is computed, and on the CPU
    kept: list[int] = []
    for count in (1, 2):
        sizes: list[int] = []

        def keep(tensor: torch.Tensor, sizes: list[int] = sizes) -> torch.Tensor:
            sizes.append(tensor.numel() * tensor.element_size())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            model(torch.empty(count, model.in_chans, *experiment.model.image_height_width, device="meta"))
        kept.append(sum(sizes))
    return max(kept[1] - kept[0], 1)


def _precision(device: torch.device) -> Literal["bfloat16", "float32"]:
    return "bfloat16" if device.type == "cuda" and computes_in_bfloat16(device) else "float32"


def _num_workers(num_images: int) -> int:
    """Return how many processes load images: none for so few that starting them takes longer."""
    return 0 if num_images < 200 else min((os.cpu_count() or 1) - 1, 8)
