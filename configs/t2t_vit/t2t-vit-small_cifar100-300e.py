"""The T2T-ViT of t2t-vit-small_cifar100.py for longer, on one large GPU.

    python tools/train.py configs/t2t_vit/t2t-vit-small_cifar100-300e.py

Hardware: one large GPU. Measured: nothing yet.
"""

import dataclasses

from t2t_vit.config import load_experiment

base = load_experiment("t2t-vit-small_cifar100")
experiment = dataclasses.replace(
    base,
    schedule=dataclasses.replace(base.schedule, epochs=300, warmup_epochs=10),
    ema=dataclasses.replace(base.ema, decay=0.9998),
)
