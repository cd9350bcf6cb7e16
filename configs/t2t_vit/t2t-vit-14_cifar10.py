"""T2T-ViT-14 (performer tokens, 21.5 M) fine-tuned on CIFAR-10, enlarged to 224 pixels.

    python tools/train.py configs/t2t_vit/t2t-vit-14_cifar10.py

Hardware: one GPU, 64 images. Expected: as quoted by the official code for its checkpoint of this recipe: top-1 98.3 %.
Not yet rerun by this project. CIFAR-10 lies in data/; to have it downloaded add --cfg-options data.download=True.

The recipe is the official one: the class token and the last norm stay as they are, and tokens and encoder learn at a
hundredth of the head's rate. Two things differ: there the lower rates, too, fall to 2e-4 and not to a hundredth of it,
and what a shift uncovers is black and not the mean colour.
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
        name="t2t_vit_14",
        num_classes=10,
        img_size=224,
        drop_path_rate=0.1,
        pretrained="t2t_vit_14.official_in1k",
        freeze="cls_token,norm",
    ),
    data=Data(dataset="cifar10", root="data", batch_size=64),
    preprocessing=Preprocessing(
        crop_pct=1.0,
        crop_mode="squash",
        interpolation="bilinear",
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2023, 0.1994, 0.2010),
    ),
    augmentation=Augmentation(
        crop_scale=(1.0, 1.0),
        crop_ratio=(1.0, 1.0),
        hflip=0.5,
        interpolation="bilinear",
        rand_augment=None,
        erase_prob=0.0,
        mixup=0.0,
        cutmix=0.0,
        translate=0.125,
    ),
    optimizer=Optimizer(
        kind="sgd",
        lr=0.05,
        momentum=0.9,
        weight_decay=5e-4,
        decay_vectors=True,
        lr_scale={"tokens_to_token": 0.01, "blocks": 0.01},
    ),
    schedule=Schedule(epochs=60, warmup_epochs=0, min_lr=2e-4, cooldown_epochs=0),
    ema=Ema(enabled=False),
    runtime=Runtime(label_smoothing=0.0),
)
