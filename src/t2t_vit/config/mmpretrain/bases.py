"""The `_base_` files of MMPretrain that T2T-ViT configs build on, for configs that come without them.

Source: MMPretrain 1.2.0, `configs/_base_` and `configs/t2t_vit`: what their keys are set to.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from t2t_vit.config.mmpretrain.merge import unshared

#: Encoder of the published models: width, layers, heads, weight decay of the recipe.
_PUBLISHED = {"14": (384, 14, 6, 0.05), "19": (448, 19, 7, 0.065), "24": (512, 24, 8, 0.065)}


def known_base(name: str) -> dict[str, Any] | list[str]:
    """Return what the base `name` binds, a path that ends as it does in MMPretrain; all such paths if it is none."""
    parts = _parts(name.rpartition("::")[2])
    for path, values in _known().items():
        if parts[-len(_parts(path)) :] == _parts(path):
            copied: dict[str, Any] = unshared(values)
            return copied
    return list(_known())


def _parts(path: str) -> list[str]:
    """Return the folders and the file of `path`; the new style of configs has "_" for "-" in them."""
    return [part.replace("_", "-").lower() for part in PurePosixPath(path).parts]


def _known() -> dict[str, dict[str, Any]]:
    bases = {f"_base_/models/t2t-vit-t-{size}.py": _model(size) for size in _PUBLISHED}
    bases["_base_/datasets/imagenet_bs64_t2t_224.py"] = _data()
    bases["_base_/default_runtime.py"] = _runtime()
    for size in _PUBLISHED:
        bases[f"t2t_vit/t2t-vit-t-{size}_8xb64_in1k.py"] = {**_model(size), **_data(), **_runtime(), **_recipe(size)}
    return bases


def _model(size: str) -> dict[str, Any]:
    width, layers, heads, _ = _PUBLISHED[size]
    truncated = {"type": "TruncNormal", "layer": "Linear", "std": 0.02}
    backbone = {
        "type": "T2T_ViT",
        "img_size": 224,
        "in_channels": 3,
        "embed_dims": width,
        "t2t_cfg": {"token_dims": 64, "use_performer": False},
        "num_layers": layers,
        "layer_cfgs": {"num_heads": heads, "feedforward_channels": 3 * width},
        "drop_path_rate": 0.1,
        "init_cfg": [truncated, {"type": "Constant", "layer": "LayerNorm", "val": 1.0, "bias": 0.0}],
    }
    head = {
        "type": "VisionTransformerClsHead",
        "num_classes": 1000,
        "in_channels": width,
        "loss": {"type": "LabelSmoothLoss", "label_smooth_val": 0.1, "mode": "original"},
        "topk": (1, 5),
        "init_cfg": dict(truncated),
    }
    mixing = {"augments": [{"type": "Mixup", "alpha": 0.8}, {"type": "CutMix", "alpha": 1.0}]}
    model = {"type": "ImageClassifier", "backbone": backbone, "neck": None, "head": head, "train_cfg": mixing}
    return {"embed_dims": width, "num_classes": 1000, "model": model}


def _data() -> dict[str, Any]:
    mean, std = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
    resize = {"backend": "pillow", "interpolation": "bicubic"}
    rand_augment = {
        "type": "RandAugment",
        "policies": "timm_increasing",
        "num_policies": 2,
        "total_level": 10,
        "magnitude_level": 9,
        "magnitude_std": 0.5,
        "hparams": {"pad_val": [round(m) for m in mean[::-1]], "interpolation": "bicubic"},
    }
    erasing = {
        "type": "RandomErasing",
        "erase_prob": 0.25,
        "mode": "rand",
        "min_area_ratio": 0.02,
        "max_area_ratio": 1 / 3,
        "fill_color": mean[::-1],
        "fill_std": std[::-1],
    }
    train_pipeline: list[dict[str, Any]] = [
        {"type": "LoadImageFromFile"},
        {"type": "RandomResizedCrop", "scale": 224, **resize},
        {"type": "RandomFlip", "prob": 0.5, "direction": "horizontal"},
        rand_augment,
        erasing,
        {"type": "PackInputs"},
    ]
    test_pipeline: list[dict[str, Any]] = [
        {"type": "LoadImageFromFile"},
        {"type": "ResizeEdge", "scale": 248, "edge": "short", **resize},
        {"type": "CenterCrop", "crop_size": 224},
        {"type": "PackInputs"},
    ]

    def loader(split: str, pipeline: list[dict[str, Any]]) -> dict[str, Any]:
        dataset = {"type": "ImageNet", "data_root": "data/imagenet", "split": split, "pipeline": pipeline}
        sampler = {"type": "DefaultSampler", "shuffle": split == "train"}
        return {"batch_size": 64, "num_workers": 5, "dataset": dataset, "sampler": sampler}

    evaluator = {"type": "Accuracy", "topk": (1, 5)}
    return {
        "dataset_type": "ImageNet",
        "data_preprocessor": {"num_classes": 1000, "mean": mean, "std": std, "to_rgb": True},
        "bgr_mean": mean[::-1],
        "bgr_std": std[::-1],
        "train_pipeline": train_pipeline,
        "test_pipeline": test_pipeline,
        "train_dataloader": loader("train", train_pipeline),
        "val_dataloader": loader("val", test_pipeline),
        "val_evaluator": evaluator,
        "test_dataloader": loader("val", test_pipeline),
        "test_evaluator": evaluator,
    }


def _runtime() -> dict[str, Any]:
    return {
        "default_scope": "mmpretrain",
        "default_hooks": {
            "timer": {"type": "IterTimerHook"},
            "logger": {"type": "LoggerHook", "interval": 100},
            "param_scheduler": {"type": "ParamSchedulerHook"},
            "checkpoint": {"type": "CheckpointHook", "interval": 1},
            "sampler_seed": {"type": "DistSamplerSeedHook"},
            "visualization": {"type": "VisualizationHook", "enable": False},
        },
        "env_cfg": {},
        "vis_backends": [{"type": "LocalVisBackend"}],
        "visualizer": {"type": "UniversalVisualizer", "vis_backends": [{"type": "LocalVisBackend"}]},
        "log_level": "INFO",
        "load_from": None,
        "resume": False,
        "randomness": {"seed": None, "deterministic": False},
    }


def _recipe(size: str) -> dict[str, Any]:
    return {
        "optim_wrapper": {
            "optimizer": {"type": "AdamW", "lr": 5e-4, "weight_decay": _PUBLISHED[size][3]},
            "paramwise_cfg": {
                "norm_decay_mult": 0.0,
                "bias_decay_mult": 0.0,
                "custom_keys": {"cls_token": {"decay_mult": 0.0}},
            },
        },
        "param_scheduler": [
            {
                "type": "LinearLR",
                "start_factor": 1e-6,
                "by_epoch": True,
                "begin": 0,
                "end": 10,
                "convert_to_iter_based": True,
            },
            {
                "type": "CosineAnnealingLR",
                "T_max": 290,
                "eta_min": 1e-5,
                "by_epoch": True,
                "begin": 10,
                "end": 300,
            },
            {"type": "ConstantLR", "factor": 0.1, "by_epoch": True, "begin": 300, "end": 310},
        ],
        "train_cfg": {"by_epoch": True, "max_epochs": 310, "val_interval": 1},
        "val_cfg": {},
        "test_cfg": {},
        "custom_hooks": [{"type": "EMAHook", "momentum": 4e-5, "priority": "ABOVE_NORMAL"}],
        "auto_scale_lr": {"base_batch_size": 512},
    }
