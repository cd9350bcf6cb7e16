"""What a run leaves about itself in its work folder."""

from __future__ import annotations

import json
import platform
import sys
from pathlib import Path

import torch

from t2t_vit.config import Experiment, experiment_to_json
from t2t_vit.errors import TrainingError
from t2t_vit.files import write_text


def write_about(folder: Path, experiment: Experiment) -> None:
    """Write the resolved config and what it runs on into the work folder."""
    import PIL
    import timm
    import torchvision

    import t2t_vit

    environment = {
        "command": sys.argv,
        "t2t_vit": t2t_vit.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "timm": timm.__version__,
        "pillow": PIL.__version__,
        "cuda": torch.version.cuda if torch.cuda.is_available() else None,
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "threads": torch.get_num_threads(),
    }
    try:
        write_text(folder / "experiment.json", experiment_to_json(experiment) + "\n")
        write_text(folder / "environment.json", json.dumps(environment, indent=2) + "\n")
    except OSError as error:
        raise TrainingError(f"cannot write into the work folder {folder} ({error.strerror})") from None
