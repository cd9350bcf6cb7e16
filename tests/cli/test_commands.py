"""Every command: its help, what it does, and what it says to a wrong call."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from PIL import Image

import t2t_vit
from t2t_vit.cli.arguments import expand
from t2t_vit.hub import DEFAULT_MODEL
from t2t_vit.models import variant_names

COMMANDS = [
    "predict",
    "train",
    "test",
    "info",
    "models",
    "download",
    "attention",
    "convert",
    "publish",
    "demo",
    "features",
]
NAME = "t2t-vit-t-14_8xb64_in1k"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name, command):
    done = command(name, "--help")
    assert done.status == 0
    assert f"t2t-vit {name}" in done.out
    assert command().status == 2
    assert name in command("--help").out


def test_the_version_is_the_packages(command):
    assert command("--version").out.strip() == t2t_vit.__version__


@pytest.mark.parametrize(
    "arguments",
    [
        ["bogus"],
        ["predict"],
        ["predict", "a.jpg", "--batch-size", "0"],
        ["predict", "a.jpg", "--bogus"],
        ["train"],
        ["train", NAME, "--launcher", "ssh"],
        ["train", NAME, "--cfg-options"],
        ["test", NAME],
        ["test", NAME, "x.pth", "--interval", "0"],
        ["test", NAME, "x.pth", "--out-item", "pred"],
        ["info", "--img-size", "big"],
        ["attention", "a.jpg", "--method", "magic"],
        ["download"],
    ],
    ids=" ".join,
)
def test_a_wrong_call_has_status_2(arguments, command):
    done = command(*arguments)
    assert done.status == 2
    assert "Usage: t2t-vit" in done.err or "requires an argument" in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict", "a.jpg", "--model", "t2t_vit_t14"], "unknown model 't2t_vit_t14'. Did you mean 't2t_vit_t_14'"),
        (["predict", "a.jpg", "--pretrained", "gone.pth"], "There is no weights file gone.pth."),
        (["predict", "a.jpg", "--device", "gpu"], "device 'gpu' cannot be used here"),
        (
            ["train", "t2t-vit-t-14_8xb64"],
            "nor a shipped config. Did you mean 't2t-vit-t-14_8xb64_in1k'",
        ),
        (["train", NAME, "--cfg-options", "optimiser.lr=1"], "unknown setting 'optimiser.lr'. Did you mean"),
        (["train", NAME, "--cfg-options", "optimizer.lr=-1"], "optimizer.lr is -1; expected greater than 0"),
        (["train", NAME, "--cfg-options", "data.batch_size=many"], "data.batch_size is 'many'"),
        (["train", NAME, "--cfg-options", "data.root=nowhere"], "no image folder 'nowhere/train' (looked for /"),
        (["train", NAME, "--resume"], "there is nothing to resume"),
        (["train", NAME, "--resume", "gone.pth"], "there is no checkpoint gone.pth to resume from"),
        (["train", NAME, "--launcher", "pytorch"], "start this command with torchrun"),
        (["test", NAME, "gone.pth"], "There is no weights file gone.pth."),
        (["test", NAME, "gone.pth", "--out", "x.xlsx"], "--out is 'x.xlsx'; expected a file name that ends in"),
        (["test", NAME, "gone.pth", "--show"], "showing pictures needs a screen"),
        (["info", "t2t_vit_t_15"], "unknown model 't2t_vit_t_15'"),
        (["download", "t2t-vit-t-15"], "No published weights are called 't2t-vit-t-15'. Did you mean"),
        (["attention", "gone.jpg", "--pretrained", "gone.pth"], "There is no weights file gone.pth."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_an_error_is_one_clear_line_with_status_1(arguments, message, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)

    done = command(*arguments)

    assert done.status == 1
    assert done.err.startswith("error: ")
    assert message in done.err
    assert len(done.err.splitlines()) == 1
    assert done.out == ""
    assert list(tmp_path.iterdir()) == []  # a call that fails leaves nothing behind


def test_debug_shows_the_traceback():
    from t2t_vit.cli import main
    from t2t_vit.errors import CheckpointError

    for arguments in (["--debug", "test", NAME, "gone.pth"], ["test", NAME, "gone.pth", "--debug"]):
        with pytest.raises(CheckpointError):
            main(arguments)


def test_ctrl_c_has_status_130(command, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("t2t_vit.hub.list_models", interrupt)
    done = command("models")
    assert done.status == 130
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (["train", "c", "--resume"], ["train", "c", "--resume", "last"]),
        (["train", "--resume", "auto", "c"], ["train", "--resume", "auto", "c"]),
        (["train", "c", "--resume", "--amp"], ["train", "c", "--resume", "last", "--amp"]),
        (["train", "c", "--resume=x.pth"], ["train", "c", "--resume=x.pth"]),
        (
            ["train", "c", "--cfg-options", "a.b=1", "c=(1,2)", "--amp"],
            ["train", "c", "--cfg-options", "a.b=1", "--cfg-options", "c=(1,2)", "--amp"],
        ),
        (["train", "c", "--cfg-options"], ["train", "c", "--cfg-options"]),
        (["train", "--local-rank=0", "c"], ["train", "c"]),
        (["test", "--local_rank", "1", "c", "p"], ["test", "c", "p"]),
        (["train", "c", "--cfg-options", "a=1", "--local_rank=3"], ["train", "c", "--cfg-options", "a=1"]),
        (["train", "c", "--local-rank"], ["train", "c"]),
    ],
)
def test_mmpretrains_way_of_writing_options_is_read(written, read):
    assert expand(written) == read


def test_models_lists_names_that_match(command):
    names = [line.split()[0] for line in command("models").out.splitlines()]
    assert names == t2t_vit.list_models()
    assert "published weights, config" in command("models", "t2t-vit-t-14").out
    assert "published weights  top-1 81.50 % quoted, BSD-3-Clause-Clear" in command("models", "t2t_vit_14.off").out
    done = command("models", "t2t-vit_14*x")
    assert (done.status, done.out) == (1, "")
    assert done.err.startswith("error: no model is called 't2t-vit_14*x'. Did you mean 't2t")
    assert len(done.err.splitlines()) == 1


@pytest.mark.parametrize(("name", "found"), [("x.pth", "a file"), ("sub", "a folder")])
def test_weights_in_the_place_of_a_model_are_told(name, found, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.pth").touch()
    (tmp_path / "sub").mkdir()
    done = command("info", name)
    assert done.status == 1
    assert done.err.startswith(f"error: model '{name}' is {found}, neither a name nor a config; weights go into")


def test_a_reader_that_stops_reading_causes_no_traceback():
    process = subprocess.Popen(
        [sys.executable, "-m", "t2t_vit", "models"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    process.stdout.close()
    errors = process.stderr.read()
    process.stderr.close()
    process.wait()
    assert "Traceback" not in errors
    assert "Broken pipe" not in errors


def test_info_tells_size_and_both_counts_of_work(command):
    done = command("info", NAME, "t2t_vit_t_19", "t2t-vit-digits_demo")
    lines = done.out.splitlines()
    assert lines[1].split()[:6] == [NAME, "224×224", "21.47", "M", "0.076", "M"]
    assert lines[1].split()[6:] == ["4.34", "G", "6.10", "G", "81.83", "%", "95.84", "%"]
    assert "39.08 M" in lines[2]
    assert "7.80 G" in lines[2]
    assert "16×16" in lines[3]
    assert "without the two attention products" in done.out
    assert "quoted" in done.out
    assert "384×384" in command("info", "t2t_vit_t_14", "--img-size", "384").out
    assert "81.5 %" in command("info", "t2t_vit_14.official_in1k").out


def test_info_tells_of_every_architecture_by_default(command):
    names = [line.split()[0] for line in command("info").out.split("\n\n")[0].splitlines()[1:]]
    assert names == variant_names()


def predict(command, trained, *arguments):
    return command(
        "predict", "--model", trained / "experiment.json", "--pretrained", trained / "epoch_2.pth", *arguments
    )


def test_predict_names_the_best_classes(command, trained, pictures):
    done = predict(command, trained, pictures / "val" / "cat", "--top", "2")
    assert done.status == 0
    lines = done.out.splitlines()
    assert lines[0] == str(pictures / "val" / "cat" / "0.png")
    assert len(lines) == 2 * 3
    assert lines[1].split()[1:] in (["%", "cat"], ["%", "dog"], ["%", "owl"])


def test_without_a_name_the_model_that_comes_along_predicts_and_says_so(command, pictures, tmp_path, caplog):
    picture = pictures / "val" / "cat" / "0.png"
    done = command("predict", picture)
    assert done.status == 0
    classes = t2t_vit.get_model(DEFAULT_MODEL, pretrained=True).classes
    assert (
        f"no model is named: this is {DEFAULT_MODEL}, which knows {len(classes)} classes: {classes[0]}" in caplog.text
    )
    assert {line.split("%  ")[1] for line in done.out.splitlines()[1:]} <= set(classes)

    assert command("features", picture, "--out", tmp_path / "features.npz").status == 0
    assert command("attention", picture, "--out", tmp_path / "attention.png").status == 0
    assert command("download", DEFAULT_MODEL).out.strip().endswith(f"{DEFAULT_MODEL}.safetensors")
    assert f"{DEFAULT_MODEL} config, weights that come along" in " ".join(command("models", DEFAULT_MODEL).out.split())


def test_predict_writes_a_json_line_an_image(command, trained, pictures):
    done = predict(command, trained, pictures / "val" / "cat", pictures / "val/dog/0.png", "--json", "--batch-size", 2)
    rows = [json.loads(line) for line in done.out.splitlines()]

    assert [Path(row["image"]).relative_to(pictures / "val").as_posix() for row in rows] == [
        "cat/0.png", "cat/1.png", "dog/0.png",
    ]  # fmt: skip
    for row in rows:
        assert set(row) == {"image", "pred_label", "pred_class", "pred_score", "top"}
        assert row["pred_class"] == ("cat", "dog", "owl")[row["pred_label"]]
        assert row["top"][0] == {"label": row["pred_label"], "class": row["pred_class"], "score": row["pred_score"]}
        assert sum(best["score"] for best in row["top"]) == pytest.approx(1, abs=1e-5)


def test_predict_takes_class_names_from_a_file(command, trained, pictures, tmp_path):
    (tmp_path / "names.txt").write_text("Katze\nHund\nEule\n", encoding="utf-8")
    done = predict(command, trained, pictures / "val/cat/0.png", "--classes", tmp_path / "names.txt")
    assert "Katze" in done.out
    (tmp_path / "names.txt").write_text("Katze\n", encoding="utf-8")
    done = predict(command, trained, pictures / "val/cat/0.png", "--classes", tmp_path / "names.txt")
    assert (done.status, done.err) == (1, "error: classes has 1 names; the model has 3 classes\n")


@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_images_that_cannot_be_read_are_named_and_left_out(command, trained, pictures, tmp_path, batch_size):
    good = [pictures / "val/cat/0.png", pictures / "val/cat/1.png", pictures / "val/dog/0.png"]
    bad, gone = tmp_path / "bad.jpg", tmp_path / "gone.jpg"
    bad.write_text("no picture")
    alone = [predict(command, trained, image, "--json").out for image in good]

    images = (bad, good[0], gone, bad, good[1], good[2], gone)
    done = predict(
        command, trained, *images, "--json", "--batch-size", batch_size, "--top", 1, "--show-dir", tmp_path / "shown"
    )

    assert done.status == 1
    rows = [json.loads(line) for line in done.out.splitlines()]
    assert [row["image"] for row in rows] == [str(image) for image in good]
    for row, line in zip(rows, alone, strict=True):
        assert row["pred_score"] == pytest.approx(json.loads(line)["pred_score"], abs=1e-5)
    errors = done.err.splitlines()
    assert [str(bad) in error for error in errors] == [True, False, True, False, False]
    assert errors[0].startswith(f"error: {bad} is not an image")
    assert errors[1].startswith(f"error: There is no image file {gone}.")
    assert errors[-1] == "error: 4 of 7 images could not be read; they are named above"
    assert sorted(path.name for path in (tmp_path / "shown").iterdir()) == ["0.png", "0_1.png", "1.png"]


def test_where_no_image_can_be_read_none_is_predicted(command, trained, tmp_path):
    (tmp_path / "bad.jpg").write_text("no picture")
    done = predict(command, trained, tmp_path / "bad.jpg")
    assert (done.status, done.out, len(done.err.splitlines())) == (1, "", 1)
    done = predict(command, trained, tmp_path / "bad.jpg", tmp_path / "gone.jpg")
    assert (done.status, done.out, len(done.err.splitlines())) == (1, "", 3)


def test_attention_draws_a_picture(command, trained, pictures, tmp_path):
    for method, suffix in (("rollout", "png"), ("last", "svg")):
        out = tmp_path / f"look.{suffix}"
        done = command(
            "attention", pictures / "val/cat/0.png", "--model", trained / "experiment.json",
            "--pretrained", trained / "epoch_2.pth", "--method", method, "--out", out,
        )  # fmt: skip
        assert (done.status, done.out.strip()) == (0, str(out))
    with Image.open(tmp_path / "look.png") as image:
        assert image.width > 800
    done = command(
        "attention", pictures / "val/cat/0.png", "--model", trained / "experiment.json",
        "--pretrained", trained / "epoch_2.pth", "--out", tmp_path / "look.doc",
    )  # fmt: skip
    assert done.status == 1
    assert "suffix is '.doc'" in done.err


@pytest.mark.parametrize("out", [[], ["--out", "sub/../attention.png"]], ids=["default", "another way to write it"])
def test_attention_does_not_draw_over_its_picture(out, command, trained, pictures, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    picture = Path(shutil.copy(pictures / "val/cat/0.png", tmp_path / "attention.png"))
    before = picture.read_bytes()
    model = ("--model", trained / "experiment.json", "--pretrained", trained / "epoch_2.pth")
    done = command("attention", picture, *model, *out)
    assert (done.status, done.out) == (1, "")
    assert "which is the image itself; name another file" in done.err
    assert picture.read_bytes() == before


def test_download_fetches_verifies_and_says_where(command, tmp_path, monkeypatch):
    from t2t_vit.weights import catalogue

    entry = catalogue.CATALOGUE[NAME]
    content = b"weights"
    mirror, cache = tmp_path / "mirror", tmp_path / "cache"
    mirror.mkdir()
    (mirror / Path(entry.url).name).write_bytes(content)
    monkeypatch.setenv("T2T_VIT_CACHE", str(cache))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            """Keep the tests' output quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=mirror))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        monkeypatch.setenv("T2T_VIT_WEIGHTS", f"http://127.0.0.1:{server.server_address[1]}")
        done = command("download", NAME)
        assert done.status == 1
        assert "is not the published file" in done.err.splitlines()[-1]
        assert not list(cache.rglob("*.pth"))

        right = dataclasses.replace(entry, sha256=hashlib.sha256(content).hexdigest())
        monkeypatch.setattr(catalogue, "CATALOGUE", {NAME: right})
        for name in (NAME, "t2t_vit_t_14"):
            done = command("download", name)
            assert done.status == 0
            assert Path(done.out.strip()).read_bytes() == content
            assert Path(done.out.strip()).is_relative_to(cache)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.skipif(sys.platform != "linux", reason="file names may be any bytes on Linux alone")
def test_names_that_are_no_text_are_told(command, trained, pictures, tmp_path):
    name = os.fsdecode(b"caf\xe9.png")
    shutil.copy(next((pictures / "val" / "cat").iterdir()), tmp_path / name)
    model = ("--model", trained / "experiment.json", "--pretrained", trained / "epoch_2.pth")
    done = command("predict", tmp_path / name, *model)
    assert done.status == 0, done.err
    assert done.out.startswith(f"{tmp_path}/caf\\udce9.png\n")


def test_a_picture_too_narrow_to_be_resized_is_named_and_left_out(command, trained, pictures, tmp_path):
    Image.new("RGB", (200_000, 1)).save(tmp_path / "strip.png")
    good = next((pictures / "val" / "cat").iterdir())
    model = ("--model", trained / "experiment.json", "--pretrained", trained / "epoch_2.pth")
    done = command("predict", tmp_path / "strip.png", good, *model, "--batch-size", 2)
    assert done.status == 1
    assert f"error: {tmp_path / 'strip.png'}: A picture of height 1 and width 200000 is too narrow" in done.err
    assert done.out.startswith(f"{good}\n")


@pytest.mark.parametrize("name", ["predict", "features", "attention", "finetune"])
def test_a_variable_that_was_not_set_names_no_weights(name, command, pictures, tmp_path):
    images = pictures / "train" if name == "finetune" else next((pictures / "val" / "cat").iterdir())
    out = {"features": ("--out", tmp_path / "x.npz"), "attention": ("--out", tmp_path / "x.png")}.get(name, ())
    done = command(name, images, "--model", "t2t_vit_7", "--pretrained", "", *out)
    assert done.status == 1
    assert "pretrained is " in done.err


def test_download_refuses_a_file_of_another_size_than_published(command, serve, tmp_path, monkeypatch):
    from t2t_vit.weights import catalogue

    entry = catalogue.CATALOGUE["t2t_vit_14.official_in1k"]
    assert entry.sha256 is None
    monkeypatch.setenv("T2T_VIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(
        catalogue, "CATALOGUE", {entry.name: dataclasses.replace(entry, url=f"{serve(tmp_path)}/weights.pth.tar")}
    )
    torch.save({"state_dict": {"head.bias": torch.zeros(3)}}, tmp_path / "weights.pth.tar")
    done = command("download", entry.name)
    assert done.status == 1
    assert f"{entry.file_size}" in done.err.replace(",", "")
    assert not list((tmp_path / "cache").rglob("*.tar"))
