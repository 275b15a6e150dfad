"""A local server with upstream's layout, and faults on request."""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from kubewright.artifacts import Cache
from tests.support.mirrors import BASIC, FILE, IMAGE, MANIFEST, Guard, Site, serving_mirror


@dataclass
class Upstream:
    """The server's files. `cuts`: the numbers of bytes after which it breaks off, one for each answer."""

    base: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    headers: dict[str, dict[str, str]] = field(default_factory=dict)
    cuts: dict[str, list[int]] = field(default_factory=dict)
    takes_range: bool = True
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    """(method, path, Range header)"""

    def gets(self, part: str) -> list[str]:
        """The Range headers of the GETs whose path ends in `part`."""
        return [ranged for method, path, ranged in self.asked if method == "GET" and path.endswith(part)]

    def publish(self, path: str, content: bytes, *, sums: str = ".sha256", text: str = "{sha}  {name}\n") -> str:
        """A file with its list of sums beside it; the sum."""
        sha, name = hashlib.sha256(content).hexdigest(), path.rpartition("/")[2]
        self.files[path] = content
        sums_path = path + sums if sums.startswith(".") else f"{path.rpartition('/')[0]}/{sums}"
        self.files[sums_path] = text.format(sha=sha, name=name).encode()
        return sha


@pytest.fixture
def upstream(monkeypatch: pytest.MonkeyPatch) -> Iterator[Upstream]:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    served = Upstream()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, *, body: bool) -> None:
            ranged = self.headers.get("Range", "")
            served.asked.append((self.command, self.path, ranged))
            content = served.files.get(self.path)
            if content is None:
                self.send_response(404)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            start = 0
            if served.takes_range and (found := re.fullmatch(r"bytes=(\d+)-", ranged)):
                start = int(found[1])
            self.send_response(416 if start >= len(content) > 0 else 206 if start else 200)
            content = content[start:]
            self.send_header("Content-Length", str(len(content)))
            for name, value in served.headers.get(self.path, {}).items():
                self.send_header(name, value)
            self.end_headers()
            if body:
                cuts = served.cuts.get(self.path, [])
                if cuts:
                    self.wfile.write(content[: cuts.pop(0)])
                    self.close_connection = True
                else:
                    self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.base = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield served
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


@pytest.fixture
def said() -> list[str]:
    return []


def tar_gz(members: dict[str, bytes]) -> bytes:
    """A tar.gz of regular files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


@pytest.fixture
def make_tar_gz() -> object:
    return tar_gz


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    with serving_mirror(tmp_path, monkeypatch) as made:
        yield made


@pytest.fixture
def files(site: Site) -> Site:
    """A mirror of one binary."""
    site.files[FILE] = b"kubectl"
    site.files[f"{FILE}.sha256"] = hashlib.sha256(b"kubectl").hexdigest().encode()
    site.guards["mirror.test"] = Guard(accepts=BASIC)
    return site


@pytest.fixture
def images(site: Site) -> Site:
    """A mirror of one image."""
    config, layer = b"{}", b"layer" * 100
    sums = [f"sha256:{hashlib.sha256(blob).hexdigest()}" for blob in (config, layer)]
    manifest = {"config": {"digest": sums[0]}, "layers": [{"digest": sums[1]}]}
    site.files[MANIFEST] = json.dumps(manifest).encode()
    site.files |= {f"{IMAGE}/blobs/{sums[0]}": config, f"{IMAGE}/blobs/{sums[1]}": layer}
    site.guards["mirror.test"] = Guard(accepts=BASIC)
    return site
