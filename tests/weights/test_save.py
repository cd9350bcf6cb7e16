"""Converting and publishing weights."""

from __future__ import annotations

import hashlib
import json
import runpy
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from t2t_vit.errors import CheckpointError, ConfigError
from t2t_vit.models import T2TViT
from t2t_vit.weights.load import Layout, read_checkpoint
from t2t_vit.weights.save import convert, publish

GOLDEN = Path(__file__).parents[1] / "golden"
CLASSES = ("cat", "dog", "süß")


def state_dict(tokens: str = "transformer") -> dict[str, torch.Tensor]:
    """Weights in several precisions, with values that any detour through another would change."""
    torch.manual_seed(0)
    model = T2TViT(img_size=32, embed_dim=24, depth=2, num_heads=2, token_dim=8, num_classes=3, tokens=tokens)
    state = {name: torch.randn_like(value) for name, value in model.state_dict().items()}
    state["norm.weight"] = state["norm.weight"].to(torch.bfloat16)
    state["norm.bias"] = state["norm.bias"].double()
    state["head.weight"] = state["head.weight"].T.contiguous().T  # as it lies in memory after a transposition
    state["head.bias"][0] = float("nan")
    return state


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Whether both have the same names and the same bits."""
    return one.keys() == other.keys() and all(
        value.dtype == other[name].dtype
        and value.shape == other[name].shape
        and value.contiguous().flatten().view(torch.uint8).equal(other[name].contiguous().flatten().view(torch.uint8))
        for name, value in one.items()
    )


@pytest.fixture
def training_checkpoint(tmp_path):
    """A checkpoint as training leaves it, with both sets of weights."""
    raw, ema = state_dict(), {name: value + 1 for name, value in state_dict().items()}
    torch.save(
        {
            "format": "t2t_vit.training",
            "classes": list(CLASSES),
            "experiment": "{}",
            "model": raw,
            "ema": ema,
            "optimizer": {"state": {0: torch.zeros(100_000)}, "param_groups": []},
        },
        tmp_path / "epoch_3.pth",
    )
    return tmp_path / "epoch_3.pth", raw, ema


SUFFIX = {"official": ".pth.tar", "mmpretrain": ".pth", "safetensors": ".safetensors"}
LAYOUT = {"official": Layout.STATE_DICT, "mmpretrain": Layout.MMPRETRAIN, "safetensors": Layout.SAFETENSORS}


@pytest.mark.parametrize("first", SUFFIX)
@pytest.mark.parametrize("second", SUFFIX)
def test_every_way_round_gives_the_same_bits(first, second, tmp_path):
    state = state_dict()
    torch.save(state, tmp_path / "in.pth")
    one, two, back = tmp_path / f"one{SUFFIX[first]}", tmp_path / f"two{SUFFIX[second]}", tmp_path / "back.pth"
    convert(tmp_path / "in.pth", one, first)
    convert(one, two, second)
    convert(two, back, "official")

    assert read_checkpoint(one).layout == LAYOUT[first]
    assert read_checkpoint(two).layout == LAYOUT[second]
    assert same(read_checkpoint(back).state_dict(), state)
    assert list(read_checkpoint(back).state_dict()) == list(state) or "safetensors" in (first, second)


@pytest.mark.parametrize("to", SUFFIX)
def test_classes_and_settings_go_with_the_weights(to, training_checkpoint, tmp_path):
    source, _, ema = training_checkpoint
    convert(source, tmp_path / f"out{SUFFIX[to]}", to)

    checkpoint = read_checkpoint(tmp_path / f"out{SUFFIX[to]}")
    assert checkpoint.classes == CLASSES
    assert checkpoint.meta["experiment"] == "{}"
    assert same(checkpoint.state_dict(), ema)


def test_the_raw_weights_are_taken_where_they_are_asked_for(training_checkpoint, tmp_path):
    source, raw, _ = training_checkpoint
    convert(source, tmp_path / "raw.safetensors", "safetensors", weights="raw")
    assert same(read_checkpoint(tmp_path / "raw.safetensors").state_dict(), raw)


def test_the_official_layout_is_what_the_official_code_looks_for(tmp_path):
    torch.save(state_dict("performer"), tmp_path / "in.pth")
    convert(tmp_path / "in.pth", tmp_path / "out.pth.tar", "official")
    content = torch.load(tmp_path / "out.pth.tar", weights_only=True)
    assert {"blocks.1.mlp.fc1.weight", "tokens_to_token.attention1.kqv.weight"} <= content["state_dict"].keys()


def test_mmpretrain_finds_every_tensor_where_it_looks(tmp_path):
    """The names and bits are those that MMPretrain itself had after loading such a file; see tests/golden/README.md."""
    fill = runpy.run_path(str(GOLDEN / "fill.py"))["filled_value"]
    model = T2TViT(img_size=64, embed_dim=48, depth=2, num_heads=3, mlp_ratio=2, token_dim=16, num_classes=4)
    state = {
        name: value if name == "pos_embed" else torch.from_numpy(fill(name, tuple(value.shape)))
        for name, value in model.state_dict().items()
    }
    torch.save(state, tmp_path / "in.pth")
    convert(tmp_path / "in.pth", tmp_path / "out.pth", "mmpretrain")

    written = torch.load(tmp_path / "out.pth", weights_only=True)["state_dict"]
    checks = {name: zlib.crc32(value.numpy().tobytes()) for name, value in written.items()}
    assert checks == json.loads((GOLDEN / "mmpretrain_loaded.json").read_text())


def test_mmpretrain_has_no_performer(tmp_path):
    torch.save(state_dict("performer"), tmp_path / "in.pth")
    with pytest.raises(CheckpointError, match="it knows token transformers and plain encoder layers only"):
        convert(tmp_path / "in.pth", tmp_path / "out.pth", "mmpretrain")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.pth"]


@pytest.mark.parametrize(
    "settings", [{"tokens": "convolution"}, {"stack": "ghost"}, {"stack": "se"}, {"stack": "dense"}]
)
def test_mmpretrain_gets_nothing_that_it_does_not_have(settings, tmp_path):
    model = T2TViT(img_size=32, embed_dim=24, depth=2, num_heads=2, token_dim=8, num_classes=3, **settings)
    torch.save(model.state_dict(), tmp_path / "in.pth")
    with pytest.raises(CheckpointError, match="MMPretrain has no name for"):
        convert(tmp_path / "in.pth", tmp_path / "out.pth", "mmpretrain")


def test_precisions_that_only_safetensors_have_stay_there(tmp_path):
    from safetensors.torch import save_file

    state = {name: value.to(torch.float8_e4m3fn) for name, value in state_dict().items() if name == "norm.bias"}
    save_file(state, tmp_path / "in.safetensors")
    convert(tmp_path / "in.safetensors", tmp_path / "out.safetensors", "safetensors")
    assert same(read_checkpoint(tmp_path / "out.safetensors").state_dict(), state)
    with pytest.raises(CheckpointError, match=r"norm\.bias is torch\.float8_e4m3fn.*use safetensors"):
        convert(tmp_path / "in.safetensors", tmp_path / "out.pth", "official")


def test_safetensors_are_marked_as_pytorchs(tmp_path):
    torch.save(state_dict(), tmp_path / "in.pth")
    convert(tmp_path / "in.pth", tmp_path / "out.safetensors", "safetensors")
    with safe_open(tmp_path / "out.safetensors", framework="pt") as file:
        assert file.metadata() == {"format": "pt"}


def test_a_file_that_is_there_is_not_replaced_unasked(tmp_path):
    torch.save(state_dict(), tmp_path / "in.pth")
    with pytest.raises(CheckpointError, match="is there already"):
        convert(tmp_path / "in.pth", tmp_path / "in.pth", "official")
    convert(tmp_path / "in.pth", tmp_path / "in.pth", "mmpretrain", overwrite=True)
    assert read_checkpoint(tmp_path / "in.pth").layout == Layout.MMPRETRAIN


@pytest.mark.parametrize(
    ("name", "to", "message"),
    [
        ("out.pth", "safetensors", r"does not end in \.safetensors"),
        ("out.safetensors", "mmpretrain", r"does not end in \.pth or \.pt"),
        ("out.onnx", "onnx", "to='onnx' is unknown: it is one of official, mmpretrain, safetensors"),
    ],
)
def test_a_wrong_call_is_told_before_anything_is_read(name, to, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        convert(tmp_path / "missing.pth", tmp_path / name, to)


def test_a_published_file_is_named_by_its_hash_and_has_the_average_only(training_checkpoint, tmp_path):
    source, _, ema = training_checkpoint
    named = publish(source, tmp_path / "out" / "digits.pth")

    digest = hashlib.sha256(named.read_bytes()).hexdigest()
    assert named == tmp_path / "out" / f"digits-{digest[:8]}.pth"
    assert list((tmp_path / "out").iterdir()) == [named]
    assert set(torch.load(named, weights_only=True)) == {"state_dict", "classes", "experiment"}
    assert same(read_checkpoint(named).state_dict(), ema)
    assert named.stat().st_size < 400_000  # the optimizer's 100,000 numbers alone would be as many
    assert publish(source, tmp_path / "out" / "digits.pth") == named


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ('{"data": {"root": "/home/ann/pictures", "batch_size": 4}}', '{"data": {"batch_size": 4}}'),
        ('{"data": {}}', '{"data": {}}'),
        ('{"data": {"train": "/home/ann/cats", "val": "val"}}', '{"data": {"train": "cats", "val": "val"}}'),
        *(
            (f'{{"data": {{}}, "model": {{"pretrained": "{place}"}}}}', '{"data": {}, "model": {"pretrained": null}}')
            for place in ("/home/ann/w.pth", "w.safetensors", "runs/epoch_3", "~/w.bin")
        ),
        *(
            (f'{{"data": {{}}, "model": {{"pretrained": "{name}"}}}}',) * 2
            for name in ("https://host/w.pth", "t2t_vit_14.official_in1k", "t2t-vit-tiny_cifar100")
        ),
        (
            '{"data": {}, "distillation": {"teacher_weights": "/home/ann/t.pth"}}',
            '{"data": {}, "distillation": {"teacher_weights": null}}',
        ),
        ("[1]", "[1]"),
        ("no JSON", "no JSON"),
    ],
)
def test_where_images_were_is_not_published(settings, expected, tmp_path):
    torch.save({"state_dict": state_dict(), "experiment": settings}, tmp_path / "in.pth")
    named = publish(tmp_path / "in.pth", tmp_path / "out.safetensors")
    assert read_checkpoint(named).meta["experiment"] == expected


@pytest.mark.parametrize(("name", "to"), [("a.safetensors", None), ("a.pth", "mmpretrain"), ("a.pth.tar", None)])
def test_every_layout_can_be_published(name, to, training_checkpoint, tmp_path):
    named = publish(training_checkpoint[0], tmp_path / name, to)
    digest = hashlib.sha256(named.read_bytes()).hexdigest()[:8]
    assert named.name == name.replace("a.", f"a-{digest}.", 1)
    assert same(read_checkpoint(named).state_dict(), training_checkpoint[2])


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX limits")
@pytest.mark.parametrize("name", ["model.pth", "model.safetensors"])
def test_the_same_weights_are_published_as_the_same_file(name, training_checkpoint, tmp_path):
    folders = [tmp_path / str(number) for number in range(8)]
    for folder in folders:
        folder.mkdir()
    published = [publish(training_checkpoint[0], folder / name) for folder in folders]
    assert len({file.name for file in published}) == 1
    assert len({file.read_bytes() for file in published}) == 1
    assert read_checkpoint(published[0]).classes == CLASSES


def test_what_cannot_be_written_leaves_nothing(training_checkpoint, tmp_path):
    """A limit on file sizes stands for the full disk."""
    code = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))\n"
        "from t2t_vit.cli import main\n"
        f"main(['convert', {str(training_checkpoint[0])!r}, {str(tmp_path / 'out.pth')!r}, '--to', 'official'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == f"error: {tmp_path / 'out.pth'} cannot be written: File too large.\n"
    assert [path.name for path in tmp_path.iterdir()] == ["epoch_3.pth"]


def test_the_commands_say_what_they_did(training_checkpoint, tmp_path, capsys):
    from t2t_vit.cli import app

    source = str(training_checkpoint[0])
    app(["convert", source, str(tmp_path / "b.safetensors"), "--to", "safetensors"], standalone_mode=False)
    assert capsys.readouterr().out == (
        f"{source} (t2t_vit training, raw and ema) → {tmp_path / 'b.safetensors'} (safetensors): "
        f"{len(state_dict())} tensors, {sum(v.numel() for v in state_dict().values()) / 1e6:.2f} M values\n"
    )
    app(["publish", source, str(tmp_path / "c.safetensors")], standalone_mode=False)
    (named,) = tmp_path.glob("c-*.safetensors")
    assert capsys.readouterr().out == f"{named}\n"
    with safe_open(named, framework="pt") as file:
        assert json.loads(file.metadata()["classes"]) == list(CLASSES)


def test_half_precision_is_half_the_size_and_rounds_to_the_nearest(tmp_path):
    state = {"head.weight": torch.randn(100, 300), "head.bias": torch.randn(100)}
    torch.save({"state_dict": state, "classes": [str(n) for n in range(100)]}, tmp_path / "x.pth")
    whole = publish(tmp_path / "x.pth", tmp_path / "whole.safetensors")
    half = publish(tmp_path / "x.pth", tmp_path / "half.safetensors", half=True)
    assert half.stat().st_size < 0.53 * whole.stat().st_size
    found = read_checkpoint(half)
    assert found.classes == read_checkpoint(whole).classes
    assert found.state_dict().keys() == state.keys()
    for name, value in state.items():
        assert torch.equal(found.state_dict()[name], value.half())


def test_values_too_large_for_half_precision_are_refused(tmp_path):
    torch.save({"state_dict": {"head.weight": torch.full((2, 2), 7e4)}}, tmp_path / "large.pth")
    with pytest.raises(CheckpointError, match=r"head\.weight has values that are not finite in float16"):
        publish(tmp_path / "large.pth", tmp_path / "half.safetensors", half=True)
    assert [path.name for path in tmp_path.iterdir()] == ["large.pth"]
