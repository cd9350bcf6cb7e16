"""What `print-config` writes is a config that says the same."""

from __future__ import annotations

import pytest

from t2t_vit.config import Data, Experiment, Model, Optimizer, Preprocessing, load_experiment
from t2t_vit.config.as_python import experiment_to_python

ODD = Experiment(
    model=Model(img_size=(192, 320), in_chans=1, depth=(3, 6, 6, 4), soft_splits=((7, 4, 2), (3, 2, 1)), embed_dim=12),
    data=Data(root='a "quoted" \\ path\nof two lines, ü 🐦', val="it's", num_folds=3, fold=2),
    preprocessing=Preprocessing(mean=(0.5,), std=(1 / 3,)),
    optimizer=Optimizer(lr=1.2345678901234567e-4),
)


@pytest.mark.parametrize("docstring", ["Plain.", 'quotes """ and \\ in it', 'ends with a quote"'])
def test_written_config_is_equal_when_read(docstring, tmp_path):
    path = tmp_path / "written.py"
    path.write_text(experiment_to_python(ODD, docstring), encoding="utf-8")
    assert load_experiment(path) == ODD


def test_written_config_says_every_setting_once():
    text = experiment_to_python(Experiment(), "All.")
    assert text.count("    lr=0.0005,") == 1
    assert text.count("    mean=(0.485, 0.456, 0.406),") == 1
    assert text.count('    name="t2t_vit_t_14",') == 1
