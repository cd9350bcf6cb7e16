"""`t2t-vit features`: a file with names and numbers, whole or not at all."""

from __future__ import annotations

import numpy as np
import pytest

from t2t_vit import FeatureExtractor


@pytest.fixture
def features(command, trained):
    """Run the command on a trained model."""

    def run(*arguments):
        return command(
            "features", "--model", trained / "experiment.json", "--pretrained", trained / "epoch_2.pth", *arguments
        )

    return run


@pytest.mark.parametrize(
    ("arguments", "shape"),
    [
        ([], (3, 24)),
        (["--stage", "pre_logits"], (3, 24)),
        (["--out-type", "featmap"], (3, 24, 4, 4)),
        (["--out-type", "raw", "--batch-size", 2], (3, 17, 24)),
    ],
    ids=["default", "pre_logits", "featmap", "raw"],
)
def test_the_file_has_names_and_features_in_the_order_of_the_images(
    arguments, shape, features, trained, pictures, tmp_path
):
    images = [pictures / "val" / "cat", pictures / "val/dog/0.png"]
    out = tmp_path / "new" / "x.npz"

    done = features(*images, "--out", out, *arguments)

    assert (done.status, done.out) == (0, f"features {shape} of 3 images: {out}\n")
    with np.load(out) as stored:  # without pickle
        assert stored["names"].tolist() == [str(pictures / "val" / n) for n in ("cat/0.png", "cat/1.png", "dog/0.png")]
        found = stored["features"]
    assert (found.shape, found.dtype) == (shape, np.float32)
    out_type = arguments[1] if "--out-type" in arguments else "cls_token"
    extractor = FeatureExtractor(trained / "experiment.json", trained / "epoch_2.pth", out_type=out_type)
    expected = [layers[0].numpy() for layers in extractor(images)]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.ptp(found, axis=0).max() > 1e-4


def test_a_bad_image_leaves_the_older_file_as_it_was(features, pictures, tmp_path):
    out, bad = tmp_path / "x.npz", tmp_path / "bad.jpg"
    out.write_bytes(b"older")
    bad.write_text("no picture")

    done = features(pictures / "val/cat/0.png", bad, "--out", out)

    assert done.status == 1
    assert done.err.startswith(f"error: {bad} is not an image")
    assert out.read_bytes() == b"older"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.jpg", "x.npz"]


def test_another_format_is_refused_at_once(command, tmp_path):
    done = command("features", "gone.jpg", "--out", tmp_path / "x.csv")
    assert (done.status, done.out) == (1, "")
    assert done.err == f"error: --out is '{tmp_path / 'x.csv'}'; expected a file name that ends in .npz\n"


def test_progress_counts_images(features, pictures, tmp_path, monkeypatch):
    import contextlib

    from t2t_vit.cli import progress

    told = []
    monkeypatch.setattr(
        progress, "progress", lambda what: contextlib.nullcontext(lambda done, total: told.append((done, total)))
    )
    assert features(pictures / "val" / "cat", "--out", tmp_path / "x.npz").status == 0
    assert told == [(1, 2), (2, 2)]


@pytest.mark.parametrize("arguments", [[], ["a.jpg", "--stage", "head"], ["a.jpg", "--out-type", "tokens"]], ids=str)
def test_a_wrong_call_has_status_2(arguments, command):
    done = command("features", *arguments)
    assert done.status == 2
    assert "Usage: t2t-vit features" in done.err


def test_a_file_that_cannot_be_written_is_called_by_its_own_name(features, pictures, tmp_path):
    (tmp_path / "file").touch()
    out = tmp_path / "file" / "x.npz"

    done = features(pictures / "val/cat/0.png", "--out", out)

    assert (done.status, done.out) == (1, "")
    assert done.err == f"error: cannot write to {out}: Not a directory\n"
