"""Pictures in a window: shown one after the other, and refused where nobody would see them."""

from __future__ import annotations

import sys
import types

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest
from matplotlib.backend_bases import FigureManagerBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from t2t_vit.errors import ConfigError
from t2t_vit.visualization.window import check_screen, show_picture


@pytest.fixture
def screen(monkeypatch):
    """Have matplotlib draw on a screen that only remembers; return the titles and sizes of what was shown on it."""
    shown = []

    class Manager(FigureManagerBase):
        title = ""

        def get_window_title(self):
            return self.title

        def set_window_title(self, title):
            self.title = title

        @classmethod
        def pyplot_show(cls, *, block=None):
            for number in plt.get_fignums():
                figure = plt.figure(number)
                shape = figure.axes[0].images[0].get_array().shape
                shown.append((figure.canvas.manager.title, shape, block))

    class Canvas(FigureCanvasAgg):
        manager_class = Manager

    backend = types.ModuleType("screen_of_a_test")
    backend.FigureCanvas, backend.FigureManager = Canvas, Manager
    monkeypatch.setitem(sys.modules, "screen_of_a_test", backend)
    before = mpl.get_backend()
    plt.close("all")  # figures of other tests
    plt.switch_backend("module://screen_of_a_test")
    yield shown
    plt.switch_backend(before)


def test_each_picture_has_a_window_of_its_own(screen):
    check_screen()
    assert screen == []
    show_picture(Image.new("RGB", (30, 20)), "first", 0)
    show_picture(Image.new("RGB", (10, 40)), "second", 0.01)
    assert screen == [("first", (20, 30, 3), True), ("second", (40, 10, 3), False)]
    assert plt.get_fignums() == []


@pytest.mark.parametrize("backend", ["agg", "svg", "pdf"])
def test_where_only_files_can_be_drawn_nothing_is_shown(backend, monkeypatch):
    monkeypatch.setitem(mpl.rcParams, "backend", backend)
    with pytest.raises(ConfigError, match="needs a screen and there is none here; use show_dir"):
        check_screen()
    with pytest.raises(ConfigError, match="none here; use --show-dir FOLDER"):
        check_screen("--show-dir FOLDER")
