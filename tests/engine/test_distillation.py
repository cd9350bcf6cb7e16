"""A teacher's answers as part of the loss: its formula, and what it does to a run."""

from __future__ import annotations

import dataclasses
import logging
import math
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from t2t_vit import T2TViT, run
from t2t_vit.config import Data, Experiment, Model, Optimizer, Preprocessing, Runtime, Schedule
from t2t_vit.data.sets.digits import Digits
from t2t_vit.engine.distillation import Distillation
from t2t_vit.engine.log import RunLog
from t2t_vit.engine.stopping import TrainingStopped
from t2t_vit.errors import ConfigError
from t2t_vit.hub import build_model
from t2t_vit.run import training

TINY: dict[str, Any] = {
    "img_size": 32, "soft_splits": ((7, 2, 3), (3, 2, 1), (3, 2, 1)), "token_dim": 8, "embed_dim": 24, "depth": 1,
    "num_heads": 2,
}  # fmt: skip
DIGITS: dict[str, Any] = {
    **TINY,
    "img_size": 8,
    "in_chans": 1,
    "soft_splits": ((3, 2, 1), (3, 1, 1)),
    "num_classes": 10,
}
LOGITS = [[2.0, -1.0, 0.5], [0.0, 3.0, 1.0]]
TEACHER = [[1.0, 0.0, -2.0], [0.5, -0.5, 2.5]]


def softmax(row: list[float], temperature: float) -> list[float]:
    powers = [math.exp(z / temperature) for z in row]
    return [power / sum(powers) for power in powers]


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_the_soft_loss_is_the_divergence_from_the_teacher_times_the_squared_temperature(temperature):
    divergences = [
        sum(p * math.log(p / q) for p, q in zip(softmax(theirs, temperature), softmax(ours, temperature), strict=True))
        for theirs, ours in zip(TEACHER, LOGITS, strict=True)
    ]
    expected = 0.3 * 7.0 + 0.7 * temperature**2 * sum(divergences) / 2

    distillation = Distillation(torch.nn.Identity(), "soft", 0.7, temperature)
    loss = distillation.loss(torch.tensor(7.0), torch.tensor(LOGITS), torch.tensor(TEACHER))

    assert float(loss) == pytest.approx(expected, rel=1e-6)


def test_the_hard_loss_takes_the_teachers_best_class_for_a_label():
    expected = 0.75 * 7.0 - 0.25 * (math.log(softmax(LOGITS[0], 1)[0]) + math.log(softmax(LOGITS[1], 1)[2])) / 2

    distillation = Distillation(torch.nn.Identity(), "hard", 0.25, 1.0)
    loss = distillation.loss(torch.tensor(7.0), torch.tensor(LOGITS), torch.tensor(TEACHER))

    assert float(loss) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("kind", ["soft", "hard"])
def test_the_gradient_reaches_the_student_and_not_the_teacher(kind):
    teacher, logits = torch.nn.Linear(4, 3), torch.tensor(LOGITS, requires_grad=True)
    distillation = Distillation(teacher, kind, 0.5, 1.0)

    distillation.loss(logits.sum() * 0, logits, distillation.ask(torch.ones(2, 4), None)).backward()

    assert logits.grad is not None
    assert logits.grad.abs().max() > 0.01
    assert teacher.weight.grad is None


def test_the_teacher_computes_in_the_type_of_the_run():
    seen = []

    class Teacher(torch.nn.Linear):
        def forward(self, x):
            seen.append(super().forward(x).dtype)
            return super().forward(x)

    distillation = Distillation(Teacher(4, 3), "soft", 0.5, 1.0)
    answers = [distillation.ask(torch.ones(2, 4), autocast) for autocast in (None, torch.bfloat16)]

    assert seen == [torch.float32, torch.bfloat16]
    assert [answer.dtype for answer in answers] == [torch.float32] * 2


@pytest.fixture(scope="module")
def digits() -> tuple[torch.Tensor, torch.Tensor]:
    """The digits to train on, (1438, 1, 8, 8) around zero, and their labels."""
    images = Digits("train")
    pixels = torch.stack([torch.from_numpy(np.array(images.load(i, "L"))) for i in range(len(images))])
    return pixels.float().div(127.5).sub(1).unsqueeze(1), torch.tensor(images.labels)


def train(network: T2TViT, digits, loss_of: Callable[..., torch.Tensor], num_steps: int) -> None:
    """Train on batches of 128 of the first 1200 digits."""
    images, labels = digits
    optimizer = torch.optim.AdamW(network.parameters(), lr=5e-3)
    draw = torch.Generator().manual_seed(0)
    for _ in range(num_steps):
        batch = torch.randperm(1200, generator=draw)[:128]
        loss = loss_of(network(images[batch]), images[batch], labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def shares(network: T2TViT, digits) -> tuple[float, float]:
    """Return how often `network` says the label of the last 238 digits, and how often the label plus one."""
    with torch.no_grad():
        said = network.eval()(digits[0][1200:]).argmax(1)
    labels = digits[1][1200:]
    return float((said == labels).float().mean()), float((said == (labels + 1) % 10).float().mean())


@pytest.fixture(scope="module")
def teacher(digits) -> T2TViT:
    """A teacher that takes each digit for the next: what it knows is not in the labels."""
    torch.manual_seed(0)
    network = T2TViT(**{**DIGITS, "embed_dim": 32})
    train(network, digits, lambda logits, _, labels: F.cross_entropy(logits, (labels + 1) % 10), 200)
    assert shares(network, digits)[1] > 0.7
    return network


@pytest.mark.parametrize("kind", ["soft", "hard"])
def test_a_student_learns_digits_from_its_teacher(kind, digits, teacher):
    torch.manual_seed(1)
    student = T2TViT(**DIGITS)
    distillation = Distillation(teacher, kind, alpha=0.9, temperature=2.0)

    def loss_of(logits, images, labels):
        return distillation.loss(F.cross_entropy(logits, labels), logits, distillation.ask(images, None))

    train(student, digits, loss_of, 200)

    assert shares(student, digits)[0] < 0.1
    assert shares(student, digits)[1] > 0.7  # measured: 0.82 for both kinds


# Whole runs.


@pytest.fixture
def pictures(tmp_path) -> Path:
    """12 pictures to train on and 3 to validate with, of three classes."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 1)):
        for name in ("cat", "dog", "owl"):
            (tmp_path / "pictures" / split / name).mkdir(parents=True)
            for n in range(count):
                pixels = rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / "pictures" / split / name / f"{n}.png")
    return tmp_path / "pictures"


@pytest.fixture
def recipe(pictures):
    """Return the published recipe, Mixup and all, for a tiny model, with other settings by section."""

    def make(**sections: dict[str, Any]) -> Experiment:
        base = Experiment(
            model=Model(**TINY),
            data=Data(root=str(pictures), batch_size=4, num_workers=0),
            optimizer=Optimizer(clip_grad_norm=1.0),
            schedule=Schedule(epochs=2, warmup_epochs=1, cooldown_epochs=0),
            runtime=Runtime(log_interval=2, device="cpu"),
        )
        changed = {name: dataclasses.replace(getattr(base, name), **values) for name, values in sections.items()}
        return dataclasses.replace(base, **changed)

    return make


def save_teacher(path: Path, model: Model | None = None, classes: list[str] | None = None, **sections: Any) -> dict:
    """Save an untrained teacher and its config; return the settings that name them."""
    from t2t_vit.config import experiment_to_json

    torch.manual_seed(7)
    model = model or Model(**{**TINY, "embed_dim": 32}, num_classes=3)
    experiment = Experiment(model=model, **sections)
    network = build_model(experiment)
    with torch.no_grad():
        network.head.weight.mul_(50)  # so that it has opinions
    path.with_suffix(".json").write_text(experiment_to_json(experiment), encoding="utf-8")
    content = {"model": network.state_dict(), "classes": classes} if classes else network.state_dict()
    torch.save(content, path)
    return {"teacher": str(path.with_suffix(".json")), "teacher_weights": str(path)}


def content(path: Path) -> Any:
    return torch.load(path, weights_only=True)


def test_a_teacher_changes_what_is_learnt_and_stays_as_it_is(recipe, tmp_path, monkeypatch):
    teachers = []
    build = training.distillation_of
    monkeypatch.setattr(training, "distillation_of", lambda *a: teachers.append(build(*a)) or teachers[-1])
    settings = save_teacher(tmp_path / "teacher.pth")

    alone = content(run.train(recipe(), tmp_path / "alone"))["model"]
    taught = content(run.train(recipe(distillation=settings), tmp_path / "taught"))["model"]

    assert teachers[0] is None
    assert not torch.equal(alone["head.weight"], taught["head.weight"])
    network = teachers[1].teacher
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())
    for name, value in content(tmp_path / "teacher.pth").items():
        assert torch.equal(network.state_dict()[name], value), name


def test_the_teacher_sees_the_mixed_batch_that_the_student_sees(recipe, tmp_path, monkeypatch):
    asked, seen = [], []
    ask, forward = Distillation.ask, T2TViT.forward
    monkeypatch.setattr(Distillation, "ask", lambda self, x, autocast: asked.append(x) or ask(self, x, autocast))
    monkeypatch.setattr(
        T2TViT, "forward", lambda self, x: (seen.append(x) if self.training else None, forward(self, x))[1]
    )

    run.train(
        recipe(distillation=save_teacher(tmp_path / "teacher.pth"), runtime={"validate": False}), tmp_path / "run"
    )

    assert len(asked) == len(seen) == 6
    assert all(torch.equal(a, b) for a, b in zip(asked, seen, strict=True))


def test_a_distilled_run_that_was_stopped_goes_on_as_if_it_had_not(recipe, tmp_path, monkeypatch):
    experiment = recipe(distillation={**save_teacher(tmp_path / "teacher.pth"), "kind": "soft", "temperature": 2.0})
    whole = content(run.train(experiment, tmp_path / "whole"))
    advance = RunLog.advance

    def advance_and_signal(self, now, status=""):
        advance(self, now, status)
        if now == 4 and not status:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(RunLog, "advance", advance_and_signal)
        with pytest.raises(TrainingStopped):
            run.train(experiment, tmp_path / "parts")
    parts = content(run.train(experiment, tmp_path / "parts", resume="last"))

    assert parts["losses"] == whole["losses"]
    for name, value in whole["model"].items():
        assert torch.equal(value, parts["model"][name]), name


@pytest.mark.parametrize(
    ("model", "sections", "classes", "message"),
    [
        ({"num_classes": 4}, {}, None, r"has 4 classes and the training images have 3"),
        ({}, {}, ["owl", "cat", "dog"], r"label 0 is 'owl' to the teacher .* and 'cat' in the training images"),
        (
            {"in_chans": 1},
            {"preprocessing": Preprocessing(mean=(0.5,), std=(0.5,))},
            None,
            r"takes images of 1 channels and model\.in_chans is 3",
        ),
        ({}, {"preprocessing": Preprocessing(mean=(0.5,) * 3)}, None, r"normalized with mean \(0\.5, 0\.5, 0\.5\)"),
    ],
    ids=["number of classes", "order of classes", "channels", "normalization"],
)
def test_a_teacher_that_does_not_fit_is_refused_before_anything_is_written(
    model, sections, classes, message, recipe, tmp_path
):
    settings = save_teacher(tmp_path / "teacher.pth", Model(**{**TINY, "num_classes": 3, **model}), classes, **sections)
    with pytest.raises(ConfigError, match=message) as raised:
        run.train(recipe(distillation=settings), tmp_path / "run")
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "run").exists()


def test_other_names_for_the_classes_are_told(recipe, tmp_path, caplog):
    settings = save_teacher(tmp_path / "teacher.pth", classes=["cat", "Hund", "Eule"])
    with caplog.at_level(logging.WARNING, logger="t2t_vit"):
        run.train(recipe(distillation=settings), tmp_path / "run")
    assert "label 1 is 'Hund' to the teacher" in caplog.text
    assert "2 labels in all differ" in caplog.text


def test_a_teacher_without_weights_is_told(recipe, tmp_path):
    settings = save_teacher(tmp_path / "teacher.pth")
    with pytest.raises(ConfigError, match=r"distillation\.teacher: there are no published weights"):
        run.train(recipe(distillation={"teacher": settings["teacher"]}), tmp_path / "run")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"teacher_weights": "x.pth"}, r"teacher_weights is given without a distillation\.teacher"),
        ({"teacher": "t2t_vit_14", "temperature": 3.0}, r"temperature is 3\.0 and does nothing"),
        ({"teacher": "t2t_vit_14", "alpha": 0.0}, "greater than 0"),
        ({"teacher": "t2t_vit_14", "alpha": 1.5}, "less than or equal to 1"),
        ({"teacher": "t2t_vit_14", "kind": "medium"}, "'hard' or 'soft'"),
        ({"teacher": "t2t_vit_14", "kind": "soft", "temperature": 0.0}, "greater than 0"),
    ],
    ids=str,
)
def test_a_setting_that_cannot_be_or_has_no_effect_is_refused(values, message):
    from t2t_vit.config.validation import validate_experiment

    with pytest.raises(ConfigError, match=message):
        validate_experiment({"distillation": values}, "config")
