"""What is held back while kube-apiserver begins to refuse, and where nothing is."""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path

import pytest

from kubewright.plan.desired import Desired, File
from roles.apiserver import hold
from roles.apiserver.role import desired
from tests.golden.scenarios import scenario


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
        ("500ms", 0.5),
        ("1h", 3600),
        ("0s", 0),
        ("0", 0),
        ("", 0),
        ("5", 0),
        ("s", 0),
        ("5s!", 0),
    ],
)
def test_a_duration_is_read_as_go_writes_it(duration: str, expected: float) -> None:
    assert hold.seconds(duration) == expected


def test_the_hold_begins_just_before_the_end_of_the_delay_that_the_flags_say() -> None:
    context = scenario("lab").context("m1")
    assert "\nsleep 4.8\n" in text_of(*hold.files(context, 5, 6443))
    assert "\nsleep 69.8\n" in text_of(*hold.files(context, 70, 6443))


@pytest.mark.parametrize("delay", [0, 0.2])
def test_without_a_delay_nothing_is_held(delay: float) -> None:
    assert hold.files(scenario("lab").context("m1"), delay, 6443) == ()


def test_only_a_master_beside_others_holds_its_port() -> None:
    assert f"/bin/sh {hold.PATH} &" in _unit(desired(scenario("lab").context("m1")))
    alone = desired(scenario("single").context("m1"))
    assert "ExecStop" not in _unit(alone) and "KillMode" not in _unit(alone)
    assert not any(file.path == hold.PATH for file in alone.files)


def test_stopping_may_take_as_long_as_the_flags_delay_it() -> None:
    context = scenario("lab").context("m1")
    node = dataclasses.replace(context.node, extra_args={"kube-apiserver": {"shutdown-delay-duration": "2m"}})
    slow = desired(dataclasses.replace(context, node=node))
    assert "\nTimeoutStopSec=210\n" in _unit(slow) and slow.units[0].timeout == 240


def test_it_does_nothing_when_the_apiserver_ended_by_itself(tmp_path: Path) -> None:
    """systemd runs ExecStop= after a crash too, without MAINPID."""
    script = text_of(*hold.files(scenario("lab").context("m1"), 5, 6443))
    for name in ("sleep", "nft", "ss"):
        (tmp_path / name).write_text("#!/bin/sh\necho called\n")
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(["/bin/sh", "-c", script], env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
