import subprocess
import sys

import matplotlib
import pytest

from t2t_vit.errors import ConfigError
from t2t_vit.visualization import canvas, lettering

BEGINNINGS = {"a.png": b"\x89PNG", "a.pdf": b"%PDF", "a.svg": b"<?xml", "A.PNG": b"\x89PNG"}


@pytest.mark.parametrize("name", BEGINNINGS)
def test_the_suffix_says_the_format(tmp_path, name):
    with canvas.drawing(tmp_path / "new" / "folder" / name, 1, 1) as figure:
        figure.suptitle("title")
    assert (tmp_path / "new" / "folder" / name).read_bytes().startswith(BEGINNINGS[name])


@pytest.mark.parametrize("name", ["picture.jpeg", "picture", "picture.pgn"])
def test_an_unknown_suffix_is_one_clear_line_before_anything_is_drawn(tmp_path, name):
    with (
        pytest.raises(ConfigError, match=r"expected \.png, \.pdf, \.svg") as caught,
        canvas.drawing(tmp_path / name, 1, 1),
    ):
        pytest.fail("the block must not be entered")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_misspelt_suffix_is_told_the_nearest_right_one(tmp_path):
    with pytest.raises(ConfigError, match=r"Did you mean '\.png'"), canvas.drawing(tmp_path / "a.pgn", 1, 1):
        pass


def test_a_picture_that_cannot_be_finished_leaves_the_old_one_and_nothing_else(tmp_path, monkeypatch):
    out = tmp_path / "a.png"
    out.write_bytes(b"old")

    def fail(_):
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="disk full"), canvas.drawing(out, 1, 1):
        pass
    assert out.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [out]


def test_an_error_while_drawing_writes_nothing(tmp_path):
    with pytest.raises(RuntimeError), canvas.drawing(tmp_path / "a.png", 1, 1):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_a_picture_replaces_the_one_before(tmp_path):
    out = tmp_path / "a.png"
    out.write_bytes(b"old")
    with canvas.drawing(out, 1, 1):
        pass
    assert out.read_bytes().startswith(b"\x89PNG")


def test_the_users_own_style_neither_matters_nor_changes(tmp_path):
    with matplotlib.rc_context({"text.usetex": True, "axes.facecolor": "red"}):
        before = dict(matplotlib.rcParams)
        with canvas.drawing(tmp_path / "a.png", 1, 1) as figure:
            assert figure.subplots().get_facecolor() == (1, 1, 1, 1)
        assert dict(matplotlib.rcParams) == before


def test_drawing_needs_neither_pyplot_nor_torch(tmp_path):
    code = (
        "import sys, t2t_vit, t2t_vit.visualization; assert 'matplotlib' not in sys.modules\n"
        "from pathlib import Path; from t2t_vit.visualization.confusion import plot_confusion_matrix\n"
        "import t2t_vit.visualization.curves, t2t_vit.visualization.predictions\n"
        f"plot_confusion_matrix([[3, 1], [0, 4]], ['cat', 'dog'], Path({str(tmp_path / 'a.png')!r}))\n"
        "assert not {'matplotlib.pyplot', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
    assert (tmp_path / "a.png").stat().st_size > 0


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("tench, Tinca tinca", "tench, Tinca tinca"),
        ("$x_1$", "$x_1$"),
        ("two\nlines\t here ", "two lines here"),
        ("cafe\u0301", "café"),
        ("Кошка äß", "Кошка äß"),
        ("a\U0001f680b", "a□b"),
        ("\udce9", "□"),
        ("\u2764\ufe0f\u200d!", "\u2764!"),  # a selector and a joiner have no shape of their own
    ],
)
def test_text_is_put_on_one_line_of_glyphs_that_exist(text, shown):
    assert lettering.printable(text, among=["DejaVu Sans"]) == shown


def test_another_font_of_the_machine_shows_what_dejavu_lacks(monkeypatch):
    dejavu, stix = (lettering._characters(family) for family in ("DejaVu Sans", "STIXGeneral"))
    character = chr(min(stix - dejavu))
    assert lettering.printable(character, among=["DejaVu Sans"]) == "□"
    monkeypatch.setattr(lettering, "families", lambda: ("DejaVu Sans", "STIXGeneral"))
    assert lettering.printable(character) == character
    assert lettering.best_family(character) == "STIXGeneral"
    assert lettering.best_family("tench") == "DejaVu Sans"


def test_long_text_is_cut_to_its_columns():
    assert lettering.shorten("tench, Tinca tinca", 18) == "tench, Tinca tinca"
    assert lettering.shorten("tench, Tinca tinca", 8) == "tench…"
    assert lettering.shorten("abcdefgh", 4) == "abc…"


def test_wide_characters_count_for_two_columns(monkeypatch):
    monkeypatch.setattr(lettering, "_characters", lambda _: frozenset(map(ord, "虎猫犬…")))
    assert lettering.shorten("虎猫犬", 6) == "虎猫犬"
    assert lettering.shorten("虎猫犬", 5) == "虎猫…"
