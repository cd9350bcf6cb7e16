"""What people install is a wheel: everything works by name from it, away from the source tree."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with the built wheel unpacked by pip, to be found before the source tree."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    target = folder / "site"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(target)]
    subprocess.run([*install, str(wheel)], check=True, capture_output=True)
    return wheel, target


def run(installed, folder, *code_or_arguments):
    environment = {**os.environ, "PYTHONPATH": str(installed[1]), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *code_or_arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_the_wheel_holds_configs_class_names_and_the_typing_marker(installed):
    names = set(zipfile.ZipFile(installed[0]).namelist())
    configs = {f"t2t_vit/configs/{path.name}" for path in (ROOT / "configs/t2t_vit").glob("*.py")}
    assert len(configs) >= 4
    assert configs <= names
    assert {"t2t_vit/data/imagenet_classes.tsv", "t2t_vit/py.typed"} <= names
    assert {f"t2t_vit/shipped/{path.name}" for path in (ROOT / "src/t2t_vit/shipped").iterdir()} <= names
    sources = {f"t2t_vit/{p.relative_to(ROOT / 'src/t2t_vit')}" for p in (ROOT / "src/t2t_vit").rglob("*.py")}
    assert sources <= names


def test_names_and_configs_are_found_in_the_installed_package(installed, tmp_path):
    code = (
        "import json, t2t_vit, t2t_vit.config as c; "
        "print(json.dumps([t2t_vit.__file__, *map(str, c.shipped_configs().values()), *t2t_vit.list_models()]))"
    )
    result = run(installed, tmp_path, "-c", code)
    assert result.returncode == 0, result.stderr
    where, *found = json.loads(result.stdout)
    site = str(installed[1])
    assert where.startswith(site)
    assert all(name.startswith(site) for name in found if name.endswith(".py"))
    assert {"t2t-vit-t-14_8xb64_in1k", "t2t_vit_t_24"} <= set(found)


def test_training_testing_and_predicting_by_name_work_in_an_empty_folder(installed, tmp_path):
    small = ["model.embed_dim=24", "model.depth=1", "model.num_heads=2", "model.token_dim=8", "schedule.epochs=1"]
    name = "t2t-vit-digits_demo"
    trained = run(installed, tmp_path, "-m", "t2t_vit", "train", name, "--cfg-options", *small)
    assert trained.returncode == 0, trained.stderr
    checkpoint = str(tmp_path / "work_dirs" / name / "epoch_1.pth")
    tested = run(installed, tmp_path, "-m", "t2t_vit", "test", name, checkpoint, "--cfg-options", *small[:-1])
    assert tested.returncode == 0, tested.stderr
    assert "accuracy/top1" in tested.stdout
    picture = tmp_path / "work_dirs" / name / "curves.png"
    code = (
        "import sys, t2t_vit; "
        f"e = t2t_vit.load_experiment({str(tmp_path / 'work_dirs' / name / 'experiment.json')!r}); "
        f"print(t2t_vit.inference_model(e, {str(picture)!r}, pretrained={checkpoint!r})['pred_class'])"
    )
    predicted = run(installed, tmp_path, "-c", code)
    assert predicted.returncode == 0, predicted.stderr
    assert predicted.stdout.strip() in set("0123456789")


def test_the_model_that_comes_along_predicts_in_an_empty_folder(installed, tmp_path):
    picture = tmp_path / "grey.png"
    Image.new("RGB", (50, 40), "grey").save(picture)
    code = f"import t2t_vit; print(t2t_vit.inference_model({str(picture)!r})['pred_class'], t2t_vit.__file__)"
    predicted = run(installed, tmp_path, "-c", code)
    assert predicted.returncode == 0, predicted.stderr
    name, file = predicted.stdout.strip().split(maxsplit=1)
    assert Path(file).is_relative_to(installed[1])
    card = Path(predicted.stderr.strip().rpartition("; see ")[2])
    assert card.is_relative_to(installed[1])
    assert f"{name}," in card.read_text(encoding="utf-8")
