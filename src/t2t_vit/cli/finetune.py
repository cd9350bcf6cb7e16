"""`t2t-vit finetune`: from pictures in class folders to a model that tells them apart."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, overload

import typer

if TYPE_CHECKING:
    from PIL import Image

    from t2t_vit.data.sets.image_set import ImageSet
    from t2t_vit.run import TestRun

_MOST_MISTAKES: Final = 40
_DEFAULT_MODEL: Final = "t2t-vit-t-14_8xb64_in1k"


def finetune(
    images: Annotated[
        Path, typer.Argument(help="Folder with train/CLASS/... and val/ or test/ beside it, or with CLASS/... alone.")
    ],
    model: Annotated[str | None, typer.Option(help=f"Name of a model, or a config; default: {_DEFAULT_MODEL}.")] = None,
    pretrained: Annotated[
        str | None, typer.Option(help="Weights to begin with: path, URL or name; default: the model's published ones.")
    ] = None,
    from_scratch: Annotated[bool, typer.Option("--from-scratch", help="Begin without weights.")] = False,
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the images; default: by their number.")] = None,
    img_size: Annotated[int | None, typer.Option(min=1, help="Pixels; default: the model's.")] = None,
    freeze: Annotated[
        str | None, typer.Option(help="Parts that are not trained, such as tokens_to_token,blocks.0-5.")
    ] = None,
    work_dir: Annotated[
        Path | None, typer.Option(help="Where everything goes; default work_dirs/<name of the folder>.")
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(
            help="Go on from the last checkpoint, or from the one named; `auto`: begin if there is none.",
            metavar="[PATH|auto]",
        ),
    ] = None,
    device: Annotated[str | None, typer.Option(help="Where to compute; default: auto, a GPU if there is one.")] = None,
    cfg_options: Annotated[
        list[str] | None, typer.Option(help="Settings over what is chosen.", metavar="KEY=VALUE ...")
    ] = None,
) -> None:
    """Fine-tune a model on pictures in class folders; say what was chosen and why, and how good it became."""
    from t2t_vit.config import apply_overrides
    from t2t_vit.engine.stopping import TrainingStopped
    from t2t_vit.errors import ConfigError
    from t2t_vit.run import resume_point, resumed_experiment, train
    from t2t_vit.run.finetuning import find_test_folder, plan_finetuning

    folder = work_dir or Path("work_dirs") / (images.resolve().name or "finetuned")
    start = resume_point(folder, resume)
    if start is not None:
        typer.echo(f"going on with the settings of the run in {folder}")
        experiment = resumed_experiment(start)
        if device is not None:
            experiment = dataclasses.replace(experiment, runtime=dataclasses.replace(experiment.runtime, device=device))
        given = {"--model": model, "--pretrained": pretrained, "--epochs": epochs, "--img-size": img_size,
                 "--freeze": freeze}  # fmt: skip
        ignored = [f"{option} {value}" for option, value in given.items() if value is not None]
        ignored += ["--from-scratch"] if from_scratch else []
        if ignored:
            typer.echo(f"not taken, as a run keeps its settings: {' '.join(ignored)}; --cfg-options changes them")
    else:
        plan = plan_finetuning(
            images,
            _DEFAULT_MODEL if model is None else model,
            pretrained=pretrained,
            from_scratch=from_scratch,
            epochs=epochs,
            img_size=img_size,
            freeze=freeze,
            device=device or "auto",
        )
        for reason in plan.reasons:
            typer.echo(reason)
        experiment = plan.experiment
    if cfg_options:
        typer.echo(f"and as asked: {' '.join(cfg_options)}")
        experiment = apply_overrides(experiment, cfg_options)
    if start is not None and Path(experiment.data.root).resolve() != images.resolve():
        raise ConfigError(
            f"the run in {folder} is on the pictures in {experiment.data.root}, not on those in {images}; name that "
            "folder, another place for a new run with --work-dir, or, if it was moved, --cfg-options data.root=FOLDER"
        )
    try:
        last = train(experiment, folder, resume=start)
    except TrainingStopped as stopped:
        typer.echo(str(stopped), err=True)
        raise typer.Exit(stopped.status) from None
    if last is not None:
        _sum_up(folder, last, find_test_folder(experiment))


def _sum_up(folder: Path, last: Path, test: str | None) -> None:
    """Say how good the model became, draw what there is to see, and say how to predict with it.

    Args:
        folder: The run's work folder.
        last: Its last checkpoint.
        test: Folder of pictures that it never looked at, None if there is none.
    """
    from t2t_vit.files import write_text
    from t2t_vit.run import stored_experiment
    from t2t_vit.run import test as run_test
    from t2t_vit.visualization.confusion import plot_confusion_matrix
    from t2t_vit.visualization.curves import plot_curves

    experiment = stored_experiment(folder)
    if test is not None:
        data = dataclasses.replace(experiment.data, val=test)
        experiment = dataclasses.replace(experiment, data=data)
    best = _best_checkpoint(last)
    kinds = ("ema", "raw") if experiment.ema.enabled else ("raw",)
    candidates = {f"last, {kind}": (last, kind) for kind in kinds} | {f"best, {kinds[0]}": (best, kinds[0])}
    bad: dict[str, str] = {}
    tested = {
        name: run_test(experiment, file, weights=kind, on_bad=bad.update) for name, (file, kind) in candidates.items()
    }
    for reason in bad.values():
        typer.echo(f"unreadable, and left out of the figures: {reason}")
    result = tested[f"best, {kinds[0]}"]
    table = _table(tested)
    count = len(result.evaluation.labels)
    where = f"the {count} images in {test}/" if test else f"the {count} validation images"
    note = (
        "training never saw these images"
        if test
        else "'best' was chosen on these very images, which flatters it a little"
    )
    typer.echo(f"\nhow good it is on {where} ({note}):\n{table}")
    write_text(folder / "figures.txt", f"{where}; {note}\n{table}\n")
    pictures = [
        plot_curves(folder / "log.jsonl", folder / "curves.png"),
        plot_confusion_matrix(result.evaluation.confusion, result.images.classes, folder / "confusion.png"),
        *_draw_mistakes(result, folder / "mistakes.png"),
    ]
    typer.echo("pictures: " + ", ".join(str(picture) for picture in pictures))
    config = folder / "experiment.json"
    typer.echo("predict with it:\n  " + _predict_line(result.images.name(0), config, best))


def _best_checkpoint(last: Path) -> Path:
    """Return the best checkpoint beside the last one; the last one where nothing was evaluated."""
    from t2t_vit.engine.checkpoint import read_training_state

    name = read_training_state(last)["state"]["best_file"]
    best = last.parent / name if name is not None else last
    return best if best.is_file() else last


def _table(tested: dict[str, TestRun]) -> str:
    from t2t_vit.evaluation.confidence import accuracy_interval

    rows = [("weights", "top-1", "95 % interval", "top-5", "F1", "loss")]
    for name, run in tested.items():
        confusion, metrics = run.evaluation.confusion, run.evaluation.metrics
        low, high = accuracy_interval(int(confusion.trace()), int(confusion.sum()))
        rows.append(
            (
                name,
                f"{metrics['accuracy/top1']:.2f} %",
                f"{low:.1f} to {high:.1f} %",
                f"{metrics['accuracy/top5']:.2f} %",
                f"{metrics['single-label/f1-score']:.2f} %",
                f"{metrics['loss']:.4f}",
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  " + "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _draw_mistakes(run: TestRun, out: Path) -> list[Path]:
    """Draw the images that were predicted wrong, the surest mistakes first; return the picture, if there is one."""
    from t2t_vit.visualization.predictions import plot_predictions

    evaluation = run.evaluation
    num_wrong = int((evaluation.labels != evaluation.predictions).sum())
    if not num_wrong:
        out.unlink(missing_ok=True)  # of an earlier, worse model
        return []
    pictures = _Pictures(run.images, evaluation.indices.tolist())
    columns = (evaluation.labels, evaluation.predictions, evaluation.top_scores)
    labels, predictions, scores = (column.tolist() for column in columns)
    limit = min(num_wrong, _MOST_MISTAKES)
    return [plot_predictions(pictures, labels, predictions, scores, run.images.classes, out, limit=limit)]


class _Pictures(Sequence["Image.Image"]):
    """The pictures of a set, loaded as they are asked for: of all, only the mistakes are drawn."""

    def __init__(self, images: ImageSet, indices: Sequence[int]) -> None:
        self._images = images
        self._indices = indices

    def __len__(self) -> int:
        return len(self._indices)

    @overload
    def __getitem__(self, position: int) -> Image.Image: ...

    @overload
    def __getitem__(self, position: slice) -> Sequence[Image.Image]: ...

    def __getitem__(self, position: int | slice) -> Image.Image | Sequence[Image.Image]:
        if isinstance(position, slice):
            return _Pictures(self._images, self._indices[position])
        return self._images.load(self._indices[position], "RGB")


def _predict_line(image: str, config: Path, weights: Path) -> str:
    """Return a command line that can be pasted into a shell."""
    return shlex.join(["t2t-vit", "predict", image, "--model", str(config), "--pretrained", str(weights)])
