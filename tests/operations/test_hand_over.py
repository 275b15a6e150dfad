"""The transfer of leadership before etcd's leader stops: the choice of the new leader, and the message without one."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from roles.etcd.role import UNIT, desired
from tests.support.scenarios import scenario

# `endpoint status -w fields` and `member list` as etcdctl 3.7 prints them: m1 is 10276657743932975437 in the one,
# 8e9e05c52164694d in the other.
_ETCDCTL = """#!/bin/sh
echo "$*" >> "$0.asked"
case "$*" in
  *"endpoint status"*) printf '"ClusterID" : 1\\n"MemberID" : 10276657743932975437\\n"Leader" : %s\\n' "$LEADER" ;;
  *"endpoint health"*) exit 1 ;;
  *"member list"*)
    echo "8e9e05c52164694d, started, m1, https://10.90.0.11:2380, https://10.90.0.11:2379, false"
    echo "91bc3c398fb3c146, started, m2, https://10.90.0.12:2380, https://10.90.0.12:2379, false"
    echo "fd422379fda50e48, started, m3, https://10.90.0.13:2380, https://10.90.0.13:2379, false" ;;
esac
"""
# /health as etcd 3.7 answers it: 200 or, with an alarm that is not excluded, 503, which `curl -f` makes 22 of.
_CURL = """#!/bin/sh
for last; do :; done
for host in $HEALTHY; do
  case "$ALARM $last" in
    "NOSPACE https://$host:2379/health?exclude=NOSPACE" | " https://$host:2379/health"*) echo '{"health":"true"}'; exit ;;
  esac
done
exit 22
"""
_ME = "10276657743932975437"


def _handed_over(
    folder: Path,
    *,
    leader: str = _ME,
    healthy: str,
    alarm: str = "",
    asked: bool = False,
    called: tuple[str, str] = ("m2", "m3"),
) -> tuple[int, str, list[str]]:
    """The exit status, the output, and the members given to `move-leader`. `asked`: the script that runs before traffic is
    dropped. `called`: the names of m2 and m3."""
    for name, text in (("etcdctl", _ETCDCTL), ("curl", _CURL)):
        (folder / name).write_text(text.replace("m2", called[0]).replace("m3", called[1]))
        (folder / name).chmod(0o755)
    (unit,) = [u for u in desired(scenario("lab").context("m1")).units if u.name == UNIT]
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "LEADER": leader, "HEALTHY": healthy, "ALARM": alarm}
    assert unit.hand_over is not None
    script = unit.hand_over.choose if asked else unit.before_stop
    script = script.replace("m2", called[0]).replace("m3", called[1])
    done = subprocess.run(["sh", "-eu"], input=script, env=environment, capture_output=True, text=True, check=False)
    calls = (folder / "etcdctl.asked").read_text().splitlines()
    return done.returncode, done.stdout, [line.rpartition(" ")[2] for line in calls if "move-leader" in line]


@pytest.mark.parametrize(
    ("healthy", "to"),
    [("10.90.0.12 10.90.0.13", "91bc3c398fb3c146"), ("10.90.0.13", "fd422379fda50e48"), ("10.90.0.12", "91bc3c398fb3c146")],
)
def test_the_first_healthy_other_member_becomes_leader(tmp_path: Path, healthy: str, to: str) -> None:
    assert _handed_over(tmp_path, healthy=healthy) == (0, "", [to])


def test_a_leader_without_a_healthy_successor_does_not_stop(tmp_path: Path) -> None:
    status, said, moved = _handed_over(tmp_path, healthy="")
    assert (status, moved) == (1, [])
    assert said == "m1 leads etcd, and no other member is healthy to take over (m2, m3); see kubewright verify\n"


@pytest.mark.parametrize("asked", [False, True])
def test_with_the_alarm_nospace_a_leader_still_transfers_so_that_it_can_restart_with_a_larger_quota(
    tmp_path: Path, asked: bool
) -> None:
    status, said, moved = _handed_over(tmp_path, healthy="10.90.0.12", alarm="NOSPACE", asked=asked)
    assert (status, said, moved) == ((0, "91bc3c398fb3c146\n", []) if asked else (0, "", ["91bc3c398fb3c146"]))


def test_leadership_is_not_transferred_to_a_member_with_corrupt_data(tmp_path: Path) -> None:
    status, _, moved = _handed_over(tmp_path, healthy="10.90.0.12 10.90.0.13", alarm="CORRUPT")
    assert (status, moved) == (1, [])


def test_a_follower_transfers_nothing(tmp_path: Path) -> None:
    assert _handed_over(tmp_path, leader="1", healthy="") == (0, "", [])


def test_asked_first_the_leader_only_names_its_successor(tmp_path: Path) -> None:
    assert _handed_over(tmp_path, healthy="10.90.0.13", asked=True) == (0, "fd422379fda50e48\n", [])


def test_a_follower_names_no_successor(tmp_path: Path) -> None:
    assert _handed_over(tmp_path, leader="1", healthy="10.90.0.13", asked=True) == (0, "", [])


def test_a_leader_without_a_healthy_successor_names_none(tmp_path: Path) -> None:
    status, _, moved = _handed_over(tmp_path, healthy="", asked=True)
    assert (status, moved) == (1, [])


@pytest.mark.parametrize("called", [("7", "007"), ("1e3", "1000"), ("no", "on")])
def test_names_that_are_equal_as_numbers_are_two_members(tmp_path: Path, called: tuple[str, str]) -> None:
    assert _handed_over(tmp_path, healthy="10.90.0.13", called=called) == (0, "", ["fd422379fda50e48"])
    assert _handed_over(tmp_path, healthy="10.90.0.13", called=called, asked=True)[1] == "fd422379fda50e48\n"
