"""From a finished run to what is kept of it: one file of JSON lines.

The first line says what was run, on what and how long; then come the lines of the run's log; those of a final run end
with its test, of the raw weights and of their average.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torchmetrics.functional.classification import multiclass_calibration_error

from t2t_vit import run
from t2t_vit.config import Experiment, experiment_to_dict
from t2t_vit.engine.checkpoint import CheckpointFolder
from t2t_vit.engine.history import read_history
from t2t_vit.files import write_text
from t2t_vit.models.complexity import count_complexity
from t2t_vit.run.network import new_network

_BINS = 15  # of the calibration error, as in Guo et al., 2017
#: Settings that say where a run took place and not what it was.
_OF_THE_MACHINE = ("data.root", "data.download", "data.num_workers", "runtime.precision")


def write_record(name: str, has_test: bool, jobs: int, runs: Path, logs: Path) -> str:
    """Write the record of the finished run `name`, test it first if it `has_test`; return its figures in a line.

    Args:
        name: STUDY/CONFIG/WHICH.
        has_test: Whether it is a final run.
        jobs: How many ran at a time.
        runs: Where its folder is.
        logs: Where its record goes.
    """
    folder, target = runs / name, logs / f"{name}.jsonl"
    experiment = run.stored_experiment(folder)
    lines = [_header(name, folder, experiment) | {"jobs": jobs}]
    lines += [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    if has_test:
        checkpoint = CheckpointFolder(folder, keep=None).last()
        assert checkpoint is not None
        lines += [_tested(experiment, checkpoint, weights) for weights in ("raw", "ema")]
    target.parent.mkdir(parents=True, exist_ok=True)
    write_text(target, "".join(f"{json.dumps(line)}\n" for line in lines))
    last = lines[-1]
    return f"{last['kind']} top-1 {last['accuracy/top1']:.2f} %, {lines[0]['seconds'] / 60:.0f} min"


def read_tries(folder: Path) -> dict[float, float]:
    """Return the learning rates that a network was tried with, and the accuracy of each, in percent, by its average."""
    tries = {}
    for path in sorted(folder.glob("rate-*.jsonl")):
        header, *lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        last = next(line for line in lines[::-1] if line["kind"] == "val" and line["weights"] == "ema")
        tries[header["settings"]["optimizer"]["lr"]] = last["accuracy/top1"]
    return dict(sorted(tries.items()))


def differences(settings: dict[str, Any], asked: dict[str, Any]) -> str:
    """Return in which of its `settings` a run differs from those `asked` for, "" if in none.

    Where the images are and which precision the processor is fast in is no difference, nor is a number of classes that
    was left to the images.
    """
    found = [
        f"{part}.{key} {settings[part].get(key)!r} (now {value!r})"
        for part, values in asked.items()
        for key, value in values.items()
        if settings[part].get(key) != value
        and f"{part}.{key}" not in _OF_THE_MACHINE
        and (part, key, value) != ("model", "num_classes", None)
    ]
    return ", ".join(found)


def _header(name: str, folder: Path, experiment: Experiment) -> dict[str, Any]:
    study, config, which = name.split("/")
    model = experiment.model
    size = count_complexity(new_network(experiment), (model.in_chans, *model.image_height_width))
    settings = experiment_to_dict(experiment)
    settings["data"].pop("root")  # of this machine
    last = json.loads((folder / "environment.json").read_text(encoding="utf-8"))
    parts = [*last.get("earlier", []), last]
    code = [part["t2t_vit_git"] or {} for part in parts]
    return {
        "kind": "run",
        "study": study,
        "config": config,
        "which": which,
        "parameters": size.num_parameters,
        "macs": size.macs + size.attention_macs,
        "seconds": read_history(folder).seconds,
        "hardware": _each(_hardware(part, experiment.runtime.device) for part in parts),
        "versions": {name: _each(part[name] for part in parts) for name in ("t2t_vit", "python", "torch", "timm")},
        "commit": _each(state["commit"] for state in code if state) or None,
        "dirty": any(state.get("dirty") for state in code),
        "settings": settings,
    }


def _hardware(environment: dict[str, Any], device: str) -> str:
    if environment["gpus"] and device != "cpu":
        return str(environment["gpus"][0])
    of_all = f" of {environment['cores']}" if "cores" in environment else ""  # earlier versions did not say it
    return f"{environment['threads']}{of_all} cores, {environment.get('processor', environment['platform'])}"


def _each(values: Iterable[str]) -> str:
    """Return what the parts of a run have of something: ``2.15.0``, ``2.15.0 and 2.16.0``."""
    return " and ".join(dict.fromkeys(values))


def on_test_images(experiment: Experiment) -> Experiment:
    """Return `experiment` on the images that are held out for the test, also where it was judged by others."""
    return dataclasses.replace(experiment, data=dataclasses.replace(experiment.data, val_fraction=None))


def _tested(experiment: Experiment, checkpoint: Path, weights: str) -> dict[str, Any]:
    evaluation = run.test(on_test_images(experiment), checkpoint, weights=weights, keep_scores=True).evaluation
    return {
        "kind": "test",
        "weights": weights,
        "images": len(evaluation.labels),
        **evaluation.metrics,
        "calibration_error": calibration_error(torch.as_tensor(evaluation.scores), torch.as_tensor(evaluation.labels)),
        # Of each image, in the order of the data set: networks are compared on the same ones.
        "right": "".join(str(int(right)) for right in evaluation.predictions == evaluation.labels),
    }


def calibration_error(scores: torch.Tensor, labels: torch.Tensor) -> float:
    """Return by how many percent the best of `scores` (N, K) is off the share of them that are right, in the mean."""
    return 100 * float(multiclass_calibration_error(scores, labels, scores.shape[1], n_bins=_BINS))
