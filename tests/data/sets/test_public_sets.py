"""Public data sets by name, in tiny copies of their layouts, read by torchvision's own classes."""

from __future__ import annotations

import functools
import gzip
import hashlib
import json
import os
import pickle
import shutil
import struct
import tarfile
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from PIL import Image

from t2t_vit.config import Data
from t2t_vit.config.settings import PublicDataset
from t2t_vit.data.sets import cifar, torchvision
from t2t_vit.errors import DatasetError, ImageError
from t2t_vit.run import open_images

FASHION = Path(__file__).parents[4] / "shared" / "datasets" / "fashion-mnist"


def jpeg(path, value=0):
    """Save a grey picture, 4 wide and 3 high, that stands on its side: upright it is 3 wide."""
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (4, 3), (value,) * 3).save(path, exif=exif)


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


def idx(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes())


def mnist(root, _, name="MNIST"):
    for split, labels in (("train", [5, 0, 9]), ("t10k", [7, 2])):
        grey = np.arange(len(labels), dtype=np.uint8)[:, None, None] + np.zeros((1, 28, 28), np.uint8)
        idx(root / name / "raw" / f"{split}-images-idx3-ubyte", grey)
        idx(root / name / "raw" / f"{split}-labels-idx1-ubyte", np.array(labels, np.uint8))


def cifar10(root, _):
    write(root / "cifar-10-batches-bin/batches.meta.txt", "airplane\nautomobile\nbird\n\n")
    for batch in range(1, 6):
        save_records(root / f"cifar-10-batches-bin/data_batch_{batch}.bin", [[batch % 3]], batch)
    save_records(root / "cifar-10-batches-bin/test_batch.bin", [[2], [0]], 9)


def cifar100(root, _):
    write(root / "cifar-100-binary/fine_label_names.txt", "apple\naquarium_fish\nbaby\n")
    save_records(root / "cifar-100-binary/train.bin", [[7, 2], [8, 0], [9, 1]], 3)
    save_records(root / "cifar-100-binary/test.bin", [[7, 1]], 4)


def save_records(path, labels, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    planes = np.repeat(np.array([value, value + 100, value + 200], np.uint8), 1024)
    path.write_bytes(b"".join(bytes(label) + planes.tobytes() for label in labels))


def flowers102(root, monkeypatch):
    from scipy.io import savemat
    from torchvision.datasets import Flowers102

    for number in range(1, 6):
        jpeg(root / f"flowers-102/jpg/image_{number:05d}.jpg", number)
    savemat(root / "flowers-102/imagelabels.mat", {"labels": np.array([[1, 2, 102, 1, 2]])})
    savemat(root / "flowers-102/setid.mat", {"trnid": [[1, 3]], "valid": [[2, 5]], "tstid": [[4, 1]]})
    files = {
        what: (name, md5(root / "flowers-102" / name))
        for what, name in (("label", "imagelabels.mat"), ("setid", "setid.mat"))
    }
    monkeypatch.setattr(Flowers102, "_file_dict", files)


def food101(root, _):
    for name in ("churros/1", "apple_pie/2", "churros/3"):
        jpeg(root / f"food-101/images/{name}.jpg")
    write(root / "food-101/meta/train.json", json.dumps({"churros": ["churros/1"], "apple_pie": ["apple_pie/2"]}))
    write(root / "food-101/meta/test.json", json.dumps({"churros": ["churros/3"], "apple_pie": []}))


def oxford_pets(root, _):
    for name in ("Abyssinian_1", "great_pyrenees_2", "Abyssinian_3", "great_pyrenees_4"):
        jpeg(root / f"oxford-iiit-pet/images/{name}.jpg")
    write(root / "oxford-iiit-pet/annotations/trainval.txt", "Abyssinian_1 1 1 1\ngreat_pyrenees_2 2 2 1\n")
    write(root / "oxford-iiit-pet/annotations/test.txt", "great_pyrenees_4 2 2 1\nAbyssinian_3 1 1 1\n")


def dtd(root, _):
    for split, number in (("train", 1), ("val", 2), ("test", 3)):
        names = [f"{c}/{c}_{number}.jpg" for c in ("banded", "dotted")]
        for name in names:
            jpeg(root / "dtd/dtd/images" / name)
        write(root / f"dtd/dtd/labels/{split}1.txt", "\n".join(names) + "\n")


def fgvc_aircraft(root, _):
    folder = root / "fgvc-aircraft-2013b/data"
    write(folder / "variants.txt", "707-320\nBAE 146-200\n")
    for split, lines in {"trainval": "0001 707-320\n0002 BAE 146-200\n", "test": "0003 BAE 146-200\n"}.items():
        write(folder / f"images_variant_{split}.txt", lines)
        for line in lines.splitlines():
            jpeg(folder / f"images/{line[:4]}.jpg")


def sun397(root, _):
    write(root / "SUN397/ClassName.txt", "/a/abbey\n/b/bakery/shop\n")
    for number in range(5):
        jpeg(root / f"SUN397/a/abbey/sun_{number}.jpg")
        jpeg(root / f"SUN397/b/bakery/shop/sun_{number + 5}.jpg")


def caltech101(root, _):
    for name in ("BACKGROUND_Google", "ant", "wild_cat"):
        for number in range(1, 6):
            jpeg(root / f"caltech101/101_ObjectCategories/{name}/image_{number:04d}.jpg")


def eurosat(root, _):
    for name in ("AnnualCrop", "Forest"):
        for number in range(1, 6):
            jpeg(root / f"eurosat/2750/{name}/{name}_{number}.jpg")


#: Name: how its copy is made, number of classes, first class, and labels of train and val.
SETS = {
    "cifar10": (cifar10, 3, "airplane", [1, 2, 0, 1, 2], [2, 0]),
    "cifar100": (cifar100, 3, "apple", [2, 0, 1], [1]),
    "mnist": (mnist, 10, "0 - zero", [5, 0, 9], [7, 2]),
    "fashion_mnist": (functools.partial(mnist, name="FashionMNIST"), 10, "T-shirt/top", [5, 0, 9], [7, 2]),
    "flowers102": (flowers102, 102, "pink primrose", [0, 101, 1, 1], [0, 0]),
    "food101": (food101, 2, "apple_pie", [1, 0], [1]),
    "oxford_pets": (oxford_pets, 2, "Abyssinian", [0, 1], [1, 0]),
    "dtd": (dtd, 2, "banded", [0, 1, 0, 1], [0, 1]),
    "fgvc_aircraft": (fgvc_aircraft, 2, "707-320", [0, 1], [1]),
    "sun397": (sun397, 2, "abbey", [0] * 4 + [1] * 4, [0, 1]),
    "caltech101": (caltech101, 2, "ant", [0] * 4 + [1] * 4, [0, 1]),
    "eurosat": (eurosat, 2, "AnnualCrop", [0] * 4 + [1] * 4, [0, 1]),
}


@pytest.fixture(autouse=True)
def tiny_copies_are_whole(monkeypatch):
    """Of the sets whose number of images is known, the copies here have ten."""
    monkeypatch.setattr(torchvision, "_NUM_IMAGES", dict.fromkeys(torchvision._NUM_IMAGES, 10))


@pytest.fixture
def no_pickles(monkeypatch):
    """Fail where anything is unpickled."""

    def refuse(*_, **__):
        raise AssertionError("a pickle is read")

    for module, name in ((pickle, "load"), (pickle, "loads"), (torch, "load")):
        monkeypatch.setattr(module, name, refuse)


def both(name, root, **options):
    data = Data(dataset=name, root=str(root), **options)
    train = open_images(data, "train")
    return train, open_images(data, "val", len(train.classes), train.classes)


def test_every_public_set_is_tried():
    assert set(SETS) == set(get_args(PublicDataset))


@pytest.mark.parametrize("name", SETS)
def test_set_is_read_as_it_is_laid_out(name, tmp_path, monkeypatch, no_pickles):
    make, num_classes, first, train_labels, val_labels = SETS[name]
    make(tmp_path / "there", monkeypatch)
    train, val = both(name, tmp_path / "there")
    assert (len(train.classes), train.classes[0], val.classes) == (num_classes, first, train.classes)
    assert (list(train.labels), list(val.labels)) == (train_labels, val_labels)
    sizes = {"cifar10": (32, 32), "cifar100": (32, 32), "mnist": (28, 28), "fashion_mnist": (28, 28)}
    for images in (train, val):
        for index in range(len(images)):
            picture = images.load(index, "RGB")
            assert (picture.mode, picture.size) == ("RGB", sizes.get(name, (3, 4)))  # those that are files: upright
    names = [images.name(index) for images in (train, val) for index in range(len(images))]
    assert len(set(names)) == len(names) - (name == "flowers102")  # whose copy has one picture in two splits
    # The set is the same wherever it lies.
    fingerprints = [train.fingerprint(), val.fingerprint()]
    shutil.move(tmp_path / "there", tmp_path / "elsewhere")
    assert [images.fingerprint() for images in both(name, tmp_path / "elsewhere")] == fingerprints


@pytest.mark.parametrize("name", SETS)
def test_set_that_is_not_there_says_what_to_do(name, tmp_path):
    with pytest.raises(DatasetError, match=r"set data\.download=True") as caught:
        open_images(Data(dataset=name, root=str(tmp_path)), "train")
    assert "\n" not in str(caught.value)


def test_cifar_has_the_owners_pixels_and_fine_labels(tmp_path):
    cifar100(tmp_path, None)
    train, _ = both("cifar100", tmp_path)
    assert train.load(1, "RGB").getpixel((31, 0)) == (3, 103, 203)
    assert train.name(1) == "cifar100 train 1"


def test_cifars_pickles_are_not_read(tmp_path):
    (tmp_path / "cifar-100-python").mkdir()
    with pytest.raises(DatasetError, match=r"cifar-100-python is the pickled version, which is not read"):
        open_images(Data(dataset="cifar100", root=str(tmp_path)), "train")


@pytest.mark.parametrize("damage", ["cut", "label", "gone", "empty"])
def test_broken_cifar_is_refused(tmp_path, damage):
    cifar100(tmp_path, None)
    file = tmp_path / "cifar-100-binary/train.bin"
    data = file.read_bytes()
    {
        "cut": lambda: file.write_bytes(data[:-1]),
        "label": lambda: file.write_bytes(bytes([7, 3]) + data[2:]),
        "gone": file.unlink,
        "empty": lambda: file.write_bytes(b""),
    }[damage]()
    with pytest.raises(DatasetError, match=r"cifar-100-binary.*download it anew"):
        open_images(Data(dataset="cifar100", root=str(tmp_path)), "train")


def served_cifar(tmp_path, serve, monkeypatch):
    cifar100(tmp_path / "made", None)
    (tmp_path / "served").mkdir()
    archive = tmp_path / "served/cifar-100-binary.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tmp_path / "made/cifar-100-binary", "cifar-100-binary")
    monkeypatch.setattr(cifar, "_URL", serve(tmp_path / "served") + "/")
    known = cifar._ARCHIVES["cifar100"]._replace(md5=md5(archive))
    monkeypatch.setitem(cifar._ARCHIVES, "cifar100", known)
    return known


def test_cifar_is_downloaded(tmp_path, serve, monkeypatch, no_pickles, capsys):
    served_cifar(tmp_path, serve, monkeypatch)
    train, val = both("cifar100", tmp_path / "new" / "data", download=True)
    assert (train.labels, val.labels) == ([2, 0, 1], [1])


def test_download_with_another_md5_is_refused(tmp_path, serve, monkeypatch, capsys):
    known = served_cifar(tmp_path, serve, monkeypatch)
    monkeypatch.setitem(cifar._ARCHIVES, "cifar100", known._replace(md5="0" * 32))
    with pytest.raises(DatasetError, match=r"cannot download http://.*cifar-100-binary\.tar\.gz to .*corrupted"):
        open_images(Data(dataset="cifar100", root=str(tmp_path / "new"), download=True), "train")
    assert not (tmp_path / "new/cifar-100-binary").exists()


def test_torchvisions_sets_are_downloaded(tmp_path, serve, monkeypatch, capsys):
    from torchvision.datasets import MNIST

    mnist(tmp_path / "made", None)
    raw, resources = tmp_path / "made/MNIST/raw", []
    for file in sorted(raw.iterdir()):
        packed = raw / f"{file.name}.gz"
        packed.write_bytes(gzip.compress(file.read_bytes()))
        resources.append((packed.name, md5(packed)))
    monkeypatch.setattr(MNIST, "mirrors", [serve(raw) + "/"])
    monkeypatch.setattr(MNIST, "resources", resources)
    train, _ = both("mnist", tmp_path / "new", download=True)
    assert train.labels == [5, 0, 9]
    monkeypatch.setattr(MNIST, "resources", [(name, "0" * 32) for name, _ in resources])
    with pytest.raises(DatasetError, match=r"mnist in .* cannot be downloaded or read: Error downloading") as caught:
        both("mnist", tmp_path / "other", download=True)
    assert "\n" not in str(caught.value)


@contextmanager
def read_only(folder):
    """Take the right to write `folder` from this process, which root has whatever the mode says."""
    folder.chmod(0o555)
    privileged = os.geteuid() == 0
    if privileged:
        os.seteuid(65534)
    try:
        yield
    finally:
        if privileged:
            os.seteuid(0)
        folder.chmod(0o755)


@pytest.mark.skipif(os.name == "nt", reason="POSIX modes")
def test_set_that_is_all_there_needs_no_place_to_download_to():
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to other users
        folder = Path(name)
        mnist(folder, None)
        with read_only(folder):
            assert both("mnist", folder, download=True)[0].labels == [5, 0, 9]
            with pytest.raises(DatasetError, match=r"cannot download to .*: Permission denied; name another folder"):
                open_images(Data(dataset="fashion_mnist", root=name, download=True), "train")


def test_mnists_old_pt_files_are_not_read(tmp_path, monkeypatch, no_pickles):
    mnist(tmp_path, None)
    (tmp_path / "MNIST/processed").mkdir()
    for name in ("training.pt", "test.pt"):
        (tmp_path / "MNIST/processed" / name).write_bytes(b"anything")
    assert both("mnist", tmp_path)[0].labels == [5, 0, 9]


def test_half_a_set_is_refused(tmp_path):
    dtd(tmp_path, None)
    (tmp_path / "dtd/dtd/images/banded/banded_1.jpg").unlink()
    with pytest.raises(
        DatasetError, match=r"1 of the images of dtd are not in .*banded_1\.jpg for one; remove what is"
    ):
        open_images(Data(dataset="dtd", root=str(tmp_path)), "train")
    mnist(tmp_path, None)
    file = tmp_path / "MNIST/raw/train-images-idx3-ubyte"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(DatasetError, match=r"mnist in .* cannot be read: .*; what is half there is best removed"):
        open_images(Data(dataset="mnist", root=str(tmp_path)), "train")


@pytest.mark.parametrize("name", ["sun397", "caltech101", "eurosat"])
def test_set_of_fewer_images_than_it_has_is_refused(name, tmp_path, monkeypatch):
    SETS[name][0](tmp_path, monkeypatch)
    next(path for path in sorted(tmp_path.rglob("*5.jpg")) if "BACKGROUND" not in str(path)).unlink()
    with pytest.raises(DatasetError, match=rf"{name} in .* has 9 images; expected 10, .*remove what is there"):
        open_images(Data(dataset=name, root=str(tmp_path)), "train")


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([5, 0], r"cannot be read: it has 3 images and 2 labels; what is half there is best removed"),
        ([5, 200, 9], r"has the label 200 and 10 classes; remove it"),
    ],
)
def test_labels_that_do_not_fit_mnists_images_are_refused(labels, said, tmp_path):
    mnist(tmp_path, None)
    idx(tmp_path / "MNIST/raw/train-labels-idx1-ubyte", np.array(labels, np.uint8))
    with pytest.raises(DatasetError, match=rf"mnist in .* {said}"):
        open_images(Data(dataset="mnist", root=str(tmp_path)), "train")


def test_corrupt_picture_of_a_public_set_names_its_file(tmp_path):
    eurosat(tmp_path, None)
    (tmp_path / "eurosat/2750/Forest/Forest_1.jpg").write_bytes(b"no picture")
    images = next(
        part for part in both("eurosat", tmp_path) if "Forest_1.jpg" in "".join(map(part.name, range(len(part))))
    )
    bad = next(index for index in range(len(images)) if images.name(index).endswith("Forest_1.jpg"))
    with pytest.raises(ImageError, match=r"Forest_1\.jpg is not an image"):
        images.load(bad, "RGB")


def test_sets_without_a_split_take_another_fraction(tmp_path):
    eurosat(tmp_path, None)
    train, val = both("eurosat", tmp_path, val_fraction=0.4)
    assert (len(train), len(val)) == (6, 4)
    train, val = both("eurosat", tmp_path, num_folds=5, fold=1)
    assert (len(train), len(val)) == (8, 2)


@pytest.mark.skipif(not FASHION.is_dir(), reason="the files are not in ../shared/datasets/fashion-mnist")
def test_real_fashion_mnist(tmp_path, no_pickles):
    """The owners' own files, with the MD5s that torchvision knows: nothing is fetched."""
    raw = tmp_path / "FashionMNIST/raw"
    raw.mkdir(parents=True)
    for file in FASHION.glob("*.gz"):
        shutil.copy(file, raw)
    train, val = both("fashion_mnist", tmp_path, download=True)
    assert (len(train), len(val)) == (60_000, 10_000)
    assert np.bincount(train.labels).tolist() == [6000] * 10
    assert train.classes[train.labels[0]] == "Ankle boot"
    assert (train.load(0, "L").size, int(np.asarray(train.load(0, "L"), np.int64).sum())) == ((28, 28), 76247)
