"""Unfit hosts, and runs that end halfway: all problems at once, and a resumed run after the repair."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from kubewright.spec import load
from pki.authorities import AUTHORITIES
from tests.cluster.conftest import KUBEWRIGHT, Cluster, kubewright, write_inventory
from tests.cluster.waiting import until

pytestmark = pytest.mark.cluster

GOOD = """hosts:
  - {name: m1, address: 10.90.0.11, roles: [master]}
  - {name: w1, address: 10.90.0.21, roles: [worker]}
  - {name: w2, address: 10.90.0.22, roles: [worker]}
"""
# The same machines again, through other ports of their sshd: with another user, another key, a wrong address.
BAD = """  - {name: x1, address: 10.90.0.31, roles: [worker], ssh: {host: 10.90.0.21, port: 2201}}
  - {name: x2, address: 10.90.0.32, roles: [worker], ssh: {host: 10.90.0.11, port: 2202, user: plain}}
  - {name: x3, address: 10.90.0.33, roles: [worker], ssh: {host: 10.90.0.11, port: 2203}}
"""
EVERYTHING = (
    r"find / -xdev ! -path '/proc/*' ! -path '/var/log/*' ! -path '/var/lib/systemd/*' ! -path /run ! -path /tmp "
    r"-printf '%p %m %u %T@\n'"
)
BREAK = {
    "m1": """printf 'Port 22\\nPort 2202\\nPort 2203\\n' > /etc/ssh/sshd_config.d/ports.conf
useradd -m plain && cp -r /root/.ssh /home/plain/ && chown -R plain: /home/plain/.ssh
mount -t tmpfs -o size=16m tmpfs /opt
systemd-run --quiet --unit=taker socat TCP-LISTEN:6443,fork,reuseaddr /dev/null
systemctl restart ssh""",
    "w1": """printf 'Port 22\\nPort 2201\\n' > /etc/ssh/sshd_config.d/ports.conf
cp -P /etc/os-release /root/os-release && rm /etc/os-release && printf 'ID=plan9\\nVERSION_ID=4\\n' > /etc/os-release
cp /etc/machine-id /root/machine-id && cat > /etc/machine-id
systemctl restart ssh""",
}
MEND = {
    "m1": "systemctl stop taker; umount /opt; userdel -r plain 2>/dev/null; rm /etc/ssh/sshd_config.d/ports.conf",
    "w1": "mv -f /root/os-release /etc/os-release; cat /root/machine-id > /etc/machine-id; rm /etc/ssh/sshd_config.d/ports.conf",
}


def listed(cluster: Cluster, host: str) -> set[str]:
    return set(cluster.ssh(host, EVERYTHING).stdout.splitlines())


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three fresh hosts."""
    kubewright("lab", "down", "--name", "bad")
    try:
        kubewright("lab", "up", "--name", "bad", "--hosts", "m1,w1,w2")
        yield Cluster(inventory=write_inventory(tmp_path_factory.mktemp("bad"), "bad", GOOD), lab_name="bad")
    finally:
        kubewright("lab", "down", "--name", "bad")


def write_known_hosts(hosts: Cluster, path: Path) -> None:
    """known_hosts of the lab and of the other ports; x3's key is wrong."""
    lines = hosts.lab.known_hosts.read_text()
    key = dict(line.split(" ", 1) for line in lines.splitlines())
    other = key["10.90.0.21"], key["10.90.0.11"], key["10.90.0.21"]
    for (address, port), value in zip((("21", 2201), ("11", 2202), ("11", 2203)), other, strict=True):
        lines += f"[10.90.0.{address}]:{port} {value}\n"
    path.write_text(lines)


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """The result of `apply` with faults on every host. `written`: paths on hosts, and private files here."""

    status: int
    lines: tuple[str, ...]
    written: tuple[str, ...]


@pytest.fixture(scope="module")
def refusal(hosts: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Refusal:
    """Breaks every host, runs `apply` once, repairs them."""
    folder = write_inventory(tmp_path_factory.mktemp("inventory"), "bad", GOOD + BAD)
    write_known_hosts(hosts, folder / "known_hosts")
    text = (folder / "cluster.yaml").read_text()
    (folder / "cluster.yaml").write_text(text.replace(str(hosts.lab.known_hosts), "known_hosts"))
    machine_id = hosts.ssh("m1", "cat /etc/machine-id").stdout
    for host, script in BREAK.items():
        hosts.ssh(host, script, stdin=machine_id)
    hosts.stop("w2")
    before = {host: listed(hosts, host) for host in BREAK}
    done = kubewright("apply", "-i", str(folder), check=False)
    written = [f"{host}: {line}" for host in BREAK for line in listed(hosts, host) ^ before[host]]
    written += [str(folder / name) for name in ("secrets", "certificates.json", "admin.kubeconfig") if (folder / name).exists()]
    for host, script in MEND.items():
        hosts.ssh(host, script)
    hosts.start()
    return Refusal(status=done.returncode, lines=tuple((done.stdout + done.stderr).splitlines()), written=tuple(written))


# Traces of others, and faults of the network: another installer's files, another cluster's host, a firewall, a small MTU.
FOREIGN = {
    "m1": """mkdir -p /etc/kubernetes/manifests && echo 'kind: Pod' > /etc/kubernetes/manifests/kube-apiserver.yaml
ip link add cni0 type bridge
nft add table ip between && nft 'add chain ip between input { type filter hook input priority 0; }'
nft add rule ip between input ip saddr 10.90.0.21 tcp dport 2379 drop
nft add rule ip between input ip saddr 10.90.0.21 tcp dport 6443 reject with icmp type admin-prohibited""",
    "w1": "ip link set eth1 mtu 1300; mkdir -p /var/lib/rancher/k3s",
    "w2": """mkdir -p /etc/cni/net.d /var/lib/kubewright && echo '{}' > /etc/cni/net.d/05-other.conflist
echo 'unit etcd.service' > /var/lib/kubewright/installed
echo 'ExecStart=/usr/local/bin/etcd --initial-cluster=a=https://192.0.2.1:2380 --initial-cluster-token=staging' \
  > /etc/systemd/system/etcd.service""",
}
GONE = {
    "m1": "rm -r /etc/kubernetes; ip link delete cni0; nft delete table ip between",
    "w1": "ip link set eth1 mtu 1500; rm -r /var/lib/rancher",
    "w2": "rm -r /etc/cni /var/lib/kubewright /etc/systemd/system/etcd.service",
}


@pytest.fixture(scope="module")
def others_traces(hosts: Cluster, refusal: Refusal) -> Refusal:
    """Puts other installers' traces on the repaired hosts, runs `apply` once, repairs them again."""
    for host, script in FOREIGN.items():
        hosts.ssh(host, script)
    before = {host: listed(hosts, host) for host in FOREIGN}
    done = hosts.kubewright("apply", check=False)
    written = [f"{host}: {line}" for host in FOREIGN for line in listed(hosts, host) ^ before[host]]
    for host, script in GONE.items():
        hosts.ssh(host, script)
    return Refusal(status=done.returncode, lines=tuple((done.stdout + done.stderr).splitlines()), written=tuple(written))


def test_all_traces_of_others_are_named_at_once_and_nothing_is_written(others_traces: Refusal) -> None:
    said = {line.strip() for line in others_traces.lines if named(line.strip())}
    expected = (
        ("m1", "kubeadm left something here (/etc/kubernetes/manifests/kube-apiserver.yaml)", "kubeadm reset"),
        ("m1", "a pod network left something here (/sys/class/net/cni0)", "ip link delete"),
        ("w1", "the MTU of eth1, which has its address, is too small for vxlan (1300)", "at least 1330"),
        ("w1", "k3s left something here (/var/lib/rancher/k3s)", "k3s-uninstall.sh"),
        ("w1", "can't reach TCP port 2379 of m1 (10.90.0.11: no answer in 3 s)", "firewall of m1"),
        ("w1", "can't reach TCP port 6443 of m1 (10.90.0.11: No route to host)", "firewall of m1"),
        ("w2", "it belongs to another cluster, by its etcd's --initial-cluster-token (staging)", "reset it with that"),
    )
    for where, what, todo in expected:
        assert [line for line in said if line.startswith(f"{where}: {what}; ") and todo in line], "\n".join(others_traces.lines)
    assert len(said) == len(expected), said
    assert others_traces.status == 1
    assert others_traces.written == ()
    assert not [line for line in others_traces.lines if "Traceback" in line]


def test_unfit_hosts_end_in_1_without_a_traceback_and_nothing_is_written(refusal: Refusal) -> None:
    assert refusal.status == 1
    assert not [line for line in refusal.lines if "Traceback" in line]
    assert refusal.written == ()


def named(line: str) -> set[str]:
    """The hosts at the beginning of a problem's line; none for another line."""
    words = set(line.partition(": ")[0].split(", "))
    return words if words <= {"m1", "w1", "w2", "x1", "x2", "x3"} else set()


@pytest.mark.parametrize(
    ("where", "what", "allowed", "todo"),
    [
        ("w2", "does not answer over SSH (root@10.90.0.22:22)", "every host", "kubewright lab start --name bad w2"),
        ("w1", "an operating system that kubewright does not know (plan9 4)", "allowed: debian 12/13", "install one"),
        ("m1", "too little space under /opt (", "at least 4096 MiB", "larger disk"),
        ("m1", "port 6443 is taken (by socat)", "a port that is free for kube-apiserver", "stop what listens"),
        ("x1", "no interface has its address (10.90.0.31)", "one of its own: ", "correct hosts[].address"),
        ("x2", "sudo refused (", "root or have sudo", "sudo_password_file"),
        ("x3", "host key", "known_hosts", "known_hosts"),
        ("m1", "the same machine-id (", "each host has its own", "systemd-machine-id-setup"),
    ],
)
def test_every_unfit_host_is_named_with_what_is_allowed_and_what_to_do(
    refusal: Refusal, where: str, what: str, allowed: str, todo: str
) -> None:
    lines = [line for line in refusal.lines if where in named(line) and what in line]
    assert lines, "\n".join(refusal.lines)
    assert allowed in lines[0] and todo in lines[0], lines[0]


def test_no_problem_is_reported_twice_or_for_other_hosts(refusal: Refusal) -> None:
    said = [line for line in refusal.lines if named(line)]
    assert len(said) == len(set(said)) == 9
    assert max(map(named, said), key=len) == {"m1", "w1", "x1"}


# Logins as in real sites: output of start-up files, and a proxy with a closed port.
LOGIN = """cp /root/.bashrc /root/bashrc.kept 2>/dev/null; cp /etc/environment /root/environment.kept 2>/dev/null
printf 'echo hello from .bashrc; echo mind >&2\\numask 077\\n' > /root/.bashrc
for name in http_proxy https_proxy HTTPS_PROXY; do echo "$name=http://127.0.0.1:9"; done >> /etc/environment"""
PLAIN_AGAIN = """rm -f /root/.bashrc; cp /root/bashrc.kept /root/.bashrc 2>/dev/null
cp /root/environment.kept /etc/environment 2>/dev/null; rm -f /root/*.kept"""


@pytest.mark.usefixtures("refusal", "others_traces")
def test_a_key_that_one_host_refuses_stops_all_before_anything_is_written(hosts: Cluster, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "wrong")], check=True)
    one = "  - {name: w1, address: 10.90.0.21, roles: [worker]}\n"
    other = one.replace("[worker]}", f"[worker], ssh: {{key: {tmp_path}/wrong}}}}")
    folder = write_inventory(tmp_path / "inventory", "bad", GOOD.replace(one, other))
    before = {host: listed(hosts, host) for host in ("m1", "w1", "w2")}
    name = load(folder).name
    why = "refuses the login of root (root@10.90.0.21:22)"
    for verb, *options in (("plan",), ("apply",), ("reset", "--confirm", name)):
        done = kubewright(verb, "-i", str(folder), *options, check=False)
        assert done.returncode == 1, done.stdout + done.stderr
        assert f"w1: {why}" in done.stdout + done.stderr
    verified = kubewright("verify", "-i", str(folder), "--json", check=False)
    assert verified.returncode == 1, verified.stdout + verified.stderr
    assert [one["host"] for one in json.loads(verified.stdout) if why in one["message"]] == ["w1"], verified.stdout
    assert {host: listed(hosts, host) for host in before} == before
    assert not (folder / "certificates.json").exists()


@pytest.fixture(scope="module")
def logins(hosts: Cluster, refusal: Refusal, others_traces: Refusal) -> Iterator[None]:
    """Gives every host such a login until the end of the module."""
    assert refusal and others_traces
    for name in ("m1", "w1", "w2"):
        hosts.ssh(name, LOGIN)
    yield
    for name in ("m1", "w1", "w2"):
        hosts.ssh(name, PLAIN_AGAIN)


@pytest.mark.usefixtures("logins")
def test_the_repaired_hosts_become_a_cluster(hosts: Cluster) -> None:
    hosts.kubewright("apply")
    hosts.verified()
    assert "nothing to change on 3 hosts" in hosts.kubewright("apply").stdout
    nodes = hosts.kubewright("kubectl", "--", "get", "nodes", "-o", "name").stdout
    assert {"node/w1", "node/w2"} <= set(nodes.split()) <= {"node/m1", "node/w1", "node/w2"}


# -- killed runs


def authorities(inventory: Path) -> dict[str, str]:
    path = inventory / "certificates.json"
    rows = json.loads(path.read_text()) if path.exists() else {}
    return {authority.name: rows[authority.name]["certificate"] for authority in AUTHORITIES if authority.name in rows}


def kill_in(step: str, inventory: Path, seconds: float) -> None:
    """Start `apply` and kill it `seconds` after it began that step, unless it ends before."""
    logs = inventory / "logs"
    earlier = set(logs.glob("*.log"))
    process = subprocess.Popen([KUBEWRIGHT, "apply", "-i", str(inventory)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    log = until("it writes a log", lambda: set(logs.glob("*.log")) - earlier, 30, pause=0.02).pop()

    def begun() -> bool:
        return f"step {step}\n" in log.read_text() or process.poll() is not None

    try:
        until(f"it begins {step}", begun, 180, pause=0.02)
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
    finally:
        process.kill()
        process.wait()


def test_killed_runs_are_resumed(tmp_path: Path) -> None:
    dice = random.Random(20261121)  # noqa: S311 (no secret)
    name, hosts = "killed", "hosts:\n  - {name: m1, address: 10.90.0.11, roles: [master, worker]}\n"
    kubewright("lab", "down", "--name", name)
    try:
        kubewright("lab", "up", "--name", name, "--hosts", "m1")
        one = Cluster(inventory=write_inventory(tmp_path, name, hosts), lab_name=name)
        first: dict[str, str] = {}
        for steps in (("begin", "base", "binaries"), ("etcd", "etcd_users", "apiserver"), ("containerd", "kubelet", "coredns")):
            kill_in(dice.choice(steps), one.inventory, dice.uniform(0, 1))
            first = first or authorities(one.inventory)
        one.kubewright("apply")
        assert len(first) == len(AUTHORITIES) and authorities(one.inventory) == first
        one.verified()
        assert "nothing to change on 1 hosts" in one.kubewright("apply").stdout
        left = one.ssh("m1", "ls -A /var/lib/kubewright; find /etc /opt -name '*.kubewright' -o -name '*.new'").stdout.split()
        assert set(left) <= {"started", "installed", "journal.jsonl", "cluster.json", "etcd-member", "payloads"}
    finally:
        kubewright("lab", "down", "--name", name)
