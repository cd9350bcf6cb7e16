"""`t2t-vit cross-validate`: train a config on all folds of its training images but one, for each in turn."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from t2t_vit.cli.train import train

_METRIC = "accuracy/top1"


def cross_validate(
    config: Annotated[str, typer.Argument(help="Config file, or the name of a shipped one.")],
    num_splits: Annotated[int, typer.Option(min=2, help="Into how many folds the training images are split.")],
    fold: Annotated[int | None, typer.Option(min=0, help="Train this fold only, counted from 0.")] = None,
    summary: Annotated[bool, typer.Option("--summary", help="Train nothing; sum up the folds that are done.")] = False,
    work_dir: Annotated[
        Path | None, typer.Option(help="Each fold goes into fold<N> in it; default work_dirs/<config name>.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of training; the folds are always the same.")] = None,
    resume: Annotated[
        str | None, typer.Option(help="Go on where the folds were left; done ones stay.", metavar="")
    ] = None,
    amp: Annotated[bool, typer.Option("--amp", help="Mixed precision: bfloat16 where it can be had.")] = False,
    no_validate: Annotated[bool, typer.Option("--no-validate", help="Do not evaluate while training.")] = False,
    auto_scale_lr: Annotated[
        bool, typer.Option("--auto-scale-lr", help="Scale the learning rate to the batch size.")
    ] = False,
    no_pin_memory: Annotated[bool, typer.Option("--no-pin-memory", help="No page-locked memory.")] = False,
    no_persistent_workers: Annotated[
        bool, typer.Option("--no-persistent-workers", help="Start the loading processes anew each epoch.")
    ] = False,
    cfg_options: Annotated[
        list[str] | None, typer.Option(help="Settings over the config's.", metavar="KEY=VALUE ...")
    ] = None,
    launcher: Annotated[
        Literal["none", "pytorch", "slurm", "mpi"],
        typer.Option(help="Only none: one process trains the folds, one after the other."),
    ] = "none",
) -> None:
    """Train a config once for each fold of its training images, validating on that fold; say mean and spread."""
    if fold is not None and fold >= num_splits:
        raise typer.BadParameter(f"{fold}, and there are folds 0 to {num_splits - 1}", param_hint="--fold")
    if resume not in (None, "last", "auto"):  # how `--resume` alone arrives here
        raise typer.BadParameter(f"it takes no value, and got {resume!r}; write it last", param_hint="--resume")
    if launcher != "none":
        raise typer.BadParameter(
            f"{launcher}: one process trains the folds here; with several, train a fold at a time by `t2t-vit train` "
            f"--launcher {launcher} --cfg-options data.num_folds={num_splits} data.fold=N",
            param_hint="--launcher",
        )
    folder = work_dir or Path("work_dirs") / Path(config).stem
    folds = range(num_splits) if fold is None else [fold]
    for one in [] if summary else folds:
        typer.echo(f"fold {one} of 0 to {num_splits - 1}")
        train(
            config,
            folder / f"fold{one}",
            resume=None if resume is None else "auto",
            amp=amp,
            no_validate=no_validate,
            auto_scale_lr=auto_scale_lr,
            no_pin_memory=no_pin_memory,
            no_persistent_workers=no_persistent_workers,
            cfg_options=[
                *(cfg_options or []),
                *([f"runtime.seed={seed}"] if seed is not None else []),
                f"data.num_folds={num_splits}",
                f"data.fold={one}",
            ],
        )
    if summary or not no_validate:
        _sum_up(folder, num_splits, required=summary)


def _sum_up(folder: Path, num_splits: int, *, required: bool) -> None:
    """Print the last figures of each fold, mean and standard deviation, and write them to summary.json.

    Raises:
        ConfigError: No fold is done, and `required` asks for one; or one is of another split.
    """
    from t2t_vit.engine.history import read_history
    from t2t_vit.errors import ConfigError
    from t2t_vit.files import write_text

    for other in sorted(folder.glob("fold[0-9]*")):
        split = _num_folds(other)
        if split not in (None, num_splits):
            raise ConfigError(
                f"{other} is one of {split} folds, and {num_splits} are asked for; give --num-splits {split}"
            )
    states = {fold: read_history(folder / f"fold{fold}").state for fold in range(num_splits) if _begun(folder, fold)}
    finished = [fold for fold, state in states.items() if state == "finished"]
    done = {fold: figures for fold in finished if (figures := _last_figures(folder / f"fold{fold}"))}
    others = ", ".join(f"fold{fold} ({state})" for fold, state in states.items() if fold not in done)
    if others:
        typer.echo(f"not done, and left out: {others}")
    if not done:
        if required:
            raise ConfigError(f"{folder} has no fold0 to fold{num_splits - 1} that is done; train them first")
        return
    for weights in dict.fromkeys(name for figures in done.values() for name in figures):
        accuracies = [figures[weights][_METRIC] for figures in done.values() if weights in figures]
        spread = statistics.stdev(accuracies) if len(accuracies) > 1 else 0.0
        typer.echo(
            f"{weights}: top-1 {statistics.mean(accuracies):.2f} % ± {spread:.2f} over {len(accuracies)} of "
            f"{num_splits} folds: {', '.join(f'{a:.2f}' for a in accuracies)}"
        )
    write_text(folder / "summary.json", json.dumps({"num_folds": num_splits, "folds": done}, indent=2) + "\n")


def _begun(folder: Path, fold: int) -> bool:
    return (folder / f"fold{fold}" / "log.jsonl").is_file()


def _num_folds(folder: Path) -> int | None:
    """Return into how many folds the images of the run in `folder` were split; None if it does not tell."""
    from t2t_vit.errors import ConfigError
    from t2t_vit.run.resuming import stored_experiment

    try:
        return stored_experiment(folder).data.num_folds
    except ConfigError:
        return None


def _last_figures(folder: Path) -> dict[str, Any]:
    """Return the last evaluation in `folder`, raw weights and average; empty if there is none."""
    from t2t_vit.files import json_lines

    figures: dict[str, Any] = {}
    try:
        text = (folder / "log.jsonl").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    for record in filter(None, json_lines(text)):
        if record.get("kind") == "val":
            figures[record["weights"]] = {k: v for k, v in record.items() if isinstance(v, int | float)}
    return figures
