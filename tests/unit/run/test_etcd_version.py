"""etcd's cluster version before its binaries change: enabled, waited for, cancelled, and refused with etcd's own words."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import cast

import pytest

from kubewright.errors import Failed
from kubewright.observe.observed import UnitState
from kubewright.plan.move import Move
from kubewright.releases import release_for
from kubewright.releases.version import Version
from kubewright.run import etcd_version
from kubewright.run.etcd_version import Status, action, rewritten, statuses
from kubewright.run.run import Run
from tests.support.scenarios import scenario

PLAN = scenario("lab").plan
BACK, UP = (Move(verb=verb, target=release_for(to)) for verb, to in (("rollback", "1.36.3"), ("upgrade", "1.37.1")))  # type: ignore[arg-type]
V36, V37 = Version(3, 6, 14), Version(3, 7, 3)
F36, F37 = Version(3, 6, 0), Version(3, 7, 0)

# As etcdctl 3.7.3 printed it for one member, before and after `downgrade enable 3.6`.
BEFORE = (
    '[{"Endpoint":"http://127.0.0.1:23790","Status":{"header":{"cluster_id":324952591200643719,"member_id":3319814642761637952,'
    '"revision":1,"raft_term":2},"version":"3.7.3","dbSize":20480,"leader":3319814642761637952,"raftIndex":4,"raftTerm":2,'
    '"raftAppliedIndex":4,"dbSizeInUse":16384,"storageVersion":"3.7.0","dbSizeQuota":2147483648,"downgradeInfo":{}}}]'
)
AFTER = BEFORE.replace('"3.7.0"', '"3.6.0"').replace(
    '"downgradeInfo":{}', '"downgradeInfo":{"enabled":true,"targetVersion":"3.6.0"}'
)


def test_what_etcdctl_prints_is_read() -> None:
    assert statuses(BEFORE) == (Status(version=V37, storage=F37, downgrades_to=None),)
    assert statuses(AFTER) == (Status(version=V37, storage=F36, downgrades_to=F36),)
    assert statuses("") == ()


@pytest.mark.parametrize("said", ["[", "[{}]", '[{"Status":{"version":"x"}}]', '{"a":1}'])
def test_another_answer_is_not_taken_for_a_version(said: str) -> None:
    with pytest.raises(Failed, match="status could not be read"):
        statuses(said)


@pytest.mark.parametrize(
    ("members", "target", "due"),
    [
        ([(V37, F37, None)] * 3, V36, "enable"),
        ([(V37, F37, F36)] * 3, V36, ""),
        ([(V37, F36, F36)] * 3, V36, ""),
        ([(V37, F36, F36), (V36, F36, F36)], V36, ""),
        ([(V37, F36, None), (V36, F36, None)], V36, ""),
        ([(V36, F36, None)] * 3, V37, ""),
        ([(V37, F36, F36), (V36, F36, F36)], V37, "cancel"),
        ([(V37, F36, F36)] * 3, V37, "cancel"),
        ([(V37, F37, None)] * 3, V37, ""),
        ([(V37, None, None)], V36, ""),
    ],
    ids=[
        "back from the end", "being rewritten", "rewritten", "half way back", "back from the middle of an upgrade", "up",
        "up after half a rollback", "up after a rollback that was begun", "nothing", "it does not say",
    ],
)  # fmt: skip
def test_what_is_due_follows_from_the_format_of_the_data(
    members: list[tuple[Version, Version | None, Version | None]], target: Version, due: str
) -> None:
    found = tuple(Status(version=v, storage=s, downgrades_to=d) for v, s, d in members)
    assert action(found, target) == due


def test_data_counts_as_rewritten_only_on_every_member() -> None:
    new, old = (Status(version=V37, storage=s, downgrades_to=None) for s in (F37, F36))
    assert rewritten((old, old), V36) and not rewritten((old, new), V36) and not rewritten((), V36)


@dataclass
class Etcd:
    """Members that rewrite their data at the third look. `refuses`: what `enable` says instead."""

    storage: str = "3.7.0"
    target: str = ""
    refuses: str = ""
    silent: bool = False
    never: bool = False
    active: str = "active"
    answering: int = 3
    stopped: str = ""
    """A host whose etcd an interrupted run has stopped."""
    looks: int = 0
    log: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def shell(self, script: str) -> str:
        if self.silent:
            return ""
        if "endpoint status" in script:
            self.looks += 1
            if self.target and self.looks > 3 and not self.never:
                self.storage = self.target
            info = {"enabled": True, "targetVersion": self.target} if self.target else {}
            status = {"version": "3.7.3", "storageVersion": self.storage, "downgradeInfo": info}
            return json.dumps([{"Status": status}] * self.answering)
        word = "cancel" if "cancel" in script else "enable"
        self.log.append(word)
        if self.refuses:
            return f"Error: {self.refuses}\n"
        self.target = "" if word == "cancel" else "3.6.0"
        return "Downgrade success\ndone\n"

    def run(self) -> Run:
        hosts = {n.name: SimpleNamespace(shell=self.shell) for n in PLAN.nodes}
        seen = {
            n.name: SimpleNamespace(
                units={"etcd.service": UnitState(active=self.active)},
                started_with={} if n.name == self.stopped else {"etcd.service": {}},
            )
            for n in PLAN.nodes
        }
        return cast("Run", SimpleNamespace(plan=PLAN, hosts=hosts, observed=seen, say=self.said.append))


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(etcd_version, "PAUSE", 0)


def test_a_downgrade_is_enabled_once_and_waited_for() -> None:
    etcd = Etcd()
    etcd_version.prepare(etcd.run(), BACK)
    assert (etcd.log, etcd.storage) == (["enable"], "3.6.0")
    etcd_version.prepare(etcd.run(), BACK)
    assert etcd.log == ["enable"]
    assert etcd.said == ["etcd's data is rewritten for 3.6 (etcdctl downgrade enable)"]


def test_an_upgrade_ends_what_a_rollback_began() -> None:
    etcd = Etcd(target="3.6.0")
    etcd_version.prepare(etcd.run(), UP)
    assert etcd.log == ["cancel"]


def test_an_upgrade_of_a_cluster_without_a_downgrade_asks_and_does_nothing() -> None:
    etcd = Etcd(storage="3.6.0")
    etcd_version.prepare(etcd.run(), UP)
    assert etcd.log == []


def test_data_that_is_not_rewritten_in_time_stops_before_any_member(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(etcd_version, "PATIENCE", -1)
    with pytest.raises(Failed, match="no member was changed; it waits for a snapshot of its log"):
        etcd_version.prepare(Etcd(never=True).run(), BACK)


def test_etcds_own_refusal_is_told() -> None:
    etcd = Etcd(refuses="etcdserver: invalid downgrade target version")
    with pytest.raises(Failed, match=r"does not go to 3\.6, and no member was changed: .*invalid downgrade target version"):
        etcd_version.prepare(etcd.run(), BACK)


def test_without_an_answer_no_binary_is_changed() -> None:
    with pytest.raises(Failed, match="no etcd member says its version"):
        etcd_version.prepare(Etcd(silent=True).run(), BACK)


def test_a_member_that_an_interrupted_run_stopped_is_started_first() -> None:
    etcd = Etcd(silent=True, active="inactive")
    etcd_version.prepare(etcd.run(), BACK)
    assert etcd.log == []


@pytest.mark.parametrize("target", ["", "3.6.0"], ids=["before it is enabled", "after it"])
def test_no_member_goes_back_while_another_does_not_say_that_its_data_is_rewritten(target: str) -> None:
    etcd = Etcd(answering=2, target=target, storage=target or "3.7.0")
    with pytest.raises(Failed, match=r"2 of 3 etcd members answer, and each must rewrite its data for 3\.6, so none was changed"):
        etcd_version.prepare(etcd.run(), BACK)
    assert etcd.log == []


def test_a_member_that_was_stopped_on_the_way_back_does_not_hold_it_up() -> None:
    etcd = Etcd(answering=2, target="3.6.0", storage="3.6.0", stopped="m2")
    etcd_version.prepare(etcd.run(), BACK)
    assert etcd.log == []


def test_back_from_the_middle_of_an_upgrade_no_data_is_rewritten_and_a_silent_member_is_the_gates_business() -> None:
    etcd = Etcd(answering=2, storage="3.6.0")
    etcd_version.prepare(etcd.run(), BACK)
    assert etcd.log == []
