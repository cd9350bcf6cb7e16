"""What `t2t-vit test` leaves: metrics, predictions, pictures."""

from __future__ import annotations

import csv
import json
import os
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from t2t_vit.errors import ConfigError
from t2t_vit.files import written_whole
from t2t_vit.inference.drawing import picture_names
from t2t_vit.run import TestRun

if TYPE_CHECKING:
    from PIL import Image

_SUFFIXES = (".json", ".csv", ".pkl")


def check_targets(metrics: Path, out: Path | None, show_dir: Path | None) -> None:
    """Refuse what could not be written after the test, which may take hours.

    Raises:
        ConfigError: The suffix of `out` is of no known format, a file is where a folder should be or the other way
            round, or a folder cannot be written.
    """
    if out is not None and out.suffix not in _SUFFIXES:
        raise ConfigError(f"--out is {str(out)!r}; expected a file name that ends in {', '.join(_SUFFIXES)}")
    for option, file in (("--work-dir", metrics), ("--out", out)):
        if file is not None:
            if file.is_dir():
                raise ConfigError(f"{option}: {str(file)!r} is a folder; expected the name of a file")
            _check_folder(option, file.parent)
    if show_dir is not None:
        _check_folder("--show-dir", show_dir)


def _check_folder(option: str, folder: Path) -> None:
    there = next(place for place in (folder, *folder.parents) if os.path.lexists(place))
    if not there.is_dir():
        raise ConfigError(f"{option}: {str(there)!r} is no folder; expected one to write into")
    if not os.access(there, os.W_OK):
        raise ConfigError(f"{option}: the folder {str(there)!r} cannot be written; name another one")


def write_metrics(out: Path, metrics: dict[str, Any]) -> None:
    """Write `metrics` to `out`, in the format of its suffix."""
    _write(out, metrics, [list(metrics.items())])


def write_predictions(out: Path, tested: TestRun) -> None:
    """Write a record for each image to `out`, in the format of its suffix; a CSV has no scores of all classes."""
    evaluation = tested.evaluation
    records: list[dict[str, Any]] = [
        {
            "img_path": tested.images.name(int(index)),
            "gt_label": int(label),
            "pred_label": int(prediction),
            "pred_class": tested.images.classes[int(prediction)],
            "pred_score": float(score),
        }
        for index, label, prediction, score in zip(
            evaluation.indices, evaluation.labels, evaluation.predictions, evaluation.top_scores, strict=True
        )
    ]
    rows = [list(record.items()) for record in records]
    if evaluation.scores is not None and out.suffix != ".csv":
        for record, scores in zip(records, evaluation.scores, strict=True):
            record["pred_scores"] = scores if out.suffix == ".pkl" else [round(float(s), 8) for s in scores]
    _write(out, records, rows)


def save_pictures(tested: TestRun, folder: Path, interval: int) -> None:
    """Write every `interval`-th picture with its prediction into `folder`."""
    for position in range(0, len(tested.evaluation.indices), interval):
        index = int(tested.evaluation.indices[position])
        (name,) = picture_names([tested.images.name(index)])
        stem = f"{index:06d}_{name.replace(' ', '_')}"
        with written_whole(folder / f"{stem}.png") as temporary:
            _picture(tested, position).save(temporary)


def show_pictures(tested: TestRun, interval: int, seconds: float) -> None:
    """Show every `interval`-th picture with its prediction in a window; with 0 seconds, until it is closed."""
    from t2t_vit.visualization.window import show_picture

    for position in range(0, len(tested.evaluation.indices), interval):
        index = int(tested.evaluation.indices[position])
        show_picture(_picture(tested, position), tested.images.name(index), seconds)


def _picture(tested: TestRun, position: int) -> Image.Image:
    from t2t_vit.visualization.predictions import draw_prediction, score_line

    evaluation, classes = tested.evaluation, tested.images.classes
    label, prediction = int(evaluation.labels[position]), int(evaluation.predictions[position])
    lines = [score_line(classes[prediction], float(evaluation.top_scores[position]))]
    if label != prediction:
        lines.append(f"wrong: it is {classes[label]}")
    return draw_prediction(tested.images.load(int(evaluation.indices[position]), "RGB"), lines)


def _write(out: Path, content: Any, rows: list[list[tuple[str, Any]]]) -> None:
    with written_whole(out) as temporary:
        if out.suffix == ".pkl":
            temporary.write_bytes(pickle.dumps(content))
        elif out.suffix == ".csv":
            with temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
                writer = csv.writer(file)
                writer.writerow([name for name, _ in rows[0]] if rows else [])
                writer.writerows([[value for _, value in row] for row in rows])
        else:
            temporary.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
