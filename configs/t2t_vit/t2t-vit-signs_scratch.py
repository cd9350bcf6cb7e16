"""A small T2T-ViT from scratch on photographs of hands: Sign Language Digits, 1,640 to train on and 422 to test with.

    python tools/train.py configs/t2t_vit/t2t-vit-signs_scratch.py

Hardware: two CPU cores; 6 min 39 s. Measured on the test pictures, last checkpoint, EMA weights, seed 0: top-1 96.4 %
(raw 96.0 %). Earlier, with Pillow's resize in training and one core: seeds 0, 1 and 2 95.7, 93.6 and 95.7 %.
The pictures (https://github.com/ardamavi/Sign-Language-Digits-Dataset, 64 pixels) lie in data/sign-digits/{train,val},
a folder for each of the ten digits; for another place add --cfg-options data.root=FOLDER. Settings were chosen on a
fifth of the training pictures, never on the test pictures.
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
        num_classes=10,
        img_size=32,
        in_chans=1,
        soft_splits=((5, 2, 2), (3, 2, 1), (3, 1, 1)),
        token_dim=32,
        embed_dim=96,
        depth=4,
        num_heads=3,
        drop_path_rate=0.05,
    ),
    data=Data(root="data/sign-digits", batch_size=32, num_workers=1),
    preprocessing=Preprocessing(crop_pct=1.0, mean=(0.5,), std=(0.5,)),
    augmentation=Augmentation(
        crop_scale=(0.7, 1.0),
        hflip=0.0,
        rand_augment=None,
        erase_prob=0.0,
        mixup=0.1,
        cutmix=0.0,
        rotate=15.0,
        translate=0.08,
    ),
    optimizer=Optimizer(lr=2e-3, weight_decay=0.05),
    schedule=Schedule(epochs=60, warmup_epochs=3, min_lr=1e-5, cooldown_epochs=0),
    ema=Ema(decay=0.99),
    runtime=Runtime(log_interval=51, checkpoint_interval=20, device="cpu"),
)
