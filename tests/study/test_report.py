"""What the pages say is what the logs say."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "study/README.md", "src/t2t_vit/shipped/*.md", "configs/t2t_vit/*.py")


@pytest.fixture
def copy(tmp_path):
    """All that the report reads and writes, in another place."""
    root = tmp_path / "copy"
    shutil.copytree(ROOT / "study", root / "study", ignore=shutil.ignore_patterns("runs", "__pycache__"))
    for path in pages(ROOT):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, root / path)
    return root


def pages(root):
    return [path.relative_to(root) for pattern in PAGES for path in sorted(root.glob(pattern))]


def report(root):
    command = [sys.executable, str(root / "study" / "report.py")]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def changed(path, section, name, value):
    """Write another setting into a record."""
    first, *rest = path.read_text("utf-8").splitlines(keepends=True)
    header = json.loads(first)
    header["settings"][section][name] = value
    path.write_text(json.dumps(header) + "\n" + "".join(rest), "utf-8")


def test_the_pages_are_those_of_the_logs(copy):
    done = report(copy)
    assert done.returncode == 0, done.stderr
    assert len(pages(copy)) > 20
    for path in pages(copy):
        assert (copy / path).read_text("utf-8") == (ROOT / path).read_text("utf-8"), path
    drawn, kept = ({path.name for path in (root / "study").glob("curves-*.png")} for root in (copy, ROOT))
    assert drawn == kept


def test_what_is_not_run_yet_is_said(copy):
    shutil.rmtree(copy / "study" / "logs" / "fashion-mnist" / "vit-mini_fashion-mnist")
    done = report(copy)
    assert done.returncode == 0, done.stderr
    for page in ("README.md", "study/README.md"):
        lines = (copy / page).read_text("utf-8").splitlines()
        (told,) = (line for line in lines if line.startswith("Not run yet") and "vit-mini_fashion-mnist`" in line)
        assert "t2t-vit-mini_fashion-mnist" not in told
    rows = [line for line in lines if line.startswith("| `vit-mini_fashion-mnist")]
    assert not rows


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [("data", "dataset", "image_folder"), ("augmentation", "hflip", 0.25), ("schedule", "epochs", 21)],
)
def test_networks_with_another_recipe_or_other_images_do_not_stand_side_by_side(section, name, value, copy):
    for path in (copy / "study" / "logs" / "fashion-mnist" / "vit-mini_fashion-mnist").glob("seed-*.jsonl"):
        changed(path, section, name, value)
    done = report(copy)
    assert done.returncode == 1
    assert "fashion-mnist/vit-mini_fashion-mnist/seed-0 cannot stand side by side" in done.stderr
    assert f"{section}.{name}" in done.stderr


def test_precisions_of_all_runs_are_told(copy):
    path = copy / "study" / "logs" / "fashion-mnist" / "vit-mini_fashion-mnist" / "seed-1.jsonl"
    changed(path, "runtime", "precision", "float32")
    done = report(copy)
    assert done.returncode == 0, done.stderr
    row = next(
        line
        for line in (copy / "study" / "README.md").read_text("utf-8").splitlines()
        if line.startswith("| `vit-mini_fashion-mnist`")
    )
    assert "bfloat16, 2 runs at a time and " in row
    assert "float32, 2 runs at a time |" in row
