"""A set's fingerprint tells another set, and knows the same one elsewhere."""

from __future__ import annotations

import os
import time

import pytest
from PIL import Image

from t2t_vit.data.sets.annotations import AnnotatedImages
from t2t_vit.data.sets.digits import Digits
from t2t_vit.data.sets.folders import ImageFolder
from t2t_vit.data.sets.image_set import ImageSet
from t2t_vit.data.sets.splits import fold_of


class Named(ImageSet):
    """Names and labels without pictures."""

    def __init__(self, names, labels, classes=("a", "b")):
        self.names, self.labels, self.classes = names, labels, classes

    def load(self, index, mode):
        raise AssertionError("no picture is needed")

    def name(self, index):
        return self.names[index]


BASE = Named(["x", "y", "z"], [0, 1, 0])


def test_fingerprint_never_moves():
    """Checkpoints hold it."""
    assert BASE.fingerprint() == Named(["x", "y", "z"], [0, 1, 0]).fingerprint() == "7d5615ab7a3678f8"


@pytest.mark.parametrize(
    "other",
    [
        Named(["x", "z", "y"], [0, 1, 0]), Named(["x", "y", "z"], [1, 0, 0]), Named(["x", "y"], [0, 1]),
        Named(["x", "y", "z"], [0, 1, 0], ("b", "a")), Named(["x", "y", "w"], [0, 1, 0]),
        Named(["x0", "y", "z"], [0, 1, 0]),
    ],
)  # fmt: skip
def test_another_set_has_another_fingerprint(other):
    assert other.fingerprint() != BASE.fingerprint()


def test_moved_folder_is_the_same_set(tmp_path, monkeypatch):
    for path in ("here/cat/1.png", "here/cat/deep/2.png", "here/dog/1.png"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (3, 2)).save(tmp_path / path)
    (tmp_path / "list.txt").write_text("cat/1.png 0\ndog/1.png 1\n", encoding="utf-8")
    before = ImageFolder(tmp_path / "here").fingerprint(), AnnotatedImages(tmp_path / "list.txt", tmp_path / "here")
    listed = before[1].fingerprint()
    (tmp_path / "here").rename(tmp_path / "there")
    assert ImageFolder(tmp_path / "there").fingerprint() == before[0] != listed
    assert AnnotatedImages(tmp_path / "list.txt", tmp_path / "there").fingerprint() == listed
    monkeypatch.chdir(tmp_path)
    assert ImageFolder("there/").fingerprint() == before[0]
    (tmp_path / "there/cat/1.png").rename(tmp_path / "there/cat/3.png")
    assert ImageFolder("there").fingerprint() != before[0]


def test_folds_differ():
    digits = Digits("train")
    assert len({fold_of(digits, 3, fold, split).fingerprint() for fold in range(3) for split in ("train", "val")}) == 6


def test_names_that_are_no_text_have_one():
    assert Named([os.fsdecode(b"caf\xe9.jpg")], [0]).fingerprint() != Named(["cafe.jpg"], [0]).fingerprint()


def test_a_million_names_take_seconds():
    count = 300_000
    images = Named([f"n01440764/{number:08d}.JPEG" for number in range(count)], [number % 2 for number in range(count)])
    started = time.process_time()
    images.fingerprint()
    assert time.process_time() - started < 3  # 0.2 s where nobody else computes
