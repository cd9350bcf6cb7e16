"""How a training run went: loss, learning rate and accuracy over the epochs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from t2t_vit.errors import ConfigError
from t2t_vit.files import json_lines
from t2t_vit.visualization.canvas import BLUE, GREEN, GREY, ORANGE, PALETTE, VERMILLION, drawing
from t2t_vit.visualization.lettering import shorten

_Floats = NDArray[np.float64]
Columns = Mapping[str, _Floats]

_TRAIN_KEYS: Final = ("epoch", "loss", "lr")
_VAL_KEYS: Final = ("epoch", "accuracy/top1", "accuracy/top5", "loss")
_KIND_COLOURS: Final = {"train": BLUE, "raw": ORANGE, "ema": VERMILLION}
_RUN_COLOURS: Final = (*PALETTE, "#000000", "#8C564B")
_MOST_POINTS: Final = 300  # more cannot be told apart on the page
_MOST_MARKERS: Final = 40


@dataclass(frozen=True)
class RunCurves:
    """What the log of one run says, in the order of its steps; what a line does not say is not a number.

    Attributes:
        name: The run's folder.
        train: Columns "epoch" (a fraction), "loss" and "lr" of the training lines.
        validation: For each kind of weights ("raw", "ema") columns "epoch", "accuracy/top1", "accuracy/top5"
            (both in percent) and "loss" of the validation lines.
        num_unreadable: Lines that are not whole: the run was killed while it wrote them.
    """

    name: str
    train: Columns
    validation: Mapping[str, Columns]
    num_unreadable: int


def plot_curves(log: Path, out: Path) -> Path:
    """Draw loss, learning rate and validation accuracy of a run over its epochs; the best is marked.

    Args:
        log: The run's `log.jsonl`.
        out: The picture: PNG, PDF or SVG by its suffix.

    Returns:
        `out`.

    Raises:
        ConfigError: There is no such log, nothing has been logged yet, or the suffix of `out` is unknown.
    """
    return plot_runs([read_log(log)], out)


def plot_runs(runs: Sequence[RunCurves], out: Path) -> Path:
    """Draw the curves of several runs over each other, a colour a run.

    Args:
        runs: What `read_log` gave, at least one.
        out: The picture: PNG, PDF or SVG by its suffix.

    Returns:
        `out`.

    Raises:
        ConfigError: There is no run, or the suffix of `out` is unknown.
    """
    if not runs:
        raise ConfigError("no run to draw; expected at least one")
    draw = {_draw_loss: 2.0, _draw_lr: 1.0}  # with their heights
    if any(np.isfinite(columns["accuracy/top1"]).any() for run in runs for columns in run.validation.values()):
        draw = {_draw_accuracy: 2.0, **draw}
    heights = list(draw.values())
    heights[0] = max(heights[0], 0.15 * len(runs) + 0.3)  # the legend of the runs stands beside the first
    width = 7.5 if len(runs) == 1 else 11.0  # several runs have their legend at the side
    with drawing(out, width, height=1.35 * sum(heights) + 1.0) as figure:
        figure.suptitle(shorten(runs[0].name, 60) if len(runs) == 1 else f"{len(runs)} runs")
        panels = figure.subplots(len(draw), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
        for draw_one, axes in zip(draw, panels, strict=True):
            draw_one(axes, runs)
            axes.grid(axis="y", color="#E4E4E4", linewidth=0.8)
            axes.set_axisbelow(True)
        if len(runs) > 1:
            _add_legends_of_runs(list(panels), runs)
        panels[-1].set_xlabel("epochs trained")
        figure.align_ylabels(panels)
        num_unreadable = sum(run.num_unreadable for run in runs)
        if num_unreadable:
            lines = "line" if num_unreadable == 1 else "lines"
            figure.text(1, 0, f"without {num_unreadable} cut {lines} of the log", ha="right", color=GREY, fontsize=8)
    return out


def read_log(log: Path) -> RunCurves:
    """Return what `log`, the `log.jsonl` of a run, says.

    Of a step that was logged twice, by a run that went on from a checkpoint, the later line counts. Lines
    that were cut, because the run was killed, are left out.

    Raises:
        ConfigError: There is no such file, or no training or validation line in it.
    """
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        raise ConfigError(f"there is no training log {log}; give the log.jsonl in the folder of a run") from None
    except OSError as error:
        raise ConfigError(f"the training log {log} cannot be read: {error.strerror}") from error
    train: dict[float, list[float]] = {}
    validation: dict[str, dict[float, list[float]]] = {}
    num_unreadable = 0
    for entry in json_lines(text):
        if entry is None:
            num_unreadable += 1
        elif entry.get("kind") == "train":
            train[_number(entry, "step")] = [_number(entry, key) for key in _TRAIN_KEYS]
        elif entry.get("kind") == "val":
            steps = validation.setdefault(str(entry.get("weights", "raw")), {})
            steps[_number(entry, "step")] = [_number(entry, key) for key in _VAL_KEYS]
    if not train and not validation:
        raise ConfigError(
            f"{log} has no training or validation line; has the run got to its first step, and is this its log.jsonl?"
        )
    return RunCurves(
        name=log.resolve().parent.name,
        train=_columns(train, _TRAIN_KEYS),
        validation={weights: _columns(steps, _VAL_KEYS) for weights, steps in sorted(validation.items())},
        num_unreadable=num_unreadable,
    )


def _number(entry: Mapping[str, Any], key: str) -> float:
    value = entry.get(key)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else math.nan


def _columns(steps: Mapping[float, list[float]], keys: Sequence[str]) -> Columns:
    table = np.array([steps[step] for step in sorted(steps)], dtype=np.float64).reshape(-1, len(keys))
    return dict(zip(keys, table.T, strict=True))


def _draw_accuracy(axes: Axes, runs: Sequence[RunCurves]) -> None:
    best: list[tuple[float, float, float, str]] = []  # top-1, top-5, epoch, of what
    for number, run in enumerate(runs):
        for weights, columns in run.validation.items():
            top1 = columns["accuracy/top1"]
            if np.isfinite(top1).any():
                axes.plot(columns["epoch"], top1, label=_name(weights), **_line(weights, number, runs, len(top1)))
                label = _name(weights) if len(runs) == 1 else f"{_name(weights)} of {shorten(run.name, 24)}"
                i = int(np.nanargmax(top1))
                best.append((top1[i], columns["accuracy/top5"][i], columns["epoch"][i], label))
    highest, top5, epoch, what = max(best, key=itemgetter(0))
    axes.plot(epoch, highest, marker="*", markersize=14, color="white", markeredgecolor="black")
    axes.annotate(
        f"{highest:.2f} %",
        (epoch, highest),
        xytext=(0, 10),
        textcoords="offset points",
        ha="center",
        weight="bold",
    )
    axes.margins(y=0.18)  # room for the number above the star
    also = f", top-5 {top5:.2f} %" if math.isfinite(top5) else ""
    axes.set_title(f"Best top-1 accuracy {highest:.2f} %{also} ({what}, epoch {epoch:g})")
    axes.set_ylabel("top-1 accuracy (%)")
    _add_legend(axes, runs, "lower right")


def _draw_loss(axes: Axes, runs: Sequence[RunCurves]) -> None:
    last = []
    for number, run in enumerate(runs):
        curves = {"training": run.train}
        curves |= {f"validation, {_name(weights)}": columns for weights, columns in run.validation.items()}
        for (what, columns), kind in zip(curves.items(), ["train", *run.validation], strict=True):
            x, y = _finite(columns["epoch"], columns["loss"])
            if not len(x):
                continue
            last.append(f"{what} {y[-1]:.3g}")
            x, y = _thin(x, y) if kind == "train" else (x, y)
            axes.plot(x, y, label=what, **_line(kind, number, runs, len(x)))
        bad = run.train["epoch"][~np.isfinite(run.train["loss"])]
        if len(bad):
            colour = "black" if len(runs) == 1 else _colour(number)
            mark: dict[str, Any] = {"color": colour, "marker": "x", "linestyle": "", "clip_on": False}
            label = f"training, not a number ({len(bad)}×)"
            axes.plot(bad, np.zeros(len(bad)), transform=axes.get_xaxis_transform(), label=label, **mark)
    axes.set_title("Loss" + (f" at the end: {'; '.join(last)}" if last and len(runs) == 1 else ""))
    axes.set_ylabel("loss")
    _add_legend(axes, runs, "best")


def _draw_lr(axes: Axes, runs: Sequence[RunCurves]) -> None:
    highest = 0.0
    for number, run in enumerate(runs):
        x, y = _thin(*_finite(run.train["epoch"], run.train["lr"]))
        axes.plot(x, y, **_line("train", number, runs, len(x)))
        highest = max(highest, *y, 0.0)
    axes.set_title(f"Learning rate: at most {highest:.3g}")
    axes.set_ylabel("learning rate")
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(lambda rate, _: f"{rate:g}")


def _add_legend(axes: Axes, runs: Sequence[RunCurves], place: Literal["lower right", "best"]) -> None:
    if len(runs) == 1 and axes.get_legend_handles_labels()[0]:
        axes.legend(loc=place)


def _add_legends_of_runs(panels: Sequence[Axes], runs: Sequence[RunCurves]) -> None:
    """Say at the side which colour is which run, and how good it was; and which line is of what."""
    lines = [Line2D([], [], color=_colour(number), linewidth=2.5) for number in range(len(runs))]
    # The figure comes first: matplotlib hides labels that begin with an underscore, as a name may.
    labels = [f"{_best_of(run)}  {shorten(run.name, 32)}" for run in runs]
    beside: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1, 1), "alignment": "left"}
    panels[0].legend(lines, labels, title="best top-1 of each run", **beside)
    kinds = dict.fromkeys(weights for run in runs for weights in run.validation)
    styles = {"training": _line("train", 0, runs, 2)}
    styles |= {f"validation, {_name(weights)}": _line(weights, 0, runs, 1) for weights in kinds}
    for style in styles.values():
        style |= {"color": GREY, "markerfacecolor": "white" if style.get("markerfacecolor") == "white" else GREY}
    grey = [Line2D([], [], **style) for style in styles.values()]
    panels[min(1, len(panels) - 1)].legend(grey, list(styles), **beside)


def _best_of(run: RunCurves) -> str:
    accuracies = [columns["accuracy/top1"] for columns in run.validation.values()]
    finite = [values for values in accuracies if np.isfinite(values).any()]
    return f"{max(np.nanmax(values) for values in finite):.2f} %" if finite else "–"


def _colour(number: int) -> str:
    return _RUN_COLOURS[number % len(_RUN_COLOURS)]


def _finite(x: _Floats, y: _Floats) -> tuple[_Floats, _Floats]:
    both = np.isfinite(x) & np.isfinite(y)
    return x[both], y[both]


def _thin(x: _Floats, y: _Floats) -> tuple[_Floats, _Floats]:
    """Return the means of neighbouring points, as many as a page can show; a vector file stays small."""
    groups = np.array_split(np.arange(len(x)), max(1, min(_MOST_POINTS, len(x))))
    return np.array([x[g].mean() for g in groups if len(g)]), np.array([y[g].mean() for g in groups if len(g)])


def _line(kind: str, number: int, runs: Sequence[RunCurves], num_points: int) -> dict[str, Any]:
    """Return how a line looks; `kind` is "train" or the weights, `number` its run's.

    One run: a colour a kind. Several: a colour a run. Lines and markers tell the kinds apart without colour.
    """
    colour = _colour(number) if len(runs) > 1 else _KIND_COLOURS.get(kind, GREEN)
    style: dict[str, Any] = {"color": colour, "markersize": 4.5, "linestyle": "--" if kind == "raw" else "-"}
    if kind == "train":
        return style | {"linewidth": 1.2, "marker": "o" if num_points == 1 else ""}
    fill = "white" if kind == "raw" else colour
    return style | {"marker": "o" if num_points <= _MOST_MARKERS else "", "markerfacecolor": fill}


def _name(weights: str) -> str:
    return {"raw": "raw weights", "ema": "EMA weights"}.get(weights, f"{weights} weights")
