"""A config of MMPretrain comes to the same `Experiment` as our own file, or what it cannot come to is named."""

from __future__ import annotations

import json
import logging
import re

import pytest

from t2t_vit.config import experiment_to_dict, load_experiment
from t2t_vit.config.mmpretrain import file
from t2t_vit.config.mmpretrain.bases import known_base
from t2t_vit.config.mmpretrain.model import ARCHITECTURES
from t2t_vit.errors import ConfigError

NAME = "t2t-vit-t-14_8xb64_in1k"

# The published recipe in the form that MMPretrain's files have.
MODEL = """
width = {width}
model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='T2T_ViT', img_size=224, in_channels=3, embed_dims=width,
        t2t_cfg=dict(token_dims=64, use_performer=False), num_layers={layers},
        layer_cfgs=dict(num_heads={heads}, feedforward_channels=3 * width), drop_path_rate=0.1,
        init_cfg=[dict(type='TruncNormal', layer='Linear', std=.02)]),
    neck=None,
    head=dict(
        type='VisionTransformerClsHead', num_classes=1000, in_channels=width,
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'), topk=(1, 5)),
    train_cfg=dict(augments=[dict(type='Mixup', alpha=0.8), dict(type='CutMix', alpha=1.0)]))
"""
DATA = """
preprocessor_mean = [123.675, 116.28, 103.53]
data_preprocessor = dict(num_classes=1000, mean=preprocessor_mean, std=[58.395, 57.12, 57.375], to_rgb=True)
bgr_mean = data_preprocessor['mean'][::-1]
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomResizedCrop', scale=224, backend='pillow', interpolation='bicubic'),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='RandAugment', policies='timm_increasing', num_policies=2, total_level=10, magnitude_level=9,
         magnitude_std=0.5, hparams=dict(pad_val=[round(m) for m in bgr_mean], interpolation='bicubic')),
    dict(type='RandomErasing', erase_prob=0.25, mode='rand', min_area_ratio=0.02, max_area_ratio=1 / 3,
         fill_color=bgr_mean, fill_std=data_preprocessor['std'][::-1]),
    dict(type='PackInputs')]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='ResizeEdge', scale=248, edge='short', backend='pillow', interpolation='bicubic'),
    dict(type='CenterCrop', crop_size=224),
    dict(type='PackInputs')]
train_dataloader = dict(
    batch_size=64, num_workers=5, sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='ImageNet', data_root='data/imagenet', split='train', pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=64, num_workers=5, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='ImageNet', data_root='data/imagenet', split='val', pipeline=test_pipeline))
val_evaluator = dict(type='Accuracy', topk=(1, 5))
test_dataloader = val_dataloader
test_evaluator = val_evaluator
"""
RUNTIME = """
default_scope = 'mmpretrain'
default_hooks = dict(logger=dict(type='LoggerHook', interval=100), checkpoint=dict(type='CheckpointHook', interval=1))
env_cfg = dict(cudnn_benchmark=False)
visualizer = dict(type='UniversalVisualizer')
log_level = 'INFO'
load_from = None
resume = False
randomness = dict(seed=None, deterministic=False)
"""
RECIPE = """
_base_ = ['../_base_/models/model.py', '../_base_/datasets/data.py', '../_base_/runtime.py']
optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=5e-4, weight_decay={decay}),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0, custom_keys={{'cls_token': dict(decay_mult=0.0)}}))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, by_epoch=True, begin=0, end=10, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=290, eta_min=1e-5, by_epoch=True, begin=10, end=300),
    dict(type='ConstantLR', factor=0.1, by_epoch=True, begin=300, end=310)]
train_cfg = dict(by_epoch=True, max_epochs=310, val_interval=1)
val_cfg = dict()
test_cfg = dict()
custom_hooks = [dict(type='EMAHook', momentum=4e-5, priority='ABOVE_NORMAL')]
auto_scale_lr = dict(base_batch_size=512)
"""


@pytest.fixture
def published(tmp_path):
    """Write a published config with its bases; return its path."""

    def write(size="14"):
        width, layers, heads, decay = {
            "14": (384, 14, 6, 0.05), "19": (448, 19, 7, 0.065), "24": (512, 24, 8, 0.065),
        }[size]  # fmt: skip
        for name, text in {
            "_base_/models/model.py": MODEL.format(width=width, layers=layers, heads=heads),
            "_base_/datasets/data.py": DATA,
            "_base_/runtime.py": RUNTIME,
            "t2t_vit/published.py": RECIPE.format(decay=decay),
        }.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def over(published):
    """Read a config that has `text` over the published one."""

    def read(text):
        path = published().with_name("mine.py")
        path.write_text(f"_base_ = './published.py'\n{text}\n", encoding="utf-8")
        return load_experiment(path)

    return read


def changes(experiment):
    """What `experiment` has otherwise than the published recipe, by dotted name."""
    ours = experiment_to_dict(load_experiment(NAME))
    return {
        f"{section}.{name}": value
        for section, settings in experiment_to_dict(experiment).items()
        for name, value in settings.items()
        if value != ours[section][name]
    }


@pytest.mark.parametrize("size", ["14", "19", "24"])
def test_published_config_is_our_own(size, published, caplog):
    with caplog.at_level(logging.WARNING):
        experiment = load_experiment(published(size))
    assert experiment == load_experiment(f"t2t-vit-t-{size}_8xb64_in1k")
    assert not caplog.records


@pytest.mark.parametrize("size", ["14", "19", "24"])
def test_base_known_without_its_file_is_our_own(size, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(f"_base_ = 'mmpretrain::t2t_vit/t2t-vit-t-{size}_8xb64_in1k.py'", encoding="utf-8")
    assert load_experiment(path) == load_experiment(f"t2t-vit-t-{size}_8xb64_in1k")


def test_values_as_json_are_read_alike(tmp_path):
    path = tmp_path / "dumped.json"
    path.write_text(json.dumps(known_base(f"t2t_vit/{NAME}.py")), encoding="utf-8")
    assert load_experiment(path) == load_experiment(NAME)


def test_config_is_not_executed(published, tmp_path):
    path = published().with_name("mine.py")
    path.write_text(f"_base_ = './published.py'\nx = open({str(tmp_path / 'made')!r}, 'w')", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"mine\.py:2: .* would have to be run"):
        load_experiment(path)
    assert not (tmp_path / "made").exists()


OVER = {
    "classes": (
        "model = dict(head=dict(num_classes=10))\ndata_preprocessor = dict(num_classes=10)",
        {"model.num_classes": 10},
    ),
    "size of the network": (
        "model = dict(backbone=dict(embed_dims=192, num_layers=5, drop_rate=0.1, drop_path_rate=0.2,"
        " t2t_cfg=dict(token_dims=32), layer_cfgs=dict(num_heads=3, feedforward_channels=384)))",
        {
            "model.embed_dim": 192, "model.depth": 5, "model.num_heads": 3, "model.mlp_ratio": 2.0,
            "model.token_dim": 32, "model.drop_rate": 0.1, "model.drop_path_rate": 0.2,
        },
    ),
    "another named size": (
        "model = dict(backbone=dict(embed_dims=448, num_layers=19,"
        " layer_cfgs=dict(num_heads=7, feedforward_channels=1344)))",
        {"model.name": "t2t_vit_t_19"},
    ),
    "performer": (
        "model = dict(backbone=dict(t2t_cfg=dict(use_performer=True)))",
        {"model.name": "t2t_vit_14"},
    ),
    "small performer with transformer tokens": (
        "model = dict(backbone=dict(embed_dims=256, num_layers=7, layer_cfgs=dict(num_heads=4,"
        " feedforward_channels=512)))",
        {"model.name": "t2t_vit_7", "model.tokens": "transformer"},
    ),
    "backbone without a word on drop-path": (
        "model = dict(backbone=dict(_delete_=True, type='mmpretrain.T2T_ViT',"
        " layer_cfgs=dict(num_heads=6, feedforward_channels=1152)))",
        {"model.drop_path_rate": 0.0},
    ),
    "pretrained backbone": (
        "model = dict(backbone=dict(init_cfg=dict(type='Pretrained', checkpoint='a.pth', prefix='backbone')))",
        {"model.pretrained": "a.pth"},
    ),
    "load_from": ("load_from = 'b.pth'", {"model.pretrained": "b.pth"}),
    "other loss, no mixing": (
        "model = dict(train_cfg=None, head=dict(loss=dict(_delete_=True, type='CrossEntropyLoss', loss_weight=1.0)))",
        {"runtime.label_smoothing": 0.0, "augmentation.mixup": 0.0, "augmentation.cutmix": 0.0},
    ),
    "one augment as a dict": (
        "model = dict(train_cfg=dict(augments=dict(type='CutMix', alpha=0.5)))",
        {"augmentation.mixup": 0.0, "augmentation.cutmix": 0.5},
    ),
    "other images": (
        "train_dataloader = dict(batch_size=32, num_workers=2, dataset=dict(_delete_=True, type='CustomDataset',"
        " data_root='data/cats', data_prefix='training', pipeline={{_base_.train_pipeline}}))\n"
        "val_dataloader = dict(dataset=dict(_delete_=True, type='CustomDataset', data_root='data/cats', ann_file='',"
        " data_prefix=dict(img_path='held_out'), pipeline={{_base_.test_pipeline}}))\n"
        "test_dataloader = val_dataloader\nmodel = dict(head=dict(num_classes=3))",
        {
            "data.root": "data/cats", "data.train": "training", "data.val": "held_out", "data.batch_size": 32,
            "data.num_workers": 2, "model.num_classes": 3,
        },
    ),
    "annotation files": (
        "train_dataloader = dict(dataset=dict(ann_file='meta/train.txt'))\n"
        "val_dataloader = dict(dataset=dict(data_root='data/imagenet', ann_file='meta/val.txt'))\n"
        "test_dataloader = val_dataloader",
        {
            "data.train_annotations": "meta/train.txt", "data.val_annotations": "meta/val.txt",
            "data.classes": "imagenet",
        },
    ),
    "annotation files in two roots": (
        "train_dataloader = dict(dataset=dict(_delete_=True, type='CustomDataset', data_root='data/a',"
        " ann_file='list.txt', pipeline={{_base_.train_pipeline}}))\n"
        "val_dataloader = dict(dataset=dict(_delete_=True, type='CustomDataset', data_root='data/b',"
        " data_prefix='images', ann_file='list.txt', pipeline={{_base_.test_pipeline}}))\n"
        "test_dataloader = val_dataloader",
        {
            "data.root": "data", "data.train": "a", "data.train_annotations": "a/list.txt",
            "data.val": "b/images", "data.val_annotations": "b/list.txt", "model.num_classes": 1000,
        },
    ),
    "another optimizer, and batches that make a step": (
        "optim_wrapper = dict(accumulative_counts=4, optimizer=dict(_delete_=True, type='SGD', lr=0.05, momentum=0.9,"
        " weight_decay=5e-4, nesterov=True))",
        {
            "optimizer.kind": "sgd", "optimizer.lr": 0.05, "optimizer.nesterov": True,
            "optimizer.weight_decay": 5e-4, "optimizer.accumulation": 4,
        },
    ),
    "images in two roots": (
        "train_dataloader = dict(dataset=dict(data_root='data/a', split='', data_prefix=''))\n"
        "val_dataloader = dict(dataset=dict(data_root='data/b'))\ntest_dataloader = val_dataloader",
        {"data.root": "data", "data.train": "a", "data.val": "b/val"},
    ),
    "one relative root, one absolute": (
        "val_dataloader = dict(dataset=dict(data_root='/abs'))\ntest_dataloader = val_dataloader",
        {"data.root": ".", "data.train": "data/imagenet/train", "data.val": "/abs/val"},
    ),
    "larger images": (
        "model = dict(backbone=dict(img_size=384))\n"
        "train_pipeline = _base_.train_pipeline\ntrain_pipeline[1]['scale'] = 384\n"
        "test_pipeline = [dict(type='LoadImageFromFile'), dict(type='ResizeEdge', scale=426, backend='pillow',"
        " interpolation='bicubic'), dict(type='CenterCrop', crop_size=384), dict(type='PackInputs')]\n"
        "train_dataloader = dict(dataset=dict(pipeline=train_pipeline))\n"
        "val_dataloader = dict(dataset=dict(pipeline=test_pipeline))\ntest_dataloader = val_dataloader",
        {"model.img_size": 384},
    ),
    "256 to 224": (
        "val_dataloader = dict(dataset=dict(pipeline=[dict(type='LoadImageFromFile'), dict(type='ResizeEdge',"
        " scale=256, backend='pillow', interpolation='bilinear'), dict(type='CenterCrop', crop_size=(224, 224))]))\n"
        "test_dataloader = val_dataloader",
        {"preprocessing.crop_pct": 0.875, "preprocessing.interpolation": "bilinear"},
    ),
    "squashed": (
        "val_dataloader = dict(dataset=dict(pipeline=[dict(type='LoadImageFromFile'), dict(type='Resize',"
        " scale=(224, 224), backend='pillow', interpolation='bicubic'), dict(type='PackInputs')]))\n"
        "test_dataloader = val_dataloader",
        {"preprocessing.crop_pct": 1.0, "preprocessing.crop_mode": "squash"},
    ),
    "little augmentation": (
        "train_dataloader = dict(dataset=dict(pipeline=[dict(type='LoadImageFromFile'), dict(type='RandomResizedCrop',"
        " scale=224, crop_ratio_range=(0.5, 1.0), backend='pillow'), dict(type='PackInputs')]))",
        {
            "augmentation.crop_scale": (0.5, 1.0), "augmentation.interpolation": "bilinear", "augmentation.hflip": 0.0,
            "augmentation.rand_augment": None, "augmentation.erase_prob": 0.0,
        },
    ),
    "magnitudes of thirty": (
        "p = {{_base_.train_pipeline}}\np[3].pop('total_level')\np[3]['magnitude_level'] = 12\n"
        "p[3]['magnitude_std'] = 'inf'\ntrain_dataloader = dict(dataset=dict(pipeline=p))",
        {"augmentation.rand_augment": "rand-m4-n2-mstd101-inc1"},
    ),
    "mean and std": (
        "data_preprocessor = dict(mean=[127.5, 127.5, 127.5], std=[127.5] * 3)",
        {"preprocessing.mean": (0.5, 0.5, 0.5), "preprocessing.std": (0.5, 0.5, 0.5)},
    ),
    "optimizer": (
        "optim_wrapper = dict(type='AmpOptimWrapper', dtype='bfloat16', clip_grad=dict(max_norm=5.0),"
        " optimizer=dict(lr=1e-3, betas=(0.9, 0.98), eps=1e-6))",
        {
            "optimizer.lr": 1e-3, "optimizer.betas": (0.9, 0.98), "optimizer.eps": 1e-6,
            "optimizer.clip_grad_norm": 5.0, "runtime.precision": "bfloat16",
        },
    ),
    "half precision": ("optim_wrapper = dict(type='AmpOptimWrapper')", {"runtime.precision": "float16"}),
    "scaled rate": (
        "auto_scale_lr = dict(base_batch_size=1024, enable=True)",
        {"optimizer.auto_scale_lr": True, "optimizer.base_batch_size": 1024},
    ),
    "schedule": (
        "param_scheduler = [dict(type='LinearLR', start_factor=1e-3, end=20, convert_to_iter_based=True),"
        " dict(type='CosineAnnealingLR', eta_min=1e-6, by_epoch=True, begin=20)]\n"
        "train_cfg = dict(by_epoch=True, max_epochs=300)",
        {
            "schedule.epochs": 300, "schedule.warmup_epochs": 20, "schedule.warmup_factor": 1e-3,
            "schedule.min_lr": 1e-6, "schedule.cooldown_epochs": 0,
        },
    ),
    "no schedule": (
        "param_scheduler = []",
        {"schedule.warmup_epochs": 0, "schedule.min_lr": 5e-4, "schedule.cooldown_epochs": 0},
    ),
    "flat end": (
        "param_scheduler = dict(type='CosineAnnealingLR', T_max=300, eta_min=1e-5, end=300)",
        {"schedule.warmup_epochs": 0, "schedule.cooldown_factor": 1.0},
    ),
    "no average": ("custom_hooks = []", {"ema.enabled": False}),
    "faster average": ("custom_hooks = [dict(type='EMAHook', momentum=0.001)]", {"ema.decay": 0.999}),
    "log and checkpoints": (
        "default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=5, max_keep_ckpts=2))\n"
        "train_cfg = dict(val_interval=5)",
        {"runtime.log_interval": 10, "runtime.checkpoint_interval": 5, "runtime.keep_checkpoints": 2},
    ),
    "all checkpoints": (
        "default_hooks = dict(checkpoint=dict(max_keep_ckpts=-1))",
        {"runtime.keep_checkpoints": None},
    ),
    "all checkpoints, as 0": (
        "default_hooks = dict(checkpoint=dict(max_keep_ckpts=0))",
        {"runtime.keep_checkpoints": None},
    ),
    "what is changed in the base": (
        "_base_.train_dataloader.batch_size = 128\n_base_.optim_wrapper.optimizer.lr = 1e-3\n"
        "_base_.model.head.num_classes = 10\n_base_.train_cfg['max_epochs'] = 310\n_base_.pop('custom_hooks')",
        {"data.batch_size": 128, "optimizer.lr": 1e-3, "model.num_classes": 10, "ema.enabled": False},
    ),
    "wide images": (
        "model = dict(backbone=dict(img_size=(192, 320)))\n"
        "train_pipeline = {{_base_.train_pipeline}}\ntrain_pipeline[1]['scale'] = (192, 320)\n"
        "test_pipeline = {{_base_.test_pipeline}}\ntest_pipeline[1]['scale'] = 213\n"
        "test_pipeline[2]['crop_size'] = (320, 192)\n"
        "train_dataloader = dict(dataset=dict(pipeline=train_pipeline))\n"
        "val_dataloader = dict(dataset=dict(pipeline=test_pipeline))\ntest_dataloader = val_dataloader",
        {"model.img_size": (192, 320)},
    ),
    "hooks with all their settings": (
        "default_hooks = dict(timer=None, visualization=dict(interval=3, draw_gt=False), checkpoint=dict("
        "save_best='auto', rule='greater', save_last=True), logger=dict(ignore_last=False, priority=3))\n"
        "custom_hooks = [dict(type='EmptyCacheHook', after_epoch=True), dict(type='EMAHook', momentum=4e-5)]",
        {},
    ),
    "images at home": (
        "train_dataloader = dict(dataset=dict(data_root='', split='', data_prefix='~/x/train'))\n"
        "val_dataloader = dict(dataset=dict(data_root='~/x'))\ntest_dataloader = val_dataloader",
        {"data.root": "/home/of/x"},
    ),
    "seed": ("randomness = dict(seed=3)", {"runtime.seed": 3}),
    "no validation": (
        "val_cfg = None\nval_dataloader = None\nval_evaluator = None\ntest_dataloader = None",
        {"runtime.validate": False},
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", OVER)
def test_what_is_set_otherwise(kind, over, monkeypatch):
    monkeypatch.setenv("HOME", "/home/of")
    text, expected = OVER[kind]
    assert changes(over(text)) == expected


REFUSED = {
    "backbone": ("model = dict(backbone=dict(type='ResNet'))", "'ResNet' is not supported here. Supported: T2T_ViT"),
    "head": ("model = dict(head=dict(type='LinearClsHead'))", "Supported: VisionTransformerClsHead"),
    "classifier": ("model = dict(type='MAE')", "model.type is 'MAE', which is not supported here. Supported: ImageCl"),
    "neck": ("model = dict(neck=dict(type='GlobalAveragePooling'))", "model.neck is {'type': 'GlobalAveragePooling'}"),
    "no head": ("model = dict(head=None)", "model.head is None; expected a dict with a type"),
    "backbone setting": (
        "model = dict(backbone=dict(embed_dim=3))",
        "backbone has no setting 'embed_dim'. Did you mean 'embed_dims'",
    ),
    "norm": ("model = dict(backbone=dict(norm_cfg=dict(type='BN')))", "norm_cfg.type is 'BN'; only 'LN'"),
    "bias": ("model = dict(backbone=dict(layer_cfgs=dict(qkv_bias=True)))", "layer_cfgs.qkv_bias is True; only False"),
    "width of no number": ("model = dict(backbone=dict(embed_dims='x'))", "feedforward_channels is a number"),
    "loss": (
        "model = dict(head=dict(loss=dict(_delete_=True, type='FocalLoss')))",
        "model.head.loss.type is 'FocalLoss', which is not supported here. Did you mean 'LabelSmoothLoss'?",
    ),
    "smoothing": (
        "model = dict(head=dict(loss=dict(mode='classy_vision')))",
        "model.head.loss.mode is 'classy_vision'",
    ),
    "augment": (
        "model = dict(train_cfg=dict(augments=[dict(type='ResizeMix', alpha=1.0)]))",
        "model.train_cfg.augments[0].type is 'ResizeMix', which is not supported here. Supported: Mixup, CutMix",
    ),
    "uneven mixing": ("model = dict(train_cfg=dict(probs=[0.3, 0.7]))", "probs is [0.3, 0.7]"),
    "data set": (
        "train_dataloader = dict(dataset=dict(type='CIFAR10'))",
        "train_dataloader.dataset.type is 'CIFAR10', which is not supported here. Supported: ImageNet, CustomDataset",
    ),
    "annotations": (
        "train_dataloader = dict(dataset=dict(ann_file=['a.txt']))",
        "ann_file is ['a.txt']; expected text",
    ),
    "sampler": ("train_dataloader = dict(sampler=dict(type='RepeatAugSampler'))", "sampler.type is 'RepeatAugSampler'"),
    "transform": (
        "train_dataloader = dict(dataset=dict(pipeline=[dict(type='ColorJitter', brightness=0.4)]))",
        "train_dataloader.dataset.pipeline[0].type is 'ColorJitter', which is not supported here.",
    ),
    "transform's setting": (
        "p = {{_base_.train_pipeline}}\np[2]['probability'] = 1\ntrain_dataloader = dict(dataset=dict(pipeline=p))",
        "pipeline[2] has the setting 'probability', which is not supported here. Did you mean 'prob'",
    ),
    "policies": (
        "p = {{_base_.train_pipeline}}\np[3]['policies'] = 'simple_increasing'\n"
        "train_dataloader = dict(dataset=dict(pipeline=p))",
        "pipeline[3].policies is 'simple_increasing'",
    ),
    "constant erasing": (
        "p = {{_base_.train_pipeline}}\np[4]['mode'] = 'const'\ntrain_dataloader = dict(dataset=dict(pipeline=p))",
        "pipeline[4].mode is 'const'",
    ),
    "two sizes": ("model = dict(backbone=dict(img_size=384))", "crops to 224 and model.backbone.img_size is 384"),
    "no crop in training": (
        "train_dataloader = dict(dataset=dict(pipeline=[dict(type='LoadImageFromFile')]))",
        "train_dataloader.dataset.pipeline has no RandomResizedCrop",
    ),
    "no crop in validation": (
        "val_dataloader = dict(dataset=dict(pipeline=[dict(type='ResizeEdge', scale=248)]))",
        "val_dataloader.dataset.pipeline needs ResizeEdge",
    ),
    "long edge": (
        "p = {{_base_.test_pipeline}}\np[1]['edge'] = 'long'\nval_dataloader = dict(dataset=dict(pipeline=p))",
        "pipeline[1].edge is 'long', which is not supported here; expected 'short'",
    ),
    "BGR": ("data_preprocessor = dict(to_rgb=False)", "data_preprocessor.to_rgb is not True"),
    "optimizer": (
        "optim_wrapper = dict(optimizer=dict(_delete_=True, type='Lamb', lr=0.1))",
        "optim_wrapper.optimizer.type is 'Lamb', which is not supported here. Supported: AdamW, SGD",
    ),
    "accumulation": ("optim_wrapper = dict(accumulative_counts=0.5)", "optim_wrapper.accumulative_counts is 0.5"),
    "rate of a part": (
        "optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'backbone': dict(lr_mult=0.1)}))",
        "custom_keys['backbone'] is {'lr_mult': 0.1}; only dict(decay_mult=0.0)",
    ),
    "decay of norms": ("optim_wrapper = dict(paramwise_cfg=dict(norm_decay_mult=1.0))", "norm_decay_mult is 1.0"),
    "schedule": (
        "param_scheduler = [dict(type='MultiStepLR', milestones=[1])]",
        "param_scheduler[0].type is 'MultiStepLR', which is not supported here.",
    ),
    "gap": (
        "param_scheduler = [dict(type='LinearLR', end=5), dict(type='CosineAnnealingLR', begin=9, end=310)]",
        "param_scheduler[1] (CosineAnnealingLR) goes from epoch 9 to 310; expected LinearLR, CosineAnnealingLR, Const",
    ),
    "by step": ("param_scheduler = dict(type='LinearLR', by_epoch=False, end=5)", "param_scheduler.by_epoch is False"),
    "constant warm-up": (
        "param_scheduler = [dict(type='ConstantLR', factor=0.1, begin=0, end=3)]",
        "(ConstantLR) goes from epoch 0 to 3; expected LinearLR, CosineAnnealingLR, ConstantLR in this order, Cons",
    ),
    "constant after the warm-up": (
        "param_scheduler = [dict(type='LinearLR', end=5), dict(type='ConstantLR', begin=5, end=9)]",
        "ConstantLR only after the cosine",
    ),
    "slip in the checkpoint hook": (
        "default_hooks = dict(checkpoint=dict(max_keep_ckpt=1))",
        "default_hooks.checkpoint has the setting 'max_keep_ckpt', which is not supported here. Did you mean 'max_kee",
    ),
    "slip in the logger": (
        "default_hooks = dict(logger=dict(intrval=3))",
        "default_hooks.logger has the setting 'intrval', which is not supported here. Did you mean 'interval'",
    ),
    "slip in another hook": (
        "default_hooks = dict(visualization=dict(enabel=True))",
        "default_hooks.visualization has the setting 'enabel'",
    ),
    "slip in an idle hook": (
        "custom_hooks = [dict(type='EmptyCacheHook', after_epochs=True)]",
        "custom_hooks[0] has the setting 'after_epochs', which is not supported here. Did you mean 'after_epoch'",
    ),
    "no checkpoints": (
        "default_hooks = dict(checkpoint=dict(interval=-1))",
        "default_hooks.checkpoint.interval is -1; expected a whole number, 1 or more",
    ),
    "no log": (
        "default_hooks = dict(logger=dict(interval=-1))",
        "default_hooks.logger.interval is -1; expected a whole number, 1 or more",
    ),
    "high crop for a wide network": (
        "model = dict(backbone=dict(img_size=(192, 320)))\ntrain_pipeline = {{_base_.train_pipeline}}\n"
        "train_pipeline[1]['scale'] = (192, 320)\ntest_pipeline = {{_base_.test_pipeline}}\n"
        "test_pipeline[2]['crop_size'] = (192, 320)\n"
        "train_dataloader = dict(dataset=dict(pipeline=train_pipeline))\n"
        "val_dataloader = dict(dataset=dict(pipeline=test_pipeline))",
        "crops to height 320, width 192 and model.backbone.img_size is height 192, width 320; make them equal",
    ),
    "squares for a wide network": (
        "model = dict(backbone=dict(img_size=(192, 320)))\ntrain_dataloader = None\nval_dataloader = dict("
        "dataset=dict(pipeline=[dict(type='Resize', scale=192), dict(type='CenterCrop', crop_size=(320, 192))]))",
        "makes squares, and model.backbone.img_size is height 192, width 320",
    ),
    "other T_max": ("param_scheduler = dict(type='CosineAnnealingLR', T_max=10, end=310)", "T_max is 10; expected 310"),
    "iterations": ("train_cfg = dict(_delete_=True, by_epoch=False, max_iters=9)", "train_cfg counts iterations"),
    "hook": ("custom_hooks = [dict(type='EarlyStoppingHook')]", "custom_hooks[0].type is 'EarlyStoppingHook'"),
    "hook's setting": (
        "custom_hooks = [dict(type='EMAHook', momentums=1e-4)]",
        "custom_hooks[0] has the setting 'momentums', which is not supported here. Did you mean 'momentum'",
    ),
    "slip at the top": (
        "optim_wraper = dict(a=1)",
        "'optim_wraper' is no name that a config has. Did you mean 'optim_w",
    ),
    "old names": ("lr_config = dict(policy='step')", "'lr_config' is a name of MMClassification 0.x"),
    "wrong type": ("randomness = dict(seed='x')", "runtime.seed is 'x'; expected a valid integer"),
    "no dict": ("optim_wrapper = 5", "optim_wrapper is 5; expected a dict"),
    "no number": ("train_cfg = dict(max_epochs='x')", "train_cfg.max_epochs is 'x'; expected a whole number"),
    "no list": ("custom_hooks = 5", "custom_hooks is 5; expected a list of dicts"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_not_supported_is_named(kind, over):
    text, expected = REFUSED[kind]
    with pytest.raises(ConfigError) as caught:
        over(text)
    message = str(caught.value)
    assert re.match(r".*/mine\.py: ", message), message
    assert expected in message
    assert "\n" not in message


def test_config_without_a_model_is_told_what_to_add(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("train_cfg = dict(max_epochs=3)", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"it has no model; expected model = dict\(type='ImageClassifier'"):
        load_experiment(path)


def test_config_of_a_model_alone_has_the_published_recipe(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("_base_ = '../_base_/models/t2t-vit-t-14.py'", encoding="utf-8")
    assert load_experiment(path) == load_experiment(NAME)


NOTES = {
    "OpenCV": (
        "p = {{_base_.test_pipeline}}\np[1].pop('backend')\nval_dataloader = dict(dataset=dict(pipeline=p))\n"
        "test_dataloader = val_dataloader",
        "images are resized by Pillow here",
    ),
    "epochs": ("train_cfg = dict(max_epochs=100)", "param_scheduler ends at epoch 310 and train_cfg.max_epochs is 100"),
    "other test images": (
        "test_dataloader = dict(dataset=dict(split='test'))",
        "test_dataloader is of data/imagenet/test; `test` takes the images of val_dataloader",
    ),
    "decay of norms": ("optim_wrapper = dict(paramwise_cfg=None)", "norms, biases and the class token do not decay"),
    "resume": ("resume = True", "resume: give --resume"),
    "intervals": (
        "train_cfg = dict(val_interval=10)",
        "train_cfg.val_interval is 10; each checkpoint is evaluated here",
    ),
    "features": ("model = dict(backbone=dict(out_type='raw'))", "backbone.out_type is for feature extraction"),
}


@pytest.mark.parametrize("kind", NOTES)
def test_what_is_otherwise_here_is_said(kind, over, caplog):
    text, expected = NOTES[kind]
    with caplog.at_level(logging.WARNING):
        over(text)
    assert [expected in record.getMessage() for record in caplog.records] == [True]


def test_names_without_effect_are_listed(published):
    reading = file.read_file(published())
    assert set(reading.idle) >= {"default_scope", "env_cfg", "visualizer", "log_level"}
    assert not {"width", "bgr_mean", "train_pipeline", "model"} & set(reading.idle)


def test_named_architectures_are_those_of_the_models():
    from t2t_vit.models.variants import VARIANTS

    for (width, layers, heads, hidden), size in ARCHITECTURES.items():
        for name in {f"t2t_vit_{size}", f"t2t_vit_t_{size}"} & VARIANTS.keys():
            variant = VARIANTS[name]
            assert (variant["embed_dim"], variant["depth"], variant["num_heads"]) == (width, layers, heads)
            assert variant["embed_dim"] * variant["mlp_ratio"] == hidden
