"""A T2T-ViT of 8 M parameters from scratch on CIFAR-100, for one large GPU.

    python tools/train.py configs/t2t_vit/t2t-vit-small_cifar100.py

Images and their augmentation are on the GPU; the network is compiled and computes in bfloat16.

Hardware: one large GPU. Measured: nothing yet.
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
        token_dim=64,
        embed_dim=256,
        depth=12,
        num_heads=8,
        mlp_ratio=3.0,
        init="fan_in",
        drop_path_rate=0.1,
    ),
    data=Data(dataset="cifar100", download=True, batch_size=512, num_workers=0, in_memory=True),
    preprocessing=Preprocessing(crop_pct=1.0, mean=(0.507, 0.487, 0.441), std=(0.267, 0.256, 0.276)),
    augmentation=Augmentation(crop_scale=(0.5, 1.0), rand_augment="rand-m9-n2-mstd0.5-inc1"),
    optimizer=Optimizer(lr=2e-3, weight_decay=0.06, clip_grad_norm=1.0),
    schedule=Schedule(epochs=80, warmup_epochs=5, min_lr=1e-5, cooldown_epochs=0),
    ema=Ema(decay=0.9995),
    runtime=Runtime(precision="bfloat16", compile=True, log_interval=97, checkpoint_interval=40, keep_checkpoints=1),
)
