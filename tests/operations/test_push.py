"""push.sh, run in a scratch folder: complete payloads are kept, incomplete ones resume; only sums are trusted."""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import http.server
import os
import random
import shutil
import socket
import struct
import subprocess
import termios
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard

from kubewright.hosts.push import blocks, script
from kubewright.plan.desired import Payload

Done = subprocess.CompletedProcess[str]


class Host:
    """A scratch folder that payloads are pushed to."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home, self.state = folder, folder / "home", folder / "state"
        self.made: dict[str, bytes] = {}
        (self.state / "started").mkdir(parents=True)

    def payload(self, name: str, size: int = 3_000_000, version: str = "1") -> Payload:
        # Half of it compresses, so the two forms differ in size and bytes.
        content = random.Random(f"{name} {version}").randbytes(size // 2) + bytes(size - size // 2)  # noqa: S311
        local = self.folder / f"{name}-{version}.zst"
        local.write_bytes(zstandard.compress(content))
        path = f"{self.home}/{name}/{version}/{name}"
        self.made[path] = content
        sha256 = hashlib.sha256(content).hexdigest()
        return Payload(path=path, sha256=sha256, size=size, mode=0o755, local=local, packed=local.stat().st_size)

    def push(self, *payloads: Payload, bytes_sent: int | None = None, before: str = "") -> Done:
        """Push, with a connection that breaks after `breaks_after` bytes. Partial files are observed first."""
        seen = [dataclasses.replace(p, there=self.size(p.partial)) for p in payloads]
        stdin = b"".join(blocks(seen))[:bytes_sent]
        text = before + script(seen, home=str(self.home), state=str(self.state))
        done = subprocess.run(["sh", "-c", text], input=stdin, capture_output=True, check=False)
        return Done(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())

    def size(self, path: str) -> int:
        return Path(path).stat().st_size if Path(path).exists() else 0

    def lacks(self, payload: Payload) -> int:
        """The bytes of it that the next push sends."""
        return len(b"".join(blocks([dataclasses.replace(payload, there=self.size(payload.partial))])))

    def holds(self, payload: Payload) -> bool:
        path = Path(payload.path)
        manifest = path.with_name(".manifest")
        if not path.exists() or not manifest.exists():
            return False
        told = manifest.read_text() == f"{payload.sha256} {payload.size} {path}\n"
        return told and path.read_bytes() == self.made[payload.path] and path.stat().st_mode & 0o777 == payload.mode

    def files(self) -> set[str]:
        return {str(p.relative_to(self.home)) for p in self.home.rglob("*") if p.is_file()}


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_payloads_are_put_in_place_whole_without_leftovers(host: Host) -> None:
    one, two = host.payload("one"), host.payload("two")
    done = host.push(one, two)
    assert (done.returncode, done.stderr) == (0, "")
    assert host.holds(one) and host.holds(two)
    assert host.files() == {"one/1/one", "one/1/.manifest", "two/1/two", "two/1/.manifest"}


def test_after_a_broken_connection_only_the_rest_is_sent(host: Host) -> None:
    one, two, three = (host.payload(name) for name in ("one", "two", "three"))
    broken = host.push(one, two, three, bytes_sent=one.packed + 700_000)
    assert broken.returncode != 0
    assert f"{two.path}: 700000 of {two.packed} compressed bytes are there; the next run sends the rest" in broken.stderr
    assert host.holds(one) and not host.holds(two) and not host.holds(three)
    assert [host.lacks(p) for p in (two, three)] == [two.packed - 700_000, three.packed]
    assert host.push(two, three).returncode == 0
    assert host.holds(two) and host.holds(three)
    assert not [name for name in host.files() if name.endswith((".part", ".new"))]


def test_a_payload_arrives_however_often_its_connection_breaks(host: Host) -> None:
    payload, sent = host.payload("one"), 0
    while host.lacks(payload) > 400_000:
        sent += 400_000
        assert host.push(payload, bytes_sent=400_000).returncode != 0
        assert payload.packed - host.lacks(payload) == sent
    assert host.push(payload).returncode == 0
    assert host.holds(payload)


def test_received_bytes_are_kept_even_if_the_output_is_lost(host: Host) -> None:
    one, two = host.payload("one"), host.payload("two")
    text = script([one, two], home=str(host.home), state=str(host.state))
    reader, writer = os.pipe()
    os.close(reader)
    with subprocess.Popen(["sh", "-c", text], stdin=subprocess.PIPE, stdout=writer, stderr=writer) as process:
        os.close(writer)
        process.communicate(b"".join(blocks([one, two]))[: one.packed + 100_000])
    assert host.holds(one)
    assert host.lacks(two) == two.packed - 100_000


def test_a_wrong_sum_removes_the_received_bytes_and_the_next_run_sends_all(host: Host) -> None:
    payload = host.payload("one")
    host.push(payload, bytes_sent=500_000)
    partial = Path(payload.partial)
    partial.write_bytes(b"torn by a power cut"[:19].ljust(500_000, b"\0"))
    done = host.push(payload)
    assert done.returncode != 0
    assert f"{payload.path}: what arrived has another sum than was sent and is removed" in done.stderr
    assert "run the same command again" in done.stderr
    assert host.files() == set()
    assert host.push(payload).returncode == 0 and host.holds(payload)


def test_a_partial_file_that_changed_since_the_observation_is_not_appended_to(host: Host) -> None:
    payload = host.payload("one")
    host.push(payload, bytes_sent=500_000)
    stale = dataclasses.replace(payload, there=400_000)
    text = script([stale], home=str(host.home), state=str(host.state))
    done = subprocess.run(["sh", "-c", text], input=b"".join(blocks([stale])), capture_output=True, check=False)
    assert done.returncode != 0
    assert b"run the same command again" in done.stderr
    assert host.push(payload).returncode == 0 and host.holds(payload)


def test_abandoned_partial_files_are_removed_and_used_ones_stay(host: Host) -> None:
    old, new, other = host.payload("one", version="1"), host.payload("one", version="2"), host.payload("other")
    host.push(other)
    host.push(old, bytes_sent=500_000)
    torn = Path(other.path).with_name("other.new")
    torn.write_bytes(b"half")
    assert host.push(new, bytes_sent=300_000).returncode != 0
    assert host.holds(other)
    assert not torn.exists() and not Path(old.path).parent.exists()
    assert [name for name in host.files() if name.endswith(".part")] == [str(Path(new.partial).relative_to(host.home))]


def test_a_damaged_payload_is_replaced_and_units_that_may_have_read_it_lose_their_record(host: Host) -> None:
    payload = host.payload("one")
    host.push(payload)
    Path(payload.path).write_bytes(b"damaged")
    mine, others = host.state / "started/one.service", host.state / "started/two.service"
    mine.write_text(f"{payload.path} /usr/local/bin/one\n{'a' * 64} /etc/one\n")
    others.write_text(f"{payload.path}-two /usr/local/bin/two\n")
    assert host.push(payload).returncode == 0
    assert host.holds(payload)
    assert not mine.exists() and others.exists()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Callable[[int], Host]]:
    """Makes a host whose home is a file system of the given size in KiB."""
    made: list[Path] = []

    def mount(kib: int) -> Host:
        host = Host(tmp_path)
        host.home.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", host.home], check=True)
        made.append(host.home)
        return host

    yield mount
    for home in made:
        subprocess.run(["umount", home], check=True)


as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can mount")


@as_root
def test_a_full_disk_is_named_and_the_next_push_resumes(small: Callable[[int], Host]) -> None:
    host = small(5000)
    one, two = host.payload("one"), host.payload("two")
    done = host.push(one, two)
    assert done.returncode != 0
    assert "No space left on device" in done.stderr and two.path in done.stderr
    assert host.holds(one)
    assert not Path(two.path).exists() and not Path(f"{two.path}.new").exists()
    subprocess.run(["mount", "-o", "remount,size=20000k", host.home], check=True)
    assert host.push(two).returncode == 0 and host.holds(two)


@as_root
def test_a_binary_that_did_not_fit_on_the_disk_is_never_put_in_place(small: Callable[[int], Host]) -> None:
    # The compressed file fits, the plain one does not. A sum taken from the stream would be right.
    host = small(4000)
    payload = host.payload("one")
    done = host.push(payload)
    assert done.returncode != 0
    assert f"{payload.path}: could not be written whole" in done.stderr
    assert not Path(payload.path).exists()
    assert host.lacks(payload) == 0, "all of it arrived"


@as_root
def test_a_file_system_that_is_read_only_is_named(small: Callable[[int], Host]) -> None:
    host = small(20000)
    subprocess.run(["mount", "-o", "remount,ro", host.home], check=True)
    payload = host.payload("one")
    done = host.push(payload)
    assert done.returncode != 0
    assert "Read-only file system" in done.stderr


# -- hosts that fetch from a file server


class Server(http.server.ThreadingHTTPServer):
    """Serves `folder`, also parts of files unless `ranges` is off; `asked` has (path, first byte) of each request.

    `breaks`: it ends each connection after so many bytes of a file; `resets`: with a reset.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder, self.ranges = folder, True
        self.breaks: int | None = None
        self.resets = False
        self.asked: list[tuple[str, int]] = []


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        header = self.headers.get("Range", "bytes=0-")
        first = int(header.removeprefix("bytes=").partition("-")[0]) if self.server.ranges else 0
        self.server.asked.append((self.path, first))
        file = self.server.folder / self.path.removeprefix("/")
        if not file.is_file():
            return self.send_error(404)
        content = file.read_bytes()
        if first and first >= len(content):
            return self.send_error(416)
        self.send_response(206 if "Range" in self.headers and self.server.ranges else 200)
        if self.server.ranges:
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - first))
        self.end_headers()
        self.wfile.write(content[first:][: self.server.breaks])
        if self.server.resets:
            self._reset()
        return None

    def _reset(self) -> None:
        # Closing the socket too early would lose bytes: wait until the client has read all.
        while struct.unpack("i", fcntl.ioctl(self.connection, termios.TIOCOUTQ, bytes(4)))[0]:
            threading.Event().wait(0.01)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    folder = tmp_path / "served"
    folder.mkdir()
    with Server(folder) as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield found
        found.shutdown()


def _from(server: Server, payload: Payload) -> Payload:
    """That payload, published on the server."""
    shutil.copy(payload.local, server.folder / f"{payload.sha256}.zst")
    return dataclasses.replace(payload, url=f"http://127.0.0.1:{server.server_port}/{payload.sha256}.zst")


def test_a_host_fetches_payloads_itself_and_nothing_is_sent(host: Host, server: Server) -> None:
    one, two = _from(server, host.payload("one")), _from(server, host.payload("two"))
    assert b"".join(blocks([one, two])) == b""
    done = host.push(one, two)
    assert (done.returncode, done.stderr) == (0, "")
    assert host.holds(one) and host.holds(two)
    assert not [name for name in host.files() if name.endswith((".part", ".new"))]


def test_a_fetch_resumes_from_existing_bytes_from_any_source(host: Host, server: Server) -> None:
    payload = host.payload("one")
    host.push(payload, bytes_sent=600_000)
    assert host.push(_from(server, payload)).returncode == 0
    assert host.holds(payload)
    assert [first for _, first in server.asked] == [600_000]


@pytest.mark.parametrize("resets", [False, True])
def test_a_broken_fetch_reports_its_progress_and_the_next_run_resumes(host: Host, server: Server, resets: bool) -> None:
    payload = _from(server, host.payload("one"))
    server.breaks, server.resets = 600_000, resets
    for there in (600_000, 1_200_000):
        done = host.push(payload)
        assert done.returncode != 0
        said = f"{payload.url}: broke off; {there} of {payload.packed} compressed bytes are there; the next run fetches the rest"
        assert said in done.stderr
        assert "write the files there" not in done.stderr
    server.breaks, server.resets = None, False
    assert host.push(payload).returncode == 0 and host.holds(payload)
    assert [first for _, first in server.asked] == [0, 600_000, 1_200_000]


def test_a_server_without_ranges_sends_the_whole_file(host: Host, server: Server) -> None:
    payload, server.ranges = host.payload("one"), False
    host.push(payload, bytes_sent=600_000)
    assert host.push(_from(server, payload)).returncode == 0
    assert host.holds(payload)


def test_a_partial_file_of_another_compression_does_no_harm(host: Host, server: Server) -> None:
    payload = host.payload("one")
    host.push(payload, bytes_sent=payload.packed - 1)
    fetched = _from(server, payload)
    better = zstandard.compress(host.made[payload.path], level=19)
    (server.folder / f"{payload.sha256}.zst").write_bytes(better)
    assert len(better) < payload.packed - 1, "or it would prove nothing"
    assert host.push(fetched).returncode == 0
    assert host.holds(payload)


def test_a_missing_file_is_named_with_what_to_do(host: Host, server: Server) -> None:
    payload = _from(server, host.payload("one"))
    (server.folder / f"{payload.sha256}.zst").unlink()
    done = host.push(payload)
    assert done.returncode != 0
    assert f"{payload.url}: cannot be fetched (HTTP status 404)" in done.stderr
    assert "kubewright artifacts fetch --to FOLDER" in done.stderr


def test_other_content_is_refused_by_its_sum(host: Host, server: Server) -> None:
    payload = _from(server, host.payload("one"))
    file = server.folder / f"{payload.sha256}.zst"
    file.write_bytes(zstandard.compress(b"something else"))
    done = host.push(payload)
    assert done.returncode != 0
    assert f"what {payload.url} holds has another sum than is wanted" in done.stderr
    assert host.files() == set()
    shutil.copy(payload.local, file)
    assert host.push(payload).returncode == 0 and host.holds(payload)


def test_a_server_that_does_not_answer_is_named(host: Host, server: Server) -> None:
    payload = dataclasses.replace(host.payload("one"), url="http://127.0.0.1:1/x.zst")
    done = host.push(payload)
    assert done.returncode != 0
    assert "http://127.0.0.1:1/x.zst: cannot be fetched" in done.stderr


def test_a_host_without_curl_is_reported(host: Host, server: Server) -> None:
    payload = _from(server, host.payload("one"))
    done = host.push(payload, before='command() { [ "$2" != curl ]; }\n')
    assert done.returncode != 0
    assert f"{payload.url}: cannot be fetched without curl; install it" in done.stderr
