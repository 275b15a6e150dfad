"""Routes to the pods of other hosts while flannel's backend changes, and the restarts of flanneld."""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from kubewright.observe.live import PodSubnet
from kubewright.observe.observed import UnitState
from kubewright.plan import backends
from kubewright.plan.changes import Action, changes
from kubewright.plan.context import Context
from kubewright.plan.together import Together
from roles.flannel import role as flannel
from roles.pod_routes import role
from tests.support.hosts import carried_out
from tests.support.scenarios import scenario

HOSTS = {"m1": "vxlan", "m2": "vxlan", "m3": "vxlan", "w1": "vxlan", "w2": "vxlan"}


def _context(host: str, wanted: str, *, configured: str = "vxlan", **other: str) -> Context:
    """The lab's `host`; every flanneld has vxlan, but for those of `other`."""
    made = scenario("lab")
    leases = tuple(
        PodSubnet(address=str(made.plan.node(name).address), subnet=f"10.244.{number}.0/24", backend=other.get(name, backend))
        for number, (name, backend) in enumerate(HOSTS.items())
    )
    together = Together(member="m1", backend=configured, subnets=leases)
    return dataclasses.replace(made.context(host), plan=dataclasses.replace(made.plan, backend=wanted), together=together)


def _script(context: Context) -> str:
    (content,) = (f.content for f in role.desired(context).files if f.path == role.SCRIPT)
    assert isinstance(content, bytes)
    return content.decode()


@pytest.mark.parametrize("backend", ["vxlan", "host-gw"])
def test_nothing_is_wanted_while_every_host_has_the_backend(backend: str) -> None:
    assert not role.desired(_context("m1", backend, configured=backend, **dict.fromkeys(HOSTS, backend))).units
    assert not role.desired(dataclasses.replace(_context("m1", "vxlan"), together=Together())).units, "a new cluster"


@pytest.mark.parametrize(
    ("configured", "other"),
    [
        ("vxlan", {}),
        ("host-gw", {}),
        ("host-gw", {"m1": "host-gw", "w1": "host-gw"}),
        ("host-gw", dict.fromkeys(["m1", "m2", "m3", "w1"], "host-gw")),
    ],
    ids=["before it", "etcd has it", "half way", "one is left"],
)  # fmt: skip
def test_each_host_has_two_routes_to_every_other_until_the_last_has_changed(configured: str, other: dict[str, str]) -> None:
    text = _script(_context("w1", "host-gw", configured=configured, **other))
    routes = [line for line in text.splitlines() if line.startswith("route replace")]
    assert len(routes) == 2 * (len(HOSTS) - 1)
    address = scenario("lab").plan.node("m2").address
    assert f"route replace 10.244.1.0/25 via {address} proto 117" in routes
    assert f"route replace 10.244.1.128/25 via {address} proto 117" in routes
    assert not any("10.244.3." in route for route in routes), "its own pods"


def test_a_change_that_is_put_back_keeps_the_routes_until_the_changed_hosts_are_back() -> None:
    assert role.desired(_context("w1", "vxlan", m1="host-gw")).units
    assert role.desired(_context("w1", "vxlan", configured="host-gw")).units


def test_other_routes_are_set_without_a_stop_of_the_unit() -> None:
    context = _context("w1", "host-gw")
    state = carried_out(role.desired(context), context.observed)
    fewer = dataclasses.replace(context.together, subnets=context.together.subnets[:-1])
    found = changes(role.desired(dataclasses.replace(context, together=fewer)), state)
    assert [change.action for change in found.units] == [Action.RELOAD]


def _tried(folder: Path, argument: str, routes_of_vxlan: str = "") -> list[str]:
    """The script's calls of `ip`, with what it got on standard input."""
    (folder / "script").write_text(_script(_context("w1", "host-gw")))
    program = folder / "ip"
    program.write_text(f'#!/bin/sh\necho "$*" >> {folder}/asked\ncase "$*" in *batch*) cat >> {folder}/asked;; '
                       f'*show*) printf "%s" "{routes_of_vxlan}";; esac\n')  # fmt: skip
    program.chmod(0o755)
    done = subprocess.run(
        ["/bin/sh", str(folder / "script"), argument],
        env={"PATH": f"{folder}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return (folder / "asked").read_text().splitlines()


def test_the_script_sets_all_routes_in_one_process(tmp_path: Path) -> None:
    asked = _tried(tmp_path, "add")
    assert asked[0] == "-4 -batch -" and len(asked) == 9 and all(a.startswith("route replace 10.244.") for a in asked[1:])


def test_the_end_removes_the_routes_and_an_unused_vxlan_device(tmp_path: Path) -> None:
    assert _tried(tmp_path, "remove") == ["-4 route flush proto 117", "-4 route show dev flannel.1", "link del flannel.1"]


def test_a_vxlan_device_with_routes_stays(tmp_path: Path) -> None:
    assert "link del flannel.1" not in _tried(tmp_path, "remove", "10.244.1.0/24 via 10.244.1.0 onlink")


@pytest.mark.parametrize(("state", "holds"), [("enabled\n", False), ("disabled\n", True), ("", True)])
def test_verify_names_an_unfinished_change(state: str, holds: bool) -> None:
    class Host:
        def run(self, _command: str) -> SimpleNamespace:
            return SimpleNamespace(stdout=state)

    context = _context("w1", "vxlan")
    (check,) = role.ROLE.checks
    if holds:
        check.run(Host(), context.plan, context.node)
    else:
        with pytest.raises(AssertionError, match=r"is not finished.*run kubewright apply"):
            check.run(Host(), context.plan, context.node)


# -- flanneld


def _restarts(context: Context) -> list[tuple[Action, tuple[str, ...]]]:
    state = carried_out(flannel.desired(context), context.observed)
    assert state.units[flannel.UNIT] != UnitState()
    return [(change.action, change.causes) for change in changes(flannel.desired(context), state).units]


def test_flanneld_restarts_on_hosts_whose_lease_has_another_backend() -> None:
    assert _restarts(_context("w1", "host-gw", m1="host-gw")) == [(Action.RESTART, ("network.backend",))]
    assert _restarts(_context("m1", "host-gw", m1="host-gw")) == []
    # Its host restarted half way, and flanneld read the new backend by itself.
    assert _restarts(_context("w2", "vxlan", w2="host-gw")) == [(Action.RESTART, ("network.backend",))]


def test_a_host_without_a_lease_needs_no_restart() -> None:
    context = dataclasses.replace(_context("w1", "host-gw"), together=Together(backend="vxlan"))
    assert _restarts(context) == []


def test_without_an_answer_of_etcd_a_change_that_began_is_known_by_its_unit() -> None:
    made, silent = scenario("lab"), Together()
    hosts = {name: dataclasses.replace(made.observed(name), installed=()) for name in HOSTS}
    assert not backends.under_way(made.plan, silent, hosts)
    hosts["w1"] = dataclasses.replace(hosts["w1"], installed=(f"unit {role.UNIT}",))
    assert backends.under_way(made.plan, silent, hosts)
