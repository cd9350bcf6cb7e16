"""Images in, labels out: every way in gives the same, and what is wrong is told in one line."""

from __future__ import annotations

import runpy
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from t2t_vit import ImageClassificationInferencer, T2TViT, get_model, inference_model
from t2t_vit.data.class_names import imagenet_classes
from t2t_vit.errors import CheckpointError, ConfigError, DatasetError, ImageError, ImageNotFoundError
from t2t_vit.weights.convert import to_mmpretrain

GOLDEN = Path(__file__).parents[1] / "golden"
fill = runpy.run_path(str(GOLDEN / "fill.py"))


def scores(prediction):
    return prediction["pred_scores"]


@pytest.fixture
def expected(model, picture):
    return scores(inference_model(model, picture))


def test_a_prediction_has_mmpretrains_keys_and_types(model, picture):
    prediction = inference_model(model, str(picture))

    assert {key: type(value) for key, value in prediction.items()} == {
        "pred_scores": np.ndarray,
        "pred_label": int,
        "pred_score": float,
        "pred_class": str,
    }
    values = scores(prediction)
    assert (values.shape, values.dtype) == ((5,), np.float32)
    assert values.sum() == pytest.approx(1, abs=1e-6)
    assert values.max() - values.min() > 0.05  # so that equal scores mean something
    assert prediction["pred_label"] == values.argmax()
    assert prediction["pred_score"] == values.max()
    assert prediction["pred_class"] == str(prediction["pred_label"])


def test_every_way_in_gives_the_same(model, picture, rgb, expected, serve, tmp_path):
    alpha = np.full((*rgb.shape[:2], 1), 255, np.uint8)
    bgr = rgb[..., ::-1]
    ways = {
        "text": str(picture),
        "path": picture,
        "URL": f"{serve(tmp_path)}/a%20picture.png",
        "Pillow": Image.open(picture),
        "Pillow with alpha": Image.open(picture).convert("RGBA"),
        "array": bgr,
        "array with alpha": np.concatenate([bgr, alpha], axis=2),
        "array of 16 bits": bgr.astype(np.uint16) * 257,
    }
    for way, image in ways.items():
        np.testing.assert_allclose(scores(inference_model(model, image)), expected, atol=1e-6, err_msg=way)
    rgb_way = inference_model(model, rgb, channel_order="rgb")
    np.testing.assert_allclose(scores(rgb_way), expected, atol=1e-6)
    assert np.abs(scores(inference_model(model, rgb)) - expected).max() > 1e-3  # the order of channels matters


def test_grey_is_grey_whatever_the_way_in(model, rgb, tmp_path):
    grey = rgb[..., 1]
    Image.fromarray(grey).save(tmp_path / "grey.png")
    expected = scores(inference_model(model, np.stack([grey] * 3, axis=2)))

    for image in (grey, grey[..., None], Image.fromarray(grey), tmp_path / "grey.png"):
        np.testing.assert_allclose(scores(inference_model(model, image)), expected, atol=1e-6)


def test_a_model_of_grey_images_takes_colour(settings, picture, rgb):
    model = get_model("t2t_vit_t_14", **settings, in_chans=1)
    grey = np.asarray(Image.fromarray(rgb).convert("L"))

    np.testing.assert_allclose(scores(inference_model(model, picture)), scores(inference_model(model, grey)), atol=1e-6)


def test_exif_orientation_is_honoured(model, picture, expected, tmp_path):
    turned = Image.open(picture).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned back when shown
    turned.save(tmp_path / "turned.png", exif=exif)

    for image in (tmp_path / "turned.png", Image.open(tmp_path / "turned.png")):
        np.testing.assert_allclose(scores(inference_model(model, image)), expected, atol=1e-6)
    assert np.abs(scores(inference_model(model, turned)) - expected).max() > 1e-3


def test_a_folder_gives_its_images_by_name(model, rgb, expected, tmp_path):
    folder = tmp_path / "pictures"
    (folder / "below").mkdir(parents=True)
    Image.fromarray(rgb).save(folder / "b.PNG")
    Image.fromarray(255 - rgb).save(folder / "a.bmp")
    (folder / "notes.txt").write_text("no image")

    for given in (folder, str(folder)):
        first, second = inference_model(model, given)
        np.testing.assert_allclose(scores(second), expected, atol=1e-6)
        assert np.abs(scores(first) - expected).max() > 1e-3


@pytest.mark.parametrize("batch_size", [1, 2, 3, 64])
def test_predictions_keep_their_order_and_values_at_any_batch_size(batch_size, model, rgb, tmp_path):
    images = [np.roll(rgb, 7 * i, axis=1) for i in range(5)]
    one_by_one = [scores(inference_model(model, image)) for image in images]

    together = ImageClassificationInferencer(model)(images, batch_size=batch_size)

    assert len(together) == 5
    np.testing.assert_allclose([scores(p) for p in together], one_by_one, atol=1e-6)
    assert np.ptp(one_by_one, axis=0).max() > 1e-3


def test_a_list_gives_a_list(model, picture, rgb, expected):
    predictions = inference_model(model, [picture, rgb[..., ::-1], Image.open(picture)], batch_size=2)

    assert [type(p) for p in predictions] == [dict] * 3
    np.testing.assert_allclose([scores(p) for p in predictions], [expected] * 3, atol=1e-6)
    assert inference_model(model, []) == []


@pytest.mark.parametrize("way", ["list", "file"])
def test_class_names_come_from_a_list_or_a_file(way, model, picture, tmp_path):
    classes = ["ant", "bee", "cat", "dog", "eel"]
    if way == "file":
        (tmp_path / "classes.txt").write_text("\n".join(classes) + "\n", encoding="utf-8")
    prediction = inference_model(model, picture, classes=classes if way == "list" else tmp_path / "classes.txt")

    assert prediction["pred_class"] == classes[prediction["pred_label"]]


def test_class_names_come_from_the_model_or_are_imagenets(settings, picture):
    own = get_model("t2t_vit_t_14", **settings)
    own.classes = ("ant", "bee", "cat", "dog", "eel")
    prediction = inference_model(own, picture)
    assert prediction["pred_class"] == own.classes[prediction["pred_label"]]

    imagenet = get_model("t2t_vit_t_14", **{**settings, "num_classes": 1000})
    assert ImageClassificationInferencer(imagenet).classes == imagenet_classes()


def test_the_inferencer_takes_what_get_model_takes(settings, picture):
    inferencer = ImageClassificationInferencer("t2t-vit-t-14_8xb64_in1k", False, "cpu", None, **settings)

    assert not inferencer.model.training
    assert len(scores(inferencer(picture)[0])) == 5


def test_a_bare_model_is_evaluated_even_if_it_is_in_training_mode(settings, picture):
    model = T2TViT(**settings)

    first, second = (scores(inference_model(model, picture)) for _ in range(2))

    assert np.array_equal(first, second)


def test_a_model_called_by_hand_gives_the_same(model, picture):
    """A model that is called by hand on the inferencer's tensor gives the inferencer's scores."""
    inferencer = ImageClassificationInferencer(model)
    x = inferencer.preprocess(inferencer.load(picture)).unsqueeze(0)

    with torch.no_grad():
        by_hand = model(x).softmax(dim=1)[0].numpy()
    np.testing.assert_allclose(scores(inferencer(picture)[0]), by_hand, atol=1e-6)


def test_without_a_head_there_is_nothing_to_predict(settings, picture):
    with pytest.raises(ConfigError, match=r"no head .*use extract_feat"):
        inference_model(get_model("t2t_vit_t_14", **{**settings, "num_classes": 0}), picture)


@pytest.mark.parametrize(
    ("file", "content", "error", "message"),
    [
        ("gone.png", None, ImageNotFoundError, r"no image file .*gone\.png"),
        ("pictur.png", None, ImageNotFoundError, r"Did you mean 'a picture\.png'"),
        ("empty.jpg", b"", ImageError, r"empty\.jpg is empty"),
        ("text.jpg", b"this is no picture", ImageError, r"text\.jpg is not an image; it begins with 'this is no"),
        ("cut.png", "half of the picture", ImageError, r"cut\.png is truncated or corrupt"),
    ],
    ids=["missing", "misspelt", "empty", "text", "corrupt"],
)
def test_a_bad_image_is_told_in_one_line(file, content, error, message, model, picture, tmp_path):
    if content == "half of the picture":
        content = picture.read_bytes()[: picture.stat().st_size // 2]
    if content is not None:
        (tmp_path / file).write_bytes(content)
    with pytest.raises(error, match=message) as raised:
        inference_model(model, [picture, tmp_path / file])
    assert "\n" not in str(raised.value)


def test_a_folder_without_images_is_told(model, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match=r"empty' has no images; looked for .*\.jpg"):
        inference_model(model, tmp_path / "empty")


def test_an_empty_name_is_told_and_is_not_the_current_folder(model, picture, monkeypatch):
    monkeypatch.chdir(Path(picture).parent)
    for inputs in ("", [str(picture), ""]):
        with pytest.raises(ImageError, match="the name of an image is empty"):
            inference_model(model, inputs)


def test_a_url_that_gives_nothing_is_told(model, serve, tmp_path):
    with pytest.raises(ImageError, match=r"cannot fetch the image http.*gone\.png: the server answered 404"):
        inference_model(model, f"{serve(tmp_path)}/gone.png")
    with pytest.raises(ImageError, match="cannot fetch the image"):
        inference_model(model, "http://127.0.0.1:1/gone.png")


def test_a_page_behind_a_url_is_named(model, serve, tmp_path):
    (tmp_path / "für.html").write_text("<html>")
    url = f"{serve(tmp_path)}/für.html"
    with pytest.raises(ImageError, match=r"http.*/für\.html: The data is not an image"):
        inference_model(model, url)


def test_what_is_too_long_for_a_name_is_told(model):
    with pytest.raises(ImageError, match=r"A\.png cannot be read: File name too long\.$"):
        inference_model(model, "A" * 300 + ".png")


def test_hidden_files_of_a_folder_are_none_of_its_images(model, picture, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    shutil.copy(picture, folder / "a.png")
    (folder / "._a.png").write_bytes(b"\0\5\x16\7")  # as macOS leaves them
    assert len(inference_model(model, folder)) == 1


@pytest.mark.parametrize("thing", [None, 3, b"PNG", torch.zeros(3, 8, 8), {"img": 1}, (i for i in "ab")], ids=type)
def test_what_is_no_image_is_told(thing, model):
    with pytest.raises(ImageError, match=f"not a {type(thing).__name__}"):
        inference_model(model, thing)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"batch_size": 0}, ConfigError, "batch_size is 0"),
        ({"batch_size": -1}, ConfigError, "batch_size is -1"),
        ({"batch_size": 1.5}, ConfigError, "batch_size is 1.5"),
        ({"batch_size": "2"}, ConfigError, "batch_size is '2'"),
        ({"classes": ["a"]}, ConfigError, "classes has 1 names; the model has 5 classes"),
        ({"classes": "no-such-file.txt"}, DatasetError, "no file of class names"),
        ({"channel_order": "grb"}, ConfigError, "channel_order is 'grb'"),
        ({"num_classes": 3}, ConfigError, "num_classes: a model that is built already"),
        ({"pretrained": "weights.pth"}, ConfigError, "pretrained='weights.pth': a model that is built already"),
    ],
    ids=str,
)
def test_a_wrong_argument_is_told(arguments, error, message, model, rgb):
    with pytest.raises(error, match=message) as raised:
        inference_model(model, rgb, **arguments)
    assert "\n" not in str(raised.value)


@pytest.fixture(scope="module")
def golden_model():
    """T2T-ViT-14 with the values of the reference outputs, which go by MMPretrain's parameter names."""
    model = get_model("t2t-vit-t-14_8xb64_in1k")
    state = model.state_dict()
    with torch.no_grad():
        for name, theirs in zip(state, to_mmpretrain(state), strict=True):
            if name != "pos_embed":
                state[name].copy_(torch.from_numpy(fill["filled_value"](theirs, tuple(state[name].shape))))
    return model


with np.load(GOLDEN / "inference.npz") as golden_file:
    GOLDEN_OUTPUTS = dict(golden_file)


@pytest.mark.parametrize("key", sorted({name.rpartition("/")[0] for name in GOLDEN_OUTPUTS}))
def test_scores_are_the_references(key, golden_model, tmp_path):
    seed, height, width = (int(part) for part in key.replace("_", "x").split("x"))
    Image.fromarray(fill["rgb_image"](seed, height, width)).save(tmp_path / "picture.png")

    prediction = inference_model(golden_model, tmp_path / "picture.png")

    # Measured: at most 1.1e-8 away, of scores up to 0.027.
    np.testing.assert_allclose(scores(prediction), GOLDEN_OUTPUTS[f"{key}/scores"], atol=1e-7)
    assert prediction["pred_label"] == int(GOLDEN_OUTPUTS[f"{key}/label"])
    assert prediction["pred_score"] == pytest.approx(float(GOLDEN_OUTPUTS[f"{key}/score"]), abs=1e-6)
    assert prediction["pred_class"] == imagenet_classes()[prediction["pred_label"]]


def test_scores_that_are_not_finite_are_no_prediction(settings, picture):
    broken = get_model("t2t_vit_t_14", **settings)
    with torch.no_grad():
        broken.head.bias[0] = torch.nan
    with pytest.raises(CheckpointError, match=r"scores are not finite: .* overflow in float32; give it other weights"):
        inference_model(broken, picture)
