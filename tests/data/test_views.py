"""Images as the loaders see them."""

from __future__ import annotations

import torch
from PIL import Image

from t2t_vit.data.augment import Augment
from t2t_vit.data.preprocess import Preprocess
from t2t_vit.data.samplers import SampleKey
from t2t_vit.data.sets.digits import Digits
from t2t_vit.data.sets.folders import ImageFolder
from t2t_vit.data.views import EvaluationSet, TrainingSet


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
