"""Folds and fractions share out the images, class by class."""

from __future__ import annotations

from collections import Counter

import pytest

from t2t_vit.config import Data
from t2t_vit.data.sets.digits import Digits
from t2t_vit.data.sets.image_set import ImageSet
from t2t_vit.data.sets.splits import fold_of, fraction_of
from t2t_vit.errors import ConfigError, DatasetError
from t2t_vit.run import open_images


@pytest.fixture(scope="module")
def digits():
    return Digits("train")


def test_each_image_is_held_out_once_and_trained_on_otherwise(digits):
    held_out = [fold_of(digits, 5, fold, "val") for fold in range(5)]
    assert sorted(index for part in held_out for index in part.indices) == list(range(len(digits)))
    for fold, part in enumerate(held_out):
        rest = fold_of(digits, 5, fold, "train")
        assert sorted([*rest.indices, *part.indices]) == list(range(len(digits)))


def test_folds_have_their_share_of_every_class(digits):
    whole = Counter(digits.labels)
    for fold in range(5):
        part = Counter(fold_of(digits, 5, fold, "val").labels)
        assert all(abs(part[label] - count / 5) < 1 for label, count in whole.items())


def test_folds_are_always_the_same_and_not_in_order(digits):
    first = fold_of(digits, 5, 0, "val").indices
    assert first == fold_of(Digits("train"), 5, 0, "val").indices
    assert first != list(range(0, len(digits), 5))


def test_part_shows_the_whole_sets_pictures(digits):
    part = fold_of(digits, 3, 1, "val")
    index = part.indices[4]
    assert part.labels[4] == digits.labels[index]
    assert part.name(4) == digits.name(index)
    assert part.load(4, "L").tobytes() == digits.load(index, "L").tobytes()
    assert part.classes == digits.classes
    assert len(part) == len(part.indices)


def test_data_with_folds_is_split_from_the_training_images(digits):
    train, val = (open_images(Data(dataset="digits", num_folds=4, fold=3), split) for split in ("train", "val"))
    assert len(train) + len(val) == len(digits)
    assert not {train.name(i) for i in range(len(train))} & {val.name(i) for i in range(len(val))}


def test_fewer_images_than_folds_are_refused(digits):
    with pytest.raises(DatasetError, match="1438 training images cannot be split into 2000 folds"):
        fold_of(digits, 2000, 0, "val")


@pytest.mark.parametrize("settings", [{"fold": 1}, {"num_folds": 3, "fold": 3}, {"num_folds": 1}])
def test_fold_that_does_not_exist_is_refused(settings, tmp_path):
    from t2t_vit.config.validation import validate_experiment

    with pytest.raises(ConfigError, match=r"data\.(fold|num_folds)"):
        validate_experiment({"data": settings}, "test")


def test_fraction_holds_out_its_part_of_every_class(digits):
    train, val = (fraction_of(digits, 0.1, split) for split in ("train", "val"))
    assert sorted([*train.indices, *val.indices]) == list(range(len(digits)))
    held_out = Counter(val.labels)
    assert all(held_out[label] == round(count / 10) for label, count in Counter(digits.labels).items())
    assert val.indices == fraction_of(Digits("train"), 0.1, "val").indices
    assert val.indices != list(range(len(val)))


def test_fraction_of_few_images_leaves_some_on_either_side():
    train, val = (fraction_of(Labels([0, 0, 1, 1, 1, 2]), 0.9, split) for split in ("train", "val"))
    assert (sorted(train.labels), sorted(val.labels)) == ([0, 1, 2], [0, 1, 1])
    train, val = (fraction_of(Labels([0, 0, 1, 1, 1, 2]), 0.01, split) for split in ("train", "val"))
    assert (sorted(train.labels), sorted(val.labels)) == ([0, 1, 1, 2], [0, 1])
    with pytest.raises(
        DatasetError, match="3 training images of 3 classes cannot be split for validation: no class has two"
    ):
        fraction_of(Labels([0, 1, 2]), 0.5, "val")


def test_data_with_a_fraction_is_split_from_the_training_images(digits):
    train, val = (open_images(Data(dataset="digits", val_fraction=0.25), split) for split in ("train", "val"))
    assert len(train) + len(val) == len(digits)
    assert not {train.name(i) for i in range(len(train))} & {val.name(i) for i in range(len(val))}


class Labels(ImageSet):
    """Labels without pictures."""

    def __init__(self, labels):
        self.labels = labels
        self.classes = tuple("abc")

    def load(self, index, mode):
        raise AssertionError("no picture is needed")

    def name(self, index):
        return str(index)
