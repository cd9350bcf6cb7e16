"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import stat

import pytest

from t2t_vit.errors import DownloadError, WriteError
from t2t_vit.files import json_lines, write_text, written_whole


def test_file_appears_at_the_end_and_its_folder_with_it(tmp_path):
    path = tmp_path / "a" / "b" / "run.json"
    with written_whole(path) as temporary:
        assert temporary.parent == path.parent
        assert temporary.suffix == ".json"
        temporary.write_text("new", encoding="utf-8")
        assert not path.exists()
    assert path.read_text(encoding="utf-8") == "new"
    assert list(path.parent.iterdir()) == [path]


def test_older_file_is_replaced_at_once(tmp_path):
    path = tmp_path / "run.json"
    write_text(path, "old")
    with written_whole(path) as temporary:
        temporary.write_text("new", encoding="utf-8")
        assert path.read_text(encoding="utf-8") == "old"
    assert path.read_text(encoding="utf-8") == "new"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("older", [None, "old"])
def test_failure_leaves_the_older_file_and_nothing_temporary(tmp_path, error, older):
    path = tmp_path / "run.json"
    if older is not None:
        path.write_text(older, encoding="utf-8")

    def write():
        with written_whole(path) as temporary:
            temporary.write_text("half", encoding="utf-8")
            raise error

    with pytest.raises(error):
        write()
    assert [p.read_text(encoding="utf-8") for p in tmp_path.iterdir()] == ([] if older is None else [older])


def test_failure_of_the_last_step_leaves_nothing_temporary(tmp_path):
    (tmp_path / "run.json").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_text(tmp_path / "run.json", "new")
    assert [p.name for p in tmp_path.iterdir()] == ["run.json"]


def test_what_cannot_be_written_is_called_by_its_own_name(tmp_path, monkeypatch):
    def said(path):
        with pytest.raises(WriteError) as raised:
            write_text(path, "new")
        return str(raised.value)

    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    for path, why in (("file/a", "Not a directory"), ("file/b/a", "Not a directory"), ("folder", "Is a directory")):
        assert said(tmp_path / path) == f"cannot write to {tmp_path / path}: {why}"

    def fail(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    assert said(tmp_path / "full") == f"cannot write to {tmp_path / 'full'}: No space left on device"
    monkeypatch.setattr(os, "open", fail)
    assert said(tmp_path / "a") == f"cannot write to {tmp_path / 'a'}: No space left on device"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


@pytest.mark.parametrize("error", [FileNotFoundError(errno.ENOENT, "No such file", "other"), OSError("no number"),
                                   DownloadError("it is gone")])  # fmt: skip
def test_other_errors_of_a_block_that_writes_stay_their_own(tmp_path, error):
    def write():
        with written_whole(tmp_path / "run.json"):
            raise error

    with pytest.raises(OSError, match=r"other|no number|it is gone") as raised:
        write()
    assert raised.value is error


def test_content_is_on_disk_before_the_name_is(tmp_path, monkeypatch):
    """Else a power cut could leave an empty file under the final name."""
    path, events = tmp_path / "run.json", []
    flush, rename = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (events.append(("flush", path.exists())), flush(handle))[1])
    monkeypatch.setattr(os, "replace", lambda *a, **k: (events.append(("rename", path.exists())), rename(*a, **k))[1])
    write_text(path, "new")
    assert [event for event in events if event[0] == "flush"] == [("flush", False), ("flush", True)]


@pytest.mark.skipif(os.name != "posix", reason="POSIX permissions")
@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_others_may_read_it_as_far_as_the_umask_says(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        write_text(tmp_path / "run.json", "new")
        assert os.umask(mask) == mask
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "run.json").stat().st_mode) == mode


def test_text_is_utf8_whatever_the_locale(tmp_path):
    write_text(tmp_path / "run.txt", "×–é")
    assert (tmp_path / "run.txt").read_bytes() == "×–é".encode()


def test_files_are_flushed_where_only_what_may_be_written_can_be(tmp_path, monkeypatch):
    """As on Windows, which cannot flush folders either."""
    fcntl = pytest.importorskip("fcntl", reason="what a handle is for is asked as POSIX has it")
    flushed = []

    def fsync(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode) or fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, "Bad file descriptor")
        flushed.append(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    write_text(tmp_path / "run.json", "new")
    assert (tmp_path / "run.json").read_text(encoding="utf-8") == "new"
    assert len(flushed) == 1


def test_lines_of_a_log_that_are_cut_are_told_from_those_that_are_whole():
    text = '{"step": 1}\n{"step": 2, "lo{"step": 3}\n\n12\n{"name": "\u2028"}\n{"st'
    assert list(json_lines(text)) == [{"step": 1}, None, None, {"name": "\u2028"}, None]
