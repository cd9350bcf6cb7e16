"""Fetch a weights file once, whole, and with the published SHA-256, or say in one line why not.

A file whose hash nobody published is trusted when it first comes; its hash is then kept in the cache, and whatever
comes from the same URL later must have it.

The folder is PyTorch's own, so what torch.hub, timm or MMPretrain fetched is found. The environment can say:

    T2T_VIT_CACHE     another cache folder
    T2T_VIT_WEIGHTS   what to use in place of the published URLs: a mirror's base URL, or a folder of files
"""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import socket
import ssl
import string
import sys
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from urllib.parse import quote, unquote, urlsplit

from t2t_vit.errors import ConfigError, DownloadError, HashMismatchError, nearest
from t2t_vit.files import write_text

MAX_BYTES = 4 * 2**30
"""The most that is accepted of one file; the largest published one has a sixteenth of it."""

TIMEOUT = 30.0
"""Seconds without a byte after which a connection counts as dead."""

PAUSES = (0.5, 1.0, 2.0, 4.0)
"""Seconds before each further try."""

_CHUNK = 2**18

# `name-1a2b3c4d.pth`, as torch.hub and OpenMMLab publish; `name-20211220.pth` ends in a day.
_HASH_IN_NAME = re.compile(r"-(?!20\d\d[01]\d[0-3]\d\.)([0-9a-f]{8,64})\.[A-Za-z.]+$")

# Answers after which the same request may succeed a moment later.
_PASSING_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})

_Report = Callable[[int, int | None], object]


class _BrokenOffError(Exception):
    """The connection broke in a way that the next try may survive."""


class _RefusedError(Exception):
    """The file will not come from there however often it is asked for."""


def fetch(
    url: str,
    sha256: str | None = None,
    *,
    size: int | None = None,
    url_mapping: tuple[str, str] | None = None,
    progress: bool = True,
) -> Path:
    """Return the path of the file published at `url`, downloaded unless it is there already.

    The file appears whole or not at all, and of several processes that want it one downloads it.

    Args:
        url: Where the file is published, over http or https.
        sha256: The file's SHA-256 in hexadecimal, or as many of its first digits as are known. Without it,
            the digits in a name like `t2t-vit-t-14-f7378dd5.pth` are taken, or what was recorded at first use.
        size: The published file's size in bytes. Without a hash it tells a wrong file from the right one; what stands
            in for the published file may have another.
        url_mapping: A regular expression and what to put in its place in `url`: another server, or a path on
            this machine, whose file is then used where it is. It goes before `T2T_VIT_WEIGHTS`.
        progress: Whether to report on stderr.

    Raises:
        DownloadError: The file could not be had or not be stored.
        HashMismatchError: The file is another one than was published.
        ConfigError: `url_mapping` is no regular expression.
    """
    name = _file_name(url)
    published = sha256 or _hash_in(name)
    source = _source(url, name, url_mapping)
    target = _cache_path(url, name, published)
    try:
        sha256 = published or _recorded(target)
        if isinstance(source, Path):
            _check(source, sha256, target)
            if sha256 is None:
                _check_kind(source, None)
                _trust(source, target, progress=progress)
            return source
        if sha256 is None or not _is_good(target, sha256):
            target.parent.mkdir(parents=True, exist_ok=True)
            with _locked(target, progress=progress):
                sha256 = published or _recorded(target)
                if not _is_good(target, sha256):  # another process may have finished it meanwhile
                    _download(source, target, sha256, size if source == url else None, progress=progress)
                if sha256 is None:
                    _trust(target, target, progress=progress)
    except DownloadError:
        raise
    except (_RefusedError, OSError) as error:
        why = " ".join(str(error).split())
        raise DownloadError(
            f"{source} could not be downloaded: {why}. Put the file at {target}, or set T2T_VIT_WEIGHTS to a "
            f"mirror's URL or to a folder that has {name}; T2T_VIT_CACHE moves the cache {cache_folder()}."
        ) from error
    return target


def cache_folder() -> Path:
    """Return the folder of downloaded files: `T2T_VIT_CACHE` if that is set, else torch.hub's.

    Source: PyTorch, torch/hub.py, _get_torch_home and load_state_dict_from_url.
    """
    if own := os.environ.get("T2T_VIT_CACHE"):
        return _home(own)
    caches = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    return _home(os.environ.get("TORCH_HOME") or caches / "torch") / "hub" / "checkpoints"


def _home(path: str | Path) -> Path:
    """Return `path`, ``~`` being the user's home, if there is one."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 -- that of pathlib raises where there is none


def _file_name(url: str) -> str:
    try:
        name = unquote(urlsplit(url).path).rpartition("/")[2]
    except ValueError as error:
        raise DownloadError(f"{url} is not a URL: {error}.") from None
    if not _is_http(url):
        raise DownloadError(f"{url} is not an http or https URL.")
    if name in ("", ".", "..") or "\\" in name or not name.isprintable():
        raise DownloadError(f"{url} does not end in the name of a file.")
    return name


def _is_http(place: str) -> bool:
    return place.lower().startswith(("http://", "https://"))


def _hash_in(name: str) -> str | None:
    match = _HASH_IN_NAME.search(name)
    return match[1] if match else None


def _source(url: str, name: str, url_mapping: tuple[str, str] | None) -> str | Path:
    """Return the URL to download from, or the path of the file that takes its place."""
    place = os.environ.get("T2T_VIT_WEIGHTS")
    if url_mapping is not None:
        pattern, replacement = url_mapping
        try:
            mapped, count = re.subn(pattern, replacement, url)
        except re.error as error:
            raise ConfigError(f"url_mapping={url_mapping!r} is no regular expression: {error}.") from error
        if not count:
            warnings.warn(f"url_mapping={url_mapping!r} has no effect on {url}.", stacklevel=3)
    elif place and _is_http(place):
        mapped = f"{place.rstrip('/')}/{quote(name)}"
    else:
        mapped = str(_home(place) / name) if place else url
    if not _is_http(mapped) and "://" in mapped:
        raise DownloadError(f"{mapped}, which stands for {url}, is neither an http or https URL nor a path.")
    return mapped if _is_http(mapped) else Path(mapped)


def _cache_path(url: str, name: str, sha256: str | None) -> Path:
    """Return where the file is kept: by its name if that carries its hash, else in a folder of its own."""
    named = _hash_in(name)
    if named and sha256 and _agree(named, sha256):
        return cache_folder() / name
    return cache_folder() / hashlib.sha256(url.encode()).hexdigest()[:8] / name


def _agree(one: str, other: str) -> bool:
    """Whether two hashes, each perhaps its first digits only, can be of one file."""
    one, other = one.lower(), other.lower()
    return one.startswith(other) or other.startswith(one)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_good(path: Path, sha256: str | None) -> bool:
    return path.is_file() and (sha256 is None or _agree(_sha256(path), sha256))


def _record(target: Path) -> Path:
    """Return where the hash of a file without a published one is kept, in the form of sha256sum."""
    return target.with_name(f"{target.name}.sha256")


def _recorded(target: Path) -> str | None:
    try:
        digest = _record(target).read_text(encoding="utf-8").partition(" ")[0]
    except (FileNotFoundError, NotADirectoryError):
        return None
    if re.fullmatch(r"[0-9a-f]{64}", digest) is None:
        raise DownloadError(f"{_record(target)} does not begin with a SHA-256. Delete it to trust the file anew.")
    return digest


def _trust(path: Path, target: Path, *, progress: bool) -> None:
    """Record the hash of `path`, which later files in the place of `target` must have, and say so."""
    digest = _sha256(path)
    record = _record(target)
    try:
        write_text(record, f"{digest}  {target.name}\n")
    except OSError as error:
        what = f"and {record} cannot be written ({error.strerror})."
    else:
        what = f"so it is trusted on first use: its SHA-256 {digest} is now in {record}."
    if progress:
        _say(f"No hash was published for {target.name}, {what}")


def _check(path: Path, sha256: str | None, target: Path) -> None:
    """Refuse `path`, a file of the user's, unless it is there and has the hash."""
    try:
        if not path.is_file():
            there = [file.name for file in path.parent.iterdir()] if path.parent.is_dir() else []
            raise DownloadError(
                f"There is no file {path}, which T2T_VIT_WEIGHTS or url_mapping names. Put it there, or "
                f"unset that to download it.{nearest(path.name, there)}"
            )
        digest = _sha256(path)
    except PermissionError as error:
        raise DownloadError(f"{path}, which T2T_VIT_WEIGHTS or url_mapping names, cannot be read.") from error
    if sha256 is not None and not _agree(digest, sha256):
        raise HashMismatchError(_mismatch(str(path), digest, sha256, target))


def _check_kind(path: Path, size: int | None) -> None:
    """Refuse what cannot be a weights file, before it is trusted for good.

    Raises:
        DownloadError: It begins like none, or is a tenth larger or smaller than the published file.
    """
    name = path.name.removeprefix(".").removesuffix(".part")
    with path.open("rb") as file:
        head = file.read(9)
    # A zip archive, a pickle, or safetensors behind the length of their header.
    if not (head.startswith((b"PK\x03\x04", b"\x80")) or head[4:] == b"\0\0\0\0{"):
        raise DownloadError(f"What came for {name} is no weights file: it begins with {head!r}.")
    actual = path.stat().st_size
    if size is not None and abs(actual - size) > size / 10:
        raise DownloadError(f"What came for {name} has {actual:,} bytes, and the published file {size:,}.")


def _mismatch(what: str, digest: str, sha256: str, target: Path) -> str:
    recorded = _record(target)
    if recorded.is_file():
        return (
            f"{what} is not the file that was trusted on first use: its SHA-256 begins with {digest[:8]}, not with "
            f"{sha256[:8]}. If its publisher has replaced it, delete {recorded}; else get it from another place."
        )
    return (
        f"{what} is not the published file: its SHA-256 begins with {digest[: max(8, len(sha256))]}, "
        f"not with {sha256}. Get it from another place."
    )


@contextmanager
def _locked(target: Path, *, progress: bool) -> Iterator[None]:
    """Hold the right to write `target` among all processes."""
    from filelock import FileLock, Timeout

    lock = FileLock(target.with_name(f".{target.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if progress:
            _say(f"Waiting for another process that fetches {target.name}")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _download(url: str, target: Path, sha256: str | None, size: int | None, *, progress: bool) -> None:
    if target.exists():
        warnings.warn(f"{target} has not the SHA-256 {sha256}; it is fetched again.", stacklevel=3)
    # The lock makes this name ours, so what a killed process left behind is overwritten.
    partial = target.with_name(f".{target.name}.part")
    try:
        with partial.open("wb") as file:
            with _reporting(url, target, enabled=progress) as report:
                _receive(url, file, report)
            file.flush()
            os.fsync(file.fileno())
        if sha256 is not None and not _agree(digest := _sha256(partial), sha256):
            raise HashMismatchError(_mismatch(f"What {url} sent", digest, sha256, target))
        if sha256 is None:
            _check_kind(partial, size)
        partial.replace(target)
        _sync_folder(target.parent)
    finally:
        partial.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make a rename in `folder` outlast a power failure."""
    if os.name == "nt":  # which cannot open a folder
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _receive(url: str, file: IO[bytes], report: _Report) -> None:
    """Write all of `url` to `file`, over as many connections as it takes."""
    version: str | None = None
    for pause in (*PAUSES, None):
        try:
            with _opened(url, file.tell(), version) as response:
                version = _version(response) or version
                _copy(response, file, report)
                return
        except _BrokenOffError as error:
            if pause is None:
                raise _RefusedError(f"{error} ({len(PAUSES) + 1} tries)") from error
            time.sleep(pause)


class _WebOnly(urllib.request.HTTPRedirectHandler):
    """Follows a redirect to the web only, and from https only to https."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """Return the request that follows, or refuse."""
        if not _is_http(newurl) or (req.type == "https" and not newurl.lower().startswith("https:")):
            raise _RefusedError(f"the server sends on to {newurl}, which is not safe to follow")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


@contextmanager
def _opened(url: str, offset: int, version: str | None) -> Iterator[http.client.HTTPResponse]:
    """Ask for `url` from byte `offset` on, or for all of it should it not be `version` any more."""
    headers = {"User-Agent": "t2t-vit"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
        if version:
            headers["If-Range"] = version
    try:
        # Letters beyond ASCII stand in addresses percent-encoded.
        request = urllib.request.Request(quote(url, safe=string.punctuation), headers=headers)
        response = urllib.request.build_opener(_WebOnly).open(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        answer = f"the server answered {error.code} {error.reason}"
        raise (_BrokenOffError if error.code in _PASSING_STATUS else _RefusedError)(answer) from error
    except urllib.error.URLError as error:
        lasting = isinstance(error.reason, ConnectionRefusedError | socket.gaierror | ssl.SSLCertVerificationError)
        answer = f"no connection to {urlsplit(url).netloc} ({error.reason})"
        raise (_RefusedError if lasting else _BrokenOffError)(answer) from error
    except (OSError, http.client.HTTPException) as error:
        raise _BrokenOffError(f"no answer from {urlsplit(url).netloc} ({error})") from error
    with response:
        yield response


def _version(response: http.client.HTTPResponse) -> str | None:
    """Return what tells this version of the file from another, fit for If-Range."""
    tag = response.headers["ETag"]
    return tag if tag and not tag.startswith("W/") else response.headers["Last-Modified"]


def _copy(response: http.client.HTTPResponse, file: IO[bytes], report: _Report) -> None:
    """Append the body of `response` to `file`, or begin `file` anew if the server sends all of it again."""
    if response.status != http.HTTPStatus.PARTIAL_CONTENT:
        file.seek(0)
        file.truncate()
    elif not response.headers.get("Content-Range", "").startswith(f"bytes {file.tell()}-"):
        raise _RefusedError("the server sent another part of the file than was asked for")
    if response.headers.get_content_type() == "text/html":
        raise _RefusedError("the server sent an HTML page, an error or a log-in most likely")
    length = response.headers["Content-Length"]
    total = file.tell() + int(length) if length and length.isdecimal() else None
    if total is not None and total > MAX_BYTES:
        raise _RefusedError(f"it has {total:,} bytes, more than the {MAX_BYTES:,} that are accepted")
    while chunk := _read(response):
        file.write(chunk)
        if file.tell() > MAX_BYTES:
            raise _RefusedError(f"it has more than the {MAX_BYTES:,} bytes that are accepted")
        report(file.tell(), total)
    if total is not None and file.tell() != total:
        raise _BrokenOffError(f"the connection ended after {file.tell():,} of {total:,} bytes")


def _read(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read1(_CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise _BrokenOffError(f"the connection broke off ({error})") from error


@contextmanager
def _reporting(url: str, target: Path, *, enabled: bool) -> Iterator[_Report]:
    """Give a function that is told the bytes so far and in all; a person sees a bar, a log one line."""
    if not enabled or not _is_terminal():
        if enabled:
            _say(f"Downloading {url} to {target}")
        yield lambda _done, _total: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(target.name, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _is_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


def _say(line: str) -> None:
    if sys.stderr is not None:  # None in a program without a console
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
