"""JPEGs of 500×375 pixels, as ImageNet's are, cropped from scikit-learn's two photographs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images


def write_photographs(folder: Path, count: int) -> None:
    """Write `count` JPEGs of qualities 85, 90 and 95 into a class folder of `folder`."""
    photographs = [Image.fromarray(pixels) for pixels in load_sample_images().images]
    draw = np.random.RandomState(0)
    (folder / "photograph").mkdir(parents=True)
    for number in range(count):
        photograph = photographs[number % len(photographs)]
        width = draw.randint(200, int(photograph.height * 4 / 3) + 1)
        height = width * 3 // 4
        left = draw.randint(0, photograph.width - width + 1)
        top = draw.randint(0, photograph.height - height + 1)
        picture = photograph.resize((500, 375), Image.Resampling.BICUBIC, box=(left, top, left + width, top + height))
        if draw.rand() < 0.5:
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        picture.save(folder / "photograph" / f"{number:05}.jpg", quality=int(draw.choice([85, 90, 95])))
