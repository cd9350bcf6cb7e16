"""`t2t-vit demo`: predict, train and test on real images, within minutes and without a download."""

from __future__ import annotations

import json
import shutil
import time
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

if TYPE_CHECKING:
    from t2t_vit.models import T2TViT

_CONFIG = "t2t-vit-digits_demo"
_MARK = "demo.txt"


def demo(
    work_dir: Annotated[Path, typer.Option(help="Where everything goes; an earlier demo there is replaced.")] = Path(
        "work_dirs/demo"
    ),
) -> None:
    """Predict photographs; then train a small T2T-ViT on handwritten digits, test it, and draw what came of it."""
    from t2t_vit.cli.predict import predict
    from t2t_vit.cli.test import test
    from t2t_vit.cli.train import train
    from t2t_vit.run import open_images, stored_experiment

    _clear(work_dir)
    photographs = [str(files("sklearn.datasets") / "images" / name) for name in ("flower.jpg", "china.jpg")]
    typer.echo(f"1. what is in photographs, of a dahlia and a Chinese palace:  t2t-vit predict {' '.join(photographs)}")
    predict(photographs, top=3, show_dir=work_dir / "photographs")

    begin = time.monotonic()
    typer.echo(f"\n2. train on handwritten digits:  t2t-vit train {_CONFIG} --work-dir {work_dir}")
    train(_CONFIG, work_dir=work_dir)
    trained = time.monotonic() - begin

    # The last and not the best checkpoint: that one was chosen on the very pictures that it would be tested on.
    checkpoint = work_dir / (work_dir / "last_checkpoint").read_text(encoding="utf-8")
    typer.echo(f"\n3. test on the pictures that were held out:  t2t-vit test {_CONFIG} {checkpoint}")
    test(_CONFIG, str(checkpoint), work_dir=work_dir)

    typer.echo("\n4. predict some of them from files")
    images = open_images(stored_experiment(work_dir).data, "val")
    folder = work_dir / "held_out"
    folder.mkdir(exist_ok=True)
    for index in range(0, len(images), 10):
        images.load(index, "L").save(folder / f"{index:03d}_a_{images.classes[images.labels[index]]}.png")
    right, total = _predict(folder, checkpoint)

    typer.echo("\n5. draw what came of it")
    pictures = [*sorted((work_dir / "photographs").iterdir()), *_draw(work_dir, checkpoint)]

    metrics = json.loads((work_dir / "test_metrics.json").read_text(encoding="utf-8"))
    typer.echo(
        f"\ntrained in {trained:.0f} s; {metrics['accuracy/top1']:.2f} % of the {metrics['images']} held-out pictures "
        f"right; {right} of {total} files predicted right\npictures:"
    )
    for picture in pictures:
        typer.echo(f"  {picture}")
    typer.echo(f"predict more:\n  t2t-vit predict {folder} --model {_CONFIG} --pretrained {checkpoint}")


def _clear(folder: Path) -> None:
    """Remove an earlier demo from `folder`, and nothing else.

    Raises:
        TrainingError: The folder holds something that is no demo's.
    """
    from t2t_vit.errors import TrainingError

    if (folder / _MARK).is_file():
        shutil.rmtree(folder)
    elif folder.exists() and any(folder.iterdir()):
        raise TrainingError(f"{folder} holds something else than a demo; name another place with --work-dir")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _MARK).write_text("The next `t2t-vit demo` replaces this folder.\n", encoding="utf-8")


def _predict(folder: Path, checkpoint: Path) -> tuple[int, int]:
    """Predict every file of `folder`, whose names end in the true digit; return how many are right, of how many."""
    from t2t_vit.inference import ImageClassificationInferencer

    pictures = sorted(folder.glob("*.png"))
    predictions = ImageClassificationInferencer(_CONFIG, checkpoint)(pictures)
    right = 0
    for file, prediction in zip(pictures, predictions, strict=True):
        is_right = prediction["pred_class"] == file.stem[-1]
        right += is_right
        mark = "" if is_right else f"   wrong, it is a {file.stem[-1]}"
        typer.echo(f"  {file.name}  →  {prediction['pred_class']}  {100 * prediction['pred_score']:5.1f} %{mark}")
    return right, len(pictures)


def _draw(folder: Path, checkpoint: Path) -> list[Path]:
    """Draw curves, confusion matrix, predictions and an attention map; return the files."""
    from t2t_vit.run import stored_experiment
    from t2t_vit.run import test as run_test
    from t2t_vit.visualization.attention import attention_maps, plot_attention, token_centres
    from t2t_vit.visualization.confusion import plot_confusion_matrix
    from t2t_vit.visualization.predictions import plot_predictions

    tested = run_test(stored_experiment(folder), checkpoint)
    evaluation, images, preprocess = tested.evaluation, tested.images, tested.preprocess
    pictures = [images.load(int(index), preprocess.mode) for index in evaluation.indices]
    sample, model = pictures[0], cast("T2TViT", tested.model)
    heat = attention_maps(model, preprocess(sample).unsqueeze(0), "rollout")[0].numpy()
    return [
        folder / "curves.png",
        plot_confusion_matrix(evaluation.confusion, images.classes, folder / "confusion.png"),
        plot_predictions(
            pictures,
            [int(label) for label in evaluation.labels],
            [int(prediction) for prediction in evaluation.predictions],
            [float(score) for score in evaluation.top_scores],
            images.classes,
            folder / "predictions.png",
        ),
        plot_attention(
            preprocess.crop(sample),
            heat,
            folder / "attention.png",
            f"A held-out {images.classes[int(evaluation.labels[0])]}: what the class token attends to",
            token_centres(model, *preprocess.img_size),
        ),
    ]
