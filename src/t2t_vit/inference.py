"""Images in, labels out: MMPretrain's calls.

K classes.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypedDict

import numpy as np
import torch
from PIL import Image

from t2t_vit.config import Experiment
from t2t_vit.data.class_names import imagenet_classes, read_class_file
from t2t_vit.data.decode import SUFFIXES, Mode, decode, from_array, from_pil
from t2t_vit.data.preprocess import Preprocess
from t2t_vit.data.url import is_url, read_url
from t2t_vit.device import find_device
from t2t_vit.errors import ConfigError, ImageError
from t2t_vit.hub import get_model, preprocessing_of
from t2t_vit.models import T2TViT

#: One image: a path, a URL, a PIL image or an array.
ImageInput = str | Path | Image.Image | np.ndarray[Any, Any]


class Prediction(TypedDict):
    """What is known of one image: the scores (K,) of all classes and the best class."""

    pred_scores: np.ndarray[Any, Any]
    pred_label: int
    pred_score: float
    pred_class: str


class ImageClassificationInferencer:
    """Classifies images, in batches if asked to.

        inferencer = ImageClassificationInferencer("t2t-vit-t-14_8xb64_in1k")
        inferencer(["bird.jpg", "cat.jpg"], batch_size=2)[1]["pred_class"]

    Args:
        model: A name, a config, an `Experiment` (all as in `get_model`), or a model that is there already.
        pretrained: As in `get_model`; of no concern for a model that is there already.
        device: Where to compute; None: where the model is.
        classes: Names of the classes, or a file with one a line; None: those that the model was trained with,
            ImageNet's if it has 1000, else the labels themselves.
        kwargs: More arguments of `get_model`.

    Raises:
        ConfigError: `classes` are not as many as the model has, or an argument is unknown.
        T2TViTError: What `get_model` raises.
    """

    def __init__(
        self,
        model: str | Path | Experiment | T2TViT,
        pretrained: bool | str | Path | None = True,
        device: str | torch.device | None = None,
        classes: Sequence[str] | str | Path | None = None,
        **kwargs: Any,
    ) -> None:
        if isinstance(model, T2TViT):
            if kwargs or not isinstance(pretrained, bool | None):
                given = ", ".join(kwargs) or f"pretrained={str(pretrained)!r}"
                raise ConfigError(f"{given}: a model that is built already takes no settings; give them to get_model")
            self.model = model.eval() if device is None else model.to(find_device(device)).eval()
        else:
            self.model = get_model(model, pretrained, device, **kwargs)
        self.preprocess = Preprocess(**(self.model.preprocessing or _default_preprocessing(self.model)))
        self.classes = _class_names(self.model, classes)

    def __call__(
        self,
        inputs: ImageInput | Sequence[ImageInput],
        batch_size: int = 1,
        channel_order: Literal["bgr", "rgb"] = "bgr",
    ) -> list[Prediction]:
        """Return a prediction for each image of `inputs`, in their order.

        Args:
            inputs: An image, a list of images, or a folder, of which all image files are taken by name. An image is
                a path, a URL, a PIL image, or an array (H, W), (H, W, 3) or (H, W, 4) of 8 or 16 unsigned bits.
            batch_size: Images that go through the model at once.
            channel_order: Of arrays; OpenCV's "bgr" is MMPretrain's.

        Raises:
            ImageError: An image is missing, corrupt or of no known kind, or a folder has none.
            ConfigError: `batch_size` is below 1.
        """
        if not isinstance(batch_size, int) or batch_size < 1:
            raise ConfigError(f"batch_size is {batch_size!r}; expected a whole number, 1 or more")
        images = (self.load(source, channel_order) for source in list_inputs(inputs))
        return [prediction for batch in _batches(images, batch_size) for prediction in self._predict(batch)]

    def load(self, source: ImageInput, channel_order: Literal["bgr", "rgb"] = "bgr") -> Image.Image:
        """Return the picture that `source` is, upright, in the mode that the model takes.

        Raises:
            ImageError: It is missing, corrupt or of no known kind.
        """
        mode: Mode = self.preprocess.mode
        if isinstance(source, Image.Image):
            return from_pil(source, mode)
        if isinstance(source, np.ndarray):
            return from_array(source, channel_order, mode)
        if is_url(source):
            return decode(read_url(str(source)), mode)
        if isinstance(source, str | Path):
            return decode(source, mode)
        raise ImageError(f"an image is a path, URL, PIL image or NumPy array, not a {type(source).__name__}")

    @torch.inference_mode()
    def _predict(self, images: list[Image.Image]) -> list[Prediction]:
        device = self.model.cls_token.device
        x = torch.stack([self.preprocess(image) for image in images]).to(device, self.model.cls_token.dtype)
        scores = self.model(x).float().softmax(dim=1).cpu().numpy()  # (B, K)
        return [self._prediction(row) for row in scores]

    def _prediction(self, scores: np.ndarray[Any, Any]) -> Prediction:
        label = int(scores.argmax())
        return Prediction(
            pred_scores=scores,
            pred_label=label,
            pred_score=float(scores[label]),
            pred_class=self.classes[label],
        )


def inference_model(
    model: str | Path | Experiment | T2TViT, image: ImageInput | Sequence[ImageInput], **kwargs: Any
) -> Prediction | list[Prediction]:
    """Return the prediction for one image, or a list of them for a folder or a list of images.

    Args:
        model: As in `ImageClassificationInferencer`.
        image: As its `inputs`.
        kwargs: Arguments of `ImageClassificationInferencer` and of its call.

    Raises:
        T2TViTError: What `ImageClassificationInferencer` raises.
    """
    call_names = list(inspect.signature(ImageClassificationInferencer.__call__).parameters)[2:]
    call = {name: kwargs.pop(name) for name in call_names if name in kwargs}
    predictions = ImageClassificationInferencer(model, **kwargs)(image, **call)
    return predictions if _is_many(image) else predictions[0]


def list_inputs(inputs: ImageInput | Sequence[ImageInput]) -> list[ImageInput]:
    """Return the single images that `inputs` stands for; a folder gives its image files by name.

    Raises:
        ImageError: A folder has no image file.
    """
    if isinstance(inputs, str | Path) and not is_url(inputs) and Path(inputs).is_dir():
        files = sorted(p for p in Path(inputs).iterdir() if p.suffix.lower() in SUFFIXES and p.is_file())
        if not files:
            raise ImageError(f"folder {str(inputs)!r} has no images; looked for {' '.join(SUFFIXES)}")
        return list(files)
    if isinstance(inputs, list | tuple):
        return [image for entry in inputs for image in list_inputs(entry)]
    return [inputs]  # type: ignore[list-item]


def _is_many(inputs: object) -> bool:
    if isinstance(inputs, list | tuple):
        return True
    return isinstance(inputs, str | Path) and not is_url(inputs) and Path(inputs).is_dir()


def _batches(images: Iterator[Image.Image], size: int) -> Iterator[list[Image.Image]]:
    while batch := list(islice(images, size)):
        yield batch


def _default_preprocessing(model: T2TViT) -> dict[str, Any]:
    from t2t_vit.config import Model, Preprocessing

    channels = model.in_chans
    preprocessing = Preprocessing() if channels == 3 else Preprocessing(mean=(0.5,) * channels, std=(0.5,) * channels)
    return preprocessing_of(
        Experiment(model=Model(img_size=model.img_size, in_chans=channels), preprocessing=preprocessing)
    )


def _class_names(model: T2TViT, classes: Sequence[str] | str | Path | None) -> tuple[str, ...]:
    if model.num_classes < 1:
        raise ConfigError("this model has no head (num_classes=0), so it cannot classify; use extract_feat")
    if classes is None:
        names = model.classes or (imagenet_classes() if model.num_classes == len(imagenet_classes()) else None)
        return names or tuple(str(label) for label in range(model.num_classes))
    names = read_class_file(classes) if isinstance(classes, str | Path) else tuple(classes)
    if len(names) != model.num_classes:
        raise ConfigError(f"classes has {len(names)} names; the model has {model.num_classes} classes")
    return names
