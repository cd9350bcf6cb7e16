"""`--cfg-options key=value`, with our names and MMPretrain's."""

from __future__ import annotations

from pathlib import Path

import pytest

from t2t_vit.config import Augmentation, Data, Experiment, apply_overrides, experiment_to_dict
from t2t_vit.config.mmpretrain import DOTTED_NAMES, model_settings
from t2t_vit.config.overrides import parse_value
from t2t_vit.config.validation import known_keys
from t2t_vit.errors import ConfigError

EXPERIMENT = Experiment(augmentation=Augmentation(mixup=0.0, cutmix=0.0))


def changed(*options):
    """What `options` change, by dotted name."""
    before, after = (experiment_to_dict(e) for e in (EXPERIMENT, apply_overrides(EXPERIMENT, options)))
    return {
        f"{section}.{name}": value
        for section, settings in after.items()
        for name, value in settings.items()
        if value != before[section][name]
    }


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3), ("1e-3", 1e-3), (" 0.5 ", 0.5), ("true", True), ("False", False), ("none", None), ("NULL", None),
        ("1,2", (1, 2)), ("(1,2)", (1, 2)), ("[1, 2]", [1, 2]), ("bicubic", "bicubic"), ("'3'", "3"), ("", ""),
        ("data/imagenet", "data/imagenet"), ("rand-m9-n2", "rand-m9-n2"), ("a=b", "a=b"),
        ("(7,2,3),(3,2,1)", ((7, 2, 3), (3, 2, 1))), ("__import__('os')", "__import__('os')"),
    ],
)  # fmt: skip
def test_values(text, value):
    parsed = parse_value(text)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("option", "change"),
    [
        ("optimizer.lr=1e-3", {"optimizer.lr": 1e-3}),
        (" optimizer.lr =1e-3", {"optimizer.lr": 1e-3}),
        ("optimizer.betas=.9,.95", {"optimizer.betas": (0.9, 0.95)}),
        ("model.img_size=(192,320)", {"model.img_size": (192, 320)}),
        ("model.img_size=[192,320]", {"model.img_size": (192, 320)}),
        ("model.img_size=192,320", {"model.img_size": (192, 320)}),
        ("model.soft_splits=(7,2,3),(3,1,1)", {"model.soft_splits": ((7, 2, 3), (3, 1, 1))}),
        ("augmentation.rand_augment=none", {"augmentation.rand_augment": None}),
        ("runtime.validate=false", {"runtime.validate": False}),
        ("data.root=a=b", {"data.root": "a=b"}),
        ("data.root='5'", {"data.root": "5"}),
    ],
)
def test_option(option, change):
    assert changed(option) == change


def test_later_options_win_and_the_experiment_stays():
    assert changed("schedule.epochs=3", "optimizer.lr=1", "schedule.epochs=4") == {
        "schedule.epochs": 4,
        "optimizer.lr": 1.0,
    }
    assert EXPERIMENT.schedule.epochs == 310
    assert apply_overrides(EXPERIMENT, []) == EXPERIMENT


def test_settings_that_only_fit_together_may_come_together():
    options = ["model.in_chans=1", "preprocessing.mean=(0.5,)", "preprocessing.std=(0.5,)"]
    assert apply_overrides(EXPERIMENT, options).model.in_chans == 1


# A value other than the default, for each of MMPretrain's names.
MMPRETRAIN_VALUES = {
    "model.backbone.img_size": ("320", 320),
    "model.backbone.in_channels": ("3", None),
    "model.backbone.embed_dims": ("192", 192),
    "model.backbone.num_layers": ("4", 4),
    "model.backbone.drop_rate": ("0.1", 0.1),
    "model.backbone.drop_path_rate": ("0.2", 0.2),
    "model.backbone.t2t_cfg.token_dims": ("32", 32),
    "model.backbone.layer_cfgs.num_heads": ("3", 3),
    "model.head.num_classes": ("10", 10),
    "model.backbone.init_cfg.checkpoint": ("weights.pth", "weights.pth"),
    "model.head.loss.label_smooth_val": ("0.2", 0.2),
    "model.train_cfg.augments.0.alpha": ("0.5", 0.5),
    "model.train_cfg.augments.1.alpha": ("0.5", 0.5),
    "data_preprocessor.num_classes": ("10", 10),
    "train_dataloader.dataset.ann_file": ("meta/train.txt", "meta/train.txt"),
    "val_dataloader.dataset.ann_file": ("meta/val.txt", "meta/val.txt"),
    "test_dataloader.dataset.ann_file": ("meta/val.txt", "meta/val.txt"),
    "optim_wrapper.accumulative_counts": ("4", 4),
    "train_dataloader.batch_size": ("128", 128),
    "train_dataloader.num_workers": ("1", 1),
    "train_dataloader.pin_memory": ("False", False),
    "train_dataloader.persistent_workers": ("False", False),
    "train_dataloader.dataset.split": ("training", "training"),
    "train_dataloader.dataset.data_prefix": ("training", "training"),
    "train_dataloader.dataset.data_prefix.img_path": ("training", "training"),
    "val_dataloader.dataset.split": ("test", "test"),
    "val_dataloader.dataset.data_prefix": ("test", "test"),
    "val_dataloader.dataset.data_prefix.img_path": ("test", "test"),
    "test_dataloader.dataset.split": ("test", "test"),
    "test_dataloader.dataset.data_prefix": ("test", "test"),
    "test_dataloader.dataset.data_prefix.img_path": ("test", "test"),
    "optim_wrapper.optimizer.lr": ("1e-4", 1e-4),
    "optim_wrapper.optimizer.weight_decay": ("0.1", 0.1),
    "optim_wrapper.optimizer.betas": ("(0.9,0.98)", (0.9, 0.98)),
    "optim_wrapper.optimizer.eps": ("1e-6", 1e-6),
    "optim_wrapper.clip_grad.max_norm": ("5.0", 5.0),
    "optim_wrapper.dtype": ("bfloat16", "bfloat16"),
    "param_scheduler.0.end": ("5", 5),
    "param_scheduler.0.start_factor": ("1e-3", 1e-3),
    "param_scheduler.1.eta_min": ("1e-6", 1e-6),
    "param_scheduler.2.factor": ("0.5", 0.5),
    "auto_scale_lr.enable": ("True", True),
    "auto_scale_lr.base_batch_size": ("1024", 1024),
    "train_cfg.max_epochs": ("5", 5),
    "randomness.seed": ("7", 7),
    "default_hooks.logger.interval": ("10", 10),
    "default_hooks.checkpoint.interval": ("5", 5),
    "load_from": ("weights.pth", "weights.pth"),
}


@pytest.mark.parametrize("name", DOTTED_NAMES)
def test_mmpretrains_name_sets_the_same_thing(name):
    text, value = MMPRETRAIN_VALUES[name]
    expected = {} if value is None else {DOTTED_NAMES[name]: value}
    assert changed(f"{name}={text}") == expected


@pytest.mark.parametrize(
    ("options", "change"),
    [
        (["data_preprocessor.mean=[127.5,127.5,127.5]"], {"preprocessing.mean": (0.5, 0.5, 0.5)}),
        (["model.data_preprocessor.std=51,51,51"], {"preprocessing.std": (0.2, 0.2, 0.2)}),
        (["data_preprocessor.mean=[123.675,116.28,103.53]", "data_preprocessor.std=[58.395,57.12,57.375]"], {}),
        (["custom_hooks.0.momentum=0.001"], {"ema.decay": 0.999}),
        (["custom_hooks.0.momentum=4e-5"], {}),
        (["optim_wrapper.type=AmpOptimWrapper"], {"runtime.precision": "float16"}),
        (
            ["optim_wrapper.type=AmpOptimWrapper", "optim_wrapper.dtype=bfloat16"],
            {"runtime.precision": "bfloat16"},
        ),
        (["model.backbone.layer_cfgs.feedforward_channels=768"], {"model.mlp_ratio": 2.0}),
        (
            ["model.backbone.embed_dims=100", "model.backbone.layer_cfgs.feedforward_channels=250"],
            {"model.embed_dim": 100, "model.mlp_ratio": 2.5},
        ),
        (
            ["model.backbone.layer_cfgs.feedforward_channels=250", "model.backbone.embed_dims=100"],
            {"model.embed_dim": 100, "model.mlp_ratio": 2.5},
        ),
        (["model.backbone.t2t_cfg.use_performer=True"], {"model.tokens": "performer"}),
        (["val_dataloader.dataset.data_root=/a"], {"data.val": "/a/val"}),
        (["val_dataloader.dataset.data_root=/a", "test_dataloader.dataset.data_root=/b"], {"data.val": "/b/val"}),
        (
            [f"{name}_dataloader.dataset.data_root=elsewhere/" for name in ("train", "val", "test")],
            {"data.root": "elsewhere/"},
        ),
        (["train_dataloader.dataset.data_root=/a"], {"data.root": "/a", "data.val": f"{Path.cwd()}/data/imagenet/val"}),
        (
            ["val_dataloader.dataset.data_root=/b", "train_dataloader.dataset.data_root=/a"],
            {"data.root": "/a", "data.val": "/b/val"},
        ),
        (["default_hooks.checkpoint.max_keep_ckpts=1"], {"runtime.keep_checkpoints": 1}),
        (["default_hooks.checkpoint.max_keep_ckpts=-1"], {"runtime.keep_checkpoints": None}),
        (["runtime.keep_checkpoints=none"], {"runtime.keep_checkpoints": None}),
        (["train_cfg.val_interval=1"], {}),
        (
            ["train_cfg.val_interval=5", "default_hooks.checkpoint.interval=5"],
            {"runtime.checkpoint_interval": 5},
        ),
        (["val_cfg=None"], {"runtime.validate": False}),
        (["data_preprocessor.to_rgb=True", "optim_wrapper.loss_scale=dynamic"], {}),
        (["default_hooks.checkpoint.save_best=auto"], {}),
        (
            ["optim_wrapper.dtype=bfloat16", "optim_wrapper.type=AmpOptimWrapper"],
            {"runtime.precision": "bfloat16"},
        ),
        (["runtime.precision=float16", "optim_wrapper.type=OptimWrapper"], {}),
        (["env_cfg.cudnn_benchmark=True", "default_scope=mmpretrain", "visualizer.type=X"], {}),
    ],
)
def test_mmpretrains_name_in_its_own_unit(options, change):
    assert changed(*options) == change


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("work_dir=x", "work_dir cannot be set here; give --work-dir DIR"),
        ("resume=True", "resume cannot be set here; give --resume"),
        ("val_dataloader.batch_size=9", "val_dataloader.batch_size cannot be set here; evaluation has the batches of"),
        ("optim_wrapper.type=Apex", "optim_wrapper.type is 'Apex'; expected OptimWrapper or AmpOptimWrapper"),
        ("data_preprocessor.mean=grey", "data_preprocessor.mean is 'grey'; expected a number for each channel"),
        ("val_dataloader.dataset.data_root=5", "val_dataloader.dataset.data_root is 5; expected a folder"),
        ("train_cfg.val_interval=10", "each checkpoint is evaluated here: set default_hooks.checkpoint.interval"),
        ("data_preprocessor.to_rgb=False", "data_preprocessor.to_rgb is False; images are RGB here"),
        ("val_cfg=3", "val_cfg is 3; expected None, which turns evaluation off"),
        ("param_scheduler.1.end=9", "set schedule.cooldown_epochs"),
        ("default_hooks.checkpoint.max_keep_ckpts=x", "runtime.keep_checkpoints is 'x'; expected"),
        ("custom_hooks.0.momentum=slow", "ema.decay is 'slow'; expected a valid number"),
        ("custom_hooks.0.momentun=0.1", "Did you mean 'custom_hooks.0.momentum'"),
    ],
)
def test_mmpretrains_name_that_cannot_be_set_says_what_to_do(option, message):
    with pytest.raises(ConfigError) as caught:
        apply_overrides(EXPERIMENT, [option])
    assert str(caught.value).startswith("--cfg-options: ")
    assert message in str(caught.value)


def test_mmpretrains_names_stand_for_settings_that_exist():
    for name in DOTTED_NAMES.values():
        section, _, key = name.partition(".")
        assert key in known_keys([section]), name


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("optimizer.lr", "got 'optimizer.lr'; expected key=value, such as optimizer.lr=1e-3"),
        ("=3", "got '=3'; expected key=value"),
        ("lr=3", "unknown setting 'lr'. Did you mean 'optimizer.lr'?"),
        ("optimizer.lrr=3", "unknown setting 'optimizer.lrr'. Did you mean 'optimizer.lr'"),
        ("schedule.lr=3", "unknown setting 'schedule.lr'. Did you mean 'optimizer.lr'?"),
        ("optimizer.lr.x=3", "unknown setting 'optimizer.lr.x'. Did you mean 'optimizer.lr'"),
        ("train_cfg.max_epoch=3", "unknown setting 'train_cfg.max_epoch'. Did you mean 'train_cfg.max_epochs' or"),
        ("model=3", "unknown setting 'model'."),
        ("model.=3", "unknown setting 'model.'."),
        ("a.b.c=3", "unknown setting 'a.b.c'."),
        ("optimizer.lr=fast", "optimizer.lr is 'fast'; expected a valid number"),
        ("optimizer.lr=", "optimizer.lr is ''; expected a valid number"),
        ("schedule.epochs=true", "schedule.epochs is True; expected a valid integer"),
        ("schedule.epochs=2.5", "schedule.epochs is 2.5; expected a valid integer"),
        ("optimizer.betas=0.9", "optimizer.betas is 0.9; expected a valid tuple"),
        ("data.root=5", "data.root is 5; expected a valid string"),
        ("data.dataset=cifar", "data.dataset is 'cifar'; expected 'image_folder', 'digits', 'cifar10'"),
        ("optim_wrapper.optimizer.lr=-1", "optimizer.lr is -1; expected greater than 0"),
    ],
)
def test_wrong_option_is_told_in_one_line(option, message):
    with pytest.raises(ConfigError) as caught:
        apply_overrides(EXPERIMENT, [option])
    assert str(caught.value).startswith("--cfg-options")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_batch_that_cannot_be_mixed_is_refused_only_where_it_is_mixed():
    assert changed("data.batch_size=63") == {"data.batch_size": 63}
    with pytest.raises(ConfigError, match=r"data\.batch_size is 63; Mixup and CutMix pair images"):
        apply_overrides(Experiment(data=Data(batch_size=64)), ["train_dataloader.batch_size=63"])


# --- backbone=dict(...), head=dict(...) ---


def test_model_settings_of_mmpretrains_backbone_and_head():
    backbone = {
        "type": "T2T_ViT", "img_size": 96, "in_channels": 1, "embed_dims": 192, "num_layers": 5, "drop_path_rate": 0.2,
        "t2t_cfg": {"token_dims": 32}, "layer_cfgs": {"num_heads": 4}, "out_type": "raw", "out_indices": [0, 1],
    }  # fmt: skip
    assert model_settings("backbone", backbone) == {
        "img_size": 96, "in_chans": 1, "embed_dim": 192, "depth": 5, "drop_path_rate": 0.2, "token_dim": 32,
        "num_heads": 4, "out_type": "raw", "out_indices": [0, 1],
    }  # fmt: skip
    head = {
        "type": "VisionTransformerClsHead", "num_classes": 10, "in_channels": 384, "topk": (1, 5),
        "loss": {"type": "LabelSmoothLoss", "label_smooth_val": 0.1, "mode": "original"},
    }  # fmt: skip
    assert model_settings("head", head) == {"num_classes": 10}


def test_unknown_model_setting_names_the_nearest():
    with pytest.raises(ConfigError, match=r"backbone has no setting 'embed_dim'. Did you mean 'embed_dims'"):
        model_settings("backbone", {"embed_dim": 3})


@pytest.mark.parametrize("text", ['{{"blocks": 0.1}}', "(" * 10_000 + ")" * 10_000, "{[1]: 2}"])
def test_what_reads_like_no_value_is_a_text(text):
    assert parse_value(text) == text
