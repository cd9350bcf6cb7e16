"""The memory of a loading process does not grow with the images that it has loaded."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from t2t_vit.config import Augmentation
from t2t_vit.data.augment import Augment
from t2t_vit.data.loaders import training_loader
from t2t_vit.data.preprocess import Preprocess
from t2t_vit.data.samplers import TrainingBatches
from t2t_vit.data.sets.folders import ImageFolder
from t2t_vit.data.views import TrainingSet

VIEW = (
    "crop_scale", "crop_ratio", "hflip", "interpolation", "rand_augment", "erase_prob", "erase_area", "rotate",
    "translate",
)  # fmt: skip
FIRST, LATER = 2_000, 6_000


def resident_kib(process):
    status = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_does_not_grow_over_thousands_of_images(tmp_path):
    (tmp_path / "noise").mkdir()
    for number in range(50):
        coarse = np.random.RandomState(number).randint(0, 256, (30, 40, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((500, 375)).save(tmp_path / "noise" / f"{number}.jpg")
    preprocess = Preprocess((224, 224), 248, "bicubic", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    augment = Augment(preprocess, **{name: getattr(Augmentation(), name) for name in VIEW})
    loader = training_loader(
        TrainingSet(ImageFolder(tmp_path), augment, seed=0),
        TrainingBatches(50, 50, seed=0),
        num_workers=1, pin_memory=False, persistent_workers=True,
    )  # fmt: skip
    sizes = {}
    for epoch in range(LATER // 50):
        for _ in loader.from_step(epoch, 0):
            if (epoch + 1) * 50 in (FIRST, LATER):
                sizes[epoch] = resident_kib(loader._batches._workers[0].pid)
    loader.close()
    first, later = sizes.values()
    # What the largest images of an epoch need differs by some MiB; a leak of 4 KiB an image would make 16.
    assert later - first < 12 * 1024
