"""Members of etcd that lose their data, or get old data back: no new empty cluster starts, and no write is lost.

Two labs of its own, one after the other; about ten minutes. All of it is soak.
Each lab's tests depend on each other, in this order.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kubewright.model.lineage import FILE
from kubewright.observe.observed import ETCD_MARK
from roles.etcd.checks import ETCDCTL
from roles.etcd.role import JOINS
from tests.cluster.conftest import Cluster, kubewright, write_inventory
from tests.cluster.seen import Seen, local, see
from tests.cluster.waiting import until

pytestmark = [pytest.mark.cluster, pytest.mark.soak]

LAB_NAME = "lost"
HERE = f"{ETCDCTL} --endpoints=https://127.0.0.1:2379"
ADDRESSES = {"m1": "10.90.0.11", "m2": "10.90.0.12", "m3": "10.90.0.13"}
LOST = "it is a member of etcd, and its data is gone"
EMPTY = "it is empty, and would begin a new etcd where a cluster is already"
SAYS = "etcd does not start: this host is a member, and its data is not in /var/lib/etcd/member."


def _cluster(tmp_path_factory: pytest.TempPathFactory, *masters: str) -> Iterator[Cluster]:
    hosts = "".join(f"  - {{name: {name}, address: {ADDRESSES[name]}, roles: [master]}}\n" for name in masters)
    kubewright("lab", "down", "--name", LAB_NAME)
    try:
        kubewright("lab", "up", "--name", LAB_NAME, "--hosts", ",".join(masters))
        inventory = write_inventory(tmp_path_factory.mktemp("lost"), LAB_NAME, f"hosts:\n{hosts}")
        found = Cluster(inventory=inventory, lab_name=LAB_NAME)
        found.kubewright("apply")
        yield found
    finally:
        kubewright("lab", "down", "--name", LAB_NAME)


def _settled(cluster: Cluster) -> None:
    cluster.verified()
    assert "nothing to change" in cluster.kubewright("apply").stdout


def _refused(cluster: Cluster, verb: str, *arguments: str) -> str:
    """The output of a verb that refuses. It wrote nothing, here or on a running host."""
    files = local(cluster)
    done = cluster.kubewright(verb, *arguments, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 1 and "Traceback" not in said, said
    assert local(cluster) == files
    return said


# -- a cluster of one host


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    yield from _cluster(tmp_path_factory, "m1")


AWAY = {
    "its data was moved away": ("mv /var/lib/etcd/member /root/member", "mv /root/member /var/lib/etcd/member"),
    "its disk is not mounted": ("mount -t tmpfs tmpfs /var/lib/etcd", "umount /var/lib/etcd"),
}


def _does_not_start(cluster: Cluster) -> None:
    """The journal of this boot has the reason, written since this moment."""
    count = f"journalctl -b -u etcd -o cat | grep -cF '{SAYS}'"
    before = int(cluster.ssh("m1", count, check=False).stdout or 0)
    until("etcd says why it does not start", lambda: int(cluster.ssh("m1", count, check=False).stdout) > before, 60)
    assert cluster.ssh("m1", "systemctl is-active etcd", check=False).stdout != "active\n"
    assert cluster.ssh("m1", "ls /var/lib/etcd").stdout == ""


def _written(cluster: Cluster, before: Seen) -> set[tuple[str, str]]:
    """The files that changed since `before`. Not units, which start and stop by themselves without etcd."""
    return {(host, path) for host, path in see(cluster).touched(before) if not path.startswith("unit:")}


@pytest.mark.parametrize("how", AWAY)
def test_an_only_member_without_its_data_does_not_start_empty_and_recovers_with_its_data(single: Cluster, how: str) -> None:
    away, back = AWAY[how]
    name = "kept-" + how.split()[1]
    single.kubectl("create", "configmap", name)
    single.ssh("m1", f"systemctl stop etcd && {away} && systemctl start --no-block etcd")
    _does_not_start(single)
    before = see(single)
    for verb in ("plan", "apply"):
        assert f"m1: {LOST}" in _refused(single, verb)
    assert not _written(single, before)
    if "moved" in how:  # a reboot removes a mount made by hand
        single.stop("m1")
        single.start("m1")
        _does_not_start(single)
    single.ssh("m1", back)
    until("the cluster is back", lambda: single.kubectl("get", "configmap", name, check=False).returncode == 0, 120)
    single.verified()
    assert "nothing to change" in single.kubewright("apply").stdout


FILL = f"""head -c 1000000 /dev/zero | tr '\\0' x > /root/value
for i in $(seq 64); do {HERE} put /fill/$i < /root/value || exit 0; done 2>&1; exit 1"""
FREE = f"""{HERE} del --prefix /fill/
{HERE} compact "$({HERE} endpoint status -w fields | sed -n 's/^"Revision" : //p')" &&
{HERE} defrag --cluster --command-timeout=120s && {HERE} alarm disarm"""


def test_apply_raises_the_quota_of_an_etcd_that_takes_no_writes(single: Cluster) -> None:
    """Then the steps of the runbook make it accept writes."""
    spec = single.inventory / "cluster.yaml"
    before = spec.read_text()
    quota = "extra_args: {{etcd: {{quota-backend-bytes: '{}'}}}}\n"
    spec.write_text(before + quota.format(16 << 20))
    single.kubewright("apply")
    assert "database space exceeded" in single.ssh("m1", FILL).stdout
    assert "NOSPACE" in single.ssh("m1", f"{HERE} alarm list").stdout
    verified = single.kubewright("verify", "--json", check=False)
    assert verified.returncode == 1 and "alarm NOSPACE on this member" in verified.stdout, verified.stdout
    spec.write_text(before + quota.format(256 << 20))
    single.kubewright("apply")
    single.ssh("m1", FREE)
    single.verified()
    assert "nothing to change" in single.kubewright("apply").stdout


# -- three members


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    yield from _cluster(tmp_path_factory, *ADDRESSES)


def _member(cluster: Cluster, asked: str, name: str) -> str:
    """The ID of that member, in hexadecimal."""
    listed = cluster.ssh(asked, f"{HERE} member list").stdout.splitlines()
    (found,) = (line.split(", ")[0] for line in listed if line.split(", ")[2] == name)
    return found


def _replace(cluster: Cluster, asked: str, name: str) -> None:
    """As in docs/runbooks/etcd.md."""
    cluster.ssh(asked, f"{HERE} member remove {_member(cluster, asked, name)}")
    cluster.ssh(asked, f"{HERE} member add {name} --peer-urls=https://{ADDRESSES[name]}:2380")


def _leader(cluster: Cluster) -> str:
    said = [cluster.ssh(name, f"{HERE} endpoint status -w fields").stdout.replace('"', "") for name in ADDRESSES]
    fields = [dict(line.split(" : ", 1) for line in text.splitlines() if " : " in line) for text in said]
    return next(name for name, of in zip(ADDRESSES, fields, strict=True) if of["MemberID"] == of["Leader"])


def test_a_member_with_an_old_copy_of_its_disk_loses_no_write_and_can_be_replaced(three: Cluster) -> None:
    """The leader relies on the member's acknowledgements: either etcd 3.7 sends it the missing entries, or the member fails
    at each start.

    [raft: log.go commitTo: "tocommit is out of range"]
    """
    leader = _leader(three)
    follower, other = (name for name in ADDRESSES if name != leader)
    three.ssh(follower, "systemctl stop etcd && cp -a /var/lib/etcd/member /root/old && systemctl start etcd")
    three.ssh(follower, f"for i in $(seq 200); do {HERE} put /lost/$i $i >/dev/null || exit 1; done")
    old = "rm -r /var/lib/etcd/member && mv /root/old /var/lib/etcd/member"
    three.ssh(follower, f"systemctl stop etcd && {old} && systemctl start --no-block etcd")
    count = f"{HERE} get --prefix /lost/ --count-only -w fields"

    def settled() -> str:
        if three.ssh(follower, f"{count} --command-timeout=2s", check=False).stdout.rstrip().endswith("200"):
            return "caught up"
        said = three.ssh(follower, "journalctl -b -u etcd -o cat | grep -c 'tocommit(.*is out of range'", check=False).stdout
        return "ends at each start" if int(said) > 1 else ""

    did = until("the old copy catches up or is refused", settled, 90)
    print(f"a member with an old copy of its disk: {did}")
    for name in (leader, other):
        assert three.ssh(name, count).stdout.rstrip().endswith("200"), "a write was lost"
    verified = three.kubewright("verify", check=False)
    if did == "caught up":
        assert verified.returncode == 0, verified.stdout
    else:
        assert verified.returncode == 1 and ADDRESSES[follower] in verified.stdout + verified.stderr, verified.stdout
    # As for any member with unusable data; its mark exists.
    three.ssh(follower, "systemctl stop etcd && rm -r /var/lib/etcd/member")
    assert f"{follower}: {LOST}" in _refused(three, "apply")
    _replace(three, leader, follower)
    three.kubewright("apply")
    assert three.ssh(follower, count).stdout.rstrip().endswith("200")
    three.ssh(follower, f"test -e {ETCD_MARK} && ! test -e {JOINS}")
    _settled(three)


def test_a_rebuilt_member_is_refused_until_it_is_replaced_and_then_joins(three: Cluster) -> None:
    three.kubectl("create", "configmap", "kept")
    kubewright("lab", "rebuild", "--name", LAB_NAME, "m3")
    assert f"m3: {EMPTY} (etcd answers, with the members m1, m2, m3)" in _refused(three, "apply")
    _replace(three, "m1", "m3")
    three.kubewright("apply")
    three.ssh("m3", f"test -e {ETCD_MARK} && ! test -e {JOINS}")
    three.kubectl("get", "configmap", "kept")
    _settled(three)


def test_a_majority_of_rebuilt_members_begins_no_new_cluster_with_or_without_the_third(three: Cluster) -> None:
    """The last test: two of three are lost permanently."""
    three.stop("m1")
    for name in ("m2", "m3"):
        kubewright("lab", "rebuild", "--name", LAB_NAME, name)
    look = "ls -d /etc/etcd /var/lib/etcd /var/lib/kubewright /opt/kubewright /etc/kubernetes 2>/dev/null; true"
    said = _refused(three, "apply", "--without", "m1")
    assert all(f"{name}: {EMPTY} (its record names m1, which is left out)" in said for name in ("m2", "m3")), said
    assert [three.ssh(name, look).stdout for name in ("m2", "m3")] == ["", ""]
    three.start("m1")
    said = _refused(three, "apply")
    assert all(f"{name}: {EMPTY} (m1 has etcd's data or had it)" in said for name in ("m2", "m3")), said
    assert [three.ssh(name, look).stdout for name in ("m2", "m3")] == ["", ""]


def test_after_a_reset_a_new_cluster_is_made(three: Cluster) -> None:
    """`reset` abandons the rest explicitly: the hosts and the inventory's record forget the cluster."""
    three.kubewright("reset", "--confirm", "lab", "--no-snapshot")
    assert not (three.inventory / FILE).exists()
    assert three.kubewright("plan", check=False).returncode == 2
    three.kubewright("apply")
    _settled(three)
