"""Downloads are whole or not there, and each failure has a message."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch

from mmdino.weights import download
from mmdino.weights.files import read_checkpoint, write_tensors

CONTENT = b"x" * 1000


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "hub" / "checkpoints"


@pytest.fixture
def server(tmp_path):
    """Serves a folder and misbehaves at some addresses; ``server.requests`` has the paths."""
    requests = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            requests.append(self.path)
            path = tmp_path / "served" / self.path.lstrip("/")
            if self.path == "/away":
                self.redirect("http://127.0.0.1:1/a.pth")
            elif self.path == "/to_a_file":
                self.redirect("file:///etc/hostname")
            elif self.path == "/in_a_circle":
                self.redirect("/in_a_circle")
            elif self.path in ("/cut", "/cut_chunks"):
                self.send_response(200)
                chunked = self.path == "/cut_chunks"
                kind = ("Transfer-Encoding", "chunked") if chunked else ("Content-Length", "1000")
                self.send_header(*kind)
                self.end_headers()
                self.wfile.write((b"3e8\r\n" if chunked else b"") + CONTENT[:400])
            elif self.path == "/no_number":
                self.send_response(200)
                self.send_header("Content-Length", "many")
                self.end_headers()
            elif path.is_file():
                content = path.read_bytes()
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
            else:
                self.send_error(404)

        def redirect(self, address):
            self.send_response(302)
            self.send_header("Location", address)
            self.end_headers()

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.requests = requests
        server.address = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_files_of_one_name_at_two_addresses_are_kept_apart(tmp_path, cache, server):
    for value in (1, 2):
        write_tensors(tmp_path / "served" / f"{value}" / "model.pth", {"a": torch.tensor(value)})
    for value in (1, 2, 1):
        assert read_checkpoint(f"{server.address}/{value}/model.pth")["a"] == value
    assert server.requests == ["/1/model.pth", "/2/model.pth"]
    assert all(path.name.endswith("_model.pth") for path in cache.iterdir())


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("/absent.pth", "the server answered 404 Not Found"),
        ("/cut", "the connection ended after 400 of 1000 bytes|IncompleteRead"),
        ("/cut_chunks", "IncompleteRead"),
        ("/no_number", "invalid literal"),
        ("/away", "Connection refused"),
        ("/to_a_file", "the server answered 302"),
        ("/in_a_circle", "the server answered 302"),
        ("/a b.pth", "can't contain control characters"),
        ("/\u00fc.pth", "can't encode"),
    ],
)
def test_a_failed_download_leaves_nothing(cache, server, address, message):
    with pytest.raises(ValueError, match=f"cannot be downloaded: .*({message})") as raised:
        read_checkpoint(server.address + address)
    assert str(raised.value).startswith(server.address)
    assert list(cache.iterdir()) == []


def test_an_endless_download_is_stopped(tmp_path, cache, server, monkeypatch):
    monkeypatch.setattr(download, "MAX_BYTES", 999)
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "a.pth").write_bytes(CONTENT)
    with pytest.raises(ValueError, match="cannot be downloaded: it is larger than 999 bytes"):
        read_checkpoint(f"{server.address}/a.pth")
    assert list(cache.iterdir()) == []


def test_many_at_a_time_find_a_whole_file(tmp_path, cache, server):
    write_tensors(tmp_path / "served" / "a.pth", {"a": torch.arange(10000)})
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(read_checkpoint, [f"{server.address}/a.pth"] * 8))
    assert all(torch.equal(content["a"], torch.arange(10000)) for content in found)
    assert len(list(cache.iterdir())) == 1


@pytest.mark.parametrize(
    "address", ["s3://bucket/a.pth", "file:///etc/hostname", "ftp://host/a.pth", "://a.pth"]
)
def test_other_schemes_are_refused(cache, address):
    with pytest.raises(ValueError, match=r"cannot be downloaded: expected a local path or an http"):
        read_checkpoint(address)


@pytest.mark.parametrize("address", ["http://", "http://[::1/a.pth", "http://host:x/a.pth"])
def test_addresses_without_a_host_are_refused(cache, address):
    with pytest.raises(ValueError, match=r"cannot be downloaded"):
        read_checkpoint(address)


def test_a_host_that_does_not_exist_is_named(cache):
    with pytest.raises(ValueError, match=r"http://host\.invalid/a\.pth cannot be downloaded"):
        read_checkpoint("http://host.invalid/a.pth")


def test_a_long_address_has_a_short_name(tmp_path, cache, server):
    name = "x" * 240 + ".pth"
    write_tensors(tmp_path / "served" / name, {"a": torch.ones(1)})
    assert read_checkpoint(f"{server.address}/{name}")["a"] == 1
