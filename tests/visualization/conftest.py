"""What the tests of pictures share: reading a picture back."""

import base64
import html
import io
import re

import numpy as np
import pytest
from PIL import Image

#: Names that pictures have had trouble with: mathtext, line breaks, scripts and emoji without a glyph, length.
AWKWARD_NAMES = [
    "$x_1$",
    "_hidden",
    "100 % {brace} $\\frac$",
    "two\nlines\tand a tab",
    "虎猫",
    "👩‍🚀 astronaut ❤️",
    "cafe\u0301",
    "\udce9 from a folder",
    "",
    "an endless name, " * 40,
]


@pytest.fixture
def awkward_names():
    return AWKWARD_NAMES


@pytest.fixture
def texts_of():
    """Return the texts of an SVG picture, in the order they were drawn."""

    def read(path):
        return [html.unescape(text) for text in re.findall(r"<!-- (.*?) -->", path.read_text("utf-8"), re.DOTALL)]

    return read


@pytest.fixture
def rasters_of():
    """Return the pixel images (H, W, 4) embedded in an SVG picture, in the order they were drawn."""

    def read(path):
        found = re.findall(r"data:image/png;base64,\s*([^\"]+)\"", path.read_text("utf-8"))
        images = [Image.open(io.BytesIO(base64.b64decode(one))).convert("RGBA") for one in found]
        return [np.array(image)[::-1] for image in images]  # matplotlib embeds them upside down

    return read
