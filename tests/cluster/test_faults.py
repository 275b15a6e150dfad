"""Faults in the middle of a run: each is named with its host, the exit code is 1, and the next apply resumes.

A wrong sudo password is in test_inventories, a changed host key in test_hosts. The tests depend on each other, in this order.
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubewright.artifacts import SourceConfig, obtain_all
from kubewright.artifacts.gomod import machine_arch
from kubewright.lab.model import BRIDGE_ADDRESS
from kubewright.releases import DEFAULT
from tests.cluster.conftest import Cluster, Done, kubewright, write_inventory
from tests.cluster.waiting import until

pytestmark = pytest.mark.cluster

LAB_NAME = "faults"
HOSTS = """hosts:
  - {name: m1, address: 10.90.0.11, roles: [master]}
  - {name: w1, address: 10.90.0.21, roles: [worker]}
"""
FAILED = 1
ARRIVED = 4_000_000
"""Bytes of one payload on w1 when its connection breaks."""
# Once so much of a payload has arrived, its sshd process is killed: from the process that holds the host's lock
# (file descriptor 9) upwards to the first sshd.
DROP = f"""pid=
until [ -n "$pid" ]; do
  for f in /opt/kubewright/*/*/*.part; do
    [ "$(stat -c %s "$f" 2>/dev/null || echo 0)" -gt {ARRIVED} ] || continue
    for p in /proc/[0-9]*; do if [ "$(readlink $p/fd/9)" = /run/kubewright.lock ]; then pid=${{p#/proc/}}; break; fi; done
  done
done
while [ "$(cat /proc/$pid/comm)" != sshd ]; do pid=$(sed -n 's/^PPid:\\t//p' /proc/$pid/status); done
kill -9 "$pid"
"""
SHRINK = """until ls /opt/kubewright/*/*/*.part >/dev/null 2>&1; do :; done
mount -o remount,size=150m /opt/kubewright
"""
"""Runs after the check for free space."""
LEFT = "find /opt/kubewright -name '*.part' -o -name '*.new'"


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two bare hosts."""
    kubewright("lab", "down", "--name", LAB_NAME)
    try:
        kubewright("lab", "up", "--name", LAB_NAME, "--hosts", "m1,w1")
        yield Cluster(inventory=write_inventory(tmp_path_factory.mktemp("faults"), LAB_NAME, HOSTS), lab_name=LAB_NAME)
    finally:
        kubewright("lab", "down", "--name", LAB_NAME)


def _fails(cluster: Cluster, *arguments: str) -> str:
    """The output of an apply that fails on w1."""
    done = cluster.kubewright("apply", *arguments, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == FAILED, said
    assert "Traceback" not in said and "w1: " in said, said
    return said


def _megabytes(done: Done) -> float:
    """The bytes sent, from a run's output."""
    found = re.search(r"([\d.]+) MB sent", done.stdout)
    assert found, done.stdout
    return float(found[1])


def _packed() -> dict[str, int]:
    """The compressed size of each binary and image, by its sum."""
    bundle = obtain_all(DEFAULT, machine_arch(), SourceConfig(), print, test_images=False)
    return {b.sha256: b.zst_size for b in bundle.binaries} | {i.sha256: i.zst_size for i in bundle.images}


def _lacking(cluster: Cluster, host: str) -> dict[str, str]:
    """A preview's lines about each payload that `host` lacks, by path."""
    preview = json.loads(cluster.kubewright("plan", "--json", check=False).stdout)
    lines = [line["what"] for line in preview["changes"] if line["host"] == host and line["role"] == "binaries"]
    return {line.split()[1]: line for line in lines}


def test_a_read_only_file_system_is_named_before_anything_is_in_place(faulty: Cluster) -> None:
    faulty.ssh("w1", "mkdir /opt/kubewright && mount -t tmpfs tmpfs /opt/kubewright && mount -o remount,ro /opt/kubewright")
    said = _fails(faulty)
    assert "Read-only file system" in said and "mount it writable again, then run the same command again" in said
    faulty.ssh("w1", "umount /opt/kubewright")


def test_a_disk_that_is_too_small_is_named_before_anything_is_sent(faulty: Cluster) -> None:
    faulty.ssh("w1", "mount -t tmpfs -o size=150m tmpfs /opt/kubewright")
    said = _fails(faulty)
    assert "too little space under /opt/kubewright (150 MiB free)" in said and "MiB to spare" in said
    assert not faulty.ssh("w1", "find /opt/kubewright -type f").stdout
    faulty.ssh("w1", "umount /opt/kubewright")


def test_a_disk_that_fills_up_is_named_and_received_bytes_are_kept(faulty: Cluster) -> None:
    faulty.ssh("w1", "mount -t tmpfs -o size=2g tmpfs /opt/kubewright")
    faulty.ssh("w1", "cat > /root/shrink && systemd-run --quiet --unit=shrink sh /root/shrink", stdin=SHRINK)
    said = _fails(faulty)
    assert "No space left on device" in said and "free some space there" in said
    whole = len(faulty.ssh("w1", "cat /opt/kubewright/*/*/.manifest").stdout.splitlines())
    assert whole > 0
    assert not faulty.ssh("w1", "find /opt/kubewright -name '*.new'").stdout
    again = _fails(faulty)
    assert "too little space under /opt/kubewright" in again
    assert len(faulty.ssh("w1", "cat /opt/kubewright/*/*/.manifest").stdout.splitlines()) >= whole
    faulty.ssh("w1", "umount /opt/kubewright")


def test_after_a_connection_that_dropped_in_the_middle_of_a_push_only_the_rest_is_sent(faulty: Cluster) -> None:
    faulty.ssh("w1", "cat > /root/drop && systemd-run --quiet --unit=drop sh /root/drop", stdin=DROP)
    said = _fails(faulty)
    assert "the SSH connection" in said and "run the same command again" in said
    # The shell on the host ends by itself after its input; the next run's observation waits for it, and so does this.
    until("the push has ended", lambda: faulty.ssh("w1", "flock -n /run/kubewright.lock true", check=False).returncode == 0, 30)
    part = faulty.ssh("w1", f"{LEFT} | xargs stat -c '%s %n'").stdout.split()
    assert len(part) == 2 and part[1].endswith(".part"), part
    arrived = int(part[0])
    assert arrived > ARRIVED
    lacking, packed = _lacking(faulty, "w1"), _packed()
    assert [p for p, line in lacking.items() if "compressed are there" in line] == [
        part[1].rpartition("/")[0] + f"/{_name(part[1])}"
    ]
    sizes = [next(size for sha, size in packed.items() if sha[:8] == path.split("/")[4].rpartition("-")[2]) for path in lacking]
    rest = (sum(sizes) - arrived) / 1e6
    sent = _megabytes(faulty.kubewright("apply"))
    print(f"{arrived / 1e6:.1f} MB of one payload had arrived; the rest was {rest:.1f} MB, sent were {sent:.1f} MB")
    # A step sends little else; without the partial file it would be `arrived` more.
    assert rest - 0.1 <= sent < rest + 2 < rest + arrived / 1e6
    assert not faulty.ssh("w1", LEFT).stdout
    faulty.verified()
    assert "nothing to change on 2 hosts" in faulty.kubewright("apply").stdout


def _name(partial: str) -> str:
    """The file that a partial file belongs to."""
    return partial.rpartition("/")[2].rsplit(".", 3)[0]


def test_a_flipped_byte_in_a_binary_is_found_shown_and_repaired_on_request(faulty: Cluster) -> None:
    flip = "f=$(readlink -f /usr/local/bin/{0}); s=$(stat -c %s $f); cp $f $f.copy; printf '\\377' | "
    flip += "dd of=$f.copy bs=1 seek=$((s / 2)) conv=notrunc status=none; mv -f $f.copy $f; echo $f"
    damaged = [faulty.ssh("w1", flip.format(name)).stdout.strip() for name in ("crictl", "kubelet")]
    began = faulty.ssh("w1", "systemctl show -p ActiveEnterTimestampMonotonic kubelet").stdout
    assert faulty.kubewright("plan").stdout.strip() == "nothing to change"
    done = faulty.kubewright("plan", "--deep", check=False)
    assert done.returncode == 2
    assert all(f"send {path} " in done.stdout for path in damaged) and done.stdout.count("is damaged") == 2
    assert "restart kubelet.service because of /usr/local/bin/kubelet" in done.stdout
    assert "restart kubelet.service" in faulty.kubewright("plan", "--deep", "--json", check=False).stdout
    faulty.kubewright("apply", "--deep")
    assert faulty.kubewright("plan", "--deep").stdout.strip() == "nothing to change"
    assert faulty.ssh("w1", "systemctl show -p ActiveEnterTimestampMonotonic kubelet").stdout != began
    faulty.ssh("w1", "crictl --version")


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def test_hosts_fetch_binaries_from_a_file_server_and_name_missing_files(faulty: Cluster, tmp_path: Path) -> None:
    port, served = _free_port(), tmp_path / "served"
    served.mkdir()
    spec = faulty.inventory / "cluster.yaml"
    before = spec.read_text()
    url = f"http://{BRIDGE_ADDRESS}:{port}"
    spec.write_text(f"{before}artifacts: {{hosts_fetch_from: {url}/}}\n")
    faulty.ssh("w1", "rm -r /opt/kubewright/crictl /opt/kubewright/bandwidth")
    # Not through `lab exec`: the process to end must be the server itself.
    command = ["ip", "netns", "exec", faulty.lab.namespace, sys.executable, "-m", "http.server"]
    command += [str(port), "--bind", str(BRIDGE_ADDRESS), "--directory", str(served)]
    try:
        said = _fails(faulty)
        assert url in said and "cannot be fetched" in said
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
            try:
                probe = f"curl -s -o /dev/null {url}"
                until("the server answers", lambda: faulty.ssh("w1", probe, check=False).returncode == 0, 30)
                said = _fails(faulty)
                assert "cannot be fetched (HTTP status 404); write the files there" in said
                lock = faulty.inventory / "artifacts.lock"
                fetch = ["artifacts", "fetch", "--to", str(served)]
                kubewright(*fetch, *(["--lock", str(lock)] if lock.exists() else []))
                preview = faulty.kubewright("plan", check=False).stdout
                assert preview.count(f" from {url}/") == 2
                assert _megabytes(faulty.kubewright("apply")) < 1
            finally:
                server.terminate()
    finally:
        spec.write_text(before)
    assert not faulty.ssh("w1", LEFT).stdout
    faulty.ssh("w1", "crictl --version")
    assert "nothing to change on 2 hosts" in faulty.kubewright("apply").stdout
