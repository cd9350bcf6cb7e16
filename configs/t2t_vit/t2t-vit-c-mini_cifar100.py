"""The T2T-ViT of t2t-vit-mini_cifar100.py with convolutions for its token transformers (table 7 of the paper).

    python tools/train.py configs/t2t_vit/t2t-vit-c-mini_cifar100.py

Hardware: two CPU cores. Measured: nothing yet.
"""

import dataclasses

from t2t_vit.config import load_experiment

base = load_experiment("t2t-vit-mini_cifar100")
experiment = dataclasses.replace(
    base,
    model=dataclasses.replace(base.model, tokens="convolution"),
    optimizer=dataclasses.replace(base.optimizer, lr=1e-3),
)
