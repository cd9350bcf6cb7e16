"""What a run works on: images in the user's home, a teacher that has to be known."""

from __future__ import annotations

import pytest
import torch

from t2t_vit.config import Data
from t2t_vit.errors import ConfigError
from t2t_vit.run import open_images
from t2t_vit.run.teacher import distillation_of


@pytest.mark.parametrize(("root", "val"), [("~/pictures", "val"), ("elsewhere", "~/pictures/val")])
def test_the_users_home_is_known(root, val, pictures, monkeypatch):
    monkeypatch.setenv("HOME", str(pictures.parent))
    assert len(open_images(Data(root=root, val=val), "val")) == 9


def test_teacher_that_nobody_knows_is_told_with_the_setting(recipe):
    experiment = recipe(distillation={"teacher": "t2t_vit_t_15"})
    with pytest.raises(ConfigError, match=r"distillation\.teacher: unknown model 't2t_vit_t_15'. Did you mean"):
        distillation_of(experiment, ["cat", "dog", "owl"], torch.device("cpu"))
