"""Reset hosts, and a rebuilt one.

The tests depend on each other, in this order; at the end the cluster has lost a member. About three minutes.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster.conftest import THREE, Cluster, kubewright
from tests.cluster.killing import converged, edit

pytestmark = pytest.mark.cluster


def _starts_of(cluster: Cluster, unit: str, hosts: tuple[str, ...]) -> list[str]:
    return [cluster.ssh(host, f"systemctl show -p ActiveEnterTimestampMonotonic {unit}").stdout for host in hosts]


def test_reset_asks_for_the_name_takes_a_snapshot_and_leaves_a_host_that_apply_works_on(three_masters: Cluster) -> None:
    refused = three_masters.kubewright("reset", "--confirm", "wrong", check=False)
    assert refused.returncode == 1
    assert "nothing was removed" in refused.stderr
    three_masters.verified()
    said = three_masters.kubewright("reset", "--confirm", "lab").stdout
    assert "what stays: " in said
    (snapshot,) = (three_masters.inventory / "backups").iterdir()
    assert snapshot.stat().st_mode & 0o777 == 0o600
    assert snapshot.stat().st_size > 100_000
    look = (
        "ls -d /etc/kubernetes /etc/etcd /var/lib/etcd /var/log/kubernetes; "
        "ls -d /opt/kubewright /var/lib/kubewright /etc/systemd/system/k*.service; "
        "iptables-save | grep -E 'KUBE-|CNI-|FLANNEL'; nft list tables | grep -E 'kube|flannel'; "
        "ip -o link | grep -E 'cni0|flannel'; grep -E 'kubelet/|containerd/' /proc/mounts; "
        "pgrep -a 'kube|etcd|containerd|flannel'; true"
    )
    for host in ("m1", "m2", "m3"):
        assert three_masters.ssh(host, look).stdout == "", host


def test_apply_works_on_hosts_that_were_reset(three_masters: Cluster) -> None:
    """Killed at random moments in `make soak`."""
    three_masters.kubewright("apply")
    converged(three_masters)


def test_a_saved_plan_is_refused_when_a_host_was_rebuilt(three_masters: Cluster, tmp_path: Path) -> None:
    edit(three_masters, "{kube-apiserver: {event-ttl: 6h}}")
    saved = tmp_path / "p.kw"
    assert three_masters.kubewright("plan", "-o", str(saved), check=False).returncode == 2
    starts = _starts_of(three_masters, "kube-apiserver", ("m1", "m2"))
    trusted = three_masters.lab.known_hosts
    before = trusted.read_text()
    kubewright("lab", "rebuild", "--name", THREE, "m3")
    after = trusted.read_text()
    trusted.write_text(before)
    refused = three_masters.kubewright("apply", str(saved), check=False)
    assert refused.returncode == 1
    assert "m3: its SSH host key is not the known one" in refused.stdout
    # A person's next step: the new key is the host's own, so known_hosts gets it.
    trusted.write_text(after)
    refused = three_masters.kubewright("apply", str(saved), check=False)
    assert refused.returncode == 1
    assert "m3: it is empty, and would begin a new etcd where a cluster is already" in refused.stdout
    assert "\n  m1:" not in refused.stdout and "\n  m2:" not in refused.stdout, "those have not moved"
    assert _starts_of(three_masters, "kube-apiserver", ("m1", "m2")) == starts
    assert three_masters.ssh("m3", "ls /var/lib/kubewright", check=False).stdout == ""
