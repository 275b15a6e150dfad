"""Questions that a spec answers alone: groups of hosts, the DNS address, connection settings."""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path

import pytest
from pydantic import ValidationError

from kubewright.spec import ClusterSpec, loads
from tests.support.sshd import made_key

FULL = b"""\
name: prod
network: {services: 10.96.0.0/16}
ssh: {user: deploy, port: 2222, jump: me@bastion.example.org, known_hosts: hosts}
extra_args:
  kube-apiserver: {audit-log-maxage: 60, profiling: null}
hosts:
  - {name: e1, address: 192.0.2.1, roles: [etcd]}
  - name: m1
    address: 192.0.2.2
    roles: [master]
    ssh: {host: 198.51.100.7, user: root, jump: null}
    extra_args: {kube-apiserver: {audit-log-maxage: 30}}
  - {name: w1, address: 192.0.2.3, roles: [worker], system_reserved: {cpu: 0.5, memory: 512Mi, pid: 1000}}
"""


@pytest.fixture
def spec(tmp_path: Path) -> ClusterSpec:
    (tmp_path / "hosts").touch()
    return loads(FULL, folder=tmp_path)


def names(hosts: tuple[object, ...]) -> list[str]:
    return [host.name for host in hosts]  # type: ignore[attr-defined]


def test_roles_make_groups(spec: ClusterSpec) -> None:
    assert names(spec.masters) == ["m1"]
    assert names(spec.workers) == ["w1"]
    assert names(spec.nodes) == ["m1", "w1"]
    assert names(spec.etcd_hosts) == ["e1"]


def test_masters_run_etcd_if_no_host_has_the_role(tmp_path: Path) -> None:
    spec = loads(b"name: x\nhosts: [{name: m1, address: 192.0.2.1, roles: [master]}]", folder=tmp_path)
    assert names(spec.etcd_hosts) == ["m1"]


def test_the_api_has_the_first_and_the_dns_the_tenth_address(spec: ClusterSpec) -> None:
    assert spec.api_service_ip == IPv4Address("10.96.0.1")
    assert spec.dns_ip == IPv4Address("10.96.0.10")


def test_a_host_is_reached_by_the_clusters_settings_unless_it_has_its_own(spec: ClusterSpec, tmp_path: Path) -> None:
    etcd, master, _ = map(spec.ssh_of, spec.hosts)
    assert (etcd.host, etcd.port, etcd.user, etcd.jump) == ("192.0.2.1", 2222, "deploy", "me@bastion.example.org")
    assert (master.host, master.port, master.user, master.jump) == ("198.51.100.7", 2222, "root", None)
    assert master.known_hosts == tmp_path / "hosts"


def test_flags_of_a_host_come_after_the_clusters(spec: ClusterSpec) -> None:
    assert spec.extra_args_of(spec.hosts[1], "kube-apiserver") == {"audit-log-maxage": "30", "profiling": None}
    assert spec.extra_args_of(spec.hosts[0], "kube-apiserver")["audit-log-maxage"] == "60"
    assert spec.extra_args_of(spec.hosts[0], "containerd") == {}


def test_numbers_are_quantities(spec: ClusterSpec) -> None:
    assert spec.hosts[2].system_reserved == {"cpu": "0.5", "memory": "512Mi", "pid": "1000"}


def test_a_home_folder_is_written_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    made_key(tmp_path / "id")
    text = b"name: x\nssh: {key: ~/id}\nhosts: [{name: m1, address: 192.0.2.1, roles: [master]}]"
    assert loads(text, folder=Path("/")).ssh.key == tmp_path / "id"


def test_a_section_with_nothing_in_it_is_the_default(tmp_path: Path) -> None:
    text = b"name: x\nnetwork:\nssh:\nhosts: [{name: m1, address: 192.0.2.1, roles: [master], labels: , ssh: }]"
    assert loads(text, folder=tmp_path).network.domain == "cluster.local"


def test_a_spec_does_not_change(spec: ClusterSpec) -> None:
    with pytest.raises(ValidationError):
        spec.name = "other"  # type: ignore[misc]


def many(hosts: int) -> bytes:
    rows = (
        f"  - name: n{n}\n    address: 172.{16 + n // 62500}.{n // 250 % 250}.{n % 250 + 1}\n"
        f"    roles: [{'master' if n < 3 else 'worker'}]\n    labels: {{example.org/rack: r{n}}}\n"
        for n in range(hosts)
    )
    return b"name: x\nnetwork: {pods: 10.0.0.0/12}\nhosts:\n" + "".join(rows).encode()


def test_a_thousand_hosts_are_read(tmp_path: Path) -> None:
    assert len(loads(many(1000), folder=tmp_path).hosts) == 1000
