"""The lab itself: its hosts, and that it leaves nothing behind."""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kubewright import lab
from kubewright.lab import cgroup
from kubewright.lab.model import HOME
from kubewright.lab.network import NAMESPACES
from kubewright.lab.sysctls import WANTED
from tests.cluster.waiting import until

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
    # A booting host of another lab briefly has this machine's mounts, including names of namespaces.
    looks = (("cmdline", folder), ("cgroup", tag), ("mountinfo", folder))
    try:
        return any(what in (process / file).read_bytes() for file, what in looks)
    except OSError:  # it ended meanwhile
        return False


def of_lab(name: str) -> set[str]:
    """Everything on this machine with that lab's name."""
    found = {f"cgroup {tag}" for tag in cgroup.tags(f"kw.{name}.")}
    if NAMESPACES.exists():
        found |= {f"netns {p.name}" for p in NAMESPACES.iterdir() if f"{p.name}.".startswith(f"kw.{name}.")}
    found |= {f"process {p.name}" for p in Path("/proc").glob("[0-9]*") if _is_of(p, name)}
    if (HOME / name).exists():
        found.add(f"folder {HOME / name}")
    return found


def assert_nothing_of(name: str) -> None:
    """Ended processes may be listed until the machine's init reaps them: 5 s for that."""

    def gone() -> bool:
        left = of_lab(name)
        assert not left, left
        return True

    until(f"nothing of {name} is left", gone, 5, pause=0.05)


def machine() -> dict[str, object]:
    """Shared state: this machine's mounts (without those of labs), its settings, its devices."""
    mounts = sorted(line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines() if "/netns/kw." not in line)
    devices = sorted(p.name for p in Path("/sys/class/net").iterdir())
    settings = {name: (Path("/proc/sys") / name).read_text() for name in WANTED}
    controllers = [p.read_text() for p in Path("/sys/fs/cgroup").glob("cgroup.subtree_control")]
    folders = {str(p): p.exists() for p in (HOME.parent, HOME, NAMESPACES)}
    return {"mounts": mounts, "devices": devices, "settings": settings, "controllers": controllers, "folders": folders}


def as_nobody(*arguments: str) -> Done:
    """Run as the user nobody, who may read the files of this checkout and of its Python."""
    drop = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    read = [f"--{kind}=-all,+dac_read_search" for kind in ("inh-caps", "ambient-caps")]
    command = [*drop, *read, KUBEWRIGHT, "lab", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module", autouse=True)
def nothing_left() -> Iterator[None]:
    """Around all tests here: the machine is unchanged afterwards."""
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
    def test_status_lists_the_hosts(self) -> None:
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

    def test_exec_reaches_hosts_sees_the_callers_files_and_returns_the_exit_code(self, tmp_path: Path) -> None:
        greeting = "import socket; print(socket.create_connection(('10.90.0.21', 22), 5).recv(4).decode())"
        assert kw("exec", "--name", NAME, "--", sys.executable, "-c", greeting).stdout == "SSH-\n"
        kw("exec", "--name", NAME, "--", "touch", str(tmp_path / "here"))
        assert (tmp_path / "here").exists()
        assert kw("exec", "--name", NAME, "--", "sh", "-c", "exit 7", check=False).returncode == 7
        assert kw("exec", "--name", NAME, "--", "no-such-program", check=False).returncode == 127
        assert kw("exec", "--name", NAME, check=False).returncode == 3

    def test_this_process_can_enter_and_leave(self) -> None:
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

    def test_the_default_route_is_not_through_the_hosts_address(self) -> None:
        for host in HOSTS:
            assert "src 10.0.2.15" in ssh(host, "ip route get 192.0.2.1")

    def test_nothing_outside_is_reachable(self) -> None:
        for address in ("192.0.2.1", "10.0.2.2", "8.8.8.8"):
            connect = f"timeout 2 socat -u OPEN:/dev/null TCP:{address}:53,connect-timeout=1; echo $?"
            assert ssh("m1", connect) != "0"
        assert ssh("m1", "timeout 2 socat -u OPEN:/dev/null TCP:10.90.0.21:22; echo $?") == "0"
        assert kw("exec", "--name", NAME, "--", "ip", "route", "show", "default").stdout == ""

    def test_the_lab_s_network_routes_and_translates_nothing(self) -> None:
        inside = ("exec", "--name", NAME, "--")
        assert kw(*inside, "cat", "/proc/sys/net/ipv4/ip_forward").stdout == "0\n"
        assert kw(*inside, "nft", "list", "ruleset").stdout == ""
        links = json.loads(kw(*inside, "ip", "-json", "link").stdout)
        assert {link["ifname"] for link in links} == {"lo", "br0", *(f"{kind}.{h}" for kind in ("lan", "nat") for h in HOSTS)}
        # The other ends of all of them are hosts', none is the machine's.
        own = {path.name for path in Path("/run/netns").glob(f"kw.{NAME}.*")}
        ends = {link["link_netnsid"] for link in links if "link_netnsid" in link}
        assert own == {f"kw.{NAME}.{host}" for host in HOSTS} and len(ends) == len(HOSTS)

    @pytest.mark.parametrize("name", ["vm/overcommit_memory", "kernel/panic", "fs/inotify/max_user_instances"])
    def test_a_host_can_t_change_the_machine(self, name: str) -> None:
        before = (Path("/proc/sys") / name).read_text()
        assert ssh("m1", f"echo 3 > /proc/sys/{name}; echo $?") != "0"
        assert (Path("/proc/sys") / name).read_text() == before

    def test_a_host_changes_its_own_network(self) -> None:
        assert ssh("m1", "echo 1 > /proc/sys/net/ipv4/ip_forward; cat /proc/sys/net/ipv4/ip_forward") == "1"
        assert ssh("w1", "cat /proc/sys/net/ipv4/ip_forward") == "0"

    def test_kernel_features_that_a_cluster_needs_work_inside(self) -> None:
        ssh("m1", "ip link add vx type vxlan id 1 dstport 8472 dev eth1 && ip link del vx")
        ssh("m1", "nft add table ip kwtry && nft delete table ip kwtry && iptables -t nat -S >/dev/null && conntrack -L")
        ssh("m1", "unshare -m true && test -w /dev/kmsg && findmnt -no PROPAGATION / | grep -q shared")

    def test_hosts_have_cgroups_of_their_own(self) -> None:
        unit = "systemd-run --quiet --unit=same-name sleep 60"
        for host in HOSTS:
            ssh(host, unit)
        ssh("m1", "systemctl stop same-name")
        assert ssh("w1", "systemctl is-active same-name") == "active"

    def test_a_power_cut_keeps_only_the_disk(self) -> None:
        ssh("w1", "echo kept > /root/kept && sync && touch /run/gone && ip link add gone type bridge")
        kw("stop", "--name", NAME, "w1")
        assert states() == {"m1": "running", "w1": "stopped"}
        kw("stop", "--name", NAME, "w1")
        # No answer, not even a refusal.
        gone = kw("ssh", "--name", NAME, "w1", "--", "true", check=False)
        assert gone.returncode == 255 and ("No route to host" in gone.stderr or "timed out" in gone.stderr), gone.stderr
        kw("start", "--name", NAME)
        assert states() == {"m1": "running", "w1": "running"}
        assert ssh("w1", "cat /root/kept; ls /run/gone /sys/class/net/gone 2>/dev/null || true") == "kept"

    def test_start_of_a_running_host_does_nothing(self) -> None:
        since = [ssh(host, "cut -d. -f1 /proc/1/stat; stat -c %Y /proc/1") for host in HOSTS]
        kw("start", "--name", NAME, *HOSTS)
        assert [ssh(host, "cut -d. -f1 /proc/1/stat; stat -c %Y /proc/1") for host in HOSTS] == since

    def test_exec_and_ssh_pass_standard_input_and_exit_codes(self) -> None:
        assert kw("exec", "--name", NAME, "--", "sed", "s/a/b/", stdin="a\n").stdout == "b\n"
        assert ssh("m1", "sed s/a/b/", stdin="a\n") == "b"
        assert kw("ssh", "--name", NAME, "m1", "--", "exit 9", check=False).returncode == 9
        assert kw("exec", "--name", NAME, "--", "sh", "-c", "kill -9 $$", check=False).returncode == 137

    def test_a_person_reads_each_host_s_state(self) -> None:
        lines = kw("status", "--name", NAME).stdout.splitlines()
        assert [line.split() for line in lines] == [["m1", "10.90.0.11", "running"], ["w1", "10.90.0.21", "running"]]

    @pytest.mark.parametrize("verb", [("stop", "m9"), ("start", "m9"), ("ssh", "m9", "--", "true")])
    def test_an_unknown_host_is_bad_input_and_the_known_ones_are_named(self, verb: tuple[str, ...]) -> None:
        done = kw(verb[0], "--name", NAME, *verb[1:], check=False)
        assert done.returncode == 3 and "no such host (m9); allowed: one of m1, w1" in done.stderr

    @pytest.mark.parametrize("verb", [("up",), ("down",), ("stop", "m1"), ("start",), ("exec", "--", "true"), ("ssh", "m1")])
    def test_without_root_a_change_is_refused(self, verb: tuple[str, ...]) -> None:
        done = as_nobody(verb[0], "--name", NAME, *verb[1:])
        assert done.returncode == 1 and done.stderr.count("\n") == 1
        assert "root" in done.stderr and "sudo" in done.stderr

    def test_without_root_status_works(self) -> None:
        assert as_nobody("status", "--name", NAME).stdout == kw("status", "--name", NAME).stdout

    def test_a_second_up_is_refused_and_changes_nothing(self) -> None:
        again = kw("up", "--name", NAME, check=False)
        assert again.returncode == 1 and f"kubewright lab down --name {NAME}" in again.stderr
        assert set(states().values()) == {"running"}

    def test_a_rebuilt_host_is_another_machine_at_the_same_address(self) -> None:
        def identity() -> list[str]:
            return ssh("w1", "cat /etc/machine-id /etc/ssh/ssh_host_ed25519_key.pub").splitlines()

        ssh("w1", "echo old > /etc/mine; echo old > /var/lib/kubelet/mine")
        before, other = identity(), ssh("m1", "cat /etc/machine-id")
        kw("rebuild", "--name", NAME, "w1")
        assert all(now != then for now, then in zip(identity(), before, strict=True))
        assert ssh("w1", "cat /etc/mine /var/lib/kubelet/mine 2>/dev/null; hostname") == "w1"
        assert ssh("m1", "cat /etc/machine-id") == other
        kw("rebuild", "--name", NAME, "w1")  # and again: nothing of the last one is left
        assert set(states().values()) == {"running"}

    def test_two_labs_do_not_see_each_other_and_one_can_be_taken_down(self) -> None:
        up(OTHER)
        assert ssh("m1", "cat /etc/machine-id", name=OTHER) != ssh("m1", "cat /etc/machine-id")
        settings = machine()["settings"]
        kw("stop", "--name", OTHER, "w1")
        kw("down", "--name", OTHER)
        assert_nothing_of(OTHER)
        assert machine()["settings"] == settings
        assert set(states().values()) == {"running"} and ssh("m1", "echo well") == "well"


def test_down_leaves_nothing_and_can_be_repeated() -> None:
    up(OTHER)
    for _ in range(2):
        kw("down", "--name", OTHER)
        assert_nothing_of(OTHER)


def test_down_removes_stopped_hosts_too() -> None:
    up(OTHER)
    for host in HOSTS:
        kw("stop", "--name", OTHER, host)
    kw("down", "--name", OTHER)
    assert_nothing_of(OTHER)


def begin_up(environment: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
    command = [KUBEWRIGHT, "lab", "up", "--name", OTHER, "--hosts", ",".join(HOSTS)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, env={**os.environ, **(environment or {})})


def kill(process: subprocess.Popen[bytes], seconds: float = 0) -> None:
    """Kill it after that time, unless it has ended."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=seconds)
    process.kill()
    process.wait()


MOMENTS: dict[str, Callable[[Path], bool]] = {
    "its folder is there": lambda folder: folder.exists(),
    "hosts' namespaces are made": lambda _: (NAMESPACES / f"kw.{OTHER}.m1").exists(),
    "hosts are made": lambda folder: (folder / "hosts" / "w1" / "upper").exists(),
    "hosts boot": lambda _: bool(cgroup.tags(f"kw.{OTHER}.")),
}


SOAKED = [pytest.param(seed, marks=pytest.mark.soak) for seed in range(len(MOMENTS) - 1)]


@pytest.mark.parametrize("seed", [*SOAKED, len(MOMENTS) - 1])
def test_down_cleans_up_after_an_up_killed_at_any_moment(seed: int) -> None:
    process = begin_up()
    until(list(MOMENTS)[seed], lambda: list(MOMENTS.values())[seed](HOME / OTHER), 60, pause=0.001)
    kill(process, random.Random(seed).uniform(0, 0.3))  # noqa: S311 (no secret)
    kw("down", "--name", OTHER)
    assert_nothing_of(OTHER)


def test_up_works_after_a_killed_up() -> None:
    process = begin_up()
    until("hosts boot", lambda: cgroup.tags(f"kw.{OTHER}."), 60, pause=0.001)
    kill(process)
    done = kw("status", "--name", OTHER, check=False)
    assert done.returncode == 1 and "`lab up` did not end" in done.stderr
    up(OTHER)
    assert set(states(OTHER).values()) == {"running"}
    kw("down", "--name", OTHER)
    assert_nothing_of(OTHER)


def test_leftovers_of_a_killed_build_of_the_base_image_are_removed_by_the_next(tmp_path: Path) -> None:
    def uses(path: Path) -> bool:
        return any(str(tmp_path).encode() in read(path / name) for name in ("cmdline", "mountinfo"))

    def read(path: Path) -> bytes:
        with contextlib.suppress(OSError):
            return path.read_bytes()
        return b""

    def begun() -> Path | None:
        return next((p for p in (tmp_path / "lab").glob("*.new") if (p / "usr").exists()), None)

    process = begin_up({"KUBEWRIGHT_CACHE": str(tmp_path)})
    leftover = until("files are unpacked", begun, 120, pause=0.01)
    assert leftover is not None
    kill(process)
    until("its programs end", lambda: not any(uses(p) for p in Path("/proc").glob("[0-9]*")), 5, pause=0.05)
    (leftover / "left").touch()
    process = begin_up({"KUBEWRIGHT_CACHE": str(tmp_path)})
    until("a new build begins without it", lambda: not (leftover / "left").exists(), 60, pause=0.01)
    kill(process)
    kw("down", "--name", OTHER)
    assert_nothing_of(OTHER)


@pytest.mark.parametrize("name", ["", ".", "..", "../..", "a/b", "UP", "much-too-long"])
def test_a_name_that_is_another_path_is_bad_input(name: str) -> None:
    for verb in ("up", "down", "status", "start"):
        done = kw(verb, "--name", name, check=False)
        assert done.returncode == 3 and "not usable as a name" in done.stderr


def test_stop_start_and_ssh_of_a_missing_lab_or_host_are_refused() -> None:
    for verb in (("stop", "m1"), ("start", "m1"), ("ssh", "m1", "--", "true"), ("exec", "--", "true"), ("status",)):
        done = kw(verb[0], "--name", OTHER, *verb[1:], check=False)
        assert done.returncode == 1 and f"kubewright lab up --name {OTHER}" in done.stderr
