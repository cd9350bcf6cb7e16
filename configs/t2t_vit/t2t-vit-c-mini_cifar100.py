"""The T2T-ViT of t2t-vit-mini_cifar100.py with convolutions for its token transformers (table 7 of the paper).

    python tools/train.py configs/t2t_vit/t2t-vit-c-mini_cifar100.py

Hardware: 15, 16 min, 1 of 2 cores, AMD EPYC, bfloat16. Measured: top-1 45.03, 44.25 % of 10,000 test images (seed 0, 1;
the moving average after 10 epochs). The comparison: study/README.md.
"""

import dataclasses

from t2t_vit.config import load_experiment

base = load_experiment("t2t-vit-mini_cifar100")
experiment = dataclasses.replace(
    base,
    model=dataclasses.replace(base.model, tokens="convolution"),
    optimizer=dataclasses.replace(base.optimizer, lr=1e-3),
)
