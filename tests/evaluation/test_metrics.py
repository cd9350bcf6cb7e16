"""Figures of merit, against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix, log_loss, precision_recall_fscore_support, top_k_accuracy_score

from t2t_vit.evaluation.metrics import Metrics

NAMES = [
    "accuracy/top1", "accuracy/top5", "single-label/precision", "single-label/recall", "single-label/f1-score", "loss",
]  # fmt: skip


def random_case(num_classes, num_images, seed=0):
    """Logits that lean to the right class, and labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, num_classes, num_images)
    logits = rng.normal(size=(num_images, num_classes)) + 1.2 * np.eye(num_classes)[labels]
    return torch.from_numpy(logits).float(), torch.from_numpy(labels)


def figures(num_classes, logits, labels, batch_size=7):
    metrics = Metrics(num_classes, torch.device("cpu"))
    for part in range(0, len(labels), batch_size):
        metrics.update(logits[part : part + batch_size], labels[part : part + batch_size])
    return metrics.compute(), metrics.confusion_matrix()


@pytest.mark.parametrize("num_classes", [2, 3, 6, 20])
def test_figures_are_scikit_learns(num_classes):
    logits, labels = random_case(num_classes, 101)
    values, matrix = figures(num_classes, logits, labels)
    assert list(values) == NAMES
    predictions = logits.argmax(1).numpy()
    everything = np.arange(num_classes)
    precision, recall, f1, _ = precision_recall_fscore_support(labels, predictions, average="macro", zero_division=0)
    scores = logits.double().softmax(1).numpy()
    top5 = 1.0
    if num_classes > 5:
        top5 = top_k_accuracy_score(labels, scores, k=5, labels=everything)
    expected = {
        "accuracy/top1": 100 * float((predictions == labels.numpy()).mean()),
        "accuracy/top5": 100 * top5,
        "single-label/precision": 100 * precision,
        "single-label/recall": 100 * recall,
        "single-label/f1-score": 100 * f1,
        "loss": log_loss(labels, scores, labels=everything),
    }
    # Float32 sums of a hundred numbers.
    assert values == pytest.approx(expected, rel=1e-5)
    np.testing.assert_array_equal(matrix, confusion_matrix(labels, predictions, labels=everything))
    assert matrix.dtype == torch.int64


def test_classes_without_images_do_not_count_in_the_averages():
    logits, labels = random_case(10, 60, seed=1)
    labels = labels.clamp(max=6)
    values, _ = figures(10, logits, labels)
    present = np.unique(labels)
    assert len(present) < 10
    precision, recall, f1, _ = precision_recall_fscore_support(
        labels, logits.argmax(1), labels=present, average="macro", zero_division=0
    )
    assert values["single-label/precision"] == pytest.approx(100 * precision)
    assert values["single-label/recall"] == pytest.approx(100 * recall)
    assert values["single-label/f1-score"] == pytest.approx(100 * f1)


@pytest.mark.parametrize("num_classes", [5, 4, 3, 2, 1])
def test_top_5_of_five_classes_or_fewer_is_everything(num_classes):
    logits, labels = random_case(num_classes, 20)
    values, matrix = figures(num_classes, logits, labels)
    assert values["accuracy/top5"] == 100
    assert matrix.shape == (num_classes, num_classes)
    assert int(matrix.sum()) == 20


def test_single_class_is_always_right():
    values, matrix = figures(1, torch.randn(9, 1), torch.zeros(9, dtype=torch.int64))
    assert values == {**dict.fromkeys(NAMES, 100.0), "loss": 0.0}
    assert matrix.tolist() == [[9]]


def test_top_5_counts_the_fifth_and_not_the_sixth():
    logits = torch.arange(10.0).repeat(2, 1)
    values, _ = figures(10, logits, torch.tensor([5, 4]))
    assert values["accuracy/top5"] == 50


def test_batches_count_by_their_images():
    logits, labels = random_case(4, 50)
    whole, _ = figures(4, logits, labels, batch_size=50)
    for batch_size in (1, 7, 49):
        assert figures(4, logits, labels, batch_size)[0] == pytest.approx(whole, rel=1e-5)


def test_half_precision_logits_are_summed_in_float32():
    logits, labels = random_case(4, 50)
    rounded = logits.bfloat16()
    assert figures(4, rounded, labels)[0] == figures(4, rounded.float(), labels)[0]
