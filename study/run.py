"""Carry out a study: choose learning rates on held-back images, train the final runs, test each once.

    python study/run.py tune fashion-mnist
    python study/run.py train fashion-mnist

Runs go on where they were left, however they were stopped; finished ones stay. Logs come to lie in study/logs.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import typer
from filelock import FileLock, Timeout
from plans import STUDIES, Study
from record import differences, read_tries, write_record

from t2t_vit.cli.arguments import expand
from t2t_vit.config import experiment_to_dict, load_experiment
from t2t_vit.engine.checkpoint import CheckpointFolder
from t2t_vit.engine.history import read_history
from t2t_vit.errors import T2TViTError, TrainingError
from t2t_vit.weights.save import publish

STUDY = Path(__file__).parent
RUNS = STUDY / "runs"
LOGS = STUDY / "logs"
TELL_EVERY_S = 60
STILL_TO_DO = 75  # what mailers and schedulers take for "try again"

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
Names = Annotated[list[str] | None, typer.Option(help="Only these configs.")]
Jobs = Annotated[int, typer.Option(min=1, help="Runs at a time; they share the cores evenly.")]
Minutes = Annotated[float | None, typer.Option(help="Stop all runs after so long; the same command goes on.")]
Options = Annotated[list[str] | None, typer.Option(help="Settings over all configs'.", metavar="KEY=VALUE")]


@dataclass(frozen=True)
class Job:
    """A run: its name (STUDY/CONFIG/WHICH), its config, and what is said over that."""

    name: str
    config: str
    options: tuple[str, ...]
    has_test: bool


@app.command()
def tune(
    study: str,
    only: Names = None,
    rates: Annotated[list[float] | None, typer.Option(help="Learning rates; default: the study's.")] = None,
    jobs: Jobs = 1,
    minutes: Minutes = None,
    cfg_options: Options = None,
) -> None:
    """Train each network with each learning rate, shortly, and validate on held-back training images."""
    plan = _plan(study)
    if not plan.rates:
        typer.echo(f"error: {study} takes its learning rate from another study; there is nothing to choose", err=True)
        raise typer.Exit(1)
    common = (
        f"data.val_fraction={plan.held_back}",
        f"schedule.epochs={plan.tuning_epochs}",
        f"schedule.warmup_epochs={_short_warmup(plan)}",
        f"runtime.checkpoint_interval={plan.tuning_epochs}",
    )
    work = [
        Job(f"{study}/{config}/rate-{rate:g}", config, (*common, f"optimizer.lr={rate}"), has_test=False)
        for rate in rates or plan.rates
        for config in _chosen(plan, only)
    ]
    _carry_out(work, jobs, minutes, tuple(cfg_options or ()))


@app.command()
def train(
    study: str,
    only: Names = None,
    seeds: Annotated[list[int] | None, typer.Option(help="Seeds; default: the study's.")] = None,
    jobs: Jobs = 1,
    minutes: Minutes = None,
    cfg_options: Options = None,
) -> None:
    """Train each network with each seed on all training images, and test it once, at the end."""
    plan = _plan(study)
    for config in _chosen(plan, only):
        _compare_rates(study, config, load_experiment(config, cfg_options or ()).optimizer.lr, plan.rates)
    work = [
        Job(f"{study}/{config}/seed-{seed}", config, ("runtime.validate=False", f"runtime.seed={seed}"), has_test=True)
        for seed in seeds or plan.seeds
        for config in _chosen(plan, only)
    ]
    _carry_out(work, jobs, minutes, tuple(cfg_options or ()))


@app.command()
def export(study: str, folder: Path, only: Names = None) -> None:
    """Write the weights of all finished final runs into a folder, as float16, and all records into its logs."""
    chosen = _chosen(_plan(study), only)
    records = [record for config in chosen for record in sorted((LOGS / study / config).glob("seed-*.jsonl"))]
    if not records:
        typer.echo(f"error: no final run of {study} is finished; train them first", err=True)
        raise typer.Exit(1)
    lost = False
    for record in records:
        name = record.relative_to(LOGS).with_suffix("").as_posix()
        checkpoint = CheckpointFolder(RUNS / name, keep=None).last()
        if checkpoint is None:
            typer.echo(f"error: {name} was trained elsewhere, or its checkpoints are gone", err=True)
            lost = True
            continue
        folder.mkdir(parents=True, exist_ok=True)
        typer.echo(publish(checkpoint, folder / f"{name.replace('/', '.')}.safetensors", half=True))
    shutil.copytree(LOGS / study, folder / "logs" / study, dirs_exist_ok=True)
    if lost:
        raise typer.Exit(1)


def _short_warmup(plan: Study) -> int:
    """Return the epochs of warm-up that are the same part of a try as of a final run, or one if that is less."""
    schedule = load_experiment(plan.configs[0]).schedule
    return min(schedule.warmup_epochs, max(1, round(schedule.warmup_epochs * plan.tuning_epochs / schedule.epochs)))


def _plan(study: str) -> Study:
    if study not in STUDIES:
        raise typer.BadParameter(f"{study!r}; there are {', '.join(STUDIES)}", param_hint="STUDY")
    return STUDIES[study]


def _chosen(plan: Study, only: list[str] | None) -> list[str]:
    for name in only or ():
        if name not in plan.configs:
            raise typer.BadParameter(f"{name!r}; there are {', '.join(plan.configs)}", param_hint="--only")
    return [config for config in plan.configs if not only or config in only]


def _carry_out(work: list[Job], jobs: int, minutes: float | None, options: tuple[str, ...]) -> None:
    """Run what is not done, `jobs` at a time; end with a status that says whether all is."""
    _check_settings(work, options)
    end = None if minutes is None else time.monotonic() + 60 * minutes
    RUNS.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(RUNS / ".lock", blocking=False):
            _wait_for_others(end)
            failed = _run_all([job for job in work if not _record(job).is_file()], len(work), jobs, end, options)
    except Timeout:
        typer.echo(f"error: another command of the study is at work in {RUNS}; wait for it, or end it", err=True)
        raise typer.Exit(1) from None
    if failed:
        raise typer.Exit(1)
    if not all(_record(job).is_file() for job in work):
        raise typer.Exit(STILL_TO_DO)


def _wait_for_others(end: float | None) -> None:
    """Wait for runs that a killed command left behind: beside others they would take longer than is recorded."""
    told: set[Path] = set()
    while others := {lock.parent for lock in RUNS.glob("*/*/*/.lock") if read_history(lock.parent).state == "running"}:
        if others - told:
            typer.echo(f"waiting for runs of an earlier command: {', '.join(sorted(map(str, others)))}")
            told |= others
        if end is not None and time.monotonic() > end:
            return
        time.sleep(1)


def _run_all(todo: list[Job], count: int, jobs: int, end: float | None, options: tuple[str, ...]) -> list[Job]:
    """Run `todo`, of `count` in all, until `end`; return those that failed."""
    typer.echo(f"{count - len(todo)} of {count} runs are done")
    failed, waiting, told = [], list(todo), time.monotonic()
    threads = max(_available_cores() // jobs, 1)
    torch.set_num_threads(threads)  # tests are made here, while other runs train
    with _processes() as running:
        while waiting or running:
            for job, process in list(running.items()):
                if process.poll() is None:
                    continue
                del running[job]
                try:
                    typer.echo(f"{job.name}: {_finish(job, process.returncode, jobs)}")
                except (T2TViTError, OSError, RuntimeError) as error:  # as is want of memory
                    failed.append(job)
                    typer.echo(f"{job.name}: {error}", err=True)
            while waiting and len(running) < jobs:
                job = waiting.pop(0)
                running[job] = _start(job, options, threads)
                typer.echo(f"{job.name}: begun")
            if end is not None and time.monotonic() > end:
                typer.echo(f"time is up: {len(running) + len(waiting)} runs to go; the same command goes on")
                break
            if time.monotonic() - told > TELL_EVERY_S:
                told = time.monotonic()
                for job in running:
                    typer.echo(f"{job.name}: {_last_line(job)}")
            time.sleep(0.5)
    return failed


def _compare_rates(study: str, config: str, rate: float, planned: tuple[float, ...]) -> None:
    """Say so if a config's rate is not the best of those tried, or if not all were tried that are `planned`."""
    tries = read_tries(LOGS / study / config)
    untried = ", ".join(f"{other:g}" for other in planned if other not in tries)
    if untried:
        typer.echo(f"warning: {config} was not tried with optimizer.lr={untried}; tune first", err=True)
    best = [tried for tried, accuracy in tries.items() if accuracy == max(tries.values())]
    if best and rate not in best:
        told = " or ".join(f"{tried:g}" for tried in best)
        typer.echo(f"warning: {config} has optimizer.lr={rate:g}; the best of those tried is {told}", err=True)


def _record(job: Job) -> Path:
    return LOGS / f"{job.name}.jsonl"


def _check_settings(work: list[Job], options: tuple[str, ...]) -> None:
    """Refuse what is there from runs with other settings: it is no part of this study."""
    for job in work:
        folder = RUNS / job.name
        asked = experiment_to_dict(load_experiment(job.config, (*job.options, *options)))
        asked = json.loads(json.dumps(asked))
        if _record(job).is_file():
            settings = json.loads(_record(job).read_text(encoding="utf-8").splitlines()[0])["settings"]
            asked["data"]["dataset"] = settings["data"]["dataset"]  # the same images may have lain in folders there
        elif (folder / "experiment.json").is_file():
            settings = json.loads((folder / "experiment.json").read_text(encoding="utf-8"))
        else:
            continue
        other = differences(settings, asked)
        if other:
            place = _record(job) if _record(job).is_file() else folder
            typer.echo(f"error: {place} is of a run with other settings: {other}; take it away", err=True)
            raise typer.Exit(1)


@contextmanager
def _processes() -> Iterator[dict[Job, subprocess.Popen[bytes]]]:
    """Give a place for processes, which are asked to stop and save at the end, also if this one is ended."""
    for asked in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(asked) is not signal.SIG_IGN:  # as under nohup
            signal.signal(asked, lambda number, _: sys.exit(128 + number))
    running: dict[Job, subprocess.Popen[bytes]] = {}
    try:
        yield running
    finally:
        for process in running.values():
            process.send_signal(signal.SIGTERM)
        for process in running.values():
            process.wait()


def _available_cores() -> int:
    """Return how many cores this process may use: `taskset` and job schedulers leave it fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _start(job: Job, options: tuple[str, ...], threads: int) -> subprocess.Popen[bytes]:
    (RUNS / job.name).mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable, "-m", "t2t_vit", "train", job.config, "--work-dir", str(RUNS / job.name), "--resume", "auto",
        "--cfg-options", *job.options, *options,
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    if not torch.cuda.is_available():
        # timm's fused attention is slow in bfloat16 on a CPU, as ours would be (benchmarks/attention.py).
        environment["TIMM_FUSED_ATTN"] = "0"
    with (RUNS / f"{job.name}.txt").open("ab") as output:
        return subprocess.Popen(
            command, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )


def _finish(job: Job, status: int, jobs: int) -> str:
    """Write the record of a run that has ended; return its figures."""
    if status != 0:
        raise TrainingError(f"status {status}, see {RUNS / job.name}.txt")
    return write_record(job.name, job.has_test, jobs, RUNS, LOGS)


def _last_line(job: Job) -> str:
    lines = (RUNS / f"{job.name}.txt").read_text(encoding="utf-8", errors="replace").splitlines()
    return lines[-1] if lines else "starting"


if __name__ == "__main__":
    try:
        app(expand(sys.argv[1:]))
    except (T2TViTError, OSError) as error:
        sys.exit(f"error: {' '.join(str(error).split())}")
