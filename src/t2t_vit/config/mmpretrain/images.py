"""MMPretrain's data loaders, data sets and pipelines.

Source: MMPretrain 1.2.0, `datasets/imagenet.py`, `datasets/custom.py`, `datasets/transforms`,
`models/utils/data_preprocessor.py`, whose defaults hold where a config says nothing.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from t2t_vit.config.mmpretrain.section import Section
from t2t_vit.errors import ConfigError

_DATASETS = ("ImageNet", "CustomDataset")
_TRAIN = (
    "LoadImageFromFile",
    "RandomResizedCrop",
    "RandomFlip",
    "RandAugment",
    "RandomErasing",
    "PackInputs",
)
_TEST = ("LoadImageFromFile", "ResizeEdge", "Resize", "CenterCrop", "PackInputs")


@dataclass
class Loader:
    """A data loader of a config.

    Attributes:
        section: Its dict.
        kind: Type of its data set.
        root: `data_root`.
        folder: Folder of the images in `root`.
        annotations: File in `root` that lists them, empty where the folder does.
        pipeline: What is done with an image.
    """

    section: Section
    kind: str
    root: str
    folder: str
    annotations: str
    pipeline: list[Section]


def read_loader(loader: Section) -> Loader:
    """Return what a ``train_dataloader`` or its like says.

    Raises:
        ConfigError: It has a data set or setting that is not supported.
    """
    dataset = loader.section("dataset")
    if dataset is None:
        raise ConfigError(f"{loader.where} has no dataset")
    kind = dataset.type_in(_DATASETS)
    root, split, prefix = dataset.take("data_root", ""), dataset.take("split", ""), dataset.take("data_prefix", "")
    if isinstance(prefix, dict):
        within = Section(f"{dataset.where}.data_prefix", prefix, dataset.notes)
        prefix = within.take("img_path", "")
        within.close()
    annotations = dataset.take("ann_file", "")
    texts = {"data_root": root, "split": split, "data_prefix": prefix, "ann_file": annotations}
    for name, value in texts.items():
        if not isinstance(value, str | None):
            raise ConfigError(f"{dataset.where}.{name} is {value!r}; expected text")
    root, prefix, annotations = (os.path.expanduser(v or "") for v in (root, prefix, annotations))  # noqa: PTH111
    dataset.expect("with_label", True)
    if dataset.take("metainfo") or dataset.take("classes"):
        dataset.note("the names of the classes are those of the folders here")
    dataset.skip("extensions", "test_mode", "lazy_init", "serialize_data", "max_refetch", "backend_args")
    dataset.expect("indices", None)
    dataset.expect("filter_cfg", None)
    pipeline = dataset.sections("pipeline")
    dataset.close()
    loader.skip("drop_last", "collate_fn", "prefetch_factor", "worker_init_fn")
    loader.expect("num_batch_per_epoch", None)
    sampler = loader.section("sampler")
    if sampler is not None:
        sampler.type_in(["DefaultSampler"], "DefaultSampler")
        sampler.skip("shuffle", "round_up", "seed")
        sampler.close()
    return Loader(loader, kind, root, prefix or split or "", annotations, pipeline)


def folders(train: Loader | None, val: Loader | None) -> dict[str, str]:
    """Return our `root`, `train` and `val`, and `train_annotations` and `val_annotations` where there are any."""
    loaders = {name: loader for name, loader in (("train", train), ("val", val)) if loader is not None}
    places = {name: (loader.root, loader.folder) for name, loader in loaders.items()}
    places |= {
        f"{name}_annotations": (loader.root, loader.annotations)
        for name, loader in loaders.items()
        if loader.annotations
    }
    roots = {root for root, _ in places.values()}
    if len(roots) == 1:
        return {"root": roots.pop() or "."} | {name: path or "." for name, (_, path) in places.items()}
    paths = {name: os.path.join(*place) for name, place in places.items()}  # noqa: PTH118 -- it stays text
    try:
        root = os.path.commonpath(paths.values())
    except ValueError:  # one is absolute and one is not
        root = ""
    return {"root": root or "."} | {name: os.path.relpath(path, root) if root else path for name, path in paths.items()}


def training_view(pipeline: list[Section], img_size: Any) -> dict[str, Any]:
    """Return our `augmentation` of a training pipeline.

    Raises:
        ConfigError: It has a transform or setting that is not supported.
    """
    settings: dict[str, Any] = {"hflip": 0.0, "rand_augment": None, "erase_prob": 0.0}
    cropped = False
    for step in pipeline:
        match step.type_in(_TRAIN):
            case "LoadImageFromFile":
                _load(step)
            case "RandomResizedCrop":
                cropped = True
                _same_size(step, _height_width(step.take("scale")), img_size)
                settings["crop_scale"] = step.take("crop_ratio_range", (0.08, 1.0))
                settings["crop_ratio"] = step.take("aspect_ratio_range", (3 / 4, 4 / 3))
                settings["interpolation"] = _interpolation(step)
                step.expect("max_attempts", 10)
            case "RandomFlip":
                settings["hflip"] = step.number("prob")
                step.expect("direction", "horizontal", ["horizontal"])
            case "RandAugment":
                settings["rand_augment"] = _rand_augment(step)
            case "RandomErasing":
                settings["erase_prob"] = step.number("erase_prob", 0.5)
                settings["erase_area"] = (step.number("min_area_ratio", 0.02), step.number("max_area_ratio", 0.4))
                step.expect("mode", "const", "rand")
                if step.take("mode", "const") != "rand":
                    raise ConfigError(f"{step.where}.mode is 'const', which is not supported here; expected 'rand'")
                step.expect("aspect_range", (3 / 10, 10 / 3), [3 / 10, 10 / 3], 3 / 10)
                if step.take("fill_std") is None:
                    step.note("noise is drawn with the mean and standard deviation of the data here")
                step.skip("fill_color")
            case "PackInputs":
                step.skip("input_key", "algorithm_keys", "meta_keys")
        step.close()
    if pipeline and not cropped:
        raise ConfigError(f"{_above(pipeline)} has no RandomResizedCrop, which training has here always")
    return settings


def test_view(pipeline: list[Section], img_size: Any) -> dict[str, Any]:
    """Return our `preprocessing` of a validation pipeline, but for mean and std.

    Raises:
        ConfigError: It has a transform or setting that is not supported.
    """
    settings: dict[str, Any] = {}
    resize: int | None = None
    cropped = False
    for step in pipeline:
        match step.type_in(_TEST):
            case "LoadImageFromFile":
                _load(step)
            case "ResizeEdge":
                step.expect("edge", "short")
                resize = step.number("scale")
                settings |= {"crop_mode": "center", "interpolation": _interpolation(step)}
            case "Resize":
                step.expect("keep_ratio", False)
                step.expect("scale_factor", None)
                step.skip("clip_object_border")
                scale = step.take("scale")
                sides = [scale, scale] if isinstance(scale, int) else list(scale or [])
                if len(sides) != 2 or sides[0] != sides[1]:
                    raise ConfigError(f"{step.where}.scale is {scale!r}; expected one number, or twice the same")
                resize = sides[0]
                settings |= {"crop_mode": "squash", "interpolation": _interpolation(step)}
            case "CenterCrop":
                cropped = True
                # Of the sizes in a pipeline this and that of Resize are (width, height).
                _same_size(step, _height_width(step.take("crop_size"))[::-1], img_size)
                step.expect("efficientnet_style", False)
                step.expect("auto_pad", False)
                step.skip("interpolation", "backend", "clip_border", "pad_mode", "pad_cfg", "crop_padding")
            case "PackInputs":
                step.skip("input_key", "algorithm_keys", "meta_keys")
        step.close()
    if not pipeline:
        return settings
    side = min(_height_width(img_size))
    if settings.get("crop_mode") == "squash" and side != max(_height_width(img_size)):
        raise ConfigError(f"{_above(pipeline)} makes squares, and model.backbone.img_size is {_size(img_size)}")
    if resize is None or not (cropped or (settings["crop_mode"] == "squash" and resize == side)):
        raise ConfigError(f"{_above(pipeline)} needs ResizeEdge (or Resize) and CenterCrop to make images of one size")
    settings["crop_pct"] = _crop_pct(side, resize, pipeline)
    return settings


def normalization(preprocessor: Section, channels: int) -> dict[str, Any]:
    """Return our `mean` and `std`.

    Raises:
        ConfigError: The channels are in BGR order, or a setting is not supported.
    """
    preprocessor.type_in(["ClsDataPreprocessor"], "ClsDataPreprocessor")
    preprocessor.skip("num_classes", "to_onehot", "non_blocking", "pad_value")
    preprocessor.expect("pad_size_divisor", 1)
    preprocessor.expect("batch_augments", None)
    if channels == 3 and not preprocessor.take("to_rgb", False):
        raise ConfigError(
            f"{preprocessor.where}.to_rgb is not True, so the network is for BGR, which is not supported here; "
            "expected to_rgb=True with mean and std of R, G, B"
        )
    preprocessor.skip("to_rgb")
    settings = {
        name: of_255(preprocessor.take(name, default), f"{preprocessor.where}.{name}")
        for name, default in (("mean", [0.0] * channels), ("std", [1.0] * channels))
    }
    preprocessor.close()
    return settings


def of_255(values: Any, where: str) -> tuple[float, ...]:
    """Return `values` for white at 1 instead of 255: 0.485 for 123.675.

    Raises:
        ConfigError: They are no list of numbers.
    """
    if isinstance(values, int | float):
        values = [values]
    if not isinstance(values, Sequence) or not all(isinstance(v, int | float) for v in values):
        raise ConfigError(f"{where} is {values!r}; expected a number for each channel, white being 255")
    # The shortest decimal that stands for it: what people wrote before they multiplied by 255.
    return tuple(
        next((r for r in (round(v / 255, d) for d in range(1, 16)) if math.isclose(255 * r, v, rel_tol=1e-12)), v / 255)
        for v in values
    )


def _load(step: Section) -> None:
    step.expect("color_type", "color")
    step.skip("to_float32", "imdecode_backend", "ignore_empty", "backend_args", "file_client_args")


def _interpolation(step: Section) -> str:
    kind = step.take("interpolation", "bilinear")
    if step.take("backend", "cv2") != "pillow":
        step.note("images are resized by Pillow here, which differs a little from OpenCV")
    return str(kind)


def _rand_augment(step: Section) -> str:
    step.expect("policies", "timm_increasing")
    # timm's magnitudes go up to 10.
    magnitude = step.number("magnitude_level") * 10 / step.number("total_level", 30)
    std = step.take("magnitude_std", 0.0)
    hparams = step.section("hparams")
    if hparams is not None:
        hparams.expect("interpolation", "bicubic", "bilinear", "nearest")
        hparams.skip("pad_val")
        hparams.close()
    spread = "101" if std == "inf" else f"{float(std):g}"
    return f"rand-m{magnitude:g}-n{int(step.number('num_policies'))}-mstd{spread}-inc1"


def _same_size(step: Section, height_width: tuple[Any, ...], img_size: Any) -> None:
    """Refuse a crop of another size than the network is for."""
    if height_width != _height_width(img_size):
        raise ConfigError(
            f"{step.where} crops to {_size(height_width)} and model.backbone.img_size is {_size(img_size)}; make them "
            "equal"
        )


def _size(size: Any) -> str:
    sides = _height_width(size)
    if len(sides) == 2 and sides[0] != sides[1]:
        return f"height {sides[0]!r}, width {sides[1]!r}"
    return repr(sides[0] if len(sides) == 2 else size)


def _height_width(size: Any) -> tuple[Any, ...]:
    return tuple(size) if isinstance(size, list | tuple) else (size, size)


def _crop_pct(side: Any, resize: int, pipeline: list[Section]) -> float:
    """Return the shortest fraction that makes `resize` of `side`, as 0.9 does 248 of 224."""
    if not isinstance(side, int) or side > resize:
        raise ConfigError(f"{_above(pipeline)} resizes to {resize!r}, less than the crop of {side!r}")
    for digits in range(1, 16):
        part = round(side / resize, digits)
        if 0 < part <= 1 and int(side / part) == resize:
            return part
    raise ConfigError(f"{_above(pipeline)}: no part of {resize!r} gives {side!r}; expected whole pixels")


def _above(pipeline: list[Section]) -> str:
    return pipeline[0].where.removesuffix("[0]")
