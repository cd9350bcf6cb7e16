"""`t2t-vit predict --show-dir` and its like."""

from __future__ import annotations

import pytest
from PIL import Image


@pytest.fixture
def predict(command, trained):
    """Run the command on a trained model."""

    def run(*arguments):
        return command(
            "predict", "--model", trained / "experiment.json", "--pretrained", trained / "epoch_2.pth", *arguments
        )

    return run


def test_pictures_are_written_beside_what_is_told(predict, pictures, tmp_path):
    images = [pictures / "val" / "cat", pictures / "val" / "dog"]

    done = predict(*images, "--batch-size", 3, "--show-dir", tmp_path / "out", "--rescale-factor", 6)

    assert done.status == 0
    assert done.out == predict(*images, "--batch-size", 3).out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["0.png", "0_1.png", "1.png", "1_1.png"]
    with Image.open(tmp_path / "out" / "0.png") as picture:
        assert picture.width == 6 * 50
        assert picture.height > 6 * 40


def test_the_score_can_be_left_out_and_the_size_chosen(predict, pictures, tmp_path):
    image = pictures / "val/cat/0.png"
    for name, options in {"with": [], "without": ["--no-draw-score"]}.items():
        done = predict(image, "--show-dir", tmp_path / name, "--resize", 240, *options)
        assert done.status == 0
    with Image.open(tmp_path / "with" / "0.png") as one, Image.open(tmp_path / "without" / "0.png") as other:
        assert one.size == other.size
        assert one.width == 300
        assert one.crop((0, 0, 300, 240)).tobytes() == other.crop((0, 0, 300, 240)).tobytes()
        assert one.tobytes() != other.tobytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--show"], "needs a screen and there is none here; use show_dir=… (--show-dir)"),
        (["--show-dir", "x", "--rescale-factor", "0"], "rescale_factor is 0.0; expected a number above 0"),
    ],
    ids=str,
)
def test_what_cannot_be_shown_is_told_in_a_line(arguments, message, predict, pictures, monkeypatch, tmp_path):
    import matplotlib as mpl

    monkeypatch.setitem(mpl.rcParams, "backend", "agg")
    monkeypatch.chdir(tmp_path)
    done = predict(pictures / "val/cat/0.png", *arguments)
    assert (done.status, done.out) == (1, "")
    assert done.err.startswith("error: ")
    assert message in done.err
    assert list(tmp_path.iterdir()) == []
