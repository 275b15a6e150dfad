"""Dropped traffic while kube-apiserver shuts down, and cases without it."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kubewright.plan.context import Context
from kubewright.plan.desired import Desired, File
from roles.apiserver import hold
from roles.apiserver.role import desired
from tests.support.scenarios import scenario


def text_of(file: File) -> str:
    assert isinstance(file.content, bytes)
    return file.content.decode()


def _unit(wanted: Desired) -> str:
    return next(text_of(f) for f in wanted.files if f.path.endswith("kube-apiserver.service"))


@pytest.mark.parametrize(
    ("duration", "expected"),
    [
        ("5s", 5),
        ("1m10s", 70),
        ("1.5s", 1.5),
        (".5m", 30),
        ("1.s", 1),
        ("+5s", 5),
        ("500ms", 0.5),
        ("5000000us", 5),
        ("5000000\u00b5s", 5),
        ("1h", 3600),
        *((nothing, 0) for nothing in ("0s", "0", "", "5", "s", "5s!", "-5s", "5 s", ".s")),
    ],
)
def test_a_duration_is_read_as_go_writes_it(duration: str, expected: float) -> None:
    assert hold.seconds(duration) == pytest.approx(expected)


def test_the_drop_begins_just_before_the_end_of_the_delay_in_the_flags() -> None:
    context = scenario("lab").context("m1")
    assert "\nsleep 4.9\n" in text_of(*hold.files(context, "5s"))
    assert "\nsleep 69.9\n" in text_of(*hold.files(context, "1m10s"))


@pytest.mark.parametrize("delay", ["", "0s", "100ms", "nonsense"])
def test_without_a_delay_no_traffic_is_dropped(delay: str) -> None:
    assert hold.files(scenario("lab").context("m1"), delay) == ()


def _slow(context: Context) -> Desired:
    node = dataclasses.replace(context.node, extra_args={"kube-apiserver": {"shutdown-delay-duration": "2m"}})
    return desired(dataclasses.replace(context, node=node))


def test_only_a_master_beside_others_drops_traffic() -> None:
    assert f"/bin/sh {hold.PATH} &" in _unit(desired(scenario("lab").context("m1")))
    for alone in (desired(scenario("single").context("m1")), _slow(scenario("single").context("m1"))):
        assert "ExecStop" not in _unit(alone) and "KillMode" not in _unit(alone)
        assert not any(file.path == hold.PATH for file in alone.files)


def test_the_stop_limit_includes_the_delay_in_the_flags() -> None:
    slow = _slow(scenario("lab").context("m1"))
    assert "\nTimeoutStopSec=210\n" in _unit(slow) and slow.units[0].timeout == 240


def _carried_out(folder: Path, main: subprocess.Popen[bytes] | None) -> list[str]:
    """The script, with fakes of its programs that print their arguments."""
    for name in ("sleep", "nft", "ss"):
        (folder / name).write_text(f"#!/bin/sh\necho {name} $* >>{folder}/called\n")
        (folder / name).chmod(0o755)
    environment = {"PATH": f"{folder}:{os.environ['PATH']}"} | ({"MAINPID": str(main.pid)} if main else {})
    script = text_of(*hold.files(scenario("lab").context("m1"), "5s"))
    done = subprocess.run(["/bin/sh", "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    called = folder / "called"
    return called.read_text().splitlines() if called.exists() else []


@contextmanager
def _main(*flags: str) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", *flags]) as process:
        yield process
        process.kill()


def test_traffic_is_dropped_until_the_port_is_closed_and_the_table_is_removed(tmp_path: Path) -> None:
    with _main("--v=2", "--shutdown-delay-duration=5s") as main:
        called = _carried_out(tmp_path, main)
    assert called == ["sleep 4.9", "nft -f -", "ss -Htln sport = :6443", "sleep 0.1", "nft delete table inet kube-apiserver-hold"]


def test_no_traffic_is_dropped_for_a_process_with_another_delay(tmp_path: Path) -> None:
    """The unit's file is newer than the process: traffic would be dropped while the apiserver serves."""
    with _main("--shutdown-delay-duration=300s") as main:
        assert _carried_out(tmp_path, main) == ["sleep 4.9"]


def test_no_traffic_is_dropped_once_the_process_has_ended(tmp_path: Path) -> None:
    with _main("--shutdown-delay-duration=5s") as main:
        main.kill()
        main.wait()
    assert _carried_out(tmp_path, main) == ["sleep 4.9"]


def test_nothing_is_done_when_the_apiserver_ended_by_itself(tmp_path: Path) -> None:
    """systemd runs ExecStop= after a crash too, without MAINPID."""
    assert _carried_out(tmp_path, None) == []
