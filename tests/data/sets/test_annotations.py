"""Images that a text file, a table or JSON lines list."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from t2t_vit.config import Data
from t2t_vit.data.class_names import imagenet_classes
from t2t_vit.data.sets.annotations import AnnotatedImages
from t2t_vit.errors import DatasetError
from t2t_vit.run import open_images


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "images"
    for number, path in enumerate(("cat/1.png", "cat/2 of 2.png", "dog/1.png", "flat.png")):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (3, 2), (number,) * 3).save(root / path)
    return root


@pytest.fixture
def opened(folder, tmp_path):
    def open_list(text, name="list.txt", **options):
        file = tmp_path / name
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return AnnotatedImages(file, folder, **options)

    return open_list


@pytest.fixture
def refused(opened):
    def message(text, name="list.txt", **options):
        with pytest.raises(DatasetError) as caught:
            opened(text, name, **options)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    return message


SAME = {
    "list.txt": "dog/1.png 1\n\ncat/2 of 2.png 0\r\n  flat.png 1  \n",
    "tabs.txt": "dog/1.png\t1\ncat/2 of 2.png\t0\nflat.png\t1",
    "list.csv": '\ufeffid,path,label\n7,dog/1.png,1\n8,"cat/2 of 2.png",0\n\n9,./flat.png,1\n',
    "list.TSV": "label\tpath\n1\tdog/1.png\n0\tcat/2 of 2.png\n1\tcat/../flat.png\n",
    "list.jsonl": '{"path": "dog/1.png", "label": 1}\n\n{"label": 0, "path": "cat/2 of 2.png", "x": []}\n'
    '{"path": "flat.png", "label": 1}',
}


@pytest.mark.parametrize("name", SAME)
def test_all_kinds_of_files_say_the_same(opened, folder, name):
    images = opened(SAME[name], name)
    assert images.labels == [1, 0, 1]
    assert images.classes == ("0", "1")
    assert [images.load(index, "RGB").getpixel((0, 0))[0] for index in range(3)] == [2, 1, 3]
    assert images.name(1) == str(folder / "cat" / "2 of 2.png")
    assert [images.key(index) for index in range(3)] == ["dog/1.png", "cat/2 of 2.png", "flat.png"]


@pytest.mark.parametrize("name", ["list.txt", "list.jsonl"])
def test_labels_may_be_names(opened, name):
    pairs = [("dog/1.png", "dog"), ("cat/1.png", "cat"), ("flat.png", "dog")]
    text = "\n".join(json.dumps({"path": p, "label": c}) if "json" in name else f"{p}\t{c}" for p, c in pairs)
    assert opened(text, name).classes == ("cat", "dog")
    assert opened(text, name).labels == [1, 0, 1]
    assert opened(text, name, known=("owl", "dog", "cat")).labels == [1, 2, 1]
    assert opened(text, name, known=("owl", "dog", "cat")).classes == ("owl", "dog", "cat")


def test_names_with_spaces_need_a_tab(opened):
    assert opened("dog/1.png\tgolden retriever\ncat/1.png\ttabby\n").classes == ("golden retriever", "tabby")


def test_columns_can_be_called_otherwise(opened):
    options = {"path_column": "file", "label_column": "species"}
    assert opened("file,species\ndog/1.png,dog\n", "list.csv", **options).classes == ("dog",)
    assert opened('{"file": "dog/1.png", "species": 0}', "list.json", **options).labels == [0]


def test_absolute_paths_in_the_folder_are_taken(opened, folder):
    images = opened(f"{folder}/dog/1.png 0")
    assert images.key(0) == "dog/1.png"


def test_imagenets_ids_have_imagenets_labels(opened):
    text = "flat.png n01440764\ndog/1.png n02012849\n"
    assert opened(text).labels == [0, 134]
    assert opened(text).classes == imagenet_classes()
    assert opened(text, num_classes=2).classes == ("n01440764", "n02012849")
    assert opened(text, classes="folders").labels == [0, 1]


def test_imagenets_numbers_are_imagenets_where_that_is_said(opened):
    images = opened("flat.png 65\ncat/1.png 999\n", classes="imagenet")
    assert (images.labels, images.classes) == ([65, 999], imagenet_classes())


def test_number_of_classes_may_be_more_than_labels_show(opened):
    assert opened("flat.png 2", num_classes=4).classes == ("0", "1", "2", "3")


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("flat.png 0\ncat/1.png\n", {}, "line 2: 'cat/1.png' has no label; expected a path, a space and a label"),
        ("flat.png 0\ncat/1.png 2\n", {}, "no image has the label 1, and the highest is 2; labels are numbers from 0"),
        ("flat.png 3", {"num_classes": 3}, "line 1: the label is 3; expected 0 to 2, as there are 3 classes"),
        ("flat.png 0\n\ncat/1.png -1", {}, "line 3: the label is -1"),
        ("flat.png 0\ncat/1.png cat", {}, "line 2: the label is 'cat', and that of the first image is 0; expected"),
        ("flat.png cta", {"known": ("dog", "cat")}, "line 1: the label is 'cta', which is none of the 2 classes. "
                                                    "Did you mean 'cat'?"),
        ("flat.png 1", {"known": ("1", "2")}, "the label 1 may be class number 1 or the class called '1', which is"),
        ("flat.png\tcrane", {"classes": "imagenet"}, "which 2 classes are called; give its number, or"),
        ("../list.txt 0", {}, "line 1: '../list.txt' is not in the folder"),
        ("/etc/hosts 0", {}, "line 1: '/etc/hosts' is not in the folder"),
        ("flat.png 0\ncat/11.png 0\ndog/3.png 0", {}, "line 2: 'cat/11.png' is not in"),
        ("cat/11.png 0\ndog/3.png 0", {}, "nor are 1 others; paths are relative to that folder. Did you mean '1.png'"),
        ("nowhere/1.png 0", {}, "line 1: 'nowhere/1.png' is not in"),
        (b"flat.png 0\ncat/\xff.png 0", {}, "line 2 is not UTF-8 text (byte 15); save it as UTF-8"),
        ("", {}, "list.txt is empty; expected a path and a label a line"),
        (" \n\t\n", {}, "list.txt is empty"),
    ],
)  # fmt: skip
def test_mistakes_in_text_are_told_with_their_line(refused, text, options, said):
    assert said in refused(text, **options)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("path,label\n", "lists no images"),
        ("file,label\nflat.png,0", "line 1: 0 columns are called 'path'; expected a header with one, and there are "
                                   "'file', 'label'; name the right one in data.image_column"),
        ("path,path,label\n", "line 1: 2 columns are called 'path'"),
        ("path,label\nflat.png,0\n\ncat/1.png", "line 4: 'cat/1.png' has no label"),
        ("path,label\n,0", "line 2: ',0' has no path"),
        ('path,label\n"flat.png,0', "line 2: "),
    ],
)  # fmt: skip
def test_mistakes_in_tables_are_told_with_their_line(refused, text, said):
    assert said in refused(text, "list.csv")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"path": "flat.png", "label": 0}\n{"path"', 'line 2: \'{"path"\' is no JSON; expected {"path": "cat/1.jpg"'),
        ("[" * 100_000, "line 1: "),
        ('["flat.png", 0]', "line 1: '[\"flat.png\", 0]'; expected a JSON object"),
        ('{"file": "flat.png"}', "line 1: there is no 'path', only 'file'; name the right key in data.image_column"),
        ('{"path": "flat.png"}', "line 1: there is no 'label', only 'path'"),
        (
            '{"path": "flat.png", "label": true}',
            "line 1: 'label' is 'true'; expected the number or the name of a class",
        ),
        ('{"path": "flat.png", "label": 1.0}', "line 1: 'label' is '1.0'"),
        ('{"path": 5, "label": 1}', "line 1: 'path' is '5'; expected a path"),
    ],
)
def test_mistakes_in_json_are_told_with_their_line(refused, text, said):
    assert said in refused(text, "list.jsonl")


def test_names_of_digits_are_told_from_numbers_in_json(opened):
    images = opened(
        '{"path": "flat.png", "label": "1"}\n{"path": "cat/1.png", "label": 1}', "a.jsonl", known=("1", "2")
    )
    assert images.labels == [0, 1]


def test_missing_file_and_folder_are_told(tmp_path, folder):
    (tmp_path / "train.txt").write_text("flat.png 0", encoding="utf-8")
    with pytest.raises(DatasetError, match=r"there is no annotation file .*tran\.txt .*Did you mean 'train\.txt'"):
        AnnotatedImages(tmp_path / "tran.txt", folder)
    with pytest.raises(DatasetError, match=r"no image folder .*nowhere.*, which the paths in .*are relative to"):
        AnnotatedImages(tmp_path / "train.txt", tmp_path / "nowhere")


def test_mmpretrains_layout_of_imagenet(tmp_path):
    """Class folders to train on, one flat folder to validate with, and a list of each."""
    for path in ("train/n01440764/a.png", "train/n02012849/b.png", "val/v1.png", "val/v2.png"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (3, 2)).save(tmp_path / path)
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta/train.txt").write_text("n01440764/a.png 0\nn02012849/b.png 134\n", encoding="utf-8")
    (tmp_path / "meta/val.txt").write_text("v1.png 134\nv2.png 0\n", encoding="utf-8")
    data = Data(
        root=str(tmp_path), train_annotations="meta/train.txt", val_annotations="meta/val.txt", classes="imagenet"
    )
    train = open_images(data, "train", 1000)
    val = open_images(data, "val", 1000, train.classes)
    assert (train.labels, val.labels, val.classes) == ([0, 134], [134, 0], imagenet_classes())
    # Only one of the two has a list.
    by_folders = open_images(Data(root=str(tmp_path), val_annotations="meta/val.txt"), "train", 1000)
    assert by_folders.labels == [0, 134]


def test_classes_file_gives_names_and_order(tmp_path, folder):
    (tmp_path / "classes.txt").write_text("zebra\ndog\ncat\n", encoding="utf-8")
    (tmp_path / "list.txt").write_text("flat.png 1\ncat/1.png cat\n", encoding="utf-8")
    data = Data(root=str(tmp_path), train="images", train_annotations="list.txt", classes_file="classes.txt")
    images = open_images(data, "train")
    assert (images.classes, images.labels) == (("zebra", "dog", "cat"), [1, 2])
