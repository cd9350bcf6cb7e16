import numpy as np
import pytest
from PIL import Image

from t2t_vit.errors import ConfigError, DatasetError
from t2t_vit.visualization.confusion import plot_confusion_matrix


def matrix_of(num_classes, right=90, wrong=3):
    """Every class right `right` times, and taken for the next one `wrong` times."""
    return right * np.eye(num_classes, dtype=int) + wrong * np.roll(np.eye(num_classes, dtype=int), 1, axis=1)


def names_of(num_classes):
    return [f"name{i}" for i in range(num_classes)]


def test_the_title_says_the_accuracy(tmp_path, texts_of):
    out = plot_confusion_matrix([[45, 5], [0, 51]], ["cat", "dog"], tmp_path / "a.svg")
    assert "95.05 % of 101 images classified correctly" in texts_of(out)


@pytest.mark.parametrize("num_classes", [2, 10, 20])
def test_cells_of_few_classes_say_their_counts(tmp_path, texts_of, num_classes):
    texts = texts_of(plot_confusion_matrix(matrix_of(num_classes), names_of(num_classes), tmp_path / "a.svg"))
    assert texts.count("90") == num_classes
    assert texts.count("0") == num_classes**2 - 2 * num_classes + 1  # and the bar's 0


def test_axes_name_up_to_fifty_classes_without_counts(tmp_path, texts_of):
    texts = texts_of(plot_confusion_matrix(matrix_of(50), names_of(50), tmp_path / "a.svg"))
    assert all(texts.count(name) == 2 for name in names_of(50))
    assert "90" not in texts


@pytest.mark.parametrize(("num_classes", "is_summed"), [(51, False), (200, False), (201, True)])
def test_axes_of_many_classes_number_them(tmp_path, texts_of, num_classes, is_summed):
    out = plot_confusion_matrix(matrix_of(num_classes), names_of(num_classes), tmp_path / "a.svg")
    texts = texts_of(out)
    assert "true class (number)" in texts
    assert not set(texts) & set(names_of(num_classes))
    assert len(texts) < 90
    assert any(text.startswith("a cell: ") for text in texts) == is_summed


def test_a_thousand_classes_make_a_picture(tmp_path, texts_of):
    out = plot_confusion_matrix(matrix_of(1000), names_of(1000), tmp_path / "a.svg")
    assert "a cell: 5 × 5 classes" in texts_of(out)


def test_the_most_frequent_confusions_come_first_with_their_share_of_the_true_class(tmp_path, texts_of):
    matrix = [[90, 10, 0], [0, 150, 50], [1, 0, 9]]
    texts = texts_of(plot_confusion_matrix(matrix, ["ant", "bee", "cow"], tmp_path / "a.svg"))
    begin = texts.index("Most frequent confusions")
    assert texts[begin + 4 : begin + 13] == [
        *("50", "25.0 %", "bee → cow"),
        *("10", "10.0 %", "ant → bee"),
        *("1", "10.0 %", "cow → ant"),
    ]


def test_confusions_of_many_classes_give_number_and_name(tmp_path, texts_of):
    matrix = 9 * np.eye(100, dtype=int)
    matrix[7, 42] = 3
    out = plot_confusion_matrix(matrix, names_of(100), tmp_path / "a.svg")
    assert "7 name7 → 42 name42" in texts_of(out)


def test_a_perfect_matrix_has_no_confusions(tmp_path, texts_of):
    out = plot_confusion_matrix(9 * np.eye(3, dtype=int), names_of(3), tmp_path / "a.svg")
    assert "No confusions" in texts_of(out)


def test_colour_is_the_share_of_the_row(tmp_path, rasters_of):
    out = plot_confusion_matrix([[3, 1], [300, 100]], ["rare", "frequent"], tmp_path / "a.svg")
    cells = rasters_of(out)[0]
    height, width = cells.shape[:2]
    upper, lower = cells[height // 4], cells[3 * height // 4]
    assert (upper == lower).all()
    assert upper[width // 4].sum() < upper[3 * width // 4].sum()  # 75 % is darker than 25 %


def test_summed_cells_have_the_share_of_all_their_rows(tmp_path, rasters_of):
    out = plot_confusion_matrix(matrix_of(400, right=1, wrong=0), names_of(400), tmp_path / "a.svg")
    cells = rasters_of(out)[0]
    darkest = plot_confusion_matrix(np.eye(2, dtype=int), ["a", "b"], tmp_path / "b.svg")
    assert (cells[2, 2] == rasters_of(darkest)[0][2, 2]).all()


def test_a_class_without_images_is_a_grey_row_and_said(tmp_path, texts_of, rasters_of):
    out = plot_confusion_matrix([[5, 0], [0, 0]], ["cat", "dog"], tmp_path / "a.svg")
    cells = rasters_of(out)[0]
    assert len(set(cells[-2, 5, :3])) == 1
    assert len(set(cells[2, 5, :3])) == 3
    assert "1 class has no images (grey rows)" in texts_of(out)


@pytest.mark.parametrize("suffix", [".png", ".pdf", ".svg"])
def test_awkward_names_are_drawn_without_a_warning(tmp_path, awkward_names, suffix):
    plot_confusion_matrix(matrix_of(len(awkward_names)), awkward_names, tmp_path / f"a{suffix}")


def test_dollars_and_underscores_stay_themselves(tmp_path, texts_of):
    texts = texts_of(plot_confusion_matrix(matrix_of(2), ["$x_1$", "a_b$"], tmp_path / "a.svg"))
    assert "$x_1$" in texts
    assert "$x_1$ → a_b$" in texts


def test_a_long_name_does_not_make_the_picture_huge(tmp_path):
    out = plot_confusion_matrix(matrix_of(10), ["endless " * 99] * 10, tmp_path / "a.png")
    with Image.open(out) as picture:
        assert max(picture.size) < 3000


@pytest.mark.parametrize(
    ("matrix", "error", "message"),
    [
        ([[1, 2, 3], [4, 5, 6]], ConfigError, r"shape \(2, 3\); expected \(2, 2\)"),
        (np.eye(3, dtype=int), ConfigError, r"shape \(3, 3\); expected \(2, 2\)"),
        ([[1, -2], [3, 4]], ConfigError, "from -2; expected counts"),
        ([[0.5, 0.5], [0.1, 0.9]], ConfigError, "float64 values"),
        ([[0, 0], [0, 0]], DatasetError, "no image has been counted"),
    ],
)
def test_what_is_no_confusion_matrix_is_refused(tmp_path, matrix, error, message):
    with pytest.raises(error, match=message):
        plot_confusion_matrix(matrix, ["cat", "dog"], tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []
