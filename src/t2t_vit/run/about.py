"""What a run leaves about itself in its work folder."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from t2t_vit.config import Experiment, experiment_to_json
from t2t_vit.errors import TrainingError
from t2t_vit.files import write_text
from t2t_vit.run.precision import computes_in_bfloat16


def write_about(folder: Path, experiment: Experiment) -> None:
    """Write the resolved config, and what it runs on, into the work folder.

    Of a run that goes on, it is what the last part of it runs on; `earlier` has what others ran on, where it was else.

    Raises:
        TrainingError: The folder cannot be written.
    """
    try:
        write_text(folder / "experiment.json", experiment_to_json(experiment) + "\n")
        place, now = folder / "environment.json", _environment()
        write_text(place, json.dumps(now | {"earlier": _earlier(place, now)}, indent=2) + "\n")
    except OSError as error:
        raise TrainingError(f"cannot write into the work folder {folder} ({error.strerror})") from None


def _earlier(place: Path, now: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the environments of a run's parts so far, each once, without that of now."""
    try:
        last = json.loads(place.read_text(encoding="utf-8"))
        parts = [*last.pop("earlier", []), last]
    except (OSError, ValueError, AttributeError, TypeError):  # none, or damaged: it is not what a run depends on
        return []
    return [part for number, part in enumerate(parts) if part != now and part not in parts[:number]]


def _environment() -> dict[str, Any]:
    import PIL
    import timm
    import torchvision

    import t2t_vit

    return {
        "command": sys.argv,
        "folder": str(Path.cwd()),
        "host": platform.node(),
        "git": _git_state(Path.cwd()),
        "t2t_vit": t2t_vit.__version__,
        "t2t_vit_git": _git_state(Path(t2t_vit.__file__).parent),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "timm": timm.__version__,
        "pillow": PIL.__version__,
        "cuda": torch.version.cuda if torch.cuda.is_available() else None,
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "processor": _processor(),
        "cores": os.cpu_count(),
        "bfloat16": computes_in_bfloat16(torch.device("cpu")),
        "threads": torch.get_num_threads(),
    }


def _processor() -> str:
    """Return the name of the processor; of its architecture, where the system does not tell more."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return name or platform.processor() or platform.machine()


def _git_state(folder: Path) -> dict[str, Any] | None:
    """Return the commit that `folder` is checked out at, and whether tracked files differ; None outside of git.

    A folder that git ignores, such as an environment's packages within a checkout, is none of that checkout.
    """
    if _git(folder, "check-ignore", "--quiet", str(folder)) is not None:
        return None
    commit = _git(folder, "rev-parse", "HEAD")
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    if commit is None or changes is None:
        return None
    return {"commit": commit, "dirty": bool(changes)}


def _git(folder: Path, *arguments: str) -> str | None:
    """Return what git says to `arguments`; None where it fails or is not there."""
    # Without locks: a run must not get in the way of somebody who works in that checkout.
    command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return done.stdout.strip()
