"""The T2T-ViT of t2t-vit-small_cifar100.py from scratch on Fashion-MNIST, for one large GPU.

    python tools/train.py configs/t2t_vit/t2t-vit-small_fashion-mnist.py

Hardware: one large GPU. Measured: nothing yet.
"""

import dataclasses

from t2t_vit.config import Preprocessing, load_experiment

base = load_experiment("t2t-vit-small_cifar100")
experiment = dataclasses.replace(
    base,
    model=dataclasses.replace(base.model, num_classes=10, img_size=28, in_chans=1),
    data=dataclasses.replace(base.data, dataset="fashion_mnist"),
    preprocessing=Preprocessing(crop_pct=1.0, mean=(0.286,), std=(0.353,)),
    augmentation=dataclasses.replace(base.augmentation, crop_scale=(0.7, 1.0), rand_augment=None, mixup=0.2),
    schedule=dataclasses.replace(base.schedule, epochs=150),
)
