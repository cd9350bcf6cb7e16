import numpy as np
import pytest
from PIL import Image

from t2t_vit.errors import ConfigError, ImageError
from t2t_vit.visualization.predictions import caption, draw_prediction, plot_predictions, rescale

CLASSES = ["ant", "bee", "cow"]


def images_of(count, size=(8, 8)):
    return [Image.new("L", size, 20 * i) for i in range(count)]


def test_wrong_predictions_come_first_the_surest_foremost(tmp_path, texts_of):
    out = plot_predictions(images_of(4), [0, 1, 2, 0], [0, 2, 2, 1], [0.9, 0.4, 0.8, 0.7], CLASSES, tmp_path / "a.svg")
    texts = texts_of(out)
    assert [text for text in texts if text[0] in "✓✗"] == ["✗ bee", "✗ cow", "✓ ant", "✓ cow"]
    assert [text for text in texts if text.endswith("0 %")] == ["70.0 %", "40.0 %", "90.0 %", "80.0 %"]


def test_a_wrong_prediction_says_the_true_class_and_a_right_one_does_not(tmp_path, texts_of):
    out = plot_predictions(images_of(2), [0, 1], [0, 2], [0.9, 0.4], CLASSES, tmp_path / "a.svg")
    assert [text for text in texts_of(out) if text.startswith("true")] == ["true: bee"]


def test_the_picture_of_a_tile_belongs_to_its_text(tmp_path, rasters_of):
    images = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    out = plot_predictions(images, [0, 0, 0], [0, 0, 1], [0.5, 0.5, 0.5], CLASSES, tmp_path / "a.svg")
    colours = [tuple(raster[5, 5, :3]) for raster in rasters_of(out)]
    assert colours == [(0, 0, 255), (255, 0, 0), (0, 255, 0)]


def test_the_title_counts_all_images_and_says_how_many_are_shown(tmp_path, texts_of):
    labels, predictions = [0] * 9, [0] * 7 + [1, 1]
    out = plot_predictions(images_of(9), labels, predictions, [0.5] * 9, CLASSES, tmp_path / "a.svg", limit=3)
    texts = texts_of(out)
    assert "7 of 9 right (77.8 %); 3 shown, wrong ones first" in texts
    assert sum("50.0 %" in text for text in texts) == 3


@pytest.mark.parametrize(("predictions", "share"), [([0, 0], "100.0"), ([1, 1], "0.0")])
def test_the_title_speaks_of_no_order_where_all_are_alike(tmp_path, texts_of, predictions, share):
    out = plot_predictions(images_of(2), [0, 0], predictions, [0.5, 0.5], CLASSES, tmp_path / "a.svg")
    assert any(text.endswith(f"right ({share} %)") for text in texts_of(out))


def test_without_labels_nothing_is_marked_and_the_order_is_kept(tmp_path, texts_of):
    out = plot_predictions(images_of(3), None, [2, 0, 1], [0.1, 0.9, 0.5], CLASSES, tmp_path / "a.svg")
    assert texts_of(out) == ["cow", "10.0 %", "ant", "90.0 %", "bee", "50.0 %", "3 predictions"]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "F"])
def test_pictures_of_any_mode_and_shape_are_drawn(tmp_path, mode):
    images = [Image.new(mode, size) for size in ((1, 1), (300, 7), (5, 400))]
    out = plot_predictions(images, [0, 0, 0], [0, 1, 2], [0.5] * 3, CLASSES, tmp_path / "a.png")
    with Image.open(out) as picture:
        assert picture.width > 300


def test_arrays_are_taken_for_sequences(tmp_path):
    labels, predictions, scores = np.array([0, 1]), np.array([0, 2]), np.array([0.5, 0.25])
    plot_predictions(images_of(2), labels, predictions, scores, CLASSES, tmp_path / "a.png")


def test_awkward_names_are_drawn_without_a_warning(tmp_path, awkward_names):
    count = len(awkward_names)
    truth = list(range(count))
    out = tmp_path / "a.png"
    plot_predictions(images_of(count), truth, truth[::-1], [0.5] * count, awkward_names, out)
    assert out.stat().st_size > 0


@pytest.mark.parametrize(
    ("labels", "predictions", "scores", "message"),
    [
        ([0, 1], [0], [0.5, 0.5], "2 images, 2 labels, 1 predictions, 2 scores; expected as many"),
        (None, [0, 1], [0.5], "2 images, 2 predictions, 1 scores; expected as many"),
        ([0, 3], [0, 1], [0.5, 0.5], "labels has class 3; expected 0 to 2"),
        ([0, 1], [0, -1], [0.5, 0.5], "predictions has class -1; expected 0 to 2"),
    ],
)
def test_what_does_not_fit_together_is_refused(tmp_path, labels, predictions, scores, message):
    with pytest.raises(ConfigError, match=message):
        plot_predictions(images_of(2), labels, predictions, scores, CLASSES, tmp_path / "a.png")


def test_a_grid_of_nothing_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="0 images"):
        plot_predictions([], None, [], [], CLASSES, tmp_path / "a.png")
    with pytest.raises(ConfigError, match="limit is 0"):
        plot_predictions(images_of(1), None, [0], [1.0], CLASSES, tmp_path / "a.png", limit=0)


def noise(width, height):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def text_rows(image, top):
    """Rows below `top` that have ink of the text in them."""
    strip = np.array(image.convert("L"))[top:]
    return np.flatnonzero((strip > 150).any(axis=1))


@pytest.mark.parametrize("size", [(224, 100), (500, 375), (3000, 2000)])
def test_the_picture_above_the_text_is_untouched(size):
    image = noise(*size)
    before = image.tobytes()
    drawn = draw_prediction(image, ["tabby: 93.1 %"])
    assert drawn.crop((0, 0, *size)).tobytes() == before
    assert image.tobytes() == before


@pytest.mark.parametrize("size", [(8, 8), (20, 900), (900, 3), (640, 480), (4000, 3000)])
@pytest.mark.parametrize("colour", ["white", "black", "#808080"])
def test_text_is_legible_under_pictures_of_any_size_and_colour(size, colour):
    drawn = draw_prediction(Image.new("RGB", size, colour), ["HHH"])
    top = size[1] * max(1, 224 // max(size))
    rows = text_rows(drawn, top)
    assert len(rows) >= 9  # an H of 14 pixels' size is 10 high
    assert len(rows) > drawn.width / 60
    assert rows[-1] < drawn.height - top - 2
    assert drawn.width >= 224


def test_a_tiny_picture_is_enlarged_without_blur():
    image = noise(8, 8)
    drawn = draw_prediction(image, ["0"])
    assert drawn.crop((0, 0, 224, 224)).resize((8, 8), Image.Resampling.NEAREST).tobytes() == image.tobytes()
    assert len(drawn.crop((0, 0, 224, 224)).getcolors(65)) <= 64


def test_each_line_has_its_own_row():
    heights = [draw_prediction(noise(300, 200), ["one"] * count).height for count in (1, 2, 3)]
    assert heights[2] - heights[1] == heights[1] - heights[0] > 14


def test_no_lines_leave_the_picture_alone():
    image = noise(300, 200)
    assert draw_prediction(image, []).tobytes() == image.tobytes()


def test_a_line_too_long_is_cut_within_the_picture():
    long, endless = (draw_prediction(noise(300, 10), ["HHH" * count]) for count in (100, 10_000))
    assert long.size == endless.size == (300, draw_prediction(noise(300, 10), ["a"]).height)
    strip = np.array(long.convert("L"))[10:]
    assert (strip[:, :5] < 150).all()
    assert (strip[:, -5:] < 150).all()
    assert (strip[:, 250:290] > 150).any()


def test_awkward_lines_are_drawn_without_a_warning(awkward_names):
    drawn = draw_prediction(Image.new("RGBA", (300, 200)), awkward_names)
    assert drawn.mode == "RGB"
    assert len(text_rows(drawn, 200)) > 60


@pytest.mark.parametrize("size", [(224, 100), (30, 20), (3, 700)])
def test_a_caption_leaves_the_picture_its_size(size):
    image = noise(*size)
    left = (max(size[0], 224) - size[0]) // 2
    drawn = caption(image, ["tabby"])
    assert drawn.crop((left, 0, left + size[0], size[1])).tobytes() == image.tobytes()
    assert len(text_rows(drawn, size[1])) >= 9


@pytest.mark.parametrize(("factor", "size"), [(2, (60, 40)), (0.5, (15, 10)), (1e-9, (1, 1)), (1, (30, 20))])
def test_a_picture_is_rescaled_by_the_factor(factor, size):
    assert rescale(noise(30, 20), factor).size == size


def test_a_picture_is_not_rescaled_beyond_what_memory_holds():
    with pytest.raises(ImageError, match="a picture of 30 x 20 pixels would become 30000 x 20000"):
        rescale(noise(30, 20), 1000)
