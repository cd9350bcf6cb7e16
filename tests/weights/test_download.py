from __future__ import annotations

import hashlib
import io
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.client import HTTPMessage
from pathlib import Path

import pytest

from t2t_vit.errors import ConfigError, DownloadError, HashMismatchError
from t2t_vit.weights import download
from t2t_vit.weights.download import cache_folder, fetch

BODY = b"PK\x03\x04" + bytes(range(256)) * 4096  # 1 MiB that begins like a zip archive
HASH = hashlib.sha256(BODY).hexdigest()
NAME = f"model-{HASH[:8]}.pth"


def files(folder: Path) -> list[str]:
    """What a download leaves behind, without the lock."""
    return sorted(file.name for file in folder.rglob("*") if file.is_file() and file.suffix != ".lock")


def python(code: str, **options) -> subprocess.Popen[str]:
    code = f"from t2t_vit.weights.download import fetch\n{code}"
    return subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, **options)


def test_file_is_stored_under_its_name_and_fetched_once(server, cache):
    url = server.serve(NAME, BODY)
    assert fetch(url) == cache / NAME
    assert (cache / NAME).read_bytes() == BODY
    assert fetch(url) == cache / NAME
    assert len(server.requests) == 1
    assert files(cache) == [NAME]


@pytest.mark.skipif(os.name == "nt", reason="POSIX modes")
def test_downloaded_file_has_the_mode_of_any_new_file(server, cache):
    fetched = fetch(server.serve(NAME, BODY))
    (cache / "other").touch()
    assert stat.S_IMODE(fetched.stat().st_mode) == stat.S_IMODE((cache / "other").stat().st_mode)


@pytest.mark.parametrize("sha256", [HASH, HASH[:8], HASH[:12].upper()])
def test_full_and_partial_hash_are_accepted(server, cache, sha256):
    assert fetch(server.serve("model.pth", BODY), sha256).read_bytes() == BODY


@pytest.mark.parametrize("sha256", ["0" * 64, "0" * 8, HASH[:-1] + ("0" if HASH[-1] != "0" else "1")])
def test_other_file_than_published_is_discarded(server, cache, sha256):
    with pytest.raises(HashMismatchError, match=f"begins with {HASH[:8]}"):
        fetch(server.serve("model.pth", BODY), sha256)
    assert files(cache) == []


def test_hash_in_the_name_is_checked(server, cache):
    with pytest.raises(HashMismatchError, match="not with 0badc0de"):
        fetch(server.serve("model-0badc0de.pth", BODY))
    assert files(cache) == []


def test_day_in_the_name_is_no_hash(server, cache):
    assert fetch(server.serve("model-20211220.pth", BODY)).read_bytes() == BODY


def test_corrupted_cached_file_is_fetched_again_and_said(server, cache):
    cache.mkdir()
    (cache / NAME).write_bytes(BODY[:-1] + b"?")
    with pytest.warns(UserWarning, match="fetched again"):
        fetch(server.serve(NAME, BODY))
    assert (cache / NAME).read_bytes() == BODY


def test_corrupted_cached_file_is_not_used_without_a_network(cache):
    cache.mkdir()
    (cache / NAME).write_bytes(BODY[:-1])
    with pytest.warns(UserWarning, match="fetched again"), pytest.raises(DownloadError):
        fetch(closed_url(NAME))


def test_files_of_one_name_from_two_places_are_kept_apart(server, cache):
    one = fetch(server.serve("a/weights.pth", b"\x80one"))
    two = fetch(server.serve("b/weights.pth", b"\x80two"))
    assert (one.read_bytes(), two.read_bytes()) == (b"\x80one", b"\x80two")
    assert one.name == two.name == "weights.pth"


def test_absent_file_is_asked_for_once(server, cache):
    with pytest.raises(DownloadError, match="404") as caught:
        fetch(server.url(NAME))
    assert len(server.requests) == 1
    assert files(cache) == []
    message = str(caught.value)
    for part in (server.url(NAME), str(cache / NAME), "T2T_VIT_WEIGHTS", "T2T_VIT_CACHE"):
        assert part in message
    assert "\n" not in message


def test_server_that_is_busy_is_asked_again(server, cache):
    with pytest.raises(DownloadError, match="503"):
        fetch(server.serve(NAME, b"", status=503))
    assert len(server.requests) == 5


def closed_url(name: str) -> str:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{closed.getsockname()[1]}/{name}"


def test_no_network_is_one_line_that_says_where_the_file_belongs(cache):
    with pytest.raises(DownloadError, match=r"no connection to 127\.0\.0\.1") as caught:
        fetch(closed_url(NAME))
    assert str(cache / NAME) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert files(cache) == []


def test_broken_connection_is_continued_where_it_broke(server, cache):
    url = server.serve(NAME, BODY, breaks=[300_000, 200_000])
    assert fetch(url).read_bytes() == BODY
    assert [asked for _, asked in server.requests] == [None, "bytes=300000-", "bytes=500000-"]


def test_server_without_ranges_is_asked_for_all_again(server, cache):
    url = server.serve(NAME, BODY, breaks=[300_000], ranges=False)
    assert fetch(url).read_bytes() == BODY
    assert len(server.requests) == 2


def test_file_that_changes_meanwhile_is_begun_anew(server, cache):
    newer = {"body": BODY[:4] + BODY[::-1], "headers": {"ETag": '"2"'}}
    url = server.serve("model.pth", BODY, headers={"ETag": '"1"'}, breaks=[300_000], then=newer)
    assert fetch(url).read_bytes() == BODY[:4] + BODY[::-1]
    assert len(server.requests) == 2


def test_page_in_place_of_a_file_is_refused(server, cache):
    with pytest.raises(DownloadError, match="HTML page"):
        fetch(server.serve("model.pth", b"<html>", headers={"Content-Type": "text/html; charset=utf-8"}))
    assert files(cache) == []


def test_file_that_stays_short_is_refused_whole(server, cache):
    with pytest.raises(DownloadError, match=r"ended after 1,000 of 1,048,580 bytes \(5 tries\)"):
        fetch(server.serve("model.pth", BODY, breaks=[1000] * 9, ranges=False))
    assert files(cache) == []


def test_part_of_the_file_that_was_not_asked_for_is_refused(server, cache):
    served = {"status": 206, "headers": {"Content-Range": "bytes 7-9/10"}, "ranges": False}
    with pytest.raises(DownloadError, match="another part"):
        fetch(server.serve("model.pth", BODY, **served))


@pytest.mark.parametrize(("length", "said"), [(True, "it has 1,048,580 bytes"), (False, "more than the 1,000")])
def test_file_beyond_the_limit_is_refused(server, cache, monkeypatch, length, said):
    monkeypatch.setattr(download, "MAX_BYTES", 1000)
    with pytest.raises(DownloadError, match=said):
        fetch(server.serve(NAME, BODY, length=length))
    assert files(cache) == []


def test_silent_server_is_given_up(server, cache, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", 0.1)
    monkeypatch.setattr(download, "PAUSES", ())
    gate = threading.Event()
    with pytest.raises(DownloadError, match="broke off"):
        fetch(server.serve(NAME, BODY, gate=gate))
    gate.set()
    assert files(cache) == []


def test_redirect_is_followed_on_the_web_only(server, cache, tmp_path):
    (tmp_path / NAME).write_bytes(BODY)
    server.serve("there.pth", BODY)
    fetch(server.serve("good.pth", b"", status=302, headers={"Location": server.url("there.pth")}), HASH)
    for location in ((tmp_path / NAME).as_uri(), "ftp://127.0.0.1/" + NAME):
        with pytest.raises(DownloadError, match=r"not safe|not allowed"):
            fetch(server.serve("bad.pth", b"", status=302, headers={"Location": location}), HASH)


def test_redirect_from_https_to_http_is_refused():
    request = urllib.request.Request("https://host/a.pth")
    redirect = partial(download._WebOnly().redirect_request, request, io.BytesIO(), 302, "", HTTPMessage())
    assert redirect("https://other/a.pth") is not None
    with pytest.raises(download._RefusedError, match="not safe"):
        redirect("http://host/a.pth")


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://host/a.pth", "a.pth", "http://host/", "http://host/.."])
def test_what_is_no_web_address_of_a_file_is_refused(cache, url):
    with pytest.raises(DownloadError, match=r"URL|name of a file"):
        fetch(url)


def test_mirror_stands_for_the_published_place(server, cache, monkeypatch):
    server.serve(f"mirror/{NAME}", BODY)
    monkeypatch.setenv("T2T_VIT_WEIGHTS", server.url("mirror/"))
    assert fetch(f"https://published.invalid/v0/{NAME}") == cache / NAME
    assert server.requests == [(f"/mirror/{NAME}", None)]


def test_folder_of_files_is_used_in_place(cache, tmp_path, monkeypatch):
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / NAME).write_bytes(BODY)
    monkeypatch.setenv("T2T_VIT_WEIGHTS", str(folder))
    assert fetch(f"https://published.invalid/v0/{NAME}") == folder / NAME
    assert not cache.exists()


def test_file_of_a_folder_is_checked_too(cache, tmp_path, monkeypatch):
    (tmp_path / NAME).write_bytes(b"other")
    monkeypatch.setenv("T2T_VIT_WEIGHTS", str(tmp_path))
    with pytest.raises(HashMismatchError, match=NAME):
        fetch(f"https://published.invalid/v0/{NAME}")


def test_file_that_a_folder_lacks_names_the_nearest(cache, tmp_path, monkeypatch):
    (tmp_path / "model-00000000.pth").write_bytes(BODY)
    monkeypatch.setenv("T2T_VIT_WEIGHTS", str(tmp_path))
    with pytest.raises(DownloadError, match=r"Did you mean 'model-00000000\.pth'"):
        fetch(f"https://published.invalid/v0/{NAME}")


def test_url_mapping_leads_to_another_server_or_a_file(server, cache, tmp_path, monkeypatch):
    monkeypatch.setenv("T2T_VIT_WEIGHTS", "/nowhere")
    server.serve(f"x/{NAME}", BODY)
    published = f"https://published.invalid/v0/{NAME}"
    assert fetch(published, url_mapping=(r"https://.*/", server.url("x/"))).read_bytes() == BODY
    (tmp_path / NAME).write_bytes(BODY)
    assert fetch(published, url_mapping=(r"https://.*/", f"{tmp_path}/")) == tmp_path / NAME


def test_url_mapping_that_does_nothing_is_said(server, cache):
    with pytest.warns(UserWarning, match="no effect"):
        fetch(server.serve(NAME, BODY), url_mapping=("ftp:", "http:"))
    with pytest.raises(ConfigError, match="regular expression"):
        fetch(server.url(NAME), url_mapping=("(", ""))


def test_two_processes_download_once(server, cache):
    gate = threading.Event()
    code = f"print(fetch({server.serve(NAME, BODY, gate=gate)!r}).stat().st_size)"
    first = python(code, stdout=subprocess.PIPE)
    while not server.requests:
        assert first.poll() is None
        time.sleep(0.01)
    second = python(code, stdout=subprocess.PIPE)
    assert second.stderr is not None
    assert "Waiting for another process" in second.stderr.readline()
    gate.set()
    for process in (first, second):
        assert process.communicate(timeout=30)[0].strip() == str(len(BODY))
        assert process.returncode == 0
    assert len(server.requests) == 1


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_interrupt_leaves_nothing_behind(server, cache):
    gate = threading.Event()
    process = python(f"fetch({server.serve(NAME, BODY, gate=gate)!r})")
    part = cache / f".{NAME}.part"
    while not (part.is_file() and part.stat().st_size):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert "KeyboardInterrupt" in process.communicate(timeout=30)[1]
    gate.set()
    assert files(cache) == []


@pytest.mark.skipif(os.name == "nt", reason="POSIX limits")
def test_full_disk_is_one_line_and_leaves_nothing_behind(server, cache):
    code = "import resource, sys\nresource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\ntry:\n"
    code += f"    fetch({server.serve(NAME, BODY)!r})\nexcept Exception as error:\n    sys.exit(repr(error))"
    _, stderr = python(code).communicate(timeout=30)
    assert "DownloadError" in stderr
    assert "File too large" in stderr
    assert files(cache) == []


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
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
def test_read_only_cache_serves_what_it_has_and_says_what_it_cannot_store(server, cache, monkeypatch):
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to other users
        folder = Path(name)
        folder.chmod(0o755)
        monkeypatch.setenv("T2T_VIT_CACHE", name)
        there = fetch(server.serve(NAME, BODY))
        absent = server.serve("other.pth", BODY)
        with read_only(folder):
            assert fetch(server.url(NAME)) == there
            with pytest.raises(DownloadError, match="Permission denied"):
                fetch(absent)


def test_cache_that_cannot_be_made_is_one_line(server, cache):
    cache.touch()  # a file where the folder should be
    with pytest.raises(DownloadError, match="could not be downloaded"):
        fetch(server.serve(NAME, BODY))
    assert server.requests == []


def test_what_a_killed_process_left_is_overwritten(server, cache):
    cache.mkdir()
    (cache / f".{NAME}.part").write_bytes(b"half")
    assert fetch(server.serve(NAME, BODY)).read_bytes() == BODY
    assert files(cache) == [NAME]


def test_log_gets_one_line_and_a_terminal_a_bar(server, cache, monkeypatch):
    log = io.StringIO()
    monkeypatch.setattr(sys, "stderr", log)
    fetch(server.serve("a.pth", BODY), HASH)
    assert log.getvalue().count("\n") == 1
    assert server.url("a.pth") in log.getvalue()

    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    fetch(server.serve("b.pth", BODY))
    assert "b.pth" in terminal.getvalue()
    assert "1.0/1.0 MB" in terminal.getvalue()

    silent = io.StringIO()
    monkeypatch.setattr(sys, "stderr", silent)
    fetch(server.serve("c.pth", BODY), progress=False)
    assert silent.getvalue() == ""


def test_a_file_without_a_published_hash_is_trusted_on_first_use_and_held_to_it(server, cache, capfd):
    url = server.serve("a.pth", BODY)
    fetched = fetch(url)
    record = fetched.with_name("a.pth.sha256")
    assert record.read_text() == f"{HASH}  a.pth\n"
    assert f"its SHA-256 {HASH} is now in {record}" in capfd.readouterr().err

    assert fetch(url) == fetched
    assert len(server.requests) == 1
    assert capfd.readouterr().err == ""

    fetched.unlink()
    server.serve("a.pth", BODY[:4] + BODY[::-1])
    with pytest.raises(HashMismatchError, match=f"trusted on first use.*delete {record}"):
        fetch(url)
    assert not fetched.exists()
    record.unlink()
    assert fetch(url).read_bytes() == BODY[:4] + BODY[::-1]


@pytest.mark.parametrize("body", [b"<html>oops</html>", b"", b"\x1f\x8b\x08" + BODY])
def test_what_is_no_weights_file_is_not_trusted(server, cache, body):
    url = server.serve("a.pth", body)
    with pytest.raises(DownloadError, match=r"What came for a\.pth is no weights file"):
        fetch(url)
    assert files(cache) == []
    server.serve("a.pth", BODY)
    assert fetch(url).read_bytes() == BODY


def test_a_file_of_another_size_than_was_published_is_not_trusted(server, cache):
    url = server.serve("a.pth", BODY[: len(BODY) // 2])
    with pytest.raises(DownloadError, match=f"has {len(BODY) // 2:,} bytes, and the published file {len(BODY):,}"):
        fetch(url, size=len(BODY))
    assert files(cache) == []
    server.serve("a.pth", BODY)
    assert fetch(url, size=len(BODY)).read_bytes() == BODY


@pytest.mark.parametrize("head", [b"\x80\x02", b"\x50\x01\0\0\0\0\0\0{"])
def test_pickles_and_safetensors_are_weights_files(server, cache, head):
    assert fetch(server.serve("a.pth", head + BODY)).stat().st_size == len(head + BODY)


def test_a_missing_mirror_is_told_in_one_sentence(cache, tmp_path, monkeypatch):
    monkeypatch.setenv("T2T_VIT_WEIGHTS", str(tmp_path / "gone"))
    with pytest.raises(DownloadError, match="There is no file") as error:
        fetch("https://example.org/a.pth")
    assert "could not be downloaded" not in str(error.value)


def test_a_cached_file_that_changed_since_first_use_is_fetched_again(server, cache):
    url = server.serve("a.pth", BODY)
    fetched = fetch(url)
    fetched.write_bytes(BODY[1:])
    with pytest.warns(UserWarning, match="has not the SHA-256"):
        assert fetch(url).read_bytes() == BODY


def test_a_file_of_the_users_is_held_to_the_first_use_too(server, cache, tmp_path, monkeypatch):
    url = server.serve("a.pth", BODY)
    monkeypatch.setenv("T2T_VIT_WEIGHTS", str(tmp_path))
    (tmp_path / "a.pth").write_bytes(BODY)
    assert fetch(url) == tmp_path / "a.pth"
    (tmp_path / "a.pth").write_bytes(BODY[1:])
    with pytest.raises(HashMismatchError, match="trusted on first use"):
        fetch(url)
    monkeypatch.delenv("T2T_VIT_WEIGHTS")
    assert fetch(url).read_bytes() == BODY


def test_a_file_that_came_but_was_not_recorded_is_recorded_next_time(server, cache):
    url = server.serve("a.pth", BODY)
    record = fetch(url).with_name("a.pth.sha256")
    record.unlink()
    fetch(url)
    assert record.read_text().startswith(HASH)
    record.write_text("no hash")
    with pytest.raises(DownloadError, match="Delete it to trust the file anew"):
        fetch(url)


def test_a_cache_that_cannot_be_written_does_not_keep_the_users_own_file_away(cache, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("T2T_VIT_CACHE", str(tmp_path / "file" / "cache"))
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("T2T_VIT_WEIGHTS", str(tmp_path))
    (tmp_path / "a.pth").write_bytes(BODY)
    assert fetch("https://example.org/a.pth") == tmp_path / "a.pth"
    assert "cannot be written" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({"T2T_VIT_CACHE": "/a", "TORCH_HOME": "/b"}, "/a"),
        ({"TORCH_HOME": "/b", "XDG_CACHE_HOME": "/c"}, "/b/hub/checkpoints"),
        ({"XDG_CACHE_HOME": "/c"}, "/c/torch/hub/checkpoints"),
        ({"HOME": "/home/someone"}, "/home/someone/.cache/torch/hub/checkpoints"),
    ],
)
def test_cache_folder_is_that_of_torch_hub_unless_set(monkeypatch, environment, folder):
    for name in ("T2T_VIT_CACHE", "TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert cache_folder() == Path(folder)
    if "T2T_VIT_CACHE" not in environment:
        import torch.hub

        assert Path(torch.hub.get_dir()) / "checkpoints" == cache_folder()


def test_letters_beyond_ascii_are_encoded(serve, cache, tmp_path):
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "für uns.pth").write_bytes(BODY)
    assert fetch(f"{serve(folder)}/für uns.pth").read_bytes() == BODY


def test_what_is_no_address_is_told(cache):
    with pytest.raises(DownloadError, match=r"http://\[x/a\.pth is not a URL"):
        fetch("http://[x/a.pth")
