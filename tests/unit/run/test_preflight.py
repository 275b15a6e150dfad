"""Every finding on every host, at once, each with what to do."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import pytest

from deploy.waves import ROLES
from kubewright.observe import facts, observed
from kubewright.observe.installers import INSTALLERS, Installer
from kubewright.observe.live import Etcd, PodSubnet
from kubewright.observe.observed import INSTALLED, Entry, Interface, Observed, UnitState
from kubewright.observe.text import certificates
from kubewright.plan.leftovers import everything
from kubewright.plan.peers import peer_ports
from kubewright.run.preflight import Cluster, problems
from pki import encryption
from pki.authorities import ETCD, KUBERNETES
from tests.pki.brought import MIDDLE
from tests.support.scenarios import scenario

PLAN = scenario("lab").plan
HOSTS = {node.name: scenario("lab").observed(node.name) for node in PLAN.nodes}
NOW = HOSTS["m1"].clock
OURS = frozenset(
    found for name in (KUBERNETES.name, ETCD.name) for found in certificates(scenario("lab").store.entries[name].certificate)
)
ENTRIES = scenario("lab").store.entries
AUTHORITIES = set(observed.AUTHORITIES)
BEGUN = {"installed": ("unit etcd.service",)}


def _judged(hosts: dict[str, Observed], **settings: object) -> list[str]:
    plan = dataclasses.replace(PLAN, **settings)  # type: ignore[arg-type]
    cluster = Cluster(plan=plan, roles=ROLES, peer_ports=peer_ports(plan, ROLES), observed=hosts, entries=ENTRIES)
    return [str(problem) for problem in problems(cluster, dict.fromkeys(hosts, NOW))]


def _changed(name: str, changed: Mapping[str, object]) -> dict[str, Observed]:
    return {**HOSTS, name: dataclasses.replace(HOSTS[name], **changed)}  # type: ignore[arg-type]


def _found(changed: Mapping[str, object], name: str = "m1", **settings: object) -> list[str]:
    return _judged(_changed(name, changed), **settings)


def _card(name: str, mtu: int = 1500, mac: str = "52:54:00:00:00:01") -> dict[str, object]:
    return {"interfaces": {str(PLAN.node(name).address): Interface(name="eth1", mtu=mtu, mac=mac)}}


def _file(*paths: str) -> dict[str, object]:
    return {"entries": {path: Entry(kind="f", mode=0o644, owner="root", group="root", size=1) for path in paths}}


def test_fit_hosts_have_no_findings() -> None:
    assert _found({}) == []


SUPPORTED = "debian 12/13, ubuntu 24.04, centos 9/10, rhel 9/10, rocky 9/10, almalinux 9/10"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"os_id": "fedora", "os_version": "42"},
            f"m1: an operating system that kubewright does not know (fedora 42); allowed: {SUPPORTED}; install one of these",
        ),
        (
            {"os_id": "", "os_version": ""},
            f"m1: an operating system that kubewright does not know (? ); allowed: {SUPPORTED}; install one of these",
        ),
        ({"architecture": "s390x"}, "m1: an unsupported architecture (s390x); allowed: amd64 or arm64; use another host"),
        (
            {"free_kib": {"/opt": 1 << 20}},
            "m1: too little space under /opt (1024 MiB free); allowed: at least 4096 MiB; free some or mount a larger disk there",
        ),
        (
            {"free_kib": {"/etc": 1 << 10}},
            "m1: too little space under /etc (1 MiB free); allowed: at least 100 MiB; free some or mount a larger disk there",
        ),
        (
            {"clock": NOW + 61},
            "m1: its clock differs from this machine's by +61 s; allowed: at most 60 s; "
            "synchronise both (chrony), certificates depend on it",
        ),
        (
            {"clock": NOW - 3600},
            "m1: its clock differs from this machine's by -3600 s; allowed: at most 60 s; "
            "synchronise both (chrony), certificates depend on it",
        ),
        (
            {"memory_kib": 1 << 20},
            "m1: too little memory for a master (1024 MiB); allowed: at least 1700 MiB; give it more, or make it a worker",
        ),
        (
            {"addresses": ("127.0.0.1", "10.0.2.15")},
            "m1: no interface has its address (10.90.0.11); allowed: one of its own: 10.0.2.15; "
            "correct hosts[].address in cluster.yaml, or ssh.host if this is another machine",
        ),
        (
            {"listening": {("tcp", 6443): "nginx"}},
            "m1: port 6443 is taken (by nginx); "
            "allowed: a port that is free for kube-apiserver; stop what listens there, or move it",
        ),
        (
            {"listening": {("tcp", 2379): ""}},
            "m1: port 2379 is taken (by an unnamed process); "
            "allowed: a port that is free for etcd; stop what listens there, or move it",
        ),
        (
            {"machine_id": HOSTS["w1"].machine_id},
            f"m1, w1: the same machine-id ({HOSTS['w1'].machine_id}); allowed: each host has its own; "
            "on clones: rm /etc/machine-id && systemd-machine-id-setup, then reboot",
        ),
        (
            {"kernel": "4.18.0-553.el8_10.x86_64"},
            "m1: its kernel is too old (Linux 4.18.0-553.el8_10.x86_64); allowed: 4.19 or later, for Kubernetes 1.37.1; "
            "boot a newer kernel of its system",
        ),
        (
            {"kernel": "5.4.0", "cgroup": 2, "cgroup_controllers": frozenset(("cpu", "cpuset", "memory", "pids"))},
            "m1: its kernel is too old (Linux 5.4.0); "
            "allowed: 5.8 or later, for cgroup version 2; boot a newer kernel of its system",
        ),
        (
            {"cgroup_controllers": HOSTS["m1"].cgroup_controllers - {"memory", "pids"}},
            "m1: cgroup controllers that kubelet needs are missing (memory, pids); allowed: "
            "with cgroup version 1: cpu, cpuacct, cpuset, devices, freezer, memory, pids; enable them on the kernel's "
            "command line (no cgroup_disable=; some boards want cgroup_enable=), then reboot",
        ),
        (
            _card("m1", mtu=1329),
            "m1: the MTU of eth1, which has its address, is too small for vxlan (1329); "
            "allowed: at least 1330, so that pods have 1280; "
            "ip link set eth1 mtu 1500, and in the system's network settings, if the network carries it",
        ),
        (
            _card("m1", mac=HOSTS["w1"].interfaces[str(PLAN.node("w1").address)].mac),
            f"m1, w1: the same MAC address ({HOSTS['w1'].interfaces[str(PLAN.node('w1').address)].mac}); allowed: "
            "each host has its own; on clones: give each virtual machine's network card an address of its own",
        ),
        (
            {"hostname": "m2"},
            "m1, m2: the same hostname (m2); "
            "allowed: each host has its own; hostnamectl set-hostname NAME, another on each master",
        ),
        (
            {"traces": ("/etc/kubernetes/manifests/etcd.yaml", "/etc/kubernetes/kubelet.conf")},
            "m1: kubeadm left something here (/etc/kubernetes/manifests/etcd.yaml, /etc/kubernetes/kubelet.conf); "
            "allowed: a host without parts of another cluster; "
            "kubeadm reset, then remove the packages kubeadm and kubelet and what is left of these paths",
        ),
        (
            {"traces": ("/sys/class/net/cni0", "/sys/class/net/cali12345")},
            "m1: a pod network left something here (/sys/class/net/cni0, /sys/class/net/cali12345); allowed: "
            "a host without parts of another cluster; stop what makes it, then ip link delete each of them, or reboot",
        ),
        (
            {**_file("/etc/systemd/system/etcd.service"), "etcd_token": "etcd-cluster-0"},
            "m1: etcd.service exists already, and is not kubewright's (/etc/systemd/system/etcd.service); allowed: "
            "no unit of that name that kubewright did not write; "
            "systemctl disable --now etcd.service, then remove the unit or its package",
        ),
        (
            {"units": {"containerd.service": UnitState(active="active", enabled="enabled")}},
            "m1: containerd.service exists already, and is not kubewright's (it runs); allowed: "
            "no unit of that name that kubewright did not write; "
            "systemctl disable --now containerd.service, then remove the unit or its package",
        ),
        (
            _file("/etc/cni/net.d/10-calico.conflist", "/etc/cni/net.d/87-podman.conflist", "/etc/cni/net.d/00-note.txt"),
            "m1: another pod network's configuration would be taken instead of ours (/etc/cni/net.d/10-calico.conflist); "
            "allowed: none that comes before 10-flannel.conflist; remove it, with what installed it",
        ),
        (
            {**BEGUN, "etcd_token": "staging"},
            "m1: it belongs to another cluster, by its etcd's --initial-cluster-token (staging); allowed: "
            "a host of lab, or one without a cluster; take it out of cluster.yaml, or reset it with that cluster's inventory; "
            "if it is this one, put its name back",
        ),
        (
            {**BEGUN, **_file("/etc/kubernetes/pki/ca.crt"), "authorities": frozenset(("another",))},
            "m1: it belongs to another cluster, by the authority that it trusts (/etc/kubernetes/pki/ca.crt); allowed: "
            "one of lab's own, which certificates.json holds; take it out of cluster.yaml, or reset it with that cluster's "
            "inventory; if it is this one, restore certificates.json and secrets/ from a backup",
        ),
    ],
)
def test_a_finding_says_what_is_wrong_what_is_allowed_and_what_to_do(changed: dict[str, object], message: str) -> None:
    assert _found(changed) == [message]


def test_all_findings_of_all_hosts_come_at_once() -> None:
    hosts = {
        **HOSTS,
        "m1": dataclasses.replace(HOSTS["m1"], clock=NOW + 100, listening={("tcp", 6443): "nginx", ("tcp", 10250): "x"}),
        "w1": dataclasses.replace(HOSTS["w1"], os_id="fedora", addresses=("127.0.0.1",)),
    }
    assert [line.partition(":")[0] for line in _judged(hosts)] == ["m1", "m1", "m1", "w1", "w1"]


def test_a_worker_needs_less_memory_than_a_master() -> None:
    assert _found({"memory_kib": 1 << 20}, "w1") == []


def test_a_little_skew_and_a_foreign_port_are_no_findings() -> None:
    assert _found({"clock": NOW + 59}) == []
    assert _found({"listening": {("tcp", 22): "sshd", ("tcp", 9999): "x", ("udp", 6443): "other"}}) == []


def test_a_full_file_system_is_told_once_however_many_folders_lie_on_it() -> None:
    full = dict.fromkeys(("/", "/opt", "/etc"), 1 << 10)
    manifest = {"/opt/kubewright/etcd/3.7.3-a/etcd": ("a", 1)}
    assert len(_found({"free_kib": full, "file_systems": dict.fromkeys(full, "/dev/vda1"), "manifest": manifest})) == 1
    assert len(_found({"free_kib": full, "file_systems": {}, "manifest": manifest})) == 3


def test_a_host_that_has_its_binaries_needs_little_space() -> None:
    manifest = {"/opt/kubewright/etcd/3.7.3-a/etcd": ("a", 1)}
    assert _found({"free_kib": {"/opt": 1 << 20}, "manifest": manifest}) == []
    assert len(_found({"free_kib": {"/opt": 1 << 10}, "manifest": manifest})) == 1


@pytest.mark.parametrize(
    "ours",
    [
        {"units": {"kube-apiserver.service": UnitState(active="active", enabled="enabled")}},
        {"started_with": {"kube-apiserver.service": {}}},
    ],
    ids=["it runs", "it ran"],
)
def test_a_port_that_our_own_component_listens_on_is_no_finding(ours: dict[str, object]) -> None:
    assert _found({"listening": {("tcp", 6443): "kube-apiserver"}, **BEGUN, **ours}) == []


# -- kernel, packets


def test_nftables_needs_a_newer_kernel_than_iptables() -> None:
    assert _found({"kernel": "5.10.0-30-amd64"}) == []
    (line,) = _found({"kernel": "5.10.0-30-amd64"}, proxy_mode="nftables")
    assert "5.13 or later, for kube-proxy's nftables mode" in line


def test_a_host_of_etcd_alone_needs_no_cgroup_controllers_and_no_room_for_pods_packets() -> None:
    nodes = tuple(dataclasses.replace(n, is_worker=False, is_etcd=True) if n.name == "w1" else n for n in PLAN.nodes)
    bare = {"cgroup_controllers": frozenset(), "kernel": "4.4.0", **_card("w1", mtu=1280)}
    assert _found(bare, "w1", nodes=nodes) == []
    assert len(_found(bare, "w1")) == 3


@pytest.mark.parametrize(("backend", "enough"), [("vxlan", 1330), ("wireguard", 1360), ("host-gw", 576)])
def test_pods_need_packets_of_1280_bytes_beneath_the_backends_own(backend: str, enough: int) -> None:
    assert _found(_card("m1", mtu=enough), backend=backend) == []
    assert len(_found(_card("m1", mtu=enough - 1), backend=backend)) == (backend != "host-gw")


def test_a_resolver_on_a_hosts_loopback_needs_upstreams_in_the_spec() -> None:
    own = {"has_nameserver": False, "own_nameserver": True}
    (line,) = _found(own, "w1")
    assert line.startswith("w1: its DNS server is on its own loopback (/etc/resolv.conf)") and "network.dns_upstreams" in line
    assert _found(own, "w1", dns_upstreams=("192.0.2.53",)) == []
    nodes = tuple(dataclasses.replace(n, is_worker=False, is_etcd=True) if n.name == "w1" else n for n in PLAN.nodes)
    assert _found(own, "w1", nodes=nodes) == [], "no pod runs there"


# -- flannel's backends


def test_host_gw_names_the_hosts_to_which_there_is_no_direct_route() -> None:
    w1 = str(PLAN.node("w1").address)
    (line,) = _found({"gateways": {w1: "192.0.2.1"}}, backend="host-gw")
    assert line.startswith(
        "m1: host-gw needs a direct route to every other host, and some are behind a gateway (w1 through 192.0.2.1)"
    )
    assert "one network segment" in line


def test_a_gateway_to_something_else_than_a_host_of_the_cluster_is_no_finding() -> None:
    assert _found({"gateways": {"198.51.100.7": "192.0.2.1"}}, backend="host-gw") == []


def test_a_kernel_without_wireguard_is_named_before_anything_is_written() -> None:
    (line,) = _found({"lacks_wireguard": True}, backend="wireguard")
    assert line.startswith("m1: its kernel has no WireGuard (") and "set network.backend to vxlan or host-gw" in line


def _leases(backend: str) -> dict[str, object]:
    leases = tuple(PodSubnet(address=str(n.address), subnet="10.244.1.0/24", backend=backend) for n in PLAN.kubelets)
    return {"etcd": Etcd(cluster_id="1", members=(), backend=backend, leases=leases), "facts": {facts.ETCD: "answers"}}


def test_flannels_backend_is_not_changed_while_a_host_is_left_out() -> None:
    hosts = {name: host for name, host in _changed("m1", _leases("vxlan")).items() if name != "w2"}
    (line,) = _judged(hosts, backend="host-gw", absent=frozenset({"w2"}))
    assert line.startswith("w2: left out, while flannel's backend changes to host-gw: pods there would be cut off")
    assert _judged(hosts, backend="vxlan", absent=frozenset({"w2"})) == []


# -- clones


@pytest.mark.parametrize("mac", ["", "00:00:00:00:00:00"])
def test_interfaces_without_a_mac_address_are_not_clones(mac: str) -> None:
    assert _judged({**_changed("m1", _card("m1", mac=mac)), **{"w1": _changed("w1", _card("w1", mac=mac))["w1"]}}) == []


def test_workers_may_share_a_hostname() -> None:
    assert _judged({**_changed("w1", {"hostname": "localhost"}), "w2": _changed("w2", {"hostname": "localhost"})["w2"]}) == []


# -- ports of peers

M2 = str(PLAN.node("m2").address)


def _blocked(*names: str) -> dict[str, Observed]:
    blocked: dict[str, object] = {"blocked": {(M2, 2379): "no answer in 3 s"}}
    return {**HOSTS, **{name: _changed(name, blocked)[name] for name in names}}


def test_a_port_that_hosts_cannot_reach_is_named_once_with_all_of_them() -> None:
    assert _judged(_blocked("m1", "w1")) == [
        f"m1, w1: can't reach TCP port 2379 of m2 ({M2}: no answer in 3 s); allowed: a connection from there to etcd on m2; "
        "open it in the firewall of m2, and in those between (security groups)"
    ]


def test_ports_behind_firewalld_are_no_finding_since_kubewright_opens_them() -> None:
    hosts = _blocked("m1", "w1")
    assert _judged({**hosts, "m2": dataclasses.replace(hosts["m2"], firewalld=True)}) == []


def test_a_peer_that_does_not_answer_or_is_elsewhere_is_not_reported_twice() -> None:
    hosts = _blocked("m1")
    assert _judged({name: host for name, host in hosts.items() if name != "m2"}) == []
    (line,) = _judged({**hosts, "m2": dataclasses.replace(hosts["m2"], addresses=("192.0.2.99",))})
    assert "no interface has its address" in line


# -- what is not ours


@pytest.mark.parametrize("installer", INSTALLERS, ids=[i.name for i in INSTALLERS])
def test_every_trace_of_an_installer_is_named_with_how_to_take_it_away(installer: Installer) -> None:
    (line,) = _found({"traces": installer.traces}, "w1")
    assert line.startswith(f"w1: {installer.name} left something here") and line.endswith(installer.todo)
    assert all(trace in line for trace in installer.traces)


def _interrupted(name: str) -> list[Observed]:
    """A fresh host after each step of an apply: the record is put there first, etcd writes its data, pods get a network."""
    context, host, hosts = scenario("lab").context(name), HOSTS[name], []
    for desired in everything(ROLES, context).values():
        files = {f.path: f for f in (*desired.files, *desired.late)}
        if INSTALLED in files:
            host = dataclasses.replace(host, installed=tuple(bytes(files[INSTALLED].content).decode().splitlines()))  # type: ignore[arg-type]
        seen = {path: Entry(kind="f", mode=0o644, owner="root", group="root", size=1) for path in files}
        host = dataclasses.replace(
            host,
            entries={**host.entries, **seen},
            units={**host.units, **{u.name: UnitState(active="active", enabled="enabled") for u in desired.units}},
            etcd_token=PLAN.cluster if "/etc/systemd/system/etcd.service" in files else host.etcd_token,
            authorities=host.authorities | (OURS if AUTHORITIES & files.keys() else frozenset()),
        )
        # As if the host had looked for them: only its record keeps it from doing so.
        hosts.append(dataclasses.replace(host, traces=("/var/lib/etcd/member", "/sys/class/net/cni0")))
    return hosts


@pytest.mark.parametrize("name", ["m1", "w1"])
def test_an_apply_that_was_killed_after_any_step_is_never_taken_for_another_installer(name: str) -> None:
    for host in _interrupted(name):
        assert _judged({**HOSTS, name: host}) == []


def test_a_host_that_lost_its_record_is_ours_by_its_binaries() -> None:
    manifest = {"/opt/kubewright/etcd/3.7.3-a/etcd": ("a", 1)}
    assert _found({"manifest": manifest, "traces": ("/var/lib/etcd/member",)}) == []


# -- a store that is older than its hosts


def test_a_host_that_trusts_one_which_the_store_never_had_is_not_set_back() -> None:
    (line,) = _found({**BEGUN, **_file("/etc/kubernetes/pki/ca.crt"), "authorities": OURS | {MIDDLE.pem.decode().strip()}})
    assert line.startswith("m1: it trusts an authority that certificates.json does not know")
    assert MIDDLE.certificate.subject.rfc4514_string() in line
    assert line.endswith("remove those of /etc/kubernetes/pki/ca.crt there that hold it")


def test_a_host_with_a_key_for_secrets_that_the_store_never_had_is_not_set_back() -> None:
    there = encryption.providers(ENTRIES)
    assert _found({**BEGUN, "encryption_keys": frozenset({there.writes})}) == []
    for state in (BEGUN, {}):  # by whatever else was lost on it
        (line,) = _found({**state, "encryption_keys": frozenset({there.writes, "20991231-00aa11bb"})})
        assert line.startswith("m1: its apiserver has an encryption key that certificates.json does not know")
        assert f"(20991231-00aa11bb in {encryption.PATH})" in line and "get the newer certificates.json and secrets/" in line
