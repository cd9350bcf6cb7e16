"""What the package gives to users, and what importing it costs."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import t2t_vit
from t2t_vit import errors

PUBLIC = [
    "Experiment",
    "FeatureExtractor",
    "ImageClassificationInferencer",
    "ModelHub",
    "T2TViT",
    "T2TViTError",
    "from_pretrained",
    "get_model",
    "inference_model",
    "list_models",
    "load_experiment",
    "push_to_hub",
    "save_pretrained",
]


def test_the_public_names_are_frozen():
    assert sorted(t2t_vit.__all__) == PUBLIC
    assert dir(t2t_vit) == sorted([*PUBLIC, "__version__"])
    assert all(getattr(t2t_vit, name) is not None for name in PUBLIC)


def test_every_error_stands_in_the_tree():
    own = [name for name, value in vars(errors).items() if inspect.isclass(value) and issubclass(value, Exception)]
    assert [name for name in own if f" {name}" not in str(errors.__doc__)] == []


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 't2t_vit' has no attribute 'get_modle'"):
        t2t_vit.get_modle  # noqa: B018


def test_the_calls_have_mmpretrains_arguments():
    def names(call):
        return [name for name in inspect.signature(call).parameters if name != "self"]

    assert names(t2t_vit.get_model)[:3] == ["model", "pretrained", "device"]
    assert "url_mapping" in names(t2t_vit.get_model)
    assert names(t2t_vit.list_models) == ["pattern", "exclude_patterns", "task"]
    assert names(t2t_vit.inference_model) == ["model", "args", "kwargs"]
    assert names(t2t_vit.ImageClassificationInferencer)[:4] == ["model", "pretrained", "device", "classes"]
    assert names(t2t_vit.ImageClassificationInferencer.__call__)[:3] == ["inputs", "return_datasamples", "batch_size"]
    assert {"return_datasamples", "resize", "rescale_factor", "draw_score", "show", "wait_time", "show_dir"} <= set(
        names(t2t_vit.ImageClassificationInferencer.__call__)
    )
    assert names(t2t_vit.FeatureExtractor)[:3] == ["model", "pretrained", "device"]
    assert names(t2t_vit.FeatureExtractor.__call__)[:3] == ["inputs", "batch_size", "stage"]
    assert names(t2t_vit.ModelHub.register_model_index) == ["model_index_path", "config_prefix"]
    assert names(t2t_vit.T2TViT.extract_feat) == ["x", "stage"]


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import t2t_vit", {"torch", "numpy", "typer", "pydantic"}),
        ("from t2t_vit.cli import main; main(['--help'])", {"torch", "numpy", "PIL"}),
        ("from t2t_vit.cli import main; main(['train', '--help'])", {"torch", "numpy", "PIL"}),
        (
            "from t2t_vit import get_model, ImageClassificationInferencer as I; import numpy as np;"
            "I('t2t_vit_t_14', False, img_size=32, depth=1)(np.zeros((32, 32, 3), np.uint8))",
            {"torchvision", "timm", "matplotlib", "sklearn", "tensorboard", "torchmetrics", "typer"},
        ),
    ],
    ids=["import", "help", "train --help", "predict"],
)
def test_importing_stays_light(code, absent):
    script = f"try:\n    {code}\nexcept SystemExit: pass\nimport sys; print('LOADED', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.rpartition("LOADED")[2].split())
    assert "t2t_vit" in loaded
    assert not loaded & absent
