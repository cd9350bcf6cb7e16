"""Class names: ImageNet's as MMPretrain spells them, and the user's own."""

import pytest

from t2t_vit.data.class_names import imagenet_classes, imagenet_wnids, read_class_file
from t2t_vit.errors import DatasetError


def test_imagenet_has_1000_classes_in_the_order_of_their_sorted_wordnet_ids():
    assert len(imagenet_classes()) == len(imagenet_wnids()) == len(set(imagenet_wnids())) == 1000
    assert list(imagenet_wnids()) == sorted(imagenet_wnids())
    assert all(name == name.strip() and name for name in imagenet_classes())


@pytest.mark.parametrize(
    ("index", "wnid", "name"),
    [
        (0, "n01440764", "tench, Tinca tinca"),
        (1, "n01443537", "goldfish, Carassius auratus"),
        (134, "n02012849", "crane"),
        (517, "n03126707", "crane"),
        (638, "n03710637", "maillot"),
        (639, "n03710721", "maillot, tank suit"),
        (999, "n15075141", "toilet tissue, toilet paper, bathroom tissue"),
    ],
)
def test_names_stand_where_the_published_models_have_them(index, wnid, name):
    assert imagenet_wnids()[index] == wnid
    assert imagenet_classes()[index] == name


def test_the_ids_are_those_of_timm():
    pytest.importorskip("timm")
    from timm.data import ImageNetInfo

    info = ImageNetInfo("imagenet-1k")
    assert list(imagenet_wnids()) == info.label_names()


@pytest.mark.parametrize(
    "data",
    [
        b"cat\ndog\nguinea pig\n",
        b"cat\ndog\nguinea pig",
        b"\xef\xbb\xbfcat\r\ndog \r\nguinea pig\r\n\r\n",
    ],
    ids=["unix", "no final newline", "windows"],
)
def test_a_class_file_gives_its_lines_in_order(tmp_path, data):
    path = tmp_path / "classes.txt"
    path.write_bytes(data)
    assert read_class_file(path) == read_class_file(str(path)) == ("cat", "dog", "guinea pig")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"is empty; expected one class name a line"),
        (b" \n\n", r"is empty; expected one class name a line"),
        (b"cat\n\ndog\n", r"is empty on line 2"),
        (b"\ncat\n", r"is empty on line 1"),
        (b"caf\xe9\n", r"is not UTF-8 text \(byte 3\)"),
    ],
)
def test_a_class_file_that_cannot_be_meant_is_refused(tmp_path, data, message):
    path = tmp_path / "classes.txt"
    path.write_bytes(data)
    with pytest.raises(DatasetError, match=message):
        read_class_file(path)


def test_a_missing_class_file_is_named(tmp_path):
    with pytest.raises(DatasetError, match=r"no file of class names .*nowhere\.txt"):
        read_class_file(tmp_path / "nowhere.txt")
    with pytest.raises(DatasetError, match="cannot be read"):
        read_class_file(tmp_path)
