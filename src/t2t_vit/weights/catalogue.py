"""The published weights: where each file is, what it was trained on, and how its inputs are prepared.

Figures are quoted from the page named in `source`; none was measured here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from t2t_vit.errors import UnknownModelError, nearest


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainedWeights:
    """One published weights file.

    Attributes:
        name: The name that users type.
        model: The architecture that the weights fit, `t2t_vit_t_14` for example.
        tag: Whose weights they are and what of; `model.tag` is a name, too.
        url: Where the file was published.
        sha256: The file's SHA-256, or as many of its first hexadecimal digits as were published; None if
            none were: then the file is trusted when it first comes.
        file_size: Size in bytes, None where unknown.
        num_classes: Number of classes of the head.
        classes: Names of the classes, None for ImageNet's.
        img_size: Side in pixels of the square that the network sees.
        crop_pct: What part of the resized image's side that is.
        crop_mode: `center`: the short edge is resized and the central square cut out; `squash`: both are resized.
        interpolation: How images are resized.
        mean: Mean of each RGB channel in [0, 1], subtracted from the input.
        std: Standard deviation of each RGB channel in [0, 1], by which the input is divided.
        licence: SPDX identifier of the weights' licence.
        top1: Quoted top-1 accuracy in percent, on the validation or test set of what the classes are of.
        top5: Quoted top-5 accuracy, in percent.
        params_m: Quoted number of parameters, in millions.
        macs_g: Quoted multiply-accumulates at `img_size`, in thousand millions, as `source` counts them.
        source: Where the figures are quoted from.
    """

    name: str
    model: str
    tag: str
    url: str
    sha256: str | None = None
    file_size: int | None = None
    num_classes: int = 1000
    classes: tuple[str, ...] | None = None
    img_size: int = 224
    crop_pct: float = 0.9
    crop_mode: Literal["center", "squash"] = "center"
    interpolation: Literal["bilinear", "bicubic"] = "bicubic"
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    licence: str
    top1: float | None = None
    top5: float | None = None
    params_m: float | None = None
    macs_g: float | None = None
    source: str

    @property
    def full_name(self) -> str:
        """Architecture and tag, as timm writes it: `t2t_vit_14.official_in1k`."""
        return f"{self.model}.{self.tag}"

    @property
    def image_height_width(self) -> tuple[int, int]:
        """Height and width in pixels of what the network sees."""
        return self.img_size, self.img_size


_MMPRETRAIN_FOLDER = "https://download.openmmlab.com/mmclassification/v0/t2t-vit/"
_MMPRETRAIN_PAGE = "https://github.com/open-mmlab/mmpretrain/tree/v1.2.0/configs/t2t_vit"
_OFFICIAL_FOLDER = "https://github.com/yitu-opensource/T2T-ViT/releases/download/main/"
_OFFICIAL_PAGE = "https://github.com/yitu-opensource/T2T-ViT/blob/0f63dc9/README.md"


def _mmpretrain(depth: int, file: str, **figures: Any) -> PretrainedWeights:
    return PretrainedWeights(
        name=f"t2t-vit-t-{depth}_8xb64_in1k",
        model=f"t2t_vit_t_{depth}",
        tag="mmpretrain_in1k",
        url=_MMPRETRAIN_FOLDER + file,
        sha256=file.removesuffix(".pth").rpartition("-")[2],
        licence="Apache-2.0",
        source=_MMPRETRAIN_PAGE,
        **figures,
    )


def _official(name: str, file: str, **figures: Any) -> PretrainedWeights:
    model, _, tag = name.partition(".")
    return PretrainedWeights(
        name=name,
        model=model,
        tag=tag,
        url=_OFFICIAL_FOLDER + file,
        licence="BSD-3-Clause-Clear",
        source=_OFFICIAL_PAGE,
        **figures,
    )


def _cifar(name: str, file: str, classes: str, **figures: Any) -> PretrainedWeights:
    # The fine-tuning code resizes the whole image, of 32 pixels, with torchvision's default filter.
    return _official(
        name,
        file,
        num_classes=len(classes.split()),
        classes=tuple(classes.split()),
        crop_pct=1.0,
        crop_mode="squash",
        interpolation="bilinear",
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2023, 0.1994, 0.2010),
        **figures,
    )


# In the order of the data sets' labels.
_CIFAR_10 = "airplane automobile bird cat deer dog frog horse ship truck"
_CIFAR_100 = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant flatfish
forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle
mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine
possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar
sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle wardrobe whale willow_tree
wolf woman worm
"""

# fmt: off
# Where several files fit one architecture, the first is the one that its name alone stands for.
_ENTRIES = (
    _mmpretrain(14, "t2t-vit-t-14_8xb64_in1k_20211220-f7378dd5.pth",
                top1=81.83, top5=95.84, params_m=21.47, macs_g=4.34),
    _mmpretrain(19, "t2t-vit-t-19_8xb64_in1k_20211214-7f5e3aaf.pth",
                top1=82.63, top5=96.18, params_m=39.08, macs_g=7.80),
    _mmpretrain(24, "t2t-vit-t-24_8xb64_in1k_20211214-b2a68ae3.pth",
                top1=82.71, top5=96.09, params_m=64.00, macs_g=12.69),
    _official("t2t_vit_t_14.official_in1k", "81.7_T2T_ViTt_14.pth.tar", top1=81.7, params_m=21.5, macs_g=6.1),
    _official("t2t_vit_t_19.official_in1k", "82.4_T2T_ViTt_19.pth.tar", top1=82.4, params_m=39.2, macs_g=9.8),
    _official("t2t_vit_t_24.official_in1k", "82.6_T2T_ViTt_24.pth.tar", top1=82.6, params_m=64.1, macs_g=15.0),
    _official("t2t_vit_7.official_in1k", "71.7_T2T_ViT_7.pth.tar", top1=71.7, params_m=4.3, macs_g=1.1),
    _official("t2t_vit_10.official_in1k", "75.2_T2T_ViT_10.pth.tar", top1=75.2, params_m=5.9, macs_g=1.5),
    _official("t2t_vit_12.official_in1k", "76.5_T2T_ViT_12.pth.tar", top1=76.5, params_m=6.9, macs_g=1.8),
    _official("t2t_vit_14.official_in1k", "81.5_T2T_ViT_14.pth.tar", file_size=86_212_823,
              top1=81.5, top5=95.666, params_m=21.5, macs_g=4.8),
    _official("t2t_vit_19.official_in1k", "81.9_T2T_ViT_19.pth.tar", top1=81.9, params_m=39.2, macs_g=8.5),
    _official("t2t_vit_24.official_in1k", "82.3_T2T_ViT_24.pth.tar", top1=82.3, params_m=64.1, macs_g=13.8),
    _official("t2t_vit_14.official_in1k_384", "83.3_T2T_ViT_14.pth.tar", img_size=384, top1=83.3, params_m=21.7),
    # The file has a second head, for patches, which is dropped: 65 M with it.
    _official("t2t_vit_24.official_token_labeling_in1k", "84.2_T2T_ViT_24.pth.tar", top1=84.2, params_m=65.0),
    _cifar("t2t_vit_14.official_cifar10", "cifar10_t2t-vit_14_98.3.pth", _CIFAR_10, top1=98.3, params_m=21.5),
    _cifar("t2t_vit_14.official_cifar100", "cirfar100_t2t-vit-14_88.4.pth", _CIFAR_100, top1=88.4, params_m=21.5),
    _cifar("t2t_vit_19.official_cifar10", "cifar10_t2t-vit_19_98.4.pth", _CIFAR_10, top1=98.4, params_m=39.2),
    _cifar("t2t_vit_19.official_cifar100", "cifar100_t2t-vit-19_89.0.pth", _CIFAR_100, top1=89.0, params_m=39.2),
)
# fmt: on

CATALOGUE: Mapping[str, PretrainedWeights] = MappingProxyType({entry.name: entry for entry in _ENTRIES})
"""Every published weights file by name, in the order in which they are listed."""


def find_weights(name: str) -> PretrainedWeights | None:
    """Return the published weights that `name` stands for, None if there are none.

    Args:
        name: A name of `CATALOGUE`, architecture and tag, the URL, or an architecture alone: the first that fits it.
    """
    return next(
        (entry for entry in CATALOGUE.values() if name in (entry.name, entry.full_name, entry.url, entry.model)), None
    )


def weights_at(location: str | Path) -> PretrainedWeights | None:
    """Return the published weights that `location` stands for, None if it is a file, which goes before a name."""
    return None if Path(location).is_file() else find_weights(str(location))


def pretrained(name: str) -> PretrainedWeights:
    """Return the published weights that `name` stands for, as `find_weights` does.

    Raises:
        UnknownModelError: There are none; the message names the nearest that exist.
    """
    entry = find_weights(name)
    if entry is None:
        raise UnknownModelError(f"No published weights are called {name!r}.{nearest(name, CATALOGUE)}")
    return entry
