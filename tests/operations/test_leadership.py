"""Before etcd's leader stops, it transfers its leadership: to which member, and what it prints when none can lead."""

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


def _transferred(
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
    assert unit.transfer is not None
    script = unit.transfer.choose if asked else unit.before_stop
    script = script.replace("m2", called[0]).replace("m3", called[1])
    done = subprocess.run(["sh", "-eu"], input=script, env=environment, capture_output=True, text=True, check=False)
    calls = (folder / "etcdctl.asked").read_text().splitlines()
    return done.returncode, done.stdout, [line.rpartition(" ")[2] for line in calls if "move-leader" in line]


@pytest.mark.parametrize(
    ("healthy", "to"),
    [("10.90.0.12 10.90.0.13", "91bc3c398fb3c146"), ("10.90.0.13", "fd422379fda50e48"), ("10.90.0.12", "91bc3c398fb3c146")],
)
def test_the_first_of_the_others_that_is_healthy_leads(tmp_path: Path, healthy: str, to: str) -> None:
    assert _transferred(tmp_path, healthy=healthy) == (0, "", [to])


def test_a_leader_does_not_stop_when_no_other_member_can_lead(tmp_path: Path) -> None:
    status, said, moved = _transferred(tmp_path, healthy="")
    assert (status, moved) == (1, [])
    assert said == "m1 leads etcd and no other member can: not healthy: m2, m3; see kubewright verify\n"


@pytest.mark.parametrize("asked", [False, True])
def test_under_the_alarm_nospace_leadership_is_transferred_so_that_a_larger_quota_can_come_by_a_restart(
    tmp_path: Path, asked: bool
) -> None:
    status, said, moved = _transferred(tmp_path, healthy="10.90.0.12", alarm="NOSPACE", asked=asked)
    assert (status, said, moved) == ((0, "91bc3c398fb3c146\n", []) if asked else (0, "", ["91bc3c398fb3c146"]))


def test_leadership_is_not_transferred_to_a_member_whose_data_is_corrupt(tmp_path: Path) -> None:
    status, _, moved = _transferred(tmp_path, healthy="10.90.0.12 10.90.0.13", alarm="CORRUPT")
    assert (status, moved) == (1, [])


def test_a_follower_transfers_nothing(tmp_path: Path) -> None:
    assert _transferred(tmp_path, leader="1", healthy="") == (0, "", [])


def test_whom_to_is_said_first_and_nothing_is_moved_then(tmp_path: Path) -> None:
    assert _transferred(tmp_path, healthy="10.90.0.13", asked=True) == (0, "fd422379fda50e48\n", [])


def test_who_does_not_lead_names_nobody(tmp_path: Path) -> None:
    assert _transferred(tmp_path, leader="1", healthy="10.90.0.13", asked=True) == (0, "", [])


def test_who_leads_and_finds_nobody_healthy_names_nobody_that_could_be_moved_to(tmp_path: Path) -> None:
    status, _, moved = _transferred(tmp_path, healthy="", asked=True)
    assert (status, moved) == (1, [])


@pytest.mark.parametrize("called", [("7", "007"), ("1e3", "1000"), ("no", "on")])
def test_names_that_are_equal_as_numbers_are_two_members(tmp_path: Path, called: tuple[str, str]) -> None:
    assert _transferred(tmp_path, healthy="10.90.0.13", called=called) == (0, "", ["fd422379fda50e48"])
    assert _transferred(tmp_path, healthy="10.90.0.13", called=called, asked=True)[1] == "fd422379fda50e48\n"
