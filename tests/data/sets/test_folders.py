"""Images from folders of class folders."""

from __future__ import annotations

import pytest
from PIL import Image

from t2t_vit.data.class_names import imagenet_classes, imagenet_wnids
from t2t_vit.data.sets.folders import ImageFolder
from t2t_vit.errors import DatasetError, ImageError


def make(root, *paths):
    """Put a small picture at each path below `root`; its grey value counts them."""
    for number, path in enumerate(paths):
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (6, 4), (number, number, number)).save(file, "PNG")
    return root


def refused(root, *args, **kwargs):
    with pytest.raises(DatasetError) as caught:
        ImageFolder(root, *args, **kwargs)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- class folders ---


def test_folders_are_the_classes_in_the_order_of_names(tmp_path):
    images = ImageFolder(make(tmp_path, "dog/1.png", "cat/2.png", "cat/1.PNG", "cat/deep/3.jpeg", "Bird/1.webp"))
    assert images.classes == ("Bird", "cat", "dog")
    assert images.labels == [0, 1, 1, 1, 2]
    assert len(images) == 5
    assert images.name(4) == str(tmp_path / "dog" / "1.png")
    picture = images.load(4, "RGB")
    assert (picture.mode, picture.size, picture.getpixel((0, 0))) == ("RGB", (6, 4), (0, 0, 0))
    assert images.load(4, "L").mode == "L"


def test_what_is_hidden_or_no_image_does_not_count(tmp_path):
    make(tmp_path, "cat/1.png", "dog/1.png", ".thumbnails/1.png", "cat/.thumbnails/1.png", "cat/._1.png", "stray.png")
    (tmp_path / "cat" / "notes.txt").write_text("no image", encoding="utf-8")
    images = ImageFolder(tmp_path)
    assert images.classes == ("cat", "dog")
    assert [images.name(i) for i in range(len(images))] == [str(tmp_path / c / "1.png") for c in ("cat", "dog")]


def test_hidden_folder_above_the_images_is_no_reason_to_leave_them_out(tmp_path, monkeypatch):
    make(tmp_path / ".cache", "cat/1.png")
    assert len(ImageFolder(tmp_path / ".cache")) == 1
    monkeypatch.chdir(tmp_path / ".cache")
    assert len(ImageFolder(".")) == 1


def test_validation_has_the_classes_of_training(tmp_path):
    images = ImageFolder(make(tmp_path, "dog/1.png"), num_classes=3, known=("bird", "cat", "dog"))
    assert images.classes == ("bird", "cat", "dog")
    assert images.labels == [2]


def test_class_that_training_does_not_know_is_refused(tmp_path):
    message = refused(make(tmp_path, "dog/1.png", "cats/1.png"), num_classes=2, known=("cat", "dog"))
    assert "has the class folder 'cats', which is none of the 2 classes that the model is trained on." in message
    assert "Did you mean 'cat'?" in message


def test_class_without_images_is_refused(tmp_path):
    make(tmp_path, "cat/1.png", "cow/._1.png")
    (tmp_path / "dog").mkdir()
    message = refused(tmp_path)
    assert f"2 of 3 class folders in {str(tmp_path)!r} have no images, 'cow' for one; looked for .avif" in message


def test_folder_without_class_folders_is_refused(tmp_path):
    make(tmp_path, "1.png", ".hidden/1.png")
    assert f"folder {str(tmp_path)!r} has no class folders; expected {tmp_path}/CLASS/*.jpg" in refused(tmp_path)


@pytest.mark.parametrize("name", ["missing", "file"])
def test_missing_folder_says_where_it_was_looked_for(tmp_path, monkeypatch, name):
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    message = refused(name)
    assert f"no image folder '{name}' (looked for {tmp_path / name})" in message
    assert "--cfg-options data.root=FOLDER" in message


def test_corrupt_image_names_its_file(tmp_path):
    images = ImageFolder(make(tmp_path, "cat/1.png"))
    (tmp_path / "cat" / "1.png").write_bytes(b"no picture")
    with pytest.raises(ImageError, match=r"cat/1\.png"):
        images.load(0, "RGB")


# --- ImageNet ---

TENCH, CRANE_BIRD, TOILET_TISSUE = "n01440764", "n02012849", "n15075141"


@pytest.mark.parametrize(("classes", "num_classes"), [("auto", None), ("auto", 1000), ("imagenet", 1000)])
def test_some_of_imagenets_folders_have_imagenets_labels(tmp_path, classes, num_classes):
    root = make(tmp_path, f"{TOILET_TISSUE}/1.png", f"{TENCH}/1.png", f"{CRANE_BIRD}/1.png")
    images = ImageFolder(root, classes, num_classes)
    assert images.labels == [0, 134, 999]
    assert images.classes == imagenet_classes()
    assert [imagenet_wnids()[label] for label in images.labels] == [TENCH, CRANE_BIRD, TOILET_TISSUE]


@pytest.mark.parametrize(("classes", "num_classes"), [("folders", None), ("folders", 1000), ("auto", 2)])
def test_imagenets_folders_as_classes_of_their_own(tmp_path, classes, num_classes):
    images = ImageFolder(make(tmp_path, f"{TOILET_TISSUE}/1.png", f"{TENCH}/1.png"), classes, num_classes)
    assert images.classes == (TENCH, TOILET_TISSUE)
    assert images.labels == [0, 1]


def test_folders_that_are_not_all_imagenets(tmp_path):
    root = make(tmp_path, f"{TENCH}/1.png", "cat/1.png")
    assert ImageFolder(root).classes == ("cat", TENCH)
    message = refused(root, "imagenet")
    assert "has class folders that are no ImageNet ids, 'cat' for one; expected names such as n01440764" in message
