"""Images in, features out: in every form, as the model called by hand gives them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from t2t_vit import FeatureExtractor, ImageClassificationInferencer, get_model
from t2t_vit.errors import ConfigError, ImageError


@pytest.fixture
def deep(settings):
    """A model of three layers without a head, whose features differ from picture to picture."""
    torch.manual_seed(0)
    model = get_model("t2t_vit_t_14", **{**settings, "depth": 3, "num_classes": 0})
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(8)
    return model


def by_hand(model, rgb, stage="neck"):
    preprocess = FeatureExtractor(model).preprocess
    with torch.no_grad():
        return model.extract_feat(preprocess(Image.fromarray(rgb)).unsqueeze(0), stage)


@pytest.mark.parametrize(
    ("out_type", "shape"), [("cls_token", (24,)), ("avg_featmap", (24,)), ("featmap", (24, 4, 4)), ("raw", (17, 24))]
)
@pytest.mark.parametrize("stage", ["neck", "backbone"])
def test_each_form_has_its_shape_and_the_models_values(out_type, shape, stage, settings, rgb):
    model = get_model("t2t_vit_t_14", **settings, out_type=out_type)

    (features,) = FeatureExtractor(model)(rgb, stage=stage, channel_order="rgb")

    assert type(features) is tuple
    assert [layer.shape for layer in features] == [shape]
    assert torch.allclose(features[0], by_hand(model, rgb)[0][0], atol=1e-6)


def test_pre_logits_is_the_tensor_that_goes_into_the_head(model, rgb):
    (features,) = FeatureExtractor(model)(rgb, stage="pre_logits")

    assert features.shape == (24,)
    logits = model.head(features)
    scores = ImageClassificationInferencer(model)(rgb)[0]["pred_scores"]
    np.testing.assert_allclose(logits.softmax(0).detach().numpy(), scores, atol=1e-6)


def test_several_layers_come_as_a_tuple(settings, rgb):
    arguments = {**settings, "depth": 3, "out_indices": (0, -1), "out_type": "featmap"}
    extractor = FeatureExtractor("t2t-vit-t-14_8xb64_in1k", False, "cpu", **arguments)

    first, last = extractor([rgb])[0]

    assert first.shape == last.shape == (24, 4, 4)
    assert not torch.allclose(first, last, atol=1e-2)
    assert not extractor.model.training


@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_features_keep_their_order_and_values_at_any_batch_size(batch_size, deep, rgb):
    images = [np.roll(rgb, 7 * i, axis=1) for i in range(5)]

    together = FeatureExtractor(deep)(images, batch_size, channel_order="rgb")

    expected = torch.stack([by_hand(deep, image)[0][0] for image in images])
    torch.testing.assert_close(torch.stack([layers[0] for layers in together]), expected, atol=1e-5, rtol=0)
    assert np.ptp(expected.numpy(), axis=0).max() > 1e-3


def test_every_way_in_gives_the_same(deep, rgb, tmp_path, serve):
    Image.fromarray(rgb).save(tmp_path / "a picture.png")
    extractor = FeatureExtractor(deep)
    ways = [
        str(tmp_path / "a picture.png"),
        tmp_path,  # a folder
        f"{serve(tmp_path)}/a%20picture.png",
        Image.fromarray(rgb),
        rgb[..., ::-1],
        [tmp_path / "a picture.png"],
    ]
    for way in ways:
        (features,) = extractor(way)
        torch.testing.assert_close(features[0], by_hand(deep, rgb)[0][0], atol=1e-5, rtol=0)


def test_something_can_be_trained_on_the_features(deep, rgb):
    (features,) = FeatureExtractor(deep)(rgb)
    probe = torch.nn.Linear(24, 2)

    probe(features[0]).sum().backward()

    assert probe.weight.grad is not None
    assert not features[0].requires_grad


def test_more_images_than_fit_come_batch_by_batch(deep, rgb, tmp_path):
    stream = FeatureExtractor(deep).stream([rgb, rgb, tmp_path / "gone.png"], batch_size=2)

    assert [next(stream)[0].shape for _ in range(2)] == [(24,)] * 2
    with pytest.raises(ImageError, match=r"gone\.png"):
        next(stream)


def test_nothing_gives_nothing(deep):
    assert FeatureExtractor(deep)([]) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"stage": "head"}, "stage is 'head'; expected one of backbone, neck, pre_logits"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"batch_size": True}, "batch_size is True"),
    ],
    ids=str,
)
def test_a_wrong_argument_is_told(arguments, message, deep, rgb):
    with pytest.raises(ConfigError, match=message):
        FeatureExtractor(deep)(rgb, **arguments)


def test_a_model_that_is_built_takes_no_settings(deep):
    with pytest.raises(ConfigError, match="out_type: a model that is built already"):
        FeatureExtractor(deep, out_type="raw")


def test_the_names_of_models_can_be_asked_for():
    assert FeatureExtractor.list_models("t2t-vit-t-14") == ImageClassificationInferencer.list_models("t2t-vit-t-14")
    assert "t2t-vit-t-14_8xb64_in1k" in FeatureExtractor.list_models()
