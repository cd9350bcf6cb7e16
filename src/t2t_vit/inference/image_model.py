"""A model together with the way its images are prepared: what classifying and extracting features share."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, cast

import torch
from PIL import Image

from t2t_vit.config import Experiment
from t2t_vit.data.decode import ChannelOrder, Mode
from t2t_vit.data.preprocess import Preprocess
from t2t_vit.device import find_device
from t2t_vit.errors import ConfigError, ImageError
from t2t_vit.hub import DEFAULT_MODEL, default_preprocessing, get_model, model_of, shipped_card
from t2t_vit.inference.inputs import ImageInput, load_image
from t2t_vit.models import T2TViT

#: Is told the position of an image among the others, and why it cannot be read.
OnError = Callable[[int, ImageError], None]

_log = logging.getLogger(__name__)

_MOST_LISTED = 12


class ImageModel:
    """A model in eval mode, on its device, that is given images.

    Args:
        model: A name, a config, an `Experiment` (all as in `get_model`), or a model that is there already. None:
            `DEFAULT_MODEL`, which comes with this package, or what the file `pretrained` says that it is of.
        pretrained: As in `get_model`; of no concern for a model that is there already.
        device: Where to compute; None: where the model is.
        kwargs: More arguments of `get_model`.

    Attributes:
        network: The model.
        preprocess: From a picture to its input.

    Raises:
        ConfigError: An argument is unknown, or given for a model that is built already.
        T2TViTError: What `get_model` raises.
    """

    def __init__(
        self,
        model: str | Path | Experiment | T2TViT | None,
        pretrained: bool | str | Path | None,
        device: str | torch.device | None,
        **kwargs: Any,
    ) -> None:
        is_default = model is None and isinstance(pretrained, bool | None)
        if is_default:
            model = DEFAULT_MODEL
        elif model is None:
            model = model_of(cast("str | Path", pretrained), kwargs.get("url_mapping"))
        if isinstance(model, T2TViT):
            if kwargs or not isinstance(pretrained, bool | None):
                given = ", ".join(kwargs) or f"pretrained={str(pretrained)!r}"
                raise ConfigError(f"{given}: a model that is built already takes no settings; give them to get_model")
            self.network = model.eval() if device is None else model.to(find_device(device)).eval()
        else:
            self.network = get_model(model, pretrained, device, **kwargs)
        if is_default:
            _log.warning("no model is named: this is %s%s", DEFAULT_MODEL, _told(self.network.classes, pretrained))
        self.preprocess = Preprocess(**(self.network.preprocessing or default_preprocessing(self.network)))

    def load(self, source: ImageInput, channel_order: ChannelOrder = "bgr", mode: Mode | None = None) -> Image.Image:
        """Return the picture that `source` is, upright, in `mode`; None: the one that the model takes.

        Raises:
            ImageError: It is missing, corrupt or of no known kind.
        """
        return load_image(source, channel_order, mode or self.preprocess.mode)

    def batches(
        self,
        sources: Sequence[ImageInput],
        batch_size: int,
        channel_order: ChannelOrder,
        mode: Mode | None = None,
        on_error: OnError | None = None,
    ) -> Iterator[tuple[list[tuple[int, Image.Image]], torch.Tensor]]:
        """Yield the pictures of `sources` with their positions, `batch_size` at a time, and the model's input for them.

        That is (B, C, H, W).

        Args:
            sources: The images.
            batch_size: Images that go through the model at once.
            channel_order: Of arrays.
            mode: What the pictures are loaded as; None: what the model takes.
            on_error: What is told of an image that cannot be read, which is then left out; None: the error is raised.

        Raises:
            ImageError: An image is missing, corrupt or of no known kind.
            ConfigError: `batch_size` is no whole number, or below 1.
        """
        if not isinstance(batch_size, int) or isinstance(batch_size, bool) or batch_size < 1:
            raise ConfigError(f"batch_size is {batch_size!r}; expected a whole number, 1 or more")
        anchor = self.network.cls_token
        images = self._readable(sources, channel_order, mode, on_error)
        while batch := list(islice(images, batch_size)):
            x = torch.stack([prepared for _, _, prepared in batch])  # (B, C, H, W)
            yield [(position, image) for position, image, _ in batch], x.to(anchor.device, anchor.dtype)

    def _readable(
        self, sources: Sequence[ImageInput], channel_order: ChannelOrder, mode: Mode | None, on_error: OnError | None
    ) -> Iterator[tuple[int, Image.Image, torch.Tensor]]:
        for position, source in enumerate(sources):
            try:
                image = self.load(source, channel_order, mode)
                prepared = self._prepared(image, source)
            except ImageError as error:
                if on_error is None:
                    raise
                on_error(position, error)
            else:
                yield position, image, prepared

    def _prepared(self, image: Image.Image, source: ImageInput) -> torch.Tensor:
        """Return what goes into the model (C, H, W); an error names the image's file."""
        try:
            return self.preprocess(image)
        except ImageError as error:
            named = f"{source}: {error}" if isinstance(source, str | Path) else str(error)
            raise ImageError(named) from None


def _told(classes: Sequence[str] | None, pretrained: object) -> str:
    """Return what is to be said of the default model: what it knows, and where more is said of it."""
    if pretrained is False:
        return " with fresh weights"
    if classes is None:  # it has another head than it came with
        return f"; see {shipped_card(DEFAULT_MODEL)}"
    names = classes if len(classes) <= _MOST_LISTED else [*classes[: _MOST_LISTED - 1], "…"]
    return f", which knows {len(classes)} classes: {', '.join(names)}; see {shipped_card(DEFAULT_MODEL)}"
