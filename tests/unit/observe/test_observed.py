"""A host's observed state, as types.

debian12-cgroup1 under tests/support/observed was recorded on a Debian 12 machine and sanitised (names, addresses, kernel,
packages and sockets replaced; unit states written by hand, since systemd did not run there). The others were derived from it
by hand, in their systems' formats, not recorded on such hosts.
"""

from __future__ import annotations

import datetime as dt
import subprocess
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from deploy.waves import ROLES
from kubewright.observe.observed import INSTALLED, Entry, Interface, Observed, UnitState
from kubewright.observe.places import Places
from kubewright.observe.script import script
from kubewright.observe.text import parse
from kubewright.plan.places import places
from kubewright.releases.systems import PROGRAMS, system_of
from pki import encryption
from pki.store import Store
from tests.support.scenarios import RECORDED, recorded

NOW = dt.datetime(2026, 11, 21, tzinfo=dt.UTC)
ALL = sorted(path.stem for path in RECORDED.glob("*.txt"))


@pytest.mark.parametrize("name", ALL)
def test_every_recording_is_of_a_supported_system(name: str) -> None:
    host = recorded(name)
    assert system_of(host.os_id, host.os_version) is not None


def test_debian_as_it_is_before_the_first_apply() -> None:
    host = recorded("debian12-cgroup1")
    assert (host.os_id, host.os_version, host.architecture, host.cgroup) == ("debian", "12", "amd64", 1)
    assert (host.hostname, host.machine_id) == ("host1", "0123456789abcdef0123456789abcdef")
    assert host.clock == pytest.approx(1795258109.515202)
    assert (host.selinux, host.firewalld, host.swap) == ("disabled", False, False)
    assert host.initial_network_namespace
    assert host.lowers_oom_score
    assert host.addresses == ("127.0.0.1", "192.0.2.11")
    assert host.interfaces["192.0.2.11"] == Interface(name="eth0", mtu=1500, mac="52:54:00:00:00:01")
    assert {"cpu", "memory", "pids"} <= host.cgroup_controllers
    assert host.listening == {("udp", 53): "", ("tcp", 22): "sshd"}
    assert host.free_kib["/opt"] == 56467804
    assert set(host.file_systems.values()) == {"/dev/vda1"}
    assert host.memory_kib == 24684084
    assert host.programs == {"curl", "ip", "iptables", "nft", "tar", "zstd"}
    assert "iproute2" in host.packages
    assert "root" in host.users
    assert (host.entries, host.manifest, host.started_with) == ({}, {}, {})
    assert host.units["etcd.service"] == UnitState(active="inactive", enabled="", started="0")


def test_enterprise_linux_with_selinux_and_firewalld() -> None:
    host = recorded("rocky9-enforcing")
    assert (host.os_id, host.os_version, host.cgroup) == ("rocky", "9.6", 2)
    assert (host.selinux, host.firewalld) == ("enforcing", True)
    assert "firewalld" in host.packages
    assert not recorded("centos9-enforcing").firewalld


def test_ubuntu_while_it_serves() -> None:
    host = recorded("ubuntu2404-running")
    path = "/opt/kubewright/kubelet/1.37.1-abababab/kubelet"
    assert (host.os_id, host.os_version, host.architecture) == ("ubuntu", "24.04", "arm64")
    assert (host.swap, host.lowers_oom_score, host.initial_network_namespace) == (True, False, False)
    assert host.resolv_conf == "/run/systemd/resolve/resolv.conf"
    assert host.entries["/usr/local/bin/kubelet"].target == path
    assert host.entries["/etc/kubernetes/pki/kubelet-server.key"] == Entry(
        kind="f", mode=0o600, owner="root", group="root", size=241, sha256="cd" * 32
    )
    assert host.entries["/var/lib/etcd"].kind == "d"
    assert host.holds(path, "ab" * 32, 55000000)
    assert not host.holds(path, "ab" * 32, 55000001)
    assert host.started_with == {
        "kubelet.service": {"/etc/kubernetes/pki/kubelet-server.key": "cd" * 32, "/usr/local/bin/kubelet": path}
    }
    assert host.units["kubelet.service"] == UnitState(active="active", enabled="enabled", started="71234567", needs_reload=True)
    assert host.runs("kubelet.service")
    assert not host.runs("etcd.service")


@pytest.mark.parametrize("name", ALL)
def test_an_answer_cut_short_anywhere_is_refused(name: str) -> None:
    text = (RECORDED / f"{name}.txt").read_text()
    for size in range(0, len(text) - len("@@end\n"), 397):
        with pytest.raises((ValueError, KeyError)):
            parse(text[:size])
    with pytest.raises(ValueError, match="cut short"):
        parse(text.removesuffix("@@end\n"))


def test_words_before_the_answer_are_skipped() -> None:
    text = (RECORDED / "debian12-cgroup1.txt").read_text()
    assert parse("Last login: today\n" + text) == recorded("debian12-cgroup1")


def test_other_installers_and_unreachable_peers_are_read() -> None:
    pem = "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----"
    said = {
        "token": "prod\n",
        "authorities": f"{pem.format('QQ==')}\n{pem.format('QUE=')}\n",
        "encryption": "20261121-00aa11bb\n",
        "traces": "/var/lib/k0s\n/sys/class/net/cni0\n",
        "peers": "192.0.2.12/2379 no answer in 3 s\n192.0.2.12/6443 No route to host\n",
    }
    text = (RECORDED / "debian12-cgroup1.txt").read_text().replace("@@traces\n", "@@encryption\n@@traces\n")
    for section, lines in said.items():
        text = text.replace(f"@@{section}\n", f"@@{section}\n{lines}")
    host = parse(text)
    assert host.etcd_token == "prod"
    assert host.authorities == {pem.format("QQ=="), pem.format("QUE=")}
    assert host.encryption_keys == {"20261121-00aa11bb"}
    assert host.traces == ("/var/lib/k0s", "/sys/class/net/cni0")
    assert host.blocked == {("192.0.2.12", 2379): "no answer in 3 s", ("192.0.2.12", 6443): "No route to host"}


def test_only_the_names_of_the_keys_of_secrets_leave_the_host(tmp_path: Path) -> None:
    store = Store(tmp_path)
    there = encryption.issue(store, NOW, serving=False)
    there = encryption.advance(store, there.stage, NOW)
    (tmp_path / "encryption.yaml").write_bytes(store.key(encryption.ROW))
    (line,) = [line for line in script((), (), Places()).splitlines() if line.startswith("s encryption; ")]
    asked = line.removeprefix("s encryption; ").replace(encryption.PATH, str(tmp_path / "encryption.yaml"))
    said = subprocess.run(["sh", "-c", asked], capture_output=True, text=True, check=True).stdout
    assert said.splitlines() == [name for name in there.names if name != encryption.IDENTITY]


def test_a_host_with_our_record_looks_for_no_traces_and_asks_no_peers() -> None:
    text = script((), (), Places(), "PROBES")
    for section in ("traces", "peers"):
        (line,) = [line for line in text.splitlines() if line.startswith(f"s {section};")]
        assert line.startswith(f"s {section}; [ -e {INSTALLED} ] || ")


def test_the_observing_command_runs_here_and_its_answer_can_be_read() -> None:
    done = subprocess.run(
        ["sh", "-c", script(("x.service",), PROGRAMS, places(ROLES))], capture_output=True, text=True, check=True
    )
    found: Observed = parse(done.stdout)
    assert found.os_id
    assert found.cgroup in (1, 2)
    assert "127.0.0.1" in found.addresses
    assert found.interfaces["127.0.0.1"].name == "lo"
    assert found.interfaces["127.0.0.1"].mtu >= 1500
    assert {"cpu", "memory"} <= found.cgroup_controllers
    assert all(IPv4Address(address) for address in found.addresses)
    assert found.programs <= set(PROGRAMS)


def test_payloads_are_rehashed_only_when_it_is_asked_for() -> None:
    assert "find /opt/kubewright -type f ! -name .manifest" in script(("x.service",), PROGRAMS, places(ROLES), deep=True)
    assert "find /opt/kubewright" not in script(("x.service",), PROGRAMS, places(ROLES))
    path, sums = "/opt/kubewright/kubelet/1.37.1-abababab/kubelet", "@@sums\n"
    text = (RECORDED / "ubuntu2404-running.txt").read_text()
    whole, flipped = (parse(text.replace(sums, f"{sums}{sha * 32}  {path}\n")) for sha in ("ab", "ac"))
    assert whole.holds(path, "ab" * 32, 55000000) and not whole.damaged(path)
    assert flipped.damaged(path) and not flipped.holds(path, "ab" * 32, 55000000)


def test_facts_are_read_from_a_master_and_missing_where_nothing_was_asked() -> None:
    text = (RECORDED / "debian12-cgroup1.txt").read_text()
    assert (parse(text).api, parse(text).facts) == (None, {})
    master = parse(text.replace("@@nodes\n", "@@nodes\nm1\tabc\tv1.37.1\tTrue\t\t192.0.2.1\tzone=a,\t\t\n.\n"))
    assert master.api is not None
    assert [node.address for node in master.api.nodes] == ["192.0.2.1"]
    assert master.facts["label zone of m1"] == "a"


@pytest.mark.parametrize(
    ("servers", "said"),
    [
        ("nameserver 192.0.2.53\n", "1"),
        ("nameserver\t192.0.2.53\nnameserver 1.127.0.1\n", "1"),
        ("nameserver 127.0.0.53\n", "own"),
        ("nameserver 192.0.2.53\nnameserver ::1\n", "own"),
        ("search example.org\n# nameserver 192.0.2.53\n", "0"),
        (None, "0"),
    ],
)
def test_a_resolver_on_the_loopback_is_told_from_servers_that_pods_reach(servers: str | None, said: str, tmp_path: Path) -> None:
    if servers is not None:
        (tmp_path / "resolv.conf").write_text(servers)
    whole = script((), (), Places())
    begin = whole.index("case $(sed -n 's/^nameserver")
    part = f"f={tmp_path}/resolv.conf\n{whole[begin : whole.index('esac', begin) + 4]}"
    assert subprocess.run(["sh", "-c", part], capture_output=True, text=True, check=True).stdout == f"nameserver={said}\n"
