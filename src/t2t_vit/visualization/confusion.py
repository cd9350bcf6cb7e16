"""What is taken for what: the confusion matrix of a classifier.

K classes; rows are the true classes, columns the predicted ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from t2t_vit.errors import ConfigError, DatasetError
from t2t_vit.visualization.canvas import GREY, drawing
from t2t_vit.visualization.lettering import shorten

_MATRIX_INCHES: Final = 6.6
_MOST_CLASSES_WITH_COUNTS: Final = 20
_MOST_CLASSES_WITH_NAMES: Final = 50
_MOST_CELLS: Final = 200  # a side
_NUM_CONFUSIONS: Final = 12


def plot_confusion_matrix(matrix: ArrayLike, classes: Sequence[str], out: Path) -> Path:
    """Draw a confusion matrix, with the most frequent confusions in words beside it.

    A cell's colour is its share of the row, so that rare classes count as much as frequent ones. Up to 20
    classes the cells say how many images they stand for, up to 50 the axes name the classes, beyond that they
    number them; beyond 200 neighbouring classes share a cell.

    Args:
        matrix: How many images of each true class (row) were predicted as each class (column), (K, K).
        classes: The K names.
        out: The picture: PNG, PDF or SVG by its suffix.

    Returns:
        `out`.

    Raises:
        ConfigError: The matrix is not (K, K), holds something else than counts, or the suffix is unknown.
        DatasetError: No image has been counted.
    """
    counts = _check(matrix, len(classes))
    num_images, num_correct = int(counts.sum()), int(np.trace(counts))
    inches = min(_MATRIX_INCHES, max(2.6, 0.66 * len(classes)))
    with drawing(out, width=inches, height=inches) as figure:
        # Places in units of the matrix, without a layout engine: cells keep their size whatever the names.
        figure.set_layout_engine("none")
        axes = figure.add_axes((0, 0, 1, 1))
        bar_axes = figure.add_axes((1 + 0.2 / inches, 0, 0.18 / inches, min(1, 3.6 / inches)))
        list_axes = figure.add_axes((1 + 1.3 / inches, 0, 1 / inches, 1))
        share = f"{100 * num_correct / num_images:.2f} %"
        title = f"{share} of {num_images:,} images classified correctly"
        axes.set_title(title, size=13, weight="bold", pad=12)
        shades = _draw_cells(axes, counts)
        bar = figure.colorbar(shades, cax=bar_axes, ticks=[0, 1, 5, 10, 25, 50, 75, 100])
        bar.set_label("share of the images of a true class (%)")
        bar.outline.set_visible(False)
        _label_axes(axes, classes, inches)
        if len(classes) <= _MOST_CLASSES_WITH_COUNTS:
            _write_counts(axes, counts, inches)
        _list_confusions(list_axes, counts, classes, inches)
    return out


def _check(matrix: ArrayLike, num_classes: int) -> NDArray[np.int64]:
    counts = np.asarray(matrix)
    if counts.shape != (num_classes, num_classes):
        raise ConfigError(
            f"the confusion matrix has shape {counts.shape}; expected {(num_classes, num_classes)} for the "
            f"{num_classes} classes named"
        )
    if not np.issubdtype(counts.dtype, np.integer) or (counts < 0).any():
        raise ConfigError(
            f"the confusion matrix holds {counts.dtype} values from {counts.min()}; expected counts: integers from 0"
        )
    if not counts.any():
        raise DatasetError("the confusion matrix is all zeros: no image has been counted; evaluate some first")
    return counts.astype(np.int64)


def _draw_cells(axes: Axes, counts: NDArray[np.int64]) -> AxesImage:
    # Of a thousand classes a cell would be a pixel, and a confusion invisible: neighbouring classes share a
    # cell.
    size = math.ceil(len(counts) / _MOST_CELLS)
    starts = np.arange(0, len(counts), size)
    cells = np.add.reduceat(np.add.reduceat(counts, starts, axis=0), starts, axis=1)
    if size > 1:
        note = f"a cell: {size} × {size} classes"
        axes.annotate(note, (1, 1), (0, 3), "axes fraction", "offset points", ha="right", color=GREY)
    # The square root lets a confusion of 1 % be seen beside a diagonal of 99 %.
    norm = PowerNorm(0.5, vmin=0, vmax=100)
    colours = matplotlib.colormaps["Blues"].with_extremes(bad="#E4E4E4")
    end = len(cells) * size - 0.5
    shades = axes.imshow(
        _percent(cells), cmap=colours, norm=norm, interpolation="nearest", extent=(-0.5, end, end, -0.5)
    )
    axes.set(xlim=(-0.5, len(counts) - 0.5), ylim=(len(counts) - 0.5, -0.5))
    return shades


def _percent(counts: NDArray[np.int64]) -> np.ma.MaskedArray[Any, np.dtype[np.float64]]:
    """Return each count's share of its row in percent; a row of zeros is masked."""
    totals = counts.sum(axis=1, keepdims=True)
    return np.ma.masked_array(100 * counts / totals.clip(1), np.broadcast_to(totals == 0, counts.shape))


def _label_axes(axes: Axes, classes: Sequence[str], inches: float) -> None:
    num_classes = len(classes)
    axes.spines[:].set_visible(False)
    if num_classes > _MOST_CLASSES_WITH_NAMES:
        axes.set(xlabel="predicted class (number)", ylabel="true class (number)")
        axes.xaxis.set_major_locator(MaxNLocator(10, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(10, integer=True))
        return
    axes.set(xlabel="predicted class", ylabel="true class")
    names = [shorten(name, 22) for name in classes]
    points_per_class = 72 * inches / num_classes
    size = min(9.5, 0.75 * points_per_class)
    is_upright = max(map(len, names)) * 0.7 * size < points_per_class
    axes.set_xticks(range(num_classes), names, fontsize=size, rotation=0 if is_upright else 90)
    axes.set_yticks(range(num_classes), names, fontsize=size)
    # White lines part the cells, which keeps neighbours of one shade apart.
    borders = np.arange(num_classes - 1) + 0.5
    axes.set_xticks(borders, minor=True)
    axes.set_yticks(borders, minor=True)
    axes.grid(which="minor", color="white", linewidth=1)
    axes.tick_params(which="both", length=0)


def _write_counts(axes: Axes, counts: NDArray[np.int64], inches: float) -> None:
    points_per_cell = 72 * inches / len(counts)
    size = min(11.0, points_per_cell / (0.85 * max(2, len(str(counts.max())))))
    is_dark = (_percent(counts) > 40).filled(False)
    for (row, column), count in np.ndenumerate(counts):
        colour = "white" if is_dark[row, column] else "black" if count else "#A0A0A0"
        axes.text(column, row, str(count), ha="center", va="center", fontsize=size, color=colour)


def _list_confusions(axes: Axes, counts: NDArray[np.int64], classes: Sequence[str], inches: float) -> None:
    axes.set_axis_off()
    axes.set(xlim=(0, 1), ylim=(inches, 0))  # in inches from the upper left corner
    totals = counts.sum(axis=1)
    mistakes = counts - np.diag(np.diag(counts))
    order = np.argsort(-mistakes, axis=None, kind="stable")[:_NUM_CONFUSIONS]
    table = [("images", "share", "true → predicted class")]
    for true, predicted in (divmod(int(i), len(counts)) for i in order if mistakes.flat[i]):
        count = mistakes[true, predicted]
        names = f"{_name(classes, true)} → {_name(classes, predicted)}"
        table.append((f"{count:,}", f"{100 * count / totals[true]:.1f} %", names))
    y = 0.1
    heading = "Most frequent confusions" if len(table) > 1 else "No confusions"
    axes.text(0, y, heading, weight="bold", fontsize=10.5)
    for row, (count, share, names) in enumerate(table if len(table) > 1 else []):
        y += 0.24
        colour = "black" if row else GREY
        axes.text(0.5, y, count, ha="right", color=colour)
        axes.text(1.1, y, share, ha="right", color=colour)
        axes.text(1.3, y, names, color=colour)
    num_empty = int((totals == 0).sum())
    if num_empty:
        whose = "class has" if num_empty == 1 else "classes have"
        axes.text(0, y + 0.4, f"{num_empty} {whose} no images (grey rows)", color=GREY)


def _name(classes: Sequence[str], i: int) -> str:
    number = f"{i} " if len(classes) > _MOST_CLASSES_WITH_NAMES else ""
    return number + shorten(classes[i], 24)
