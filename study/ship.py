"""Put the network of a finished final run into the package: weights as float16, a card, its hash.

    python study/ship.py cifar100/t2t-vit-mini_cifar100/seed-0

What the card tells is measured on the file that is shipped.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tempfile
from pathlib import Path
from string import Template
from typing import Annotated, Any

import torch
import typer
from plans import STUDIES
from record import calibration_error

from t2t_vit import run
from t2t_vit.engine.checkpoint import CheckpointFolder
from t2t_vit.errors import T2TViTError
from t2t_vit.evaluation.confidence import accuracy_interval
from t2t_vit.files import write_text, written_whole
from t2t_vit.weights.save import publish

STUDY = Path(__file__).parent
SHIPPED = STUDY.parent / "src" / "t2t_vit" / "shipped"


def main(name: Annotated[str, typer.Argument(help="STUDY/CONFIG/seed-N, a run that is finished.")]) -> None:
    """Write weights, card and hash into the package."""
    if name.count("/") != 2:
        raise typer.BadParameter(f"{name!r}; expected STUDY/CONFIG/seed-N")
    record, folder = STUDY / "logs" / f"{name}.jsonl", STUDY / "runs" / name
    checkpoint = CheckpointFolder(folder, keep=None).last()
    if not record.is_file() or checkpoint is None:
        raise typer.BadParameter(f"{name!r} is no finished run: {record} and {folder} should be there")
    study, config, _ = name.split("/")
    header = json.loads(record.read_text(encoding="utf-8").splitlines()[0])
    with tempfile.TemporaryDirectory() as scratch:
        published = publish(checkpoint, Path(scratch) / "weights.safetensors", half=True)
        evaluation = run.test(run.stored_experiment(folder), published, keep_scores=True).evaluation
        digest = hashlib.sha256(published.read_bytes()).hexdigest()
        SHIPPED.mkdir(parents=True, exist_ok=True)
        with written_whole(SHIPPED / f"{config}.safetensors") as temporary:
            shutil.copyfile(published, temporary)
    write_text(SHIPPED / f"{config}.md", _card(study, config, header, evaluation, digest))
    files = sorted(SHIPPED.glob("*.safetensors"))
    sums = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files]
    write_text(SHIPPED / "SHA256SUMS", "".join(sums))
    print(f"{SHIPPED / config}.safetensors: top-1 {evaluation.metrics['accuracy/top1']:.2f} %")


def _card(study: str, config: str, header: dict[str, Any], evaluation: Any, digest: str) -> str:
    """Return the model card, in Markdown."""
    scores, labels = torch.as_tensor(evaluation.scores), torch.as_tensor(evaluation.labels)
    right = scores.argmax(1) == labels
    low, high = accuracy_interval(int(right.sum()), len(right))
    best = scores.max(1).values
    sure = best >= 0.9
    return Template((STUDY / "card.md").read_text(encoding="utf-8")).substitute(
        config=config,
        classes=scores.shape[1],
        data=STUDIES[study].images,
        parameters=f"{header['parameters'] / 1e6:.2f}",
        macs=f"{header['macs'] / 1e6:.0f}",
        seed=header["settings"]["runtime"]["seed"],
        epochs=header["settings"]["schedule"]["epochs"],
        minutes=f"{header['seconds'] / 60:.0f}",
        hardware=header["hardware"],
        versions=", ".join(f"{name} {version}" for name, version in header["versions"].items()),
        images=len(right),
        top1=f"{100 * float(right.float().mean()):.2f}",
        low=f"{low:.2f}",
        high=f"{high:.2f}",
        top5=f"{evaluation.metrics['accuracy/top5']:.2f}",
        calibration=f"{calibration_error(scores, labels):.1f}",
        confidence=f"{100 * float(best.mean()):.1f}",
        sure=f"{100 * float(sure.float().mean()):.0f}",
        sure_right=f"{100 * float(right[sure].float().mean()):.1f}",
        digest=digest,
        size=f"{(SHIPPED / f'{config}.safetensors').stat().st_size / 1e6:.1f}",
    )


if __name__ == "__main__":
    try:
        typer.run(main)
    except T2TViTError as error:
        sys.exit(f"error: {' '.join(str(error).split())}")
