"""A setting of the data that does nothing is refused."""

from __future__ import annotations

import pytest

from t2t_vit.config import Data
from t2t_vit.config.validation import validate_experiment
from t2t_vit.errors import ConfigError


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"dataset": "huggingface", "classes": "imagenet"}, "data.classes is 'imagenet' and does nothing"),
        ({"dataset": "huggingface", "train_annotations": "x"}, "choose another data.dataset (image_folder)"),
        ({"dataset": "mnist", "classes_file": "x"}, "data.classes_file is 'x' and does nothing"),
        ({"download": True}, "data.download is True and does nothing where data.dataset is 'image_folder'"),
        ({"config_name": "x"}, "data.config_name is 'x' and does nothing"),
        ({"streaming": True}, "data.streaming is True and does nothing"),
        ({"label_column": "x"}, "data.label_column is 'x' and does nothing without data.train_annotations"),
        ({"dataset": "tar_shards", "image_column": "x"}, "data.image_column is 'x' and does nothing"),
        (
            {"dataset": "tar_shards", "num_images": 5},
            "data.num_images is 5 and does nothing without data.streaming=True",
        ),
        ({"dataset": "tar_shards", "shuffle_buffer": 5}, "data.shuffle_buffer is 5 and does nothing without"),
        ({"dataset": "tar_shards", "streaming": True, "num_folds": 3}, "data.num_folds needs images in any order"),
        (
            {"dataset": "tar_shards", "streaming": True, "val_fraction": 0.1},
            "data.val_fraction needs images in any order",
        ),
        (
            {"dataset": "tar_shards", "streaming": True, "sampling": "balanced"},
            "data.sampling needs images in any order",
        ),
        ({"num_folds": 3, "val_fraction": 0.1}, "data.num_folds is 3 and data.val_fraction 0.1; give one of them"),
        ({"classes": "imagenet", "classes_file": "x"}, "data.classes is 'imagenet', whose names are known"),
        ({"val_fraction": 1.0}, "data.val_fraction is 1.0"),
        ({"dataset": "cifar"}, "data.dataset is 'cifar'; "),
    ],
)
def test_setting_without_effect_is_refused(settings, said):
    with pytest.raises(ConfigError) as caught:
        validate_experiment({"data": settings}, "test")
    assert said in str(caught.value)


def test_settings_that_act_are_taken():
    Data(dataset="cifar100", root="elsewhere", download=True, val_fraction=0.1)
    Data(val_annotations="meta/val.txt", label_column="class", image_column="file")
    Data(dataset="tar_shards", streaming=True, num_images=5, shuffle_buffer=7, label_column="cls", classes="imagenet")
    Data(dataset="huggingface", root="org/set", config_name="x", image_column="img", label_column="fine_label")
