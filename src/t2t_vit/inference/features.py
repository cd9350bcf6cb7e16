"""Images in, features out: MMPretrain's `FeatureExtractor`.

B images, C channels, (H, W) pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from t2t_vit.config import Experiment
from t2t_vit.data.decode import ChannelOrder
from t2t_vit.hub import list_models
from t2t_vit.inference.image_model import ImageModel, OnError
from t2t_vit.inference.inputs import ImageInput, list_inputs
from t2t_vit.models import T2TViT
from t2t_vit.models.t2t_vit import Stage

#: What `T2TViT.extract_feat` gives for one image, without the batch dimension.
Features = torch.Tensor | tuple[torch.Tensor, ...]


class FeatureExtractor:
    """Says what a model sees in images, in batches if asked to.

        extractor = FeatureExtractor("t2t-vit-t-14_8xb64_in1k", out_type="featmap", out_indices=(6, 13))
        extractor("bird.jpg")[0][1].shape                                            # (384, 14, 14)

    Args:
        model: A name, a config, an `Experiment` (all as in `get_model`), or a model that is there already. None:
            `DEFAULT_MODEL`, which comes with this package, or what the file `pretrained` says that it is of.
        pretrained: As in `get_model`; of no concern for a model that is there already.
        device: Where to compute; None: where the model is.
        kwargs: More arguments of `get_model`: `out_type` and `out_indices` say which features.

    Raises:
        ConfigError: An argument is unknown.
        T2TViTError: What `get_model` raises.
    """

    list_models = staticmethod(list_models)

    def __init__(
        self,
        model: str | Path | Experiment | T2TViT | None = None,
        pretrained: bool | str | Path | None = True,
        device: str | torch.device | None = None,
        **kwargs: Any,
    ) -> None:
        self._images = ImageModel(model, pretrained, device, **kwargs)
        self.model, self.preprocess = self._images.network, self._images.preprocess

    def __call__(
        self,
        inputs: ImageInput | Sequence[ImageInput],
        batch_size: int = 1,
        stage: Stage = "neck",
        channel_order: ChannelOrder = "bgr",
    ) -> list[Features]:
        """Return the features of each image of `inputs`, in their order, on the model's device.

        Args:
            inputs: An image, a list of images, or a folder, as `ImageClassificationInferencer` takes them.
            batch_size: Images that go through the model at once.
            stage: ``neck`` or ``backbone``: a tuple, one tensor a layer of `out_indices`, in the form of `out_type`.
                ``pre_logits``: the tensor that goes into the head.
            channel_order: Of arrays; OpenCV's "bgr" is MMPretrain's.

        Raises:
            ImageError: An image is missing, corrupt or of no known kind, or a folder has none.
            ConfigError: `batch_size` is below 1, or `stage` is unknown.
        """
        return list(self.stream(inputs, batch_size, stage, channel_order))

    def stream(
        self,
        inputs: ImageInput | Sequence[ImageInput],
        batch_size: int = 1,
        stage: Stage = "neck",
        channel_order: ChannelOrder = "bgr",
        *,
        on_error: OnError | None = None,
    ) -> Iterator[Features]:
        """Yield what a call returns, batch by batch: of more images than fit into memory.

        `on_error` is called with the position and the `ImageError` of each image that cannot be read, for which there
        are then no features; by default the error is raised.
        """
        for _, x in self._images.batches(list_inputs(inputs), batch_size, channel_order, on_error=on_error):
            # Not inference_mode: what is trained on these features could not keep them for its backward pass.
            with torch.no_grad():
                features = self.model.extract_feat(x, stage)
            for i in range(len(x)):
                yield features[i] if isinstance(features, torch.Tensor) else tuple(layer[i] for layer in features)
