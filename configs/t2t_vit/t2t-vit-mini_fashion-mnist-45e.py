"""The T2T-ViT of t2t-vit-mini_fashion-mnist.py for longer, with smaller crops and a little erasing.

    python tools/train.py configs/t2t_vit/t2t-vit-mini_fashion-mnist-45e.py

Hardware: two CPU cores. Measured: nothing yet.
"""

import dataclasses

from t2t_vit.config import load_experiment

base = load_experiment("t2t-vit-mini_fashion-mnist")
experiment = dataclasses.replace(
    base,
    augmentation=dataclasses.replace(base.augmentation, crop_scale=(0.75, 1.0), erase_prob=0.1),
    schedule=dataclasses.replace(base.schedule, epochs=45, warmup_epochs=2),
)
