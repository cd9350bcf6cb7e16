"""Folders and repositories of the Hugging Face Hub: written, read back, uploaded and fetched."""

from __future__ import annotations

import base64
import json
import math
import os
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import save_file

from t2t_vit import T2TViT, get_model
from t2t_vit.config import Experiment, Model, Preprocessing
from t2t_vit.data.class_names import imagenet_classes
from t2t_vit.errors import CheckpointError, ConfigError, T2TViTError, UnknownModelError
from t2t_vit.hub import preprocessing_of
from t2t_vit.integrations.config_json import _crop, experiment_of, model_to_config
from t2t_vit.integrations.huggingface import from_pretrained, save_pretrained
from t2t_vit.models import create_model, variant_names

SPLITS = ((7, 2, 3), (3, 2, 1), (3, 2, 1))
TINY: dict[str, Any] = {
    "img_size": 32,
    "soft_splits": SPLITS,
    "token_dim": 8,
    "embed_dim": 24,
    "depth": 2,
    "num_heads": 2,
}
DENSE = {"embed_dim": 32, "depth": (1, 2), "num_heads": 4, "growth_rate": 16, "mlp_ratio": 2.1}


def built(name: str = "t2t_vit_t_14", **settings: Any) -> T2TViT:
    """Return a tiny model whose outputs depend on all of the input and all of the weights."""
    model = get_model(name, **{**TINY, "num_classes": 5, **settings})
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=generator)
    return model


def pixels(model: T2TViT) -> torch.Tensor:
    return torch.randn(2, model.in_chans, *model.img_size, generator=torch.Generator().manual_seed(1))


def edit(folder, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("t2t_vit_t_14", {}),
        ("t2t_vit_t_14", {"img_size": (48, 32), "in_chans": 1, "num_classes": 1}),
        ("t2t_vit_14", {"in_chans": 4, "soft_splits": ((7, 4, 2), (3, 2, 1)), "mlp_ratio": 0.7}),
        ("t2t_vit_7", {"depth": 1, "token_dim": 10, "drop_rate": 0.2, "drop_path_rate": 0.3}),
        ("t2t_vit_c_14", {"num_heads": 3, "soft_splits": ((4, 4, 0),), "drop_path_rate": 0.0}),
        ("t2t_vit_14_se", {"embed_dim": 32, "num_classes": 0}),
        ("t2t_vit_16_ghost", {"depth": 3}),
        ("t2t_vit_dense", DENSE),
        ("t2t_vit_t_14", {"out_type": "avg_featmap"}),
    ],
)
def test_what_is_saved_comes_back_the_same(tmp_path, name, settings):
    model = built(name, **settings)
    save_pretrained(model, tmp_path / "model")
    back = from_pretrained(tmp_path / "model")
    assert not back.training
    assert torch.equal(back(pixels(model)), model(pixels(model)))
    assert back.preprocessing == model.preprocessing
    assert back.img_size == model.img_size
    assert back.pos_drop.p == model.pos_drop.p
    rates = [[b.drop_path.rate for b in m.blocks if hasattr(b, "drop_path")] for m in (model, back)]
    assert rates[0] == pytest.approx(rates[1], abs=1e-9)


@pytest.mark.parametrize("name", variant_names())
def test_a_named_architecture_is_saved_under_its_name(tmp_path, name):
    with torch.device("meta"):
        config = model_to_config(create_model(name))
    assert config["architecture"] == name
    assert config["model_args"] == {}


@pytest.mark.parametrize(
    "preprocessing",
    [
        Preprocessing(),
        Preprocessing(crop_pct=0.875, interpolation="bilinear"),
        Preprocessing(crop_pct=1.0, crop_mode="squash", interpolation="lanczos", mean=(0.1, 0.2, 0.3), std=(1, 1, 1)),
        Preprocessing(crop_pct=0.7, crop_mode="squash", interpolation="nearest"),
        Preprocessing(crop_pct=0.123456789),
    ],
)
@pytest.mark.parametrize("img_size", [32, (48, 33)])
def test_preparation_of_images_comes_back(tmp_path, preprocessing, img_size):
    settings = {**TINY, "img_size": img_size, "num_classes": 2}
    model = get_model(Experiment(model=Model(**settings), preprocessing=preprocessing))
    save_pretrained(model, tmp_path)
    assert from_pretrained(tmp_path).preprocessing == model.preprocessing


@pytest.mark.parametrize(
    ("img_size", "resize"), [((160, 256), (182, 292)), (299, (400, 400)), (299, (429, 429)), ((160, 256), 182)]
)
def test_a_resize_is_said_by_a_part_of_the_picture_for_both_sides(img_size, resize):
    with torch.device("meta"):
        model = create_model("t2t_vit_t_14", img_size=img_size)
    model.preprocessing = {**get_model("t2t_vit_t_14", **TINY).preprocessing, "img_size": model.img_size}
    model.preprocessing["resize"] = resize
    assert preprocessing_of(experiment_of(model_to_config(model), "config.json")) == model.preprocessing


@pytest.mark.parametrize("mode", ["center", "squash"])
def test_every_crop_of_every_size_comes_back_in_no_more_digits_than_it_had(mode):
    percents = [percent / 1000 for percent in range(1, 1001)]
    for sides in [(7, 7), (12, 33), (32, 32), (160, 256), (224, 53), (299, 299), (318, 648), (384, 224), (1185, 14)]:
        for crop_pct in [*percents, math.pi / 4, 0.27777777777777773, 1 / 3]:
            resized = tuple(int(side / crop_pct) for side in sides)
            resize = resized if mode == "squash" else min(resized)
            found, found_mode = _crop({"img_size": sides, "resize": resize})
            again = tuple(int(side / found) for side in sides)
            assert (found_mode, again if mode == "squash" else min(again)) == (mode, resize)
            assert len(str(found)) <= len(str(crop_pct))
            assert 0 < found <= 1


@pytest.mark.parametrize("resize", [None, 31, (31, 31), (40, 50), (10**9, 64)])
def test_a_resize_that_no_part_of_the_picture_gives_is_refused(resize):
    with pytest.raises(ConfigError, match=r"config\.json can only say a part of the picture"):
        _crop({"img_size": (32, 32), "resize": resize})


def test_half_precision_and_channels_last_are_saved(tmp_path):
    model = built("t2t_vit_c_14").to(torch.float16, memory_format=torch.channels_last)
    save_pretrained(model, tmp_path)
    back = from_pretrained(tmp_path).state_dict()
    assert all(torch.equal(back[name], value.float()) for name, value in model.state_dict().items())


def test_class_names_come_back_as_label_names_and_id2label(tmp_path):
    model = built()
    model.classes = ("Ärmel", "crane", "crane", 'a "quoted" name', "e")
    save_pretrained(model, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    assert config["id2label"] == {str(i): name for i, name in enumerate(model.classes)}
    assert from_pretrained(tmp_path).classes == model.classes
    assert get_model("t2t_vit_t_14", tmp_path / "model.safetensors", **TINY, num_classes=5).classes == model.classes


def test_a_model_of_1000_classes_has_imagenets_names(tmp_path):
    save_pretrained(built(num_classes=1000), tmp_path)
    assert from_pretrained(tmp_path).classes == imagenet_classes()


def test_other_classes_channels_and_sizes_are_adapted_to(tmp_path):
    model = built(img_size=(64, 32))
    model.classes = tuple("abcde")
    save_pretrained(model, tmp_path)
    other = from_pretrained(tmp_path, num_classes=3, in_chans=1, img_size=48, drop_path_rate=0.2)
    assert other(torch.randn(1, 1, 48, 48)).shape == (1, 3)
    assert other.classes is None
    assert other.preprocessing["img_size"] == (48, 48)
    assert len(other.preprocessing["mean"]) == 1
    assert torch.equal(other.blocks[0].attn.qkv.weight, model.blocks[0].attn.qkv.weight)


def test_the_position_table_of_a_non_square_size_is_interpolated_from_its_own_grid(tmp_path):
    model = built(img_size=(32, 128))  # 4 × 16 = 64 tokens, which could be 8 × 8
    save_pretrained(model, tmp_path)
    for size in ((128, 32), (64, 64), (64, 256)):
        x = torch.randn(1, 3, *size)
        torch.testing.assert_close(from_pretrained(tmp_path, img_size=size)(x), model(x))


def test_mmpretrains_backbone_may_have_another_size(tmp_path):
    model = built(img_size=(32, 128))
    save_pretrained(model, tmp_path)
    asked = {"img_size": (64, 64), "out_type": "featmap"}
    other = from_pretrained(tmp_path, backbone=asked)
    assert asked == {"img_size": (64, 64), "out_type": "featmap"}
    assert (other.img_size, other.preprocessing["img_size"], other.out_type) == ((64, 64), (64, 64), "featmap")
    x = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(other(x), model(x))


def test_the_weights_are_the_folders_own(tmp_path):
    save_pretrained(built(), tmp_path)
    assert from_pretrained(tmp_path, pretrained=True).num_classes == 5
    for other in (False, "t2t_vit_14.official_in1k"):
        with pytest.raises(ConfigError, match=rf"pretrained is {other!r}; expected True"):
            from_pretrained(tmp_path, pretrained=other)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("t2t_vit_t_14", {}),
        ("t2t_vit_14", {}),
        ("t2t_vit_c_14", {}),
        ("t2t_vit_t_14", {"soft_splits": ((4, 4, 0),)}),
        ("t2t_vit_c_14", {"soft_splits": ((4, 4, 0),)}),
    ],
)
def test_other_channels_than_the_weights_have_are_refused(tmp_path, name, settings):
    save_pretrained(built(name, **settings), tmp_path)
    assert from_pretrained(tmp_path, in_chans=1).in_chans == 1
    config = json.loads((tmp_path / "config.json").read_text())
    prepared = {**config["pretrained_cfg"], "input_size": [1, 32, 32], "mean": [0.5], "std": [0.5]}
    edit(tmp_path, model_args={**config["model_args"], "in_chans": 1}, pretrained_cfg=prepared)
    with pytest.raises(CheckpointError, match=r"asks for 1 channels in windows of .*correct in_chans") as caught:
        from_pretrained(tmp_path)
    assert "\n" not in str(caught.value)


def test_saving_takes_the_place_of_an_older_model_only_when_all_is_written(tmp_path):
    """A limit on file sizes stands for the full disk."""
    resource = pytest.importorskip("resource", reason="needs POSIX")
    save_pretrained(built(), tmp_path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    other = built(depth=1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(OSError, match=re.escape(f"File too large: {str(tmp_path)!r}")) as caught:
            save_pretrained(other, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(caught.value)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_a_readme_of_another_author_stays(tmp_path, caplog):
    (tmp_path / "README.md").write_text("---\nlicense: mit\ntags:\n- t2t-vit\n---\n# My own words\n")
    save_pretrained(built(), tmp_path)
    assert (tmp_path / "README.md").read_text().endswith("# My own words\n")
    assert "README.md was not written by save_pretrained and stays as it is" in caplog.text
    assert from_pretrained(tmp_path).num_classes == 5


def test_a_card_is_replaced_until_its_reader_takes_the_mark_away(tmp_path):
    card = tmp_path / "README.md"
    save_pretrained(built(), tmp_path)
    save_pretrained(built(), tmp_path, licence="mit")
    assert "license: mit" in card.read_text()
    marked = card.read_text().splitlines(keepends=True)
    assert marked[1].startswith("# Written by save_pretrained")
    card.write_text("".join([marked[0], *marked[2:]]))
    save_pretrained(built(), tmp_path, licence="apache-2.0")
    assert "license: mit" in card.read_text()


def test_a_card_is_called_as_the_folder_however_that_is_named(tmp_path, monkeypatch):
    (tmp_path / "flowers").mkdir()
    monkeypatch.chdir(tmp_path / "flowers")
    save_pretrained(built(), ".")
    assert "\n# flowers\n" in (tmp_path / "flowers" / "README.md").read_text()


def test_a_folder_may_be_named_from_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    save_pretrained(built(), "~/flowers")
    assert (tmp_path / "flowers" / "config.json").is_file()
    assert from_pretrained("~/flowers").num_classes == 5


def test_the_card_says_what_is_quoted_what_is_measured_and_how_to_use_it(tmp_path):
    model = built(num_classes=1000)
    save_pretrained(model, tmp_path / "card", origin="t2t_vit_14.official_in1k", measured={"top-1 on mine": 12.5})
    _, front, text = (tmp_path / "card" / "README.md").read_text().split("---\n", 2)
    matter = yaml.safe_load(front)
    assert matter["library_name"] == "timm"
    assert matter["license"] == "bsd-3-clause-clear"
    assert matter["pipeline_tag"] == "image-classification"
    assert {"timm", "transformers"} <= set(matter["tags"])
    assert "| top-1 accuracy | 81.5 % (quoted from https://github.com/yitu-opensource" in text
    assert "| top-1 on mine | 12.5 (measured" in text
    assert "from_pretrained('card')" in text


def test_a_folder_that_timm_saved_is_read(tmp_path):
    import timm
    from timm.models import save_for_hf

    import t2t_vit.integrations.timm  # noqa: F401

    settings = {**TINY, "img_size": (48, 32), "dynamic_img_size": True}
    model = timm.create_model("t2t_vit_14", num_classes=3, **settings).eval()
    told = {"label_names": ["a", "b", "c"], "model_args": {**settings, "pos_drop_rate": 0.1}}
    save_for_hf(model, tmp_path, safe_serialization=True, model_config=told)
    back = from_pretrained(tmp_path)
    assert torch.equal(back(pixels(back)), model(pixels(back)))
    assert back.classes == ("a", "b", "c")
    assert back.pos_drop.p == 0.1
    assert back.preprocessing["img_size"] == (48, 32)


@pytest.mark.parametrize("pool", ["token", "avg"])
def test_timm_loads_the_folder_and_its_model_is_saved_like_ours(tmp_path, pool):
    import timm

    import t2t_vit.integrations.timm  # noqa: F401

    model = built(img_size=(48, 32), out_type="avg_featmap" if pool == "avg" else "cls_token")
    model.classes = tuple("abcde")
    save_pretrained(model, tmp_path / "ours")
    theirs = timm.create_model(f"local-dir:{tmp_path / 'ours'}", pretrained=True).eval()
    assert torch.equal(theirs(pixels(model)), model(pixels(model)))
    data = timm.data.resolve_model_data_config(theirs)
    assert tuple(data["input_size"]) == (3, 48, 32)
    assert (data["crop_pct"], data["interpolation"], tuple(data["mean"])) == (0.9, "bicubic", (0.485, 0.456, 0.406))
    save_pretrained(theirs, tmp_path / "again")
    again = from_pretrained(tmp_path / "again")
    assert torch.equal(again(pixels(model)), model(pixels(model)))
    assert (again.preprocessing, again.classes) == (model.preprocessing, model.classes)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"architecture": "resnet50"}, "architecture 'resnet50'; expected one of t2t_vit_7"),
        ({"architecture": ["t2t_vit_7"]}, "expected one of t2t_vit_7"),
        ({"architecture": None, "model_type": "vit"}, "model_type 'vit'"),
        ({"model_args": {"dept": 2}}, "unknown setting 'dept'. Did you mean 'depth'?"),
        ({"model_args": {"pretrained": "http://127.0.0.1/x"}}, "unknown setting 'pretrained'"),
        ({"model_args": [1]}, "model_args is a list; expected an object"),
        ({"model_args": {**TINY, "depth": 10**9}}, "1000000000 layers, and beside it are 52 tensors"),
        ({"model_args": {**TINY, "img_size": 10**6}}, "position table"),
        ({"model_args": {**TINY, "embed_dim": 10**18}}, "position table"),
        ({"model_args": {**TINY, "token_dim": 10**12}}, "token_dim|no model can be built"),
        ({"model_args": {**TINY, "depth": "many"}}, "depth is 'many'"),
        ({"model_args": {**TINY, "soft_splits": []}}, "soft_splits is empty"),
        ({"model_args": {**TINY, "soft_splits": [[1, 0, 0]]}}, "soft_splits"),
        ({"model_args": {**TINY, "global_pool": "map"}}, "global_pool is 'map'; expected one of token, avg"),
        ({"model_args": {**TINY, "tokens": "performer"}}, "does not fit"),
        ({"num_classes": 7}, "head.weight"),
        ({"num_classes": -7}, "num_classes is -7"),
        ({"pretrained_cfg": {"crop_pct": 7}}, "crop_pct is 7"),
        ({"pretrained_cfg": {"crop_mode": "border"}}, "crop_mode is 'border'"),
        ({"pretrained_cfg": {"mean": [0.5]}}, "mean has 1 values"),
        ({"pretrained_cfg": {"input_size": 224}}, "input_size is 224; expected"),
    ],
)
def test_a_wrong_config_is_refused_in_one_line(tmp_path, changes, says):
    save_pretrained(built(), tmp_path)
    edit(tmp_path, **changes)
    with pytest.raises((ConfigError, CheckpointError), match=says) as caught:
        from_pretrained(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"), [("", "damaged or no JSON"), ('{"a": 1', "damaged"), ("[]", "a list"), ("[" * 10**5, "damaged")]
)
def test_a_damaged_config_is_refused(tmp_path, text, says):
    save_pretrained(built(), tmp_path)
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match=says):
        from_pretrained(tmp_path)


def test_a_folder_without_what_it_needs_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"has no config\.json"):
        from_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="neither a folder nor a repository"):
        from_pretrained(tmp_path / "missing")
    save_pretrained(built(), tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"has no model\.safetensors; get_model\(NAME, pretrained='.*model\.bin'"):
        from_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{")
    with pytest.raises(CheckpointError, match="cut off or damaged"):
        from_pretrained(tmp_path)


def test_code_that_a_folder_brings_is_not_run(tmp_path):
    save_pretrained(built(), tmp_path)
    (tmp_path / "evil.py").write_text("raise SystemExit('run')")
    edit(tmp_path, auto_map={"AutoModelForImageClassification": "evil.Model", "AutoConfig": "evil.Config"})
    from_pretrained(tmp_path)


def test_a_model_that_no_config_describes_is_not_saved(tmp_path):
    changed = built()
    changed.head = torch.nn.Linear(24, 9)
    with pytest.raises(ConfigError, match=r"cannot describe this model: its head\.weight"):
        save_pretrained(changed, tmp_path / "a")
    kept = built()
    kept.preprocessing = {**kept.preprocessing, "resize": None}
    with pytest.raises(ConfigError, match="resizes to None"):
        save_pretrained(kept, tmp_path / "a")
    with pytest.raises(ConfigError, match="a DataParallel cannot be saved"):
        save_pretrained(torch.nn.DataParallel(built()), tmp_path / "a")
    with pytest.raises(UnknownModelError, match=r"t2t_vit_14\.official_in1k"):
        save_pretrained(built(), tmp_path / "a", origin="t2t_vit_14.oficial_in1k")
    assert not (tmp_path / "a").exists()


class _Hub(BaseHTTPRequestHandler):
    """What of the Hub's protocol an upload and a download need; `files` is the one repository, user/tiny."""

    files: dict[str, bytes]
    asked: list[str]
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Keep the tests' output quiet."""

    def do_HEAD(self) -> None:
        self._send_file()

    def do_GET(self) -> None:
        self._send_file()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.asked.append(f"POST {self.path}")
        if self.headers.get("Authorization") != "Bearer right":
            self._send(401, {"error": "Invalid credentials"})
        elif self.path == "/api/repos/create":
            self._send(200, {"url": f"http://{self.headers['Host']}/user/tiny", "name": "user/tiny"})
        elif "/preupload/" in self.path:
            paths = [file["path"] for file in json.loads(body)["files"]]
            regular = {"uploadMode": "regular", "shouldIgnore": False, "oid": None}
            self._send(200, {"files": [{"path": path, **regular} for path in paths]})
        elif "/commit/" in self.path:
            entries = [json.loads(line) for line in body.splitlines()]
            for entry in entries:
                if entry["key"] == "file":
                    self.files[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
            url = f"http://{self.headers['Host']}/user/tiny/commit/{'a' * 40}"
            self._send(200, {"success": True, "commitOid": "a" * 40, "commitUrl": url})
        else:
            self._send(200, {})

    def _send_file(self) -> None:
        self.asked.append(f"{self.command} {self.path}")
        prefix, _, name = self.path.partition("/resolve/main/")
        if prefix != "/user/tiny":
            self._send(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
        elif name not in self.files:
            self._send(404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": "a" * 40})
        else:
            self._send(200, self.files[name], {"ETag": f'"{name}"', "X-Repo-Commit": "a" * 40})

    def _send(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@pytest.fixture
def hub():
    """A Hub on loopback: its address, the files in its repository, and what it was asked."""
    handler = type("Hub", (_Hub,), {"files": {}, "asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", handler.files, handler.asked
    server.shutdown()
    thread.join()
    server.server_close()


_ON_THE_HUB = """
import sys
import torch
from t2t_vit.errors import T2TViTError
from t2t_vit.integrations.huggingface import from_pretrained, push_to_hub

model = from_pretrained(sys.argv[1])
print(push_to_hub(model, "user/tiny", token="right", licence="mit"))
back = from_pretrained("user/tiny")
x = torch.ones(1, 3, 32, 32)
print(torch.equal(back(x), model(x)), back.classes)
push_to_hub(model, "user/tiny", token="right", licence="apache-2.0")
for call in (lambda: from_pretrained("user/other"), lambda: push_to_hub(model, "user/tiny", token="wrong")):
    try:
        call()
    except T2TViTError as error:
        print(type(error).__name__, error)
"""


def test_a_model_goes_to_the_hub_and_comes_back(tmp_path, hub):
    address, files, asked = hub
    model = built()
    model.classes = tuple("abcde")
    save_pretrained(model, tmp_path / "model")
    environment = {
        **os.environ,
        "HF_ENDPOINT": address,
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "NO_PROXY": "127.0.0.1",
    }
    command = [sys.executable, "-c", _ON_THE_HUB, str(tmp_path / "model")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    commit, equal, missing, refused = done.stdout.splitlines()
    assert commit == f"{address}/user/tiny/commit/{'a' * 40}"
    assert equal == f"True {model.classes}"
    assert missing.startswith("DownloadError config.json of user/other was not fetched")
    assert refused.startswith("WeightsError user/tiny was not uploaded: ")
    assert set(files) == {"model.safetensors", "config.json", "README.md"}
    assert b"license: mit" in files["README.md"]  # the second upload left it alone
    assert b"timm.create_model('hf-hub:user/tiny', pretrained=True)" in files["README.md"]
    fetched = {line.rpartition("/")[2] for line in asked if line.startswith("GET") and "/resolve/" in line}
    assert fetched == {"config.json", "model.safetensors"}


def test_a_pickle_in_a_repository_is_not_fetched(tmp_path, hub):
    address, files, asked = hub
    save_pretrained(built(), tmp_path)
    files |= {"config.json": (tmp_path / "config.json").read_bytes(), "pytorch_model.bin": b"\x80\x02."}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("huggingface_hub.constants.ENDPOINT", address)
        patch.setattr(
            "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
            address + "/{repo_id}/resolve/{revision}/{filename}",
        )
        with pytest.raises(T2TViTError, match=r"model\.safetensors of user/tiny was not fetched"):
            from_pretrained("user/tiny", cache_dir=tmp_path / "cache")
    assert not any("pytorch_model" in line for line in asked)


def test_weights_of_another_model_are_refused(tmp_path):
    save_pretrained(built(), tmp_path)
    save_file({"pos_embed": torch.zeros(1, 17, 24), "cls_token": torch.zeros(1, 1, 24)}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="does not fit"):
        from_pretrained(tmp_path)
