"""What is compared: networks under one recipe, the learning rates to choose from, and the seeds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Study:
    """One comparison.

    Attributes:
        configs: Shipped configs, the T2T-ViT first; they differ in the network, the weights that it begins with,
            and its chosen learning rate alone.
        seeds: Of the final runs.
        images: What was trained on, whose it is and under which licence, for the card of a model.
        rates: Learning rates that each is tried with; none where that of another study is taken over.
        tuning_epochs: Epochs of such a try.
        held_back: Part of the training images to choose by: 5,000 of them, 328 of the sign digits.
    """

    configs: tuple[str, ...]
    seeds: tuple[int, ...]
    images: str
    rates: tuple[float, ...] = ()
    tuning_epochs: int = 0
    held_back: float = 0.0


FASHION_MNIST = """\
[Fashion-MNIST](https://github.com/zalandoresearch/fashion-mnist) (Xiao et al., 2017): 60,000 training and 10,000 test
images of 28 × 28 grey pixels, articles of a shop photographed on black; its licence is MIT."""
CIFAR100 = """\
[CIFAR-100](https://www.cs.toronto.edu/~kriz/cifar.html) (Krizhevsky, 2009): 50,000 training and 10,000 test photographs
of 32 × 32 pixels. It is published without a licence, to be cited when it is used; the photographs were found on the
web, and their rights are with whoever took them. The copy used here has its training images in lossy WebP (quality 95,
about 35 dB), the test images as they were published."""

SIGNS = """\
[Sign Language Digits](https://github.com/ardamavi/Sign-Language-Digits-Dataset) (Turkey Ankara Ayrancı Anadolu High
School): 2,062 photographs of hands; its licence is Apache-2.0. The copy used here has 64 × 64 pixels in lossy WebP and
a split of its own, 1,640 to train on and 422 to test with."""

STUDIES = {
    "fashion-mnist": Study(
        configs=(
            "t2t-vit-mini_fashion-mnist",
            "t2t-vit-c-mini_fashion-mnist",
            "vit-mini_fashion-mnist",
            "resnet-mini_fashion-mnist",
        ),
        rates=(5e-4, 1e-3, 2e-3),
        tuning_epochs=3,
        held_back=1 / 12,
        seeds=(0, 1),
        images=FASHION_MNIST,
    ),
    "cifar100": Study(
        configs=("t2t-vit-mini_cifar100", "t2t-vit-c-mini_cifar100", "vit-mini_cifar100", "resnet-mini_cifar100"),
        rates=(5e-4, 1e-3, 2e-3),
        tuning_epochs=3,
        held_back=1 / 10,
        seeds=(0, 1),
        images=CIFAR100,
    ),
    # The first of "fashion-mnist" for longer: what two cores without bfloat16 do in two hours.
    "fashion-mnist-28e": Study(
        configs=("t2t-vit-mini_fashion-mnist-28e",),
        seeds=(0,),
        images=FASHION_MNIST,
    ),
    # And with wider tokens: what one core with bfloat16 does in an hour and a half.
    "fashion-mnist-45e": Study(
        configs=("t2t-vit-mini_fashion-mnist-45e",),
        seeds=(0,),
        images=FASHION_MNIST,
    ),
    # The first of "cifar100" for longer.
    "cifar100-45e": Study(
        configs=("t2t-vit-mini_cifar100-45e",),
        seeds=(0,),
        images=CIFAR100,
    ),
    # And wider, to be shipped.
    "cifar100-tiny": Study(
        configs=("t2t-vit-tiny_cifar100",),
        seeds=(0,),
        images=CIFAR100,
    ),
    # What the shipped model brings along for other pictures.
    "signs": Study(
        configs=("t2t-vit-tiny_signs", "t2t-vit-tiny_signs-scratch"),
        rates=(5e-4, 1e-3, 2e-3),
        tuning_epochs=40,
        held_back=1 / 5,
        seeds=(0, 1, 2),
        images=SIGNS,
    ),
    "signs-tenth": Study(
        configs=("t2t-vit-tiny_signs-tenth", "t2t-vit-tiny_signs-tenth-scratch"),
        seeds=(0, 1, 2),
        images=SIGNS,
    ),
    # For one large GPU.
    "fashion-mnist-small": Study(
        configs=("t2t-vit-small_fashion-mnist", "vit-small_fashion-mnist"),
        rates=(1e-3, 2e-3, 4e-3),
        tuning_epochs=10,
        held_back=1 / 12,
        seeds=(0, 1),
        images=FASHION_MNIST,
    ),
    "cifar100-small": Study(
        configs=("t2t-vit-small_cifar100", "t2t-vit-c-small_cifar100", "vit-small_cifar100", "resnet-small_cifar100"),
        rates=(1e-3, 2e-3, 4e-3),
        tuning_epochs=10,
        held_back=1 / 10,
        seeds=(0, 1),
        images=CIFAR100,
    ),
    # The first of "cifar100-small" for longer.
    "cifar100-small-300e": Study(
        configs=("t2t-vit-small_cifar100-300e",),
        seeds=(0,),
        images=CIFAR100,
    ),
}
