"""Predictions as pictures: what is written where, how large, and with which words."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from t2t_vit import ImageClassificationInferencer, get_model, inference_model
from t2t_vit.errors import ConfigError, ImageError
from t2t_vit.inference.drawing import picture_names
from t2t_vit.visualization import predictions, window


@pytest.fixture
def folder(rgb, tmp_path):
    """Three pictures (40, 60) in a folder."""
    (tmp_path / "in").mkdir()
    for i, name in enumerate(("a.png", "b.jpg", "c.bmp")):
        Image.fromarray(np.roll(rgb, 20 * i, axis=1)).save(tmp_path / "in" / name)
    return tmp_path / "in"


@pytest.fixture
def captions(monkeypatch):
    """What is written under the pictures, in their order."""
    written = []
    caption = predictions.caption

    def listen(image, lines):
        written.append(list(lines))
        return caption(image, lines)

    monkeypatch.setattr(predictions, "caption", listen)
    return written


def test_a_picture_is_written_for_each_image_with_class_and_score(model, folder, tmp_path, captions):
    inferencer = ImageClassificationInferencer(model, classes=["ant", "bee", "cat", "dog", "eel"])
    found = inferencer(folder, batch_size=2, show_dir=tmp_path / "new" / "out")

    assert sorted(p.name for p in (tmp_path / "new" / "out").iterdir()) == ["a.png", "b.png", "c.png"]
    assert captions == [[f"{100 * one['pred_score']:.1f} % · {one['pred_class']}"] for one in found]
    with Image.open(tmp_path / "new" / "out" / "a.png") as picture, Image.open(folder / "a.png") as original:
        enlarged = original.resize((180, 120), Image.Resampling.NEAREST)  # a picture this small is tripled
        assert picture.crop((22, 0, 202, 120)).tobytes() == enlarged.tobytes()


def test_predictions_are_the_same_with_pictures(model, folder, tmp_path):
    plain = inference_model(model, folder)
    drawn = inference_model(model, folder, show_dir=tmp_path / "out", batch_size=3)
    for one, other in zip(plain, drawn, strict=True):
        np.testing.assert_allclose(one["pred_scores"], other["pred_scores"], atol=1e-6)


def test_without_the_score_only_the_class_is_written(model, folder, tmp_path, captions):
    found = inference_model(model, folder / "a.png", show_dir=tmp_path / "out", draw_score=False)
    assert captions == [[found["pred_class"]]]


@pytest.mark.parametrize(
    ("arguments", "size"),
    [
        ({"rescale_factor": 5}, (300, 200)),
        ({"rescale_factor": 0.5}, (30, 20)),
        ({"rescale_factor": 0.001}, (1, 1)),
        ({"resize": 100}, (150, 100)),
        ({"resize": 100, "rescale_factor": 5}, (150, 100)),
    ],
    ids=str,
)
def test_the_picture_has_the_size_that_was_asked_for(arguments, size, model, folder, tmp_path, monkeypatch):
    sizes = []
    monkeypatch.setattr(predictions, "caption", lambda image, _: sizes.append(image.size) or image)

    inference_model(model, folder / "a.png", show_dir=tmp_path / "out", **arguments)

    assert sizes == [size]
    with Image.open(tmp_path / "out" / "a.png") as picture:
        assert picture.size == size


def test_a_model_of_grey_images_shows_the_colours(settings, rgb, folder, tmp_path):
    grey_model = get_model("t2t_vit_t_14", **settings, in_chans=1)
    plain = inference_model(grey_model, folder / "a.png")

    drawn = inference_model(grey_model, folder / "a.png", show_dir=tmp_path / "out")

    np.testing.assert_allclose(plain["pred_scores"], drawn["pred_scores"], atol=1e-6)
    with Image.open(tmp_path / "out" / "a.png") as picture:
        assert tuple(np.asarray(picture)[0, 22]) == tuple(rgb[0, 0])


@pytest.mark.parametrize("mode", ["RGBA", "L", "P", "1", "I;16"])
def test_pictures_of_any_mode_are_drawn(mode, model, tmp_path):
    inference_model(model, Image.new(mode, (300, 5)), show_dir=tmp_path)
    with Image.open(tmp_path / "0.png") as picture:
        assert picture.mode == "RGB"


def test_images_of_one_name_do_not_overwrite_each_other(model, folder, rgb, tmp_path):
    (folder / "below").mkdir()
    Image.fromarray(rgb).save(folder / "below" / "A.png")
    inference_model(model, [folder, folder / "below", rgb], show_dir=tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["4.png", "A_1.png", "a.png", "b.png", "c.png"]


@pytest.mark.parametrize(
    ("sources", "names"),
    [
        (["x/a.b.jpg", "https://host/some%20dog.png?size=2#x", "http://host"], ["a.b", "some dog", "2"]),
        (["a.png", "a_1.png", "a.jpg", "a.bmp"], ["a", "a_1", "a_2", "a_3"]),
        (["what?.png", "tab\there.png", "https://host/%2Fetc%2Fpass%00wd.png"], ["what_", "tab_here", "pass_wd"]),
        (["x" * 251 + ".png", "猫" * 84 + ".png"], ["x" * 200, "猫" * 66]),
        (["\udce9.png"], ["\udce9"]),
        ([], []),
    ],
    ids=["own names", "repeats", "letters that some file systems refuse", "long", "no unicode", "none"],
)
def test_a_picture_is_named_for_its_image(sources, names):
    assert picture_names(sources) == names


def test_a_name_as_long_as_a_file_system_takes_can_be_written(model, rgb, tmp_path):
    path = tmp_path / ("x" * 251 + ".png")
    Image.fromarray(rgb).save(path)
    inference_model(model, path, show_dir=tmp_path / "out")
    assert len(list((tmp_path / "out").iterdir())) == 1


def test_the_images_themselves_are_not_overwritten(model, folder):
    before = (folder / "a.png").read_bytes()
    with pytest.raises(ConfigError, match=r"where a\.png is one of the images; name another folder"):
        inference_model(model, folder, show_dir=folder / ".." / "in")
    assert (folder / "a.png").read_bytes() == before
    assert len(list(folder.iterdir())) == 3


def test_one_file_under_two_names_is_one(model, folder, tmp_path):
    """As A.png and a.png are where case does not count; here, a link stands for that."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.png").hardlink_to(folder / "a.png")
    with pytest.raises(ConfigError, match=r"where a\.png is one of the images; name another folder"):
        inference_model(model, folder / "a.png", show_dir=out)


def test_what_is_no_address_is_named_by_its_position():
    assert picture_names(["http://[x/a.jpg", "b.jpg"]) == ["0", "b"]


def test_a_file_is_no_folder_to_write_to(model, folder):
    with pytest.raises(ConfigError, match="which is a file; expected a folder"):
        inference_model(model, folder / "a.png", show_dir=folder / "b.jpg")


def test_what_was_drawn_before_a_bad_image_is_there(model, folder, tmp_path):
    (folder / "b.jpg").write_text("no picture")
    with pytest.raises(ImageError, match="is not an image"):
        inference_model(model, folder, show_dir=tmp_path / "out")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["a.png"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rescale_factor": 0}, "rescale_factor is 0; expected a number above 0"),
        ({"rescale_factor": float("nan")}, "rescale_factor is nan"),
        ({"rescale_factor": "2"}, "rescale_factor is '2'"),
        ({"resize": 0}, "resize is 0; expected the short edge"),
        ({"resize": 1.5}, "resize is 1.5"),
        ({"wait_time": -1}, "wait_time is -1; expected seconds"),
    ],
    ids=str,
)
def test_a_number_out_of_range_is_told(arguments, message, model, rgb):
    with pytest.raises(ConfigError, match=message):
        inference_model(model, rgb, **arguments)


def test_a_picture_that_would_become_too_large_is_told(model, rgb, tmp_path):
    with pytest.raises(ImageError, match="a picture of 60 x 40 pixels would become 60000 x 40000; rescale it by less"):
        inference_model(model, rgb, show_dir=tmp_path, rescale_factor=1000)


def test_without_a_screen_nothing_is_shown_and_nothing_is_written(model, folder, tmp_path, monkeypatch):
    import matplotlib as mpl

    monkeypatch.setitem(mpl.rcParams, "backend", "agg")
    with pytest.raises(ConfigError, match="needs a screen and there is none here; use show_dir"):
        inference_model(model, folder, show=True, show_dir=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_toolkit_without_a_screen_is_told(model, rgb, monkeypatch):
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    def no_screen(*_, **__):
        raise ImportError("no display name\nand no $DISPLAY")

    monkeypatch.setitem(mpl.rcParams, "backend", "tkagg")
    monkeypatch.setattr(plt, "figure", no_screen)
    with pytest.raises(ConfigError, match=r"there is none here \(no display name and no \$DISPLAY\)"):
        inference_model(model, rgb, show=True)


@pytest.mark.parametrize(("seconds", "call"), [(0, ("show", True)), (0.5, ("pause", 0.5))])
def test_a_window_stays_as_long_as_was_asked_for(seconds, call, model, folder, monkeypatch):
    import matplotlib.pyplot as plt

    calls = []
    monkeypatch.setattr(window, "check_screen", lambda: calls.append("checked"))
    monkeypatch.setattr(plt, "show", lambda block: calls.append(("show", block)))
    monkeypatch.setattr(plt, "pause", lambda interval: calls.append(("pause", interval)))

    inference_model(model, folder, show=True, wait_time=seconds)

    assert calls == ["checked", call, call, call]
    assert plt.get_fignums() == []


def test_data_samples_hold_tensors(model, rgb):
    sample = inference_model(model, rgb, return_datasamples=True)
    prediction = inference_model(model, rgb)

    assert isinstance(sample.pred_score, torch.Tensor)
    np.testing.assert_array_equal(sample.pred_score.numpy(), prediction["pred_scores"])
    assert sample.pred_label.tolist() == [prediction["pred_label"]]
    assert sample.num_classes == 5
    assert len(ImageClassificationInferencer(model)([rgb, rgb], return_datasamples=True)) == 2


def test_arguments_have_mmpretrains_places(model, rgb):
    inferencer = ImageClassificationInferencer(model)
    (sample,) = inferencer(rgb, True)
    assert (sample.all_keys(), sample.img_shape) == (["pred_score", "pred_label", "num_classes", "img_shape"], (32, 32))
    assert [prediction["pred_label"] in range(5) for prediction in inferencer([rgb] * 5, False, 4)] == [True] * 5
    assert inference_model(model, rgb, True).num_classes == 5
    assert inference_model(model, inputs=rgb)["pred_label"] == sample.pred_label
    assert len(inference_model(model, inputs=[rgb, rgb], batch_size=2)) == 2


def test_a_batch_size_in_the_place_for_data_samples_is_refused(model, rgb):
    with pytest.raises(ConfigError, match=r"return_datasamples is 4; expected True or False .write batch_size by name"):
        ImageClassificationInferencer(model)(rgb, 4)


@pytest.mark.parametrize(
    ("arguments", "named"), [((), {}), (("a.png", False, 1, 2), {}), (("a.png",), {"inputs": "b.png"})]
)
def test_calls_that_do_not_fit_are_told_in_one_line(arguments, named, model):
    with pytest.raises(ConfigError, match=r"inference_model: .*; expected inference_model\(model, image, \.\.\.\)"):
        inference_model(model, *arguments, **named)


def test_the_users_home_is_known(model, rgb, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    plain = inference_model(model, "a.png")
    drawn = inference_model(model, "~/a.png", show_dir="~/out")
    np.testing.assert_array_equal(drawn["pred_scores"], plain["pred_scores"])
    assert len(inference_model(model, "~")) == 1
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["a.png"]
    with pytest.raises(ConfigError, match=r"a\.png is one of the images"):
        inference_model(model, "~/a.png", show_dir=tmp_path)
    (tmp_path / "~b.png").write_bytes((tmp_path / "a.png").read_bytes())
    assert inference_model(model, "~b.png")["pred_label"] == plain["pred_label"]


def test_folder_of_class_folders_names_them(model, tmp_path):
    for name in ("owl", "cat", "dog", "eel"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / name / "a.png")
    (tmp_path / "ant").mkdir()
    with pytest.raises(ImageError, match=r"it has class folders; name one of them: cat, dog, eel, …$"):
        inference_model(model, tmp_path)
    with pytest.raises(ImageError, match=r"ant' has no images; looked for"):
        inference_model(model, tmp_path / "ant")


def test_predictions_come_as_soon_as_they_are_known(model, rgb, tmp_path):
    stream = ImageClassificationInferencer(model).stream([rgb, tmp_path / "gone.png"])
    assert next(stream)["pred_label"] in range(5)
    with pytest.raises(ImageError):
        next(stream)
