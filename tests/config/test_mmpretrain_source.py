"""MMPretrain's way of writing a config is read as values, and what would have to be run is refused with its line."""

from __future__ import annotations

import re

import pytest

from t2t_vit.config.mmpretrain.bases import known_base
from t2t_vit.config.mmpretrain.source import is_mmpretrain, read_config
from t2t_vit.errors import ConfigError


@pytest.fixture
def read(tmp_path):
    """Write files by name, read the last; return its values."""

    def values(**files: str):
        for name, text in files.items():
            path = tmp_path / f"{name}.py"
            path.write_text(text, encoding="utf-8")
        return read_config(path)[0]

    return values


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("x = dict(a=1, **dict(b=[2, -3.5]), c=(None, True, 'd'))", {"a": 1, "b": [2, -3.5], "c": (None, True, "d")}),
        ("x = {'a': {'b': 1}}", {"a": {"b": 1}}),
        ("width = 64\nx = 3 * width // 2 + 2**3 - 7 % 4", 101),
        ("mean = [1.4, 2.6, 3.5]\nx = [round(m) for m in mean[::-1]]", [4, 3, 1]),
        ("x = [n for n in range(5) if n != 2]", [0, 1, 3, 4]),
        ("root = 'data'\nx = f'{root}/train' + '_1'", "data/train_1"),
        ("d = dict(a=dict(b=5))\nx = d['a']['b']", 5),
        ("a, b = 1, 2\nx = b if a < b and not a == b else 0", 2),
        ("x = dict(a=1)\nx['b'] = 2\nx.update(dict(c=3))", {"a": 1, "b": 2, "c": 3}),
        ("x = [1]\nx += [2]\nx.append(3)\nx.insert(0, 0)", [0, 1, 2, 3]),
        ("x = []\nfor i in range(3):\n    x.append(2 * i)", [0, 2, 4]),
        ("x: int = 3", 3),
        ('"""A docstring."""\nx = max(1, 2)', 2),
    ],
)  # fmt: skip
def test_what_configs_are_made_of(text, value, read):
    assert read(config=text)["x"] == value


def test_templates(read, tmp_path, monkeypatch):
    monkeypatch.setenv("DATA_HERE", "elsewhere")
    monkeypatch.delenv("DATA_THERE", raising=False)
    values = read(
        config="""
here = '{{ fileDirname }}/x'
name = '{{fileBasenameNoExtension}}|{{fileBasename}}|{{ fileExtname }}'
root = '{{$DATA_HERE:data}}'
other = '{{ $DATA_THERE:data/there }}'
count = {{$DATA_THERE:5}}
"""
    )
    assert values == {
        "here": f"{tmp_path.as_posix()}/x", "name": "config|config.py|.py", "root": "elsewhere", "other": "data/there",
        "count": 5,
    }  # fmt: skip


def test_bases_lie_below_and_are_referred_to(read):
    values = read(
        model="width = 96\nmodel = dict(a=dict(b=1, c=2), d=[1, 2])",
        schedule="steps = [dict(end=5), dict(end=9)]",
        config="""
_base_ = ['./model.py', 'schedule.py']
model = dict(a=dict(c=3), d=[3], e={{_base_.width}}, f=_base_.steps[1].end, g='{{ _base_.steps.0.end }}')
steps = {{_base_.steps}}
""",
    )
    assert values["model"] == {"a": {"b": 1, "c": 3}, "d": [3], "e": 96, "f": 9, "g": 5}
    assert values["steps"] == [{"end": 5}, {"end": 9}]
    assert values["width"] == 96


def test_delete_drops_what_the_base_says(read):
    values = read(
        base="model = dict(a=dict(b=1, c=2), d=1)",
        config="_base_ = 'base.py'\nmodel = dict(a=dict(_delete_=True, e=5), new=dict(_delete_=True, f=6))",
    )
    assert values == {"model": {"a": {"e": 5}, "d": 1, "new": {"f": 6}}}


def test_what_is_changed_in_the_base_is_changed(read):
    values = read(
        base="steps = [dict(end=5)]\nloader = dict(steps=steps, size=64)\ncfg = dict(epochs=300, other=1)\nhook = 1",
        config="""
_base_ = 'base.py'
mine = _base_.steps
mine[0]['end'] = 7
_base_.loader.size = 128
_base_.cfg['epochs'] = 20
_base_.cfg.update(dict(more=3))
_base_.pop('hook')
cfg = dict(other=2)
again = {{_base_.loader.size}}
""",
    )
    # What two names share in a base is two there: the loader's steps stay.
    assert values == {
        "steps": [{"end": 7}], "mine": [{"end": 7}], "loader": {"steps": [{"end": 5}], "size": 128},
        "cfg": {"epochs": 20, "other": 2, "more": 3}, "again": 128,
    }  # fmt: skip


def test_what_is_changed_in_a_known_base_is_changed_there_alone(read):
    values = read(
        config="_base_ = 'mmpretrain::_base_/datasets/imagenet_bs64_t2t_224.py'\n_base_.train_pipeline[1]['scale'] = 99"
    )
    assert values["train_pipeline"][1]["scale"] == 99
    assert values["train_dataloader"]["dataset"]["pipeline"][1]["scale"] == 224


def test_a_template_is_a_copy_of_the_base(read):
    text = "_base_ = 'base.py'\nmine = {{_base_.steps}}\nmine[0]['end'] = 7"
    assert read(base="steps = [dict(end=5)]", config=text) == {"steps": [{"end": 5}], "mine": [{"end": 7}]}


def test_what_shares_a_value_is_two_in_the_end(read):
    values = read(config="loader = dict(size=1)\nother = loader")
    values["loader"]["size"] = 2
    assert values["other"] == {"size": 1}


# What a few lines could make of a computer's time and memory; each took seconds to hours, or gigabytes.
BOMBS = {
    "shared twice": "x = dict(a=1)\n" + "x = dict(a=x, b=x)\n" * 40,
    "shared by itself": "x = [1]\nfor i in range(60):\n    x = [x, x]",
    "as text": "x = [1] * 1000\nx = [x] * 1000\nx = [x] * 1000\ny = str(x)",
    "in a template string": "x = [1] * 1000\nx = [x] * 1000\nx = [x] * 1000\ny = f'{x}'",
    "compared": "x, y = [1], [1]\n" + "x, y = [x, x], [y, y]\n" * 40 + "z = x == y",
    "sum of lists": "x = sum([[1] * 90000] * 9000, [])",
    "loops in loops": "".join(f"{' ' * i}for a{i} in range(1000):\n" for i in range(4)) + "    pass",
    "copies": "x = [0] * 60000\ny = [x.copy() for a in range(60000)]",
    "digits": "x = round(5, -10**9)",
    "digits by name": "x = round(5, ndigits=-10**9)",
    "names in loops": "\n".join(f"n{i} = 0" for i in range(20000)) + "\nx = [[0 for i in [1]] for j in range(60000)]",
    "sum of short lists": "x = sum([[1]] * 100000, [])",
    "numbers": "x = [" + "1, " * 300_000 + "]",
}  # fmt: skip


@pytest.mark.parametrize("kind", BOMBS)
def test_config_that_computes_too_much_is_refused(kind, read):
    with pytest.raises(ConfigError, match=r"config\.py:\d+: .*(too much|too large|have to be run)"):
        read(config=BOMBS[kind])


def test_files_that_have_each_other_as_bases_twice_are_refused(read):
    # Each level reads the one below it twice over.
    levels = {f"{side}{i}": f"_base_ = ['a{i - 1}.py', 'b{i - 1}.py']" for i in range(1, 30) for side in "ab"}
    with pytest.raises(ConfigError, match="computes too much"):
        read(a0="", b0="", **levels)


@pytest.mark.parametrize(
    "text", ["model = dict()\nmodel['self'] = model", "x = []\nx.append(x)", "x = []\nx += [x, x]\nx.append(x)"]
)
def test_value_in_itself_is_refused(text, read):
    with pytest.raises(ConfigError, match=r"config\.py:\d+: it computes too much for a config, or a value of it is in"):
        read(config=text)


def test_large_file_is_refused_before_it_is_parsed(read):
    with pytest.raises(ConfigError, match=r"config\.py is larger than 1 MiB; expected a config"):
        read(config="x = [" + "1, " * 400_000 + "]")


def test_environment_is_looked_up_in_no_time(read):
    assert read(config="x = '{{$NOT_SET:' + '" + " " * 50_000 + "'")["x"].startswith("{{$NOT_SET:")


def test_long_lists_of_a_config_are_fine(read):
    names = ", ".join(f"'class number {i}'" for i in range(1000))
    values = read(
        base=f"classes = [{names}]",
        config="_base_ = 'base.py'\nx = [c for c in _base_.classes if c not in ['class number 3']]\ny = []\n"
        "for i in range(1000):\n    y.append(dict(id=i, name=_base_.classes[i]))",
    )
    assert (len(values["x"]), len(values["y"])) == (999, 1000)


def test_new_style_config(read, tmp_path):
    (tmp_path / "_base_").mkdir()
    (tmp_path / "_base_" / "some_model.py").write_text(
        "from mmpretrain.models import T2T_ViT\nmodel = dict(backbone=dict(type=T2T_ViT, depth=3))\nhead = dict(a=1)",
        encoding="utf-8",
    )
    values = read(
        config="""
from mmengine.config import read_base
from torch.optim import AdamW as Adam
with read_base():
    from ._base_.some_model import *
model['backbone']['depth'] = 4
model.update(dict(more=1))
head = dict(b=2)
optimizer = dict(type=Adam)
"""
    )
    assert values == {
        "model": {"backbone": {"type": "T2T_ViT", "depth": 4}, "more": 1}, "head": {"b": 2},
        "optimizer": {"type": "AdamW"},
    }  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [
        "../_base_/models/t2t-vit-t-19.py",
        "mmpretrain::_base_/models/t2t-vit-t-19.py",
        "mmpretrain::t2t_vit/t2t-vit-t-19_8xb64_in1k.py",
    ],
)
def test_base_of_mmpretrain_is_known_without_its_file(name, read):
    values = read(config=f"_base_ = ['{name}']\nmodel = dict(head=dict(num_classes=5))")
    assert values["model"]["backbone"]["num_layers"] == 19
    assert values["model"]["head"]["num_classes"] == 5
    assert values["model"]["head"]["in_channels"] == 448


def test_file_that_is_there_goes_before_the_known_base(read):
    values = read(**{"t2t-vit-t-19": "model = dict(mine=1)", "config": "_base_ = './t2t-vit-t-19.py'"})
    assert values == {"model": {"mine": 1}}


REFUSED = {
    "call": ("import_me = 1\nx = open('f')", 2, "\"open('f')\" would have to be run"),
    "import": ("import os\nx = 1", 1, "a statement that would have to be run (Import)"),
    "star import": ("from os import *", 1, "a statement that would have to be run (ImportFrom)"),
    "function": ("def f():\n    return 1", 1, "(Function)"),
    "condition": ("x = 1\nif x:\n    y = 2", 2, "(If)"),
    "lambda": ("x = lambda: 1", 1, "'lambda: 1' would have to be run"),
    "method": ("x = 'a'.join(['b'])", 1, "would have to be run"),
    "hidden attribute": ("x = (1).__class__", 1, ".__class__' would have to be run"),
    "dunder of a dict": ("x = dict(a=1).__class__", 1, "has no value (KeyError"),
    "function of a name": ("x = dict\n", 1, "the name 'dict' is bound nowhere above"),
    "call of a value": ("a = dict(f=1)\nx = a['f']()", 2, "would have to be run"),
    "unknown name": ("x = y", 1, "the name 'y' is bound nowhere above"),
    "missing key": ("a = dict(b=1)\nx = a['c']", 2, "has no value (KeyError: no key 'c')"),
    "division": ("x = 1 / 0", 1, "has no value (ZeroDivisionError"),
    "format": ("a = 1\nx = f'{a:03d}'", 2, "would have to be run"),
    "huge text": ("x = 'a' * 10**9", 1, "would have to be run"),
    "huge number": ("x = 9**64\ny = x * x\nz = y * y * y * y * y * y * y * y * y * y * y", 3, "too large for a config"),
    "huge power": ("x = 9**9**9", 1, "would have to be run"),
    "huge range": ("x = list(range(10**9))", 1, "too large for a config"),
    "endless work": ("x = [[0 for a in range(999)] for b in range(999)]", 1, "computes too much"),
    "missing base": ("\n_base_ = ['../models/resnet50.py']", 2, "there is no base '../models/resnet50.py'"),
    "base that is no path": ("_base_ = [1]", 1, "_base_ has 1; expected paths"),
    "own base": ("_base_ = './config.py'", 1, "is a base of itself"),
    "syntax": ("x = dict(\n  a=1\n  b=2)", 2, "SyntaxError"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_would_have_to_be_run_is_refused_with_its_line(kind, read):
    text, line, expected = REFUSED[kind]
    with pytest.raises(ConfigError) as caught:
        read(config=text)
    message = str(caught.value)
    assert re.match(rf".*config\.py:{line}: ", message), message
    assert expected in message
    assert "\n" not in message


def test_two_bases_that_bind_the_same_name_are_refused(read):
    with pytest.raises(ConfigError, match=r"config\.py:1: two bases bind 'model'"):
        read(a="model = dict(a=1)", b="model = dict(b=1)", config="_base_ = ['a.py', 'b.py']")


def test_error_in_a_base_names_the_base(read):
    with pytest.raises(ConfigError, match=r"/base\.py:2: .open"):
        read(base="a = 1\nx = open('f')", config="_base_ = 'base.py'")


def test_deep_nesting_is_told(read):
    with pytest.raises(ConfigError, match=r"config\.py"):
        read(config=f"x = {'[' * 150}{']' * 150}\ny = {'-' * 5000}1")


@pytest.mark.parametrize(
    ("text", "is_theirs"),
    [
        ("_base_ = 'x.py'", True),
        ("model = dict(type='ImageClassifier')", True),
        ("with read_base():\n    from .x import *", True),
        ("from t2t_vit.config import *\nmodel = Model()\nexperience = 1", False),
        ("model = 1\nexperiment = 2", False),
        ("model = dict()\nx = [experiment for experiment in [1]]", True),
        ("model = {}\nexperiment = 'flowers_v1'", True),
        ("_base_ = 'x.py'\nfrom t2t_vit.config import Experiment\nexperiment = 2", True),
        ("_base_ = []\nexperiment = make()", True),
        ("_base_ = []\nexperiment = Experiment(model=Model())", False),
        ("model = dict(depth=3)\nexperiment: Experiment = config.Experiment(model=Model(**model))", False),
        ("train_cfg = dict()\ndef f():\n    experiment = 1", True),
        ("train_cfg = dict()\nif True:\n    experiment = 1", False),
        ("def f():\n    model = dict()", False),
        ("from mine import experiment\nmodel = 1", False),
        ("value = 3", False),
        ("x = = 1", False),
    ],
)
def test_configs_are_told_apart_by_what_they_bind(text, is_theirs):
    assert is_mmpretrain(text) is is_theirs


def test_what_cannot_be_told_apart_is_not_run():
    with pytest.raises(ConfigError, match="it is nested too deeply for a config"):
        is_mmpretrain("experiment = 1\nx = " + "+".join("1" * 50_000))


def test_value_of_the_environment_makes_no_file_one_to_run(monkeypatch):
    monkeypatch.setenv("QUOTED", "it's")
    assert is_mmpretrain("model = dict(a='{{$QUOTED:x}}')")


def test_known_bases_are_made_anew_each_time():
    first = known_base("_base_/default_runtime.py")
    first["default_hooks"].clear()
    assert known_base("_base_/default_runtime.py")["default_hooks"]
    assert "_base_/default_runtime.py" in known_base("nothing.py")


@pytest.mark.parametrize(
    ("name", "is_known"),
    [
        ("../_base_/default_runtime.py", True),
        ("/far/_base_/models/t2t-vit-t-14.py", True),
        ("/home/me/my_bases/default_runtime.py", False),
        ("default_runtime.py", False),
        ("./models/t2t-vit-t-14.py", False),
        ("mmpretrain::default_runtime.py", False),
    ],
)
def test_base_that_is_not_there_is_known_by_its_folders_and_said(name, is_known, tmp_path):
    path = tmp_path / "config.py"
    path.write_text(f"_base_ = '{name}'", encoding="utf-8")
    if is_known:
        assert read_config(path).notes == [f"{tmp_path / name} is not there; MMPretrain 1.2.0's own is used"]
    else:
        with pytest.raises(ConfigError, match=r"config\.py:1: there is no base '.*known without its file: _base_/mod"):
            read_config(path)


def test_base_of_mmpretrain_by_its_scope_needs_no_word(tmp_path):
    path = tmp_path / "config.py"
    path.write_text("_base_ = 'mmpretrain::_base_/default_runtime.py'", encoding="utf-8")
    assert read_config(path).notes == []


def test_what_a_comprehension_binds_is_no_name_of_the_config(read):
    assert read(config="n = 7\nx = [n + m for m in [1]]\ny = [n for n in [2]]") == {"n": 7, "x": [8], "y": [2]}
