"""What is found wrong with a set of images."""

from __future__ import annotations

import shutil
import tarfile
import time

import numpy as np
import pytest
from PIL import Image

from t2t_vit.data.sets.annotations import AnnotatedImages
from t2t_vit.data.sets.digits import Digits
from t2t_vit.data.sets.tar_shards import TarShards
from t2t_vit.data.verification import Findings, entries_below, entries_of, look_at
from t2t_vit.errors import DatasetError


def picture(path, size=(40, 30), mode="RGB", seed=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = sum(map(ord, str(path))) if seed is None else seed
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)
    return path


@pytest.fixture
def root(tmp_path):
    """Two splits of two classes, two good and different pictures in each."""
    for split in ("train", "val"):
        for name in ("cat", "dog"):
            for n in range(2):
                picture(tmp_path / "set" / split / name / f"{n}.png")
    return tmp_path / "set"


def verify(root, workers=2):
    entries, empty = entries_below(root)
    findings = Findings()
    for seen in look_at(entries, workers):
        findings.add(seen)
    findings.add_empty_classes(empty)
    return findings


def found(findings, *fields):
    return [tuple(getattr(oddity, field) for field in fields) for oddity in findings.oddities]


def test_in_a_sound_set_nothing_is_odd(root):
    findings = verify(root)
    assert (findings.num_images, findings.oddities) == (8, [])
    assert (findings.smallest, findings.largest, dict(findings.modes)) == ((40, 30), (40, 30), {"RGB": 8})


def test_bad_images_are_told_with_their_reason(root):
    bad = root / "train" / "dog" / "1.png"
    bad.write_bytes(bad.read_bytes()[:300])
    (root / "val" / "cat" / "web.jpg").write_text("<html>", encoding="utf-8")
    findings = verify(root)
    assert found(findings, "kind", "split", "label", "name") == [
        ("bad", "train", "dog", str(bad)),
        ("bad", "val", "cat", str(root / "val" / "cat" / "web.jpg")),
    ]
    assert "truncated" in findings.oddities[0].detail
    assert "not an image" in findings.oddities[1].detail
    assert findings.num_images == 9


def test_copies_are_told_apart_by_where_they_are(root):
    original = root / "train" / "cat" / "0.png"
    shutil.copy(original, root / "train" / "cat" / "9.png")
    shutil.copy(original, root / "train" / "dog" / "9.png")
    shutil.copy(original, root / "val" / "cat" / "9.png")
    findings = verify(root)
    assert found(findings, "kind", "split", "label", "detail") == [
        ("duplicate", "train", "cat", str(original)),
        ("duplicate", "train", "dog", str(original)),
        ("contradiction", "train", "dog", f"{original} is 'cat'"),
        ("leak", "val", "cat", str(original)),
    ]


def test_file_that_is_listed_twice_is_told(root, tmp_path):
    (tmp_path / "list.txt").write_text("cat/0.png cat\ncat/0.png cat\ncat/0.png dog\n", encoding="utf-8")
    findings = Findings()
    for seen in look_at(entries_of(AnnotatedImages(tmp_path / "list.txt", root / "train"), "train"), 1):
        findings.add(seen)
    assert found(findings, "kind", "label") == [("duplicate", "cat"), ("duplicate", "dog"), ("contradiction", "dog")]


def test_a_picture_saved_again_is_no_copy(root):
    with Image.open(root / "train" / "cat" / "0.png") as image:
        image.save(root / "val" / "cat" / "9.bmp")
    assert verify(root).oddities == []


def test_empty_classes_and_classes_of_one_split_are_told(root):
    (root / "val" / "dog").rename(root / "val" / "owl")
    (root / "train" / "owl").mkdir()
    (root / "train" / "owl" / "notes.txt").write_text("none yet")
    assert found(verify(root), "kind", "split", "label", "detail") == [
        ("empty class", "train", "owl", "no images"),
        ("missing class", "val", "dog", "only in train"),
    ]


def test_odd_sizes_and_modes_are_told(root):
    picture(root / "train" / "cat" / "a.png", size=(200, 15))
    picture(root / "train" / "cat" / "b.png", size=(200, 50))
    picture(root / "train" / "cat" / "c.jpg", mode="CMYK")
    Image.fromarray(np.arange(2000, dtype=np.uint16).reshape(40, 50)).save(root / "train" / "cat" / "d.png")
    picture(root / "train" / "cat" / "e.png", mode="L")
    findings = verify(root)
    assert found(findings, "kind", "detail") == [
        ("tiny", "200 x 15"), ("elongated", "200 x 15"), ("mode", "CMYK"), ("mode", "I;16"),
    ]  # fmt: skip
    assert dict(findings.modes) == {"RGB": 10, "CMYK": 1, "I;16": 1, "L": 1}
    assert (findings.smallest, findings.largest) == ((40, 30), (200, 50))


def test_folders_of_classes_without_splits_are_one_set(tmp_path):
    for name in ("cat", "dog"):
        picture(tmp_path / name / "0.png", seed=1)
    (tmp_path / "owl").mkdir()
    (tmp_path / ".cache" / "dog").mkdir(parents=True)
    assert found(verify(tmp_path), "kind", "split", "label") == [
        ("duplicate", "", "dog"), ("contradiction", "", "dog"), ("empty class", "", "owl"),
    ]  # fmt: skip


def test_a_class_that_is_called_as_a_split_is_a_class(tmp_path):
    for name in ("train", "tram"):
        picture(tmp_path / name / "0.png")
    entries, _ = entries_below(tmp_path)
    assert [(entry.split, entry.label) for entry in entries] == [("", "train"), ("", "tram")]


def test_linked_folders_are_searched_and_loops_of_links_are_not(root, tmp_path):
    (root / "train").rename(tmp_path / "elsewhere")
    (root / "train").symlink_to(tmp_path / "elsewhere")
    (root / "val" / "dog").rename(tmp_path / "dogs")
    (root / "val" / "dog").symlink_to(tmp_path / "dogs")
    (tmp_path / "dogs" / "again").symlink_to(root)
    entries, empty = entries_below(root)
    assert [(entry.split, entry.label) for entry in entries] == [
        ("train", "cat"), ("train", "cat"), ("train", "dog"), ("train", "dog"),
        ("val", "cat"), ("val", "cat"), ("val", "dog"), ("val", "dog"),
    ]  # fmt: skip
    assert empty == []


def test_pictures_that_are_in_no_file_are_looked_at_too():
    digits = entries_of(Digits("val"), "val")[:20]
    findings = Findings()
    for seen in look_at([*digits, *digits[:1]], 1):
        findings.add(seen)
    assert findings.num_images == 21
    assert (findings.smallest, dict(findings.modes)) == ((8, 8), {"RGB": 21})
    assert len(findings.of("tiny")) == 21


def test_pictures_in_a_shard_with_an_absolute_path_are_looked_at(root, tmp_path):
    (tmp_path / "label").write_text("cat", encoding="utf-8")
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        tar.add(root / "train" / "cat" / "0.png", "0.png")
        tar.add(tmp_path / "label", "0.cls")
    (seen,) = look_at(entries_of(TarShards("x.tar", root=str(tmp_path)), "train"), 1)
    assert (seen.entry.name, seen.problem, seen.size) == (f"{tmp_path}/x.tar/0.png", None, (40, 30))


def test_the_order_is_that_of_the_images_whatever_the_number_of_workers(root):
    names = [seen.entry.name for seen in look_at(entries_below(root)[0], 1)]
    assert names == [seen.entry.name for seen in look_at(entries_below(root)[0], 7)] == sorted(names)


def test_no_more_images_wait_than_a_chunk(monkeypatch):
    from t2t_vit.data import verification

    monkeypatch.setattr(verification, "_CHUNK", 4)
    loaded = []
    entry = verification.Entry("x", "", "", lambda: loaded.append(1) or Image.new("RGB", (20, 20)))
    seen = look_at([entry] * 100, 2)
    next(seen)
    time.sleep(0.2)  # the workers would have gone on by now
    assert len(loaded) <= 8


def test_a_folder_without_images_is_told(tmp_path):
    with pytest.raises(DatasetError, match="no images in"):
        entries_below(tmp_path)
