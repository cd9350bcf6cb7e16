"""Images as the loaders see them."""

from __future__ import annotations

import os
import sys

import pytest
import torch
from PIL import Image

from t2t_vit.data.augment import Augment
from t2t_vit.data.preprocess import Preprocess
from t2t_vit.data.samplers import SampleKey
from t2t_vit.data.sets.digits import Digits
from t2t_vit.data.sets.folders import ImageFolder
from t2t_vit.data.views import BadImage, EvaluationSet, TrainingSet


def test_evaluation_set_gives_picture_label_and_index(tmp_path):
    for grey, name in enumerate(("cat", "dog")):
        (tmp_path / name).mkdir()
        Image.new("RGB", (6, 4), (grey, grey, grey)).save(tmp_path / name / "1.png")
    images = ImageFolder(tmp_path)
    preprocess = Preprocess((4, 4), None, "bicubic", (0.5,), (0.5,))
    dataset = EvaluationSet(images, preprocess)
    view = dataset[1]
    assert (len(dataset), view.label, view.number, view.name) == (2, 1, 1, str(tmp_path / "dog" / "1.png"))
    torch.testing.assert_close(view.image, torch.full((1, 4, 4), (1 / 255 - 0.5) / 0.5))


def test_picture_too_narrow_to_be_evaluated_is_a_bad_image_with_its_name(tmp_path):
    path = tmp_path / "cat" / "narrow.png"
    path.parent.mkdir()
    Image.new("L", (1, 100_000)).save(path)
    bad = EvaluationSet(ImageFolder(tmp_path), Preprocess((64, 64), None, "bicubic", (0.5,), (0.5,)))[0]
    assert isinstance(bad, BadImage)
    assert bad.name == str(path)
    assert bad.reason.startswith(f"{path}: A picture of height 100000 and width 1 is too narrow")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has file names of any bytes")
def test_reason_is_printable_whatever_the_name_of_the_file(tmp_path):
    (tmp_path / "cat").mkdir()
    path = os.fsencode(tmp_path / "cat") + b"/\xff\xfe.png"
    with open(path, "wb") as file:  # noqa: PTH123 -- a name that is no text
        file.write(b"no picture")
    bad = EvaluationSet(ImageFolder(tmp_path), Preprocess((64, 64), None, "bicubic", (0.5,), (0.5,)))[0]
    assert bad.name == os.fsdecode(path)
    assert r"\udcff\udcfe.png is not an image" in bad.reason
    bad.reason.encode("utf-8")


def test_training_set_gives_view_and_label():
    preprocess = Preprocess((16, 16), None, "bicubic", (0.5,), (0.5,))
    augment = Augment(
        preprocess, crop_scale=(0.5, 1.0), crop_ratio=(0.8, 1.25), hflip=0.5, interpolation="bicubic",
        rand_augment=None, erase_prob=0.5, erase_area=(0.02, 0.3), rotate=10.0, translate=0.1,
    )  # fmt: skip
    dataset = TrainingSet(Digits("train"), augment, seed=0)
    view = dataset[SampleKey(epoch=0, image=4)]
    assert (len(dataset), view.image.shape, view.image.dtype) == (1438, (1, 16, 16), torch.uint8)
    assert (view.label, view.number, view.bad) == (5, 4, [])
