"""Every entry of the catalogue from its download to its logits, with a file as large and laid out as the published one.

The published files themselves cannot be had in a test. Their values are made from parameter names, so that the logits
are those of the golden outputs, which the official code gave.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import lzma
import runpy
from collections import OrderedDict
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
import torch

from t2t_vit import get_model
from t2t_vit.weights import catalogue
from t2t_vit.weights.catalogue import CATALOGUE, PretrainedWeights
from t2t_vit.weights.convert import to_mmpretrain

GOLDEN = Path(__file__).parents[1] / "golden"
FILL = runpy.run_path(str(GOLDEN / "fill.py"))
ENTRIES = [
    # The smallest stands for all where minutes count.
    pytest.param(entry, id=entry.full_name, marks=[] if entry.model == "t2t_vit_7" else pytest.mark.slow)
    for entry in CATALOGUE.values()
]
TOLERANCE = 1e-4  # float32 sums in another order differ by 4e-6


def shapes_of(entry: PretrainedWeights) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the official model's parameters, with as many classes and tokens as the entry's."""
    shapes = json.loads(lzma.decompress((GOLDEN / "parameter_shapes.json.xz").read_bytes()))["official"][entry.model]
    dim = shapes["head.weight"][1]
    tokens = 1 + (entry.img_size // 16) ** 2
    own = {"head.weight": (entry.num_classes, dim), "head.bias": (entry.num_classes,), "pos_embed": (1, tokens, dim)}
    return {name: own.get(name, tuple(shape)) for name, shape in shapes.items()}


def filled(shapes: dict[str, tuple[int, ...]]) -> OrderedDict[str, torch.Tensor]:
    """Values by official names; the position table computed as its formula says."""
    state = OrderedDict((name, torch.from_numpy(FILL["filled_value"](name, shape))) for name, shape in shapes.items())
    _, tokens, dim = shapes["pos_embed"]
    position, column = np.arange(tokens)[:, None], np.arange(dim)
    angle = position / 10000 ** (2 * (column // 2) / dim)
    state["pos_embed"] = torch.from_numpy(np.where(column % 2, np.cos(angle), np.sin(angle))).float()[None]
    return state


def published(entry: PretrainedWeights, state: OrderedDict[str, torch.Tensor]) -> dict[str, object]:
    """What stands in a file of this release."""
    wrapped = OrderedDict((f"module.{name}", value) for name, value in state.items())
    if entry.tag == "mmpretrain_in1k":
        return {"meta": {"mmcls_version": "0.18.0"}, "state_dict": to_mmpretrain(state)}
    if entry.classes is not None:
        return {"net": wrapped, "acc": entry.top1, "epoch": 59}
    if entry.model == "t2t_vit_7":  # as timm's saver writes it while training
        arguments = argparse.Namespace(model=entry.model, lr=1e-3, data=Path("imagenet").name)
        raw = OrderedDict((name, value * 0) for name, value in wrapped.items())
        about = {"epoch": 309, "arch": entry.model, "version": 2, "metric": entry.top1, "args": arguments}
        return {**about, "optimizer": {"state": {}, "param_groups": []}, "state_dict": raw, "state_dict_ema": state}
    if "token_labeling" in entry.tag:
        dim = len(state["norm.weight"])
        state = OrderedDict(state, **{"aux_head.weight": torch.ones(1000, dim), "aux_head.bias": torch.ones(1000)})
    return {"state_dict_ema": state}


def expected_logits(entry: PretrainedWeights, images: torch.Tensor) -> np.ndarray | None:
    """Every tenth logit that the official code gives, None where its head has other classes."""
    if entry.num_classes != 1000:
        return None
    with np.load(GOLDEN / "official_variants.npz") as file:
        return file[f"official/{entry.model}/{entry.img_size}/logits_every_10th"][: len(images)]


@pytest.mark.parametrize("entry", ENTRIES)
def test_a_published_file_is_fetched_checked_recognised_and_gives_the_right_logits(
    entry, tmp_path, serve, no_mirror, monkeypatch, caplog, capfd
):
    state = filled(shapes_of(entry))
    file = tmp_path / "web" / Path(urlsplit(entry.url).path).name
    file.parent.mkdir()
    torch.save(published(entry, state), file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    if entry.file_size is not None:
        assert file.stat().st_size == pytest.approx(entry.file_size, rel=1e-3)
    if entry.sha256 is not None:  # that of the true file
        known = dataclasses.replace(entry, sha256=digest[:8])
        monkeypatch.setattr(catalogue, "CATALOGUE", {**CATALOGUE, entry.name: known})
    monkeypatch.setenv("T2T_VIT_WEIGHTS", serve(file.parent))

    model = get_model(entry.full_name, pretrained=True)

    (cached,) = no_mirror.rglob(file.name)
    if entry.sha256 is None:
        assert cached.with_name(f"{file.name}.sha256").read_text().startswith(digest)
        assert "so it is trusted on first use" in capfd.readouterr().err
    assert ("aux_head.weight, aux_head.bias" in caplog.text) == ("token_labeling" in entry.tag)
    assert model.img_size == (entry.img_size, entry.img_size)
    assert model.classes == entry.classes
    images = torch.from_numpy(FILL["normalized_input"](7, 1 if entry.img_size == 384 else 2, *model.img_size))[:1]
    with torch.no_grad():
        features = model.extract_feat(images)[0]
        logits = model(images)
    assert logits.shape == (1, entry.num_classes)
    expected = expected_logits(entry, images)
    if expected is None:
        expected = (features @ state["head.weight"].T + state["head.bias"])[:, ::10].numpy()
        body = {name: value for name, value in model.state_dict().items() if not name.startswith("head.")}
        assert all(torch.equal(value, state[name]) for name, value in body.items())
    np.testing.assert_allclose(logits[:, ::10].numpy(), expected, rtol=0, atol=TOLERANCE)


IMAGENET = {"resize": 248, "interpolation": "bicubic", "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
CIFAR = {
    "resize": (224, 224),
    "interpolation": "bilinear",
    "mean": (0.4914, 0.4822, 0.4465),
    "std": (0.2023, 0.1994, 0.2010),
}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("t2t_vit_14.official_in1k", {"img_size": (224, 224), **IMAGENET}),
        ("t2t_vit_t_14.mmpretrain_in1k", {"img_size": (224, 224), **IMAGENET}),
        ("t2t-vit-t-14_8xb64_in1k", {"img_size": (224, 224), **IMAGENET}),
        ("t2t_vit_14.official_in1k_384", {"img_size": (384, 384), **IMAGENET, "resize": 426}),
        ("t2t_vit_14.official_cifar10", {"img_size": (224, 224), **CIFAR}),
        ("t2t_vit_19.official_cifar100", {"img_size": (224, 224), **CIFAR}),
    ],
)
def test_images_are_prepared_as_for_the_published_evaluation(name, expected):
    assert get_model(name).preprocessing == expected


@pytest.fixture
def cifar_file(tmp_path, monkeypatch, no_mirror):
    """A CIFAR-10 file in a folder that stands for the web."""
    entry = CATALOGUE["t2t_vit_14.official_cifar10"]
    monkeypatch.setenv("T2T_VIT_WEIGHTS", str(tmp_path))
    state = get_model("t2t_vit_14", num_classes=10).state_dict()
    torch.save(published(entry, state), tmp_path / "cifar10_t2t-vit_14_98.3.pth")


def test_an_architecture_with_tagged_weights_is_what_these_were_made_for(cifar_file):
    model = get_model("t2t_vit_14", pretrained="t2t_vit_14.official_cifar10")
    assert (model.num_classes, model.preprocessing["resize"]) == (10, (224, 224))
    assert model.classes[5] == "dog"

    other = get_model("t2t_vit_14.official_cifar10", pretrained=True, num_classes=7)
    assert (other.num_classes, other.classes) == (7, None)


@pytest.mark.parametrize("name", ["t2t_vit_c_14", "t2t_vit_dense", "t2t_vit_14_se"])
def test_what_was_never_published_is_told(name):
    from t2t_vit.errors import ConfigError

    with pytest.raises(ConfigError, match=f"there are no published weights for '{name}'"):
        get_model(name, pretrained=True)
