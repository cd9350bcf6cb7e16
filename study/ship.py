"""Put the T2T-ViT of a study into the package: weights as float16, a card, its hash.

    python study/ship.py cifar100

It is that of the first seed, whatever the test said of the others. What the card tells is measured on the file itself,
in float32, as it is used.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
import tempfile
import textwrap
from pathlib import Path
from string import Template
from typing import Annotated, Any

import torch
import typer
from plans import STUDIES
from record import calibration_error, on_test_images
from safetensors import safe_open
from safetensors.torch import load_file

from t2t_vit import run
from t2t_vit.config import Experiment, experiment_to_json, load_experiment
from t2t_vit.engine.checkpoint import CheckpointFolder
from t2t_vit.errors import T2TViTError
from t2t_vit.evaluation.confidence import accuracy_interval
from t2t_vit.files import write_text, written_whole
from t2t_vit.weights.save import publish, to_safetensors

STUDY = Path(__file__).parent
SHIPPED = STUDY.parent / "src" / "t2t_vit" / "shipped"


def main(study: Annotated[str, typer.Argument(help=f"One of {', '.join(STUDIES)}.")]) -> None:
    """Write weights, card and hash into the package."""
    if study not in STUDIES:
        raise typer.BadParameter(f"{study!r}; there are {', '.join(STUDIES)}")
    config, seed = STUDIES[study].configs[0], STUDIES[study].seeds[0]
    name = f"{study}/{config}/seed-{seed}"
    record, folder = STUDY / "logs" / f"{name}.jsonl", STUDY / "runs" / name
    checkpoint = CheckpointFolder(folder, keep=None).last()
    if not record.is_file() or checkpoint is None:
        sys.exit(f"error: {name} is not finished: {record} and {folder} should be there")
    header = json.loads(record.read_text(encoding="utf-8").splitlines()[0])
    experiment = run.stored_experiment(folder)
    exact = dataclasses.replace(
        on_test_images(experiment), runtime=dataclasses.replace(experiment.runtime, precision="float32")
    )
    with tempfile.TemporaryDirectory() as scratch:
        published = publish(checkpoint, Path(scratch) / "weights.safetensors", half=True)
        tested = run.test(exact, published, keep_scores=True)
        content = _without_place(published, experiment, config)
    card = _card(study, config, header, tested, content)
    SHIPPED.mkdir(parents=True, exist_ok=True)
    write_text(SHIPPED / f"{config}.md", card)
    with written_whole(SHIPPED / f"{config}.safetensors") as temporary:
        temporary.write_bytes(content)
    files = sorted(SHIPPED.glob("*.safetensors"))
    sums = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files]
    write_text(SHIPPED / "SHA256SUMS", "".join(sums))
    print(f"{SHIPPED / config}.safetensors: top-1 {tested.evaluation.metrics['accuracy/top1']:.2f} %")


def _without_place(published: Path, experiment: Experiment, config: str) -> bytes:
    """Return the file as it is to be shipped: where the images were on this machine is nobody's concern."""
    settings = dataclasses.replace(experiment, data=load_experiment(config).data)
    with safe_open(published, "pt") as file:
        metadata = file.metadata() | {"experiment": experiment_to_json(settings)}
    return to_safetensors(load_file(published), metadata)


def _card(study: str, config: str, header: dict[str, Any], tested: run.TestRun, content: bytes) -> str:
    """Return the model card, in Markdown."""
    evaluation = tested.evaluation
    scores, labels = torch.as_tensor(evaluation.scores), torch.as_tensor(evaluation.labels)
    right = scores.argmax(1) == labels
    low, high = accuracy_interval(int(right.sum()), len(right))
    best = scores.max(1).values
    sure = best >= 0.9
    return Template((STUDY / "card.md").read_text(encoding="utf-8")).substitute(
        config=config,
        classes=scores.shape[1],
        names=textwrap.fill(f"{', '.join(tested.images.classes)}.", 120, break_on_hyphens=False),
        data=STUDIES[study].images,
        parameters=f"{header['parameters'] / 1e6:.2f}",
        macs=f"{header['macs'] / 1e6:.0f}",
        seed=header["settings"]["runtime"]["seed"],
        epochs=header["settings"]["schedule"]["epochs"],
        minutes=f"{header['seconds'] / 60:.0f}",
        hardware=header["hardware"],
        precision=header["settings"]["runtime"]["precision"],
        versions=", ".join(f"{name} {version}" for name, version in header["versions"].items()),
        images=f"{len(right):,}",
        top1=f"{100 * float(right.float().mean()):.2f}",
        low=f"{low:.2f}",
        high=f"{high:.2f}",
        top5=f"{evaluation.metrics['accuracy/top5']:.2f}",
        calibration=f"{calibration_error(scores, labels):.1f}",
        confidence=f"{100 * float(best.mean()):.1f}",
        sure=f"{100 * float(sure.float().mean()):.0f}",
        sure_right=f"{100 * float(right[sure].float().mean()):.1f}",
        digest=hashlib.sha256(content).hexdigest(),
        size=f"{len(content) / 1e6:.1f}",
    )


if __name__ == "__main__":
    try:
        typer.run(main)
    except T2TViTError as error:
        sys.exit(f"error: {' '.join(str(error).split())}")
