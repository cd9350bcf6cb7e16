"""`t2t-vit test`: how good a checkpoint is on the images of a config."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from t2t_vit.data.views import BadImage
    from t2t_vit.run import TestRun


def test(
    config: Annotated[str, typer.Argument(help="Config file, or the name of a shipped one.")],
    checkpoint: Annotated[str, typer.Argument(help="File or URL of the weights.")],
    work_dir: Annotated[
        Path | None,
        typer.Option(help="Where the metrics go; default work_dirs/<config name>, for a run's own config the run."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write predictions or metrics here: .json, .csv or .pkl.")] = None,
    out_item: Annotated[Literal["metrics", "pred"] | None, typer.Option(help="What --out has; default pred.")] = None,
    cfg_options: Annotated[
        list[str] | None, typer.Option(help="Settings over the config's.", metavar="KEY=VALUE ...")
    ] = None,
    amp: Annotated[bool, typer.Option("--amp", help="Mixed precision.")] = False,
    show_dir: Annotated[Path | None, typer.Option(help="Write pictures with their predictions here.")] = None,
    show: Annotated[bool, typer.Option("--show", help="Show pictures with their predictions in a window.")] = False,
    interval: Annotated[int, typer.Option(min=1, help="Every how many pictures one is shown.")] = 1,
    wait_time: Annotated[
        float, typer.Option(min=0, help="Seconds that each is shown; 0: until its window is closed.")
    ] = 2.0,
    tta: Annotated[bool, typer.Option("--tta", help="Average over each image and its mirror image.")] = False,
    no_pin_memory: Annotated[bool, typer.Option("--no-pin-memory", help="No page-locked memory.")] = False,
    launcher: Annotated[
        Literal["none", "pytorch", "slurm", "mpi"],
        typer.Option(help="What started the processes of this run."),
    ] = "none",
    weights: Annotated[Literal["ema", "raw"], typer.Option(help="Which weights, where the file has both.")] = "ema",
) -> None:
    """Say how good a checkpoint is on the validation images of a config.

    Images that cannot be read are named and left out, and make the status 1.
    """
    from t2t_vit.cli import test_output
    from t2t_vit.cli.progress import progress
    from t2t_vit.cli.settings import read_config, with_amp
    from t2t_vit.errors import ImageError
    from t2t_vit.hub import weights_file
    from t2t_vit.run import test as run_test

    if out_item is not None and out is None:
        raise typer.BadParameter("it says what --out has, and there is no --out", param_hint="--out-item")
    experiment = read_config(config, cfg_options)
    if no_pin_memory:
        experiment = dataclasses.replace(experiment, data=dataclasses.replace(experiment.data, pin_memory=False))
    if amp:
        experiment = with_amp(experiment)
    metrics_file = (work_dir or _default_folder(Path(config))) / "test_metrics.json"
    test_output.check_targets(metrics_file, out, show_dir)
    if show:
        from t2t_vit.visualization.window import check_screen

        check_screen("--show-dir FOLDER")
    unread: list[BadImage] = []

    def leave_out(images: list[BadImage]) -> None:
        unread.extend(images)
        for image in images:
            typer.echo(f"unreadable, and left out of the figures: {image.reason}", err=True)

    with progress("testing") as advance:
        tested = run_test(
            experiment,
            weights_file(checkpoint),
            weights=weights,
            flip=tta,
            keep_scores=out is not None and out_item != "metrics",
            launcher=launcher,
            on_batch=advance,
            on_bad=leave_out,
        )
    if not tested.is_main:
        return
    metrics = {
        **tested.evaluation.metrics,
        "images": len(tested.evaluation.indices),
        "checkpoint": checkpoint,
        "weights": weights,
    }
    _print(tested, metrics)  # first, as writing may fail
    test_output.write_metrics(metrics_file, metrics)
    if out is not None:
        if out_item == "metrics":
            test_output.write_metrics(out, metrics)
        else:
            test_output.write_predictions(out, tested)
    if show_dir is not None:
        test_output.save_pictures(tested, show_dir, interval)
    if show:
        test_output.show_pictures(tested, interval, wait_time)
    if unread:
        raise ImageError(f"{len(unread)} of {len(tested.images)} images could not be read; they are named above")


def _default_folder(config: Path) -> Path:
    # Every run's own config has the same name.
    return config.parent if config.name == "experiment.json" else Path("work_dirs") / config.stem


def _print(tested: TestRun, metrics: dict[str, Any]) -> None:
    figures = {name: value for name, value in metrics.items() if isinstance(value, float)}
    for name, value in figures.items():
        typer.echo(f"{name:24} {value:8.4f}" if name == "loss" else f"{name:24} {value:8.2f} %")
    typer.echo(f"{metrics['images']} images of {len(tested.images.classes)} classes")
