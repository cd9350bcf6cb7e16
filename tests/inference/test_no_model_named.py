"""What predicts where no model is named: the one that comes along, or the one that a file of weights is of."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import save_file

from t2t_vit import FeatureExtractor, ImageClassificationInferencer, get_model, inference_model
from t2t_vit.config import Experiment, Model, experiment_to_json, load_experiment
from t2t_vit.errors import ConfigError, ImageError, UnknownModelError
from t2t_vit.hub import DEFAULT_MODEL
from t2t_vit.hub.shipped import shipped_weights


@pytest.fixture
def expected(picture):
    return inference_model(DEFAULT_MODEL, picture)["pred_scores"]


def test_the_model_may_be_left_out(picture, rgb, expected):
    assert expected.min() > 0.0
    for prediction in (inference_model(picture), inference_model(inputs=picture), inference_model(None, picture)):
        np.testing.assert_array_equal(prediction["pred_scores"], expected)
    np.testing.assert_array_equal(inference_model(rgb[..., ::-1])["pred_scores"], expected)
    first, _ = inference_model([picture, rgb], batch_size=2)
    np.testing.assert_allclose(first["pred_scores"], expected, atol=1e-5)
    assert first["pred_class"] in get_model(DEFAULT_MODEL, True).classes


def test_it_is_said_which_model_and_which_classes(picture, caplog):
    inference_model(picture)
    (said,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    classes = get_model(DEFAULT_MODEL, True).classes
    assert said.startswith(
        f"no model is named: this is {DEFAULT_MODEL}, which knows {len(classes)} classes: {classes[0]}"
    )
    card = Path(said.rpartition("; see ")[2])
    assert all(name in card.read_text(encoding="utf-8") for name in classes)
    caplog.clear()

    FeatureExtractor(num_classes=0)
    assert caplog.messages[-1] == f"no model is named: this is {DEFAULT_MODEL}; see {card}"
    caplog.clear()

    inference_model(picture, pretrained=False)
    assert caplog.messages[-1] == f"no model is named: this is {DEFAULT_MODEL} with fresh weights"
    caplog.clear()

    inference_model(DEFAULT_MODEL, picture)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_what_is_no_model_is_taken_for_an_image(tmp_path):
    with pytest.raises(ImageError, match=r"bird\.jpg"):
        inference_model(tmp_path / "bird.jpg")
    for name in (DEFAULT_MODEL, "vit-mini_cifar100"):
        with pytest.raises(ConfigError, match=r"expected inference_model\(model, image, \.\.\.\)"):
            inference_model(name)
    with pytest.raises(UnknownModelError, match=r"neither a model nor an image file\. Did you mean .*'t2t_vit_t_14'"):
        inference_model("t2t_vit_t_15")
    with pytest.raises(ConfigError, match=r"expected inference_model\(model, image, \.\.\.\)"):
        inference_model()


def test_a_file_of_weights_says_what_it_is_of(settings, model, picture, tmp_path, caplog):
    experiment = Experiment(model=Model(name="t2t_vit_t_14", **settings))
    texts = {"experiment": experiment_to_json(experiment), "classes": json.dumps(["ant", "bee", "cat", "dog", "eel"])}
    save_file(model.state_dict(), tmp_path / "own.safetensors", texts)
    save_file(model.state_dict(), tmp_path / "mute.safetensors")
    named = ImageClassificationInferencer(experiment, tmp_path / "own.safetensors")(picture)[0]

    unnamed = ImageClassificationInferencer(pretrained=tmp_path / "own.safetensors")(picture)[0]

    np.testing.assert_array_equal(unnamed["pred_scores"], named["pred_scores"])
    assert unnamed["pred_class"] in ("ant", "bee", "cat", "dog", "eel")
    by_name = ImageClassificationInferencer(pretrained=DEFAULT_MODEL)(picture)[0]
    assert by_name["pred_class"] in get_model(DEFAULT_MODEL, True).classes
    assert "no model is named" not in caplog.text
    with pytest.raises(ConfigError, match=r"mute\.safetensors does not say which model it is of"):
        ImageClassificationInferencer(pretrained=tmp_path / "mute.safetensors")


@pytest.mark.parametrize(("args", "kwargs"), [((False, 2), {}), (("b.png",), {}), ((), {"inputs": "b.png"})])
def test_an_image_in_the_models_place_is_told(args, kwargs):
    with pytest.raises(ConfigError, match=r"'a\.JPG' is an image in the model's place.*, with None for the model"):
        inference_model("a.JPG", *args, **kwargs)


def test_its_preprocessing_is_no_other_with_another_number_of_channels(caplog):
    get_model(DEFAULT_MODEL, True, in_chans=1)
    assert "was trained with" not in caplog.text
    get_model(Experiment(model=load_experiment(DEFAULT_MODEL).model), shipped_weights(DEFAULT_MODEL))
    assert "was trained with" in caplog.text


def test_features_come_from_it_too(picture):
    (feature,) = FeatureExtractor()(picture)[0]
    assert feature.shape == (get_model(DEFAULT_MODEL).embed_dim,)
