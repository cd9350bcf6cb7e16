"""`--cfg-options` over a config of MMPretrain mean what the same words mean in that file."""

from __future__ import annotations

import json
import logging
import re

import pytest

from t2t_vit.config import experiment_to_dict, load_experiment, override
from t2t_vit.config.mmpretrain.bases import known_base
from t2t_vit.errors import ConfigError

NAME = "t2t-vit-t-14_8xb64_in1k"

# What stands at other places in the lists than in the published config.
CONFIG = f"""
_base_ = 'mmpretrain::t2t_vit/{NAME}.py'
width = 384
model = dict(train_cfg=dict(augments=(dict(type='CutMix', alpha=1.0), )))
param_scheduler = [dict(type='CosineAnnealingLR', eta_min=1e-5, begin=0, end=100)]
train_cfg = dict(max_epochs=100)
optim_wrapper = dict(clip_grad=None, optimizer=dict(eps=width / 384e8))
custom_hooks = [dict(type='EmptyCacheHook'), dict(type='EMAHook', momentum=4e-5)]
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(CONFIG, encoding="utf-8")
    return path


@pytest.fixture
def changed(config):
    """What options change, by dotted name."""

    def changes(*options):
        before, after = (experiment_to_dict(load_experiment(config, given)) for given in ([], options))
        return {
            f"{section}.{name}": value
            for section, settings in after.items()
            for name, value in settings.items()
            if value != before[section][name]
        }

    return changes


@pytest.mark.parametrize(
    ("options", "change"),
    [
        (["model.train_cfg.augments.0.alpha=0.2"], {"augmentation.cutmix": 0.2}),
        (["param_scheduler.0.end=90"], {"schedule.cooldown_epochs": 10, "schedule.cooldown_factor": 1.0}),
        (["param_scheduler.0.eta_min=1e-6", "param_scheduler.0.T_max=100"], {"schedule.min_lr": 1e-6}),
        (["custom_hooks.1.momentum=0.001"], {"ema.decay": 0.999}),
        (["optim_wrapper.dtype=bfloat16", "optim_wrapper.type=AmpOptimWrapper"], {"runtime.precision": "bfloat16"}),
        (["optim_wrapper.type=AmpOptimWrapper", "optim_wrapper.dtype=bfloat16"], {"runtime.precision": "bfloat16"}),
        (["optim_wrapper.type=AmpOptimWrapper", "optim_wrapper.loss_scale=dynamic"], {"runtime.precision": "float16"}),
        (["optim_wrapper.clip_grad.max_norm=5.0"], {"optimizer.clip_grad_norm": 5.0}),
        (["optim_wrapper.clip_grad={'max_norm':1.0}"], {"optimizer.clip_grad_norm": 1.0}),
        (["optim_wrapper.optimizer={'lr':1e-3}"], {"optimizer.lr": 1e-3}),
        (["data_preprocessor.to_rgb=True", "default_hooks.checkpoint.save_best=auto"], {}),
        (["default_hooks.checkpoint.max_keep_ckpts=-1"], {"runtime.keep_checkpoints": None}),
        (["default_hooks.checkpoint.interval=5"], {"runtime.checkpoint_interval": 5}),
        (["val_cfg=None", "val_dataloader=None", "test_dataloader=None"], {"runtime.validate": False}),
        (["val_cfg=None"], {"runtime.validate": False}),
        (["default_scope=other", "env_cfg.cudnn_benchmark=True", "visualizer.type=X"], {}),
        (["load_from=a.pth"], {"model.pretrained": "a.pth"}),
        (
            ["train_dataloader.dataset.data_root=foo"],
            {"data.root": ".", "data.train": "foo/train", "data.val": "data/imagenet/val"},
        ),
        (
            [f"{name}_dataloader.dataset.data_root=foo" for name in ("train", "val", "test")],
            {"data.root": "foo"},
        ),
        (["train_dataloader.dataset.pipeline.2.prob=0.25"], {"augmentation.hflip": 0.25}),
        # This package's own names go beside theirs, and before them.
        (["optimizer.lr=2e-3", "optim_wrapper.optimizer.lr=1e-3"], {"optimizer.lr": 2e-3}),
        (["runtime.seed=3", "train_cfg.max_epochs=100"], {"runtime.seed": 3}),
    ],
)  # fmt: skip
def test_option(options, change, changed):
    assert changed(*options) == change


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("custom_hooks.2.momentum=1", "custom_hooks.2.momentum cannot be set: custom_hooks is a list of 2, counted"),
        ("custom_hooks.last.momentum=1", "and 'last' is none of them"),
        ("custom_hooks.0.momentum=1", "custom_hooks[0] has the setting 'momentum', which is not supported here."),
        ("train_cfg.max_epochs.x=1", "train_cfg.max_epochs.x cannot be set: train_cfg.max_epochs is 100"),
        ("train_cfg.max_epoch=3", "train_cfg has the setting 'max_epoch', which is not supported here. Did you mean"),
        ("width=3", "width changes nothing: width is only a name in the config, and what was made of it is made"),
        ("train_pipeline.1.scale=3", "train_pipeline.1.scale changes nothing"),
        ("lr=3", "unknown setting 'lr'. Did you mean 'optimizer.lr'?"),
        ("optim_wraper.dtype=float16", "unknown setting 'optim_wraper.dtype'. Did you mean 'optim_wrapper.dtype'"),
        ("data.samples_per_gpu=3", "unknown setting 'data.samples_per_gpu'."),
        ("work_dir=x", "work_dir cannot be set here; give --work-dir DIR"),
        ("val_dataloader.batch_size=9", "evaluation has the batches of training"),
        ("optim_wrapper.optimizer.lr=-1", "with --cfg-options: optimizer.lr is -1; expected greater than 0"),
        ("default_hooks.logger.interval=-1", "with --cfg-options: default_hooks.logger.interval is -1; expected"),
        ("optimizer.lr", "got 'optimizer.lr'; expected key=value"),
    ],
)  # fmt: skip
def test_wrong_option_is_told_in_one_line(option, message, config):
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        load_experiment(config, [option])
    assert "--cfg-options" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_interval_of_validation_means_the_same_in_a_file_and_as_an_option(config, caplog):
    with caplog.at_level(logging.WARNING):
        by_option = load_experiment(config, ["train_cfg.val_interval=10"])
    config.write_text(CONFIG + "train_cfg['val_interval'] = 10", encoding="utf-8")
    assert load_experiment(config) == by_option
    assert by_option.runtime.checkpoint_interval == 1
    assert "default_hooks.checkpoint.interval counts, 1" in caplog.text


def test_values_as_json_take_options_too(tmp_path):
    path = tmp_path / "dumped.json"
    path.write_text(json.dumps(known_base(f"t2t_vit/{NAME}.py")), encoding="utf-8")
    assert load_experiment(path, ["param_scheduler.1.eta_min=1e-6"]).schedule.min_lr == 1e-6


def test_config_of_our_own_takes_options(tmp_path):
    path = tmp_path / "ours.py"
    path.write_text("from t2t_vit.config import Experiment\nexperiment = Experiment()", encoding="utf-8")
    assert load_experiment(path, ["param_scheduler.1.eta_min=1e-6", "data.root=x"]).schedule.min_lr == 1e-6


def test_run_that_goes_on_takes_options_as_its_config_means_them(config):
    run = load_experiment(config, ["optimizer.lr=3e-3"])
    options = ["model.train_cfg.augments.0.alpha=0.2", "runtime.seed=4"]
    going_on = override(run, config, options)
    assert (going_on.augmentation.cutmix, going_on.augmentation.mixup, going_on.runtime.seed) == (0.2, 0.0, 4)
    assert going_on.optimizer.lr == 3e-3


def test_run_of_our_own_config_takes_options(tmp_path):
    run = load_experiment(NAME, ["optimizer.lr=3e-3"])
    assert override(run, NAME, ["optim_wrapper.optimizer.lr=1e-4"]).optimizer.lr == 1e-4
