"""Short texts from servers: an endless one is not read to its end."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from kubewright.artifacts import download
from kubewright.artifacts.download import SMALL_TEXT, client, fetch_text
from kubewright.errors import Failed
from tests.unit.artifacts.conftest import Upstream


def test_a_text_of_exactly_the_limit_is_accepted(upstream: Upstream) -> None:
    upstream.files["/sums"] = b"a" * SMALL_TEXT
    with client() as http:
        assert fetch_text(http, f"{upstream.base}/sums") == "a" * SMALL_TEXT


def test_one_byte_more_is_refused_with_the_address_and_what_to_do(upstream: Upstream) -> None:
    upstream.files["/sums"] = b"a" * (SMALL_TEXT + 1)
    with client() as http, pytest.raises(Failed) as caught:
        fetch_text(http, f"{upstream.base}/sums")
    assert str(caught.value) == f"{upstream.base}/sums: larger than 4 MiB, not the short text expected; use another --source"


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server without a Content-Length that sends until the other end hangs up."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            try:
                while True:
                    self.wfile.write(b"a" * 65536)
            except OSError:
                self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/sums"
    server.shutdown()
    server.server_close()
    thread.join()


def test_an_endless_text_is_refused_at_the_limit(endless: str) -> None:
    with client() as http, pytest.raises(Failed, match="larger than 4 MiB"):
        fetch_text(http, endless)


def test_a_compressed_text_is_measured_uncompressed(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "SMALL_TEXT", 1 << 20)
    upstream.files["/sums"] = gzip.compress(b"a" * (1 << 21))
    upstream.headers["/sums"] = {"Content-Encoding": "gzip"}
    with client() as http, pytest.raises(Failed, match="larger than 1 MiB"):
        fetch_text(http, f"{upstream.base}/sums")
