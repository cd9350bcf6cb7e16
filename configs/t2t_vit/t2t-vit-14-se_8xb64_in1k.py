"""T2T-ViT-14 with squeeze-and-excitation (performer tokens) on ImageNet-1k, 224 pixels, 21.80 M parameters and buffers.

    torchrun --nproc-per-node 8 tools/train.py configs/t2t_vit/t2t-vit-14-se_8xb64_in1k.py --launcher pytorch

Hardware: 8 GPUs, 64 images each. Expected: no figure is published with the official code. Not yet rerun by this
project. ImageNet lies in data/imagenet/{train,val}/nXXXXXXXX/*.JPEG; for any other folder of class folders add
--cfg-options data.root=FOLDER. Warm-up and cool-down are the official ones: from 1e-6 on, and ten epochs at the lowest
rate.
"""

from t2t_vit.config import Augmentation, Data, Ema, Experiment, Model, Optimizer, Schedule

experiment = Experiment(
    model=Model(name="t2t_vit_14_se", img_size=224, drop_path_rate=0.1),
    data=Data(root="data/imagenet", batch_size=64),
    augmentation=Augmentation(rand_augment="rand-m9-n2-mstd0.5-inc1", erase_prob=0.25, mixup=0.8, cutmix=1.0),
    optimizer=Optimizer(lr=5e-4, weight_decay=0.05),
    schedule=Schedule(
        epochs=310, warmup_epochs=10, warmup_factor=2e-3, min_lr=1e-5, cooldown_epochs=10, cooldown_factor=1.0
    ),
    ema=Ema(decay=0.99996),
)
