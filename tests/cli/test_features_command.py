"""`t2t-vit features`: a file with names and numbers, whole or not at all."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

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


@pytest.mark.parametrize("batch_size", [1, 2])
def test_images_that_cannot_be_read_are_named_and_left_out(batch_size, features, pictures, tmp_path):
    good, bad = [pictures / "val" / name for name in ("cat/0.png", "dog/0.png", "owl/1.png")], tmp_path / "bad.jpg"
    bad.write_text("no picture")
    assert features(*good, "--out", tmp_path / "good.npz").status == 0

    done = features(bad, good[0], good[1], bad, good[2], "--out", tmp_path / "x.npz", "--batch-size", batch_size)

    assert (done.status, done.out) == (1, f"features (3, 24) of 3 images: {tmp_path / 'x.npz'}\n")
    errors = done.err.splitlines()
    assert [error.startswith(f"error: {bad} is not an image") for error in errors] == [True, True, False]
    assert errors[-1] == "error: 2 of 5 images could not be read; they are named above"
    with np.load(tmp_path / "x.npz") as stored, np.load(tmp_path / "good.npz") as alone:
        assert stored["names"].tolist() == [str(path) for path in good]
        np.testing.assert_allclose(stored["features"], alone["features"], atol=1e-5)


@pytest.mark.parametrize("count", [1, 2])
def test_where_no_image_can_be_read_the_older_file_stays_as_it_was(count, features, tmp_path):
    out, bad = tmp_path / "x.npz", tmp_path / "bad.jpg"
    out.write_bytes(b"older")
    bad.write_text("no picture")

    done = features(*[bad] * count, "--out", out)

    assert (done.status, done.out) == (1, "")
    assert done.err.startswith(f"error: {bad} is not an image")
    assert out.read_bytes() == b"older"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.jpg", "x.npz"]


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGTERM to hear")
def test_a_process_that_is_terminated_leaves_no_file_behind(pictures, tmp_path):
    images = [str(pictures / "val/cat/0.png")] * 20_000  # more than there is time for
    command = [
        sys.executable,
        "-m",
        "t2t_vit",
        "features",
        *images,
        "--device",
        "cpu",
        "--out",
        str(tmp_path / "x.npz"),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not list(tmp_path.iterdir()) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert list(tmp_path.iterdir())

    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)

    assert process.returncode == 143
    assert "Traceback" not in errors
    assert list(tmp_path.iterdir()) == []


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
