"""What the README says can be typed, can be typed."""

import re
import shlex
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import typer.main
from PIL import Image

from t2t_vit import cli
from t2t_vit.config import apply_overrides, load_experiment
from t2t_vit.hub import published
from t2t_vit.models import create_model
from t2t_vit.weights.catalogue import CATALOGUE
from t2t_vit.weights.convert import to_mmpretrain

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)


def command_lines():
    for block in blocks("bash"):
        yield from block.replace("\\\n", " ").strip().splitlines()


def words_of(line):
    """The words of a command line, without what a shell would put in their place."""
    return shlex.split(re.sub(r"^\w+=\$\((.*)\)$", r"\1", line))


@pytest.fixture(scope="module")
def published_weights(tmp_path_factory):
    """Make files of the published ones' layouts and sizes by URL; those themselves cannot be had without a network."""
    folder = tmp_path_factory.mktemp("weights")

    @cache
    def fetch(url, *_, **__):
        entry = next(entry for entry in CATALOGUE.values() if entry.url == url)
        state = create_model(entry.model).state_dict()
        content = {"state_dict": to_mmpretrain(state)} if "openmmlab" in url else {"state_dict_ema": state}
        torch.save(content, folder / f"{entry.name}.pth")
        return folder / f"{entry.name}.pth"

    return fetch


@pytest.mark.parametrize("code", blocks("python"), ids=lambda code: code.strip().splitlines()[-1][:40])
def test_python_examples_run_as_written(code, published_weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(published, "fetch", lambda url, *_, **__: published_weights(url))
    pixels = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    Image.fromarray(pixels).save("bird.JPEG", format="JPEG")
    exec(compile(code, "README.md", "exec"), {})


def test_there_are_examples_for_python_and_for_the_shell():
    assert len(blocks("python")) >= 4
    assert len(list(command_lines())) >= 10


@pytest.mark.parametrize("line", list(command_lines()), ids=str)
def test_shell_examples_are_commands_that_exist_with_options_that_exist(line):
    words = words_of(line)
    program = words[0]
    if program == "make":
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
        return
    if program in (".", "pip"):
        return
    if program in ("python", "torchrun"):
        script = next(word for word in words if word.endswith(".py"))
        assert (ROOT / script).is_file()
        words = [Path(script).stem, *words[words.index(script) + 1 :]]
    else:
        assert program == "t2t-vit"
        words = words[1:]
    command = typer.main.get_command(cli.app).commands[words[0]]
    known = {option for parameter in command.params for option in parameter.opts}
    assert [word for word in words if word.startswith("--") and word not in known] == []
    settings = [word for word in words if re.match(r"[a-z_]+(\.[a-z_]+)+=", word)]
    for config in [word for word in words if word.startswith("t2t-vit-t-") or word.startswith("configs/")]:
        apply_overrides(load_experiment(config if "/" not in config else ROOT / config), settings)


def test_the_file_tree_names_what_is_there():
    tree = next(block for block in blocks("text") if "src/t2t_vit/" in block)
    packages = set()
    for line in tree.splitlines():
        folder = ROOT / "src/t2t_vit" if line.startswith("  ") else ROOT
        names = [part for part in re.split(r"\s{2,}", line.strip()) if re.fullmatch(r"[\w./-]+", part)]
        assert names, line
        for name in names:
            assert (folder / name).exists(), name
        packages.update(names)
    rooms = {f"{p.name}/" for p in (ROOT / "src/t2t_vit").iterdir() if p.is_dir() and p.name != "__pycache__"}
    assert rooms <= packages


def test_no_number_is_left_to_be_filled_in():
    assert not re.search(r"\b(DEMO|TEST)_(SECONDS|ACCURACY)\b", TEXT)
