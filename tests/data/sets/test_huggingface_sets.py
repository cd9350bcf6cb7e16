"""Images of Hugging Face's `datasets`, from a disk."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest
from PIL import Image

from t2t_vit.config import Data
from t2t_vit.data.sets.huggingface import HuggingFaceSet
from t2t_vit.data.sets.streams import HuggingFaceStream
from t2t_vit.errors import DatasetError, ImageError
from t2t_vit.run import open_images
from t2t_vit.run.images import open_stream

datasets = pytest.importorskip("datasets", reason="datasets is not installed (pip install 't2t-vit[datasets]')")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Keep what is made of the tables out of the user's home, and the hub out of the tests."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()


def jpeg(value):
    """Return a file 4 wide and 3 high that stands on its side: upright it is 3 wide."""
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (4, 3), (value,) * 3).save(file, "JPEG", exif=exif, quality=100)
    return {"bytes": file.getvalue(), "path": None}


def table(values, names=("cat", "dog", "owl"), **columns):
    """Return a data set with row n of grey value n and of class n % 3."""
    label = datasets.ClassLabel(names=list(names)) if names else datasets.Value("int64")
    columns = {"picture": [jpeg(v) for v in values], "species": [v % 3 for v in values], **columns}
    features = datasets.Features({"picture": datasets.Image(), "species": label})
    features |= {name: datasets.Value("int64") for name in columns if name not in features}
    return datasets.Dataset.from_dict(columns, features=datasets.Features(features))


def parquet(folder, **splits):
    folder.mkdir(exist_ok=True)
    for name, parts in splits.items():
        for number, values in enumerate(parts):
            table(values).to_parquet(folder / f"{name}-{number:05d}-of-{len(parts):05d}.parquet")
    return folder


def greys(images):
    return [images.load(index, "RGB").getpixel((0, 0))[0] for index in range(len(images))]


def test_saved_splits(tmp_path):
    splits = datasets.DatasetDict({"train": table(range(5)), "test": table([7])})
    splits.save_to_disk(tmp_path / "saved")
    data = Data(dataset="huggingface", root=str(tmp_path / "saved"), val="test")
    train = open_images(data, "train")
    assert (train.classes, train.labels, greys(train)) == (("cat", "dog", "owl"), [0, 1, 2, 0, 1], [0, 1, 2, 3, 4])
    assert train.load(0, "L").size == (3, 4)  # upright, as everywhere
    assert train.load(0, "L").mode == "L"
    assert open_images(data, "val", 3, train.classes).labels == [1]
    with pytest.raises(
        DatasetError, match=r"Unknown split 'val'\. Should be one of \['train', 'test'\]; name another in"
    ):
        open_images(Data(dataset="huggingface", root=str(tmp_path / "saved")), "val")


def test_saved_split_of_one(tmp_path):
    table(range(4)).select([3, 1]).save_to_disk(tmp_path / "one")
    assert greys(HuggingFaceSet(str(tmp_path / "one"), "train")) == [3, 1]


def test_saved_split_without_a_name_is_no_validation_split(tmp_path):
    table(range(10)).save_to_disk(tmp_path / "one")
    data = {"dataset": "huggingface", "root": str(tmp_path / "one")}
    with pytest.raises(DatasetError, match=r"Unknown split 'val'\. Should be one of \['train'\]"):
        open_images(Data(**data), "val")
    split = Data(**data, val_fraction=0.34)
    assert not set(greys(open_images(split, "train"))) & set(greys(open_images(split, "val")))


def test_folder_of_parquet_files(tmp_path):
    folder = parquet(tmp_path / "tables", train=[range(3), range(3, 6)], validation=[range(7, 9)])
    data = Data(dataset="huggingface", root=str(folder), val="validation")
    assert greys(open_images(data, "train")) == [0, 1, 2, 3, 4, 5]
    assert open_images(data, "val").labels == [1, 2]


def test_other_splits_may_have_another_order_of_classes(tmp_path):
    table(range(3), names=("owl", "cat", "dog")).save_to_disk(tmp_path / "x")
    assert HuggingFaceSet(str(tmp_path / "x"), "train", known=("cat", "dog", "owl")).labels == [2, 0, 1]
    with pytest.raises(DatasetError, match="the label is 'owl', which is none of the 2 classes"):
        HuggingFaceSet(str(tmp_path / "x"), "train", known=("cat", "dog"))


def test_labels_without_names_are_numbers(tmp_path):
    table(range(3), names=None).save_to_disk(tmp_path / "x")
    images = HuggingFaceSet(str(tmp_path / "x"), "train", label_column="species")
    assert (images.classes, images.labels) == (("0", "1", "2"), [0, 1, 2])
    with pytest.raises(
        DatasetError, match=r"0 columns of labels among 'picture', 'species'; name one in data\.label_column"
    ):
        HuggingFaceSet(str(tmp_path / "x"), "train")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"image_column": "pictur"}, "has no column 'pictur', but 'picture', 'species'. Did you mean 'picture'?"),
        ({"label_column": "label"}, "has no column 'label'"),
        ({"image_column": "species"}, "the column 'species' is to have the images and the labels; name one for each"),
    ],
)
def test_columns_that_are_not_there_are_told(tmp_path, options, said):
    table(range(3)).save_to_disk(tmp_path / "x")
    with pytest.raises(DatasetError) as caught:
        HuggingFaceSet(str(tmp_path / "x"), "train", **options)
    assert said in str(caught.value)


def test_labels_that_are_not_published_are_refused(tmp_path):
    table(range(2), species=[0, -1]).save_to_disk(tmp_path / "x")
    with pytest.raises(
        DatasetError, match=r"row 1: 'species' is -1; expected 0 to 2 \(-1 stands for a label that is not"
    ):
        HuggingFaceSet(str(tmp_path / "x"), "train")
    table(range(2), species=[0, None]).save_to_disk(tmp_path / "y")
    with pytest.raises(DatasetError, match="row 1: 'species' is None; expected the number or the name of a class"):
        HuggingFaceSet(str(tmp_path / "y"), "train")


def test_what_is_no_data_set_is_told_in_one_line(tmp_path):
    (tmp_path / "empty").mkdir()
    for source in (tmp_path / "empty", tmp_path / "nowhere"):
        with pytest.raises(DatasetError, match="cannot open '") as caught:
            HuggingFaceSet(str(source), "train")
        assert "\n" not in str(caught.value)


def test_code_beside_the_data_is_not_run(tmp_path):
    folder = parquet(tmp_path / "tables", train=[range(2)])
    (folder / "tables.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n", encoding="utf-8")
    try:
        images = HuggingFaceSet(str(folder), "train")
    except DatasetError:
        pass
    else:
        assert greys(images) == [0, 1]
    assert not (tmp_path / "ran").exists()


def test_corrupt_or_missing_picture_names_its_row(tmp_path):
    broken = table(range(3), picture=[{"bytes": b"nothing", "path": None}, None, jpeg(2)])
    broken.save_to_disk(tmp_path / "x")
    images = HuggingFaceSet(str(tmp_path / "x"), "train")
    with pytest.raises(ImageError, match=r"x train row 0: "):
        images.load(0, "RGB")
    with pytest.raises(ImageError, match=r"x train row 1 has no image"):
        images.load(1, "RGB")
    assert images.load(2, "RGB").getpixel((0, 0))[0] == 2


def test_missing_extra_names_the_command(tmp_path):
    code = (
        "import sys; sys.modules['datasets'] = None\n"
        "from t2t_vit.data.sets.huggingface import HuggingFaceSet\n"
        "HuggingFaceSet('x', 'train')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.stderr.splitlines()[-1].endswith("needs datasets; pip install 't2t-vit[datasets]'")


# --- in sequence ---


@pytest.fixture
def stream(tmp_path):
    folder = parquet(tmp_path / "tables", train=[range(7 * n, 7 * n + 7) for n in range(4)])
    return open_stream(Data(dataset="huggingface", root=str(folder), streaming=True, shuffle_buffer=5))


def values(stream, *args):
    return [one.load("RGB").getpixel((0, 0))[0] for one in stream.samples(*args)]


def test_stream_is_deterministic_complete_and_can_be_skipped(stream, monkeypatch):
    assert (stream.num_shards, stream.classes) == (4, ("cat", "dog", "owl"))
    whole = values(stream, 1, 2)
    assert sorted(whole) == list(range(28))
    assert whole == values(stream, 1, 2)
    assert whole not in (values(stream, 1, 3), sorted(whole))
    assert all(one.label == one.load("L").getpixel((0, 0)) % 3 for one in stream.samples(1, 2))
    parts = [values(stream, 1, 2, part, 3) for part in range(3)]
    assert sorted(value for part in parts for value in part) == list(range(28))
    for skip in (1, 9, 28):
        assert values(stream, 1, 2, 0, 1, skip) == whole[skip:]
    monkeypatch.setattr("t2t_vit.data.sets.streams.picture_in", lambda *_: pytest.fail("an image is decoded"))
    assert len(list(stream.samples(1, 2, 0, 1, 20))) == 8


def test_saved_split_can_be_streamed(tmp_path):
    table(range(9)).save_to_disk(tmp_path / "saved")
    stream = HuggingFaceStream(str(tmp_path / "saved"), "train", shuffle_buffer=3)
    parts = [values(stream, 0, 0, part, 2) for part in range(2)]
    assert sorted(value for part in parts for value in part) == list(range(9))


def test_stream_without_classes_is_refused(tmp_path):
    table(range(3), names=None).save_to_disk(tmp_path / "x")
    with pytest.raises(
        DatasetError, match=r"does not say which classes there are; name them in a file of data\.classes_file"
    ):
        HuggingFaceStream(str(tmp_path / "x"), "train", label_column="species")


def test_broken_shard_of_a_stream_is_told_in_one_line(stream, tmp_path):
    file = tmp_path / "tables" / "train-00001-of-00004.parquet"
    data = bytearray(file.read_bytes())
    data[4:24] = b"\xff" * 20  # the first page's header
    file.write_bytes(data)
    with pytest.raises(
        DatasetError, match=r"shard \d of .*tables train cannot be read: .*download or make it"
    ) as caught:
        values(stream, 1, 2)
    assert "\n" not in str(caught.value)
