"""What a live cluster allows, from the versions that run on every host and node."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import pytest

from kubewright.errors import Problem
from kubewright.plan.move import Move, Running
from kubewright.releases import SUPPORTED, release_for
from kubewright.releases.version import Version
from kubewright.verbs.upgrade import skew

ETCD = {release.kubernetes: release.etcd for release in SUPPORTED}
CONTROL = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")


def _up(to: str) -> Move:
    return Move(verb="upgrade", target=release_for(to))


def _back(to: str) -> Move:
    return Move(verb="rollback", target=release_for(to))


def _running(
    masters: Mapping[str, str], kubelets: Mapping[str, str] | None = None, etcd: str | Mapping[str, str] = "",
    nodes: Mapping[str, str] | None = None, **controllers: str,
) -> Running:  # fmt: skip
    """Masters with their version, which everything on them has; other kubelets; nodes that cluster.yaml does not name."""
    members = etcd if isinstance(etcd, Mapping) else {name: etcd or ETCD[version] for name, version in masters.items()}
    own = {name: {host: Version.parse(controllers.get(name.replace("-", "_"), version)) for host, version in masters.items()}
           for name in CONTROL}  # fmt: skip
    every = {name: Version.parse(version) for name, version in {**masters, **(kubelets or {})}.items()}
    strangers = {name: Version.parse(version) for name, version in (nodes or {}).items()}
    return Running(
        components={**own, "kubelet": every, "etcd": {name: Version.parse(version) for name, version in members.items()}},
        nodes={**every, **strangers},
    )


# Apiservers go before everything else of their hosts.
HALF_WAY = _running({"m1": "1.36.3", "m2": "1.36.3"}, etcd="3.7.3")
HALF_WAY = Running(
    components={**HALF_WAY.components, "kube-apiserver": {"m1": Version(1, 36, 3), "m2": Version(1, 37, 1)}}, nodes=HALF_WAY.nodes
)


def _texts(found: list[Problem]) -> str:
    return "\n".join(map(str, found))


@pytest.mark.parametrize(
    ("running", "to"),
    [
        (_running({"m1": "1.35.4"}), "1.36.3"),
        (_running({"m1": "1.36.3", "m2": "1.36.3"}, {"w1": "1.36.3"}), "1.37.1"),
        (_running({"m1": "1.37.0"}), "1.37.1"),
        (HALF_WAY, "1.37.1"),
        (_running({"m1": "1.37.1"}), "1.37.1"),
        (_running({"m1": "1.36.3"}, etcd="3.7.3"), "1.37.1"),
        (_running({"m1": "1.36.3"}, etcd={"m1": "3.6.14", "m2": "3.7.3"}), "1.37.1"),
        (_running({"m1": "1.36.3"}, {"w1": "1.34.0"}), "1.37.1"),
    ],
    ids=["one minor", "three hosts", "a patch", "resumed", "done", "etcd is done", "etcd half done", "an old kubelet"],
)
def test_what_the_skew_policy_allows_is_allowed(running: Running, to: str) -> None:
    assert skew.findings(running, _up(to)) == []


def test_a_skipped_minor_is_refused_with_the_release_between() -> None:
    found = skew.findings(_running({"m1": "1.35.4", "m2": "1.35.4"}), _up("1.37.1"))
    texts = [str(p) for p in found if "kube-apiserver" in p.what]
    assert texts == [
        "m1, m2: kube-apiserver runs 1.35.4, and 1.37.1 skips a minor release; "
        "allowed: one minor release at a time: 1.36.3; kubewright upgrade --to 1.36.3 -i INVENTORY first"
    ]


def test_one_master_that_was_left_behind_makes_it_a_skip() -> None:
    found = skew.findings(_running({"m1": "1.36.3", "m2": "1.35.4"}), _up("1.37.1"))
    assert {p.where for p in found if "skips" in p.what} == {"m2"}


@pytest.mark.parametrize(("runs", "to"), [("1.37.1", "1.36.3"), ("1.37.1", "1.37.0"), ("1.36.3", "1.35.4")])
def test_an_earlier_release_is_for_rollback(runs: str, to: str) -> None:
    texts = _texts(skew.findings(_running({"m1": runs}), _up(to)))
    assert f"kube-apiserver runs {runs}, which is later than {to}" in texts
    assert "kubewright rollback" in texts


def test_a_kubelet_that_is_newer_than_an_apiserver_is_refused() -> None:
    found = skew.findings(_running({"m1": "1.36.3"}, {"w1": "1.37.1", "w2": "1.36.3"}), _up("1.37.1"))
    assert [(p.where, p.what) for p in found] == [("w1", "kubelet runs 1.37.1, which is newer than an apiserver (1.36.3)")]


def test_a_node_that_cluster_yaml_does_not_name_counts_too() -> None:
    found = skew.findings(_running({"m1": "1.36.3"}, nodes={"alien": "1.37.0", "old": "1.33.9"}), _up("1.37.1"))
    assert [(p.where, p.what) for p in found] == [
        ("alien", "kubelet runs 1.37.0, which is newer than an apiserver (1.36.3)"),
        ("old", "kubelet runs 1.33.9, more than 3 minor releases before 1.37.1"),
    ]


def test_a_controller_that_is_newer_than_an_apiserver_is_refused() -> None:
    texts = _texts(skew.findings(_running({"m1": "1.36.3"}, kube_scheduler="1.37.1"), _up("1.37.1")))
    assert "m1: kube-scheduler runs 1.37.1, which is newer than an apiserver (1.36.3)" in texts


@pytest.mark.parametrize(("runs", "allowed"), [("3.6.10", False), ("3.6.0", False), ("3.6.11", True), ("3.6.14", True)])
def test_etcd_goes_to_3_7_only_from_3_6_11_on(runs: str, allowed: bool) -> None:
    texts = _texts(skew.findings(_running({"m1": "1.36.3"}, etcd=runs), _up("1.37.1")))
    assert (texts == "") is allowed
    assert allowed or (
        "can't be upgraded to 3.7.3" in texts and "kubewright upgrade --to 1.36.3 -i INVENTORY (etcd 3.6.14)" in texts
    )


def test_etcd_skips_no_minor_release() -> None:
    assert "etcd runs 3.5.33, and 3.7.3 skips a minor release" in _texts(
        skew.findings(_running({"m1": "1.36.3"}, etcd="3.5.33"), _up("1.37.1"))
    )


def test_a_later_etcd_than_the_release_comes_with_is_for_rollback() -> None:
    texts = _texts(skew.findings(_running({"m1": "1.36.3"}, etcd={"m1": "3.7.3"}), _up("1.36.3")))
    assert "etcd runs 3.7.3, and 1.36.3 comes with 3.6.14" in texts and "kubewright rollback" in texts


@pytest.mark.parametrize(
    "running",
    [
        _running({"m1": "1.37.1"}, {"w1": "1.37.1"}),
        _running({"m1": "1.37.1"}, {"w1": "1.36.3"}),
        _running({"m1": "1.36.3"}, {"w1": "1.36.3"}, etcd="3.7.3"),
        _running({"m1": "1.36.3"}),
    ],
    ids=["from the end", "nodes are back", "all but etcd", "done"],
)
def test_one_minor_back_is_allowed_wherever_it_stands(running: Running) -> None:
    assert skew.findings(running, _back("1.36.3")) == []


def test_two_minors_back_are_refused_and_the_snapshot_is_named() -> None:
    texts = _texts(skew.findings(_running({"m1": "1.37.1"}), _back("1.35.4")))
    assert "kube-apiserver runs 1.37.1, more than one minor release after 1.35.4" in texts
    assert "only the snapshot leads back" in texts


def test_a_foreign_node_that_would_be_newer_than_the_apiservers_stops_a_rollback() -> None:
    found = skew.findings(_running({"m1": "1.37.1"}, nodes={"alien": "1.37.1"}), _back("1.36.3"))
    assert [(p.where, p.what) for p in found] == [("alien", "kubelet runs 1.37.1, which is newer than an apiserver (1.36.3)")]


def test_every_pair_of_releases_is_decided() -> None:
    """One minor up, patches up, and nothing else."""
    for old in SUPPORTED:
        for new in SUPPORTED:
            allowed = not skew.findings(_running({"m1": old.kubernetes}), _up(new.kubernetes))
            gap = new.version.minor - old.version.minor
            assert allowed == (new.version >= old.version and gap <= 1), (old, new)


def test_only_the_snapshot_leads_back_over_more_than_one_minor_release() -> None:
    assert skew.only_snapshot(_running({"m1": "1.36.3"}), _up("1.37.1")) == ""
    assert skew.only_snapshot(_running({"m1": "1.35.4"}), _up("1.37.1")) == "kube-apiserver goes from 1.35.4 to 1.37.1"
    assert skew.only_snapshot(_running({"m1": "1.36.3"}, etcd="3.5.33"), _up("1.37.1")) == "etcd goes from 3.5.33 to 3.7.3"


@pytest.mark.parametrize(
    ("running", "kept", "release"),
    [
        (_running({"m1": "1.37.1"}), {"m1": {"1.36.3"}}, "1.36.3"),
        (_running({"m1": "1.37.1", "m2": "1.37.1"}), {"m1": {"1.36.3"}, "m2": {"1.36.3"}}, "1.36.3"),
        (_running({"m1": "1.36.3", "m2": "1.37.1"}), {"m1": set(), "m2": set()}, "1.36.3"),
        (_running({"m1": "1.37.1"}, {"w1": "1.36.3"}), {"m1": {"1.35.4"}}, "1.36.3"),
        (_running({"m1": "1.36.3"}, etcd="3.7.3"), {"m1": {"1.35.4"}}, "1.36.3"),
        (_running({"m1": "1.36.3"}), {"m1": {"1.36.3"}}, "1.36.3"),
        (_running({"m1": "1.37.1"}), {"m1": set()}, None),
        (_running({"m1": "1.36.3"}), {"m1": {"1.37.1"}}, None),
        (_running({"m1": "1.37.1", "m2": "1.37.1"}), {"m1": {"1.36.3"}, "m2": {"1.37.0"}}, None),
        (_running({"m1": "1.37.1", "m2": "1.37.1"}), {"m1": {"1.36.3"}, "m2": set()}, "1.36.3"),
        (_running({}), {}, None),
    ],
    ids=[
        "from the end", "all masters agree", "from the middle", "nodes left", "only etcd was moved", "the end of a rollback",
        "a fresh cluster", "already back", "masters differ",
        "a master joined later", "no cluster",
    ],
)  # fmt: skip
def test_the_release_before_is_what_runs_or_what_the_masters_kept(
    running: Running, kept: dict[str, set[str]], release: str | None
) -> None:
    found = skew.before(running, {name: frozenset(versions) for name, versions in kept.items()}, Version(1, 35, 4))
    assert (found.kubernetes if found else None) == release


@pytest.mark.parametrize(
    ("named", "sent"),
    [("1.37.1", set()), ("1.36.3", {"1.36.3", "1.37.1"})],
    ids=["cluster.yaml still names the later one", "its folder is still there"],
)
def test_a_rollback_that_has_not_ended_goes_no_further_back(named: str, sent: set[str]) -> None:
    """All versions are back already, and the masters still have what they had before the release that runs."""
    found = skew.before(
        _running({"m1": "1.36.3"}), {"m1": frozenset({"1.35.4"})}, Version.parse(named), frozenset(map(Version.parse, sent))
    )
    assert found is not None and found.kubernetes == "1.36.3"


@pytest.mark.parametrize(
    ("running", "to", "begun"),
    [
        (_running({"m1": "1.36.3"}), "1.37.1", False),
        (_running({"m1": "1.36.3"}, etcd={"m1": "3.7.3", "m2": "3.6.14"}), "1.37.1", True),
        (_running({"m1": "1.36.3"}, etcd="3.7.3"), "1.37.1", True),
        (HALF_WAY, "1.37.1", True),
        (_running({"m1": "1.37.1"}), "1.37.1", False),
        (_running({"m1": "1.35.4"}), "1.36.3", False),
        (_running({"m1": "1.37.0"}), "1.37.1", False),
    ],
    ids=["before", "etcd half", "etcd", "apiservers half", "after", "the same etcd", "a patch with the same etcd"],
)
def test_whether_a_move_has_begun_follows_from_what_runs(running: Running, to: str, begun: bool) -> None:
    assert running.begun(_up(to)) is begun


def test_a_node_that_cluster_yaml_does_not_name_makes_no_move_look_begun() -> None:
    foreign = dataclasses.replace(_running({"m1": "1.37.0"}), nodes={"foreign": Version(1, 37, 1)})
    assert not foreign.begun(_up("1.37.1"))
