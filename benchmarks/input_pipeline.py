"""Training views a second, beside timm's loader with the same augmentations.

    OMP_NUM_THREADS=1 python benchmarks/input_pipeline.py --images 300 --rounds 5 --workers 1

Each loader has a process of its own, set up as training does it: what one does to its memory is not the other's. They
take turns, epoch by epoch, so that whatever else the machine does hits all of them; the first epoch of each is not
counted. Beside the wall time stands the time that the cores spent on it in the main process and the loading
ones, which a busy machine disturbs less. Linux only: it reads /proc.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy
import PIL
import timm
import torch
import torchvision
from photographs import write_photographs
from timm.data import ImageDataset, create_loader

from t2t_vit.config import Augmentation
from t2t_vit.data.augment import Augment
from t2t_vit.data.freed_memory import keep_freed_memory
from t2t_vit.data.loaders import training_loader
from t2t_vit.data.preprocess import Preprocess
from t2t_vit.data.samplers import TrainingBatches
from t2t_vit.data.sets.folders import ImageFolder
from t2t_vit.data.views import TrainingSet

SIZE, MEAN, STD = 224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
#: The published recipe; timm spells it so, too.
POLICY, ERASE = "rand-m9-n2-mstd0.5-inc1", 0.25
PREFETCHER = "timm, prefetcher"
LOADERS = ("t2t_vit", "timm", PREFETCHER)


class Ours:
    """This package's loader."""

    def __init__(self, folder: Path, batch_size: int, workers: int) -> None:
        recipe = Augmentation()
        assert (recipe.rand_augment, recipe.erase_prob, recipe.interpolation) == (POLICY, ERASE, "bicubic")
        names = "crop_scale crop_ratio hflip interpolation rand_augment erase_prob erase_area rotate translate"
        augment = Augment(
            Preprocess((SIZE, SIZE), 248, "bicubic", MEAN, STD), **{n: getattr(recipe, n) for n in names.split()}
        )
        images = ImageFolder(folder)
        self.batches = TrainingBatches(len(images), batch_size, seed=0)
        self.loader = training_loader(
            TrainingSet(images, augment, seed=0),
            self.batches,
            num_workers=workers,
            pin_memory=False,
            persistent_workers=True,
        )
        self.epoch = 0

    def run(self) -> Iterator[torch.Tensor]:
        self.epoch += 1
        for batch in self.loader.from_step(self.epoch, 0):
            yield batch.inputs(torch.device("cpu"))

    def workers(self) -> list[int]:
        return [worker.pid for worker in getattr(self.loader._batches, "_workers", [])]


class Timm:
    """timm's loader."""

    def __init__(self, folder: Path, batch_size: int, workers: int, prefetcher: bool) -> None:
        self.loader = create_loader(
            ImageDataset(str(folder)),
            input_size=(3, SIZE, SIZE),
            batch_size=batch_size,
            is_training=True,
            use_prefetcher=prefetcher,
            re_prob=ERASE,
            re_mode="pixel",
            color_jitter=0.0,
            auto_augment=POLICY,
            interpolation="bicubic",
            mean=MEAN,
            std=STD,
            num_workers=workers,
            device=torch.device("cpu"),
            persistent_workers=True,
        )
        self.inner = self.loader.loader if prefetcher else self.loader
        for transform in self.inner.dataset.transform.transforms:
            for operation in getattr(transform, "ops", []):
                if operation.name.startswith("Posterize"):  # 0 bits, which Pillow 13 refuses, would end the run
                    operation.aug_fn = _at_least_one_bit(operation.aug_fn)

    def run(self) -> Iterator[torch.Tensor]:
        for images, _ in self.loader:
            yield images

    def workers(self) -> list[int]:
        return [worker.pid for worker in getattr(self.inner._iterator, "_workers", [])]


def _at_least_one_bit(posterize: Callable[..., Any]) -> Callable[..., Any]:
    return lambda image, bits, **kwargs: posterize(image, max(bits, 1), **kwargs)


def cpu_seconds(processes: list[int]) -> float:
    """What the cores have spent on this process and others so far."""
    tasks = (task for process in processes for task in Path(f"/proc/{process}/task").iterdir())
    return time.process_time() + sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def epoch(loader: Any) -> dict[str, float]:
    """Milliseconds an image, by the clock and of the cores."""
    spent, start = cpu_seconds(loader.workers()), time.perf_counter()
    count = 0
    for images in loader.run():
        assert images.dtype == torch.float32
        assert images.shape[1:] == (3, SIZE, SIZE)
        count += len(images)
    wall = time.perf_counter() - start
    return {"wall": 1e3 * wall / count, "cpu": 1e3 * (cpu_seconds(loader.workers()) - spent) / count}


def about() -> dict[str, Any]:
    def git(*command: str) -> str:
        return subprocess.run(["git", *command], capture_output=True, text=True, check=False).stdout.strip()

    model = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), "")
    return {
        "commit": git("rev-parse", "--short", "HEAD") + (" and changes" if git("status", "--porcelain") else ""),
        "machine": f"{model.partition(':')[2].strip()}, {os.cpu_count()} cores, {platform.platform()}",
        "load": os.getloadavg()[0],
        "versions": {
            "python": platform.python_version(),
            **{library.__name__: library.__version__ for library in (torch, torchvision, timm, PIL, numpy)},
        },
    }


def serve(name: str, folder: Path, batch_size: int, workers: int) -> None:
    """Load an epoch, and print what it took, for each line on standard input."""
    torch.set_num_threads(1)
    shape = (folder, batch_size, workers)
    if name == "t2t_vit":
        keep_freed_memory()  # as run.train does
    loader = Ours(*shape) if name == "t2t_vit" else Timm(*shape, prefetcher=name == PREFETCHER)
    for _ in sys.stdin:
        print(json.dumps(epoch(loader)), flush=True)


class Served:
    """A loader in a process of its own."""

    def __init__(self, name: str, folder: Path, batch_size: int, workers: int) -> None:
        arguments = ["--serve", name, "--folder", folder, "--batch-size", str(batch_size), "--workers", str(workers)]
        self._process = subprocess.Popen(
            [sys.executable, __file__, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def epoch(self) -> dict[str, float]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        figures: dict[str, float] = json.loads(self._process.stdout.readline())
        return figures

    def close(self) -> None:
        self._process.communicate()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=30)
    parser.add_argument("--output", type=Path, help="a JSON file")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.folder, options.batch_size, options.workers)
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "images"
        write_photographs(folder, options.images)
        loaders = {name: Served(name, folder, options.batch_size, options.workers) for name in LOADERS}
        rounds: dict[str, list[dict[str, float]]] = {name: [] for name in loaders}
        for number in range(options.rounds + 1):
            for name, loader in loaders.items():
                figures = loader.epoch()
                if number:
                    rounds[name].append(figures)
        for loader in loaders.values():
            loader.close()
    medians = {
        name: {kind: statistics.median(one[kind] for one in figures) for kind in ("wall", "cpu")}
        for name, figures in rounds.items()
    }
    print(f"{options.workers} workers, medians of {options.rounds} epochs of {options.images} images, ms an image")
    print(f"{'':18}{'wall':>8}{'cores':>8}")
    for name, figures in medians.items():
        print(f"{name:18}{figures['wall']:8.2f}{figures['cpu']:8.2f}")
    # Round by round, as what else the machine does changes within minutes.
    ratios = {
        kind: statistics.median(
            min(rounds[name][number][kind] for name in LOADERS if name != "t2t_vit") / ours[kind]
            for number, ours in enumerate(rounds["t2t_vit"])
        )
        for kind in ("wall", "cpu")
    }
    print(f"times the faster of timm's: {ratios['wall']:.2f} by the clock, {ratios['cpu']:.2f} of the cores")
    if options.output:
        settings = {name: vars(options)[name] for name in ("images", "rounds", "workers", "batch_size")}
        result = {"about": about(), "settings": settings, "ratios": ratios, "medians": medians, "rounds": rounds}
        options.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
