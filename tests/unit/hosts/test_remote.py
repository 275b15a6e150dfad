"""A command over SSH counts as hung only when no byte goes either way; its end is one error, never a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import gevent
import pytest

from kubewright.errors import Failed
from kubewright.hosts import patience, push
from kubewright.hosts.patience import PATIENCE
from kubewright.hosts.remote import Answer, Remote
from kubewright.hosts.ssh import SshHost
from kubewright.plan.desired import Payload


class Channel:
    """A command with a fake clock. `takes`: seconds for each block of its input; `says`: pieces of output, one every so many
    seconds; then it ends, or, if it `hangs`, stays silent."""

    def __init__(self, *, takes: float = 0, says: tuple[bytes, ...] = (), every: float = 0, hangs: bool = False) -> None:
        self.takes, self.every, self.hangs = takes, every, hangs
        self.said, self.now, self.timeout, self.whole = list(says), 0.0, 0.0, False
        self.got = b""
        self.after: list[bytes] = []
        """The end of its output."""

    def settimeout(self, seconds: float) -> None:
        self.timeout = seconds

    def exec_command(self, command: str) -> None:
        self.command = command
        mark = command.split()[-1].encode() + b"\n"
        self.said, self.after = [mark, *self.said], [mark]

    def _pass(self, seconds: float) -> None:
        self.now += seconds
        gevent.sleep(0)

    def send(self, block: bytes) -> int:
        if self.takes > self.timeout:
            self._pass(self.timeout)
            raise TimeoutError
        self._pass(self.takes)
        self.got += block[:1000]
        return len(block[:1000])

    def sendall(self, block: bytes) -> None:
        while block:
            block = block[self.send(block) :]

    def shutdown_write(self) -> None:
        self.whole = True

    def recv(self, _count: int) -> bytes:
        if self.said:
            self._pass(0 if b"kubewright-" in self.said[0] else self.every)
            return self.said.pop(0)
        end = self._end()
        return self.after.pop() if self.after else end

    def recv_stderr(self, _count: int) -> bytes:
        return self._end()

    def _end(self) -> bytes:
        until = self.now + self.timeout
        while not self.whole or self.said or self.hangs:
            if self.now >= until:
                raise TimeoutError
            self._pass(1 if self.whole and not self.said else 0)
        return b""

    def recv_exit_status(self) -> int:
        return 0

    def close(self) -> None:
        pass


@pytest.fixture(autouse=True)
def no_traceback(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    yield
    assert capfd.readouterr().err == "", "gevent prints what a greenlet raises"


def _remote(channel: Channel, monkeypatch: pytest.MonkeyPatch) -> Remote:
    transport = SimpleNamespace(
        sock=None, is_active=lambda: True, set_keepalive=lambda _seconds: None, open_session=lambda timeout: channel
    )
    monkeypatch.setattr(patience, "time", SimpleNamespace(monotonic=lambda: channel.now))
    return Remote("m1", SimpleNamespace(get_transport=lambda: transport), user="root", password=None)  # type: ignore[arg-type]


def test_a_push_may_last_while_it_sends(monkeypatch: pytest.MonkeyPatch) -> None:
    channel = Channel(takes=100)
    answer = _remote(channel, monkeypatch).run("cat", [bytes(2500)] * 10, timeout=900)
    assert answer == Answer(status=0, stdout="", stderr="")
    assert (len(channel.got), channel.now) == (25_000, 3000)


def test_a_command_may_last_while_it_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    channel = Channel(says=(b"a", b"b", b"c"), every=800)
    assert _remote(channel, monkeypatch).run("x", timeout=900).stdout == "abc"


def test_a_command_that_is_silent_for_the_whole_limit_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    channel = Channel(takes=100, hangs=True)
    with pytest.raises(Failed, match=r"^m1: the SSH connection broke \(TimeoutError: no byte for 900 seconds\)"):
        _remote(channel, monkeypatch).run("cat", [bytes(1000)] * 20, timeout=900)
    assert channel.now == 2900, "counted from the last byte"


def test_a_command_that_stops_reading_its_input_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Failed, match=r"^m1: the SSH connection broke .*no byte for 900 seconds"):
        _remote(Channel(takes=901), monkeypatch).run("cat", [bytes(1000)], timeout=900)


def test_hosts_that_fetch_may_be_silent_while_curl_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    assert f"--speed-limit {push.SLOWEST} " in push.prelude()
    sent = Payload(path="/opt/x", sha256="0", size=1, mode=0o755, local=Path("/dev/null"), packed=5_000_000)
    fetched = Payload(path="/opt/y", sha256="0", size=1, mode=0o755, local=Path("/dev/null"), packed=1 << 20, url="http://f/y")
    asked = {}

    def run(_script: str, _stdin: object, *, timeout: float) -> Answer:
        asked["timeout"] = timeout
        return Answer(status=0, stdout="", stderr="")

    host = _remote(Channel(), monkeypatch)
    monkeypatch.setattr(host, "run", run)
    SshHost("m1", host, "").push([sent, fetched])
    assert asked["timeout"] == PATIENCE + 1024
