"""Real files of other training codes; how they were made is told in tests/golden/README.md."""

from __future__ import annotations

import lzma
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from t2t_vit.models import T2TViT
from t2t_vit.weights.load import Layout, read_checkpoint

GOLDEN = Path(__file__).parents[1] / "golden"

# float32 sums in another order: the two reference codes differ by 3e-6 on equal weights.
TOLERANCE = 1e-4


@pytest.fixture
def unpacked(tmp_path):
    """Return a function from a golden checkpoint's name to the path of its unpacked copy."""

    def unpack(name: str) -> Path:
        path = tmp_path / name
        path.write_bytes(lzma.decompress((GOLDEN / "checkpoints" / f"{name}.xz").read_bytes()))
        return path

    return unpack


def expected(name: str) -> dict[str, np.ndarray]:
    with np.load(GOLDEN / "checkpoints" / f"{name}.expected.npz") as file:
        return dict(file)


# MMEngine stores the average under the plain name.
@pytest.mark.parametrize(("weights", "stored_as"), [("raw", "ema_state_dict"), ("ema", "state_dict")])
def test_mmengine_checkpoint_gives_the_logits_of_mmpretrain(unpacked, weights, stored_as):
    checkpoint = read_checkpoint(unpacked("mmengine_training_epoch_2.pth"))
    assert checkpoint.layout == Layout.MMENGINE_TRAINING
    assert checkpoint.classes == ("class_0", "class_1", "class_2", "class_3")
    assert (checkpoint.meta["epoch"], checkpoint.meta["iter"]) == (2, 12)

    model = T2TViT(img_size=64, num_classes=4, embed_dim=48, depth=2, num_heads=3, mlp_ratio=2, token_dim=16)
    model.load_state_dict(checkpoint.state_dict(weights))
    image = runpy.run_path(str(GOLDEN / "fill.py"))["normalized_input"](7, 2, 64, 64)
    with torch.no_grad():
        logits = model.eval()(torch.from_numpy(image))
    reference = expected("mmengine_training_epoch_2")[stored_as]
    np.testing.assert_allclose(logits.numpy(), reference, atol=TOLERANCE, rtol=0)


def test_mmengine_checkpoint_is_read_without_mmengine(unpacked):
    read_checkpoint(unpacked("mmengine_training_epoch_2.pth"))
    assert "mmengine" not in sys.modules


@pytest.mark.parametrize(
    ("name", "layout", "weights", "stored_as"),
    [
        ("official_training_tiny.pth.tar", Layout.OFFICIAL_TRAINING, "ema", "state_dict_ema"),
        ("official_training_tiny.pth.tar", Layout.OFFICIAL_TRAINING, "raw", "state_dict"),
        ("official_finetuned_tiny.pth", Layout.OFFICIAL_FINETUNED, "raw", "net"),
    ],
)
def test_official_checkpoint_gives_the_official_logits(unpacked, name, layout, weights, stored_as):
    checkpoint = read_checkpoint(unpacked(name))
    assert checkpoint.layout == layout
    model = T2TViT(
        tokens="performer", img_size=64, num_classes=4, embed_dim=48, depth=2, num_heads=3, mlp_ratio=2, token_dim=16
    )
    model.load_state_dict(checkpoint.state_dict(weights))
    image = runpy.run_path(str(GOLDEN / "fill.py"))["normalized_input"](7, 2, 64, 64)
    with torch.no_grad():
        logits = model.eval()(torch.from_numpy(image))
    reference = expected(name.partition(".")[0])[stored_as]
    np.testing.assert_allclose(logits.numpy(), reference, atol=TOLERANCE, rtol=0)


def test_official_checkpoints_tell_what_they_say_beside_the_weights(unpacked):
    training = read_checkpoint(unpacked("official_training_tiny.pth.tar")).meta
    assert (training["arch"], training["epoch"], training["metric"]) == ("t2t_vit_7", 301, 71.7)
    assert isinstance(training["args"], dict)
    assert training["args"]["lr"] == 0.001
    assert read_checkpoint(unpacked("official_finetuned_tiny.pth")).meta == {"acc": 98.3, "epoch": 59}


def test_average_of_the_official_training_is_what_was_fine_tuned(unpacked):
    """The two files were made of one set of weights, so the sets have not changed places."""
    training = read_checkpoint(unpacked("official_training_tiny.pth.tar"))
    tuned = read_checkpoint(unpacked("official_finetuned_tiny.pth")).state_dict("raw")
    assert all(torch.equal(value, tuned[key]) for key, value in training.state_dict("ema").items())
    assert not torch.equal(training.state_dict("raw")["head.weight"], tuned["head.weight"])
