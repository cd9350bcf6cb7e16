"""timm's plain ViT in the place of the T2T-ViT of t2t-vit-small_fashion-mnist.py: patches of 4 × 4 pixels.

    python tools/train.py configs/t2t_vit/vit-small_fashion-mnist.py

Hardware: one large GPU. Measured: nothing yet.
"""

import dataclasses

from t2t_vit.config import load_experiment

base, vit = load_experiment("t2t-vit-small_fashion-mnist"), load_experiment("vit-small_cifar100")
experiment = dataclasses.replace(
    base,
    model=dataclasses.replace(vit.model, num_classes=10, img_size=28, in_chans=1),
    baseline=vit.baseline,
)
