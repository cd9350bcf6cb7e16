"""Images in tar files, read at random and in sequence."""

from __future__ import annotations

import io
import json
import tarfile
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest
from PIL import Image

from t2t_vit.config import Data
from t2t_vit.data.sets.streams import TarStream
from t2t_vit.data.sets.tar_shards import TarShards, shards_of
from t2t_vit.errors import ConfigError, DatasetError, ImageError
from t2t_vit.run import open_images
from t2t_vit.run.images import open_stream


def png(value):
    file = io.BytesIO()
    Image.new("RGB", (3, 2), (value,) * 3).save(file, "PNG")
    return file.getvalue()


def pack(path, files, mode="w", format=tarfile.PAX_FORMAT):
    """Make a tar file of (name, bytes) or of headers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode, format=format) as tar:
        for item in files:
            if isinstance(item, tarfile.TarInfo):
                tar.addfile(item)
            else:
                info = tarfile.TarInfo(item[0])
                info.size = len(item[1])
                tar.addfile(info, io.BytesIO(item[1]))
    return path


@pytest.fixture
def shards(tmp_path):
    """Five shards of seven samples: sample n is of grey n and of class n % 3."""
    for shard in range(5):
        samples = range(7 * shard, 7 * shard + 7)
        files = [file for n in samples for file in ((f"{n:04d}.png", png(n)), (f"{n:04d}.cls", str(n % 3).encode()))]
        pack(tmp_path / f"train-{shard:03d}.tar", files)
    return tmp_path


def grey(picture):
    return picture.getpixel((0, 0))[0]


def message_of(*args, cls=TarShards, **options):
    def read():
        images = cls(*args, **options)
        return list(images.samples(0, 0)) if isinstance(images, TarStream) else images

    with pytest.raises(DatasetError) as caught:
        read()
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- which shards ---


def test_patterns_name_shards(shards):
    root = str(shards)
    paths = [f"{root}/train-{number:03d}.tar" for number in range(5)]
    assert shards_of("train-{000..004}.tar", root) == paths
    assert shards_of("train-00{3,1}.tar", root) == [paths[3], paths[1]]
    assert shards_of("train-0{0..0}{1..2}.tar", root) == paths[1:3]
    assert shards_of("train-*.tar", root) == paths
    assert shards_of(f"{root}/train-00?.tar") == paths
    assert shards_of("train-002.tar", root) == [paths[2]]
    assert shards_of("a-{08..10}.tar", "https://host/x/") == [f"https://host/x/a-{n}.tar" for n in ("08", "09", "10")]


def test_folder_with_a_pattern_in_its_name_is_no_pattern(tmp_path):
    pack(tmp_path / "[a]{1..2}" / "x-1.tar", [])
    assert shards_of("x-*.tar", str(tmp_path / "[a]{1..2}")) == [str(tmp_path / "[a]{1..2}" / "x-1.tar")]


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("train-{000..006}.tar", r"2 of 7 shards are missing, .*train-005\.tar for one"),
        ("other-*.tar", r"no tar files at 'other-\*\.tar'"),
        ("train-{4..1}.tar", "expected the smaller number first"),
        ("{0..999999}{0..999999}.tar", "stands for 1000000000000 shards"),
    ],
)
def test_patterns_without_shards_are_refused(shards, pattern, said):
    with pytest.raises(DatasetError, match=said):
        shards_of(pattern, str(shards))


# --- at random ---


def test_any_image_can_be_had(shards):
    images = TarShards("train-{000..004}.tar", root=str(shards))
    assert (len(images), images.classes) == (35, ("0", "1", "2"))
    assert images.labels == [n % 3 for n in range(35)]
    for index in (34, 0, 20, 7):
        assert grey(images.load(index, "RGB")) == index
    assert images.name(8) == f"{shards}/train-001.tar/0008.png"
    assert images.key(8) == "train-001.tar/0008.png"


def test_index_agrees_with_another_readers(shards):
    images = TarShards("train-*.tar", root=str(shards))
    with tarfile.open(shards / "train-003.tar") as tar:
        assert grey(Image.open(tar.extractfile("0025.png"))) == grey(images.load(25, "RGB"))


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_names_and_labels_of_all_kinds(tmp_path, format):
    long = "folder/" + "x" * 90 + "/" + "y" * 60
    files = [
        ("a/1.txt", b"a caption"), ("a/1.jpg.png", png(1)), ("a/1.cls", b"\xef\xbb\xbf2\n"),
        ("b/1.JSON", json.dumps({"label": 0}).encode()), ("b/1.PNG", png(2)), ("b/1.seg.npy", b"whatever"),
        (f"{long}.png", png(3)), (f"{long}.txt", b"1"), ("._a.png", b"of macOS"), ("notes.md", b""),
    ]  # fmt: skip
    pack(tmp_path / "x.tar", files, format=format)
    images = TarShards("x.tar", root=str(tmp_path))
    assert images.labels == [2, 0, 1]
    assert [grey(images.load(index, "RGB")) for index in range(3)] == [1, 2, 3]


def test_labels_may_be_names_or_called_otherwise(tmp_path):
    pack(tmp_path / "x.tar", [("1.png", png(1)), ("1.cls", b"dog"), ("2.png", png(1)), ("2.cls", b"cat")])
    assert TarShards("x.tar", root=str(tmp_path)).labels == [1, 0]
    assert TarShards("x.tar", root=str(tmp_path), known=("owl", "dog", "cat")).labels == [1, 2]
    pack(tmp_path / "y.tar", [("1.png", png(1)), ("1.json", b'{"species": "n02012849"}')])
    assert TarShards("y.tar", root=str(tmp_path), classes="imagenet", label_key="species").labels == [134]


def test_labels_that_are_all_wordnet_ids_are_imagenets(tmp_path):
    pack(tmp_path / "x.tar", [("1.png", png(1)), ("1.cls", b"n01443537"), ("2.png", png(1)), ("2.cls", b"n01440764")])
    for num_classes in (None, 1000):
        images = TarShards("x.tar", root=str(tmp_path), num_classes=num_classes)
        assert (len(images.classes), images.labels) == (1000, [1, 0])
    images = TarShards("x.tar", root=str(tmp_path), num_classes=2)
    assert (images.classes, images.labels) == (("n01440764", "n01443537"), [1, 0])
    assert TarShards("x.tar", root=str(tmp_path), classes="folders").labels == [1, 0]


@pytest.mark.parametrize("cls", [TarShards, TarStream])
def test_text_that_may_be_a_number_or_a_name_is_refused(tmp_path, cls):
    classes = ("1", "2", "007")
    options = {"root": str(tmp_path), **({"known": classes} if cls is TarShards else {"classes": classes})}
    pack(tmp_path / "x.tar", [("1.png", png(1)), ("1.cls", b"1")])
    said = "x.tar/1.png: the label 1 may be class number 1 or the class called '1', which is number 0; write JSON: {"
    assert said in message_of("x.tar", cls=cls, **options)
    for label, number in (("1", 0), (1, 1), ("007", 2)):
        pack(tmp_path / "x.tar", [("1.png", png(1)), ("1.json", json.dumps({"label": label}).encode())])
        images = cls("x.tar", **options)
        assert (images.labels if cls is TarShards else [one.label for one in images.samples(0, 0)]) == [number]


def test_corrupt_image_names_shard_and_member(tmp_path):
    pack(tmp_path / "x.tar", [("1.png", png(1)[:50]), ("1.cls", b"0")])
    with pytest.raises(ImageError, match=r"x\.tar/1\.png: "):
        TarShards("x.tar", root=str(tmp_path)).load(0, "RGB")


def link(name, kind=tarfile.SYMTYPE):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, "/etc/hosts"
    return info


@pytest.mark.parametrize("cls", [TarShards, TarStream])
@pytest.mark.parametrize(
    ("files", "said"),
    [
        ([("1.png", png(1))], "1.png has no label"),
        ([("1.png", png(1)), ("1.cls", b"")], "1.cls is empty; expected the number or the name of a class"),
        ([("1.png", png(1)), ("1.cls", b"\xff")], "1.cls is no UTF-8 text"),
        ([("1.png", png(1)), ("1.json", b"{")], "1.json is no JSON"),
        ([("1.png", png(1)), ("1.json", b'{"cls": 3}')], "no label is called 'label', there is 'cls'; name it in"),
        ([("1.png", png(1)), ("1.json", b'{"label": true}')], "no label is called 'label'"),
        ([("1.png", png(1)), ("1.json", b'{"label": 1.0}')], "the label is 1.0; expected the number (0, 1, …) or"),
        ([("1.png", png(1)), ("1.cls", b"-1")], "the label is -1; expected"),
        ([("1.png", png(1)), ("1.gif", png(1)), ("1.cls", b"0")], "1"),
        ([("1.png", png(1)), ("1.cls", b"0" * 2**21)], "1.cls has 2097152 bytes; expected a label"),
        ([link("1.png"), ("1.cls", b"0")], "holds '1.png', which is no plain file"),
        ([link("1.png", tarfile.LNKTYPE), ("1.cls", b"0")], "holds '1.png', which is no plain file"),
        ([link("1.png", tarfile.FIFOTYPE), ("1.cls", b"0")], "holds '1.png', which is no plain file"),
    ],
)  # fmt: skip
def test_bad_samples_are_refused(tmp_path, cls, files, said):
    pack(tmp_path / "x.tar", files)
    options = {"classes": ("0", "1")} if cls is TarStream else {}
    assert said in message_of("x.tar", root=str(tmp_path), cls=cls, **options)


@pytest.mark.parametrize("cls", [TarShards, TarStream])
def test_names_that_lead_elsewhere_lead_nowhere(tmp_path, cls):
    pack(
        tmp_path / "x" / "x.tar",
        [("../out.png", png(7)), ("../out.cls", b"0"), ("/abs.png", png(8)), ("/abs.cls", b"0")],
    )
    if cls is TarShards:
        images = TarShards("x.tar", root=str(tmp_path / "x"))
        assert [grey(images.load(index, "RGB")) for index in range(2)] == [7, 8]
    else:
        stream = TarStream("x.tar", ("0",), root=str(tmp_path / "x"))
        assert sorted(grey(one.load("RGB")) for one in stream.samples(0, 0)) == [7, 8]
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("cls", [TarShards, TarStream])
@pytest.mark.parametrize("size", [10**6, 10**15, -512, -(10**9)])
def test_member_that_lies_about_its_size_is_refused(tmp_path, cls, size):
    image = png(1)
    honest = pack(tmp_path / "x.tar", [("0.png", image), ("0.cls", b"0"), ("1.png", image), ("1.cls", b"0")])
    data = bytearray(honest.read_bytes())
    at = data.index(b"1.png")
    info = tarfile.TarInfo("1.png")
    info.size = abs(size)
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    if size < 0:
        header[124:136] = b"\xff" + (256**11 + size).to_bytes(11, "big")
        header[148:156] = b" " * 8
        header[148:156] = f"{sum(header):06o}\0 ".encode()
    data[at : at + 512] = header
    honest.write_bytes(data)
    options = {"classes": ("0", "1")} if cls is TarStream else {}
    message = message_of("x.tar", root=str(tmp_path), cls=cls, **options)
    assert "broken" in message or "cut off" in message or "expected an image" in message or "no label" in message


@pytest.mark.parametrize("cls", [TarShards, TarStream])
@pytest.mark.parametrize("kept", [700, 1024, 1500])
def test_shard_that_was_cut_off_is_refused(shards, cls, kept):
    file = shards / "train-000.tar"
    file.write_bytes(file.read_bytes()[: kept + 1])
    options = {"classes": ("0", "1", "2")} if cls is TarStream else {}
    assert "train-000.tar" in message_of("train-000.tar", root=str(shards), cls=cls, **options)


@pytest.mark.parametrize("cls", [TarShards, TarStream])
@pytest.mark.parametrize("damage", ["a bit of a header", "cut in a header", "cut between samples"])
def test_damage_is_not_taken_for_the_end_of_a_shard(shards, cls, damage):
    file = shards / "train-000.tar"
    data = bytearray(file.read_bytes())
    header = data.index(b"0003.png")
    if damage == "a bit of a header":
        data[header] ^= 1
    else:
        del data[header + (100 if damage == "cut in a header" else 0) :]
    file.write_bytes(data)
    options = {"classes": ("0", "1", "2")} if cls is TarStream else {}
    message = message_of("train-000.tar", root=str(shards), cls=cls, **options)
    assert "train-000.tar is broken or cut off" in message


def test_archive_without_samples_is_no_damage(tmp_path):
    pack(tmp_path / "x.tar", [])
    assert list(TarStream("x.tar", ("a",), root=str(tmp_path)).samples(0, 0)) == []


def test_what_is_no_tar_or_compressed_cannot_be_read_at_random(tmp_path):
    (tmp_path / "x.tar").write_bytes(b"no tar" * 1000)
    assert "is no tar file" in message_of("x.tar", root=str(tmp_path))
    pack(tmp_path / "y.tar", [("1.png", png(1)), ("1.cls", b"0")], "w:gz")
    assert "a compressed one has to be unpacked" in message_of("y.tar", root=str(tmp_path))
    assert "is not on a disk" in message_of("https://localhost/x.tar")


def test_shards_are_a_data_set_with_folds(shards):
    data = Data(dataset="tar_shards", root=str(shards), train="train-00{0..3}.tar", val="train-004.tar")
    train = open_images(data, "train")
    assert (len(train), len(open_images(data, "val", 3, train.classes))) == (28, 7)
    data = Data(dataset="tar_shards", root=str(shards), train="train-*.tar", val_fraction=0.2)
    assert len(open_images(data, "val")) == 6  # a fifth of 12, 12 and 11
    moved = shards / "moved"
    moved.mkdir()
    for file in shards.glob("*.tar"):
        file.rename(moved / file.name)
    again = Data(dataset="tar_shards", root=str(moved), train="train-00{0..3}.tar")
    assert open_images(again, "train").fingerprint() == train.fingerprint()


# --- in sequence ---


def values(stream, *args, **options):
    return [grey(one.load("RGB")) for one in stream.samples(*args, **options)]


@pytest.fixture
def stream(shards):
    return TarStream("train-*.tar", ("a", "b", "c"), root=str(shards), shuffle_buffer=5)


def test_stream_has_every_image_once_with_its_label(stream):
    seen = [(grey(one.load("RGB")), one.label, one.name) for one in stream.samples(0, 0)]
    assert sorted(value for value, _, _ in seen) == list(range(35))
    assert all(label == value % 3 and name.endswith(f"/{value:04d}.png") for value, label, name in seen)


def test_stream_is_a_function_of_seed_and_epoch(stream):
    first = values(stream, 1, 2)
    assert first == values(stream, 1, 2)
    others = [values(stream, 1, 3), values(stream, 2, 2), list(range(35)), sorted(first, reverse=True)]
    assert first not in others
    # Shuffled within shards by the buffer, and the shards themselves.
    assert len({value // 7 for value in first[:7]}) > 1
    assert any(values(stream, 1, epoch)[0] // 7 != first[0] // 7 for epoch in range(8))


@pytest.mark.parametrize("num_parts", [2, 3, 5])
def test_parts_share_the_stream_out(stream, num_parts):
    for epoch in (0, 1):
        parts = [values(stream, 0, epoch, part, num_parts) for part in range(num_parts)]
        assert sorted(value for part in parts for value in part) == list(range(35))
        shards = [{value // 7 for value in part} for part in parts]
        assert sum(map(len, shards)) == 5


def test_skipping_gives_the_rest_of_the_sequence_without_decoding(stream, monkeypatch):
    for part, num_parts in ((0, 1), (1, 2)):
        whole = values(stream, 3, 4, part, num_parts)
        for skip in (0, 1, 6, len(whole) - 1, len(whole), len(whole) + 5):
            assert values(stream, 3, 4, part, num_parts, skip) == whole[skip:]
    monkeypatch.setattr("t2t_vit.data.sets.streams.decode_named", lambda *_: pytest.fail("an image is decoded"))
    assert len(list(stream.samples(3, 4, skip=10))) == 25


def test_more_parts_than_shards_are_refused(stream):
    with pytest.raises(
        DatasetError, match="5 shards cannot be shared by 6 loading processes; write more shards, or lower"
    ):
        stream.samples(0, 0, 0, 6)


def test_buffer_draws_evenly(shards):
    """The first picture is any of the buffer's, about equally often."""
    stream = TarStream("train-000.tar", ("a", "b", "c"), root=str(shards), shuffle_buffer=4)
    firsts = Counter(next(stream.samples(seed, 0)).name for seed in range(200))
    assert len(firsts) == 4
    assert min(firsts.values()) > 30  # of 50 ± 6


def test_stream_from_a_server_and_compressed(shards, serve, tmp_path):
    for file in sorted(shards.glob("*.tar")):
        with tarfile.open(file) as tar:
            pack(tmp_path / "packed" / f"{file.name}.gz", [(m.name, tar.extractfile(m).read()) for m in tar], "w:gz")
    local = TarStream("train-*.tar", ("a", "b", "c"), root=str(shards), shuffle_buffer=5)
    for root, pattern in ((shards, "train-{000..004}.tar"), (tmp_path / "packed", "train-{000..004}.tar.gz")):
        assert values(TarStream(pattern, ("a", "b", "c"), root=serve(root), shuffle_buffer=5), 0, 1) == values(
            local, 0, 1
        )
    gone = TarStream("gone.tar", ("a",), root=serve(shards))
    with pytest.raises(DatasetError, match=r"cannot fetch the shard http://.*/gone\.tar: "):
        list(gone.samples(0, 0))


@pytest.mark.parametrize("kept", [100, 700, 1500, 4000])
def test_connection_that_is_lost_ends_a_stream_in_one_line(shards, kept):
    """An answer in chunks does not say how long it is; the client notes that the last chunk never came."""
    data = (shards / "train-000.tar").read_bytes()[:kept]

    class Breaking(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"%x\r\n" % len(data) + data + b"\r\n")
            self.close_connection = True

        def log_message(self, *_):
            """Keep the tests' output quiet."""

    with HTTPServer(("127.0.0.1", 0), Breaking) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        assert "train-000.tar" in message_of("train-000.tar", ("0", "1", "2"), root=url, cls=TarStream)
        thread.join()


def test_stream_of_settings(shards):
    data = Data(
        dataset="tar_shards", root=str(shards), train="train-*.tar", streaming=True, num_images=35, shuffle_buffer=3
    )
    stream = open_stream(data, num_classes=3)
    assert (stream.classes, stream.num_images, stream.num_shards) == (("0", "1", "2"), 35, 5)
    assert sorted(values(stream, 0, 0)) == list(range(35))
    with pytest.raises(ConfigError, match=r"name them in a file of data\.classes_file, or give model\.num_classes"):
        open_stream(data)
    with pytest.raises(ConfigError, match=r"data\.streaming is True"):
        open_images(data, "train")
    (shards / "names.txt").write_text("x\ny\nz\n", encoding="utf-8")
    named = Data(dataset="tar_shards", root=str(shards), train="train-*.tar", streaming=True, classes_file="names.txt")
    assert open_stream(named).classes == ("x", "y", "z")


def test_corrupt_image_of_a_stream_is_told_when_it_is_loaded(tmp_path):
    pack(tmp_path / "x.tar", [("1.png", png(1)[:50]), ("1.cls", b"0"), ("2.png", png(2)), ("2.cls", b"0")])
    seen = list(TarStream("x.tar", ("a",), root=str(tmp_path)).samples(0, 0))
    bad = next(one for one in seen if one.name.endswith("1.png"))
    with pytest.raises(ImageError, match=r"x\.tar/1\.png: "):
        bad.load("RGB")
    assert np.count_nonzero([one.label == 0 for one in seen]) == 2


@pytest.mark.parametrize("cls", [TarShards, TarStream])
@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_a_header_that_would_fill_the_memory_is_refused(cls, format, tmp_path):
    long = tarfile.TarInfo("a" * 3_000_000 if format == tarfile.GNU_FORMAT else "a.png")
    if format == tarfile.PAX_FORMAT:
        long.pax_headers = {"comment": "0" * 3_000_000}
    pack(tmp_path / "x.tar", [("b.png", png(1)), ("b.cls", b"0"), long], format=format)
    options = {"classes": ("0",)} if cls is TarStream else {}
    assert "is broken or cut off: a header of 30000" in message_of("x.tar", root=str(tmp_path), cls=cls, **options)
