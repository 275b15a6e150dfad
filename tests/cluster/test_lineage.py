"""A live cluster keeps its fixed settings: every edit of one is refused, and nothing is written anywhere.

Takes about a minute and a half on the shared cluster.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from kubewright.model.lineage import PATH, parse
from tests.cluster.conftest import Cluster
from tests.cluster.seen import Seen, local, see

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def settled(cluster: Cluster) -> Iterator[Cluster]:
    cluster.kubewright("apply")
    yield cluster
    cluster.kubewright("apply")


@pytest.fixture(scope="module")
def untouched(settled: Cluster) -> Seen:
    """The hosts before the first edit."""
    return see(settled)


@pytest.fixture
def text(settled: Cluster) -> Iterator[str]:
    """The cluster's own cluster.yaml, restored afterwards."""
    path = settled.inventory / "cluster.yaml"
    before = path.read_text()
    yield before
    path.write_text(before)


def _dropped(text: str, host: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if f"name: {host}," not in line)


EDITS: dict[str, tuple[Callable[[str], str], str]] = {
    "services": (lambda t: t + "network: {services: 10.112.0.0/16}\n", "network.services"),
    "pods": (lambda t: t + "network: {pods: 10.200.0.0/16}\n", "network.pods"),
    "pod_prefix_length": (lambda t: t + "network: {pod_prefix_length: 25}\n", "network.pod_prefix_length"),
    "backend": (lambda t: t + "network: {backend: wireguard}\n", "network.backend"),
    "domain": (lambda t: t + "network: {domain: example.org}\n", "network.domain"),
    "dns": (lambda t: t + "network: {dns: 10.96.0.53}\n", "network.dns"),
    "api.port": (lambda t: t + "api: {port: 7443}\n", "api.port"),
    "cluster name": (lambda t: t.replace("name: lab\n", "name: other\n"), "cluster.yaml name"),
    "a worker's name": (lambda t: t.replace("name: w2,", "name: w9,"), "w9: can't get another name"),
    "a worker's address": (
        lambda t: t.replace("address: 10.90.0.22", "ssh: {host: 10.90.0.22}, address: 10.90.0.29"),
        "w2: can't get another address on a live cluster (10.90.0.22 -> 10.90.0.29)",
    ),
    "an earlier minor": (lambda t: t + "kubernetes: 1.36.3\n", "an earlier release (1.37.1 -> 1.36.3)"),
    "an earlier patch": (lambda t: t + "kubernetes: 1.37.0\n", "an earlier release (1.37.1 -> 1.37.0)"),
    "a worker is dropped": (lambda t: _dropped(t, "w2"), "w2: a node that is Ready is not in cluster.yaml"),
    "a master is dropped": (lambda t: _dropped(_dropped(t, "m3"), "m2"), "etcd: its members are not those"),
}


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("edit", list(EDITS))
def test_an_edit_that_a_live_cluster_cannot_take_exits_3_and_writes_nothing(settled: Cluster, text: str, edit: str) -> None:
    change, said = EDITS[edit]
    assert change(text) != text
    (settled.inventory / "cluster.yaml").write_text(change(text))
    files = local(settled)
    done = settled.kubewright("apply", check=False)
    assert done.returncode == 3, done.stdout + done.stderr
    assert said in done.stdout + done.stderr
    assert "nothing was changed" in done.stdout
    planned = settled.kubewright("plan", check=False)
    assert planned.returncode == 3 and said in planned.stdout + planned.stderr
    assert local(settled) == files


def test_no_host_was_written_to_by_any_of_them(settled: Cluster, untouched: Seen) -> None:
    """After the edits above."""
    assert not see(settled).touched(untouched)


def test_explicit_roles_like_the_present_ones_are_no_edit(settled: Cluster, text: str) -> None:
    """Masters run etcd where no host has that role: the explicit role changes nothing."""
    (settled.inventory / "cluster.yaml").write_text(text.replace("roles: [master]", "roles: [master, etcd]"))
    assert "nothing to change" in settled.kubewright("apply").stdout


def test_a_cluster_without_a_record_is_adopted_from_its_live_state(settled: Cluster, text: str) -> None:
    """As with clusters that an earlier kubewright made."""
    masters = [host.name for host in settled.lab.hosts if host.name.startswith("m")]
    made = parse(settled.ssh("m1", f"cat {PATH}").stdout)
    for host in masters:
        settled.ssh(host, f"rm {PATH}")
    (settled.inventory / "cluster.json").unlink()
    settled.kubectl("-n", "kube-system", "delete", "configmap", "kubewright")
    (settled.inventory / "cluster.yaml").write_text(text + "network: {services: 10.112.0.0/16, pods: 10.200.0.0/16}\n")
    refused = settled.kubewright("apply", check=False)
    assert refused.returncode == 3 and "10.96.0.0/16 -> 10.112.0.0/16" in refused.stdout, refused.stdout
    (settled.inventory / "cluster.yaml").write_text(text)
    settled.kubewright("apply")
    assert [parse(settled.ssh(host, f"cat {PATH}").stdout) for host in masters] == [made] * len(masters)
    assert parse((settled.inventory / "cluster.json").read_text()) == made
    found = json.loads(settled.kubectl("-n", "kube-system", "get", "configmap", "kubewright", "-o", "json").stdout)
    assert parse(found["data"]["cluster.json"]) == made
    assert "nothing to change" in settled.kubewright("apply").stdout


def test_a_host_whose_machine_is_another_clusters_is_named(settled: Cluster, text: str) -> None:
    """The record has the cluster's UID of kube-system."""
    made = settled.ssh("m2", f"cat {PATH}").stdout
    uid = parse(made).uid
    settled.ssh("m2", f"sed -i s/{uid}/00000000-0000-4000-8000-000000000000/ {PATH}")
    try:
        planned = settled.kubewright("plan", check=False)
        assert planned.returncode == 1 and "m2: it has the record of another cluster" in planned.stdout + planned.stderr
    finally:
        settled.ssh("m2", f"cat > {PATH}", stdin=made)
    assert settled.kubewright("plan", check=False).returncode == 0


@pytest.mark.soak
def test_a_wider_range_of_services_is_used_and_existing_addresses_stay(settled: Cluster) -> None:
    """The wider range stays for the later tests."""
    text = (settled.inventory / "cluster.yaml").read_text()
    wide = text + "network: {services: 10.96.0.0/12}\n"

    def addresses() -> set[str]:
        return set(settled.kubectl("get", "services", "-A", "-o", "jsonpath={.items[*].spec.clusterIP}").stdout.split())

    before = addresses()
    (settled.inventory / "cluster.yaml").write_text(wide)
    planned = settled.kubewright("plan", check=False)
    assert planned.returncode == 2 and "rolling: cluster.yaml network.services: a wider range" in planned.stdout, planned.stdout
    settled.kubewright("apply")
    try:
        made = settled.kubectl("create", "service", "clusterip", "kw-wide", "--tcp=80", "--clusterip=10.111.0.7", "-n", "default")
        assert made.stdout == "service/kw-wide created\n"
        assert addresses() == before | {"10.111.0.7"}
        settled.verified()
        assert "nothing to change" in settled.kubewright("apply").stdout
        (settled.inventory / "cluster.yaml").write_text(text)
        narrower = settled.kubewright("apply", check=False)
        assert narrower.returncode == 3 and "10.96.0.0/12 -> 10.96.0.0/16" in narrower.stdout
    finally:
        (settled.inventory / "cluster.yaml").write_text(wide)
        settled.kubectl("-n", "default", "delete", "service", "kw-wide")
