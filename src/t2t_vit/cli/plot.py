"""`t2t-vit plot`: the curves of one run or several."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Annotated

import typer


def plot(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Work folders of runs, or their log.jsonl.")],
    out: Annotated[
        Path | None, typer.Option(help="PNG, PDF or SVG; default curves.png, in the folder of the run if it is one.")
    ] = None,
) -> None:
    """Draw accuracy, loss and learning rate of runs over their epochs, all in one picture."""
    from t2t_vit.visualization.curves import plot_runs, read_log

    logs = [run / "log.jsonl" if run.is_dir() else run for run in runs]
    picture = out or (logs[0].parent if len(logs) == 1 else Path()) / "curves.png"
    curves = [read_log(log) for log in logs]
    if len({curve.name for curve in curves}) < len(curves):  # fold0 of one run, fold0 of another
        above = os.path.commonpath([log.resolve().parent for log in logs])
        curves = [
            dataclasses.replace(curve, name=os.path.relpath(log.resolve().parent, above))
            for curve, log in zip(curves, logs, strict=True)
        ]
    typer.echo(str(plot_runs(curves, picture)))
