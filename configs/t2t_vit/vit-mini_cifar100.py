"""timm's plain ViT in the place of the T2T-ViT of t2t-vit-mini_cifar100.py: patches of 4 × 4 pixels.

    python tools/train.py configs/t2t_vit/vit-mini_cifar100.py

Hardware: 16, 15 min, 1 of 2 cores, AMD EPYC, bfloat16. Measured: top-1 41.27, 41.86 % of 10,000 test images (seed 0, 1;
the moving average after 10 epochs). The comparison: study/README.md.
"""

import dataclasses

from t2t_vit.config import Baseline, Model, load_experiment

base = load_experiment("t2t-vit-mini_cifar100")
experiment = dataclasses.replace(
    base,
    model=Model(num_classes=100, img_size=32, drop_path_rate=base.model.drop_path_rate, init=base.model.init),
    baseline=Baseline(
        name="vit_tiny_patch16_224",
        options={"patch_size": 4, "embed_dim": 128, "depth": 6, "num_heads": 4, "mlp_ratio": 2.5},
    ),
    optimizer=dataclasses.replace(base.optimizer, lr=1e-3),
)
