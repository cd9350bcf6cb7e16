"""T2T-ViT-12 on ImageNet-1k, 224 pixels, 6.94 M parameters, with T2T-ViT_t-14 as its teacher.

    torchrun --nproc-per-node 8 tools/train.py configs/t2t_vit/t2t-vit-12_8xb64_in1k_distilled.py --launcher pytorch

Hardware: 8 GPUs, 64 images each. Expected, as quoted from the paper: top-1 77.4 % with distillation, 76.5 % without.
The paper's code has no distillation: the teacher and how much it counts are this project's choice (a published model
of the same family, hard labels as in DeiT, arXiv 2012.12877); the rest is the official recipe of T2T-ViT-12. Not yet
run by this project. The teacher's weights are downloaded when the run begins. ImageNet lies in
data/imagenet/{train,val}/nXXXXXXXX/*.JPEG; for any other folder of class folders add --cfg-options data.root=FOLDER.
"""

from t2t_vit.config import Augmentation, Data, Distillation, Ema, Experiment, Model, Optimizer, Schedule

experiment = Experiment(
    model=Model(name="t2t_vit_12", img_size=224, drop_path_rate=0.1),
    data=Data(root="data/imagenet", batch_size=64),
    augmentation=Augmentation(rand_augment="rand-m9-n2-mstd0.5-inc1", erase_prob=0.25, mixup=0.8, cutmix=1.0),
    optimizer=Optimizer(lr=1e-3, weight_decay=0.03),
    schedule=Schedule(
        epochs=310, warmup_epochs=10, warmup_factor=1e-3, min_lr=1e-5, cooldown_epochs=10, cooldown_factor=1.0
    ),
    ema=Ema(decay=0.99996),
    distillation=Distillation(teacher="t2t-vit-t-14_8xb64_in1k", kind="hard", alpha=0.5),
)
