"""The published weights: where each file is, what it was trained on, and how its inputs are prepared.

Figures are quoted from the page named in `source`; none was measured here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from t2t_vit.errors import UnknownModelError, nearest


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainedWeights:
    """One published weights file.

    Attributes:
        name: The name that users type.
        model: The architecture that the weights fit, `t2t_vit_t_14` for example.
        url: Where the file was published.
        sha256: The file's SHA-256, or as many of its first hexadecimal digits as were published; None if
            none were.
        file_size: Size in bytes, None where unknown.
        num_classes: Number of classes of the head.
        img_size: Side in pixels of the square that the network sees.
        resize: Length in pixels of the image's short edge before the central square is cut out.
        interpolation: How images are resized.
        mean: Mean of each RGB channel in [0, 1], subtracted from the input.
        std: Standard deviation of each RGB channel in [0, 1], by which the input is divided.
        licence: SPDX identifier of the weights' licence.
        top1: Quoted top-1 accuracy on the ImageNet-1k validation set, in percent.
        top5: Quoted top-5 accuracy, in percent.
        params_m: Quoted number of parameters, in millions.
        macs_g: Quoted multiply-accumulates at `img_size`, in thousand millions, as `source` counts them.
        source: Where the figures are quoted from.
    """

    name: str
    model: str
    url: str
    sha256: str | None
    file_size: int | None = None
    num_classes: int = 1000
    img_size: int = 224
    resize: int = 248
    interpolation: str = "bicubic"
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    licence: str
    top1: float | None = None
    top5: float | None = None
    params_m: float | None = None
    macs_g: float | None = None
    source: str


_MMPRETRAIN_FOLDER = "https://download.openmmlab.com/mmclassification/v0/t2t-vit/"
_MMPRETRAIN_PAGE = "https://github.com/open-mmlab/mmpretrain/tree/v1.2.0/configs/t2t_vit"


def _mmpretrain(
    depth: int, date: str, sha256: str, *, top1: float, top5: float, params_m: float, macs_g: float
) -> PretrainedWeights:
    name = f"t2t-vit-t-{depth}_8xb64_in1k"
    return PretrainedWeights(
        name=name,
        model=f"t2t_vit_t_{depth}",
        url=f"{_MMPRETRAIN_FOLDER}{name}_{date}-{sha256}.pth",
        sha256=sha256,
        licence="Apache-2.0",
        top1=top1,
        top5=top5,
        params_m=params_m,
        macs_g=macs_g,
        source=_MMPRETRAIN_PAGE,
    )


# Where several files fit one architecture, the first is the one that its name alone stands for.
_ENTRIES = (
    _mmpretrain(14, "20211220", "f7378dd5", top1=81.83, top5=95.84, params_m=21.47, macs_g=4.34),
    _mmpretrain(19, "20211214", "7f5e3aaf", top1=82.63, top5=96.18, params_m=39.08, macs_g=7.80),
    _mmpretrain(24, "20211214", "b2a68ae3", top1=82.71, top5=96.09, params_m=64.00, macs_g=12.69),
)

CATALOGUE: Mapping[str, PretrainedWeights] = MappingProxyType({entry.name: entry for entry in _ENTRIES})
"""Every published weights file by name, in the order in which they are listed."""


def pretrained(name: str) -> PretrainedWeights:
    """Return the published weights called `name`.

    Raises:
        UnknownModelError: No weights have this name; the message names the nearest that exist.
    """
    try:
        return CATALOGUE[name]
    except KeyError:
        hint = nearest(name, CATALOGUE)
        raise UnknownModelError(f"No published weights are called {name!r}.{hint}") from None


def default_weights(model: str) -> PretrainedWeights | None:
    """Return the published weights that the architecture name `model` stands for, None if there are none."""
    return next((entry for entry in CATALOGUE.values() if entry.model == model), None)
