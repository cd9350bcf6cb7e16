"""Resident memory of a loading process and of the main one over many images, which must not grow.

OMP_NUM_THREADS=1 python benchmarks/memory.py --images 50000
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

import torch
from input_pipeline import Ours
from photographs import write_photographs


def resident_mib(process: int) -> float:
    line = next(line for line in Path(f"/proc/{process}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--every", type=int, default=5_000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "images"
        write_photographs(folder, 250)
        loader = Ours(folder, batch_size=50, workers=1)
        seen = 0
        while seen < options.images:
            for images in loader.run():
                seen += len(images)
                if seen % options.every == 0:
                    worker, main_process = (resident_mib(process) for process in (*loader.workers(), os.getpid()))
                    print(f"{seen:7} images: worker {worker:6.1f} MiB, main {main_process:6.1f} MiB", flush=True)


if __name__ == "__main__":
    main()
