"""Train in processes of their own, forked from one that has imported everything already.

A line of JSON on standard input starts a run of one or more processes; their numbers are the answer, a line too.
What they say goes into files, so that nobody waits for a reader. Started by the fixture `runs`.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import traceback
from pathlib import Path

import torch

from t2t_vit import run
from t2t_vit.config import experiment_from_json
from t2t_vit.data.loaders import TrainingLoader
from t2t_vit.engine.stopping import TrainingStopped
from t2t_vit.engine.trainer import Trainer
from t2t_vit.errors import T2TViTError

#: What launchers tell a process: its number, that on its machine, and how many there are.
VARIABLES = {
    "pytorch": ("RANK", "LOCAL_RANK", "WORLD_SIZE"),
    "slurm": ("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NTASKS"),
    "mpi": ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_SIZE"),
}


def main() -> None:
    torch.set_num_threads(1)
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        pids = []
        for rank in range(request["world_size"]):
            pid = os.fork()
            if pid == 0:
                os._exit(train(request, rank))
            pids.append(pid)
        print(json.dumps(pids), flush=True)
        ended = {}
        for _ in pids:
            pid, status = os.wait()
            ended[pid] = os.waitstatus_to_exitcode(status)
        print(json.dumps([ended[pid] for pid in pids]), flush=True)


def train(request: dict[str, object], rank: int) -> int:
    """Do what the command does: the exit status, and one line on what went wrong."""
    output = Path(str(request["output"]))
    with (output / f"said-{rank}.txt").open("a", encoding="utf-8", buffering=1) as said:
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
        sys.stdout = sys.stderr = said
        names = VARIABLES[str(request["launcher"])]
        os.environ |= dict(zip(names, [str(rank), str(rank), str(request["world_size"])], strict=True))
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(request["port"])}
        if request["memory_mib"] is not None:
            resource.setrlimit(resource.RLIMIT_AS, (int(str(request["memory_mib"])) * 2**20,) * 2)
        note_samples(output / f"samples-{rank}.txt")
        if request["stop_at"] is not None and rank == request["stopped_rank"]:
            stop_at(int(str(request["stop_at"])), int(str(request["signal"])))
        try:
            run.train(
                experiment_from_json(str(request["experiment"]), "the test's"),
                str(request["work_dir"]),
                resume=request["resume"],
                launcher="none" if request["world_size"] == 1 else request["launcher"],
            )
        except TrainingStopped as stopped:
            print(stopped)
            return stopped.status
        except T2TViTError as error:
            print(f"error: {error}")
            return 1
        except BaseException:
            traceback.print_exc()
            return 2
    return 0


def note_samples(path: Path) -> None:
    """Write a line for each batch that training takes: which images are in it."""
    from_step = TrainingLoader.from_step

    def noting(self, epoch, step):
        for batch in from_step(self, epoch, step):
            with path.open("a", encoding="utf-8") as file:
                file.write(" ".join(map(str, [epoch, *batch.indices.tolist()])) + "\n")
            yield batch

    TrainingLoader.from_step = noting


def stop_at(step: int, number: int) -> None:
    """Send this process a signal in `step`, counted from 1."""
    train_step = Trainer._train_step

    def signal_and_train(self, batches):
        if self.state.step == step - 1:
            signal.raise_signal(number)
        return train_step(self, batches)

    Trainer._train_step = signal_and_train


if __name__ == "__main__":
    main()
