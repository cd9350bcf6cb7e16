"""Pictures with what was predicted for them: a grid of many, or one with a caption."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from matplotlib.axes import Axes
from PIL import Image, ImageDraw, ImageFont

from t2t_vit.data.decode import MAX_PIXELS, from_pil
from t2t_vit.errors import ConfigError, ImageError
from t2t_vit.visualization.canvas import VERMILLION, drawing
from t2t_vit.visualization.lettering import best_family, font_file, printable, shorten

_TILE_INCHES: Final = 1.5
_TILE_PIXELS: Final = 240  # what a tile has at the resolution of our files
_TEXT_COLUMNS: Final = 20

_CAPTION_WIDTH: Final = 224  # pixels, at least
_CAPTION_INK, _CAPTION_GROUND = "#FFFFFF", "#1A1A1A"


def plot_predictions(
    images: Sequence[Image.Image],
    labels: Sequence[int] | None,
    predictions: Sequence[int],
    scores: Sequence[float],
    classes: Sequence[str],
    out: Path,
    *,
    limit: int = 40,
) -> Path:
    """Draw a grid of pictures, each with its predicted class and score.

    Where the true classes are known, wrong predictions come first, the surest of them foremost, and are
    marked with a cross, a frame and the true class.

    Args:
        images: The pictures, of any size and mode.
        labels: Their true classes, or None if they are not known.
        predictions: Their predicted classes.
        scores: The probabilities of the predicted classes, 0 to 1.
        classes: Names of all classes.
        out: The picture: PNG, PDF or SVG by its suffix.
        limit: How many to show at most. The title counts all of them.

    Returns:
        `out`.

    Raises:
        ConfigError: The sequences are empty or of different lengths, a class has no name, or the suffix is
            unknown.
        ImageError: A picture cannot be shown.
    """
    _check(classes, limit, images=images, labels=labels, predictions=predictions, scores=scores)
    truth = predictions if labels is None else labels
    right = [predicted == true for predicted, true in zip(predictions, truth, strict=True)]
    order = sorted(range(len(images)), key=lambda i: (right[i], 0 if right[i] else -scores[i]))[:limit]
    num_columns = min(len(order), max(4, math.ceil(math.sqrt(1.6 * len(order)))))
    num_rows = math.ceil(len(order) / num_columns)
    width, height = num_columns * _TILE_INCHES, num_rows * (_TILE_INCHES + 0.35) + 0.5
    with drawing(out, width, height) as figure:
        figure.suptitle(_headline(right, len(order), is_known=labels is not None))
        tiles = list(figure.subplots(num_rows, num_columns, squeeze=False).flat)
        for axes in tiles:
            axes.set_axis_off()
        for axes, i in zip(tiles, order, strict=False):
            _draw_tile(axes, images[i])
            predicted, score = shorten(classes[predictions[i]], _TEXT_COLUMNS), f"{100 * scores[i]:.1f} %"
            if labels is None:
                axes.set_title(f"{predicted}\n{score}", loc="center", fontsize=8)
            elif right[i]:
                axes.set_title(f"✓ {predicted}\n{score}", loc="center", fontsize=8)
            else:
                true = shorten(classes[truth[i]], _TEXT_COLUMNS - 4)
                axes.set_title(f"✗ {predicted}\n{score}", loc="center", fontsize=8, color=VERMILLION)
                _frame(axes, f"true: {true}")
    return out


def draw_prediction(image: Image.Image, text_lines: Sequence[str]) -> Image.Image:
    """Return `image` with lines of text on a dark strip under it.

    The pixels of the picture stay as they are, except that one smaller than the narrowest strip is enlarged
    by a whole factor. The letters grow with the picture; lines too long for it are cut.

    Args:
        image: The picture, of any size and mode.
        text_lines: What to write, from the top.

    Returns:
        A new picture, RGB.

    Raises:
        ImageError: The picture cannot be shown.
    """
    image = from_pil(image)
    factor = max(1, _CAPTION_WIDTH // max(image.size))
    return caption(image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST), text_lines)


def score_line(predicted_class: str, score: float) -> str:
    """Return a class with its score, from 0 to 1; the score first, as a name too long for the picture is cut."""
    return f"{100 * score:.1f} % · {predicted_class}"


def caption(image: Image.Image, text_lines: Sequence[str]) -> Image.Image:
    """Return `image`, whatever its size, with lines of text on a dark strip under it.

    Args:
        image: The picture, RGB. One narrower than the narrowest strip stands in the middle above it.
        text_lines: What to write, from the top.
    """
    width = max(image.width, _CAPTION_WIDTH)
    size = max(14, width // 32)  # pixels
    line_height, margin = round(1.35 * size), size // 2
    strip = line_height * len(text_lines) + 2 * margin if text_lines else 0
    sheet = Image.new("RGB", (width, image.height + strip), _CAPTION_GROUND)
    sheet.paste(image, ((width - image.width) // 2, 0))
    pen = ImageDraw.Draw(sheet)
    for row, line in enumerate(text_lines):
        family = best_family(line)
        font = ImageFont.truetype(font_file(family), size)
        text = _fit(printable(line, among=[family]), font, width - 2 * margin)
        pen.text((margin, image.height + margin + row * line_height), text, fill=_CAPTION_INK, font=font)
    return sheet


def rescale(image: Image.Image, factor: float) -> Image.Image:
    """Return `image`, RGB, with its sides multiplied by `factor`, at least one pixel each.

    Raises:
        ImageError: The picture cannot be shown, or would have more than `MAX_PIXELS`.
    """
    image = from_pil(image)
    width, height = (max(1, round(side * factor)) for side in image.size)
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"a picture of {image.width} x {image.height} pixels would become {width} x {height}; rescale it by less"
        )
    return image.resize((width, height), Image.Resampling.BICUBIC)


def _check(classes: Sequence[str], limit: int, **sequences: Sequence[Any] | None) -> None:
    lengths = {name: len(values) for name, values in sequences.items() if values is not None}
    if len(set(lengths.values())) > 1 or not all(lengths.values()):
        counts = ", ".join(f"{length} {name}" for name, length in lengths.items())
        raise ConfigError(f"got {counts}; expected as many of each, at least one")
    for name, values in sequences.items():
        for i in values if values is not None and name in {"predictions", "labels"} else ():
            if not 0 <= i < len(classes):
                raise ConfigError(f"{name} has class {i}; expected 0 to {len(classes) - 1}: {len(classes)} have names")
    if limit < 1:
        raise ConfigError(f"limit is {limit}; expected 1 or more")


def _headline(right: Sequence[bool], num_shown: int, is_known: bool) -> str:
    num_images, num_right = len(right), sum(right)
    shown = f"; {num_shown} shown" if num_shown < num_images else ""
    if not is_known:
        return f"{num_images:,} predictions{shown}"
    order = ", wrong ones first" if 0 < num_right < num_images else ""
    return f"{num_right:,} of {num_images:,} right ({100 * num_right / num_images:.1f} %){shown}{order}"


def _draw_tile(axes: Axes, image: Image.Image) -> None:
    image = from_pil(image)
    image.thumbnail((_TILE_PIXELS, _TILE_PIXELS))
    axes.imshow(image, interpolation="nearest" if max(image.size) < _TILE_PIXELS / 2 else "antialiased")


def _frame(axes: Axes, text: str) -> None:
    axes.set_axis_on()
    axes.set(xticks=[], yticks=[])
    axes.set_xlabel(text, fontsize=8, color=VERMILLION)
    axes.spines[:].set(visible=True, color=VERMILLION, linewidth=3)


def _fit(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """Return `text`, cut with "…" where it is wider than `width` pixels."""
    if font.getlength(text) <= width:
        return text

    def width_of(length: int) -> int:
        return math.ceil(font.getlength(text[:length] + "…"))

    kept = bisect_right(range(len(text)), width, key=width_of) - 1
    return text[: max(0, kept)].rstrip() + "…"
