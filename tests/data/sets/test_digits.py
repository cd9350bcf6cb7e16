"""Images from scikit-learn's digits."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

from t2t_vit.data.sets.digits import Digits


def test_digits_are_split_as_ever():
    train, val = Digits("train"), Digits("val")
    assert (len(train), len(val)) == (1438, 359)
    assert train.classes == val.classes == tuple("0123456789")
    numbers = {split: [int(images.name(i).split()[1]) for i in range(len(images))] for split, images in
               (("train", train), ("val", val))}  # fmt: skip
    assert numbers["val"] == list(range(4, 1797, 5))
    assert sorted(numbers["train"] + numbers["val"]) == list(range(1797))
    # Counted once; they move if the order or the split does.
    assert np.bincount(val.labels).tolist() == [27, 21, 34, 52, 34, 28, 31, 43, 47, 42]
    assert train.labels[:10] == [0, 1, 2, 3, 5, 6, 7, 8, 0, 1]


def test_digits_are_scikit_learns_pictures_from_black_to_white():
    images = Digits("val")
    pixels, labels = load_digits(return_X_y=True)
    for index in (0, 100, 358):
        picture = images.load(index, "L")
        assert (picture.mode, picture.size) == ("L", (8, 8))
        expected = np.rint(pixels[5 * index + 4].reshape(8, 8) * 255 / 16)
        np.testing.assert_array_equal(np.asarray(picture), expected)
        assert images.labels[index] == labels[5 * index + 4]
    assert images.load(0, "RGB").mode == "RGB"
