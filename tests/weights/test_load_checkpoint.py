from __future__ import annotations

import argparse
import json
import os
import pickle
import struct
import warnings
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from t2t_vit.errors import CheckpointError, ConfigError, UnsafeCheckpointError
from t2t_vit.weights import unpickle
from t2t_vit.weights.convert import to_mmpretrain
from t2t_vit.weights.load import Layout, read_checkpoint

RAW = {
    "cls_token": torch.zeros(1, 1, 4),
    "blocks.0.norm1.weight": torch.ones(4),
    "head.weight": torch.arange(8.0).reshape(2, 4),
}
EMA = {key: value + 10 for key, value in RAW.items()}


def prefixed(state_dict: dict, prefix: str = "module.") -> dict:
    return {f"{prefix}{key}": value for key, value in state_dict.items()}


def same(one: dict, other: dict) -> bool:
    return list(one) == list(other) and all(torch.equal(one[key], other[key]) for key in one)


MMCV = to_mmpretrain(EMA) | {f"ema_{key.replace('.', '_')}": value for key, value in to_mmpretrain(RAW).items()}

LAYOUTS = {
    "MMPretrain, published": (
        {"state_dict": OrderedDict(to_mmpretrain(RAW)), "meta": {"CLASSES": ["cat", "dog"], "epoch": 300}},
        (Layout.MMPRETRAIN, RAW, None, ("cat", "dog"), {"epoch": 300}),
    ),
    "MMPretrain 1, published": (
        {"state_dict": to_mmpretrain(RAW), "meta": {"dataset_meta": {"classes": ("cat", "dog")}}},
        (Layout.MMPRETRAIN, RAW, None, ("cat", "dog"), {}),
    ),
    "MMCV's average beside the weights": (
        {"state_dict": MMCV, "meta": {}},
        (Layout.MMPRETRAIN, RAW, EMA, None, {}),
    ),
    "MMEngine, training with EMA": (
        {
            "meta": {"epoch": 2, "iter": 12},
            "state_dict": to_mmpretrain(EMA),
            "ema_state_dict": {"steps": torch.tensor(12), **prefixed(to_mmpretrain(RAW))},
            "optimizer": {"state": {}},
        },
        (Layout.MMENGINE_TRAINING, RAW, EMA, None, {"epoch": 2, "iter": 12}),
    ),
    "MMEngine, training without EMA": (
        {"meta": {}, "state_dict": to_mmpretrain(RAW), "message_hub": {}},
        (Layout.MMENGINE_TRAINING, RAW, None, None, {}),
    ),
    "official, training": (
        {
            "arch": "t2t_vit_7",
            "state_dict": prefixed(RAW),
            "state_dict_ema": EMA,
            "args": argparse.Namespace(lr=0.001, data="path", betas=[0.9]),
            "metric": 71.5,
        },
        (
            Layout.OFFICIAL_TRAINING,
            RAW,
            EMA,
            None,
            {"arch": "t2t_vit_7", "args": {"lr": 0.001, "data": "path"}, "metric": 71.5},
        ),
    ),
    "official, average only": ({"state_dict_ema": EMA}, (Layout.OFFICIAL_TRAINING, None, EMA, None, {})),
    "official, CIFAR": (
        {"net": prefixed(RAW), "acc": 98.5, "epoch": 59},
        (Layout.OFFICIAL_FINETUNED, RAW, None, None, {"acc": 98.5, "epoch": 59}),
    ),
    "our own training": (
        {
            "format": "t2t_vit.training",
            "model": RAW,
            "ema": EMA,
            "experiment": "{}",
            "classes": ["cat", "dog"],
            "epoch": 3,
            "optimizer": {"state": {0: {"step": torch.tensor(1.0)}}},
            "rng": (3, (1, 2**40), None),
        },
        (
            Layout.TRAINING,
            RAW,
            EMA,
            ("cat", "dog"),
            {"format": "t2t_vit.training", "experiment": "{}", "epoch": 3},
        ),
    ),
    "our own training without EMA": (
        {"format": "t2t_vit.training", "model": RAW, "ema": None, "epoch": 3},
        (Layout.TRAINING, RAW, None, None, {"format": "t2t_vit.training", "epoch": 3}),
    ),
    "state dict, official names": (RAW, (Layout.STATE_DICT, RAW, None, None, {})),
    "state dict, MMPretrain's names": (to_mmpretrain(RAW), (Layout.STATE_DICT, RAW, None, None, {})),
    "state dict under a key": ({"state_dict": RAW}, (Layout.STATE_DICT, RAW, None, None, {})),
}


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("case", LAYOUTS)
def test_every_layout_is_recognised_by_its_content(tmp_path, case, legacy):
    content, (layout, raw, ema, classes, meta) = LAYOUTS[case]
    path = tmp_path / "weights.anything"
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    checkpoint = read_checkpoint(path)
    assert (checkpoint.layout, checkpoint.classes, checkpoint.meta) == (layout, classes, meta)
    assert sorted(checkpoint.weights) == sorted(name for name, values in (("raw", raw), ("ema", ema)) if values)
    assert same(checkpoint.state_dict(), ema or raw)
    assert same(checkpoint.state_dict("ema"), ema or raw)
    if raw:
        assert same(checkpoint.state_dict("raw"), raw)


def test_raw_weights_that_a_file_lacks_are_not_made_up(tmp_path):
    torch.save({"state_dict_ema": EMA}, tmp_path / "a.pth")
    checkpoint = read_checkpoint(tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match="moving average only"):
        checkpoint.state_dict("raw")
    with pytest.raises(ConfigError, match="'ema' or 'raw'"):
        checkpoint.state_dict("best")


def test_state_dict_of_a_module_is_read_with_its_versions(tmp_path):
    module = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    torch.save(module.state_dict(), tmp_path / "a.pth")
    assert same(read_checkpoint(tmp_path / "a.pth").state_dict(), dict(module.state_dict()))


@pytest.mark.parametrize("name", ["a.safetensors", "a.pth"])
def test_safetensors_are_read_under_any_name(tmp_path, name):
    from safetensors.torch import save_file

    classes = json.dumps(["cat", "dog"])
    save_file(to_mmpretrain(RAW), tmp_path / name, metadata={"classes": classes, "epoch": "3"})
    checkpoint = read_checkpoint(tmp_path / name)
    assert checkpoint.layout == Layout.SAFETENSORS
    assert same(checkpoint.state_dict(), dict(sorted(RAW.items()))) or same(checkpoint.state_dict(), RAW)
    assert checkpoint.classes == ("cat", "dog")
    assert checkpoint.meta["epoch"] == "3"


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_pytorch_file_named_safetensors_is_read(tmp_path, legacy):
    torch.save(RAW, tmp_path / "a.safetensors", _use_new_zipfile_serialization=not legacy)
    assert same(read_checkpoint(tmp_path / "a.safetensors").state_dict(), RAW)


def test_weights_outlive_their_file(tmp_path):
    torch.save(RAW, tmp_path / "a.pth")
    state_dict = read_checkpoint(tmp_path / "a.pth").state_dict()
    torch.save(state_dict, tmp_path / "a.pth")  # over the file that they were read from
    assert same(read_checkpoint(tmp_path / "a.pth").state_dict(), RAW)


def test_parameters_come_back_as_plain_tensors(tmp_path):
    torch.save({"head.weight": nn.Parameter(torch.ones(2))}, tmp_path / "a.pth")
    weight = read_checkpoint(tmp_path / "a.pth").state_dict()["head.weight"]
    assert type(weight) is torch.Tensor
    assert not weight.requires_grad


# Files that would run code. Each payload makes a marker file; an ordinary unpickler shows that it is live.


class Calls:
    """Pickles as a call of `function`."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


class Sets:
    """Pickles as an object of `cls` that is given `state`."""

    def __init__(self, cls, state):
        self.parts = cls, (), state

    def __reduce__(self):
        return self.parts


def payloads(marker: Path) -> dict[str, tuple[object, str]]:
    opens = f"open({str(marker)!r}, 'w').close()"
    # By such a chain a real getattr leads from any class to the modules of its file.
    chain = Calls(getattr, Calls(getattr, Calls(getattr, argparse.Namespace, "__init__"), "__globals__"), "__class__")
    return {
        "os.system": (Calls(os.system, f"touch {marker}"), "posix.system"),
        "eval": (Calls(eval, opens), "builtins.eval"),
        "exec beside weights": ({"state_dict": RAW, "meta": Calls(exec, opens)}, "builtins.exec"),
        "as the state of a stand-in": (
            {"state_dict": RAW, "args": Sets(argparse.Namespace, {"lr": Calls(exec, opens)})},
            "builtins.exec",
        ),
        "behind getattr": ({"a": chain, "b": Calls(exec, opens)}, "builtins.exec"),
        "numpy's loader": (Calls(__import__("numpy").load, str(marker)), "numpy.load"),
    }


KINDS = ["zip", "legacy", "plain pickle", "zip with protocol 4"]


def write(path: Path, content: object, kind: str) -> None:
    if kind == "plain pickle":
        path.write_bytes(pickle.dumps(content, protocol=2))
    else:
        protocol = 4 if kind.endswith("4") else 2
        torch.save(content, path, pickle_protocol=protocol, _use_new_zipfile_serialization=kind != "legacy")


@pytest.mark.skipif(os.name == "nt", reason="POSIX commands")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("payload", payloads(Path("marker")))
def test_code_in_a_file_is_never_run(tmp_path, kind, payload):
    marker, path = tmp_path / "marker", tmp_path / "a.pth"
    content, name = payloads(marker)[payload]
    write(path, content, kind)
    assert not marker.exists()
    with pytest.raises(UnsafeCheckpointError) as caught:
        read_checkpoint(path)
    assert repr(name) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not marker.exists()


@pytest.mark.skipif(os.name == "nt", reason="POSIX commands")
@pytest.mark.parametrize("payload", [name for name in payloads(Path("marker")) if name != "numpy's loader"])
def test_payloads_are_live(tmp_path, payload):
    marker = tmp_path / "marker"
    write(tmp_path / "a.pth", payloads(marker)[payload][0], "zip")
    torch.load(tmp_path / "a.pth", weights_only=False)
    assert marker.exists()


def zipped(path: Path, instructions: bytes, compression: int = zipfile.ZIP_STORED) -> Path:
    """Write a file as `torch.save` would, around a pickle of our own."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", instructions)
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/byteorder", "little")
    return path


@pytest.mark.parametrize(
    "instructions",
    [
        # Namespace() is given attributes of its own: its class, the loader's hook.
        b"cargparse\nNamespace\n)\x81}(X\x09\x00\x00\x00__class__cmmengine.logging.history_buffer\nHistoryBuffer\nub.",
        b"cargparse\nNamespace\n)\x81}(X\x0c\x00\x00\x00__setstate__c__builtin__\ngetattr\nub.",
        b"cargparse\nNamespace\n)\x81N}X\x06\x00\x00\x00valuesK\x01s\x86b.",
        # The class itself is given attributes, by BUILD and as the slots of an object.
        b"cargparse\nNamespace\n}X\x0c\x00\x00\x00__setstate__Nsb.",
        b"cargparse\nNamespace\nN}X\x07\x00\x00\x00__new__Ns\x86b.",
        b"c__builtin__\ngetattr\nN}X\x07\x00\x00\x00__new__Ns\x86b.",
        # What the inert getattr returned is called, appended to, given items.
        b"c__builtin__\ngetattr\ncargparse\nNamespace\nX\x08\x00\x00\x00__init__\x86R)R.",
        b"c__builtin__\ngetattr\ncargparse\nNamespace\nX\x08\x00\x00\x00__init__\x86RK\x01a.",
        b"c__builtin__\ngetattr\ncargparse\nNamespace\nX\x08\x00\x00\x00__init__\x86RK\x01K\x02s.",
        # An OrderedDict is given an attribute that hides its method.
        b"ccollections\nOrderedDict\n)R}X\x05\x00\x00\x00itemscargparse\nNamespace\nsb.",
    ],
)
def test_stand_ins_cannot_be_turned_into_something_else(tmp_path, instructions):
    before = {cls: dict(vars(cls)) for cls in (unpickle.Inert, unpickle.Arguments)}
    with pytest.raises(CheckpointError):
        read_checkpoint(zipped(tmp_path / "a.pth", b"\x80\x02" + instructions))
    assert {cls: dict(vars(cls)) for cls in before} == before
    namespace = unpickle.Arguments("anything")
    namespace.__setstate__({"lr": 1})
    assert namespace.values == {"lr": 1}
    assert type(unpickle.Inert(str, "upper")) is unpickle.Inert


def test_getattr_in_a_file_gets_nothing(tmp_path):
    """MMEngine's log names its functions by getattr: the file is read, and nothing is looked up."""
    looked_up = Calls(getattr, argparse.Namespace, "__init__")
    torch.save({"state_dict": RAW, "message_hub": looked_up}, tmp_path / "a.pth")
    assert same(read_checkpoint(tmp_path / "a.pth").state_dict(), RAW)
    content = unpickle.read_zip(tmp_path / "a.pth")
    assert isinstance(content, dict)
    assert type(content["message_hub"]) is unpickle.Inert


def test_names_that_the_caller_allowed_stay_refused(tmp_path):
    """Another part of a program may have widened PyTorch's list; ours is the narrower."""
    torch.save({"state_dict": RAW, "x": Calls(eval, "1")}, tmp_path / "a.pth")
    with (
        torch.serialization.safe_globals([eval]),
        pytest.raises(UnsafeCheckpointError, match=r"builtins\.eval"),
    ):
        read_checkpoint(tmp_path / "a.pth")


def test_what_the_safe_loader_cannot_read_is_refused_with_its_reason(tmp_path):
    torch.save(RAW, tmp_path / "a.pth", pickle_protocol=4)
    with pytest.raises(UnsafeCheckpointError, match=r"refuses it \(Unsupported operand \d+\)"):
        read_checkpoint(tmp_path / "a.pth")


def test_stand_ins_are_gone_after_reading(tmp_path):
    before = set(torch.serialization.get_safe_globals())
    torch.save(RAW, tmp_path / "a.pth")
    read_checkpoint(tmp_path / "a.pth")
    assert set(torch.serialization.get_safe_globals()) == before


@pytest.mark.parametrize("first_byte", [0x80, 0x50, 0x00])
def test_safetensors_are_known_whatever_the_length_of_their_header(tmp_path, first_byte):
    """Their first byte is the length's lowest, and may be that of a pickle or a zip archive."""
    for padding in range(256):
        save_file(RAW, tmp_path / "a.safetensors", {"note": "x" * padding})
        if (tmp_path / "a.safetensors").read_bytes()[0] == first_byte:
            break
        (tmp_path / "a.safetensors").unlink()
    else:  # lengths are multiples of eight
        pytest.fail(f"no header begins with {first_byte}")
    assert read_checkpoint(tmp_path / "a.safetensors").layout == Layout.SAFETENSORS


@pytest.mark.parametrize(
    ("content", "sets"),
    [
        ({"model": RAW, "model_ema": EMA}, {"raw": RAW, "ema": EMA}),
        ({"model_state_dict": RAW, "epoch": 3}, {"raw": RAW}),
        ({"state_dict": {f"model.{name}": value for name, value in RAW.items()}}, {"raw": RAW}),
    ],
    ids=["DeiT", "plain PyTorch", "Lightning"],
)
def test_layouts_of_other_training_codes_are_known(tmp_path, content, sets):
    torch.save(content, tmp_path / "a.pth")
    checkpoint = read_checkpoint(tmp_path / "a.pth")
    assert checkpoint.weights.keys() == sets.keys()
    for name, values in sets.items():
        assert all(torch.equal(checkpoint.weights[name][key], value) for key, value in values.items())


def test_tensors_that_repeat_each_other_do_not_fill_the_memory(tmp_path):
    one = torch.zeros(1000)
    torch.save({f"block.{i}": one for i in range(60)}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match="would unpack to more than twice its size"):
        read_checkpoint(tmp_path / "a.pth")
    torch.save({"head.weight": one, "tied.weight": one}, tmp_path / "tied.pth")
    assert len(read_checkpoint(tmp_path / "tied.pth").state_dict()) == 2


def test_class_names_that_cannot_be_read_are_left_out(tmp_path):
    for classes in ("[" * 100_000, "9" * 5_000):
        save_file(RAW, tmp_path / "a.safetensors", {"classes": classes})
        assert read_checkpoint(tmp_path / "a.safetensors").classes is None
    save_file(RAW, tmp_path / "a.safetensors", {"classes": "[" * 100_000})
    assert read_checkpoint(tmp_path / "a.safetensors").classes is None


def test_a_torchscript_program_is_called_so(tmp_path):
    with warnings.catch_warnings(action="ignore"):
        torch.jit.save(torch.jit.script(nn.Linear(2, 2)), tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match="is a TorchScript program"):
        read_checkpoint(tmp_path / "a.pt")


# Files that are broken, or something else.


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "an HTML page"),
        (b"\n  <html lang='en'>\xc3\xa9", "an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer"),
        (b"AccessDenied\n", "a text file"),
        (b"cposix\nsystem\n(S'touch marker'\ntR.", "a text file"),
        (b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03", "no known kind"),
        (b"PK\x03\x04", "cut off or damaged"),
        (b"\x80\x02}q\x00(", "cut off or damaged"),
        (pickle.dumps({"a": 1}, protocol=2), "torch.save did not write"),
        (struct.pack("<Q", 10**6) + b'{"a":', "cut off or damaged"),
        (struct.pack("<Q", 2) + b"{}", "holds no weights"),
    ],
)
def test_what_is_no_weights_file_is_named(tmp_path, content, said):
    path = tmp_path / "a.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=said) as caught:
        read_checkpoint(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("kept", [0.2, 0.5, 0.9, 0.99])
def test_half_a_file_is_refused(tmp_path, legacy, kept):
    path = tmp_path / "a.pth"
    torch.save({"state_dict": RAW}, path, _use_new_zipfile_serialization=not legacy)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(CheckpointError, match="cut off or damaged"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({}, "its entries are none"),
        ({"state_dict": {}, "meta": {}}, "its entries are 'state_dict', 'meta'"),
        ({"epoch": 3}, "its entries are 'epoch'"),
        ({"format": "t2t_vit.training", "epoch": 3}, "holds no weights"),
        ([1, 2], "something else than a state dict"),
        ({1: torch.ones(1)}, "something else than a state dict"),
        ({"head.weight": torch.ones(1), "head.bias": 3}, "'head.bias' is no plain tensor but a int"),
        ({"head.weight": torch.ones(1).expand(10**6)}, r"'head.weight' is no plain tensor .* over 4 bytes"),
        ({"head.weight": torch.ones(2, dtype=torch.complex64)}, "'head.weight' is no plain tensor"),
        (
            {"state_dict": {"head.weight": torch.ones(1), "module.head.weight": torch.ones(1)}},
            "both the parameter",
        ),
    ],
)
def test_file_without_usable_weights_is_refused(tmp_path, content, said):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=said):
        read_checkpoint(tmp_path / "a.pth")


def test_sparse_tensors_are_refused(tmp_path):
    torch.save({"head.weight": torch.eye(2).to_sparse()}, tmp_path / "a.pth")
    with pytest.raises(UnsafeCheckpointError, match="_rebuild_sparse_tensor"):
        read_checkpoint(tmp_path / "a.pth")


def test_tensor_larger_than_its_storage_is_refused(tmp_path):
    torch.save({"head.weight": torch.arange(4.0)}, tmp_path / "a.pth")
    with zipfile.ZipFile(tmp_path / "a.pth") as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(tmp_path / "b.pth", "w") as archive:
        for (
            name,
            record,
        ) in records.items():  # K\x04 is the number 4: elements of the storage, length of the tensor
            archive.writestr(name, record.replace(b"K\x04", b"J\x00\x00\x00\x40"))
    with pytest.raises(CheckpointError, match="cut off or damaged"):
        read_checkpoint(tmp_path / "b.pth")


def test_compressed_archive_is_refused_unread(tmp_path):
    bomb = zipped(tmp_path / "a.pth", b"\x80\x02" + b"N" * 10**7 + b".", zipfile.ZIP_DEFLATED)
    assert bomb.stat().st_size < 10**5
    with pytest.raises(CheckpointError, match=r"compressed record, 'archive/data\.pkl'"):
        read_checkpoint(bomb)


def test_archive_that_declares_more_than_it_holds_is_refused(tmp_path):
    path = zipped(tmp_path / "a.pth", pickle.dumps({"x": 1}, protocol=2))
    content = bytearray(path.read_bytes())
    entry = content.index(b"PK\x01\x02")  # the first record in the directory, its two sizes
    content[entry + 20 : entry + 28] = struct.pack("<LL", 2**30, 2**30)
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="declares more data"):
        read_checkpoint(path)


def test_other_archives_are_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("weights.txt", "none")
    with pytest.raises(CheckpointError, match=r"zip archive with 0 data\.pkl"):
        read_checkpoint(tmp_path / "a.zip")
    with zipfile.ZipFile(tmp_path / "b.pt", "w") as archive:
        archive.writestr("b/data.pkl", "")
        archive.writestr("b/constants.pkl", "")
    with pytest.raises(CheckpointError, match="TorchScript"):
        read_checkpoint(tmp_path / "b.pt")


def test_tuples_nested_without_end_are_refused(tmp_path):
    """As a key of a dict, 150,000 of them end the process: 60,000 show the guard without the danger."""
    path = zipped(tmp_path / "a.pth", b"\x80\x02})" + b"\x85" * 60_000 + b"K\x01s.")
    with pytest.raises(CheckpointError, match="nests 60,000 tuples"):
        read_checkpoint(path)


def test_lists_nested_without_end_are_passed_over(tmp_path):
    path = zipped(tmp_path / "a.pth", b"\x80\x02}X\x04\x00\x00\x00meta" + b"]" * 10**5 + b"a" * (10**5 - 1) + b"s.")
    with pytest.raises(CheckpointError, match="its entries are 'meta'"):
        read_checkpoint(path)


def test_absent_file_names_its_neighbours(tmp_path):
    torch.save(RAW, tmp_path / "epoch_300.pth")
    with pytest.raises(CheckpointError, match=r"Did you mean 'epoch_300.pth'\?"):
        read_checkpoint(tmp_path / "epoch_30.pth")
    with pytest.raises(CheckpointError, match="no folder"):
        read_checkpoint(tmp_path / "absent" / "epoch_30.pth")
    with pytest.raises(CheckpointError, match="is a folder"):
        read_checkpoint(tmp_path)
