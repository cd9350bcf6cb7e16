"""Images in, labels out: MMPretrain's `ImageClassificationInferencer` and `inference_model`.

B images, K classes.
"""

from __future__ import annotations

import dataclasses
import inspect
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypedDict, cast, overload

import numpy as np
import torch
from PIL import Image

from t2t_vit.config import Experiment, shipped_configs
from t2t_vit.data.class_names import imagenet_classes, read_class_file
from t2t_vit.data.decode import SUFFIXES, ChannelOrder, Mode
from t2t_vit.data.preprocess import Preprocess
from t2t_vit.data.url import is_url
from t2t_vit.errors import CheckpointError, ConfigError, UnknownModelError, nearest
from t2t_vit.hub import list_models
from t2t_vit.inference.drawing import Drawing
from t2t_vit.inference.image_model import ImageModel, OnError
from t2t_vit.inference.inputs import ImageInput, is_many, list_inputs
from t2t_vit.models import T2TViT


class Prediction(TypedDict):
    """What is known of one image: the scores (K,) of all classes and the best class."""

    pred_scores: np.ndarray[Any, Any]
    pred_label: int
    pred_score: float
    pred_class: str


@dataclass(frozen=True, eq=False)
class DataSample:
    """A prediction as tensors, under the names of MMPretrain's `DataSample`.

    Attributes:
        pred_score: Scores (K,) of all classes, float32.
        pred_label: The best class (1,), int64.
        num_classes: K.
        img_shape: Height and width of what the model saw.
    """

    pred_score: torch.Tensor
    pred_label: torch.Tensor
    num_classes: int
    img_shape: tuple[int, int]

    def all_keys(self) -> list[str]:
        """Return the names of what it holds."""
        return [field.name for field in dataclasses.fields(self)]


class ImageClassificationInferencer:
    """Classifies images, in batches if asked to.

        inferencer = ImageClassificationInferencer("t2t-vit-t-14_8xb64_in1k")
        inferencer(["bird.jpg", "cat.jpg"], batch_size=2)[1]["pred_class"]

    Args:
        model: A name, a config, an `Experiment` (all as in `get_model`), or a model that is there already. None:
            `DEFAULT_MODEL`, which comes with this package, or what the file `pretrained` says that it is of.
        pretrained: As in `get_model`; of no concern for a model that is there already.
        device: Where to compute; None: where the model is.
        classes: Names of the classes, or a file with one a line; None: those that the model was trained with,
            ImageNet's if it has 1000, else the labels themselves.
        kwargs: More arguments of `get_model`.

    Raises:
        ConfigError: `classes` are not as many as the model has, or an argument is unknown.
        T2TViTError: What `get_model` raises.
    """

    list_models = staticmethod(list_models)

    def __init__(
        self,
        model: str | Path | Experiment | T2TViT | None = None,
        pretrained: bool | str | Path | None = True,
        device: str | torch.device | None = None,
        classes: Sequence[str] | str | Path | None = None,
        **kwargs: Any,
    ) -> None:
        self._images = ImageModel(model, pretrained, device, **kwargs)
        self.model: T2TViT = self._images.network
        self.preprocess: Preprocess = self._images.preprocess
        self.classes = _class_names(self.model, classes)

    @overload
    def __call__(
        self,
        inputs: ImageInput | Sequence[ImageInput],
        return_datasamples: Literal[False] = False,
        batch_size: int = 1,
        *,
        channel_order: ChannelOrder = "bgr",
        resize: int | None = None,
        rescale_factor: float | None = None,
        draw_score: bool = True,
        show: bool = False,
        wait_time: float = 0,
        show_dir: str | Path | None = None,
    ) -> list[Prediction]: ...

    @overload
    def __call__(
        self,
        inputs: ImageInput | Sequence[ImageInput],
        return_datasamples: Literal[True],
        batch_size: int = 1,
        *,
        channel_order: ChannelOrder = "bgr",
        resize: int | None = None,
        rescale_factor: float | None = None,
        draw_score: bool = True,
        show: bool = False,
        wait_time: float = 0,
        show_dir: str | Path | None = None,
    ) -> list[DataSample]: ...

    def __call__(
        self,
        inputs: ImageInput | Sequence[ImageInput],
        return_datasamples: bool = False,
        batch_size: int = 1,
        *,
        channel_order: ChannelOrder = "bgr",
        resize: int | None = None,
        rescale_factor: float | None = None,
        draw_score: bool = True,
        show: bool = False,
        wait_time: float = 0,
        show_dir: str | Path | None = None,
    ) -> list[Prediction] | list[DataSample]:
        """Return a prediction for each image of `inputs`, in their order.

        Args:
            inputs: An image, a list of images, or a folder, of which all image files are taken by name. An image is
                a path, a URL, a PIL image, or an array (H, W), (H, W, 3) or (H, W, 4) of 8 or 16 unsigned bits.
            return_datasamples: Give tensors under MMPretrain's names instead of dicts.
            batch_size: Images that go through the model at once.
            channel_order: Of arrays; OpenCV's "bgr" is MMPretrain's.
            resize: Short edge, in pixels, of the pictures that are shown; goes before `rescale_factor`.
            rescale_factor: What the sides of the pictures that are shown are multiplied by.
            draw_score: Write the score beside the class.
            show: Show each picture with its prediction in a window.
            wait_time: Seconds that each window stays; 0: until it is closed.
            show_dir: Write each picture with its prediction into this folder, as a PNG of the image's name.

        Raises:
            ImageError: An image is missing, corrupt or of no known kind, or a folder has none.
            CheckpointError: The model's scores are not finite.
            ConfigError: An argument is of the wrong kind or out of range, there is no screen to show on, or `show_dir`
                holds the images.
        """
        if not isinstance(return_datasamples, bool):
            raise ConfigError(
                f"return_datasamples is {return_datasamples!r}; expected True or False (write batch_size by name)"
            )
        predictions = list(
            self.stream(
                inputs,
                batch_size,
                channel_order,
                resize=resize,
                rescale_factor=rescale_factor,
                draw_score=draw_score,
                show=show,
                wait_time=wait_time,
                show_dir=show_dir,
            )
        )
        if not return_datasamples:
            return predictions
        return [_data_sample(prediction, self.preprocess.img_size) for prediction in predictions]

    def stream(
        self,
        inputs: ImageInput | Sequence[ImageInput],
        batch_size: int = 1,
        channel_order: ChannelOrder = "bgr",
        *,
        resize: int | None = None,
        rescale_factor: float | None = None,
        draw_score: bool = True,
        show: bool = False,
        wait_time: float = 0,
        show_dir: str | Path | None = None,
        on_error: OnError | None = None,
    ) -> Iterator[Prediction]:
        """Yield what a call with these arguments returns, as soon as it is known.

        `on_error` is called with the position and the `ImageError` of each image that cannot be read, for which there
        is then no prediction; by default the error is raised.
        """
        drawing = Drawing(
            show_dir=show_dir,
            show=show,
            wait_time=wait_time,
            resize=resize,
            rescale_factor=rescale_factor,
            draw_score=draw_score,
        )
        sources = list_inputs(inputs)
        # People are shown the colours that a model of grey images does not see.
        mode: Mode | None = "RGB" if drawing.is_wanted and self.preprocess.mode == "L" else None
        with drawing.pen(sources) as draw:
            for images, x in self._images.batches(sources, batch_size, channel_order, mode, on_error):
                for (position, image), prediction in zip(images, self._predict(x), strict=True):
                    if drawing.is_wanted:
                        draw(position, image, prediction["pred_class"], prediction["pred_score"])
                    yield prediction

    def load(self, source: ImageInput, channel_order: ChannelOrder = "bgr") -> Image.Image:
        """Return the picture that `source` is, upright, in the mode that the model takes.

        Raises:
            ImageError: It is missing, corrupt or of no known kind.
        """
        return self._images.load(source, channel_order)

    @torch.inference_mode()
    def _predict(self, x: torch.Tensor) -> list[Prediction]:
        scores = self.model(x).float().softmax(dim=1).cpu().numpy()  # (B, K)
        if not np.isfinite(scores).all():
            raise CheckpointError(
                "the model's scores are not finite: its weights hold NaN or infinity, or overflow in "
                f"{str(x.dtype).removeprefix('torch.')}; give it other weights, or make it float32"
            )
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
    model: str | Path | Experiment | T2TViT | ImageInput | Sequence[ImageInput] | None = None, *args: Any, **kwargs: Any
) -> Any:
    """Return the prediction for one image, or a list of them for a folder or a list of images.

        inference_model("t2t-vit-t-14_8xb64_in1k", "bird.jpg")["pred_class"]
        inference_model("bird.jpg")["pred_class"]                                # by the model that comes along

    Args:
        model: As in `ImageClassificationInferencer`. It may be left out, also where the image has no name.
        args: Arguments of its call; the first is the image, `inputs`.
        kwargs: Arguments of `ImageClassificationInferencer` and of its call.

    Returns:
        A `Prediction`, or a `DataSample` if so asked, or a list.

    Raises:
        ConfigError: There is no image, or one in the model's place, or an argument too many.
        UnknownModelError: A name is given alone, and is neither a model's nor an image's.
        T2TViTError: What `ImageClassificationInferencer` raises.
    """
    if not args and "inputs" not in kwargs and model is not None and not _is_model(model):
        model, args = None, (model,)
    if isinstance(model, str | Path) and Path(model).suffix.lower() in SUFFIXES:
        raise ConfigError(
            f"inference_model: {str(model)!r} is an image in the model's place; "
            "expected inference_model(model, image, ...), with None for the model that comes along"
        )
    named = cast("str | Path | Experiment | T2TViT | None", model)
    signature = inspect.signature(ImageClassificationInferencer.__call__)
    call = {name: kwargs.pop(name) for name in list(signature.parameters)[1:] if name in kwargs}
    try:
        inputs = signature.bind(None, *args, **call).arguments["inputs"]
    except TypeError as error:
        raise ConfigError(f"inference_model: {error}; expected inference_model(model, image, ...)") from None
    predictions = ImageClassificationInferencer(named, **kwargs)(*args, **call)
    return predictions if is_many(inputs) else predictions[0]


def _is_model(value: object) -> bool:
    """Whether `value` is a model, and not an image.

    Raises:
        UnknownModelError: It is a name of neither.
    """
    if not isinstance(value, str | Path):
        return isinstance(value, Experiment | T2TViT)
    names = {*list_models(), *shipped_configs()}
    if Path(value).suffix in (".py", ".json") or str(value) in names:
        return True
    if Path(value).suffix or is_url(value) or os.path.exists(value):  # noqa: PTH110 -- never raises
        return False
    raise UnknownModelError(f"{str(value)!r} is neither a model nor an image file.{nearest(str(value), names)}")


def _data_sample(prediction: Prediction, img_shape: tuple[int, int]) -> DataSample:
    scores = torch.tensor(prediction["pred_scores"])
    return DataSample(scores, torch.tensor([prediction["pred_label"]]), len(scores), img_shape)


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
