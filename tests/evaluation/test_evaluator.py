"""A model over a data set: every image counted, the model left as it was."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from t2t_vit.evaluation.evaluator import EvaluationStopped, evaluate, joined

CPU = torch.device("cpu")


class Columns(nn.Module):
    """Logits are the means of the image's columns: a mirror image has them reversed."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(4)

    def forward(self, images):
        self.was_training = self.training
        self.dtype = torch.mm(images[0, 0], images[0, 0].T).dtype
        return 8 * images.mean(dim=(1, 2))


def batches(num_images, batch_size, rank=0, world_size=1):
    """Batches of (images, labels, indices) of one process."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(num_images, 3, 4, 4, generator=generator)
    labels = torch.randint(0, 4, (num_images,), generator=generator)
    share = torch.arange(rank, num_images, world_size)
    return [(images[part], labels[part], part) for part in share.split(batch_size)] if len(share) else []


def logits_of(batch_list):
    return torch.cat([8 * images.mean(dim=(1, 2)) for images, _, _ in batch_list])


def test_every_image_is_counted_once():
    data = batches(10, 4)
    result = evaluate(Columns(), data, 4, CPU, keep_scores=True)
    scores = logits_of(data).softmax(1)
    labels = torch.cat([batch[1] for batch in data])
    np.testing.assert_array_equal(result.indices, np.arange(10))
    np.testing.assert_array_equal(result.labels, labels)
    np.testing.assert_array_equal(result.predictions, scores.argmax(1))
    np.testing.assert_allclose(result.top_scores, scores.amax(1), rtol=1e-6)
    np.testing.assert_allclose(result.scores, scores, rtol=1e-6)
    assert result.metrics["accuracy/top1"] == pytest.approx(100 * float((scores.argmax(1) == labels).float().mean()))
    assert result.confusion.sum() == 10
    assert np.trace(result.confusion) == (scores.argmax(1) == labels).sum()


def test_scores_of_all_classes_are_kept_only_on_demand():
    assert evaluate(Columns(), batches(3, 2), 4, CPU).scores is None


@pytest.mark.parametrize("training", [True, False])
def test_model_is_evaluated_in_eval_mode_and_left_as_it_was(training):
    model = Columns().train(training)
    evaluate(model, batches(3, 2), 4, CPU)
    assert model.was_training is False
    assert model.training is model.norm.training is training


def test_model_is_left_as_it_was_after_an_error():
    model = Columns().train()
    with pytest.raises(IndexError):
        evaluate(model, [(torch.zeros(1), torch.zeros(1), torch.zeros(1))], 4, CPU)
    assert model.training


def test_nothing_is_recorded_for_gradients():
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 4))
    seen = []
    model.register_forward_hook(lambda _, __, out: seen.append(out.requires_grad))
    evaluate(model, batches(3, 2), 4, CPU)
    assert seen == [False, False]


def test_autocast_computes_in_the_type_given():
    model = Columns()
    evaluate(model, batches(3, 2), 4, CPU, autocast=torch.bfloat16)
    assert model.dtype == torch.bfloat16
    evaluate(model, batches(3, 2), 4, CPU)
    assert model.dtype == torch.float32


# --- test-time augmentation ---


def test_flip_averages_the_scores_of_picture_and_mirror_image():
    data = batches(10, 4)
    result = evaluate(Columns(), data, 4, CPU, flip=True, keep_scores=True)
    logits = logits_of(data)
    scores = (logits.softmax(1) + logits.flip(1).softmax(1)) / 2
    labels = torch.cat([batch[1] for batch in data])
    np.testing.assert_allclose(result.scores, scores, rtol=1e-5)
    loss = -scores[torch.arange(10), labels].log().mean()
    assert result.metrics["loss"] == pytest.approx(float(loss), rel=1e-5)
    assert not np.allclose(result.scores, logits.softmax(1))


def test_flip_survives_a_score_of_zero():
    images = torch.zeros(1, 3, 4, 4)
    images[..., :2] = 1000.0
    result = evaluate(Columns(), [(images, torch.tensor([0]), torch.tensor([0]))], 4, CPU, flip=True)
    assert np.isfinite(result.metrics["loss"])


# --- several processes ---


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_shares_are_joined_in_the_order_of_the_data_set(world_size):
    whole = evaluate(Columns(), batches(10, 4), 4, CPU, keep_scores=True)
    shares = [
        evaluate(Columns(), batches(10, 2, rank, world_size), 4, CPU, keep_scores=True) for rank in range(world_size)
    ]
    together = joined(shares)
    for name in ("indices", "labels", "predictions", "top_scores", "scores"):
        np.testing.assert_allclose(getattr(together, name), getattr(whole, name), rtol=1e-6)


# It warns in the process of rank 0 alone, whose share is never the empty one in a real run.
@pytest.mark.filterwarnings("ignore:The ``compute`` method of metric")
def test_process_without_images_has_an_empty_share():
    shares = [evaluate(Columns(), batches(2, 2, rank, 3), 4, CPU, keep_scores=True) for rank in range(3)]
    assert len(shares[2].indices) == 0
    together = joined(shares)
    assert together.indices.tolist() == [0, 1]
    assert together.scores.shape == (2, 4)
    assert together.labels.dtype == np.int64
    assert together.top_scores.dtype == np.float32


def test_shares_without_scores_are_joined_without():
    shares = [evaluate(Columns(), batches(4, 2, rank, 2), 4, CPU) for rank in range(2)]
    assert joined(shares).scores is None


# --- progress and stopping ---


def test_progress_is_told_by_batch():
    seen = []
    evaluate(Columns(), batches(10, 4), 4, CPU, on_batch=lambda size: bool(seen.append(size)))
    assert seen == [4, 4, 2]


def test_evaluation_stops_when_asked_and_leaves_the_model_as_it_was():
    model, seen = Columns().train(), []

    def stop_after_two(size):
        seen.append(size)
        return len(seen) == 2

    with pytest.raises(EvaluationStopped):
        evaluate(model, batches(10, 2), 4, CPU, on_batch=stop_after_two)
    assert len(seen) == 2
    assert model.training
