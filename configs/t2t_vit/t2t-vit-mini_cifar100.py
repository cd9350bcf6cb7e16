"""A small T2T-ViT from scratch on CIFAR-100.

    python tools/train.py configs/t2t_vit/t2t-vit-mini_cifar100.py

Hardware: 19, 20 min, 1 of 2 cores, AMD EPYC, bfloat16. Measured: top-1 50.45, 50.32 % of 10,000 test images (seed 0, 1;
the moving average after 10 epochs). The comparison: study/README.md.
"""

from t2t_vit.config import (
    Augmentation,
    Data,
    Ema,
    Experiment,
    Model,
    Optimizer,
    Preprocessing,
    Runtime,
    Schedule,
)

experiment = Experiment(
    model=Model(
        name="t2t_vit_t_14",
        num_classes=100,
        img_size=32,
        soft_splits=((5, 2, 2), (3, 2, 1), (3, 1, 1)),
        token_dim=32,
        embed_dim=128,
        depth=6,
        num_heads=4,
        mlp_ratio=2.0,
        init="fan_in",
        drop_path_rate=0.05,
    ),
    data=Data(dataset="cifar100", download=True, batch_size=64, num_workers=0, in_memory=True),
    preprocessing=Preprocessing(crop_pct=1.0, mean=(0.507, 0.487, 0.441), std=(0.267, 0.256, 0.276)),
    augmentation=Augmentation(
        crop_scale=(0.7, 1.0),
        crop_ratio=(0.8, 1.25),
        interpolation="bilinear",
        rand_augment=None,
        erase_prob=0.0,
        mixup=0.0,
        cutmix=0.0,
    ),
    optimizer=Optimizer(lr=1e-3, weight_decay=0.05, clip_grad_norm=1.0),
    schedule=Schedule(epochs=10, warmup_epochs=1, min_lr=1e-5, cooldown_epochs=0),
    ema=Ema(decay=0.999),
    runtime=Runtime(precision="auto", log_interval=200, checkpoint_interval=5, keep_checkpoints=1, device="cpu"),
)
