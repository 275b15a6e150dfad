"""Hosts of one kind share content about all nodes, so a plan does not grow with the square of their number."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from benchmarks import clusters, compute_run
from deploy.waves import ROLES
from kubewright.model.build import make_plan
from kubewright.plan.desired import File
from kubewright.releases import DEFAULT
from kubewright.spec import loads


def _openings(folder: Path) -> dict[str, File]:
    plan = make_plan(loads(clusters.document(clusters.addresses(6)).encode(), folder=folder))
    walled = replace(clusters.recorded(), firewalld=True)
    observed = {node.name: clusters.bare(walled, node) for node in plan.nodes}
    firewall, bundle = next(role for role in ROLES if role.name == "firewall"), clusters.bundle(DEFAULT, "amd64")
    contexts = compute_run.contexts(plan, observed, {}, bundle)
    return {name: firewall.desired(context).late[0] for name, context in contexts}


def test_workers_share_one_firewall_file_and_masters_another(tmp_path: Path) -> None:
    found = _openings(tmp_path)
    master, *others = [found[name] for name in ("n0001", "n0002", "n0003")]
    worker, *rest = [found[name] for name in ("n0004", "n0005", "n0006")]
    assert all(file is master for file in others) and all(file is worker for file in rest)
    assert master != worker


def test_each_port_is_open_only_to_its_clients(tmp_path: Path) -> None:
    content = _openings(tmp_path)["n0004"].content
    assert isinstance(content, bytes)
    rules = content.decode().split("<rule")
    addresses = clusters.addresses(6)
    kubelet = [rule for rule in rules if 'port="10250"' in rule]
    assert len(kubelet) == 3 and all(any(addresses[n] in rule for rule in kubelet) for n in ("n0001", "n0002", "n0003"))
    assert sum('port="8472"' in rule for rule in rules) == 6
    assert [rule for rule in rules if 'port="10256"' in rule and "source" not in rule]
