"""T2T-ViT at home in transformers: import this before a folder that `save_pretrained` wrote is loaded there.

    import t2t_vit.integrations.transformers
    from transformers import pipeline

    pipeline("image-classification", model="FOLDER")("bird.jpg", top_k=5)

The network is transformers' own wrapper of timm's models. The preparation of images is this package's, the same to the
pixel as in its own prediction, also for grey and non-square images, of which timm's differs.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch
from transformers import AutoImageProcessor, BatchFeature, TimmWrapperConfig, TimmWrapperImageProcessor
from transformers.image_processing_utils import BaseImageProcessor
from transformers.image_transforms import to_pil_image
from transformers.image_utils import make_flat_list_of_images

import t2t_vit.integrations.timm  # noqa: F401 (by its names the network is built)
from t2t_vit.data.preprocess import Preprocess
from t2t_vit.errors import ConfigError
from t2t_vit.hub import preprocessing_of
from t2t_vit.integrations.config_json import experiment_of
from t2t_vit.models import variant_names


class T2TViTImageProcessor(BaseImageProcessor):  # type: ignore[misc]
    """Prepares images as `config.json` says, by `t2t_vit.data.Preprocess`.

    Args:
        config: The content of a `config.json`.

    Raises:
        T2TViTError: It is of another model, or a setting is wrong.
    """

    model_input_names = ("pixel_values",)

    def __init__(self, **config: Any) -> None:
        super().__init__(**{key: config.get(key) for key in ("architecture", "model_args", "pretrained_cfg")})
        self.prepare = Preprocess(**preprocessing_of(experiment_of(config, "config.json")))

    def preprocess(self, images: Any, return_tensors: str | None = "pt", **options: Any) -> BatchFeature:
        """Return `pixel_values` (B, C, H, W), float32, of one or several images.

        Args:
            images: PIL images, or arrays or tensors (H, W, C) or (C, H, W) of RGB pixels.
            return_tensors: ``pt`` or ``np``: of which library the result is.
            options: None of transformers' others is taken: they would say something else than `config.json`.

        Raises:
            ConfigError: There are such.
            ImageError: An image cannot be prepared.
        """
        _refuse(options)
        pictures = [to_pil_image(image) for image in make_flat_list_of_images(images)]
        return BatchFeature({"pixel_values": torch.stack([*map(self.prepare, pictures)])}, tensor_type=return_tensors)

    @classmethod
    def get_image_processor_dict(
        cls, pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the content of `config.json`, where it all stands, and the arguments that remain."""
        file = {"image_processor_filename": "config.json", **kwargs}
        result: tuple[dict[str, Any], dict[str, Any]] = super().get_image_processor_dict(
            pretrained_model_name_or_path, **file
        )
        return result

    @classmethod
    def from_dict(cls, image_processor_dict: dict[str, Any], **kwargs: Any) -> Any:
        """Return the processor that `config.json` describes: this one, or timm's for its other models.

        Raises:
            ConfigError: An option would prepare images otherwise.
        """
        if image_processor_dict.get("architecture") not in variant_names():
            return TimmWrapperImageProcessor.from_dict(image_processor_dict, **kwargs)
        _refuse({name: value for name, value in kwargs.items() if name in cls.valid_kwargs.__annotations__})
        return super().from_dict(image_processor_dict, **kwargs)

    def to_dict(self) -> dict[str, Any]:
        """Return what there is to show of it: of `config.json` what concerns the images."""
        return {key: value for key, value in super().to_dict().items() if key != "prepare"}

    def save_pretrained(self, save_directory: str | os.PathLike[str], **_: Any) -> list[str]:
        """Write nothing: `config.json`, which the model's own `save_pretrained` writes, says all of it."""
        return []


def _refuse(options: Mapping[str, Any]) -> None:
    given = [f"{name}={value!r}" for name, value in options.items() if value is not None]
    if given:
        raise ConfigError(
            f"{', '.join(given)}: images of this model are prepared as config.json says, without further options; "
            "change pretrained_cfg there, or use t2t_vit.data.preprocess"
        )


# Under both of the names by which transformers looks for a processor of timm's models.
AutoImageProcessor.register(
    TimmWrapperConfig,
    image_processor_classes={"torchvision": T2TViTImageProcessor, "pil": T2TViTImageProcessor},
    exist_ok=True,
)
