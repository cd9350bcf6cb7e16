"""A web server on this machine whose files can be late, cut short, or refused."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from t2t_vit.weights import download


@dataclass
class Served:
    """One file of the server."""

    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    breaks: list[int] = field(default_factory=list)
    """After how many bytes each of the first answers breaks off."""
    ranges: bool = True
    length: bool = True
    """Whether Content-Length is sent."""
    gate: threading.Event | None = None
    """The second half is sent once this is set."""
    then: dict[str, object] | None = None
    """What the file is after its first answer."""


class WebServer(ThreadingHTTPServer):
    """Serves `files`, and keeps which byte ranges were asked for."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, Served] = {}
        self.requests: list[tuple[str, str | None]] = []

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{name}"

    def serve(self, name: str, body: bytes, **behaviour) -> str:
        self.files[f"/{name}"] = Served(body, **behaviour)
        return self.url(name)

    def handle_error(self, request, client_address) -> None:
        """Clients that hang up are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    server: WebServer

    def do_GET(self) -> None:
        self.server.requests.append((self.path, self.headers["Range"]))
        served = self.server.files.get(self.path, Served(b"", status=404))
        body, status, headers = served.body, served.status, dict(served.headers)
        if served.then is not None:
            self.server.files[self.path] = Served(**served.then)
        version = self.headers["If-Range"]
        if served.ranges and self.headers["Range"] and version in (None, headers.get("ETag")):
            start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
            body, status = body[start:], 206
        if served.length:
            headers["Content-Length"] = str(len(body))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if served.gate is not None:
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            served.gate.wait(30)
            body = body[len(body) // 2 :]
        self.wfile.write(body[: served.breaks.pop(0)] if served.breaks else body)

    def log_message(self, format: str, *args: object) -> None:
        """Keep the tests' output quiet."""


@pytest.fixture
def server() -> Iterator[WebServer]:
    with WebServer() as web:
        thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield web
        web.shutdown()
        thread.join()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder, no mirror, no proxy, and no long pauses between tries."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("T2T_VIT_CACHE", str(folder))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("T2T_VIT_WEIGHTS", raising=False)
    monkeypatch.setattr(download, "PAUSES", (0.01,) * 4)
    return folder
