"""`t2t-vit runs`: which runs there are, how far they came and how good they were."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from t2t_vit.engine.history import RunHistory


def runs(
    folder: Annotated[Path, typer.Argument(help="Where to look, below it too.")] = Path("work_dirs"),
    json: Annotated[bool, typer.Option("--json", help="A JSON line a run instead of a table.")] = False,
) -> None:
    """List the runs in a folder with their state and best accuracy."""
    from t2t_vit.engine.history import find_runs, read_history
    from t2t_vit.errors import ConfigError

    if not folder.is_dir():
        raise ConfigError(f"there is no folder {str(folder)!r}; name the one that has your runs: t2t-vit runs FOLDER")
    histories = [read_history(found) for found in find_runs(folder)]
    if json:
        for history in histories:
            typer.echo(_json_line(history))
    elif histories:
        _show(folder, histories)
    else:
        typer.echo(f"no runs in {folder}")


def _show(folder: Path, histories: list[RunHistory]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("run", "model", "state"):
        table.add_column(heading, overflow="fold")
    for heading in ("epoch", "time", "top-1 raw", "top-1 EMA"):
        table.add_column(heading, justify="right", no_wrap=True)
    for history in histories:
        epochs = "?" if history.epochs is None else str(history.epochs)
        table.add_row(
            _name(folder, history.folder),
            history.model,
            _state(history),
            f"{round(history.epoch, 2):g}/{epochs}",
            _duration(history.seconds),
            *(_best(history, weights) for weights in ("raw", "ema")),
        )
    console = Console(markup=False, highlight=False)
    if not console.is_terminal:
        console.width = 200  # what a program or a file reads is not broken into lines of 80
    console.print(table)


def _name(folder: Path, run: Path) -> str:
    return run.resolve().name if run == folder else str(run.relative_to(folder))


def _state(history: RunHistory) -> str:
    if history.state in ("running", "finished"):
        return history.state
    at = f"{history.state} at step {history.step}"
    return at if history.total_steps is None else f"{at} of {history.total_steps}"


def _best(history: RunHistory, weights: str) -> str:
    best = history.best.get(weights)
    return "-" if best is None else f"{best.top1:.2f} % ({best.epoch})"


def _duration(seconds: float | None) -> str:
    from datetime import timedelta

    return "-" if seconds is None else str(timedelta(seconds=round(seconds)))


def _json_line(history: RunHistory) -> str:
    import json

    return json.dumps({**dataclasses.asdict(history), "folder": str(history.folder)})
