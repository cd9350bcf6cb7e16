"""The main job, as a stranger sees it: `make demo` is this command."""

import json
import subprocess
import sys

import pytest
from PIL import Image


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_demo_predicts_trains_tests_and_draws_and_can_be_repeated(tmp_path):
    for _ in range(2):
        result = subprocess.run(
            [sys.executable, "-m", "t2t_vit", "demo"], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, result.stderr
    folder = tmp_path / "work_dirs/demo"
    for name in ("flower", "china"):
        assert f"{name}.jpg" in result.stdout.partition("2. train")[0]
        with Image.open(folder / "photographs" / f"{name}.png") as picture:
            assert min(picture.size) > 300
    metrics = json.loads((folder / "test_metrics.json").read_text())
    assert metrics["images"] == 359
    assert metrics["accuracy/top1"] >= 98
    assert f"{metrics['accuracy/top1']:.2f} % of the 359 held-out pictures right" in result.stdout
    for name in ("curves", "confusion", "predictions", "attention"):
        assert f"{name}.png" in result.stdout
        with Image.open(folder / f"{name}.png") as picture:
            assert min(picture.size) > 300


def test_the_demo_leaves_a_folder_alone_that_is_not_its_own(tmp_path):
    mine = tmp_path / "thesis.txt"
    mine.write_text("years of work")
    result = subprocess.run(
        [sys.executable, "-m", "t2t_vit", "demo", "--work-dir", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert "holds something else than a demo" in result.stderr
    assert mine.read_text() == "years of work"
