"""The lab itself: what it gives, and that it leaves nothing behind."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubewright import lab
from kubewright.lab import cgroup
from kubewright.lab.model import HOME
from kubewright.lab.sysctls import WANTED

pytestmark = pytest.mark.cluster
KUBEWRIGHT = str(Path(sys.executable).with_name("kubewright"))
NAME, OTHER = "lab-test", "lab-two"
HOSTS = ("m1", "w1")

Done = subprocess.CompletedProcess[str]


def kw(*arguments: str, stdin: str | None = None, check: bool = True) -> Done:
    done = subprocess.run([KUBEWRIGHT, "lab", *arguments], input=stdin, capture_output=True, text=True, timeout=300, check=False)
    assert not check or done.returncode == 0, f"lab {' '.join(arguments)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def up(name: str) -> None:
    kw("up", "--name", name, "--hosts", ",".join(HOSTS))


def ssh(host: str, command: str, user: str = "root", stdin: str | None = None, name: str = NAME) -> str:
    return kw("ssh", "--name", name, "--user", user, host, "--", command, stdin=stdin).stdout.strip()


def states(name: str = NAME) -> dict[str, str]:
    return {h["name"]: h["state"] for h in json.loads(kw("status", "--name", name, "--json").stdout)["hosts"]}


def _is_of(process: Path, name: str) -> bool:
    folder, tag = f"{HOME}/{name}/".encode(), f"/kw.{name}.".encode()
    # Another lab's host that boots has this machine's mounts for a moment, the names of namespaces among them.
    looks = (("cmdline", folder), ("cgroup", tag), ("mountinfo", folder))
    try:
        return any(what in (process / file).read_bytes() for file, what in looks)
    except OSError:  # it ended meanwhile
        return False


def of_lab(name: str) -> set[str]:
    """Everything on this machine that carries that lab's name."""
    found = {f"cgroup {tag}" for tag in cgroup.tags(f"kw.{name}.")}
    namespaces = Path("/run/netns")
    if namespaces.exists():
        found |= {f"netns {p.name}" for p in namespaces.iterdir() if f"{p.name}.".startswith(f"kw.{name}.")}
    found |= {f"process {p.name}" for p in Path("/proc").glob("[0-9]*") if _is_of(p, name)}
    if (HOME / name).exists():
        found.add(f"folder {HOME / name}")
    return found


def assert_nothing_of(name: str) -> None:
    """Processes that have ended may be listed until the machine's own init takes note: 5 s for that."""
    deadline = time.monotonic() + 5
    while (left := of_lab(name)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left == set()


def machine() -> dict[str, object]:
    """What labs share: this machine's mounts (those of labs aside), its settings, its devices."""
    mounts = sorted(line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines() if "/netns/kw." not in line)
    devices = sorted(p.name for p in Path("/sys/class/net").iterdir())
    settings = {name: (Path("/proc/sys") / name).read_text() for name in WANTED}
    return {"mounts": mounts, "devices": devices, "settings": settings, "home": HOME.exists()}


@pytest.fixture(scope="module", autouse=True)
def nothing_left() -> Iterator[None]:
    """Around all tests here: the machine is afterwards as it was before."""
    for name in (NAME, OTHER):
        kw("down", "--name", name)
    before = machine()
    yield
    for name in (NAME, OTHER):
        kw("down", "--name", name)
        assert_nothing_of(name)
    assert machine() == before


@pytest.fixture(scope="module")
def booted(nothing_left: None) -> None:
    up(NAME)


@pytest.mark.usefixtures("booted")
class TestALabThatIsUp:
    def test_status_says_what_there_is(self) -> None:
        assert json.loads(kw("status", "--name", NAME, "--json").stdout) == {
            "name": NAME,
            "namespace": f"kw.{NAME}",
            "user": "root",
            "key": str(HOME / NAME / "id_ed25519"),
            "hosts": [
                {"name": "m1", "address": "10.90.0.11", "state": "running"},
                {"name": "w1", "address": "10.90.0.21", "state": "running"},
            ],
        }

    def test_systemd_comes_up_with_no_failed_unit(self) -> None:
        for host in HOSTS:
            assert ssh(host, "systemctl is-system-running --wait; systemctl --failed --quiet") == "running"

    def test_exec_reaches_hosts_sees_the_caller_s_files_and_passes_the_exit_code_on(self, tmp_path: Path) -> None:
        greeting = "import socket; print(socket.create_connection(('10.90.0.21', 22), 5).recv(4).decode())"
        assert kw("exec", "--name", NAME, "--", sys.executable, "-c", greeting).stdout == "SSH-\n"
        kw("exec", "--name", NAME, "--", "touch", str(tmp_path / "here"))
        assert (tmp_path / "here").exists()
        assert kw("exec", "--name", NAME, "--", "sh", "-c", "exit 7", check=False).returncode == 7
        assert kw("exec", "--name", NAME, "--", "no-such-program", check=False).returncode == 127
        assert kw("exec", "--name", NAME, check=False).returncode == 3

    def test_this_process_can_enter_and_come_back(self) -> None:
        mine = Path("/proc/thread-self/ns/net").readlink()
        with lab.entered(NAME):
            assert Path("/proc/thread-self/ns/net").readlink() != mine
        assert Path("/proc/thread-self/ns/net").readlink() == mine

    def test_every_user_logs_in_and_has_the_sudo_it_should(self) -> None:
        password = (HOME / NAME / "sudo-password").read_text()
        assert (HOME / NAME / "sudo-password").stat().st_mode & 0o777 == 0o600
        assert (HOME / NAME / "id_ed25519").stat().st_mode & 0o777 == 0o600
        assert ssh("m1", "id -un") == "root"
        assert ssh("m1", "sudo -n id -un", user="ops") == "root"
        refused = kw("ssh", "--name", NAME, "--user", "admin", "m1", "--", "sudo -n id -un", check=False)
        assert refused.returncode != 0
        assert ssh("m1", "sudo -S -p '' id -un", user="admin", stdin=f"{password}\n") == "root"

    def test_host_keys_differ_and_are_known(self) -> None:
        lines = (HOME / NAME / "known_hosts").read_text().split("\n")
        assert len({line.split()[2] for line in lines if line}) == len(HOSTS)
        assert ssh("m1", "cat /etc/machine-id") != ssh("w1", "cat /etc/machine-id")

    def test_the_default_route_leads_elsewhere_than_the_host_s_address(self) -> None:
        for host in HOSTS:
            assert "src 10.0.2.15" in ssh(host, "ip route get 192.0.2.1")

    def test_nothing_outside_is_reachable(self) -> None:
        assert ssh("m1", "ping -c1 -W1 192.0.2.1 >/dev/null 2>&1; echo $?") != "0"
        assert kw("exec", "--name", NAME, "--", "ip", "route", "show", "default").stdout == ""

    def test_a_host_can_t_change_the_machine_but_its_own_network(self) -> None:
        assert ssh("m1", "echo 0 > /proc/sys/vm/overcommit_memory; echo $?") != "0"
        assert ssh("m1", "echo 1 > /proc/sys/net/ipv4/ip_forward; cat /proc/sys/net/ipv4/ip_forward") == "1"

    def test_what_a_cluster_needs_of_the_kernel_works_inside(self) -> None:
        ssh("m1", "ip link add vx type vxlan id 1 dstport 8472 dev eth1 && ip link del vx")
        ssh("m1", "nft add table ip kwtry && nft delete table ip kwtry && iptables -t nat -S >/dev/null && conntrack -L")
        ssh("m1", "unshare -m true && test -w /dev/kmsg && findmnt -no PROPAGATION / | grep -q shared")

    def test_hosts_have_cgroups_of_their_own(self) -> None:
        unit = "systemd-run --quiet --unit=same-name sleep 60"
        for host in HOSTS:
            ssh(host, unit)
        ssh("m1", "systemctl stop same-name")
        assert ssh("w1", "systemctl is-active same-name") == "active"

    def test_a_power_cut_keeps_the_disk_and_takes_the_rest(self) -> None:
        ssh("w1", "echo kept > /root/kept && sync && touch /run/gone && ip link add gone type bridge")
        kw("stop", "--name", NAME, "w1")
        assert states() == {"m1": "running", "w1": "stopped"}
        kw("stop", "--name", NAME, "w1")
        kw("start", "--name", NAME, "w1")
        assert states() == {"m1": "running", "w1": "running"}
        assert ssh("w1", "cat /root/kept; ls /run/gone /sys/class/net/gone 2>/dev/null || true") == "kept"

    def test_up_again_is_refused_and_harms_nothing(self) -> None:
        again = kw("up", "--name", NAME, check=False)
        assert again.returncode == 1 and f"kubewright lab down --name {NAME}" in again.stderr
        assert set(states().values()) == {"running"}

    def test_two_labs_do_not_see_each_other_and_one_ends_alone(self) -> None:
        up(OTHER)
        assert ssh("m1", "cat /etc/machine-id", name=OTHER) != ssh("m1", "cat /etc/machine-id")
        settings = machine()["settings"]
        kw("stop", "--name", OTHER, "w1")
        kw("down", "--name", OTHER)
        assert_nothing_of(OTHER)
        assert machine()["settings"] == settings
        assert set(states().values()) == {"running"} and ssh("m1", "echo well") == "well"


def test_down_leaves_nothing_and_twice_is_as_good_as_once() -> None:
    up(OTHER)
    for _ in range(2):
        kw("down", "--name", OTHER)
        assert_nothing_of(OTHER)


@pytest.mark.parametrize("turn", range(8))
def test_down_clears_up_after_an_up_that_was_killed_at_any_moment(turn: int) -> None:
    # From its first action (the interpreter takes a second to start) to after the hosts' boot.
    moment = 0.8 + 0.45 * turn + random.Random(turn).uniform(0, 0.45)  # noqa: S311 (no secret)
    command = [KUBEWRIGHT, "lab", "up", "--name", OTHER, "--hosts", ",".join(HOSTS)]
    started = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    time.sleep(moment)
    started.kill()
    started.wait()
    kw("down", "--name", OTHER)
    assert_nothing_of(OTHER)


def test_stop_start_and_ssh_of_what_is_not_there_say_so() -> None:
    for verb in (("stop", "m1"), ("start", "m1"), ("ssh", "m1", "--", "true"), ("exec", "--", "true"), ("status",)):
        done = kw(verb[0], "--name", OTHER, *verb[1:], check=False)
        assert done.returncode == 1 and f"kubewright lab up --name {OTHER}" in done.stderr
